"""Experts that a source has stacked, as models in memory do: each matrix gets a tensor of its own,
as a network's files have it."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from assay.inference.expert_stacks import NAMES, split_experts
from assay.inference.folder import CheckpointError
from assay.subnet.adoption.notes import Notes, name_some
from assay.subnet.adoption.weights import PlannedTensor


def take_stacks_apart(
    family: str, planned: Mapping[str, PlannedTensor], notes: Notes
) -> dict[str, PlannedTensor]:
    """The tensors by the names of a family's files, whether experts were stacked or not."""
    found: dict[str, PlannedTensor] = {}
    stacked = []
    for name, tensor in planned.items():
        _require_stack(family, tensor)
        # an outline of the stack says where each matrix begins in it
        parts = dict(split_experts(family, name, torch.empty(tensor.shape, device="meta")))
        if len(tensor.shape) != 3 or len(parts) < 2:
            found[name] = tensor
            continue
        stacked.append(name)
        for part, view in parts.items():
            read = _read_matrix(tensor, int(view.storage_offset()))
            found[part] = PlannedTensor(part, tuple(view.shape), tensor.dtype, read)
    if stacked:
        notes.converted.append(f"{name_some(stacked)}: to the matrices of each expert")
    return found


def _require_stack(family: str, tensor: PlannedTensor) -> None:
    """Raises a CheckpointError for a stack that no experts make."""
    wide = tensor.name.endswith(".experts.gate_up_proj")
    if family not in NAMES or not (wide or tensor.name.endswith(".experts.down_proj")):
        return
    shape = tensor.shape
    if len(shape) != 3 or 0 in shape or (wide and shape[1] % 2):
        raise CheckpointError(f"{tensor.name} of shape {list(shape)} is no stack of experts")


def _read_matrix(stack: PlannedTensor, offset: int) -> Callable[[int, int], Tensor]:
    """A reader of rows of the matrix that begins at a weight of a stack."""
    _, rows, columns = stack.shape
    expert, begin = divmod(offset // columns, rows)

    def read(start: int, stop: int) -> Tensor:
        return stack.read(expert, expert + 1)[0, begin + start : begin + stop]

    return read
