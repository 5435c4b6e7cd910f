"""Model folders by digest: opened and verified once, published whole or not at all."""

import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from safetensors.torch import save_file

from assay.inference import Checkpoint, Reference, load_checkpoint, measure_centre
from assay.inference.checkpoint import load_model
from assay.inference.folder import (
    CALIBRATION_FILE,
    CONFIG_FILE,
    MANIFEST_FILE,
    PASSAGES_FILE,
    TOKENIZER_FILES,
    digest_tensors,
    read_passages,
)
from assay.neurons.files import write_json
from assay.protocol.encoding import to_json
from assay.protocol.manifest import Manifest, compute_tensor_root

MODEL_FILE = "model.safetensors"
#: Opened checkpoints kept in memory.
_KEPT = 4


class CheckpointFolder:
    """`root/<digest>/` for each checkpoint. Safe to use from several threads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._opened: OrderedDict[bytes, Checkpoint] = OrderedDict()
        self._lock = Lock()

    def get(self, digest: bytes) -> Checkpoint:
        """The checkpoint of a digest, verified when first opened.

        Raises:
            CheckpointError: the folder is not there or not what the digest says.
        """
        with self._lock:
            if digest not in self._opened:
                self._opened[digest] = load_checkpoint(self._root / digest.hex(), digest)
                while len(self._opened) > _KEPT:
                    self._opened.popitem(last=False)
            self._opened.move_to_end(digest)
            return self._opened[digest]

    def add(self, folder: Path, digest: bytes) -> None:
        """Copies a published folder here, unless it is here already."""
        target = self._root / digest.hex()
        if not target.exists():
            self._root.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=self._root, prefix=".new-"))
            shutil.copytree(folder, temporary, dirs_exist_ok=True)
            temporary.chmod(0o755)
            temporary.rename(target)

    def publish(
        self, parent: Checkpoint, weights: Mapping[str, torch.Tensor], step: bytes
    ) -> Manifest:
        """Writes a child of `parent` with new weights (bf16) and returns its manifest.

        μ and scale are measured again; rates, calibration set, levels and all else are the
        parent's.

        Args:
            step: digest of the step record.
        """
        temporary = Path(tempfile.mkdtemp(dir=self._root, prefix=".new-"))
        try:
            for name in (CONFIG_FILE, *TOKENIZER_FILES, CALIBRATION_FILE, PASSAGES_FILE):
                shutil.copyfile(parent.folder / name, temporary / name)
            save_file(dict(weights), temporary / MODEL_FILE, metadata={"format": "pt"})
            manifest = replace(
                parent.manifest,
                tensors=compute_tensor_root(digest_tensors(temporary)),
                parent=parent.digest,
                step=step,
                number=parent.manifest.number + 1,
            )
            manifest = measure_manifest(manifest, temporary)
            write_json(temporary / MANIFEST_FILE, to_json(manifest))
            temporary.chmod(0o755)
            target = self._root / manifest.digest.hex()
            if not target.exists():  # the same weights again have the same bytes and digest
                temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)  # renamed away if all went well
        return manifest


def measure_manifest(manifest: Manifest, folder: Path) -> Manifest:
    """The manifest with μ and scale measured on the weights in `folder`.

    Raises:
        UnusableCheckpointError: the weights are no model.
    """
    model = load_model(folder)
    drawable = np.ones(model.config.vocab_size, bool)  # states do not depend on it
    reference = Reference(model, drawable, temperature=1_024)
    centre, scale = measure_centre(reference, read_passages(folder))
    return replace(manifest, centre=centre, scale=scale)
