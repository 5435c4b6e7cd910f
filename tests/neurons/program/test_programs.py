"""A neuron's outermost loop: its messages, its retries, its ends."""

import json
import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from rich.console import Console

from assay.cli.exits import plain_errors
from assay.cli.program_view import render_program
from assay.network.chain.errors import ChainError, WrongChainError
from assay.network.evm.contracts import EvmError
from assay.network.files import replace_file
from assay.network.store.base import StoreError
from assay.neurons.program import loop as program_loop
from assay.neurons.program.life import Sign
from assay.neurons.program.loop import ProgramLoop, catch_signals, claim_folder
from assay.protocol.errors import OperatorError, Trouble, TroubleKind
from assay.session.window_reader import BeaconError
from assay.settings.loading import ConfigError
from tests.statuses import VALIDATOR


class ScriptedNeuron:
    """Plays one act a step and asks to stop after the last."""

    name = "scripted"

    def __init__(self, stop: threading.Event, *acts: Callable[["ScriptedNeuron"], bool]) -> None:
        self.trouble: Trouble | None = None
        self.steps = 0
        self._acts = list(acts)
        self._stop = stop

    def step(self) -> bool:
        self.steps += 1
        act = self._acts.pop(0)
        if not self._acts:
            self._stop.set()
        return act(self)


def fail(error: Exception) -> Callable[[ScriptedNeuron], bool]:
    def act(_: ScriptedNeuron) -> bool:
        raise error

    return act


