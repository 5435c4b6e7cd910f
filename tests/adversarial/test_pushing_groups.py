"""Accepted groups on their way to another trainer: each once, whatever server and pusher do.

What atroposlib's own server gives back is held against the data set; kills are at every point
between two writes of the journal, and of the real program.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from assay.artifacts.checkpoints.checkpoint_folder import CheckpointFolder
from assay.artifacts.steps.step_file import write_groups
from assay.artifacts.steps.step_folder import (
    StepError,
    StepFolder,
    compute_root_of,
    read_step,
    read_taken,
)
from assay.audit.provenance import step_push
from assay.audit.provenance.step_export import ExportError, export_steps
from assay.audit.provenance.step_push import make_scored_group, push_steps
from assay.network.atropos import (
    MASKED,
    MASKED_LOGPROB,
    PATIENCE,
    GroupRefusedError,
    GroupServer,
    GroupServerError,
    ServerAwayError,
    UnknownDeliveryError,
)
from assay.neurons.program.database import Database
from tests.adversarial.group_servers import (
    ATROPOS_PYTHON,
    NO_ATROPOS,
    RECEIVED,
    PoorServer,
    run_real_server,
)
from tests.adversarial.mortal import Fate, Killed
from tests.adversarial.test_reexecuting_steps import get_steps, invoke, train
from tests.commands import ASSAY

ALL = range(10)
#: The world's: 2 windows of 2 miners with 5 groups of 8.
GROUPS, SIZE = 20, 8
HASTY = replace(PATIENCE, silence_s=0.3, total_s=0.5)


@pytest.fixture(scope="module")
def taught(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("taught")
    train(world, folder)
    return folder


@pytest.fixture
def course(taught, tmp_path):
    """A copy of its own: its journal is new."""
    shutil.copytree(taught, tmp_path / "course")
    return tmp_path / "course"


@pytest.fixture
def poor():
    with closing(PoorServer()) as server:
        yield server


@pytest.fixture(scope="module")
def atropos(tmp_path_factory):
    if ATROPOS_PYTHON is None:
        pytest.skip(NO_ATROPOS)
    with run_real_server(tmp_path_factory.mktemp("atropos")) as server:
        yield server


def read_rows(course, out):
    export_steps(course, out, ALL)
    return [
        row
        for path in sorted((out / "data").glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def count_equal(groups, rows):
    """Rollouts that a server gave back as the data set's rows have them, bit for bit."""
    equal = start = 0
    for group in groups:
        size = len(group["tokens"])
        ours, start = rows[start : start + size], start + size
        told = group["group_overrides"]["assay"]
        same = told["root"] == ours[0]["proof"] and all(
            told[name] == ours[0][name]
            for name in (
                "hotkey",
                "window",
                "group",
                "checkpoint",
                "problem_seed",
                "levels",
                "step",
            )
        )
        for i, row in enumerate(ours):
            asked, answered = row["prompt_tokens"], row["tokens"]
            before = len(asked)
            equal += same and [
                group[name][i]
                for name in ("tokens", "masks", "scores", "advantages", "inference_logprobs")
            ] == [
                asked + answered,
                [MASKED] * before + answered,
                row["reward"],
                [0.0] * before + [row["advantage"] or 0.0] * len(answered),
                [MASKED_LOGPROB] * before + row["logprobs"],
            ]
        equal -= size * (group["generation_params"] != {"temperature": ours[0]["temperature"]})
    return equal


def count_posts(posted):
    """All groups of both steps, each as often as it was posted."""
    counts = Counter(posted)
    assert counts.total() == len(posted)
    return counts


# --- the real server


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
    """A step of its own making whose groups have half the rollouts."""
    step = read_step(get_steps(course)[number])
    taken = read_taken(step)
    for one in taken:
        group, half = one.group, len(one.group.rewards) // 2
        del group.completions[half:], group.rewards[half:], group.behaviour_logprobs[half:]
    rewrite(step, taken)


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
    """What the numbers above avoid."""
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


def test_what_is_too_long_for_the_trainer_stays(course, atropos):
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


# --- kills


@pytest.fixture(scope="module")
def read(taught):
    """What is read and scored of each step."""
    checkpoints, found = CheckpointFolder(taught / "models"), {}
    for step in map(read_step, get_steps(taught)):
        taken = read_taken(step)
        found[step.record.digest] = taken, list(step_push.make_rows(step, taken, checkpoints))
    return found


class QuickDatabase(Database):
    """A file that the disk need not have: the machine itself goes on."""

    def __init__(self, file):
        super().__init__(file)
        self.execute("PRAGMA synchronous = OFF")


@pytest.fixture
def known(course, read, monkeypatch):
    """Reading and scoring a step takes seconds, and is not what is killed."""
    monkeypatch.setattr(step_push, "read_taken", lambda step, parser: read[step.record.digest][0])
    monkeypatch.setattr(step_push, "make_rows", lambda step, *_: read[step.record.digest][1])
    monkeypatch.setattr(step_push, "Database", QuickDatabase)
    return course


