"""Sets weights: in the clear, or encrypted to a future drand round if the subnet requires it.

The chain itself reveals timelocked weights, an epoch or more later. Until then nobody can copy
them.
"""

import asyncio
import struct
from collections.abc import Mapping
from itertools import islice
from typing import Any

from assay.network.chain.connection import Connection
from assay.network.chain.errors import ChainError
from assay.network.chain.extrinsic_sender import ExtrinsicSender
from assay.network.chain.finalized_heads import encode_compact
from assay.network.chain.runtime_features import MODULE, CommitBy, RuntimeFeatures, WeightsBy
from assay.network.chain.substrate import Substrate
from assay.network.chain.values import LARGEST_WEIGHT, Hyperparameters, Receipt
from assay.network.chain.wallets import ChainWallet

#: drand's quicknet. Subtensor encrypts weights to its rounds.
_QUICKNET_GENESIS_MS = 1_692_803_367_000
_QUICKNET_PERIOD_MS = 3_000
#: Blocks after the revealing epoch's first one, so that a chain that runs early does not reveal
#: early.
_MARGIN_BLOCKS = 3


def make_row(weights: Mapping[int, int]) -> dict[int, int]:
    """Weights as the chain will show them: in order of uid, without zeros. The chain scales a row
    to a largest 65,535, and the row must be read back as it was sent: otherwise raises a
    `ChainError`."""
    row = {uid: weights[uid] for uid in sorted(weights) if weights[uid]}
    if any(not 0 <= value <= LARGEST_WEIGHT for value in (*row, *row.values())):
        raise ChainError("uids and weights are integers from 0 to 65,535")
    if max(row.values(), default=0) != LARGEST_WEIGHT:
        raise ChainError("the largest weight is 65,535: scale the row")
    return row


def pad_row(row: Mapping[int, int], at_least: int, uids: int) -> dict[int, int]:
    """A row with `at_least` entries: weight 0 for the lowest other uids. The chain counts zeros,
    and requires no more entries than there are uids. The stored row has no zeros."""
    others = (uid for uid in range(uids) if uid not in row)
    zeros = dict.fromkeys(islice(others, max(0, at_least - len(row))), 0)
    return dict(sorted({**row, **zeros}.items()))


def compute_reveal_round(
    netuid: int, tempo: int, reveal_period: int, block: int, timestamp_ms: int, slot_ms: int
) -> int:
    """The drand round to which weights sent after `block` are encrypted.

    They are revealed `reveal_period` epochs after the one that holds them. Source: subtensor's
    commit-reveal v3, whose epochs are counted as (block + netuid + 1) / (tempo + 1).
    """
    epoch = (block + 1 + netuid + 1) // (tempo + 1)
    opens = (epoch + reveal_period) * (tempo + 1) - netuid - 1 + _MARGIN_BLOCKS
    at_ms = timestamp_ms + (opens - block) * slot_ms
    return max(1, -((_QUICKNET_GENESIS_MS - at_ms) // _QUICKNET_PERIOD_MS) + 1)


def encode_row(row: Mapping[int, int], version_key: int) -> bytes:
    """SCALE bytes of what commit-reveal v3 encrypts: uids, values, version key."""
    count = encode_compact(len(row))
    uids = struct.pack(f"<{len(row)}H", *row)
    values = struct.pack(f"<{len(row)}H", *row.values())
    return count + uids + count + values + struct.pack("<Q", version_key)


def send_weights(
    connection: Connection,
    sender: ExtrinsicSender,
    runtime: RuntimeFeatures,
    netuid: int,
    wallet: ChainWallet,
    row: Mapping[int, int],
    settings: Hyperparameters,
) -> Receipt:
    """Send a row from `make_row` in the way that runtime and subnet require. `ChainError`: refused,
    or this runtime's way is unknown."""
    from bittensor import calls
    from bittensor.intents import SetWeights

    version = connection.read(lambda s: s.query(MODULE, "WeightsVersionKey", [netuid]))
    version_key = int(version or 0)
    short = len(row) < settings.min_weights
    if short:
        count = connection.read(lambda s: s.query(MODULE, "SubnetworkN", [netuid]))
        row = pad_row(row, settings.min_weights, int(count or 0))
    uids, values = list(row), list(row.values())
    if runtime.weights_by is WeightsBy.INTENT and short and not settings.commit_reveal:
        # the call behind the intent; the intent itself removes zeros
        call: Any = calls.SubtensorModule.set_mechanism_weights(
            netuid=netuid, mecid=0, dests=uids, weights=values, version_key=version_key
        )
    elif runtime.weights_by is WeightsBy.INTENT:
        intent = SetWeights(netuid, uids, [*map(float, values)], version_key=version_key)
        return sender.send_intent(intent, wallet, final=False)
    elif not settings.commit_reveal:
        call = calls.SubtensorModule.set_weights(
            netuid=netuid, dests=uids, weights=values, version_key=version_key
        )
    elif runtime.commit_by is CommitBy.CRV3:
        data = encode_row(row, version_key)
        call = connection.read(lambda s: _make_crv3_call(s, netuid, data))
    else:
        raise ChainError(
            f"the subnet requires timelocked weights, and assay cannot send them with runtime spec "
            f"{runtime.spec_version}: update assay and bittensor"
        )
    return sender.send_call(call, wallet, "hotkey", final=False)


async def _make_crv3_call(substrate: Substrate, netuid: int, data: bytes) -> Any:
    import bittensor_core

    head = await substrate.block_number()
    block = await substrate.block_hash(head)
    tempo, period, now_ms, slot_s = await asyncio.gather(
        substrate.query(MODULE, "Tempo", [netuid], block_hash=block),
        substrate.query(MODULE, "RevealPeriodEpochs", [netuid], block_hash=block),
        substrate.query("Timestamp", "Now", block_hash=block),
        substrate.block_time(),
    )
    number = compute_reveal_round(
        netuid, int(tempo), int(period), head, int(now_ms), int(slot_s * 1_000)
    )
    commit = bittensor_core.encrypt_at_round(data, number)[0]
    # the SDK's catalogue is for a newer runtime, which lacks this call
    arguments = {"netuid": netuid, "commit": commit, "reveal_round": number}
    return (MODULE, "commit_crv3_weights", arguments)
