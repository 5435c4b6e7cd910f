"""Accepted groups on their way to another trainer, and those that stay here.

The batches of atroposlib's own server are compared with the data set.
"""

from collections import Counter
from contextlib import closing
from dataclasses import replace

import pytest

from assay.artifacts.discovery import fetch_parameters, publish_parameters
from assay.artifacts.steps.file import write_groups
from assay.artifacts.steps.folder import (
    StepError,
    StepFolder,
    compute_root_of,
    read_step,
    read_step_groups,
)
from assay.audit.provenance import step_push
from assay.audit.provenance.step_export import ExportError
from assay.audit.provenance.step_push import make_scored_group, push_steps
from assay.network.atropos import GroupRefusedError, GroupServer, ServerAwayError
from assay.network.store.folder import open_folder
from tests.adversarial.pushing.counts import ALL, GROUPS, SIZE, count_equal, count_posts, read_rows
from tests.adversarial.pushing.group_servers import PoorServer
from tests.adversarial.test_reexecuting_steps import get_steps, invoke


def test_the_server_gives_back_what_the_data_set_has(course, tmp_path, atropos):
    atropos.begin(batch=SIZE)
    assert atropos.get_batch() is None  # its trainer has begun
    summary = push_steps(course, atropos.url, ALL, wait_s=60)
    assert (summary.steps, summary.groups, summary.sent) == (2, GROUPS, GROUPS)
    assert (summary.own, summary.already, summary.unknown) == (0, 0, [])
    groups, rows = atropos.get_all(), read_rows(course, tmp_path / "set")
    assert len(groups) == GROUPS
    equal = count_equal(groups, rows)
    numbers = sum(4 * len(tokens) + 1 for group in groups for tokens in group["tokens"])
    print(f"{equal} of {len(rows)} rollouts came back equal, {numbers:,} numbers")
    assert equal == len(rows) == GROUPS * SIZE
    again = push_steps(course, atropos.url, ALL, wait_s=60)
    assert (again.sent, again.already, atropos.get_queued()) == (0, GROUPS, 0)


def test_it_waits_until_the_trainer_asks_for_a_batch(course, atropos, monkeypatch):
    monkeypatch.setattr(step_push, "LOOK_S", 0.01)
    atropos.begin(batch=SIZE)
    with pytest.raises(ServerAwayError, match="has not asked for a batch yet"):
        push_steps(course, atropos.url, ALL, wait_s=0)
    said = []

    def say(line):
        said.append(line)
        if "not asked" in line:
            assert atropos.get_batch() is None

    assert push_steps(course, atropos.url, ALL, 60, say=say).sent == GROUPS
    assert sum("not asked" in line for line in said) == 1
    assert len(atropos.get_all()) == GROUPS


