"""Parameters and manifests that chance has changed: two implementations refuse the same ones."""

import json
import random
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assay.environments.steering import find_levels_fault
from assay.protocol.encoding import EncodingError, from_json
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.manifest import Manifest
from assay.protocol.parameters import Parameters, Start, find_parameters_fault
from tests.protocol.test_second_implementation import NODE, VECTORS, check
from tests.vectors.subjects import PARAMETERS, choose

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")

Json = Any
CASES = 200
NUMBERS = (
    *(-1, 0, 1, 2, 10**6, 10**6 + 1, 2**16, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 2**64),
    *(True, 1.0, "1", None),
)
TEXTS = ("", "00" * 32, "é", "\U0001f600", "x" * 200, "\ud800", "units", "before", 5, None)
OTHERS = (None, 1, [], {}, [0], "")


def list_places(value: Json, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Paths of all values within a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in inner:
        yield (*path, key)
        if isinstance(one, dict | list):
            yield from list_places(one, (*path, key))


def change(chance: random.Random, document: Json) -> Json:
    """A copy with one to three other values, or fields too few or too many."""
    changed = deepcopy(document)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        *path, last = chance.choice(list(list_places(changed)))
        place = changed
        for key in path:
            place = place[key]
        drawn = chance.random()
        if isinstance(place, dict) and drawn < 0.05:
            del place[last]
        elif isinstance(place, dict) and drawn < 0.1:
            place[chance.choice(("x", "rounds"))] = chance.choice(OTHERS)
        else:
            place[last] = change_value(chance, place[last])
    return changed


def change_value(chance: random.Random, value: Json) -> Json:
    match value:
        case bool():
            return not value
        case int():
            return chance.choice((value + 1, value - 1, 2 * value, value // 2, *NUMBERS))
        case str():
            return chance.choice((value.upper(), value[:-1], f"{value}0", value[::-1], *TEXTS))
        case list():
            ways = ([], value * 2, value[::-1], value[:1], value[:-1], value * 20)
            return chance.choice((*ways, *OTHERS))
        case _:
            return chance.choice(OTHERS)


def reward(chance: random.Random, document: Json) -> None:
    """Rewards near the border of what is legal."""
    weights = ("correctness_weight", "quality_weight", "satisfaction_weight", "format_weight")
    drawn = {name: chance.choice((0, 1, 2, chance.randrange(250_001))) for name in weights}
    lost = chance.choice((0, 1, chance.randrange(10**6)))
    document["rewards"] |= drawn | {"length_penalty": lost}


def is_followed(document: Json) -> bool:
    try:
        return find_parameters_fault(Parameters.from_json(document)) is None
    except EncodingError:
        return False


def is_usable(row: Json) -> bool:
    genesis, named = (bytes.fromhex(row[f"{name}_checkpoint"]) for name in ("genesis", "start"))
    start = Start() if named == ZERO_DIGEST else Start(genesis, 9, named, 9)
    identity = replace(PARAMETERS.identity, genesis_checkpoint=genesis)
    choice = choose("arithmetic", {})
    parameters = replace(PARAMETERS, environment=choice, identity=identity, start=start)
    try:
        return find_levels_fault(from_json(Manifest, row["manifest"]), parameters) is None
    except EncodingError:
        return False


def compare(name: str, vector: Json, folder: Path) -> None:
    (folder / f"{name}.json").write_text(json.dumps(vector))
    done = check(folder)
    assert done.returncode == 0, done.stdout[:2_000] + done.stderr


def test_they_follow_the_same_parameters(tmp_path: Path) -> None:
    vector = json.loads((VECTORS / "parameters.json").read_bytes())
    legal = [row["edits"] for row in vector["refusals"] if not row["refused"]]
    chance, rows = random.Random(50), []
    for case in range(CASES):
        whole = deepcopy(vector["parameters"])
        for path, value in chance.choice(legal):
            place = whole
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
        if case % 3:
            whole = change(chance, whole)
        else:
            reward(chance, whole)
        rows.append({"edits": [[[], whole]], "refused": not is_followed(whole)})
    assert 0.1 < sum(row["refused"] for row in rows) / CASES < 0.9
    compare("parameters", vector | {"refusals": rows}, tmp_path)


def test_they_use_the_same_manifests(tmp_path: Path) -> None:
    vector = json.loads((VECTORS / "weights.json").read_bytes())
    usable = [row for row in vector["manifests"] if row["usable"]]
    chance, rows = random.Random(50), []
    for case in range(CASES):
        row = deepcopy(chance.choice(usable))
        part = {
            name: row["manifest"].pop(name)
            for name in ("levels", "levels_before", "held_out", "step", "number")
        }
        row["manifest"] |= change(chance, part)
        rows.append(row | {"about": f"case {case}", "usable": is_usable(row)})
    assert sum(row["usable"] for row in rows) > 6
    compare("weights", vector | {"manifests": rows}, tmp_path)
