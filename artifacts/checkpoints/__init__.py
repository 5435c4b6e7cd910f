"""Checkpoints: model folders by digest, published, downloaded, opened.

Start with `CheckpointFolder.get` in `checkpoint_folder`: what is not here is downloaded by
`checkpoint_download`, first the small files, then the tensors, from several mirrors at once
(`tensor_download`), and opened by `assay.inference`. `checkpoint_publish` writes what others
download; `tensor_table` and `tensor_delta` are the formats. Whether a checkpoint may be used in a
window is asked by `find_checkpoint_fault`. Nothing here trains a model or names the next one. The
modules load PyTorch: none of them is imported here.
"""

__all__ = ["checkpoint_download", "checkpoint_folder", "checkpoint_publish", "tensor_delta"]
