"""The demo's network: a development chain with a subnet that was really bought, and a beacon.

All participants have keys that follow from the demo's seed, paid for a uid, and use the chain
through the SDK. With a virtual clock everything follows from the seed, including block hashes.
While the chain is founded, each extrinsic makes a block. Afterwards blocks are made on demand.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from assay.artifacts.discovery import fetch_parameters
from assay.artifacts.ports import BeaconSource
from assay.lab.demo.saved_point import Founded
from assay.lab.localnet.development_calls import change_settings, send_tao
from assay.lab.localnet.devnet_errors import report_devnet_errors
from assay.lab.localnet.founding import buy_subnet, publish_rules
from assay.network.beacon import LocalBeacon
from assay.network.chain.connection import Connection
from assay.network.chain.ports import Chain
from assay.network.chain.subnet_owner import get_subnet_cost
from assay.network.chain.subtensor import SubtensorChain
from assay.network.chain.target import ChainTarget
from assay.network.chain.values import TAO
from assay.network.chain.wallets import DevWallet, get_coldkey
from assay.network.store.base import ObjectStore
from assay.protocol.parameters import DEMO_TIMING, Parameters, Timing
from assay.protocol.window import Phase, compute_block, compute_window
from assay.settings.loading import use_sdk_cache
from assay.subnet.recipe import Recipe
from subtensor_devnet import Devnet, Seal

#: Unix time of a virtual clock's block 0: fixed, so that a seed gives the same run on any day.
GENESIS_MS = 1_767_225_600_000
#: The locator of files and models on chain.
LOCATOR = "demo:store"
#: All holders of a uid but the miners, in order of registration.
OWNER, TRAINER, VALIDATOR = "owner", "trainer", "validator"
#: Everybody's money for a uid, and the validator's stake.
_MONEY, _STAKE = 1_000 * TAO, 500 * TAO
_BEACON_PERIOD_MS = 1_000
#: Most blocks of the founding: block 0 is this many slots old when real time takes over.
_BLOCKS = 200
#: Seconds for the node, a thread of this process, to answer.
_DEADLINE_S = 60.0
#: Seconds between two looks at the chain in real time.
_POLL_S = 0.25


class Network(Protocol):
    """A subnet before its first window is mined."""

    @property
    def chain(self) -> Chain:
        """The chain that all participants use."""

    @property
    def beacons(self) -> BeaconSource:
        """The beacons of the chain that its parameters name."""

    @property
    def parameters(self) -> Parameters:
        """The network's published parameters."""

    @property
    def hotkeys(self) -> Mapping[str, bytes]:
        """Name → hotkey, for all holders of a uid."""

    @property
    def first_window(self) -> int:
        """The first window that begins from now on."""

    def start(self) -> None:
        """Let time pass, unless it is virtual."""

    def make_block(self) -> None:
        """Let one slot pass if the clock is virtual."""

    def count_waiting(self) -> int:
        """The number of extrinsics that wait for the next block."""

    def require_running(self) -> None:
        """Raise a ChainError if the chain has stopped by itself."""

    def stop_retrying(self) -> None:
        """Make all calls stop waiting for a chain that does not answer."""

    def describe(self) -> Founded:
        """What it goes on with, beside its folder."""

    def copy_to(self, file: Path) -> None:
        """Write a copy of its chain into a new file."""

    def close(self) -> None:
        """Stop it. The files that it has written stay."""


