"""Reads the steps beside a step, and says what they contradict of its delayed groups.

What is due by these steps, `assay.artifacts.steps.plan` derives, as the trainer does. It needs the
rows of the steps between, which lie in the step's folder or not. The tries of a step that is not
here are the trainer's word, but no other step's. Specification, section 11.4.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from assay.artifacts.steps.delay import Line, Tally, list_fresh, read_line
from assay.artifacts.steps.file import DELAY_MAX, WAITING, ConsumedGroup, Delay
from assay.artifacts.steps.folder import Step, StepError, StepFolder
from assay.artifacts.steps.plan import StepPlan
from assay.artifacts.steps.pool import DrawnBy
from assay.audit.provenance.consumed import (
    describe_group,
    find_disorder,
    find_form_fault,
    list_bound,
    make_problem_of,
    replay_group,
    verify_provenance,
)
from assay.environments.pooling import has_twin
from assay.inference.checkpoint import Outline
from assay.inference.folder import CheckpointError
from assay.protocol.parameters import Parameters
from assay.protocol.step import DelayedRollout
from assay.settings.learning import read_config


@dataclass(frozen=True, slots=True)
class StepsBeside:
    """The steps beside a step, from which groups may be due.

    Attributes:
        line: those that are here and fit their records; None: the step learns from none late, or
            they cannot be used.
        remarks: what cannot be counted by them.
        uncounted: delayed groups whose tries are the trainer's word, as a step is missing.
    """

    line: Line | None = None
    remarks: tuple[str, ...] = ()
    uncounted: int = 0


def read_beside(
    step: Step, groups: Sequence[ConsumedGroup], parameters: Parameters, drawn: DrawnBy
) -> StepsBeside:
    """Read the steps beside a step.

    Args:
        groups: its groups, which `find_false_group` finds right.
        drawn: with the step's parent as the known one.

    Raises:
        WorkerError: the sandbox cannot run, or no child can be started to read files.
    """
    config = read_config(step.record)
    if not config.choice.proposal_tries:
        return StepsBeside()
    parent, delayed = drawn.known.manifest, _list_delayed(groups)
    try:
        check = partial(_check_step, parameters=parameters, drawn=drawn)
        line = read_line(StepFolder(step.path.parent), parent, parameters, config, check)
        line = _bind(line, parent.step, drawn)
    except (CheckpointError, ValueError) as error:
        remark = f"tries of proposals are not counted again: {error}"
        return StepsBeside(None, (remark,), len(delayed))
    if line.missing is None:
        return StepsBeside(line)
    missing = f"tries of proposals are counted again from step {line.missing + 1} on only"
    reason = line.reason or f"step {line.missing} is not here"
    known = {one.step.record.digest for one in line.steps}
    uncounted = sum(delay.source not in known for _, delay in delayed)
    return StepsBeside(line, (f"{missing}: {reason}",), uncounted)


def _list_delayed(groups: Sequence[ConsumedGroup]) -> list[tuple[ConsumedGroup, Delay]]:
    """The groups that a step learns from late, with their waits."""
    waits = [(one, one.delay) for one in groups if one.delay is not None]
    return [(one, delay) for one, delay in waits if delay != WAITING]


def _bind(line: Line, newest: bytes, drawn: DrawnBy) -> Line:
    """A line up to the first step, with the one that ends it, that the checkpoint it made does not
    name, or whose checkpoint is not here to name it."""
    named: bytes | None = newest
    for place, one in enumerate(line.steps):
        record = one.step.record
        if record.digest != named:
            return Line(line.steps[:place], record.number)
        try:
            named = drawn.checkpoints.get_outline(record.parent).manifest.step
        except CheckpointError:
            named = None
    if line.end is not None and line.end.record.digest != named:
        return Line(line.steps, line.end.record.number)
    return line


def _check_step(
    step: Step,
    groups: Sequence[ConsumedGroup],
    drew: Container[bytes],
    parameters: Parameters,
    drawn: DrawnBy,
) -> None:
    """Raise StepError if rows of a step do not fit what its record names or what they answer: the
    roots do not bind windows, submissions, seeds and levels, so whoever gave the file may have
    changed them. CheckpointError: one of `drew` is not here."""
    record, trainer = step.record, parameters.identity.trainer
    verify_provenance(record, groups, trainer)
    if (disorder := find_disorder(record, groups, trainer)) is not None:
        raise StepError(disorder)
    named = {(replay.window, replay.step) for replay in record.replayed or ()}
    for one, delay in _list_delayed(groups):
        if (one.window, delay.source) not in named:
            raise StepError(f"{describe_group(one)}: it is of another step's window")
    for one in list_fresh(step, groups, trainer):
        if one.checkpoint in drew:  # others are never asked for
            _check_group(one, parameters, drawn.find(one))


def _check_group(one: ConsumedGroup, parameters: Parameters, outline: Outline) -> None:
    fault = find_form_fault(one, parameters, outline)
    if fault is not None:
        raise StepError(f"{describe_group(one)}: {fault}")
    problem = make_problem_of(one, parameters, outline)
    # whether it is a proposal follows from nothing else then
    if one.delay == WAITING and has_twin(
        outline.open_environment(parameters.environment).open(problem)
    ):
        played = replay_group(one, parameters, outline)
        if isinstance(played, str):
            raise StepError(f"{describe_group(one)}: {played}")


def find_false_delay(
    step: Step, groups: Sequence[ConsumedGroup], line: Line, plan: StepPlan, tally: Tally
) -> str | None:
    """The first thing that the steps beside a step contradict, or None.

    Args:
        plan: the step's, by these steps.
    """
    if (fault := _find_false_window(step, line)) is not None:
        return fault
    delayed = _list_delayed(groups)
    tries = read_config(step.record).choice.proposal_tries
    for one, delay in delayed:
        if fault := _find_fault(step, one, delay, line, tally, tries):
            return f"{describe_group(one)}: {fault}"
    known = {(one.window, one.hotkey, one.index) for one, _ in delayed}
    numbers = {each.step.record.window: each.step.record.number for each in line.steps}
    for one in sorted(plan.delayed, key=lambda one: -numbers[one.window]):
        if (one.window, one.hotkey, one.index) not in known:
            return (
                f"{describe_group(one)}: left out, though enough of its rollouts count since "
                f"step {numbers[one.window]} has consumed it"
            )
    return None


def _find_false_window(step: Step, line: Line) -> str | None:
    """The first window of a step and those behind it that is not after that of the step before, so
    that its tries could count twice; or None."""
    records = [step.record, *(one.step.record for one in line.steps)]
    for record, before in pairwise(records):
        if before.window >= record.window:
            return (
                f"step {record.number} has learned from window {record.window}, and step "
                f"{before.number} from window {before.window} before"
            )
    return None


def _find_fault(
    step: Step, one: ConsumedGroup, delay: Delay, line: Line, tally: Tally, tries: int
) -> str | None:
    """What the steps of a line say against a step's delayed group, or None."""
    entered = line.find_entered(one.window).get((one.hotkey, one.index))
    if entered is not None:
        return f"step {entered} has learned from it before"
    known = {each.step.record.digest: place for place, each in enumerate(line.steps)}
    named = next(each.number for each in step.record.replayed or () if each.window == one.window)
    if delay.source not in known:
        # a step that is not here made `missing` or a checkpoint before it, of an older window
        is_older = line.missing is not None and named <= line.missing
        if is_older and all(one.window < each.step.record.window for each in line.steps):
            return None
        return "its step is none of those before"
    place = known[delay.source]
    source = line.steps[place]
    number = source.step.record.number
    if named != number:
        return f"its step made checkpoint {number}, and the record says {named}"
    rows = {(row.hotkey, row.index): row for row in source.fresh}
    row = rows.get((one.hotkey, one.index))
    if row is None or row.delay != WAITING:
        return f"step {number} has consumed no such group that waits"
    if list_bound(one) != list_bound(row):
        return f"not as step {number} has consumed it"
    if line.missing is None and one.checkpoint not in line.numbers:
        return f"none of the last {DELAY_MAX} steps began with the checkpoint that drew it"
    counted = tally.count(line, place, one, tries)
    for rollout, (record, count) in enumerate(zip(delay.rollouts, counted, strict=True)):
        if record != count:
            return (
                f"rollout {rollout}: {_describe(record)}, and its problems had {_describe(count)}"
            )
    return None


def _describe(rollout: DelayedRollout) -> str:
    return f"{rollout.tries} tries, {rollout.solves} of them right"
