"""What artifacts are found by. Adapters live in `network`."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from assay.network.chain import MetagraphRow
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


class SubnetReader(WindowReader, Protocol):
    """A subnet on its chain. Errors are `assay.network.chain.ChainError`s."""

    @property
    def genesis_hash(self) -> bytes:
        """Hash of block 0, 32 bytes: which chain this is."""

    def get_metagraph(self, number: int) -> Sequence[MetagraphRow]:
        """All neurons at a block, in order of uid."""


class BeaconSource(Protocol):
    """Where beacons are had. Not trusted: every signature is verified by whoever uses one."""

    def get(self, number: int) -> Beacon | None:
        """The beacon of exactly this round, None if it is not out yet."""


class Objects(Protocol):
    """Named bytes, as `network.store.ObjectStore` has them."""

    def get(self, name: str, limit: int) -> bytes | None:
        """An object's bytes; None: it is not there."""
