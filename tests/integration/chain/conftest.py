"""The chains that the suite runs on.

The simulator and the development network are always among them. A real runtime is added if
`ASSAY_SUBTENSOR_DIR` names a folder with `devchain.mjs`, a genesis file and its node modules, or if
`ASSAY_CHAIN_ENDPOINT` names any node whose sudo is //Alice.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from assay.network.chain.connection import Connection
from assay.settings.loading import use_sdk_cache
from subtensor_devnet import Devnet, Seal
from tests.integration.chain.nets import Net, RuntimeNet, SimulatedNet, open_net, start_node
from tests.integration.chain.proxy import FaultyNode

# this suite's own switches, no program's
_ENDPOINT = os.environ.get("ASSAY_CHAIN_ENDPOINT")  # noqa: TID251
_FOLDER = os.environ.get("ASSAY_SUBTENSOR_DIR")  # noqa: TID251
#: Milliseconds between blocks of a node that runs by the clock: the executor keeps that pace beside
#: programs.
BLOCK_MS = 1_000
#: Blocks come with every extrinsic: nobody waits for a clock.
_SLOT_S = 1.0
_NONE = (
    "no real runtime: set ASSAY_CHAIN_ENDPOINT to a node whose sudo is //Alice, such as "
    "ws://127.0.0.1:9944 of the official container opentensor/subtensor-localnet, or "
    "ASSAY_SUBTENSOR_DIR to a folder with devchain.mjs and its node modules"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The story that takes minutes begins first. Skips what needs a real runtime where there is
    none, with one line a file."""
    items.sort(key=lambda item: item.path.name != "test_programs.py")
    if _ENDPOINT or _FOLDER:
        return
    here = Path(__file__).parent
    for item in items:
        if not (isinstance(item, pytest.Function) and item.path.is_relative_to(here)):
            continue
        params = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if "runtime" in params or "runtime_endpoint" in item.fixturenames:
            item.add_marker(pytest.mark.skip(reason=_NONE))


@pytest.fixture(scope="session", autouse=True)
def sdk_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The SDK keeps metadata by genesis hash, and a test network's means nothing to anybody."""
    use_sdk_cache(tmp_path_factory.mktemp("sdk"))


@pytest.fixture(scope="session")
def devnet_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A development network."""
    folder = tmp_path_factory.mktemp("devnet")
    with Devnet(folder, block_time=_SLOT_S, seal=Seal.INSTANT) as devnet:
        yield devnet.endpoint


def start_runtime(block_ms: int = 0) -> AbstractContextManager[str]:
    """A node of a real runtime, started here where nobody runs one; see `start_node`."""
    return start_node(_ENDPOINT, Path(_FOLDER or ""), block_ms)


@pytest.fixture(scope="session")
def runtime_endpoint() -> Iterator[str]:
    """A node of a real runtime."""
    with start_runtime() as endpoint:
        yield endpoint


@pytest.fixture(params=["devnet", "runtime"])
def clocked(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A node whose blocks come by the clock, for programs that wait for nobody."""
    if request.param == "devnet":
        with Devnet(tmp_path / "devnet", block_time=BLOCK_MS / 1_000) as devnet:
            yield devnet.endpoint
    else:
        with start_runtime(BLOCK_MS) as own:
            yield own


@pytest.fixture(scope="session")
def devnet_subnet(
    devnet_endpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RuntimeNet]:
    """One subnet on the development network, shared."""
    net = open_net(devnet_endpoint, tmp_path_factory.mktemp("state"), deadline_s=0.25)
    yield net
    net.connection.close()


@pytest.fixture(scope="session")
def runtime_subnet(
    runtime_endpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RuntimeNet]:
    """One subnet on the real runtime, shared: a subnet takes a while to make."""
    net = open_net(runtime_endpoint, tmp_path_factory.mktemp("state"))
    yield net
    net.connection.close()


@pytest.fixture(params=["devnet", "runtime"])
def subnet(request: pytest.FixtureRequest) -> RuntimeNet:
    """The same case on both."""
    found: RuntimeNet = request.getfixturevalue(f"{request.param}_subnet")
    return found


@pytest.fixture(params=["devnet", "runtime"])
def endpoint(request: pytest.FixtureRequest) -> str:
    """A node of each, for subnets of one's own."""
    found: str = request.getfixturevalue(f"{request.param}_endpoint")
    return found


@pytest.fixture(params=["simulator", "devnet", "runtime"])
def net(request: pytest.FixtureRequest) -> Net:
    """The same case on all three."""
    if request.param == "simulator":
        return SimulatedNet()
    found: RuntimeNet = request.getfixturevalue(f"{request.param}_subnet")
    return found


@pytest.fixture
def faulty(subnet: RuntimeNet) -> Iterator[FaultyNode]:
    """A proxy before a node, for one test."""
    node = FaultyNode(subnet.endpoint)
    yield node
    node.close()


@pytest.fixture
def behind(subnet: RuntimeNet, faulty: FaultyNode) -> Iterator[Connection]:
    """A connection through the proxy: short deadlines, and patience enough for a busy machine."""
    connection = Connection(replace(subnet.make_target(faulty.endpoint), patience_s=5.0))
    yield connection
    connection.close()
