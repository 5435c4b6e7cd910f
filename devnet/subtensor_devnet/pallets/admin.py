"""Settings: changed by root, some by the subnet's owner too, within the chain's bounds.

An owner may change a setting once in `OwnerHyperparamRateLimit` epochs. Most settings cannot be
changed in the last `AdminFreezeWindow` blocks of an epoch, by anybody.
Source: pallet admin-utils; pallet subtensor, coinbase/tempo_control.rs.
"""

from typing import Any

from subtensor_devnet.errors import DispatchError
from subtensor_devnet.pallets.schedule import get_next_epoch, require_open_window
from subtensor_devnet.runtime import (
    MODULE,
    Arguments,
    DevnetRuntime,
    Origin,
    call,
    ensure,
    require_root,
    require_signed,
)

_PALLET = "AdminUtils"
_FIXED_ONE = 1 << 64
#: The chain's number for an owner's change of tempo.
_TEMPO_UPDATE = 11


def _enter(
    name: str,
    argument: str = "",
    item: str = "",
    event: str | None = "",
    owner: str | None = None,
    *,
    of_subnet: bool = True,
    window: bool = True,
    least: int = 0,
    most: int = 2**64 - 1,
) -> None:
    """Enters a call of AdminUtils, `sudo_set_{name}`, that sets one storage item.

    Args:
        argument: the call's name for the value; "": as `name`.
        item: of SubtensorModule; "": `name` in the chain's capitals.
        event: of SubtensorModule, with the call's arguments; "": the item's with Set; None: none.
        owner: the chain's name for it where the subnet's owner may change it; "": as `item`.
        of_subnet: else of the whole chain.
        window: whether it is shut before an epoch.
    """
    argument = argument or name
    item = item or "".join(word.capitalize() for word in name.split("_"))
    event_name = f"{item}Set" if event == "" else event
    limit = item if owner == "" else owner

    def run(runtime: DevnetRuntime, origin: Origin, arguments: Arguments) -> None:
        value = arguments[argument]
        keys: tuple[int, ...] = ()
        if of_subnet:
            netuid = arguments["netuid"]
            _check_right(runtime, origin, netuid, limit)
            if window:
                require_open_window(runtime, netuid)
            ensure(bool(runtime.get("NetworksAdded", netuid)), "SubnetDoesNotExist", _PALLET)
            _check_against_others(runtime, netuid, item, value)
            keys = (netuid,)
        else:
            require_root(origin)
        number = value["bits"] if isinstance(value, dict) else value
        ensure(least <= number <= most, "InvalidValue", _PALLET)
        runtime.put(item, *keys, value)
        if event_name:
            runtime.deposit(MODULE, event_name, (*keys, value) if keys else value)
        if keys and origin is not None:
            runtime.put("LastRateLimitedBlock", _get_limit_key(keys[0], limit), runtime.number)

    call(_PALLET, f"sudo_set_{name}")(run)


for _name in (
    *("min_difficulty", "difficulty", "min_allowed_uids", "max_registrations_per_block"),
    "max_allowed_validators",
):
    _enter(_name)
for _name in (
    *("serving_rate_limit", "max_difficulty", "adjustment_alpha", "immunity_period"),
    *("max_allowed_uids", "rho", "bonds_penalty"),
):
    _enter(_name, owner="")
for _name in ("weights_set_rate_limit", "adjustment_interval", "kappa"):
    _enter(_name, window=False)
for _name in ("owner_cut_enabled", "subnet_emission_enabled"):
    _enter(_name, "enabled", event=None, window=False)
