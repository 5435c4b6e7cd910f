"""The stores of a network's trainers, for reading children and merges."""

from collections.abc import Mapping, Sequence

from assay.artifacts.ports import StoreFinder
from assay.network import ObjectStore
from assay.network.chain.ports import BlockReader
from assay.protocol import Commitment, parse_commitment
from assay.protocol.amendment import ParameterHistory


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
        own: ObjectStore,
    ) -> None:
        self._hotkey, self._history, self._chain = hotkey, history, chain
        self._stores, self._own = stores, own

    def list_at(self, head: int) -> list[ObjectStore]:
        """The trainer's own store, then the others', as announced at a block."""
        parameters = self._history.get_at(head)
        rounds = parameters.rounds
        hotkeys = {parameters.identity.trainer, *(() if rounds is None else rounds.trainers)}
        slots = self._chain.get_commitments(head)
        found = [self._own]
        for hotkey in sorted(hotkeys - {self._hotkey}):
            said = parse_commitment(slots.get(hotkey, b""))
            store = None if said is None else self._stores.get(said.locator)
            if store is not None:
                found.append(store)
        return found

    def list_with(self, locator: str, head: int) -> list[ObjectStore]:
        """The same as `list_at`, with the store at a locator first."""
        return self._put_first(locator, self.list_at(head))

    def list_by(
        self, said: Mapping[bytes, Commitment | None], head: int
    ) -> dict[bytes, Sequence[ObjectStore]]:
        """For each trainer's child: the store that its commitment names, then the others."""
        others = self.list_at(head)
        return {
            hotkey: others if child is None else self._put_first(child.locator, others)
            for hotkey, child in said.items()
        }

    def _put_first(self, locator: str, others: list[ObjectStore]) -> list[ObjectStore]:
        store = self._stores.get(locator)
        return others if store is None else [store, *others]
