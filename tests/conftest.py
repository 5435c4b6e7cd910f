"""For all tests: what waits for minutes begins first, and the others run beside it."""

import pytest

#: Real programs on a chain whose blocks come by the clock: they wait more than they compute.
_WAITING = ("tests/integration/test_localnet.py", "tests/integration/chain/test_programs.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps the order otherwise: neighbours share fixtures."""
    items.sort(key=lambda item: not item.nodeid.startswith(_WAITING))
