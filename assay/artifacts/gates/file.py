"""`gate.parquet`: the answers of a checkpoint, its milestone and the first checkpoint, a row each.

Its SHA-256 stands in a manifest, so the same answers are the same bytes. The file may come from a
stranger's store: native code reads it only in a sandbox. Specification, section 7.1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from assay.artifacts.gates.parser import SCHEMA
from assay.artifacts.steps.parquet_columns import Column, ColumnLimits, unpack_columns
from assay.artifacts.steps.parquet_worker import ParquetWorker
from assay.protocol.encoding import EncodingError
from assay.protocol.parameters import GATE_PART, Gate
from assay.sandbox import Budget

#: Most seconds of reading one file, on the wall and of the processor. Tuning: the largest file
#: takes a tenth.
_SECONDS, _CPU_SECONDS = 120.0, 60.0
#: Most pages of a column of a row group, and bytes of what is neither an id nor a row's: heads of
#: pages, the footer. Tuning.
_PAGES_MAX, _AROUND = 1 << 14, 1 << 20
#: Bytes of a row beside its ids.
_ROW_BYTES = 16
_BOOT = "from assay.artifacts.gates.parser import serve_answers; serve_answers()"
Tokens = NDArray[np.uint32]


class GateModel(IntEnum):
    """Who answers."""

    OWN = 0  # the checkpoint
    MILESTONE = 1
    FIRST = 2  # the first checkpoint, every fourth problem


@dataclass(frozen=True, slots=True, eq=False)
class GateAnswers:
    """Own tokens of each model's answer, uint32 [T], by problem; of the first checkpoint those of
    every fourth. A problem that is not made has none."""

    own: Sequence[Tokens]
    milestone: Sequence[Tokens]
    first: Sequence[Tokens]

    def get(self, model: GateModel) -> Sequence[Tokens]:
        """The answers of one model."""
        return (self.own, self.milestone, self.first)[model]


def list_rows(problems: int) -> list[tuple[int, GateModel]]:
    """Problem and model of each row, in order."""
    return [
        (problem, model)
        for problem in range(problems)
        for model in GateModel
        if model is not GateModel.FIRST or problem % GATE_PART == 0
    ]


def compute_bytes_max(gate: Gate, max_tokens: int) -> int:
    """Most bytes of the file. `max_tokens`: of an answer."""
    rows = len(list_rows(gate.problems))
    return 4 * rows * max_tokens + _ROW_BYTES * rows + _AROUND


def write_answers(answers: GateAnswers) -> bytes:
    """The file. Raises ValueError: the models have not answered the same problems."""
    rows = list_rows(len(answers.own))
    of = [iter(answers.get(model)) for model in GateModel]
    if len(rows) != sum(len(answers.get(model)) for model in GateModel):
        raise ValueError("the models have not answered the same problems")
    columns = {
        "problem": [problem for problem, _ in rows],
        "model": [model.value for _, model in rows],
        "tokens": [next(of[model]) for _, model in rows],
    }
    table = pa.table([pa.array(columns[f.name], f.type) for f in SCHEMA], schema=SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def open_answers_parser() -> ParquetWorker:
    """The parser for `parse_answers`: a child process that starts when it is needed. The caller
    closes it."""
    return ParquetWorker("parser of a gate's answers", _BOOT, _SECONDS)


def read_answers(data: bytes, gate: Gate, max_tokens: int, vocabulary: int) -> GateAnswers:
    """The answers in a stranger's file, in a child of its own. See `parse_answers`."""
    with open_answers_parser() as parser:
        return parse_answers(data, gate, max_tokens, vocabulary, parser)


def parse_answers(
    data: bytes, gate: Gate, max_tokens: int, vocabulary: int, parser: ParquetWorker
) -> GateAnswers:
    """The answers in a stranger's file.

    Args:
        max_tokens: of an answer.
        vocabulary: ids that there are.

    Raises:
        EncodingError: it is no file of answers to the gate's problems; says why.
        WorkerError: no child can be started.
    """
    due = list_rows(gate.problems)
    values = (2 + max_tokens) * len(due) + len(due)
    limits = ColumnLimits(
        compute_bytes_max(gate, max_tokens),
        len(due),
        values,
        compute_bytes_max(gate, max_tokens),
        _PAGES_MAX,
    )
    try:
        most = limits.compute_reply_bytes(SCHEMA)
        reply = parser.parse(limits.pack() + data, most, Budget(_CPU_SECONDS))
        columns = unpack_columns(reply, SCHEMA, len(due))
    except ValueError as error:
        raise EncodingError(str(error)) from None
    _check_rows(columns, due)
    for row, tokens in enumerate(columns["tokens"]):
        if len(tokens) > max_tokens:
            raise EncodingError(f"row {row} has {len(tokens):,} tokens, more than {max_tokens:,}")
        if len(tokens) and tokens.max() >= vocabulary:
            raise EncodingError(
                f"row {row} has the id {tokens.max()}, and the vocabulary has {vocabulary:,}"
            )
    by_model: dict[GateModel, list[Tokens]] = {model: [] for model in GateModel}
    for (_, model), tokens in zip(due, columns["tokens"], strict=True):
        by_model[model].append(tokens)
    return GateAnswers(*by_model.values())


def _check_rows(columns: Mapping[str, Column], due: Sequence[tuple[int, GateModel]]) -> None:
    found = list(zip(columns["problem"], columns["model"], strict=True))
    if len(found) != len(due):
        raise EncodingError(f"it has {len(found):,} rows, not {len(due):,}")
    for row, (has, should) in enumerate(zip(found, due, strict=True)):
        if has != should:
            raise EncodingError(
                f"row {row} is of problem {has[0]} and model {has[1]}, not of problem {should[0]} "
                f"and model {should[1].value}"
            )
