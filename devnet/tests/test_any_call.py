"""Calls with arguments that nobody would think of: blocks are still made."""

import contextlib
import random
from typing import Any

from devlab import OWNER, TAO, Lab, get_key
from subtensor_devnet.errors import RpcError
from subtensor_devnet.runtime import CALLS

ACCOUNTS = [get_key(uri).ss58_address for uri in ("//Alice", "//Bob", "//a//hot", "//a//cold")]
SIZES = {"u8": 8, "u16": 16, "u32": 32, "u64": 64, "u128": 128, "i16": 15, "i128": 127}


class Guess:
    """Values of any type of the runtime."""

    def __init__(self, types: dict[int, dict[str, Any]], chance: random.Random) -> None:
        self._types = types
        self._chance = chance

    def make(self, number: int, depth: int = 0) -> Any:
        entry = self._types[number]
        definition, path = entry["def"], entry.get("path") or [""]
        if path[-1] in ("AccountId32", "MultiAddress"):
            return self._chance.choice([*ACCOUNTS, OWNER.ss58_address])
        if path[-1] == "RuntimeCall":
            raise LookupError("calls within calls have tests of their own")
        if "primitive" in definition:
            return self._make_primitive(definition["primitive"])
        if "compact" in definition:
            return self.make(definition["compact"]["type"], depth)
        if "sequence" in definition:
            inner = definition["sequence"]["type"]
            return [self.make(inner, depth + 1) for _ in range(self._chance.randrange(4))]
        if "array" in definition:
            inner = definition["array"]["type"]
            return [self.make(inner) for _ in range(definition["array"]["len"])]
        if "tuple" in definition:
            return tuple(self.make(element, depth + 1) for element in definition["tuple"])
        if "composite" in definition:
            return self._make_composite(definition["composite"].get("fields") or [], depth)
        return self._make_variant(path, definition["variant"]["variants"], depth)

    def _make_primitive(self, name: str) -> Any:
        if name == "bool":
            return self._chance.random() < 0.5
        if name == "str":
            return "text"
        largest = 2 ** SIZES[name] - 1
        return (
            self._chance.choice(
                [0, 1, 2, 10, 300, TAO, largest, self._chance.randrange(largest + 1)]
            )
            & largest
        )

    def _make_composite(self, fields: list[dict[str, Any]], depth: int) -> Any:
        if fields and fields[0].get("name"):
            return {field["name"]: self.make(field["type"], depth + 1) for field in fields}
        return self.make(fields[0]["type"], depth) if fields else ()

    def _make_variant(self, path: list[str], variants: list[dict[str, Any]], depth: int) -> Any:
        variant = self._chance.choice(variants)
        fields = variant.get("fields") or []
        if path[-1] == "Option":
            return self.make(fields[0]["type"], depth + 1) if fields else None
        if not fields:
            return variant["name"]
        return {variant["name"]: self._make_composite(fields, depth + 1)}


def list_calls(lab: Lab) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """All calls that the network has, with their arguments' types."""
    types = lab.codec.types
    (outer,) = (t for t in types.values() if (t.get("path") or [""])[-1] == "RuntimeCall")
    found = {}
    for pallet in outer["def"]["variant"]["variants"]:
        calls = types[pallet["fields"][0]["type"]]["def"]["variant"]["variants"]
        for call in calls:
            if (pallet["name"], call["name"]) in CALLS:
                found[pallet["name"], call["name"]] = call.get("fields") or []
    return found


def test_every_call_of_the_table_is_one_of_the_runtimes(lab: Lab) -> None:
    assert list_calls(lab).keys() == CALLS.keys()


def test_no_arguments_keep_a_block_from_being_made(subnet: Lab) -> None:
    subnet.register("a", stake=10 * TAO)
    chance = random.Random(7)
    guess = Guess(subnet.codec.types, chance)
    signers = [get_key("//Alice"), get_key("//a//hot"), get_key("//a//cold")]
    tried = set()
    for (pallet, name), fields in list_calls(subnet).items():
        for turn in range(6):
            try:
                arguments = {field["name"]: guess.make(field["type"]) for field in fields}
                data = subnet.codec.encode_call(pallet, name, arguments)
            except (LookupError, ValueError):
                continue
            with contextlib.suppress(RpcError):  # whoever lost all by an earlier one cannot pay
                if turn % 2:
                    subnet.send(signers[0], "Sudo", "sudo", call=data)
                else:
                    subnet.send(chance.choice(signers), "Utility", "batch", calls=[data])
                tried.add((pallet, name))
        before = subnet.chain.head.number
        subnet.pass_blocks()
        assert subnet.chain.head.number == before + 1
        assert len(subnet.chain.pool) == 0
    assert len(tried) > len(CALLS) * 0.9, CALLS.keys() - tried
