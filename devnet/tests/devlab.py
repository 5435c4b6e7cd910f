"""A chain to try things on: no sockets, no clock, a block whenever the test says so."""

from pathlib import Path
from typing import Any

from bittensor_core import Keypair

from subtensor_devnet.block_database import BlockDatabase
from subtensor_devnet.chain import DevnetChain, MadeBlock
from subtensor_devnet.extrinsics import make_payload
from subtensor_devnet.metadata import load_metadata
from subtensor_devnet.runtime import MODULE
from subtensor_devnet.scale import encode_bytes, encode_compact
from subtensor_devnet.scale_codec import ScaleCodec
from subtensor_devnet.yuma import compute_epoch

TAO = 10**9
SLOT_MS = 1_000
GENESIS_MS = 1_700_000_000_000
METADATA = load_metadata(15, SLOT_MS)


def get_key(uri: str) -> Any:
    return Keypair.create_from_uri(uri)


def sign(
    codec: ScaleCodec,
    genesis: bytes,
    keypair: Any,
    call: bytes,
    nonce: int,
    *,
    tip: int = 0,
    era: bytes = b"\x00",
    birth: bytes | None = None,
) -> bytes:
    """A signed extrinsic with its length before it, made without the code that is tested."""
    extra = era + encode_compact(nonce) + encode_compact(tip) + b"\x00"
    signature = bytes(keypair.sign(make_payload(call, extra, genesis, birth or genesis)))
    account = b"\x00" + bytes(keypair.public_key)
    return encode_bytes(b"\x84" + account + b"\x01" + signature + extra + call)


class Lab:
    """A chain in a folder, and the means to do things on it.

    Attributes:
        last: the block made last.
    """

    def __init__(self, folder: Path, codec: ScaleCodec) -> None:
        self.codec = codec
        self.folder = folder
        self.last: MadeBlock | None = None
        self.open()

    def open(self) -> None:
        """Begin, or continue."""
        self.database = BlockDatabase(self.folder / "devnet.sqlite")
        self.chain = DevnetChain(
            self.database, self.codec, compute_epoch, GENESIS_MS, SLOT_MS, finality_lag=0
        )

    def pass_blocks(self, count: int = 1) -> None:
        for _ in range(count):
            self.last = self.chain.make_block(self.chain.now_ms + SLOT_MS)

    def pass_epoch(self, netuid: int = 1) -> None:
        """Until an epoch has ended in the newest block."""
        before = self.get("SubnetEpochIndex", netuid)
        while self.get("SubnetEpochIndex", netuid) == before:
            self.pass_blocks()

    def get(self, item: str, *keys: Any) -> Any:
        return self.chain.state.get(MODULE, item, *keys)

    def put(self, item: str, *keys_and_value: Any) -> None:
        """Writes state as no call could."""
        *keys, value = keys_and_value
        key = self.codec.make_key(MODULE, item, *keys)
        self.chain.write_storage({key: self.codec.encode_value(MODULE, item, value)})

    def get_free(self, keypair: Any) -> int:
        account = self.chain.state.get("System", "Account", keypair.ss58_address)
        return int(account["data"]["free"])

    def sign(self, keypair: Any, pallet: str, name: str, arguments: Any, **how: Any) -> bytes:
        nonce = how.pop("nonce", None)
        if nonce is None:
            nonce = self.chain.get_next_nonce(keypair.ss58_address)
        call = self.codec.encode_call(pallet, name, arguments)
        return sign(self.codec, self.chain.genesis_hash, keypair, call, nonce, **how)

    def send(self, keypair: Any, pallet: str, name: str, **arguments: Any) -> None:
        """Into the pool."""
        self.chain.submit(self.sign(keypair, pallet, name, arguments), None)

    def do(self, keypair: Any, pallet: str, name: str, **arguments: Any) -> str | None:
        """In a block of its own. The error it failed with."""
        self.send(keypair, pallet, name, **arguments)
        self.pass_blocks()
        return self.get_outcome(-1)

    def get_events(self) -> list[dict[str, Any]]:
        """The events of the newest block."""
        events: list[dict[str, Any]] = self.chain.state.get("System", "Events")
        return events

    def get_outcome(self, index: int) -> str | None:
        """The error of an extrinsic in the newest block; for `sudo`, the result of the call as
        root."""
        ends = [e for e in self.get_events() if e["event_id"].startswith("Extrinsic")]
        phase = ends[index]["extrinsic_idx"]
        for event in self.get_events():
            if event["extrinsic_idx"] != phase:
                continue
            error = None
            if event["event_id"] == "ExtrinsicFailed":
                error = event["attributes"]["dispatch_error"]
            elif event["event_id"] == "Sudid":
                error = event["attributes"]["sudo_result"].get("Err")
            if error is not None:
                return self.name_error(error)
        return None

    def name_error(self, error: Any) -> str:
        if isinstance(error, dict) and "Module" in error:
            number = bytes.fromhex(error["Module"]["error"][2:])[0]
            name, _ = self.codec.core.module_error(error["Module"]["index"], number)
            return str(name)
        return str(error)

    def sudo(self, pallet: str, name: str, **arguments: Any) -> str | None:
        call = self.codec.encode_call(pallet, name, arguments)
        return self.do(get_key("//Alice"), "Sudo", "sudo", call=call)

    def make_subnet(self) -> int:
        """Alice's subnet 1, running, with an epoch every ten blocks and nothing in the way."""
        alice = get_key("//Alice")
        assert self.do(alice, MODULE, "register_network", hotkey=OWNER.ss58_address) is None
        assert self.do(alice, MODULE, "start_call", netuid=1) is None
        for item, value in (
            ("CommitRevealWeightsEnabled", False),
            ("WeightsSetRateLimit", 0),
            ("ImmunityPeriod", 0),
            ("MinNonImmuneUids", 0),
        ):
            self.put(item, 1, value)
        self.put("AdminFreezeWindow", 0)
        return 1

    def register(self, *names: str, stake: int = 0) -> list[Any]:
        """Hotkeys that hold uids, each with a coldkey of its own."""
        hotkeys = []
        for name in names:
            cold, hot = get_key(f"//{name}//cold"), get_key(f"//{name}//hot")
            self.send(
                get_key("//Alice"),
                "Balances",
                "transfer_keep_alive",
                dest=cold.ss58_address,
                value=10_000 * TAO,
            )
            self.pass_blocks()
            error = self.do(cold, MODULE, "burned_register", netuid=1, hotkey=hot.ss58_address)
            assert error is None, error
            if stake:
                arguments = {"hotkey": hot.ss58_address, "netuid": 1, "amount_staked": stake}
                assert self.do(cold, MODULE, "add_stake", **arguments) is None
            hotkeys.append(hot)
        return hotkeys


OWNER = get_key("//Alice//owner")
