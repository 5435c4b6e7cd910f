"""The programs as operators start them, on a node: processes, flags, signals, folders.

One story, told once, for it takes minutes: an owner publishes a subnet, a miner, a cheat, a
validator and a trainer run it, the validator is killed in the middle, and the chain's own consensus
pays whom it should.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest

from assay.network.beacon import LocalBeacon
from assay.network.beacon.server import BeaconServer
from assay.network.chain.connection import Connection
from assay.network.chain.target import ChainTarget
from tests.commands import run_program
from tests.integration.chain.nets import TAO, RuntimeNet

ASSAY = str(Path(sys.executable).with_name("assay"))
CHEAT = Path(__file__).parents[3] / "bench" / "cheat.py"
BLOCK_MS = 1_000
#: Longest wait for anything, seconds: the runtime makes a block in half a second at best.
PATIENCE_S = 480


class Stage:
    """A chain that runs by the clock, a beacon server, a store, and what plays before them."""

    def __init__(self, endpoint: str, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        connection = Connection(ChainTarget((endpoint,), deadline_s=60))
        stack.callback(connection.close)
        self.net = RuntimeNet(connection, folder / "chain")
        started = self.net.chain.get_block(self.net.chain.get_head()).timestamp_ms
        genesis_ms = started // 1_000 * 1_000
        beacons = LocalBeacon(b"programs", genesis_ms, 1_000, lambda: time.time_ns() // 1_000_000)
        server = BeaconServer(beacons)
        stack.callback(server.close)
        (folder / "store").mkdir()
        self.info = folder / "beacon.json"
        self.info.write_bytes(httpx2.get(f"{server.url}/info", timeout=60).content)
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
            [compute]
            threads = 1
            """
        )
        self._stack = stack

    def run(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> Any:
        """A command to its end; its JSON document."""
        words = (*arguments, "--config", self.config, "--json")
        done = run_program(*words, timeout=PATIENCE_S)
        assert done.returncode in codes, done.stderr
        return json.loads(done.stdout) if done.stdout else None

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a program that runs until it is stopped, with its output in a file."""
        name = Path(command[command.index("--dir") + 1]).name
        with (self.folder / f"{name}.log").open("a") as log:
            process = subprocess.Popen(
                [*command, "--config", str(self.config)], stdout=log, stderr=log, text=True
            )
        self._stack.callback(process.kill)
        return process

    def wait_for(self, what: str, look: Callable[[], Any]) -> Any:
        """Wait until `look` finds something, and return that."""
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

    def make_wallet(self, name: str, stake: int = 0) -> str:
        """A wallet on disk with money, a uid and stake. Its hotkey's address."""
        wallet = ("--wallet", name, "--hotkey", "hot")
        made = self.run("wallet", "create", *wallet, "--no-password")
        self.net.fund(made["coldkey"], rao=1_000 * TAO)
        assert self.run("register", *wallet, "--yes")["paid_rao"] > 0
        assert self.run("register", *wallet, "--yes")["paid_rao"] == 0
        if stake:
            self.run("stake", str(stake // TAO), *wallet, "--yes", "--any-price")
        return str(made["hotkey"])

    def read_rows(self) -> dict[str, Any]:
        """The metagraph, by hotkey."""
        return {row["hotkey"]: row for row in self.run("metagraph")["neurons"]}


@pytest.fixture
def stage(clocked: str) -> Iterator[Stage]:
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="assay-"))  # short: for a locator
        yield Stage(clocked, Path(folder), stack)


@pytest.mark.slow
@pytest.mark.timeout(3_600)  # each wait has its own; beside other work all of them took ten minutes
def test_a_subnet_from_publication_to_pay(stage: Stage) -> None:
    honest, cheat = stage.make_wallet("honest"), stage.make_wallet("cheat")
    validator = stage.make_wallet("validator", stake=100 * TAO)
    trainer = stage.make_wallet("trainer")
    folders = {
        name: str(stage.folder / name) for name in ("honest", "cheat", "validator", "trainer")
    }

    def name_program(name: str) -> tuple[str, ...]:
        return ("--wallet", name, "--hotkey", "hot", "--dir", folders[name])

    # nobody can join what nobody has published
    stage.run("mine", *name_program("honest"), "--dry-run", codes=(2,))
    stage.run(
        *("subnet", "publish", "--wallet", "//Alice", "--hotkey", stage.net.owner_uri),
        *("--trainer", trainer, "--preset", "demo", "--beacon-info", str(stage.info), "--yes"),
    )
    shown = stage.run("subnet", "show")
    assert shown["parameters"]["identity"]["netuid"] == stage.net.netuid
    # a busy machine may be too slow, and its executor late by the clock; all else must be well
    dry = stage.run("mine", *name_program("honest"), "--groups", "6", "--dry-run", codes=(0, 1))
    states = {check["check"]: check["state"] for check in dry["checks"]}
    well = ("chain", "registration", "store", "beacon", "checkpoint")
    assert {states[name] for name in well} == {"ok"}, dry
    assert dry["speed"]["tokens"] > 0

    mining = ("--groups", "6", "--threads", "1")
    programs = {
        "honest": stage.start(ASSAY, "mine", *name_program("honest"), *mining),
        "cheat": stage.start(
            sys.executable, str(CHEAT), "zero sketch", *name_program("cheat"), *mining
        ),
        "validator": stage.start(ASSAY, "validate", *name_program("validator")),
        "trainer": stage.start(ASSAY, "train", *name_program("trainer")),
    }

    def look(name: str) -> Any:
        """A program's status; nothing before it has written one."""
        assert programs[name].poll() is None, f"{name} ended by itself"
        file = Path(folders[name]) / "status.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def find_verdicts(name: str) -> list[dict[str, Any]]:
        """The verdicts on windows in which the miner committed. If blocks come by the clock, a busy
        machine may be too slow for one."""
        verdicts = [window["verdict"] for window in look(name).get("windows", [])]
        return [v for v in verdicts if v and v["reason"] != "NO_COMMITMENT"]

    # each miner sees for itself what validators will say
    stage.wait_for("the honest miner's verdict", lambda: find_verdicts("honest"))
    programs["validator"].kill()  # in the middle of whatever it does
    programs["validator"].wait()
    programs["validator"] = stage.start(ASSAY, "validate", *name_program("validator"))
    stage.wait_for("the cheat's verdict", lambda: find_verdicts("cheat"))
    assert {v["reason"] for v in find_verdicts("honest")} == {"ACCEPTED"}
    # no share of its few groups passes by chance, as an int4 model's can
    assert {v["reason"] for v in find_verdicts("cheat")} == {"SKETCH_MISMATCH"}

    uids = {row["hotkey"]: str(row["uid"]) for row in stage.read_rows().values()}

    def find_paid() -> bool:
        rows = look("validator").get("settlements", [])
        return any(row["state"] == "confirmed" and uids[honest] in row["weights"] for row in rows)

    stage.wait_for("confirmed weights", find_paid)
    stage.wait_for("incentive", lambda: stage.read_rows()[honest]["incentive"])
    rows = stage.read_rows()
    assert rows[cheat]["incentive"] == 0
    assert rows[validator]["permit"]
    stage.wait_for("a step", lambda: look("trainer").get("steps"))
    weights = stage.run("weights", "show", "--dir", folders["validator"])
    (row,) = (v["weights"] for v in weights["validators"] if v["hotkey"] == validator)
    assert uids[honest] in row
    assert uids[cheat] not in row
    confirmed = [r["epoch"] for r in weights["settlements"] if r["state"] == "confirmed"]
    assert len(confirmed) == len(set(confirmed))

    asked = (signal.SIGINT, signal.SIGTERM) * 2  # Ctrl-C, and what a supervisor sends
    for number, program in zip(asked, programs.values(), strict=True):
        program.send_signal(number)
    for name, program in programs.items():
        assert program.wait(60) == 0, name
