"""Calibration: the differences between two implementations of the reference, and the centre of its
states.

It is never fitted on miners' data: the token sequences come from the checkpoint's own calibration
set.

The law of margins. A miner draws c = argmax a_v + T·g_v under logits a. A validator with logits b
and the same noise finds the margin m = max_v (b_v + T·g_v) − (b_c + T·g_c). With δ = (a − b)/T, p =
softmax(a/T) and independent Gumbel g, "c is drawn and m ≤ τ" says that no j has g_j > g_c + min(a_c
− a_j, b_c − b_j + τ)/T, so its probability is 1 / Σ_j max(e^{(a_j − a_c)/T}, e^{(b_j − b_c −
τ)/T}), and

    P(m > τ) = Σ_c p_c · F_c / (1 + F_c),   F_c = Σ_j p_j · (e^{δ_c − δ_j − τ/T} − 1)₊ .

For small δ this is ½ Σ_{i≠j} p_i p_j (|δ_i − δ_j| − τ/T)₊, the flip law. Nothing is sampled, so
rates far below 1e-10 a token follow from thousands of positions. The law holds for models that
differ by any amount. Specification, sections 5 to 7.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assay.inference.folder import CheckpointError
from assay.inference.passages import Passage
from assay.inference.reference import Reference, SketchBuilder
from assay.protocol.manifest import RATE_UNIT, Calibration
from assay.protocol.parameters import CENTRE_BITS, FRACTION_BITS
from assay.protocol.submission import LOGPROB_BITS
from assay.verification import Projection

#: Ids of a position that enter the law: the likeliest under either side. Exact up to this size.
_TOP = 4_096
#: Tokens whose states are in memory together; a longer completion's are, too. Tuning.
_TOKENS = 1 << 16
#: Elements of the logits that are compared together; and rows whose logits are computed together,
#: if that is more: each time a processor reads the whole output matrix. Tuning.
_ELEMENTS, _ROWS = 1 << 20, 64


@dataclass(frozen=True, slots=True)
class Side:
    """A reference and its results: the states that drew each token of the contexts."""

    reference: Reference
    states: Sequence[Tensor]

    @staticmethod
    def compute(reference: Reference, contexts: Sequence[Passage]) -> "Side":
        """Read all contexts once."""
        return Side(reference, reference.compute_states(contexts))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sides over the same N tokens of some contexts, in order."""

    lengths: tuple[int, ...]  # tokens of each context
    #: float64 [N, K], P(margin > τ_k) of a token that a drew and b judges
    survival: NDArray[np.float64]
    gini: NDArray[np.float64]  # float64 [N], 1 − Σp² under b at T = 1
    logprobs: NDArray[np.int64]  # int64 [N], absolute difference in log-probability, 2^-16 nats
    sketch_a: NDArray[np.int8]  # int8 [N, 2]
    sketch_b: NDArray[np.int8]  # int8 [N, 2]


def measure_centre(
    reference: Reference, contexts: Sequence[Passage]
) -> tuple[tuple[int, ...], int]:
    """μ and scale of a checkpoint's last hidden states, both in 2^-16.

    μ is their mean over all tokens of the set, scale² the mean of ‖h − μ‖². Parts of the set add
    up: the spread about a part's own mean, and that of the parts' means.
    """
    tokens, centre = 0, torch.zeros((), dtype=torch.float64)
    spread = centre  # scale²
    for part in _split_contexts(contexts):
        states = torch.cat(reference.compute_states(part)).double()
        mean = states.mean(dim=0)
        within = (states - mean).square().sum(dim=1).mean()
        tokens += len(states)
        apart, share = mean - centre, len(states) / tokens
        between = share * (1 - share) * apart.square().sum()
        centre = centre + share * apart
        spread = spread + share * (within - spread) + between
    scale = spread.sqrt()
    unit = 1 << CENTRE_BITS
    return tuple(torch.round(centre * unit).long().tolist()), round(float(scale) * unit)


