"""A miner on a subnet of its own, as the tests of neurons have it, and a window that it mined."""

import pytest

from assay.neurons.program.neuron import JudgeSources
from assay.protocol.commitment import make_object_name
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import Phase, compute_block
from assay.session.window_reader import get_challenge, get_context
from tests.artifacts.submissions.shown_window import Shown
from tests.neurons.conftest import genesis, make_subnet, models, quick_miner
from tests.neurons.miner_bench import ALICE, LOCATOR

__all__ = ["genesis", "make_subnet", "models", "quick_miner", "shown"]


@pytest.fixture
def shown(make_subnet, quick_miner, genesis):
    subnet = make_subnet()
    miner = subnet.start(quick_miner)
    timing = subnet.parameters.timing
    subnet.run_to(miner, compute_block(timing, 0, Phase.FETCH_END))
    challenge = get_challenge(subnet.chain, subnet.beacons, subnet.parameters, 0)
    context = get_context(subnet.chain, subnet.beacons, subnet.parameters, challenge)
    assert context.sample is not None
    stores = {LOCATOR: subnet.store}
    sources = JudgeSources(subnet.chain, subnet.beacons, subnet.checkpoints, stores)
    return Shown(context, sources, genesis, make_object_name(encode_ss58(ALICE), 0))
