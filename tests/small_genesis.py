"""The shipped checkpoint with a smaller calibration set.

A checkpoint that learns from it measures its centre on all of that set. On the shipped one this
takes longer than to learn from a window of tests.
"""

import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from assay.inference.checkpoint import Checkpoint, load_checkpoint
from assay.inference.folder import MANIFEST_FILE, PASSAGES_FILE, read_passages, verify_manifest
from assay.inference.passages import digest_passages, encode_passages
from assay.network.files import write_file, write_json
from assay.protocol.encoding import to_json
from assay.training import GENESIS

_PASSAGES = 8
_SCRATCH = TemporaryDirectory(prefix="assay-")


@cache
def open_small_genesis() -> Checkpoint:
    """One for all networks of this process, read only."""
    make_small_genesis(Path(_SCRATCH.name) / "genesis")
    return load_checkpoint(Path(_SCRATCH.name) / "genesis")


def make_small_genesis(folder: Path, **changes: Any) -> bytes:
    """Write it to a new folder and return its digest. Its own centre stays the shipped one's.

    Args:
        changes: of the manifest.
    """
    shutil.copytree(GENESIS, folder)
    data = encode_passages(read_passages(folder)[:_PASSAGES])
    write_file(folder / PASSAGES_FILE, data)
    manifest = replace(verify_manifest(GENESIS), calibration_set=digest_passages(data), **changes)
    write_json(folder / MANIFEST_FILE, to_json(manifest))
    return manifest.digest
