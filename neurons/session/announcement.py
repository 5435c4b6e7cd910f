"""A commitment on its way onto the chain: sent, looked for in final blocks, sent again."""

from contextlib import suppress
from dataclasses import dataclass

from assay.artifacts.ports import Chain
from assay.network.chain import UnknownOutcomeError

#: Blocks after which a commitment that stands in no final block is sent again.
_CONFIRM_BLOCKS = 12


@dataclass(slots=True)
class Announcement:
    """One payload for a hotkey's slot. Sending it twice changes nothing.

    Attributes:
        due: it has to be sent.
        stands: it was seen in a final block.
    """

    chain: Chain
    hotkey: bytes
    payload: bytes
    due: bool = True
    stands: bool = False
    sent_at: int = -1
    seen_at: int = -1

    def send(self) -> None:
        """Sends it. An outcome that nobody knows is looked for like any other.

        Raises:
            ChainError: the chain refuses it, or cannot be reached.
        """
        self.sent_at = self.chain.get_head()
        with suppress(UnknownOutcomeError):
            self.chain.set_commitment(self.hotkey, self.payload)
        self.due = False

    def look(self) -> None:
        """Looks for it in the newest final block, once a block.

        Raises:
            ChainError: the chain cannot be reached.
        """
        head = self.chain.get_head()
        if self.stands or head == self.seen_at:
            return
        self.stands = self.chain.get_commitments(head).get(self.hotkey) == self.payload
        self.seen_at = head
        if self.stands:
            self.due = False
        elif not self.due and head >= self.sent_at + _CONFIRM_BLOCKS:
            self.due = True
