"""Commitments: one slot a hotkey and subnet, overwritten, with limited space in an epoch."""

from typing import Any

from subtensor_devnet.runtime import Arguments, DevnetRuntime, ensure, root_call, signed_call
from subtensor_devnet.scale_codec import read_bytes

_PALLET = "Commitments"
#: What a commitment takes of the space at least, bytes.
_LEAST_SPACE = 100


@signed_call(_PALLET, "set_commitment", pays=False)
def set_commitment(runtime: DevnetRuntime, who: str, arguments: Arguments) -> None:
    """Overwrites the hotkey's slot. No deposit is taken, as on subtensor."""
    netuid, info = arguments["netuid"], arguments["info"]
    state, fields = runtime.state, info["fields"]
    ensure(runtime.has("Uids", netuid, who), "AccountNotAllowedCommit", _PALLET)
    limit = int(runtime.codec.get_constant(_PALLET, "MaxFields"))
    ensure(len(fields) <= limit, "TooManyFieldsInCommitmentInfo", _PALLET)
    usage = state.get(_PALLET, "UsedSpaceOf", netuid, who)
    epoch = runtime.get("SubnetEpochIndex", netuid)
    used = usage["used_space"] if usage and usage["last_epoch"] == epoch else 0
    used += max(_LEAST_SPACE, sum(_measure(field) for field in fields))
    ensure(used <= state.get(_PALLET, "MaxSpace"), "SpaceLimitExceeded", _PALLET)
    usage = {"last_epoch": epoch, "used_space": used}
    state.put(_PALLET, "UsedSpaceOf", netuid, who, usage)
    slot = {"deposit": 0, "block": runtime.number, "info": info}
    state.put(_PALLET, "CommitmentOf", netuid, who, slot)
    state.put(_PALLET, "LastCommitment", netuid, who, runtime.number)
    runtime.deposit(_PALLET, "Commitment", {"netuid": netuid, "who": who})


@root_call(_PALLET, "set_max_space")
def set_max_space(runtime: DevnetRuntime, arguments: Arguments) -> None:
    """Root sets the bytes that a hotkey may commit in an epoch."""
    runtime.state.put(_PALLET, "MaxSpace", arguments["new_limit"])


def _measure(field: Any) -> int:
    """Bytes of one field as the space limit counts them."""
    if not isinstance(field, dict):
        return 0
    ((kind, value),) = field.items()
    if kind == "TimelockEncrypted":
        value = value["encrypted"]
    return len(read_bytes(value))
