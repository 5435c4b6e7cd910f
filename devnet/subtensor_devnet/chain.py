"""The chain itself: blocks made of the pool's extrinsics, stored, final a few blocks later.

Not safe to share between threads: the server owns it.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bittensor_core import Keypair

from subtensor_devnet.block_database import (
    BlockDatabase,
    BlockHeader,
    StoredBlock,
    compute_extrinsics_root,
    compute_state_root,
)
from subtensor_devnet.errors import (
    DispatchError,
    InvalidTransactionError,
    RpcError,
    make_invalid_transaction_error,
)
from subtensor_devnet.extrinsics import Extrinsic, decode_extrinsic, encode_bare, get_unsigned
from subtensor_devnet.pallets.balances import (
    charge_fee,
    compute_fee,
    get_free,
    get_nonce,
    make_dispatch_info,
    mint,
    use_nonce,
)
from subtensor_devnet.pallets.coinbase import Consensus, run_coinbase
from subtensor_devnet.pallets.registration import update_prices
from subtensor_devnet.pallets.shield import rotate_key
from subtensor_devnet.pallets.weights import (
    is_pulse,
    list_awaited_rounds,
    put_pulse,
    reveal_commits,
)
from subtensor_devnet.pool import ExtrinsicPool, PendingExtrinsic
from subtensor_devnet.runtime import DevnetRuntime
from subtensor_devnet.scale_codec import ScaleCodec
from subtensor_devnet.state import DevnetState, StateView

#: Extrinsics that one block holds at most.
BLOCK_SIZE = 4_096
#: Development keys, known to everybody. The first is the root key, which may do anything.
DEVELOPMENT_KEYS = ("//Alice", "//Bob", "//Charlie")
#: The balance of each of them in a new chain, rao.
INITIAL_BALANCE = 10**15
#: Rao of alpha that a block emits, as the chain keeps it.
_BLOCK_EMISSION = 10**9
#: No limit on a list of keys.
_ALL = 2**31


@dataclass(frozen=True, slots=True)
class MadeBlock:
    """A block just made, and the extrinsics that it holds or that have become invalid."""

    header: BlockHeader
    included: tuple[PendingExtrinsic, ...]
    dropped: tuple[PendingExtrinsic, ...]


class DevnetChain:
    """One development network's chain.

    Args:
        genesis_ms: timestamp of block 0, where there is none yet.
        slot_ms: time between blocks, milliseconds.
        finality_lag: a block is final when so many have followed it.
        secret: 32 bytes from which the author's keys follow, where there is no chain yet; drawn,
            where none is given.
    """

    def __init__(
        self,
        database: BlockDatabase,
        codec: ScaleCodec,
        consensus: Consensus,
        genesis_ms: int,
        slot_ms: int,
        finality_lag: int,
        secret: bytes | None = None,
    ) -> None:
        self.codec = codec
        self.slot_ms = slot_ms
        self.pool = ExtrinsicPool()
        self._database = database
        self._consensus = consensus
        #: Hashes of the past that `System.BlockHash` keeps, besides the first block's.
        self.kept_hashes: int = codec.get_constant("System", "BlockHashCount")
        self._lag = finality_lag
        self._pulses: dict[int, bytes] = {}
        newest = database.get_newest()
        if newest is None:
            database.put_setting("secret", (secret or secrets.token_bytes(32)).hex())
        self._secret = bytes.fromhex(database.get_setting("secret") or "")
        self.state = DevnetState(codec, database.load_newest_state())
        if newest is None:
            self._make_genesis(genesis_ms)
        stored = database.get_block(database.get_newest() or 0)
        assert stored is not None  # a chain has a genesis
        self.head = stored.header
        self.now_ms: int = self.state.get("Timestamp", "Now")

    # --- reading

    @property
    def genesis_hash(self) -> bytes:
        """Hash of block 0, 32 bytes."""
        genesis = self.get_hash(0)
        assert genesis is not None
        return genesis

    @property
    def final_number(self) -> int:
        """Number of the newest final block."""
        return max(0, self.head.number - self._lag)

    def get_hash(self, number: int) -> bytes | None:
        """A block's hash."""
        return self.head.hash if number == self.head.number else self._database.get_hash(number)

    def find_block(self, block_hash: bytes | None) -> StoredBlock | None:
        """A block by its hash, the newest where none is given."""
        return self._database.find_block(block_hash or self.head.hash)

    def find_number(self, block_hash: bytes | None) -> int:
        """A block's number by its hash, the newest where none is given; `RpcError`: no such
        block."""
        if block_hash is None or block_hash == self.head.hash:
            return self.head.number
        block = self._database.find_block(block_hash)
        if block is None:
            raise RpcError(4003, f"UnknownBlock: Header was not found: 0x{block_hash.hex()}")
        return block.header.number

    def read_state(self, key: bytes, number: int) -> bytes | None:
        """The value under a key at a block."""
        if number == self.head.number:
            return self.state.read(key)
        return self._database.read_state(key, number)

    def list_keys(self, prefix: bytes, after: bytes, count: int, number: int) -> list[bytes]:
        """Keys at a block that begin so and come after a key, in order."""
        if number == self.head.number:
            return [key for key in self.state.list_keys(prefix) if key > after][:count]
        return self._database.list_keys(prefix, after, count, number)

    def view(self, number: int) -> StateView:
        """State at a block."""
        return self.state if number == self.head.number else _PastView(self, number)

    def get_next_nonce(self, account: str) -> int:
        """The nonce of an account's next extrinsic, after those that wait."""
        nonce = get_nonce(self.state, account)
        return nonce + self.pool.count_ready(account, nonce)

    def has_work(self) -> bool:
        """Whether anything waits that a block could hold now."""
        return any(
            self.pool.count_ready(signer, get_nonce(self.state, signer))
            for signer in self.pool.list_signers()
        )

    def list_awaited_rounds(self) -> set[int]:
        """Drand rounds for which timelocked weights wait."""
        return list_awaited_rounds(self.state) - self._pulses.keys()

    # --- what comes in

    def submit(self, raw: bytes, watcher: str | None) -> Extrinsic:
        """Takes an extrinsic into the pool; `RpcError`: it is invalid, or there is no room."""
        try:
            extrinsic = decode_extrinsic(self.codec, raw, self.head.number, self._get_birth)
            self._check_payment(extrinsic)
        except InvalidTransactionError as error:
            raise make_invalid_transaction_error(str(error)) from error
        nonce = get_nonce(self.state, extrinsic.signer)
        self.pool.add(PendingExtrinsic(extrinsic, raw, watcher), nonce)
        return extrinsic

    def add_pulse(self, number: int, signature: bytes) -> bool:
        """Takes a drand round, which the next block stores. False: quicknet did not sign it so."""
        if not is_pulse(number, signature):
            return False
        self._pulses[number] = signature
        return True

    def write_storage(self, values: Mapping[bytes, bytes | None]) -> None:
        """Writes into the newest block's state as no call could."""
        for key, value in values.items():
            self.state.write(key, value)
        self._database.amend(self.head.number, self.state.list_changes())
        self.state.settle()

    def _get_birth(self, number: int) -> bytes | None:
        """The hash that a lifetime names, as far back as the runtime remembers hashes."""
        is_ancient = 0 < number < self.head.number - self.kept_hashes
        return None if is_ancient else self.get_hash(number)

    def _check_payment(self, extrinsic: Extrinsic) -> None:
        fee = compute_fee(extrinsic.call, len(extrinsic.data)) + extrinsic.tip
        if fee > get_free(self.state, extrinsic.signer):
            raise InvalidTransactionError(
                "Inability to pay some fees (e.g. account balance too low)"
            )

    # --- blocks

    def make_block(self, now_ms: int) -> MadeBlock:
        """The next block, on disk before any client hears of it, its timestamp after the last's.
        `DevnetError`: it cannot be stored; the chain is as before."""
        number = self.head.number + 1
        now_ms = max(now_ms, self.now_ms + 1)
        runtime = DevnetRuntime(self.codec, self.state, number, now_ms, self._secret)
        mark = self.state.mark()
        try:
            raw, included, dropped = self._fill(runtime)
            header = self._store(number, self.head, raw)
        except BaseException:  # also one that ends the program: the state was written into
            self.state.undo(mark)
            raise
        self._pulses.clear()
        for waiting in (*included, *dropped):
            self.pool.remove(waiting)
        self.head, self.now_ms = header, now_ms
        return MadeBlock(header, tuple(included), tuple(dropped))

    def _make_genesis(self, now_ms: int) -> None:
        runtime = DevnetRuntime(self.codec, self.state, 0, now_ms, self._secret)
        accounts = [Keypair.create_from_uri(uri).ss58_address for uri in DEVELOPMENT_KEYS]
        for account in accounts:
            mint(runtime, account, INITIAL_BALANCE)
        self.state.put("Sudo", "Key", accounts[0])
        self.state.put("Timestamp", "Now", now_ms)
        self.state.put("System", "Number", 0)
        self.state.put("System", "Events", [])
        runtime.put("NetworksAdded", 0, True)  # the root network, which nobody is on
        runtime.put("TotalNetworks", 1)
        runtime.put("BlockEmission", _BLOCK_EMISSION)
        rotate_key(runtime)
        self._store(0, BlockHeader(-1, bytes(32), bytes(32), bytes(32), bytes(32)), [])

    def _fill(
        self, runtime: DevnetRuntime
    ) -> tuple[list[bytes], list[PendingExtrinsic], list[PendingExtrinsic]]:
        """Applies everything to state. The extrinsics as they travel, and what became of which."""
        self._begin(runtime)
        raw = [encode_bare(self.codec.encode_call("Timestamp", "set", {"now": runtime.now_ms}))]
        runtime.phase = 0
        info = {"weight": {"ref_time": 0, "proof_size": 0}, "class": "Mandatory", "pays_fee": "Yes"}
        runtime.deposit("System", "ExtrinsicSuccess", {"dispatch_info": info})
        included: list[PendingExtrinsic] = []
        dropped: list[PendingExtrinsic] = []
        for waiting in self.pool.iterate():
            extrinsic = waiting.extrinsic
            nonce = get_nonce(self.state, extrinsic.signer)
            if len(raw) >= BLOCK_SIZE:
                break
            if not self._is_applicable(extrinsic, runtime.number):
                dropped.append(waiting)
                continue
            if extrinsic.nonce > nonce:
                continue  # what comes before it is still to come
            self._apply(runtime, extrinsic, len(raw))
            raw.append(waiting.raw)
            included.append(waiting)
            raw += self._apply_shielded(runtime, len(raw))
        runtime.phase = None
        events = runtime.events
        self.state.put("System", "Events", events)
        self.state.put("System", "EventCount", len(events))
        return raw, included, dropped

    def _begin(self, runtime: DevnetRuntime) -> None:
        """Does a block's work before its extrinsics."""
        state, number = self.state, runtime.number
        state.put("System", "Number", number)
        state.put("System", "ParentHash", "0x" + self.head.hash.hex())
        state.put("System", "BlockHash", number - 1, "0x" + self.head.hash.hex())
        if number > self.kept_hashes + 1:
            state.remove("System", "BlockHash", number - 1 - self.kept_hashes)
        state.put("Timestamp", "Now", runtime.now_ms)
        for pulse, signature in sorted(self._pulses.items()):
            put_pulse(state, pulse, signature)
        rotate_key(runtime)
        update_prices(runtime)
        reveal_commits(runtime)
        run_coinbase(runtime, self._consensus)

    def _is_applicable(self, extrinsic: Extrinsic, number: int) -> bool:
        """Whether what was valid when it came still is."""
        if extrinsic.nonce < get_nonce(self.state, extrinsic.signer):
            return False
        if extrinsic.era is not None and not extrinsic.era.is_alive(extrinsic.birth, number):
            return False
        try:
            self._check_payment(extrinsic)
        except InvalidTransactionError:
            return False
        return True

    def _apply(self, runtime: DevnetRuntime, extrinsic: Extrinsic, index: int) -> None:
        """Charges for an extrinsic and runs its call; one that fails has been paid for."""
        runtime.phase = index
        signer, call = extrinsic.signer, extrinsic.call
        use_nonce(self.state, signer)
        fee = compute_fee(call, len(extrinsic.data))
        charge_fee(runtime, signer, fee, extrinsic.tip)
        fields: dict[str, Any] = {"dispatch_info": make_dispatch_info(call)}
        name = "ExtrinsicSuccess"
        try:
            runtime.dispatch(signer, call)
        except DispatchError as error:
            name = "ExtrinsicFailed"
            fields["dispatch_error"] = self.codec.make_error(error)
        paid = {"who": signer, "actual_fee": fee + extrinsic.tip, "tip": extrinsic.tip}
        runtime.deposit("TransactionPayment", "TransactionFeePaid", paid)
        runtime.deposit("System", name, fields)

    def _apply_shielded(self, runtime: DevnetRuntime, index: int) -> list[bytes]:
        """Extrinsics that the last one was a shield of, where they are valid."""
        raw: list[bytes] = []
        while runtime.shielded:
            data = runtime.shielded.pop(0)
            try:
                extrinsic = decode_extrinsic(self.codec, data, self.head.number, self._get_birth)
            except InvalidTransactionError:
                continue
            is_next = extrinsic.nonce == get_nonce(self.state, extrinsic.signer)
            if is_next and self._is_applicable(extrinsic, runtime.number):
                self._apply(runtime, extrinsic, index + len(raw))
                raw.append(data)
        return raw

    def _store(self, number: int, parent: BlockHeader, raw: list[bytes]) -> BlockHeader:
        changes = self.state.list_changes()
        header = BlockHeader.make(
            self.codec,
            number,
            parent.hash,
            compute_state_root(parent.state_root, changes),
            compute_extrinsics_root([get_unsigned(extrinsic) for extrinsic in raw]),
        )
        self._database.add_block(StoredBlock(header, tuple(raw)), changes)
        self.state.settle()
        return header


class _PastView(StateView):
    """State at a block of the past, read as it is asked for."""

    def __init__(self, chain: DevnetChain, number: int) -> None:
        self.codec = chain.codec
        self._chain = chain
        self._number = number

    def read(self, key: bytes) -> bytes | None:
        return self._chain.read_state(key, self._number)

    def list_keys(self, prefix: bytes) -> list[bytes]:
        return self._chain.list_keys(prefix, b"", _ALL, self._number)
