"""Every refusal explained: rule, place and figures, and a command that says the same again.

Real files, the shipped model and the real judge.
"""

import json
import shlex
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from assay.audit.explain.explanation import explain
from assay.audit.explain.from_folder import gather_from_folder
from assay.audit.explain.reproduction import ExplainError, make_reproduction, write_material
from assay.audit.explain.texts import TEXTS
from assay.cli.app import app
from assay.cli.explain_view import render_explanation
from assay.lab.gauntlet.strategy import quantise
from assay.network.files import write_file, write_json
from assay.protocol.commitment import make_object_name
from assay.protocol.context import Committed, context_to_json
from assay.protocol.reason import Reason
from assay.protocol.selection import select_committed, select_rollouts
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import Phase, compute_block
from tests.adversarial.test_not_doing_the_work import change, draft

WINDOW = 1


@dataclass
class Case:
    """A submission in the making; None means the right value."""

    groups: list[Any]
    audited: int  # a group that is valued
    rollout: int  # the rollout of the group that goes through the model
    header: dict[str, Any] = field(default_factory=dict)
    is_member: bool = True
    is_committed: bool = True
    is_shown: bool = True
    committed_groups: int | None = None
    root: bytes | None = None
    cut: int = 0  # bytes missing at the file's end


def start(world):
    groups = world.genuine("alice", WINDOW)
    context, hotkey = world.contexts[WINDOW], world.hotkeys["alice"]
    chosen = select_committed(context, hotkey, len(groups))
    group = next(group for group in chosen if group.valued)
    lengths = [len(rollout.tokens) for rollout in groups[group.index]]
    (rollout, *_) = select_rollouts(
        context.audit_seed, hotkey, group, lengths, context.parameters.work
    )
    return Case(groups, group.index, rollout)


def write_run(world, case, folder):
    """The folder that a run with this submission leaves."""
    hotkey, context = world.hotkeys["alice"], world.contexts[WINDOW]
    data, root = world.encode("alice", WINDOW, case.groups, **case.header)
    count = len(case.groups) if case.committed_groups is None else case.committed_groups
    block = compute_block(world.parameters.timing, WINDOW, Phase.COMMIT)
    commitments = dict(context.commitments)
    members = dict(context.members)
    commitments[hotkey] = Committed(case.root or root, count, block, "https://store.example/alice")
    if not case.is_committed:
        del commitments[hotkey]
    if not case.is_member:
        del members[hotkey]
    context = replace(context, commitments=commitments, members=members)
    write_json(folder / "contexts" / f"window-{WINDOW}.json", context_to_json(context))
    if case.is_shown:
        name = make_object_name(encode_ss58(hotkey), WINDOW)
        write_file(folder / "store" / name, data[: len(data) - case.cut])
    (folder / "models").symlink_to(world.folder / "models")
    return folder


def ask(world, folder, **options):
    given = {"model": None, "validator": None} | options
    facts, material = gather_from_folder(folder, world.hotkeys["alice"], WINDOW, **given)
    explanation = explain(facts)
    return explanation, make_reproduction(facts, material, explanation.reason)


def show(explanation, reproduction):
    console = Console(width=1_000)
    with console.capture() as captured:
        console.print(render_explanation(explanation, reproduction))
    return captured.get()


ATTACKS = {}


def attack(reason):
    def add(function):
        ATTACKS[function.__name__] = reason, function
        return function

    return add


@attack(Reason.NOT_REGISTERED)
def registered_after_the_first_block(world, case):
    case.is_member = False
    return {}, []


@attack(Reason.NO_COMMITMENT)
def committed_too_late(world, case):
    case.is_committed = False
    return {}, []


@attack(Reason.TOO_LARGE)
def more_groups_than_allowed(world, case):
    cap = world.parameters.work.group_cap
    case.committed_groups = cap + 1
    return {}, [("groups committed", cap + 1, cap)]


@attack(Reason.NOT_REVEALED)
def upload_cut_off(world, case):
    case.cut = 10_000
    return {}, [("size of the file", ..., ...)]


@attack(Reason.MALFORMED)
def sketch_beyond_its_range(world, case):
    group = case.groups[case.audited]
    beyond = np.full_like(group[case.rollout].sketch, -128)
    case.groups[case.audited] = change(group, case.rollout, sketch=beyond)
    return {"rollout": case.rollout}, []


@attack(Reason.WRONG_HEADER)
def file_of_another_window(world, case):
    case.header = {"window": 0}
    return {}, [("header: window", 0, WINDOW)]


@attack(Reason.ROOT_MISMATCH)
def another_root_on_chain(world, case):
    case.root = b"\x05" * 32
    return {}, []


