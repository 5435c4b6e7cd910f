"""Stake: TAO to alpha and back through the subnet's pool, and who holds how much of it.

A pool keeps tao · alpha constant (both sides weigh the same; subtensor can weigh them otherwise). A
hotkey's alpha belongs to coldkeys by shares, so that dividends reach them all at once.
Source: pallet subtensor, staking/; pallet swap.
"""

from math import isqrt
from typing import Any

from subtensor_devnet.errors import DispatchError
from subtensor_devnet.pallets.balances import burn, get_free, give, take
from subtensor_devnet.pallets.uids import require_subnet
from subtensor_devnet.runtime import MODULE, NOBODY, Arguments, DevnetRuntime, ensure, signed_call
from subtensor_devnet.state import StateView

_U16 = 65_535
#: Prices in calls and runtime calls: rao of TAO for 10^9 rao of alpha.
PRICE_UNIT = 10**9
#: At most so many times the pool may be put into it at once.
_LARGEST_PURCHASE = 1_000


def get_price(state: StateView, netuid: int) -> int:
    """Rao of TAO for one alpha; the root network's is 1."""
    tao, alpha = _get_pool(state, netuid)
    return tao * PRICE_UNIT // alpha if netuid and alpha else PRICE_UNIT


def compute_purchase(state: StateView, netuid: int, amount: int) -> tuple[int, int]:
    """The alpha that `amount` rao of TAO buy, and the fee within the amount."""
    return _swap(state, netuid, amount, *_get_pool(state, netuid))


def compute_sale(state: StateView, netuid: int, amount: int) -> tuple[int, int]:
    """The TAO that `amount` rao of alpha bring, and the fee within the amount, alpha."""
    tao, alpha = _get_pool(state, netuid)
    return _swap(state, netuid, amount, alpha, tao)


