"""Compares a step's groups with their miners' commitments on chain.

Repeating a step shows that its data give its checkpoint. This shows whose data they are. A claim
about a miner's group counts through the root that was on chain for its window: a group that leads
to no root was invented, whatever name it has. Specification, section 11.

This does not show whether a file that the trainer left out was really unavailable then, nor why the
trainer takes the number of groups that it takes.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.file import ConsumedGroup
from assay.artifacts.steps.folder import Step, StepError, StepFolder, read_step
from assay.artifacts.steps.groups import choose_external, compute_rank, count_teaching, find_most
from assay.artifacts.steps.returns import get_return_path, read_return
from assay.audit.findings import Aspect, Findings
from assay.audit.ports import Public
from assay.audit.provenance.consumed import describe_group, find_disorder
from assay.audit.provenance.known_window import KnownWindow, open_window
from assay.audit.provenance.step_submissions import (
    CommittedGroups,
    compare_groups,
    judge_committed,
    judge_left_out,
    read_committed,
)
from assay.audit.window_parameters import choose_parameters
from assay.environments.dealing import deal_level, make_miner_problem
from assay.environments.registry import open_environment
from assay.protocol.manifest import Manifest
from assay.protocol.reason import CHEATING, Reason, Refusal
from assay.protocol.seeds import compute_problem_seed
from assay.protocol.ss58 import encode_ss58
from assay.protocol.step import ReturnRecord, StepLeftOut, StepRecord
from assay.settings.learning import read_config
from assay.verification import find_commitment

#: Verdicts on bytes that the root on chain binds, which the trainer's own judge and a validator's
#: find alike. In other verdicts a trainer may differ: it reads at another time, and keeps no
#: ledger.
_BINDING = CHEATING - {Reason.LEDGER_MISMATCH} | {Reason.WRONG_CHECKPOINT}


def check_provenance(
    step: Step,
    consumed: Sequence[ConsumedGroup],
    public: Public,
    validator: bytes,
    checkpoints: CheckpointFolder,
) -> Findings:
    """Check that a step has learned only from groups that miners had committed to.

    Args:
        consumed: the groups that it consumed, as its record binds them.
        public: chain, validators' records, miners' files.
        validator: its record says which files were accepted.
        checkpoints: with the parent, and the one in force if forward passes are to be run.

    Raises:
        ChainError: the chain cannot be read.
        CheckpointError: the parent is not here, or damaged.
        OperatorError: a bundle or a worker is unusable.
    """
    record, findings = step.record, Findings(step.record.window)
    then = choose_parameters(public, record.window, findings)
    _check_before(step, checkpoints, then, findings)
    windows: dict[int, list[ConsumedGroup]] = defaultdict(list)
    for one in consumed:
        windows[one.window].append(one)
    fresh = windows.pop(record.window, [])
    left_out = frozenset(left.hotkey for left in record.left_out)
    given = validator, checkpoints, findings
    inputs = open_window(then, record, record.window, fresh, left_out, *given)
    if inputs is None:
        return findings
    trainer = inputs.context.parameters.identity.trainer
    sources = _sort_by_hotkey(one for one in fresh if one.hotkey != trainer)
    findings.look(Aspect.GROUPS)
    if (disorder := find_disorder(record, consumed, trainer)) is not None:
        findings.differ(Aspect.GROUPS, disorder)
    for hotkey, groups in sources.items():
        _check_source(inputs, hotkey, groups, findings)
    _check_left_out(inputs, record.left_out, findings)
    _check_choice(inputs, sources, record, findings)
    for window, replays in sorted(windows.items()):
        by_hotkey = _sort_by_hotkey(replays)
        # which groups of their files had a fault, the record of their own window's step says
        parameters = choose_parameters(public, window, findings)
        left_out = frozenset(by_hotkey)
        earlier = open_window(parameters, record, window, replays, left_out, *given)
        if earlier is None:
            continue
        for hotkey, groups in by_hotkey.items():
            _check_source(earlier, hotkey, groups, findings)
    return findings


def _sort_by_hotkey(groups: Iterable[ConsumedGroup]) -> dict[bytes, list[ConsumedGroup]]:
    found: dict[bytes, list[ConsumedGroup]] = defaultdict(list)
    for one in groups:
        found[one.hotkey].append(one)
    return found


def _check_before(
    step: Step, checkpoints: CheckpointFolder, public: Public | None, findings: Findings
) -> None:
    """Check that each step's window comes after the last one's, so that no group is learned from
    twice. `public` has the parameters of the step's window, if these are known."""
    record, parent = step.record, checkpoints.get_outline(step.record.parent).manifest
    is_named = public is not None and record.parent == public.parameters.start.checkpoint
    if not parent.number or is_named:  # the first under its parameters, whose windows come later
        findings.look(Aspect.LINK)
        return
    steps = StepFolder(step.path.parent)
    path = steps.get_path(parent.number, parent.step)
    rounds = None if public is None else public.parameters.rounds
    if rounds is not None and not path.exists() and parent.number % rounds.windows == 0:
        findings.look(Aspect.LINK)  # the first of a round, whose number is at most its first window
        if record.window < parent.number:
            findings.differ(Aspect.LINK, f"window {record.window} is before its round")
        return
    before: StepRecord | ReturnRecord
    try:
        if parent.is_return:
            before = read_return(get_return_path(steps, parent.number, parent.step)).record
        else:
            before = read_step(path).record
        if before.digest != parent.step:
            raise StepError("it is not the one that the parent names")
    except StepError as error:
        findings.miss(Aspect.LINK, f"the record of the step before, {parent.number}: {error}")
        return
    findings.look(Aspect.LINK)
    if before.window >= record.window:
        findings.differ(
            Aspect.LINK,
            f"the step before has learned from window {before.window}: no window is learned from "
            "twice, or after a later one",
        )
    if checkpoints.holds(step.child):
        counts = [
            _count_asked(one) for one in (parent, checkpoints.get_outline(step.child).manifest)
        ]
        if counts[0] != counts[1]:
            findings.notes.append(
                f"of its parent {counts[1]} held-out problems were asked, and {counts[0]} in the "
                "step before: levels follow from their success"
            )


