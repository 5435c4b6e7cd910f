"""Which chains the suite runs on.

The simulator always. A real runtime where `ASSAY_SUBTENSOR_DIR` names a folder that holds
`devchain.mjs`, a genesis file and its node modules, or where `ASSAY_CHAIN_ENDPOINT` names any node
whose sudo is //Alice.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.network.chain import Connection, Target
from assay.neurons.config import use_sdk_cache

sys.path.insert(0, str(Path(__file__).parent))
from nets import Net, RuntimeNet, SimulatedNet, open_net, start_node
from proxy import FaultyNode

# this suite's own switches, no program's
_ENDPOINT = os.environ.get("ASSAY_CHAIN_ENDPOINT")  # noqa: TID251
_FOLDER = os.environ.get("ASSAY_SUBTENSOR_DIR")  # noqa: TID251
#: Between blocks of a node that runs by the clock: what the executor manages beside programs.
BLOCK_MS = 1_000
_NONE = (
    "no real runtime: set ASSAY_CHAIN_ENDPOINT to a node whose sudo is //Alice, such as "
    "ws://127.0.0.1:9944 of the official container opentensor/subtensor-localnet, or "
    "ASSAY_SUBTENSOR_DIR to a folder with devchain.mjs and its node modules"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what needs a real runtime where there is none, with one line a file."""
    if _ENDPOINT or _FOLDER:
        return
    here = Path(__file__).parent
    for item in items:
        if not (isinstance(item, pytest.Function) and item.path.is_relative_to(here)):
            continue
        simulated = hasattr(item, "callspec") and item.callspec.params.get("net") == "simulator"
        if {"net", "endpoint"} & set(item.fixturenames) and not simulated:
            item.add_marker(pytest.mark.skip(reason=_NONE))


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A node of a real runtime, started here where nobody runs one."""
    use_sdk_cache(tmp_path_factory.mktemp("sdk"))
    with start_node(_ENDPOINT, Path(_FOLDER or "")) as endpoint:
        yield endpoint


@pytest.fixture
def clocked(endpoint: str) -> Iterator[str]:
    """A node whose blocks come by the clock, for programs that wait for nobody."""
    if _ENDPOINT:
        yield endpoint
        return
    with start_node(None, Path(_FOLDER or ""), BLOCK_MS) as own:
        yield own


@pytest.fixture(scope="session")
def subnet(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeNet]:
    """One subnet on the real runtime, shared: a subnet takes a while to make."""
    net = open_net(endpoint, tmp_path_factory.mktemp("state"))
    yield net
    net.connection.close()


@pytest.fixture(params=["simulator", "runtime"])
def net(request: pytest.FixtureRequest) -> Net:
    """The same case on both."""
    if request.param == "simulator":
        return SimulatedNet()
    found: RuntimeNet = request.getfixturevalue("subnet")
    return found


@pytest.fixture
def faulty(endpoint: str) -> Iterator[FaultyNode]:
    """A proxy before the real node, for one test."""
    node = FaultyNode(endpoint)
    yield node
    node.close()


@pytest.fixture
def behind(faulty: FaultyNode) -> Iterator[Connection]:
    """An impatient connection through the proxy."""
    connection = Connection(Target((faulty.endpoint,), deadline_s=1.0, patience_s=4.0))
    yield connection
    connection.close()
