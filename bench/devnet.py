"""The development network: its start, its memory, and its rate of extrinsics.

The network runs in its own process, as `assay localnet` runs it. Extrinsics are signed before the
clock starts, and count as accepted once they are in a block. `assay localnet` itself is ready when
it has printed the next command to type. Relays count requests before the two nodes that a validator
names, its own and a fallback; the client reads members and commitments at each block.
"""

import json
import signal
import subprocess
import sys
import tempfile
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any

from bittensor_core import Keypair, Runtime
from figures import Figure, report
from websockets.sync.client import ClientConnection, connect

sys.path.append(str(Path(__file__).parents[1]))
from assay.network.chain.connection import Connection
from assay.network.chain.subtensor import SubtensorChain
from assay.network.chain.target import ChainTarget
from subtensor_devnet import Devnet, Seal
from subtensor_devnet.metadata import SPEC_VERSION, TRANSACTION_VERSION, load_metadata
from subtensor_devnet.scale_codec import SS58_TYPE
from tests.faults.proxy import FaultProxy

NEURONS = 256
ROUNDS = 8  # commitments of each neuron
PAYLOAD_BYTES = 128
RUNS = 3
BLOCK_S = 1.0
#: Most seconds for 1,000 commitments.
AIM_S = 1_000 / 300
SERVE = f"""
import sys, time
from pathlib import Path
from subtensor_devnet import Devnet
devnet = Devnet(Path(sys.argv[1]), block_time={BLOCK_S})
devnet.start()
print(devnet.endpoint, flush=True)
sys.stdin.read()
devnet.close()
"""