@attack(Reason.WRONG_CHECKPOINT)
def stale_checkpoint(world, case):
    case.header = {"checkpoint": b"\x06" * 32}
    right = world.contexts[WINDOW].checkpoint.hex()
    return {}, [("header: checkpoint", "06" * 32, right)]


@attack(Reason.TOKEN_OUT_OF_RANGE)
def token_outside_the_vocabulary(world, case):
    group = case.groups[case.audited]
    tokens = group[case.rollout].tokens.copy()
    tokens[0] = vocabulary = len(world.checkpoint.tokenizer.drawable)
    case.groups[case.audited] = change(group, case.rollout, tokens=tokens)
    return {"rollout": case.rollout, "token": 0}, [("token id", vocabulary, vocabulary - 1)]


@attack(Reason.WRONG_TERMINATION)
def truncated_completion(world, case):
    tokens = [r.tokens.tolist() for r in case.groups[case.audited]]
    length = len(tokens[case.rollout])
    tokens[case.rollout] = tokens[case.rollout][:-1]
    case.groups[case.audited] = world.prefill("alice", WINDOW, case.audited, tokens)
    longest = world.rules.max_tokens
    # without its end token a completion has to continue to the longest length
    figures = [("length of the completion", length - 1, longest)]
    return {"rollout": case.rollout, "token": length - 2}, figures


@attack(Reason.SKETCH_MISMATCH)
def sketch_of_zeros(world, case):
    group = case.groups[case.audited]
    zeros = np.zeros_like(group[case.rollout].sketch)
    case.groups[case.audited] = change(group, case.rollout, sketch=zeros)
    bound = world.parameters.tests.sketch_rollout_bound / 1_000
    return {"rollout": case.rollout, "token": 0}, [
        ("fingerprint distance over the rollout", ..., bound)
    ]


