"""The verdict on a child: whether it is merged, by its record, its steps' records and groups, and
its numbers.

Every party with the same files reaches the same verdict. No model runs, because its results differ
between machines: `assay audit` and `assay train verify-step` check rewards, log-probabilities and
the steps themselves. Specification, section 11.1.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assay.artifacts.steps.file import ConsumedGroup
from assay.artifacts.steps.folder import digest_tensors_of
from assay.protocol.context import Context
from assay.protocol.manifest import Manifest
from assay.protocol.seeds import compute_problem_seed
from assay.protocol.step import StepRecord
from assay.rounds.calendar import Round, compute_share
from assay.rounds.outer_records import ROUND_VERSION, ChildFinding, ChildRecord
from assay.rounds.outer_step import (
    Masters,
    OuterState,
    has_same_form,
    is_finite,
    is_within_bound,
    measure_square,
    round_master,
)

#: The child's fate, and the reason in one sentence if it is not merged.
Judgment = tuple[ChildFinding, str]


@dataclass(frozen=True, slots=True)
class ChildStep:
    """One step of a child as its files have it.

    Attributes:
        child: digest of the checkpoint that the step made, with its manifest.
        groups: the groups that it consumed, as its record binds them.
    """

    record: StepRecord
    child: bytes
    manifest: Manifest
    groups: Sequence[ConsumedGroup]


@dataclass(frozen=True, slots=True)
class ChildFiles:
    """A child as its trainer published it. `parent` is the manifest of the checkpoint at which its
    first step began."""

    record: ChildRecord
    parent: Manifest
    steps: Sequence[ChildStep]
    masters: Masters  # the masters that its pieces encode


@dataclass(frozen=True, slots=True)
class RoundFacts:
    """The public facts of a round.

    Attributes:
        outer, before: the outer state that the round begins with, and its root.
        parent: manifest of the round's parent.
        contexts: contexts by window, for windows that may be learned from.
    """

    of: Round
    outer: OuterState
    before: bytes
    parent: Manifest
    contexts: Mapping[int, Context]


def is_fresh(of: Round, parent: int, number: int) -> bool:
    """Whether a group may be learned from: whether checkpoint `number` that drew it is at most the
    allowed number of rounds older than the round's parent, whose number is `parent`."""
    return parent - number <= of.rounds.staleness * of.rounds.windows


def judge_child(child: ChildFiles, hotkey: bytes, facts: RoundFacts) -> Judgment:
    """The judgment on the child in a hotkey's slot at the deadline, with the reason."""
    for finding, find in (
        (ChildFinding.MISFIT, _find_misfit),
        (ChildFinding.STALE, _find_stale),
        (ChildFinding.BROKEN, _find_broken),
        (ChildFinding.STRANGE, _find_strange),
        (ChildFinding.ENDLESS, _find_endless),
    ):
        fault = find(child, hotkey, facts)
        if fault is not None:
            return finding, fault
    square, bound = measure_square(child.masters, facts.outer.masters), facts.of.rounds.norm_bound
    if square is None or not is_within_bound(square, bound):
        return ChildFinding.LARGE, f"its difference is longer than {bound / 2**20:g}"
    if not square:
        return ChildFinding.ABSENT, "it is equal to its parent"
    return ChildFinding.TAKEN, f"{len(child.steps)} steps"


def leave_doubled(judged: Sequence[tuple[ChildRecord | None, Judgment]]) -> list[Judgment]:
    """The judgments in the same order. A child is left out if another one has the same weights.
    All were named before any was shown, so nobody can tell whose work it is."""
    roots = [
        record.masters
        for record, (finding, _) in judged
        if record is not None and finding is ChildFinding.TAKEN
    ]
    twice = {masters for masters, count in Counter(roots).items() if count > 1}
    return [
        (ChildFinding.DOUBLED, "another child has the same weights")
        if record is not None and judgment[0] is ChildFinding.TAKEN and record.masters in twice
        else judgment
        for record, judgment in judged
    ]


def _find_misfit(child: ChildFiles, hotkey: bytes, facts: RoundFacts) -> str | None:
    record, of = child.record, facts.of
    stated = (record.version, record.parameters, record.end)
    if stated != (ROUND_VERSION, of.parameters.digest, of.end):
        return "its record is of another round, or other parameters"
    if record.hotkey != hotkey:
        return "its record is another trainer's"
    if not has_same_form(child.masters, facts.outer.masters):
        return "its masters are another model's"
    if digest_tensors_of(child.masters.items()) != record.masters:
        return "its pieces lead to other masters than its record names"
    return None


