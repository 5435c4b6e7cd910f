"""Nothing rounds a product of the reference, in any implementation that is permitted."""

import numpy as np
import pytest
import torch

from assay.inference.implementations import PERMITTED, make_model
from assay.inference.placing.precision import require_exact_products
from assay.inference.reference import Reference
from tests.inference.products import RecordedProducts
from tests.inference.rounding import iterate_rounding


@pytest.fixture(autouse=True)
def _exact_afterwards():
    yield
    require_exact_products()


def record(implementation, checkpoint, requests, projection):
    """All products of measuring completions whose prompt is shared, and one whose is not."""
    request = requests[0]
    completions = [np.arange(5, 5 + n, dtype=np.uint32) for n in (60, 63, 70)]
    prompts = [request.prompt, request.prompt, requests[1].prompt]
    drawable = checkpoint.tokenizer.drawable
    with RecordedProducts(keep=True) as products:
        reference = Reference(make_model(checkpoint.model, implementation), drawable, 1_024)
        reference.measure(prompts, completions, request.seeds[:3], projection)
    return products.made


@pytest.mark.parametrize("implementation", PERMITTED)
def test_around_every_product_all_switches_are_off(
    implementation, checkpoint, requests, projection
):
    torch.set_float32_matmul_precision("medium")
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = True
    made = record(implementation, checkpoint, requests, projection)
    layers = checkpoint.model.config.num_hidden_layers
    attention = [call for call in made if "attention" in call.name or "matmul" in call.name]
    assert len(made) - len(attention) >= 7 * layers + 1
    assert len(attention) >= 3 * layers  # each of three completions by itself
    assert {name for call in made for name in call.rounding} == set()
    assert {dtype for call in made for dtype in call.operands} == {torch.float32}
    assert {call.result for call in made} == {torch.float32}


def test_split_products_multiply_bf16_numbers(checkpoint, requests, projection):
    """On a processor, too: three terms of every activation, each of them a bf16 number."""
    made = record("split3", checkpoint, requests, projection)
    wide = checkpoint.model.config.hidden_size
    products = [call for call in made if call.name in ("mm", "addmm_")]
    names = [call.name for call in products]
    assert names == ["mm", "addmm_", "addmm_"] * (len(names) // 3)
    for call in products:
        assert torch.equal(call.left, call.left.bfloat16().float())
    assert all(call.shapes[0][1] >= wide for call in products)
    others = {call.name for call in made} - {"mm", "addmm_"}
    assert others == {"_scaled_dot_product_flash_attention_for_cpu", "linear"}  # the sketch's


@pytest.mark.parametrize(
    ("name", "switch_on"),
    [
        ("cuda.matmul", lambda: torch.set_float32_matmul_precision("high")),
        ("mkldnn.matmul", lambda: torch.set_float32_matmul_precision("medium")),
        ("cudnn.conv", lambda: setattr(torch.backends.cudnn, "allow_tf32", True)),
        (
            "bf16 reductions",
            lambda: setattr(
                torch.backends.cuda.matmul, "allow_bf16_reduced_precision_reduction", True
            ),
        ),
        (
            "fp16 reductions",
            lambda: setattr(
                torch.backends.cuda.matmul, "allow_fp16_reduced_precision_reduction", True
            ),
        ),
        (
            "fp16 accumulation",
            lambda: setattr(torch.backends.cuda.matmul, "allow_fp16_accumulation", True),
        ),
        ("attention", lambda: torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)),
    ],
)
def test_each_switch_is_seen_and_turned_off(name, switch_on):
    require_exact_products()
    assert list(iterate_rounding()) == []
    switch_on()
    found = list(iterate_rounding())
    assert any(name in line for line in found)
    require_exact_products()
    assert list(iterate_rounding()) == []
