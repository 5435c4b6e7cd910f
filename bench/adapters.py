"""A LoRA checkpoint as its adapter, in the shape of SmolLM2-135M: bytes and time against the whole
checkpoint.

Weights and factors are random, the tokenizer is the shipped model's. Rank 8 beside all linear
layers. Seconds are those of one processor: to make all tensors and hash them, and to read a whole
checkpoint from this machine's disk and hash it.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from time import thread_time

import torch
from figures import Figure, report
from safetensors.torch import save_file
from torch import Tensor

from assay.artifacts.checkpoints.adapter import (
    ADAPTER_PATH,
    make_adapter,
    make_tensors,
    name_adapter,
    read_adapter,
)
from assay.artifacts.checkpoints.download import fetch_checkpoint
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.inference.folder import (
    MANIFEST_FILE,
    MODEL_FILE,
    digest_structure,
    digest_tensors,
    verify_manifest,
)
from assay.inference.low_rank import merge, round_factors
from assay.network.store.base import ObjectSource
from assay.network.store.folder import FolderStore
from assay.protocol.encoding import to_json
from assay.protocol.manifest import Manifest, compute_tensor_root
from assay.training import GENESIS

RANK = 8
VOCABULARY, HIDDEN, INNER, KEYS, LAYERS = 49_152, 576, 1_536, 192, 30
CONFIG = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
}
MATRICES = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (KEYS, HIDDEN),
    "self_attn.v_proj": (KEYS, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (INNER, HIDDEN),
    "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}
_GENERATOR = torch.Generator().manual_seed(0)


class CountingStore(FolderStore):
    """A store that counts the bytes that are read."""

    read = 0

    def open(self, name: str) -> ObjectSource:
        return CountingSource(self, super().open(name))


class CountingSource:
    def __init__(self, counting: CountingStore, source: ObjectSource) -> None:
        self.counting, self.source = counting, source

    def size(self) -> int | None:
        return self.source.size()

    def read(self, start: int, end: int) -> bytes | None:
        data = self.source.read(start, end)
        self.counting.read += len(data or b"")
        return data


def draw(*shape: int) -> Tensor:
    return 0.02 * torch.randn(shape, generator=_GENERATOR)


def draw_weights() -> dict[str, Tensor]:
    shapes = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN), "model.norm.weight": (HIDDEN,)}
    for number in range(LAYERS):
        layer = f"model.layers.{number}."
        shapes |= {f"{layer}{name}.weight": shape for name, shape in MATRICES.items()}
        shapes |= {f"{layer}{n}_layernorm.weight": (HIDDEN,) for n in ("input", "post_attention")}
    return {name: draw(*shape).bfloat16() for name, shape in shapes.items()}


def write_folder(
    models: Path, weights: Mapping[str, Tensor], parent: Manifest | None, adapter: bytes | None
) -> Manifest:
    """A model folder by its digest."""
    folder = models / "new"
    shutil.copytree(GENESIS, folder)
    config = json.loads((folder / "config.json").read_bytes()) | CONFIG
    config.pop("layer_types", None)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(dict(weights), folder / MODEL_FILE, metadata={"format": "pt"})
    if adapter is not None:
        (folder / ADAPTER_PATH).parent.mkdir()
        (folder / ADAPTER_PATH).write_bytes(adapter)
    manifest = replace(
        verify_manifest(GENESIS),
        structure=digest_structure(folder),
        tensors=compute_tensor_root(digest_tensors(folder)),
        files=name_adapter((), adapter),
        number=0 if parent is None else parent.number + 1,
        parent=bytes(32) if parent is None else parent.digest,
    )
    (folder / MANIFEST_FILE).write_text(json.dumps(to_json(manifest)))
    folder.rename(models / manifest.digest.hex())
    return manifest


def measure(root: Path) -> list[Figure]:
    models, counting = root / "models", CountingStore(root / "store")
    weights = draw_weights()
    base = parent = write_folder(models, weights, None, None)
    manifests = [base]
    for _ in range(3):
        factors = {
            name: round_factors(draw(len(weight), RANK), draw(RANK, weight.shape[1]))
            for name, weight in weights.items()
            if "proj" in name
        }
        made = {n: merge(w, factors[n]) if n in factors else w for n, w in weights.items()}
        parent = write_folder(models, made, parent, make_adapter(base.digest, factors))
        manifests.append(parent)
    for manifest in manifests:
        publish_checkpoint(counting, models / manifest.digest.hex(), manifest.digest)
    folder = models / parent.digest.hex()
    tensors = sum(2 * weight.numel() for weight in weights.values())
    counting.read = 0
    fetch_checkpoint([counting], manifests[-2].digest, root / "miner")
    first, counting.read = counting.read, 0
    fetch_checkpoint([counting], parent.digest, root / "miner")
    assert (root / "miner" / folder.name / MODEL_FILE).read_bytes() == (
        folder / MODEL_FILE
    ).read_bytes()
    adapter, listed = read_adapter(folder, parent), digest_tensors(folder)
    assert adapter is not None
    torch.set_num_threads(1)  # whose seconds are counted
    began = thread_time()
    assert len(make_tensors(adapter, models / base.digest.hex(), listed)) == len(listed)
    making = thread_time() - began
    began = thread_time()
    sha256((folder / MODEL_FILE).read_bytes()).digest()
    hashing = thread_time() - began
    stored = (folder / ADAPTER_PATH).stat().st_size
    beside, share = ("the tensors", tensors / 1e6), 0.02
    return [
        Figure("adapter of rank 8", stored / 1e6, "MB", *beside, ratio_bound=share),
        Figure("fetched after the parent", counting.read / 1e6, "MB", *beside, ratio_bound=share),
        Figure("fetched into an empty folder", first / 1e6, "MB", *beside),
        Figure("make all tensors, one core", making, "s", "read and hash them", hashing),
    ]


def main() -> None:
    with TemporaryDirectory(prefix="assay-") as scratch:
        figures = measure(Path(scratch))
    report("LoRA checkpoints", figures, 1)


if __name__ == "__main__":
    main()
