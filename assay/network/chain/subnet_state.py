"""State of a subnet at one block hash, in few requests whatever the number of neurons."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from assay.network.chain.block_bodies import get_payload
from assay.network.chain.errors import WrongChainError
from assay.network.chain.forms import MEMBERS, SLOTS
from assay.network.chain.runtime_features import COMMITMENTS, MODULE
from assay.network.chain.substrate import Substrate
from assay.network.chain.values import STATE_BLOCKS, Hyperparameters, MetagraphRow, Setting
from assay.network.text import name_host
from assay.protocol.context import Member
from assay.protocol.ss58 import decode_ss58, encode_ss58
from assay.protocol.window import Block

#: Keys in one request: the most that a node returns.
_PAGE = 1_000
#: Rao of one TAO, and of one alpha.
_RAO = 10**9


@dataclass(frozen=True, slots=True)
class SubnetState:
    """The chain state of a window: the holder of each uid, and all commitments."""

    members: Annotated[Mapping[bytes, Member], MEMBERS]
    commitments: Annotated[Mapping[bytes, bytes], SLOTS]


async def read_block(substrate: Substrate, number: int) -> Block:
    """Hash and timestamp of a block."""
    text = await substrate.block_hash(number)
    timestamp = await substrate.query("Timestamp", "Now", block_hash=text)
    return Block(number, bytes.fromhex(text.removeprefix("0x")), int(timestamp))


async def read_state(substrate: Substrate, netuid: int, block: str) -> SubnetState:
    """Members and commitments, read in five requests. `block` is a hash in hex."""
    count, slots = await asyncio.gather(
        substrate.query(MODULE, "SubnetworkN", [netuid], block_hash=block),
        _read_map(substrate, COMMITMENTS, "CommitmentOf", [netuid], block),
    )
    hotkeys, registered = await _read_seats(substrate, netuid, count, block)
    return SubnetState(
        {
            decode_ss58(hotkey): Member(uid, int(since))
            for uid, (hotkey, since) in enumerate(zip(hotkeys, registered, strict=True))
        },
        {decode_ss58(hotkey): get_payload(slot["info"]) for hotkey, slot in slots},
    )


async def read_commitment_blocks(substrate: Substrate, netuid: int, block: str) -> dict[bytes, int]:
    """The block in which each slot was written last. `block` is a hash in hex."""
    slots = await _read_map(substrate, COMMITMENTS, "CommitmentOf", [netuid], block)
    return {decode_ss58(hotkey): int(slot["block"]) for hotkey, slot in slots}


async def read_pulse(substrate: Substrate, number: int) -> bytes | None:
    """The signature of a drand round in the newest state, unchecked. None if it is not there, or
    the runtime keeps none."""
    try:
        pulse = await substrate.query("Drand", "Pulses", [number])
        return None if pulse is None else bytes.fromhex(pulse["signature"].removeprefix("0x"))
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


async def read_owner(substrate: Substrate, netuid: int, block: str) -> bytes:
    """The owner's hotkey, 32 bytes."""
    return decode_ss58(
        await substrate.query(MODULE, "SubnetOwnerHotkey", [netuid], block_hash=block)
    )


async def read_weights(substrate: Substrate, netuid: int, block: str) -> dict[int, dict[int, int]]:
    """Weights: validator's uid → uid → u16, without zeros."""
    rows = await _read_map(substrate, MODULE, "Weights", [netuid], block)
    return {
        int(uid): {int(target): int(weight) for target, weight in row if weight}
        for uid, row in rows
    }


async def read_weights_block(
    substrate: Substrate, netuid: int, hotkey: bytes, block: str
) -> int | None:
    """Block of a hotkey's last weights, 0 before its first; None where it holds no uid."""
    keys = [netuid, encode_ss58(hotkey)]
    uid, updates = await asyncio.gather(
        substrate.query(MODULE, "Uids", keys, block_hash=block),
        substrate.query(MODULE, "LastUpdate", [netuid], block_hash=block),
    )
    if uid is None:
        return None
    since = await substrate.query(
        MODULE, "BlockAtRegistration", [netuid, int(uid)], block_hash=block
    )
    last = int(updates[int(uid)])
    return last if last > int(since or 0) else 0  # registering counts as an update


async def read_hyperparameters(
    substrate: Substrate, netuid: int, block: str | None
) -> Hyperparameters:
    """The subnet's settings at a block, or now."""
    tempo, reveal, limit, cost, is_open, uids, immunity, least = await _read_numbers(
        substrate,
        netuid,
        block,
        *("Tempo", "CommitRevealWeightsEnabled", "WeightsSetRateLimit", "Burn"),
        *("NetworkRegistrationAllowed", "MaxAllowedUids", "ImmunityPeriod", "MinAllowedWeights"),
    )
    return Hyperparameters(tempo, bool(reveal), limit, cost, bool(is_open), uids, immunity, least)


