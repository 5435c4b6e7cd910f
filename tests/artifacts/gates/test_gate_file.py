"""`gate.parquet`: the same answers are the same bytes, a stranger's file is read or named, and a
store is not trusted."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assay.artifacts.gates.file import (
    GateAnswers,
    GateModel,
    compute_bytes_max,
    list_rows,
    read_answers,
    write_answers,
)
from assay.artifacts.gates.parser import SCHEMA
from assay.artifacts.gates.store import fetch_answers, publish_answers
from assay.artifacts.store_objects import UnavailableError, make_answers_name
from assay.network.store.folder import open_folder
from assay.protocol.encoding import EncodingError
from assay.protocol.parameters import Gate, GateRule
from tests.artifacts.steps.parquet_files import lie, write_parquet

GATE = Gate(GateRule.NOT_WORSE, problems=8, error_worse=50_000, error_better=50_000)
MAX_TOKENS, VOCABULARY = 12, 500
RANDOM = np.random.default_rng(7)


def make_tokens(count: int) -> list[Any]:
    lengths = RANDOM.integers(0, MAX_TOKENS + 1, count)
    return [RANDOM.integers(0, VOCABULARY, n).astype(np.uint32) for n in lengths]


HONEST = GateAnswers(make_tokens(8), make_tokens(8), make_tokens(2))


def make_columns(**changes: Any) -> dict[str, Any]:
    rows = list_rows(8)
    of = {model: iter(HONEST.get(model)) for model in GateModel}
    values: dict[str, Any] = {
        "problem": [problem for problem, _ in rows],
        "model": [int(model) for _, model in rows],
        "tokens": [next(of[model]).tolist() for _, model in rows],
    }
    for name, change in changes.items():
        change(values[name])
    return {field.name: pa.array(values[field.name], field.type) for field in SCHEMA}


def read(data: bytes) -> GateAnswers:
    return read_answers(data, GATE, MAX_TOKENS, VOCABULARY)


def are_equal(one: GateAnswers, other: GateAnswers) -> bool:
    return all(
        len(one.get(model)) == len(other.get(model))
        and all(map(np.array_equal, one.get(model), other.get(model)))
        for model in GateModel
    )


def test_rows_are_by_problem_and_then_by_model() -> None:
    first, second, third, fourth, fifth = (
        [(problem, model) for model in range(2 + (problem % 4 == 0))] for problem in range(5)
    )
    assert list_rows(5) == [*first, *second, *third, *fourth, *fifth]
    assert first == [(0, 0), (0, 1), (0, 2)]


def test_the_same_answers_are_the_same_bytes_and_are_read_back() -> None:
    data = write_answers(HONEST)
    assert write_answers(read(data)) == data
    assert are_equal(read(data), HONEST)
    assert len(data) <= compute_bytes_max(GATE, MAX_TOKENS)
    assert are_equal(read(write_parquet(make_columns(), compression="none")), HONEST)


def test_answers_to_other_problems_are_not_written() -> None:
    with pytest.raises(ValueError, match="same problems"):
        write_answers(GateAnswers(HONEST.own, HONEST.milestone[1:], HONEST.first))


def swap(values: list[Any]) -> None:
    values[1], values[3] = values[3], values[1]


def put(row: int, value: Any) -> Any:
    return lambda values: values.__setitem__(row, value)


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "another model": ({"model": put(4, 3)}, "row 4 is of problem 1 and model 3, not of problem 1"),
    "another problem": ({"problem": put(17, 8)}, "row 17 is of problem 8"),
    "another order": ({"problem": swap}, "row 1 is of problem 1"),
    "too many tokens": ({"tokens": put(2, [1] * 13)}, "row 2 has 13 tokens, more than 12"),
    "beyond the vocabulary": ({"tokens": put(5, [1, 500])}, "row 5 has the id 500"),
    "the largest id": ({"tokens": put(5, [(1 << 32) - 1])}, "row 5 has the id 4294967295"),
    "no tokens at all": ({"tokens": put(0, None)}, "empty rows"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_rows_that_are_no_answers_are_named(name: str) -> None:
    changes, words = CHANGES[name]
    with pytest.raises(EncodingError, match=words):
        read(write_parquet(make_columns(**changes)))


def test_files_of_another_shape_are_named() -> None:
    columns = make_columns()
    for changed, words in (
        ({name: column[:-1] for name, column in columns.items()}, "17 rows, not 18"),
        ({name: pa.concat_arrays([c, c[:1]]) for name, c in columns.items()}, "19 rows; at most"),
        (columns | {"problem": columns["problem"].cast(pa.uint64())}, "not those of a gate's"),
        ({name: columns[name] for name in ("problem", "tokens")}, "not those of a gate's"),
        (dict(reversed(columns.items())), "not those of a gate's"),
    ):
        with pytest.raises(EncodingError, match=words):
            read(write_parquet(changed))


def test_a_file_that_lies_about_its_size_is_named() -> None:
    data = write_answers(HONEST)
    for path, value in (((3,), 1 << 40), ((4, 0, 1, 2, 3, 5), 1 << 40), ((4, 0, 1, 2, 3, 6), -1)):
        with pytest.raises(EncodingError):
            read(lie(data, path, value))
    huge = make_columns(tokens=put(0, [1] * 300_000))
    with pytest.raises(EncodingError, match="more than"):
        read(write_parquet(huge))
    for junk in (b"", b"PAR1", data[:-9], RANDOM.bytes(900), bytes(2 << 20)):
        with pytest.raises(EncodingError):
            read(junk)


def test_a_store_shows_the_file_of_a_digest_or_says_what_it_shows(tmp_path: Path) -> None:
    data, store = write_answers(HONEST), open_folder(tmp_path / "store")
    digest = publish_answers(store, data)
    assert digest == sha256(data).digest()
    assert publish_answers(store, data) == digest
    empty = open_folder(tmp_path / "empty")
    assert fetch_answers([empty, store], digest, GATE, MAX_TOKENS) == data
    with pytest.raises(UnavailableError, match="there is no gates/"):
        fetch_answers([empty], digest, GATE, MAX_TOKENS)
    empty.put(make_answers_name(digest), data[:-1] + b"x")
    assert fetch_answers([empty, store], digest, GATE, MAX_TOKENS) == data
    with pytest.raises(UnavailableError, match="other bytes than its SHA-256"):
        fetch_answers([empty], digest, GATE, MAX_TOKENS)
    empty.put(make_answers_name(digest), bytes(compute_bytes_max(GATE, MAX_TOKENS) + 1))
    with pytest.raises(UnavailableError, match="are accepted"):
        fetch_answers([empty], digest, GATE, MAX_TOKENS)
    with pytest.raises(UnavailableError, match=r"too slow|in time"):
        fetch_answers([store], digest, GATE, MAX_TOKENS, seconds=-1.0)
    with pytest.raises(UnavailableError, match="no store"):
        fetch_answers([], digest, GATE, MAX_TOKENS)
