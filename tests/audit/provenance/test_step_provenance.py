"""A trainer that learns from groups of no miner, takes the wrong groups, or reports others."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.file import open_step_parser, write_groups
from assay.artifacts.steps.folder import compute_root_of, read_step, read_step_groups
from assay.artifacts.steps.groups import choose_external, compute_rank
from assay.artifacts.submissions.file import SubmissionFile
from assay.artifacts.submissions.reading import read_submission
from assay.audit.bundle import open_bundle
from assay.audit.findings import Aspect
from assay.audit.opening import AuditRequest
from assay.audit.provenance.comparing import check_provenance
from assay.audit.provenance.step_check import ProvenanceRequest, open_provenance
from assay.audit.provenance.step_submissions import SubmissionsBeside
from assay.cli.app import app
from assay.environments.dealing import deal_level
from assay.environments.registry import open_environment
from assay.inference.checkpoint import Checkpoint, load_outline
from assay.network.store.folder import open_folder
from assay.protocol.amendment import make_history
from assay.protocol.commitment import Commitment, Tag, encode_commitment, make_object_name
from assay.protocol.parameters import Start
from assay.protocol.reason import Reason, Refusal
from assay.protocol.record import decode_window_record, make_record_context, make_window_record_name
from assay.protocol.seeds import compute_problem_seed
from assay.protocol.selection import select_committed
from assay.protocol.ss58 import encode_ss58
from assay.protocol.step import StepLeftOut, StepReplay
from assay.protocol.submission import decode_ids, decode_proof
from assay.settings.loading import ConfigError
from assay.settings.sections import Settings
from assay.training import Group
from assay.verification import plan_groups
from tests.audit.audited import remember_forward


class Case:
    """The last step of a demo, its groups, and an auditor's inputs for the window."""

    def __init__(self, folder, scratch):
        self.folder = folder
        self.checkpoints = CheckpointFolder(folder / "models")
        self.bundle = open_bundle(folder / "bundle", scratch)
        stores = [open_folder(folder / "store")]
        self.alone = self.bundle.public
        files = SubmissionsBeside(self.alone.submissions, stores)
        self.public = replace(self.alone, submissions=files)
        self.steps = [read_step(path) for path in sorted((folder / "steps").glob("step-*.json"))]
        self.step = self.steps[-1]
        self.taken = read_step_groups(self.step)
        name = make_window_record_name(encode_ss58(self.bundle.validator), self.step.record.window)
        self.record = decode_window_record(self.alone.records.get(name, 1 << 24))
        self.context = make_record_context(self.record, self.alone.parameters)

    def trace(self, taken, step=None, public=None, checkpoints=None):
        return check_provenance(
            step or self.step,
            taken,
            public or self.public,
            self.bundle.validator,
            checkpoints or self.checkpoints,
        )

    def read_group(self, hotkey, index):
        """Completions and log-probabilities of a group of a miner's file, as a trainer would take
        them that judges nothing."""
        name = make_object_name(encode_ss58(hotkey), self.context.window)
        reader = SubmissionFile(open_folder(self.folder / "store").open(name))
        (group,) = read_submission(plan_groups(self.context, hotkey, [index]), reader).groups
        return [
            (
                decode_ids(group.ids[r], group.head, r).tolist(),
                decode_proof(group.proofs[r], group.head, r).logprobs,
            )
            for r in group.audited
        ]


@pytest.fixture(scope="module")
def case(played, tmp_path_factory):
    return Case(played[0], tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="module", autouse=True)
