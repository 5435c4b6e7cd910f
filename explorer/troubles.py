"""What keeps a program from working, as strangers may read it: a kind from a table.

A program's own sentence may name folders, endpoints and addresses. It is its operator's alone, who
reads it in `assay status` and in the log; pages say what it is about.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trouble:
    """What may be said of it: a kind, and what that is about."""

    kind: str
    about: str


#: Kind → what the trouble is about, and what a sentence of that kind speaks of.
TROUBLES: dict[str, tuple[str, str]] = {
    "anew": ("a chain that was begun anew: its explorer is to be started again", r"^.*begun anew"),
    "gauntlet": ("the gauntlet’s table, which is not whole or not one", r"gauntlet"),
    "weights": ("setting weights on chain", r"weights?|uid"),
    "ledger": ("the ledger", r"ledger|settlements? of epoch|entry|evm"),
    "record": ("publishing the record", r"records?|slot|announce\w*"),
    "window": ("judging a window in full", r"windows? \d+|submissions?|verdicts?"),
    "beacon": ("the beacon", r"beacons?|rounds?|relays?|drand"),
    "checkpoint": ("the checkpoint", r"checkpoints?|model|manifest"),
    "chain": ("the chain", r"chain|node|nodes|blocks?|rpc|wss?"),
    "store": ("a store", r"stores?|bucket|s3|gs|https?|file"),
    "disk": ("its own disk", r"disk|database|folder|sqlite|written"),
}
#: Where none of them is spoken of.
_OTHER = Trouble("other", "something that its operator can look up")
_PATTERNS = {
    kind: re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE)
    for kind, (_, pattern) in TROUBLES.items()
}


def find_trouble(sentence: str | None) -> Trouble | None:
    """What a program's sentence is about: of all kinds the one that it speaks of first. Nothing of
    the sentence itself is passed on. None of no trouble."""
    if not sentence:
        return None
    places = {
        kind: found.start()
        for kind, pattern in _PATTERNS.items()
        if (found := pattern.search(sentence)) is not None
    }
    if not places:
        return _OTHER
    kind = min(places, key=lambda one: places[one])
    return Trouble(kind, TROUBLES[kind][0])
