"""Preferences as a data set: the better one of two answers to a problem.

Columns `prompt`, `chosen` and `rejected` are what TRL's `DPOTrainer` reads (TRL 1.16.0,
docs/source/dataset_formats.md, explicit prompts as text). It ignores the others.
"""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from assay.network.files import replace_file, write_file

#: Column → type and meaning: the schema, and the data card's table.
_COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "prompt": (pa.string(), "the question, before any chat template"),
    "chosen": (pa.string(), "the better answer, without the end token"),
    "rejected": (pa.string(), "the other answer"),
    "decided_by": (
        pa.string(),
        "`scorer`: the environment gives the one full correctness and not the other; or the "
        "judge's model, in both orders",
    ),
    "problem": (pa.uint32(), "number of the problem in the contest"),
    "level": (pa.uint32(), "of the problem"),
    "chosen_checkpoint": (pa.string(), "digest of the model that gave the better answer"),
    "rejected_checkpoint": (pa.string(), "digest of the other"),
}
_SCHEMA = pa.schema([(name, kind) for name, (kind, _) in _COLUMNS.items()])
#: The data set's file in its folder.
PREFERENCES = "data/preferences.parquet"
_CARD = "README.md"


@dataclass(frozen=True, slots=True)
class Preference:
    """One row of the data set. The fields are its columns."""

    prompt: str
    chosen: str
    rejected: str
    decided_by: str
    problem: int
    level: int
    chosen_checkpoint: str
    rejected_checkpoint: str


class PreferenceWriter:
    """Writes a data set into a folder, which appears only when it is complete.

    Attributes:
        rows: written so far.
    """

    def __init__(self, folder: Path, about: str) -> None:
        self.rows = 0
        self._folder = folder
        self._about = about
        self._stack = ExitStack()

    def __enter__(self) -> "PreferenceWriter":
        temporary = self._stack.enter_context(replace_file(self._folder / PREFERENCES))
        self._writer = self._stack.enter_context(
            pq.ParquetWriter(temporary, _SCHEMA, compression="zstd")
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        if kind is None:
            write_file(self._folder / _CARD, self._make_card().encode())

    def write(self, preferences: Sequence[Preference]) -> None:
        """Add rows. Of two with the same texts for a problem, the first is kept."""
        unique = {(one.problem, one.chosen, one.rejected): one for one in reversed(preferences)}
        rows = [
            {name: getattr(one, name) for name in _COLUMNS} for one in reversed(unique.values())
        ]
        if rows:
            self._writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
        self.rows += len(rows)

    def _make_card(self) -> str:
        """README.md with the front matter that the `datasets` library reads."""
        rows = "\n".join(f"| {name} | {kind} | {what} |" for name, (kind, what) in _COLUMNS.items())
        return f"""---
configs:
- config_name: default
  data_files: data/*.parquet
tags:
- preference
- dpo
---

# Preferences of a contest

{self.rows:,} pairs of answers, each to one problem. {self._about}

Texts were written by the models that are named, and many are wrong: the better of two need not be
right. Nobody was paid by these pairs. Where a judge decided, it is a language model, and may be
wrong or swayed.

| column | type | what |
|---|---|---|
{rows}
"""


def remove_preferences(folder: Path) -> None:
    """Delete the files of a `PreferenceWriter` from a folder, and the folder if it has nothing
    else."""
    for file in (PREFERENCES, _CARD):
        (folder / file).unlink(missing_ok=True)
    for place in ((folder / PREFERENCES).parent, folder):
        with suppress(OSError):  # it does not exist, or has other files
            place.rmdir()
