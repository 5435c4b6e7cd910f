"""Settings: changed by root, some by the subnet's owner too, within the chain's bounds.

An owner may change a setting once in `OwnerHyperparamRateLimit` epochs. Most settings cannot be
changed in the last `AdminFreezeWindow` blocks of an epoch, by anybody.
Source: pallet admin-utils; pallet subtensor, coinbase/tempo_control.rs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assay.devnet.devnet_errors import DispatchError
from assay.devnet.devnet_runtime import MODULE, DevnetRuntime, Origin, call, ensure, require_signed
from assay.devnet.pallets.schedule import get_next_epoch, require_open_window

_PALLET = "AdminUtils"
_FIXED_ONE = 1 << 64
#: The chain's number for an owner's change of tempo.
_TEMPO_UPDATE = 11
#: Largest value of a limit that is no limit.
_ANY = 2**64 - 1


@dataclass(frozen=True, slots=True)
class AdminSetting:
    """One call of AdminUtils that sets one storage item.

    Attributes:
        argument: the call's name for the value.
        item: of SubtensorModule.
        event: of SubtensorModule, with the call's arguments; "" for none.
        owner: the chain's name for it where the subnet's owner may change it.
        window: whether it is shut before an epoch.
        least, most: the bounds.
    """

    argument: str
    item: str
    event: str = ""
    owner: str = ""
    window: bool = True
    least: int = 0
    most: int = _ANY


#: Settings of one subnet.
SUBNET_SETTINGS: Mapping[str, AdminSetting] = {
    "serving_rate_limit": AdminSetting(
        "serving_rate_limit", "ServingRateLimit", "ServingRateLimitSet", "ServingRateLimit"
    ),
    "min_difficulty": AdminSetting("min_difficulty", "MinDifficulty", "MinDifficultySet"),
    "max_difficulty": AdminSetting(
        "max_difficulty", "MaxDifficulty", "MaxDifficultySet", "MaxDifficulty"
    ),
    "difficulty": AdminSetting("difficulty", "Difficulty", "DifficultySet"),
    "weights_version_key": AdminSetting(
        "weights_version_key", "WeightsVersionKey", "WeightsVersionKeySet", "Unknown"
    ),
    "weights_set_rate_limit": AdminSetting(
        "weights_set_rate_limit", "WeightsSetRateLimit", "WeightsSetRateLimitSet", window=False
    ),
    "adjustment_interval": AdminSetting(
        "adjustment_interval", "AdjustmentInterval", "AdjustmentIntervalSet", window=False
    ),
    "adjustment_alpha": AdminSetting(
        "adjustment_alpha", "AdjustmentAlpha", "AdjustmentAlphaSet", "AdjustmentAlpha"
    ),
    "immunity_period": AdminSetting(
        "immunity_period", "ImmunityPeriod", "ImmunityPeriodSet", "ImmunityPeriod"
    ),
    "min_allowed_weights": AdminSetting(
        "min_allowed_weights", "MinAllowedWeights", "MinAllowedWeightSet", "MinAllowedWeights"
    ),
    "max_allowed_uids": AdminSetting(
        "max_allowed_uids", "MaxAllowedUids", "MaxAllowedUidsSet", "MaxAllowedUids"
    ),
    "min_allowed_uids": AdminSetting("min_allowed_uids", "MinAllowedUids", "MinAllowedUidsSet"),
    "min_non_immune_uids": AdminSetting(
        "min", "MinNonImmuneUids", "MinNonImmuneUidsSet", window=False
    ),
    "owner_immune_neuron_limit": AdminSetting(
        "immune_neurons", "ImmuneOwnerUidsLimit", owner="ImmuneNeuronLimit", least=1, most=10
    ),
    "kappa": AdminSetting("kappa", "Kappa", "KappaSet", window=False),
    "rho": AdminSetting("rho", "Rho", "RhoSet", "Rho"),
    "activity_cutoff": AdminSetting(
        "activity_cutoff", "ActivityCutoff", "ActivityCutoffSet", "ActivityCutoff", least=360
    ),
    "activity_cutoff_factor": AdminSetting(
        "factor_milli",
        "ActivityCutoffFactorMilli",
        owner="ActivityCutoffFactorMilli",
        least=1_000,
        most=50_000,
    ),
    "network_registration_allowed": AdminSetting(
        "registration_allowed", "NetworkRegistrationAllowed", "RegistrationAllowed", window=False
    ),
    "target_registrations_per_interval": AdminSetting(
        "target_registrations_per_interval",
        "TargetRegistrationsPerInterval",
        "RegistrationPerIntervalSet",
    ),
    "max_registrations_per_block": AdminSetting(
        "max_registrations_per_block", "MaxRegistrationsPerBlock", "MaxRegistrationsPerBlockSet"
    ),
    "min_burn": AdminSetting("min_burn", "MinBurn", "MinBurnSet", "MinBurn", most=10**9 - 1),
    "max_burn": AdminSetting("max_burn", "MaxBurn", "MaxBurnSet", "MaxBurn", least=10**8 + 1),
    "burn_half_life": AdminSetting(
        "burn_half_life", "BurnHalfLife", owner="BurnHalfLife", least=1, most=36_100
    ),
    "burn_increase_mult": AdminSetting(
        "burn_increase_mult",
        "BurnIncreaseMult",
        owner="BurnIncreaseMult",
        least=_FIXED_ONE,
        most=3 * _FIXED_ONE,
    ),
    "max_allowed_validators": AdminSetting(
        "max_allowed_validators", "MaxAllowedValidators", "MaxAllowedValidatorsSet"
    ),
    "bonds_moving_average": AdminSetting(
        "bonds_moving_average",
        "BondsMovingAverage",
        "BondsMovingAverageSet",
        "BondsMovingAverage",
        most=1_000_000,
    ),
    "bonds_penalty": AdminSetting(
        "bonds_penalty", "BondsPenalty", "BondsPenaltySet", "BondsPenalty"
    ),
    "rao_recycled": AdminSetting(
        "rao_recycled", "RAORecycledForRegistration", "RAORecycledForRegistrationSet", window=False
    ),
    "commit_reveal_weights_enabled": AdminSetting(
        "enabled", "CommitRevealWeightsEnabled", "CommitRevealEnabled", "CommitRevealEnabled"
    ),
    "commit_reveal_weights_interval": AdminSetting(
        "interval",
        "RevealPeriodEpochs",
        "CommitRevealPeriodsSet",
        "WeightCommitInterval",
        least=1,
        most=100,
    ),
    "toggle_transfer": AdminSetting(
        "toggle", "TransferToggle", "TransferToggle", "TransferEnabled"
    ),
    "subtoken_enabled": AdminSetting("subtoken_enabled", "SubtokenEnabled"),
    "owner_cut_enabled": AdminSetting("enabled", "OwnerCutEnabled", window=False),
    "subnet_emission_enabled": AdminSetting("enabled", "SubnetEmissionEnabled", window=False),
}
#: Settings of the whole chain.
CHAIN_SETTINGS: Mapping[str, AdminSetting] = {
    "default_take": AdminSetting("default_take", "MaxDelegateTake", "MaxDelegateTakeSet"),
    "min_delegate_take": AdminSetting("take", "MinDelegateTake", "MinDelegateTakeSet"),
    "tx_rate_limit": AdminSetting("tx_rate_limit", "TxRateLimit", "TxRateLimitSet"),
    "subnet_owner_cut": AdminSetting("subnet_owner_cut", "SubnetOwnerCut", "SubnetOwnerCutSet"),
    "network_rate_limit": AdminSetting("rate_limit", "NetworkRateLimit", "NetworkRateLimitSet"),
    "network_immunity_period": AdminSetting(
        "immunity_period", "NetworkImmunityPeriod", "NetworkImmunityPeriodSet"
    ),
    "network_min_lock_cost": AdminSetting(
        "lock_cost", "NetworkMinLockCost", "NetworkMinLockCostSet"
    ),
    "subnet_limit": AdminSetting("max_subnets", "SubnetLimit", "SubnetLimitSet"),
    "lock_reduction_interval": AdminSetting(
        "interval", "NetworkLockReductionInterval", "NetworkLockCostReductionIntervalSet"
    ),
    "stake_threshold": AdminSetting("min_stake", "StakeThreshold", "StakeThresholdSet"),
    "commit_reveal_version": AdminSetting(
        "version", "CommitRevealWeightsVersion", "CommitRevealVersionSet"
    ),
    "admin_freeze_window": AdminSetting("window", "AdminFreezeWindow", "AdminFreezeWindowSet"),
    "owner_hparam_rate_limit": AdminSetting(
        "epochs", "OwnerHyperparamRateLimit", "OwnerHyperparamRateLimitSet"
    ),
    "start_call_delay": AdminSetting("delay", "StartCallDelay", "StartCallDelaySet"),
    "max_epochs_per_block": AdminSetting(
        "max_epochs_per_block", "MaxEpochsPerBlock", "MaxEpochsPerBlockSet", least=1
    ),
}


def _enter(name: str, setting: AdminSetting, of_subnet: bool) -> None:
    def run(runtime: DevnetRuntime, origin: Origin, arguments: Mapping[str, Any]) -> None:
        value = arguments[setting.argument]
        keys: tuple[int, ...] = ()
        if of_subnet:
            netuid = arguments["netuid"]
            _check_right(runtime, origin, netuid, setting)
            ensure(bool(runtime.get("NetworksAdded", netuid)), "SubnetDoesNotExist", _PALLET)
            _check_against_others(runtime, netuid, setting.item, value)
            keys = (netuid,)
        elif origin is not None:
            raise DispatchError(None, "BadOrigin")
        number = value["bits"] if isinstance(value, dict) else value
        ensure(setting.least <= number <= setting.most, "InvalidValue", _PALLET)
        runtime.put(setting.item, *keys, value)
        if setting.event:
            fields = (*keys, value)
            runtime.deposit(MODULE, setting.event, fields if len(fields) > 1 else value)
        if of_subnet and origin is not None:
            runtime.put("LastRateLimitedBlock", _get_limit_key(keys[0], setting), runtime.number)

    call(_PALLET, f"sudo_set_{name}")(run)


for _name, _setting in SUBNET_SETTINGS.items():
    _enter(_name, _setting, of_subnet=True)
for _name, _setting in CHAIN_SETTINGS.items():
    _enter(_name, _setting, of_subnet=False)


@call(_PALLET, "sudo_set_tempo")
def sudo_set_tempo(runtime: DevnetRuntime, origin: Origin, arguments: Mapping[str, Any]) -> None:
    """Root sets any tempo; the next epoch is counted from here."""
    if origin is not None:
        raise DispatchError(None, "BadOrigin")
    netuid = arguments["netuid"]
    require_open_window(runtime, netuid)
    ensure(bool(runtime.get("NetworksAdded", netuid)), "SubnetDoesNotExist", _PALLET)
    _apply_tempo(runtime, netuid, arguments["tempo"])


@call(MODULE, "set_tempo")
def set_tempo(runtime: DevnetRuntime, origin: Origin, arguments: Mapping[str, Any]) -> None:
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
def trigger_epoch(runtime: DevnetRuntime, origin: Origin, arguments: Mapping[str, Any]) -> None:
    """The owner pulls an epoch forward."""
    netuid = arguments["netuid"]
    who = _require_owner(runtime, origin, netuid)
    shut = runtime.get("CommitRevealWeightsEnabled", netuid)
    ensure(not shut, "DynamicTempoBlockedByCommitReveal")
    ensure(not runtime.get("PendingEpochAt", netuid), "EpochTriggerAlreadyPending")
    due, window = get_next_epoch(runtime.state, netuid), runtime.get("AdminFreezeWindow")
    ensure(due is None or due - runtime.number >= window, "AutoEpochAlreadyImminent")
    setting = AdminSetting("", "", owner="TriggerEpoch")
    _check_rate(runtime, netuid, setting)
    runtime.put("PendingEpochAt", netuid, runtime.number + window)
    runtime.put("LastRateLimitedBlock", _get_limit_key(netuid, setting), runtime.number)
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


def _check_right(
    runtime: DevnetRuntime, origin: Origin, netuid: int, setting: AdminSetting
) -> None:
    if origin is not None:
        if not setting.owner:
            raise DispatchError(None, "BadOrigin")
        _require_owner(runtime, origin, netuid)
        _check_rate(runtime, netuid, setting)
    if setting.window:
        require_open_window(runtime, netuid)


def _check_rate(runtime: DevnetRuntime, netuid: int, setting: AdminSetting) -> None:
    last = runtime.get("LastRateLimitedBlock", _get_limit_key(netuid, setting))
    limit = runtime.get("OwnerHyperparamRateLimit") * runtime.get("Tempo", netuid)
    ensure(not last or runtime.number - last >= limit, "TxRateLimitExceeded")


def _get_limit_key(netuid: int, setting: AdminSetting) -> dict[str, Any]:
    return {"OwnerHyperparamUpdate": (netuid, setting.owner)}


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
