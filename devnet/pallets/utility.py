"""Calls that hold calls: batches, and sudo. And remarks, which hold nothing."""

from collections.abc import Mapping
from typing import Any

from assay.devnet.devnet_errors import DispatchError
from assay.devnet.devnet_runtime import (
    DevnetRuntime,
    Origin,
    call,
    ensure,
    require_root,
    require_signed,
)
from assay.devnet.scale import hash_blake2
from assay.devnet.scale_codec import read_bytes, read_call

#: Calls one batch may hold.
_LARGEST_BATCH = 10_922


@call("Utility", "batch_all")
def batch_all(runtime: DevnetRuntime, origin: Origin, arguments: Mapping[str, Any]) -> None:
    """All calls or none."""
    for inner in _list_calls(arguments):
        runtime.dispatch(origin, read_call(inner))
        runtime.deposit("Utility", "ItemCompleted", {})
    runtime.deposit("Utility", "BatchCompleted", {})


@call("Utility", "batch")
def batch(runtime: DevnetRuntime, origin: Origin, arguments: Mapping[str, Any]) -> None:
    """Calls up to the first that fails."""
    for index, inner in enumerate(_list_calls(arguments)):
        try:
            runtime.dispatch(origin, read_call(inner))
        except DispatchError as error:
            fields = {"index": index, "error": runtime.codec.make_error(error)}
            runtime.deposit("Utility", "BatchInterrupted", fields)
            return
        runtime.deposit("Utility", "ItemCompleted", {})
    runtime.deposit("Utility", "BatchCompleted", {})


@call("Utility", "force_batch")
def force_batch(runtime: DevnetRuntime, origin: Origin, arguments: Mapping[str, Any]) -> None:
    """All calls, whichever of them fail."""
    failed = False
    for inner in _list_calls(arguments):
        try:
            runtime.dispatch(origin, read_call(inner))
            runtime.deposit("Utility", "ItemCompleted", {})
        except DispatchError as error:
            failed = True
            runtime.deposit("Utility", "ItemFailed", {"error": runtime.codec.make_error(error)})
    runtime.deposit("Utility", "BatchCompletedWithErrors" if failed else "BatchCompleted", {})


@call("Sudo", "sudo", "sudo_unchecked_weight", pays=False)
def sudo(runtime: DevnetRuntime, origin: Origin, arguments: Mapping[str, Any]) -> None:
    """Runs a call as root. Whether that call fails is said in an event, and nowhere else."""
    signer = require_signed(origin)
    ensure(signer == runtime.state.get("Sudo", "Key"), "RequireSudo", "Sudo")
    result: dict[str, Any] = {"Ok": None}
    try:
        runtime.dispatch(None, read_call(arguments["call"]))
    except DispatchError as error:
        result = {"Err": runtime.codec.make_error(error)}
    runtime.deposit("Sudo", "Sudid", {"sudo_result": result})


@call("System", "remark")
def remark(runtime: DevnetRuntime, origin: Origin, arguments: Mapping[str, Any]) -> None:
    """Does nothing."""


@call("System", "remark_with_event")
def remark_with_event(runtime: DevnetRuntime, origin: Origin, arguments: Mapping[str, Any]) -> None:
    """Does nothing, and says so."""
    digest = hash_blake2(read_bytes(arguments["remark"]))
    fields = {"sender": require_signed(origin), "hash": "0x" + digest.hex()}
    runtime.deposit("System", "Remarked", fields)


@call("System", "set_storage")
def set_storage(runtime: DevnetRuntime, origin: Origin, arguments: Mapping[str, Any]) -> None:
    """Root writes keys and values as they are."""
    require_root(origin)
    for key, value in arguments["items"]:
        runtime.state.write(read_bytes(key), read_bytes(value))


def _list_calls(arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = list(arguments["calls"])
    ensure(len(calls) <= _LARGEST_BATCH, "TooManyCalls", "Utility")
    return calls
