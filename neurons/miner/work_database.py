"""A miner's work on disk: every group as it is made, so that a window survives a restart.

Each window has one file, which only grows: a header that names the hotkey and the challenge, then
the groups in order and marks of completed stages. Each record has a checksum over its content and
position. A record that was cut off during a write is dropped when the file is next opened. The
file's name and header contain the hotkey and the challenge's seed, which covers parameters,
checkpoint and beacon. Work for one challenge is therefore never used for another.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import IO, Self, TypeVar

import numpy as np

from assay.artifacts.mining_history import HistoryError, MeasuredStep, MinedWindow, MiningHistory
from assay.network.files import take_lock, write_file
from assay.neurons.miner.measured_speed import MeasuredSpeed
from assay.protocol.errors import OperatorError, Trouble, TroubleKind
from assay.protocol.parameters import Work
from assay.protocol.submission import SKETCH_COLUMNS, Rollout
from assay.session.window_reader import Challenge

#: Windows whose files are kept, the current one included.
KEPT_WINDOWS = 4

_MAGIC = b"assay miner's work, version 1\n"
_NAME = re.compile(r"window-([0-9]{1,18})-[0-9a-f]{16}\.work")
_LOCK = ".lock"
_SUM_BYTES = 16
_HEAD_BYTES = 5  # u32 length, u8 kind


class WorkDatabaseError(OperatorError):
    """Work cannot be kept. The message says which file, and what to do."""

    trouble_kind = TroubleKind.DISK


class WorkStage(IntEnum):
    """The kind of a record. Kinds after GROUP are marks of completed stages, with a number each."""

    GROUP = 0
    SEALED = 1  # this number of groups is final: no other number may be committed any more
    UPLOADED = 2
    SENT = 3  # the commitment was sent, at this head


@dataclass(slots=True)
class SavedWork:
    """One window's file, and its content. `marks` has the last number of each kind of mark."""

    path: Path
    identity: bytes
    groups: list[list[Rollout]] = field(default_factory=list)
    marks: dict[WorkStage, int] = field(default_factory=dict)
    size: int = 0
    written: int = 0

    def keep(self, groups: Sequence[Sequence[Rollout]]) -> None:
        """Write those of a window's groups that the file lacks. Raises WorkDatabaseError: the disk
        does not accept them. Nothing is half written: try again later."""
        new = [b"".join(map(_encode_rollout, group)) for group in groups[self.written :]]
        self._append([(WorkStage.GROUP, data) for data in new])
        self.written = max(self.written, len(groups))

    def mark(self, kind: WorkStage, number: int) -> None:
        """Note a completed stage."""
        if self.marks.get(kind) != number:
            self._append([(kind, number.to_bytes(8, "big"))])
            self.marks[kind] = number

    def _append(self, records: Sequence[tuple[WorkStage, bytes]]) -> None:
        if not records:
            return
        try:
            if not self.size:
                write_file(self.path, _MAGIC + self.identity)
                self.size = len(_MAGIC + self.identity)
            with self.path.open("r+b") as file:
                file.truncate(self.size)  # left by a failed attempt
                file.seek(self.size)
                for kind, payload in records:
                    file.write(_pack(self.identity, file.tell(), kind, payload))
                file.flush()
                os.fsync(file.fileno())
                self.size = file.tell()
        except OSError as error:
            raise _explain(self.path, error) from error