def _measured_once():
    """Tests lie about one step's groups: what the models say of these is measured once."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("get_reference", "get_appeal"):
            patch.setattr(Checkpoint, name, remember_forward(getattr(Checkpoint, name)))
        yield


def change(one, **fields):
    """A group with other completions, rewards or log-probabilities."""
    return replace(one, group=replace(one.group, **fields))


def test_every_honest_step_of_a_demo_leads_to_the_chain(case):
    with open_step_parser() as parser:
        for step in case.steps:
            if step.record.window not in case.bundle.about.windows.all:
                continue
            found = case.trace(read_step_groups(step, parser), step)
            assert found.matched, (found.differences, found.unknown)
            assert {
                Aspect.LINK,
                Aspect.COMMITMENTS,
                Aspect.FILES,
                Aspect.GROUPS,
                Aspect.LOGPROBS,
                Aspect.VERDICTS,
                Aspect.CHOICE,
            } <= set(found.checked)


def test_the_command_says_so(case):
    result = invoke(case.step.path, case)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["equal"] is True
    assert document["groups"]["matched"] is True


def invoke(path, case, *more):
    store, models = (case.folder / "store").as_uri(), case.folder / "models"
    arguments = [
        "train",
        "verify-step",
        path,
        "--models",
        models,
        "--offline",
        case.folder / "bundle",
        "--allow-local-beacon",
        "--files",
        store,
    ]
    return CliRunner().invoke(app, [*map(str, arguments), "--json", *more])


def test_a_forged_group_in_a_consistent_step(case, tmp_path):
    """Its root, record and reward are right: only the miner has never made it."""
    shutil.copytree(case.folder / "steps", tmp_path / "steps")
    taken = list(case.taken)
    taken[3] = forge(case, taken[3])
    step = replace(case.step, path=tmp_path / "steps" / case.step.path.name)
    root = compute_root_of(taken, step.record.window, step.record.parent)
    record = replace(step.record, consumed=root)
    write_groups(step.path.with_suffix(".parquet"), taken)
    value = json.loads(step.path.read_text())
    value["record"]["consumed"], value["digest"] = root.hex(), record.digest.hex()
    step.path.write_text(json.dumps(value))
    result = invoke(step.path, case)
    assert result.exit_code == 1, result.output
    document = json.loads(result.stdout)
    assert document["equal"] is False
    assert f"group {taken[3].index}: rollout 0 is not the one" in document["detail"]


def forge(case, one):
    """The first rollout becomes a copy of the second that it had: real tokens, real reward."""
    group, other = (
        one.group,
        next(
            i
            for i, tokens in enumerate(one.group.completions)
            if tokens != one.group.completions[0]
        ),
    )
    fields = {
        name: [getattr(group, name)[other], *getattr(group, name)[1:]]
        for name in ("completions", "rewards", "behaviour_logprobs")
    }
    return change(one, **fields)


def test_a_step_is_of_the_parameters_of_its_window(case):
    """Not of those that hold later, which everybody knows already."""
    first, window = case.alone.parameters, case.step.record.window
    work = replace(first.work, prompt_share=1)
    start = Start(first.digest, window + first.timing.notice_windows)
    later = replace(first, work=work, start=start)
    public = replace(case.public, history=make_history([first, later]))
    found = case.trace(case.taken, public=public)
    assert found.matched, (found.differences, found.unknown)
    step = replace(case.step, record=replace(case.step.record, parameters=later.digest))
    ((check, sentence),) = case.trace(case.taken, step, public).differences
    assert check is Aspect.PARAMETERS
    assert f"which hold from window {later.start.window} on" in sentence


def test_a_step_whose_parameters_cannot_be_read_here_is_left_open(case):
    history = make_history([case.alone.parameters])
    history.stop_at(case.step.record.window, "they ask what is not here")
    found = case.trace(case.taken, public=replace(case.public, history=history))
    assert not found.differences
    assert (Aspect.PARAMETERS, "they ask what is not here") in found.unknown


def test_the_first_step_from_a_checkpoint_that_an_amendment_names(case, tmp_path):
    """No step before it need be shown: its windows were under other parameters."""
    first, record = case.alone.parameters, case.step.record
    path = tmp_path / "steps" / case.step.path.name
    path.parent.mkdir()
    shutil.copy(case.step.path, path)
    step = replace(case.step, path=path)
    assert Aspect.LINK in {check for check, _ in case.trace(case.taken, step).unknown}
    tests = replace(first.tests, alpha_inverse=2 * first.tests.alpha_inverse)
    named = Start(first.digest, max(6, record.window), record.parent, 1)
    history = make_history([first, replace(first, tests=tests, start=named)])
    owner = case.alone.chain.get_owner(12 * record.window + first.timing.commit_offset)

    class Deciding:
        def __init__(self, chain):
            self._chain = chain

        def __getattr__(self, name):
            return getattr(self._chain, name)

        def get_owner(self, number):
            return owner

        def get_commitments(self, number):
            latest = history.latest
            said = Commitment(Tag.PARAMETERS, latest.start.window, 0, latest.digest, "test:store")
            return {owner: encode_commitment(said)}

    public = replace(case.public, chain=Deciding(case.alone.chain), history=history)
    found = case.trace(case.taken, step, public)
    assert Aspect.LINK in found.checked
    assert Aspect.LINK not in {check for check, _ in found.unknown}


def test_files_missing_from_a_bundle_are_reported_unchecked(case):
    found = case.trace(case.taken, public=case.alone)
    assert not found.differences
    aspects = {Aspect.GROUPS, Aspect.LOGPROBS, Aspect.CHOICE}
    # of a file that its validator refused early, a bundle may have no group
    assert aspects <= {check for check, _ in found.unknown} <= aspects | {Aspect.FILES}
    assert "--files" in found.unknown[0][1]


def test_a_forged_group_that_an_audit_asks_for_needs_no_file(case):
    context = case.context
    valued = {
        (hotkey, group.index)
        for hotkey in {one.hotkey for one in case.taken}
        for group in select_committed(context, hotkey, context.commitments[hotkey].groups)
        if group.valued
    }
    one = next(one for one in case.taken if (one.hotkey, one.index) in valued)
    found = case.trace([forge(case, one)], public=case.alone)
    assert "is not the one that its miner had committed to" in found.differences[0][1]


def test_log_probabilities_that_the_model_never_gave(case):
    one = case.taken[0]
    told = [list(row) for row in one.group.behaviour_logprobs]
    told[1][2] -= 0.5
    lie = change(one, behaviour_logprobs=told)
    ((check, sentence),) = case.trace([lie]).differences[:1]
    assert check is Aspect.LOGPROBS
    assert f"group {one.index}, rollout 1, token 2" in sentence


def test_without_the_model_they_are_held_against_the_miners(case, tmp_path):
    """Its parent is there; the checkpoint in force is an older one."""
    parent = case.step.record.parent
    assert parent != case.context.checkpoint
    few = CheckpointFolder(tmp_path / "models")
    few.add(case.folder / "models" / parent.hex(), parent)
    found = case.trace(case.taken, checkpoints=few)
    assert not found.differences
    cheats = {left.hotkey for left in case.step.record.left_out}
    checks = [check for check, _ in found.unknown]
    assert checks == [Aspect.LOGPROBS, *[Aspect.CHOICE] * len(cheats)]
    one = case.taken[0]
    told = [[value - 0.5 for value in row] for row in one.group.behaviour_logprobs]
    found = case.trace([change(one, behaviour_logprobs=told)], checkpoints=few)
    assert any("is not its miner's" in sentence for _, sentence in found.unknown)


def replay(case, one):
    """The last step, as if it had learned from a group of the step before once more."""
    before = case.steps[-2].record
    named = StepReplay(before.digest, before.number, before.window, one.hotkey, one.proof, 1)
    record = replace(case.step.record, replayed=(named,))
    return [*case.taken, one], replace(case.step, record=record)


def test_replayed_groups_lead_to_the_chain(case):
    before = case.steps[-2]
    assert before.record.window in case.bundle.about.windows.all
    one = next(one for one in read_step_groups(before) if one.group.teaches)
    found = case.trace(*replay(case, one))
    assert found.matched, (found.differences, found.unknown)
    told = [list(row) for row in one.group.behaviour_logprobs]
    told[0][0] -= 0.5
    lies = {
        Aspect.LOGPROBS: change(one, behaviour_logprobs=told),
        Aspect.GROUPS: forge(case, one),
        Aspect.COMMITMENTS: replace(one, proof=b"r" * 32),
    }
    for aspect, lie in lies.items():
        check, sentence = case.trace(*replay(case, lie)).differences[0]
        assert check is aspect, sentence
    taken, step = replay(case, one)
    check, sentence = case.trace([one, *taken[:-1]], step).differences[0]
    assert "not in the order" in sentence


def twice(case):
    return [case.taken[0], case.taken[0]], Aspect.GROUPS, "learns from it twice"


def out_of_order(case):
    return case.taken[1::-1], Aspect.GROUPS, "not in the order"


def of_nobody(case):
    stranger = replace(case.taken[0], hotkey=b"n" * 32)
    return [stranger], Aspect.COMMITMENTS, "did not hold a uid"


def of_another_root(case):
    return ([replace(case.taken[0], proof=b"r" * 32)], Aspect.COMMITMENTS, "had committed to root")


def beyond_the_file(case):
    return [replace(case.taken[0], index=10**6)], Aspect.GROUPS, "had committed to"


def of_another_checkpoint(case):
    other = replace(case.taken[0], checkpoint=case.step.child)
    return [other], Aspect.GROUPS, "was in force"


def of_another_problem(case):
    other = replace(change(case.taken[0], prompt=[1]), problem_seed=bytes(32))
    return [other], Aspect.GROUPS, "not the one that the window's challenge asks"


def passed_over(case):
    """All but the one that comes first of all."""
    seed = case.context.audit_seed
    ranks = {compute_rank(seed, one.hotkey, one.index): one for one in case.taken}
    first = ranks[min(ranks)]
    left = [one for one in case.taken if one.hotkey == first.hotkey and one is not first]
    return left, Aspect.CHOICE, f"group {first.index} ranks before others"


@pytest.mark.parametrize(
    "lie",
    [
        twice,
        out_of_order,
        of_nobody,
        of_another_root,
        beyond_the_file,
        of_another_checkpoint,
        of_another_problem,
        passed_over,
    ],
)
def test_groups_that_no_step_may_take(case, lie):
    taken, check, sentence = lie(case)
    differences = case.trace(taken).differences
    assert any(found is check and sentence in said for found, said in differences), differences


@pytest.mark.parametrize("altered", [{"problem_seed": bytes(32)}, {"levels": (7,)}])
def test_a_store_that_alters_what_nothing_binds_accuses_nobody(case, altered):
    found = case.trace([replace(case.taken[0], **altered), *case.taken[1:]])
    assert not found.differences
    ((check, said),) = found.unknown
    assert (check, "another seed or level" in said) == (Aspect.GROUPS, True)


def test_a_choice_by_rank_passes_nobody_over(case):
    """Fewer than were accepted, and the rule's own. A choice that ends with a group without a
    signal is not, as a spare one came."""
    seed = case.context.audit_seed
    few = choose_external(case.taken, 4, seed)
    assert sum(one.group.teaches for one in few) == 4 < len(case.taken)
    assert case.trace(few).matched
    last = max(few, key=lambda one: compute_rank(seed, one.hotkey, one.index))
    dull = replace(last, group=replace(last.group, rewards=[0] * len(last.group.rewards)))
    differences = case.trace([dull if one is last else one for one in few]).differences
    assert any("no spare group was taken" in said for _, said in differences)


@pytest.mark.parametrize(("most", "matched"), [(4, True), (5, False), (None, False)])
def test_where_proposals_wait_a_step_takes_as_many_groups_as_it_says(case, most, matched):
    """Else a trainer could choose by them whose problems are tried."""
    few = choose_external(case.taken, 4, case.context.audit_seed)
    config = json.loads(case.step.record.config) | {"proposal_tries": 3, "external_groups": most}
    record = replace(case.step.record, config=json.dumps(config))
    found = case.trace(few, replace(case.step, record=record))
    assert found.matched == matched
    assert matched or "it has left spare ones" in found.differences[0][1]


def test_a_cheats_file_that_was_learned_from(case):
    """Its bytes are as committed; its validator refused them, and so does the judge here."""
    row = next(r for r in case.record.members if str(r.reason) == "SAMPLING_MISMATCH")
    rollouts = case.read_group(row.hotkey, 0)
    group = Group(
        [1],
        [tokens for tokens, _ in rollouts],
        [0] * len(rollouts),
        [(logprobs / np.float64(-(1 << 16))).tolist() for _, logprobs in rollouts],
    )
    seed = compute_problem_seed(case.context.challenge_seed, row.hotkey, 0)
    outline = load_outline(case.folder / "models" / case.context.checkpoint.hex())
    environment = open_environment(case.context.parameters.environment)
    levels = outline.manifest.levels
    one = replace(
        case.taken[0],
        group=group,
        levels=(deal_level(environment, case.context.challenge_seed, row.hotkey, 0, levels),),
        hotkey=row.hotkey,
        index=0,
        proof=row.committed.root,
        problem_seed=seed,
    )
    step = replace(case.step, record=replace(case.step.record, left_out=()))
    found = case.trace([one], step)
    assert any("refused its file (SAMPLING_MISMATCH)" in said for _, said in found.differences)


def leave_out(case, left, taken=None, **more):
    """What an auditor finds where the step has left out a group, too."""
    others = [one for one in case.step.record.left_out if one.hotkey != left.hotkey]
    record = replace(case.step.record, left_out=(left, *others))
    return case.trace(
        case.taken if taken is None else taken, replace(case.step, record=record), **more
    )


def find_cheat(case):
    return next(r.hotkey for r in case.record.members if str(r.reason) == "SAMPLING_MISMATCH")


def test_groups_left_out_for_a_fault_are_derived_again(case):
    """Those of the demo's cheats are in the records already."""
    cheat = find_cheat(case)
    assert {left.hotkey for left in case.step.record.left_out} >= {cheat}
    found = leave_out(case, StepLeftOut(cheat, 0, Reason.SAMPLING_MISMATCH))
    assert found.matched, (found.differences, found.unknown)


