"""A subnet on one machine as a newcomer types it: four programs, one of them killed on the way."""

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from assay.network.chain.connection import Connection
from assay.network.chain.subtensor import SubtensorChain
from assay.network.chain.target import ChainTarget
from assay.network.store.opening import open_store
from assay.neurons.program.metric import get_served_name
from assay.neurons.program.metrics import COMMON, OWN
from assay.protocol.commitment import Tag, parse_commitment
from assay.protocol.record import (
    SettlementRecord,
    decode_settlement_record,
    make_settlement_record_name,
)
from assay.protocol.ss58 import decode_ss58
from assay.settings.loading import use_sdk_cache
from tests.commands import run_command, run_program, start_program
from tests.engines.engine_environment import ENGINE_PYTHON, NO_ENGINE
from tests.listening import list_doors
from tests.statuses import EVENTS, check_status

#: Longest wait for anything, seconds.
PATIENCE_S = 240
#: An engine starts for a minute on two idle cores.
ENGINE_PATIENCE_S = 900


#: Metric → its labels' values → figure.
Figures = dict[str, dict[tuple[str, ...], float]]


def find_free_ports(count: int) -> list[str]:
    """Ports of this machine that nobody listens on."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [str(server.getsockname()[1]) for server in held]


def read_metrics(port: str) -> Figures:
    """A program's served metrics; a metric without figures has an empty entry."""
    text = httpx2.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text
    found: Figures = {}
    for family in text_string_to_metric_families(text):
        served = family.name + ("_total" if family.type == "counter" else "")
        found[served] = {}
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