def wrap_points(monkeypatch, fate):
    """Every write of the journal and every post is two points."""
    monkeypatch.setattr(Database, "commit", fate.wrap(Database.commit, "commit"))
    monkeypatch.setattr(GroupServer, "post", fate.wrap(GroupServer.post, "post"))


def test_killed_at_every_point(known, monkeypatch):
    """Whatever was sent once is never sent again; only what was between two writes is unknown."""
    fate = Fate()
    with closing(PoorServer()) as server, monkeypatch.context() as patched:
        wrap_points(patched, fate)
        push_steps(known, server.url, range(1), 60)
    points = fate.points
    assert points.count("before post") == len(server.posted) == 10
    tried = 0
    for number in [*range(26), *range(len(points) - 8, len(points))]:
        shutil.rmtree(known / "push")
        with closing(PoorServer()) as server:
            with monkeypatch.context() as patched:
                fate = Fate([number])
                wrap_points(patched, fate)
                with pytest.raises(Killed):
                    push_steps(known, server.url, range(1), 60)
            sent = len(server.posted)
            summary = push_steps(known, server.url, range(1), 60)
            assert max(count_posts(server.posted).values()) == 1, points[number]
            assert summary.left_over == len(summary.unknown) <= 1
            assert summary.sent + sent + summary.left_over >= 10  # sent, or told
            assert len(server.posted) == sent + summary.sent
            assert summary.sent + summary.already + len(summary.unknown) == 10
            last = push_steps(known, server.url, range(1), 60)
            assert (last.left_over, last.sent, last.unknown) == (0, 0, summary.unknown)
            tried += 1
    print(f"killed at {tried} of {len(points)} points: no group was posted twice")


@pytest.mark.slow
def test_a_program_that_is_killed_while_a_group_is_in_flight(course, poor):
    """kill -9 of `assay export --push`, at its third post."""
    poor.script = lambda number, _: RECEIVED if number != 2 else None
    words = [ASSAY, "export", "--dir", course, "--push", poor.url]
    program = subprocess.Popen([*map(str, words)], stderr=subprocess.PIPE)
    try:
        assert poor.came.wait(120)
    finally:
        os.kill(program.pid, signal.SIGKILL)
        program.communicate()
    assert len(poor.posted) == 3
    done = invoke(*words[1:], "--json")
    assert done.exit_code == 1, done.output
    told = json.loads(done.stdout)
    root, place = poor.posted[2]
    assert told["unknown"] == [f"{root.hex()}/{place}"]
    assert (told["already"], told["sent"], told["left_over"]) == (2, GROUPS - 3, 1)
    assert f"group {place} of submission {root.hex()[:16]}… was on its way" in done.stderr
    assert count_posts(poor.posted) == dict.fromkeys(poor.posted, 1)
    assert len(poor.posted) == GROUPS
    again = invoke(*words[1:])
    assert again.exit_code == 0
    assert "0 of 20 groups of 2 steps were handed over" in again.stdout
    resent = invoke(*words[1:], "--resend")
    assert resent.exit_code == 0
    assert poor.posted[GROUPS:] == [(root, place)]


# --- bad servers


def drip(number, handler):
    time.sleep(2)
    return RECEIVED


def answer_twice(number, handler):
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{"status":"received"}'
    handler.wfile.write(answer)
    return RECEIVED


def send_gigabytes(number, handler):
    handler.send_response(200)
    handler.send_header("Content-Length", str(5 << 30))
    handler.end_headers()
    for _ in range(64):
        handler.wfile.write(bytes(1 << 16))
    return RECEIVED


UNCLEAR = {
    "no answer in time": drip,
    "an error of its own": lambda *_: (500, b"Internal Server Error"),
    "a redirect": lambda *_: (307, b""),
    "no JSON": lambda *_: (200, b"\xff" * 100),
    "a list": lambda *_: (200, b"[]"),
    "another status": lambda *_: (200, b'{"status":"thanks"}'),
    "gigabytes": send_gigabytes,
    "JSON nested deeply": lambda *_: (200, b"[" * 50_000),
}


@pytest.mark.parametrize("fault", UNCLEAR)
def test_an_answer_that_says_nothing_clear_stops_it_and_nothing_is_sent_twice(
    known, poor, monkeypatch, fault
):
    monkeypatch.setattr(GroupServer.__init__, "__defaults__", (HASTY,))
    poor.script = lambda number, handler: (
        UNCLEAR[fault](number, handler) if number == 1 else RECEIVED
    )
    with pytest.raises(UnknownDeliveryError, match="may be there or not"):
        push_steps(known, poor.url, ALL, wait_s=5)
    assert len(poor.posted) == 2
    summary = push_steps(known, poor.url, ALL, wait_s=5)
    assert (summary.already, summary.sent, len(summary.unknown)) == (1, GROUPS - 2, 1)
    assert summary.left_over == 0
    assert count_posts(poor.posted) == dict.fromkeys(poor.posted, 1)
    assert len(poor.posted) == GROUPS


def test_a_server_that_answers_twice_is_heard_once(known, poor):
    poor.script = answer_twice
    assert push_steps(known, poor.url, ALL, wait_s=5).sent == GROUPS
    assert count_posts(poor.posted) == dict.fromkeys(poor.posted, 1)