def wait_for(what: str | None) -> Callable[[ScriptedNeuron], bool]:
    def act(neuron: ScriptedNeuron) -> bool:
        neuron.trouble = None if what is None else Trouble(TroubleKind.OTHER, what)
        return False

    return act


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event that nobody waits for."""
    event = threading.Event()
    monkeypatch.setattr(event, "wait", lambda _: event.is_set())
    return event


def play(
    stop: threading.Event,
    folder: Path,
    *acts: Callable[[ScriptedNeuron], bool],
    missing: Trouble | None = None,
) -> None:
    neuron = ScriptedNeuron(stop, *acts)
    ProgramLoop(
        neuron, folder, stop, lambda loop: {"steps": neuron.steps} | loop(), lambda: missing
    ).run()


def test_a_trouble_is_said_once_and_so_is_its_end(
    stop: threading.Event, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "assay")
    play(
        stop,
        tmp_path,
        wait_for(None),
        *[wait_for("no beacon")] * 3,
        wait_for("no node"),
        wait_for(None),
    )
    assert [r.message for r in caplog.records] == ["no beacon", "no node", "resolved: no node"]
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["trouble"], status["trouble_kind"]) == (None, None)


def test_a_trouble_has_the_kind_of_the_error_that_makes_it(
    stop: threading.Event, tmp_path: Path
) -> None:
    for error, kind in (
        (ChainError("no node"), "chain"),
        (EvmError("no node"), "ledger"),
        (StoreError("no bucket"), "store"),
        (BeaconError("no relay"), "beacon"),
        (OperatorError("no idea"), "other"),
        (OSError("no space"), "disk"),
    ):
        stop.clear()
        play(stop, tmp_path, fail(error))
        status = json.loads((tmp_path / "status.json").read_text())
        assert (status["trouble"], status["trouble_kind"]) == (str(error), kind)


def test_a_defect_is_written_out_and_tried_again(
    stop: threading.Event, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    play(stop, tmp_path, fail(KeyError("lost")), fail(ChainError("no node")), wait_for(None))
    assert "KeyError: 'lost'" in caplog.text
    assert "Traceback" in caplog.text
    assert "no node" in caplog.text
    assert json.loads((tmp_path / "status.json").read_text())["steps"] == 3


def test_a_program_that_only_fails_ends(stop: threading.Event, tmp_path: Path) -> None:
    acts = [fail(ValueError("broken"))] * (program_loop.DEFECTS_MAX + 1)
    with pytest.raises(RuntimeError, match="in a row"):
        play(stop, tmp_path, *acts)


def test_defects_now_and_then_end_nothing(stop: threading.Event, tmp_path: Path) -> None:
    """A program that runs for months meets more of them than it may meet in a row."""
    some = [fail(ValueError("broken"))] * (program_loop.DEFECTS_MAX - 1)
    play(stop, tmp_path, *some, wait_for(None), *some, wait_for(None))
    assert (
        json.loads((tmp_path / "status.json").read_text())["steps"] == 2 * program_loop.DEFECTS_MAX
    )


def test_another_chain_ends_it_at_once(stop: threading.Event, tmp_path: Path) -> None:
    with pytest.raises(WrongChainError):
        play(stop, tmp_path, fail(WrongChainError("another")), wait_for(None))


def test_growing_pauses_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, waited = threading.Event(), []
    monkeypatch.setattr(stop, "wait", waited.append)
    play(stop, tmp_path, *[fail(ChainError("no node"))] * 9, wait_for(None))
    assert waited[:3] == [2.0, 4.0, 8.0]
    assert max(waited) == program_loop.LONGEST_PAUSE_S
    assert waited[-1] == program_loop.IDLE_S


def test_a_folder_is_one_programs_own(tmp_path: Path) -> None:
    folder = tmp_path / "miner"
    with claim_folder(folder, "miner"):
        with pytest.raises(ConfigError, match="another miner runs"), claim_folder(folder, "miner"):
            pass
        with pytest.raises(ConfigError, match="has files of"), claim_folder(folder, "validator"):
            pass
    with claim_folder(folder, "miner"):
        pass
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(ConfigError, match="not a folder"), claim_folder(blocked / "a", "miner"):
        pass


def test_half_written_files_are_gone_at_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    others = folder / "miner"
    killed = []
    for place in (folder / "record", others):
        place.mkdir(parents=True)
        killed.append(replace_file(place / "status.json"))
        killed[-1].__enter__().write_text("{")  # and nothing comes after it
    (folder / "record" / "window-1.json").touch()
    with claim_folder(others, "miner"):
        (unfinished,) = (folder / "record").glob(".*")
        written = replace_file(others / "status.json")
        written.__enter__()
        with claim_folder(folder, "localnet"):  # the miner in there is at work
            assert not unfinished.exists()
            written.__exit__(None, None, None)
    assert {path.name for path in others.iterdir()} == {".assay-miner", "status.json"}
    assert [path.name for path in (folder / "record").iterdir()] == ["window-1.json"]


def test_a_signal_while_the_programs_wait_holds_the_events_lock() -> None:
    """The handler interrupts the wait between two instructions, and must not need the lock."""
    with catch_signals(lambda: None) as stop:
        with stop._cond:  # type: ignore[attr-defined] # noqa: SLF001 - as `stop.wait` does
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(60)


def test_one_signal_asks_and_a_second_ends() -> None:
    before = signal.getsignal(signal.SIGTERM)
    hurried: list[bool] = []
    with catch_signals(lambda: hurried.append(True)) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(60)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert hurried == [True]
    assert signal.getsignal(signal.SIGTERM) == before


def test_an_incomplete_check_is_reported_unless_there_is_worse(
    stop: threading.Event, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    play(
        stop,
        tmp_path,
        wait_for(None),
        wait_for("no node"),
        wait_for(None),
        missing=Trouble(TroubleKind.WEIGHTS, "no uid"),
    )
    assert [record.message for record in caplog.records] == ["no uid", "no node", "no uid"]


def test_a_ledger_that_fails_before_its_first_post_is_shown() -> None:
    status = VALIDATOR | {"posting_trouble": "EVM node there does not answer"}
    console = Console(width=100)
    with console.capture() as said:
        console.print(render_program(status, Sign(held=True, age=1)))
    assert "EVM node there does not answer" in said.get()


def test_an_error_of_the_system_that_names_no_file_says_where(capsys):
    with pytest.raises(typer.Exit), plain_errors():
        os.close(-1)
    said = capsys.readouterr().err
    assert said.startswith("assay: assay/cli/exits.py, line ")
    assert said.endswith(": Bad file descriptor\n")
    with pytest.raises(typer.Exit), plain_errors():
        os.open("/nowhere/at all", os.O_RDONLY)
    assert capsys.readouterr().err == "assay: /nowhere/at all: No such file or directory\n"
