"""A step's trace as a folder, which can serve as a store: anyone can compare their own with it.

    trace.json         the record
    trace.roots        the tree's levels from its top down, as many as fit 1 MiB
    trace.operators    every operator's record, then where each begins: u64 a record, and the end

Of somebody else's trace only the record and the few needed nodes are read, and none of it is
trusted. Specification, section 11.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, TypeVar

from assay.artifacts.store_objects import answer_in_time
from assay.network.files import replace_file, write_file, write_json
from assay.network.store.base import ObjectStore
from assay.network.store.folder import open_folder
from assay.network.store.opening import open_store
from assay.protocol.encoding import EncodingError, encode, from_json, read_hex, read_json, to_json
from assay.protocol.errors import OperatorError
from assay.protocol.hashing import DIGEST_BYTES, compute_tree
from assay.protocol.trace import (
    OPERATOR_BYTES_MAX,
    OPERATORS_MAX,
    TRACE_VERSION,
    OperatorRecord,
    TraceFault,
    TraceRecord,
    compute_operator_leaf,
    count_nodes,
    get_lowest_height,
    get_top_height,
)

RECORD, ROOTS, OPERATORS = "trace.json", "trace.roots", "trace.operators"
#: Most bytes of a record's file, and of neighbouring operators that are read to make a node.
RECORD_FILE_MAX, BLOCK_BYTES_MAX = 1 << 16, 1 << 25
#: Seconds for all reads of a trace, and for one answer.
READ_SECONDS, _PATIENCE_S = 600.0, 60.0
#: Bytes of an offset in the file of operators.
_OFFSET = 8
T = TypeVar("T")


class TraceError(OperatorError):
    """A trace is missing, cannot be written or cannot be compared. The message says why."""


@dataclass(slots=True)
class TraceWriter:
    """Writes operators in the order in which they run. Their records go to the file at once."""

    file: BinaryIO
    leaves: list[bytes] = field(default_factory=list)
    offsets: list[int] = field(default_factory=lambda: [0])
    top: bytes = b""  # of their tree, at the end

    def append(self, operator: OperatorRecord) -> None:
        """Append an operator. Raises TraceError: there are too many. EncodingError: it is too
        large. OSError."""
        data = encode(operator)
        if len(self.leaves) == OPERATORS_MAX:
            raise TraceError(f"the step has more than {OPERATORS_MAX:,} operators")
        self.file.write(data)
        self.leaves.append(compute_operator_leaf(data))
        self.offsets.append(self.offsets[-1] + len(data))


@contextmanager
def write_operators(folder: Path) -> Iterator[TraceWriter]:
    """Write the files of operators and roots, which are complete at the end of the block. Call
    `write_trace_record` after that. The record of an earlier trace goes first: it would accuse its
    owner if this process ended before the new one is there. Raises OSError: they cannot be written.
    """
    with replace_file(folder / OPERATORS) as temporary, temporary.open("wb") as file:
        writer = TraceWriter(file)
        yield writer
        file.write(b"".join(offset.to_bytes(_OFFSET, "big") for offset in writer.offsets))
        (folder / RECORD).unlink(missing_ok=True)
    levels = compute_tree(writer.leaves)
    published = levels[get_lowest_height(len(writer.leaves)) :]
    write_file(folder / ROOTS, b"".join(node for level in reversed(published) for node in level))
    writer.top = levels[-1][0]


def write_trace_record(folder: Path, record: TraceRecord) -> None:
    """Write the record of the other two files, last. Raises OSError: it cannot be written."""
    write_json(folder / RECORD, {"digest": record.digest.hex(), "record": to_json(record)})


@dataclass
class StoredTrace:
    """Somebody's trace, read as far as it is needed.

    Attributes:
        nodes, operators, bytes_read: number read so far; repeated reads count again.
    """

    name: str
    store: ObjectStore
    record: TraceRecord
    deadline: float  # on the monotonic clock
    nodes: int = 0
    operators: int = 0
    bytes_read: int = 0
    _block: tuple[int, list[bytes]] = (-1, [])

    def read_nodes(self, height: int, first: int, count: int) -> Sequence[bytes] | TraceFault:
        """See `TraceNodes`. Raises UnavailableError, StoreError: no answer."""
        total = self.record.operators
        lowest = get_lowest_height(total)
        if height < lowest:  # computed from the operators
            block = (first << height) >> lowest
            operators = self._read_block(block)
            if isinstance(operators, TraceFault):
                return operators
            levels = compute_tree([compute_operator_leaf(data) for data in operators])
            start = first - (block << (lowest - height))
            return levels[min(height, len(levels) - 1)][start : start + count]
        above = sum(count_nodes(total, h) for h in range(height + 1, get_top_height(total) + 1))
        data = self._read(ROOTS, (above + first) * DIGEST_BYTES, count * DIGEST_BYTES)
        if isinstance(data, TraceFault):
            return data
        self.nodes += count
        return [data[i : i + DIGEST_BYTES] for i in range(0, len(data), DIGEST_BYTES)]

    def read_operator(self, index: int) -> bytes | TraceFault:
        """See `TraceNodes`. Raises UnavailableError, StoreError: no answer."""
        lowest = get_lowest_height(self.record.operators)
        operators = self._read_block(index >> lowest)
        return (
            operators
            if isinstance(operators, TraceFault)
            else operators[index - (index >> lowest << lowest)]
        )

    def _read_block(self, block: int) -> list[bytes] | TraceFault:
        """The operators below a node of the lowest published level; cached for the next call."""
        if self._block[0] == block:
            return self._block[1]
        lowest, total = get_lowest_height(self.record.operators), self.record.operators
        first = block << lowest
        count = min(1 << lowest, total - first)
        size = self._ask(self.store.open(OPERATORS).size)
        begin = (size or 0) - _OFFSET * (total + 1)
        if begin < 0:
            return TraceFault(f"its {OPERATORS} is not there, or too short for {total:,} operators")
        table = self._read(OPERATORS, begin + _OFFSET * first, _OFFSET * (count + 1))
        if isinstance(table, TraceFault):
            return table
        cuts = range(0, len(table), _OFFSET)
        offsets = [int.from_bytes(table[i : i + _OFFSET], "big") for i in cuts]
        sizes = [end - start for start, end in pairwise(offsets)]
        whole = offsets[-1] - offsets[0]
        if not all(0 < n <= OPERATOR_BYTES_MAX for n in sizes) or offsets[-1] > begin:
            return TraceFault(f"its {OPERATORS} has no records where it says: operator {first:,}")
        if whole > max(BLOCK_BYTES_MAX, OPERATOR_BYTES_MAX):
            return TraceFault(f"its operators from {first:,} take {whole:,} bytes: too many")
        data = self._read(OPERATORS, offsets[0], whole)
        if isinstance(data, TraceFault):
            return data
        self.operators += count
        operators = [data[a - offsets[0] : b - offsets[0]] for a, b in pairwise(offsets)]
        self._block = block, operators
        return operators

    def _ask(self, ask: Callable[[], T]) -> T:
        return answer_in_time(ask, lambda: min(_PATIENCE_S, self.deadline - time.monotonic()))

    def _read(self, name: str, start: int, size: int) -> bytes | TraceFault:
        data = self._ask(partial(self.store.open(name).read, start, start + size))
        if data is None or len(data) != size:
            return TraceFault(
                f"its {name} is not there, or cut short: {start + size:,} bytes needed"
            )
        self.bytes_read += size
        return data


def open_trace(place: str, seconds: float = READ_SECONDS) -> StoredTrace | TraceFault:
    """Open a trace by its place: its folder, its record's file, or the URL of a store.

    Args:
        seconds: for all reads.

    Returns:
        A fault if the place has no trace of this version.

    Raises:
        TraceError, StoreError, UnavailableError: nothing is there, or cannot be read.
    """
    deadline = time.monotonic() + seconds
    store = _open_place(place)
    data = answer_in_time(lambda: store.get(RECORD, RECORD_FILE_MAX), lambda: _PATIENCE_S)
    if data is None:
        raise TraceError(f"{place} holds no {RECORD}: `assay train trace-step` writes one")
    try:
        value = read_json(data)
        if not isinstance(value, dict) or value.keys() != {"digest", "record"}:
            raise EncodingError("is not a trace's record")
        _require_version(value["record"])
        record = from_json(TraceRecord, value["record"])
        if record.digest != read_hex(value["digest"]):
            raise EncodingError("has another digest than it says")
        if not 1 <= record.operators <= OPERATORS_MAX:
            raise EncodingError(
                f"names {record.operators:,} operators: 1 to {OPERATORS_MAX:,} are allowed"
            )
    except EncodingError as error:
        return TraceFault(f"its {RECORD} {error}")
    return StoredTrace(place, store, record, deadline)


def _require_version(value: object) -> None:
    version = value.get("version") if isinstance(value, dict) else None
    if version != TRACE_VERSION:
        raise EncodingError(f"is of version {str(version)[:20]}, not {TRACE_VERSION}")


def _open_place(place: str) -> ObjectStore:
    if "://" in place:
        return open_store(place)
    path = Path(place)
    if path.name == RECORD:
        path = path.parent
    if not path.is_dir():
        raise TraceError(f"{place} is neither a folder, a {RECORD} nor a URL: name a trace's place")
    return open_folder(path)
