"""Races several relays for one round. Lives on one event loop, and nothing here blocks it.

The order is learned: a relay's pace is the recent cost of asking it first, including its failures,
since a race continues until some source has the round. The delay before the next relay is asked is
learned too: it ends when an answer takes longer than this relay's usual answers, by their mean and
deviation. Now and then a relay that is no longer asked is tried beside the first one, at no cost to
the race.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from assay.network.beacon.relay_endpoint import (
    ChainPulses,
    FaultKind,
    ReadPulse,
    RelayEndpoint,
    RelayFault,
    RoundSource,
)
from assay.network.bounded_http import AsyncHttpClient
from assay.network.text import hide
from assay.protocol.beacon import Beacon, BeaconChain

logger = logging.getLogger("assay.beacon")

#: Weight of the newest race in a pace.
_NEWEST = 0.1
#: A relay is tried beside the first one once in this many races.
_TRIAL_EVERY = 16
#: Races that are kept after they found their round.
_KEPT = 16
#: Longest wait for connections to close.
_CLOSE_S = 2.0


@dataclass(frozen=True, slots=True)
class RelayTimeouts:
    """The times that a race's parts may take, seconds. Tuning: no verdict depends on it."""

    stagger_s: float = 0.3  # from asking one relay to asking the next beside it, at most
    #: the next one is asked this many deviations after the mean of the one before, if that is
    #: earlier
    hedge: float = 4.0
    connect_s: float = 2.0  # longest wait for a connection
    answer_s: float = 4.0  # longest wait for one relay's whole answer
    total_s: float = 6.0  # longest race
    aside_s: float = 600.0  # time for which a relay that lied is not asked
    #: after a race without a beacon, the round is not asked for again; doubles each time
    pause_s: float = 0.5
    longest_pause_s: float = 8.0  # upper limit of the doubling
    #: a round is requested this long after its time, or a sixth of the chain's period if that is
    #: less: a CDN before a relay that does not have it yet may keep the "not found" for long
    settle_s: float = 0.5


@dataclass(frozen=True, slots=True)
class NoBeacon:
    """A race without a winner, and `why` for people. late: every relay answered, and none has the
    round; absent: at least one says so."""

    why: str
    late: bool
    absent: bool


