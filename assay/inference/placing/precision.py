"""Process-wide switches of torch that let a product round where the reference must not.

All of them are off wherever a reference computes: TF32 and bf16 in products of fp32 numbers, and
sums of bf16 or fp16 products in less than fp32. They are torch's and hold for the whole process.
Every loader of a model therefore turns them off, and a test checks them around every product.
"""

from typing import Any

import torch

_BACKENDS: Any = torch.backends  # only partly typed

_IEEE = "ieee"
#: Factors whose products matrix units may sum at once where the sum matters. They may truncate each
#: sum, toward zero, so errors add up: of 1,536 factors an H100's sums are 15 times as far off as
#: rounded ones, in pieces of 512 four times.
SUMMED = 512


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
