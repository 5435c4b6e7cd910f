"""Registration, eviction, stake, commitments and settings: the rules and their errors."""

from typing import Any

import pytest

from devlab import OWNER, TAO, Lab, get_key
from subtensor_devnet.pallets.registration import compute_decay
from subtensor_devnet.runtime import MODULE

ALICE = get_key("//Alice")


def commit(lab: Lab, hotkey: Any, payload: bytes) -> str | None:
    fields = [[{f"Raw{len(payload)}": "0x" + payload.hex()}]]
    return lab.do(hotkey, "Commitments", "set_commitment", netuid=1, info={"fields": fields})


# --- registration


def test_the_price_rises_with_a_sale_and_halves_in_its_half_life(subnet: Lab) -> None:
    subnet.put("BurnHalfLife", 1, 10)
    subnet.put("Burn", 1, 8 * TAO)
    subnet.register("miner")
    (event,) = (e for e in subnet.get_events() if e["event_id"] == "NeuronRegistered")
    assert event["attributes"][1] == 1
    after = subnet.get("Burn", 1)
    factor = subnet.get("BurnIncreaseMult", 1)["bits"] / 2**64
    paid = subnet.get("RAORecycledForRegistration", 1)
    assert after == int(paid * factor)
    subnet.pass_blocks(10)
    assert subnet.get("Burn", 1) == pytest.approx(after / 2, rel=1e-6)
    subnet.pass_blocks(400)
    assert subnet.get("Burn", 1) == subnet.get("MinBurn", 1)


@pytest.mark.parametrize("half_life", [1, 7, 360, 36_100])
def test_decay_is_the_largest_factor_whose_power_is_no_more_than_a_half(half_life: int) -> None:
    factor = compute_decay(half_life) / 2**32
    assert factor**half_life <= 0.5 + 1e-6
    assert (factor + 2**-31) ** half_life > 0.5 - 1e-4


