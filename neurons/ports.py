"""What the neurons need from outside the process, besides the ports of artifacts."""

from typing import Protocol

from assay.network.evm import EvmReceipt, LedgerEntry, SignedCall


class LedgerChain(Protocol):
    """The contract that a validator's settlements are posted to, for one validator and its key.
    Errors are `assay.network.chain.ChainError`s."""

    def get_head(self) -> int:
        """Number of the newest block, of the right chain."""

    def get_digest(self, epoch: int) -> bytes:
        """What stands for a settlement in the newest block; zeros where nothing does."""

    def get_nonce(self, *, pending: bool) -> int:
        """Number of the key's next transaction, those that wait counted or not."""

    def sign(
        self, epoch: int, entry: LedgerEntry, nonce: int, replaces: int | None = None
    ) -> SignedCall:
        """Signs a post that would succeed now; `replaces`: a price to outbid."""

    def send(self, signed: SignedCall) -> None:
        """Hands a post to a node, which may have it already."""

    def get_receipt(self, hash_: bytes) -> EvmReceipt | None:
        """What became of a post; None while no block holds it."""

    def explain_failure(self, signed: SignedCall) -> str:
        """Why a post that a block holds failed."""


class Neuron(Protocol):
    """A program of the subnet, as a loop drives it."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def trouble(self) -> str | None:
        """What it waits for that should not be so, for people; None while all is well."""

    def step(self) -> bool:
        """Does one bounded piece of work; whether there is more to do before the next block."""
