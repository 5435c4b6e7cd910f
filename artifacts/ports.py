"""What artifacts are found by, and neurons work on. Adapters live in `network`."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from assay.network.chain import Hyperparameters, MetagraphRow, Quote
from assay.protocol import Beacon, Block, Member


class StateReader(Protocol):
    """What a window is made of, as state holds it at a block."""

    def get_members(self, number: int) -> Mapping[bytes, Member]:
        """Who holds which uid at a block: hotkey → member."""

    def get_commitments(self, number: int) -> Mapping[bytes, bytes]:
        """All commitment slots at a block: hotkey → payload."""


class WindowReader(StateReader, Protocol):
    """What windows are read from, finalized blocks only."""

    def get_head(self) -> int: ...
    def get_block(self, number: int) -> Block: ...


class EpochReader(Protocol):
    """Where a subnet's epochs end."""

    def is_epoch(self, number: int) -> bool:
        """Whether the subnet's epoch ends with this block; foretold for a block to come."""


class Chain(WindowReader, EpochReader, Protocol):
    """A subnet's chain, finalized blocks only. Errors are `assay.network.chain.ChainError`s."""

    @property
    def genesis_hash(self) -> bytes:
        """Hash of block 0, 32 bytes: which chain this is."""

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

    def get_metagraph(self, number: int) -> Sequence[MetagraphRow]:
        """All neurons at a block, in order of uid."""

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


class BeaconSource(Protocol):
    """Where beacons are had. Not trusted: every signature is verified by whoever uses one."""

    def get(self, number: int) -> Beacon | None:
        """The beacon of exactly this round, None if it is not out yet."""


class Objects(Protocol):
    """Named bytes, as `network.store.ObjectStore` has them."""

    def get(self, name: str, limit: int) -> bytes | None:
        """An object's bytes; None: it is not there."""
