"""Weights of few bits, as numbers again: block FP8 and MXFP4. All others are refused by name.

Only these two are the form in which makers publish a model. The others were made of one in bf16,
which is the one to adopt.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from assay.inference.folder import CheckpointError
from assay.protocol.encoding import Json
from assay.subnet.adoption.notes import Notes
from assay.subnet.adoption.weights import PlannedTensor

_CONFIGS = ("quantization_config", "compression_config")
_FP8_SCALE, _FP8_INPUT = ".weight_scale_inv", ".activation_scale"
_BLOCKS, _SCALES = "_blocks", "_scales"
#: The numbers of four bits, by their codes, and the zero of an exponent of MXFP4.
_FP4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)
_EXPONENT_ZERO = 127


def dequantise(
    config: dict[str, Json], planned: Mapping[str, PlannedTensor], notes: Notes
) -> dict[str, PlannedTensor]:
    """The tensors as numbers. Removes the field of the config that says how they are stored.

    Raises:
        CheckpointError: they are stored in a way that is not read here, or a part is missing.
    """
    scheme = next((config.pop(name) for name in _CONFIGS if config.get(name)), None)
    if scheme is None:
        return dict(planned)
    method = scheme.get("quant_method") if isinstance(scheme, dict) else scheme
    ways: dict[Any, Callable[[Any, Mapping[str, PlannedTensor]], dict[str, PlannedTensor]]] = {
        "fp8": _read_fp8,
        "mxfp4": _read_mxfp4,
    }
    if not isinstance(scheme, dict) or not isinstance(method, str | None) or method not in ways:
        if (
            method is None
            and isinstance(scheme, dict)
            and any(k.startswith("load_in") for k in scheme)
        ):
            method = "bitsandbytes"
        raise CheckpointError(
            f"config.json: the weights are quantised with {str(method)[:60]}, which loses what "
            "training needs: adopt the model in bf16 that it was made from"
        )
    found = ways[method](scheme, planned)
    count = sum(found[name] is not planned.get(name) for name in found)
    notes.converted.append(f"{count} tensors from {method} to numbers")
    return found


def _read_fp8(
    scheme: Mapping[str, Json], planned: Mapping[str, PlannedTensor]
) -> dict[str, PlannedTensor]:
    """A matrix of FP8 has a scale for each block, or one for all of it."""
    block: Any = scheme.get("weight_block_size")
    if block is not None and not (
        isinstance(block, list)
        and len(block) == 2
        and all(type(size) is int and 0 < size <= 1 << 16 for size in block)
    ):
        raise CheckpointError("config.json: weight_block_size is not two sizes")
    found = {}
    for name, tensor in planned.items():
        if name.endswith((_FP8_SCALE, _FP8_INPUT)):
            continue
        if not tensor.dtype.startswith("F8"):
            found[name] = tensor
            continue
        scale = planned.get(f"{name.removesuffix('.weight')}{_FP8_SCALE}")
        if scale is None or not name.endswith(".weight"):
            raise CheckpointError(
                f"{name} is in fp8 and its {_FP8_SCALE[1:]} is missing: fetch the folder again"
            )
        found[name] = _scale_blocks(tensor, scale, block)
    return found


def _scale_blocks(
    tensor: PlannedTensor, scale: PlannedTensor, block: list[int] | None
) -> PlannedTensor:
    rows, columns = tensor.shape if len(tensor.shape) == 2 else (0, 0)
    high, wide = block or (rows, columns)
    expected = (-(-rows // max(high, 1)), -(-columns // max(wide, 1)))
    if not rows or (scale.shape != expected if block else scale.numbers != 1):
        raise CheckpointError(
            f"{scale.name} has the shape {list(scale.shape)}, not that of the blocks of "
            f"{tensor.name}"
        )

    def read(start: int, stop: int) -> Tensor:
        scales = scale.read_all().float().reshape(expected)
        each = scales[torch.arange(start, stop) // high].repeat_interleave(wide, dim=1)
        return tensor.read(start, stop).float() * each[:, :columns]

    return replace(tensor, dtype="F32", read=read)


def _read_mxfp4(
    scheme: Mapping[str, Json], planned: Mapping[str, PlannedTensor]
) -> dict[str, PlannedTensor]:
    """Stacked experts: 32 numbers of four bits share a power of two. They are stored row by row of
    the product, and models have them column by column."""
    found = {}
    for name, tensor in planned.items():
        if name.endswith(_SCALES):
            continue
        if not name.endswith(_BLOCKS):
            found[name] = tensor
            continue
        whole = name.removesuffix(_BLOCKS)
        scales = planned.get(whole + _SCALES)
        if scales is None or len(tensor.shape) != 4 or scales.shape != tensor.shape[:3]:
            raise CheckpointError(f"{name} has no {whole}{_SCALES} of its shape: fetch it again")
        experts, rows, groups, half = tensor.shape
        shape = (experts, groups * half * 2, rows)
        found[whole] = PlannedTensor(whole, shape, "F32", _join(tensor, scales))
    return found


def _join(blocks: PlannedTensor, scales: PlannedTensor) -> Callable[[int, int], Tensor]:
    def read(start: int, stop: int) -> Tensor:
        codes = blocks.read(start, stop).to(torch.int64)
        numbers = torch.tensor(_FP4)
        pairs = torch.stack((numbers[codes & 15], numbers[codes >> 4]), dim=-1)
        powers = scales.read(start, stop).to(torch.int32) - _EXPONENT_ZERO
        made = torch.ldexp(pairs.flatten(-2), powers[..., None])
        return made.flatten(-2).transpose(1, 2)

    return read
