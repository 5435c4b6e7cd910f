"""The one connection to a chain, on a separate event loop that nothing else holds up.

This module runs the SDK's session with a deadline for every call. If a node's websocket is half
open, or a node answers nonsense, the next endpoint is asked. After all were asked there is a pause,
which grows. Safe to use from several threads.

One node at a time is read from and trusted. Everything that can be checked without trust is
checked: its genesis hash, that its head is a header with that hash, how far a chain can be by the
clock, earlier final blocks, and that it answers for the requested keys. `node_pool` chooses the
node.
"""

import asyncio
import contextlib
import logging
import random
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError
from functools import partial
from typing import TypeVar

from assay.network.chain import sdk_private
from assay.network.chain.errors import (
    NONSENSE,
    ChainError,
    ForgottenError,
    StillError,
    UnfitError,
    UnknownOutcomeError,
    WrongChainError,
    describe,
    describe_failure,
)
from assay.network.chain.finalized_heads import LEAST_STILL_S, FinalizedHeads, read_head
from assay.network.chain.node_pool import Check, NodePool
from assay.network.chain.substrate import Substrate
from assay.network.chain.target import HEAD_SHARE, ChainTarget
from assay.network.text import name_host
from assay.network.threads import LookupLoop

T = TypeVar("T")

logger = logging.getLogger("assay.chain")

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0


