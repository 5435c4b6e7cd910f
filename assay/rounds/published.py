"""Compares a published merged checkpoint with the merge of this trainer."""

from collections.abc import Sequence
from pathlib import Path

from assay.artifacts.checkpoints.adapter import name_adapter
from assay.artifacts.checkpoints.folder import CheckpointFolder, open_checkpoint
from assay.environments.steering import find_parent_fault
from assay.network.store.base import ObjectStore
from assay.protocol.commitment import Commitment
from assay.protocol.manifest import Manifest
from assay.rounds.calendar import Round
from assay.rounds.child_store import RoundReader, WithheldError
from assay.rounds.merging import Merge, RoundMerge

#: Shortest time in which a child can be read from its trainer's store, seconds.
_PATIENCE_MIN_S = 20.0
#: Fields of a manifest that no round changes.
_FIXED = (*("structure", "tokenizer", "chat_template", "end_tokens", "max_tokens"),)


def judge_published(
    published: Commitment,
    merging: RoundMerge,
    stores: Sequence[ObjectStore],
    checkpoints: CheckpointFolder,
    folder: Path,
) -> tuple[str | None, Merge]:
    """The difference between a published checkpoint and its round's result, or None; and the
    round's merge.

    Args:
        stores: stores to ask, in order.
        folder: folder for fetched children.

    Raises:
        CheckpointError: the checkpoint is the result, but cannot be fetched. StoreError: a store
            failed.
    """
    of = merging.facts.of
    reader = RoundReader(stores, folder)
    try:
        manifest = reader.read_manifest(published.digest)
        record = reader.read_merge_record(manifest.step)
    except WithheldError as error:
        return str(error), merging.merge()
    # children that the publisher had and this trainer lacks
    merging.gather(dict.fromkeys(merging.commitments, stores), get_patience(of))
    fault, merge = merging.find_fault(manifest, record)
    if fault is None:
        fault = _find_manifest_fault(manifest, merging)
    if fault is None:
        open_checkpoint(checkpoints, published.digest, of.parameters)
    return fault, merge


def get_patience(of: Round) -> float:
    """Longest time for reading one child, seconds. A store that hangs must not cost a trainer its
    turn."""
    turn = of.rounds.turn_blocks * of.parameters.timing.slot_ms / 1_000
    return max(_PATIENCE_MIN_S, turn / len(of.rounds.trainers))


def _find_manifest_fault(manifest: Manifest, merging: RoundMerge) -> str | None:
    before = merging.facts.parent
    if fault := find_parent_fault(manifest, before):
        return fault
    if any(getattr(manifest, name) != getattr(before, name) for name in _FIXED) or (
        manifest.files != name_adapter(before.files, None)
    ):
        return "it is another model than its parent"
    return None
