"""An EVM on this machine, with what only subtensor has mocked at its addresses."""

import json
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
from bittensor.sp_core import Keypair
from eth_account import Account

from assay.network.evm import EvmKey, EvmNode, ScoreLedger, bind_hotkey, deploy_contracts
from assay.protocol.score_tree import keccak256

CONTRACTS = Path(__file__).parents[3] / "contracts"
BINARY = CONTRACTS / "node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
CHAIN_ID = 42
#: The epochs that tests post have come.
FIRST_BLOCK = 5_000
#: anvil's first development key, known to everybody; it is rich.
RICH = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
SR25519, STORAGE = f"0x{0x403:040x}", f"0x{0x807:040x}"
NETUID = 7


class Anvil:
    """One anvil process. Blocks come with each transaction, or on `mine` where `pause` was called.

    Args:
        blocks: whether the precompiles are there.
    """

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [
                BINARY,
                "--port",
                str(port),
                "--chain-id",
                str(CHAIN_ID),
                "--hardfork",
                "cancun",
                "--number",
                str(FIRST_BLOCK),
                "--silent",
            ],
            stdin=subprocess.DEVNULL,
        )
        self._client = httpx2.Client(timeout=60, trust_env=False)
        deadline = time.monotonic() + 60
        while True:
            with suppress(httpx2.HTTPError):
                self.rpc("eth_chainId")
                return
            assert time.monotonic() < deadline, "anvil did not start"
            time.sleep(0.02)

    def close(self) -> None:
        self._client.close()
        self.process.kill()
        self.process.wait(60)

    def rpc(self, method: str, *params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = self._client.post(self.endpoint, json=body).json()
        assert "error" not in answer, answer
        return answer["result"]

    def mine(self, blocks: int = 1) -> None:
        self.rpc("anvil_mine", hex(blocks))

    def pause(self) -> None:
        """No block comes but by `mine`."""
        self.rpc("evm_setAutomine", False)

    def go_on(self) -> None:
        self.rpc("evm_setAutomine", True)

    def etch(self, address: str, mock: str) -> None:
        """Put a mock of Precompiles.sol at an address; "" removes the one there."""
        code = "0x"
        if mock:
            built = CONTRACTS / "out/Precompiles.sol" / f"{mock}.json"
            code = json.loads(built.read_text())["deployedBytecode"]["object"]
        self.rpc("anvil_setCode", address, code)

    def allow(self, message: bytes, hotkey: bytes, signature: bytes) -> None:
        """Has the sr25519 mock know a signature: its first slot is the mapping."""
        known = keccak256(message + hotkey + signature)
        slot = keccak256(known + bytes(32))
        self.rpc("anvil_setStorageAt", SR25519, "0x" + slot.hex(), "0x" + "0" * 63 + "1")

    def put_storage(self, key: bytes, value: bytes) -> None:
        """Writes into the mocked storage of the chain."""
        from eth_abi.abi import encode

        data = keccak256(b"put(bytes,bytes)")[:4] + encode(["bytes", "bytes"], [key, value])
        self.send(STORAGE, data)

    def send(self, to: str, data: bytes) -> None:
        """A transaction of nobody in particular; returns once a block holds it."""
        sender = self.rpc("eth_accounts")[1]
        call = {"from": sender, "to": to, "data": "0x" + data.hex(), "gas": hex(10_000_000)}
        hash_ = self.rpc("eth_sendTransaction", call)
        deadline = time.monotonic() + 60
        while (receipt := self.rpc("eth_getTransactionReceipt", hash_)) is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert receipt["status"] == "0x1"


class Hotkey:
    """A validator's sr25519 key. Its signatures are verified here as the precompile would, and then
    the mock learns them."""

    def __init__(self, anvil: Anvil, uri: str) -> None:
        self._anvil = anvil
        self._pair = Keypair.create_from_uri(uri)
        self.public = bytes(self._pair.public_key)

    def sign(self, message: bytes) -> bytes:
        signature = bytes(self._pair.sign(message))
        assert self._pair.verify(message, signature)
        self._anvil.allow(message, self.public, signature)
        return signature


class Stage:
    """A chain with both contracts, a validator's hotkey and the key that it bound."""

    def __init__(self, anvil: Anvil) -> None:
        self.anvil = anvil
        self.anvil.go_on()
        self.anvil.etch(SR25519, "Sr25519Mock")
        self.anvil.etch(STORAGE, "StorageMock")
        self.node = EvmNode(anvil.endpoint, CHAIN_ID)
        self.key = EvmKey(Account.from_key(RICH))
        self.deployed = deploy_contracts(self.node, self.key, 0)
        self.ledger = ScoreLedger(self.node, self.deployed.ledger, NETUID)
        self.hotkey = Hotkey(anvil, "//Validator")
        self.bound = bind_hotkey(self.ledger, self.key, self.hotkey.public, self.hotkey.sign, 0)

    def make_poor_key(self, wei: int = 10**18) -> EvmKey:
        key = EvmKey.create()
        self.anvil.rpc("anvil_setBalance", key.address, hex(wei))
        return key

    def close(self) -> None:
        self.node.close()
