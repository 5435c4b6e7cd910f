"""An owner's subnet with its first parameters."""

from pathlib import Path

import pytest

from assay.lab.simulator import SimulatedChain
from assay.network.store.folder import open_folder
from tests.adversarial.mortal import HOTKEYS, NETUID, TIMING, make_parameters
from tests.session.owners_subnet import Subnet


@pytest.fixture
def subnet(tmp_path: Path) -> Subnet:
    chain = SimulatedChain(
        b"amended", NETUID, 0, TIMING.slot_ms, TIMING.tempo, tuple(HOTKEYS.values())
    )
    first = make_parameters(chain.genesis_hash)
    made = Subnet(tmp_path, chain, first, open_folder(tmp_path / "store"))
    made.say(first)
    return made
