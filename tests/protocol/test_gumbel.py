"""The integer Gumbel noise against decimal arithmetic, and the claims its module makes."""

import json
from decimal import Decimal, localcontext
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assay.protocol.gumbel import (
    BOUND_ERROR,
    GUMBEL_MAX,
    HALF,
    TABLE,
    TABLE_SHA256,
    compute_gumbel,
    compute_gumbel_bounds,
    compute_gumbels,
)
from assay.protocol.parameters import FRACTION_BITS

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "gumbel.json").read_bytes())
LAST = 2**32 - 1
words = st.integers(0, LAST)


def make_edges() -> list[int]:
    """First and last word of every linear piece, both halves."""
    low = [*range(256)]
    for octave in range(23):
        starts = [(256 + i) << octave for i in range(257)]
        low += [z + d for z in starts for d in (-1, 0) if z + d < 2**31]
    return sorted({*low, *(LAST - z for z in low)})


def compute_exact(word: int) -> Decimal:
    u = (Decimal(word) + Decimal("0.5")) / Decimal(2**32)
    return -(-u.ln()).ln() * 2**FRACTION_BITS


def test_vector_values() -> None:
    assert VECTOR["table_entries"] == len(TABLE)
    assert (
        VECTOR["table_sha256"] == TABLE_SHA256 == sha256(TABLE.astype("<i4").tobytes()).hexdigest()
    )
    listed = VECTOR["values"]
    assert [compute_gumbel(entry["word"]) for entry in listed] == [e["gumbel"] for e in listed]
    found = compute_gumbels(np.array([entry["word"] for entry in listed], np.uint32))
    assert found.tolist() == [entry["gumbel"] for entry in listed]
    assert listed[-1]["gumbel"] == GUMBEL_MAX


def test_every_table_entry_is_the_rounded_quantile_and_none_is_near_a_tie() -> None:
    """So no mathematics library, however it rounds, can make another table."""
    half = [*range(256), *((256 + i) << e for e in range(23) for i in range(256)), 2**31 - 1]
    assert len(half) == HALF
    with localcontext() as context:
        context.prec = 45
        for word, entry in zip([*half, *(LAST - z for z in half)], TABLE.tolist(), strict=True):
            exact = compute_exact(word)
            assert entry == int(exact.to_integral_value()), word
            assert abs(abs(exact - entry) - Decimal("0.5")) > Decimal("1e-5"), word


def test_the_error_is_below_two_and_a_half_millionths_of_a_logit() -> None:
    """A chord over a 256th of an octave is off by 2^-19, rounding the table by 2^-21."""
    rng = np.random.default_rng(20)
    edges = np.array(make_edges(), np.int64)
    middles = (edges[1:] + edges[:-1]) // 2  # here a chord is farthest from its curve
    anywhere = rng.integers(0, 2**32, 200_000)
    tails = np.concatenate([rng.integers(0, 2**e, 2_000) for e in range(9, 32)])
    w = np.concatenate([edges, middles, anywhere, tails, LAST - tails])
    z = np.minimum(w, LAST - w)
    near = (z + 0.5) * 2.0**-32
    exact = -np.log(np.where(w >> 31 == 1, -np.log1p(-near), -np.log(near)))
    error = np.abs(compute_gumbels(w.astype(np.uint32)) / 2**FRACTION_BITS - exact)
    assert error.max() < 2.0**-19 + 2.0**-21 < 2.4e-6
    assert error.max() > 2.2e-6  # the bound is not an idle one


def test_noise_never_decreases_from_edge_to_edge() -> None:
    edges = make_edges()
    around = sorted({w + d for w in edges for d in (-1, 0, 1) if 0 <= w + d <= LAST})
    gumbels = compute_gumbels(np.array(around, np.uint32))
    assert (np.diff(gumbels) >= 0).all()
    assert gumbels[-1] == GUMBEL_MAX


@given(words, words)
def test_noise_never_decreases(a: int, b: int) -> None:
    assert compute_gumbel(min(a, b)) <= compute_gumbel(max(a, b))


@given(st.lists(words, min_size=1, max_size=20))
@example([0, 255, 256, 2**31 - 1, 2**31, LAST - 256, LAST - 255, LAST])
def test_numpy_equals_python(some: list[int]) -> None:
    found = compute_gumbels(np.array(some, np.uint32))
    assert found.tolist() == [compute_gumbel(word) for word in some]


def test_a_bound_is_never_below_the_noise_and_near_it_where_it_is_large() -> None:
    rng = np.random.default_rng(21)
    anywhere = rng.integers(0, 2**32, 2_000_000)
    tails = np.concatenate([rng.integers(0, 2**e, 2_000) for e in range(1, 32)])
    w = np.concatenate([np.array(make_edges()), anywhere, tails, LAST - tails]).astype(np.uint32)
    above = compute_gumbel_bounds(w).astype(np.float64) - compute_gumbels(w) / 2**FRACTION_BITS
    assert above.min() >= -BOUND_ERROR
    assert above[(w >= 2**31) & (w < LAST)].max() < 0.41


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        TABLE[0] = 0
