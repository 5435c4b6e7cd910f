"""Downloads a checkpoint from untrusted stores: names are ours, sizes and time are limited.

The manifest is checked against the digest, and all small files and the list of tensors against the
manifest. From then on the SHA-256 and size of every further byte are known, and any store may
deliver it. An interrupted download continues: tensors that are right are kept.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from assay.artifacts.checkpoints.tensor_download import TensorDownload, WantedTensor
from assay.artifacts.checkpoints.tensor_table import (
    TABLE_FILE,
    compute_size,
    decode_table,
    plan_file,
)
from assay.artifacts.store_objects import (
    Progress,
    UnavailableError,
    answer_in_time,
    ignore_progress,
    make_checkpoint_name,
    read_parts,
)
from assay.inference.families import compute_bytes_max
from assay.inference.folder import (
    CONFIG_FILE,
    FILES_FOLDER,
    JSON_BYTES,
    MANIFEST_FILE,
    MODEL_FILE,
    SMALL_FILE_BYTES,
    CheckpointError,
    UnusableCheckpointError,
    find_tensors,
    list_small_files,
    read_small_file,
    verify_manifest,
    verify_small_files,
)
from assay.network.files import hold_folder, move_folder, write_file
from assay.network.store import ObjectStore, StoreError
from assay.protocol.encoding import EncodingError, read_json
from assay.protocol.manifest import Manifest, TensorDigest, TensorPlace

#: Most stores that are asked for one checkpoint.
MIRRORS_MAX = 16
#: Bytes of the disk that a fetched checkpoint leaves free.
DISK_MARGIN = 256 << 20
#: Seconds for a chunk of a small file.
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class DownloadLimits:
    """The limits of one checkpoint: bytes of its tensors, unless its config.json implies fewer;
    seconds for all of it, whatever the stores do."""

    checkpoint_bytes: int = 128 << 30
    seconds: float = 6 * 3_600.0


def fetch_checkpoint(
    stores: Iterable[ObjectStore],
    digest: bytes,
    root: Path,
    limits: DownloadLimits | None = None,
    progress: Progress = ignore_progress,
) -> Path:
    """Fetch the folder `root/<digest>`, unless it exists, and return it. It appears atomically.

    If its parent is in `root` and a store has deltas, these are fetched instead of tensors. This
    checks only that the digest is right, not whether the checkpoint is usable.

    Raises:
        UnusableCheckpointError: it matches the digest, but nobody can use it.
        CheckpointError: the stores do not have it (says of each why not), our own disk fails, or
            another program is fetching it at the moment.
    """
    target = root / digest.hex()
    if target.exists():
        return target
    with _hold_partial(root, digest) as folder:
        mirrors = list(islice(stores, MIRRORS_MAX))
        _Download(mirrors, digest, folder, limits or DownloadLimits(), progress).run()
        move_folder(folder, target)
    return target


def fetch_small_files(fetch: Callable[[str, int], bytes], digest: bytes, folder: Path) -> None:
    """Write all files of a checkpoint but its tensors, its manifest first. Raises a CheckpointError
    if the manifest is another checkpoint's.

    Args:
        fetch: returns a file's bytes, from its name and the most bytes to accept.
    """
    write_file(folder / MANIFEST_FILE, fetch(MANIFEST_FILE, JSON_BYTES))
    manifest = verify_manifest(folder, digest)
    (folder / FILES_FOLDER).mkdir(exist_ok=True)
    for name in list_small_files(manifest):
        write_file(folder / name, fetch(name, SMALL_FILE_BYTES))


@contextmanager
def _hold_partial(root: Path, digest: bytes) -> Iterator[Path]:
    """Lock the folder for the partial download. Errors of the disk become clear ones."""
    folder = root / f".fetch-{digest.hex()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with hold_folder(folder) as held:
            if not held:
                raise CheckpointError(
                    f"another program is fetching checkpoint {digest.hex()[:16]}… into {root}: "
                    "look again when it has ended"
                )
            try:
                yield folder
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)  # frees the space on a full disk
                raise
    except OSError as error:
        raise CheckpointError(
            f"cannot keep checkpoint {digest.hex()[:16]}… below {root} ({error}): see that the "
            "folder is yours to write and that its disk is not full"
        ) from error


@dataclass(slots=True)
class _Download:
    mirrors: list[ObjectStore]
    digest: bytes
    folder: Path
    limits: DownloadLimits
    progress: Progress
    deadline: float = float("inf")

    def run(self) -> None:
        """Download everything, cheapest first. Each step is checked against the ones before."""
        self.deadline = time.monotonic() + self.limits.seconds
        manifest, tensors, reasons = self._get_head()
        total = sum(map(compute_size, tensors))
        limit = self._compute_limit()
        if total > limit:
            raise CheckpointError(
                f"checkpoint {self.digest.hex()[:16]}… has {total:,} bytes of tensors, and "
                f"at most {limit:,} are accepted"
            )
        first, starts = plan_file(tensors)
        file = self.folder / MODEL_FILE
        resumed = self._reserve(file, len(first) + total)
        with file.open("r+b") as opened:
            opened.write(first)
        pieces = _list_pieces(tensors, starts, self._find_parent(manifest))
        gathering = TensorDownload(file, self.digest, pieces, self.mirrors, resumed, self.deadline)
        try:
            gathering.run(self.progress)
        except UnavailableError as error:
            raise self._explain([*reasons, str(error)]) from None
        keep = {MANIFEST_FILE, MODEL_FILE, *list_small_files(manifest)}
        for path in sorted(self.folder.rglob("*"), reverse=True):  # a folder after what is in it
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif str(path.relative_to(self.folder)) not in keep:
                path.unlink()

    def _explain(self, reasons: list[str]) -> CheckpointError:
        listed = "; ".join(reasons) or "no mirror is known"
        name = self.digest.hex()[:16]
        return CheckpointError(f"checkpoint {name}… is not here and cannot be had: {listed}")

    # --- everything but the tensors

    def _get_head(self) -> tuple[Manifest, list[TensorDigest], list[str]]:
        """Manifest, tensors, and the fault of each store that failed, which is not asked again."""
        try:
            return *self._read_head(), []
        except UnusableCheckpointError:
            raise
        except CheckpointError:  # incomplete or wrong
            pass
        reasons: list[str] = []
        while self.mirrors:
            try:
                return *self._fetch_head(self.mirrors[0]), reasons
            except (UnavailableError, StoreError) as error:
                reasons.append(f"mirror {len(reasons) + 1}: {error}")
                self.mirrors = self.mirrors[1:]
        raise self._explain(reasons)

    def _fetch_head(self, store: ObjectStore) -> tuple[Manifest, list[TensorDigest]]:
        try:
            fetch_small_files(partial(self._fetch, store), self.digest, self.folder)
            write_file(self.folder / TABLE_FILE, self._fetch(store, TABLE_FILE, JSON_BYTES))
            return self._read_head()
        except UnusableCheckpointError:
            raise
        except CheckpointError as error:
            raise UnavailableError(
                f"the store's copy of checkpoint {self.digest.hex()[:16]}… is not it: {error}"
            ) from None

    def _read_head(self) -> tuple[Manifest, list[TensorDigest]]:
        manifest = verify_manifest(self.folder, self.digest)
        verify_small_files(self.folder, manifest)
        try:
            table = read_small_file(self.folder, TABLE_FILE, JSON_BYTES)
            return manifest, decode_table(table, manifest)
        except EncodingError as error:
            raise CheckpointError(f"{self.folder / TABLE_FILE} {error}") from None

    def _fetch(self, store: ObjectStore, name: str, limit: int) -> bytes:
        source = store.open(make_checkpoint_name(self.digest, name))
        size = answer_in_time(source.size, self._get_patience)
        if size is None:
            raise UnavailableError(
                f"the store has no {name} of checkpoint {self.digest.hex()[:16]}…"
            )
        if size > limit:
            raise UnavailableError(
                f"the store's {name} has {size:,} bytes; at most {limit:,} are accepted"
            )
        fault = f"the store serves {name} with another size than it says"
        return b"".join(read_parts(source, size, self._get_patience, fault))

    def _get_patience(self) -> float:
        """Seconds for an answer; none once the time for all of it is over."""
        return PATIENCE_S if time.monotonic() < self.deadline else 0.0

    # --- room for the tensors

    def _compute_limit(self) -> int:
        """The bytes that a model with this config.json may have, else the general limit."""
        try:
            config = read_json(read_small_file(self.folder, CONFIG_FILE, JSON_BYTES))
        except (CheckpointError, EncodingError):
            config = None
        implied = compute_bytes_max(config)
        most = self.limits.checkpoint_bytes
        return most if implied is None else min(most, implied)

    def _reserve(self, file: Path, size: int) -> bool:
        """Reserve the disk space before anything is fetched. Return whether the file existed."""
        if file.exists() and file.stat().st_size == size:
            return True
        file.unlink(missing_ok=True)
        free = shutil.disk_usage(self.folder).free
        if free < size + DISK_MARGIN:
            raise OSError(f"{size:,} bytes are to come, and {free:,} are free")
        with file.open("wb") as opened:
            os.posix_fallocate(opened.fileno(), 0, max(1, size))
        return False

    def _find_parent(self, manifest: Manifest) -> dict[str, tuple[Path, TensorPlace]]:
        """The parent's tensors by name, if the parent is here."""
        folder = self.folder.parent / manifest.parent.hex()
        try:
            verify_manifest(folder, manifest.parent)
            return find_tensors(folder)
        except CheckpointError:
            return {}


def _list_pieces(
    tensors: list[TensorDigest],
    starts: dict[str, int],
    parents: dict[str, tuple[Path, TensorPlace]],
) -> list[WantedTensor]:
    same: dict[tuple[bytes, int], list[str]] = {}
    for tensor in tensors:
        same.setdefault((tensor.sha256, compute_size(tensor)), []).append(tensor.name)
    pieces = []
    for (digest, size), names in same.items():
        parent = None
        if names[0] in parents:
            path, place = parents[names[0]]
            parent = (path, place.start) if place.end - place.start == size else None
        pieces.append(WantedTensor(digest, size, tuple(starts[n] for n in names), parent))
    return pieces
