"""Another hotkey becomes the subnet's owner between an amendment's announcement and its decision:
on the simulator and on a real runtime alike."""

from dataclasses import replace
from pathlib import Path

import pytest

from assay.artifacts.discovery import DiscoveryError, find_amender, publish_parameters
from assay.network.store.folder import open_folder
from assay.protocol.amendment import compute_decision_block, compute_first_window
from assay.protocol.beacon import QUICKNET
from assay.protocol.parameters import DEMO_TIMING, Parameters
from assay.protocol.ss58 import encode_ss58
from assay.session.parameter_follower import ParameterFollower
from assay.subnet.presets import PRESETS
from assay.subnet.publishing import announce, make_subnet_parameters, publish_subnet
from assay.training import GENESIS
from tests.amended_parameters import amend
from tests.integration.chain.nets import Net, RuntimeNet

LOCATOR = "test:store"


@pytest.mark.parametrize("has_amender", [True, False])
def test_who_decides_after_a_takeover(
    net: Net, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, has_amender: bool
) -> None:
    # one for both cases: on the same subnet, the owner's slot named the other's before
    chain, store = net.chain, open_folder(tmp_path_factory.getbasetemp() / "takeover")
    trainer, amender = net.register(2)
    owner = chain.get_owner(chain.get_head())
    (new_owner,) = net.register(1) if isinstance(net, RuntimeNet) else net.make_hotkeys(1)
    warnings: list[str] = []
    first = make_subnet_parameters(
        chain,
        QUICKNET,
        GENESIS,
        trainer,
        "arithmetic",
        replace(PRESETS["demo"], timing=replace(DEMO_TIMING, notice_windows=1)),
        slot_ms=250,
        amender=amender if has_amender else bytes(32),
    )

    def pass_a_block(seconds: float) -> None:
        net.pass_blocks(1)

    def say(hotkey: bytes, parameters: Parameters) -> None:
        publish_parameters(store, parameters)
        announce(chain, hotkey, LOCATOR, parameters, pass_a_block)

    publish_subnet(chain, owner, store, LOCATOR, first, GENESIS, warnings.append, wait=pass_a_block)
    assert warnings == []
    followed = ParameterFollower(chain, lambda locator: store, tmp_path / "rules")
    window = compute_first_window(first, chain.get_head()) + 6  # a slot is written once an epoch
    ours, theirs = (
        amend(first, window, work=replace(first.work, prompt_share=share)) for share in (1, 2)
    )
    announcer = amender if has_amender else owner
    assert find_amender(chain, first.identity, chain.get_head()) == announcer
    say(announcer, ours)
    followed.look()
    assert (followed.pending, followed.note) == (ours, None)

    if isinstance(net, RuntimeNet):  # as the chain does it; a swap is possible once in days
        owners = [[[net.netuid], encode_ss58(new_owner)]]
        net.set_storage({"SubtensorModule": {"subnetOwnerHotkey": owners}})
    else:
        net.swap(owner, new_owner)
    net.pass_blocks(1)
    assert chain.get_owner(chain.get_head()) == new_owner
    if not has_amender:
        with pytest.raises(DiscoveryError, match="withdrawn"):  # an empty slot
            followed.look()
    say(new_owner, theirs)
    followed.look()
    assert followed.pending == (ours if has_amender else theirs)
    decision = compute_decision_block(first, window)
    assert chain.get_head() < decision, "too late to show anything"
    net.pass_blocks(decision - chain.get_head() + 1)
    for folder in ("rules", "newcomer"):
        found = ParameterFollower(chain, lambda locator: store, tmp_path / folder)
        assert found.history.all == (first, ours if has_amender else theirs)
    followed.look()
    assert followed.history.all == (first, ours if has_amender else theirs)
