"""Which checkpoints were in force, and what drew the problems of each one's gate.

A walk asks the chain once for each time that the trainer's slot was written, however many windows
lie between. What was read once is final, and is not asked for again: a program that was away, or
that runs for weeks, needs no node that remembers those blocks. Specification, sections 7 and 7.1.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from assay.artifacts.ports import BeaconSource
from assay.network.chain.errors import ForgottenError
from assay.network.chain.ports import BlockReader
from assay.network.files import write_json
from assay.protocol.amendment import ParameterHistory
from assay.protocol.encoding import (
    U64,
    Digest,
    EncodingError,
    Many,
    Record,
    from_json,
    read_json,
    to_json,
)
from assay.protocol.window import Phase, compute_block
from assay.rounds.in_force import get_checkpoint_digest
from assay.session.window_reader import BeaconError, get_beacon

#: Most runs that a walk looks at, and that are remembered: a trainer may write its slot as often
#: as it likes.
_RUNS_MAX = 4_096


@dataclass(frozen=True, slots=True)
class Run:
    """A checkpoint, and the first of windows in a row in which it was in force, as one content of
    the trainer's slot, or an empty one, says it. The run before may be of the same checkpoint."""

    digest: bytes
    window: int


@dataclass(frozen=True, slots=True)
class _Span:
    """A run, as far as it was looked at."""

    digest: Digest
    first: U64
    last: U64


@dataclass(frozen=True, slots=True)
class _Spans:
    """What a program keeps of a network, ascending."""

    parameters: Digest  # of its first parameters
    spans: Annotated[tuple[_Span, ...], Many(Record(_Span), _RUNS_MAX)] = ()


class CourseWindows:
    """Checkpoints in force, by a network's chain.

    Args:
        parameters: of a network without rounds.
        file: where what was read is kept; None: nowhere. A damaged one is read anew.
    """

    def __init__(
        self,
        chain: BlockReader,
        beacons: BeaconSource,
        parameters: ParameterHistory,
        file: Path | None = None,
    ) -> None:
        self._chain = chain
        self._beacons = beacons
        self._parameters = parameters
        self._network = parameters.first.digest
        self._file = file
        self._spans = self._read_kept()

    def iterate_back(self, window: int) -> Iterator[Run]:
        """The runs up to a window whose CHECKPOINT block is final, newest first. Raises ChainError,
        ForgottenError: the chain cannot be read, or not so far back; OSError: the file cannot be
        written."""
        for _ in range(_RUNS_MAX):
            if window < 0:
                return
            run = self._find(window)
            if run is None:
                run = self._read(window)
                self._keep(_Span(run.digest, run.window, window))
            yield run
            window = run.window - 1
        raise ForgottenError(f"the trainer's slot was written more than {_RUNS_MAX:,} times since")

    def get_randomness(self, window: int) -> bytes:
        """The randomness of the beacon round of a window's CHECKPOINT block, 32 bytes.

        Raises:
            ChainError: the block cannot be read.
            BeaconError: the round cannot be had.
        """
        parameters = self._parameters.get(window)
        number = compute_block(parameters.timing, window, Phase.CHECKPOINT)
        block = self._chain.get_block(number)
        beacon = get_beacon(self._beacons, parameters, block)
        if beacon is None:
            raise BeaconError(f"the round that block {number} names is not out")
        return beacon.randomness

    def _read(self, window: int) -> Run:
        parameters = self._parameters.get(window)
        timing, trainer = parameters.timing, parameters.identity.trainer
        block = compute_block(timing, window, Phase.CHECKPOINT)
        digest = get_checkpoint_digest(self._chain, parameters, window)
        # of a slot that is empty, nothing says since when
        written = self._chain.get_commitment_blocks(block).get(trainer, block)
        while (
            window
            and self._parameters.get(window - 1) == parameters
            and compute_block(timing, window - 1, Phase.CHECKPOINT) >= written
        ):
            window -= 1
        return Run(digest, window)

    # --- what was read once

    def _find(self, window: int) -> Run | None:
        place = bisect_right(self._spans, window, key=lambda span: span.first)
        span = self._spans[place - 1] if place else None
        if span is None or not span.first <= window <= span.last:
            return None
        return Run(span.digest, span.first)

    def _keep(self, span: _Span) -> None:
        others = [one for one in self._spans if one.first != span.first]  # it was shorter, earlier
        self._spans = sorted([*others, span], key=lambda one: one.first)[-_RUNS_MAX:]
        if self._file is not None:
            write_json(
                self._file, to_json(_Spans(self._network, tuple(self._spans))), durable=False
            )

    def _read_kept(self) -> list[_Span]:
        if self._file is None:
            return []
        try:
            kept: _Spans = from_json(_Spans, read_json(self._file.read_bytes()))
        except (FileNotFoundError, EncodingError):
            return []
        return [*kept.spans] if kept.parameters == self._network else []