class Connection:
    """Runs the SDK's calls for all users of the connection.

    Args:
        target: see `ChainTarget`.
        seed: of the pauses' jitter; None: the system's.

    Raises:
        WrongChainError: every node is of another chain.
        ChainError: no node answers.
    """

    def __init__(self, target: ChainTarget, seed: int | None = None) -> None:
        self.target = target
        self.heads = FinalizedHeads(LEAST_STILL_S if target.still_s is None else target.still_s)
        self._nodes = NodePool(target, self.heads)
        self._random = random.Random(seed)
        self._loop = LookupLoop()
        self._is_ending = asyncio.Event()
        self._lost_at: float | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="chain", daemon=True)
        self._thread.start()
        try:
            self.read(lambda substrate: substrate.block_hash(0))
        except ChainError:
            self.close()
            raise

    @property
    def genesis_hash(self) -> bytes:
        """Hash of block 0, 32 bytes."""
        assert self._nodes.genesis is not None  # the constructor has connected
        return self._nodes.genesis

    @property
    def endpoint(self) -> str:
        """The current node, or the next one to try."""
        return self._nodes.endpoint

    @property
    def where(self) -> str:
        """The endpoint for people, without keys that its URL may contain."""
        return name_host(self.endpoint)

    def add_check(self, check: Check) -> None:
        """Require that every node, the current one included, passes a check before it is used."""
        self.read(check)
        self._nodes.checks.append(check)

    def read(self, op: Callable[[Substrate], Awaitable[T]], patience_s: float | None = None) -> T:
        """The answer to a read, which may be repeated with other nodes for `patience_s`.
        `ForgottenError`: the nodes no longer have that block's state. `ChainError`: refused, or no
        answer in time."""
        limit_s = self.target.patience_s if patience_s is None else patience_s
        return self._run(op, self.target.deadline_s, limit_s, resend=True)

    def keep(self, number: int, hash_: bytes, at_ms: int) -> None:
        """Note a final block that an earlier run has read. `at_ms` is Unix time, milliseconds."""
        self._loop.call_soon_threadsafe(self.heads.keep, number, hash_, at_ms)

    def read_head(self) -> int:
        """The number of the newest finalized block, from a node that keeps up. Raises a
        `ChainError` if none comes within `head_s`."""
        limit_s = min(self.target.head_s, self.target.patience_s)
        deadline_s = min(self.target.deadline_s, limit_s / HEAD_SHARE)
        return self._run(self._ask_head, deadline_s, limit_s, resend=True)

    def send(self, op: Callable[[Substrate], Awaitable[T]]) -> T:
        """The answer to an operation that must not happen twice: it is never repeated once begun.
        `UnknownOutcomeError`: it broke after the start; other errors as for `read`."""
        return self._run(op, self.target.inclusion_s, self.target.patience_s, resend=False)

    def stop_retrying(self) -> None:
        """Stop all waiting for nodes that do not answer, because the program wants to end."""
        self._loop.call_soon_threadsafe(self._is_ending.set)

    def close(self) -> None:
        """Stop the connection and its thread. Running calls fail."""
        if self._loop.is_running():
            asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(LONGEST_PAUSE_S)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(LONGEST_PAUSE_S)

    # --- on the loop

    async def _ask_head(self, substrate: Substrate) -> int:
        """The number of a node's newest final block. Raises an error if it is not credible."""
        node, wall_ms = substrate.endpoint, time.time_ns() // 1_000_000
        head = await read_head(partial(sdk_private.ask_head, substrate), self.heads.last)
        excess = self.heads.find_excess(head, wall_ms)
        if excess is not None:
            raise self._nodes.deny(node, excess)
        choice = self._nodes.has_choice
        self.heads.hear(node, head, time.monotonic(), wall_ms, has_choice=choice)
        self._nodes.trust(node)
        return head.number

    def _run(
        self,
        op: Callable[[Substrate], Awaitable[T]],
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
        op: Callable[[Substrate], Awaitable[T]],
        deadline_s: float,
        patience_s: float,
        resend: bool,
    ) -> T:
        known: tuple[type[Exception], ...] = (WrongChainError, UnfitError, *NONSENSE)
        faults = sdk_private.get_faults() + known
        started, pause, tries = self._loop.time(), FIRST_PAUSE_S, 0
        told: dict[str, str] = {}  # node → what was wrong with it
        while True:
            substrate, where = None, self.where
            left_s = started + patience_s - self._loop.time()
            try:
                async with asyncio.timeout(left_s):
                    substrate = await self._nodes.get_substrate()
                left_s = started + patience_s - self._loop.time()
                async with asyncio.timeout(min(deadline_s, left_s) if resend else deadline_s):
                    answer = await op(substrate)
                self._note_found()
                return answer
            except faults as error:
                self._judge_failure(error, substrate, where, resend)
                problem = f"{where} {describe_failure(error)}"
                if resend and isinstance(error, TimeoutError):  # what it did before says more
                    problem = told.get(where, problem)
                told[where] = problem
                self._nodes.leave(substrate)
                if substrate is not None and not resend:
                    raise UnknownOutcomeError(
                        f"{problem}; what it sent may still happen"
                    ) from error
                tries, tried = tries + 1, self._loop.time() - started
                hopeless = isinstance(error, NONSENSE) and tries > len(self.target.endpoints)
                if hopeless or self._is_ending.is_set() or tried + pause > patience_s:
                    raise ChainError(
                        f"{problem}; tried for {tried:.0f} s: make sure that the node runs and "
                        "that this machine can reach it, or name another endpoint"
                    ) from error
                self._note_lost(problem, quiet=isinstance(error, StillError))
            if tries % len(self.target.endpoints) == 0:  # all of them were asked
                self.heads.settle_for_less(self._loop.time())
                with contextlib.suppress(TimeoutError):
                    rest_s = pause * self._random.uniform(0.5, 1.0)
                    await asyncio.wait_for(self._is_ending.wait(), rest_s)
                pause = min(2 * pause, LONGEST_PAUSE_S)

    def _judge_failure(
        self, error: Exception, substrate: "Substrate | None", where: str, resend: bool
    ) -> None:
        """Raise the errors that another node would answer in the same way."""
        if isinstance(error, WrongChainError):
            if substrate is not None:
                self._nodes.set_aside(substrate.endpoint, error)
            if not self._nodes.has_choice:
                raise error
            return
        lost = (
            substrate is None
            or substrate is not self._nodes.substrate
            or sdk_private.is_cut(substrate)
        )
        if lost or not sdk_private.is_refusal(error):
            return
        if not resend and sdk_private.is_vague(error):
            raise UnknownOutcomeError(
                f"{where} accepted the call but does not tell its outcome "
                f"({describe(error)}); it may have happened, or may still happen"
            ) from error
        kind = ForgottenError if sdk_private.is_forgotten(error) else ChainError
        raise kind(f"{where} refused: {describe(error)}") from error

    def _note_lost(self, problem: str, *, quiet: bool) -> None:
        """Report a lost node once, however long it lasts."""
        if self._lost_at is None and not quiet:
            self._lost_at = self._loop.time()
            logger.warning("%s; retrying", problem, extra={"event": "node_lost"})
        else:
            logger.debug("%s", problem, extra={"event": "node_retried"})

    def _note_found(self) -> None:
        if self._lost_at is not None:
            away_s = self._loop.time() - self._lost_at
            logger.warning(
                "%s answers, after %.0f s", self.where, away_s, extra={"event": "node_back"}
            )
            self._lost_at = None

    async def _shut(self) -> None:
        await self._nodes.shut(FIRST_PAUSE_S)
        left = asyncio.all_tasks() - {asyncio.current_task()}  # the SDK's, for silent nodes
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=FIRST_PAUSE_S)