def _swap(state: StateView, netuid: int, amount: int, into: int, out: int) -> tuple[int, int]:
    fee = amount * state.get("Swap", "FeeRate", netuid) // _U16
    paid = amount - fee
    return (out * paid // (into + paid) if into + paid else 0), fee


def burn_into_pool(runtime: DevnetRuntime, coldkey: str, netuid: int, amount: int) -> None:
    """Spends a uid's price: buys alpha for nobody."""
    alpha = _buy(runtime, coldkey, netuid, amount, drop_fee=True)
    runtime.add("SubnetAlphaOut", netuid, -alpha)


def _buy(runtime: DevnetRuntime, coldkey: str, netuid: int, amount: int, *, drop_fee: bool) -> int:
    """TAO of a coldkey into the pool, alpha out of it. The alpha."""
    tao, alpha = _get_pool(runtime.state, netuid)
    fee = 0 if drop_fee else amount * runtime.state.get("Swap", "FeeRate", netuid) // _U16
    paid = amount - fee
    bought = alpha * paid // (tao + paid) if tao + paid else 0
    take(runtime, coldkey, paid)
    burn(runtime, coldkey, fee)  # a block's author would have it
    runtime.put("SubnetTAO", netuid, tao + paid)
    runtime.put("SubnetAlphaIn", netuid, alpha - bought)
    runtime.add("SubnetAlphaOut", netuid, bought)
    runtime.add("SubnetVolume", netuid, paid)
    runtime.add("TotalStake", paid)
    return bought


def _get_pool(state: StateView, netuid: int) -> tuple[int, int]:
    tao = state.get(MODULE, "SubnetTAO", netuid)
    return int(tao), int(state.get(MODULE, "SubnetAlphaIn", netuid))


def get_stake(state: StateView, hotkey: str, coldkey: str, netuid: int) -> int:
    """Alpha that a coldkey has on a hotkey, rao."""
    shares = _get_number(state, "TotalHotkeySharesV2", hotkey, netuid)
    alpha = _get_number(state, "AlphaV2", hotkey, coldkey, netuid)
    return int(state.get(MODULE, "TotalHotkeyAlpha", hotkey, netuid)) * alpha // max(1, shares)


def add_alpha(runtime: DevnetRuntime, hotkey: str, netuid: int, amount: int) -> None:
    """Alpha for all who have stake on a hotkey."""
    runtime.add("TotalHotkeyAlpha", hotkey, netuid, amount)
    runtime.add("TotalAlphaStaked", netuid, amount)


def add_stake_of(
    runtime: DevnetRuntime, hotkey: str, coldkey: str, netuid: int, amount: int
) -> None:
    """Alpha for one coldkey on a hotkey; a negative amount takes it away."""
    state = runtime.state
    shares = _get_number(state, "TotalHotkeySharesV2", hotkey, netuid)
    total = int(runtime.get("TotalHotkeyAlpha", hotkey, netuid))
    alpha = _get_number(state, "AlphaV2", hotkey, coldkey, netuid)
    if amount < 0 and total * alpha // max(1, shares) == -amount:
        change = -alpha  # all of it: no crumbs
    else:
        change = amount * shares // total if shares and total else amount
    _put_number(runtime, "TotalHotkeySharesV2", hotkey, netuid, shares + change)
    _put_number(runtime, "AlphaV2", hotkey, coldkey, netuid, alpha + change)
    add_alpha(runtime, hotkey, netuid, amount)
    hotkeys = runtime.get("StakingHotkeys", coldkey)
    if amount > 0 and hotkey not in hotkeys:
        runtime.put("StakingHotkeys", coldkey, [*hotkeys, hotkey])


def _get_number(state: StateView, item: str, *keys: Any) -> int:
    """A number that subtensor keeps with a decimal exponent."""
    value = state.get(MODULE, item, *keys)
    exponent = value["exponent"]
    scale: int = 10 ** abs(exponent)
    mantissa = int(value["mantissa"])
    return mantissa * scale if exponent >= 0 else mantissa // scale


def _put_number(runtime: DevnetRuntime, item: str, *keys_and_number: Any) -> None:
    *keys, number = keys_and_number
    if number:
        runtime.put(item, *keys, {"mantissa": number, "exponent": 0})
    else:
        runtime.remove(item, *keys)


@signed_call(MODULE, "add_stake", "add_stake_limit")
def add_stake(runtime: DevnetRuntime, coldkey: str, arguments: Arguments) -> None:
    """Stake, up to a price where one is named: in part where that is allowed, else not at all."""
    _add(runtime, coldkey, arguments, _limit(runtime, arguments, "amount_staked"))


@signed_call(MODULE, "remove_stake", "remove_stake_limit")
def remove_stake(runtime: DevnetRuntime, coldkey: str, arguments: Arguments) -> None:
    """Stake back to TAO, down to a price where one is named; as above."""
    _remove(runtime, coldkey, arguments, _limit(runtime, arguments, "amount_unstaked"))


def _limit(runtime: DevnetRuntime, arguments: Arguments, name: str) -> int:
    """An amount, or what of it does not move the price beyond the limit."""
    amount: int = arguments[name]
    if "limit_price" not in arguments:
        return amount
    compute_most = _compute_most_to_buy if name == "amount_staked" else _compute_most_to_sell
    most = compute_most(runtime, arguments["netuid"], arguments["limit_price"])
    ensure(arguments["allow_partial"] or amount <= most, "SlippageTooHigh")
    return min(amount, most)


def _add(runtime: DevnetRuntime, coldkey: str, arguments: Arguments, amount: int) -> None:
    hotkey, netuid = arguments["hotkey"], arguments["netuid"]
    require_subnet(runtime, netuid)
    if netuid == 0:  # no root network here
        raise DispatchError("System", "CallFiltered")
    ensure(runtime.get("SubtokenEnabled", netuid), "SubtokenDisabled")
    pool = runtime.get("SubnetTAO", netuid)
    ensure(amount <= pool * _LARGEST_PURCHASE, "InsufficientLiquidity")
    ensure(amount >= runtime.codec.get_constant(MODULE, "InitialMinStake"), "AmountTooLow")
    ensure(get_free(runtime.state, coldkey) >= amount, "NotEnoughBalanceToStake")
    ensure(runtime.get("Owner", hotkey) != NOBODY, "HotKeyAccountNotExists")
    bought, fee = compute_purchase(runtime.state, netuid, amount)
    ensure(bought > 0, "InsufficientLiquidity")
    _buy(runtime, coldkey, netuid, amount, drop_fee=False)
    add_stake_of(runtime, hotkey, coldkey, netuid, bought)
    runtime.deposit(MODULE, "StakeAdded", (coldkey, hotkey, amount - fee, bought, netuid, fee))


def _remove(runtime: DevnetRuntime, coldkey: str, arguments: Arguments, amount: int) -> None:
    hotkey, netuid = arguments["hotkey"], arguments["netuid"]
    require_subnet(runtime, netuid)
    ensure(runtime.get("SubtokenEnabled", netuid), "SubtokenDisabled")
    ensure(runtime.get("Owner", hotkey) != NOBODY, "HotKeyAccountNotExists")
    held = get_stake(runtime.state, hotkey, coldkey, netuid)
    ensure(0 < amount <= held, "NotEnoughStakeToWithdraw")
    gained, fee = compute_sale(runtime.state, netuid, amount)
    ensure(gained >= runtime.codec.get_constant(MODULE, "InitialMinStake"), "AmountTooLow")
    add_stake_of(runtime, hotkey, coldkey, netuid, -amount)
    runtime.add("SubnetAlphaIn", netuid, amount - fee)
    runtime.add("SubnetAlphaOut", netuid, -amount)
    runtime.add("SubnetTAO", netuid, -gained)
    runtime.add("TotalStake", -gained)
    give(runtime, coldkey, gained)
    runtime.deposit(MODULE, "StakeRemoved", (coldkey, hotkey, gained, amount, netuid, fee))


def _compute_most_to_buy(runtime: DevnetRuntime, netuid: int, limit: int) -> int:
    """TAO, fee included, that moves the price up to a limit."""
    tao, alpha = _get_pool(runtime.state, netuid)
    paid = max(0, isqrt(tao * alpha * limit // PRICE_UNIT) - tao)
    return _add_fee(runtime, netuid, paid)


def _compute_most_to_sell(runtime: DevnetRuntime, netuid: int, limit: int) -> int:
    """Alpha, fee included, that moves the price down to a limit."""
    tao, alpha = _get_pool(runtime.state, netuid)
    if not limit:
        return alpha * _LARGEST_PURCHASE
    return _add_fee(runtime, netuid, max(0, isqrt(tao * alpha * PRICE_UNIT // limit) - alpha))


def _add_fee(runtime: DevnetRuntime, netuid: int, paid: int) -> int:
    rate = runtime.state.get("Swap", "FeeRate", netuid)
    return paid + paid * rate // (_U16 - rate)