class Terminal:
    """Types commands at a localnet in a folder."""

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self.folder = root / "net"
        self._root = root
        self._stack = stack

    def launch(self, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
        """Start what executes a typed line."""
        return start_program(*arguments, text=True, **options)

    def run(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> Any:
        """A command to its end; its JSON document."""
        words = (*arguments, "--localnet", str(self.folder), "--json")
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with self.launch(*words, **pipes) as program:
            output, errors = program.communicate(timeout=PATIENCE_S)
        assert program.returncode in codes, errors
        return json.loads(output)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a program that runs until it is stopped, with its output in a file."""
        with (self._root / f"{arguments[0]}.log").open("a") as log:
            process = self.launch(*arguments, stdout=log, stderr=log)
        self._stack.callback(process.kill)
        return process

    def read_log(self, command: str) -> list[str]:
        """A program's output, by lines."""
        return (self._root / f"{command}.log").read_text().splitlines()

    def start_localnet(self) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        """The localnet, once it describes itself as running."""
        process = self.start("localnet", "--dir", str(self.folder), *self._ports())

        def look() -> Any:
            assert process.poll() is None, (self._root / "localnet.log").read_text()
            found = self.describe()
            return found if found.get("pids") == {"localnet": process.pid} else None

        return process, self.wait_for("the localnet", look)

    def _ports(self) -> tuple[str, ...]:
        return () if self.folder.exists() else ("--port", "0")

    def describe(self) -> dict[str, Any]:
        """localnet.json, empty before it is there."""
        file = self.folder / "localnet.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def look(self, role: str) -> dict[str, Any]:
        """A program's status, empty before it has written one."""
        file = self.folder / role / "status.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def list_confirmed(self) -> list[dict[str, Any]]:
        """Settlements whose weights are on chain."""
        rows = self.look("validator").get("settlements", [])
        return [row for row in rows if row["state"] == "confirmed" and row["weights"]]

    def wait_for(self, what: str, look: Callable[[], Any], patience_s: float | None = None) -> Any:
        """Wait until `look` finds something, and return that."""
        patience_s = patience_s or PATIENCE_S
        deadline = time.monotonic() + patience_s
        while not (found := look()):
            if time.monotonic() > deadline:
                logs = "\n".join(
                    f"== {log.name}\n" + "".join(log.read_text().splitlines(True)[-30:])
                    for log in self._root.glob("*.log")
                )
                pytest.fail(f"waited {patience_s} s for {what}\n{logs}")
            time.sleep(0.5)
        return found


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with ExitStack() as stack:
        root = stack.enter_context(TemporaryDirectory(prefix="assay-"))  # short: for a locator
        yield Terminal(Path(root), stack)


def make_wallet(terminal: Terminal, name: str) -> str:
    """Keys, money and a uid. The hotkey's address."""
    wallet = ("--wallet", name)
    made = terminal.run("wallet", "create", *wallet, "--no-password")
    assert terminal.run("faucet", "500", *wallet)["received_rao"] == 500 * 10**9
    assert terminal.run("register", *wallet, "--yes")["paid_rao"] > 0
    return str(made["hotkey"])


def find_announced(terminal: Terminal, address: str) -> SettlementRecord | None:
    """The settlement whose digest is in a validator's slot, from the store that the slot names."""
    described = terminal.describe()
    use_sdk_cache(terminal.folder.parent / "sdk")
    connection = Connection(ChainTarget((described["endpoint"],), deadline_s=60))
    try:
        state = terminal.folder.parent / "state"
        chain = SubtensorChain(connection, described["netuid"], state, poll_s=0)
        slot = chain.get_commitments(chain.get_head()).get(decode_ss58(address))
        chain.close()
    finally:
        connection.close()
    commitment = None if slot is None else parse_commitment(slot)
    if commitment is None:
        return None
    assert commitment.tag is Tag.RECORD
    name = make_settlement_record_name(address, commitment.number)
    record = decode_settlement_record((open_store(commitment.locator).root / name).read_bytes())
    assert record.digest == commitment.digest
    return record


def find_drafting(terminal: Terminal) -> list[str]:
    """Addresses of the miner's servers that draft."""
    engines = terminal.look("miner").get("engines", [])
    return [engine["url"] for engine in engines if engine["state"] == "drafting"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "drafting",
    [
        pytest.param((), id="own"),
        pytest.param(
            ("--engine", "auto", "--engine-python", ENGINE_PYTHON),
            id="engine",
            marks=pytest.mark.skipif(ENGINE_PYTHON is None, reason=NO_ENGINE),
        ),
    ],
)
def test_four_terminals_and_a_chain_that_is_killed(
    terminal: Terminal, drafting: tuple[str, ...]
) -> None:
    process, before = terminal.start_localnet()
    at = ("--localnet", str(terminal.folder))
    miner, validator = (make_wallet(terminal, name) for name in ("miner", "validator"))
    terminal.run("stake", "100", "--wallet", "validator", "--yes", "--any-price")
    for role, wallet in (("miner", "miner"), ("trainer", None)):
        given = () if wallet is None else ("--wallet", wallet)
        found = terminal.run("doctor", role, *given, codes=(0, 1))
        # a busy machine may be late by the clock; all else is well
        bad = {row["check"] for row in found if row["state"] == "fail"}
        assert bad <= {"clock"}, found
    ports = find_free_ports(3)
    programs = [
        terminal.start(*command, *at, "--threads", "1", "--log-format", "json", "--metrics", port)
        for command, port in zip(
            (
                ("mine", "--wallet", "miner", "--groups", "6", *drafting),
                ("validate", "--wallet", "validator"),
                ("train",),
            ),
            ports,
            strict=True,
        )
    ]
    first = terminal.wait_for("confirmed weights", terminal.list_confirmed)

    if drafting:
        terminal.wait_for(
            "a server that drafts", lambda: find_drafting(terminal), ENGINE_PATIENCE_S
        )
    doors = list_doors(program.pid for program in (process, *programs))
    assert {int(port) for port in ports} < {door.port for door in doors}
    assert [door for door in doors if not door.is_private] == []

    process.send_signal(signal.SIGKILL)  # in the middle of whatever it does
    process.wait()
    time.sleep(3)  # the programs notice
    process, after = terminal.start_localnet()
    for name in ("genesis_hash", "netuid", "endpoint", "beacon", "store", "parameters"):
        assert after[name] == before[name], name
    newest = max(row["epoch"] for row in first)
    terminal.wait_for(
        "weights of an epoch after it",
        lambda: [row for row in terminal.list_confirmed() if row["epoch"] > newest + 25],
    )

    def find_row() -> Any:
        rows = {row["hotkey"]: row for row in terminal.run("metagraph")["neurons"]}
        return rows if rows[miner]["incentive"] else None

    rows = terminal.wait_for("incentive", find_row)
    assert rows[validator]["permit"]
    assert rows[validator]["dividends"] > 0
    terminal.wait_for("a step", lambda: terminal.look("trainer").get("steps"))
    for role in ("miner", "validator", "trainer"):
        check_status(terminal.look(role))
    check_metrics(*(read_metrics(port) for port in ports))
    windows = [window for window in terminal.look("miner")["windows"] if window["verdict"]]
    judged = {window["verdict"]["reason"] for window in windows}
    assert "ACCEPTED" in judged
    assert judged <= {"ACCEPTED", "NO_COMMITMENT"}  # while nobody made blocks
    epochs = [row["epoch"] for row in terminal.list_confirmed()]
    assert len(epochs) == len(set(epochs))

    terminal.wait_for("a record that the chain binds", lambda: find_announced(terminal, validator))
    assert [program.poll() for program in programs] == [None] * 3
    for number, program in zip(
        (signal.SIGINT, signal.SIGTERM, signal.SIGTERM, signal.SIGINT),
        (*programs, process),
        strict=True,
    ):
        program.send_signal(number)
        assert program.wait(60) == 0
    assert terminal.describe()["pids"] == {}
    for engine in terminal.look("miner")["engines"]:
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{engine['url']}/health", timeout=60)
    for name, hotkey in (("mine", miner), ("validate", validator), ("train", None)):
        check_lines(terminal.read_log(name), hotkey)


def check_metrics(mining: Figures, validating: Figures, training: Figures) -> None:
    """Every program serves what docs/metrics.md says, and nothing else; and it is so."""
    for program, found in zip(OWN, (mining, validating, training), strict=True):
        own = {name for name in found if name.startswith("assay_")}
        assert own == {get_served_name(metric) for metric in (*COMMON, *OWN[program])}
        assert found["process_resident_memory_bytes"][()] > 0
        assert found["assay_window"][()] > 0
        assert found["assay_chain_head_age_seconds"][()] < PATIENCE_S
        assert sum(found["assay_phase"].values()) == 1
        assert sum(found["assay_beacon_won_total"].values()) > 0
        assert found["assay_steps_total"][()] > 0
        assert found["assay_log_lines_total"]["info",] > 0
    assert mining["assay_miner_tokens_total"][()] > mining["assay_miner_groups_total"][()] > 0
    assert mining["assay_store_written_bytes_total"][()] > 0
    assert mining["assay_miner_verdicts_total"]["ACCEPTED",] > 0
    assert validating["assay_validator_verdicts_total"]["ACCEPTED",] > 0
    assert validating["assay_validator_judged_tokens_total"][()] > 0
    assert validating["assay_validator_judging_seconds_total"][()] > 0
    assert validating["assay_validator_weights_confirmed_block"][()] > 0
    assert set(validating["assay_validator_weight"]) <= {(str(uid),) for uid in range(256)}
    assert training["assay_trainer_steps_total"][()] > 0
    assert 0 < training["assay_trainer_reward_mean"][()] <= 1


def check_lines(lines: list[str], hotkey: str | None) -> None:
    """Each is a JSON document that says where the chain was and whose program it is."""
    found = [json.loads(line) for line in lines]
    assert found
    for line in found:
        assert line.keys() >= {"at", "level", "event", "message", "window", "phase", "hotkey"}
        assert line["event"] in EVENTS
        if line["event"] != "loading":  # nothing has been opened yet, nor the wallet
            assert hotkey in (None, line["hotkey"])
    later = found[[line["event"] for line in found].index("joined") + 4 :]
    assert later
    assert all(isinstance(line["window"], int) and line["phase"] for line in later)


@pytest.mark.slow
def test_a_localnet_begins_in_a_folder_alone_and_says_what_to_type(terminal: Terminal) -> None:
    process, described = terminal.start_localnet()
    assert described["pids"] == {"localnet": process.pid}
    second = run_program("localnet", "--dir", terminal.folder)
    assert second.returncode == 2
    assert "another localnet runs" in second.stderr
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    said = (terminal.folder.parent / "localnet.log").read_text()
    assert "development simulator" in said
    commands = [line.split() for line in said.splitlines() if line.startswith("  assay ")]
    assert {words[1] for words in commands} >= {"wallet", "faucet", "register", "mine", "train"}
    for words in commands:  # every line is a command that there is, with options that it has
        options = [word for word in words if word.startswith("--")]
        named = words[1:3] if words[1] == "wallet" else words[1:2]
        help_text = run_command(*named, "--help", env={"COLUMNS": "200"}).stdout
        assert all(option in help_text for option in options), words
