"""Rounds that a chain keeps: subtensor's Drand pallet stores quicknet's pulses in its state.

One more source beside the relays, reached another way, and no more believed than they are.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from assay.network.beacon.relay_endpoint import FaultKind, RelayFault, SourceHistory
from assay.network.threads import DaemonThreads
from assay.protocol import Beacon, BeaconChain, is_valid_beacon
from assay.protocol.errors import OperatorError

#: A round's signature as the chain has it, None where it has none. Blocks for a few seconds at
#: most, and raises an `OperatorError` where the chain cannot be read.
ReadPulse = Callable[[int], bytes | None]
#: Rounds that are read at once, those included that the chain is not waited for any more.
_READS = 8


@dataclass(slots=True, eq=False, kw_only=True)
class ChainPulses(SourceHistory):
    """The chain as a source of beacons."""

    read: ReadPulse
    url: str = "the chain"
    name: str = "the chain"
    # nobody else's: names that are looked up in vain would keep the chain from being asked
    threads: DaemonThreads = field(default_factory=lambda: DaemonThreads("pulse", _READS))

    async def fetch(
        self, client: httpx.AsyncClient, chain: BeaconChain, number: int, answer_s: float
    ) -> Beacon | RelayFault:
        """The verified beacon of exactly this round; the client is the relays'."""
        del client
        try:
            async with asyncio.timeout(answer_s):
                signature = await self.threads.call(lambda: self.read(number))
        except TimeoutError:
            return RelayFault(FaultKind.FAILED, f"did not answer within {answer_s:g} s")
        except (OperatorError, OSError) as error:
            return RelayFault(FaultKind.FAILED, f"cannot be read: {str(error)[:200]}")
        if signature is None:
            return RelayFault(FaultKind.LATE, "does not have it yet")
        beacon = Beacon(number, signature)
        if not is_valid_beacon(chain, beacon):
            return RelayFault(FaultKind.LIED, f"holds a false signature of round {number}")
        return beacon

    async def check(
        self, client: httpx.AsyncClient, chain: BeaconChain, answer_s: float
    ) -> RelayFault | None:
        """It says nothing of which beacons it keeps: every one is verified."""
        del client, chain, answer_s
        return None
