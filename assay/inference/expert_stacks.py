"""The experts of a mixture: in files each has tensors of its own, in a model they are stacked.

A manifest, deltas and whatever is published have the files' names, as people's folders do. The
library stacks them when it loads a model. This module takes the stacks apart again.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from assay.inference.families import FAMILIES, Family


@dataclass(frozen=True, slots=True)
class ExpertNames:
    """Names in a family's files.

    Attributes:
        gate, up, down: of an expert's matrices.
        block: of the part of a layer that has router and experts; `mlp` in models.
    """

    gate: str
    up: str
    down: str
    block: str

    @property
    def pattern(self) -> str:
        """A regular expression of an expert's tensors: the layer, the expert, the matrix."""
        kinds = "|".join((self.gate, self.up, self.down))
        return rf"(.+)\.{self.block}\.experts\.([0-9]+)\.({kinds})\.weight"


def _read_names(family: Family) -> ExpertNames | None:
    """The names that a family's table gives its experts' matrices, in the order of gate, up and
    down. None where files have no tensor for each expert."""
    listed = [name for part in family.layer for name in part.shapes if ".experts.{e}." in name]
    if not listed:
        return None
    kinds = [name.removesuffix(".weight").rpartition(".")[2] for name in listed]
    gate, up, down = kinds
    return ExpertNames(gate, up, down, listed[0].partition(".experts.")[0])


#: By `model_type`. In the files of other families, experts are stacked as in their models.
NAMES: Mapping[str, ExpertNames] = MappingProxyType(
    {kind: names for kind, family in FAMILIES.items() if (names := _read_names(family)) is not None}
)


def split_experts(family: str, name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """A model's tensor by the names that files have: one for each expert's matrix, which are views
    of it, or itself."""
    names = NAMES.get(family)
    layer, found, rest = name.partition(".mlp.")
    if names is None or not found:
        yield name, tensor
        return
    block = f"{layer}.{names.block}"
    stacks = {"experts.gate_up_proj": (names.gate, names.up), "experts.down_proj": (names.down,)}
    if rest not in stacks:
        yield f"{block}.{rest}", tensor
        return
    for number, matrices in enumerate(tensor.unbind()):
        for kind, matrix in zip(stacks[rest], matrices.chunk(len(stacks[rest])), strict=True):
            yield f"{block}.experts.{number}.{kind}.weight", matrix


def stack_experts(family: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same by the names of a model, from those of files. Raises a RuntimeError where experts do
    not make a stack."""
    names = NAMES.get(family)
    if names is None:
        return dict(tensors)
    stacked: dict[str, Tensor] = {}
    parts: dict[tuple[str, str], dict[int, Tensor]] = {}
    for name, tensor in tensors.items():
        found = re.fullmatch(names.pattern, name)
        if found is None:
            stacked[name.replace(f".{names.block}.", ".mlp.")] = tensor
        else:
            parts.setdefault((found[1], found[3]), {})[int(found[2])] = tensor
    for (layer, kind), matrices in parts.items():
        if sorted(matrices) != list(range(len(matrices))):
            raise RuntimeError(f"{layer} lacks experts")
        if kind == names.up:
            continue
        ordered = [matrices[number] for number in range(len(matrices))]
        if kind == names.gate:
            ups = parts.get((layer, names.up), {})
            if len(ups) != len(ordered):
                raise RuntimeError(f"{layer} lacks matrices of its experts")
            ordered = [torch.cat((gate, ups[n])) for n, gate in enumerate(ordered)]
        stack = "gate_up_proj" if kind == names.gate else "down_proj"
        stacked[f"{layer}.mlp.experts.{stack}"] = torch.stack(ordered)
    return stacked