def test_a_genuine_group_that_was_left_out(case, tmp_path):
    one = case.taken[0]
    left = StepLeftOut(one.hotkey, one.index, Reason.SAMPLING_MISMATCH)
    ((check, sentence),) = leave_out(case, left, case.taken[1:]).differences
    assert check is Aspect.CHOICE
    assert f"group {one.index}, left out (SAMPLING_MISMATCH): it is genuine" in sentence
    few = CheckpointFolder(tmp_path / "models")
    few.add(case.folder / "models" / case.step.record.parent.hex(), case.step.record.parent)
    found = leave_out(case, left, case.taken[1:], checkpoints=few)
    assert not found.differences
    assert any("only a forward pass" in said for _, said in found.unknown)


def test_rounding_decides_which_fault_of_the_model_is_found_first(case):
    found = leave_out(case, StepLeftOut(find_cheat(case), 0, Reason.LOGPROB_MISMATCH))
    assert not found.differences


def test_a_fault_that_one_implementation_finds_names_no_trainer(case, monkeypatch):
    """A miner's fault can be as small as rounding, and the trainer may have no appeal left."""
    one = case.taken[0]
    left = StepLeftOut(one.hotkey, one.index, Reason.SKETCH_MISMATCH)
    get = Checkpoint.get_appeal

    class Rounding:
        def __init__(self, forward):
            self.forward = forward

        def measure(self, *given):
            return [replace(m, sketch=m.sketch ^ np.int8(1)) for m in self.forward.measure(*given)]

    monkeypatch.setattr(Checkpoint, "get_appeal", lambda *given: Rounding(get(*given)))
    assert not leave_out(case, left, case.taken[1:]).differences


