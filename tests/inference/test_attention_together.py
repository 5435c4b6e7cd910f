"""Short sequences of a row, attended together as on a card: each gets what it gets alone."""

from dataclasses import replace

import pytest
import torch

from assay.inference import packing
from assay.inference.packing import KeptState, attend_packed, make_kept_packing, make_packing

#: Two prompts with completions that are shorter and longer than they are, of several lengths; a
#: long sequence; one alone.
LENGTHS = [
    *[(40, None), (3, 0), (60, 0), (61, 0), (1, 0), (40, 0), (39, 0), (130, 0)],
    *[(9, None), (20, 8), (21, 8), (600, 8), (700, None), (5, None)],
]


def make_rows(tokens, **more):
    random = torch.Generator().manual_seed(0)
    return [
        torch.randn(1, heads, tokens, width, generator=random, **more)
        for heads, width in ((4, 8), (2, 8), (2, 6))
    ]


@pytest.mark.parametrize("keys", [1 << 14, 250])
def test_sequences_get_what_they_get_alone(monkeypatch, keys):
    monkeypatch.setattr(packing, "_KEYS", keys)
    q, k, v = make_rows(sum(length for length, _ in LENGTHS))
    packed = make_packing(LENGTHS, together=True)
    apart = attend_packed(q, k, v, make_packing(LENGTHS))
    together = attend_packed(q, k, v, packed)
    assert (together - apart).abs().max() < 1e-5
    batched = sum(len(one.places) for one in packed.get_batches(q.device).batches)
    assert batched >= 6
    assert len(packed.get_batches(q.device).others) == len(LENGTHS) - batched


def test_gradients_are_those_of_each_alone():
    grown = []
    for together in (False, True):
        rows = make_rows(sum(length for length, _ in LENGTHS), requires_grad=True)
        mixed = attend_packed(*rows, make_packing(LENGTHS, together=together))
        (mixed * mixed.detach()).sum().backward()
        grown.append([row.grad for row in rows])
    for alone, batched in zip(*grown, strict=True):
        assert (alone - batched).abs().max() < 1e-4 * alone.abs().max()


@pytest.mark.parametrize("together", [False, True])
def test_an_empty_sequence_gets_nothing_and_takes_nothing(together):
    lengths = [(0, None), (3, None), (0, 1), (2, 1), (0, None), (0, 1), (4, 0)]
    q, k, v = make_rows(9)
    mixed = attend_packed(q, k, v, make_packing(lengths, together=together))
    others = make_packing([(3, None), (2, 0), (4, None)], together=together)
    alone = attend_packed(q, k, v, others)
    assert mixed.shape == alone.shape
    assert (mixed - alone).abs().max() < 1e-5


def test_kept_sequences_stay_apart():
    q, k, v = make_rows(30)
    results = []
    for together in (False, True):
        states = [KeptState(64), KeptState(64)]
        for start, end in ((0, 20), (20, 30)):
            half = (end - start) // 2
            packed = make_kept_packing([(half, state) for state in states])
            packed = replace(packed, together=together)
            cut = [x[:, :, start:end] for x in (q, k, v)]
            results.append(attend_packed(*cut, packed))
            for state in states:
                state.length += half
    assert torch.equal(results[1], results[3])
