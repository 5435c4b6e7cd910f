"""The ports of the neurons to the world outside the process, besides those of artifacts."""

from typing import Protocol

from assay.network.evm import EvmReceipt, LedgerEntry, SignedCall
from assay.protocol.errors import Trouble


class LedgerChain(Protocol):
    """The contract that a validator posts settlements to, for one validator and its key. Errors are
    `assay.network.chain.errors.ChainError`s."""

    def get_head(self) -> int:
        """The number of the newest block, after a check that it is of the right chain."""

    def get_digest(self, epoch: int) -> bytes:
        """The digest that the newest block holds for a settlement; zeros where it holds none."""

    def get_nonce(self, *, pending: bool) -> int:
        """The number of the key's next transaction, with or without pending ones."""

    def sign(
        self, epoch: int, entry: LedgerEntry, nonce: int, replaces: int | None = None
    ) -> SignedCall:
        """Sign a post that would succeed now. `replaces` is a price to outbid."""

    def send(self, signed: SignedCall) -> None:
        """Send a post to a node, which may have it already."""

    def get_receipt(self, hash_: bytes) -> EvmReceipt | None:
        """The receipt of a post; None while no block holds it."""

    def explain_failure(self, signed: SignedCall) -> str:
        """The reason why a post that a block holds failed."""


class Neuron(Protocol):
    """A program of the subnet, as a loop runs it."""

    @property
    def name(self) -> str:
        """The program's name, for people."""

    @property
    def trouble(self) -> Trouble | None:
        """The problem that the program waits on; None while all is well."""

    def step(self) -> bool:
        """Do one bounded piece of work. Return whether more is due before the next block."""
