"""The states of a delivery to a chain, in one table for four kinds of deliveries.

A miner's commitment, an announcement in a hotkey's slot, a validator's weights and its posts to the
ledger contract all go through these states. The caller reports an event, and the table gives the
next state. Rows on disk hold the states' names.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from assay.network.chain.errors import UnknownOutcomeError
from assay.network.chain.ports import Chain


class DeliveryState(StrEnum):
    """The state of a delivery. Weights that are due when newer ones come are superseded."""

    DUE = "due"
    SENDING = "sending"  # noted before the call: after a restart it may have been sent
    SENT = "sent"  # in no final block yet
    CONFIRMED = "confirmed"  # seen in final state, or under the required number of blocks
    SUPERSEDED = "superseded"
    TAKEN = "taken"  # another entry has its place for ever
    MISSED = "missed"  # its last block passed before it arrived


class DeliveryEvent(StrEnum):
    """An event of a delivery."""

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


#: State → event → next state. No other transition can happen: a KeyError is a defect of ours.
DELIVERY: Mapping[DeliveryState, Mapping[DeliveryEvent, DeliveryState]] = _make_table()


#: Blocks after which an announcement that is in no final block is sent again.
_CONFIRM_BLOCKS = 12


@dataclass(slots=True)
class Announcement:
    """One payload for a hotkey's slot. Sending it twice changes nothing, so nothing is noted before
    the call. Raises a ChainError where the chain refuses it, or cannot be reached."""

    chain: Chain
    hotkey: bytes
    payload: bytes
    state: DeliveryState = DeliveryState.DUE
    sent_at: int = -1
    seen_at: int = -1

    @property
    def due(self) -> bool:
        """Return whether it has to be sent."""
        return self.state is DeliveryState.DUE

    @property
    def is_confirmed(self) -> bool:
        """Return whether it was seen in a final block."""
        return self.state is DeliveryState.CONFIRMED

    def send(self) -> None:
        """Send it. If the outcome is unknown, the next looks find out."""
        self.sent_at = self.chain.get_head()
        with suppress(UnknownOutcomeError):
            self.chain.set_commitment(self.hotkey, self.payload)
        self._note(DeliveryEvent.HANDED_OVER)

    def look(self) -> None:
        """Look for it in the newest final block, once a block."""
        head = self.chain.get_head()
        if self.is_confirmed or head == self.seen_at:
            return
        is_there = self.chain.get_commitments(head).get(self.hotkey) == self.payload
        self.seen_at = head
        if is_there:
            self._note(DeliveryEvent.FINAL)
        elif not self.due and head >= self.sent_at + _CONFIRM_BLOCKS:
            self._note(DeliveryEvent.EXPIRED)

    def _note(self, event: DeliveryEvent) -> None:
        self.state = DELIVERY[self.state][event]
