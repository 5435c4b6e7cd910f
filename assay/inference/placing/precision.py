"""Process-wide switches of torch that let a product round where the reference must not.

All of them are off wherever a reference computes: TF32 and bf16 in products of fp32 numbers, and
sums of bf16 or fp16 products in less than fp32. They are torch's and hold for the whole process.
Every loader of a model therefore turns them off, and a test checks them around every product.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch

_BACKENDS: Any = torch.backends  # only partly typed

_IEEE = "ieee"
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


def require_exact_products() -> None:
    """Turn all of them off. Every loader of a model calls this before the first product."""
    torch.set_float32_matmul_precision("highest")
    _BACKENDS.fp32_precision = _IEEE
    # each keeps its own value once it was set separately
    _BACKENDS.cudnn.conv.fp32_precision = _BACKENDS.cudnn.rnn.fp32_precision = _IEEE
    _BACKENDS.mkldnn.conv.fp32_precision = _IEEE
    _BACKENDS.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    _BACKENDS.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    _BACKENDS.cuda.matmul.allow_fp16_accumulation = False
    _BACKENDS.cuda.allow_fp16_bf16_reduction_math_sdp(False)


def iterate_rounding() -> Iterator[str]:
    """Names of the switches that are on, for people."""
    for name, get_precision in _PRECISIONS.items():
        if (precision := get_precision()) != _IEEE:
            yield f"{name} computes in {precision}"
    for name, is_on in _REDUCTIONS.items():
        if is_on():
            yield f"{name} are allowed"
