"""The emission of every block, and its division in a subnet's epoch.

Half of the rest after the owner's cut is the miners', half the validators'. Subtensor also
emits TAO into the pools and pays the root network; neither is here.
Source: pallet subtensor, coinbase/run_coinbase.rs and epoch/run_epoch.rs.
"""

from collections.abc import Callable

from subtensor_devnet.pallets.schedule import is_epoch_due, list_subnets
from subtensor_devnet.pallets.staking import add_alpha, add_stake_of
from subtensor_devnet.pallets.uids import get_owner_uid, list_column
from subtensor_devnet.runtime import MODULE, DevnetRuntime
from subtensor_devnet.yuma import EpochInputs, EpochResult, YumaRules

#: What becomes of a subnet's stakes and weights in an epoch.
Consensus = Callable[[EpochInputs], EpochResult]

_U16 = 65_535
#: Rao of alpha that a running subnet emits in a block, until half of all there will be is out.
_BLOCK_EMISSION = 10**9
_THOUSAND = 1_000


def run_coinbase(runtime: DevnetRuntime, consensus: Consensus) -> None:
    """Emits alpha to all subnets that run, and ends the epochs that are due."""
    subnets = list_subnets(runtime)
    left = runtime.get("MaxEpochsPerBlock")
    for netuid in subnets:
        started = runtime.get("FirstEmissionBlockNumber", netuid)
        if started is not None and runtime.number >= started:
            _emit(runtime, netuid)
        runtime.add("BlocksSinceLastStep", netuid, 1)
        if not is_epoch_due(runtime, netuid):
            continue
        if not left:
            runtime.put("PendingEpochAt", netuid, runtime.number + 1)
            continue
        left -= 1
        _end_epoch(runtime, netuid, consensus)


def _emit(runtime: DevnetRuntime, netuid: int) -> None:
    runtime.add("SubnetAlphaOut", netuid, _BLOCK_EMISSION)
    runtime.put("SubnetAlphaOutEmission", netuid, _BLOCK_EMISSION)
    cut = 0
    if runtime.get("OwnerCutEnabled", netuid):
        cut = _BLOCK_EMISSION * runtime.get("SubnetOwnerCut") // _U16
    miners = (_BLOCK_EMISSION - cut) // 2
    runtime.add("PendingOwnerCut", netuid, cut)
    runtime.add("PendingServerEmission", netuid, miners)
    runtime.add("PendingValidatorEmission", netuid, _BLOCK_EMISSION - cut - miners)


def _end_epoch(runtime: DevnetRuntime, netuid: int, consensus: Consensus) -> None:
    pending = ("PendingServerEmission", "PendingValidatorEmission", "PendingOwnerCut")
    miners, validators, cut = (runtime.get(item, netuid) for item in pending)
    for item in pending:
        runtime.put(item, netuid, 0)
    result = consensus(_gather(runtime, netuid, miners + validators))
    _store(runtime, netuid, result)
    _pay(runtime, netuid, result, miners, validators, cut)
    for item in ("LastEpochBlock", "LastMechansimStepBlock"):
        runtime.put(item, netuid, runtime.number)
    runtime.put("BlocksSinceLastStep", netuid, 0)
    runtime.put("PendingEpochAt", netuid, 0)
    runtime.add("SubnetEpochIndex", netuid, 1)


def _gather(runtime: DevnetRuntime, netuid: int, emission: int) -> EpochInputs:
    uids = range(runtime.get("SubnetworkN", netuid))
    hotkeys = [runtime.get("Keys", netuid, uid) for uid in uids]
    factor, tempo = runtime.get("ActivityCutoffFactorMilli", netuid), runtime.get("Tempo", netuid)
    return EpochInputs(
        block=runtime.number,
        emission=emission,
        owner_uid=get_owner_uid(runtime, netuid),
        stakes=[runtime.get("TotalHotkeyAlpha", hotkey, netuid) for hotkey in hotkeys],
        permits=[bool(permit) for permit in list_column(runtime, "ValidatorPermit", netuid)],
        last_update=list_column(runtime, "LastUpdate", netuid),
        registered_at=[runtime.get("BlockAtRegistration", netuid, uid) for uid in uids],
        weights=_get_rows(runtime, netuid, "Weights"),
        bonds=_get_rows(runtime, netuid, "Bonds"),
        rules=YumaRules(
            tempo=tempo,
            activity_cutoff=factor * tempo // _THOUSAND,
            kappa=runtime.get("Kappa", netuid),
            bonds_moving_average=runtime.get("BondsMovingAverage", netuid),
            bonds_penalty=runtime.get("BondsPenalty", netuid),
            max_validators=runtime.get("MaxAllowedValidators", netuid),
            stake_threshold=runtime.get("StakeThreshold"),
        ),
    )


def _get_rows(runtime: DevnetRuntime, netuid: int, item: str) -> dict[int, dict[int, int]]:
    """Weights or bonds among uids that there are."""
    count = runtime.get("SubnetworkN", netuid)
    return {
        uid: {target: value for target, value in row if target < count}
        for uid, row in runtime.state.list_entries(MODULE, item, netuid)
        if uid < count
    }


def _store(runtime: DevnetRuntime, netuid: int, result: EpochResult) -> None:
    columns = {
        "Active": result.active,
        "StakeWeight": result.stake_weight,
        "Consensus": result.consensus,
        "Incentive": result.incentive,
        "Dividends": result.dividends,
        "ValidatorTrust": result.validator_trust,
        "Emission": result.emission,
        "ValidatorPermit": result.permits,
    }
    for item, values in columns.items():
        runtime.put(item, netuid, list(values))
    held = {uid for uid, _ in runtime.state.list_entries(MODULE, "Bonds", netuid)}
    for uid in held - result.bonds.keys():
        runtime.remove("Bonds", netuid, uid)
    for uid, row in result.bonds.items():
        runtime.put("Bonds", netuid, uid, sorted(row.items()))


def _pay(
    runtime: DevnetRuntime, netuid: int, result: EpochResult, miners: int, validators: int, cut: int
) -> None:
    """Alpha for all; what an owner's hotkey would earn as a miner is burned."""
    owner = runtime.get("SubnetOwner", netuid)
    add_stake_of(runtime, runtime.get("SubnetOwnerHotkey", netuid), owner, netuid, cut)
    if not any(result.miner_emission):
        validators += miners
    total = sum(result.validator_emission)
    for uid in range(runtime.get("SubnetworkN", netuid)):
        hotkey = runtime.get("Keys", netuid, uid)
        coldkey = runtime.get("Owner", hotkey)
        earned = result.miner_emission[uid]
        if earned and coldkey != owner:
            add_stake_of(runtime, hotkey, coldkey, netuid, earned)
        dividends = validators * result.validator_emission[uid] // total if total else 0
        if dividends:
            share = dividends * runtime.get("Delegates", hotkey) // _U16
            add_stake_of(runtime, hotkey, coldkey, netuid, share)
            add_alpha(runtime, hotkey, netuid, dividends - share)
