"""Rows of logits with claimed ids, and the results of the rule in numpy and float64."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assay.inference.draws.row_statistics import RowStatistics
from assay.protocol.draw import draw_token, score_tokens
from assay.protocol.words import compute_words

ROWS = 6
#: Blocks of kernels are of 4,096 ids: below, at, and just above.
VOCABULARIES = (1, 5, 98, 4_096, 4_097, 9_001)
KINDS = ("normal", "flat", "peaked", "huge", "tied", "far below", "few drawable")


@dataclass(frozen=True)
class RowCase:
    logits: Tensor  # float32 [N, V]
    drawable: NDArray[np.bool_]
    keys: Tensor
    positions: Tensor
    tokens: Tensor  # the drawn ones, but for two rows
    best: list[int]
    scores: list[int]
    claimed: list[int]  # scores of `tokens`


def make_rows(kind: str, vocabulary: int, temperature: int, count: int = ROWS) -> RowCase:
    """Rows where something could go wrong, three or more, and the rule's own draws."""
    rng = np.random.default_rng([len(kind), vocabulary, temperature])
    shape = count, vocabulary
    made = {
        "normal": lambda: rng.normal(0, 3, shape),
        "flat": lambda: np.full(shape, rng.normal()),
        "peaked": lambda: np.where(
            rng.random(shape) < 2 / vocabulary, 35.0, rng.normal(0, 2, shape)
        ),
        "huge": lambda: rng.choice([-1.0, 1.0], shape) * 2.0 ** rng.uniform(0, 39.9, shape),
        "tied": lambda: rng.integers(-2, 3, shape) / 2,
        "far below": lambda: rng.normal(-5_000, 3, shape),
        "few drawable": lambda: rng.normal(0, 3, shape),
    }
    logits = made[kind]().astype(np.float32)
    drawable = rng.random(vocabulary) < (2 / vocabulary if kind == "few drawable" else 0.9)
    drawable[rng.integers(vocabulary)] = True
    keys = rng.integers(0, 2**32, (count, 4))
    positions = rng.integers(0, 2**32, count)
    drawn = [
        draw_token(row, drawable, tuple(key), int(at), temperature)
        for row, key, at in zip(logits, keys.tolist(), positions, strict=True)
    ]
    tokens = np.array([token for token, _ in drawn])
    tokens[1:3] = np.flatnonzero(drawable)[[0, -1]]
    words = compute_words(keys.astype(np.uint64), positions.astype(np.uint64), vocabulary)
    scores = score_tokens(logits, words, temperature)
    return RowCase(
        logits=torch.from_numpy(logits),
        drawable=drawable,
        keys=torch.from_numpy(keys),
        positions=torch.from_numpy(positions),
        tokens=torch.from_numpy(tokens),
        best=[token for token, _ in drawn],
        scores=[score for _, score in drawn],
        claimed=scores[np.arange(count), tokens].tolist(),
    )


def check_integers(rows: RowCase, found: RowStatistics) -> None:
    """To the bit."""
    assert found.best.tolist() == rows.best
    margins = [score - claimed for score, claimed in zip(rows.scores, rows.claimed, strict=True)]
    assert found.margins.tolist() == margins


def check_against_float64(rows: RowCase, found: RowStatistics) -> None:
    """Log-probabilities to a unit, of 2^-16 nats or of a float32 logit's last bit; Gini to 1e-6."""
    exact = rows.logits.double().masked_fill(~torch.from_numpy(rows.drawable), -torch.inf)
    logp = exact.log_softmax(dim=1)
    expected = (-logp.gather(1, rows.tokens[:, None])[:, 0] * 2**16).clamp(0, 2**24 - 1)
    assert ((found.logprobs - expected).abs() <= 1.0).all()
    gini = 1 - logp.exp().square().sum(dim=1)
    assert ((found.gini - gini).abs() < 1e-6).all()
    assert (found.gini >= 0).all()
