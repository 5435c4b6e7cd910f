"""Triton's kernels, interpreted on a CPU: run by `test_card_kernels.py`, in a process where
`TRITON_INTERPRET=1` is set before Triton is imported. By hand:

    TRITON_INTERPRET=1 pytest tests/inference/interpreted_kernels.py
"""

from functools import partial
from itertools import product

import numpy as np
import pytest
import torch

from assay.inference.draws import card_kernels
from assay.inference.draws.row_statistics import RowMeter
from assay.inference.draws.sampler import KeyedSampler, NumericalError, make_keys
from assay.protocol.gumbel import compute_gumbel
from assay.protocol.parameters import FRACTION_BITS
from assay.protocol.prf import compute_key, compute_word
from assay.protocol.submission import LOGPROB_MAX
from tests.inference.row_cases import KINDS, VOCABULARIES, check_against_float64, check_integers
from tests.inference.row_cases import make_rows as make_many_rows

LAST = 2**32 - 1
#: Interpreted, each row of each block takes a tenth of a second.
make_rows = partial(make_many_rows, count=3)


def is_nightly(kind, vocabulary):
    """Whether it repeats what the other kinds show at one size. Tests below have other sizes, and
    several blocks, too."""
    return vocabulary != 98 or kind in ("flat", "far below")


def measure(rows, temperature):
    meter = RowMeter(KeyedSampler(rows.drawable, temperature))
    return meter.measure_on_card(card_kernels, rows.logits, rows.keys, rows.positions, rows.tokens)


@pytest.mark.parametrize(
    ("kind", "vocabulary"),
    [
        pytest.param(*case, marks=[pytest.mark.nightly] * is_nightly(*case))
        for case in product(KINDS, VOCABULARIES)
    ],
)
def test_the_rule_bit_for_bit(kind, vocabulary):
    rows = make_rows(kind, vocabulary, temperature=1_024)
    found = measure(rows, 1_024)
    check_integers(rows, found)
    check_against_float64(rows, found)
    sampler = KeyedSampler(rows.drawable, 1_024)
    ids, scores = sampler.draw_on_card(card_kernels, rows.logits, rows.keys, rows.positions)
    assert (ids.tolist(), scores.tolist()) == (rows.best, rows.scores)


@pytest.mark.parametrize(
    "temperature", [1, *(pytest.param(t, marks=pytest.mark.nightly) for t in (717, 2_048, 65_536))]
)
def test_at_other_temperatures(temperature):
    rows = make_rows("normal", 5_003, temperature)
    check_integers(rows, measure(rows, temperature))


def test_a_row_is_measured_the_same_beside_any_others():
    rows = make_rows("normal", 4_097, temperature=1_024)
    together = measure(rows, 1_024)
    meter = RowMeter(KeyedSampler(rows.drawable, 1_024))
    one = slice(2, 3)
    alone = meter.measure_on_card(
        card_kernels, rows.logits[one], rows.keys[one], rows.positions[one], rows.tokens[one]
    )
    assert all(torch.equal(a, b[one]) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize(
    ("position", "extreme", "word"),
    [
        *((912_458, 579, 0), (1_367_078, 1_121, LAST)),
        pytest.param(1_789_872, 3_200, 0, marks=pytest.mark.nightly),
        pytest.param(4_606_878, 4_089, LAST, marks=pytest.mark.nightly),
    ],
)
@pytest.mark.parametrize("rest", [-30.0, pytest.param(22.8, marks=pytest.mark.nightly)])
def test_the_ends_of_a_words_range(position, extreme, word, rest):
    """The same test as in `test_fast_path.py`."""
    key = compute_key(bytes(32))
    assert compute_word(key, position, extreme) == word
    logits = torch.full((1, 4_096), rest)
    logits[0, extreme] = 0
    sampler = KeyedSampler(np.ones(4_096, bool), 1_024)
    row = logits, make_keys([bytes(32)]), torch.tensor([position])
    ids, scores = sampler.draw_on_card(card_kernels, *row)
    expected = sampler.draw_on_tensors(*row)
    assert (ids.tolist(), scores.tolist()) == (expected[0].tolist(), expected[1].tolist())


def test_a_score_that_rounding_lifts_above_its_bound():
    """The same test as in `test_fast_path.py`: the slack covers it, and the lowest id wins the
    tie."""
    seed, position, low, high = bytes(32), 1_361_552, 2_199, 4_000
    other = compute_word(compute_key(seed), position, high)
    score = 1 + (compute_gumbel(LAST - 2**19) >> 10)
    logits = torch.zeros(1, 4_096)
    logits[0, low] = 0.51 / 2**FRACTION_BITS
    logits[0, high] = (score - (compute_gumbel(other) >> 10)) / 2**FRACTION_BITS
    drawable = np.zeros(4_096, bool)
    drawable[[low, high]] = True
    ids, scores = KeyedSampler(drawable, 1).draw_on_card(
        card_kernels, logits, make_keys([seed]), torch.tensor([position])
    )
    assert (ids.tolist(), scores.tolist()) == ([low], [score])


def test_only_blocks_that_can_hold_the_winner_are_read_again(monkeypatch):
    """Logits of a block that lies far below are broken after the scan: nothing notices."""
    rows = make_rows("peaked", 9_001, temperature=1_024)
    logits = rows.logits.clone()
    logits[:, 4_096:8_192] = -100.0
    logits[:, 17] = 60.0
    drawable = rows.drawable.copy()
    drawable[17] = True
    sampler = KeyedSampler(drawable, 1_024)
    settle = card_kernels.settle_rows

    class Breaking:
        def __getitem__(self, grid):
            def run(given, *others, **settings):
                given[:, 4_096:8_192] = torch.nan
                return settle[grid](given, *others, **settings)

            return run

    monkeypatch.setattr(card_kernels, "settle_rows", Breaking())
    ids, _ = sampler.draw_on_card(card_kernels, logits, rows.keys, rows.positions)
    assert logits[:, 4_096:8_192].isnan().all()
    assert ids.tolist() == [17] * len(ids)


def test_an_id_that_is_not_drawable_has_no_probability():
    drawable = np.array([True, False, True, True])
    row = make_keys([bytes(32)]), torch.tensor([3]), torch.tensor([1])
    meter = RowMeter(KeyedSampler(drawable, 1_024))
    found = meter.measure_on_card(card_kernels, torch.tensor([[0.0, 50.0, 1.0, 2.0]]), *row)
    assert found.logprobs.tolist() == [LOGPROB_MAX]
    assert found.best.item() != 1


@pytest.mark.parametrize(
    "bad",
    [
        *(float("nan"), 1e13),
        *(pytest.param(b, marks=pytest.mark.nightly) for b in (float("inf"), -float("inf"))),
    ],
)
def test_broken_logits_are_refused(bad):
    logits = torch.zeros(1, 4_097)
    logits[0, 4_096] = bad
    row = logits, make_keys([bytes(32)]), torch.tensor([1])
    sampler = KeyedSampler(np.ones(4_097, bool), 1_024)
    with pytest.raises(NumericalError):
        sampler.draw_on_card(card_kernels, *row)
    with pytest.raises(NumericalError):
        RowMeter(sampler).measure_on_card(card_kernels, *row, torch.tensor([1]))


def test_no_rows_are_none():
    rows = make_rows("normal", 100, temperature=1_024)
    sampler = KeyedSampler(rows.drawable, 1_024)
    none = slice(0, 0)
    ids, scores = sampler.draw_on_card(
        card_kernels, rows.logits[none], rows.keys[none], rows.positions[none]
    )
    assert len(ids) == len(scores) == 0
