"""The time according to drand's relays: the `Date` of an answer, and the newest round, which its
chain dates. Nobody can sign a round before its time, so a pinned chain's round proves a lower bound
of the time. The date is only a server's claim."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from assay.network.beacon.chain_info import read_chain_info
from assay.network.beacon.relay_endpoint import RelayFault, ask_relay, read_beacon, read_url
from assay.network.bounded_http import HTTP_ERRORS, OK, AsyncHttpClient, HttpFault
from assay.network.threads import LookupLoop
from assay.protocol.beacon import QUICKNET, BeaconChain, compute_round_time_ms, is_valid_beacon
from assay.protocol.encoding import EncodingError

#: Seconds for a connection, and for all that is asked of a relay.
_CONNECT_S, _ANSWER_S = 2.0, 4.0
#: Most milliseconds that relays take to pass on the newest round after its time.
_SPREAD_MS = 2_000
#: Paths of a pinned chain's newest round, in both versions of drand's HTTP API; then of a relay's
#: own chain.
_PINNED = ("/{chain}/public/latest", "/v2/chains/{chain}/rounds/latest")
_INFO, _LATEST = "/info", "/public/latest"


@dataclass(frozen=True, slots=True)
class ClockReading:
    """A source's claim about this machine's clock.

    Attributes:
        host: the source's host; several readings may be from one.
        source: for people.
        ahead_ms: the source's time less this machine's, milliseconds.
        error_ms: the largest error of that, milliseconds.
        proves: the true time is at least this late, even if the source lies.
    """

    host: str
    source: str
    ahead_ms: int
    error_ms: int
    proves: bool = False


def read_relay_clocks(urls: Sequence[str], now_ms: Callable[[], int]) -> list[ClockReading]:
    """Ask all relays at once, for some seconds at most. A relay that does not answer gives no
    reading.

    Args:
        urls: of relays; they need not serve quicknet.
        now_ms: this machine's clock, Unix milliseconds.

    Raises:
        BeaconSourceError: an address cannot be used.
    """
    plain = [read_url(url) for url in urls]
    loop = LookupLoop()
    try:
        return loop.run_until_complete(_ask_all(plain, now_ms))
    finally:
        loop.close()


async def _ask_all(urls: Sequence[str], now_ms: Callable[[], int]) -> list[ClockReading]:
    async with AsyncHttpClient(_CONNECT_S, _ANSWER_S) as client:
        by_relay = await asyncio.gather(*(_RelayClock(client, url, now_ms).read() for url in urls))
    return [reading for readings in by_relay for reading in readings]


class _RelayClock:
    """One relay during a query."""

    def __init__(self, client: AsyncHttpClient, url: str, now_ms: Callable[[], int]) -> None:
        self._client, self._url, self._now_ms = client, url, now_ms
        self._host = urlsplit(url).netloc
        self._readings: list[ClockReading] = []

    async def read(self) -> list[ClockReading]:
        """The readings that came in time, from the relay's dates and its newest round."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self._ask_round()
        except (TimeoutError, HttpFault, EncodingError, *HTTP_ERRORS):
            pass  # earlier readings are kept
        return self._readings

    async def _ask_round(self) -> None:
        for path in _PINNED:
            body = await self._get(path.format(chain=QUICKNET.chain_hash.hex()))
            if body is not None:
                return self._note_round(QUICKNET, body)
        info = await self._get(_INFO)
        newest = None if info is None else await self._get(_LATEST)
        if info is not None and newest is not None:
            self._note_round(read_chain_info(info), newest)
        return None

    async def _get(self, path: str) -> bytes | None:
        """An answer's body, or None. Notes the answer's date and how long it took."""
        self._begun = self._now_ms()
        answer = await ask_relay(self._client, self._url + path)
        body = answer.body if answer.status == OK else None
        self._ended = self._now_ms()
        try:
            date = parsedate_to_datetime(answer.headers.get("date", ""))
        except ValueError:
            return body
        if not self._readings:  # it has only whole seconds
            self._note(f"the date of {self._host}", round(date.timestamp() * 1_000) + 500, 500)
        return body

    def _note_round(self, chain: BeaconChain, body: bytes) -> None:
        beacon = read_beacon(body, chain.scheme)
        if isinstance(beacon, RelayFault) or not is_valid_beacon(chain, beacon):
            return
        half = (chain.period_ms + _SPREAD_MS) // 2
        at_ms = compute_round_time_ms(chain, beacon.round) + half
        source = f"round {beacon.round} of {self._host}"
        self._note(source, at_ms, half, proves=chain == QUICKNET)

    def _note(self, source: str, at_ms: int, error_ms: int, *, proves: bool = False) -> None:
        here_ms, taken_ms = (self._begun + self._ended) // 2, self._ended - self._begun
        reading = ClockReading(
            self._host, source, at_ms - here_ms, error_ms + max(0, taken_ms) // 2, proves
        )
        self._readings.append(reading)
