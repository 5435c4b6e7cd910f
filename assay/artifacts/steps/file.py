"""A step's groups as a Parquet file with one row for each rollout: written by a trainer, read in a
sandbox.

Reading it costs at most as much as `parser` allows: some 5 GB of Python's objects.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assay.artifacts.steps.parquet_columns import Column, ColumnLimits, unpack_columns
from assay.artifacts.steps.parquet_worker import ParquetWorker
from assay.artifacts.steps.parser import SCHEMA
from assay.protocol.episode import Reply
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.step import DelayedRollout
from assay.protocol.submission import LOGPROB_BITS
from assay.sandbox import Budget
from assay.training import Group

#: Most bytes of the file, rows, values of all columns (an element of a list counts as one),
#: unpacked bytes, and pages of a column of a row group.
DATA_BYTES_MAX, ROWS_MAX = 1 << 30, 1 << 22
VALUES_MAX, UNPACKED_MAX, PAGES_MAX = 1 << 27, 1 << 31, 1 << 16
#: Most seconds of reading one file, on the wall and of the processor. Tuning: the largest file
#: takes a tenth.
_SECONDS, _CPU_SECONDS = 600.0, 120.0
#: Most checkpoints from the one that drew a group of proposals to the parent of the step that
#: learns from it.
DELAY_MAX = 8
_BOOT = "from assay.artifacts.steps.parser import serve_steps; serve_steps()"
_UNIT = 1 << LOGPROB_BITS


@dataclass(frozen=True, slots=True)
class Delay:
    """The wait of a group of proposals for its reward. Specification, section 11.4.

    Attributes:
        source: digest of the record of the step that consumed it first; zeros: this one does, and
            the group waits.
        rollouts: what has become of each; none while it waits.
    """

    source: bytes = ZERO_DIGEST
    rollouts: tuple[DelayedRollout, ...] = ()


WAITING = Delay()
NO_AGES: Mapping[bytes, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ConsumedGroup:
    """A group that is consumed, and its origin."""

    group: Group
    window: int
    hotkey: bytes  # of the miner that generated it
    index: int  # of the problem among the hotkey's
    checkpoint: bytes  # of the checkpoint that generated it
    proof: bytes  # root of its submission, as committed on chain; zeros for own groups
    problem_seed: bytes
    levels: tuple[int, ...]  # with one entry: the level of its problem
    delay: Delay | None = None  # None: its step learns from it as it is

    @property
    def counting(self) -> Sequence[int]:
        """The places of the rollouts that its step learns from: none while it waits."""
        if self.delay is None:
            return range(len(self.group.rewards))
        return [place for place, one in enumerate(self.delay.rollouts) if one.counts]

    @property
    def lesson(self) -> Group | None:
        """What its step learns from, of a delayed group the rollouts that count; None: nothing, as
        it waits."""
        if self.delay is None:
            return self.group
        group, counting = self.group, self.counting
        if not counting:
            return None
        return Group(
            group.prompt,
            [group.completions[place] for place in counting],
            [group.rewards[place] for place in counting],
            [group.behaviour_logprobs[place] for place in counting],
            [group.replies[place] for place in counting],
        )

    @property
    def teaches(self) -> bool:
        """Whether the rewards differ of what its step learns from."""
        lesson = self.lesson
        return lesson is not None and lesson.teaches


def list_lessons(
    groups: Sequence[ConsumedGroup], parent: bytes, ages: Mapping[bytes, int] = NO_AGES
) -> tuple[list[Group], int]:
    """What a step learns from, and how much of it at the end is of earlier windows than the first
    group's. Which of it is older follows from digests alone: whoever repeats the step may have no
    other checkpoint than its parent.

    Args:
        parent: digest of the checkpoint that the step begins with.
        ages: digest → how many checkpoints it is behind the parent, as far as that is known. The
            learner's figures tell them apart, and nothing else does.
    """
    lessons = [(one, lesson) for one in groups if (lesson := one.lesson) is not None]
    earlier = sum(one.window != groups[0].window for one, _ in lessons)
    told = [
        replace(lesson, is_older=one.checkpoint != parent, age=ages.get(one.checkpoint))
        for one, lesson in lessons
    ]
    return told, earlier


def open_step_parser() -> ParquetWorker:
    """The parser for `read_groups`: a child process that starts when it is needed. The caller
    closes it."""
    return ParquetWorker("step parser", _BOOT, _SECONDS)


def write_groups(path: Path, groups: Sequence[ConsumedGroup]) -> None:
    pq.write_table(_make_table(groups), path, compression="zstd")


def read_groups(path: Path, parser: ParquetWorker) -> list[ConsumedGroup]:
    """The groups of a file, in order. Their origin is not checked. Raises ValueError: it is not a
    step's file. OSError: it is missing. WorkerError: no child can be started."""
    path.stat()
    limits = ColumnLimits(DATA_BYTES_MAX, ROWS_MAX, VALUES_MAX, UNPACKED_MAX, PAGES_MAX)
    most = limits.compute_reply_bytes(SCHEMA)
    reply = parser.parse(limits.pack() + bytes(path.absolute()), most, Budget(_CPU_SECONDS))
    return list(_read_columns(unpack_columns(reply, SCHEMA, ROWS_MAX)))


