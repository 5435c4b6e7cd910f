"""Which of the switches that `assay.inference.placing.precision` turns off are on."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

_BACKENDS: Any = torch.backends  # only partly typed

#: Of fp32 products and convolutions, by the library that computes them.
_PRECISIONS: dict[str, Callable[[], str]] = {
    "cuda.matmul": lambda: _BACKENDS.cuda.matmul.fp32_precision,
    "cudnn.rnn": lambda: _BACKENDS.cudnn.rnn.fp32_precision,
    "cudnn.conv": lambda: _BACKENDS.cudnn.conv.fp32_precision,
    "mkldnn.matmul": lambda: _BACKENDS.mkldnn.matmul.fp32_precision,
    "mkldnn.conv": lambda: _BACKENDS.mkldnn.conv.fp32_precision,
}
#: Of sums of narrower products.
_REDUCTIONS: dict[str, Callable[[], bool]] = {
    "bf16 reductions": lambda: (
        _BACKENDS.cuda.matmul.allow_bf16_reduced_precision_reduction is not False
    ),
    "fp16 reductions": lambda: (
        _BACKENDS.cuda.matmul.allow_fp16_reduced_precision_reduction is not False
    ),
    "fp16 accumulation": lambda: _BACKENDS.cuda.matmul.allow_fp16_accumulation,
    "reductions of attention": _BACKENDS.cuda.fp16_bf16_reduction_math_sdp_allowed,
}


def iterate_rounding() -> Iterator[str]:
    """Names of the switches that are on, for people."""
    for name, get_precision in _PRECISIONS.items():
        if (precision := get_precision()) != "ieee":
            yield f"{name} computes in {precision}"
    for name, is_on in _REDUCTIONS.items():
        if is_on():
            yield f"{name} are allowed"
