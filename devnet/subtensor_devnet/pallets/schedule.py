"""When a subnet's epochs come: every `Tempo` blocks since the last, or where one is pending.

Source: pallet subtensor, coinbase/run_coinbase.rs.
"""

from subtensor_devnet.errors import DispatchError
from subtensor_devnet.runtime import MODULE, DevnetRuntime
from subtensor_devnet.state import StateView


def list_subnets(runtime: DevnetRuntime) -> list[int]:
    """Netuids of all subnets but the root network."""
    entries = runtime.state.list_entries(MODULE, "NetworksAdded")
    return [netuid for netuid, is_there in entries if is_there and netuid]


def get_next_epoch(state: StateView, netuid: int) -> int | None:
    """The block of the next epoch; None: the subnet has none."""
    tempo = state.get(MODULE, "Tempo", netuid)
    if not tempo:
        return None
    due: int = state.get(MODULE, "LastEpochBlock", netuid) + tempo
    pending = state.get(MODULE, "PendingEpochAt", netuid)
    return min(due, pending) if pending else due


def is_epoch_due(runtime: DevnetRuntime, netuid: int) -> bool:
    """Whether the block being made ends an epoch."""
    due = get_next_epoch(runtime.state, netuid)
    return due is not None and runtime.number >= due


def get_epoch_index(runtime: DevnetRuntime, netuid: int) -> int:
    """The epoch that the block being made belongs to: an epoch's own block is the next one's."""
    return int(runtime.get("SubnetEpochIndex", netuid)) + is_epoch_due(runtime, netuid)


def require_open_window(runtime: DevnetRuntime, netuid: int) -> None:
    """Refuses changes of settings in the last blocks before an epoch, and while one is pending."""
    due = get_next_epoch(runtime.state, netuid)
    if due is None:
        return
    is_pending = runtime.get("PendingEpochAt", netuid) > runtime.number
    if is_pending or max(0, due - runtime.number) < runtime.get("AdminFreezeWindow"):
        raise DispatchError(MODULE, "AdminActionProhibitedDuringWeightsWindow")