def test_a_group_left_out_for_another_reason(case):
    left = StepLeftOut(find_cheat(case), 0, Reason.TOKEN_OUT_OF_RANGE)
    ((_, sentence),) = leave_out(case, left).differences
    assert "its fault is SAMPLING_MISMATCH" in sentence


@pytest.mark.parametrize("reason", [Reason.NOT_REVEALED, Reason.LEDGER_MISMATCH])
def test_what_nobody_can_check_of_a_group_left_out(case, reason):
    one = case.taken[0]
    found = leave_out(case, StepLeftOut(one.hotkey, one.index, reason), case.taken[1:])
    assert not found.differences
    assert any("nobody can check" in said for _, said in found.unknown)


class Watching:
    """Miners' files, where one is read from the store, part by part.

    Args:
        parts: as many parts of it as can be read; None: all.
    """

    def __init__(self, case, hotkey, parts=None):
        self.case, self.hotkey, self.most = case, hotkey, parts
        self.opened, self.read = 0, []

    def open(self, context, hotkey):
        if hotkey != self.hotkey:
            return self.case.public.submissions.open(context, hotkey)
        self.opened += 1
        name = make_object_name(encode_ss58(hotkey), context.window)
        self.file = SubmissionFile(open_folder(self.case.folder / "store").open(name))
        return self

    def offer(self, plan):
        self.read.append(plan.wanted)
        if self.most is None or len(self.read) <= self.most:
            return self.file.offer(plan)
        return Refusal(Reason.NOT_REVEALED, "it is away", unbound=True)


