"""A development network's chain for every test, in a folder of its own."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.devnet.scale_codec import Codec

sys.path.insert(0, str(Path(__file__).parent))
from devlab import METADATA, Lab


@pytest.fixture(scope="session")
def codec() -> Codec:
    return Codec(METADATA)


@pytest.fixture
def lab(tmp_path: Path, codec: Codec) -> Iterator[Lab]:
    lab = Lab(tmp_path, codec)
    yield lab
    lab.database.close()


@pytest.fixture
def subnet(lab: Lab) -> Lab:
    lab.make_subnet()
    return lab
