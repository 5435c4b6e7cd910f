"""Trees of operators, and where two of them part."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.protocol.encoding import EncodingError, decode, encode
from assay.protocol.hashing import compute_root, compute_tree
from assay.protocol.trace import (
    OPERATOR_BYTES_MAX,
    TENSORS_MAX,
    TEXT_MAX,
    TRACE_VERSION,
    OperatorRecord,
    Parting,
    TraceFault,
    TraceFaults,
    TraceRecord,
    compute_operator_leaf,
    compute_trace_root,
    count_nodes,
    find_parting,
    get_lowest_height,
    get_top_height,
)
from tests.protocol.test_step import digest, hash_by_hand

STEP = digest("step")


def make_operator(number: int) -> OperatorRecord:
    return OperatorRecord(
        "aten.add.Tensor", "float32[2]", (digest("in"),), "", (digest(str(number)),)
    )


@dataclass
class HeldTrace:
    """A trace in memory. `spoil`: the node or record to return instead of the true one."""

    operators: list[bytes]
    record: TraceRecord
    spoilt: tuple[int, int] | None = None  # height and index
    nodes: int = 0

    def read_nodes(self, height, first, count):
        levels = compute_tree([compute_operator_leaf(data) for data in self.operators])
        self.nodes += count
        read = levels[height][first : first + count]
        return [
            digest("x") if (height, first + i) == self.spoilt else n for i, n in enumerate(read)
        ]

    def read_operator(self, index):
        return self.operators[index]


def make_trace(numbers, **changes):
    operators = [encode(make_operator(number)) for number in numbers]
    leaves = [compute_operator_leaf(data) for data in operators]
    root = compute_trace_root(compute_tree(leaves)[-1][0], len(leaves), STEP)
    record = TraceRecord(
        TRACE_VERSION, "assay", "torch", "AVX2", 1, digest("code"), STEP, len(leaves), root, STEP
    )
    return HeldTrace(operators, replace(record, **changes))


def test_a_record_and_a_leaf_by_hand():
    operator = OperatorRecord("op", "1", (digest("a"),), "2", (digest("b"), digest("c")))
    text = lambda value: len(value).to_bytes(4, "big") + value.encode()  # noqa: E731
    data = b"".join(
        [
            text("op"),
            text("1"),
            (1).to_bytes(4, "big"),
            digest("a"),
            text("2"),
            (2).to_bytes(4, "big"),
            digest("b"),
            digest("c"),
        ]
    )
    assert encode(operator) == data
    leaf = compute_operator_leaf(data)
    assert leaf == hash_by_hand("operator-leaf", data)
    top = hash_by_hand("node", leaf, digest("other"))
    wanted = hash_by_hand("root", (2).to_bytes(4, "big"), STEP, top)
    assert compute_trace_root(top, 2, STEP) == wanted
    assert compute_root([leaf, digest("other")], STEP) == wanted
    record = make_trace([1]).record
    assert record.digest == hash_by_hand("trace", encode(record))
    assert decode(TraceRecord, encode(record)) == record


def test_the_largest_operator_fits():
    many = (bytes(32),) * TENSORS_MAX
    full = OperatorRecord("o" * 256, "a" * TEXT_MAX, many, "r" * TEXT_MAX, many)
    assert len(encode(full)) <= OPERATOR_BYTES_MAX
    with pytest.raises(EncodingError):
        encode(replace(full, inputs=(*many, bytes(32))))


@given(st.integers(1, 1 << 24))
def test_heights(operators):
    assert count_nodes(operators, 0) == operators
    assert count_nodes(operators, get_top_height(operators)) == 1
    assert (
        get_top_height(operators) == 0 or count_nodes(operators, get_top_height(operators) - 1) > 1
    )
    lowest = get_lowest_height(operators)
    nodes = sum(count_nodes(operators, h) for h in range(lowest, get_top_height(operators) + 1))
    assert nodes * 32 <= 2_000_000


_FEW = st.lists(st.integers(0, 1), min_size=1, max_size=40)


@given(_FEW, _FEW, st.integers(0, 30))
def test_the_first_that_differs_is_found(first, second, common):
    """It works for traces of any two lengths, with at most two nodes per level."""
    first, second = [7] * common + first, [7] * common + second
    a, b = make_trace(first), make_trace(second)
    found = find_parting(a, b)
    if first == second:
        assert found is None
        assert (a.nodes, b.nodes) == (1, 1)
        return
    index = next(
        i for i in range(max(map(len, (first, second)))) if first[i : i + 1] != second[i : i + 1]
    )
    records = [make_operator(x[index]) if index < len(x) else None for x in (first, second)]
    assert found == Parting(index, *records)
    for trace, numbers in ((a, first), (b, second)):
        assert trace.nodes <= 1 + 2 * get_top_height(len(numbers))


def test_nodes_that_do_not_fit_are_their_owners_fault():
    honest, liar = make_trace(range(20)), make_trace([*range(13), 99, *range(14, 20)])
    for height, index in [(5, 0), (4, 0), (3, 1), (2, 3), (1, 6), (0, 13), (0, 12)]:
        found = find_parting(honest, replace(liar, spoilt=(height, index)))
        assert isinstance(found, TraceFaults)
        assert found.a is None
        assert isinstance(found.b, TraceFault)
        swapped = find_parting(replace(liar, spoilt=(height, index)), honest)
        assert swapped == TraceFaults(found.b, None)


def test_other_operators_than_the_tree_was_made_of():
    honest, liar = make_trace(range(20)), make_trace([*range(13), 99, *range(14, 20)])
    liar.operators[13] = liar.operators[12]
    liar.read_nodes = make_trace([*range(13), 99, *range(14, 20)]).read_nodes
    found = find_parting(honest, liar)
    assert isinstance(found, TraceFaults)
    assert "operator 13" in found.b.detail


@given(st.binary(max_size=300))
def test_an_operator_of_garbage(data):
    """The tree was made of it: only then is it read at all. It is a record, or it is a fault."""
    honest, liar = make_trace([1, 2, 3]), make_trace([1, 2, 3])
    liar.operators[1] = data
    leaves = [compute_operator_leaf(one) for one in liar.operators]
    root = compute_trace_root(compute_tree(leaves)[-1][0], 3, STEP)
    found = find_parting(honest, replace(liar, record=replace(liar.record, root=root)))
    if isinstance(found, TraceFaults):
        assert found.a is None
        assert "cannot be read" in found.b.detail
    else:
        assert encode(found.b) == data


def test_a_count_that_is_not_the_trees():
    honest = make_trace(range(20))
    found = find_parting(honest, make_trace(range(20), operators=19))
    assert found == TraceFaults(None, found.b)
    assert "uppermost" in found.b.detail
