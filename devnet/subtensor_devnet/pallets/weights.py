"""Setting weights: in the clear, or encrypted until drand has signed their round.

A commit of epoch e is opened in epoch e + `RevealPeriodEpochs`, in the first block in which the
chain knows the pulse of its round, a real one of quicknet's; one that is not opened in that epoch
is lost. Source: pallet subtensor, subnets/weights.rs and coinbase/reveal_commits.rs.
"""

import logging
from collections.abc import Sequence
from hashlib import sha256

from bittensor_core import decrypt_with_signature, encrypt_at_round, ss58_encode

from subtensor_devnet.errors import DispatchError, MalformedError
from subtensor_devnet.pallets.schedule import get_epoch_index, list_subnets
from subtensor_devnet.pallets.uids import get_owner_uid, get_uid, list_column
from subtensor_devnet.runtime import MODULE, Arguments, DevnetRuntime, ensure, signed_call
from subtensor_devnet.scale import ScaleReader, encode_bytes, hash_blake2
from subtensor_devnet.scale_codec import SS58_TYPE, read_bytes
from subtensor_devnet.state import DevnetState, StateView

logger = logging.getLogger("subtensor_devnet")

_U16 = 65_535
#: Subnets have one mechanism here.
_MAIN_MECHANISM = 0
#: Commits of one hotkey that may wait in an epoch.
_MOST_COMMITS = 10
#: A signature of quicknet's, compressed.
_SIGNATURE_BYTES = 48
_PROBE = b"probe"
_COMMITS, _DRAND = "TimelockedWeightCommits", "Drand"


@signed_call(MODULE, "set_weights", "set_mechanism_weights", pays=False)
def set_weights(runtime: DevnetRuntime, hotkey: str, arguments: Arguments) -> None:
    """A validator's weights, where the subnet takes them in the clear."""
    netuid = arguments["netuid"]
    ensure(not runtime.get("CommitRevealWeightsEnabled", netuid), "CommitRevealEnabled")
    _require_mechanism(runtime, netuid, arguments.get("mecid", _MAIN_MECHANISM))
    _put_weights(
        runtime, netuid, hotkey, arguments["dests"], arguments["weights"], arguments["version_key"]
    )


def _put_weights(
    runtime: DevnetRuntime,
    netuid: int,
    hotkey: str,
    uids: Sequence[int],
    values: Sequence[int],
    version_key: int,
) -> None:
    """Checks weights as the chain does, in its order, and keeps them scaled to a largest 65,535."""
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
        ensure(_is_rate_kept(runtime, netuid, uid), "SettingWeightsTooFast")
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


def _is_rate_kept(runtime: DevnetRuntime, netuid: int, uid: int) -> bool:
    """Whether enough blocks have passed since a uid's last weights, or commit, or registration."""
    last = list_column(runtime, "LastUpdate", netuid)[uid]
    return not last or runtime.number - last >= runtime.get("WeightsSetRateLimit", netuid)


def _require_mechanism(runtime: DevnetRuntime, netuid: int, mechanism: int) -> None:
    """Refuses subnets and mechanisms that are not there."""
    exists = runtime.get("NetworksAdded", netuid) and mechanism == _MAIN_MECHANISM
    if not exists:
        raise DispatchError(MODULE, "MechanismDoesNotExist")


