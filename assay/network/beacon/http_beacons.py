"""Beacons from drand relays over HTTP: several are raced, and every signature is verified.

The relay that was quickest recently is asked first. The next one is asked when that takes longer
than expected, 0.3 s at most, or as soon as it fails. The first beacon of the pinned chain wins. If
the chain keeps the rounds itself, it is one more source. A relay that lies is not asked for a
while. If no source has the round, or none answers, there is no beacon and the caller waits: another
round is never used.

This module cannot tell whether relays withhold a round, or drand itself is late. Both look alike
from here, and `trouble` says so.
"""

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any, TypeVar

from assay.network.beacon.relay_endpoint import BeaconSourceError, ReadPulse, RoundSource, read_url
from assay.network.beacon.relay_race import NoBeacon, Relays, RelayTimeouts
from assay.network.beacon.round_cache import RoundCache
from assay.network.threads import LookupLoop
from assay.protocol.beacon import QUICKNET, Beacon, BeaconChain, compute_round_time_ms

T = TypeVar("T")

logger = logging.getLogger("assay.beacon")

#: Public relays of quicknet (https://docs.drand.love/developer/http-api).
QUICKNET_ENDPOINTS = (
    "https://api.drand.sh",
    "https://api2.drand.sh",
    "https://api3.drand.sh",
    "https://drand.cloudflare.com",
)
#: Most relays of one source, and most rounds whose pauses are kept.
ENDPOINTS_MAX, _PAUSES = 16, 64
#: SQLite cannot store rounds from here on, and no clock gets there.
_ROUNDS_END = 2**63
#: Seconds that a call may take beyond its race's own deadline.
_SLACK_S = 5.0
#: A round further ahead means that clocks differ: the caller has seen the block that names it, and
#: blocks name no round so far ahead. A round later than the second figure is a trouble. Seconds.
_FAR_S, _LATE_S = 60, 10
_PATIENCE = RelayTimeouts()


