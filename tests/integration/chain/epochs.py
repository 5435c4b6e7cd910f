"""Epochs of a real runtime: state written, one epoch passed, and what it stored read back.

    python -m tests.integration.chain.epochs SUBTENSOR_DIR devnet/tests/data/yuma.json

records inputs and results of all cases; SUBTENSOR_DIR is what ASSAY_SUBTENSOR_DIR names for tests.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from assay.settings.loading import use_sdk_cache
from subtensor_devnet.yuma import EpochInputs, EpochResult, YumaRules
from tests.integration.chain.epoch_cases import CASES, FIVE_EPOCHS, TEMPO, UIDS, make_inputs
from tests.integration.chain.nets import RuntimeNet, open_net, start_node

MODULE = "SubtensorModule"
#: Rule → storage item, bytes of its value.
_RULES = {
    "tempo": ("tempo", 2),
    "activity_cutoff": ("activityCutoff", 2),
    "kappa": ("kappa", 2),
    "bonds_moving_average": ("bondsMovingAverage", 8),
    "bonds_penalty": ("bondsPenalty", 2),
    "max_validators": ("maxAllowedValidators", 2),
}
_RESULTS = {
    "active": "Active",
    "stake_weight": "StakeWeight",
    "consensus": "Consensus",
    "trust": "Trust",
    "incentive": "Incentive",
    "dividends": "Dividends",
    "validator_trust": "ValidatorTrust",
    "emission": "Emission",
    "pruning_scores": "PruningScores",
    "permits": "ValidatorPermit",
}


def open_yuma_net(endpoint: str, folder: Path) -> RuntimeNet:
    """A fresh subnet with `UIDS` uids and a short tempo."""
    net = open_net(endpoint, folder)
    net.register(UIDS - 1)
    net.set_rules(tempo=TEMPO)
    return net


def run_epoch(
    net: RuntimeNet, make_case: Callable[[int], EpochInputs]
) -> tuple[EpochInputs, dict[str, Any]]:
    """Makes the chain's state that of the inputs, passes the epoch, and returns what it stored.

    Args:
        make_case: given the epoch's block, the inputs.
    """
    block = go_before_epoch(net)
    inputs = make_case(block)
    net.set_storage({MODULE: _make_storage(net, inputs)})
    net.pass_blocks(1)
    return inputs, read_result(net, block)


def go_before_epoch(net: RuntimeNet) -> int:
    """Passes blocks until the next one ends an epoch. That block."""
    number = net.chain.get_head() + 1
    while not net.chain.is_epoch(number):
        number += 1
    net.pass_blocks(number - 1 - net.chain.get_head())
    return number


def pay(net: RuntimeNet, emission: int) -> None:
    """Has the next epoch distribute so much, rao."""
    net.set_storage({MODULE: {"pendingEmission": [[[net.netuid], emission]]}})


def get_expected(result: EpochResult) -> dict[str, Any]:
    """The values that the chain should store, in the form of `read_result`."""
    found = {name: list(getattr(result, name)) for name in _RESULTS}
    return found | {"ranks": found["incentive"], "bonds": result.bonds}


def read_result(net: RuntimeNet, block: int) -> dict[str, Any]:
    """The values that an epoch stored, by the names of `EpochResult`, and `ranks`."""

    async def read(substrate: Any) -> dict[str, Any]:
        at = await substrate.block_hash(block)
        names = [*_RESULTS.values(), "Rank"]
        found = await asyncio.gather(
            *(substrate.query(MODULE, name, [net.netuid], block_hash=at) for name in names)
        )
        values = [[int(value) for value in column] for column in found]
        for index, name in enumerate(_RESULTS):
            if name in ("active", "permits"):
                values[index] = [bool(value) for value in values[index]]
        bonds = await _read_rows(substrate, "Bonds", net.netuid, at)
        return dict(zip([*_RESULTS, "ranks"], values, strict=True)) | {"bonds": bonds}

    return net.connection.read(read)


def read_inputs(net: RuntimeNet, block: int, emission: int) -> EpochInputs:
    """The state before the epoch at `block`, read off the chain."""

    async def read(substrate: Any) -> EpochInputs:
        at = await substrate.block_hash(block - 1)

        async def get(name: str, *keys: Any) -> Any:
            return await substrate.query(MODULE, name, list(keys) or None, block_hash=at)

        async def get_all(name: str, keys: list[list[Any]]) -> list[int]:
            return [int(n) for n in await substrate.query_batch(MODULE, name, keys, at)]

        seats = [[net.netuid, uid] for uid in range(await get("SubnetworkN", net.netuid))]
        hotkeys = await substrate.query_batch(MODULE, "Keys", seats, at)
        items = [item[0].upper() + item[1:] for item, _ in _RULES.values()]
        rules = await asyncio.gather(*(get(item, net.netuid) for item in items))
        return EpochInputs(
            block=block,
            emission=emission,
            owner_uid=hotkeys.index(await get("SubnetOwnerHotkey", net.netuid)),
            stakes=await get_all("TotalHotkeyAlpha", [[key, net.netuid] for key in hotkeys]),
            permits=[bool(permit) for permit in await get("ValidatorPermit", net.netuid)],
            last_update=[int(update) for update in await get("LastUpdate", net.netuid)],
            registered_at=await get_all("BlockAtRegistration", seats),
            weights=await _read_rows(substrate, "Weights", net.netuid, at),
            bonds=await _read_rows(substrate, "Bonds", net.netuid, at),
            rules=YumaRules(
                **dict(zip(_RULES, map(int, rules), strict=True)),
                stake_threshold=int(await get("StakeThreshold")),
            ),
        )

    return net.connection.read(read)


async def _read_rows(
    substrate: Any, name: str, netuid: int, block: str
) -> dict[int, dict[int, int]]:
    rows = await substrate.raw.query_map(MODULE, name, [netuid], block, page_size=1_000)
    found = {int(uid): {int(to): int(value) for to, value in row} async for uid, row in rows}
    return {uid: row for uid, row in sorted(found.items()) if row}


def get_hotkeys(net: RuntimeNet) -> list[str]:
    """SS58 addresses by uid."""

    async def read(substrate: Any) -> list[str]:
        uids = range(await substrate.query(MODULE, "SubnetworkN", [net.netuid]))
        return [await substrate.query(MODULE, "Keys", [net.netuid, uid]) for uid in uids]

    return net.connection.read(read)


def _make_storage(net: RuntimeNet, inputs: EpochInputs) -> dict[str, Any]:
    """`inputs` as values of the pallet's storage, of which `dev_setStorage` makes state."""
    netuid = net.netuid
    hotkeys = get_hotkeys(net)
    assert len(hotkeys) == len(inputs.stakes)

    def write_rows(rows: Mapping[int, Mapping[int, int]]) -> list[Any]:
        row = {
            uid: [list(pair) for pair in sorted(rows.get(uid, {}).items())] for uid in range(UIDS)
        }
        return [[[netuid, uid], pairs] for uid, pairs in row.items()]

    rules = {
        # as bytes: of a plain 0 `dev_setStorage` makes the default
        item: [[[netuid], "0x" + getattr(inputs.rules, name).to_bytes(width, "little").hex()]]
        for name, (item, width) in _RULES.items()
    }
    return rules | {
        "stakeThreshold": inputs.rules.stake_threshold,
        "pendingEmission": [[[netuid], inputs.emission]],
        "totalHotkeyAlpha": [
            [[key, netuid], stake] for key, stake in zip(hotkeys, inputs.stakes, strict=True)
        ],
        "totalHotkeyShares": [[[key, netuid], None] for key in hotkeys],  # pay starts a new pool
        "validatorPermit": [[[netuid], list(inputs.permits)]],
        "lastUpdate": [[[netuid], list(inputs.last_update)]],
        "blockAtRegistration": [
            [[netuid, uid], block] for uid, block in enumerate(inputs.registered_at)
        ],
        "weights": write_rows(inputs.weights),
        "bonds": write_rows(inputs.bonds),
    }