def _split_contexts(contexts: Sequence[Passage]) -> Iterator[list[Passage]]:
    """The contexts in order, as many together as their states may take memory."""
    part: list[Passage] = []
    tokens = 0
    for context in contexts:
        if part and tokens + len(context.completion) > _TOKENS:
            yield part
            part, tokens = [], 0
        part.append(context)
        tokens += len(context.completion)
    if part:
        yield part


@dataclass(frozen=True, slots=True)
class MarginCurve:
    """How often margins exceed thresholds, summed over tokens. Curves of parts of a set add up.

    Attributes:
        survival: float64 [K], sums of P(margin > τ_k).
        gini: the sum of Gini impurities.
    """

    survival: NDArray[np.float64]
    gini: float
    tokens: int

    def __add__(self, other: "MarginCurve") -> "MarginCurve":
        survival = self.survival + other.survival
        return MarginCurve(survival, self.gini + other.gini, self.tokens + other.tokens)

    def fit(self, levels: int, t: float) -> Calibration:
        """κ_k of the first `levels` thresholds: their sums over that of Gini impurities, by T."""
        rates = self.survival[:levels] * t / max(self.gini, 1e-300)
        scaled = np.ceil(np.minimum(rates, 1.0) * RATE_UNIT).astype(np.int64)
        return Calibration(rates=tuple(scaled.tolist()), tokens=self.tokens)


def measure_margins(
    a: Reference, b: Reference, contexts: Sequence[Passage], taus: Sequence[float], temperature: int
) -> MarginCurve:
    """The curve of the pair over all contexts.

    Args:
        taus: logits.
        temperature: Tq = 1024 · T.
    """
    thresholds, t = torch.tensor(taus, dtype=torch.float64), temperature / 1024
    survival, gini = [], []
    for part in _split_contexts(contexts):
        for _, logits_a, logits_b in iterate_logits(Side.compute(a, part), Side.compute(b, part)):
            survival.append(compute_survival(logits_a, logits_b, thresholds, t))
            gini.append(compute_gini(logits_b))
    return sum_margins(torch.cat(survival).numpy(), torch.cat(gini).numpy())


def sum_margins(survival: NDArray[np.float64], gini: NDArray[np.float64]) -> MarginCurve:
    """The curve of P(margin > τ_k) of tokens, float64 [N, K], with their Gini impurities [N]."""
    return MarginCurve(survival.sum(axis=0), float(gini.sum()), len(gini))


def measure_rates(
    a: Reference, b: Reference, contexts: Sequence[Passage], levels: Sequence[int], temperature: int
) -> Calibration:
    """κ_k of the pair over all contexts; see `MarginCurve.fit`.

    Args:
        levels: τ_k, 2^-20 logits.
        temperature: Tq = 1024 · T.
    """
    taus = [level / (1 << FRACTION_BITS) for level in levels]
    return measure_margins(a, b, contexts, taus, temperature).fit(len(levels), temperature / 1024)


def compare(
    a: Side,
    b: Side,
    contexts: Sequence[Passage],
    taus: Sequence[float],
    temperature: int,
    projection: Projection,
    drawn_at: int | None = None,
) -> Comparison:
    """Compare everything that the judge would, over the same teacher-forced tokens.

    Args:
        a: the side that draws and claims.
        b: the side that judges.
        contexts: the contexts that both sides have read.
        taus: logits.
        temperature: Tq = 1024 · T.
        drawn_at: Tq at which a really draws, where it cheats.

    Raises:
        CheckpointError: a context has a token that nobody draws.
    """
    t = temperature / 1024
    sharper = temperature / (drawn_at or temperature)
    thresholds = torch.tensor(taus, dtype=torch.float64)
    tokens = torch.tensor([token for context in contexts for token in context.completion])
    columns = torch.full(b.reference.drawable.shape, -1, dtype=torch.int64)
    columns[b.reference.drawable] = torch.arange(int(b.reference.drawable.sum()))
    places = columns[tokens][:, None]
    if (places < 0).any():
        raise CheckpointError("a turn of the calibration set has a token that nobody draws")
    survival, gini, logprobs = [], [], []
    for start, logits_a, logits_b in iterate_logits(a, b):
        survival.append(compute_survival(logits_a * sharper, logits_b, thresholds, t))
        gini.append(compute_gini(logits_b))
        claimed = places[start : start + len(logits_b)]
        claims = (
            torch.round(logits.log_softmax(dim=1).gather(1, claimed)[:, 0] * (1 << LOGPROB_BITS))
            for logits in (logits_a, logits_b)
        )
        logprobs.append((next(claims) - next(claims)).abs().long())
    sketches = [
        SketchBuilder(projection, states[0].device).build(torch.cat(list(states))).cpu().numpy()
        for states in (a.states, b.states)
    ]
    return Comparison(
        lengths=tuple(len(context.completion) for context in contexts),
        survival=torch.cat(survival).numpy(),
        gini=torch.cat(gini).numpy(),
        logprobs=torch.cat(logprobs).numpy(),
        sketch_a=sketches[0],
        sketch_b=sketches[1],
    )


