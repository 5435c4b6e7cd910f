"""The ends of a subnet's epochs: observed for past blocks, predicted for future ones.

State at a block names the last epoch at or before it. One look at the head therefore answers for
every block since that epoch, and one look at the block before it for the previous epoch. The
prediction depends on the runtime. If it has a schedule in state (spec 461), an epoch comes `Tempo`
blocks after the last one or sooner. Otherwise (spec 293) epochs come at block numbers that are
`Tempo` + 1 apart.
"""

from threading import Lock

from assay.network.chain.connection import Connection
from assay.network.chain.errors import ChainError
from assay.network.chain.runtime_features import MODULE, EpochsBy, RuntimeFeatures
from assay.network.chain.state_archive import StateArchive
from assay.network.chain.substrate import Substrate

#: One look answers for this many future blocks, so that a validator catching up asks rarely.
_LOOK_AHEAD = 64


def is_tempo_epoch(netuid: int, tempo: int, number: int) -> bool:
    """Return whether a block ends an epoch, where epochs follow from the tempo alone. Source:
    `blocks_until_next_epoch` of pallet subtensor, which is zero at an epoch block."""
    return tempo > 0 and (number + netuid + 1) % (tempo + 1) == tempo


class Epochs:
    """One subnet's epochs. Safe to use from several threads."""

    def __init__(self, connection: Connection, netuid: int, archive: StateArchive) -> None:
        self._connection = connection
        self._netuid = netuid
        self._archive = archive
        self._lock = Lock()
        self._schedule = (-1, 0, 0)  # head at which it was read, tempo, next epoch

    def is_epoch(self, number: int, head: int, runtime: RuntimeFeatures) -> bool:
        """Return whether an epoch ends with the block. `ChainError`: the block is past, was never
        looked at, and its state is gone."""
        with self._lock:
            if number > head:
                return self._foretell(number, head, runtime)
            return number > 0 and self._find_last(number, head, runtime) == number

    def _find_last(self, number: int, head: int, runtime: RuntimeFeatures) -> int:
        """The last epoch at or before a block."""
        while True:
            known = self._archive.get_next("epoch", number)
            if known is not None and int(known[1]) <= number:
                return int(known[1])
            ceiling = head if known is None else int(known[1]) - 1
            look = min(ceiling, number + _LOOK_AHEAD)
            last = self._read_last(look, runtime)
            if not 0 <= last <= look:
                raise ChainError(
                    f"the node says that the last epoch before block {look} was at {last}: it lies "
                    "or is broken; name another one"
                )
            self._archive.put("epoch", look, str(last))

    def _read_last(self, number: int, runtime: RuntimeFeatures) -> int:
        async def read(substrate: Substrate) -> int:
            block = await substrate.block_hash(number)
            epoch_block = await substrate.query(
                MODULE, runtime.last_epoch, [self._netuid], block_hash=block
            )
            return int(epoch_block or 0)

        return self._connection.read(read)

    def _foretell(self, number: int, head: int, runtime: RuntimeFeatures) -> bool:
        if self._schedule[0] != head:
            self._schedule = (head, *self._read_schedule(runtime))
        _, tempo, due = self._schedule
        if runtime.epochs_by is EpochsBy.TEMPO:
            return is_tempo_epoch(self._netuid, tempo, number)
        return tempo > 0 and number >= due and (number - due) % tempo == 0

    def _read_schedule(self, runtime: RuntimeFeatures) -> tuple[int, int]:
        async def read(substrate: Substrate) -> tuple[int, int]:
            tempo = int(await substrate.query(MODULE, "Tempo", [self._netuid]) or 0)
            if runtime.epochs_by is EpochsBy.TEMPO:
                return tempo, 0
            due = await substrate.runtime_call(
                "SubnetInfoRuntimeApi", "get_next_epoch_start_block", [self._netuid]
            )
            return (0, 0) if due is None else (tempo, int(due))

        return self._connection.read(read)
