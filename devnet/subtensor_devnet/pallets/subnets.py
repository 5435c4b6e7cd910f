"""Subnets: bought by their owner, started, and what they begin with.

Source: pallet subtensor, subnets/subnet.rs and coinbase/root.rs.
"""

from subtensor_devnet.errors import DispatchError
from subtensor_devnet.pallets.balances import get_free, take
from subtensor_devnet.pallets.uids import add_neuron, own_hotkey, require_subnet
from subtensor_devnet.runtime import (
    MODULE,
    Arguments,
    DevnetRuntime,
    Origin,
    call,
    ensure,
    signed_call,
)
from subtensor_devnet.state import StateView

#: Subtensor's only mechanism: a pool of its own.
_DYNAMIC = 1
#: What a subnet has from the start and storage defaults do not say.
_SETTINGS = {
    "NetworkRegistrationAllowed": True,
    "MaxAllowedUids": 256,
    "MaxAllowedValidators": 64,
    "MinAllowedWeights": 1,
    "ImmunityPeriod": 5_000,
    "SubnetEmissionEnabled": False,
}
#: Written down though they are the defaults, for programs that look for the entry itself.
_EXPLICIT = ("Kappa", "ActivityCutoff", "RegistrationsThisInterval", "Burn", "Tempo")


def compute_lock_cost(state: StateView, number: int) -> int:
    """The price of a subnet in a block, rao: twice the last price, falling back to it and
    beyond."""
    last = state.get(MODULE, "NetworkLastLockCost")
    bought = state.get(MODULE, "LastRateLimitedBlock", "NetworkLastRegistered")
    interval = state.get(MODULE, "NetworkLockReductionInterval")
    fallen = last // interval * (number - bought) if interval else 0
    least: int = state.get(MODULE, "NetworkMinLockCost")
    return max(least, last * (2 if bought else 1) - fallen)


@signed_call(MODULE, "register_network", "register_network_with_identity")
def register_network(runtime: DevnetRuntime, coldkey: str, arguments: Arguments) -> None:
    """A subnet for the signer, whose hotkey gets uid 0."""
    hotkey = arguments["hotkey"]
    if arguments.get("identity") is not None:
        raise DispatchError("System", "CallFiltered")
    number, state = runtime.number, runtime.state
    last = runtime.get("LastRateLimitedBlock", "NetworkLastRegistered")
    limit = runtime.get("NetworkRateLimit")
    ensure(not last or number - last >= limit, "NetworkTxRateLimitExceeded")
    taken = {netuid for netuid, is_there in state.list_entries(MODULE, "NetworksAdded") if is_there}
    ensure(len(taken - {0}) < runtime.get("SubnetLimit"), "SubnetLimitReached")
    cost = compute_lock_cost(state, number)
    ensure(get_free(state, coldkey) >= cost, "CannotAffordLockCost")
    netuid = next(candidate for candidate in range(1, len(taken) + 2) if candidate not in taken)
    _init(runtime, netuid)
    take(runtime, coldkey, cost)
    runtime.put("NetworkLastLockCost", cost)
    runtime.put("LastRateLimitedBlock", "NetworkLastRegistered", number)
    own_hotkey(runtime, coldkey, hotkey)
    runtime.put("SubnetOwner", netuid, coldkey)
    runtime.put("SubnetOwnerHotkey", netuid, hotkey)
    add_neuron(runtime, netuid, hotkey)
    # the price starts at 1: where other subnets have one, subtensor takes their median
    runtime.put("SubnetTAO", netuid, cost)
    runtime.put("SubnetAlphaIn", netuid, cost)
    runtime.put("SubnetLocked", netuid, cost)
    runtime.add("TotalStake", cost)
    runtime.deposit(MODULE, "NetworkAdded", (netuid, _DYNAMIC))


@call(MODULE, "start_call")
def start_call(runtime: DevnetRuntime, origin: Origin, arguments: Arguments) -> None:
    """The owner starts a subnet: stake may be bought, and every block emits alpha."""
    netuid = arguments["netuid"]
    require_subnet(runtime, netuid)
    if origin != runtime.get("SubnetOwner", netuid):
        raise DispatchError(None, "BadOrigin")
    started = runtime.get("FirstEmissionBlockNumber", netuid)
    ensure(started is None, "FirstEmissionBlockNumberAlreadySet")
    earliest = runtime.get("NetworkRegisteredAt", netuid) + runtime.get("StartCallDelay")
    ensure(runtime.number >= earliest, "NeedWaitingMoreBlocksToStarCall")
    runtime.put("FirstEmissionBlockNumber", netuid, runtime.number + 1)
    runtime.put("SubtokenEnabled", netuid, True)
    runtime.deposit(MODULE, "FirstEmissionBlockNumberSet", (netuid, runtime.number + 1))


def _init(runtime: DevnetRuntime, netuid: int) -> None:
    tempo = runtime.get("Tempo", netuid)
    runtime.put("NetworksAdded", netuid, True)
    runtime.put("SubnetworkN", netuid, 0)
    runtime.add("TotalNetworks", 1)
    runtime.put("NetworkRegisteredAt", netuid, runtime.number)
    runtime.put("SubnetMechanism", netuid, _DYNAMIC)
    # not all subnets at once
    runtime.put("LastEpochBlock", netuid, max(0, runtime.number - netuid % max(1, tempo)))
    for item, value in _SETTINGS.items():
        runtime.put(item, netuid, value)
    for item in _EXPLICIT:
        runtime.put(item, netuid, runtime.get(item, netuid))
