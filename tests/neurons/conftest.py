"""The shipped model, opened once; its groups on this subnet, generated once."""

import pytest
import torch

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.inference.checkpoint import load_checkpoint
from assay.training import GENESIS
from tests.neurons.miner_bench import Subnet
from tests.quick_miner import QuickMiner


@pytest.fixture(scope="session")
def genesis():
    torch.set_num_threads(1)
    return load_checkpoint(GENESIS)


@pytest.fixture(scope="session")
def models(tmp_path_factory, genesis):
    folder = CheckpointFolder(tmp_path_factory.mktemp("models"))
    folder.add(GENESIS, genesis.digest)
    folder.get(genesis.digest)
    return folder


@pytest.fixture(scope="session")
def quick_miner():
    return QuickMiner


@pytest.fixture
def make_subnet(tmp_path, genesis, models):
    made = []

    def make(config=None):
        subnet = Subnet(tmp_path / str(len(made)), genesis, config)
        subnet.checkpoints = models
        made.append(subnet)
        return subnet

    yield make
    for subnet in made:
        subnet.end()