def _count_asked(made: Manifest) -> int:
    return sum(success.asked for success in made.held_out)


# --- the groups


def _check_source(
    inputs: KnownWindow, hotkey: bytes, groups: Sequence[ConsumedGroup], findings: Findings
) -> None:
    """Check one miner's groups in the step."""
    name = encode_ss58(hotkey)
    committed = find_commitment(inputs.context, hotkey)
    findings.look(Aspect.COMMITMENTS)
    if isinstance(committed, Refusal):
        findings.differ(Aspect.COMMITMENTS, f"{name}, learned from: {committed.detail}")
        return
    strange = next((one for one in groups if one.proof != committed.root), None)
    if strange is not None:
        findings.differ(
            Aspect.COMMITMENTS,
            f"{name} had committed to root {committed.root.hex()[:16]}…, and the step has groups "
            f"of {strange.proof.hex()[:16]}…",
        )
        return
    for one in groups:
        if fault := _find_misplaced(inputs, one, committed.groups):
            findings.differ(Aspect.GROUPS, f"{describe_group(one)}: {fault}")
            return
        if not _is_asked(inputs, one):
            findings.miss(
                Aspect.GROUPS, f"{describe_group(one)}: its file has another seed or level"
            )
    reader = inputs.public.submissions.open(inputs.context, hotkey)
    held = read_committed(reader, hotkey, inputs.context, groups)
    genuine = _check_committed(inputs, hotkey, groups, held, findings)
    own_groups = inputs.list_own(hotkey, committed.groups)
    strange = next((one for one in groups if one.index not in own_groups), None)
    if strange is not None:
        findings.differ(Aspect.CHOICE, f"{describe_group(strange)}: of another trainer's share")
        return
    whole = genuine and len(groups) == len(own_groups)
    _check_verdict(inputs, hotkey, whole, findings)


