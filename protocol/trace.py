"""The inputs and results of every operator of a training step, as a tree of hashes; and the first
difference of two trees.

A leaf is an operator: its name, its arguments, digests of its inputs and its results, in order of
execution. With the nodes of two trees, anyone can find the first leaf in which they differ by
reading two nodes of each level (Arun et al., "Verde: verification via refereed delegation", 2025).
Everything before that leaf is the same, so its inputs are too, unless they came from outside.
Specification, section 11.

Decoding does not show whether a trace is true. Running the operator again shows it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Protocol

from assay.protocol.encoding import (
    U16,
    U32,
    Digest,
    EncodingError,
    FixedBytes,
    Many,
    Prefixed,
    decode,
    encode,
)
from assay.protocol.hashing import DIGEST_BYTES, Domain, bind_top, compute_tree, hash_fields
from assay.protocol.record import Software

TRACE_VERSION = 1
#: Most operators of a step. A step of a model of 1.5 billion parameters has some million.
OPERATORS_MAX = 1 << 24
#: Most tensors that one operator reads or makes, and most bytes of its arguments as text: an update
#: of all weights at once is one operator.
TENSORS_MAX, TEXT_MAX = 1 << 15, 1 << 18
#: Most bytes of an encoded operator record.
OPERATOR_BYTES_MAX = 2 * (TENSORS_MAX * DIGEST_BYTES + TEXT_MAX) + 1_024
#: Most nodes of the lowest level that is published as roots. The levels below it are computed from
#: the operators. With all levels above it, this is at most about 1 MiB.
LOWEST_NODES_MAX = 1 << 14

_Digests = Annotated[tuple[bytes, ...], Many(FixedBytes(DIGEST_BYTES), TENSORS_MAX)]
_Text = Annotated[str, Prefixed(TEXT_MAX, text=True)]


@dataclass(frozen=True, slots=True)
class OperatorRecord:
    """One operator: its name, its inputs and its results."""

    operator: Annotated[str, Prefixed(256, text=True)]  # as torch names it
    arguments: _Text  # numbers in full; of a tensor its type, sizes, strides
    inputs: _Digests  # of the arguments' tensors, in order; zeros: the tensor is only written to
    results: _Text  # as arguments, for the tensors it returned and wrote to
    outputs: _Digests  # of the results' tensors, in order; zeros: nothing was written yet

    @property
    def question(self) -> tuple[str, str, tuple[bytes, ...]]:
        """The operator's name, arguments and inputs: all but its answer."""
        return self.operator, self.arguments, self.inputs

    @property
    def answer(self) -> tuple[str, tuple[bytes, ...]]:
        """The operator's results."""
        return self.results, self.outputs


@dataclass(frozen=True)
class TraceRecord:
    """One run of a step, by anybody on any machine."""

    version: U16  # 1
    software: Software  # name and version of the software that traced
    engine: Annotated[str, Prefixed(128, text=True)]  # as in a step's record
    processor: Annotated[str, Prefixed(128, text=True)]  # CPU features that select kernels
    threads: U32  # threads that computed
    code: Digest  # as in a step's record
    step: Digest  # digest of the step's record
    operators: U32  # number of operators
    root: Digest  # over the operators' leaves, with the step
    tensors: Digest  # root over the tensors that were made, as in a manifest

    @cached_property
    def digest(self) -> bytes:
        """hash(trace, canonical bytes), 32 bytes."""
        return hash_fields(Domain.TRACE, encode(self))


def compute_operator_leaf(data: bytes) -> bytes:
    """Leaf of an operator by its encoded record, 32 bytes."""
    return hash_fields(Domain.OPERATOR_LEAF, data)


def compute_trace_root(top: bytes, operators: int, step: bytes) -> bytes:
    """The root that a trace's record names, 32 bytes."""
    return bind_top(top, operators, step)


def count_nodes(operators: int, height: int) -> int:
    """The number of nodes of a level of the tree. Height 0 is the level of the leaves."""
    return -(-operators >> height)


def get_top_height(operators: int) -> int:
    """The height of the level with one node."""
    return (operators - 1).bit_length()


def get_lowest_height(operators: int) -> int:
    """The height of the lowest level that is published as roots."""
    height = 0
    while count_nodes(operators, height) > LOWEST_NODES_MAX:
        height += 1
    return height


