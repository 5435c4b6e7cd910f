"""One subnet to try things on, simulated or on a real runtime, behind the same few handles."""

import itertools
import json
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from assay.lab.localnet.development_calls import change_settings
from assay.lab.simulator import SimulatedChain, SimulatedRules
from assay.network.chain.connection import Connection
from assay.network.chain.extrinsic_sender import ExtrinsicSender
from assay.network.chain.subnet_owner import create_subnet
from assay.network.chain.subtensor import SubtensorChain
from assay.network.chain.target import ChainTarget
from assay.network.chain.wallets import DevWallet

TAO = 10**9
TEMPO = 10
_AT_ONCE = 10  # blocks that a runtime is asked for in one call
_serial = itertools.count(int(time.time()))


class Net(ABC):
    """A subnet, its owner's powers, and time."""

    chain: Any

    @abstractmethod
    def make_hotkeys(self, count: int, rao: int = 1_000 * TAO) -> list[bytes]:
        """Hotkeys nobody has seen, each with a coldkey of its own that holds so much."""

    @abstractmethod
    def get_coldkey(self, hotkey: bytes) -> bytes:
        """Whose money pays for a hotkey."""

    @abstractmethod
    def swap(self, old: bytes, new: bytes) -> None:
        """Has another hotkey take over a seat."""

    @abstractmethod
    def set_rules(self, **rules: int) -> None:
        """Changes fields of `SimulatedRules`."""

    @abstractmethod
    def pass_blocks(self, count: int) -> None:
        """Wait until this many blocks become final."""

    def register(self, count: int, stake: int = 0) -> list[bytes]:
        """New hotkeys that hold uids, and stake."""
        hotkeys = self.make_hotkeys(count)
        for hotkey in hotkeys:
            self.chain.register(hotkey, self.chain.quote_registration(hotkey).cost)
            if stake:
                self.chain.add_stake(hotkey, stake, any_price=True)
        self.pass_blocks(1)
        return hotkeys

    def pass_epoch(self) -> int:
        """Continue until an epoch has ended. Returns its block."""
        number = self.chain.get_head() + 1
        while not self.chain.is_epoch(number):
            number += 1
        self.pass_blocks(number + 1 - self.chain.get_head())
        return number


class SimulatedNet(Net):
    def __init__(self) -> None:
        owner = sha256(b"owner").digest()
        self.chain = SimulatedChain(b"test", 3, 1_700_000_000_000, 1_000, TEMPO, (owner,))
        self.chain.rules = SimulatedRules(registration_cost=TAO, permits=True)
        self.pass_blocks(TEMPO + 1)

    def make_hotkeys(self, count: int, rao: int = 1_000 * TAO) -> list[bytes]:
        hotkeys = [sha256(str(next(_serial)).encode()).digest() for _ in range(count)]
        for hotkey in hotkeys:
            self.chain.fund(hotkey, rao)
        return hotkeys

    def get_coldkey(self, hotkey: bytes) -> bytes:
        return hotkey

    def swap(self, old: bytes, new: bytes) -> None:
        self.chain.swap(old, new)

    def set_rules(self, **rules: int) -> None:
        self.chain.rules = replace(self.chain.rules, **rules)

    def pass_blocks(self, count: int) -> None:
        for _ in range(count):
            self.chain.mint()


