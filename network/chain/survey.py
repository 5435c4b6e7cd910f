"""Other nodes beside the one in use: how far they have come, and whether they agree."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from enum import Enum

from assay.network.chain.dialing import PEEK_ERRORS, Peek, peek
from assay.network.chain.failures import describe
from assay.network.chain.heads import LAG_BLOCKS, Heads
from assay.network.chain.target import name_node

logger = logging.getLogger("assay.chain")


class Finding(Enum):
    """What another node is."""

    FINE = "as far, and of the same history"
    SILENT = "it does not answer"
    AHEAD = "far ahead, of the same history"
    ASTRAY = "of another history"
    FOREIGN = "of another chain"


async def compare(heads: Heads, genesis: bytes, endpoint: str) -> tuple[Finding, Peek | None]:
    """Asks one node."""
    settled = heads.find_mark(heads.newest - LAG_BLOCKS)  # other nodes should have it by now
    number, hash_ = settled or heads.find_mark(heads.newest) or (0, genesis)
    try:
        seen = await peek(endpoint, number)
    except PEEK_ERRORS as error:
        where = name_node(endpoint)
        logger.debug(
            "%s does not say how far it has come: %s",
            where,
            describe(error),
            extra={"event": "node_silent"},
        )
        return Finding.SILENT, None
    if seen.genesis != genesis:
        return Finding.FOREIGN, seen
    if seen.finalized >= number and seen.known != hash_:
        return Finding.ASTRAY, seen
    return Finding.AHEAD if seen.finalized > heads.newest + LAG_BLOCKS else Finding.FINE, seen


async def ask_all(
    genesis: bytes, endpoints: Iterable[str], number: int, wait_s: float
) -> dict[str, Peek]:
    """What nodes of this chain say of a block, those that answer in time: URL → answer."""

    async def ask(endpoint: str) -> tuple[str, Peek] | None:
        with contextlib.suppress(*PEEK_ERRORS):
            async with asyncio.timeout(wait_s):
                return endpoint, await peek(endpoint, number)
        return None

    answers = dict(filter(None, await asyncio.gather(*map(ask, endpoints))))
    return {endpoint: seen for endpoint, seen in answers.items() if seen.genesis == genesis}


def is_near(seen: Peek, number: int) -> bool:
    """Whether a node is about as far as a block, or further."""
    return seen.finalized >= number - LAG_BLOCKS


def judge(heads: Heads, hash_: bytes, others: dict[str, Peek], now: float) -> str | None:
    """What others, asked for a block that one node calls its head, say against it; None: nothing.

    One node alone is not believed to be far ahead of others, unless there is but one other and that
    one does not move. Where nobody else answers, it is believed.
    """
    behind, denying = [], 0
    for endpoint, seen in others.items():
        moves = heads.watch(endpoint, seen.finalized, now)
        if seen.finalized >= seen.asked and seen.known != hash_:
            denying += 1
        elif is_near(seen, seen.asked):
            heads.confirmed = max(heads.confirmed, min(seen.asked, seen.finalized))
            return None
        elif moves or len(others) > 1:
            behind.append(seen.finalized)
    if denying > 1:
        return f"names a block as final that {denying} other nodes do not know"
    if not behind:
        return None
    return f"claims to be far ahead alone: no other node that answers is beyond {max(behind)}"


def outvotes(rivals: set[str], hash_: bytes, others: dict[str, Peek]) -> bool:
    """Whether a block's hash, which one node names, is named by more nodes than another one.

    Args:
        rivals: who has named the other one.
        others: the nodes besides, asked for the block.
    """
    said = [seen.known for seen in others.values() if seen.finalized >= seen.asked]
    return 1 + 2 * said.count(hash_) > len(rivals) + len(said)
