"""Miner and validator on hosts of their own, 80 ms and 2 % of all packets away from their chain.

The chain and the relay of its beacon run on a third host. Files lie in a folder that all three see.
"""

import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.commands import ASSAY
from tests.integration import test_localnet
from tests.integration.test_localnet import Terminal, make_wallet
from tests.integration.wires import Hosts, find_lack

CHAIN, MINER, VALIDATOR = "chain", "miner", "validator"
DELAY_S, LOSS = 0.080, 0.02
GROUPS, WINDOWS = 4, 4


@pytest.fixture
def hosts():
    lack = find_lack()
    if lack is not None:
        pytest.skip(f"hosts of their own on one machine: {lack}")
    hosts = Hosts((CHAIN, MINER, VALIDATOR), DELAY_S, LOSS)
    yield hosts
    hosts.close()


class FarTerminal(Terminal):
    """Types on several hosts; what is not said to run elsewhere runs beside the chain."""

    def __init__(self, root: Path, stack: ExitStack, hosts: Hosts) -> None:
        super().__init__(root, stack)
        self.hosts = hosts
        self.host = CHAIN

    def launch(self, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
        command = [*self.hosts.enter(self.host), ASSAY, *arguments]
        return subprocess.Popen(command, text=True, **options)

    def _ports(self) -> tuple[str, ...]:
        return (*super()._ports(), "--block-time", "3")


def time_connection(hosts: Hosts, host: str, port: int) -> float:
    """Seconds for a connection to the chain's host and an end of it, least of some."""
    program = f"import socket; socket.create_connection(('{hosts.addresses[CHAIN]}', {port}), 20)"
    command = [
        *hosts.enter(host),
        "python3",
        "-c",
        f"import time; b = time.perf_counter(); {program}; print(time.perf_counter() - b)",
    ]
    times = [
        float(
            subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        )
        for _ in range(3)
    ]
    return min(times)


@pytest.mark.nightly
def test_hosts_that_are_far_away_come_to_the_same(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every window that the miner took part in is accepted in full, none is abstained from, and the
    settlements are on chain: delay and loss change nothing."""
    monkeypatch.setattr(test_localnet, "PATIENCE_S", 900)
    with TemporaryDirectory(prefix="assay-") as root, ExitStack() as stack:
        terminal = FarTerminal(Path(root), stack, hosts)
        _, described = terminal.start_localnet()
        for url in (described["endpoint"], described["beacon"]["url"]):
            port = urlsplit(url).port
            assert port is not None
            hosts.forward(CHAIN, hosts.addresses[CHAIN], "127.0.0.1", port)
            for name in (MINER, VALIDATOR):
                hosts.forward(name, "127.0.0.1", hosts.addresses[CHAIN], port)
        assert time_connection(hosts, MINER, port) >= 2 * DELAY_S
        make_wallet(terminal, "miner")
        make_wallet(terminal, "validator")
        terminal.run("stake", "100", "--wallet", "validator", "--yes", "--any-price")
        at = ("--localnet", str(terminal.folder), "--threads", "1")
        terminal.host = VALIDATOR
        validator = terminal.start("validate", *at, "--wallet", "validator")
        terminal.host = MINER
        miner = terminal.start("mine", *at, "--wallet", "miner", "--groups", str(GROUPS))

        def find_paid() -> Any:
            rows = [r for r in terminal.look("miner").get("windows", []) if r["payment"]]
            return rows if len(rows) >= WINDOWS and terminal.list_confirmed() else None

        rows = terminal.wait_for("paid windows", find_paid)
        judged = {row["window"]: row for row in terminal.look("validator")["windows"]}
        assert [process.poll() for process in (miner, validator)] == [None, None]
        for process in (miner, validator):
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
    whole = [row for row in rows if row["groups"]["done"] == GROUPS]
    assert len(whole) >= WINDOWS - 1  # it may have begun in the middle of one
    assert {row["verdict"]["reason"] for row in whole} == {"ACCEPTED"}
    numbers = {row["window"] for row in whole} & judged.keys()
    assert numbers
    for number in numbers:
        reasons = [verdict["reason"] for verdict in judged[number]["verdicts"]]
        assert judged[number]["missing"] is None
        assert reasons.count("ACCEPTED") == 1
    assert hosts.lost > 0.3 * LOSS * hosts.carried > 0