def leave_out_three(case, files):
    """What an auditor finds where the step has left out three groups of one file."""
    others = [one for one in case.step.record.left_out if one.hotkey != files.hotkey]
    left = [StepLeftOut(files.hotkey, index, Reason.SAMPLING_MISMATCH) for index in range(3)]
    step = replace(case.step, record=replace(case.step.record, left_out=(*left, *others)))
    return case.trace(case.taken, step, replace(case.public, submissions=files))


def test_a_file_is_read_once_for_all_its_groups_that_were_left_out(case):
    files = Watching(case, find_cheat(case))
    leave_out_three(case, files)
    assert files.opened == 1
    assert len(files.read) == len(set(files.read)) > 3


@pytest.mark.parametrize(("parts", "asked"), [(0, 1), (1, 4)])
def test_groups_left_out_of_a_file_that_cannot_be_read(case, parts, asked):
    """Without its opening, nobody asks again for each of its groups."""
    files = Watching(case, find_cheat(case), parts)
    found = leave_out_three(case, files)
    assert not found.differences
    assert any("3 of the groups that were left out" in said for _, said in found.unknown)
    assert len(files.read) == asked


def test_a_group_left_out_that_nobody_has_committed_to(case):
    left = StepLeftOut(case.taken[0].hotkey, 10**6, Reason.SAMPLING_MISMATCH)
    differences = leave_out(case, left).differences
    assert {check for check, _ in differences} == {Aspect.CHOICE}
    assert any("not the step's to learn from" in sentence for _, sentence in differences)


