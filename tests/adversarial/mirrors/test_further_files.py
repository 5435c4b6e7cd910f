"""Files that a checkpoint's manifest names beside those of its model: fetched, checked, bounded."""

import json
import shutil
from dataclasses import replace
from hashlib import sha256

import pytest

from assay.artifacts.checkpoints.download import fetch_checkpoint
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.artifacts.checkpoints.tensor_table import TABLE_FILE
from assay.inference.folder import (
    MANIFEST_FILE,
    CheckpointError,
    UnusableCheckpointError,
    verify_manifest,
)
from assay.network.files import write_json
from assay.network.store.folder import FolderStore
from assay.protocol.encoding import to_json
from assay.protocol.manifest import FILES_BYTES_MAX, FurtherFile
from assay.training import GENESIS
from tests.adversarial.mirrors.lab import Mirror

NOTES = b"what the next problems are made of\n"


@pytest.fixture
def named(tmp_path):
    """A function: a checkpoint's folder whose manifest names these files."""

    def make(*files):
        folder = tmp_path / "named"
        shutil.copytree(GENESIS, folder)
        manifest = replace(verify_manifest(GENESIS), files=files)
        write_json(folder / MANIFEST_FILE, to_json(manifest))
        return folder, manifest

    return make


@pytest.fixture
def published(named, tmp_path):
    folder, manifest = named(FurtherFile("pool.txt", sha256(NOTES).digest(), len(NOTES)))
    (folder / "files").mkdir()
    (folder / "files" / "pool.txt").write_bytes(NOTES)
    store = FolderStore(tmp_path / "store")
    publish_checkpoint(store, folder, manifest.digest)
    return store, manifest


def test_it_comes_with_the_checkpoint_and_nothing_else_does(published, tmp_path):
    store, manifest = published
    stray = tmp_path / "here" / f".fetch-{manifest.digest.hex()}" / "files" / "stray"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"of an attempt before")
    folder = fetch_checkpoint([store], manifest.digest, tmp_path / "here")
    assert [path.name for path in (folder / "files").iterdir()] == ["pool.txt"]
    assert (folder / "files" / "pool.txt").read_bytes() == NOTES


def test_other_bytes_are_not_taken(published, tmp_path):
    store, manifest = published
    name = f"checkpoints/{manifest.digest.hex()}/files/pool.txt"
    (tmp_path / "store" / name).write_bytes(NOTES.upper())
    with pytest.raises(CheckpointError, match=r"pool\.txt"):
        fetch_checkpoint([store], manifest.digest, tmp_path / "here")


@pytest.mark.parametrize(
    "name", ["../../escaped", "/etc/escaped", "a/b", ".hidden", "UPPER", "ends.", "a" * 65]
)
def test_a_name_that_leads_elsewhere_is_no_name(named, tmp_path, name):
    """Nobody can use it, and nothing of it is written."""
    folder, _ = named()
    document = json.loads((folder / MANIFEST_FILE).read_bytes())
    document["files"] = [{"name": name, "sha256": "00" * 32, "size": 1}]
    write_json(folder / MANIFEST_FILE, document)
    with pytest.raises(CheckpointError):
        verify_manifest(folder)
    assert not list(tmp_path.rglob("*escaped*"))


def test_a_checkpoint_with_more_bytes_than_all_may_have_is_unusable(named):
    half = FILES_BYTES_MAX // 2 + 1
    folder, _ = named(*(FurtherFile(name, bytes(32), half) for name in "ab"))
    with pytest.raises(UnusableCheckpointError, match="bytes"):
        verify_manifest(folder)


@pytest.mark.parametrize("damaged", [None, "files/pool.txt", "tokenizer.json"])
def test_files_that_the_parent_has_are_not_fetched(published, tmp_path, damaged):
    """Unless the copy here is damaged."""
    store, manifest = published
    root = tmp_path / "here"
    before = fetch_checkpoint([store], manifest.digest, root)
    child = replace(manifest, parent=manifest.digest, number=1)
    folder = tmp_path / "child"
    shutil.copytree(before, folder)
    write_json(folder / MANIFEST_FILE, to_json(child))
    publish_checkpoint(store, folder, child.digest)
    if damaged is not None:
        (before / damaged).write_bytes(b"{}")
    mirror = Mirror(store)
    after = fetch_checkpoint([mirror], child.digest, root)
    read = {name for name, _ in mirror.reads}
    assert (read == {MANIFEST_FILE, TABLE_FILE}) == (damaged is None)
    for path in ("tokenizer.json", "files/pool.txt", "config.json"):
        assert (after / path).read_bytes() == (folder / path).read_bytes()
