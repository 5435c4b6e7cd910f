"""Sources of one round: a drand relay over HTTP, and a chain that keeps quicknet's pulses in its
state. Neither is trusted.

An answer is at most a few KiB of JSON, read to its end within a deadline. No redirect is followed,
no cookie kept, no compression accepted, no environment variable read. A fault of a relay is a
`RelayFault`, a value. A relay whose answer is well-formed and false has lied.

Paths: drand's HTTP API, first version (`/{chain hash}/public/{round}`), which every relay has, and
second (`/v2/chains/{chain hash}/rounds/{round}`), for relays that have given up the first.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from urllib.parse import urlsplit

from assay.network.beacon.chain_info import read_chain_info
from assay.network.bounded_http import (
    HTTP_ERRORS,
    OK,
    AsyncHttpClient,
    HttpAnswer,
    HttpFault,
    HttpRequest,
    TooLongFault,
    read_address,
)
from assay.network.text import describe_error, keep_secret, mask_endpoint
from assay.network.threads import DaemonThreads
from assay.protocol.beacon import Beacon, BeaconChain, Scheme, is_valid_beacon
from assay.protocol.encoding import EncodingError, Json, read_hex, read_json
from assay.protocol.errors import OperatorError, TroubleKind

#: Longest answer, bytes. Real ones have at most 600.
ANSWER_MAX = 4_096
#: Most bytes of an answer on the wire before its body: interim answers and headers.
_HEAD_MAX = 11 << 10
#: Statuses for "no such round": old relays say 404, newer ones "too early".
_NOT_FOUND, _TOO_EARLY = 404, 425
_ROUND_PATHS = {1: "/{chain}/public/{number}", 2: "/v2/chains/{chain}/rounds/{number}"}
_INFO_PATHS = {1: "/{chain}/info", 2: "/v2/chains/{chain}/info"}
#: A round's signature in the chain's state, or None. Blocks for a few seconds at most, and raises
#: an `OperatorError` where the chain cannot be read.
ReadPulse = Callable[[int], bytes | None]
#: Most rounds that are read at once, including reads that nobody waits for any more.
_READS = 8


class BeaconSourceError(OperatorError):
    """A source or server of beacons cannot be used with its settings, or is closed."""

    trouble_kind = TroubleKind.BEACON


class FaultKind(Enum):
    """Kinds of reasons why there is no beacon."""

    LATE = "it does not have the round yet"
    FAILED = "it cannot be used"
    LIED = "it gives a false answer"


@dataclass(frozen=True, slots=True)
class RelayFault:
    """The reason why a relay gave no beacon. `why` is for people and begins with a verb."""

    kind: FaultKind
    why: str


@dataclass(slots=True, eq=False)
class SourceHistory:
    """The recent history of a source. Used on one event loop only."""

    #: cost of asking it first: seconds until a beacon is there, as a moving average; None before
    #: its first race
    pace_s: float | None = None
    aside_until: float = 0.0  # the loop's time until which it is not asked
    #: mean_s, deviation_s: moving averages of its own good answers; None before the first
    mean_s: float | None = None
    deviation_s: float = 0.0
    #: won: races that its beacon has won; failed: useless answers; lied: false ones
    won: int = 0
    failed: int = 0
    lied: int = 0

    def note_answer(self, taken_s: float) -> None:
        """Note that it gave a beacon after `taken_s` seconds. Weights: RFC 6298, section 2."""
        if self.mean_s is None:
            self.mean_s, self.deviation_s = taken_s, taken_s / 2
            return
        self.deviation_s += (abs(taken_s - self.mean_s) - self.deviation_s) / 4
        self.mean_s += (taken_s - self.mean_s) / 8

    def get_usual(self, deviations: float) -> float | None:
        """The seconds within which it normally answers; None: not known yet."""
        return None if self.mean_s is None else self.mean_s + deviations * self.deviation_s


@dataclass(slots=True, eq=False, kw_only=True)
class RelayEndpoint(SourceHistory):
    """A relay. `url` has no slash at its end. `version` is that of the HTTP API which answered
    last."""

    url: str
    version: int = 1

    @property
    def name(self) -> str:
        """Host and port, for people."""
        return urlsplit(self.url).netloc

    async def fetch(
        self, client: AsyncHttpClient, chain: BeaconChain, number: int, answer_s: float
    ) -> Beacon | RelayFault:
        """The verified beacon of exactly this round."""
        document = await self._get(client, _ROUND_PATHS, chain, number, answer_s)
        if isinstance(document, RelayFault):
            return document
        try:
            beacon = read_beacon(document, chain.scheme)
        except EncodingError as error:
            return RelayFault(FaultKind.FAILED, f"sent no beacon: it {error}")
        if isinstance(beacon, RelayFault):
            return beacon
        if beacon.round != number:
            return RelayFault(FaultKind.LIED, f"sent round {beacon.round} when asked for {number}")
        if not is_valid_beacon(chain, beacon):
            return RelayFault(FaultKind.LIED, f"sent a false signature of round {number}")
        return beacon

    async def check(
        self, client: AsyncHttpClient, chain: BeaconChain, answer_s: float
    ) -> RelayFault | None:
        """Check whether it claims to serve this chain. Return its fault, or None."""
        document = await self._get(client, _INFO_PATHS, chain, 0, answer_s)
        if isinstance(document, RelayFault):
            if document.kind is FaultKind.LATE:
                return RelayFault(FaultKind.FAILED, "does not know the chain")
            return document
        try:
            served = read_chain_info(document)
        except EncodingError as error:
            return RelayFault(FaultKind.FAILED, f"sent no chain info: it {error}")
        if served == chain:
            return None
        return RelayFault(FaultKind.LIED, f"serves another chain, {served.chain_hash.hex()}")

    async def _get(
        self,
        client: AsyncHttpClient,
        paths: dict[int, str],
        chain: BeaconChain,
        number: int,
        answer_s: float,
    ) -> bytes | RelayFault:
        """Fetch a body in whichever version of the API the relay has."""
        preferred = self.version
        try:
            async with asyncio.timeout(answer_s):
                for version in (preferred, 3 - preferred):
                    path = paths[version].format(chain=chain.chain_hash.hex(), number=number)
                    answer = await ask_relay(client, self.url + path)
                    if answer.status == OK:
                        self.version = version
                        return answer.body
                    if answer.status == _TOO_EARLY:
                        break
                    if answer.status != _NOT_FOUND and version == preferred:
                        return RelayFault(FaultKind.FAILED, f"answered with status {answer.status}")
                return RelayFault(FaultKind.LATE, "does not have it yet")
        except TimeoutError:
            return RelayFault(FaultKind.FAILED, f"did not answer within {answer_s:g} s")
        except HTTP_ERRORS as error:
            return RelayFault(FaultKind.FAILED, f"cannot be read: {describe_error(error)}")
        except TooLongFault:
            return RelayFault(
                FaultKind.FAILED, f"sent no drand answer: it has more than {ANSWER_MAX} bytes"
            )
        except HttpFault as fault:
            return RelayFault(FaultKind.FAILED, f"sent no drand answer: it {fault}")


@dataclass(slots=True, eq=False, kw_only=True)
class ChainPulses(SourceHistory):
    """The chain as a source: subtensor's Drand pallet. It is reached in another way than relays."""

    read: ReadPulse
    url: str = "the chain"
    name: str = "the chain"
    # separate threads: name lookups that hang must not keep the chain from being asked
    threads: DaemonThreads = field(default_factory=lambda: DaemonThreads("pulse", _READS))

    async def fetch(
        self, client: AsyncHttpClient, chain: BeaconChain, number: int, answer_s: float
    ) -> Beacon | RelayFault:
        """The verified beacon of exactly this round. `client` belongs to the relays and is not
        used."""
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
            return RelayFault(FaultKind.LIED, f"has a false signature of round {number}")
        return beacon

    async def check(
        self, client: AsyncHttpClient, chain: BeaconChain, answer_s: float
    ) -> RelayFault | None:
        """Return None: the chain does not say which beacons it keeps, and every one is verified."""
        del client, chain, answer_s
        return None


