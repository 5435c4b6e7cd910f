"""A bundle of a subnet of SmolLM2-135M that the repository keeps, unpacked."""

import tarfile

import pytest

from tests.tree import ROOT


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """The bundle's folder, which nobody changes."""
    folder = tmp_path_factory.mktemp("kept") / "bundle"
    (packed,) = (ROOT / "tests" / "data" / "real_run").glob("run-*.tar.xz")
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    return folder
