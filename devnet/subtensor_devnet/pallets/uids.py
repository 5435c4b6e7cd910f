"""Uids of a subnet: given out, taken over, and what is kept by uid.

Source: pallet subtensor, subnets/uids.rs and registration.rs.
"""

from subtensor_devnet.runtime import NOBODY, DevnetRuntime, ensure

#: Lists with one element a uid, and the element of a uid that nobody held.
COLUMNS: dict[str, int | bool] = {
    "Active": True,
    "Emission": 0,
    "Consensus": 0,
    "Incentive": 0,
    "LastUpdate": 0,
    "Dividends": 0,
    "ValidatorTrust": 0,
    "ValidatorPermit": False,
    "StakeWeight": 0,
}


def require_subnet(runtime: DevnetRuntime, netuid: int) -> None:
    """Refuses a subnet that is not there."""
    ensure(runtime.get("NetworksAdded", netuid), "SubnetNotExists")


def get_uid(runtime: DevnetRuntime, netuid: int, hotkey: str) -> int:
    """The uid that a hotkey holds; it must."""
    uid = runtime.get("Uids", netuid, hotkey)
    ensure(uid is not None, "HotKeyNotRegisteredInSubNet")
    return int(uid)


def get_owner_uid(runtime: DevnetRuntime, netuid: int) -> int | None:
    """The uid of the subnet owner's hotkey."""
    uid = runtime.get("Uids", netuid, runtime.get("SubnetOwnerHotkey", netuid))
    return None if uid is None else int(uid)


def list_column(runtime: DevnetRuntime, item: str, netuid: int) -> list[int]:
    """One element a uid, also for uids that were given out since it was written."""
    values = list(runtime.get(item, netuid))
    missing = runtime.get("SubnetworkN", netuid) - len(values)
    return values + [COLUMNS[item]] * missing


def own_hotkey(runtime: DevnetRuntime, coldkey: str, hotkey: str) -> None:
    """Makes a coldkey the owner of a hotkey that has none; another's is refused."""
    owner = runtime.get("Owner", hotkey)
    if owner == NOBODY:
        runtime.put("Owner", hotkey, coldkey)
        runtime.put("OwnedHotkeys", coldkey, [*runtime.get("OwnedHotkeys", coldkey), hotkey])
    else:
        ensure(owner == coldkey, "NonAssociatedColdKey")


def add_neuron(runtime: DevnetRuntime, netuid: int, hotkey: str) -> int:
    """Gives a hotkey the next uid, or in a full subnet that of whoever can be evicted. The uid."""
    count = runtime.get("SubnetworkN", netuid)
    if count < runtime.get("MaxAllowedUids", netuid):
        uid = int(count)
        runtime.put("SubnetworkN", netuid, uid + 1)
        for item, value in COLUMNS.items():
            column = list(runtime.get(item, netuid))[:uid]
            column += [COLUMNS[item]] * (uid - len(column))
            runtime.put(item, netuid, [*column, value])
    else:
        chosen = choose_evicted(runtime, netuid)
        ensure(chosen is not None, "NoNeuronIdAvailable")
        assert chosen is not None
        uid = chosen
        _clear(runtime, netuid, uid)
    runtime.put("Keys", netuid, uid, hotkey)
    runtime.put("Uids", netuid, hotkey, uid)
    runtime.put("BlockAtRegistration", netuid, uid, runtime.number)
    runtime.put("IsNetworkMember", hotkey, netuid, True)
    runtime.put_at("LastUpdate", netuid, uid, runtime.number)
    return uid


def choose_evicted(runtime: DevnetRuntime, netuid: int) -> int | None:
    """The uid that the next registration in a full subnet takes over.

    The least emission outside the immunity period goes first, among equals the oldest, then the
    lowest uid. Where too few would be left outside of it, one within it goes. Owners stay.
    """
    owners = _list_immortal(runtime, netuid)
    emission = list_column(runtime, "Emission", netuid)
    exposed: list[tuple[int, int, int]] = []
    immune: list[tuple[int, int, int]] = []
    for uid in range(runtime.get("SubnetworkN", netuid)):
        if uid in owners:
            continue
        registered = runtime.get("BlockAtRegistration", netuid, uid)
        candidate = (emission[uid], registered, uid)
        young = runtime.number - registered < runtime.get("ImmunityPeriod", netuid)
        (immune if young else exposed).append(candidate)
    if len(exposed) > runtime.get("MinNonImmuneUids", netuid):
        return min(exposed)[2]
    return min(immune)[2] if immune else None


def _list_immortal(runtime: DevnetRuntime, netuid: int) -> set[int]:
    """Uids of the subnet's owner: its hotkey's, and its oldest up to a limit."""
    limit = runtime.get("ImmuneOwnerUidsLimit", netuid)
    held = []
    for hotkey in runtime.get("OwnedHotkeys", runtime.get("SubnetOwner", netuid)):
        uid = runtime.get("Uids", netuid, hotkey)
        if uid is not None:
            held.append((runtime.get("BlockAtRegistration", netuid, uid), int(uid)))
    uids = [uid for _, uid in sorted(held)[:limit]]
    owner = get_owner_uid(runtime, netuid)
    if owner is not None and owner not in uids:
        uids = [owner, *uids][:limit]
    return set(uids)


def _clear(runtime: DevnetRuntime, netuid: int, uid: int) -> None:
    """Takes a uid from its holder, with everything that was made of it."""
    hotkey = runtime.get("Keys", netuid, uid)
    runtime.remove("Uids", netuid, hotkey)
    runtime.remove("IsNetworkMember", hotkey, netuid)
    runtime.remove("Axons", netuid, hotkey)
    for item, value in COLUMNS.items():
        runtime.put_at(item, netuid, uid, value)
    runtime.remove("Weights", netuid, uid)
    runtime.remove("Bonds", netuid, uid)
    for validator, row in list(runtime.state.list_entries("SubtensorModule", "Weights", netuid)):
        if any(target == uid and weight for target, weight in row):
            cleared = [(target, 0 if target == uid else weight) for target, weight in row]
            runtime.put("Weights", netuid, validator, cleared)