RoundSource = RelayEndpoint | ChainPulses


def read_beacon(body: bytes, scheme: Scheme) -> Beacon | RelayFault:
    """The beacon that an answer claims, unverified.

    A `randomness` that does not fit the signature is a lie. Nothing else of an answer is kept: on
    an unchained network, a previous signature would be carried along unverified.

    Raises:
        EncodingError: it is not a beacon's JSON.
    """
    value: Json = read_json(body)
    if not isinstance(value, dict):
        raise EncodingError("is not a JSON object")
    number = value.get("round")
    if type(number) is not int or not 0 <= number < 2**64:
        raise EncodingError("has no round of 64 bits")
    signature = read_hex(value.get("signature"))
    chained = scheme is Scheme.CHAINED_G2
    previous = read_hex(value.get("previous_signature", "")) if chained else b""
    claimed = value.get("randomness")
    if claimed is not None and claimed != sha256(signature).hexdigest():
        return RelayFault(FaultKind.LIED, f"sent round {number} with a false randomness")
    return Beacon(number, signature, previous)


def read_url(url: str) -> str:
    """An endpoint's address in the form that is used. `BeaconSourceError`: not a plain http(s)
    address."""
    parts = read_address(url)
    if parts is None or parts.username is not None or re.search(r"[?#\s{}]", url):
        raise BeaconSourceError(
            f"{mask_endpoint(url)!r} is not an address of a drand relay: write https://host or "
            "http://host:port, without user, query and fragment"
        )
    keep_secret(url)
    return url.rstrip("/")


async def ask_relay(client: AsyncHttpClient, url: str) -> HttpAnswer:
    """One answer, with its body if the status is 200. Raises an `HttpFault`, or one of
    `HTTP_ERRORS`."""
    return await client.send(
        HttpRequest("GET", url, ANSWER_MAX, (("Accept", "application/json"),), head=_HEAD_MAX)
    )
