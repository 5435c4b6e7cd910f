"""Sends extrinsics one at a time, with a fresh nonce, and a clear result for each."""

import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, cast

from assay.network.chain.connection import Connection
from assay.network.chain.errors import ChainError, UnknownOutcomeError
from assay.network.chain.substrate import Substrate
from assay.network.chain.values import ChainEvent, Receipt
from assay.network.chain.wallets import ChainWallet, DevWallet, SigningKeys

#: An extrinsic cannot be included later than this many blocks after the finalized head at its
#: signing: its mortal era, bittensor 11.3's own default (`bittensor.settings.DEFAULT_ERA_PERIOD`).
EXTRINSIC_BLOCKS = 128
#: The pool's words for an extrinsic whose nonce is used already.
_STALE = ("Stale", "Future", "nonce")
#: The node's words for an extrinsic that may still be included.
_UNSURE = (
    *(None, "Usurped", "Retracted", "Dropped", "FinalityTimeout", "Invalid"),
    *("AlreadyImported", "AlreadyIncluded"),
)


class ExtrinsicSender:
    """Sends for all wallets of a process. Safe to use from several threads: those that sign with
    the same key take turns.

    Nonces: the SDK counts on from the last one that it saw. That fails after a shielded submission,
    and where another program uses the same coldkey. This class makes it ask the chain each time.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def send_call(
        self, call: Any, wallet: ChainWallet, signer: str = "coldkey", *, final: bool
    ) -> Receipt:
        """Send one of `bittensor.calls`.

        Args:
            signer: "coldkey" or "hotkey".
            final: wait until the block is final, not only until it holds the extrinsic.

        Raises:
            UnknownOutcomeError: it may still happen, or have happened.
            ChainError: pool or runtime refused it; says why.
        """
        given = {"period": EXTRINSIC_BLOCKS, "wait_for_finalization": final}
        return self._send(
            lambda client, keys: client.submit_call(call, keys, signer=signer, **given),
            wallet,
            signer,
        )

    def send_intent(self, intent: Any, wallet: ChainWallet, *, final: bool) -> Receipt:
        """Send one of the SDK's intents. Arguments and errors as in `send_call`."""
        given = {"period": EXTRINSIC_BLOCKS, "wait_for_finalization": final}
        return self._send(
            lambda client, keys: client.execute(intent, keys, **given), wallet, intent.signer
        )

    def quote_fee(self, call: Any, wallet: ChainWallet, signer: str = "coldkey") -> int:
        """The fee that the chain would charge for a call now, rao, without the call's own cost. It
        may be off by one byte's fee, because a signature's lifetime is not known beforehand."""

        async def quote(substrate: Substrate) -> int:
            composed = await substrate.compose(call)
            payer = getattr(wallet, f"{signer}pub")
            return int((await substrate.estimate_fee(composed, payer)).rao)

        return self._connection.read(quote)

    def _send(
        self, submit: Callable[[Any, SigningKeys], Awaitable[Any]], wallet: ChainWallet, signer: str
    ) -> Receipt:
        if isinstance(wallet, DevWallet) and not self._connection.target.is_loopback:
            raise ChainError("development keys sign for a chain on this machine only")
        keys = SigningKeys.unlock(wallet, signer)  # before any other call waits for it
        address = getattr(wallet, f"{signer}pub").ss58_address

        async def run(substrate: Substrate) -> Any:
            from bittensor import Client

            client = Client(substrate.endpoint, substrate=cast("Any", substrate))
            substrate.raw.clear_nonce_cache_for_account(address)
            result = await submit(client, keys)
            if not result.success and result.block_hash is None and _is_stale(result):
                substrate.raw.clear_nonce_cache_for_account(address)
                result = await submit(client, keys)
            return result

        with self._turns[address]:
            return _make_receipt(self._connection.send(run))


def _is_stale(result: Any) -> bool:
    text = f"{result.error.name if result.error else ''} {result.message}"
    return any(word in text for word in _STALE)


def _make_receipt(result: Any) -> Receipt:
    if not result.success:
        error = result.error
        if result.block_hash is None and (error is None or error.name in _UNSURE):
            raise UnknownOutcomeError(f"the extrinsic's outcome is unknown: {result.message}")
        advice = f"; {error.remediation}" if error is not None else ""
        raise ChainError(f"the chain refused it: {result.message}{advice}")
    number = (result.extrinsic_id or "0").partition("-")[0]
    return Receipt(
        block=int(number),
        fee=int(result.fee.rao) if result.fee is not None else 0,
        events=tuple(
            ChainEvent(f"{event['module_id']}.{event['event_id']}", event["attributes"])
            for event in result.events
        ),
    )
