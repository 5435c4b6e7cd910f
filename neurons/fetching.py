"""A checkpoint from a store that nobody trusts: names are ours, sizes and time are limited.

What was fetched is held against its digest before anybody sees it, cheapest files first, so any
copy will do, and a wrong one costs at most what the limits say.
"""

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from assay.inference.architecture import compute_bytes_max
from assay.inference.folder import (
    CONFIG_FILE,
    INDEX_FILE,
    JSON_BYTES,
    MANIFEST_FILE,
    MODEL_FILE,
    SMALL_FILE_BYTES,
    SMALL_FILES,
    CheckpointError,
    read_small_file,
    verify_manifest,
    verify_small_files,
    verify_tensors,
)
from assay.network.store import ObjectSource, ObjectStore, StoreError
from assay.neurons.files import hold_folder
from assay.neurons.publication import (
    CHUNK_BYTES,
    Progress,
    ignore_progress,
    list_shards,
    make_checkpoint_name,
)
from assay.neurons.rules import PublicationError
from assay.protocol.encoding import EncodingError, read_json

#: Most stores that are asked for one checkpoint.
MIRRORS_MAX = 16
#: A fetched checkpoint leaves this much of the disk free, bytes.
_DISK_MARGIN = 256 << 20


class _WrongBytesError(PublicationError):
    """All bytes came, and they are not those of the digest."""


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What one checkpoint may cost.

    Attributes:
        checkpoint_bytes: size of its tensors, if its config.json does not imply less.
        seconds: for all of it, whatever the store does.
    """

    checkpoint_bytes: int = 128 << 30
    seconds: float = 6 * 3_600.0


def fetch_checkpoint(
    store: ObjectStore,
    digest: bytes,
    root: Path,
    limits: FetchLimits | None = None,
    progress: Progress = ignore_progress,
) -> Path:
    """The folder `root/<digest>`, fetched unless it is there. It is there whole or not at all.

    What was cut off goes on where it ended, here or from another store. Whether the checkpoint is
    of use is not asked: only that it is the one of the digest.

    Raises:
        PublicationError: the store has not all of it, something else, or too much.
        StoreError: the store cannot be read.
        CheckpointError: our own disk, or another program is fetching it just now.
    """
    target = root / digest.hex()
    if target.exists():
        return target
    with _hold_partial(root, digest) as partial:
        download = _Download(store, digest, partial, limits or FetchLimits(), progress)
        try:
            download.run()
        except _WrongBytesError:
            _empty(partial)
            if not download.resumed:
                raise
            # what an earlier attempt left, perhaps from another store, may have been the wrong part
            try:
                download.run()
            except _WrongBytesError:
                _empty(partial)
                raise
        partial.rename(target)
    return target


def fetch_from_any(
    stores: Iterable[ObjectStore],
    digest: bytes,
    root: Path,
    limits: FetchLimits | None = None,
    progress: Progress = ignore_progress,
) -> Path:
    """The same from the first store that has it.

    Raises:
        CheckpointError: none has it; says of each why not.
    """
    reasons = []
    for number, store in enumerate(islice(stores, MIRRORS_MAX), 1):
        try:
            return fetch_checkpoint(store, digest, root, limits, progress)
        except (PublicationError, StoreError) as error:
            reasons.append(f"mirror {number}: {error}")
    said = "; ".join(reasons) or "no mirror is known"
    raise CheckpointError(f"checkpoint {digest.hex()[:16]}… is not here and cannot be had: {said}")


@contextmanager
def _hold_partial(root: Path, digest: bytes) -> Iterator[Path]:
    """The folder for what has come so far, ours alone; what the disk refuses is a clear error."""
    partial = root / f".fetch-{digest.hex()}"
    try:
        partial.mkdir(parents=True, exist_ok=True)
        with hold_folder(partial) as held:
            if not held:
                raise CheckpointError(
                    f"another program is fetching checkpoint {digest.hex()[:16]}… into {root}: "
                    "look again when it has ended"
                )
            yield partial
    except OSError as error:
        raise CheckpointError(
            f"cannot keep checkpoint {digest.hex()[:16]}… below {root} ({error}): see that the "
            "folder is yours to write and its disk not full"
        ) from error


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


@dataclass(slots=True)
class _Download:
    """One checkpoint from one store into a folder of its own.

    Attributes:
        resumed: something was there already and was kept.
    """

    store: ObjectStore
    digest: bytes
    folder: Path
    limits: FetchLimits
    progress: Progress
    resumed: bool = False
    _deadline: float = field(init=False)
    _done: int = field(init=False, default=0)
    _due: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._deadline = time.monotonic() + self.limits.seconds

    def run(self) -> None:
        """Fetches cheapest first, each step held against what came before."""
        self._done = self._due = 0
        with self._explain():
            self._fetch(MANIFEST_FILE, JSON_BYTES)
            manifest = verify_manifest(self.folder, self.digest)
            for name in SMALL_FILES:
                self._fetch(name, SMALL_FILE_BYTES)
            verify_small_files(self.folder, manifest)
            tensors = self._list_tensors()
            left = self._compute_limit()
            self._require_room(tensors, left)
            # sizes may have grown since they were looked at
            for name in tensors:
                left -= self._fetch(name, left)
            index = set() if tensors == [MODEL_FILE] else {INDEX_FILE}
            self._drop_others({MANIFEST_FILE, *SMALL_FILES, *tensors} | index)
            verify_tensors(self.folder, manifest)

    @contextmanager
    def _explain(self) -> Iterator[None]:
        try:
            yield
        except CheckpointError as error:
            raise _WrongBytesError(
                f"the store's copy of checkpoint {self.digest.hex()[:16]}… is not it: {error}"
            ) from None

    def _list_tensors(self) -> list[str]:
        if self._open(MODEL_FILE).size() is not None:
            return [MODEL_FILE]
        self._fetch(INDEX_FILE, SMALL_FILE_BYTES)
        return list_shards((self.folder / INDEX_FILE).read_bytes(), "the store")

    def _compute_limit(self) -> int:
        """Bytes of tensors that are taken: what a model of this config.json may have. A config that
        says nothing leaves the general limit: the digest may be of what is of no use."""
        try:
            config = read_json(read_small_file(self.folder, CONFIG_FILE, JSON_BYTES))
        except (CheckpointError, EncodingError):
            config = None
        implied = compute_bytes_max(config)
        most = self.limits.checkpoint_bytes
        return most if implied is None else min(most, implied)

    def _require_room(self, tensors: Iterable[str], limit: int) -> None:
        sizes = {name: self._require_size(name, limit) for name in tensors}
        total = sum(sizes.values())
        if total > limit:
            raise PublicationError(
                f"the store's tensors have {total:,} bytes, more than the {limit:,} that are taken"
            )
        self._due = self._done + total
        paths = (self.folder / (name + end) for name in tensors for end in ("", ".part"))
        here = sum(path.stat().st_size for path in paths if path.exists())
        free = shutil.disk_usage(self.folder).free
        if free < total - here + _DISK_MARGIN:
            raise OSError(f"{total - here:,} bytes are to come, and {free:,} are free")

    def _fetch(self, name: str, limit: int) -> int:
        """One file, whole, of the size that the store says; what is here of it already stays."""
        size, path = self._require_size(name, limit), self.folder / name
        if path.exists() and path.stat().st_size == size:
            self.resumed = True
            self._advance(size)
            return size
        path.unlink(missing_ok=True)
        part = self.folder / (name + ".part")
        if part.exists() and part.stat().st_size > size:
            part.unlink()
        source = self._open(name)
        with part.open("ab") as file:
            self.resumed |= file.tell() > 0
            self._advance(file.tell())
            while (at := file.tell()) < size:
                end = min(size, at + CHUNK_BYTES)
                data = source.read(at, end)
                if not data or len(data) > end - at:
                    raise PublicationError(f"the store hands out {name} other than by its size")
                file.write(data)
                self._advance(len(data))
        part.rename(path)
        return size

    def _advance(self, count: int) -> None:
        if time.monotonic() > self._deadline:
            raise PublicationError(
                f"the store is too slow: {self.limits.seconds:,.0f} s were not enough"
            )
        self._done += count
        self.progress(self._done, max(self._done, self._due))

    def _require_size(self, name: str, limit: int) -> int:
        size = self._open(name).size()
        if size is None:
            raise PublicationError(
                f"the store has no {name} of checkpoint {self.digest.hex()[:16]}…"
            )
        if size > limit:
            raise PublicationError(f"the store's {name} has {size:,} bytes; {limit:,} are taken")
        return size

    def _open(self, name: str) -> ObjectSource:
        return self.store.open(make_checkpoint_name(self.digest, name))

    def _drop_others(self, names: set[str]) -> None:
        """What another store called the tensors; the loader reads every *.safetensors file."""
        for path in self.folder.iterdir():
            if path.name not in names:
                path.unlink()
