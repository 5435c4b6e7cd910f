"""An owner publishes, another program finds: on the simulator and on a real runtime alike."""

from pathlib import Path

import pytest

from assay.artifacts.checkpoints.folder import CheckpointFolder, DownloadSettings
from assay.artifacts.discovery import DiscoveryError, make_mirrors
from assay.network.store.folder import open_folder
from assay.protocol.beacon import QUICKNET
from assay.session.parameter_follower import ParameterFollower
from assay.subnet.presets import PRESETS, change_parameters
from assay.subnet.publishing import make_subnet_parameters, publish_subnet
from assay.training import GENESIS
from tests.integration.chain.nets import Net


def test_an_owners_parameters_are_found_until_it_publishes_others(net: Net, tmp_path: Path) -> None:
    chain, store, warnings = net.chain, open_folder(tmp_path / "store"), []
    (trainer,) = net.register(1)
    parameters = make_subnet_parameters(
        chain, QUICKNET, GENESIS, trainer, "arithmetic", PRESETS["demo"], slot_ms=250
    )

    def publish(what):
        return publish_subnet(
            chain,
            chain.get_owner(chain.get_head()),
            store,
            "test:store",
            what,
            GENESIS,
            warnings.append,
            wait=lambda seconds: net.pass_blocks(1),
        )

    block = publish(parameters)
    followed = ParameterFollower(chain, lambda locator: store, tmp_path / "rules")
    assert followed.history.all == (parameters,)
    assert publish(parameters) >= block
    followed.look()
    assert (followed.history.all, followed.pending, followed.note) == ((parameters,), None, None)
    mirrors = make_mirrors(chain, parameters, lambda locator: store)
    models = CheckpointFolder(tmp_path / "models", DownloadSettings(mirrors))
    assert models.get(parameters.identity.genesis_checkpoint).manifest.number == 0
    publish(change_parameters(parameters, {"work": {"group_cap": 512}}))
    with pytest.raises(DiscoveryError, match="another network"):
        followed.look()
    assert warnings == []
