"""Subnets, neurons and stakes as the runtime's calls describe them."""

from typing import Any

from subtensor_devnet.pallets.staking import get_stake
from subtensor_devnet.pallets.uids import COLUMNS
from subtensor_devnet.runtime import MODULE
from subtensor_devnet.scale_codec import read_bytes
from subtensor_devnet.state import StateView

_THOUSAND = 1_000
#: Field of a description → storage item of a subnet.
_SETTINGS = {
    "rho": "Rho",
    "kappa": "Kappa",
    "immunity_period": "ImmunityPeriod",
    "min_allowed_weights": "MinAllowedWeights",
    "max_weights_limit": "MaxWeightsLimit",
    "tempo": "Tempo",
    "min_difficulty": "MinDifficulty",
    "max_difficulty": "MaxDifficulty",
    "difficulty": "Difficulty",
    "weights_version": "WeightsVersionKey",
    "weights_rate_limit": "WeightsSetRateLimit",
    "adjustment_interval": "AdjustmentInterval",
    "registration_allowed": "NetworkRegistrationAllowed",
    "target_regs_per_interval": "TargetRegistrationsPerInterval",
    "min_burn": "MinBurn",
    "max_burn": "MaxBurn",
    "bonds_moving_avg": "BondsMovingAverage",
    "max_regs_per_block": "MaxRegistrationsPerBlock",
    "serving_rate_limit": "ServingRateLimit",
    "max_validators": "MaxAllowedValidators",
    "adjustment_alpha": "AdjustmentAlpha",
    "commit_reveal_period": "RevealPeriodEpochs",
    "commit_reveal_weights_enabled": "CommitRevealWeightsEnabled",
    "liquid_alpha_enabled": "LiquidAlphaOn",
    "subnet_is_active": "SubtokenEnabled",
    "transfers_enabled": "TransferToggle",
}
#: The same where every setting says its type; those that are not whole numbers.
_TYPES = {
    "weights_version": "U64",
    "weights_rate_limit": "U64",
    "activity_cutoff": "U64",
    "activity_cutoff_factor": "U32",
    "min_burn": "TaoBalance",
    "max_burn": "TaoBalance",
    "burn_increase_mult": "U64F64",
    "bonds_moving_avg": "U64",
    "serving_rate_limit": "U64",
    "commit_reveal_period": "U64",
}
_MORE_SETTINGS = {
    "activity_cutoff_factor": "ActivityCutoffFactorMilli",
    "burn_half_life": "BurnHalfLife",
    "burn_increase_mult": "BurnIncreaseMult",
    "owner_cut_enabled": "OwnerCutEnabled",
}
#: Not among them: settings of proof-of-work, and adjustments that are no more.
_BYGONE = ("difficulty", "adjustment")
#: The same of what a subnet has besides its settings.
_STATE = {
    "owner_hotkey": "SubnetOwnerHotkey",
    "owner_coldkey": "SubnetOwner",
    "tempo": "Tempo",
    "last_step": "LastMechansimStepBlock",
    "blocks_since_last_step": "BlocksSinceLastStep",
    "alpha_in": "SubnetAlphaIn",
    "alpha_out": "SubnetAlphaOut",
    "tao_in": "SubnetTAO",
    "alpha_out_emission": "SubnetAlphaOutEmission",
    "pending_alpha_emission": "PendingServerEmission",
    "subnet_volume": "SubnetVolume",
    "network_registered_at": "NetworkRegisteredAt",
    "num_uids": "SubnetworkN",
    "max_uids": "MaxAllowedUids",
    "burn": "Burn",
}
#: Of a neuron → list with an element a uid.
_COLUMNS = {
    "active": "Active",
    "emission": "Emission",
    "incentive": "Incentive",
    "consensus": "Consensus",
    "validator_trust": "ValidatorTrust",
    "dividends": "Dividends",
    "last_update": "LastUpdate",
    "validator_permit": "ValidatorPermit",
}
#: Of neurons, and always 0 here.
_LACKING = (
    "trust",
    "rank",
    "tao_stake",
    "collateral_locked",
    "collateral_min",
    "collateral_earned",
)


def describe_settings(view: StateView, netuid: int) -> dict[str, Any] | None:
    """A subnet's settings; None: there is no such subnet."""
    if not view.get(MODULE, "NetworksAdded", netuid):
        return None
    settings = {name: view.get(MODULE, item, netuid) for name, item in _SETTINGS.items()}
    low, high = view.get(MODULE, "AlphaValues", netuid)
    factor = view.get(MODULE, "ActivityCutoffFactorMilli", netuid)
    cutoff = factor * settings["tempo"] // _THOUSAND
    yuma = 3 if view.get(MODULE, "Yuma3On", netuid) else 2
    rest = {"alpha_low": low, "alpha_high": high, "activity_cutoff": cutoff, "yuma_version": yuma}
    return settings | rest


def list_settings(view: StateView, netuid: int) -> list[dict[str, Any]] | None:
    """A subnet's settings, each with its name and type; None: there is no such subnet."""
    settings = describe_settings(view, netuid)
    if settings is None:
        return None
    settings |= {name: view.get(MODULE, item, netuid) for name, item in _MORE_SETTINGS.items()}
    entries = []
    for name, value in settings.items():
        if not any(word in name for word in _BYGONE):
            kind = "Bool" if isinstance(value, bool) else _TYPES.get(name, "U16")
            entries.append({"name": list(name.encode()), "value": {kind: value}})
    return entries


