"""A miner's file as far as a step has learned from it: it is read, checked against its root, and
judged again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from assay.artifacts.steps.file import ConsumedGroup, to_integers
from assay.artifacts.submissions.appeals import AppealBudget
from assay.artifacts.submissions.file import SubmissionFile
from assay.artifacts.submissions.judge import (
    UnjudgedError,
    examine_file,
    judge_and_carry,
    note_unjudged,
)
from assay.artifacts.submissions.reading import SubmissionReader, read_submission
from assay.audit.findings import Aspect, Findings
from assay.audit.ports import Submissions
from assay.audit.provenance.consumed import describe_group
from assay.inference.checkpoint import Checkpoint, Outline
from assay.judge.pack import PackError
from assay.judge.provable import BY_MODEL
from assay.judge.seal import BundleError
from assay.network.store.base import ObjectStore, StoreError
from assay.protocol.commitment import make_object_name
from assay.protocol.context import Context
from assay.protocol.encoding import EncodingError
from assay.protocol.reason import Reason, Refusal
from assay.protocol.ss58 import encode_ss58
from assay.protocol.step import StepLeftOut
from assay.protocol.submission import Range, decode_ids
from assay.verification import (
    CheckedSubmission,
    Examined,
    Ledger,
    ReadPlan,
    Refused,
    examine,
    plan_groups,
)
from assay.verification.logprobs import judge_logprobs
from assay.verification.read_plan import ReadGroup

#: Reasons that one group alone, or bytes that are there now, do not show.
_UNCHECKED = frozenset({Reason.NOT_REVEALED, Reason.ROOT_MISMATCH, Reason.LEDGER_MISMATCH})
#: Reasons that only a forward pass shows.
_BY_MODEL = BY_MODEL - {Reason.LEDGER_MISMATCH}


@dataclass(frozen=True, slots=True)
class SubmissionsBeside:
    """Miners' files from an audit's sources. Missing parts come from other stores."""

    first: Submissions
    stores: Sequence[ObjectStore]

    def open(self, context: Context, hotkey: bytes) -> SubmissionReader:
        """A reader of the file that a hotkey committed to. Only bytes that its root binds count."""
        name = make_object_name(encode_ss58(hotkey), context.window)
        files = [SubmissionFile(store.open(name)) for store in self.stores]
        return _Copies([self.first.open(context, hotkey), *files])


@dataclass(frozen=True, slots=True)
class _Copies:
    """Copies of one file. Only parts that the root binds count. No part is read twice."""

    readers: Sequence[SubmissionReader]
    parts: dict[Range, bytes | Refusal] = field(default_factory=dict)

    def offer(self, plan: ReadPlan) -> Refusal | None:
        """See `SubmissionReader`. If no copy is good, the refusal is the first copy's."""
        assert plan.wanted is not None  # otherwise nothing would be offered
        known = self.parts.get(plan.wanted)
        if isinstance(known, bytes):
            return plan.take(known)
        plan.record(self.parts)
        first: Refusal | None = None
        for reader in self.readers:
            refusal = _offer(reader, plan)
            if refusal is None:
                return None
            first = first or refusal
        assert first is not None  # there is at least one copy
        return first


def _offer(reader: SubmissionReader, plan: ReadPlan) -> Refusal | None:
    """Offer a copy's part. The result is a refusal if its store cannot be read."""
    try:
        return reader.offer(plan)
    except (BundleError, PackError):
        why = "a bundle has what an audit asks for; --files names whole files"
    except StoreError as error:
        why = f"the file cannot be read from its store: {error}"
    return Refusal(Reason.NOT_REVEALED, why, unbound=True)


@dataclass(slots=True)
class CommittedGroups:
    """The groups that a root on chain binds of a file, as far as they were available."""

    reader: SubmissionReader  # of the parts that were read
    groups: dict[int, ReadGroup] = field(default_factory=dict)  # those with all rollouts' ids
    whole: set[int] = field(default_factory=set)  # those that also have all proofs
    refusal: Refusal | None = None  # why some groups are missing; bound ones first


def read_committed(
    reader: SubmissionReader, hotkey: bytes, context: Context, groups: Sequence[ConsumedGroup]
) -> CommittedGroups:
    """Read the groups that a step has taken."""
    copies = _Copies([reader])
    held = CommittedGroups(copies)
    for index in sorted({one.index for one in groups}):
        # one audited rollout needs only those parts of a valued group that a bundle has
        for rollouts in (1, None):
            plan = plan_groups(context, hotkey, [index], rollouts=rollouts)
            submission = read_submission(plan, copies)
            if submission.refusal is not None:
                if held.refusal is None or not submission.refusal.unbound:
                    held.refusal = submission.refusal
                break
            (held.groups[index],) = submission.groups
        else:
            held.whole.add(index)
        if submission.opening is None:
            break
    return held


def compare_groups(groups: Sequence[ConsumedGroup], held: CommittedGroups) -> str | None:
    """The first rollout that differs from the committed one, or None."""
    for one in groups:
        group, completions = held.groups[one.index], one.group.completions
        try:
            committed = [decode_ids(group.ids[r], group.head, r).tolist() for r in group.ids]
        except EncodingError:
            committed = []
        if len(committed) != len(completions):
            return f"{describe_group(one)}: it has not the rollouts that its miner committed to"
        for number, (right, tokens) in enumerate(zip(committed, completions, strict=True)):
            if right != tokens:
                return (
                    f"{describe_group(one)}: rollout {number} is not the one that its miner had "
                    "committed to"
                )
    return None


