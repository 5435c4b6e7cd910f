"""Extrinsics that wait for a block: in order of each signer's nonces, and no more than there is
room for."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from subtensor_devnet.errors import RpcError, make_invalid_transaction_error
from subtensor_devnet.extrinsics import Extrinsic

#: Extrinsics that may wait in all, and of one signer.
POOL_SIZE = 8_192
SIGNER_SIZE = 512


@dataclass(frozen=True, slots=True)
class PendingExtrinsic:
    """An extrinsic as it came, `raw` with its length, and the subscription that wants to hear of
    it."""

    extrinsic: Extrinsic
    raw: bytes
    watcher: str | None = None


@dataclass(slots=True)
class ExtrinsicPool:
    """The waiting extrinsics. Not safe to share between threads."""

    _by_signer: dict[str, dict[int, PendingExtrinsic]] = field(default_factory=dict)
    _order: dict[bytes, PendingExtrinsic] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._order)

    def add(self, waiting: PendingExtrinsic, nonce: int) -> None:
        """Takes an extrinsic whose signer's next nonce on chain is `nonce`. `RpcError`: its own is
        used or taken, or there is no room."""
        extrinsic = waiting.extrinsic
        if extrinsic.hash in self._order:
            raise RpcError(1013, "Transaction is already in the pool")
        if extrinsic.nonce < nonce:
            raise make_invalid_transaction_error("Transaction is outdated")
        queued = self._by_signer.setdefault(extrinsic.signer, {})
        if extrinsic.nonce in queued:
            raise RpcError(
                1014, "Priority is too low", "another transaction with this nonce is in the pool"
            )
        if len(self._order) >= POOL_SIZE or len(queued) >= SIGNER_SIZE:
            raise RpcError(1016, "Immediately Dropped", "The transaction pool is full")
        queued[extrinsic.nonce] = waiting
        self._order[extrinsic.hash] = waiting

    def count_ready(self, signer: str, nonce: int) -> int:
        """The number of a signer's extrinsics that could follow at once, from a nonce on."""
        queued = self._by_signer.get(signer, {})
        count = 0
        while nonce + count in queued:
            count += 1
        return count

    def list_signers(self) -> list[str]:
        """The signers of the waiting extrinsics."""
        return list(self._by_signer)

    def list_raw(self) -> list[bytes]:
        """All that waits, as it came."""
        return [waiting.raw for waiting in self._order.values()]

    def iterate(self) -> Iterator[PendingExtrinsic]:
        """All that waits, in order of arrival, and of nonces within one signer's."""
        seen: dict[str, Iterator[int]] = {}
        for waiting in list(self._order.values()):
            signer = waiting.extrinsic.signer
            nonces = seen.setdefault(signer, iter(sorted(self._by_signer[signer])))
            yield self._by_signer[signer][next(nonces)]

    def remove(self, waiting: PendingExtrinsic) -> None:
        """Lets an extrinsic go."""
        extrinsic = waiting.extrinsic
        del self._order[extrinsic.hash]
        queued = self._by_signer[extrinsic.signer]
        del queued[extrinsic.nonce]
        if not queued:
            del self._by_signer[extrinsic.signer]
