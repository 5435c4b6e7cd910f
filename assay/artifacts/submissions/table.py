"""A miner's file as a table for people: Parquet with one row for each rollout, which DuckDB, pandas
and `datasets` open. No neuron reads it.

The schema's metadata has the header's fields, with the root that a commitment would name.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assay.judge.whole_file import read_whole
from assay.network.files import replace_file, write_file
from assay.protocol.encoding import EncodingError, to_json
from assay.protocol.errors import OperatorError
from assay.protocol.ss58 import encode_ss58
from assay.protocol.submission import (
    LOGPROB_BITS,
    Header,
    Opening,
    Rollout,
    compute_submission_root,
)

#: Column → type and meaning.
COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "group": (pa.uint32(), "index of the problem among the miner's"),
    "rollout": (pa.uint32(), "place in its group"),
    "tokens": (pa.list_(pa.uint32()), "token ids of the completion, end token included"),
    "logprobs": (
        pa.list_(pa.float32()),
        "natural logarithm of each token's probability, as the miner claims it: exact",
    ),
    "sketch": (
        pa.list_(pa.int8()),
        "two numbers a token, one after the other, of the state that drew it",
    ),
}


class TableError(OperatorError):
    """A file cannot be shown as a table. The message says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class WrittenTable:
    """The written table."""

    out: Path
    header: Header
    rollouts: int
    tokens: int

    def to_json(self) -> dict[str, Any]:
        return {
            "out": str(self.out),
            "rollouts": self.rollouts,
            "tokens": self.tokens,
            **_describe(self.header),
        }


def write_table(path: Path, out: Path) -> WrittenTable:
    """Write the content of a `.rollouts` file as Parquet, with one row group for each group.

    Raises:
        TableError: it is not such a file, cut off or damaged, or `out` exists or cannot be written.
        OSError: the file cannot be read.
    """
    rollouts = tokens = 0
    with _open(path) as (opening, groups):
        if out.exists():
            raise TableError(f"{out} is there already: remove it, or name another with --out")
        schema = _make_schema(opening.header)
        try:
            with (
                replace_file(out) as temporary,
                pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
            ):
                for index, group in enumerate(groups):
                    writer.write_table(_make_table(index, group, schema))
                    rollouts += len(group)
                    tokens += sum(len(rollout.tokens) for rollout in group)
        except OSError as error:
            raise TableError(f"{out} cannot be written: {error.strerror or error}") from None
    return WrittenTable(out, opening.header, rollouts, tokens)


def write_tables(paths: Sequence[Path], out: Path) -> list[WrittenTable]:
    """Write files as a data set that `datasets` loads: a table for each in `data`, and a data card.

    Raises:
        TableError: as `write_table`; or `out` is not empty.
        OSError: likewise.
    """
    if out.exists() and any(out.iterdir()):
        raise TableError(f"{out} is not empty: name another folder")
    tables = []
    for path in paths:
        with _open(path) as (opening, _):
            whose = encode_ss58(opening.header.hotkey)
            name = f"{whose}-window-{opening.header.window}.parquet"
        tables.append(write_table(path, out / "data" / name))
    write_file(out / "README.md", _make_card(tables).encode())
    return tables


@contextmanager
def _open(path: Path) -> Iterator[tuple[Opening, Iterator[list[Rollout]]]]:
    if not path.is_file():
        raise TableError(f"there is no file {path}")
    with path.open("rb") as file:
        try:
            yield read_whole(file)
        except EncodingError as error:
            raise TableError(f"{path} {error}") from None


def _make_schema(header: Header) -> pa.Schema:
    metadata = {f"assay.{name}": str(value) for name, value in _describe(header).items()}
    metadata |= {f"assay.column.{name}": what for name, (_, what) in COLUMNS.items()}
    return pa.schema([(name, kind) for name, (kind, _) in COLUMNS.items()], metadata)


def _describe(header: Header) -> dict[str, Any]:
    """The header's fields and its root for people."""
    named = {"hotkey": encode_ss58(header.hotkey), "root": compute_submission_root(header).hex()}
    return to_json(header) | named


def _make_table(index: int, group: Sequence[Rollout], schema: pa.Schema) -> pa.Table:
    unit = np.float32(1 << LOGPROB_BITS)
    columns = {
        "group": [index] * len(group),
        "rollout": range(len(group)),
        "tokens": [rollout.tokens for rollout in group],
        # 24 bits each: a float32 holds them, and 0 − 0 is no −0
        "logprobs": [
            np.float32(0) - rollout.logprobs.astype(np.float32) / unit for rollout in group
        ],
        "sketch": [rollout.sketch.ravel() for rollout in group],
    }
    return pa.Table.from_pydict(columns, schema)


def _make_card(tables: Sequence[WrittenTable]) -> str:
    """README.md with the front matter that the `datasets` library reads."""
    columns = "\n".join(f"| {name} | {kind} | {what} |" for name, (kind, what) in COLUMNS.items())
    files = "\n".join(
        f"| {table.out.name} | {table.rollouts} | {table.tokens} "
        f"| `{compute_submission_root(table.header).hex()}` |"
        for table in tables
    )
    return f"""---
configs:
- config_name: default
  data_files: data/*.parquet
---

# Rollouts of Assay's miners, as they have shown them

Nothing here has been judged: `assay verify` says of a file whether it is genuine.

| column | type | what |
|---|---|---|
{columns}

| file | rollouts | tokens | root of the submission |
|---|---|---|---|
{files}
"""
