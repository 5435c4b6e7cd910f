"""An honest store of the genesis, and a mirror of it that a test may have lie."""

import pytest

from assay.artifacts import store_objects
from assay.artifacts.checkpoints import folder as checkpoint_folder
from assay.artifacts.checkpoints import tensor_download
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.network.store.base import ObjectStore
from assay.network.store.folder import open_folder
from assay.training import GENESIS
from tests.adversarial.mirrors.lab import DIGEST, Mirror


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> ObjectStore:
    store = open_folder(tmp_path_factory.mktemp("store"))
    publish_checkpoint(store, GENESIS, DIGEST)
    return store


@pytest.fixture
def mirror(store) -> Mirror:
    return Mirror(store)


@pytest.fixture
def small_chunks(monkeypatch):
    for module in (store_objects, tensor_download):
        monkeypatch.setattr(module, "CHUNK_BYTES", 1 << 14)


@pytest.fixture
def one_worker(monkeypatch):
    monkeypatch.setattr(tensor_download, "WORKERS", 1)


@pytest.fixture
def unmeasured(monkeypatch):
    """μ and scale are not what these tests are about, and take a while."""
    monkeypatch.setattr(checkpoint_folder, "measure_manifest", lambda manifest, *_, **__: manifest)
