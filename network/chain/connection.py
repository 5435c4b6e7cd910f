"""One connection to a subtensor chain: deadlines, reconnection, and which chain it is.

The SDK's client is asynchronous; it lives on a thread of its own, and every call here waits for it
with a deadline, so that a websocket that is half open cannot freeze a neuron. A node that does not
answer is left, and the next endpoint asked, with growing pauses. Every node must prove the genesis
hash before anything it says is used. Safe to use from several threads.

What this does not know: whether a node lies about its head or its state.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from assay.network.chain.errors import (
    ChainError,
    ForgottenError,
    UnknownOutcomeError,
    WrongChainError,
)

if TYPE_CHECKING:
    from bittensor import RpcSubstrate

T = TypeVar("T")
Check = Callable[["RpcSubstrate"], Awaitable[None]]

logger = logging.getLogger("assay.chain")

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0
#: Longest wait for a node to open a connection and hand out its metadata.
CONNECT_S = 60.0
#: Longest time that a neuron goes on trying one call.
PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Target:
    """Which chain, and where it is reached.

    Attributes:
        endpoints: ws:// or wss:// URLs of nodes of that chain, the preferred one first.
        genesis_hash: which chain it must be, 32 bytes; None takes what the first node says and
            holds all others to it.
        archives: nodes that are asked for state which plain nodes have forgotten.
        deadline_s: longest wait for an answer to one read.
        patience_s: longest time that a call goes on trying before it gives up.
        inclusion_s: longest wait for an extrinsic to be included or final.
    """

    endpoints: tuple[str, ...]
    genesis_hash: bytes | None = None
    archives: tuple[str, ...] = ()
    deadline_s: float = 20.0
    patience_s: float = PATIENCE_S
    inclusion_s: float = 180.0

    @staticmethod
    def from_name(
        network: str,
        fallbacks: tuple[str, ...] = (),
        archives: tuple[str, ...] = (),
        genesis_hash: bytes | None = None,
        patience_s: float = PATIENCE_S,
    ) -> "Target":
        """The target that a person means: a network the SDK knows by name, or a node's URL.

        Raises:
            ChainError: neither.
        """
        from bittensor import settings

        public = network in settings.NETWORKS
        endpoint = settings.NETWORKS.get(network, network)
        for url in (endpoint, *fallbacks, *archives):
            if not _is_node(url):
                names = ", ".join(sorted(settings.NETWORKS))
                raise ChainError(f"{url!r} is no network: name one of {names}, or a ws:// URL")
        if network == settings.DEFAULT_NETWORK and genesis_hash is None:
            genesis_hash = bytes.fromhex(settings.FINNEY_GENESIS_HASH.removeprefix("0x"))
        if public:
            fallbacks = fallbacks or tuple(settings.FALLBACK_ENDPOINTS.get(network, ()))
            archives = archives or tuple(settings.ARCHIVE_ENDPOINTS.get(network, ()))
        return Target((endpoint, *fallbacks), genesis_hash, archives, patience_s=patience_s)

    @property
    def is_loopback(self) -> bool:
        """Whether every endpoint is this machine."""
        hosts = {urlsplit(endpoint).hostname for endpoint in self.endpoints}
        return hosts <= {"127.0.0.1", "::1", "localhost"}


class Connection:
    """Runs the SDK's calls for everyone who shares it.

    Args:
        target: see there.

    Raises:
        WrongChainError: a node is of another chain.
        ChainError: no node answers.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._genesis = target.genesis_hash
        self._checks: list[Check] = []
        self._substrate: RpcSubstrate | None = None
        self._turn = 0
        self._loop = asyncio.new_event_loop()
        self._lock = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._hurry = asyncio.Event()
        self._lost_at: float | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="chain", daemon=True)
        self._thread.start()
        try:
            self.read(_nothing)
        except ChainError:
            self.close()
            raise

    @property
    def genesis_hash(self) -> bytes:
        """Hash of block 0, 32 bytes."""
        assert self._genesis is not None  # the constructor has connected
        return self._genesis

    @property
    def endpoint(self) -> str:
        """The node in use, or the next one to try."""
        return self.target.endpoints[self._turn % len(self.target.endpoints)]

    @property
    def where(self) -> str:
        """The same for people: keys that stand in a URL are left out."""
        return name_node(self.endpoint)

    def add_check(self, check: Check) -> None:
        """Has every node from here on, the present one included, pass a check before its use."""
        self.read(check)
        self._checks.append(check)

    def read(self, op: Callable[["RpcSubstrate"], Awaitable[T]]) -> T:
        """The answer to a read, which may be asked again of another node.

        Raises:
            ForgottenError: the nodes no longer keep that block's state.
            ChainError: the node refuses, or none answers within the target's patience.
        """
        return self._run(op, self.target.deadline_s, resend=True)

    def send(self, op: Callable[["RpcSubstrate"], Awaitable[T]]) -> T:
        """The answer to something that must not happen twice: never asked again once begun.

        Raises:
            UnknownOutcomeError: the connection broke, or the deadline passed, after the start.
            ChainError: as for `read`.
        """
        return self._run(op, self.target.inclusion_s, resend=False)

    def hurry(self) -> None:
        """From now on no call waits for a node that does not answer: the program wants to end."""
        self._loop.call_soon_threadsafe(self._hurry.set)

    def close(self) -> None:
        """Ends connection and thread. Calls under way fail."""
        if self._loop.is_running():
            asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(LONGEST_PAUSE_S)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(LONGEST_PAUSE_S)

    def _run(
        self, op: Callable[["RpcSubstrate"], Awaitable[T]], deadline_s: float, *, resend: bool
    ) -> T:
        if not self._loop.is_running() and not self._thread.is_alive():
            raise ChainError("the connection to the chain is closed")
        future = asyncio.run_coroutine_threadsafe(self._try(op, deadline_s, resend), self._loop)
        try:
            return future.result()
        finally:
            future.cancel()  # the caller was interrupted

    async def _try(
        self, op: Callable[["RpcSubstrate"], Awaitable[T]], deadline_s: float, resend: bool
    ) -> T:
        from bittensor import BittensorError, RpcConnectionError
        from bittensor._transport.errors import SubstrateRequestException

        started, pause = self._loop.time(), FIRST_PAUSE_S
        while True:
            substrate = None
            try:
                async with asyncio.timeout(min(CONNECT_S, self.target.patience_s)):
                    substrate = await self._connect()
                async with asyncio.timeout(deadline_s):
                    answer = await op(substrate)
                self._note_found()
                return answer
            except (BittensorError, SubstrateRequestException, OSError, TimeoutError) as error:
                lost = substrate is None or substrate is not self._substrate or _is_cut(substrate)
                if not lost and not isinstance(error, RpcConnectionError | OSError | TimeoutError):
                    if not resend and _is_vague(error):
                        raise UnknownOutcomeError(
                            f"{self.where} took it, and what came of it cannot be told "
                            f"({_describe(error)}); what was sent may yet happen, or has happened"
                        ) from error
                    kind = ForgottenError if _is_forgotten(error) else ChainError
                    raise kind(f"{self.where} refused: {_describe(error)}") from error
                trouble = f"{self.where} does not answer: {_describe(error)}"
                self._leave(substrate)
                if substrate is not None and not resend:
                    raise UnknownOutcomeError(f"{trouble}; what was sent may yet happen") from error
                tried = self._loop.time() - started
                if self._hurry.is_set() or tried + pause > self.target.patience_s:
                    raise ChainError(
                        f"{trouble}; tried for {tried:.0f} s: check that the node runs and is "
                        "reached from here, or name another endpoint"
                    ) from error
                self._note_lost(trouble)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _note_lost(self, trouble: str) -> None:
        """Said once, however long it lasts."""
        if self._lost_at is None:
            self._lost_at = self._loop.time()
            logger.warning("%s; trying on", trouble, extra={"event": "node_lost"})
        else:
            logger.debug("%s", trouble, extra={"event": "node_retried"})

    def _note_found(self) -> None:
        if self._lost_at is not None:
            away_s = self._loop.time() - self._lost_at
            logger.warning(
                "%s answers, after %.0f s", self.where, away_s, extra={"event": "node_back"}
            )
            self._lost_at = None

    async def _connect(self) -> "RpcSubstrate":
        from bittensor import RpcSubstrate

        async with self._lock:
            if self._substrate is not None:
                return self._substrate
            archives = list(self.target.archives)
            # the SDK's own fallback nodes would not be asked which chain they are of
            substrate = RpcSubstrate(
                self.endpoint, fallback_endpoints=[], archive_endpoints=archives
            )
            usable = False
            try:
                await substrate.connect()
                _forbid_redialling(substrate)
                await self._require_chain(substrate)
                for check in self._checks:
                    await check(substrate)
                usable = True
            finally:
                if not usable:
                    self._close_later(substrate)
                    self._turn += 1
            self._substrate = substrate
            return substrate

    async def _require_chain(self, substrate: "RpcSubstrate") -> None:
        genesis = bytes.fromhex((await substrate.block_hash(0)).removeprefix("0x"))
        if self._genesis is not None and genesis != self._genesis:
            raise WrongChainError(
                f"{self.where} is of the chain with genesis hash {genesis.hex()}, not "
                f"{self._genesis.hex()}: name a node of the right chain"
            )
        self._genesis = genesis

    def _leave(self, substrate: "RpcSubstrate | None") -> None:
        if substrate is not None and substrate is self._substrate:
            self._substrate = None
            self._turn += 1
            self._close_later(substrate)

    def _close_later(self, substrate: "RpcSubstrate") -> None:
        """Closing a half-open websocket takes long; nobody waits for it."""
        task = self._loop.create_task(_close(substrate))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _shut(self) -> None:
        self._leave(self._substrate)
        if self._closing:
            await asyncio.wait(self._closing, timeout=FIRST_PAUSE_S)
        left = asyncio.all_tasks() - {asyncio.current_task()}  # the SDK's, of nodes that are silent
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=FIRST_PAUSE_S)