class Network:
    """A network in another process."""

    def __init__(self, folder: Path) -> None:
        started = perf_counter()
        command = [sys.executable, "-c", SERVE, str(folder)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        endpoint = self._process.stdout.readline().strip()
        self.start_s = perf_counter() - started
        self.node = connect(endpoint, max_size=None, compression=None)

    @property
    def memory_mib(self) -> float:
        """The network's resident memory now, MiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1_024

    def ask(self, method: str, params: list[Any]) -> Any:
        return ask(self.node, method, params)

    def close(self) -> None:
        self.node.close()
        self._process.communicate()


def start_localnet(folder: Path) -> float:
    """Seconds until `assay localnet` has printed everything that it prints at its start."""
    assay = str(Path(sys.executable).with_name("assay"))
    command = [assay, "localnet", "--dir", str(folder), *([] if folder.exists() else ["--port=0"])]
    started = perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        assert any(line.startswith("Ctrl-C") for line in process.stdout)
        return perf_counter() - started
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def ask(node: ClientConnection, method: str, params: list[Any]) -> Any:
    node.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    answer = json.loads(node.recv(timeout=60))
    assert "error" not in answer, answer
    return answer["result"]


def plant(network: Network, hotkeys: list[Any]) -> None:
    """Write a subnet whose neurons need no registration."""
    addresses = [hotkey.ss58_address for hotkey in hotkeys]
    module = {
        "networksAdded": [[[1], True]],
        "subnetworkN": [[[1], NEURONS]],
        "keys": [[[1, uid], address] for uid, address in enumerate(addresses)],
        "uids": [[[1, address], uid] for uid, address in enumerate(addresses)],
    }
    network.ask("dev_setStorage", [{"SubtensorModule": module}])


def sign_all(runtime: Any, genesis: bytes, hotkeys: list[Any], first: int) -> list[str]:
    """Signed commitments in order of nonce, each in its own request."""
    signed = []
    for nonce in range(first, first + ROUNDS):
        for hotkey in hotkeys:
            payload = sha256(bytes(hotkey.public_key) + bytes([nonce])).digest() * 4
            fields = [[{f"Raw{PAYLOAD_BYTES}": "0x" + payload.hex()}]]
            arguments = {"netuid": 1, "info": {"fields": fields}}
            call = bytes(runtime.compose_call("Commitments", "set_commitment", arguments))
            common = {"era": "00", "nonce": nonce, "tip": 0, "tip_asset_id": None}
            to_sign = runtime.signature_payload(
                call, genesis_hash=genesis, era_block_hash=genesis, metadata_hash=None, **common
            )
            data, _ = runtime.encode_signed_extrinsic(
                call,
                public_key=bytes(hotkey.public_key),
                signature=bytes(hotkey.sign(bytes(to_sign))),
                signature_version=1,
                metadata_hash_enabled=False,
                **common,
            )
            signed.append("0x" + bytes(data).hex())
    return signed


def submit(network: Network, signed: list[str]) -> float:
    """Seconds until a block holds the last of the extrinsics."""
    requests = [
        json.dumps(
            {"jsonrpc": "2.0", "id": i, "method": "author_submitExtrinsic", "params": [extrinsic]}
        )
        for i, extrinsic in enumerate(signed)
    ]
    started = perf_counter()
    for request in requests:
        network.node.send(request)
    answers = [json.loads(network.node.recv(timeout=60)) for _ in requests]
    assert all("result" in answer for answer in answers), answers[0]
    while network.ask("author_pendingExtrinsics", []):
        pass
    return perf_counter() - started


def count_requests(folder: Path, blocks: int = 100) -> float:
    """Requests per block of a client that reads members and commitments at every block."""
    with Devnet(folder / "node", block_time=BLOCK_S, seal=Seal.MANUAL) as devnet:
        devnet.new_blocks(6)
        with connect(devnet.endpoint, max_size=None) as node:
            ask(node, "dev_setStorage", [{"SubtensorModule": {"networksAdded": [[[1], True]]}}])
        devnet.new_blocks(2)
        relays = [FaultProxy(devnet.endpoint) for _ in range(2)]
        try:
            target = ChainTarget(tuple(relay.url for relay in relays))
            with (
                closing(Connection(target)) as connection,
                closing(SubtensorChain(connection, 1, folder / "state", poll_s=0)) as chain,
            ):
                before = sum(relay.requests.total() for relay in relays)
                for _ in range(blocks):
                    devnet.new_blocks(1)
                    head = chain.get_head()
                    chain.get_members(head)
                    chain.get_commitments(head)
                return (sum(relay.requests.total() for relay in relays) - before) / blocks
        finally:
            for relay in relays:
                relay.close()


def main() -> None:
    metadata = load_metadata(15, round(BLOCK_S * 1_000))
    runtime = Runtime(metadata, SPEC_VERSION, TRANSACTION_VERSION, SS58_TYPE)
    hotkeys = [Keypair.create_from_uri(f"//Alice//{uid}") for uid in range(NEURONS)]
    starts, restarts, memories, times = [], [], [], []
    for run in range(RUNS):
        with tempfile.TemporaryDirectory() as name:
            network = Network(Path(name))
            starts.append(network.start_s)
            memories.append(network.memory_mib)
            plant(network, hotkeys)
            genesis = bytes.fromhex(network.ask("chain_getBlockHash", [0])[2:])
            times.append(submit(network, sign_all(runtime, genesis, hotkeys, 0)))
            assert len(network.ask("state_getKeysPaged", [slots(runtime), 1_000])) == NEURONS, run
            network.close()
            network = Network(Path(name))
            restarts.append(network.start_s)
            network.close()
    founded, found_again = [], []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory(prefix="assay-") as name:  # a short path
            founded.append(start_localnet(Path(name) / "net"))
            found_again.append(start_localnet(Path(name) / "net"))
    with tempfile.TemporaryDirectory() as name:
        requests = count_requests(Path(name))
    count = NEURONS * ROUNDS
    figures = [
        Figure("start, until clients may connect", min(starts), "s", bound=2.0),
        Figure("start in a folder with 2,048 commitments", min(restarts), "s", bound=2.0),
        Figure("memory after the start", max(memories), "MiB", bound=150.0),
        Figure(
            "1,000 pre-signed commitments, into blocks",
            min(times) / count * 1_000,
            "s",
            "300 a second",
            AIM_S,
            bound=AIM_S,
        ),
        Figure("assay localnet, first start: a subnet is founded", min(founded), "s"),
        Figure("assay localnet, later starts", min(found_again), "s"),
        Figure("requests of a validator with two nodes, a block", requests, "requests"),
    ]
    report("Development network: a process of its own, blocks every second", figures, 1)


def slots(runtime: Any) -> str:
    """The common prefix of all commitments' keys."""
    return "0x" + bytes(runtime.storage_key("Commitments", "CommitmentOf", [1])).hex()


if __name__ == "__main__":
    main()
