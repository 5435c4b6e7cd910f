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

from tests.nightly import mark_nightly, read_nightly

ASSAY = Path(sys.executable).with_name("assay")
#: Real programs on a chain whose blocks come by the clock: they wait more than they compute.
_WAITING = ("tests/integration/test_localnet.py", "tests/integration/chain/test_programs.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what docs/testing.md leaves to the night, and has what waits begin first. Keeps the
    order otherwise: neighbours share fixtures."""
    mark_nightly(items, read_nightly())
    items.sort(key=lambda item: not item.nodeid.startswith(_WAITING))


@pytest.fixture(scope="session")
def played_document(tmp_path_factory):
    """One fast demo of six windows, in a folder with a space in its name, beside a chain: `folder`,
    `seed`, `summary` and `stderr`. All processes of a test run share it; read only.

    Where no group that fake-groups copied was drawn in a window, as 1 draw in 708 has it and hence
    1 demo in 118, a demo of another seed is played: five in a row are like that once in 2e10.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # noqa: TID251 - which process of a test run this is
        shared = shared.parent
    folder = shared / "demo"
    folder.mkdir(exist_ok=True)
    said = folder / "said.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for seed in ("assay", *"1234"):
            if said.exists():
                break
            document = _play(folder / f"a run of {seed}", seed)
            if _is_cheat_accepted(document["summary"]):
                continue
            said.write_text(json.dumps(document))
        return json.loads(said.read_text())


@pytest.fixture(scope="session")
def played(played_document):
    """That demo's folder, its summary, its standard error."""
    document = played_document
    return Path(document["folder"]), document["summary"], document["stderr"]


def _is_cheat_accepted(summary):
    verdicts = [verdict for window in summary["windows"] for verdict in window["verdicts"]]
    return any(v["role"] == "cheat" and v["reason"] == "ACCEPTED" for v in verdicts)


def _play(out, seed):
    with socket.socket() as usual:
        with suppress(OSError):  # somebody else's chain serves as well
            usual.bind(("127.0.0.1", 9_944))
        done = subprocess.run(
            [ASSAY, "demo", "--fast", "--seed", seed, "--out", out, "--json"],
            capture_output=True,
            text=True,
            timeout=500,
            env={**os.environ, "ASSAY_DEMO__WINDOWS": "6", "ASSAY_DEMO__PROBLEMS": "1000"},  # noqa: TID251 - a child's
        )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    return {"folder": str(out), "seed": seed, "summary": summary, "stderr": done.stderr}


@pytest.fixture
def short_folder():
    """A folder whose path fits a commitment."""
    with TemporaryDirectory(prefix="assay-") as folder:
        yield Path(folder) / "net"
