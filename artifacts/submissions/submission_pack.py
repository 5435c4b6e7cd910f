"""What was read of a miner's file, as bundles and mirrors keep it: footer and groups in canonical
bytes.

They hash to the root on chain, so the Parquet around them need not be kept; of a file that could
not be read, what was said of it is.
"""

import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from assay.artifacts.submissions.submission_layout import HEADER_MAX, get_limits
from assay.network.store import StoreError
from assay.protocol import Footer, Parameters, Reason, Refusal
from assay.protocol.encoding import (
    U32,
    Choice,
    Digest,
    EncodingError,
    FixedBytes,
    Many,
    Maybe,
    Prefixed,
    Record,
    decode,
    encode,
)
from assay.protocol.errors import OperatorError
from assay.verification import SubmissionReader

logger = logging.getLogger("assay")

T = TypeVar("T")
#: Groups of one file: what the parameters allow at most. Bytes of one group's rows.
_GROUPS_MAX, _GROUP_BYTES = 1 << 14, 1 << 28
_LEVEL = 1


class PackError(OperatorError):
    """The pack of a submission cannot be used."""


@dataclass(frozen=True, slots=True)
class PackedRefusal:
    reason: Annotated[Reason, Choice(Reason, "a reason")]
    detail: Annotated[str, Prefixed(4_096, text=True)]


@dataclass(frozen=True, slots=True)
class PackedFooter:
    header: Annotated[bytes, Prefixed(HEADER_MAX)]
    leaves: Annotated[tuple[bytes, ...], Many(FixedBytes(32), _GROUPS_MAX)]


@dataclass(frozen=True, slots=True)
class PackedGroup:
    index: U32
    rows: Annotated[bytes | None, Maybe(Prefixed(_GROUP_BYTES))]
    refusal: Annotated[PackedRefusal | None, Maybe(Record(PackedRefusal))]


@dataclass(frozen=True, slots=True)
class PackedSubmission:
    """All that an audit asks of a file."""

    hotkey: Digest
    footer: Annotated[PackedFooter | None, Maybe(Record(PackedFooter))]
    refusal: Annotated[PackedRefusal | None, Maybe(Record(PackedRefusal))]
    groups: Annotated[tuple[PackedGroup, ...], Many(Record(PackedGroup), _GROUPS_MAX)]

    @property
    def is_whole(self) -> bool:
        """Whether nothing that was asked for was refused."""
        return self.footer is not None and all(g.rows is not None for g in self.groups)


class RecordingReader:
    def __init__(self, reader: SubmissionReader) -> None:
        self._reader = reader
        self._footer: Footer | Refusal | None = None
        self._groups: dict[int, bytes | Refusal] = {}

    def read_footer(self) -> Footer | Refusal:
        self._footer = _keep_failure(self._reader.read_footer)
        return self._footer

    def read_group(self, index: int) -> bytes | Refusal:
        self._groups[index] = _keep_failure(lambda: self._reader.read_group(index))
        return self._groups[index]

    def pack(self, hotkey: bytes) -> PackedSubmission | None:
        """What was asked for; None where nothing was."""
        footer = self._footer
        if footer is None:
            return None
        if isinstance(footer, Refusal):
            return PackedSubmission(hotkey, None, _pack_refusal(footer), ())
        groups = tuple(
            PackedGroup(index, None, _pack_refusal(rows))
            if isinstance(rows, Refusal)
            else PackedGroup(index, rows, None)
            for index, rows in sorted(self._groups.items())
        )
        return PackedSubmission(hotkey, PackedFooter(footer.header, footer.leaves), None, groups)


class PackedReader:
    def __init__(self, packed: PackedSubmission) -> None:
        self.packed = packed
        self._groups = {group.index: group for group in packed.groups}

    def read_footer(self) -> Footer | Refusal:
        footer = self.packed.footer
        if footer is None:
            return _unpack_refusal(self.packed.refusal)
        return Footer(footer.header, footer.leaves)

    def read_group(self, index: int) -> bytes | Refusal:
        """See `SubmissionReader`. Raises PackError: it holds no such group."""
        group = self._groups.get(index)
        if group is None:
            raise PackError(f"the pack does not hold group {index}: it was made for other facts")
        return _unpack_refusal(group.refusal) if group.rows is None else group.rows


def _keep_failure(read: Callable[[], T]) -> T | Refusal:
    """A store that cannot be read shows nothing."""
    try:
        return read()
    except StoreError as error:
        return Refusal(Reason.NOT_REVEALED, explain_unread(error))


def explain_unread(error: StoreError) -> str:
    """Why a file is not revealed, for all to read; the operator's log has all that is known."""
    logger.debug("a file cannot be read: %s", error, extra={"event": "file_unread"})
    return f"the file cannot be read from its store: {error.public}"


def _pack_refusal(refusal: Refusal) -> PackedRefusal:
    return PackedRefusal(refusal.reason, refusal.detail[:1_024])


def _unpack_refusal(packed: PackedRefusal | None) -> Refusal:
    if packed is None:
        return Refusal(Reason.NOT_REVEALED, "the pack holds nothing of it")
    return Refusal(packed.reason, packed.detail)


def measure_pack(packed: PackedSubmission) -> int:
    """Bytes of memory that it holds, about; at most `compute_pack_max`."""
    footer = packed.footer
    size = 0 if footer is None else len(footer.header) + sum(map(len, footer.leaves))
    refusals = [packed.refusal, *(group.refusal for group in packed.groups)]
    size += sum(len(refusal.detail) for refusal in refusals if refusal is not None)
    return size + sum(len(group.rows or b"") for group in packed.groups)


def encode_pack(packed: PackedSubmission) -> bytes:
    return zlib.compress(encode(packed), _LEVEL)


def compute_pack_max(parameters: Parameters) -> int:
    """Most bytes of a pack, as it is stored or inflated: what an audit asks of an honest file."""
    limits, work = get_limits(parameters), parameters.work
    groups = work.audited_groups + work.sampled_groups
    return (1 << 20) + groups * (limits.group_bytes + 8_192) + 32 * work.group_cap


def decode_pack(data: bytes, parameters: Parameters) -> PackedSubmission:
    """The pack of a file's bytes, which may be no larger than an honest submission can make it.
    Raises PackError: it is no such file."""
    try:
        inflater = zlib.decompressobj()
        raw = inflater.decompress(data, compute_pack_max(parameters))
        if not inflater.eof or inflater.unused_data:
            raise PackError("the pack of a submission is cut off, or larger than any can be")
        return decode(PackedSubmission, raw)
    except (zlib.error, EncodingError) as error:
        raise PackError(f"the pack of a submission is damaged: {error}") from None