class WorkDatabase:
    """A folder of such files. Only one miner at a time may use it: others are refused.

    Args:
        folder: created if it does not exist.
        window_count: number of windows whose files stay.

    Raises:
        WorkDatabaseError: it cannot be used, or another miner uses it. All methods raise it too.
    """

    def __init__(self, folder: Path, window_count: int = KEPT_WINDOWS) -> None:
        self._folder = folder
        self._kept = window_count
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = (folder / _LOCK).open("a")
        except OSError as error:
            raise _explain(folder, error) from error
        if not take_lock(self._lock.fileno()):
            self._lock.close()
            raise WorkDatabaseError(
                f"another miner works in {folder}: stop it, or give this one a folder of its own"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the folder for others. A process that ends releases it by itself."""
        self._lock.close()

    def list_windows(self) -> list[int]:
        """The windows that have a file, ascending."""
        return sorted({window for window, _ in self._list_files()})

    def open(
        self, challenge: Challenge, hotkey: bytes, group_size: int, group_max: int
    ) -> SavedWork:
        """Open the saved work of a hotkey on a challenge.

        Args:
            group_size: rollouts in a group.
            group_max: bytes of the largest group.
        """
        identity = sha256(_MAGIC + challenge.seed + hotkey).digest()
        name = f"window-{challenge.window}-{identity[:8].hex()}.work"
        page = SavedWork(self._folder / name, identity)
        try:
            with page.path.open("rb") as file:
                if file.read(len(_MAGIC) + len(identity)) == _MAGIC + identity:
                    page.size = file.tell()
                    _read_records(page, file, group_size, group_max)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _explain(page.path, error) from error
        page.written = len(page.groups)
        return page

    def prune(self, window: int) -> None:
        """Delete the files of windows that are too old to keep, where this is the newest window."""
        for number, path in self._list_files():
            if number <= window - self._kept:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise _explain(path, error) from error

    def _list_files(self) -> list[tuple[int, Path]]:
        try:
            paths = sorted(self._folder.iterdir())
        except OSError as error:
            raise _explain(self._folder, error) from error
        named = ((_NAME.fullmatch(path.name), path) for path in paths)
        return [(int(match[1]), path) for match, path in named if match is not None]


def _read_records(page: SavedWork, file: IO[bytes], group_size: int, group_max: int) -> None:
    """Read everything up to the first incomplete record. Later writes overwrite the rest."""
    for kind, payload, end in _iterate_records(page.identity, file, group_max):
        if kind is WorkStage.GROUP:
            page.groups.append(_decode_group(payload, group_size))
        else:
            page.marks[kind] = int.from_bytes(payload, "big")
        page.size = end


def _iterate_records(
    identity: bytes, file: IO[bytes], group_max: int
) -> Iterator[tuple[WorkStage, bytes, int]]:
    while True:
        offset = file.tell()
        head = file.read(_HEAD_BYTES)
        length = int.from_bytes(head[:4], "big")
        if len(head) < _HEAD_BYTES or length > group_max or head[4] not in set(WorkStage):
            return
        kind, payload = WorkStage(head[4]), file.read(length)
        if head + payload + file.read(_SUM_BYTES) != _pack(identity, offset, kind, payload):
            return
        yield kind, payload, file.tell()


def _encode_rollout(rollout: Rollout) -> bytes:
    """`u32 T ‖ T tokens ‖ T log-probabilities ‖ 2T bytes of sketch`, little endian."""
    columns = (rollout.tokens.astype("<u4"), rollout.logprobs.astype("<u4"), rollout.sketch)
    return len(rollout.tokens).to_bytes(4, "little") + b"".join(c.tobytes() for c in columns)


def _decode_group(payload: bytes, group_size: int) -> list[Rollout]:
    """A group as it was written. Its record's checksum has already been verified."""
    group, offset = [], 0
    for _ in range(group_size):
        count = int.from_bytes(payload[offset : offset + 4], "little")
        numbers = np.frombuffer(payload, "<u4", 2 * count, offset + 4).astype(np.uint32)
        sketch = np.frombuffer(payload, np.int8, SKETCH_COLUMNS * count, offset + 4 + 8 * count)
        group.append(
            Rollout(numbers[:count], numbers[count:], sketch.reshape(count, SKETCH_COLUMNS))
        )
        offset += 4 + (8 + SKETCH_COLUMNS) * count
    return group


def _pack(identity: bytes, offset: int, kind: WorkStage, payload: bytes) -> bytes:
    record = len(payload).to_bytes(4, "big") + bytes([kind]) + payload
    return record + sha256(identity + offset.to_bytes(8, "big") + record).digest()[:_SUM_BYTES]


def _explain(path: Path, error: OSError) -> WorkDatabaseError:
    return WorkDatabaseError(
        f"cannot write a miner's work to {path} ({error.strerror or error}): make sure that you "
        "may write there and that the disk is not full; if the miner stops before that, its work "
        "is lost"
    )


T = TypeVar("T")


class MinerPersistence:
    """A miner's workbook and history, either of which may be missing.

    Args:
        report: called with one line when a disk begins to fail.

    Attributes:
        troubles: what cannot be written at the moment, and why.
    """

    def __init__(
        self,
        workbook: WorkDatabase | None,
        history: MiningHistory | None,
        report: Callable[[str], None],
    ) -> None:
        self.troubles: dict[str, Trouble] = {}
        self._workbook = workbook
        self._history = history
        self._report = report

    def list_windows(self) -> list[int]:
        """The windows with saved work, ascending."""
        book = self._workbook
        return [] if book is None else self._attempt("work", book.list_windows) or []

    def open_page(self, challenge: Challenge, hotkey: bytes, work: Work) -> SavedWork | None:
        """Open the saved work of a hotkey on a challenge, and delete files that are too old."""
        book = self._workbook
        if book is None:
            return None
        self._attempt("work", partial(book.prune, challenge.window))
        group_max = work.group_size * (4 + (8 + SKETCH_COLUMNS) * work.max_tokens)
        group = work.group_size, group_max
        return self._attempt("work", partial(book.open, challenge, hotkey, *group))

    def keep(
        self,
        page: SavedWork | None,
        groups: Sequence[Sequence[Rollout]],
        stage: WorkStage,
        number: int,
    ) -> None:
        """Write groups that are not saved yet. After stage GROUP, also write the stage's mark."""
        if page is None:
            return

        def write() -> None:
            page.keep(groups)
            if stage is not WorkStage.GROUP:
                page.mark(stage, number)

        self._attempt("work", write)

    def record(self, mined: MinedWindow) -> None:
        """Record a window's progress in the history."""
        if self._history is not None:
            self._attempt("history", partial(self._history.write_mined, mined))

    def read_speed(self) -> MeasuredSpeed:
        """The speed that was measured before a restart."""
        history = self._history
        if history is None:
            return MeasuredSpeed()
        return self._attempt("history", partial(_read_speed, history)) or MeasuredSpeed()

    def record_step(self, step: MeasuredStep) -> None:
        """Record how long a step of generating took."""
        if self._history is not None:
            self._attempt("history", partial(self._history.write_step, step))

    def record_upload(self, window: int, seconds: float) -> None:
        """Record how long an upload took."""
        if self._history is not None:
            self._attempt("history", partial(self._history.write_upload, window, seconds))

    def _attempt(self, what: str, call: Callable[[], T]) -> T | None:
        try:
            done = call()
        except (WorkDatabaseError, HistoryError) as error:
            if what not in self.troubles:
                self._report(str(error))
            self.troubles[what] = Trouble.from_error(error)
            return None
        self.troubles.pop(what, None)
        return done


def _read_speed(history: MiningHistory) -> MeasuredSpeed:
    return MeasuredSpeed(history.get_steps(), history.get_uploads())