def test_what_is_refused_may_be_sent_again(known, poor):
    poor.script = lambda number, _: RECEIVED if number != 1 else (422, b'{"detail":"no"}')
    with pytest.raises(GroupRefusedError, match=r'refuses the group \(status 422: {"detail":"no"}'):
        push_steps(known, poor.url, ALL, wait_s=5)
    summary = push_steps(known, poor.url, ALL, wait_s=5)
    assert (summary.already, summary.sent, summary.unknown) == (1, GROUPS - 1, [])


def test_a_server_that_is_away_is_waited_for(known, monkeypatch):
    monkeypatch.setattr(step_push, "LOOK_S", 0.01)
    with closing(PoorServer()) as gone:
        port = gone.server_port
    url = f"http://127.0.0.1:{port}"
    with pytest.raises(ServerAwayError, match="was waited for, for 0 s"):
        push_steps(known, url, ALL, wait_s=0)
    said, servers = [], []

    def say(line):
        said.append(line)
        if line.startswith("waiting"):
            servers.append(PoorServer(port=port))

    try:
        assert push_steps(known, url, ALL, 60, say=say).sent == GROUPS
        (server,) = servers
        assert count_posts(server.posted) == dict.fromkeys(server.posted, 1)
    finally:
        for server in servers:
            server.close()


def test_a_server_whose_queue_is_full_or_that_began_anew_is_waited_for(known, poor, monkeypatch):
    monkeypatch.setattr(step_push, "LOOK_S", 0.01)
    good, said = dict(poor.answers), []
    full = {"/status": (200, {"current_step": 0, "queue_size": 1_024})}
    anew = {"/info": (200, {"batch_size": -1, "max_token_len": -1})}
    busy = {"/info": (503, b"")}
    troubles = [full, anew, busy]

    def spoil(number, _):
        if number % 5 == 4 and troubles:
            poor.answers |= troubles.pop()
        return RECEIVED

    def say(line):
        said.append(line)
        if line.startswith("waiting"):
            poor.answers |= good

    poor.script = spoil
    assert push_steps(known, poor.url, ALL, 60, say=say).sent == GROUPS
    waits = [line for line in said if line.startswith("waiting")]
    assert len(waits) == 3
    assert "1024 groups wait" in waits[2]
    assert "no trainer has registered" in waits[1]
    assert count_posts(poor.posted) == dict.fromkeys(poor.posted, 1)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/info", (404, b"not here")),
        ("/info", (200, b"<html>")),
        ("/info", (200, {"batch_size": "many"})),
        ("/status", (200, {"queue_size": -7})),
        ("/register-env", (200, {"status": "success", "env_id": [1]})),
    ],
)
def test_what_is_no_server_of_this_wire_is_refused_at_once(known, poor, path, answer):
    poor.answers[path] = answer
    with pytest.raises(GroupServerError, match="no server of Atropos' wire") as raised:
        push_steps(known, poor.url, ALL, wait_s=60)
    assert not isinstance(raised.value, ServerAwayError)
    assert poor.posted == []


@pytest.mark.parametrize(
    "url", ["ftp://a", "http://me:secret@a", "file:///tmp", "http://a/?k=v", ""]
)
def test_an_address_that_is_none(course, url):
    with pytest.raises(GroupServerError, match=r"http://host:port") as raised:
        push_steps(course, url, ALL, wait_s=0)
    assert "secret" not in str(raised.value)


# --- nothing unverified


def test_a_step_that_is_not_what_its_record_says_is_not_sent(course, poor):
    step = read_step(get_steps(course)[0])
    taken = read_taken(step)
    taken[3].group.rewards[0] ^= 1
    write_groups(step.path.with_suffix(".parquet"), taken)
    with pytest.raises(StepError, match="is not what the step consumed"):
        push_steps(course, poor.url, ALL, wait_s=5)
    assert poor.posted == []


def test_a_reward_that_the_environment_never_gave_sends_nothing_of_the_step(course, poor):
    """The record binds it; the last group's last rollout shows it."""
    step = read_step(get_steps(course)[0])
    taken = read_taken(step)
    taken[-1].group.rewards[-1] ^= 1
    rewrite(step, taken)
    with pytest.raises(StepError, match="not what the environment gives"):
        push_steps(course, poor.url, ALL, wait_s=5)
    assert poor.posted == []


def test_groups_that_no_commitment_proves_stay(course, poor, world):
    """The trainer's own, and what it says of itself with a root that it made up."""
    step = read_step(get_steps(course)[0])
    taken = read_taken(step)
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
    taken = read_taken(step)
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
        ([], "name a folder with --out, or a server with --push"),
        (["--out", "a", "--push", "http://a"], "one of them"),
        (["--push", "http://a", "b.rollouts"], "leave FILES and --columns out"),
        (["--push", "http://a", "--columns", "trl"], "leave FILES and --columns out"),
        (["--out", "a", "b.rollouts", "--columns", "trl"], "leave them out, or FILES"),
    ],
)
def test_what_does_not_go_together(taught, words, told):
    done = invoke("export", "--dir", taught, *words)
    assert done.exit_code == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
