"""What nodes say held against each other, and against the clock: which one is followed.

Heads by number and hash, and the state that windows are made of. Most nodes decide; where as many
say this as that, nobody is followed (docs/chain.md). Runs on the connection's loop.

What it does not know: what a lone node lies about its state, nor about a head that time allows.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from assay.network.chain.chain_target import HEAD_SHARE, name_node
from assay.network.chain.errors import DisputedError, WrongChainError
from assay.network.chain.failures import (
    NONSENSE,
    UnfitError,
    describe,
    get_faults,
    is_forgotten,
    make_wrong_genesis,
)
from assay.network.chain.finalized_heads import LAG_BLOCKS, Heads, Words
from assay.network.chain.node_head import PEEK_ERRORS, Head, Peek, peek, read_head
from assay.network.chain.node_pool import ASIDE_S, NodePool

if TYPE_CHECKING:
    from bittensor import RpcSubstrate

T = TypeVar("T")

logger = logging.getLogger("assay.chain")

#: What all other nodes have together to confirm an answer, of the deadline for one.
OTHERS_SHARE = 0.5


class Survey:
    """Of one connection's nodes."""

    def __init__(self, nodes: NodePool, heads: Heads) -> None:
        self._nodes = nodes
        self._heads = heads
        self._dispute: tuple[int, Words] | None = None
        self._heard: str | None = None

    async def ask_head(self, substrate: "RpcSubstrate") -> int:
        """Number of a node's newest final block, if it is to be believed.

        Raises:
            DisputedError: nobody is, for now. UnfitError, WrongChainError: another node should be
                asked. The SDK's and `NONSENSE`: it does not answer.
        """
        node, heads = substrate.endpoint, self._heads
        head = await read_head(partial(_ask_sdk, substrate), heads.last)
        excess = heads.find_excess(head, _get_wall_ms())
        if excess is not None:
            raise self._nodes.deny(node, excess)
        if self._nodes.has_others:
            if self._dispute is not None:
                await self._decide(*self._dispute)
            if not self._nodes.is_aside(node):
                await self._hold(node, head)
            if self._nodes.is_aside(node):
                raise UnfitError("is contradicted by other nodes")
        heads.hear(node, head, time.monotonic(), choice=self._nodes.has_choice)
        self._nodes.trust(node)
        return head.number

    async def _hold(self, node: str, head: Head) -> None:
        """Holds a head against what others have named, and one far ahead against where they are."""
        words = self._heads.find_rivals(head.number, head.hash)
        if head.number > self._heads.confirmed + LAG_BLOCKS:
            others = await self._ask(head.number, without=node)
            said = {e: seen.known for e, seen in others.items() if seen.known is not None}
            if any(known != head.hash for known in said.values()):
                words |= _date(said)
            else:
                trouble = judge(self._heads, head, others, _get_wall_ms())
                if trouble is not None:
                    raise self._nodes.deny(node, trouble)
        if words:
            await self._decide(head.number, words | _date({node: head.hash}))

    async def compare(self, endpoint: str) -> None:
        """Another node beside the one in use: who lags is left, who contradicts is decided on."""
        heads, nodes, genesis = self._heads, self._nodes, self._nodes.genesis or b""
        settled = heads.find_mark(heads.newest - LAG_BLOCKS)  # other nodes should have it by now
        number, hash_ = settled or heads.find_mark(heads.newest) or (0, genesis)
        try:
            seen = await peek(endpoint, number)
        except PEEK_ERRORS as error:
            logger.debug(
                "%s does not say how far it has come: %s",
                name_node(endpoint),
                describe(error),
                extra={"event": "node_silent"},
            )
            return
        moves = heads.watch(endpoint, seen.head.number, time.monotonic())
        if seen.genesis != genesis:
            nodes.set_aside(endpoint, make_wrong_genesis(endpoint, seen.genesis, genesis))
        elif seen.known not in (None, hash_):
            await self._decide(number, heads.find_words(number) | _date({endpoint: seen.known}))
        elif seen.head.number <= heads.newest + LAG_BLOCKS:
            heads.confirmed = max(heads.confirmed, min(heads.newest, seen.head.number))
            if seen.known is not None and number:
                heads.second(endpoint, number, seen.known, time.monotonic())
        elif moves:
            await self._overtake(endpoint, seen.head)

    async def _overtake(self, endpoint: str, head: Head) -> None:
        """Another node says that it is far ahead of the one in use."""
        heads, nodes = self._heads, self._nodes
        trouble = heads.find_excess(head, _get_wall_ms()) or judge(
            heads, head, await self._ask(head.number, without=endpoint), _get_wall_ms()
        )
        if trouble is not None:
            nodes.deny(endpoint, trouble)
            return
        logger.warning(
            "%s has come to block %d only, and %s to block %d: going on there",
            name_node(nodes.endpoint),
            heads.newest,
            name_node(endpoint),
            head.number,
            extra={"event": "node_lags"},
        )
        nodes.turn_to(endpoint)

    # --- contradictions

    async def _decide(self, number: int, words: Words) -> None:
        """Sets aside the nodes that most others contradict in a block's hash.

        What a node has said counts for as long as one is set aside, where it does not answer now.

        Raises:
            DisputedError: as many say this as that.
        """
        heads, nodes, now = self._heads, self._nodes, time.monotonic()
        answers = await self._ask(number)
        words = words | _date({e: s.known for e, s in answers.items() if s.known is not None})
        await self._refuse_strays(number, words)
        live = {
            node: hash_
            for node, (hash_, said_at) in words.items()
            if now - said_at < ASIDE_S and not nodes.is_aside(node)
        }
        tally = Counter(live.values()).most_common(2)
        if len(tally) > 1 and 2 * tally[0][1] <= len(live):
            first, second = (
                next(name_node(e) for e in live if live[e] == hash_) for hash_, _ in tally
            )
            text = (
                f"{first} and {second} name different blocks {number} as final, and no third node "
                "decides: nothing is done until one of them takes its word back; name a third "
                "endpoint, or leave out the one you do not trust"
            )
            if self._dispute is None:
                logger.error("%s", text, extra={"event": "head_disputed"})
            self._dispute = number, words
            raise DisputedError(text)
        self._dispute = None
        if tally:
            losers = {node for node, (hash_, _) in words.items() if hash_ != tally[0][0]}
            heads.disown(losers)
            heads.correct(number, tally[0][0])
            self._set_aside(losers & live.keys(), number)

    async def _refuse_strays(self, number: int, words: Words) -> None:
        """Sets aside those that contradict what two nodes, or an earlier run, were agreed on."""
        agreed = self._heads.find_agreed()
        if agreed is None:
            return
        mark, hash_ = agreed
        said: dict[str, bytes | None] = {node: word for node, (word, _) in words.items()}
        if mark != number:
            said = {e: seen.known for e, seen in (await self._ask(mark)).items()}
        strays = {node for node, word in said.items() if word not in (None, hash_)}
        self._set_aside(strays, mark)

    def _set_aside(self, endpoints: Iterable[str], number: int) -> None:
        for endpoint in endpoints:
            self._nodes.set_aside(
                endpoint,
                WrongChainError(
                    f"{name_node(endpoint)} calls another block {number} final than other nodes "
                    "do: it follows a fork, or lies"
                ),
            )

    async def _ask(self, number: int, without: str | None = None) -> dict[str, Peek]:
        """What the nodes of this chain that are not set aside say of a block, if they do."""
        target = self._nodes.target
        wait_s = min(target.deadline_s, target.head_s / HEAD_SHARE) / 2

        async def ask(endpoint: str) -> tuple[str, Peek] | None:
            with contextlib.suppress(*PEEK_ERRORS):
                async with asyncio.timeout(wait_s):
                    return endpoint, await peek(endpoint, number)
            return None

        fit = [endpoint for endpoint in self._nodes.list_fit() if endpoint != without]
        answers = dict(filter(None, await asyncio.gather(*map(ask, fit))))
        return {e: seen for e, seen in answers.items() if seen.genesis == self._nodes.genesis}

    # --- state

    async def read_twice(
        self, substrate: "RpcSubstrate", op: Callable[["RpcSubstrate"], Awaitable[T]]
    ) -> T:
        """What a node answers and a second one does too, where a second one can: in a
        contradiction all are asked.

        Raises:
            DisputedError: as many say this as that. UnfitError: most others say something else.
        """
        node = substrate.endpoint
        async with asyncio.timeout(self._nodes.target.deadline_s):
            answer = await op(substrate)
        said = await self._ask_others(node, op, answer)
        differ = {endpoint for endpoint, other in said.items() if other != answer}
        agree = 1 + len(said) - len(differ)
        if agree > len(differ):
            self._refuse_state(differ)
            return answer
        if any(2 * list(said.values()).count(said[e]) > 1 + len(said) for e in differ):
            self._refuse_state({node})
            raise UnfitError("shows another state than most other nodes")
        names = " and ".join(map(name_node, [node, *differ]))
        text = (
            f"{names} show different state of one block, and no other node decides: nothing is "
            "done until they agree; name a third endpoint, or leave out the one you do not trust"
        )
        logger.error("%s", text, extra={"event": "state_disputed"})
        raise DisputedError(text)

    async def _ask_others(
        self, node: str, op: Callable[["RpcSubstrate"], Awaitable[T]], answer: T
    ) -> dict[str, T]:
        """What other nodes answer: of one alone where it agrees, else of all.

        Another one is asked when one has answered, or failed, or is slow: those that hang cost
        who answers a moment each. Who was heard last is asked first.
        """
        said: dict[str, T] = {}

        async def ask(endpoint: str) -> None:
            with contextlib.suppress(WrongChainError, *get_faults(), *NONSENSE):
                said[endpoint] = await self._ask_second(endpoint, op)
                self._heard = endpoint

        waiting = [endpoint for endpoint in self._nodes.list_fit() if endpoint != node]
        waiting.sort(key=lambda endpoint: endpoint != self._heard)
        tasks: set[asyncio.Task[None]] = set()
        limit_s = self._nodes.target.deadline_s * OTHERS_SHARE
        slow_s = limit_s / 2 / max(1, len(waiting))  # the last one has half the time
        try:
            async with asyncio.timeout(limit_s):
                while waiting or tasks:
                    if waiting:
                        tasks.add(asyncio.create_task(ask(waiting.pop(0))))
                    done, tasks = await asyncio.wait(
                        tasks, timeout=slow_s, return_when=asyncio.FIRST_COMPLETED
                    )
                    for task in done:
                        task.result()
                    if said and all(other == answer for other in said.values()):
                        break
        except TimeoutError:
            pass  # who has not answered has no say
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return said

    async def _ask_second(self, endpoint: str, op: Callable[["RpcSubstrate"], Awaitable[T]]) -> T:
        substrate = await self._nodes.open(endpoint)
        try:
            return await op(substrate)
        finally:
            self._nodes.close_later(substrate)

    def _refuse_state(self, endpoints: set[str]) -> None:
        for endpoint in endpoints:
            self._nodes.set_aside(
                endpoint,
                WrongChainError(
                    f"{name_node(endpoint)} shows another state of a final block than most other "
                    "nodes do: it is broken, or lies"
                ),
            )