def _find_stale(child: ChildFiles, hotkey: bytes, facts: RoundFacts) -> str | None:
    if child.record.before != facts.before:
        return "it began with other masters than the round's parent"
    parent = facts.parent
    if (child.parent.tensors, child.parent.number) != (parent.tensors, parent.number):
        return "its first step began with another checkpoint than the round's parent"
    return None


def _find_broken(child: ChildFiles, hotkey: bytes, facts: RoundFacts) -> str | None:
    record, steps = child.record, child.steps
    if not steps or record.steps != tuple(step.record.digest for step in steps):
        return "its steps are not those that its record names"
    before, digest = child.parent, child.parent.digest
    state: bytes | None = None
    for step in steps:
        one, made = step.record, step.manifest
        if (one.parent, one.number) != (digest, before.number + 1):
            return f"step {one.number} does not begin where the one before it ended"
        if (made.digest, made.step, made.parent) != (step.child, one.digest, digest):
            return f"step {one.number}'s checkpoint is not the one that its record names"
        if (made.tensors, made.number) != (one.tensors, one.number):
            return f"step {one.number}'s checkpoint has other tensors than its record"
        if state is not None and one.optimiser_before != state:
            return f"step {one.number} began with another state than the one before it left"
        before, digest, state = made, step.child, one.optimiser_after
    if state != record.optimiser:
        return "its optimiser's state is not its last step's"
    is_exact = not facts.of.rounds.kept and not facts.of.rounds.bits
    if not is_exact:
        return None
    rounded = ((name, round_master(tensor)) for name, tensor in child.masters.items())
    if digest_tensors_of(rounded) != before.tensors:
        return "its masters do not round to its last step's checkpoint"
    return None


def _find_strange(child: ChildFiles, hotkey: bytes, facts: RoundFacts) -> str | None:
    last = -1
    for step in child.steps:
        window, context = step.record.window, facts.contexts.get(step.record.window)
        if window not in facts.of.windows or window <= last or context is None:
            return f"window {window} is not, or not now, its round's to learn from"
        if step.record.parameters != context.parameters.digest:
            return f"window {window} has other parameters"
        if fault := _find_strange_group(step, hotkey, context, facts.of):
            return f"window {window}: {fault}"
        last = window
    return None


def _find_strange_group(step: ChildStep, trainer: bytes, context: Context, of: Round) -> str | None:
    places = [(one.hotkey, one.index) for one in step.groups]
    if places != sorted(set(places)):
        return "groups are not in order, each once"
    counts = Counter((one.hotkey, one.proof) for one in step.groups)
    if counts != {(source.hotkey, source.root): source.groups for source in step.record.sources}:
        return "its groups are of other submissions than its record's sources"
    if step.record.replayed is not None:
        return "its record names groups of earlier windows"
    if any(one.delay is not None for one in step.groups):
        return "a group waits for its reward"
    return next((f for one in step.groups if (f := _find_fault(one, trainer, context, of))), None)


def _find_fault(one: ConsumedGroup, trainer: bytes, context: Context, of: Round) -> str | None:
    """Check a group against the chain's commitments and the draw."""
    work, committed = context.parameters.work, context.commitments.get(one.hotkey)
    if committed is None or one.hotkey not in context.members:
        return "a group's miner had committed to nothing"
    if committed.root != one.proof or one.index >= min(committed.groups, work.group_cap):
        return "a group is of no submission that was committed to"
    if one.window != context.window or one.checkpoint != context.checkpoint:
        return "a group is of another window, or drawn by another checkpoint than that in force"
    if one.problem_seed != compute_problem_seed(context.challenge_seed, one.hotkey, one.index):
        return "a group's problem is not the one that the challenge asks"
    if len(one.group.completions) != work.group_size:
        return "a group is not of the size that is asked"
    trainers = of.rounds.trainers
    if compute_share(trainers, context.audit_seed, one.hotkey, one.index) != trainer:
        return "a group is another trainer's to learn from"
    return None


def _find_endless(child: ChildFiles, hotkey: bytes, facts: RoundFacts) -> str | None:
    return None if is_finite(child.masters) else "a master is not a finite number"
