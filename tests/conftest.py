"""For all tests: what waits for minutes begins first, and one demo is played for whoever looks."""

import fcntl
import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

#: Real programs on a chain whose blocks come by the clock: they wait more than they compute.
_WAITING = ("tests/integration/test_localnet.py", "tests/integration/chain/test_programs.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps the order otherwise: neighbours share fixtures."""
    items.sort(key=lambda item: not item.nodeid.startswith(_WAITING))


@pytest.fixture(scope="session")
def played(tmp_path_factory):
    """One fast demo of six windows, in a folder with a space in its name, beside a chain: its
    folder, its summary, its standard error. All processes of a test run share it; read only."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # noqa: TID251 - which process of a test run this is
        shared = shared.parent
    folder = shared / "demo"
    folder.mkdir(exist_ok=True)
    said = folder / "said.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            _play(folder / "a run", said)
        document = json.loads(said.read_text())
    return folder / "a run", json.loads(document["stdout"]), document["stderr"]


def _play(out, said):
    with socket.socket() as usual:
        with suppress(OSError):  # somebody else's chain serves as well
            usual.bind(("127.0.0.1", 9_944))
        done = subprocess.run(
            [Path(sys.executable).with_name("assay"), "demo", "--fast", "--out", out, "--json"],
            capture_output=True,
            text=True,
            timeout=500,
            env={**os.environ, "ASSAY_DEMO__WINDOWS": "6", "ASSAY_DEMO__PROBLEMS": "1000"},  # noqa: TID251 - a child's
        )
    assert done.returncode == 0, done.stderr
    said.write_text(json.dumps({"stdout": done.stdout, "stderr": done.stderr}))


@pytest.fixture
def short_folder():
    """A folder whose path fits a commitment."""
    with TemporaryDirectory(prefix="assay-") as folder:
        yield Path(folder) / "net"
