"""Ramped routers: the vectors, the law that they are continuous, and a family's own choice where
the choice is clear."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.inference.routing import RouterRule, compute_factors, compute_weights
from assay.protocol.parameters import EXPERT_BITS, FRACTION_BITS

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "routers.json").read_text())
RAMP = 1 << 15


def read_scaled(numbers: list[int]) -> torch.Tensor:
    return torch.tensor([numbers], dtype=torch.float64).div(1 << FRACTION_BITS).float()


@pytest.mark.parametrize("case", VECTOR["cases"], ids=lambda c: f"{c['about']} {c['normalised']}")
def test_weights_are_those_of_the_vectors(case: dict[str, Any]) -> None:
    rule = RouterRule(
        case["chosen"], case["weights_by"] == "sigmoid", case["normalised"], case["scaling"]
    )
    biases = read_scaled(case["biases"])[0] if rule.sigmoid else None
    weights = compute_weights(read_scaled(case["logits"]), biases, rule, VECTOR["router_ramp"])[0]
    assert weights.nonzero()[:, 0].tolist() == case["taking_part"]
    torch.testing.assert_close(
        weights, torch.tensor(case["weights"]), rtol=0, atol=VECTOR["tolerance"]
    )


def test_the_number_of_experts_is_that_of_the_vectors() -> None:
    counts = [len(case["taking_part"]) for case in VECTOR["cases"]]
    assert VECTOR["experts"] == math.ceil(sum(counts) / len(counts) * (1 << EXPERT_BITS))


@given(
    st.lists(st.floats(-8, 8, width=32), min_size=3, max_size=12),
    st.integers(1, 11),
    st.floats(0, 0.01),
    st.integers(0, 2**32 - 1),
)
def test_factors_move_no_faster_than_their_ramp(
    scores: list[float], chosen: int, most: float, seed: int
) -> None:
    """Scores that differ by at most δ move a factor by at most δ/ε, whichever experts are near."""
    chosen = min(chosen, len(scores) - 1)
    one = torch.tensor([scores])
    noise = torch.rand(one.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    other = one + noise * most
    moved = compute_factors(one, chosen, RAMP) - compute_factors(other, chosen, RAMP)
    epsilon = RAMP / (1 << FRACTION_BITS)
    rounding = 8 * 2**-23 / epsilon
    assert float(moved.abs().max()) <= float((one - other).abs().max()) / epsilon + rounding


@given(st.lists(st.integers(-50, 50), min_size=3, max_size=12, unique=True), st.integers(1, 11))
def test_a_clear_choice_is_the_choice_of_the_largest(scores: list[int], chosen: int) -> None:
    chosen = min(chosen, len(scores) - 1)
    factors = compute_factors(torch.tensor([scores]).float(), chosen, RAMP)[0]
    largest = set(sorted(scores)[-chosen:])
    assert factors.tolist() == [float(score in largest) for score in scores]


def test_sigmoids_that_are_all_0_make_weights_of_0() -> None:
    rule, logits = RouterRule(chosen=2, sigmoid=True), torch.full((1, 4), -120.0)
    assert compute_weights(logits, None, rule, 1 << 15).tolist() == [[0.0] * 4]