def describe_subnet(view: StateView, netuid: int) -> dict[str, Any] | None:
    """A subnet's pool, owner and clock; None: there is no such subnet."""
    if not view.get(MODULE, "NetworksAdded", netuid):
        return None
    state = {name: view.get(MODULE, item, netuid) for name, item in _STATE.items()}
    symbol = read_bytes(view.get(MODULE, "TokenSymbol", netuid))
    name = f"subnet {netuid}".encode()
    texts = {"subnet_name": list(name), "token_symbol": list(symbol)}
    return state | texts | {"netuid": netuid, "name": list(name), "symbol": list(symbol)}


def list_subnets(view: StateView) -> list[dict[str, Any] | None]:
    """Every subnet as `describe_subnet` has it, by netuid."""
    netuids = sorted(netuid for netuid, _ in view.list_entries(MODULE, "NetworksAdded"))
    return [describe_subnet(view, netuid) for netuid in netuids]


def describe_metagraph(view: StateView, netuid: int) -> dict[str, Any] | None:
    """Everything about a subnet and its neurons; None: there is no such subnet."""
    subnet, settings = describe_subnet(view, netuid), describe_settings(view, netuid)
    if subnet is None or settings is None:
        return None
    neurons = list_neurons(view, netuid)
    stakes = [view.get(MODULE, "TotalHotkeyAlpha", n["hotkey"], netuid) for n in neurons]
    columns: dict[str, list[Any]] = {
        name: [neuron[name] for neuron in neurons]
        for name in ("active", "validator_permit", "last_update", "emission", "dividends")
    }
    uids = range(len(neurons))
    return {
        **settings,
        **subnet,
        **columns,
        **{name: [0] * len(neurons) for name in _LACKING},
        "block": view.get("System", "Number"),
        "hotkeys": [neuron["hotkey"] for neuron in neurons],
        "coldkeys": [neuron["coldkey"] for neuron in neurons],
        "identities": [None for _ in uids],
        "axons": [{} for _ in uids],
        "pruning_score": [neuron["pruning_score"] for neuron in neurons],
        "incentives": [neuron["incentive"] for neuron in neurons],
        "consensus": [neuron["consensus"] for neuron in neurons],
        "block_at_registration": [view.get(MODULE, "BlockAtRegistration", netuid, u) for u in uids],
        "alpha_stake": stakes,
        "total_stake": stakes,
    }


def list_neurons(view: StateView, netuid: int) -> list[dict[str, Any]]:
    """All neurons of a subnet in order of uid."""
    count = view.get(MODULE, "SubnetworkN", netuid)
    columns = {name: view.get(MODULE, item, netuid) for name, item in _COLUMNS.items()}
    return [_describe(view, netuid, uid, columns) for uid in range(count)]


def describe_neuron(view: StateView, netuid: int, uid: int) -> dict[str, Any] | None:
    """One neuron; None: nobody holds the uid."""
    if uid >= view.get(MODULE, "SubnetworkN", netuid):
        return None
    columns = {name: view.get(MODULE, item, netuid) for name, item in _COLUMNS.items()}
    return _describe(view, netuid, uid, columns)


def _describe(
    view: StateView, netuid: int, uid: int, columns: dict[str, list[Any]]
) -> dict[str, Any]:
    hotkey = view.get(MODULE, "Keys", netuid, uid)
    holders = view.list_entries(MODULE, "AlphaV2", hotkey)
    coldkeys = [coldkey for (coldkey, subnet), _ in holders if subnet == netuid]
    return {
        "hotkey": hotkey,
        "coldkey": view.get(MODULE, "Owner", hotkey),
        "uid": uid,
        "netuid": netuid,
        "axon_info": {},
        "prometheus_info": {},
        "stake": [(coldkey, get_stake(view, hotkey, coldkey, netuid)) for coldkey in coldkeys],
        "weights": [tuple(pair) for pair in view.get(MODULE, "Weights", netuid, uid)],
        "bonds": [tuple(pair) for pair in view.get(MODULE, "Bonds", netuid, uid)],
        "pruning_score": 0,
        **{
            name: column[uid] if uid < len(column) else COLUMNS[_COLUMNS[name]]
            for name, column in columns.items()
        },
    }


def list_stakes(view: StateView, coldkey: str) -> list[dict[str, Any]]:
    """All of a coldkey's stakes."""
    stakes = []
    for hotkey in view.get(MODULE, "StakingHotkeys", coldkey):
        for netuid, _ in view.list_entries(MODULE, "AlphaV2", hotkey, coldkey):
            stakes.append(describe_stake(view, hotkey, coldkey, netuid))
    return stakes


def list_availability(
    view: StateView, coldkeys: list[str], netuids: list[int] | None
) -> dict[str, dict[int, dict[str, int]]]:
    """The alpha that coldkeys may sell on subnets, by default on all: nothing is locked here."""
    available = {}
    for coldkey in coldkeys:
        totals: dict[int, int] = {}
        for stake in list_stakes(view, coldkey):
            if netuids is None or stake["netuid"] in netuids:
                totals[stake["netuid"]] = totals.get(stake["netuid"], 0) + stake["stake"]
        available[coldkey] = {
            netuid: {"total": total, "locked": 0, "available": total}
            for netuid, total in sorted(totals.items())
        }
    return available


def describe_stake(view: StateView, hotkey: str, coldkey: str, netuid: int) -> dict[str, Any]:
    """One coldkey's stake on a hotkey, 0 where it has none."""
    return {
        "hotkey": hotkey,
        "coldkey": coldkey,
        "netuid": netuid,
        "stake": get_stake(view, hotkey, coldkey, netuid),
        "is_registered": view.get(MODULE, "IsNetworkMember", hotkey, netuid),
    }