class HttpBeacons:
    """The beacons of one chain, for independent programs. Safe to use from several threads.

    Args:
        chain: pinned by the caller; no relay is asked which chain it is.
        endpoints: addresses of relays, the preferred one first; none: the public ones of quicknet.
        folder: stores verified rounds.
        now_ms: Unix time, milliseconds.
        patience: see `RelayTimeouts`.
        pulses: reads rounds that a chain keeps; used if `chain` is quicknet, whose rounds they are.

    Raises:
        BeaconSourceError: an address or the folder cannot be used.
    """

    def __init__(
        self,
        chain: BeaconChain,
        endpoints: Sequence[str],
        folder: Path,
        now_ms: Callable[[], int],
        patience: RelayTimeouts = _PATIENCE,
        pulses: ReadPulse | None = None,
    ) -> None:
        if not endpoints and chain == QUICKNET:
            endpoints = QUICKNET_ENDPOINTS
        urls = list(dict.fromkeys(read_url(url) for url in endpoints))
        if not 1 <= len(urls) <= ENDPOINTS_MAX:
            raise BeaconSourceError(
                f"{len(urls)} relays are named for the beacon chain {chain.chain_hash.hex()}: name "
                f"1 to {ENDPOINTS_MAX} that serve it"
            )
        self.chain = chain
        self._patience = patience
        self._settle_ms = min(1_000 * patience.settle_s, chain.period_ms / 6)
        self._now_ms = now_ms
        self._trouble = self._clock_trouble = ""
        self.pauses: OrderedDict[int, tuple[float, float]] = OrderedDict()  # (until, length)
        self._lock = threading.Lock()
        self._closed = False
        self.cache = RoundCache(chain, folder)
        self._relays = Relays(chain, urls, patience, pulses if chain == QUICKNET else None)
        self._loop = LookupLoop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="beacon", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str:
        """The reason why the last requested round is missing, in a sentence; empty when all is
        well."""
        return self._trouble or self._clock_trouble

    @property
    def figures(self) -> list[RoundSource]:
        """The statistics of each relay so far."""
        return self._relays.endpoints

    def get(self, number: int) -> Beacon | None:
        """The verified beacon of exactly this round; None: it is not out, or not available at
        present.

        Takes about `total_s` at most; until just after the round's time, and in a pause, no time at
        all. If this machine's clock is wrong, relays are asked all the same: no window is lost.

        Raises:
            BeaconSourceError: the source is closed.
        """
        if not 1 <= number < _ROUNDS_END:
            return None
        beacon = self.cache.get(number)
        if beacon is None:
            due_ms = compute_round_time_ms(self.chain, number) - self._now_ms()
            self._note_clock(number, due_ms // 1_000)
            if -self._settle_ms < due_ms <= _FAR_S * 1_000:
                self._trouble = ""
                return None
            if self._is_pausing(number):
                return None
            result = self._run(self._relays.get(number))
            if isinstance(result, NoBeacon):
                self._note_miss(number, result, -due_ms / 1_000)
                return None
            self.cache.put(result)
            beacon = result
        self._note_success(number)
        return beacon

    def check(self) -> dict[str, str]:
        """Ask every relay which chain it serves. Return address → the relay's fault, or ""."""
        return self._run(self._relays.check())

    def close(self) -> None:
        """Stop requests, connections and the thread. Running calls fail."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            ending = asyncio.run_coroutine_threadsafe(self._relays.close(), self._loop)
        try:
            ending.result(_SLACK_S)
        except TimeoutError:
            logger.warning(
                "connections to beacon relays do not close; they end with the process",
                extra={"event": "relays_unclosed"},
            )
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SLACK_S)
        if not self._thread.is_alive():
            self._loop.close()
        self.cache.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the loop's thread and return its result."""
        with self._lock:
            if self._closed:
                work.close()
                raise BeaconSourceError("the source of beacons is closed: open another")
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        limit_s = self._patience.total_s + self._patience.answer_s + _SLACK_S
        try:
            return future.result(limit_s)
        except CancelledError:
            raise BeaconSourceError("the source of beacons was closed meanwhile") from None
        except TimeoutError:
            raise BeaconSourceError(
                f"a race between relays did not end within {limit_s:g} s: this machine hangs or "
                "is overloaded"
            ) from None
        finally:
            future.cancel()  # the caller was interrupted

    def _is_pausing(self, number: int) -> bool:
        with self._lock:
            return time.monotonic() < self.pauses.get(number, (0.0, 0.0))[0]

    def _note_clock(self, number: int, due_s: int) -> None:
        """Report once that the machine's clock must be slow, and once that it no longer is."""
        problem = ""
        if due_s > _FAR_S:
            problem = (
                f"round {number} comes out in {due_s} s by this machine's clock: check the clock"
            )
        if bool(problem) != bool(self._clock_trouble):
            logger.warning(
                "%s",
                problem or "this machine's clock is right again",
                extra={"event": "clock_doubted"},
            )
        self._clock_trouble = problem

    def _note_miss(self, number: int, miss: NoBeacon, late_s: float) -> None:
        """Start a pause. Report the reason once, unless the round is just about to come out."""
        with self._lock:
            length_s = self.pauses.pop(number, (0.0, self._patience.pause_s / 2))[1]
            length_s = min(2 * length_s, self._patience.longest_pause_s)
            self.pauses[number] = time.monotonic() + length_s, length_s
            if len(self.pauses) > _PAUSES:
                self.pauses.popitem(last=False)
        if late_s < -_FAR_S:
            return  # the clock is the cause
        if miss.late and late_s < _LATE_S:
            self._trouble = ""
            return
        problem = f"waiting for round {number}, due for {late_s:.0f} s: {miss.why}"
        if miss.absent and late_s > _FAR_S:
            problem += (
                "; if no relay has the round, this machine's clock is ahead: `assay doctor` "
                "compares it with the chain's"
            )
        if not self._trouble:
            logger.warning("%s", problem, extra={"event": "beacon_late"})
        self._trouble = problem

    def _note_success(self, number: int) -> None:
        with self._lock:
            self.pauses.pop(number, None)
        if self._trouble:
            logger.info(
                "round %d has come: beacons are back", number, extra={"event": "beacon_back"}
            )
        self._trouble = ""
