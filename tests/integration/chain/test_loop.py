"""Miners and a validator on a real runtime: judged work is paid."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.database import Database
from assay.inference.checkpoint import load_checkpoint
from assay.lab.gauntlet.sampling_attacks import CheapModelMiner
from assay.network.beacon import LocalBeacon
from assay.network.store.folder import open_folder
from assay.neurons.miner.miner import Miner, MinerConfig, MinerDependencies
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.validator.validator import Validator
from assay.neurons.validator.weights_outbox import list_rows
from assay.protocol.amendment import ParameterHistory
from assay.protocol.commitment import Commitment, Tag, encode_commitment, parse_commitment
from assay.protocol.parameters import DEMO_TIMING, Parameters
from assay.protocol.reason import Reason
from assay.protocol.window import Phase, compute_block, compute_window
from assay.session.chain_delivery import DeliveryState
from assay.subnet.presets import make_demo_parameters
from assay.training import GENESIS
from tests.integration.chain.nets import TAO, TEMPO, RuntimeNet, open_net

LOCATOR = "file:store"
GROUPS = 6


@pytest.fixture
def own_subnet(endpoint: str, tmp_path: Path) -> Iterator[RuntimeNet]:
    net = open_net(endpoint, tmp_path / "state")
    yield net
    net.connection.close()


def make_parameters(net: RuntimeNet, beacons: LocalBeacon, trainer: bytes) -> Parameters:
    parameters = make_demo_parameters(
        net.chain.genesis_hash,
        beacons.chain,
        owner_uid=0,
        trainer=trainer,
        genesis_checkpoint=load_checkpoint(GENESIS).digest,
    )
    return replace(
        parameters,
        identity=replace(parameters.identity, netuid=net.netuid),
        timing=replace(DEMO_TIMING, tempo=TEMPO),
    )


@pytest.mark.slow
def test_the_honest_are_paid_and_the_cheat_is_not(own_subnet: RuntimeNet, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    net, chain = own_subnet, own_subnet.chain
    trainer, honest, cheat, validating = net.register(4)
    chain.add_stake(validating, 100 * TAO, any_price=True)
    net.pass_epoch()  # a permit for the validator
    started = chain.get_block(chain.get_head()).timestamp_ms
    beacons = LocalBeacon(
        b"loop", started, 1_000, lambda: chain.get_block(chain.get_head()).timestamp_ms
    )
    parameters = make_parameters(net, beacons, trainer)
    history = ParameterHistory(parameters)
    publish(net, trainer, parameters)
    checkpoints = CheckpointFolder(tmp_path / "models")
    checkpoints.add(GENESIS, parameters.identity.genesis_checkpoint)
    store = open_folder(tmp_path / "store")
    outside = MinerDependencies(chain, beacons, checkpoints, store, LOCATOR)
    start = chain.get_head()
    window = compute_window(parameters.timing, start) + 1
    config = MinerConfig(GROUPS, GROUPS, window)
    miners = [
        Miner("honest", honest, history, outside, config, print),
        CheapModelMiner("cheat", cheat, history, outside, config, print),
    ]
    net.pass_blocks(compute_block(parameters.timing, window, Phase.CHALLENGE) - start)
    sources = JudgeSources(chain, beacons, checkpoints, {LOCATOR: store})
    keep = [lambda _: None] * 3
    database = Database(tmp_path / "validator.sqlite")
    validator = Validator(
        validating, history, sources, database, *keep, last_window=window, start=start
    )
    while not any(row.state is DeliveryState.CONFIRMED for row in list_rows(database, 9)):
        for neuron in (*miners, validator):
            while neuron.step():
                pass
        net.pass_blocks(1)
    verdicts = validator.judged_windows[window].verdicts
    assert verdicts[honest].reason is Reason.ACCEPTED, verdicts[honest].detail
    assert verdicts[cheat].reason is Reason.SAMPLING_MISMATCH
    sent = {uid: w for uid, w in validator.settlements[0].weights.items() if w}
    assert chain.get_weights(chain.get_head())[validating] == sent
    net.pass_epoch()
    rows = {row.hotkey: row for row in chain.get_metagraph(chain.get_head())}
    assert rows[honest].incentive > 0
    assert rows[cheat].incentive == 0


def publish(net: RuntimeNet, trainer: bytes, parameters: Parameters) -> None:
    """The owner's parameters and the trainer's checkpoint, read back from state."""
    owner = net.chain.get_owner(net.chain.get_head())
    published = {
        owner: Commitment(Tag.PARAMETERS, 0, 0, parameters.digest, LOCATOR),
        trainer: Commitment(Tag.CHECKPOINT, 0, 0, parameters.identity.genesis_checkpoint, LOCATOR),
    }
    for hotkey, commitment in published.items():
        net.chain.set_commitment(hotkey, encode_commitment(commitment))
    standing = net.chain.get_commitments(net.chain.get_head())
    assert {h: parse_commitment(standing[h]) for h in published} == published