def halve_groups(course, number):
    """Make a step under other parameters, by which groups have half the rollouts."""
    step = read_step(get_steps(course)[number])
    taken, rules = read_step_groups(step), open_folder(step.path.parent / "rules")
    parameters = fetch_parameters(rules, step.record.parameters)
    work = replace(parameters.work, group_size=SIZE // 2)
    amended = replace(parameters, work=work)
    publish_parameters(rules, amended)
    for one in taken:
        group, half = one.group, len(one.group.rewards) // 2
        for rollouts in (group.completions, group.rewards, group.behaviour_logprobs, group.replies):
            del rollouts[half:]
    rewrite(replace(step, record=replace(step.record, parameters=amended.digest)), taken)


def rewrite(step, taken):
    """Puts other groups in a step's place, and a record that binds them."""
    record = step.record
    root = compute_root_of(taken, record.window, record.parent)
    record = replace(record, consumed=root, groups=len(taken))
    folder = StepFolder(step.path.parent)
    for path in folder.folder.glob(f"{step.path.stem}.*"):
        path.unlink()
    write_groups(folder.get_path(record.number, record.digest).with_suffix(".parquet"), taken)
    folder.keep_record(record, step.child)


def test_groups_of_several_sizes_go_under_numbers_of_their_own(course, atropos):
    halve_groups(course, 1)
    atropos.begin(batch=SIZE)
    assert atropos.get_batch() is None
    assert push_steps(course, atropos.url, ALL, wait_s=60).sent == GROUPS
    assert atropos.get_queued() == GROUPS  # none is kept back
    groups = atropos.get_all()
    assert Counter(len(group["tokens"]) for group in groups) == {SIZE: 10, SIZE // 2: 10}
    assert {(len(group["tokens"]), group["env_id"]) for group in groups} == {(8, 0), (4, 1)}


def test_the_server_keeps_back_a_group_of_another_size(course, atropos):
    """The case that the numbers above avoid."""
    rows = read_rows(course, course / "set")
    atropos.begin(batch=SIZE)
    assert atropos.get_batch() is None
    with closing(GroupServer(atropos.url)) as server:
        env = server.register("test", SIZE, 4_096)
        assert not server.post(make_scored_group(rows[: SIZE // 2]), env)
        assert atropos.get_queued() == 0
        assert server.post(make_scored_group(rows[:SIZE]), env)
        wrong = replace(make_scored_group(rows[:SIZE]), scores=["much"] * SIZE)
        with pytest.raises(GroupRefusedError, match="status 422"):
            server.post(wrong, env)
    assert atropos.get_queued() == 1


def test_groups_too_long_for_the_trainer_stay(course, atropos):
    rows = read_rows(course, course / "set")
    longest = [
        max(len(row["prompt_tokens"] + row["tokens"]) for row in rows[i : i + SIZE])
        for i in range(0, len(rows), SIZE)
    ]
    bound = sorted(longest)[len(longest) // 2]
    atropos.begin(batch=SIZE, tokens_max=bound)
    assert atropos.get_batch() is None
    summary = push_steps(course, atropos.url, ALL, wait_s=60)
    expected = sum(length >= bound for length in longest)
    assert 0 < expected == summary.too_long
    assert summary.sent == GROUPS - expected == len(atropos.get_all())


def test_a_step_that_is_not_what_its_record_says_is_not_sent(course, poor):
    step = read_step(get_steps(course)[0])
    taken = read_step_groups(step)
    taken[3].group.rewards[0] ^= 1
    write_groups(step.path.with_suffix(".parquet"), taken)
    with pytest.raises(StepError, match="is not what the step consumed"):
        push_steps(course, poor.url, ALL, wait_s=5)
    assert poor.posted == []


def test_a_reward_that_the_environment_never_gave_sends_nothing_of_the_step(course, poor):
    """The record binds it; the last group's last rollout shows it."""
    step = read_step(get_steps(course)[0])
    taken = read_step_groups(step)
    taken[-1].group.rewards[-1] ^= 1
    rewrite(step, taken)
    with pytest.raises(StepError, match="not what the parameters give"):
        push_steps(course, poor.url, ALL, wait_s=5)
    assert poor.posted == []


def test_groups_that_no_commitment_proves_stay(course, poor, world):
    """The trainer's own groups, and its claims with a made-up root."""
    step = read_step(get_steps(course)[0])
    taken = read_step_groups(step)
    trainer = world.hotkeys["trainer"]
    for number, proof in ((0, bytes(32)), (1, b"\1" * 32)):
        taken[number] = replace(taken[number], hotkey=trainer, proof=proof)
    names = Counter((one.hotkey, one.proof) for one in taken if one.hotkey != trainer)
    sources = tuple(
        replace(source, groups=names[source.hotkey, source.root]) for source in step.record.sources
    )
    rewrite(replace(step, record=replace(step.record, sources=sources)), taken)
    summary = push_steps(course, poor.url, ALL, wait_s=5)
    assert (summary.own, summary.groups, summary.sent) == (2, GROUPS - 2, GROUPS - 2)
    roots = {one.root for path in get_steps(course) for one in read_step(path).record.sources}
    assert {root for root, _ in poor.posted} == roots


def test_a_group_that_two_steps_name_goes_once(course, poor):
    step = read_step(get_steps(course)[0])
    taken = read_step_groups(step)
    doubled = [*taken, taken[0]]
    first = (taken[0].hotkey, taken[0].proof)
    sources = tuple(
        replace(s, groups=s.groups + ((s.hotkey, s.root) == first)) for s in step.record.sources
    )
    rewrite(replace(step, record=replace(step.record, sources=sources)), doubled)
    push_steps(course, poor.url, ALL, wait_s=5)
    assert count_posts(poor.posted) == dict.fromkeys(poor.posted, 1)
    assert len(poor.posted) == GROUPS


def test_two_pushers_at_a_time(known, poor):
    """The second one is told; to another server it may push."""

    def push_again(line):
        with pytest.raises(ExportError, match="another program pushes to"):
            push_steps(known, poor.url, ALL, wait_s=5)
        with closing(PoorServer()) as other:
            assert push_steps(known, other.url, ALL, wait_s=5).sent == GROUPS

    assert push_steps(known, poor.url, ALL, wait_s=5, say=push_again).sent == GROUPS


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "name either a folder with --out or a server with --push"),
        (["--out", "a", "--push", "http://a"], "name either a folder"),
        (["--push", "http://a", "b.rollouts"], "leave out FILES and --columns"),
        (["--push", "http://a", "--columns", "trl"], "leave out FILES and --columns"),
        (["--out", "a", "b.rollouts", "--columns", "trl"], "leave out these, or FILES"),
    ],
)
def test_incompatible_options(taught, words, told):
    done = invoke("export", "--dir", taught, *words)
    assert done.exit_code == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
