"""Settings of a chain beside what an owner should choose: on the development network's metadata, of
spec 461, and on a real runtime, which is older."""

from dataclasses import replace

from assay.protocol.parameters import DEMO_TIMING
from assay.subnet.chain_settings import CHAIN_SETTINGS, ComparedSetting, compare_settings
from assay.subnet.presets import make_demo_parameters
from tests.integration.chain.nets import TEMPO, RuntimeNet

#: What spec 461 does not have yet.
_LATER = {"subnet_emission_weights"}
#: What every runtime has on which Assay was tried.
_OLD = {"tempo", "weights_rate_limit", "commit_reveal_weights_enabled", "immunity_period"}


def compare(net: RuntimeNet) -> dict[str, ComparedSetting]:
    parameters = make_demo_parameters(net.chain.genesis_hash, None, 0, bytes(32), bytes(32))
    parameters = replace(parameters, timing=replace(DEMO_TIMING, tempo=TEMPO))
    return {one.setting.name: one for one in compare_settings(net.chain, parameters)}


def test_what_a_runtime_lacks_is_said_and_not_made_up(subnet: RuntimeNet) -> None:
    compared = compare(subnet)
    lacking = {name for name, one in compared.items() if not one.is_there}
    if subnet.chain.runtime.spec_version == 461:
        assert lacking == _LATER
    else:
        assert lacking >= _LATER
        assert not lacking & _OLD
    for name in lacking:
        assert (compared[name].value, compared[name].fits) == (None, None)
        assert compared[name].describe() == f"{name} not on this runtime"
    assert (compared["tempo"].value, compared["tempo"].fits) == (TEMPO, True)
    assert compared["tempo"].describe() == f"tempo {TEMPO} blocks"
    assert compared["commit_reveal_weights_enabled"].value is False
    assert "no; choose yes" in compared["commit_reveal_weights_enabled"].describe()


def test_a_setting_that_is_changed_on_chain_is_seen(subnet: RuntimeNet) -> None:
    assert compare(subnet)["weights_rate_limit"].fits is True
    subnet.set_rules(weights_rate_limit=TEMPO + 1)
    try:
        seen = compare(subnet)["weights_rate_limit"]
        assert (seen.value, seen.fits) == (TEMPO + 1, False)
        assert seen.describe() == "weights_rate_limit 11 blocks; choose at most a tempo"
    finally:
        subnet.set_rules(weights_rate_limit=0)


def test_shares_and_fixed_point_numbers_are_read_as_the_chain_means_them(
    devnet_subnet: RuntimeNet,
) -> None:
    netuid = devnet_subnet.netuid
    before = compare(devnet_subnet)
    assert (before["miner_burned"].value, before["miner_burned"].fits) == (0.0, True)
    assert before["collateral_drain_ratio"].value == 1.0
    values = {
        "MinerBurned": [[[netuid], {"bits": 2**62}]],
        "CollateralLockShare": [[[netuid], 32_768]],
        "RecycleOrBurn": [[[netuid], "Recycle"]],
    }
    devnet_subnet.set_storage({"SubtensorModule": values})
    try:
        seen = compare(devnet_subnet)
        assert (
            seen["miner_burned"].describe() == "miner_burned 25 %; choose 0: keep burn_share at 0"
        )
        assert seen["collateral_lock_share"].describe() == "collateral_lock_share 50 %; choose 0"
        assert seen["recycle_or_burn"].describe() == "recycle_or_burn recycle"
        assert seen["recycle_or_burn"].fits is None
    finally:
        zero = {
            "MinerBurned": [[[netuid], {"bits": 0}]],
            "CollateralLockShare": [[[netuid], 0]],
            "RecycleOrBurn": [[[netuid], "Burn"]],
        }
        devnet_subnet.set_storage({"SubtensorModule": zero})


def test_all_settings_are_asked_of_the_chain_by_names_that_it_has(
    devnet_subnet: RuntimeNet,
) -> None:
    """A misspelt name would be said to be missing."""
    known = devnet_subnet.chain.runtime.items
    named = {setting.item for setting in CHAIN_SETTINGS if setting.name not in _LATER}
    named |= {setting.needs for setting in CHAIN_SETTINGS if setting.needs is not None}
    assert named <= known
