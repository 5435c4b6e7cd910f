"""A window as validators read it off a chain: who counts, and with which commitment."""

from dataclasses import replace

from assay.network.beacon import LocalBeacon
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.context import Context
from assay.protocol.parameters import DEMO_TIMING
from assay.protocol.window import Phase, compute_block, compute_window
from assay.session.window_reader import get_challenge, get_context
from assay.subnet.presets import make_demo_parameters
from tests.integration.chain.nets import Net

#: A window as short as the calls made in it allow.
TIMING = replace(DEMO_TIMING, window_blocks=8, commit_offset=8, audit_offset=9, beacon_delay_ms=0)


def make_commitment(window: int, root: bytes) -> bytes:
    return encode_commitment(Commitment(Tag.MINER, window, 1, root, "file:store"))


def read_context(net: Net, window: int) -> Context:
    """Waits until the window's audit beacon is out, and reads."""
    first = compute_block(TIMING, window, Phase.CHALLENGE)
    beacons = LocalBeacon(
        b"window",
        net.chain.get_block(first).timestamp_ms,
        1_000,
        lambda: net.chain.get_block(net.chain.get_head()).timestamp_ms,
    )
    parameters = make_demo_parameters(
        net.chain.genesis_hash, beacons.chain, 0, b"\x01" * 32, b"\x02" * 32
    )
    parameters = replace(parameters, timing=TIMING)
    while True:
        net.pass_blocks(3)
        challenge = get_challenge(net.chain, beacons, parameters, window)
        if challenge is not None:
            context = get_context(net.chain, beacons, parameters, challenge)
            if context is not None:
                return context


def go_to(net: Net, block: int) -> None:
    net.pass_blocks(block - net.chain.get_head())
    assert net.chain.get_head() == block


def test_only_who_was_there_from_the_first_block_counts(net: Net) -> None:
    steady, before_swap, mute = net.register(3)
    late, after_swap = net.make_hotkeys(2)
    window = compute_window(TIMING, net.chain.get_head()) + 1
    go_to(net, compute_block(TIMING, window, Phase.CHALLENGE))
    net.chain.register(late, net.chain.quote_registration(late).cost)
    net.swap(before_swap, after_swap)
    net.pass_blocks(1)
    for hotkey in (steady, late, after_swap):
        net.chain.set_commitment(hotkey, make_commitment(window, hotkey))
    go_to(net, compute_block(TIMING, window, Phase.COMMIT))
    net.chain.set_commitment(steady, make_commitment(window, b"\x03" * 32))  # overwritten
    net.chain.set_commitment(mute, make_commitment(window, mute))  # a block too late
    context = read_context(net, window)
    assert {steady, mute} <= context.members.keys()
    assert not {late, before_swap, after_swap} & context.members.keys()
    assert context.commitments[steady].root == steady
    assert mute not in context.commitments


def test_a_hotkey_that_lost_its_uid_in_mid_window_does_not_count(net: Net) -> None:
    net.register(2)
    window = compute_window(TIMING, net.chain.get_head()) + 1
    first = compute_block(TIMING, window, Phase.CHALLENGE)
    newcomers = net.make_hotkeys(2)
    go_to(net, first)
    before = net.chain.get_members(first)
    net.set_rules(max_uids=len(before) + 1, immunity_period=0)
    for newcomer in newcomers:
        net.chain.register(newcomer, net.chain.quote_registration(newcomer).cost)
    net.pass_blocks(1)
    net.set_rules(max_uids=256)
    (evicted,) = before.keys() - net.chain.get_members(net.chain.get_head()).keys()
    context = read_context(net, window)
    assert context.members.keys() == before.keys() - {evicted}