def judge(heads: Heads, head: Head, others: dict[str, Peek], wall_ms: int) -> str | None:
    """What others, none of which contradicts it, say against a head far ahead; None: nothing.

    One node alone is not believed to be far ahead of several. Of two the one whose head's time is
    nearer to this machine's clock is believed, unless the one behind does not move: that one has
    stopped, or is catching up. Where nobody else answers, it is believed.
    """
    behind = []
    for endpoint, seen in others.items():
        moves = heads.watch(endpoint, seen.head.number, time.monotonic())
        if seen.head.number >= head.number - LAG_BLOCKS:
            heads.confirmed = max(heads.confirmed, min(head.number, seen.head.number))
            return None
        nearer = abs(seen.head.at_ms - wall_ms) < abs(head.at_ms - wall_ms)
        if len(others) > 1 or (moves and nearer):
            behind.append(seen.head.number)
    if not behind:
        return None
    return (
        f"claims block {head.number} to be final, far ahead alone: no other node that answers is "
        f"beyond {max(behind)}"
    )


async def _ask_sdk(substrate: "RpcSubstrate", method: str, params: list[Any]) -> Any:
    """None where the node has forgotten the state: then it has shown no time."""
    try:
        return await substrate.raw.rpc_request(method, params)
    except get_faults() as error:
        if is_forgotten(error):
            return None
        raise


def _date(said: dict[str, bytes]) -> Words:
    now = time.monotonic()
    return {node: (hash_, now) for node, hash_ in said.items()}


def _get_wall_ms() -> int:
    return time.time_ns() // 1_000_000
