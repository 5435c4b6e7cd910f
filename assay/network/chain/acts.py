"""What an operator does on a chain now and then: buys a subnet or a uid, stakes, sets weights.

Each asks for consent once it knows the price, and returns what came of it. Raises ChainError: the
chain refused, cannot answer, or it costs more than allowed.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from assay.network.chain.connection import Connection
from assay.network.chain.errors import ChainError, TooSoonError
from assay.network.chain.subnet_owner import create_subnet, get_subnet_cost, start_subnet
from assay.network.chain.subtensor import SubtensorChain
from assay.network.chain.values import format_tao
from assay.network.chain.wallets import ChainWallet, get_coldkey, get_hotkey
from assay.network.consent import Consent
from assay.protocol.ss58 import encode_ss58

logger = logging.getLogger("assay")

#: Longest wait for the chain's rate limit and for the weights to be on chain, seconds.
_PATIENCE_S = 3_600.0
#: Seconds between two looks.
LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Bought:
    """A new subnet, the hotkey that holds its uid 0, and its price, rao."""

    netuid: int
    owner: bytes
    cost: int


@dataclass(frozen=True, slots=True)
class Registered:
    """A hotkey's uid; what was paid for it now with the fee, and the coldkey's balance, rao."""

    hotkey: bytes
    uid: int | None
    paid: int
    balance: int


@dataclass(frozen=True, slots=True)
class Staked:
    """Amounts after staking, rao.

    Attributes:
        block: the block that holds it.
        alpha: on the hotkey.
        others: on all other hotkeys that may set weights.
    """

    hotkey: bytes
    amount: int
    block: int
    balance: int
    alpha: int
    others: int


@dataclass(frozen=True, slots=True)
class WeightsRequest:
    """A validator's weights by hand.

    Attributes:
        row: uid → u16, the largest 65,535.
        wait: until the chain's rate limit allows it.
    """

    row: Mapping[int, int]
    wait: bool = False


@dataclass(frozen=True, slots=True)
class WeightsSet:
    """Weights on chain, the final block that shows them, and whether they are still encrypted."""

    hotkey: bytes
    row: Mapping[int, int]
    block: int
    is_timelocked: bool


def buy_subnet(
    connection: Connection, wallet: ChainWallet, max_cost: int | None, consent: Consent
) -> Bought:
    """Buy a subnet for the wallet's coldkey, for at most `max_cost` rao; None: for the price that
    is asked now. Its hotkey gets uid 0."""
    cost, owner = get_subnet_cost(connection), get_hotkey(wallet)
    consent(f"Buy a subnet for {format_tao(cost)}, with uid 0 for {encode_ss58(owner)}?")
    netuid = create_subnet(connection, wallet, cost if max_cost is None else max_cost)
    return Bought(netuid, owner, cost)


def open_subnet(
    connection: Connection, wallet: ChainWallet, netuid: int, consent: Consent
) -> int | None:
    """Open a subnet for stake and emission. Return the block; None: it was open before."""
    consent(f"Open subnet {netuid} for stake, which cannot be undone?")
    receipt = start_subnet(connection, wallet, netuid)
    return None if receipt is None else receipt.block


def register(
    chain: SubtensorChain, wallet: ChainWallet, max_cost: int | None, consent: Consent
) -> Registered:
    """Buy a uid for the wallet's hotkey, unless it holds one, for at most `max_cost` rao; None: for
    the price that is asked now."""
    hotkey, coldkey = get_hotkey(wallet), get_coldkey(wallet)
    chain.add_wallet(wallet)
    paid, uid = 0, find_uid(chain, hotkey)
    if uid is None:
        quote, balance = chain.quote_registration(hotkey), chain.get_balance(coldkey)
        fee = f" and a fee of about {format_tao(quote.fee)}" if quote.fee else ""
        consent(
            f"Register {encode_ss58(hotkey)} on subnet {chain.netuid} for "
            f"{format_tao(quote.cost)}{fee}, out of {format_tao(balance)}?"
        )
        chain.register(hotkey, quote.cost if max_cost is None else max_cost)
        paid = balance - chain.get_balance(coldkey)
        uid = find_uid(chain, hotkey)
    return Registered(hotkey, uid, paid, chain.get_balance(coldkey))


def find_uid(chain: SubtensorChain, hotkey: bytes) -> int | None:
    """A hotkey's uid now; None: it has none."""
    member = chain.get_members(chain.get_head()).get(hotkey)
    return None if member is None else member.uid


def stake(
    chain: SubtensorChain, wallet: ChainWallet, amount: int, consent: Consent, *, any_price: bool
) -> Staked:
    """Stake `amount` rao on the wallet's hotkey; `any_price`: even if that moves the price by more
    than 5 %."""
    hotkey, coldkey = get_hotkey(wallet), get_coldkey(wallet)
    chain.add_wallet(wallet)
    balance = chain.get_balance(coldkey)
    if balance < amount:
        raise ChainError(
            f"{format_tao(amount)} to stake, but the coldkey has only {format_tao(balance)}: "
            "send it more (`assay faucet` on a development chain)"
        )
    consent(f"Stake {format_tao(amount)} of {format_tao(balance)} on {encode_ss58(hotkey)}?")
    receipt = chain.add_stake(hotkey, amount, any_price=any_price)
    held, permitted = measure_stake(chain, hotkey)
    return Staked(hotkey, amount, receipt.block, chain.get_balance(coldkey), held, permitted)


def measure_stake(chain: SubtensorChain, hotkey: bytes) -> tuple[int, int]:
    """The alpha on a hotkey, and on all other hotkeys that may set weights, rao."""
    rows = chain.get_metagraph(chain.get_head())
    own_stake = sum(row.stake for row in rows if row.hotkey == hotkey)
    return own_stake, sum(row.stake for row in rows if row.permit and row.hotkey != hotkey)


def set_weights(
    chain: SubtensorChain, wallet: ChainWallet, request: WeightsRequest, consent: Consent
) -> WeightsSet:
    """Send a validator's weights once, and read them back from final state."""
    hotkey, row = get_hotkey(wallet), request.row
    chain.add_wallet(wallet)
    name = encode_ss58(hotkey)
    seats = {seat.uid: seat for seat in chain.get_metagraph(chain.get_head())}
    if set(row) - seats.keys():
        raise ChainError(f"nobody has uid {min(set(row) - seats.keys())}: see the metagraph")
    own_seat = next((seat for seat in seats.values() if seat.hotkey == hotkey), None)
    if own_seat is not None and not own_seat.permit:
        logger.warning(
            "%s has no permit: the chain accepts its weights for itself only, and counts none",
            name,
            extra={"event": "permit_missing"},
        )
    consent(f"Set {len(row)} weights of {name} on subnet {chain.netuid}?")
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            chain.set_weights(hotkey, row)
            break
        except TooSoonError:
            if not request.wait or time.monotonic() > deadline:
                raise
            time.sleep(LOOK_S)
    return WeightsSet(hotkey, row, *_await(chain, hotkey, row, deadline))


def _await(
    chain: SubtensorChain, hotkey: bytes, row: Mapping[int, int], deadline: float
) -> tuple[int, bool]:
    """The final block that shows the weights, and whether they are still encrypted."""
    if chain.get_hyperparameters().commit_reveal:
        return chain.get_head(), True
    wanted = {uid: weight for uid, weight in row.items() if weight}
    while chain.get_weights(head := chain.get_head()).get(hotkey) != wanted:
        if time.monotonic() > deadline:
            raise ChainError("the weights were sent but are not there: see `assay weights show`")
        time.sleep(LOOK_S)
    return head, False
