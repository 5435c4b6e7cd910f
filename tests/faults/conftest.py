"""A node of a development chain with a subnet on it, and proxies that end with their test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from assay.settings.loading import use_sdk_cache
from subtensor_devnet import Devnet, Seal
from tests.faults.connections import Twins, open_twins
from tests.faults.proxy import FaultProxy
from tests.integration.chain.nets import RuntimeNet, open_net

Before = Callable[[str], FaultProxy]


@pytest.fixture(scope="session")
def subnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeNet]:
    """A subnet with three members, one of whom has committed to something."""
    use_sdk_cache(tmp_path_factory.mktemp("sdk"))
    with Devnet(tmp_path_factory.mktemp("devnet"), block_time=1.0, seal=Seal.INSTANT) as devnet:
        net = open_net(devnet.endpoint, tmp_path_factory.mktemp("state"))
        hotkeys = net.register(3)
        net.chain.set_commitment(hotkeys[0], b"committed")
        net.pass_blocks(2)
        yield net
        net.connection.close()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def before(stack: ExitStack) -> Before:
    """Puts a proxy before a service."""
    return lambda upstream: stack.enter_context(closing(FaultProxy(upstream)))


@pytest.fixture
def twins(tmp_path: Path) -> Iterator[Twins]:
    """Two nodes of one chain, whose newest final block is of now."""
    with open_twins(tmp_path / "twins") as twins:
        yield twins


@pytest.fixture
def old_twins(tmp_path: Path) -> Iterator[Twins]:
    """The same, an hour behind the clock."""
    with open_twins(tmp_path / "twins", age_s=3_600.0) as twins:
        yield twins
