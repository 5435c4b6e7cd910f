"""A network of protocol version 3 moves: its last checkpoint begins a network of version 4."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from assay.artifacts.discovery import fetch_parameters
from assay.artifacts.store_objects import UnavailableError, make_parameters_name
from assay.inference.checkpoint import load_checkpoint
from assay.inference.folder import CONFIG_FILE, MANIFEST_FILE, CheckpointError, digest_tensors
from assay.network.store.folder import open_folder
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.reason import Reason
from assay.rounds.in_force import get_checkpoint_digest
from assay.subnet.adoption.adopt import adopt_model
from assay.subnet.genesis_checkpoint import make_genesis
from assay.training import GENESIS
from tests.adversarial.conftest import make_world

#: What version 4 added to a manifest.
_NEW = ("course",)
_OLD_DIGEST = bytes(range(32))


def write_last_checkpoint(folder: Path) -> None:
    """A folder as a trainer of version 3 published it."""
    shutil.copytree(GENESIS, folder)
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    manifest = {name: value for name, value in manifest.items() if name not in _NEW}
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest | {"version": 3, "number": 1_234}))
    config = json.loads((folder / CONFIG_FILE).read_text())
    config.pop("layer_types")
    (folder / CONFIG_FILE).write_text(json.dumps(config))


def test_the_last_checkpoint_begins_the_new_network(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    last, first = tmp_path / "last", tmp_path / "first"
    write_last_checkpoint(last)
    with pytest.raises(CheckpointError, match=f"{MANIFEST_FILE} is not a manifest"):
        load_checkpoint(last)
    with pytest.raises(CheckpointError, match="run assay adopt"):
        make_genesis(last, problems=8)
    adopt_model(last, first, probes=False)
    assert not (first / MANIFEST_FILE).exists()
    manifest = make_genesis(first, problems=8)
    assert (manifest.number, manifest.parent) == (0, ZERO_DIGEST)
    assert digest_tensors(first) == digest_tensors(last)

    world = make_world(tmp_path, mining=("alice",), genesis=first)
    identity = world.parameters.identity
    assert (identity.version, world.parameters.start.predecessor) == (4, ZERO_DIGEST)
    old = encode_commitment(Commitment(Tag.CHECKPOINT, 1_234, 0, _OLD_DIGEST, "test:store"))
    world.chain.set_commitment(world.hotkeys["bob"], old)
    world.contexts[0] = world.open_context(0)
    verdict = world.submit("alice", 0, world.genuine("alice", 0))
    assert verdict.reason is Reason.ACCEPTED, verdict.detail
    # the slot of the old trainer's hotkey would be believed at once
    kept = replace(world.parameters, identity=replace(identity, trainer=world.hotkeys["bob"]))
    assert get_checkpoint_digest(world.chain, world.parameters, 1) == manifest.digest
    assert get_checkpoint_digest(world.chain, kept, 1) == _OLD_DIGEST


def test_parameters_of_another_version_name_it(tmp_path: Path) -> None:
    """Whatever fields it has."""
    store = open_folder(tmp_path)
    document: dict[str, Any] = {"identity": {"version": 3, "netuid": 1}, "work": {}}
    store.put(make_parameters_name(bytes(32)), json.dumps(document).encode())
    with pytest.raises(
        UnavailableError, match="has protocol version 3, and this program 4: install"
    ):
        fetch_parameters(store, bytes(32))
