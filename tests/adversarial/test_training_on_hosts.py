"""A trainer on two hosts that share no folder: what it publishes is what one host with both
processes publishes, to the byte, also where a host is lost and comes back."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.training.forked_team import run_forked_team

ROOT = Path(__file__).parents[2]
NAME = "tests.adversarial.team_neuron"
#: Most seconds for a host, on a machine under load.
PATIENCE_S = 900


class Hosts:
    """Hosts on this machine: each has its torchrun and its own folder, and they have a port."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._place = f"127.0.0.1:{free.getsockname()[1]}"

    def start(self, name: str, *arguments: str) -> "subprocess.Popen[str]":
        (self.folder / name).mkdir()
        command = [
            *(sys.executable, "-m", "torch.distributed.run"),
            *("--nnodes=2", "--nproc-per-node=1", "--max-restarts=3"),
            *("--rdzv-backend=c10d", f"--rdzv-endpoint={self._place}", "--local-addr=127.0.0.1"),
            f"--rdzv-conf=is_host={int('follow' not in arguments)}",
            *("-m", NAME, str(self.folder / name), *arguments),
        ]
        given = os.environ  # noqa: TID251 - a child needs a whole environment
        env = {**given, "PYTHONPATH": str(ROOT), "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
        host = subprocess.Popen(
            command,
            cwd=ROOT,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / f"{name}.log").open("w"),
            text=True,
            start_new_session=True,
        )
        self._stack.callback(stop, host)
        return host

    def read_log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


def stop(host: "subprocess.Popen[str]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(host.pid, signal.SIGKILL)
    host.wait()


def read_files(folder: Path) -> dict[str, bytes]:
    """All that is published, and the learner's state."""
    files = [*(folder / "models").rglob("*"), *folder.rglob("learner-*")]
    return {str(f.relative_to(folder)): f.read_bytes() for f in files if f.is_file()}


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_a_host_that_is_killed_comes_back_with_an_empty_folder(tmp_path: Path) -> None:
    """It is killed in the second step with all that runs on it; the first one says so, waits, and
    makes the step again."""
    (tmp_path / "together").mkdir()
    assert run_forked_team(2, NAME, str(tmp_path / "together")) == 0
    with ExitStack() as stack:
        hosts = Hosts(tmp_path, stack)
        first = hosts.start("first")
        lost = hosts.start("lost", "1", "host", "follow")
        assert lost.wait(PATIENCE_S) == -signal.SIGKILL, hosts.read_log("lost")
        back = hosts.start("back", "1", "", "follow")
        assert first.wait(PATIENCE_S) == 0, hosts.read_log("first")
        assert back.wait(PATIENCE_S) == 0, hosts.read_log("back")
    said = [line for line in hosts.read_log("first").splitlines() if line.startswith("assay: ")]
    assert [line.split(" on ")[0] for line in said] == [
        "assay: 2 processes",
        "assay: another process of the team",
        "assay: 2 processes",
    ]
    assert [*(tmp_path / "lost").iterdir()] == []
    assert [file.name for file in (tmp_path / "back").iterdir()] == ["followed"]
    together, apart = read_files(tmp_path / "together"), read_files(tmp_path / "first")
    assert len([name for name in together if name.endswith("model.safetensors")]) == 3
    assert any("learner-" in name for name in together)
    assert apart == together
