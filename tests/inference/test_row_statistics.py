"""The judge's statistics of a row: the same integers by every backend, the same sums to a unit."""

from functools import partial

import numpy as np
import pytest
import torch

from assay.inference.draws import sampler as sampler_module
from assay.inference.draws.row_statistics import RowMeter
from assay.inference.draws.sampler import KeyedSampler, NumericalError, load_kernels, make_keys
from assay.protocol.submission import LOGPROB_MAX
from tests.inference.row_cases import (
    KINDS,
    VOCABULARIES,
    check_against_float64,
    check_integers,
    make_rows,
)


def get_backends(meter):
    """The backends of a CPU: the compiled pass, and plain tensors, which overwrite their inputs."""
    kernels = load_kernels()
    assert kernels is not None
    return (
        partial(meter.measure_compiled, kernels),
        lambda logits, *row: meter.measure_on_tensors(logits.clone(), *row),
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_every_backend_measures_what_the_rule_says(kind, vocabulary):
    rows = make_rows(kind, vocabulary, temperature=1_024)
    for backend in get_backends(RowMeter(KeyedSampler(rows.drawable, 1_024))):
        found = backend(rows.logits, rows.keys, rows.positions, rows.tokens)
        check_integers(rows, found)
        check_against_float64(rows, found)


@pytest.mark.parametrize("temperature", [1, 717, 2_048, 65_536])
def test_at_other_temperatures(temperature):
    rows = make_rows("normal", 5_003, temperature)
    for backend in get_backends(RowMeter(KeyedSampler(rows.drawable, temperature))):
        found = backend(rows.logits, rows.keys, rows.positions, rows.tokens)
        check_integers(rows, found)
        check_against_float64(rows, found)  # at T = 1, whatever is drawn at


def test_a_row_is_measured_the_same_beside_any_others():
    """To the bit: of the compiled pass, alone, together and in another order."""
    rows = make_rows("normal", 9_001, temperature=1_024)
    measure = get_backends(RowMeter(KeyedSampler(rows.drawable, 1_024)))[0]
    together = measure(rows.logits, rows.keys, rows.positions, rows.tokens)
    for i in range(len(rows.tokens)):
        one = slice(i, i + 1)
        alone = measure(rows.logits[one], rows.keys[one], rows.positions[one], rows.tokens[one])
        assert all(torch.equal(a, b[one]) for a, b in zip(alone, together, strict=True))
    turned = measure(*(t.flip(0) for t in (rows.logits, rows.keys, rows.positions, rows.tokens)))
    assert all(torch.equal(a.flip(0), b) for a, b in zip(turned, together, strict=True))


@pytest.mark.parametrize("threads", [2, 4, 50])
def test_threads_share_rows_out_and_change_nothing(monkeypatch, threads):
    """Draws and statistics to the bit; a row that is broken is found in any thread's part."""
    rows = make_rows("normal", 9_001, temperature=1_024)
    sampler = KeyedSampler(rows.drawable, 1_024)
    meter, given = RowMeter(sampler), (rows.keys, rows.positions, rows.tokens)
    expected = meter.measure(rows.logits, *given)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(sampler_module, "_THREAD_ELEMENTS", 1 << 10)
    found = meter.measure(rows.logits, *given)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert sampler.draw(rows.logits, rows.keys, rows.positions)[1].tolist() == rows.scores
    for row in range(len(rows.tokens)):
        broken = rows.logits.clone()
        broken[row, -1] = torch.nan
        with pytest.raises(NumericalError):
            meter.measure(broken, *given)


def test_logits_are_read_and_not_written():
    rows = make_rows("normal", 300, temperature=1_024)
    before = rows.logits.clone()
    meter = RowMeter(KeyedSampler(rows.drawable, 1_024))
    meter.measure(rows.logits, rows.keys, rows.positions, rows.tokens)
    assert torch.equal(rows.logits, before)


def test_an_id_that_is_not_drawable_has_no_probability():
    drawable = np.array([True, False, True, True])
    logits = torch.tensor([[0.0, 50.0, 1.0, 2.0]])
    row = make_keys([bytes(32)]), torch.tensor([3]), torch.tensor([1])
    for backend in get_backends(RowMeter(KeyedSampler(drawable, 1_024))):
        found = backend(logits, *row)
        assert found.logprobs.tolist() == [LOGPROB_MAX]
        assert found.best.item() != 1
        p = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64).softmax(0)
        assert found.gini.item() == pytest.approx(float(1 - p.square().sum()), abs=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e13])
def test_broken_logits_are_refused(bad):
    logits = torch.zeros(2, 5_000)
    logits[1, 4_999] = bad
    row = make_keys([bytes(32)] * 2), torch.tensor([0, 1]), torch.tensor([0, 1])
    for backend in get_backends(RowMeter(KeyedSampler(np.ones(5_000, bool), 1_024))):
        with pytest.raises(NumericalError):
            backend(logits, *row)


@pytest.mark.parametrize("token", [-1, 10])
def test_an_id_beyond_the_vocabulary_is_no_reading_beyond_the_row(token):
    row = make_keys([bytes(32)]), torch.tensor([0]), torch.tensor([token])
    meter = RowMeter(KeyedSampler(np.ones(10, bool), 1_024))
    for backend in (*get_backends(meter), meter.measure):
        with pytest.raises((IndexError, RuntimeError)):
            backend(torch.zeros(1, 10), *row)


def test_without_a_compiler_the_same(monkeypatch):
    rows = make_rows("normal", 5_003, temperature=1_024)
    meter = RowMeter(KeyedSampler(rows.drawable, 1_024))
    arguments = rows.keys, rows.positions, rows.tokens
    compiled = meter.measure(rows.logits.clone(), *arguments)
    monkeypatch.setattr(sampler_module, "load_kernels", lambda: None)
    monkeypatch.setattr("assay.inference.draws.row_statistics.load_kernels", lambda: None)
    plain = meter.measure(rows.logits.clone(), *arguments)
    assert torch.equal(plain.best, compiled.best)
    assert torch.equal(plain.margins, compiled.margins)
    assert (plain.logprobs - compiled.logprobs).abs().max() <= 1
    assert (plain.gini - compiled.gini).abs().max() < 1e-6


def test_no_rows_are_none():
    rows = make_rows("normal", 100, temperature=1_024)
    meter = RowMeter(KeyedSampler(rows.drawable, 1_024))
    none = slice(0, 0)
    found = meter.measure(
        rows.logits[none], rows.keys[none], rows.positions[none], rows.tokens[none]
    )
    assert [len(column) for column in found] == [0, 0, 0, 0]