def _upscale(values: Sequence[int]) -> list[int]:
    """Scales so that the largest is 65,535, rounded to the nearest."""
    largest = max(values, default=0)
    if largest in (0, _U16):
        return list(values)
    return [(2 * value * _U16 + largest) // (2 * largest) for value in values]


@signed_call(MODULE, "commit_timelocked_weights", "commit_timelocked_mechanism_weights", pays=False)
def commit_timelocked_weights(runtime: DevnetRuntime, who: str, arguments: Arguments) -> None:
    """Keeps encrypted weights until their round."""
    netuid = arguments["netuid"]
    _require_mechanism(runtime, netuid, arguments.get("mecid", _MAIN_MECHANISM))
    ensure(runtime.get("CommitRevealWeightsEnabled", netuid), "CommitRevealDisabled")
    version = runtime.get("CommitRevealWeightsVersion")
    ensure(arguments["commit_reveal_version"] == version, "IncorrectCommitRevealVersion")
    uid = get_uid(runtime, netuid, who)
    ensure(_is_rate_kept(runtime, netuid, uid), "CommittingWeightsTooFast")
    epoch = get_epoch_index(runtime, netuid)
    commits = list(runtime.get(_COMMITS, netuid, epoch))
    waiting = sum(account == who for account, *_ in commits)
    ensure(waiting < _MOST_COMMITS, "TooManyUnrevealedCommits")
    commit, number = read_bytes(arguments["commit"]), arguments["reveal_round"]
    commits.append((who, runtime.number, "0x" + commit.hex(), number))
    runtime.put(_COMMITS, netuid, epoch, commits)
    digest = "0x" + hash_blake2(commit).hex()
    runtime.deposit(MODULE, "TimelockedWeightsCommitted", (who, netuid, digest, number))
    runtime.put_at("LastUpdate", netuid, uid, runtime.number)


def list_awaited_rounds(state: StateView) -> set[int]:
    """Rounds of commits that wait, and whose pulse the chain does not know yet."""
    commits = (commit for _, row in state.list_entries(MODULE, _COMMITS) for commit in row)
    rounds = {int(number) for *_, number in commits}
    return {number for number in rounds if _get_signature(state, number) is None}


def reveal_commits(runtime: DevnetRuntime) -> None:
    """Opens due commits and drops overdue ones, in every block before its epochs."""
    for netuid in list_subnets(runtime):
        due = get_epoch_index(runtime, netuid) - runtime.get("RevealPeriodEpochs", netuid)
        for epoch, commits in list(runtime.state.list_entries(MODULE, _COMMITS, netuid)):
            if epoch <= due:
                runtime.remove(_COMMITS, netuid, epoch)
            if epoch == due:
                left = [commit for commit in commits if not _reveal(runtime, netuid, *commit)]
                if left:
                    runtime.put(_COMMITS, netuid, epoch, left)


def _reveal(
    runtime: DevnetRuntime, netuid: int, who: str, block: int, commit: str, number: int
) -> bool:
    """Whether the commit is done with: its round is known, and it was opened or is worthless."""
    signature = _get_signature(runtime.state, number)
    if signature is None:
        return False
    try:
        uids, values, version_key = _open(read_bytes(commit), number, signature, who)
        mark = runtime.state.mark()
        try:
            _put_weights(runtime, netuid, who, uids, values, version_key)
        except DispatchError:
            runtime.state.undo(mark)
            raise
    except (MalformedError, DispatchError) as error:
        logger.info(
            "weights that %s committed in block %d are void: %s",
            who,
            block,
            error,
            extra={"event": "timelock_void"},
        )
        return True
    runtime.deposit(MODULE, "TimelockedWeightsRevealed", (netuid, who))
    return True


def _open(
    commit: bytes, number: int, signature: bytes, who: str
) -> tuple[list[int], list[int], int]:
    """Uids, values and version key of a commit."""
    envelope = encode_bytes(commit) + number.to_bytes(8, "little")
    try:
        payload = decrypt_with_signature(envelope, signature.hex())
    except ValueError as error:
        raise MalformedError(f"cannot be opened: {error}") from error
    reader = ScaleReader(bytes(payload))
    hotkey = reader.take(reader.take_compact())
    if len(hotkey) != 32 or ss58_encode(hotkey, SS58_TYPE) != who:
        raise MalformedError("another hotkey's weights")
    uids, values = _take_list(reader), _take_list(reader)
    return uids, values, int.from_bytes(reader.take(8), "little")


def _take_list(reader: ScaleReader) -> list[int]:
    data = reader.take(2 * reader.take_compact())
    return [int.from_bytes(data[i : i + 2], "little") for i in range(0, len(data), 2)]


def _get_signature(state: StateView, number: int) -> bytes | None:
    """The signature of a round that the chain knows."""
    pulse = state.get(_DRAND, "Pulses", number)
    if pulse is None:
        return None
    return bytes.fromhex(pulse["signature"].removeprefix("0x"))


def is_pulse(number: int, signature: bytes) -> bool:
    """Whether quicknet signed the round so: the signature opens what is encrypted to the round."""
    if not 1 <= number < 2**64 or len(signature) != _SIGNATURE_BYTES:
        return False
    envelope, _ = encrypt_at_round(_PROBE, number)
    try:
        return bytes(decrypt_with_signature(bytes(envelope), signature.hex())) == _PROBE
    except ValueError:
        return False


def put_pulse(state: DevnetState, number: int, signature: bytes) -> None:
    """Keeps a round whose signature was checked."""
    pulse = {
        "round": number,
        "randomness": "0x" + sha256(signature).hexdigest(),
        "signature": "0x" + signature.hex(),
    }
    state.put(_DRAND, "Pulses", number, pulse)
    newest, oldest = (state.get(_DRAND, f"{age}StoredRound") for age in ("Last", "Oldest"))
    state.put(_DRAND, "LastStoredRound", max(newest, number))
    state.put(_DRAND, "OldestStoredRound", min(oldest, number) if oldest else number)
