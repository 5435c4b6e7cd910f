"""The ports that artifacts are found through. The adapters are in `network`."""

from typing import Protocol

from assay.network.store.base import ObjectStore
from assay.protocol.beacon import Beacon


class BeaconSource(Protocol):
    """A source of beacons. Not trusted: every user of a beacon verifies its signature."""

    def get(self, number: int) -> Beacon | None:
        """The beacon of exactly this round, None if it is not out yet."""


class Objects(Protocol):
    """Named bytes, as `network.store.ObjectStore` has them."""

    def get(self, name: str, limit: int) -> bytes | None:
        """An object's bytes; None: it does not exist."""


class StoreFinder(Protocol):
    def get(self, locator: str, /) -> ObjectStore | None:
        """The store of a locator on chain, or None if it may not be opened here."""
