"""Checks a return: its checkpoint is its milestone again, and nothing was learned. Specification,
section 7.1."""

from functools import partial

from assay.artifacts.checkpoints.folder import CheckpointFolder, find_checkpoint_fault
from assay.artifacts.discovery import fetch_parameters
from assay.artifacts.steps.folder import Step, StepError, StepFolder, digest_tensors_of, read_step
from assay.artifacts.steps.learner import make_learner
from assay.artifacts.steps.returns import Return, make_return_record
from assay.audit.provenance.reexecution import StepComparison
from assay.inference.folder import CheckpointError
from assay.network.store.folder import open_folder
from assay.protocol.gate import find_course_fault
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.manifest import Manifest, find_line_lie
from assay.session.gate_evidence import find_return_fault
from assay.settings.learning import read_config


def check_return(made: Return, checkpoints: CheckpointFolder) -> StepComparison:
    """Check that a return makes its milestone again, and with which optimiser's state it goes on.

    Args:
        checkpoints: with the checkpoint that it made, the milestone and the one that it gives up,
            all without tensors at least.

    Raises:
        StepError: the record is of no return that can be.
        CheckpointError: one of these is not here, or damaged.
        OperatorError: the parameters are missing.
    """
    record, steps = made.record, StepFolder(made.path.parent)
    child, milestone, parent = (
        checkpoints.get_outline(digest).manifest
        for digest in (made.child, record.milestone, record.parent)
    )
    parameters = fetch_parameters(open_folder(steps.folder / "rules"), record.parameters)
    due = make_return_record(parameters, record.window, parent, milestone, record.optimiser)
    named = {"number", "parent", "milestone", "tensors", "parameters"}
    strange = [name for name in sorted(named) if getattr(due, name) != getattr(record, name)]
    fault = None
    if child.step != record.digest:
        fault = "the made checkpoint's manifest names another record"
    elif strange:
        fault = f"its record has another {', '.join(strange)}"
    elif child.number != record.number or child.parent != record.parent:
        fault = "the made checkpoint's manifest has another number or parent"
    elif child.course.milestone != record.milestone:
        fault = "the made checkpoint's course is of another milestone"
    fault = (
        fault
        or find_return_fault(child, milestone)
        or find_line_lie(child, parent, parameters.gate)
    )
    fault = fault or find_course_fault(child.course, parameters.gate)
    fault = fault or find_checkpoint_fault(checkpoints.get_outline(made.child), parameters)
    if fault is None and checkpoints.holds(made.child):
        checkpoints.get(
            made.child, parameters
        )  # raises here if its tensors are not those of its manifest
    if fault is not None:
        return StepComparison(False, None, fault, ())
    fault, remarks = _check_state(made, milestone, checkpoints)
    if fault is not None:
        return StepComparison(False, None, fault, ())
    detail = (
        f"checkpoint {record.number} is a return: milestone {milestone.number} again; nothing was "
        "learned"
    )
    return StepComparison(True, None, detail, remarks)


def _check_state(
    made: Return, milestone: Manifest, checkpoints: CheckpointFolder
) -> tuple[str | None, tuple[str, ...]]:
    """The fault of the optimiser's state with which a return goes on, or None; and what cannot be
    checked of it."""
    record, steps = made.record, StepFolder(made.path.parent)
    behind = _find_next(steps, made)
    if behind is not None and behind.record.optimiser_before != record.optimiser:
        return f"step {behind.record.number} behind it begins with another optimiser's state", ()
    if milestone.step != ZERO_DIGEST and not milestone.is_return:
        try:
            source = read_step(steps.get_path(milestone.number, milestone.step))
            if source.record.optimiser_after == record.optimiser:
                return None, ()
        except StepError as error:
            return None, (f"whether it is the state behind the milestone's step: {error}",)
    if behind is None:
        return None, ("whether the optimiser's moments are new, the step behind it will show",)
    try:
        parameters = fetch_parameters(open_folder(steps.folder / "rules"), record.parameters)
        get = partial(checkpoints.get, parameters=parameters)
        config, parent = read_config(behind.record), get(behind.record.parent)
        first = parameters.identity.genesis_checkpoint
        fresh = make_learner(parent, config.learning, lambda: get(first), get, [])
        if digest_tensors_of(fresh.export_state()) != record.optimiser:
            return "it goes on neither with the state behind its milestone nor with a new one", ()
    except CheckpointError as error:
        return None, (f"whether the optimiser's moments are new: {error}",)
    return None, ("the optimiser's moments are new: its trainer has lost the milestone's",)


def _find_next(steps: StepFolder, made: Return) -> Step | None:
    """The step behind a return, if a folder has it."""
    for path in sorted(steps.folder.glob(f"step-{made.record.number + 1:08d}-*.json")):
        try:
            step = read_step(path)
        except StepError:
            continue
        if step.record.parent == made.child:
            return step
    return None
