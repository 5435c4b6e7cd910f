"""A validator's chain work on a subnet of 256 neurons, on a real runtime.

It needs a node of a development executor, like tests/integration/chain: `ASSAY_SUBTENSOR_DIR` or
`ASSAY_CHAIN_ENDPOINT`. 256 neurons and their commitments are written into its state, because 256
registrations would take too long. Node and client share the machine.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

from figures import Figure, measure, report

sys.path.append(str(Path(__file__).parents[1]))
from assay.network.chain.subtensor import SubtensorChain
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.parameters import MAIN_TIMING
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import Phase, compute_block
from assay.settings.loading import use_sdk_cache
from tests.integration.chain.nets import RuntimeNet, open_net, start_node

NEURONS = 256


def plant_neurons(net: RuntimeNet) -> list[bytes]:
    """Fill the subnet with neurons that have all committed to a window."""
    net.set_rules(max_uids=NEURONS)
    hotkeys = [sha256(f"neuron {uid}".encode()).digest() for uid in range(NEURONS)]
    addresses = [encode_ss58(hotkey) for hotkey in hotkeys]
    head, netuid = net.chain.get_head(), net.netuid
    payloads = [
        encode_commitment(Commitment(Tag.MINER, 9, 24, hotkey, "s3://bucket/of/a/miner"))
        for hotkey in hotkeys
    ]
    slots = [
        {
            "deposit": 0,
            "block": head,
            "info": {"fields": [{f"Raw{len(payload)}": "0x" + payload.hex()}]},
        }
        for payload in payloads
    ]
    seats = range(NEURONS)
    module: dict[str, Any] = {
        "subnetworkN": [[[netuid], NEURONS]],
        "keys": [[[netuid, uid], addresses[uid]] for uid in seats],
        "uids": [[[netuid, addresses[uid]], uid] for uid in seats],
        "owner": [[[address], addresses[0]] for address in addresses],
        "blockAtRegistration": [[[netuid, uid], head] for uid in seats],
        "totalHotkeyAlpha": [[[address, netuid], 10**9] for address in addresses],
        "weights": [[[netuid, uid], [[t, 65_535 - t] for t in seats]] for uid in range(64)],
        **{name: [[[netuid], [0] * NEURONS]] for name in ("incentive", "dividends", "emission")},
        "lastUpdate": [[[netuid], [head] * NEURONS]],
        "validatorPermit": [[[netuid], [uid < 64 for uid in seats]]],
    }
    net.set_storage({"SubtensorModule": module})
    commitments = [
        [[netuid, address], slot] for address, slot in zip(addresses, slots, strict=True)
    ]
    net.set_storage({"Commitments": {"commitmentOf": commitments}})
    net.pass_blocks(MAIN_TIMING.audit_offset + 2)
    assert len(net.chain.get_commitments(net.chain.get_head())) >= NEURONS
    return hotkeys


def make_window(net: RuntimeNet, folder: Path) -> Callable[[], object]:
    """A function that asks the chain everything that a validator needs about one window, with no
    cache."""
    first = net.chain.get_head() - MAIN_TIMING.audit_offset
    numbers = count()

    def run() -> None:
        chain = SubtensorChain(net.connection, net.netuid, folder / str(next(numbers)), poll_s=0)
        chain.get_head()
        chain.get_commitments(first)  # the checkpoint in force
        chain.get_members(first)
        committed = first + compute_block(MAIN_TIMING, 0, Phase.COMMIT)
        chain.get_members(committed)
        assert len(chain.get_commitments(committed)) >= NEURONS
        for number in (first, first + MAIN_TIMING.audit_offset):
            chain.get_block(number)
        for number in range(first, first + MAIN_TIMING.window_blocks):  # the search for epochs
            chain.is_epoch(number)
        chain.get_hyperparameters()  # whether weights may be set, and how
        chain.get_weights(chain.get_head())  # whether the weights are set
        chain.close()

    return run


def read_one_by_one(net: RuntimeNet, hotkeys: list[bytes]) -> Callable[[], object]:
    """A function that reads the same commitments with a request for each."""

    async def read(substrate: Any) -> int:
        block = await substrate.block_hash()
        found = [
            await substrate.query(
                "Commitments", "CommitmentOf", [net.netuid, encode_ss58(h)], block
            )
            for h in hotkeys
        ]
        return sum(slot is not None for slot in found)

    def run() -> None:
        assert net.connection.read(read) == len(hotkeys)

    return run


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        use_sdk_cache(folder / "sdk")
        given = os.environ.get  # noqa: TID251 - the same two switches as the suite
        directory = Path(given("ASSAY_SUBTENSOR_DIR") or "")
        with start_node(given("ASSAY_CHAIN_ENDPOINT"), directory) as endpoint:
            net = open_net(endpoint, folder / "state")
            hotkeys = plant_neurons(net)
            head = net.chain.get_head()
            alone = measure(read_one_by_one(net, hotkeys), 3)
            figures = [
                Figure(
                    "metagraph of 256 neurons",
                    measure(lambda: net.chain.get_metagraph(head)),
                    "s",
                    "256 requests",
                    alone,
                    bound=0.5,
                ),
                Figure(
                    "a validator's chain work, one window",
                    measure(make_window(net, folder), 5),
                    "s",
                    "256 requests",
                    alone,
                    bound=2.0,
                ),
            ]
            net.connection.close()
            report("Chain: a subnet of 256 neurons, runtime and client on one machine", figures, 1)


if __name__ == "__main__":
    main()