_enter("weights_version_key", owner="Unknown")
_enter("min_allowed_weights", event="MinAllowedWeightSet", owner="")
_enter("min_non_immune_uids", "min", window=False)
_enter(
    "owner_immune_neuron_limit",
    "immune_neurons",
    "ImmuneOwnerUidsLimit",
    event=None,
    owner="ImmuneNeuronLimit",
    least=1,
    most=10,
)
_enter("activity_cutoff", owner="", least=360)
_enter(
    "activity_cutoff_factor",
    "factor_milli",
    "ActivityCutoffFactorMilli",
    event=None,
    owner="",
    least=1_000,
    most=50_000,
)
_enter(
    "network_registration_allowed", "registration_allowed", "", "RegistrationAllowed", window=False
)
_enter("target_registrations_per_interval", event="RegistrationPerIntervalSet")
_enter("min_burn", owner="", most=10**9 - 1)
_enter("max_burn", owner="", least=10**8 + 1)
_enter("burn_half_life", event=None, owner="", least=1, most=36_100)
_enter("burn_increase_mult", event=None, owner="", least=_FIXED_ONE, most=3 * _FIXED_ONE)
_enter("bonds_moving_average", owner="", most=1_000_000)
_enter("rao_recycled", item="RAORecycledForRegistration", window=False)
_enter("commit_reveal_weights_enabled", "enabled", "", "CommitRevealEnabled", "CommitRevealEnabled")
_enter(
    "commit_reveal_weights_interval",
    "interval",
    "RevealPeriodEpochs",
    "CommitRevealPeriodsSet",
    "WeightCommitInterval",
    least=1,
    most=100,
)
_enter("toggle_transfer", "toggle", "TransferToggle", "TransferToggle", "TransferEnabled")
_enter("subtoken_enabled", event=None)

for _name, _argument in (
    ("tx_rate_limit", ""),
    ("subnet_owner_cut", ""),
    ("min_delegate_take", "take"),
    ("network_rate_limit", "rate_limit"),
    ("network_immunity_period", "immunity_period"),
    ("network_min_lock_cost", "lock_cost"),
    ("subnet_limit", "max_subnets"),
    ("stake_threshold", "min_stake"),
    ("admin_freeze_window", "window"),
    ("start_call_delay", "delay"),
):
    _enter(_name, _argument, of_subnet=False)
_enter("default_take", item="MaxDelegateTake", of_subnet=False)
_enter("owner_hparam_rate_limit", "epochs", "OwnerHyperparamRateLimit", of_subnet=False)
_enter("max_epochs_per_block", least=1, of_subnet=False)
_enter(
    "lock_reduction_interval",
    "interval",
    "NetworkLockReductionInterval",
    "NetworkLockCostReductionIntervalSet",
    of_subnet=False,
)
_enter(
    "commit_reveal_version",
    "version",
    "CommitRevealWeightsVersion",
    "CommitRevealVersionSet",
    of_subnet=False,
)


@call(_PALLET, "sudo_set_tempo")
def sudo_set_tempo(runtime: DevnetRuntime, origin: Origin, arguments: Arguments) -> None:
    """Root sets any tempo; the next epoch is counted from here."""
    require_root(origin)
    netuid = arguments["netuid"]
    require_open_window(runtime, netuid)
    ensure(bool(runtime.get("NetworksAdded", netuid)), "SubnetDoesNotExist", _PALLET)
    _apply_tempo(runtime, netuid, arguments["tempo"])


@call(MODULE, "set_tempo")
def set_tempo(runtime: DevnetRuntime, origin: Origin, arguments: Arguments) -> None:
    """The owner sets a tempo within bounds, once in a while."""
    netuid, tempo = arguments["netuid"], arguments["tempo"]
    who = _require_owner(runtime, origin, netuid)
    least, most = (runtime.codec.get_constant(MODULE, f"{end}Tempo") for end in ("Min", "Max"))
    ensure(least <= tempo <= most, "TempoOutOfBounds")
    require_open_window(runtime, netuid)
    last = runtime.get("TransactionKeyLastBlock", who, netuid, _TEMPO_UPDATE)
    ensure(not last or runtime.number - last >= least, "TxRateLimitExceeded")
    _apply_tempo(runtime, netuid, tempo)
    runtime.put("TransactionKeyLastBlock", who, netuid, _TEMPO_UPDATE, runtime.number)