def _forbid_redialling(substrate: "RpcSubstrate") -> None:
    """Has the SDK give up on a websocket that broke instead of opening another one.

    Its own reconnecting would go on with whatever answers at the address, which nobody has asked
    which chain it is of. The SDK has no setting for it, hence its private names.
    """

    async def refuse(_: str) -> Any:
        raise ConnectionError("the connection was lost")

    session = substrate.raw._session
    session._connect = refuse
    # nobody awaits its end, of which every request under way hears: not a word in the log of it
    if session._supervisor is not None:
        session._supervisor.add_done_callback(lambda task: task.cancelled() or task.exception())


def _is_cut(substrate: "RpcSubstrate") -> bool:
    """Whether the SDK has given up on the websocket: whatever it raised, the node said nothing."""
    return substrate.raw._session._fatal_error is not None


def _is_vague(error: BaseException) -> bool:
    """Whether a sending failed by something else than a refusal.

    The SDK makes anything that goes wrong after an extrinsic was handed over, a block that cannot
    be read among it, into the error that it also refuses with; only its cause tells them apart.
    """
    from bittensor import BittensorError
    from bittensor._transport.errors import SubstrateRequestException

    known = BittensorError | SubstrateRequestException
    return error.__cause__ is not None and not isinstance(error.__cause__, known)


async def _nothing(_: "RpcSubstrate") -> None:
    """Connecting is all that is asked for."""


async def _close(substrate: "RpcSubstrate") -> None:
    from bittensor._transport.errors import SubstrateRequestException

    try:
        async with asyncio.timeout(LONGEST_PAUSE_S):
            await substrate.close()
    except (SubstrateRequestException, OSError, TimeoutError) as error:
        logger.debug("closing a connection: %s", error, extra={"event": "connection_closed"})


def name_node(url: str) -> str:
    """A node's address without what may be secret in it: user, path, query."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}" + (
        f":{parts.port}" if parts.port else ""
    )


def _is_node(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_forgotten(error: BaseException) -> bool:
    """Whether a node has said that it no longer keeps the state; the SDK wraps its own words."""
    from bittensor._transport.errors import StateDiscardedError

    return isinstance(error, StateDiscardedError) or isinstance(
        error.__cause__, StateDiscardedError
    )


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
