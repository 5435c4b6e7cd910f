"""The ports that artifacts are found through. The adapters are in `network`."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from assay.network.chain import MetagraphRow
from assay.protocol import Beacon, Block, Member


class StateReader(Protocol):
    """The chain state of a window, at a block."""

    def get_members(self, number: int) -> Mapping[bytes, Member]:
        """The holder of each uid at a block: hotkey → member."""

    def get_commitments(self, number: int) -> Mapping[bytes, bytes]:
        """All commitment slots at a block: hotkey → payload."""


class WindowReader(StateReader, Protocol):
    """The chain as windows are read from it; finalized blocks only."""

    def get_head(self) -> int: ...
    def get_block(self, number: int) -> Block: ...


class EpochReader(Protocol):
    """The ends of a subnet's epochs."""

    def is_epoch(self, number: int) -> bool:
        """Return whether the subnet's epoch ends with this block. Predicted for a future block."""


class SubnetReader(WindowReader, Protocol):
    """A subnet on its chain. Errors are `assay.network.chain.ChainError`s."""

    @property
    def genesis_hash(self) -> bytes:
        """Hash of block 0, 32 bytes: it identifies the chain."""

    def get_metagraph(self, number: int) -> Sequence[MetagraphRow]:
        """All neurons at a block, in order of uid."""


class BeaconSource(Protocol):
    """A source of beacons. Not trusted: every user of a beacon verifies its signature."""

    def get(self, number: int) -> Beacon | None:
        """The beacon of exactly this round, None if it is not out yet."""


class Objects(Protocol):
    """Named bytes, as `network.store.ObjectStore` has them."""

    def get(self, name: str, limit: int) -> bytes | None:
        """An object's bytes; None: it does not exist."""
