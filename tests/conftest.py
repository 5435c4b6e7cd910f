"""For all tests: those that wait for minutes begin first, and all share one demo; those that look
at it come last."""

import gc
import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# Before torch is loaded, and for the processes of tests too: models are small, and every processor
# has a worker of the test run already.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # noqa: TID251 - PyTorch reads it there
# pyarrow's allocator starts a thread, and a process that forks programs may have none
os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"  # noqa: TID251 - the same

import hypothesis
import pytest
from execnet import gateway_io

from assay.subnet import measurements
from tests import preloading, second_implementation, shared_demo
from tests.absent import list_absent
from tests.nightly import mark_nightly, read_nightly
from tests.tree import ROOT

# no test asserts time on the wall; most examples are drawn at night
hypothesis.settings.register_profile("assay", deadline=None, max_examples=40)
hypothesis.settings.register_profile("nightly", deadline=None, max_examples=1_000)
hypothesis.settings.load_profile("assay")

_PLAYER = Path(shared_demo.__file__)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell's background: the programs of tests are to take Ctrl-C all the same
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: The name of this process in a test run; "" if it is the only one.
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")  # noqa: TID251 - xdist says it there
#: Real programs on a chain whose blocks come by the clock: they wait more than they compute.
_WAITING = ("tests/integration/test_localnet.py", "tests/integration/chain/test_programs.py")

_SIGNALS = signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP
_LIMITS = [number for name, number in sorted(vars(resource).items()) if name.startswith("RLIMIT_")]


def pytest_configure() -> None:
    """Tests of this checkout try its code: an environment that was made for another one has its
    `assay` instead, and a change here would pass or fail untried."""
    found = importlib.util.find_spec("assay.protocol")
    origin = found and found.origin
    if origin is None or not Path(origin).is_relative_to(ROOT):
        pytest.exit(f"assay is imported from {origin}, not from {ROOT}: `make setup` there", 4)


@pytest.fixture(autouse=True)
def _measure_anew(
    _leave_the_process_as_it_was: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No test recalls what another one, or this user's commands, have measured of a model."""
    monkeypatch.setattr(measurements, "FOLDER", tmp_path / ".measured")


@pytest.fixture(autouse=True)
def _leave_the_process_as_it_was() -> Iterator[None]:
    """What a program sets for its whole process, programs of later tests would inherit, and be no
    forks: variables and the folder are put back. A test may not leave limits, which cannot be
    raised again, nor another handler of a signal: the next broken connection would end all."""
    environment, folder = dict(os.environ), Path.cwd()  # noqa: TID251 - all that a child has
    before = _describe_process()
    yield
    after = _describe_process()
    for name in os.environ.keys() - environment.keys():  # noqa: TID251
        del os.environ[name]  # noqa: TID251
    os.environ.update(environment)  # noqa: TID251
    os.chdir(folder)
    for number, handler in before[0].items():
        if handler is not None:
            signal.signal(number, handler)
    assert after == before


def _describe_process() -> tuple[dict[signal.Signals, Any], list[tuple[int, int]]]:
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    return handlers, [resource.getrlimit(limit) for limit in _LIMITS]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: many tests wait for a process, a timeout or a block."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """All processes of the test run are forks of one. While it imports, on one processor, the
    demo begins on another; of some tests alone, nobody knows yet whether they look at it."""
    gateway_io.Popen2IOMaster = preloading.ForkedWorker  # type: ignore[misc]
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        shared = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined] # noqa: SLF001
        config.add_cleanup(_begin_demo(shared / "demo").terminate)


def _begin_demo(folder: Path) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    return subprocess.Popen([sys.executable, _PLAYER, folder], stdout=quiet, stderr=quiet)


def pytest_report_header() -> list[str]:
    """The groups that are skipped, and why."""
    return list(list_absent())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what docs/testing.md leaves to the night, and has what waits begin first and what looks
    at the demo last: it is played by then. Files keep their order otherwise, and tests theirs in a
    file: neighbours share fixtures."""
    mark_nightly(items, read_nightly())
    items.sort(key=lambda item: (_rank(item), item.path))


def _rank(item: pytest.Item) -> int:
    if item.nodeid.startswith(_WAITING):
        return 0
    return 1 + ("played_document" in getattr(item, "fixturenames", ()))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Each process of a test run begins with other folders. The first to import a file compiles it,
    which takes longer than all else of a collection, and the others find that."""
    report = yield
    if collector.path == Path(__file__).parent and _WORKER:
        share = len(report.result) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])  # noqa: TID251
        first = share * int(_WORKER.removeprefix("gw"))
        report.result[:] = report.result[first:] + report.result[:first]
    return report


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected lives as long as the process: it is never searched for
    garbage, which took a fifth of a collection, and is not copied by forks."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _nobody_waits_for_the_disk():
    """No test cuts the power, so what this process writes need not be on the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def _shared_folder(tmp_path_factory):
    """One for all processes of a test run."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if _WORKER else own


@pytest.fixture(scope="session")
def _demo_folder(_shared_folder):
    return _shared_folder / "demo"


@pytest.fixture(scope="session", autouse=True)
def _play_ahead(request, _demo_folder):
    """Begins the demo with the first test, where any looks at it: nobody waits for it then. Waits
    for the one that has begun already."""
    wanted = any("played_document" in item.fixturenames for item in request.session.items)
    if not wanted or _WORKER not in ("", "gw0"):
        yield
        return
    with _begin_demo(_demo_folder) as player:
        yield
        if request.session.shouldstop or request.session.shouldfail:
            player.terminate()


@pytest.fixture(scope="session")
def played_document(_demo_folder):
    """One fast demo of six windows, in a folder with a space in its name, beside a chain: `folder`,
    `seed`, `summary` and `stderr`. All processes of a test run share it; read only.

    Where all that an audit drew of cheap-model was the honest rollout by chance, as 1 window in 36
    has it and hence 1 demo in 6, a demo of another seed is played: five in a row are like that once
    in 1e4.
    """
    done = subprocess.run([sys.executable, _PLAYER, _demo_folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads((_demo_folder / shared_demo.SAID).read_text())


@pytest.fixture(scope="session")
def played(played_document):
    """The demo's folder, its summary, its standard error."""
    document = played_document
    return Path(document["folder"]), document["summary"], document["stderr"]


@pytest.fixture(scope="session")
def checked_vectors(_shared_folder):
    """What the second implementation says of all vectors, in one run for all processes."""
    if second_implementation.NODE is None:
        pytest.skip("node is not installed")
    return second_implementation.check_once(_shared_folder / "second")


@pytest.fixture
def short_folder():
    """A folder whose path fits a commitment."""
    with TemporaryDirectory(prefix="assay-") as folder:
        yield Path(folder) / "net"
