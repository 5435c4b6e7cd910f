"""Who may reach what listens: this machine alone, unless somebody asks for more.

What each command opens is looked at where it runs: those of `DOORS` here, and in the tests that
`LOOKED_AT` names.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.commands import start_program
from tests.integration.test_localnet import Terminal, find_free_ports
from tests.integration.wires import Hosts, find_lack
from tests.listening import Door, knock, list_doors
from tests.training.guarded_team import wait_for

ROOT = Path(__file__).parents[2]
#: An option with such a word says where something listens, or starts what may.
SIGNS = {"--host", "--port", "--metrics", "--processes", "--engine", "--cluster", "--worker"}
SIGNS |= {"--local-addr", "--open-to-network", "--listen", "--bind", "--serve", "--address"}
TEAM = "tests/training/test_team_doors.py"
LOCALNET = "tests/integration/test_localnet.py"
#: Command with such an option → where its sockets are looked at. A worker is a child with pipes,
#: and eval's engine is a server that somebody else has started.
LOOKED_AT = {
    "assay audit": "here",
    "assay eval": "here",
    "assay explorer": "here",
    "assay localnet": "here",
    "assay mine": LOCALNET,
    "assay train": LOCALNET,
    "assay train distill": TEAM,
    "assay train dpo": TEAM,
    "assay train warm-start": TEAM,
    "assay validate": LOCALNET,
}


def test_each_command_that_may_listen_is_looked_at() -> None:
    """A new one fails here until a test lists its sockets."""
    options: dict[str, str] = json.loads((ROOT / "tests/cli/options.json").read_text())
    marked = {
        command
        for command, words in options.items()
        if SIGNS & {part.rstrip("*!") for word in words.split() for part in word.split("/")}
    }
    assert marked == LOOKED_AT.keys()
    for file in {*LOOKED_AT.values()} - {"here"}:
        assert "list_doors(" in (ROOT / file).read_text()


def require_private(doors: list[Door]) -> None:
    assert [door for door in doors if not door.is_private] == []


@pytest.mark.slow
def test_a_network_for_development_and_its_explorer_are_for_this_machine() -> None:
    """Chain, beacon, store and pages; and the pages for others where that is asked for."""
    with ExitStack() as stack:
        root = stack.enter_context(TemporaryDirectory(prefix="assay-"))  # short: for a locator
        terminal = Terminal(Path(root), stack)
        localnet, _ = terminal.start_localnet()
        at = "--localnet", str(terminal.folder), "--port", "0"
        explorer = terminal.start("explorer", *at)
        (opened,) = terminal.wait_for("pages", lambda: list_doors([explorer.pid]))
        doors = list_doors([localnet.pid, explorer.pid])
        assert opened in doors
        assert len(doors) >= 3
        require_private(doors)
        asked = terminal.start("explorer", *at, "--host", "0.0.0.0")
        (wide,) = terminal.wait_for("pages", lambda: list_doors([asked.pid]))
        assert not wide.is_private


@pytest.mark.slow
def test_a_simulated_chain_alone_is_for_this_machine() -> None:
    (port,) = find_free_ports(1)
    command = [sys.executable, "-m", "subtensor_devnet", "--port", port]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as chain:
        try:
            assert chain.stdout is not None
            assert chain.stdout.readline()
            doors = list_doors([chain.pid])
        finally:
            chain.kill()
    assert {door.port for door in doors} == {int(port)}
    require_private(doors)


@pytest.mark.nightly
@pytest.mark.timeout(1_800)
def test_a_demo_is_for_this_machine(tmp_path: Path) -> None:
    """From its start to its end."""
    seen = set()
    out = tmp_path / "demo"
    with start_program(
        "demo", "--fast", "--windows", 6, "--out", out, stdout=subprocess.DEVNULL
    ) as demo:
        while demo.poll() is None:
            seen.update(list_doors([demo.pid]))
            time.sleep(0.5)
    assert demo.returncode in (0, 1)  # of six windows it promises nothing
    assert seen, "its chain: else this test looks at nothing"
    require_private(list(seen))


@contextmanager
def running(hosts: Hosts, *command: str, **options: Any) -> Iterator["subprocess.Popen[Any]"]:
    with subprocess.Popen([*hosts.enter("own"), *command], cwd=ROOT, **options) as process:
        try:
            yield process
        finally:
            process.terminate()


def scan(hosts: Hosts) -> list[int]:
    """The ports of the own host that another host reaches, of all that there are."""
    address = hosts.addresses["own"]
    code = (
        "import socket\n"
        "for port in range(1, 65536):\n"
        "    with socket.socket() as probe:\n"
        "        probe.settimeout(5)\n"
        f"        if not probe.connect_ex(({address!r}, port)):\n"
        "            print(port)\n"
    )
    command = [*hosts.enter("other"), sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
    return [int(port) for port in found.stdout.split()]


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    lack = find_lack()
    if lack is not None:
        pytest.skip(f"a scan from another host: {lack}")
    made = Hosts(("own", "other"), 0.0, 0.0)
    yield made
    made.close()


_TEAM = (
    "import sys; from assay.training.team_launch import run_team; "
    "sys.exit(run_team(2, ['-m', 'tests.training.guarded_team', sys.argv[1]]))"
)
_WIDE = "import socket, time; s = socket.create_server(('', 7777)); time.sleep(900)"


@pytest.mark.nightly
@pytest.mark.timeout(1_800)
def test_another_host_reaches_no_port_of_a_team(hosts: Hosts, tmp_path: Path) -> None:
    """It does reach a port that is open to all."""
    env = {"PYTHONPATH": str(ROOT), "PATH": "/usr/sbin:/usr/bin:/bin", "HOME": str(tmp_path)}
    with (
        running(hosts, sys.executable, "-c", _WIDE),
        running(hosts, sys.executable, "-c", _TEAM, str(tmp_path), env=env) as team,
    ):
        wait_for(tmp_path / "ready-0")
        assert list_doors([team.pid])
        assert scan(hosts) == [7_777]
        for step in range(2):
            (tmp_path / f"go-{step}").touch()
        assert team.wait(300) == 0
    assert not (tmp_path / "unpickled").exists()


def test_the_look_sees_what_is_open() -> None:
    """Each kind of door, or the other tests would see nothing."""
    code = (
        "import socket, sys\n"
        "doors = [socket.create_server(('127.0.0.1', 0)), socket.create_server(('', 0)),\n"
        "    socket.create_server(('::1', 0), family=socket.AF_INET6),\n"
        "    socket.create_server(('::', 0), family=socket.AF_INET6, dualstack_ipv6=True)]\n"
        "datagrams = socket.socket(type=socket.SOCK_DGRAM); datagrams.bind(('', 0))\n"
        "abstract = socket.socket(socket.AF_UNIX); abstract.bind('\\0assay-test'); "
        "abstract.listen()\n"
        "print('open', flush=True); sys.stdin.read()\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as program:
        assert program.stdout is not None
        program.stdout.readline()
        doors = list_doors([program.pid])
        assert any(knock("127.0.0.1", door.port, b"?") for door in doors if door.kind == "tcp")
        program.communicate()
    seen = sorted((door.kind, door.address, door.is_private) for door in doors)
    assert seen == [
        ("tcp", "0.0.0.0", False),
        ("tcp", "127.0.0.1", True),
        ("tcp6", "::", False),
        ("tcp6", "::1", True),
        ("udp", "0.0.0.0", False),
        ("unix", "@assay-test", False),
    ]
