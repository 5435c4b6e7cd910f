"""Values of the runtime to bytes and back, by the SDK's own codec.

An account is its SS58 address throughout; bytes that are no text come back as 0x hex, which is how
the SDK's codec has it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bittensor_core import Runtime as CoreRuntime

from subtensor_devnet.errors import DispatchError, MalformedError
from subtensor_devnet.metadata import SPEC_VERSION, TRANSACTION_VERSION
from subtensor_devnet.scale import encode_compact, hash_blake2

#: Address type of every chain of Bittensor.
SS58_TYPE = 42
_HEADER_PATH = ["sp_runtime", "generic", "header", "Header"]


@dataclass(frozen=True, slots=True)
class RuntimeCall:
    """A decoded call."""

    pallet: str
    name: str
    arguments: dict[str, Any]


class ScaleCodec:
    """One runtime's codec; format 15 where runtime calls are encoded. A name that the runtime lacks
    raises a `MalformedError`."""

    def __init__(self, metadata: bytes) -> None:
        self.core = CoreRuntime(metadata, SPEC_VERSION, TRANSACTION_VERSION, SS58_TYPE)
        self._items: dict[tuple[str, str], tuple[str, bytes | None]] = {}  # type and default
        self._errors: dict[tuple[str, str], dict[str, Any]] = {}
        self._storage: dict[str, dict[str, str]] = {}
        for pallet in self.core.metadata_ir()["pallets"]:
            for error in pallet["errors"]:
                number = error["index"].to_bytes(4, "little")
                value = {"index": pallet["index"], "error": "0x" + number.hex()}
                self._errors[pallet["name"], error["name"]] = {"Module": value}
            self._storage[pallet["name"]] = {
                item["name"].lower(): item["name"] for item in pallet["storage"]
            }

    def make_key(self, pallet: str, item: str, *keys: Any) -> bytes:
        """A storage key; with fewer keys than the map has, the prefix of them all."""
        try:
            return bytes(self.core.storage_key(pallet, item, list(keys)))
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise MalformedError(f"{pallet}.{item} has no key {keys}: {error}") from error

    def encode_value(self, pallet: str, item: str, value: Any) -> bytes:
        """A value as storage holds it."""
        return self.encode(self._get_item(pallet, item)[0], value)

    def decode_value(self, pallet: str, item: str, data: bytes | None) -> Any:
        """The value of stored bytes; of None the item's default, or None where it has none."""
        type_name, default = self._get_item(pallet, item)
        data = default if data is None else data
        return None if data is None else self.core.decode(type_name, data, True)

    def decode_map_keys(self, pallet: str, item: str, key: bytes, fixed: int) -> list[Any]:
        """The keys of a map within a storage key, but for the first `fixed`."""
        keys: list[Any] = self.core.decode_storage_key_params(pallet, item, key, fixed)
        return keys

    def find_item(self, pallet: str, name: str) -> tuple[str, str]:
        """Pallet and storage item by their names in any case."""
        for title, items in self._storage.items():
            if title.lower() == pallet.lower() and name.lower() in items:
                return title, items[name.lower()]
        raise MalformedError(f"there is no storage item {pallet}.{name}")

    def is_map(self, pallet: str, item: str) -> bool:
        """Whether the item has keys."""
        return bool(self.core.storage_entry(pallet, item).param_types)

    def _get_item(self, pallet: str, item: str) -> tuple[str, bytes | None]:
        known = self._items.get((pallet, item))
        if known is None:
            entry = self.core.storage_entry(pallet, item)
            default = bytes(entry.default_bytes) if entry.modifier == "Default" else None
            known = self._items[pallet, item] = entry.value_type, default
        return known

    def encode(self, type_name: str, value: Any) -> bytes:
        """A value of a type; None is the absent option."""
        if value is None:
            return b"\x00"
        try:
            return bytes(self.core.encode(type_name, value))
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise MalformedError(f"no value of {type_name}: {error}") from error

    def decode(self, type_name: str, data: bytes, *, whole: bool = True) -> Any:
        """A value of a type, of exactly these bytes, or at their start."""
        try:
            return self.core.decode(type_name, data, whole)
        except ValueError as error:
            raise MalformedError(f"no value of {type_name}: {error}") from error

    @cached_property
    def types(self) -> dict[int, dict[str, Any]]:
        """The type registry: number → its definition (scale-info)."""
        entries = json.loads(self.core.registry_json())["types"]
        return {entry["id"]: entry["type"] for entry in entries}

    @cached_property
    def runtime_apis(self) -> dict[str, dict[str, dict[str, Any]]]:
        """API → method → its `inputs` (names and types) and `output` (a type)."""
        apis: dict[str, dict[str, dict[str, Any]]] = self.core.runtime_api_map()
        return apis

    def get_constant(self, pallet: str, name: str) -> Any:
        """A constant of a pallet."""
        return self.core.constant(pallet, name)

    def decode_call(self, data: bytes) -> RuntimeCall:
        """A call of this runtime."""
        try:
            return read_call(self.core.decode_call(data))
        except ValueError as error:
            raise MalformedError(f"not a call of this runtime: {error}") from error

    def encode_call(self, pallet: str, name: str, arguments: dict[str, Any]) -> bytes:
        """The bytes of a call."""
        return bytes(self.core.compose_call(pallet, name, arguments))

    def hash_header(self, header: Mapping[str, Any]) -> bytes:
        """The hash of a header in the nodes' format, 32 bytes: the block's."""
        logs = [bytes.fromhex(log.removeprefix("0x")) for log in header["digest"]["logs"]]
        digest_type = self._get_item("System", "Digest")[0]
        digest = self.decode(digest_type, encode_compact(len(logs)) + b"".join(logs))
        fields = {
            "parent_hash": header["parentHash"],
            "number": int(header["number"], 16),
            "state_root": header["stateRoot"],
            "extrinsics_root": header["extrinsicsRoot"],
            "digest": digest,
        }
        return hash_blake2(self.encode(self._header_type, fields))

    @cached_property
    def _header_type(self) -> str:
        """The name of the header's type: the EVM pallet has a type of the same short name."""
        numbers = (n for n, entry in self.types.items() if entry.get("path") == _HEADER_PATH)
        return f"scale_info::{next(numbers)}"

    def make_event(self, phase: int | None, pallet: str, name: str, fields: Any) -> dict[str, Any]:
        """A record for System.Events. `phase` is an extrinsic's index, None before them all."""
        where: Any = "Initialization" if phase is None else {"ApplyExtrinsic": phase}
        return {"phase": where, "event": {pallet: {name: fields}}, "topics": []}

    def make_error(self, error: DispatchError) -> Any:
        """A `DispatchError` for events."""
        if error.pallet is not None:
            return self._errors[error.pallet, error.name]
        kind, _, detail = error.name.partition(".")
        return {kind: detail} if detail else kind


def read_call(decoded: dict[str, Any]) -> RuntimeCall:
    """A call as the SDK's codec decodes it, also one within another's arguments."""
    arguments = {argument["name"]: argument["value"] for argument in decoded["call_args"]}
    return RuntimeCall(decoded["call_module"], decoded["call_function"], arguments)


def read_bytes(value: Any) -> bytes:
    """Bytes that the SDK's codec decoded to text or hex."""
    if isinstance(value, str):
        return bytes.fromhex(value[2:]) if value.startswith("0x") else value.encode()
    return bytes(value)