@dataclass(frozen=True)
class Vector:
    """One epoch as the real runtime computed it; `stored` as `read_result` has it."""

    name: str
    inputs: EpochInputs
    stored: dict[str, Any]


def read_vectors(path: Path) -> list[Vector]:
    """The vectors that `record` wrote."""

    def read_rows(rows: dict[str, Any]) -> dict[int, dict[int, int]]:
        return {
            int(uid): {int(to): value for to, value in row.items()} for uid, row in rows.items()
        }

    vectors = []
    for entry in json.loads(path.read_text()):
        inputs, stored = entry["inputs"], entry["stored"]
        rules = YumaRules(**inputs.pop("rules"))
        rows = {name: read_rows(inputs.pop(name)) for name in ("weights", "bonds")}
        stored["bonds"] = read_rows(stored["bonds"])
        vectors.append(Vector(entry["name"], EpochInputs(**inputs, **rows, rules=rules), stored))
    return vectors


def record(net: RuntimeNet, path: Path) -> None:
    """Writes every case's inputs and what the runtime stored, then those of five epochs on end."""
    runs = [(name, *run_epoch(net, make_case)) for name, make_case in CASES.items()]
    carried: dict[str, Any] = {}
    for count, rows in enumerate(FIVE_EPOCHS, 1):
        inputs, stored = run_epoch(net, partial(make_inputs, weights=rows, **carried))
        runs.append((f"five_epochs_{count}", inputs, stored))
        carried = {"bonds": stored["bonds"], "permits": stored["permits"]}
    lines = [
        json.dumps(
            {"name": name, "inputs": asdict(inputs), "stored": stored}, separators=(",", ":")
        )
        for name, inputs, stored in runs
    ]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    subtensor, target = map(Path, sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        use_sdk_cache(Path(folder))
        with start_node(None, subtensor) as endpoint:
            record(open_yuma_net(endpoint, Path(folder)), target)


def compute_uid_to_prune(
    pruning_scores: Sequence[int],
    registered_at: Sequence[int],
    owner_uid: int | None,
    block: int,
    immunity_period: int,
) -> int:
    """The uid that a registration takes over in a full subnet.

    The lowest score outside immunity, or within it where all are immune; among equals the oldest
    registration, then the lowest uid. Never the owner's. The chain then sets that uid's score to
    65,535 until the next epoch, so that a newcomer is not the next to go.

    Args:
        pruning_scores: as stored, by uid. A uid that was never scored has 0.
        registered_at: blocks, by uid.
        immunity_period: blocks.
    """
    uids = [uid for uid in range(len(registered_at)) if uid != owner_uid]
    exposed = [uid for uid in uids if block - registered_at[uid] >= immunity_period]
    return min(
        exposed or uids, key=lambda uid: (pruning_scores[uid], registered_at[uid]), default=0
    )
