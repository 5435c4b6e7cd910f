"""The unchanged SDK: it reads, and makes and joins a subnet."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bittensor as bt
import pytest

from devlab import get_key
from subtensor_devnet import Devnet, Seal


def make_wallet(coldkey: str, hotkey: str) -> Any:
    key = get_key(coldkey)
    return SimpleNamespace(coldkey=key, coldkeypub=key, hotkey=get_key(hotkey))


OWNER, MINER = make_wallet("//Alice", "//Alice//owner"), make_wallet("//Bob", "//Bob//miner")


@pytest.fixture
def devnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Devnet]:
    monkeypatch.setenv("BITTENSOR_RUNTIME_CACHE_DIR", str(tmp_path / "sdk"))
    with Devnet(tmp_path / "chain", seal=Seal.INSTANT, block_time=0.05) as devnet:
        yield devnet


@pytest.fixture
def subtensor(devnet: Devnet) -> Iterator[Any]:
    """With subnet 1, which runs."""
    with bt.Subtensor(devnet.endpoint) as subtensor:
        for intent in (bt.RegisterSubnet(), bt.StartCall(netuid=1)):
            result = subtensor.execute(intent, OWNER)
            assert result.success, result.message
        yield subtensor


def test_a_shielded_registration_is_opened_and_done(subtensor: Any) -> None:
    result = subtensor.execute(bt.BurnedRegister(netuid=1), MINER)
    assert result.success, result.message
    address = MINER.hotkey.ss58_address
    assert subtensor.query(bt.storage.SubtensorModule.Uids, [1, address]) == 1


def test_a_subnet_is_read(subtensor: Any) -> None:
    metagraph = subtensor.subnets.metagraph(1)
    assert [neuron.uid for neuron in metagraph.neurons] == [0]
    (neuron,) = subtensor.read("neurons", netuid=1)
    assert neuron.coldkey == OWNER.coldkey.ss58_address
    assert subtensor.read("subnet", netuid=1).netuid == 1
    settings = subtensor.read("subnet_hyperparameters", netuid=1)
    assert (settings["tempo"], settings["min_burn"]) == (10, 500_000)


def test_weights_are_set_in_the_clear_where_the_subnet_takes_them_so(
    devnet: Devnet, subtensor: Any
) -> None:
    subnet = {"CommitRevealWeightsEnabled": [[[1], False]], "WeightsSetRateLimit": [[[1], 0]]}
    devnet.set_storage({"SubtensorModule": subnet})
    assert subtensor.execute(bt.BurnedRegister(netuid=1), MINER).success
    result = subtensor.execute(bt.SetWeights(1, [0, 1], [1.0, 3.0]), OWNER)
    assert result.success, result.message
    weights = subtensor.query(bt.storage.SubtensorModule.Weights, [1, 0])
    assert [tuple(pair) for pair in weights] == [(0, 21_845), (1, 65_535)]
