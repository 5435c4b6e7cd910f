"""Storage: bytes to bytes, read as values; at the head also written, with undo.

Everything a call changes is noted with the value before, so that a call that fails, and a block
that cannot be stored, leave nothing behind.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from subtensor_devnet.scale_codec import ScaleCodec

#: Hashes of the pallet's and the item's name: what all keys of one storage item begin with.
ITEM_BYTES = 32


class StateView(ABC):
    """Storage at one block, to be read."""

    codec: ScaleCodec

    @abstractmethod
    def read(self, key: bytes) -> bytes | None:
        """The value under a key."""

    @abstractmethod
    def list_keys(self, prefix: bytes) -> list[bytes]:
        """Keys that begin so, in order."""

    def get(self, pallet: str, item: str, *keys: Any) -> Any:
        """A value; where nothing is stored the item's default, None where it has none."""
        data = self.read(self.codec.make_key(pallet, item, *keys))
        return self.codec.decode_value(pallet, item, data)

    def has(self, pallet: str, item: str, *keys: Any) -> bool:
        """Whether a value is stored."""
        return self.read(self.codec.make_key(pallet, item, *keys)) is not None

    def list_entries(self, pallet: str, item: str, *keys: Any) -> Iterator[tuple[Any, Any]]:
        """Entries of a map under fixed first keys: the key that is left, a tuple of several, and
        the value."""
        for key in self.list_keys(self.codec.make_key(pallet, item, *keys)):
            rest = self.codec.decode_map_keys(pallet, item, key, len(keys))
            value = self.codec.decode_value(pallet, item, self.read(key))
            yield (rest[0] if len(rest) == 1 else tuple(rest)), value


class DevnetState(StateView):
    """All storage at the head; `values` are stored already, and are taken over."""

    def __init__(self, codec: ScaleCodec, values: dict[bytes, bytes]) -> None:
        self.codec = codec
        self._values = values
        self._journal: list[tuple[bytes, bytes | None]] = []
        self._items: dict[bytes, set[bytes]] = {}
        for key in values:
            self._items.setdefault(key[:ITEM_BYTES], set()).add(key)

    def __len__(self) -> int:
        return len(self._values)

    def read(self, key: bytes) -> bytes | None:
        return self._values.get(key)

    def write(self, key: bytes, value: bytes | None) -> None:
        """Replaces the value of a key; None removes it."""
        old = self._values.get(key)
        if old != value:
            self._journal.append((key, old))
            self._place(key, value)

    def list_keys(self, prefix: bytes) -> list[bytes]:
        if len(prefix) < ITEM_BYTES:
            return sorted(key for key in self._values if key.startswith(prefix))
        keys = self._items.get(prefix[:ITEM_BYTES], ())
        return sorted(key for key in keys if key.startswith(prefix))

    def _place(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            del self._values[key]
            self._items[key[:ITEM_BYTES]].discard(key)
        else:
            self._values[key] = value
            self._items.setdefault(key[:ITEM_BYTES], set()).add(key)

    def mark(self) -> int:
        """A place to come back to."""
        return len(self._journal)

    def undo(self, mark: int) -> None:
        """Takes back everything since a mark."""
        while len(self._journal) > mark:
            key, old = self._journal.pop()
            self._place(key, old)

    def list_changes(self) -> dict[bytes, bytes | None]:
        """The differences from the last `settle`: key → value, None where it is gone."""
        before: dict[bytes, bytes | None] = {}
        for key, old in self._journal:
            before.setdefault(key, old)
        return {
            key: self._values.get(key)
            for key, old in sorted(before.items())
            if self._values.get(key) != old
        }

    def settle(self) -> None:
        """Begins a new list of changes: the present state is what they are changes of."""
        self._journal.clear()

    def put(self, pallet: str, item: str, *keys_and_value: Any) -> None:
        """Writes a value: the map's keys, then the value."""
        *keys, value = keys_and_value
        key = self.codec.make_key(pallet, item, *keys)
        self.write(key, self.codec.encode_value(pallet, item, value))

    def remove(self, pallet: str, item: str, *keys: Any) -> None:
        """Removes a value, if one is stored."""
        self.write(self.codec.make_key(pallet, item, *keys), None)

    def add(self, pallet: str, item: str, *keys_and_amount: Any) -> int:
        """Adds to a number, which does not go below 0. The new number."""
        *keys, amount = keys_and_amount
        number = max(0, int(self.get(pallet, item, *keys)) + amount)
        self.put(pallet, item, *keys, number)
        return number
