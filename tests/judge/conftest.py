"""A bundle of a subnet of SmolLM2-135M that the repository keeps, unpacked."""

import tarfile

import pytest

from assay.judge import checkpoint
from tests.tree import ROOT


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """The bundle's folder, which nobody changes."""
    folder = tmp_path_factory.mktemp("kept") / "bundle"
    (packed,) = (ROOT / "tests" / "data" / "kept_run").glob("run-*.tar.xz")
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def _tokenizers():
    """A tokenizer's bytes and what its manifest says → the tokenizer."""
    return {}


@pytest.fixture(scope="module", autouse=True)
def _tokenizers_are_opened_once(_tokenizers):
    """Nearly every test opens the bundle's, which takes longer than all else of its check. Other
    bytes, and what cannot be opened, are tried each time."""
    open_text = checkpoint.open_text

    def open_once(folder, manifest, vocabulary):
        names = ("tokenizer.json", "tokenizer_config.json")
        if not all((folder / name).is_file() for name in names):
            return open_text(folder, manifest, vocabulary)
        key = *((folder / name).read_bytes() for name in names), manifest, vocabulary
        if key not in _tokenizers:
            _tokenizers[key] = open_text(folder, manifest, vocabulary)
        return _tokenizers[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "open_text", open_once)
        yield
