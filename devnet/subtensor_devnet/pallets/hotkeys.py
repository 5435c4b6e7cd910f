"""Swapping a hotkey: another one takes over uid, age, stake and everything made of them.

Source: pallet subtensor, swap/swap_hotkey.rs. Children, parents, locks and delegations' histories
are not here, and so are not moved.
"""

from subtensor_devnet.pallets.balances import burn, get_free
from subtensor_devnet.pallets.schedule import list_subnets
from subtensor_devnet.pallets.uids import own_hotkey
from subtensor_devnet.runtime import MODULE, NOBODY, Arguments, DevnetRuntime, ensure, signed_call

#: Values by hotkey and netuid that go over as they are.
_BY_HOTKEY = ("TotalHotkeyAlpha", "TotalHotkeySharesV2")


@signed_call(MODULE, "swap_hotkey", "swap_hotkey_v2")
def swap_hotkey(runtime: DevnetRuntime, coldkey: str, arguments: Arguments) -> None:
    """On one subnet, or on all where none is named."""
    netuid = arguments["netuid"]
    old, new = arguments["hotkey"], arguments["new_hotkey"]
    keep_stake = bool(arguments.get("keep_stake", False))
    ensure(runtime.get("Owner", old) == coldkey, "NonAssociatedColdKey")
    ensure(runtime.get("Owner", new) in (coldkey, NOBODY), "NonAssociatedColdKey")
    ensure(old != new, "NewHotKeyIsSameWithOld")
    last = runtime.get("LastRateLimitedBlock", {"LastTxBlock": coldkey})
    limit = runtime.get("TxRateLimit")
    too_soon = limit and last and runtime.number - last <= limit
    ensure(not too_soon, "HotKeySetTxRateLimitExceeded")
    subnets = list_subnets(runtime) if netuid is None else [netuid]
    taken = any(runtime.get("IsNetworkMember", new, subnet) for subnet in subnets)
    ensure(not taken, "HotKeyAlreadyRegisteredInSubNet")
    interval = runtime.codec.get_constant(MODULE, "HotkeySwapOnSubnetInterval")
    affected = [subnet for subnet in subnets if runtime.get("IsNetworkMember", old, subnet)]
    for subnet in affected:
        before = runtime.get("LastHotkeySwapOnNetuid", subnet, coldkey)
        in_time = not before or before + interval < runtime.number
        ensure(in_time, "HotKeySwapOnSubnetIntervalNotPassed")
    name = "KeySwapCost" if netuid is None else "KeySwapOnSubnetCost"
    cost = runtime.codec.get_constant(MODULE, name)
    ensure(get_free(runtime.state, coldkey) >= cost, "NotEnoughBalanceToPaySwapHotKey")
    burn(runtime, coldkey, cost)
    own_hotkey(runtime, coldkey, new)
    for subnet in subnets:
        _swap_on(runtime, subnet, old, new, keep_stake)
    for subnet in affected:
        runtime.put("LastHotkeySwapOnNetuid", subnet, coldkey, runtime.number)
    runtime.put("LastRateLimitedBlock", {"LastTxBlock": coldkey}, runtime.number)
    fields = {"coldkey": coldkey, "old_hotkey": old, "new_hotkey": new}
    if netuid is None:
        if not keep_stake:
            runtime.remove("Owner", old)
            left = [hotkey for hotkey in runtime.get("OwnedHotkeys", coldkey) if hotkey != old]
            runtime.put("OwnedHotkeys", coldkey, left)
        runtime.deposit(MODULE, "HotkeySwapped", fields)
    else:
        runtime.deposit(MODULE, "HotkeySwappedOnSubnet", fields | {"netuid": netuid})


def _swap_on(runtime: DevnetRuntime, netuid: int, old: str, new: str, keep_stake: bool) -> None:
    uid = runtime.get("Uids", netuid, old)
    if uid is not None:
        runtime.remove("Uids", netuid, old)
        runtime.put("Uids", netuid, new, uid)
        runtime.put("Keys", netuid, uid, new)
        runtime.remove("IsNetworkMember", old, netuid)
        runtime.put("IsNetworkMember", new, netuid, True)
    if runtime.get("SubnetOwnerHotkey", netuid) == old:
        runtime.put("SubnetOwnerHotkey", netuid, new)
    entries = list(runtime.state.list_entries(MODULE, "TimelockedWeightCommits", netuid))
    for epoch, commits in entries:
        swapped = [(new if who == old else who, *rest) for who, *rest in commits]
        runtime.put("TimelockedWeightCommits", netuid, epoch, swapped)
    if not keep_stake:
        _move_stake(runtime, netuid, old, new)


def _move_stake(runtime: DevnetRuntime, netuid: int, old: str, new: str) -> None:
    """All coldkeys' stake; a hotkey that has stake of its own on this subnet keeps it apart."""
    if runtime.get("TotalHotkeyAlpha", new, netuid):
        ensure(not runtime.get("TotalHotkeyAlpha", old, netuid), "HotKeyAlreadyRegisteredInSubNet")
        return
    for item in _BY_HOTKEY:
        if runtime.has(item, old, netuid):
            runtime.put(item, new, netuid, runtime.get(item, old, netuid))
            runtime.remove(item, old, netuid)
    for (coldkey, subnet), share in list(runtime.state.list_entries(MODULE, "AlphaV2", old)):
        if subnet != netuid:
            continue
        runtime.put("AlphaV2", new, coldkey, netuid, share)
        runtime.remove("AlphaV2", old, coldkey, netuid)
        hotkeys = runtime.get("StakingHotkeys", coldkey)
        if new not in hotkeys:
            runtime.put("StakingHotkeys", coldkey, [*hotkeys, new])
