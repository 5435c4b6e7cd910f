"""Traces in files: trees of which the lowest levels are made of operators."""

from dataclasses import replace

import pytest

from assay.artifacts.steps.trace_files import (
    OPERATORS,
    RECORD,
    ROOTS,
    open_trace,
    write_operators,
    write_trace_record,
)
from assay.protocol import trace as trace_rules
from assay.protocol.trace import (
    Parting,
    TraceFault,
    TraceFaults,
    compute_trace_root,
    find_parting,
    get_lowest_height,
    get_top_height,
)
from tests.protocol.test_trace import STEP, make_operator, make_trace


def write(folder, numbers):
    with write_operators(folder) as writer:
        for number in numbers:
            writer.append(make_operator(number))
    root = compute_trace_root(writer.top, len(numbers), STEP)
    write_trace_record(folder, replace(make_trace(numbers).record, root=root))
    return folder


@pytest.fixture(params=[1, 4, None])
def lowest(request, monkeypatch):
    """Nodes of the lowest level among the roots, at most; None: as it is."""
    if request.param is not None:
        monkeypatch.setattr(trace_rules, "LOWEST_NODES_MAX", request.param)
    return request.param


@pytest.mark.parametrize(("ours", "theirs"), [(37, 37), (37, 21), (16, 17), (1, 40), (5, 5)])
def test_every_operator_is_found_where_it_parts(tmp_path, lowest, ours, theirs):
    honest = write(tmp_path / "a", range(ours))
    for index in range(min(ours, theirs)):
        write(tmp_path / "b", [-1 if i == index else i for i in range(theirs)])
        a, b = (open_trace(str(folder)) for folder in (honest, tmp_path / "b"))
        assert find_parting(a, b) == Parting(index, make_operator(index), make_operator(-1))
        for trace in (a, b):
            total = trace.record.operators
            height = get_lowest_height(total)
            assert trace.nodes <= 1 + 2 * (get_top_height(total) - height)
            assert trace.operators <= 1 << height
    assert (honest / ROOTS).stat().st_size <= 32 * 2 * (lowest or 64)


def test_one_ends_before_the_other(tmp_path, lowest):
    write(tmp_path / "a", range(37))
    for length in (1, 16, 36):
        write(tmp_path / "b", range(length))
        a, b = (open_trace(str(tmp_path / name)) for name in "ab")
        assert find_parting(a, b) == Parting(length, make_operator(length), None)


def test_a_tree_of_many(tmp_path):
    """The tree has more leaves than the file of roots."""
    numbers = list(range(trace_rules.LOWEST_NODES_MAX + 77))
    write(tmp_path / "a", numbers)
    write(tmp_path / "b", [*numbers[:-1], -1])
    a, b = (open_trace(str(tmp_path / name)) for name in "ab")
    assert get_lowest_height(len(numbers)) == 1
    assert find_parting(a, b).index == len(numbers) - 1
    assert b.operators <= 2
    assert (tmp_path / "a" / ROOTS).stat().st_size <= 1 << 20


@pytest.mark.parametrize("place", range(0, 37 * 8, 8))
def test_places_that_do_not_ascend_are_a_fault(tmp_path, monkeypatch, place):
    monkeypatch.setattr(trace_rules, "LOWEST_NODES_MAX", 4)
    write(tmp_path / "a", range(37))
    write(tmp_path / "b", [*range(36), -1])
    path = tmp_path / "b" / OPERATORS
    data = bytearray(path.read_bytes())
    data[-8 - place : len(data) - place] = bytes(8)
    path.write_bytes(data)
    found = find_parting(*(open_trace(str(tmp_path / name)) for name in "ab"))
    # a fault beyond the read part is never seen
    assert isinstance(found, (TraceFaults, Parting))
    if place < 8:
        assert isinstance(found, TraceFaults)
        assert "no records" in found.b.detail


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'{"digest": 1, "record": []}',
        b'{"digest": "00", "record": {"version": true}}',
        b'{"digest": "00", "record": {"version": ' + b"9" * 5_000 + b"}}",
        b"\xff",
        b"[" * 20_000,
    ],
    ids=lambda text: str(text[:40]),
)
def test_a_malformed_record_is_a_fault(tmp_path, text):
    (tmp_path / RECORD).write_bytes(text)
    found = open_trace(str(tmp_path))
    assert isinstance(found, TraceFault)
    assert RECORD in found.detail