class DevnetNetwork:
    """A `Network` on its own development chain, on any free port.

    Args:
        folder: for the chain.
        miners: names of those who register besides owner, trainer and validator.
        fast: use a virtual clock.
        store: for parameters and the first checkpoint.
        genesis: folder of the first checkpoint.
        recipe: of the network.
        founded: it goes on, on its virtual clock; None: it is founded.

    Raises:
        OperatorError: it could not be founded.
    """

    @report_devnet_errors()
    def __init__(
        self,
        folder: Path,
        seed: str,
        miners: Sequence[str],
        store: ObjectStore,
        genesis: Path,
        *,
        fast: bool,
        recipe: Recipe,
        founded: Founded | None = None,
    ) -> None:
        # README and help say it; the demo's own output is about its programs
        logging.getLogger("subtensor_devnet").setLevel(logging.ERROR)
        self._fast = fast
        self._now_ms = GENESIS_MS if fast else _get_wall_ms() - _BLOCKS * DEMO_TIMING.slot_ms
        self._begin_ms = self._now_ms
        self._secret = sha256(b"assay demo" + seed.encode()).digest()
        self._wallets = _make_wallets(self._secret, (OWNER, TRAINER, VALIDATOR, *miners))
        self._stack = ExitStack()
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(TemporaryDirectory(prefix="assay-")))
            use_sdk_cache(scratch / "sdk")
            self.beacons = LocalBeacon(
                self._secret, self._begin_ms, _BEACON_PERIOD_MS, self.get_now_ms
            )
            if founded is None:
                with self._open(folder, Seal.INSTANT) as devnet:
                    self._netuid = self._found(devnet, scratch / "founding", store, genesis, recipe)
            else:
                self._netuid, self._now_ms = founded.netuid, founded.now_ms
                self.parameters = fetch_parameters(store, founded.parameters)
                self.first_window = founded.first_window
            self._devnet = self._open(folder, Seal.MANUAL)
            stack.callback(self._devnet.close)
            self._devnet.start()
            connection = _connect(self._devnet, stack)
            poll_s = float("inf") if fast else _POLL_S  # a virtual clock says when to look
            self.chain = SubtensorChain(connection, self._netuid, scratch / "state", poll_s)
            stack.callback(self.chain.close)
            self.hotkeys = {n: self.chain.add_wallet(w) for n, w in self._wallets.items()}
            self._stack = stack.pop_all()

    def get_now_ms(self) -> int:
        """Unix time as the network has it, milliseconds."""
        return self._now_ms if self._fast else _get_wall_ms()

    @report_devnet_errors()
    def start(self) -> None:
        if not self._fast:
            self._devnet.start_clock()

    @report_devnet_errors()
    def make_block(self) -> None:
        # forgotten first, so that callers released by this block see the new head
        self.chain.refresh()
        self._now_ms += DEMO_TIMING.slot_ms
        self._devnet.new_blocks()

    def count_waiting(self) -> int:
        return self._devnet.count_waiting()

    @report_devnet_errors()
    def require_running(self) -> None:
        if not self._devnet.is_running:
            self._devnet.stop()

    def stop_retrying(self) -> None:
        self.chain.stop_retrying()

    @report_devnet_errors()
    def copy_to(self, file: Path) -> None:
        self._devnet.copy_to(file)

    def describe(self) -> Founded:
        return Founded(self._netuid, self.parameters.digest, self.first_window, self._now_ms)

    @report_devnet_errors()
    def close(self) -> None:
        self._stack.close()

    # --- founding

    def _open(self, folder: Path, seal: Seal) -> Devnet:
        slot_s = DEMO_TIMING.slot_ms / 1_000
        return Devnet(folder, 0, slot_s, seal=seal, genesis_ms=self._begin_ms, secret=self._secret)

    def _found(
        self, devnet: Devnet, scratch: Path, store: ObjectStore, genesis: Path, recipe: Recipe
    ) -> int:
        """Do everything before the first window, on virtual time. Return the netuid."""
        owner, timing = self._wallets[OWNER], recipe.make_rules().timing
        with ExitStack() as stack:
            connection = _connect(devnet, stack)
            amounts = {get_coldkey(wallet): _MONEY for wallet in self._wallets.values()}
            amounts[get_coldkey(owner)] += get_subnet_cost(connection)
            send_tao(connection, amounts)
            netuid = buy_subnet(connection, owner, timing.tempo)
            chain = SubtensorChain(connection, netuid, scratch, poll_s=0)
            stack.callback(chain.close)
            hotkeys = {name: chain.add_wallet(w) for name, w in self._wallets.items()}
            for hotkey in [hotkeys[name] for name in hotkeys if name != OWNER]:
                chain.register(hotkey, chain.quote_registration(hotkey).cost)
            chain.add_stake(hotkeys[VALIDATOR], _STAKE, any_price=True)
            _pass_to_permit(devnet, chain, timing)
            # counted from here, an epoch comes right after the verdicts of every other window
            tempo = {"netuid": netuid, "tempo": timing.tempo}
            change_settings(connection, [("sudo_set_tempo", tempo)])
            self.parameters = publish_rules(
                chain,
                hotkeys[OWNER],
                hotkeys[TRAINER],
                self.beacons.chain,
                store,
                LOCATOR,
                genesis,
                DEMO_TIMING.slot_ms,
                devnet.new_blocks,
                recipe,
            )
            self.first_window = compute_window(timing, devnet.get_head()) + 2
            first = compute_block(timing, self.first_window, Phase.CHALLENGE)
            devnet.new_blocks(first - 1 - devnet.get_head())
        self._now_ms += (first - 1) * DEMO_TIMING.slot_ms
        return netuid


def _pass_to_permit(devnet: Devnet, chain: SubtensorChain, timing: Timing) -> None:
    """Advance to the last block of a window after an epoch, which has given the validator its
    permit."""
    head = devnet.get_head()
    epoch = next(n for n in range(head + 1, head + 2 + timing.tempo) if chain.is_epoch(n))
    devnet.new_blocks(epoch + -epoch % timing.window_blocks - head)


def _make_wallets(secret: bytes, names: Sequence[str]) -> dict[str, DevWallet]:
    """Separate keys for everybody: hotkey and coldkey."""
    root = f"//{secret.hex()}"
    return {name: DevWallet(f"{root}//{name}", f"{root}//{name}//hot") for name in names}


def _connect(devnet: Devnet, stack: ExitStack) -> Connection:
    connection = Connection(ChainTarget((devnet.endpoint,), deadline_s=_DEADLINE_S))
    stack.callback(connection.close)
    return connection


def _get_wall_ms() -> int:
    return time.time_ns() // 1_000_000
