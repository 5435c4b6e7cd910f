"""Compares what a step has taken with its plan, which is derived as the trainer derives it.

The plan follows from the step's own rows, from what its record says of its settings, and from the
steps beside it: no word of the trainer is taken for what these show. Which of a window's groups and
of earlier ones were there to be taken, they do not show; `comparing` does as far as the chain says
it. Specification, sections 11 and 11.4.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from assay.artifacts.steps.delay import Line, Tally
from assay.artifacts.steps.file import ConsumedGroup
from assay.artifacts.steps.folder import Step, StepError
from assay.artifacts.steps.groups import count_teaching, find_most, generate_own
from assay.artifacts.steps.plan import StepInputs, StepPlan, plan_step
from assay.artifacts.steps.replay import EarlierStep
from assay.audit.provenance.consumed import describe_group
from assay.inference.checkpoint import Checkpoint, Outline
from assay.protocol.parameters import Parameters
from assay.protocol.step import StepRecord
from assay.settings.learning import read_config


def plan_again(
    step: Step, consumed: Sequence[ConsumedGroup], parent: Outline, line: Line | None, tally: Tally
) -> StepPlan:
    """The plan of the groups that a step has taken, as if no others had been there. Levels stay:
    the parent's success is counted where they are compared.

    Args:
        consumed: its groups, which `find_false_group` finds right.
        line: the steps beside it, see `StepsBeside`.
        tally: with the step's parent as the known checkpoint.

    Raises:
        StepError: no step can begin with its parent.
        CheckpointError, WorkerError: as `plan_step`.
    """
    record, trainer = step.record, tally.parameters.identity.trainer
    config = read_config(record)
    if tally.parameters.rounds is not None or not config.choice.proposal_tries:
        # in a round it takes its whole share, and elsewhere as many as its trainer likes
        config = replace(config, choice=replace(config.choice, external_groups=None))
    fresh = [
        replace(one, delay=None)
        for one in consumed
        if one.window == record.window and one.hotkey != trainer
    ]
    replays = defaultdict[int, list[ConsumedGroup]](list)
    for one in _list_replays(record, consumed):
        replays[one.window].append(one)
    names = {one.window: (one.step, one.number) for one in record.replayed or ()}
    earlier = [EarlierStep(*names[window], groups) for window, groups in replays.items()]
    given = StepInputs(parent, record.window, None, config, fresh, earlier, line)
    try:
        return plan_step(given, tally)
    except ValueError as error:  # of a parent that no window could use
        raise StepError(f"the pool of problems: {error}") from None


def find_false_choice(
    record: StepRecord,
    groups: Sequence[ConsumedGroup],
    plan: StepPlan,
    parent: Checkpoint,
    tally: Tally,
) -> str | None:
    """The first thing in what a step has taken that is not as planned, or None. The trainer's own
    rollouts are generated again.

    Args:
        plan: see `plan_again`.
    """
    waits = {(one.hotkey, one.index): one.delay for one in (*plan.fresh, *plan.spares)}
    for one in groups:
        due = waits.get((one.hotkey, one.index))
        if one.window == record.window and one.delay != due:
            if due is not None:
                return f"{describe_group(one)}: it does not wait for its reward"
            what = "it waits for a reward, and is no miner's group of proposals"
            return f"{describe_group(one)}: {what}"
    if (false := _find_false_replay(record, groups, plan, tally)) is not None:
        return false
    config, trainer = read_config(record), tally.parameters.identity.trainer
    miners = [one for one in groups if one.window == record.window and one.hotkey != trainer]
    count = count_teaching(miners)
    if count > count_teaching(plan.fresh):
        excess = f"it has {count} of the miners' groups with a signal"
        return f"{excess}, and its settings take at most {find_most(config)}"
    own = [one for one in groups if one.hotkey == trainer]
    return _find_false_own(own, parent, tally.parameters, record.window, config.learning.refill)


def _list_replays(record: StepRecord, groups: Sequence[ConsumedGroup]) -> list[ConsumedGroup]:
    return [one for one in groups if one.window != record.window and one.delay is None]


def _find_false_replay(
    record: StepRecord, groups: Sequence[ConsumedGroup], plan: StepPlan, tally: Tally
) -> str | None:
    """The first replayed group that is not planned, or None."""
    planned = {(one.window, one.hotkey, one.index) for one in plan.replays}
    strange = [
        one
        for one in _list_replays(record, groups)
        if (one.window, one.hotkey, one.index) not in planned
    ]
    if read_config(record).choice.proposal_tries:
        for one in strange:
            if tally.waits(one):
                what = "proposals are replayed, which wait for their reward"
                return f"{describe_group(one)}: {what}"
    for one in strange:
        if not one.teaches:
            return f"{describe_group(one)}: replayed without a signal"
    if strange:
        most = len(plan.replays)
        return f"{describe_group(strange[0])}: beyond the share to replay, {most} groups"
    return None


def _find_false_own(
    own: Sequence[ConsumedGroup],
    parent: Checkpoint,
    parameters: Parameters,
    window: int,
    refill: bool,
) -> str | None:
    """The first of the trainer's own groups that its parent does not generate, or None. How many
    there are is the trainer's to choose."""
    again = generate_own(parent, parameters, len(own), window, refill)
    for one, other in zip(own, again, strict=True):
        if (one.index, one.checkpoint, one.group) != (other.index, other.checkpoint, other.group):
            return f"{describe_group(one)}: not what the parent generates for the trainer"
    return None
