"""Buying a uid: the price falls by half every `BurnHalfLife` blocks and rises with every sale.

Nothing but the price limits how many register in a block or an interval; the settings for that are
kept, and heeded by the root network only. Source: pallet subtensor, subnets/registration.rs.
"""

from functools import lru_cache

from subtensor_devnet.pallets.balances import get_free
from subtensor_devnet.pallets.staking import burn_into_pool
from subtensor_devnet.pallets.uids import add_neuron, own_hotkey, require_subnet
from subtensor_devnet.runtime import MODULE, Arguments, DevnetRuntime, ensure, signed_call

_FRACTION_BITS = 64
_SHORT_BITS = 32


@signed_call(MODULE, "burned_register")
def burned_register(runtime: DevnetRuntime, coldkey: str, arguments: Arguments) -> None:
    """A uid at whatever it costs."""
    _register(runtime, coldkey, arguments["netuid"], arguments["hotkey"])


@signed_call(MODULE, "register_limit")
def register_limit(runtime: DevnetRuntime, coldkey: str, arguments: Arguments) -> None:
    """A uid, unless it costs more than a limit."""
    netuid = arguments["netuid"]
    ensure(netuid != 0, "RegistrationNotPermittedOnRootSubnet")
    require_subnet(runtime, netuid)
    within = runtime.get("Burn", netuid) <= arguments["limit_price"]
    ensure(within, "RegistrationPriceLimitExceeded")
    _register(runtime, coldkey, netuid, arguments["hotkey"])


def update_prices(runtime: DevnetRuntime) -> None:
    """Lets prices fall, at the beginning of every block."""
    for netuid, _ in list(runtime.state.list_entries(MODULE, "NetworksAdded")):
        price, half_life = runtime.get("Burn", netuid), runtime.get("BurnHalfLife", netuid)
        if half_life and runtime.number > 1:
            price = price * compute_decay(half_life) >> _SHORT_BITS
        _put_price(runtime, netuid, price)
        if runtime.get("RegistrationsThisBlock", netuid):
            runtime.put("RegistrationsThisBlock", netuid, 0)


@lru_cache(maxsize=64)
def compute_decay(half_life: int) -> int:
    """The factor f with f^half_life = ½, in units of 2^-32, rounded down.

    The chain searches it the same way: the largest factor whose power does not pass one half.
    """
    low, high = 0, 1 << _SHORT_BITS
    while high - low > 1:
        middle = (low + high) // 2
        if _raise(middle, half_life) > 1 << (_SHORT_BITS - 1):
            high = middle
        else:
            low = middle
    return low


def _raise(factor: int, exponent: int) -> int:
    result = 1 << _SHORT_BITS
    while exponent:
        if exponent & 1:
            result = result * factor >> _SHORT_BITS
        factor = factor * factor >> _SHORT_BITS
        exponent >>= 1
    return result


def _register(runtime: DevnetRuntime, coldkey: str, netuid: int, hotkey: str) -> None:
    ensure(netuid != 0, "RegistrationNotPermittedOnRootSubnet")
    require_subnet(runtime, netuid)
    ensure(runtime.get("NetworkRegistrationAllowed", netuid), "SubNetRegistrationDisabled")
    ensure(not runtime.has("Uids", netuid, hotkey), "HotKeyAlreadyRegisteredInSubNet")
    cost = runtime.get("Burn", netuid)
    ensure(get_free(runtime.state, coldkey) >= cost, "NotEnoughBalanceToStake")
    own_hotkey(runtime, coldkey, hotkey)
    ensure(runtime.get("MaxAllowedUids", netuid) != 0, "NoNeuronIdAvailable")
    burn_into_pool(runtime, coldkey, netuid, cost)
    uid = add_neuron(runtime, netuid, hotkey)
    increase = runtime.get("BurnIncreaseMult", netuid)["bits"]
    _put_price(runtime, netuid, cost * max(increase, 1 << _FRACTION_BITS) >> _FRACTION_BITS)
    runtime.add("RegistrationsThisBlock", netuid, 1)
    runtime.add("RAORecycledForRegistration", netuid, cost)
    runtime.deposit(MODULE, "NeuronRegistered", (netuid, uid, hotkey))


def _put_price(runtime: DevnetRuntime, netuid: int, price: int) -> None:
    bounded = min(max(price, runtime.get("MinBurn", netuid)), runtime.get("MaxBurn", netuid))
    if bounded != runtime.get("Burn", netuid):
        runtime.put("Burn", netuid, bounded)
