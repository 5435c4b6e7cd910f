"""A miner on a subnet of its own, as the tests of neurons have it."""

from tests.neurons.conftest import genesis, make_subnet, models

__all__ = ["genesis", "make_subnet", "models"]
