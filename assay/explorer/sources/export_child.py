"""The child that reads an export's Parquet files: a part of their rows at a time, as
`IndexedGroup`s. A file may be a stranger's, so this runs within limits of memory and processor
time.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assay.explorer.sources.rollout_texts import (
    CHARACTERS,
    GROUP_MAX,
    PART_ROLLOUTS,
    TextBudget,
    write_talk,
)
from assay.explorer.sources.rollouts import encode_answer

_ROWS = 128
_HOTKEY = re.compile("[1-9A-HJ-NP-Za-km-z]{1,64}")
#: Names of a column in the layouts of `assay.audit.provenance.column_layouts`: the first that a
#: file has is read.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "window": ("window",),
    "hotkey": ("hotkey",),
    "group": ("group",),
    "rollout": ("rollout",),
    "reward": ("reward",),
    "level": ("level",),
    "step": ("step",),
    "environment": ("environment", "env_name", "data_source"),
    "prompt": ("prompt",),
    "messages": ("messages",),
    "completion": ("completion", "responses"),
    "turns": ("turns",),
    "tools": ("tools",),
    "advantage": ("advantage", "advantages"),
    "logprobs": ("logprobs", "response_logprobs"),
    "own": ("tokens", "env_mask", "mask", "response_mask"),
}
_NEEDED = ("window", "hotkey", "group", "rollout", "reward", "completion")
#: Numbers of windows, groups and steps are below this, as in the index.
_NUMBER_MAX, _REWARD_MAX = 1 << 62, 10**15
Row = dict[str, Any]


class ExportReader:
    """Reads parts of files, and remembers where the last one ended."""

    def __init__(self) -> None:
        self._open: tuple[str, int, Iterator[Row]] | None = None
        self._row: Row | None = None  # read already, of the next group
        pa.set_cpu_count(1)
        pa.set_io_thread_count(1)

    def answer(self, request: bytes) -> bytes:
        """The next groups of a file. `first` of a part is the number of its first row."""
        order = json.loads(request)
        path, first = order["path"], order["first"]
        try:
            groups, following = self._read(path, first)
        except (pa.ArrowException, OSError, ValueError, TypeError, LookupError) as error:
            self._open = None
            return encode_answer("it is no file of an export, or damaged", f"{path}: {error}")
        return encode_answer(None, groups=groups, next=following)

    def _read(self, path: str, first: int) -> tuple[list[Row], int | None]:
        if self._open is None or self._open[:2] != (path, first):
            rows = _read_rows(path, first)
            self._row = next(rows, None)
        else:
            rows = self._open[2]
        groups, count, budget = list[Row](), 0, TextBudget()
        while self._row is not None and count < PART_ROLLOUTS and budget.left > 0:
            key, members = _get_key(self._row), list[Row]()
            while self._row is not None and _get_key(self._row) == key:
                if len(members) < GROUP_MAX:
                    members.append(_describe_rollout(self._row, budget))
                    prompt = self._row
                count += 1
                self._row = next(rows, None)
            groups.append(_describe_group(prompt, members, budget))
        following = None if self._row is None else first + count
        self._open = (path, first + count, rows)
        return groups, following


def _read_rows(path: str, first: int) -> Iterator[Row]:
    """The rows of a file from one on, each with the columns of `_NAMES` that it has."""
    file = pq.ParquetFile(path, pre_buffer=False, arrow_extensions_enabled=False)
    present = set(file.schema_arrow.names)
    chosen = {
        name: next(one for one in names if one in present)
        for name, names in _NAMES.items()
        if present.intersection(names)
    }
    lacking = [name for name in _NEEDED if name not in chosen]
    if lacking:
        raise ValueError(f"it has no column {lacking[0]}")
    begin = 0
    for batch in file.iter_batches(_ROWS, columns=list(chosen.values()), use_threads=False):
        begin, skipped = begin + len(batch), max(0, first - begin)
        if skipped >= len(batch):
            continue
        kept = batch.slice(skipped)
        columns = {name: _read_column(name, kept.column(own)) for name, own in chosen.items()}
        for row in zip(*columns.values(), strict=True):
            yield dict(zip(columns, row, strict=True))


def _read_column(name: str, column: Any) -> Sequence[Any]:
    """A column's values; of tokens, masks and log-probabilities what is wanted of each list."""
    if name not in ("own", "logprobs") or not pa.types.is_list(column.type):
        values: list[Any] = column.to_pylist()
        return values
    bounds = column.offsets.to_numpy()
    numbers = column.values.to_numpy(zero_copy_only=False)
    spans = [numbers[start:end] for start, end in pairwise(bounds.tolist())]
    if name == "logprobs" or numbers.dtype == bool or column.type.value_type == pa.uint8():
        return [float(span.sum(dtype=np.float64)) for span in spans]
    return [float(len(span)) for span in spans]


