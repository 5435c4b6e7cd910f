"""The programs as operators start them, on a real runtime: processes, flags, signals, folders.

One story, told once, for it takes minutes: an owner publishes a subnet, a miner, a cheat, a
validator and a trainer run it, the validator is killed in the middle, and the chain's own consensus
pays whom it should.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from nets import RuntimeNet, start_node

from assay.network.beacon import BeaconServer, LocalBeacon
from assay.network.chain import Connection, Target

ASSAY = str(Path(sys.executable).with_name("assay"))
CHEAT = Path(__file__).with_name("cheat.py")
BLOCK_MS = 1_000
#: Longest wait for anything, seconds: the runtime makes a block in half a second at best.
PATIENCE_S = 240


class Stage:
    """A chain that runs by the clock, a beacon server, a store, and what plays before them."""

    def __init__(self, endpoint: str, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        connection = Connection(Target((endpoint,), deadline_s=60))
        stack.callback(connection.close)
        self.net = RuntimeNet(connection, folder / "chain")
        started = self.net.chain.get_block(self.net.chain.get_head()).timestamp_ms
        beacons = LocalBeacon(b"programs", started, BLOCK_MS, lambda: time.time_ns() // 1_000_000)
        server = stack.enter_context(BeaconServer(beacons))
        (folder / "store").mkdir()
        self.info = folder / "beacon.json"
        self.info.write_text(json.dumps(server.info))
        self.config = folder / "assay.toml"
        self.config.write_text(
            f"""
            [chain]
            network = "{endpoint}"
            netuid = {self.net.netuid}
            [wallet]
            path = "{folder / "wallets"}"
            [store]
            locator = "{(folder / "store").as_uri()}"
            readable = ["{(folder / "store").as_uri()}"]
            [beacon]
            endpoints = ["{server.url}"]
            """
        )
        self._stack = stack

    def run(self, *arguments: str, code: int = 0) -> Any:
        """A command to its end; its JSON document."""
        done = subprocess.run(
            [ASSAY, *arguments, "--config", str(self.config), "--json"],
            capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if done.stdout else None

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A program that runs until it is stopped; what it says goes to a file."""
        log = (self.folder / f"{command[-1].rpartition('/')[2]}.log").open("a")
        process = subprocess.Popen(
            [*command, "--config", str(self.config)], stdout=log, stderr=log, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},  # noqa: TID251 - a child needs one whole
        )  # fmt: skip
        self._stack.callback(process.kill)
        return process

    def wait_for(self, what: str, look: Callable[[], Any]) -> Any:
        """What `look` finds, once it finds something."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := look()):
            if time.monotonic() > deadline:
                logs = "\n".join(
                    f"== {log.name}\n" + "".join(log.read_text().splitlines(True)[-30:])
                    for log in self.folder.glob("*.log")
                )
                pytest.fail(f"waited {PATIENCE_S} s for {what}\n{logs}")
            time.sleep(1)
        return found


@pytest.fixture
def stage(subnet_folder: str | None, running: str | None, tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        endpoint = stack.enter_context(start_node(running, Path(subnet_folder or ""), BLOCK_MS))
        yield Stage(endpoint, tmp_path, stack)
