"""The ports of the neurons to the world outside the process, besides those of artifacts."""

from collections.abc import Mapping
from typing import Protocol

from assay.artifacts.ports import EpochReader, SubnetReader
from assay.network.chain import Hyperparameters, Quote
from assay.network.evm import EvmReceipt, LedgerEntry, SignedCall


class Chain(SubnetReader, EpochReader, Protocol):
    """A subnet's chain, read and written. Errors are `assay.network.chain.ChainError`s."""

    @property
    def runtime(self) -> object:
        """The software that runs the chain; `str` gives a text for people."""

    def get_weights(self, number: int) -> Mapping[bytes, Mapping[int, int]]:
        """Weights at a block: validator's hotkey → uid → u16."""

    def get_weights_block(self, hotkey: bytes, number: int) -> int | None:
        """The block of a hotkey's last weights as of a block; 0 before its first, None where it
        holds no uid. Timelocked weights count from the block that accepted them."""

    def get_next_weights_block(self, hotkey: bytes) -> int:
        """The first block in which a hotkey may set weights. A past block: it may at once."""

    def get_hyperparameters(self, number: int | None = None) -> Hyperparameters:
        """The subnet's settings at a block, or now."""

    def get_balance(self, coldkey: bytes) -> int:
        """The amount that a coldkey can spend now, rao."""

    def get_alpha_price(self) -> int:
        """The current value of one alpha of the subnet in its pool, rao."""

    def quote_registration(self, hotkey: bytes) -> Quote:
        """The current cost of a uid for a hotkey."""

    def set_commitment(self, hotkey: bytes, payload: bytes) -> None:
        """Overwrite the hotkey's commitment slot."""

    def set_weights(self, hotkey: bytes, weights: Mapping[int, int]) -> int:
        """Send a validator's weights, uid → u16. Return the block that holds them."""


class LedgerChain(Protocol):
    """The contract that a validator posts settlements to, for one validator and its key. Errors are
    `assay.network.chain.ChainError`s."""

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
    def trouble(self) -> str | None:
        """The problem that the program waits on, for people; None while all is well."""

    def step(self) -> bool:
        """Do one bounded piece of work. Return whether more is due before the next block."""
