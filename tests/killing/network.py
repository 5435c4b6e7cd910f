"""The network that is played on, founded once, and what every process of it has loaded."""

import importlib
from dataclasses import replace
from pathlib import Path

import bittensor  # noqa: F401 - so that no process loads it for itself

from assay.inference.checkpoint import load_checkpoint
from assay.lab.localnet import services
from assay.lab.localnet.development_calls import send_tao
from assay.network.beacon import LocalBeacon
from assay.network.chain.connection import Connection
from assay.network.chain.subtensor import SubtensorChain
from assay.network.chain.target import ChainTarget
from assay.network.chain.values import TAO
from assay.network.chain.wallets import get_coldkey, open_wallet
from assay.network.store.folder import open_folder
from assay.protocol.parameters import DEMO_TIMING, Timing
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import Phase, compute_block, compute_window
from assay.settings.loading import use_sdk_cache
from assay.subnet import presets
from assay.training import GENESIS
from subtensor_devnet import Devnet, Seal

#: One window, then an epoch right after its verdicts, then the epoch that pays by its weights.
TIMING = replace(
    DEMO_TIMING,
    window_blocks=27,
    commit_offset=6,
    audit_offset=7,
    sample_offset=8,
    fetch_end=9,
    mirror_end=10,
    verdict_end=11,
    tempo=10,
    beacon_delay_ms=0,
)
WALLETS = {"miner": "//Miner", "validator": "//Validator", "trainer": "//Trainer"}
#: Under `[work]`, of a network of episodes. The model guesses nothing, so all turns are taken.
EPISODES = {"group_size": 4, "turns": 3, "context": 240, "reply_bytes": 64, "paid_reply": 4_000}
#: The beacon's key follows from it.
SEED = b"killing"


def load_everything() -> None:
    """Loads what each forked process would load for itself. No thread is started."""
    load_checkpoint(GENESIS)
    for module in ("assay.inference.draws.kernels", "anyio._backends._asyncio", "httpcore2"):
        importlib.import_module(module)


def found_network(
    net: Path,
    beacon_ms: int,
    timing: Timing = TIMING,
    locator: str | None = None,
    *,
    episodes: bool = False,
) -> tuple[int, int, int, dict[str, str]]:
    """A localnet on which miner and validator are registered, at the block before a window.

    Args:
        locator: where the owner's store, the folder `store`, is read; None: as that folder.
        episodes: rollouts have several turns.

    Returns:
        That block, its time in milliseconds, the last block of a run, role → hotkey's address.
    """
    preset = replace(presets.PRESETS["demo"], timing=timing)
    if episodes:
        presets.DEMO_ENVIRONMENT = "guess"
        preset = replace(preset, work=replace(preset.work, **EPISODES))
    presets.PRESETS = {"demo": preset}
    (net / "store").mkdir()
    services.open_store = lambda _: open_folder(net / "store")
    beacons = LocalBeacon(SEED, beacon_ms, 1_000, lambda: 0)
    locator = locator or (net / "store").as_uri()
    founding = services.found(net / "chain", 1.0, beacons.chain, locator)
    use_sdk_cache(net.parent / "sdk")
    wallets = {role: open_wallet(name, "default", net) for role, name in WALLETS.items()}
    with Devnet(net / "chain", seal=Seal.INSTANT) as devnet:
        connection = Connection(ChainTarget((devnet.endpoint,), deadline_s=60))
        chain = SubtensorChain(connection, founding.netuid, net.parent / "founding", poll_s=0)
        hotkeys = {role: chain.add_wallet(wallet) for role, wallet in wallets.items()}
        buyers = ("miner", "validator")
        send_tao(connection, {get_coldkey(wallets[role]): 1_000 * TAO for role in buyers})
        for role in buyers:
            chain.register(hotkeys[role], chain.quote_registration(hotkeys[role]).cost)
        chain.add_stake(hotkeys["validator"], 100 * TAO, any_price=True)
        devnet.new_blocks(2 * timing.tempo)  # an epoch gives the validator its permit
        window = find_window(chain, timing)
        start = compute_block(timing, window, Phase.CHALLENGE) - 1
        devnet.new_blocks(start - devnet.get_head())
        now_ms = devnet.chain.now_ms
        connection.close()
    addresses = {role: encode_ss58(hotkey) for role, hotkey in hotkeys.items()}
    paid = compute_block(timing, window, Phase.VERDICT_END) + 1 + timing.tempo
    return start, now_ms, paid + 2, addresses


def find_window(chain: SubtensorChain, timing: Timing) -> int:
    """The first window to come whose verdicts an epoch follows at once."""
    first = compute_window(timing, chain.get_head()) + 1
    ends = {w: compute_block(timing, w, Phase.VERDICT_END) for w in range(first, first + 30)}
    return next(window for window, end in ends.items() if chain.is_epoch(end + 1))
