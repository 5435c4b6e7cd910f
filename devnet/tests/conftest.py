"""A development network's chain for every test, in a folder of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devlab import METADATA, Lab
from subtensor_devnet.scale_codec import ScaleCodec


@pytest.fixture(scope="session")
def codec() -> ScaleCodec:
    return ScaleCodec(METADATA)


@pytest.fixture
def lab(tmp_path: Path, codec: ScaleCodec) -> Iterator[Lab]:
    lab = Lab(tmp_path, codec)
    yield lab
    lab.database.close()


@pytest.fixture
def subnet(lab: Lab) -> Lab:
    lab.make_subnet()
    return lab
