"""Checks a step that is behind a return: it begins with the state that the return names, and learns
nothing from before it. Specification, section 7.1."""

from collections.abc import Callable, Sequence

from assay.artifacts.steps.file import ConsumedGroup
from assay.artifacts.steps.folder import Step, StepError, StepFolder
from assay.artifacts.steps.replay import find_made_here
from assay.artifacts.steps.returns import get_return_path, read_return
from assay.audit.provenance.consumed import describe_group
from assay.inference.checkpoint import Outline
from assay.inference.folder import CheckpointError
from assay.protocol.gate import NO_COURSE
from assay.protocol.manifest import Manifest, continue_line
from assay.protocol.parameters import Gate
from assay.settings.learning import read_config


def find_false_beginning(step: Step, parent: Manifest) -> tuple[str | None, tuple[str, ...]]:
    """What is wrong with the beginning of a step whose parent is a return, or None; and what cannot
    be checked of it."""
    if not parent.is_return:
        return None, ()
    record, steps = step.record, StepFolder(step.path.parent)
    try:
        behind = read_return(get_return_path(steps, parent.number, parent.step)).record
        if behind.digest != parent.step:
            raise StepError("the return here is another")
    except StepError as error:
        return None, (f"whether it begins with its return's state: {error}",)
    if behind.optimiser != record.optimiser_before:
        return "it begins with another optimiser's state than its return names", ()
    before = find_made_here(steps, behind.number - 1, behind.parent)
    if before is not None:
        seeds = [read_config(one).learning.seed for one in (record, before.record)]
        if seeds[0] == seeds[1]:
            return "it has the seed of the course that its return has given up", ()
    return None, ()


def find_across(
    groups: Sequence[ConsumedGroup],
    parent: Manifest,
    find_drawn: Callable[[ConsumedGroup], Outline],
    get_outline: Callable[[bytes], Outline],
    gate: Gate,
) -> tuple[str | None, tuple[str, ...]]:
    """The first group that was drawn before a return behind which the step learns, with the fault,
    or None; and what cannot be checked of it.

    Args:
        parent: the checkpoint that the step begins with.
        find_drawn: the checkpoint whose problem a group answers.
        get_outline: raises CheckpointError: it is not here.
        gate: of the step's parameters.
    """
    if parent.course == NO_COURSE:
        return None, ()
    drawn = [find_drawn(one).manifest for one in groups]
    returned, oldest = parent, min((one.number for one in drawn), default=parent.number)
    try:
        while returned.number > oldest and not returned.is_return:
            returned = get_outline(returned.parent).manifest
    except CheckpointError:
        return _find_across_courses(groups, drawn, parent, gate)
    if returned.is_return:
        for one, manifest in zip(groups, drawn, strict=True):
            if manifest.number < returned.number:
                return _name(one, manifest.number, returned.number), ()
    return None, ()


def _find_across_courses(
    groups: Sequence[ConsumedGroup], drawn: Sequence[Manifest], parent: Manifest, gate: Gate
) -> tuple[str | None, tuple[str, ...]]:
    """The same as far as the courses show it: two of one milestone have a return between them."""
    own, unknown = continue_line(parent, gate), False
    for one, manifest in zip(groups, drawn, strict=True):
        led = continue_line(manifest, gate)
        if led.milestone == own.milestone and led.attempt < own.attempt:
            return _name(one, manifest.number, None), ()
        unknown |= led.milestone != own.milestone
    if not unknown:
        return None, ()
    return None, ("whether all groups were drawn behind the newest return: checkpoints lack",)


def _name(one: ConsumedGroup, number: int, returned: int | None) -> str:
    where = "a return" if returned is None else f"return {returned}"
    return f"{describe_group(one)}: drawn by checkpoint {number}, which {where} has given up"
