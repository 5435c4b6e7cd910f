"""What a miner committed to, from wherever it can be had: bytes count if they match the root.

The miner's own store is asked first. What it does not show, or shows other than committed, is
looked for in mirrors, where validators leave what they have read (specification, section 13). A
part of the time for a file is kept for them, and they have so much together.

Where nobody has it, the miner's own answer stands. What a mirror says beside such bytes is nobody's
word: no verdict comes of it.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from assay.artifacts.store_objects import make_mirror_name
from assay.artifacts.submissions.submission_pack import (
    PackedReader,
    PackError,
    compute_pack_max,
    decode_pack,
)
from assay.network.store import StoreError, sparing, within
from assay.protocol import Context, Footer, Reason, Refusal
from assay.protocol.submission import is_committed, is_group_committed
from assay.verification import SubmissionReader

#: Seconds for one mirror's answer, and for all mirrors of a submission together.
_MIRROR_S, _MIRRORS_S = 20.0, 60.0
#: Whoever is asked when the first has nothing; it may raise a StoreError.
Opener = Callable[[], SubmissionReader]


class MirrorStore(Protocol):
    """Somebody's store that may have copies."""

    def get(self, name: str, limit: int, /) -> bytes | None:
        """See `ObjectStore`."""

    def blame(self) -> None:
        """What it showed is not what was committed: whoever orders mirrors should know."""


def open_pack(mirror: MirrorStore, context: Context, hotkey: bytes) -> SubmissionReader:
    """What a mirror has of a hotkey's submission.

    Raises:
        StoreError: nothing of it, or something else.
    """
    name = make_mirror_name(context.window, context.commitments[hotkey].root)
    with within(_MIRROR_S):
        data = mirror.get(name, compute_pack_max(context.parameters))
    if data is None:
        raise StoreError(f"the mirror has no {name}")
    try:
        return PackedReader(decode_pack(data, context.parameters))
    except PackError as error:
        mirror.blame()
        raise StoreError(f"the mirror's {name} is of no use: {error}") from None


class MirroredReader:
    """A `SubmissionReader` over a miner's own store, and mirrors for what that one lacks.

    Args:
        own: opens the miner's file.
        mirrors: in the order in which they are asked.
    """

    def __init__(
        self, context: Context, hotkey: bytes, own: Opener, mirrors: Sequence[MirrorStore]
    ) -> None:
        self._context = context
        self._hotkey = hotkey
        self._root = context.commitments[hotkey].root
        self._own = own
        self._mirrors = mirrors
        self._mirrors_s = _MIRRORS_S
        # of mirrors, who gave it; None: the miner
        self._readers: list[tuple[SubmissionReader, MirrorStore | None]] = []
        self._failure: StoreError | None = None
        self._asked = 0
        self._footer: Footer | None = None

    def read_footer(self) -> Footer | Refusal:
        """See `SubmissionReader`.

        Raises:
            StoreError: the miner's own store cannot be read, and no mirror has it.
        """
        own: Footer | Refusal | StoreError
        try:
            with sparing(_MIRROR_S):
                reader = self._own()
                own = reader.read_footer()
            if isinstance(own, Footer) and is_committed(own, self._root):
                self._readers.append((reader, None))
                self._footer = own
                return own
        except StoreError as error:
            own = self._failure = error
        if self._ask_mirror():
            assert self._footer is not None
            return self._footer
        if isinstance(own, StoreError):
            raise own
        return own

    def read_group(self, index: int) -> bytes | Refusal:
        """See `SubmissionReader`.

        Raises:
            StoreError: as `read_footer`.
        """
        footer = self._footer
        own: bytes | Refusal | StoreError | None = self._failure
        if footer is None:
            return Refusal(Reason.NOT_REVEALED, "the file is not there", index)
        size = self._context.parameters.work.group_size
        position = 0
        while position < len(self._readers) or self._ask_mirror():
            reader, mirror = self._readers[position]
            found = self._read(reader, mirror, index)
            if isinstance(found, bytes):
                if is_group_committed(footer, index, found, size):
                    return found
                if mirror is not None:
                    mirror.blame()
            if mirror is None:
                own = found
            position += 1
        if isinstance(own, StoreError):
            raise own
        return own or Refusal(Reason.NOT_REVEALED, "neither miner nor mirrors show it", index)

    def _read(
        self, reader: SubmissionReader, mirror: MirrorStore | None, index: int
    ) -> bytes | Refusal | StoreError:
        try:
            if mirror is not None:
                return reader.read_group(index)
            with sparing(_MIRROR_S):
                return reader.read_group(index)
        except PackError as error:
            return Refusal(Reason.NOT_REVEALED, str(error), index)
        except StoreError as error:
            return error

    def _ask_mirror(self) -> bool:
        """Opens the next mirror that has the footer; whether there is one."""
        while self._asked < len(self._mirrors):
            mirror = self._mirrors[self._asked]
            self._asked += 1
            try:
                with within(self._mirrors_s) as left, sparing(_MIRROR_S):
                    reader = open_pack(mirror, self._context, self._hotkey)
                footer = reader.read_footer()
            except StoreError:
                continue
            finally:
                self._mirrors_s = left.seconds
            if isinstance(footer, Footer) and is_committed(footer, self._root):
                self._readers.append((reader, mirror))
                self._footer = footer
                return True
            mirror.blame()
        return False
