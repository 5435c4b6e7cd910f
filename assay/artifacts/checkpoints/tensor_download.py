"""Downloads a checkpoint's tensors from several stores at once. None counts before its SHA-256 is
right.

Each worker takes one tensor after the other from one store, so that a faulty store is identified. A
store that lies, breaks off or is far slower than another is dropped, and the others deliver the
rest. A tensor with a local parent is made from its delta, if there is one. Right tensors that an
earlier attempt left in the file are not fetched again.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from threading import Condition, Thread
from typing import BinaryIO, TypeVar

from assay.artifacts.checkpoints.tensor_delta import DELTA_SHARE, apply_delta
from assay.artifacts.store_objects import (
    CHUNK_BYTES,
    Progress,
    UnavailableError,
    answer_in_time,
    make_delta_name,
    make_tensor_name,
    read_parts,
)
from assay.network.store.base import ObjectSource, ObjectStore, StoreError
from assay.protocol.encoding import EncodingError

#: Workers in all; each store has at least one.
WORKERS = 8
#: Seconds that the last store has for a chunk; with another store left, a multiple of the faster
#: one's time, and at least the third figure.
PATIENCE_S, SLOWER, HASTE_S = 60.0, 20.0, 2.0
#: Seconds between two looks at clocks and progress.
_TICK_S = 0.2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WantedTensor:
    """One tensor to download."""

    sha256: bytes
    size: int  # bytes
    offsets: tuple[int, ...]  # its places in the file; tensors with the same bytes are one piece
    #: file and offset of the parent's tensor of that name and size, if it is here
    parent: tuple[Path, int] | None


class _StoppedError(UnavailableError):
    """The worker must stop: its work is no longer needed."""


@dataclass(slots=True)
class _Mirror:
    number: int
    store: ObjectStore
    lacks: set[bytes] = field(default_factory=set)
    fault: str | None = None
    chunk_s: float | None = None


class TensorDownload:
    """The download of one file's tensors.

    Args:
        target: the file, of its full size.
        resumed: the file may hold tensors already.
        deadline: of all of it, on the monotonic clock.
    """

    def __init__(
        self,
        target: Path,
        digest: bytes,
        pieces: Sequence[WantedTensor],
        mirrors: Sequence[ObjectStore],
        resumed: bool,
        deadline: float,
    ) -> None:
        self._target = target
        self._digest = digest
        self._resumed = resumed
        self._deadline = deadline
        self._mirrors = [_Mirror(number, store) for number, store in enumerate(mirrors, 1)]
        self._changed = Condition()
        self._todo = sorted(pieces, key=lambda piece: -piece.size)  # or the largest ends alone
        self._busy = 0
        self._done = 0  # bytes of tensors that are in the file
        self._written: dict[bytes, int] = {}  # of those being written
        self._due = sum(piece.size for piece in pieces)
        self._stopped = False
        self._error: OSError | None = None

    def run(self, progress: Progress) -> None:
        """Return when every tensor is in the file. Raises UnavailableError: the stores together do
        not have all of it, or not in time. OSError: our own disk."""
        count = max(1, WORKERS // max(1, len(self._mirrors)))
        workers = [
            Thread(target=self._work, args=(mirror,), name="fetch", daemon=True)
            for mirror in self._mirrors
            for _ in range(count)
        ]
        try:
            for worker in workers:
                worker.start()
            while self._is_going_on():
                with self._changed:
                    self._changed.wait(_TICK_S)
                    done = self._done + sum(self._written.values())
                progress(done, self._due)
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
            for worker in workers:  # none may write into a file that is used further
                if worker.ident is not None:
                    worker.join()
        if self._error is not None:
            raise self._error
        if self._todo or self._busy:
            raise UnavailableError(self._explain())
        progress(self._done, self._due)

    def _is_going_on(self) -> bool:
        with self._changed:
            is_late = time.monotonic() > self._deadline
            hope = self._busy or any(
                mirror.fault is None and piece.sha256 not in mirror.lacks
                for piece in self._todo
                for mirror in self._mirrors
            )
            return bool(hope) and not is_late and self._error is None

    def _explain(self) -> str:
        if time.monotonic() > self._deadline:
            return "the stores are too slow: the time that one checkpoint may take is over"
        reasons = [
            f"mirror {mirror.number}: {mirror.fault or 'has not all of its tensors'}"
            for mirror in self._mirrors
        ]
        return "; ".join(reasons)

    # --- one worker

    def _work(self, mirror: _Mirror) -> None:
        while (piece := self._take(mirror)) is not None:
            had = False
            fault: str | None = "met a defect of ours"
            try:
                had, fault = self._get(piece, mirror), None
            except _StoppedError:
                fault = None
            except (UnavailableError, StoreError) as error:
                fault = str(error)
            except OSError as error:
                self._error, fault = error, None
            finally:
                with self._changed:
                    self._busy -= 1
                    mirror.fault = mirror.fault or fault
                    self._written.pop(piece.sha256, None)
                    if had:
                        self._done += piece.size
                    else:
                        self._todo.append(piece)
                    self._changed.notify_all()

    def _take(self, mirror: _Mirror) -> WantedTensor | None:
        """The next tensor that this store may deliver, or None if nothing is left."""
        with self._changed:
            while not self._stopped and mirror.fault is None and self._error is None:
                for index, piece in enumerate(self._todo):
                    if piece.sha256 not in mirror.lacks:
                        self._busy += 1
                        return self._todo.pop(index)
                self._changed.wait()
        return None

    def _get(self, piece: WantedTensor, mirror: _Mirror) -> bool:
        """Fetch a tensor. Return whether it is in its places now. False: this store does not have
        it."""
        with self._target.open("r+b") as file:
            if self._resumed and self._is_in_place(piece, file):
                return True
            if piece.parent is not None and self._get_from_parent(piece, mirror, file):
                return True
            source = mirror.store.open(make_tensor_name(piece.sha256))
            size = answer_in_time(source.size, partial(self._get_patience, mirror))
            if size is None:
                mirror.lacks.add(piece.sha256)
                return False
            if size != piece.size:
                raise UnavailableError(f"has {size:,} bytes for a tensor of {piece.size:,}")
            if not self._write(piece, file, self._read(source, size, mirror)):
                raise UnavailableError("has other bytes for a tensor than its name says")
        return True

    def _get_from_parent(self, piece: WantedTensor, mirror: _Mirror, file: BinaryIO) -> bool:
        """Try to make the tensor from the local parent's, with or without a delta. Return whether
        that worked. A failure blames no store: the parent's copy may be damaged."""
        assert piece.parent is not None
        path, offset = piece.parent
        source = mirror.store.open(make_delta_name(self._digest, piece.sha256))
        size = answer_in_time(source.size, partial(self._get_patience, mirror))
        if size is not None and size > piece.size // DELTA_SHARE:
            return False
        try:
            with path.open("rb") as parent:
                parent.seek(offset)
                if size is None:  # no delta: perhaps nothing has changed
                    if digest_next(parent, piece.size) != piece.sha256:
                        return False
                    parent.seek(offset)
                    return self._write(piece, file, _iterate(parent, piece.size))
                delta = _Stream(self._read(source, size, mirror))
                return self._write(piece, file, apply_delta(piece.size, parent.read, delta.take))
        except (FileNotFoundError, EncodingError):
            return False

    def _is_in_place(self, piece: WantedTensor, file: BinaryIO) -> bool:
        for offset in piece.offsets:
            file.seek(offset)
            if digest_next(file, piece.size) != piece.sha256:
                return False
        return True

    def _write(self, piece: WantedTensor, file: BinaryIO, parts: Iterator[bytes]) -> bool:
        """Write a tensor to its places and hash it. Return whether it was the right one."""
        at, digest = 0, sha256()
        for data in parts:
            if self._stopped:
                raise _StoppedError
            digest.update(data)
            for offset in piece.offsets:
                file.seek(offset + at)
                file.write(data)
            at += len(data)
            with self._changed:
                self._written[piece.sha256] = at
        return at == piece.size and digest.digest() == piece.sha256

    def _read(self, source: ObjectSource, size: int, mirror: _Mirror) -> Iterator[bytes]:
        begun = time.monotonic()
        fault = "serves an object with another size than it says"
        for data in read_parts(source, size, partial(self._get_patience, mirror), fault):
            if len(data) == CHUNK_BYTES:
                mirror.chunk_s = time.monotonic() - begun
            yield data
            begun = time.monotonic()

    def _get_patience(self, mirror: _Mirror) -> float:
        """Seconds for an answer, in the download's present state."""
        if self._stopped or mirror.fault is not None:
            raise _StoppedError
        others = [
            other.chunk_s
            for other in self._mirrors
            if other is not mirror and other.fault is None and other.chunk_s is not None
        ]
        if not others:
            return PATIENCE_S
        return min(PATIENCE_S, max(HASTE_S, SLOWER * min(others)))


class _Stream:
    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._rest = memoryview(b"")

    def take(self, count: int) -> bytes:
        """The next `count` bytes, fewer at the end."""
        parts: list[bytes | memoryview] = [self._rest[:count]]
        missing = count - len(parts[0])
        self._rest = self._rest[count:]
        while missing and (part := next(self._parts, None)) is not None:
            parts.append(part[:missing])
            self._rest = memoryview(part)[missing:]
            missing -= len(parts[-1])
        return b"".join(parts)


def _iterate(file: BinaryIO, size: int) -> Iterator[bytes]:
    for start in range(0, size, CHUNK_BYTES):
        yield file.read(min(CHUNK_BYTES, size - start))


def digest_next(file: BinaryIO, size: int) -> bytes:
    """SHA-256 of a file's next `size` bytes."""
    digest = sha256()
    for data in _iterate(file, size):
        digest.update(data)
    return digest.digest()
