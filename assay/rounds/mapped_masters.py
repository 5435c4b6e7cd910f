"""Masters in a file, mapped into memory: of several children at once, no more is in memory than
what is being read."""

from collections.abc import Iterable
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from assay.network.files import replace_file


def write_mapped(path: Path, tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Write fp32 tensors one after another, and return them as parts of the file. What is written
    into them stays in memory. Raises OSError."""
    shapes = {}
    with replace_file(path, durable=False) as temporary, temporary.open("wb") as file:
        for name, tensor in tensors:
            shapes[name] = tuple(tensor.shape)
            file.write(tensor.contiguous().numpy().data)
    whole = torch.empty(0)
    if count := sum(map(prod, shapes.values())):
        whole = torch.from_file(str(path), shared=False, size=count, dtype=torch.float32)
    mapped, at = {}, 0
    for name, shape in shapes.items():
        mapped[name] = whole[at : at + prod(shape)].reshape(shape)
        at += prod(shape)
    return mapped
