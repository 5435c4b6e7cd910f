"""Calls that hold calls: batches, and sudo. And remarks, which hold nothing."""

from typing import Any

from subtensor_devnet.errors import DispatchError
from subtensor_devnet.runtime import (
    Arguments,
    DevnetRuntime,
    Origin,
    call,
    ensure,
    root_call,
    signed_call,
)
from subtensor_devnet.scale import hash_blake2
from subtensor_devnet.scale_codec import read_bytes, read_call

#: Calls one batch may hold.
_LARGEST_BATCH = 10_922


def _enter_batch(name: str, failed: str | None) -> None:
    """Enters a batch; `failed` is the event where a call fails, None: all calls or none."""

    def run(runtime: DevnetRuntime, origin: Origin, arguments: Arguments) -> None:
        ended = "BatchCompleted"
        calls = arguments["calls"]
        ensure(len(calls) <= _LARGEST_BATCH, "TooManyCalls", "Utility")
        for index, inner in enumerate(calls):
            try:
                runtime.dispatch(origin, read_call(inner))
            except DispatchError as error:
                if failed is None:
                    raise
                fields = {"error": runtime.codec.make_error(error)}
                if failed == "BatchInterrupted":
                    runtime.deposit("Utility", failed, {"index": index} | fields)
                    return
                runtime.deposit("Utility", failed, fields)
                ended = "BatchCompletedWithErrors"
            else:
                runtime.deposit("Utility", "ItemCompleted", {})
        runtime.deposit("Utility", ended, {})

    call("Utility", name)(run)


_enter_batch("batch_all", None)
_enter_batch("batch", "BatchInterrupted")
_enter_batch("force_batch", "ItemFailed")


@signed_call("Sudo", "sudo", "sudo_unchecked_weight", pays=False)
def sudo(runtime: DevnetRuntime, signer: str, arguments: Arguments) -> None:
    """Runs a call as root. Only an event tells whether that call failed."""
    ensure(signer == runtime.state.get("Sudo", "Key"), "RequireSudo", "Sudo")
    result: dict[str, Any] = {"Ok": None}
    try:
        runtime.dispatch(None, read_call(arguments["call"]))
    except DispatchError as error:
        result = {"Err": runtime.codec.make_error(error)}
    runtime.deposit("Sudo", "Sudid", {"sudo_result": result})


@call("System", "remark")
def remark(runtime: DevnetRuntime, origin: Origin, arguments: Arguments) -> None:
    """Does nothing."""


@signed_call("System", "remark_with_event")
def remark_with_event(runtime: DevnetRuntime, sender: str, arguments: Arguments) -> None:
    """Does nothing, and says so."""
    digest = hash_blake2(read_bytes(arguments["remark"]))
    fields = {"sender": sender, "hash": "0x" + digest.hex()}
    runtime.deposit("System", "Remarked", fields)


@root_call("System", "set_storage")
def set_storage(runtime: DevnetRuntime, arguments: Arguments) -> None:
    """Root writes keys and values as they are."""
    for key, value in arguments["items"]:
        runtime.state.write(read_bytes(key), read_bytes(value))