@dataclass(frozen=True, slots=True)
class TraceFault:
    """A fault of one trace, independent of the other: one sentence."""

    detail: str


class TraceNodes(Protocol):
    """A trace that is read as little as possible. Its record is within the bounds above; everything
    else is untrusted."""

    @property
    def record(self) -> TraceRecord: ...

    def read_nodes(self, height: int, first: int, count: int) -> Sequence[bytes] | TraceFault:
        """The `count` neighbouring nodes of a level, 32 bytes each."""

    def read_operator(self, index: int) -> bytes | TraceFault:
        """An operator's encoded record."""


@dataclass(frozen=True, slots=True)
class Parting:
    """The point where two traces of one step part: the first operator that differs.

    a, b: None where that trace has ended before.
    """

    index: int
    a: OperatorRecord | None
    b: OperatorRecord | None


@dataclass(frozen=True, slots=True)
class TraceFaults:
    """Faults of traces that cannot be compared; None: that trace has no fault."""

    a: TraceFault | None
    b: TraceFault | None


def find_parting(a: TraceNodes, b: TraceNodes) -> Parting | TraceFaults | None:
    """The point where two traces of the same step part; None if they are equal.

    Every node is checked against the one above it, and the uppermost against the record's root.
    Only a trace that is inconsistent in itself gets a fault.
    """
    first, second = _Descent(a), _Descent(b)
    height = max(get_top_height(a.record.operators), get_top_height(b.record.operators))
    index = 0
    nodes = first.read_top(), second.read_top()
    while not (first.fault or second.fault):
        if nodes[0] == nodes[1]:
            return None
        if height == 0:
            parting = Parting(
                index, first.read_leaf(index, nodes[0]), second.read_leaf(index, nodes[1])
            )
            return _find_faults(first, second) or parting
        height, index = height - 1, 2 * index
        ours = first.read_children(height, index, nodes[0])
        theirs = second.read_children(height, index, nodes[1])
        side = int(ours[0] == theirs[0])  # the left ones are the same
        index, nodes = index + side, (ours[side], theirs[side])
    return _find_faults(first, second)


@dataclass(slots=True)
class _Descent:
    """The descent into one tree, until something does not fit."""

    trace: TraceNodes
    fault: TraceFault | None = None

    def read_top(self) -> bytes | None:
        record = self.trace.record
        read = self.trace.read_nodes(get_top_height(record.operators), 0, 1)
        if isinstance(read, TraceFault):
            self.fault = read
            return None
        if compute_trace_root(read[0], record.operators, record.step) != record.root:
            self.fault = TraceFault("its uppermost node does not lead to the root that it names")
        return read[0]

    def read_children(
        self, height: int, first: int, above: bytes | None
    ) -> tuple[bytes | None, bytes | None]:
        """The two nodes below `above`, checked; None for a node that the tree does not have."""
        operators = self.trace.record.operators
        count = min(2, count_nodes(operators, height) - first)
        if above is None or count <= 0:
            return None, None
        if height >= get_top_height(operators):  # the other tree is higher
            return above, None
        read = self.trace.read_nodes(height, first, count)
        if isinstance(read, TraceFault):
            self.fault = read
            return None, None
        if compute_tree(read)[-1][0] != above:
            self.fault = TraceFault(
                f"its nodes from number {first} of height {height} do not make the node above them"
            )
        return read[0], read[1] if count == 2 else None

    def read_leaf(self, index: int, leaf: bytes | None) -> OperatorRecord | None:
        """The operator of a leaf; None where the trace has ended."""
        if leaf is None:
            return None
        data = self.trace.read_operator(index)
        if isinstance(data, TraceFault):
            self.fault = data
            return None
        if compute_operator_leaf(data) != leaf:
            self.fault = TraceFault(
                f"its operator {index:,} is not the one that its tree was made of"
            )
            return None
        try:
            return decode(OperatorRecord, data)
        except EncodingError as error:
            self.fault = TraceFault(f"its operator {index:,} cannot be read: {error}")
            return None


def _find_faults(first: _Descent, second: _Descent) -> TraceFaults | None:
    if first.fault or second.fault:
        return TraceFaults(first.fault, second.fault)
    return None
