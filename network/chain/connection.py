"""The one connection to a chain, on an event loop of its own that nothing else holds up.

The SDK's session is driven here, and every call has a deadline: a node whose websocket is half
open, or which answers nonsense, is left and the next endpoint asked; once all were asked there is a
pause, which grows. Every node must prove the genesis hash before anything it says is used. Safe to
use from several threads.

A node is also left by what its finalized head says: it lags behind what was seen before, it does
not move, or it contradicts another node's. The other endpoints are asked for theirs now and then.

A head far beyond what a second node has confirmed counts only if another one that answers is near.

What this does not know: whether a node lies about its state; nor, where no other one answers, about
its head.
"""

import asyncio
import contextlib
import logging
import random
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, TypeVar

from assay.network.chain import dialing
from assay.network.chain.errors import (
    ChainError,
    ForgottenError,
    UnknownOutcomeError,
    WrongChainError,
)
from assay.network.chain.failures import (
    NONSENSE,
    StillError,
    UnfitError,
    describe,
    describe_failure,
    get_faults,
    is_forgotten,
    is_refusal,
    is_vague,
    make_wrong_genesis,
)
from assay.network.chain.heads import LAG_BLOCKS, LEAST_STILL_S, STILL_BLOCKS, Heads
from assay.network.chain.survey import Finding, ask_all, compare, is_near, judge, outvotes
from assay.network.chain.target import Target, name_node

if TYPE_CHECKING:
    from bittensor import RpcSubstrate

T = TypeVar("T")
Check = Callable[["RpcSubstrate"], Awaitable[None]]

logger = logging.getLogger("assay.chain")

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0
#: Longest wait for a node to open a connection and hand out its metadata.
CONNECT_S = 60.0
#: How long a node that speaks for another chain, or another history, is not asked again.
ASIDE_S = 600.0
#: What a node may take for its head, of a call's patience: so many are asked in time.
_HEAD_SHARE = 3