def test_a_price_above_the_limit_is_not_paid(subnet: Lab) -> None:
    price, before = subnet.get("Burn", 1), subnet.get_free(ALICE)
    hotkey = get_key("//new").ss58_address
    arguments = {"netuid": 1, "hotkey": hotkey, "limit_price": price // 2}
    assert subnet.do(ALICE, MODULE, "register_limit", **arguments) == (
        "RegistrationPriceLimitExceeded"
    )
    assert before - subnet.get_free(ALICE) < TAO // 1_000
    arguments["limit_price"] = price
    assert subnet.do(ALICE, MODULE, "register_limit", **arguments) is None
    assert subnet.get("Uids", 1, hotkey) == 1


@pytest.mark.parametrize(
    ("netuid", "hotkey", "error"),
    [
        (7, "//new", "SubnetNotExists"),
        (0, "//new", "RegistrationNotPermittedOnRootSubnet"),
        (1, "//Alice//owner", "HotKeyAlreadyRegisteredInSubNet"),
    ],
)
def test_a_registration_that_cannot_be(subnet: Lab, netuid: int, hotkey: str, error: str) -> None:
    address = get_key(hotkey).ss58_address
    assert subnet.do(ALICE, MODULE, "burned_register", netuid=netuid, hotkey=address) == error


def test_another_coldkeys_hotkey_is_not_registered(subnet: Lab) -> None:
    (hotkey,) = subnet.register("miner")
    subnet.put("MaxAllowedUids", 1, 2)
    subnet.register("other")  # evicts it
    arguments = {"netuid": 1, "hotkey": hotkey.ss58_address}
    assert subnet.do(ALICE, MODULE, "burned_register", **arguments) == "NonAssociatedColdKey"


def test_a_closed_subnet_registers_nobody(subnet: Lab) -> None:
    arguments = {"netuid": 1, "registration_allowed": False}
    assert subnet.sudo("AdminUtils", "sudo_set_network_registration_allowed", **arguments) is None
    address = get_key("//new").ss58_address
    error = subnet.do(ALICE, MODULE, "burned_register", netuid=1, hotkey=address)
    assert error == "SubNetRegistrationDisabled"


def test_the_least_paid_goes_first_then_the_oldest_and_the_immune_last(subnet: Lab) -> None:
    names = ["a", "b", "c", "d"]
    hotkeys = dict(zip(names, subnet.register(*names), strict=True))
    subnet.put("MaxAllowedUids", 1, 5)
    subnet.put("Emission", 1, [0, 5, 3, 3, 9])

    def get_holders() -> set[str]:
        held = {subnet.get("Keys", 1, uid) for uid in range(5)}
        return {name for name, key in hotkeys.items() if key.ss58_address in held}

    subnet.register("e")  # b and c earn least; b came first
    assert get_holders() == {"a", "c", "d"}
    subnet.put("ImmunityPeriod", 1, 1)
    subnet.put("Emission", 1, [0, 5, 0, 3, 9])  # e earns nothing yet, and so goes next
    subnet.register("f")
    assert get_holders() == {"a", "c", "d"}
    subnet.put("ImmunityPeriod", 1, 1_000)  # all are immune now: the least paid goes all the same
    subnet.put("Emission", 1, [0, 5, 4, 3, 9])
    subnet.register("g")
    assert get_holders() == {"a", "d"}
    assert subnet.get("Uids", 1, OWNER.ss58_address) == 0


def test_whoever_takes_over_a_uid_inherits_nothing(subnet: Lab) -> None:
    (validator,) = subnet.register("validator", stake=100 * TAO)
    subnet.register("miner")
    subnet.pass_epoch()
    weights = {"netuid": 1, "dests": [2], "weights": [65_535], "version_key": 0}
    assert subnet.do(validator, MODULE, "set_weights", **weights) is None
    subnet.pass_epoch()
    subnet.pass_epoch()
    assert subnet.get("Incentive", 1)[2] == 65_535
    subnet.put("MaxAllowedUids", 1, 3)
    subnet.put("Emission", 1, [0, 9, 1])
    subnet.register("heir")
    assert subnet.get("Keys", 1, 2) == get_key("//heir//hot").ss58_address
    assert subnet.get("Incentive", 1)[2] == 0
    assert subnet.get("Weights", 1, 1) == [(2, 0)]
    assert subnet.get("LastUpdate", 1)[2] == subnet.get("BlockAtRegistration", 1, 2)


def test_a_second_subnet_costs_twice_and_has_to_wait(subnet: Lab) -> None:
    hotkey = get_key("//second").ss58_address
    error = subnet.do(ALICE, MODULE, "register_network", hotkey=hotkey)
    assert error == "NetworkTxRateLimitExceeded"
    subnet.put("NetworkRateLimit", 0)
    before, last = subnet.get_free(ALICE), subnet.get("NetworkLastLockCost")
    assert subnet.do(ALICE, MODULE, "register_network", hotkey=hotkey) is None
    assert before - subnet.get_free(ALICE) == pytest.approx(2 * last, rel=1e-3)
    assert subnet.get("NetworksAdded", 2)


# --- stake


def test_buying_moves_the_price_and_selling_brings_no_more_than_it_cost(subnet: Lab) -> None:
    (hotkey,) = subnet.register("staker")
    cold = get_key("//staker//cold")
    pool = subnet.get("SubnetTAO", 1) * subnet.get("SubnetAlphaIn", 1)
    before = subnet.get_free(cold)
    arguments = {"hotkey": hotkey.ss58_address, "netuid": 1}
    assert subnet.do(cold, MODULE, "add_stake", **arguments, amount_staked=500 * TAO) is None
    held = subnet.get("TotalHotkeyAlpha", hotkey.ss58_address, 1)
    assert 300 * TAO < held < 500 * TAO
    after = subnet.get("SubnetTAO", 1) * subnet.get("SubnetAlphaIn", 1)
    assert pool <= after < pool * 1.000001
    assert subnet.do(cold, MODULE, "remove_stake", **arguments, amount_unstaked=held) is None
    assert 0 < before - subnet.get_free(cold) < 2 * TAO  # the pool and two fees
    assert subnet.get("TotalHotkeyAlpha", hotkey.ss58_address, 1) == 0
    error = subnet.do(cold, MODULE, "remove_stake", **arguments, amount_unstaked=1)
    assert error == "NotEnoughStakeToWithdraw"


def test_a_limit_on_the_price_is_kept(subnet: Lab) -> None:
    (hotkey,) = subnet.register("staker")
    cold = get_key("//staker//cold")
    arguments = {
        "hotkey": hotkey.ss58_address,
        "netuid": 1,
        "amount_staked": 500 * TAO,
        "limit_price": 1_100_000_000,
        "allow_partial": False,
    }
    assert subnet.do(cold, MODULE, "add_stake_limit", **arguments) == "SlippageTooHigh"
    arguments["allow_partial"] = True
    assert subnet.do(cold, MODULE, "add_stake_limit", **arguments) is None
    price = subnet.get("SubnetTAO", 1) / subnet.get("SubnetAlphaIn", 1)
    assert price == pytest.approx(1.1, rel=1e-6)


def test_dividends_reach_whoever_delegated(subnet: Lab) -> None:
    (validator,) = subnet.register("validator", stake=100 * TAO)
    subnet.register("miner")
    arguments = {"hotkey": validator.ss58_address, "netuid": 1, "amount_staked": 300 * TAO}
    assert subnet.do(ALICE, MODULE, "add_stake", **arguments) is None
    subnet.pass_epoch()
    weights = {"netuid": 1, "dests": [2], "weights": [1], "version_key": 0}
    assert subnet.do(validator, MODULE, "set_weights", **weights) is None

    def get_delegated() -> int:
        shares = subnet.get("TotalHotkeySharesV2", validator.ss58_address, 1)["mantissa"]
        own = subnet.get("AlphaV2", validator.ss58_address, ALICE.ss58_address, 1)["mantissa"]
        return int(subnet.get("TotalHotkeyAlpha", validator.ss58_address, 1) * own // shares)

    before = get_delegated()
    subnet.pass_epoch()
    subnet.pass_epoch()
    assert get_delegated() > before + TAO


def test_every_alpha_that_is_emitted_is_somebodys(subnet: Lab) -> None:
    (validator,) = subnet.register("validator", stake=100 * TAO)
    (miner,) = subnet.register("miner")
    subnet.pass_epoch()
    weights = {"netuid": 1, "dests": [2], "weights": [1], "version_key": 0}
    assert subnet.do(validator, MODULE, "set_weights", **weights) is None
    subnet.pass_epoch()
    keys = [OWNER, validator, miner]
    before = [subnet.get("TotalHotkeyAlpha", key.ss58_address, 1) for key in keys]
    out = subnet.get("SubnetAlphaOut", 1)
    subnet.pass_epoch()
    gained = [
        subnet.get("TotalHotkeyAlpha", key.ss58_address, 1) - old
        for key, old in zip(keys, before, strict=True)
    ]
    emitted = subnet.get("SubnetAlphaOut", 1) - out
    assert emitted == 10 * TAO
    assert sum(gained) == pytest.approx(emitted, abs=10)
    cut = subnet.get("SubnetOwnerCut") / 65_535
    assert gained[0] == pytest.approx(cut * emitted, rel=1e-6)
    assert gained[2] == pytest.approx((1 - cut) / 2 * emitted, rel=1e-6)


def test_stake_is_not_sold_before_the_subnet_starts(lab: Lab) -> None:
    lab.do(ALICE, MODULE, "register_network", hotkey=OWNER.ss58_address)
    arguments = {"hotkey": OWNER.ss58_address, "netuid": 1, "amount_staked": TAO}
    assert lab.do(ALICE, MODULE, "add_stake", **arguments) == "SubtokenDisabled"


# --- commitments


def test_commitments_have_room_for_so_many_bytes_in_an_epoch(subnet: Lab) -> None:
    (hotkey,) = subnet.register("miner")
    subnet.put("Tempo", 1, 1_000)
    room = 3_100
    for used in range(128, room, 128):
        assert commit(subnet, hotkey, bytes(128)) is None, used
    assert commit(subnet, hotkey, bytes(128)) == "SpaceLimitExceeded"
    assert commit(subnet, hotkey, b"") == "SpaceLimitExceeded"  # even nothing takes 100
    subnet.put("Tempo", 1, 1)
    subnet.pass_blocks()
    assert commit(subnet, hotkey, bytes(128)) is None


def test_a_stranger_commits_nothing(subnet: Lab) -> None:
    assert commit(subnet, get_key("//stranger"), b"hello") == "AccountNotAllowedCommit"


def test_a_commitment_costs_nothing(subnet: Lab) -> None:
    (hotkey,) = subnet.register("miner")
    assert subnet.get_free(hotkey) == 0
    assert commit(subnet, hotkey, b"hello") is None


# --- hotkeys and settings


def test_a_swap_moves_stake_and_seat_and_comes_once_in_a_while(subnet: Lab) -> None:
    (old,) = subnet.register("miner", stake=10 * TAO)
    cold, new = get_key("//miner//cold"), get_key("//miner//new")
    held = subnet.get("TotalHotkeyAlpha", old.ss58_address, 1)
    arguments = {"hotkey": old.ss58_address, "new_hotkey": new.ss58_address, "netuid": None}
    assert subnet.do(ALICE, MODULE, "swap_hotkey", **arguments) == "NonAssociatedColdKey"
    before = subnet.get_free(cold)
    assert subnet.do(cold, MODULE, "swap_hotkey", **arguments) is None
    assert before - subnet.get_free(cold) > subnet.codec.get_constant(MODULE, "KeySwapCost")
    assert subnet.get("Uids", 1, new.ss58_address) == 1
    assert subnet.get("Uids", 1, old.ss58_address) is None
    assert subnet.get("TotalHotkeyAlpha", new.ss58_address, 1) == held
    arguments = {"hotkey": new.ss58_address, "new_hotkey": old.ss58_address, "netuid": None}
    assert subnet.do(cold, MODULE, "swap_hotkey", **arguments) == "HotKeySetTxRateLimitExceeded"


def test_a_swap_onto_a_seat_that_is_taken_is_refused(subnet: Lab) -> None:
    (old,) = subnet.register("miner")
    taken = OWNER.ss58_address
    arguments = {"hotkey": old.ss58_address, "new_hotkey": taken, "netuid": 1}
    error = subnet.do(get_key("//miner//cold"), MODULE, "swap_hotkey", **arguments)
    assert error == "NonAssociatedColdKey"
    own = get_key("//Alice//spare").ss58_address
    subnet.do(ALICE, MODULE, "burned_register", netuid=1, hotkey=own)
    arguments = {"hotkey": own, "new_hotkey": taken, "netuid": 1}
    error = subnet.do(ALICE, MODULE, "swap_hotkey", **arguments)
    assert error == "HotKeyAlreadyRegisteredInSubNet"


def test_the_owner_changes_a_setting_once_in_two_epochs_and_strangers_never(subnet: Lab) -> None:
    name = "sudo_set_immunity_period"
    arguments = {"netuid": 1, "immunity_period": 7}
    assert subnet.do(get_key("//Bob"), "AdminUtils", name, **arguments) == "BadOrigin"
    assert subnet.do(ALICE, "AdminUtils", name, **arguments) is None
    assert subnet.get("ImmunityPeriod", 1) == 7
    assert subnet.do(ALICE, "AdminUtils", name, **arguments) == "TxRateLimitExceeded"
    subnet.pass_blocks(20)
    assert subnet.do(ALICE, "AdminUtils", name, **arguments) is None


def test_settings_are_shut_before_an_epoch(subnet: Lab) -> None:
    subnet.put("AdminFreezeWindow", 4)
    subnet.pass_epoch()
    subnet.pass_blocks(5)  # the next one is five blocks away
    arguments = {"netuid": 1, "immunity_period": 7}
    assert subnet.sudo("AdminUtils", "sudo_set_immunity_period", **arguments) is None
    error = subnet.sudo("AdminUtils", "sudo_set_immunity_period", **arguments)
    assert error == "AdminActionProhibitedDuringWeightsWindow"


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("max_allowed_uids", {"max_allowed_uids": 63}, "MaxAllowedUidsLessThanMinAllowedUids"),
        (
            "max_allowed_uids",
            {"max_allowed_uids": 257},
            "MaxAllowedUidsGreaterThanDefaultMaxAllowedUids",
        ),
        ("min_burn", {"min_burn": 10**9}, "InvalidValue"),
        ("burn_half_life", {"burn_half_life": 0}, "InvalidValue"),
        ("burn_increase_mult", {"burn_increase_mult": {"bits": 4 << 64}}, "InvalidValue"),
        ("commit_reveal_weights_interval", {"interval": 0}, "InvalidValue"),
    ],
)
def test_a_setting_out_of_bounds_is_refused(
    subnet: Lab, name: str, arguments: dict[str, Any], error: str
) -> None:
    found = subnet.sudo("AdminUtils", f"sudo_set_{name}", netuid=1, **arguments)
    assert found == error


def test_an_owner_pulls_an_epoch_forward(subnet: Lab) -> None:
    subnet.put("Tempo", 1, 100)
    subnet.put("AdminFreezeWindow", 3)
    before = subnet.get("SubnetEpochIndex", 1)
    assert subnet.do(ALICE, MODULE, "trigger_epoch", netuid=1) is None
    assert subnet.do(ALICE, MODULE, "trigger_epoch", netuid=1) == "EpochTriggerAlreadyPending"
    subnet.pass_blocks(2)
    assert subnet.get("SubnetEpochIndex", 1) == before + 1
    assert subnet.get("LastEpochBlock", 1) == subnet.chain.head.number
