"""Vectors of a mixture's routers: the experts of a token that take part, and their weights."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

Json = Any

#: ε in 2^-20: a 32nd.
_RAMP = 1 << 15
_ONE = 1 << 20
#: About, experts chosen, logits in 2^-20.
_SOFTMAX: list[tuple[str, int, list[int]]] = [
    ("a clear choice", 2, [3 * _ONE, -_ONE, 0, 2 * _ONE]),
    ("the lead is 2ε: the choice of k", 2, [0, 2 * _RAMP, 5 * _RAMP, -_ONE]),
    ("one unit less: four take part", 2, [0, 2 * _RAMP - 1, 5 * _RAMP, 0]),
    ("equal scores share two places", 3, [_ONE, 7, 7, 7, -_ONE]),
    ("one rival within the ramp", 1, [_RAMP // 3, 0, -_RAMP]),
    ("flat: everybody takes part", 2, [5, 5, 5, 5, 5, 5]),
    ("negative scores", 1, [-9 * _ONE, -9 * _ONE + _RAMP, -8 * _ONE]),
]
#: The same with biases of the choice alone, in 2^-20.
_SIGMOID: list[tuple[str, int, list[int], list[int]]] = [
    ("biases choose", 2, [_ONE, 0, -_ONE, 2 * _ONE], [0, _ONE // 2, 3 * _ONE, 0]),
    ("biases make a rival", 1, [0, 0, -_ONE], [_RAMP, 0, 0]),
]


def make_routers() -> Json:
    cases = [
        _describe(about, "softmax", normalised, chosen, logits, [0] * len(logits), Fraction(1))
        for about, chosen, logits in _SOFTMAX
        for normalised in (True, False)
    ]
    cases += [
        _describe(about, "sigmoid", normalised, chosen, logits, biases, Fraction(5, 2))
        for about, chosen, logits, biases in _SIGMOID
        for normalised in (True, False)
    ]
    taking = [len(case["taking_part"]) for case in cases]
    return {
        "router_ramp": _RAMP,
        "tolerance": 1e-6,
        "cases": cases,
        "experts": math.ceil(Fraction(sum(taking) << 10, len(taking))),
    }


def _describe(
    about: str,
    kind: str,
    normalised: bool,
    chosen: int,
    logits: Sequence[int],
    biases: Sequence[int],
    scaling: Fraction,
) -> Json:
    """One token. Factors are exact where scores are."""
    exact = [Fraction(x, _ONE) for x in logits]
    if kind == "softmax":
        scores = exact
        powers = [math.exp(x - max(exact)) for x in exact]
        shares = [power / sum(powers) for power in powers]
    else:
        shares = [1 / (1 + math.exp(-x)) for x in exact]
        scores = [Fraction(p) + Fraction(b, _ONE) for p, b in zip(shares, biases, strict=True)]
    ordered = sorted(scores, reverse=True)
    middle = (ordered[chosen - 1] + ordered[chosen]) / 2
    slope = 2 * Fraction(_RAMP, _ONE)
    factors = [
        min(Fraction(1), max(Fraction(0), (s - middle) / slope + Fraction(1, 2))) for s in scores
    ]
    weights = [float(p * f) for p, f in zip(shares, factors, strict=True)]
    whole = sum(weights) if normalised else 1.0
    return {
        "about": about,
        "weights_by": kind,
        "normalised": normalised,
        "scaling": float(scaling),
        "chosen": chosen,
        "logits": list(logits),
        "biases": list(biases),
        "taking_part": [i for i, factor in enumerate(factors) if factor > 0],
        "factors": [round(float(factor), 9) for factor in factors],
        "weights": [round(float(scaling) * weight / whole, 9) for weight in weights],
    }
