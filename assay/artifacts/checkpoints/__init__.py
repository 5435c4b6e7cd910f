"""Checkpoints: model folders by digest, published, downloaded, opened.

Start with `CheckpointFolder.get` in `checkpoint_folder`. `checkpoint_download` downloads a missing
checkpoint: first the small files, then the tensors, from several mirrors at once
(`tensor_download`). `assay.inference` opens it. `checkpoint_publish` writes the files that others
download. `tensor_table` and `tensor_delta` are the formats. `find_checkpoint_fault` says whether a
window may use a checkpoint. Nothing here trains a model or names the next one. The modules load
PyTorch, so this package imports none of them.
"""

__all__ = ["checkpoint_download", "checkpoint_folder", "checkpoint_publish", "tensor_delta"]
