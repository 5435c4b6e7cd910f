"""A subnet on a subtensor chain, through the bittensor SDK: the `Chain` of `ports.py`.

It returns only finalized blocks and state *at* a block, and caches everything it has read. It asks
the chain in batches: a subnet of 256 neurons takes as many requests as one of two. Safe to use from
several threads.

It cannot detect a node that lies about state, so an operator should run its own node. It checks
that the node is of the right chain, and of the same history as the cached state.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

from assay.network.chain.block_bodies import BlockBody, read_body
from assay.network.chain.connection import Connection
from assay.network.chain.epochs import Epochs
from assay.network.chain.errors import ChainError, ForgottenError, TooSoonError, UnknownOutcomeError
from assay.network.chain.extrinsic_sender import ExtrinsicSender
from assay.network.chain.finalized_heads import LAG_BLOCKS
from assay.network.chain.forms import STAMP, WEIGHTS, WRITTEN
from assay.network.chain.runtime_features import (
    MODULE,
    RegisterBy,
    RuntimeFeatures,
    WeightsBy,
    detect_runtime,
)
from assay.network.chain.state_archive import StateArchive
from assay.network.chain.subnet_owner import get_balance
from assay.network.chain.subnet_state import (
    SubnetState,
    read_alpha_price,
    read_block,
    read_commitment_blocks,
    read_hyperparameters,
    read_metagraph,
    read_owner,
    read_pulse,
    read_settings,
    read_state,
    read_weights,
    read_weights_block,
    require_same_history,
)
from assay.network.chain.substrate import Substrate
from assay.network.chain.values import (
    Hyperparameters,
    MetagraphRow,
    Quote,
    Receipt,
    Setting,
    format_tao,
)
from assay.network.chain.wallets import ChainWallet, get_hotkey
from assay.network.chain.weights_sender import make_row, send_weights
from assay.protocol.commitment import COMMITMENT_BYTES
from assay.protocol.context import Member
from assay.protocol.encoding import Row
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import Block

T = TypeVar("T")

logger = logging.getLogger("assay.chain")

_STATE = Row(SubnetState)
#: Longest time for a request of a drand round, seconds: relays have the round too.
_PULSE_S = 4.0
#: The largest price change that the SDK allows a purchase.
_SLIPPAGE = "5 %"


class SubtensorChain:
    """One subnet. A refusal or failure is a `ChainError`.

    Args:
        folder: where state is cached.
        poll_s: a head younger than this is not requested again.

    Raises:
        ChainError: the subnet does not exist, the runtime is not supported, or `folder` has the
            state of another chain.
    """

    def __init__(
        self, connection: Connection, netuid: int, folder: Path, poll_s: float = 1.0
    ) -> None:
        self.netuid = netuid
        self._connection = connection
        self._poll_s = poll_s
        self._wallets: dict[bytes, ChainWallet] = {}
        self._sender = ExtrinsicSender(connection)
        self._lock = RLock()
        self._head = (-1, float("-inf"))
        self._runtime = connection.read(detect_runtime)
        logger.info("%s: %s", connection.where, self._runtime, extra={"event": "node_found"})
        name = f"chain-{connection.genesis_hash.hex()[:16]}-{netuid}.sqlite"
        self.archive = StateArchive(folder / name, connection.genesis_hash, netuid)
        self._tell_kept()
        connection.add_check(self._require_same_history)
        if not connection.read(lambda s: s.query(MODULE, "NetworksAdded", [netuid])):
            raise ChainError(f"this chain has no subnet {netuid}: create it, or name another one")
        self._epochs = Epochs(connection, netuid, self.archive)

    @property
    def genesis_hash(self) -> bytes:
        """Hash of block 0, 32 bytes."""
        return self._connection.genesis_hash

    @property
    def runtime(self) -> RuntimeFeatures:
        """The runtime at the head, as last seen."""
        return self._runtime

    def add_wallet(self, wallet: ChainWallet) -> bytes:
        """Let this process sign for a wallet. Return its hotkey, 32 bytes."""
        hotkey = get_hotkey(wallet)
        self._wallets[hotkey] = wallet
        return hotkey

    def stop_retrying(self) -> None:
        """See `Connection.stop_retrying`."""
        self._connection.stop_retrying()

    def close(self) -> None:
        """Close the cache. The connection belongs to the caller."""
        self.archive.close()

    # --- state at a block

    def get_head(self) -> int:
        """Number of the newest finalized block; see `Connection.read_head`."""
        with self._lock:
            number, seen = self._head
            if time.monotonic() - seen < self._poll_s:
                return number
            newest = self._connection.read_head()
            self._follow_runtime()
            if newest < number - LAG_BLOCKS:  # no node that answers has come so far: it was a lie
                stored = self.archive.get_newest("block")
                number = stored[0] if stored is not None else -1
            self._head = (max(number, newest), time.monotonic())  # a lagging node must not lower it
            return self._head[0]

    def get_best(self) -> int:
        """The number of the newest block that the node knows, final or not. It only shows people
        how far finality lags: no state is read at it."""
        return self._connection.read(lambda s: s.block_number())

    def get_time_ms(self) -> int:
        """The timestamp of the node's best block, Unix milliseconds, independent of this machine's
        clock. Raises a `ChainError` if it cannot be read."""
        return int(self._connection.read(lambda s: s.query("Timestamp", "Now")))

    def refresh(self) -> None:
        """Make the next `get_head` ask the node, however recent the last answer is."""
        with self._lock:
            self._head = (self._head[0], float("-inf"))

    def get_block(self, number: int) -> Block:
        """A finalized block."""
        stamp = self.archive.read("block", number, STAMP)
        if stamp is not None:
            return Block(number, stamp.hash, stamp.timestamp_ms)
        if number < 0 or (number > self._head[0] and number > self.get_head()):
            raise ChainError(f"block {number} is not final yet: the head is {self._head[0]}")
        try:
            block = self._connection.read(lambda s: read_block(s, number))
        except ForgottenError:
            block = self.get_body(number).block
        self.archive.write("block", number, STAMP, block)
        return block

    def get_body(self, number: int) -> BlockBody:
        """The remaining data of a block whose state is pruned."""
        return self._connection.read(lambda s: read_body(s, self.netuid, number))

    def get_members(self, number: int) -> Mapping[bytes, Member]:
        """The uid of each member at a block, by hotkey."""
        return self._get_state(number).members

    def get_commitments(self, number: int) -> Mapping[bytes, bytes]:
        """All commitment slots at a block, including those of hotkeys without a uid: hotkey →
        payload."""
        return self._get_state(number).commitments

    def get_commitment_blocks(self, number: int) -> Mapping[bytes, int]:
        """When each commitment slot at a block was written last: hotkey → block."""
        blocks: Mapping[bytes, int] | None = self.archive.read("written", number, WRITTEN)
        if blocks is None:
            blocks = self._read_at(number, lambda s, h: read_commitment_blocks(s, self.netuid, h))
            self.archive.write("written", number, WRITTEN, blocks)
        return blocks

    def get_owner(self, number: int) -> bytes:
        """The hotkey of the subnet's owner at a block. Its slot names the parameters."""
        stored = self.archive.get("owner", number)
        if stored is None:
            stored = self._read_at(number, lambda s, h: read_owner(s, self.netuid, h)).hex()
            self.archive.put("owner", number, stored)
        return bytes.fromhex(stored)

    def get_weights(self, number: int) -> Mapping[bytes, Mapping[int, int]]:
        """Weights in force at a block, without zeros: validator's hotkey → uid → u16."""
        rows = self.archive.read("weights", number, WEIGHTS)
        if rows is None:
            rows = self._read_at(number, lambda s, h: read_weights(s, self.netuid, h))
            self.archive.write("weights", number, WEIGHTS, rows)
        by_uid = {member.uid: hotkey for hotkey, member in self.get_members(number).items()}
        return {by_uid[uid]: row for uid, row in rows.items() if uid in by_uid}

    def is_epoch(self, number: int) -> bool:
        """Return whether the subnet's epoch ends with this block. Predicted for a future block."""
        return self._epochs.is_epoch(number, self.get_head(), self._runtime)

    def get_hyperparameters(self, number: int | None = None) -> Hyperparameters:
        """The subnet's settings at a block, or now."""
        if number is None:
            return self._connection.read(lambda s: read_hyperparameters(s, self.netuid, None))
        return self._read_at(number, lambda s, h: read_hyperparameters(s, self.netuid, h))

    def get_settings(self, items: Mapping[str, bool]) -> Mapping[str, Setting]:
        """Further settings now, as storage holds them, without those that the runtime lacks."""
        known = {name: own for name, own in items.items() if name in self._runtime.items}
        return self._connection.read(lambda s: read_settings(s, self.netuid, known))

    def get_metagraph(self, number: int) -> list[MetagraphRow]:
        """All neurons at a block, in order of uid."""
        return self._read_at(number, lambda s, h: read_metagraph(s, self.netuid, h))

    def get_balance(self, coldkey: bytes) -> int:
        """A coldkey's current free balance, rao."""
        return get_balance(self._connection, coldkey)

    def get_alpha_price(self) -> int:
        """The current price of one alpha of the subnet, rao: by the reserves of its pool, so
        without the effect of a sale of any size."""
        return self._connection.read(lambda s: read_alpha_price(s, self.netuid))

    def get_pulse(self, number: int) -> bytes | None:
        """The signature of quicknet's round in the chain's state, unverified; None: it is not
        there."""
        return self._connection.read(lambda s: read_pulse(s, number), _PULSE_S)

    # --- calls

    def quote_registration(self, hotkey: bytes) -> Quote:
        """The current price of a uid for a hotkey. The fee may be off by one byte's, see
        `quote_fee`."""
        cost = self.get_hyperparameters().registration_cost
        call = self._make_registration(hotkey, cost)
        return Quote(cost, self._sender.quote_fee(call, self._get_wallet(hotkey)))

    def register(self, hotkey: bytes, max_cost: int) -> Receipt:
        """Buy a uid for a hotkey, from its wallet's coldkey.

        Args:
            max_cost: rao. If the runtime has no limit of its own, the price is checked just before
                the call, and the charge may exceed it by the increase of one block.

        Raises:
            ChainError: it costs more, the balance is too low, it is registered already, or was
                refused.
        """
        from bittensor.intents import BurnedRegister

        wallet = self._get_wallet(hotkey)
        if self._find_uid(hotkey) is not None:
            raise ChainError("the hotkey is already registered on this subnet")
        cost = self.get_hyperparameters().registration_cost
        if cost > max_cost:
            raise ChainError(
                f"a uid costs {format_tao(cost)}, more than the {format_tao(max_cost)} allowed: "
                "wait for the price to fall, or allow more"
            )
        balance = self.get_balance(bytes(wallet.coldkeypub.public_key))
        if balance < cost:
            raise ChainError(
                f"a uid costs {format_tao(cost)}, and the coldkey has {format_tao(balance)}: "
                f"send some to {wallet.coldkeypub.ss58_address} (`assay faucet` on a development "
                "chain)"
            )
        if self._runtime.register_by is RegisterBy.INTENT:
            intent = BurnedRegister(netuid=self.netuid, hotkey_ss58=encode_ss58(hotkey))
            return self._sender.send_intent(intent, wallet, final=True)
        call = self._make_registration(hotkey, max_cost)
        try:
            return self._sender.send_call(call, wallet, final=True)
        except ChainError as error:
            if "price limit" not in str(error).lower():
                raise
            raise ChainError(
                f"others registered first, and a uid now costs more than the "
                f"{format_tao(max_cost)} allowed: run the command again, or allow more with "
                "--max-cost"
            ) from error

    def add_stake(self, hotkey: bytes, amount: int, *, any_price: bool = False) -> Receipt:
        """Stake rao on a hotkey, from its wallet's coldkey. With `any_price`, even if that moves
        the price by more than 5 %."""
        from bittensor import Balance
        from bittensor.intents import AddStake

        intent = AddStake(
            hotkey_ss58=encode_ss58(hotkey),
            netuid=self.netuid,
            amount_tao=Balance.from_rao(amount),
            slippage_protection=not any_price,
        )
        try:
            return self._sender.send_intent(intent, self._get_wallet(hotkey), final=True)
        except ChainError as error:
            reason = str(error).lower().partition("; ")[0]  # not the SDK's advice
            if "amount is too low" in reason or "amount is below the chain minimum" in reason:
                raise ChainError(
                    f"{format_tao(amount)} is less than the chain's smallest stake: stake more"
                ) from error
            if "hotkey does not exist" in reason:
                raise ChainError(
                    "the chain does not know this hotkey: buy a uid for it first, with "
                    "`assay register`"
                ) from error
            if any_price or "slippage" not in reason:
                raise
            raise ChainError(
                f"buying so much alpha at once moves its price by more than {_SLIPPAGE}: stake "
                "less at a time, or accept any price (--any-price)"
            ) from error

    def set_commitment(self, hotkey: bytes, payload: bytes) -> None:
        """Overwrite the hotkey's slot, with at most 128 bytes. Return when a block holds it."""
        from bittensor import calls

        if len(payload) > COMMITMENT_BYTES:
            raise ChainError(f"a commitment has at most {COMMITMENT_BYTES} bytes")
        fields = [[{f"Raw{len(payload)}": "0x" + payload.hex()}]]
        call = calls.Commitments.set_commitment(netuid=self.netuid, info={"fields": fields})
        wallet = self._get_wallet(hotkey)
        try:
            self._sender.send_call(call, wallet, "hotkey", final=False)
        except UnknownOutcomeError:  # sending the same again changes nothing
            self._sender.send_call(call, wallet, "hotkey", final=False)

    def get_next_weights_block(self, hotkey: bytes) -> int:
        """The first block in which the chain lets a hotkey set weights. A past block: it may at
        once."""
        uid = self._find_uid(hotkey)
        if uid is None:
            raise ChainError("the hotkey is not registered on this subnet: register it first")
        updates = self._connection.read(lambda s: s.query(MODULE, "LastUpdate", [self.netuid]))
        last = int(updates[uid])
        if not last:
            return 0
        # the SDK's intent checks whether the head may hold them, not the block after it
        waits = self._runtime.weights_by is WeightsBy.INTENT
        return last + self.get_hyperparameters().weights_rate_limit + waits

    def get_weights_block(self, hotkey: bytes, number: int) -> int | None:
        """The block of a hotkey's last weights as of a block; 0 before its first, None without a
        uid. Timelocked weights count from the block that accepted them."""
        return self._read_at(number, lambda s, h: read_weights_block(s, self.netuid, hotkey, h))

    def set_weights(self, hotkey: bytes, weights: Mapping[int, int]) -> int:
        """Send a validator's weights. Return the number of the block that holds them.

        If the subnet has commit-reveal, they come into force when the chain reveals them.

        Raises:
            TooSoonError: the rate limit forbids it; nothing was sent.
            UnknownOutcomeError: read the weights back before sending again.
            ChainError: not registered, no permit, or a row that the chain would change.
        """
        row = make_row(weights)
        allowed = self.get_next_weights_block(hotkey)
        best = self._connection.read(lambda s: s.block_number())
        if best + 1 < allowed:
            raise TooSoonError(
                f"the chain accepts weights of this hotkey from block {allowed} on, and the next "
                f"one is {best + 1}: wait",
                allowed,
            )
        settings = self.get_hyperparameters()
        wallet = self._get_wallet(hotkey)
        receipt = send_weights(
            self._connection, self._sender, self._runtime, self.netuid, wallet, row, settings
        )
        return receipt.block

    # --- within

    def _get_wallet(self, hotkey: bytes) -> ChainWallet:
        wallet = self._wallets.get(hotkey)
        if wallet is None:
            raise ChainError(f"no wallet is open for hotkey {encode_ss58(hotkey)}")
        return wallet

    def _make_registration(self, hotkey: bytes, max_cost: int) -> Any:
        """The call that buys a uid. If it is sent as an intent, the call within."""
        from bittensor import calls

        address = encode_ss58(hotkey)
        if self._runtime.register_by is RegisterBy.LIMIT:
            return calls.SubtensorModule.register_limit(
                netuid=self.netuid, hotkey=address, limit_price=max_cost
            )
        return calls.SubtensorModule.burned_register(netuid=self.netuid, hotkey=address)

    def _get_state(self, number: int) -> SubnetState:
        state: SubnetState | None = self.archive.read("state", number, _STATE)
        if state is None:
            block = "0x" + self.get_block(number).hash.hex()
            state = self._connection.read(lambda s: read_state(s, self.netuid, block))
            self.archive.write("state", number, _STATE, state)
            return state
        seats = sorted(state.members.items(), key=lambda seat: seat[1].uid)
        return SubnetState(dict(seats), state.commitments)  # in the order of `read_state`

    def _read_at(self, number: int, read: Callable[[Substrate, str], Awaitable[T]]) -> T:
        block = "0x" + self.get_block(number).hash.hex()
        return self._connection.read(lambda s: read(s, block))

    def _find_uid(self, hotkey: bytes) -> int | None:
        """The uid of a hotkey at the best head, final or not, since the next call meets that
        state."""
        keys = [self.netuid, encode_ss58(hotkey)]
        uid = self._connection.read(lambda s: s.query(MODULE, "Uids", keys))
        return None if uid is None else int(uid)

    def _follow_runtime(self) -> None:
        spec = self._connection.read(lambda s: s.spec_version())
        if spec != self._runtime.spec_version:
            self._runtime = self._connection.read(detect_runtime)
            logger.warning(
                "%s: upgraded to %s",
                self._connection.where,
                self._runtime,
                extra={"event": "runtime_upgraded"},
            )

    def _tell_kept(self) -> None:
        """Tell the connection the newest block that an earlier run has read, to check heads
        against."""
        newest = self.archive.get_newest("block")
        if newest is not None:
            stamp = self.archive.decode(newest[1], STAMP)
            self._connection.keep(newest[0], stamp.hash, stamp.timestamp_ms)

    async def _require_same_history(self, substrate: Substrate) -> None:
        newest = self.archive.get_newest("block")
        if newest is not None:
            stamp = self.archive.decode(newest[1], STAMP)
            await require_same_history(substrate, newest[0], stamp.hash.hex())
