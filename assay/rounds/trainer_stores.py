"""The stores of a network's trainers, for reading children and merges."""

from collections.abc import Mapping, Sequence

from assay.artifacts.ports import StoreFinder
from assay.network.chain.ports import BlockReader
from assay.network.store.base import ObjectStore
from assay.protocol.amendment import ParameterHistory
from assay.protocol.commitment import Commitment, parse_commitment


class TrainerStores:
    """A trainer's own store, and those that the other trainers announce on chain.

    Raises (all methods): ChainError: the chain cannot be read.
    """

    def __init__(
        self,
        hotkey: bytes,
        history: ParameterHistory,
        chain: BlockReader,
        stores: StoreFinder,
        own_store: ObjectStore,
    ) -> None:
        self._hotkey, self._history, self._chain = hotkey, history, chain
        self._stores, self._own = stores, own_store

    def list_at(self, head: int) -> list[ObjectStore]:
        """The trainer's own store, then the others', as announced at a block."""
        parameters = self._history.get_at(head)
        rounds = parameters.rounds
        hotkeys = {parameters.identity.trainer, *(() if rounds is None else rounds.trainers)}
        slots = self._chain.get_commitments(head)
        stores = [self._own]
        for hotkey in sorted(hotkeys - {self._hotkey}):
            commitment = parse_commitment(slots.get(hotkey, b""))
            store = None if commitment is None else self._stores.get(commitment.locator)
            if store is not None:
                stores.append(store)
        return stores

    def list_with(self, locator: str, head: int) -> list[ObjectStore]:
        """The same as `list_at`, with the store at a locator first."""
        return self._put_first(locator, self.list_at(head))

    def list_by(
        self, commitments: Mapping[bytes, Commitment | None], head: int
    ) -> dict[bytes, Sequence[ObjectStore]]:
        """For each trainer's child: the store that its commitment names, then the others."""
        others = self.list_at(head)
        return {
            hotkey: others if child is None else self._put_first(child.locator, others)
            for hotkey, child in commitments.items()
        }

    def _put_first(self, locator: str, others: list[ObjectStore]) -> list[ObjectStore]:
        store = self._stores.get(locator)
        return others if store is None else [store, *others]
