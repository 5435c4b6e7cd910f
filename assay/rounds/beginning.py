"""The beginning of a trainer that has no place in a round: with the checkpoint in force.

A trainer that joins later, or was away for a round, has no merge of its own to compare a checkpoint
with.
"""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from assay.inference.checkpoint import Checkpoint
from assay.inference.model_loading import read_tensors
from assay.network.chain.errors import ChainError, ForgottenError
from assay.network.chain.ports import BlockReader
from assay.network.store.base import ObjectStore
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.parameters import Parameters
from assay.rounds.calendar import find_last_round, find_round
from assay.rounds.child_store import RoundReader, WithheldError, count_outer_bytes
from assay.rounds.in_force import InForce, get_in_force, get_in_force_at
from assay.rounds.outer_step import OuterState, begin_outer


def find_parent(chain: BlockReader, parameters: Parameters, head: int) -> InForce:
    """The checkpoint that a trainer begins with. Raises ChainError."""
    if find_last_round(parameters, head) is None:  # all begin alike, whenever they begin
        try:
            return get_in_force(chain, parameters, parameters.start.window)
        except ForgottenError:
            pass
    return get_in_force_at(chain, parameters, head)


def find_first_end(parameters: Parameters, parent: InForce, head: int) -> int:
    """The end of the round in which a trainer begins that has this parent."""
    first = find_round(parameters, parameters.start.window)
    if parent.number > parameters.start.window:
        return parent.number + len(first.windows)
    last = find_last_round(parameters, head)
    return first.end if last is None else last.end + len(last.windows)


def find_outer(base: Checkpoint, stores: Sequence[ObjectStore], folder: Path) -> OuterState:
    """The outer state at a checkpoint: its merge's, or without momentum if a step made it.

    Args:
        folder: for what is fetched.

    Raises:
        ChainError: a merge made it, whose outer state nobody serves.
    """
    weights: dict[str, Tensor] = {}
    for file in sorted(base.folder.glob("*.safetensors")):
        weights |= read_tensors(file)
    resting = begin_outer(weights)
    if base.manifest.step == ZERO_DIGEST:
        return resting
    reader = RoundReader(stores, folder)
    try:
        merge = reader.read_merge_record(base.manifest.step)
    except WithheldError:  # a step made it
        return resting
    try:
        return reader.read_outer(merge.outer_after, count_outer_bytes(resting.masters))
    except WithheldError as error:
        raise ChainError(f"the masters of the round's parent cannot be read: {error}") from None
