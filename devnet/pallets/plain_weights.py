"""Setting weights in the clear. Source: pallet subtensor, subnets/weights.rs."""

from collections.abc import Sequence

from assay.devnet.devnet_errors import DispatchError
from assay.devnet.devnet_runtime import (
    MODULE,
    Arguments,
    DevnetRuntime,
    Origin,
    call,
    ensure,
    require_signed,
)
from assay.devnet.pallets.uids import get_owner_uid, get_uid, list_column

_U16 = 65_535
#: Subnets have one mechanism here.
MAIN_MECHANISM = 0


@call(MODULE, "set_weights", "set_mechanism_weights", pays=False)
def set_weights(runtime: DevnetRuntime, origin: Origin, arguments: Arguments) -> None:
    """A validator's weights, where the subnet takes them in the clear."""
    netuid, hotkey = arguments["netuid"], require_signed(origin)
    ensure(not runtime.get("CommitRevealWeightsEnabled", netuid), "CommitRevealEnabled")
    require_mechanism(runtime, netuid, arguments.get("mecid", MAIN_MECHANISM))
    put_weights(
        runtime, netuid, hotkey, arguments["dests"], arguments["weights"], arguments["version_key"]
    )


def put_weights(
    runtime: DevnetRuntime,
    netuid: int,
    hotkey: str,
    uids: Sequence[int],
    values: Sequence[int],
    version_key: int,
) -> None:
    """Checks weights as the chain does, in its order, and keeps them scaled to a largest 65,535.

    Raises:
        DispatchError: the first thing that is wrong with them.
    """
    ensure(netuid != 0, "CanNotSetRootNetworkWeights")
    ensure(len(uids) == len(values), "WeightVecNotEqualSize")
    count = runtime.get("SubnetworkN", netuid)
    ensure(len(uids) <= count, "UidsLengthExceedUidsInSubNet")
    uid = get_uid(runtime, netuid, hotkey)
    is_owner = uid == get_owner_uid(runtime, netuid)
    stake = runtime.get("TotalHotkeyAlpha", hotkey, netuid)
    ensure(is_owner or stake >= runtime.get("StakeThreshold"), "NotEnoughStakeToSetWeights")
    required = runtime.get("WeightsVersionKey", netuid)
    ensure(not required or version_key >= required, "IncorrectWeightVersionKey")
    in_the_clear = not runtime.get("CommitRevealWeightsEnabled", netuid)
    if in_the_clear:
        ensure(is_rate_kept(runtime, netuid, uid), "SettingWeightsTooFast")
    is_self = len(values) == 1 and list(uids) == [uid]
    permitted = is_self or is_owner or list_column(runtime, "ValidatorPermit", netuid)[uid]
    ensure(bool(permitted), "NeuronNoValidatorPermit")
    ensure(len(set(uids)) == len(uids), "DuplicateUids")
    ensure(all(target < count for target in uids), "UidVecContainInvalidOne")
    least = min(count, runtime.get("MinAllowedWeights", netuid))
    ensure(is_self or len(values) >= least, "WeightVecLengthIsLow")
    scaled = _upscale(values)
    limit = runtime.get("MaxWeightsLimit", netuid)
    within = is_self or max(scaled, default=0) * _U16 <= limit * max(1, sum(scaled))
    ensure(limit == _U16 or within, "MaxWeightExceeded")
    runtime.put("Weights", netuid, uid, list(zip(uids, scaled, strict=True)))
    if in_the_clear:
        runtime.put_at("LastUpdate", netuid, uid, runtime.number)
    runtime.deposit(MODULE, "WeightsSet", (netuid, uid))


def is_rate_kept(runtime: DevnetRuntime, netuid: int, uid: int) -> bool:
    """Whether enough blocks have passed since a uid's last weights, or commit, or registration."""
    last = list_column(runtime, "LastUpdate", netuid)[uid]
    return not last or runtime.number - last >= runtime.get("WeightsSetRateLimit", netuid)


def require_mechanism(runtime: DevnetRuntime, netuid: int, mechanism: int) -> None:
    """Refuses subnets and mechanisms that are not there."""
    there = runtime.get("NetworksAdded", netuid) and mechanism == MAIN_MECHANISM
    if not there:
        raise DispatchError(MODULE, "MechanismDoesNotExist")


def _upscale(values: Sequence[int]) -> list[int]:
    """Scales so that the largest is 65,535, rounded to the nearest."""
    largest = max(values, default=0)
    if largest in (0, _U16):
        return list(values)
    return [(2 * value * _U16 + largest) // (2 * largest) for value in values]
