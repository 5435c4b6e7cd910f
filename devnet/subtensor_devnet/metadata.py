"""The metadata that the network serves: a real subtensor's, spec 461, changed in three places.

Origin and licence: data/ORIGIN.md. Two storage items of `SubtensorModule` are added that spec 461
has not got. bittensor 11.3 reads `SubnetEpochConsensus`: which consensus a subnet's epochs run,
Yuma by default. btcli 9.23 reads `RootClaimType` when it shows a subnet: what becomes of a
coldkey's root dividends, `Swap` by default; no call here changes it. And `Aura.SlotDuration`, from
which clients learn the time between blocks, is set.
"""

import lzma
from dataclasses import dataclass
from importlib.resources import files

from subtensor_devnet.scale import ScaleReader, encode_bytes, encode_compact

SPEC_VERSION = 461
TRANSACTION_VERSION = 1
SPEC_NAME = "node-subtensor"

_MODULE = "SubtensorModule"
#: "meta" and the format's number.
_HEADER_BYTES = 5


@dataclass(frozen=True, slots=True)
class _AddedItem:
    """A storage map of the pallet. Its values are an enum of its own; the first is the default."""

    name: str
    sibling: str  # an item of the same pallet with the same key, whose key is copied
    path: tuple[str, ...]  # of the enum
    variants: tuple[str, ...]


_ADDED = (
    _AddedItem(
        "SubnetEpochConsensus",
        "CommitRevealWeightsEnabled",
        ("pallet_subtensor", "EpochConsensus"),
        ("Yuma", "Null"),
    ),
    # a third variant, KeepSubnets, has fields
    _AddedItem(
        "RootClaimType",
        "StakingHotkeys",
        ("pallet_subtensor", "pallet", "RootClaimTypeEnum"),
        ("Swap", "Keep"),
    ),
)


def load_metadata(version: int, slot_ms: int) -> bytes:
    """The metadata in format 14 or 15, for blocks that come every `slot_ms` milliseconds."""
    file = files(__package__) / "data" / f"subtensor-{SPEC_VERSION}-v{version}.xz"
    metadata = lzma.decompress(file.read_bytes())
    for item in _ADDED:
        metadata = _add_item(metadata, item)
    return _set_slot_duration(metadata, slot_ms)


def _set_slot_duration(metadata: bytes, slot_ms: int) -> bytes:
    pallet = _find(metadata, _encode_pallet("Aura"))
    reader = ScaleReader(metadata, _find(metadata, _encode_text("SlotDuration"), pallet))
    reader.take_compact()  # its type, u64
    size = reader.take_compact()
    start = reader.position
    return metadata[:start] + slot_ms.to_bytes(size, "little") + metadata[start + size :]


def _add_item(metadata: bytes, added: _AddedItem) -> bytes:
    """Appends a type to the registry and an item to the pallet's storage."""
    reader = ScaleReader(metadata, _HEADER_BYTES)
    types = reader.take_compact()
    end = metadata.index(_encode_pallet("System")) - 1  # before the number of pallets
    enum = _encode_enum(types, added.path, added.variants)
    registry = encode_compact(types + 1) + metadata[reader.position : end] + enum

    storage = ScaleReader(metadata, _find(metadata, _encode_pallet(_MODULE)))
    before = metadata[end : storage.position]
    count = encode_compact(storage.take_compact() + 1)
    place = metadata.index(_encode_text(added.sibling), storage.position)
    item = _encode_item(added.name, _read_key(metadata, place, added.sibling), types)
    rest = metadata[storage.position : place] + item + metadata[place:]
    return metadata[:_HEADER_BYTES] + registry + before + count + rest


def _read_key(metadata: bytes, place: int, item: str) -> bytes:
    """Hashers and key type of the map `item` at a place, unchanged."""
    reader = ScaleReader(metadata, place + len(_encode_text(item)))
    modifier, kind = reader.take(2)
    if (modifier, kind) != (1, 1):
        raise ValueError(f"{item} is not a map with a default")
    start = reader.position
    reader.take(reader.take_compact())
    reader.take_compact()
    return metadata[start : reader.position]


def _encode_item(name: str, key: bytes, value_type: int) -> bytes:
    """A storage map whose default is variant 0, without documentation."""
    kind = b"\x01\x01" + key + encode_compact(value_type)
    return _encode_text(name) + kind + encode_bytes(b"\x00") + encode_compact(0)


def _encode_enum(number: int, path: tuple[str, ...], variants: tuple[str, ...]) -> bytes:
    """An entry of the type registry: an enum whose variants have no fields."""
    names = b"".join(_encode_text(part) for part in path)
    cases = b"".join(
        _encode_text(name) + encode_compact(0) + bytes([index]) + encode_compact(0)
        for index, name in enumerate(variants)
    )
    head = encode_compact(number) + encode_compact(len(path)) + names
    parameters, is_enum, documentation = encode_compact(0), b"\x01", encode_compact(0)
    return head + parameters + is_enum + encode_compact(len(variants)) + cases + documentation


def _encode_pallet(name: str) -> bytes:
    """The beginning of a pallet with storage: its name, and its storage's prefix."""
    return _encode_text(name) + b"\x01" + _encode_text(name)


def _encode_text(text: str) -> bytes:
    return encode_bytes(text.encode())


def _find(metadata: bytes, marker: bytes, start: int = 0) -> int:
    """The place after a marker."""
    return metadata.index(marker, start) + len(marker)
