"""Other nodes beside the one in use: how far they have come, and whether they agree."""

import logging
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
