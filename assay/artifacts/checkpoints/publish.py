"""Checkpoints in a store: written so that every reader of the commitment can fetch them.

    checkpoints/<digest>/manifest.json, tensors.json and the other small files
    checkpoints/<digest>/deltas/<SHA-256>    that tensor's difference to the parent's
    tensors/<SHA-256>                        a tensor's bytes, whichever checkpoints have it

`download` fetches them.
"""

from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from assay.artifacts.checkpoints.adapter import make_tensors, read_adapter
from assay.artifacts.checkpoints.tensor_delta import DELTA_SHARE, make_delta
from assay.artifacts.checkpoints.tensor_table import TABLE_FILE, compute_size, encode_table
from assay.artifacts.store_objects import (
    Progress,
    ignore_progress,
    make_checkpoint_name,
    make_delta_name,
    make_tensor_name,
    map_file,
    put_object,
)
from assay.inference.folder import (
    MANIFEST_FILE,
    CheckpointError,
    find_tensors,
    list_small_files,
    read_small_file,
    verify_manifest,
    verify_small_files,
    verify_tensors,
)
from assay.network.store.base import ObjectStore
from assay.protocol.encoding import EncodingError
from assay.protocol.manifest import Manifest, TensorDigest, TensorPlace


def publish_checkpoint(
    store: ObjectStore,
    folder: Path,
    digest: bytes,
    progress: Progress = ignore_progress,
    alone: bool = False,
) -> None:
    """Upload a checkpoint, and read all of it back. When this returns, everybody can fetch it.

    Objects that are there with the right bytes stay. Deltas are made against the parent, if it is
    beside the folder. If the base of the checkpoint's adapter is beside it, too, tensors that the
    adapter makes are left out, and the base is uploaded where the store lacks it. The manifest
    comes last, so that its readers find everything else.

    Args:
        alone: all tensors are uploaded, and no other checkpoint.

    Raises:
        CheckpointError: the folder is not that checkpoint's, or damaged.
        StoreError: the store cannot be read or written, or returns other bytes.
    """
    manifest = verify_manifest(folder, digest)
    verify_small_files(folder, manifest)
    tensors = verify_tensors(folder, manifest)
    try:
        made = set() if alone else _find_made(store, folder, manifest, tensors)
        _Upload(store, folder, manifest, progress).run(tensors, made)
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint in {folder}: {error}") from error


def _find_made(
    store: ObjectStore, folder: Path, manifest: Manifest, tensors: list[TensorDigest]
) -> set[str]:
    """The tensors that every reader of the store makes from the checkpoint's adapter."""
    try:
        adapter = read_adapter(folder, manifest)
        if adapter is None:
            return set()
        base = folder.parent / adapter.base.hex()
        made = make_tensors(adapter, base, tensors)
        if made and store.open(make_checkpoint_name(adapter.base, MANIFEST_FILE)).size() is None:
            publish_checkpoint(store, base, adapter.base, alone=True)
    except (CheckpointError, EncodingError):  # no base here, or an adapter of others
        return set()
    return made


@dataclass(slots=True)
class _Upload:
    store: ObjectStore
    folder: Path
    manifest: Manifest
    progress: Progress

    def run(self, tensors: list[TensorDigest], made: set[str]) -> None:
        """Upload everything but the tensors `made`."""
        places, before = find_tensors(self.folder), {}
        with suppress(CheckpointError):  # no parent, no delta
            before = find_tensors(self.folder.parent / self.manifest.parent.hex())
        due, done = sum(place.end - place.start for _, place in places.values()), 0
        for name in list_small_files(self.manifest):
            self._put_small(name, read_small_file(self.folder, name))
        self._put_small(TABLE_FILE, encode_table(tensors))
        for tensor in tensors:
            if tensor.name in made:
                due -= compute_size(tensor)
                continue
            path, place = places[tensor.name]
            with map_file(path) as data, memoryview(data)[place.start : place.end] as view:
                self._put_delta(tensor, view, before.get(tensor.name))
                put_object(self.store, make_tensor_name(tensor.sha256), tensor.sha256, view)
            done += place.end - place.start
            self.progress(done, due)
        self._put_small(MANIFEST_FILE, read_small_file(self.folder, MANIFEST_FILE))

    def _put_small(self, name: str, data: bytes) -> None:
        target = make_checkpoint_name(self.manifest.digest, name)
        put_object(self.store, target, sha256(data).digest(), memoryview(data))

    def _put_delta(
        self, tensor: TensorDigest, child: memoryview, before: tuple[Path, TensorPlace] | None
    ) -> None:
        if before is None or not len(child) or len(child) % 2:
            return
        path, place = before
        if place.end - place.start != len(child):
            return
        with map_file(path) as data, memoryview(data)[place.start : place.end] as parent:
            if parent == child:
                return
            delta = make_delta(parent, child, len(child) // DELTA_SHARE)
        if delta is not None:
            name = make_delta_name(self.manifest.digest, tensor.sha256)
            put_object(self.store, name, sha256(delta).digest(), memoryview(delta))
