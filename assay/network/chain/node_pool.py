"""The nodes of one chain: the current one, the next one, and those not asked for a while.

The first one is the operator's own. The others serve one at a time when it does not. Runs only on
the connection's loop.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from assay.network.chain import sdk_private
from assay.network.chain.errors import ChainError, UnfitError, WrongChainError, make_wrong_genesis
from assay.network.chain.finalized_heads import LEAST_STILL_S, STILL_BLOCKS, FinalizedHeads
from assay.network.chain.substrate import Substrate
from assay.network.chain.target import ChainTarget
from assay.network.text import name_host

Check = Callable[[Substrate], Awaitable[None]]

logger = logging.getLogger("assay.chain")

#: Longest wait for a node to accept a connection and send its metadata.
CONNECT_S = 60.0
#: Seconds for which a node is not asked again that is of another chain or history; and, for the
#: first time, one whose claimed head is not credible.
ASIDE_S, FIRST_ASIDE_S = 600.0, 60.0


class NodePool:
    """The endpoints, and the connection to one of them.

    Attributes:
        genesis: hash of block 0, 32 bytes; None before the first node has answered.
        substrate: the current node; None: there is no connection.
        checks: checks that every node must pass before its use.
    """

    def __init__(self, target: ChainTarget, heads: FinalizedHeads) -> None:
        self.target = target
        self.genesis = target.genesis_hash
        self.substrate: Substrate | None = None
        self.checks: list[Check] = []
        self._heads = heads
        self._turn = 0
        self._aside: dict[str, tuple[float, ChainError]] = {}
        self._denials: dict[str, int] = {}
        self._dialling: asyncio.Task[Substrate] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def endpoint(self) -> str:
        """The current node, or the next one to try."""
        return self.target.endpoints[self._turn % len(self.target.endpoints)]

    @property
    def has_others(self) -> bool:
        """Return whether there is more than one node."""
        return len(self.target.endpoints) > 1

    @property
    def has_choice(self) -> bool:
        """Return whether another node may be asked."""
        return self.has_others and not all(map(self.is_aside, self.target.endpoints))

    async def get_substrate(self) -> Substrate:
        """The current node, after connecting if necessary. The connection continues if the caller
        stops waiting."""
        if self.substrate is not None:
            return self.substrate
        if self._dialling is None:
            self._dialling = asyncio.create_task(self._dial())
            self._dialling.add_done_callback(self._note_dialled)
        return await asyncio.shield(self._dialling)

    def _note_dialled(self, task: "asyncio.Task[Substrate]") -> None:
        self._dialling = None
        if not task.cancelled():
            task.exception()  # a waiting caller has raised it already

    async def _dial(self) -> Substrate:
        endpoint = self.endpoint
        if self.is_aside(endpoint):
            raise self._aside[endpoint][1]  # all nodes are set aside
        try:
            substrate = await self._open(endpoint)
        except BaseException as error:
            if isinstance(error, WrongChainError):
                self.set_aside(endpoint, error)
            self._advance()
            raise
        self._heads.begin(time.monotonic())
        self.substrate = substrate
        return substrate

    async def _open(self, endpoint: str) -> Substrate:
        """Connect to a node and run every check. Passes on all errors."""
        target, substrate = self.target, None
        try:
            async with asyncio.timeout(CONNECT_S):
                substrate = await sdk_private.open_substrate(
                    endpoint, target.archives, target.deadline_s
                )
                genesis = bytes.fromhex((await substrate.block_hash(0)).removeprefix("0x"))
                if self.genesis is not None and genesis != self.genesis:
                    raise make_wrong_genesis(endpoint, genesis, self.genesis)
                for check in self.checks:
                    await check(substrate)
                slot_s = await substrate.block_time()
        except BaseException:
            if substrate is not None:
                self._close_later(substrate)
            raise
        self.genesis = genesis
        self._heads.slot_ms = max(1, round(slot_s * 1_000))
        if target.still_s is None:
            self._heads.still_s = max(LEAST_STILL_S, STILL_BLOCKS * slot_s)
        return substrate

    def leave(self, substrate: "Substrate | None") -> None:
        """Switch to the next node, if this one is in use."""
        if substrate is not None and substrate is self.substrate:
            self.substrate = None
            self._advance()
            self._close_later(substrate)

    def set_aside(self, endpoint: str, error: ChainError) -> None:
        """Leave a node of another chain or history, and do not ask it for a while."""
        if not self.has_others:
            return
        if endpoint not in self._aside:
            logger.error("%s", error, extra={"event": "node_set_aside"})
        self._put_aside(endpoint, error, ASIDE_S)

    def deny(self, endpoint: str, problem: str) -> UnfitError:
        """Set aside a node whose head is not credible: first for a minute, then for longer."""
        error, count = UnfitError(problem), self._denials.get(endpoint, 0)
        self._denials[endpoint] = count + 1
        if self.has_others or not count:
            text = "%s %s; it is not followed"
            logger.warning(text, name_host(endpoint), problem, extra={"event": "head_denied"})
        if self.has_others:
            self._put_aside(endpoint, error, min(ASIDE_S, FIRST_ASIDE_S * 2**count))
        return error

    def trust(self, endpoint: str) -> None:
        """Forget a node's earlier false claims, because its head was credible."""
        self._denials.pop(endpoint, None)
        self._aside.pop(endpoint, None)

    def _put_aside(self, endpoint: str, error: ChainError, wait_s: float) -> None:
        self._aside[endpoint] = time.monotonic() + wait_s, error
        if self.substrate is not None and self.substrate.endpoint == endpoint:
            self.leave(self.substrate)

    def is_aside(self, endpoint: str) -> bool:
        """Return whether a node must not be asked now."""
        now = time.monotonic()
        return endpoint in self._aside and now < self._aside[endpoint][0]

    def _advance(self) -> None:
        """Go to the next node that is not set aside, or to the next one if all are."""
        for _ in self.target.endpoints:
            self._turn += 1
            if not self.is_aside(self.endpoint):
                return

    def _close_later(self, substrate: Substrate) -> None:
        """Close a node in the background: a half-open websocket takes long."""
        task = asyncio.create_task(sdk_private.close(substrate))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def shut(self, wait_s: float) -> None:
        """Close everything."""
        self.leave(self.substrate)
        if self._closing:
            await asyncio.wait(self._closing, timeout=wait_s)