def to_integers(logprobs: Sequence[float]) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """Exact integers, because the values came from integers."""
    return np.rint(np.array(logprobs) * -_UNIT).astype(np.uint32)


def _read_columns(columns: Mapping[str, Column]) -> Iterator[ConsumedGroup]:
    rollouts = columns["rollout"]
    starts = [row for row, rollout in enumerate(rollouts) if rollout == 0]
    ends = [*starts[1:], len(rollouts)]
    if rollouts and starts[:1] != [0]:
        raise ValueError("its rows are not whole groups in order")
    for start, end in zip(starts, ends, strict=True):
        if rollouts[start:end] != list(range(end - start)):
            raise ValueError("its rows are not whole groups in order")
        yield _read_group({name: column[start:end] for name, column in columns.items()})


def _read_group(rows: Mapping[str, Column]) -> ConsumedGroup:
    group = Group(
        rows["prompt"][0].tolist(),
        [tokens.tolist() for tokens in rows["tokens"]],
        rows["reward"],
        [(logprobs / -_UNIT).tolist() for logprobs in rows["logprobs"]],
        list(map(_read_replies, rows["tokens"], rows["replies_at"], rows["replies"])),
    )
    return ConsumedGroup(
        group,
        rows["window"][0],
        rows["hotkey"][0],
        rows["group"][0],
        rows["checkpoint"][0],
        rows["proof"][0],
        rows["problem_seed"][0],
        tuple(rows["levels"][0].tolist()),
        _read_delay(rows),
    )


def _read_delay(rows: Mapping[str, Column]) -> Delay | None:
    source, counts = rows["source"][0], rows["counts"]
    if set(counts) - {0, 1} or set(rows["source"]) != {source}:
        raise ValueError("its rows do not say which of them count")
    rollouts = tuple(map(DelayedRollout, rows["tries"], rows["solves"], counts))
    if source != ZERO_DIGEST:
        return Delay(source, rollouts)
    if any(rows["tries"]) or any(rows["solves"]) or len(set(counts)) > 1:
        raise ValueError("its rows have tries of a group that has not waited")
    return None if counts[0] else WAITING


def _read_replies(
    tokens: "np.ndarray[Any, Any]", places: "np.ndarray[Any, Any]", replies: tuple[Any, Any]
) -> list[Reply]:
    bounds, values = replies
    if not len(places) == len(bounds) - 1 < len(tokens):
        raise ValueError("its rows do not place each reply between two turns")
    spans = zip(places.tolist(), pairwise(bounds.tolist()), strict=True)
    return [Reply(at, tuple(values[start:end].tolist())) for at, (start, end) in spans]


def _make_table(groups: Sequence[ConsumedGroup]) -> pa.Table:
    rows = [
        {
            "window": one.window,
            "hotkey": one.hotkey,
            "group": one.index,
            "rollout": rollout,
            "checkpoint": one.checkpoint,
            "proof": one.proof,
            "problem_seed": one.problem_seed,
            "levels": one.levels,
            "prompt": one.group.prompt,
            "tokens": tokens,
            "replies_at": [reply.at for reply in replies],
            "replies": [reply.ids for reply in replies],
            "logprobs": to_integers(logprobs).tolist(),
            "reward": reward,
            "source": ZERO_DIGEST if one.delay is None else one.delay.source,
            "tries": delayed.tries,
            "solves": delayed.solves,
            "counts": delayed.counts,
        }
        for one in groups
        for rollout, (tokens, logprobs, reward, replies, delayed) in enumerate(
            zip(
                one.group.completions,
                one.group.behaviour_logprobs,
                one.group.rewards,
                one.group.replies,
                _list_delayed(one),
                strict=True,
            )
        )
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def _list_delayed(one: ConsumedGroup) -> Sequence[DelayedRollout]:
    if one.delay is not None and one.delay.rollouts:
        return one.delay.rollouts
    return [DelayedRollout(0, 0, int(one.delay is None))] * len(one.group.rewards)
