"""A neuron that a program of somebody else starts, without the command line."""

import json
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
import torch

from assay.lab.localnet import services
from assay.lab.localnet.description import read_settings
from assay.lab.localnet.services import found, run_services
from assay.network.extras import MissingExtraError
from assay.neurons.miner.program import run_miner
from assay.neurons.trainer import program as trainer_program
from assay.neurons.trainer.program import run_follower, run_trainer
from assay.protocol.errors import OperatorError
from assay.settings.learning import make_learning_here
from assay.settings.loading import ConfigError, load_settings
from assay.settings.sections import ComputeSettings, Settings, TrainerSettings
from tests.commands import run_command
from tests.missing_packages import hide_packages

PATIENCE_S = 120.0


def wait_for_status(folder: Path, run: "Future[None]") -> None:
    """Wait until a program has written its state, or has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while not (folder / "status.json").exists() and not run.done():
        assert time.monotonic() < deadline, "it writes no status"
        time.sleep(0.05)


def test_a_miner_runs_until_its_event_is_set(
    short_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "_found_apart", found)  # the model is in memory anyway
    torch.set_num_threads(1)
    own = {"miner": {"dir": tmp_path / "miner", "groups": 1}, "wallet": {"name": "//Bob"}}
    stop = Event()
    with run_services(short_folder, 0.5, port=0), ThreadPoolExecutor(1) as pool:
        network = read_settings(short_folder)
        for name in ("//Alice", "//Trainer"):  # whose slots others read
            with pytest.raises(ConfigError, match="mine with another hotkey"):
                run_miner(load_settings(None, own | {"wallet": {"name": name}}, network))
        run_command("register", "--localnet", short_folder, "--wallet", "//Bob", "--yes")
        settings = load_settings(None, own, network)
        run = pool.submit(run_miner, settings, quiet=True, stop=stop)
        try:
            wait_for_status(settings.miner.dir, run)
        finally:
            stop.set()
        run.result(PATIENCE_S)
    status = json.loads((settings.miner.dir / "status.json").read_text())
    assert (status["program"], status["state"]) == ("miner", "stopped")


def test_a_miner_that_cannot_start_says_why() -> None:
    with pytest.raises(ConfigError, match="name a store"):
        run_miner(Settings())


def test_a_team_must_know_how_to_start_its_processes() -> None:
    cpu = ComputeSettings(device="cpu")
    with pytest.raises(ValueError, match="again"):
        run_trainer(Settings(compute=cpu, trainer=TrainerSettings(processes=2)))


def test_a_team_larger_than_the_machine_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was told by a process of the team, after a model was loaded."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    settings = Settings(trainer=TrainerSettings(processes=2))
    with pytest.raises(ConfigError, match=r"processes: 2 .* has one GPU: set processes = 1"):
        run_trainer(settings, again=("-c", "raise SystemExit"))
    with pytest.raises(ConfigError, match="one GPU"):
        make_learning_here(settings.trainer)
    make_learning_here(settings.trainer, "cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    make_learning_here(settings.trainer)


def test_a_host_that_follows_needs_no_file_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def meet(*_: object, **__: object) -> None:
        raise TimeoutError("the team")

    monkeypatch.setattr(trainer_program, "is_member", lambda: True)
    monkeypatch.setattr(trainer_program, "join_team", meet)
    for given in ({"sft_weight": 0.5}, {"sft_weight": 0.5, "sft": Path("nowhere.jsonl")}):
        with pytest.raises(TimeoutError, match="the team"):
            run_follower(Settings(trainer=TrainerSettings(**given)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"optimizer": "muon", "lora_rank": 8}, "optimizer: muon"),
        ({"sft_weight": 0.5, "sft": Path("nowhere.jsonl")}, r"sft: nowhere\.jsonl"),
    ],
)
def test_a_trainer_by_settings_that_cannot_be_does_not_start(given, said) -> None:
    with pytest.raises(ConfigError, match=said):
        run_trainer(Settings(trainer=TrainerSettings(**given)))


@pytest.mark.parametrize(("processes", "missing"), [(1, "peft"), (2, "peft"), (1, "bitsandbytes")])
def test_a_trainer_without_what_its_settings_need_does_not_start(
    monkeypatch: pytest.MonkeyPatch, processes: int, missing: str
) -> None:
    """It waited for a package that nobody installs meanwhile."""
    hide_packages(monkeypatch, missing)
    learning = {"lora_rank": 8} if missing == "peft" else {"optimizer": "adamw8bit"}
    settings = Settings(trainer=TrainerSettings(processes=processes, **learning))
    with pytest.raises(MissingExtraError, match=f"needs {missing}.* install the extra `") as error:
        run_trainer(settings, again=("-c", "raise SystemExit"))
    assert isinstance(error.value, OperatorError)  # one line, and exit code 2
    with pytest.raises(MissingExtraError, match=missing):
        make_learning_here(settings.trainer)
    monkeypatch.setattr(trainer_program, "is_member", lambda: True)
    with pytest.raises(MissingExtraError, match=missing):
        run_follower(settings)


def test_a_trainer_of_whole_weights_needs_no_further_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hide_packages(monkeypatch, "peft", "bitsandbytes")
    make_learning_here(TrainerSettings())
