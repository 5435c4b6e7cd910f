"""What an owner is told of the chain: what to choose, and what burning costs."""

from dataclasses import replace

import pytest

from assay.lab.simulator import SimulatedChain, SimulatedRules
from assay.protocol.beacon import QUICKNET
from assay.protocol.parameters import MAIN_TIMING
from assay.subnet.chain_settings import (
    CHAIN_SETTINGS,
    OWNED_BLOCKS,
    SOURCES,
    compare_settings,
    list_burn_notes,
)
from assay.subnet.presets import NETUID, make_demo_parameters

TEMPO = 24


@pytest.fixture
def chain():
    return SimulatedChain(b"settings", NETUID, 1_700_000_000_000, 1_000, TEMPO)


@pytest.fixture
def parameters(chain):
    return make_demo_parameters(chain.genesis_hash, QUICKNET, 0, bytes(32), bytes(32))


class Runtime:
    """A chain with these values alone."""

    def __init__(self, **values):
        self.values = values

    def get_settings(self, items):
        return {name: self.values[name] for name in items if name in self.values}


def find(chain, parameters, name):
    (one,) = (one for one in compare_settings(chain, parameters) if one.setting.name == name)
    return one


def test_every_setting_says_where_it_was_read():
    assert {source for setting in CHAIN_SETTINGS for source in setting.sources} == set(SOURCES)
    for setting in CHAIN_SETTINGS:
        assert bool(setting.choose) == (setting.fits is not None)
        assert setting.set_by in ("owner", "root", "chain")
    assert len({setting.name for setting in CHAIN_SETTINGS}) == len(CHAIN_SETTINGS)


def test_the_simulator_has_few_of_them(chain, parameters):
    compared = compare_settings(chain, parameters)
    there = {one.setting.name for one in compared if one.is_there}
    assert there == {
        *("tempo", "weights_rate_limit", "commit_reveal_weights_enabled", "immunity_period")
    }
    tempo = parameters.timing.tempo
    assert find(chain, parameters, "tempo").fits is (tempo == TEMPO)
    chain.rules = SimulatedRules(immunity_period=4 * tempo - 1)
    assert find(chain, parameters, "immunity_period").fits is False
    chain.rules = SimulatedRules(immunity_period=4 * tempo, weights_rate_limit=tempo)
    assert find(chain, parameters, "immunity_period").fits is True
    assert find(chain, parameters, "weights_rate_limit").fits is True


def test_a_default_vector_of_emission_fits_and_a_paid_out_one_does_not(parameters):
    whole = 2**64 - 1
    owner = 11_796 * whole // 65_535
    half = (whole - owner) // 2
    begun = find(
        Runtime(SubnetEmissionWeights=[0, 0, owner, half, half]),
        parameters,
        "subnet_emission_weights",
    )
    assert begun.fits is True
    shown = "burnt 0 %, recycled 0 %, owner 18 %, validators 41 %, miners 41 %"
    assert begun.describe() == f"subnet_emission_weights {shown}"
    third = [0, 0, 33 * whole // 100, 34 * whole // 100, 33 * whole // 100]
    taken = find(Runtime(SubnetEmissionWeights=third), parameters, "subnet_emission_weights")
    assert taken.fits is False
    assert "owner 33 %" in taken.describe()
    assert "choose as it begins" in taken.describe()
    odd = find(Runtime(SubnetEmissionWeights=[1]), parameters, "subnet_emission_weights")
    assert odd.fits is False
    assert find(
        Runtime(SubnetEmissionWeights=None), parameters, "subnet_emission_weights"
    ).describe() == ("subnet_emission_weights not set")


def test_an_owner_can_be_replaced_where_the_runtime_knows_conviction(parameters):
    old = Runtime(NetworkRegisteredAt=100)
    assert not find(old, parameters, "owner_replaceable_from").is_there
    new = Runtime(NetworkRegisteredAt=100, OwnerLock=None)
    seen = find(new, parameters, "owner_replaceable_from")
    assert seen.describe() == (
        f"owner_replaceable_from block {100 + OWNED_BLOCKS:,}; choose an amender in the parameters"
    )
    named = replace(parameters, identity=replace(parameters.identity, amender=b"\1" * 32))
    assert find(new, named, "owner_replaceable_from").fits is True


def test_a_burn_share_is_told_with_what_it_costs(parameters):
    assert list_burn_notes(parameters) == []
    burning = replace(parameters, identity=replace(parameters.identity, burn_share=125_000))
    (note,) = list_burn_notes(burning)
    assert "identity.burn_share sends 12.5 %" in note
    assert "3071" in note
    assert "set it to 0" in note
    assert "read and not run" in note


def test_a_comparison_is_whole_for_scripts(chain, parameters):
    main = replace(parameters, timing=MAIN_TIMING)
    documents = [one.to_json() for one in compare_settings(chain, main)]
    assert [one["name"] for one in documents] == [setting.name for setting in CHAIN_SETTINGS]
    by_name = {one["name"]: one for one in documents}
    assert by_name["tempo"] == {
        "name": "tempo",
        "item": "Tempo",
        "set_by": "owner",
        "choose": "the parameters' `tempo`",
        "sources": ("spec 461",),
        "unit": "blocks",
        "there": True,
        "value": TEMPO,
        "shown": "24 blocks",
        "fits": False,
    }
    assert by_name["miner_burned"]["there"] is False
