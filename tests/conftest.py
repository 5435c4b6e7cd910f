"""For all tests: what waits for minutes begins first, and one demo is played for whoever looks."""

import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

# Before torch is loaded, and for the processes of tests too: models are small, and every processor
# has a worker of the test run already.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # noqa: TID251 - PyTorch reads it there

import pytest

from tests.nightly import mark_nightly, read_nightly

ASSAY = Path(sys.executable).with_name("assay")
#: Real programs on a chain whose blocks come by the clock: they wait more than they compute.
_WAITING = ("tests/integration/test_localnet.py", "tests/integration/chain/test_programs.py")

#: Demos that this process plays.
_players: list[subprocess.Popen[str]] = []


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: many tests wait for a process, a timeout or a block."""
    return len(os.sched_getaffinity(0)) + 1


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
    return _get_document(tmp_path_factory)


@pytest.fixture(scope="session", autouse=True)
def _play_ahead(request, tmp_path_factory):
    """Begins that demo with the first test, where any looks at it: nobody waits for it then."""
    if not any("played_document" in item.fixturenames for item in request.session.items):
        yield
        return
    ahead = threading.Thread(target=_get_document, args=(tmp_path_factory,))
    ahead.start()
    yield
    if request.session.shouldstop or request.session.shouldfail:
        for player in _players:
            player.kill()
    ahead.join()


def _get_document(tmp_path_factory):
    """What is said of the demo, which the first one who asks plays."""
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
        player = subprocess.Popen(
            [ASSAY, "demo", "--fast", "--seed", seed, "--out", out, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "ASSAY_DEMO__WINDOWS": "6", "ASSAY_DEMO__PROBLEMS": "1000"},  # noqa: TID251 - a child's
        )
        _players.append(player)
        try:
            stdout, stderr = player.communicate(timeout=500)
        finally:
            player.kill()
    assert player.returncode == 0, stderr
    summary = json.loads(stdout)
    return {"folder": str(out), "seed": seed, "summary": summary, "stderr": stderr}


@pytest.fixture
def short_folder():
    """A folder whose path fits a commitment."""
    with TemporaryDirectory(prefix="assay-") as folder:
        yield Path(folder) / "net"