def _find_misplaced(inputs: KnownWindow, one: ConsumedGroup, count: int) -> str | None:
    context, parameters = inputs.context, inputs.context.parameters
    if one.index >= count:
        return f"its miner had committed to {count} groups"
    if one.checkpoint != context.checkpoint:
        return f"checkpoint {context.checkpoint.hex()[:16]}… was in force, and it names another"
    outline = inputs.outline
    if outline is None or _is_asked(inputs, one):
        return None
    given = context.challenge_seed, one.hotkey, one.index, outline.manifest.levels
    problem = make_miner_problem(outline.open_environment(parameters.environment), *given)
    if outline.tokenizer.encode(problem.conversation) != one.group.prompt:
        return "its problem is not the one that the window's challenge asks"
    return None


def _is_asked(inputs: KnownWindow, one: ConsumedGroup) -> bool:
    """Whether a group has the seed and the level, as far as the checkpoint is known, that the
    window's challenge asks. No root binds them: a store may have altered them."""
    context, outline = inputs.context, inputs.outline
    if one.problem_seed != compute_problem_seed(context.challenge_seed, one.hotkey, one.index):
        return False
    if outline is None:
        return True
    environment = open_environment(context.parameters.environment)
    given = context.challenge_seed, one.hotkey, one.index, outline.manifest.levels
    return one.levels == (deal_level(environment, *given),)


def _check_committed(
    inputs: KnownWindow,
    hotkey: bytes,
    groups: Sequence[ConsumedGroup],
    held: CommittedGroups,
    findings: Findings,
) -> bool:
    """Check the file's own bytes. Return whether all of the step's groups are there and genuine."""
    name, refusal = encode_ss58(hotkey), held.refusal
    if held.groups:
        findings.look(Aspect.FILES)
    if refusal is not None and not refusal.unbound:
        sentence = f"nobody may learn from its file, {refusal.reason}: {refusal.detail}"
        findings.differ(Aspect.FILES, f"{name}: {sentence}")
        return False
    if refusal is not None:
        _miss_groups(name, {one.index for one in groups}, held, refusal, findings)
    present = [one for one in groups if one.index in held.groups]
    if fault := compare_groups(present, held):
        findings.differ(Aspect.GROUPS, fault)
        return False
    whole = [one for one in present if one.index in held.whole]
    if inputs.outline is None or not whole:
        return False
    genuine = judge_committed(inputs.context, inputs.outline, whole, held, findings)
    return genuine and refusal is None


def _miss_groups(
    name: str, indices: set[int], held: CommittedGroups, refusal: Refusal, findings: Findings
) -> None:
    """Report the groups of a file that are not available as committed."""
    missing, count = len(indices - held.groups.keys()), len(indices)
    if missing:
        check = Aspect.GROUPS if held.groups else Aspect.FILES
        sentence = f"{missing} of {count} groups cannot be fetched as committed: {refusal.detail}"
        findings.miss(check, f"{name}: {sentence}")
    unproven = count - len(held.whole)
    sentence = f"of {unproven} of {count} groups not all proofs can be had: {refusal.detail}"
    findings.miss(Aspect.LOGPROBS, f"{name}: {sentence}")


def _check_verdict(inputs: KnownWindow, hotkey: bytes, whole: bool, findings: Findings) -> None:
    """Check the validator's verdict on a file. `whole`: all of it was judged genuine here."""
    if inputs.rows is None:
        return
    findings.look(Aspect.VERDICTS)
    row, name = inputs.rows.get(hotkey), encode_ss58(hotkey)
    reason = None if row is None else row.reason
    if reason is Reason.ACCEPTED:
        return
    left_out = hotkey in inputs.left_out and reason in CHEATING
    if reason in _BINDING and not whole and not left_out:
        findings.differ(
            Aspect.VERDICTS,
            f"{name}: the validator refused its file ({reason}), and the step learned from it",
        )
    else:
        verdict_text = (
            "has no verdict on its file" if reason is None else f"refused its file ({reason})"
        )
        genuine = ", and every group of it is genuine" if whole else ""
        if left_out:
            genuine = ", and has left out groups with a fault"
        findings.notes.append(
            f"{name}: the validator {verdict_text}; the step has learned from it{genuine}"
        )


