"""Filling the index of rollouts, in the background: files of steps and exports, the newest first,
then the audited groups of the record that no step has.

A part of a file and how far the file is read are written in one transaction: after a kill, reading
goes on behind the last whole part.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from assay.explorer.index import IndexDamagedError
from assay.explorer.page_reader import PageReader
from assay.explorer.ports import RolloutFile, RolloutPart, RolloutSource
from assay.explorer.rollout_index import RolloutIndex, RolloutProgress
from assay.explorer.views.common import list_step_digests
from assay.explorer.views.windows import list_audited
from assay.protocol.record import MemberRow
from assay.protocol.ss58 import encode_ss58

logger = logging.getLogger(__name__)
#: Seconds between two looks for new files; before a file that could not be read is tried again.
LOOK_S, AGAIN_S = 3.0, 60.0
#: Rollouts that the index holds, about: then the oldest files are left out. Newest windows whose
#: audited groups are read.
ROLLOUTS_MAX, WINDOWS_MAX = 2_000_000, 256


class RolloutIndexer:
    """Keeps an index of rollouts up to date. on_change: called after each change, from the
    indexer's thread; it must not block."""

    def __init__(
        self,
        reader: PageReader,
        index: RolloutIndex,
        source: RolloutSource,
        on_change: Callable[[], None],
    ) -> None:
        self._reader, self._index, self._source = reader, index, source
        self._on_change = on_change
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rollouts", daemon=True)
        self._tried: dict[str, float] = {}  # file → when it could not be read
        self._verdicts_of = -1  # windows of the record when verdicts were taken over

    @property
    def progress(self) -> RolloutProgress:
        return self._index.progress

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._source.close()
        if self._thread.is_alive():
            self._thread.join(30)
        self._index.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.step()
            except IndexDamagedError:
                self._begin_again()
            except OSError as error:
                logger.warning("rollouts: %s", error, extra={"event": "explorer_trouble"})
            self._stop.wait(LOOK_S)

    def _begin_again(self) -> None:
        try:
            self._index.reset()
            self._verdicts_of = -1
        except (IndexDamagedError, OSError) as error:
            logger.warning(
                "the index of rollouts cannot be made: %s",
                error,
                extra={"event": "explorer_trouble"},
            )

    def step(self) -> None:
        """Read all that is new. Raises IndexDamagedError: the index cannot be used."""
        if self._index.is_damaged:
            raise IndexDamagedError(str(self._index.path))
        record = self._reader.indexer.progress  # of before: what it brings meanwhile is read next
        files = self._source.list_files(list_step_digests(self._reader))
        self._forget(files)
        for file in files:
            self._read_file(file, files)
        if record.done or files:
            self._take_verdicts()
            self._read_audited(files)
        is_settled = record.done or record.trouble is not None
        self._note(files, done=is_settled and not self._stop.is_set())

    # --- files

    def _forget(self, files: Sequence[RolloutFile]) -> None:
        """Forget files that are gone: what they brought stays."""
        known = {file.name for file in files}
        gone = [row["name"] for row in self._index.read("SELECT name FROM files")]
        gone = [(name,) for name in gone if name not in known]
        if gone:
            with self._index.write() as database:
                database.executemany("DELETE FROM files WHERE name = ?", gone)

    def _read_file(self, file: RolloutFile, files: Sequence[RolloutFile]) -> None:
        """Read a file on from where it was left."""
        known = self._index.read("SELECT next, why FROM files WHERE name = ?", (file.name,))
        first = known[0]["next"] if known else 0
        tried = self._tried.get(file.name)
        late = tried is not None and time.monotonic() - tried < AGAIN_S
        while first is not None and not late and not self._stop.is_set():
            if self._count() >= ROLLOUTS_MAX:
                return
            part = self._source.read_part(file, first)
            if self._stop.is_set():
                return
            if isinstance(part, str):
                self._tried[file.name] = time.monotonic()
                with self._index.write() as database:
                    database.execute(
                        "INSERT INTO files VALUES (?1, ?2, ?3, 0, ?4) ON CONFLICT (name) "
                        "DO UPDATE SET why = ?4",
                        (file.name, file.kind, first, part),
                    )
                break
            self._put(file, part)
            first = part.next
            self._note(files, done=False)

    def _put(self, file: RolloutFile, part: RolloutPart) -> None:
        verdicts = self._find_verdicts({one.window for one in part.groups})
        with self._index.write() as database:
            added = self._index.put(part.groups, file.kind, verdicts)
            database.execute(
                "INSERT INTO files VALUES (?1, ?2, ?3, ?4, NULL) ON CONFLICT (name) "
                "DO UPDATE SET next = ?3, rollouts = rollouts + ?4, why = NULL",
                (file.name, file.kind, part.next, added),
            )

    # --- the record

    def _find_verdicts(self, windows: set[int]) -> dict[tuple[int, str], str]:
        """What the record says of miners in these windows, by window and hotkey."""
        found = {}
        for window in windows:
            for row in self._reader.ask(
                "SELECT address, rows.reason AS reason FROM rows JOIN miners ON id = miner "
                "WHERE window = ? AND rows.reason IS NOT NULL",
                window,
            ):
                found[window, row["address"]] = row["reason"]
        return found

    def _take_verdicts(self) -> None:
        """Give groups the verdicts of windows that the record has got since."""
        count = self._reader.ask_one("SELECT count(*) AS n FROM windows")["n"]
        if count == self._verdicts_of:
            return
        lacking = self._index.read("SELECT DISTINCT window FROM groups WHERE verdict IS NULL")
        found = self._find_verdicts({row["window"] for row in lacking})
        with self._index.write() as database:
            database.executemany(
                "UPDATE groups SET verdict = ? WHERE window = ? AND hotkey = ? AND verdict IS NULL",
                [(reason, window, hotkey) for (window, hotkey), reason in found.items()],
            )
        self._verdicts_of = count

    def _read_audited(self, files: Sequence[RolloutFile]) -> None:
        """Read the audited groups of the newest windows that no step has."""
        rows = self._reader.ask(
            "SELECT window FROM windows WHERE committed > 0 ORDER BY window DESC LIMIT ?",
            WINDOWS_MAX,
        )
        known = {row["window"] for row in self._index.read("SELECT window FROM audited")}
        for window in [row["window"] for row in rows if row["window"] not in known]:
            if self._stop.is_set() or self._count() >= ROLLOUTS_MAX:
                return
            self._read_window(window)
            self._note(files, done=False)

    def _read_window(self, window: int) -> None:
        file, groups, served = self._reader.read_window(window), 0, 0
        if file is None:  # its record cannot be read now
            return
        size = self._reader.subject.get_parameters(window).work.group_size
        for member in file.record.members:
            drawn = [one["index"] for one in list_audited(file, member, size)]
            groups += len(drawn)
            lacking = self._list_lacking(window, member, drawn)
            served += len(drawn) - len(lacking)
            if not lacking or file.context is None:
                continue
            part = self._source.read_audited(file.context, member.hotkey, lacking)
            if self._stop.is_set():
                return
            if isinstance(part, RolloutPart):
                verdict = (
                    {}
                    if member.reason is None
                    else {(window, encode_ss58(member.hotkey)): member.reason.value}
                )
                with self._index.write():
                    self._index.put(part.groups, "record", verdict)
                served += len(part.groups)
        with self._index.write() as database:
            database.execute("INSERT INTO audited VALUES (?, ?, ?)", (window, groups, served))

    def _list_lacking(self, window: int, member: MemberRow, drawn: list[int]) -> list[int]:
        rows = self._index.read(
            "SELECT number FROM groups WHERE window = ? AND hotkey = ?",
            (window, encode_ss58(member.hotkey)),
        )
        known = {row["number"] for row in rows}
        return [group for group in drawn if group not in known]

    # --- progress

    def _count(self) -> int:
        (row,) = self._index.read("SELECT coalesce(max(id), 0) AS n FROM rollouts")
        return int(row["n"])

    def _note(self, files: Sequence[RolloutFile], *, done: bool) -> None:
        rows = self._index.read("SELECT name, next, why FROM files")
        unread = dict[str, int]()
        for row in rows:
            if row["why"] is not None:
                unread[row["why"]] = unread.get(row["why"], 0) + 1
        read = sum(row["next"] is None and row["why"] is None for row in rows)
        (audited,) = self._index.read(
            "SELECT count(*) AS windows, coalesce(sum(groups), 0) AS groups, "
            "coalesce(sum(served), 0) AS served FROM audited"
        )
        is_full = self._count() >= ROLLOUTS_MAX
        fresh = RolloutProgress(
            self._count(),
            len(files),
            read,
            unread,
            len(files) - read - sum(unread.values()) if is_full else 0,
            audited["windows"],
            audited["groups"],
            audited["served"],
            done,
        )
        if fresh != self._index.progress:
            self._index.progress = fresh
            self._on_change()