def judge_committed(
    context: Context,
    outline: Outline,
    groups: Sequence[ConsumedGroup],
    held: CommittedGroups,
    findings: Findings,
) -> bool:
    """Judge one miner's groups again, and their log-probabilities in the step.

    Args:
        outline: of the checkpoint in force; with a whole checkpoint, forward passes are run.

    Returns:
        Whether they were judged in full, and are genuine.
    """
    hotkey, indices = groups[0].hotkey, sorted({one.index for one in groups})
    name, reader = encode_ss58(hotkey), held.reader
    findings.look(Aspect.LOGPROBS)
    if not isinstance(outline, Checkpoint):
        examined = examine_file(reader, hotkey, context, outline, indices)
        if isinstance(examined, Refused):
            findings.differ(Aspect.FILES, f"{name}: {examined.reason}: {examined.detail}")
            return False
        claimed = {g.index: [row.logprobs for row in g.audited.values()] for g in examined.shown}
        if apart := _find_apart(context, groups, claimed):
            why = "is not its miner's: only a forward pass shows which is right"
            findings.miss(Aspect.LOGPROBS, f"{name}: {apart} {why}")
        return False
    try:
        with note_unjudged(name):
            judged = judge_and_carry(
                read_submission(plan_groups(context, hotkey, indices), reader),
                outline,
                Ledger(),
                forward=outline.get_reference(context.parameters.work.temperature),
                hand_out=True,
            )
    except UnjudgedError as error:
        findings.miss(Aspect.LOGPROBS, f"{name}: its file cannot be judged here: {error}")
        return False
    verdict = judged.verdict
    if not verdict.accepted:
        findings.differ(
            Aspect.VERDICTS,
            f"{name}: nobody may learn from its file, {verdict.reason}: {verdict.detail}",
        )
        return False
    apart = _find_apart(context, groups, {g.index: g.logprobs for g in judged.measured})
    if apart is not None:
        findings.differ(Aspect.LOGPROBS, f"{name}: {apart} is not that of the checkpoint in force")
    return apart is None


def judge_left_out(
    context: Context,
    outline: Outline | None,
    left_out: Sequence[StepLeftOut],
    reader: SubmissionReader,
    findings: Findings,
) -> list[str]:
    """Judge groups of one file again that the step has left out, each by itself.

    Returns:
        Why groups cannot be checked, a reason for each of these. Nobody can check afterwards
        whether bytes were missing, nor, by one group, small deviations that add up over a file.
    """
    unchecked: list[str] = []
    copies = _Copies([reader])  # all groups need the file's opening
    for number, left in enumerate(left_out):
        submission = read_submission(plan_groups(context, left.hotkey, [left.index]), copies)
        refusal = submission.refusal
        if refusal is not None and refusal.unbound:
            unread = f"cannot be fetched as committed: {refusal.detail}"
            if submission.opening is None:
                return [*unchecked, *[unread] * (len(left_out) - number)]
            unchecked.append(unread)
        else:
            why = _judge_one_left_out(context, outline, left, submission, findings)
            if why is not None:
                unchecked.append(why)
    return unchecked


def _judge_one_left_out(
    context: Context,
    outline: Outline | None,
    left: StepLeftOut,
    submission: CheckedSubmission,
    findings: Findings,
) -> str | None:
    if left.reason in _UNCHECKED or outline is None:
        return "nobody can check this afterwards"
    manifest, pool = outline.manifest, outline.piece_pool
    examined = examine(submission, outline.tokenizer, manifest=manifest, pool=pool)
    found = examined.reason if isinstance(examined, Refused) else Reason.ACCEPTED
    if isinstance(examined, Examined) and isinstance(outline, Checkpoint):
        try:
            with note_unjudged(encode_ss58(left.hotkey)):
                found = _find_model_fault(examined, outline, left.reason)
        except UnjudgedError:
            return "it cannot be measured here by two implementations"
    elif isinstance(examined, Examined) and left.reason in _BY_MODEL:
        return "only a forward pass shows the fault"
    elif isinstance(examined, Examined):
        fault = examined.find_ending_fault()
        found = Reason.ACCEPTED if fault is None else fault.reason
    findings.look(Aspect.CHOICE)
    if found is not left.reason:
        finding = "it is genuine" if found is Reason.ACCEPTED else f"its fault is {found}"
        name = f"{encode_ss58(left.hotkey)}: group {left.index}"
        findings.differ(Aspect.CHOICE, f"{name}, left out ({left.reason}): {finding}")
    return None


def _find_model_fault(examined: Examined, checkpoint: Checkpoint, stated: Reason) -> Reason:
    """The fault that either implementation finds, or ACCEPTED; `stated` if both are of the model.

    A miner can make a fault that rounding hides from one implementation, or shows as another one.
    The trainer may have had no appeal left for it.
    """
    temperature = examined.context.parameters.work.temperature
    for get in (checkpoint.get_reference, checkpoint.get_appeal):
        forward, none = get(temperature), AppealBudget(0)
        judged = judge_and_carry(examined, checkpoint, Ledger(), forward=forward, appeals=none)
        found = judged.verdict.reason
        if found is not Reason.ACCEPTED:
            return stated if {found, stated} <= _BY_MODEL else found
    return Reason.ACCEPTED


def _find_apart(
    context: Context,
    groups: Sequence[ConsumedGroup],
    right: Mapping[int, Sequence[NDArray[np.uint32]]],
) -> str | None:
    """The first rollout whose log-probabilities in the step differ from these beyond the bounds."""
    for one in groups:
        for number, logprobs in enumerate(one.group.behaviour_logprobs):
            stated, wanted = to_integers(logprobs), right[one.index][number]
            judged = judge_logprobs(stated, wanted, range(len(stated)), context.parameters.tests)
            if judged.token is not None:
                return (
                    f"the step's log-probability of group {one.index}, rollout {number}, token "
                    f"{judged.token}"
                )
    return None
