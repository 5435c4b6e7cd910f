"""Delivery of a miner's commitments, until final state holds them or their block has passed.

A failed attempt is repeated at each block. A commitment that was sent is looked up once it should
be final, and sent again if the block that contained it is gone.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from assay.network.chain.errors import ChainError, ForgottenError, WrongChainError
from assay.network.chain.ports import Chain
from assay.network.store.base import StoreError
from assay.protocol.amendment import ParameterHistory
from assay.protocol.errors import Trouble
from assay.protocol.window import Phase, compute_block
from assay.session.chain_delivery import DELIVERY, DeliveryEvent, DeliveryState

#: Blocks after sending at which final state is read. Finality lags by about three blocks.
_CONFIRM_BLOCKS = 6


@dataclass(slots=True)
class PendingCommitment:
    """One window's file and commitment on their way."""

    window: int
    send: Callable[[], None]  # uploads the file if necessary and sets the commitment
    on_sent: Callable[[int], None]  # called with the head when the chain has accepted it
    on_missed: Callable[[str], None]  # called with the reason when it is too late
    #: hotkey and payload that state may hold by now; None before the first attempt
    bound: tuple[bytes, bytes] | None = None
    state: DeliveryState = DeliveryState.DUE  # of the commitment
    sent_at: int = 0  # head when the chain accepted it, once it has
    tried_at: int | None = None  # head of the last attempt

    def note(self, event: DeliveryEvent) -> None:
        """Go to the next state."""
        self.state = DELIVERY[self.state][event]


class CommitmentDelivery:
    """Brings commitments to the chain, one after the other: a hotkey has one slot for all windows.
    `trouble` says why the first of them is not there yet."""

    def __init__(self, chain: Chain, parameters: ParameterHistory) -> None:
        self.trouble: Trouble | None = None
        self._chain = chain
        self._parameters = parameters
        self._pending: deque[PendingCommitment] = deque()

    def add(self, pending: PendingCommitment) -> None:
        """Add a pending commitment after the earlier ones."""
        self._pending.append(pending)

    def step(self, head: int) -> None:
        """Do everything that can be done at this head. Raises WrongChainError: the node is of
        another chain."""
        while self._pending and self._process(self._pending[0], head):
            self._pending.popleft()
            self.trouble = None

    def _process(self, pending: PendingCommitment, head: int) -> bool:
        """Try one pending commitment. Return whether it is done with."""
        window = pending.window
        last = self._compute_block(window)
        if head >= last:
            return pending.state is DeliveryState.SENT or self._conclude(pending, head, last)
        if window and head < self._compute_block(window - 1):
            return False  # the last window's commitment would be overwritten before it counts
        if pending.tried_at == head:
            return False
        pending.tried_at = head
        try:
            done = self._try(pending, head)
        except WrongChainError:
            raise
        except (ChainError, StoreError) as error:
            self.trouble = Trouble.from_error(
                error, f"window {window} is not committed yet (due by block {last}): {error}"
            )
            return False
        self.trouble = None
        return done

    def _conclude(self, pending: PendingCommitment, head: int, last: int) -> bool:
        """Conclude a pending commitment whose last attempt has an unknown outcome. Return whether
        the outcome could be determined."""
        why = self.trouble or f"its groups were ready at block {head}, and due by block {last}"
        try:
            stood = self._is_in_state(pending, last)
        except ForgottenError:
            stood = False
        except WrongChainError:
            raise
        except ChainError as error:
            self.trouble = Trouble.from_error(
                error, f"cannot tell if window {pending.window} was committed in time: {error}"
            )
            return False
        if stood:
            pending.note(DeliveryEvent.FINAL)
            pending.on_sent(last)
        else:
            pending.note(DeliveryEvent.TOO_LATE)
            pending.on_missed(f"window {pending.window} was not committed: {why}")
        return True

    def _compute_block(self, window: int) -> int:
        return compute_block(self._parameters.get(window).timing, window, Phase.COMMIT)

    def _is_in_state(self, pending: PendingCommitment, block: int) -> bool:
        if pending.bound is None:
            return False
        hotkey, payload = pending.bound
        return self._chain.get_commitments(block).get(hotkey) == payload

    def _try(self, pending: PendingCommitment, head: int) -> bool:
        was_sent = pending.state is DeliveryState.SENT
        if was_sent and head < pending.sent_at + _CONFIRM_BLOCKS:
            return False
        if self._is_in_state(pending, head):
            pending.note(DeliveryEvent.FINAL)
            if not was_sent:  # an earlier attempt has arrived after all
                pending.on_sent(head)
            return True
        if was_sent:
            pending.note(DeliveryEvent.EXPIRED)
        pending.send()
        pending.note(DeliveryEvent.HANDED_OVER)
        pending.sent_at = self._chain.get_head()
        pending.on_sent(pending.sent_at)
        return False
