"""A training step done again from what its folder holds: equal, or the first tensor that differs.

What it does not show: that the consumed groups were accepted on chain. The record's sources name
each submission's root, and `assay verify` judges those.
"""

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from assay.inference import Checkpoint, CheckpointError
from assay.network import open_folder
from assay.neurons.checkpoints import CheckpointFolder
from assay.neurons.learning.setup import make_learner
from assay.neurons.learning.steps import (
    Step,
    StepError,
    compute_code_digest,
    digest_tensors_of,
    read_config,
    read_state_before,
    read_taken,
)
from assay.neurons.rules import fetch_parameters
from assay.protocol import StepRecord
from assay.training import Learner


@dataclass(frozen=True, slots=True)
class Finding:
    """What re-executing a step showed.

    Attributes:
        tensor: the first, by name, that differs; None where all are equal, or the made checkpoint
            is not here to compare one by one.
        detail: one sentence.
        remarks: what differs here from where the step was made: reasons for other last bits.
    """

    equal: bool
    tensor: str | None
    detail: str
    remarks: tuple[str, ...]


def reexecute(
    step: Step, checkpoints: CheckpointFolder, say: Callable[[str], None] = lambda line: None
) -> Finding:
    """Does a step again and compares.

    Args:
        checkpoints: with the parent, and the made one where a tensor is to be named.
        say: called with what is being done.

    Raises:
        StepError: what the step began with is not here.
        CheckpointError: the parent is not here, or damaged.
        OperatorError: parameters or an extra that it needs are missing.
    """
    record = step.record
    taken = read_taken(step)
    remarks = _compare_places(record)
    torch.set_num_threads(record.threads)
    learner = _make_learner(step, checkpoints)
    say(f"step {record.number}: {record.groups} groups of window {record.window}, once more")
    learner.learn([one.group for one in taken])
    weights = learner.bf16_state()
    child = _get_child(step, checkpoints)
    if child is not None and child.manifest.step != record.digest:
        return Finding(
            False, None, "the made checkpoint's manifest names another step record", remarks
        )
    if digest_tensors_of(weights) != record.tensors:
        tensor = None if child is None else _find_first_difference(weights, child)
        named = f"{tensor} differs" if tensor else "the tensors' root differs"
        return Finding(False, tensor, f"{named} from what the record says was made", remarks)
    if child is not None and child.manifest.tensors != record.tensors:
        tensor = _find_first_difference(weights, child)
        return Finding(False, tensor, f"{tensor} of the made checkpoint differs", remarks)
    if digest_tensors_of(learner.export_state()) != record.optimiser_after:
        detail = "the weights are equal, and the optimiser's state after the step differs"
        return Finding(False, None, detail, remarks)
    seen = "" if child is not None else " (its folder is not here: compared with the record)"
    return Finding(True, None, f"checkpoint {record.number} is what the step makes{seen}", remarks)


def _make_learner(step: Step, checkpoints: CheckpointFolder) -> Learner:
    """As it stood before the step."""
    record = step.record

    def get_first() -> Checkpoint:
        rules = open_folder(step.path.parent / "rules")
        parameters = fetch_parameters(rules, record.parameters)
        return checkpoints.get(parameters.identity.genesis_checkpoint)

    learner = make_learner(checkpoints.get(record.parent), read_config(record), get_first)
    state = read_state_before(step)
    if state is not None:
        try:
            learner.import_state(state)
        except (LookupError, RuntimeError, ValueError) as error:
            raise StepError(
                f"the kept state before the step is of another model: {error}"
            ) from None
    if digest_tensors_of(learner.export_state()) != record.optimiser_before:
        kept = "is not what the record says" if state is not None else "is not kept here"
        raise StepError(
            f"the optimiser's state before step {record.number} {kept}: a trainer keeps those of "
            "its last steps (steps_kept)"
        )
    return learner


def _get_child(step: Step, checkpoints: CheckpointFolder) -> Checkpoint | None:
    try:
        return checkpoints.get(step.child)
    except CheckpointError:
        return None


def _find_first_difference(weights: Mapping[str, Tensor], child: Checkpoint) -> str | None:
    theirs = {n: w.to(torch.bfloat16) for n, w in child.model.state_dict().items()}
    for name in sorted(weights.keys() | theirs.keys()):
        ours, their = weights.get(name), theirs.get(name)
        if ours is None or their is None or not torch.equal(ours, their):
            return name
    return None


def _compare_places(record: StepRecord) -> tuple[str, ...]:
    remarks = []
    engine = f"torch {torch.__version__} {platform.machine()}"
    if engine != record.engine:
        remarks.append(f"made with {record.engine}, done again with {engine}")
    if compute_code_digest() != record.code:
        remarks.append("the files that learn are not those it was made with")
    return tuple(remarks)