class RuntimeNet(Net):
    """A subnet of its own on a chain whose sudo is //Alice."""

    #: rule → (call of AdminUtils, its argument)
    _SUDO: Mapping[str, tuple[str, str]] = {
        "weights_rate_limit": ("sudo_set_weights_set_rate_limit", "weights_set_rate_limit"),
        "min_weights": ("sudo_set_min_allowed_weights", "min_allowed_weights"),
        "max_uids": ("sudo_set_max_allowed_uids", "max_allowed_uids"),
        "immunity_period": ("sudo_set_immunity_period", "immunity_period"),
        "tempo": ("sudo_set_tempo", "tempo"),
        "max_registrations_per_block": (
            "sudo_set_max_registrations_per_block",
            "max_registrations_per_block",
        ),
        "target_registrations": (
            "sudo_set_target_registrations_per_interval",
            "target_registrations_per_interval",
        ),
        "commit_reveal": ("sudo_set_commit_reveal_weights_enabled", "enabled"),
        "subtoken": ("sudo_set_subtoken_enabled", "subtoken_enabled"),
    }

    def __init__(self, connection: Connection, folder: Path, deadline_s: float = 1.0) -> None:
        self.connection = connection
        self._deadline_s = deadline_s
        self.endpoint = connection.endpoint
        self.folder = folder
        self.owner_uri = f"//Alice//owner//{next(_serial)}"
        self.alice = DevWallet("//Alice", self.owner_uri)
        self._sender = ExtrinsicSender(connection)
        self._wallets: dict[bytes, DevWallet] = {}
        methods = self._rpc("rpc_methods", [])["methods"]
        self._drives_time = "dev_newBlock" in methods
        self._known = connection.read(list_admin_calls)
        self._sudo_calls(
            [
                ("sudo_set_network_rate_limit", {"rate_limit": 0}),
                ("sudo_set_lock_reduction_interval", {"interval": 1}),
                ("sudo_set_stake_threshold", {"min_stake": 0}),
                ("sudo_set_admin_freeze_window", {"window": 0}),
            ]
        )
        self.netuid = create_subnet(connection, self.alice, 10**17)
        self._sudo_calls(
            [
                ("sudo_set_min_allowed_uids", {"netuid": self.netuid, "min_allowed_uids": 0}),
                ("sudo_set_min_non_immune_uids", {"netuid": self.netuid, "min": 0}),
                (
                    "sudo_set_burn_increase_mult",
                    {"netuid": self.netuid, "burn_increase_mult": {"bits": 1 << 64}},
                ),
            ]
        )
        if self._drives_time:  # a price that stays as it is between a quote and its call
            self.set_rules(registration_cost=TAO)
        self.set_rules(
            tempo=TEMPO,
            weights_rate_limit=0,
            max_registrations_per_block=100,
            target_registrations=100,
            commit_reveal=False,
            subtoken=True,
        )
        self.chain = SubtensorChain(connection, self.netuid, folder, poll_s=0)
        self._wallets[self.chain.add_wallet(self.alice)] = self.alice

    def make_target(self, *endpoints: str) -> ChainTarget:
        """For clients that give up soon, but not before this node has answered."""
        wait_s = 4 * self._deadline_s
        return ChainTarget(
            endpoints, deadline_s=self._deadline_s, patience_s=wait_s, inclusion_s=wait_s
        )

    def make_hotkeys(self, count: int, rao: int = 1_000 * TAO) -> list[bytes]:
        wallets = [
            DevWallet(f"//Alice//cold//{serial}", f"//Alice//hot//{serial}")
            for serial in itertools.islice(_serial, count)
        ]
        self.fund(*(wallet.coldkey.ss58_address for wallet in wallets), rao=rao)
        hotkeys = [self.chain.add_wallet(wallet) for wallet in wallets]
        self._wallets |= dict(zip(hotkeys, wallets, strict=True))
        return hotkeys

    def fund(self, *coldkeys: str, rao: int) -> None:
        """Sends everyone so much."""
        transfers = [{"dest": coldkey, "value": rao} for coldkey in coldkeys]
        self._batch([("Balances", "transfer_keep_alive", transfer) for transfer in transfers])

    def get_coldkey(self, hotkey: bytes) -> bytes:
        return bytes(self._wallets[hotkey].coldkey.public_key)

    def get_wallet(self, hotkey: bytes) -> DevWallet:
        return self._wallets[hotkey]

    def swap(self, old: bytes, new: bytes) -> None:
        arguments = {
            "hotkey": self._wallets[old].hotkey.ss58_address,
            "new_hotkey": self._wallets[new].hotkey.ss58_address,
            "netuid": None,  # a swap on one subnet alone waits for days
        }
        call = ("SubtensorModule", "swap_hotkey", arguments)
        self._sender.send_call(call, self._wallets[old], final=True)

    def set_rules(self, **rules: int) -> None:
        cost = rules.pop("registration_cost", None)
        calls = [
            (self._SUDO[name][0], {"netuid": self.netuid, self._SUDO[name][1]: value})
            for name, value in rules.items()
        ]
        if cost is not None:
            price = {name: [[[self.netuid], cost]] for name in ("burn", "minBurn")}
            self._rpc("dev_setStorage", [{"SubtensorModule": price}])
            self.pass_blocks(1)
        if calls:
            self._sudo_calls(calls)

    def pass_blocks(self, count: int) -> None:
        if self._drives_time:
            while count > 0:  # a few at a time: each answer has its own deadline
                self._rpc("dev_newBlock", [{"count": min(count, _AT_ONCE)}])
                count -= _AT_ONCE
            return
        end = self.chain.get_head() + count
        while self.chain.get_head() < end:
            time.sleep(0.2)

    def set_storage(self, values: Mapping[str, Any]) -> None:
        """Writes state as no call could. Development executors only."""
        self._rpc("dev_setStorage", [values])

    def _sudo_calls(self, calls: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Make those of the calls that this runtime has, as root."""
        change_settings(self.connection, [call for call in calls if call[0] in self._known])

    def _batch(self, calls: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
        async def wrap(substrate: Any) -> Any:
            inner = [await substrate.compose(call) for call in calls]
            return ("Utility", "batch_all", {"calls": inner})

        self._sender.send_call(self.connection.read(wrap), self.alice, final=True)

    def _rpc(self, method: str, params: list[Any]) -> Any:
        answer = ask(self.endpoint, method, params)
        assert "error" not in answer, answer
        return answer["result"]


async def list_admin_calls(substrate: Any) -> set[str]:
    """Names of all calls that change settings."""
    metadata = await substrate.raw.metadata_ir()
    (pallet,) = (pallet for pallet in metadata.pallets if pallet.name == "AdminUtils")
    return {call.name for call in pallet.calls}


def ask(endpoint: str, method: str, params: list[Any]) -> dict[str, Any]:
    """One JSON-RPC answer, error or not."""
    with connect(endpoint, max_size=None) as node:
        node.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
        answer: dict[str, Any] = json.loads(node.recv(timeout=120))
        return answer


@contextmanager
def start_node(running: str | None, folder: Path, block_ms: int = 0) -> Iterator[str]:
    """The endpoint of a node that runs, or of one started here from `folder`.

    Args:
        block_ms: between blocks; 0: only on demand and for each transaction.
    """
    if running:
        yield running
        return
    genesis = next(folder.glob("genesis*.json"), None)
    if genesis is None or not (folder / "node_modules").is_dir():
        raise FileNotFoundError(
            f"{folder} has no genesis*.json or no node_modules: npm ci --ignore-scripts"
        )
    command = ["env", "LOG_LEVEL=error", "node", "devchain.mjs", genesis.name, "0", str(block_ms)]
    node = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    assert node.stdout is not None
    try:
        words = node.stdout.readline().split()
        assert "listening" in words, f"the runtime did not start: {' '.join(words)}"
        endpoint = "ws://" + words[words.index("listening") + 1]
        if not int(ask(endpoint, "chain_getHeader", [])["result"]["number"], 16):
            # block 1 would read the clock twice, and across a second's end the runtime panics
            now = {"Timestamp": {"now": int(time.time() * 1_000)}}
            ask(endpoint, "dev_setStorage", [now])
            ask(endpoint, "dev_newBlock", [{"count": 1}])
        yield endpoint
    finally:
        node.terminate()
        node.wait(60)


def open_net(endpoint: str, folder: Path, deadline_s: float = 1.0) -> RuntimeNet:
    """A fresh subnet on the chain behind an endpoint, which answers within `deadline_s` seconds."""
    return RuntimeNet(Connection(ChainTarget((endpoint,), deadline_s=60)), folder, deadline_s)
