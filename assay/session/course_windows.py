"""Which checkpoints were in force, and what drew the problems of each one's gate.

A walk asks the chain once for each time that the trainer's slot was written, however many windows
lie between. Specification, sections 7 and 7.1.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from assay.artifacts.ports import BeaconSource
from assay.network.chain.ports import BlockReader
from assay.protocol.amendment import ParameterHistory
from assay.protocol.window import Phase, compute_block
from assay.rounds.in_force import get_checkpoint_digest
from assay.session.window_reader import BeaconError, get_beacon

#: Most runs that a walk looks at: a trainer may write its slot as often as it likes.
_RUNS_MAX = 4_096
#: Windows whose checkpoint stays in memory, the newest.
_KEPT = 64


@dataclass(frozen=True, slots=True)
class Run:
    """A checkpoint, and the first of windows in a row in which it was in force, as one content of
    the trainer's slot, or an empty one, says it. The run before may be of the same checkpoint."""

    digest: bytes
    window: int


class CourseWindows:
    """Checkpoints in force, by a network's chain.

    Args:
        parameters: of a network without rounds.
    """

    def __init__(
        self, chain: BlockReader, beacons: BeaconSource, parameters: ParameterHistory
    ) -> None:
        self._chain = chain
        self._beacons = beacons
        self._parameters = parameters
        self._known: dict[int, Run] = {}

    def iterate_back(self, window: int) -> Iterator[Run]:
        """The runs up to a window whose CHECKPOINT block is final, newest first. Raises ChainError,
        ForgottenError: the chain cannot be read, or not so far back."""
        for _ in range(_RUNS_MAX):
            if window < 0:
                return
            run = self._known.get(window)
            if run is None:
                run = self._known[window] = self._read(window)
                while len(self._known) > _KEPT:
                    del self._known[min(self._known)]
            yield run
            window = run.window - 1

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