class Relays:
    """The relays of one pinned chain, the preferred one first, and with `pulses` the chain that
    keeps rounds. Any thread may read the counters of `endpoints`."""

    def __init__(
        self,
        chain: BeaconChain,
        urls: Sequence[str],
        patience: RelayTimeouts,
        pulses: ReadPulse | None = None,
    ) -> None:
        self._chain = chain
        self._patience = patience
        self.endpoints: list[RoundSource] = [RelayEndpoint(url=url) for url in urls]
        if pulses is not None:
            self.endpoints.append(ChainPulses(read=pulses))
        self._client = AsyncHttpClient(
            patience.connect_s, patience.answer_s, connections=4 * len(urls), idle=len(urls)
        )
        self._count = 0
        self._races: dict[int, asyncio.Task[Beacon | NoBeacon]] = {}
        self._won: OrderedDict[int, asyncio.Task[Beacon | NoBeacon]] = OrderedDict()
        self._losers: set[asyncio.Task[Beacon | RelayFault]] = set()

    async def get(self, number: int) -> Beacon | NoBeacon:
        """The round's verified beacon: one race, for all concurrent callers."""
        race = self._races.get(number) or self._won.get(number)
        if race is None:
            race = asyncio.create_task(self._race(number))
            self._races[number] = race
            race.add_done_callback(lambda race: self._end(number, race))
        return await asyncio.shield(race)

    async def check(self) -> dict[str, str]:
        """Every relay's address → the reason why it does not serve the chain, or an empty
        string."""
        answer_s = self._patience.answer_s
        checks = [e.check(self._client, self._chain, answer_s) for e in self.endpoints]
        faults = await asyncio.gather(*checks)
        for endpoint, fault in zip(self.endpoints, faults, strict=True):
            if fault is not None:
                self._set_aside(endpoint, fault)
        pairs = zip(self.endpoints, faults, strict=True)
        return {hide(endpoint.url): fault.why if fault else "" for endpoint, fault in pairs}

    async def close(self) -> None:
        """Stop all races and close all connections."""
        tasks = [*self._races.values(), *self._losers]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_S)
        async with asyncio.timeout(_CLOSE_S):
            await self._client.aclose()

    def _end(self, number: int, race: asyncio.Task[Beacon | NoBeacon]) -> None:
        """Keep a race that found the round: callers may have missed it in the cache just before."""
        del self._races[number]
        if not race.cancelled() and not race.exception() and isinstance(race.result(), Beacon):
            self._won[number] = race
            if len(self._won) > _KEPT:
                self._won.popitem(last=False)

    async def _race(self, number: int) -> Beacon | NoBeacon:
        loop, patience = asyncio.get_running_loop(), self._patience
        queue = self._rank(loop.time())
        trial = self._choose_trial(queue)
        asked: dict[RoundSource, float] = {}
        running: dict[asyncio.Task[Beacon | RelayFault], RoundSource] = {}
        faults: list[tuple[RoundSource, RelayFault]] = []
        ended = False
        try:
            async with asyncio.timeout(patience.total_s):
                while queue or running:
                    stagger_s = None
                    if queue:
                        first, endpoint = not asked, queue.pop(0)
                        stagger_s = self._get_stagger(endpoint) if queue else None
                        for one in (endpoint, trial) if first and trial else (endpoint,):
                            asked[one] = loop.time()
                            fetch = one.fetch(self._client, self._chain, number, patience.answer_s)
                            running[asyncio.create_task(fetch)] = one
                    done, _ = await asyncio.wait(
                        running, timeout=stagger_s, return_when=asyncio.FIRST_COMPLETED
                    )
                    for task in done:
                        endpoint, result = running.pop(task), task.result()
                        if isinstance(result, Beacon):
                            endpoint.note_answer(loop.time() - asked[endpoint])
                            self._end_trial(trial, running, asked)
                            endpoint.won += 1
                            self._note_paces(asked, set(running.values()), loop.time())
                            return result
                        faults.append((endpoint, result))
                        self._set_aside(endpoint, result)
                ended = True
        except TimeoutError:
            logger.debug(
                "round %d: no relay has answered within the race's deadline",
                number,
                extra={"event": "race_unanswered"},
            )
        finally:
            self._leave(running)
        return self._describe_miss(faults, ended)

    def _rank(self, now: float) -> list[RoundSource]:
        """The sources in the order of asking: unknown ones first, then by recent pace."""
        usable = [endpoint for endpoint in self.endpoints if endpoint.aside_until <= now]
        return sorted(usable, key=lambda endpoint: endpoint.pace_s or 0.0)  # stable

    def _choose_trial(self, queue: list[RoundSource]) -> RoundSource | None:
        """Take the relay that was not asked for the longest time out of the queue, if a trial is
        due."""
        self._count += 1
        rest = queue[1:]
        if not rest or queue[0].pace_s is None or self._count % _TRIAL_EVERY:
            return None
        trial = rest[self._count // _TRIAL_EVERY % len(rest)]
        queue.remove(trial)
        return trial

    def _end_trial(
        self,
        trial: RoundSource | None,
        running: dict[asyncio.Task[Beacon | RelayFault], RoundSource],
        asked: dict[RoundSource, float],
    ) -> None:
        """Let an unanswered trial continue, to learn how long the relay takes."""
        task = next((task for task, source in running.items() if source is trial), None)
        if trial is None or task is None:
            return
        del running[task]
        started = asked.pop(trial)

        def learn(task: asyncio.Task[Beacon | RelayFault]) -> None:
            if task.cancelled():
                return
            cost_s = asyncio.get_running_loop().time() - started
            good = isinstance(task.result(), Beacon)
            trial.pace_s = cost_s if good else max(cost_s, trial.pace_s or 0.0)

        self._losers.add(task)
        task.add_done_callback(learn)
        task.add_done_callback(self._losers.discard)

    def _get_stagger(self, endpoint: RoundSource) -> float:
        """The seconds before the next relay is asked after this one."""
        usual_s = endpoint.get_usual(self._patience.hedge)
        return (
            self._patience.stagger_s if usual_s is None else min(self._patience.stagger_s, usual_s)
        )

    def _note_paces(
        self, asked: dict[RoundSource, float], beaten: set[RoundSource], now: float
    ) -> None:
        """Learn the cost of asking the first relay, whichever won. Other losers give only a lower
        bound."""
        first = next(iter(asked))
        for endpoint, since in asked.items():
            pace_s, cost_s = endpoint.pace_s, now - since
            if pace_s is None:
                endpoint.pace_s = cost_s
            elif endpoint in beaten and endpoint is not first:
                endpoint.pace_s = max(pace_s, cost_s)
            else:
                endpoint.pace_s = pace_s + _NEWEST * (cost_s - pace_s)

    def _set_aside(self, endpoint: RoundSource, fault: RelayFault) -> None:
        endpoint.failed += fault.kind is FaultKind.FAILED
        endpoint.lied += fault.kind is FaultKind.LIED
        if fault.kind is not FaultKind.LIED:
            logger.debug("%s %s", endpoint.name, fault.why, extra={"event": "relay_failed"})
            return
        now, aside_s = asyncio.get_running_loop().time(), self._patience.aside_s
        if endpoint.aside_until <= now:
            logger.warning(
                "%s %s: not asked for %g s",
                endpoint.name,
                fault.why,
                aside_s,
                extra={"event": "relay_lied"},
            )
        endpoint.aside_until = now + aside_s

    def _leave(self, running: dict[asyncio.Task[Beacon | RelayFault], RoundSource]) -> None:
        """Cancel those still running, without waiting for their connections to close."""
        for task in running:
            task.cancel()
            self._losers.add(task)
            task.add_done_callback(self._losers.discard)

    def _describe_miss(self, faults: list[tuple[RoundSource, RelayFault]], ended: bool) -> NoBeacon:
        parts = [f"{endpoint.name} {fault.why}" for endpoint, fault in faults]
        if not ended:
            parts.append(f"nobody else answered within {self._patience.total_s:g} s")
        elif not parts:
            parts.append("every relay is set aside, because each has lied")
        late = ended and all(fault.kind is FaultKind.LATE for _, fault in faults) and bool(faults)
        absent = any(fault.kind is FaultKind.LATE for _, fault in faults)
        return NoBeacon("; ".join(parts), late, absent)
