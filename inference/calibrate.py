"""Calibration: what two implementations of the reference differ by, and where its states lie.

Never fitted on miners' data: the token sequences come from the checkpoint's own calibration set.
Specification, sections 5 to 7.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from assay.inference.passages import Passage
from assay.inference.reference import Reference
from assay.protocol.gumbel import FRACTION_BITS
from assay.protocol.manifest import RATE_UNIT, Calibration
from assay.protocol.parameters import CENTRE_BITS

#: Ids of a position that enter the pair sums; what lies beyond has no probability to speak of.
_TOP = 32
_ROWS = 256


def measure_centre(
    reference: Reference, contexts: Sequence[Passage]
) -> tuple[tuple[int, ...], int]:
    """μ and scale of a checkpoint's last hidden states, both in 2^-16.

    μ is their mean over all tokens of the set, scale² the mean of ‖h − μ‖².
    """
    states = torch.cat(reference.compute_states(contexts)).double()
    centre = states.mean(dim=0)
    scale = (states - centre).square().sum(dim=1).mean().sqrt()
    unit = 1 << CENTRE_BITS
    return tuple(torch.round(centre * unit).long().tolist()), round(float(scale) * unit)


def measure_rates(
    a: Reference,
    b: Reference,
    contexts: Sequence[Passage],
    levels: Sequence[int],
    temperature: int,
) -> Calibration:
    """κ_k by the flip law: P(margin > τ) = ½ Σ_{i≠j} p_i p_j (|δ_i − δ_j| − τ)₊ / T.

    Nothing is sampled, so rates of 1e-10 a token are known from thousands of positions. κ_k is the
    sum over all positions divided by the sum of their Gini impurities, times T.

    Args:
        levels: τ_k, 2^-20 logits.
        temperature: Tq = 1024 · T.
    """
    t = temperature / 1024
    taus = torch.tensor(levels, dtype=torch.float64) / (1 << FRACTION_BITS)
    flips = torch.zeros(len(levels), dtype=torch.float64)
    gini = 0.0
    tokens = 0
    states = (torch.cat(side.compute_states(contexts)).split(_ROWS) for side in (a, b))
    for states_a, states_b in zip(*states, strict=True):
        flip, impurity = _sum_flips(
            a.compute_logits(states_a).double(), b.compute_logits(states_b).double(), taus, t
        )
        flips += flip
        gini += impurity
        tokens += len(states_a)
    rates = np.ceil((flips * t / max(gini, 1e-300)).numpy() * RATE_UNIT).astype(np.int64)
    return Calibration(rates=tuple(rates.tolist()), tokens=tokens)


def _sum_flips(a: Tensor, b: Tensor, taus: Tensor, t: float) -> tuple[Tensor, float]:
    """Sums over rows of two float64 [n, V]: flip probability by level, and Gini impurity."""
    top = b.topk(min(_TOP, b.shape[1]), dim=1)
    delta = a.gather(1, top.indices) - top.values
    p = (top.values / t).softmax(dim=1)
    weights = p[:, :, None] * p[:, None, :]
    apart = (delta[:, :, None] - delta[:, None, :]).abs()
    flips = torch.stack([(weights * (apart - tau).clamp_(min=0)).sum() for tau in taus])
    return flips / (2 * t), float((1 - p.square().sum(dim=1)).sum())
