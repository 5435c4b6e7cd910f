"""A miner's questions to a chain before and after it mines, on the simulator and a real runtime."""

from dataclasses import replace

import pytest

from assay.network.beacon import LocalBeacon
from assay.neurons.miner.dry_run import estimate_earning
from assay.neurons.preflight.check_results import CheckState
from assay.neurons.preflight.checks import check_chain, check_registration
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.parameters import DEMO_TIMING, Parameters
from assay.session.window_reader import find_epoch
from assay.subnet.presets import make_demo_parameters
from tests.integration.chain.nets import TAO, TEMPO, Net


def make_parameters(net: Net, commit_offset: int = 1) -> Parameters:
    """Window 0 is as long as the chain, and its commitments are those of one block."""
    beacons = LocalBeacon(b"prospect", 0, 1_000, lambda: 0)
    parameters = make_demo_parameters(
        net.chain.genesis_hash, beacons.chain, 0, bytes(32), bytes(32)
    )
    timing = replace(DEMO_TIMING, tempo=TEMPO, window_blocks=10**6)
    timing = replace(timing, commit_offset=commit_offset)
    return replace(parameters, timing=timing)


def test_registration_is_told_with_its_price_before_and_its_uid_after(net: Net) -> None:
    (hotkey,) = net.make_hotkeys(1)
    coldkey = net.get_coldkey(hotkey)
    assert check_chain(net.chain, make_parameters(net)).state is CheckState.OK
    before = check_registration(net.chain, hotkey, coldkey)
    assert before.state is CheckState.WARN
    assert "1,000 τ" in before.detail
    net.chain.register(hotkey, net.chain.quote_registration(hotkey).cost)
    net.pass_blocks(1)
    member = net.chain.get_members(net.chain.get_head())[hotkey]
    after = check_registration(net.chain, hotkey, coldkey)
    assert after.state is CheckState.OK
    assert f"uid {member.uid} since block {member.registered_at}" in after.detail


def test_the_chains_time_is_its_best_blocks(net: Net) -> None:
    final = net.chain.get_block(net.chain.get_head())
    net.pass_blocks(2)
    assert net.chain.get_time_ms() > final.timestamp_ms


def test_alpha_has_a_price(net: Net) -> None:
    (hotkey,) = net.register(1)
    before = net.chain.get_alpha_price()
    assert before > 0
    net.chain.add_stake(hotkey, 100 * TAO, any_price=True)
    net.pass_blocks(1)
    assert net.chain.get_alpha_price() >= before


def test_the_share_is_of_what_others_committed_to(net: Net) -> None:
    (other,) = net.register(1)
    (hotkey,) = net.make_hotkeys(1)
    chain = net.chain
    commitment = Commitment(Tag.MINER, 0, 9, bytes(32), "file:store")
    chain.set_commitment(other, encode_commitment(commitment))
    net.pass_blocks(1)
    parameters = make_parameters(net, commit_offset=chain.get_head())

    earning = estimate_earning(chain, hotkey, parameters, 3)
    assert earning.other_groups == 9
    assert earning.share == pytest.approx(0.25)
    assert earning.registration == chain.quote_registration(hotkey).total
    epoch = find_epoch(chain, parameters, chain.get_head() + 1)
    assert chain.is_epoch(epoch)
    period = next(n for n in range(1, 2 * TEMPO) if chain.is_epoch(epoch + n))
    assert period in (TEMPO, TEMPO + 1)  # the runtime's affair
    assert earning.epochs_a_day == pytest.approx(86_400 / period)
