"""Whether a placement's reference agrees with the plain one, by the checkpoint's calibration."""

import pytest

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.inference.checkpoint import load_checkpoint
from assay.inference.placement import Placement
from assay.neurons.preflight.agreement import check_agreement, measure_agreement
from assay.training import GENESIS
from tests.neurons.preflight.test_doctor import look, states


@pytest.mark.parametrize(
    ("implementation", "state"), [("split3", "ok"), ("fp32-eager", "ok"), ("bf16", "fail")]
)
def test_permitted_implementations_agree_and_rounding_ones_do_not(
    make_subnet, implementation, state
):
    placed = load_checkpoint(GENESIS, placement=Placement(implementation=implementation))
    report = measure_agreement(placed, make_subnet().parameters)
    check = check_agreement(report)
    assert check.state == state, check
    assert f"cpu:{implementation} against cpu:fp32-sdpa" in check.detail


def test_it_is_measured_where_a_placement_is_not_the_plain_one(make_subnet):
    subnet = make_subnet()
    for _ in range(30):
        subnet.chain.mint()
    assert "agreement" not in states(look(subnet))
    placement = Placement(implementation="split3")
    checkpoints = CheckpointFolder(subnet.folder / "placed", placement=placement)
    checkpoints.add(GENESIS, subnet.parameters.identity.genesis_checkpoint)
    found = look(subnet, checkpoints=checkpoints, placement=placement)
    assert states(found)["agreement"] == "ok"