def _get_key(row: Row) -> tuple[Any, Any, Any]:
    return row["window"], row["hotkey"], row["group"]


def _describe_group(row: Row, rollouts: list[Row], budget: TextBudget) -> Row:
    window, hotkey, number = _get_key(row)
    if type(hotkey) is not str or not _HOTKEY.fullmatch(hotkey):
        raise ValueError("a hotkey is none")
    asked = row.get("messages") or row.get("prompt")
    return {
        "window": _take_number(window),
        "hotkey": hotkey,
        "number": _take_number(number),
        "level": _take_number(row["level"]) if row.get("level") is not None else None,
        "environment": str(row.get("environment") or "")[:CHARACTERS],
        "step": _take_number(row["step"]) if row.get("step") is not None else None,
        "prompt": budget.take(_write(asked)),
        "rollouts": rollouts,
    }


def _describe_rollout(row: Row, budget: TextBudget) -> Row:
    tokens, total = row.get("own") or 0.0, row.get("logprobs")
    advantage = row.get("advantage")
    if isinstance(advantage, list):  # of every token: the last one is the model's own
        advantage = advantage[-1] if advantage else None
    reward = float(row["reward"])
    if not abs(reward) < _REWARD_MAX:
        raise ValueError("a reward is no number")
    return {
        "number": _take_number(row["rollout"]),
        "reward": round(reward * 1_000_000),
        "advantage": _take_real(advantage),
        "tokens": int(tokens),
        "surprise": _take_real(-total / tokens) if total is not None and tokens else None,
        "end": None,  # an export does not say which ids end a turn
        "tools": _list_tools(row),
        "text": budget.take(_write_completion(row)),
    }


def _take_number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _NUMBER_MAX:
        raise ValueError("a number is out of range")
    return value


def _take_real(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _write(value: Any) -> str:
    """A text; messages one below the other, each behind its role."""
    if isinstance(value, str) or value is None:
        return value or ""
    if value and isinstance(value[0], str):  # the answers to a prompt, of which there is one
        return str(value[0])
    return "\n".join(f"{one['role']}: {one['content']}" for one in value)


def _write_completion(row: Row) -> str:
    turns = row.get("turns")
    if not turns:
        return _write(row["completion"])
    return write_talk([one["text"] for one in turns], [one["reply"] or "" for one in turns[:-1]])


def _list_tools(row: Row) -> list[str]:
    """The tools of a conversation that its turns with a reply name."""
    turns = [str(one["text"]) for one in row.get("turns") or () if one["reply"] is not None]
    if not turns or not row.get("tools"):
        return []
    try:
        named = [one["function"]["name"] for one in json.loads(row["tools"])]
    except (ValueError, TypeError, LookupError, RecursionError):
        return []
    known = [name for name in named if type(name) is str and 0 < len(name) <= CHARACTERS]
    return sorted({name for name in known if any(name in turn for turn in turns)})