def measure_divergence(a: Side, b: Side) -> float:
    """The mean Kullback–Leibler divergence of b's distribution from a's at T = 1, nats a token."""
    total, tokens = 0.0, 0
    for _, logits_a, logits_b in iterate_logits(a, b):
        p, q = (logits.log_softmax(dim=1) for logits in (logits_a, logits_b))
        total += float((p.exp() * (p - q)).sum())
        tokens += len(p)
    return total / max(1, tokens)


def compute_survival(a: Tensor, b: Tensor, taus: Tensor, t: float) -> Tensor:
    """P(margin > τ) of every row and threshold, by the law above.

    Args:
        a, b: logits of drawable ids, float64 [n, V].
        taus: float64 [K], logits.
        t: temperature.

    Returns:
        float64 [n, K].
    """
    p, q = ((side / t).softmax(dim=1) for side in (a, b))
    if a.shape[1] > _TOP:
        top = torch.maximum(p, q).topk(_TOP, dim=1).indices
        a, b, p = (side.gather(1, top) for side in (a, b, p))
    delta = (a - b) / t
    delta -= (p * delta).sum(dim=1, keepdim=True) / p.sum(dim=1, keepdim=True)
    delta, order = delta.sort(dim=1)
    p = p.gather(1, order)
    # e^{x − δ_j} − 1 = u + v_j + u·v_j, u = e^x − 1, v_j = e^{−δ_j} − 1: no digit is lost for
    # small δ, and prefix sums over ascending δ serve every c
    mass, drift = (
        torch.nn.functional.pad(part.cumsum(dim=1), (1, 0)) for part in (p, p * torch.expm1(-delta))
    )
    survivals = []
    widest = float((delta[:, -1] - delta[:, 0]).max()) if len(delta) else 0.0
    for tau in taus.tolist():
        if tau / t > widest:  # no two ids are so far apart
            survivals.append(torch.zeros(len(delta), dtype=delta.dtype, device=delta.device))
            continue
        x = delta - tau / t
        below = torch.searchsorted(delta, x)
        u, v = torch.expm1(x), drift.gather(1, below)
        excess = (u * mass.gather(1, below) + v + u * v).clamp_(min=0)
        survivals.append((p * excess / (1 + excess)).sum(dim=1))
    return torch.stack(survivals, dim=1)


def compute_gini(logits: Tensor) -> Tensor:
    """1 − Σp² at T = 1 of logits float64 [n, V]: float64 [n]."""
    return 1 - logits.softmax(dim=1).square().sum(dim=1)


def iterate_logits(a: Side, b: Side) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Parts of (index of the first token, logits of a, of b), of drawable ids in float64."""
    drawable = b.reference.drawable
    rows = max(1, _ELEMENTS // len(drawable))
    wide = max(1, _ROWS // rows) * rows
    states = [torch.cat(list(side.states)).split(wide) for side in (a, b)]
    start = 0
    for parts in zip(*states, strict=True):
        logits = [
            side.reference.compute_logits(part).cpu().split(rows)
            for side, part in zip((a, b), parts, strict=True)
        ]
        for logits_a, logits_b in zip(*logits, strict=True):
            yield start, logits_a[:, drawable].double(), logits_b[:, drawable].double()
            start += len(logits_a)
