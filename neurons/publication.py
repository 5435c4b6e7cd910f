"""Checkpoints below a store's locator, by digest: `checkpoints/<digest>/<file>`.

How one is fetched is `assay.neurons.fetching`.
"""

import re
from collections.abc import Callable
from pathlib import Path

from assay.inference.folder import (
    INDEX_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    SMALL_FILES,
    CheckpointError,
    verify_manifest,
)
from assay.network.store import ObjectSource, ObjectStore

#: Read and written at a time, bytes.
CHUNK_BYTES = 8 << 20
#: Most shards of a model.
SHARDS_MAX = 4_096
_SHARD = re.compile(rb"model-(\d{5})-of-(\d{5})\.safetensors")

#: Called with the bytes done so far and those known to be due.
Progress = Callable[[int, int], None]


def ignore_progress(done: int, due: int) -> None:
    """Nobody watches."""


def list_files(folder: Path) -> list[str]:
    """A checkpoint folder's files in the order in which they are published, manifest last.

    Raises:
        CheckpointError: tensors in files of other names than readers look for, or one is missing.
    """
    tensors = sorted(path.name for path in folder.glob("*.safetensors"))
    if tensors != [MODEL_FILE]:
        wanted = list_shards((folder / INDEX_FILE).read_bytes(), folder.name)
        if sorted(wanted) != tensors:
            raise CheckpointError(
                f"{folder} holds {len(tensors)} *.safetensors files that are not those of its "
                f"{INDEX_FILE}: save the model anew, or as one {MODEL_FILE}"
            )
        tensors = [*wanted, INDEX_FILE]
    return [*SMALL_FILES, *tensors, MANIFEST_FILE]


def publish_checkpoint(
    store: ObjectStore, folder: Path, digest: bytes, progress: Progress = ignore_progress
) -> None:
    """Uploads a checkpoint's files; those that are there with the same bytes stay.

    Whoever finds the manifest finds everything.

    Raises:
        CheckpointError: the folder is not that checkpoint's, or lacks a file.
        StoreError: the store cannot be read or written.
    """
    verify_manifest(folder, digest)
    try:
        names = list_files(folder)
        due = sum((folder / name).stat().st_size for name in names)
        done = 0
        for name in names:
            path, target = folder / name, make_checkpoint_name(digest, name)
            if not _is_same(store.open(target), path):
                store.put_file(target, path)
            done += path.stat().st_size
            progress(done, due)
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint in {folder}: {error}") from error


def make_checkpoint_name(digest: bytes, name: str) -> str:
    """Where a file of a checkpoint lies below a locator."""
    return f"checkpoints/{digest.hex()}/{name}"


def _is_same(source: ObjectSource, path: Path) -> bool:
    size = path.stat().st_size
    if source.size() != size:
        return False
    with path.open("rb") as file:
        return all(
            source.read(start, min(size, start + CHUNK_BYTES)) == file.read(CHUNK_BYTES)
            for start in range(0, size, CHUNK_BYTES)
        )


def list_shards(index: bytes, where: str) -> list[str]:
    """The shards that an index speaks of. Nothing else is taken from it: it is under no digest."""
    counts = {int(match[2]) for match in _SHARD.finditer(index)}
    count = counts.pop() if len(counts) == 1 else 0
    if counts or not 0 < count <= SHARDS_MAX:
        raise CheckpointError(
            f"the {INDEX_FILE} of {where} names no model-00001-of-0000N.safetensors, or more than "
            f"{SHARDS_MAX}"
        )
    return [f"model-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)]
