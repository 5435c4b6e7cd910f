"""These run on anvil, a real EVM from npm, with subtensor's precompiles mocked."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.evm.anvil import BINARY, CONTRACTS, Anvil, Stage

_MISSING = "contracts are not built here: make contracts"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what needs anvil or a compiler where there is none."""
    if BINARY.exists() and (CONTRACTS / "out/Precompiles.sol").exists():
        return
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.skip(reason=_MISSING))


@pytest.fixture(scope="session")
def built() -> Iterator[Stage]:
    """One anvil for all, with everything on it."""
    anvil = Anvil()
    stage = Stage(anvil)
    yield stage
    stage.close()
    anvil.close()


@pytest.fixture
def stage(built: Stage) -> Iterator[Stage]:
    """See `Stage`: as it was built, whatever earlier tests did."""
    before = built.anvil.rpc("evm_snapshot")
    yield built
    built.anvil.rpc("evm_revert", before)
    built.anvil.go_on()
    built.anvil.rpc("anvil_dropAllTransactions")
