"""The prompts by which a miner tries its servers, where a trainer has made the set unreadable."""

from pathlib import Path

import pytest

from assay.artifacts.checkpoints.folder import measure_manifest
from assay.inference.checkpoint import load_checkpoint
from assay.inference.folder import PASSAGES_FILE, UnusableCheckpointError, digest_calibration_set
from assay.neurons.miner.engines.serving import make_canary
from tests.hostile_folders import change_manifest
from tests.small_genesis import make_small_genesis


@pytest.mark.parametrize("data", [b"", b"[]", b"[[[1],[999]]]", b"\xff" * 99])
def test_an_unreadable_calibration_set_stops_no_miner(tmp_path: Path, data: bytes) -> None:
    """Its digest is right and no judge reads it, so that its windows count."""
    make_small_genesis(tmp_path / "model")
    (tmp_path / "model" / PASSAGES_FILE).write_bytes(data)
    digest = digest_calibration_set(tmp_path / "model")
    named = change_manifest(tmp_path / "model", calibration_set=digest)
    checkpoint = load_checkpoint(tmp_path / "model", named)
    (request,) = make_canary(checkpoint)
    assert request.prompt == checkpoint.manifest.end_tokens[:1]
    with pytest.raises(UnusableCheckpointError, match="calibration set"):  # who would teach it
        measure_manifest(checkpoint.manifest, checkpoint.folder)
