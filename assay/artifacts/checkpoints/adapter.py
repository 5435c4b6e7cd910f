"""A checkpoint as its adapter: the tensors that another checkpoint and small factors make.

Specification, section 7 ("Adapter"). The manifest binds the file, and each tensor is checked
against the table: an adapter that makes other tensors costs time, and nothing else.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from assay.artifacts.checkpoints.tensor_table import compute_size, plan_file
from assay.artifacts.store_objects import CHUNK_BYTES
from assay.inference.folder import FILES_FOLDER, find_tensors, read_small_file
from assay.inference.low_rank import (
    ADAPTER_FILE,
    RANK_MAX,
    Adapter,
    Factors,
    compute_adapter_size,
    decode_adapter,
    encode_adapter,
    merge_in_blocks,
)
from assay.protocol.encoding import EncodingError
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.manifest import (
    FILES_BYTES_MAX,
    FILES_MAX,
    FurtherFile,
    Manifest,
    TensorDigest,
    TensorPlace,
)

#: An adapter's path in a model folder, and below a checkpoint's name in a store.
ADAPTER_PATH = f"{FILES_FOLDER}/{ADAPTER_FILE}"


def read_adapter(folder: Path, manifest: Manifest) -> Adapter | None:
    """The adapter of a verified folder, or None where its manifest names none.

    Raises:
        CheckpointError: the file is missing or cannot be read.
        EncodingError: it is no adapter.
    """
    if all(file.name != ADAPTER_FILE for file in manifest.files):
        return None
    return decode_adapter(read_small_file(folder, ADAPTER_PATH))


def make_adapter(
    base: bytes, factors: Mapping[str, Factors], made: bytes | None = None
) -> bytes | None:
    """The file that readers fetch in place of tensors. None: there are no factors, or too large
    ones, and the tensors are fetched. `made`: see `encode_adapter`."""
    if not factors or max(one.left.shape[-1] for one in factors.values()) > RANK_MAX:
        return None
    if compute_adapter_size(factors) > FILES_BYTES_MAX:  # not encoded in vain
        return None
    return encode_adapter(Adapter(base, factors), made)


def name_adapter(files: Sequence[FurtherFile], data: bytes | None) -> tuple[FurtherFile, ...]:
    """The further files of a child of a checkpoint that has `files`: the same, with its own adapter
    in place of its parent's. Without one where the manifest has no room for it."""
    others = tuple(file for file in files if file.name != ADAPTER_FILE)
    if data is None or len(others) == FILES_MAX:
        return others
    if sum(file.size for file in others) + len(data) > FILES_BYTES_MAX:
        return others
    named = FurtherFile(ADAPTER_FILE, sha256(data).digest(), len(data))
    return tuple(sorted((*others, named), key=lambda file: file.name))


def make_tensors(
    adapter: Adapter,
    base: Path,
    tensors: Sequence[TensorDigest],
    write: Callable[[TensorDigest, int, memoryview], object] = lambda *_: None,
    there: Collection[str] = (),
) -> set[str]:
    """Make tensors from those of the base's folder. Return the names of those that are as listed.

    Args:
        write: called with each part of each tensor and its offset there, right or not.
        there: tensors that need not be made.

    Raises:
        CheckpointError: the base cannot be read.
        EncodingError: the adapter changes a tensor that is not listed.
    """
    if unknown := adapter.factors.keys() - {tensor.name for tensor in tensors}:
        raise EncodingError(f"changes {min(unknown)!r}, which the checkpoint does not have")
    places, made = find_tensors(base), set()
    for tensor in tensors:
        if tensor.name in there:
            continue
        factors = adapter.factors.get(tensor.name)
        path, place = places.get(tensor.name, (None, None))
        if path is None or place is None or place.shape != tensor.shape:
            continue
        size = compute_size(tensor)
        if not size or place.end - place.start != size or place.dtype != tensor.dtype:
            continue
        if factors is not None and factors.shape != tensor.shape:
            continue
        digest, at = sha256(), 0
        for part in _compute(path, place, factors):
            digest.update(part)
            write(tensor, at, part)
            at += len(part)
        if digest.digest() == tensor.sha256:
            made.add(tensor.name)
    return made


def write_tensors(adapter: Adapter, base: Path, target: Path) -> None:
    """Write the file with all tensors that an adapter makes of those of the base's folder. Whether
    they are a checkpoint's shows when that is opened.

    Raises:
        CheckpointError: the base cannot be read.
        EncodingError: the adapter changes a tensor that the base does not have, or that has another
            shape there.
    """
    places = find_tensors(base)
    tensors = [TensorDigest(p.name, p.dtype, p.shape, ZERO_DIGEST) for _, p in places.values()]
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    for name, factors in adapter.factors.items():
        if shapes.get(name) != factors.shape:
            raise EncodingError(f"changes {name!r}, which the base does not have in this shape")
    first, starts = plan_file(tensors)
    with target.open("wb") as file:
        file.write(first)

        def write(tensor: TensorDigest, at: int, data: memoryview) -> None:
            file.seek(starts[tensor.name] + at)
            file.write(data)

        make_tensors(adapter, base, tensors, write)


def _compute(path: Path, place: TensorPlace, factors: Factors | None) -> Iterator[memoryview]:
    """A tensor's bytes in order."""
    shape = place.shape or (1,)
    # a private copy of each page, where anything would write: torch wants an array to be writable
    values = np.memmap(path, np.uint16, "c", place.start, shape)
    if factors is None:
        data = values.reshape(-1).view(np.uint8).data
        for start in range(0, len(data), CHUNK_BYTES):
            yield data[start : start + CHUNK_BYTES]
        return
    for rows in merge_in_blocks(torch.from_numpy(values).view(torch.bfloat16), factors):
        yield rows.view(torch.uint8).numpy().reshape(-1).data