@call(MODULE, "trigger_epoch")
def trigger_epoch(runtime: DevnetRuntime, origin: Origin, arguments: Arguments) -> None:
    """The owner pulls an epoch forward."""
    netuid = arguments["netuid"]
    who = _require_owner(runtime, origin, netuid)
    shut = runtime.get("CommitRevealWeightsEnabled", netuid)
    ensure(not shut, "DynamicTempoBlockedByCommitReveal")
    ensure(not runtime.get("PendingEpochAt", netuid), "EpochTriggerAlreadyPending")
    due, window = get_next_epoch(runtime.state, netuid), runtime.get("AdminFreezeWindow")
    ensure(due is None or due - runtime.number >= window, "AutoEpochAlreadyImminent")
    _check_rate(runtime, netuid, "TriggerEpoch")
    runtime.put("PendingEpochAt", netuid, runtime.number + window)
    runtime.put("LastRateLimitedBlock", _get_limit_key(netuid, "TriggerEpoch"), runtime.number)
    fields = {"netuid": netuid, "by": who, "fires_at": runtime.number + window}
    runtime.deposit(MODULE, "EpochTriggered", fields)


def _apply_tempo(runtime: DevnetRuntime, netuid: int, tempo: int) -> None:
    runtime.put("Tempo", netuid, tempo)
    runtime.put("LastEpochBlock", netuid, runtime.number)
    runtime.deposit(MODULE, "TempoSet", (netuid, tempo))


def _require_owner(runtime: DevnetRuntime, origin: Origin, netuid: int) -> str:
    who = require_signed(origin)
    if who != runtime.get("SubnetOwner", netuid):
        raise DispatchError(None, "BadOrigin")
    return who


def _check_right(runtime: DevnetRuntime, origin: Origin, netuid: int, limit: str | None) -> None:
    if origin is not None:
        if limit is None:
            raise DispatchError(None, "BadOrigin")
        _require_owner(runtime, origin, netuid)
        _check_rate(runtime, netuid, limit)


def _check_rate(runtime: DevnetRuntime, netuid: int, limit: str) -> None:
    last = runtime.get("LastRateLimitedBlock", _get_limit_key(netuid, limit))
    least = runtime.get("OwnerHyperparamRateLimit") * runtime.get("Tempo", netuid)
    ensure(not last or runtime.number - last >= least, "TxRateLimitExceeded")


def _get_limit_key(netuid: int, limit: str | None) -> dict[str, Any]:
    return {"OwnerHyperparamUpdate": (netuid, limit)}


def _check_against_others(runtime: DevnetRuntime, netuid: int, item: str, value: Any) -> None:
    """Bounds that are other settings."""
    count = runtime.get("SubnetworkN", netuid)
    if item == "MaxAllowedUids":
        least = runtime.get("MinAllowedUids", netuid)
        ensure(value >= least, "MaxAllowedUidsLessThanMinAllowedUids", _PALLET)
        ensure(value >= count, "MaxAllowedUIdsLessThanCurrentUIds", _PALLET)
        most = runtime.codec.get_constant(MODULE, "InitialMaxAllowedUids")
        ensure(value <= most, "MaxAllowedUidsGreaterThanDefaultMaxAllowedUids", _PALLET)
    elif item == "MinAllowedUids":
        most = runtime.get("MaxAllowedUids", netuid)
        ensure(value < most, "MinAllowedUidsGreaterThanMaxAllowedUids", _PALLET)
        ensure(value < count, "MinAllowedUidsGreaterThanCurrentUids", _PALLET)
    elif item == "MinBurn":
        ensure(value < runtime.get("MaxBurn", netuid), "ValueNotInBounds", _PALLET)
    elif item == "MaxBurn":
        ensure(value > runtime.get("MinBurn", netuid), "ValueNotInBounds", _PALLET)
    elif item == "MaxAllowedValidators":
        most = runtime.get("MaxAllowedUids", netuid)
        ensure(value <= most, "MaxValidatorsLargerThanMaxUIds", _PALLET)