async def read_metagraph(substrate: Substrate, netuid: int, block: str) -> list[MetagraphRow]:
    """All neurons in order of uid, in ten requests."""

    async def get(name: str) -> Sequence[Any]:
        return await substrate.query(MODULE, name, [netuid], block_hash=block) or ()

    names = ("ValidatorPermit", "Incentive", "Dividends", "Emission", "LastUpdate")
    count, *columns = await asyncio.gather(
        substrate.query(MODULE, "SubnetworkN", [netuid], block_hash=block), *map(get, names)
    )
    hotkeys, registered = await _read_seats(substrate, netuid, count, block)
    owners, stakes = await asyncio.gather(
        substrate.query_batch(MODULE, "Owner", [[hotkey] for hotkey in hotkeys], block),
        substrate.query_batch(
            MODULE, "TotalHotkeyAlpha", [[hotkey, netuid] for hotkey in hotkeys], block
        ),
    )

    def pick(column: Sequence[Any], uid: int) -> int:
        return int(column[uid]) if uid < len(column) else 0  # grows only at the next epoch

    return [
        MetagraphRow(
            uid,
            decode_ss58(hotkey),
            decode_ss58(owner),
            int(since),
            int(stake),
            bool(pick(columns[0], uid)),
            *(pick(column, uid) for column in columns[1:]),
        )
        for uid, (hotkey, owner, since, stake) in enumerate(
            zip(hotkeys, owners, registered, stakes, strict=True)
        )
    ]


async def read_alpha_price(substrate: Substrate, netuid: int) -> int:
    """Rao for one alpha, by the pool's reserves. One for one if a subnet has no pool."""
    dynamic, tao, alpha = await _read_numbers(
        substrate, netuid, None, "SubnetMechanism", "SubnetTAO", "SubnetAlphaIn"
    )
    return _RAO if not dynamic or not alpha else _RAO * tao // alpha


async def read_settings(
    substrate: Substrate, netuid: int, items: Mapping[str, bool]
) -> dict[str, Setting]:
    """Storage items of the module now. `items`: name → whether the subnet has one of its own."""
    asked = [
        substrate.query(MODULE, name, [netuid] if is_own else []) for name, is_own in items.items()
    ]
    values = await asyncio.gather(*asked)
    return {name: _simplify(value) for name, value in zip(items, values, strict=True)}


def _simplify(value: Any) -> Setting:
    """A value of storage without the chain's types. Fixed-point numbers have 64 binary places."""
    if isinstance(value, Mapping) and value.keys() == {"bits"}:
        return int(value["bits"]) / 2**64
    if isinstance(value, (list, tuple)):
        return [int(one) for one in value]
    return value if value is None or isinstance(value, (bool, int)) else str(value)


async def require_same_history(substrate: Substrate, number: int, known: str) -> None:
    """Ask a node for a block whose hash is known. A local chain that was started anew has the same
    genesis hash. `WrongChainError`: another history, or far behind."""
    head, where = await substrate.finalized_block_number(), name_host(substrate.endpoint)
    if head < number - STATE_BLOCKS:
        raise WrongChainError(
            f"{where} is at block {head}, and this folder has block {number}: it is a chain "
            "started anew, or a node far behind; use a new folder, or another node"
        )
    if head < number:
        return  # this node lags a little
    if (await substrate.block_hash(number)).removeprefix("0x") != known:
        raise WrongChainError(
            f"{where} has another block {number} than this folder: it is a chain started anew, or "
            "a node on a fork; use a new folder, or another node"
        )


async def _read_numbers(
    substrate: Substrate, netuid: int, block: str | None, *names: str
) -> list[int]:
    """Numbers of the subnet; 0 where none is stored."""
    asked = [substrate.query(MODULE, name, [netuid], block_hash=block) for name in names]
    return [int(number or 0) for number in await asyncio.gather(*asked)]


async def _read_seats(
    substrate: Substrate, netuid: int, count: Any, block: str
) -> tuple[list[Any], list[Any]]:
    """Hotkeys and blocks of their registration, by uid."""
    seats = [[netuid, uid] for uid in range(int(count or 0))]
    hotkeys, registered = await asyncio.gather(
        substrate.query_batch(MODULE, "Keys", seats, block),
        substrate.query_batch(MODULE, "BlockAtRegistration", seats, block),
    )
    return hotkeys, registered


async def _read_map(
    substrate: Substrate, pallet: str, name: str, prefix: list[Any], block: str
) -> list[tuple[Any, Any]]:
    rows = await substrate.raw.query_map(pallet, name, prefix, block, page_size=_PAGE)
    return [row async for row in rows]