@attack(Reason.LOGPROB_MISMATCH)
def logprobs_of_another_temperature(world, case):
    group = case.groups[case.audited]
    halves = (group[case.rollout].logprobs // 2 + 1_000).astype(np.uint32)
    case.groups[case.audited] = change(group, case.rollout, logprobs=halves)
    rms, largest = (b / 65_536 for b in (16, 64))
    return {"rollout": case.rollout}, [
        ("log-probabilities, root mean square", ..., rms),
        ("log-probabilities, largest difference", ..., largest),
    ]


@attack(Reason.SAMPLING_MISMATCH)
def cheap_model_generates(world, case):
    cheap = quantise(world.checkpoint.model, 2, 32)
    for index in range(len(case.groups)):
        drawn = draft(world, "alice", WINDOW, index, model=cheap)
        case.groups[index] = world.prefill("alice", WINDOW, index, drawn)
    cap = world.parameters.tests.margin_cap / 2**20
    return {}, [("largest logit gap", ..., cap)]


def run_verify(command):
    """The printed command, as a shell would run it."""
    words = shlex.split(command)
    assert words[:2] == ["assay", "verify"]
    done = CliRunner().invoke(app, [*words[1:], "--json"])
    return done.exit_code, json.loads(done.stdout)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_refusal_is_explained_and_its_command_says_the_same(world, tmp_path, name):
    reason, forge = ATTACKS[name]
    case = start(world)
    where, figures = forge(world, case)
    explanation, reproduction = ask(world, write_run(world, case, tmp_path / "a run"))
    assert explanation.reason is reason
    assert explanation.accepted is False
    place = dict(explanation.where)
    if reason in {Reason.SKETCH_MISMATCH, Reason.LOGPROB_MISMATCH, Reason.SAMPLING_MISMATCH}:
        assert place.keys() == {"group", "rollout", "token"}
    if where:
        assert place.items() >= ({"group": case.audited} | where).items()
    measures = {measure.name: measure for measure in explanation.measures}
    for figure, value, allowed in figures:
        assert measures[figure].exceeded
        if allowed is not ...:
            assert measures[figure].allowed == pytest.approx(allowed)
        if value is not ...:
            assert measures[figure].value == value
    words = show(explanation, reproduction)
    for needed in (reason.value, TEXTS[reason].rule, *TEXTS[reason].causes, reproduction.command):
        assert needed in words
    # the command tells the same, down to the token
    assert reproduction.works, reproduction.note
    code, verdict = run_verify(reproduction.command)
    assert code == 1
    assert verdict["reason"] == reason.value
    assert {n: verdict[n] for n in ("group", "rollout", "token") if n in verdict} == place
    assert verdict["detail"] in explanation.seen


def test_no_reason_lacks_an_explanation_or_an_attack():
    assert set(TEXTS) == set(Reason)
    for reason, text in TEXTS.items():
        assert text.rule.endswith(".")
        assert 1 <= text.section <= 9
        assert bool(text.causes) == bool(text.remedies) == (reason is not Reason.ACCEPTED)
    elsewhere = {Reason.ACCEPTED, Reason.LEDGER_MISMATCH, Reason.INTERNAL}
    assert {reason for reason, _ in ATTACKS.values()} | elsewhere == set(Reason)


def test_accepted_work_shows_what_it_earned(world, tmp_path):
    explanation, reproduction = ask(world, write_run(world, start(world), tmp_path))
    assert explanation.accepted
    code, verdict = run_verify(reproduction.command)
    assert code == 0
    values = {group.index: group.value for group in explanation.groups if group.valued}
    assert values == {g["index"]: g["value"] for g in verdict["groups"]}
    audited = {group.index: list(group.audited) for group in explanation.groups if group.valued}
    assert audited == {g["index"]: g["audited"] for g in verdict["groups"]}
    work, count = world.parameters.work, len(world.genuine("alice", WINDOW))
    assert sum(group.rollouts for group in explanation.groups) == work.audited_rollouts
    total = (2 * count - 1) * sum(values.values())  # half a group is not paid
    assert explanation.score == total // (2 * work.valued_groups)
    assert not any(measure.exceeded for measure in explanation.measures)
    assert "What it earned" in show(explanation, reproduction)


def write_verdict(world, folder, reason, **words):
    """Write a validator's notes of the window."""
    verdict = {
        "hotkey": encode_ss58(world.hotkeys["alice"]),
        "reason": reason.value,
        "detail": "as the validator saw it",
        "groups": [],
        "score": 0,
    } | words
    write_json(folder / "verdicts" / f"window-{WINDOW}.json", {"verdicts": [verdict]})


def test_a_file_that_a_validator_could_not_read_and_we_can(world, tmp_path):
    folder = write_run(world, start(world), tmp_path)
    write_verdict(world, folder, Reason.NOT_REVEALED)
    explanation, reproduction = ask(world, folder)
    assert explanation.reason is Reason.NOT_REVEALED
    assert any("https://store.example/alice" in sentence for sentence in explanation.seen)
    assert any("could not read it" in note for note in explanation.notes)
    assert "another machine" in reproduction.note
    code, _ = run_verify(reproduction.command)
    assert code == 0  # the file is whole


def test_a_file_that_is_nowhere(world, tmp_path):
    case = start(world)
    case.is_shown = False
    folder = write_run(world, case, tmp_path)
    explanation, reproduction = ask(world, folder)
    assert explanation.accepted is None  # whether others could read it, nobody knows here
    write_verdict(world, folder, Reason.NOT_REVEALED)
    explanation, reproduction = ask(world, folder)
    assert explanation.reason is Reason.NOT_REVEALED
    assert reproduction.command is None
    assert "another machine" in show(explanation, reproduction)


def test_a_ledger_adds_up_what_one_file_cannot_show(world, tmp_path):
    folder = write_run(world, start(world), tmp_path)
    write_verdict(
        world,
        folder,
        Reason.LEDGER_MISMATCH,
        group=3,
        rollout=1,
        statistics={"margin_max": 1e-5, "ledger_capital": 16.5},
    )
    explanation, reproduction = ask(world, folder)
    (measure,) = explanation.measures
    assert (measure.name, measure.value, measure.exceeded) == ("settlement's ledger", 16.5, True)
    assert measure.allowed == pytest.approx(np.log(1e6))
    assert explanation.where == {"group": 3, "rollout": 1}
    assert any("the ledger adds up all windows" in note for note in explanation.notes)
    assert "fresh one" in reproduction.note
    code, _ = run_verify(reproduction.command)
    assert code == 0


def test_a_judge_that_broke_is_not_the_miners_fault(world, tmp_path):
    folder = write_run(world, start(world), tmp_path)
    write_verdict(world, folder, Reason.INTERNAL)
    explanation, reproduction = ask(world, folder)
    assert explanation.reason is Reason.INTERNAL
    assert "not the miner's fault" in show(explanation, reproduction)
    assert any("judged here it is ACCEPTED" in note for note in explanation.notes)


@pytest.mark.parametrize("name", ["truncated_completion", "token_outside_the_vocabulary"])
def test_structure_is_explained_without_tensors(world, tmp_path, name):
    """A checkpoint's small files suffice up to WRONG_TERMINATION."""
    reason, forge = ATTACKS[name]
    case = start(world)
    _, figures = forge(world, case)
    folder = write_run(world, case, tmp_path / "run")
    digest = world.checkpoint.digest.hex()
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in (world.folder / "models" / digest).iterdir():
        if file.suffix == ".json":
            (bare / file.name).write_bytes(file.read_bytes())
    (folder / "models").unlink()
    explanation, _ = ask(world, folder, model=bare)
    assert explanation.reason is reason
    assert not explanation.facts.rejudgment.has_model
    assert [m.value for m in explanation.measures] == [value for _, value, _ in figures]


def test_without_a_model_what_it_would_take_is_said(world, tmp_path):
    folder = write_run(world, start(world), tmp_path)
    (folder / "models").unlink()
    explanation, reproduction = ask(world, folder)
    assert explanation.accepted is None
    assert any("--model" in note for note in explanation.notes)
    assert not reproduction.works
    assert "--model must name a folder" in reproduction.note


def test_out_leaves_all_that_the_command_needs(world, tmp_path):
    case = start(world)
    cheap_model_generates(world, case)
    folder = write_run(world, case, tmp_path / "run")
    hotkey, out = world.hotkeys["alice"], tmp_path / "out"
    facts, material = gather_from_folder(folder, hotkey, WINDOW, None, None)
    material = write_material(out, facts, material)
    file = f"{encode_ss58(hotkey)}-window-1.rollouts"
    assert {p.name for p in out.iterdir()} == {"context-window-1.json", file}
    reproduction = make_reproduction(facts, material, Reason.SAMPLING_MISMATCH)
    assert str(out) in reproduction.command
    code, verdict = run_verify(reproduction.command)
    assert (code, verdict["reason"]) == (1, "SAMPLING_MISMATCH")
    # another miner's file of the same window takes nothing's place
    other, material = gather_from_folder(folder, world.hotkeys["bob"], WINDOW, None, None)
    write_material(out, other, material)
    again = run_verify(reproduction.command)[1]
    assert again | {"seconds": 0} == verdict | {"seconds": 0}
    # nor does another network's context
    network = replace(facts.context.parameters, netuid=facts.context.parameters.netuid + 1)
    abroad = replace(facts, context=replace(facts.context, parameters=network))
    with pytest.raises(ExplainError, match="the window of another network"):
        write_material(out, abroad, material)


def test_a_close_up_names_the_token_that_should_have_been_drawn(world, tmp_path):
    case = start(world)
    cheap_model_generates(world, case)
    explanation, _ = ask(world, write_run(world, case, tmp_path))
    close, where = explanation.facts.rejudgment.measured, explanation.where
    rollout = case.groups[where["group"]][where["rollout"]]
    assert close.claimed == rollout.tokens[where["token"]]
    # up to there the rollout is the honest one, and so is what should follow
    honest = world.genuine("alice", WINDOW)[where["group"]][where["rollout"]].tokens
    first = next(t for t in range(len(honest)) if rollout.tokens[t] != honest[t])
    assert first <= where["token"]
    if first == where["token"]:
        assert close.drawn == honest[first]
    assert 1 <= close.above_cap <= close.off <= close.tokens == len(rollout.tokens)


def test_wrong_input_is_one_readable_line(world, tmp_path):
    folder = write_run(world, start(world), tmp_path / "run")
    hotkey = encode_ss58(world.hotkeys["alice"])
    for arguments, words in (
        (("--hotkey", "5abc", "--window", 1), "is not an SS58 address"),
        (("--hotkey", hotkey, "--window", 7), "it has windows 1 to 1"),
        (("--window", 1), "name a hotkey"),
        (("--hotkey", hotkey, "--window", 1, "--validator", "x"), "is not an SS58 address"),
    ):
        given = ["explain", "--quiet", "--dir", str(folder), *map(str, arguments)]
        done = CliRunner().invoke(app, given)
        assert done.exit_code == 2
        assert words in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    with pytest.raises(ExplainError, match="no window 7"):
        gather_from_folder(folder, world.hotkeys["alice"], 7, None, None)


def test_the_command_prints_one_document_and_exits_as_verify_does(world, tmp_path):
    case = start(world)
    truncated_completion(world, case)
    hotkey = encode_ss58(world.hotkeys["alice"])
    for name, attacked, code in (("bad", case, 1), ("good", start(world), 0)):
        folder = write_run(world, attacked, tmp_path / name)
        given = ["--dir", str(folder), "--hotkey", hotkey, "--window", "1", "--json"]
        done = CliRunner().invoke(app, ["explain", *given])
        assert done.exit_code == code, done.stderr
        assert done.stderr == f"assay: loading PyTorch, then opening {folder} …\n"
        document = json.loads(done.stdout)
        assert document["accepted"] is (code == 0)
        assert document["reproduce"]["works"]
        assert document["hotkey"] == hotkey
