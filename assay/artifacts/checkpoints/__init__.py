"""Checkpoints: model folders by digest, published, downloaded, opened.

Start with `CheckpointFolder.get` in `folder`. `download` downloads a missing
checkpoint: first the small files, then the tensors, from several mirrors at once
(`tensor_download`), or makes them from another checkpoint's (`adapter`). `assay.inference` opens
it. `publish` writes the files that others download. `tensor_table` and `tensor_delta` are the
formats. `find_checkpoint_fault` says whether a window may use a checkpoint. Nothing here trains a
model or names the next one. The modules load PyTorch, so this package imports none of them.
"""

__all__ = ["download", "folder", "publish", "tensor_delta"]