def test_a_window_that_the_step_before_has_learned_from(case):
    lie = replace(case.step, record=replace(case.step.record, parent=case.step.child))
    found = case.trace(case.taken, lie)
    assert any(check is Aspect.LINK and "twice" in said for check, said in found.differences)


def test_a_step_whose_forerunner_is_not_here_is_unchecked(case, tmp_path):
    alone = replace(case.step, path=tmp_path / case.step.path.name)
    found = case.trace(case.taken[:1], alone)
    assert any(check is Aspect.LINK for check, _ in found.unknown)


def test_findings_on_groups_are_reported_for_a_step_that_cannot_be_repeated(case):
    step = case.steps[1]
    assert not step.path.with_suffix(".before.safetensors").exists()
    result = invoke(step.path, case)
    assert result.exit_code == 2
    document = json.loads(result.stdout)
    assert document["equal"] is None
    assert document["groups"]["matched"] is True


def test_a_bundle_of_other_windows_cannot_say(case):
    record = AuditRequest(bundle=case.folder / "bundle", allow_local_beacon=True)
    opening = open_provenance(Settings(), ProvenanceRequest(record), 10**6)
    with pytest.raises(ConfigError, match="has windows"), opening:
        pass


def test_the_file_is_read_in_another_process(case, monkeypatch):
    """Its native parser is a stranger's to crash."""

    def never(*_, **__):
        raise AssertionError("it is parsed here")

    monkeypatch.setattr(pq, "ParquetFile", never)
    assert len(read_step_groups(case.step)) == len(case.taken)


def test_a_network_must_be_named_for_files(case):
    result = CliRunner().invoke(
        app, ["train", "verify-step", str(case.step.path), "--files", Path.cwd().as_uri()]
    )
    assert result.exit_code == 2
    assert "--offline" in result.output