class Connection:
    """Runs the SDK's calls for everyone who shares it.

    Args:
        target: see there.
        seed: of the pauses' jitter; None: of the system's.

    Raises:
        WrongChainError: every node is of another chain.
        ChainError: no node answers.
    """

    def __init__(self, target: Target, seed: int | None = None) -> None:
        self.target = target
        self.heads = Heads(LEAST_STILL_S if target.still_s is None else target.still_s)
        self._genesis = target.genesis_hash
        self._checks: list[Check] = []
        self._substrate: RpcSubstrate | None = None
        self._dialling: asyncio.Task[RpcSubstrate] | None = None
        self._turn = 0
        self._aside: dict[str, tuple[float, WrongChainError]] = {}
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._closing: set[asyncio.Task[None]] = set()
        self._hurry = asyncio.Event()
        self._lost_at: float | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="chain", daemon=True)
        self._thread.start()
        try:
            self.read(lambda substrate: substrate.block_hash(0))
        except ChainError:
            self.close()
            raise
        if len(target.endpoints) > 1 and target.survey_s:
            asyncio.run_coroutine_threadsafe(self._survey(), self._loop)

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

    def read(
        self, op: Callable[["RpcSubstrate"], Awaitable[T]], patience_s: float | None = None
    ) -> T:
        """The answer to a read, which may be asked again of another node.

        Args:
            patience_s: how long it goes on trying; None: the target's.

        Raises:
            ForgottenError: the nodes no longer keep that block's state.
            ChainError: the node refuses, or none answers in time.
        """
        limit_s = self.target.patience_s if patience_s is None else patience_s
        return self._run(op, self.target.deadline_s, limit_s, resend=True)

    def read_head(self) -> int:
        """Number of the newest finalized block, from a node that keeps up.

        Raises:
            ChainError: no node says so within the target's `head_s`.
        """
        limit_s = min(self.target.head_s, self.target.patience_s)
        deadline_s = min(self.target.deadline_s, limit_s / _HEAD_SHARE)
        return self._run(self._ask_head, deadline_s, limit_s, resend=True)

    def send(self, op: Callable[["RpcSubstrate"], Awaitable[T]]) -> T:
        """The answer to something that must not happen twice: never asked again once begun.

        Raises:
            UnknownOutcomeError: the connection broke, or the deadline passed, after the start.
            ChainError: as for `read`.
        """
        return self._run(op, self.target.inclusion_s, self.target.patience_s, resend=False)

    def hurry(self) -> None:
        """From now on no call waits for a node that does not answer: the program wants to end."""
        self._loop.call_soon_threadsafe(self._hurry.set)

    def close(self) -> None:
        """Ends connection and thread. Calls under way fail."""
        if self._loop.is_running():
            asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(LONGEST_PAUSE_S)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(LONGEST_PAUSE_S)

    # --- on the loop

    def _run(
        self,
        op: Callable[["RpcSubstrate"], Awaitable[T]],
        deadline_s: float,
        patience_s: float,
        *,
        resend: bool,
    ) -> T:
        if not self._loop.is_running() and not self._thread.is_alive():
            raise ChainError("the connection to the chain is closed")
        work = self._try(op, deadline_s, patience_s, resend)
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise ChainError("the connection to the chain was closed meanwhile") from None
        finally:
            future.cancel()  # the caller was interrupted

    async def _try(
        self,
        op: Callable[["RpcSubstrate"], Awaitable[T]],
        deadline_s: float,
        patience_s: float,
        resend: bool,
    ) -> T:
        known: tuple[type[Exception], ...] = (WrongChainError, UnfitError, *NONSENSE)
        faults = get_faults() + known
        started, pause, tries = self._loop.time(), FIRST_PAUSE_S, 0
        while True:
            substrate, where = None, self.where
            left_s = started + patience_s - self._loop.time()
            try:
                async with asyncio.timeout(left_s):
                    substrate = await self._get_substrate()
                left_s = started + patience_s - self._loop.time()
                async with asyncio.timeout(min(deadline_s, left_s) if resend else deadline_s):
                    answer = await op(substrate)
                self._note_found()
                return answer
            except faults as error:
                self._judge_failure(error, substrate, where, resend)
                trouble = f"{where} {describe_failure(error)}"
                self._leave(substrate)
                if substrate is not None and not resend:
                    raise UnknownOutcomeError(f"{trouble}; what was sent may yet happen") from error
                tries, tried = tries + 1, self._loop.time() - started
                hopeless = isinstance(error, NONSENSE) and tries > len(self.target.endpoints)
                if hopeless or self._hurry.is_set() or tried + pause > patience_s:
                    raise ChainError(
                        f"{trouble}; tried for {tried:.0f} s: check that the node runs and is "
                        "reached from here, or name another endpoint"
                    ) from error
                self._note_lost(trouble, quiet=isinstance(error, StillError))
            if tries % len(self.target.endpoints) == 0:  # all of them were asked
                self.heads.settle_for_less(self._loop.time())
                with contextlib.suppress(TimeoutError):
                    rest_s = pause * self._random.uniform(0.5, 1.0)
                    await asyncio.wait_for(self._hurry.wait(), rest_s)
                pause = min(2 * pause, LONGEST_PAUSE_S)

    def _judge_failure(
        self, error: Exception, substrate: "RpcSubstrate | None", where: str, resend: bool
    ) -> None:
        """Raises what another node would not answer otherwise.

        Raises:
            UnknownOutcomeError: the node has taken what was sent, and cannot say what came of it.
            WrongChainError: there is no other node.
            ChainError: the node has refused.
        """
        if isinstance(error, WrongChainError):
            if substrate is not None:
                self._set_aside(substrate.endpoint, error)
            if not self._has_choice():
                raise error
            return
        lost = substrate is None or substrate is not self._substrate or dialing.is_cut(substrate)
        if lost or not is_refusal(error):
            return
        if not resend and is_vague(error):
            raise UnknownOutcomeError(
                f"{where} took it, and what came of it cannot be told "
                f"({describe(error)}); what was sent may yet happen, or has happened"
            ) from error
        kind = ForgottenError if is_forgotten(error) else ChainError
        raise kind(f"{where} refused: {describe(error)}") from error

    def _note_lost(self, trouble: str, *, quiet: bool) -> None:
        """Said once, however long it lasts."""
        if self._lost_at is None and not quiet:
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

    # --- heads

    async def _ask_head(self, substrate: "RpcSubstrate") -> int:
        text = await substrate.raw.get_chain_finalised_head()
        number = int(await substrate.raw.get_block_number(text))
        hash_ = bytes.fromhex(text.removeprefix("0x"))
        node, heads = substrate.endpoint, self.heads
        if number > dialing.MOST_BLOCKS:
            raise ValueError(f"no chain has a block {number}")
        if not await self._overturn(node, number, hash_) and number > heads.confirmed + LAG_BLOCKS:
            others = await self._ask_others({node}, number)
            trouble = judge(heads, hash_, others, self._loop.time())
            if trouble is not None:
                logger.warning(
                    "%s, at block %d, %s", self.where, number, trouble,
                    extra={"event": "head_denied"},
                )  # fmt: skip
                raise UnfitError(trouble)
        heads.hear(node, number, hash_, self._loop.time(), choice=self._has_choice())
        return number

    async def _ask_others(self, known: set[str], number: int) -> dict[str, dialing.Peek]:
        """What the nodes that are not set aside say of a block, but for some."""
        target, nodes = self.target, set(self.target.endpoints) - known
        wait_s = min(target.deadline_s, target.head_s / _HEAD_SHARE) / 2
        fit = [endpoint for endpoint in nodes if not self._is_aside(endpoint)]
        return await ask_all(self.genesis_hash, fit, number, wait_s)

    async def _overturn(self, node: str, number: int, hash_: bytes) -> bool:
        """Whether a node that contradicts what was final has more on its side than that: then it
        is the others who have lied."""
        rivals = self.heads.find_rivals(number, hash_)
        if not rivals - {node}:
            return False
        others = await self._ask_others(rivals | {node}, number)
        if not outvotes(rivals, hash_, others):
            return False
        self.heads.disown(rivals)
        for rival in rivals:
            self._set_aside(rival, WrongChainError(
                f"{name_node(rival)} alone has named a block {number} as final that other nodes "
                "contradict: it follows a fork, or lies"
            ))  # fmt: skip
        if self._substrate is not None and self._substrate.endpoint in rivals:
            self._leave(self._substrate)
        return True

    async def _survey(self) -> None:
        """Asks the other nodes, again and again, how far they have come."""
        target = self.target
        while True:
            await asyncio.sleep(target.survey_s)
            with contextlib.suppress(ChainError):  # said by whoever needs the node
                await self._try(self._ask_head, target.deadline_s, target.head_s, resend=True)
            for endpoint in target.endpoints:
                if endpoint != self.endpoint and not self._is_aside(endpoint):
                    await self._compare(endpoint)

    async def _compare(self, endpoint: str) -> None:
        """Another node beside the one in use: who lags is left, who contradicts is set aside."""
        finding, seen = await compare(self.heads, self.genesis_hash, endpoint)
        where = name_node(endpoint)
        if seen is None:
            return
        self.heads.watch(endpoint, seen.finalized, self._loop.time())
        if finding is Finding.FOREIGN:
            error = make_wrong_genesis(endpoint, seen.genesis, self.genesis_hash)
            self._set_aside(endpoint, error)
        elif finding is Finding.ASTRAY:
            if seen.known is not None and await self._overturn(endpoint, seen.asked, seen.known):
                return
            self._set_aside(endpoint, WrongChainError(
                f"{where} and {self.where} name different blocks at one height as final: one of "
                "them follows a fork, or lies"
            ))  # fmt: skip
        elif finding is Finding.FINE:
            reached = min(self.heads.newest, seen.finalized)
            self.heads.confirmed = max(self.heads.confirmed, reached)
        elif finding is Finding.AHEAD:
            others = await self._ask_others({endpoint, self.endpoint}, seen.finalized)
            if not any(is_near(other, seen.finalized) for other in others.values()):
                return  # one alone: it is asked once the node in use stands still
            logger.warning(
                "%s has come to block %d only, and %s to block %d: going on there",
                self.where, self.heads.newest, where, seen.finalized, extra={"event": "node_lags"},
            )  # fmt: skip
            self._leave(self._substrate)
            self._turn = self.target.endpoints.index(endpoint)

    # --- nodes

    async def _get_substrate(self) -> "RpcSubstrate":
        """The node in use, or the one that is being connected to: whoever stops waiting for it
        finds it connected later."""
        if self._substrate is not None:
            return self._substrate
        if self._dialling is None:
            self._dialling = self._loop.create_task(self._dial())
            self._dialling.add_done_callback(self._note_dialled)
        return await asyncio.shield(self._dialling)

    def _note_dialled(self, task: "asyncio.Task[RpcSubstrate]") -> None:
        self._dialling = None
        if not task.cancelled():
            task.exception()  # heard by who waited, if anybody did

    async def _dial(self) -> "RpcSubstrate":
        endpoint, target = self.endpoint, self.target
        if self._is_aside(endpoint):
            raise self._aside[endpoint][1]  # as are all
        substrate = None
        try:
            async with asyncio.timeout(CONNECT_S):
                substrate = await dialing.open_substrate(
                    endpoint, self.target.archives, self.target.deadline_s
                )
                await self._require_chain(substrate)
                for check in self._checks:
                    await check(substrate)
                if target.still_s is None:
                    blocks_s = STILL_BLOCKS * await substrate.block_time()
                    self.heads.still_s = max(LEAST_STILL_S, blocks_s)
        except BaseException as error:
            if isinstance(error, WrongChainError):
                self._set_aside(endpoint, error)
            if substrate is not None:
                self._close_later(substrate)
            self._advance()
            raise
        self.heads.begin(self._loop.time())
        self._substrate = substrate
        return substrate

    async def _require_chain(self, substrate: "RpcSubstrate") -> None:
        genesis = bytes.fromhex((await substrate.block_hash(0)).removeprefix("0x"))
        if self._genesis is not None and genesis != self._genesis:
            raise make_wrong_genesis(substrate.endpoint, genesis, self._genesis)
        self._genesis = genesis

    def _set_aside(self, endpoint: str, error: WrongChainError) -> None:
        """A node of another chain, or with another history, is not asked for a while."""
        if len(self.target.endpoints) > 1:
            if endpoint not in self._aside:
                logger.error("%s", error, extra={"event": "node_set_aside"})
            self._aside[endpoint] = self._loop.time() + ASIDE_S, error

    def _is_aside(self, endpoint: str) -> bool:
        return endpoint in self._aside and self._loop.time() < self._aside[endpoint][0]

    def _has_choice(self) -> bool:
        """Whether another node may be asked."""
        fit = [endpoint for endpoint in self.target.endpoints if not self._is_aside(endpoint)]
        return len(self.target.endpoints) > 1 and bool(fit)

    def _advance(self) -> None:
        """To the next node that is not set aside; to the next one where all are."""
        for _ in self.target.endpoints:
            self._turn += 1
            if not self._is_aside(self.endpoint):
                return

    def _leave(self, substrate: "RpcSubstrate | None") -> None:
        if substrate is not None and substrate is self._substrate:
            self._substrate = None
            self._advance()
            self._close_later(substrate)

    def _close_later(self, substrate: "RpcSubstrate") -> None:
        """Closing a half-open websocket takes long; nobody waits for it."""
        task = self._loop.create_task(dialing.close(substrate))
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
