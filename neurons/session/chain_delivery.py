"""How a thing gets onto a chain and is known to be there: one table for four of them.

A miner's commitment, an announcement in a hotkey's slot, a validator's weights and its posts to the
ledger contract all go through these states. Who drives one says what happened; the table says what
follows. Rows on disk hold the states' words.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from assay.network.chain import UnknownOutcomeError
from assay.neurons.ports import Chain


class DeliveryState(StrEnum):
    """Where a thing is on its way. Weights that are due when newer ones come are superseded."""

    DUE = "due"
    SENDING = "sending"  # noted before the call: after a restart it may have been sent
    SENT = "sent"  # held by no final block yet
    CONFIRMED = "confirmed"  # seen in final state, or under as many blocks as were asked for
    SUPERSEDED = "superseded"
    TAKEN = "taken"  # another entry has its place, for ever
    MISSED = "missed"  # its last block came before it


class DeliveryEvent(StrEnum):
    """What can happen to it."""

    NOTED = "written to disk, about to be sent"
    HANDED_OVER = "handed to a node, even if it did not answer"
    REFUSED = "the chain refuses it for now"
    INCLUDED = "included in a block that is not final yet"
    FINAL = "seen in finalized state"
    EXPIRED = "not in finalized state, and the chain can no longer include it"
    VANISHED = "removed by a reorganisation"
    REPLACED = "replaced by a newer one"
    CONFLICTED = "another entry took its place"
    TOO_LATE = "its last block has passed"


def _make_table() -> dict[DeliveryState, dict[DeliveryEvent, DeliveryState]]:
    s, e = DeliveryState, DeliveryEvent
    always = {
        e.NOTED: s.SENDING,
        e.REFUSED: s.DUE,
        e.INCLUDED: s.SENT,
        e.FINAL: s.CONFIRMED,
        e.REPLACED: s.SUPERSEDED,
        e.CONFLICTED: s.TAKEN,
    }
    gone = {e.VANISHED: s.SENT, e.EXPIRED: s.DUE}
    return {
        s.DUE: always | {e.HANDED_OVER: s.SENT, e.TOO_LATE: s.MISSED},
        s.SENDING: always | {e.HANDED_OVER: s.SENT, e.EXPIRED: s.DUE},
        s.SENT: always | {e.EXPIRED: s.DUE},
        s.CONFIRMED: gone,
        s.TAKEN: gone,
        s.SUPERSEDED: {},
        s.MISSED: {},
    }


#: State → event → next state. What is not in it cannot happen: a KeyError is a defect of ours.
DELIVERY: Mapping[DeliveryState, Mapping[DeliveryEvent, DeliveryState]] = _make_table()


#: Blocks after which an announcement that stands in no final block is sent again.
_CONFIRM_BLOCKS = 12


@dataclass(slots=True)
class Announcement:
    """One payload for a hotkey's slot. Sending it twice changes nothing, so nothing is noted
    before. Raises a ChainError where the chain refuses it, or cannot be reached."""

    chain: Chain
    hotkey: bytes
    payload: bytes
    state: DeliveryState = DeliveryState.DUE
    sent_at: int = -1
    seen_at: int = -1

    @property
    def due(self) -> bool:
        """It has to be sent."""
        return self.state is DeliveryState.DUE

    @property
    def stands(self) -> bool:
        """It was seen in a final block."""
        return self.state is DeliveryState.CONFIRMED

    def send(self) -> None:
        """Sends it. An outcome that nobody knows is looked for like any other."""
        self.sent_at = self.chain.get_head()
        with suppress(UnknownOutcomeError):
            self.chain.set_commitment(self.hotkey, self.payload)
        self._note(DeliveryEvent.HANDED_OVER)

    def look(self) -> None:
        """Looks for it in the newest final block, once a block."""
        head = self.chain.get_head()
        if self.stands or head == self.seen_at:
            return
        found = self.chain.get_commitments(head).get(self.hotkey) == self.payload
        self.seen_at = head
        if found:
            self._note(DeliveryEvent.FINAL)
        elif not self.due and head >= self.sent_at + _CONFIRM_BLOCKS:
            self._note(DeliveryEvent.EXPIRED)

    def _note(self, event: DeliveryEvent) -> None:
        self.state = DELIVERY[self.state][event]