def _check_left_out(
    inputs: KnownWindow, left_out: Sequence[StepLeftOut], findings: Findings
) -> None:
    """Check each group that the step has left out for a fault."""
    files: dict[bytes, list[StepLeftOut]] = defaultdict(list)
    for left in left_out:
        files[left.hotkey].append(left)
    for hotkey, groups in files.items():
        name = encode_ss58(hotkey)
        committed = find_commitment(inputs.context, hotkey)
        count = 0 if isinstance(committed, Refusal) else committed.groups
        strange = {left.index for left in groups}.difference(inputs.list_own(hotkey, count))
        if strange:
            fault = f"{name}: group {min(strange)}: left out, and not the step's to learn from"
            findings.differ(Aspect.CHOICE, fault)
            return
        reader = inputs.public.submissions.open(inputs.context, hotkey)
        reasons = judge_left_out(inputs.context, inputs.outline, groups, reader, findings)
        if reasons:
            sentence = f"{len(reasons)} of the groups that were left out: {reasons[0]}"
            findings.miss(Aspect.CHOICE, f"{name}: {sentence}")


def _check_choice(
    inputs: KnownWindow,
    sources: dict[bytes, list[ConsumedGroup]],
    record: StepRecord,
    findings: Findings,
) -> None:
    """Check the choice: a step takes the groups of the lowest ranks of the files that it has read,
    up to one with a signal if any are left, where proposals wait as many with a signal as its
    record says, in a round all of its trainer's share, except for those
    that it has left out for a fault."""
    context = inputs.context

    def rank(hotkey: bytes, index: int) -> bytes:
        return compute_rank(context.audit_seed, hotkey, index)

    chosen = {(hotkey, one.index): one for hotkey, groups in sources.items() for one in groups}
    if not chosen:
        return
    known = chosen.keys() | {(left.hotkey, left.index) for left in record.left_out}
    last_place = max(chosen, key=lambda place: rank(*place))
    last = rank(*last_place)
    findings.look(Aspect.CHOICE)
    silent, spare = 0, False
    for hotkey in sorted(context.commitments.keys() & context.members.keys()):
        count = min(context.commitments[hotkey].groups, context.parameters.work.group_cap)
        left = [i for i in inputs.list_own(hotkey, count) if (hotkey, i) not in known]
        spare |= hotkey in sources and bool(left)
        passed = [i for i in left if inputs.trainer is not None or rank(hotkey, i) < last]
        row = None if inputs.rows is None else inputs.rows.get(hotkey)
        if passed and hotkey in sources:
            findings.differ(
                Aspect.CHOICE,
                f"{encode_ss58(hotkey)}: group {passed[0]} ranks before others that were taken, "
                f"and was left out",
            )
        elif passed and row is not None and row.reason is Reason.ACCEPTED:
            silent += 1
    if spare and inputs.trainer is None:
        _check_number(list(chosen.values()), last_place, context.audit_seed, record, findings)
    if silent:
        findings.notes.append(
            f"{silent} accepted files were left out; nobody can prove whether the trainer could "
            f"not read them then, or found a bad group that no audit saw"
        )


def _check_number(
    groups: Sequence[ConsumedGroup],
    last: tuple[bytes, int],
    audit_seed: bytes,
    record: StepRecord,
    findings: Findings,
) -> None:
    """Check how many of the miners' groups a step has taken that has left spare ones.

    Args:
        groups: those, in any order. last: hotkey and index of the one that ranks last.
    """
    config, count = read_config(record), count_teaching(groups)
    if len(choose_external(groups, count, audit_seed)) < len(groups):
        findings.differ(
            Aspect.CHOICE,
            f"{encode_ss58(last[0])}: group {last[1]} ranks last and has no signal, and no spare "
            "group was taken in its place",
        )
    most = find_most(config)
    if config.choice.proposal_tries and (most is None or count < most):
        taking = "all" if most is None else f"{most}, if as many came"
        findings.differ(
            Aspect.CHOICE,
            f"it has {count} of the miners' groups with a signal, and its settings take "
            f"{taking}: it has left spare ones",
        )
