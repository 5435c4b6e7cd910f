"""What the neurons need from outside the process, besides the ports of artifacts."""

from collections.abc import Mapping
from typing import Protocol

from assay.artifacts.ports import EpochReader, SubnetReader
from assay.network.chain import Hyperparameters, Quote
from assay.network.evm import EvmReceipt, LedgerEntry, SignedCall


class Chain(SubnetReader, EpochReader, Protocol):
    """A subnet's chain, read and written. Errors are `assay.network.chain.ChainError`s."""

    @property
    def runtime(self) -> object:
        """What runs the chain; `str` says it to people."""

    def get_weights(self, number: int) -> Mapping[bytes, Mapping[int, int]]:
        """Weights at a block: validator's hotkey → uid → u16."""

    def get_weights_block(self, hotkey: bytes, number: int) -> int | None:
        """Block of a hotkey's last weights as known at a block, 0 before its first; None where it
        holds no uid. Weights that the chain opens later count from when it took them."""

    def get_next_weights_block(self, hotkey: bytes) -> int:
        """First block in which a hotkey may set weights now: a past one if it may."""

    def get_hyperparameters(self, number: int | None = None) -> Hyperparameters:
        """The subnet's settings at a block, or now."""

    def get_balance(self, coldkey: bytes) -> int:
        """What a coldkey may spend now, rao."""

    def get_alpha_price(self) -> int:
        """What one alpha of the subnet is worth in its pool now, rao."""

    def quote_registration(self, hotkey: bytes) -> Quote:
        """What a uid for a hotkey would cost now."""

    def set_commitment(self, hotkey: bytes, payload: bytes) -> None:
        """Overwrites the hotkey's commitment slot."""

    def set_weights(self, hotkey: bytes, weights: Mapping[int, int]) -> int:
        """Sends a validator's weights, uid → u16, and says which block holds them."""


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
