"""Keyed sampling on tensors: token t is the argmax of logit + Gumbel noise keyed by the rollout.

The same integers as `assay.protocol.prf` and `assay.protocol.gumbel`, bit for bit, on any device.
What this does not know: which model or precision the logits came from. Only the reference's logits
make the result the valid one.

Specification, section 3.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assay.protocol import prf
from assay.protocol.gumbel import FRACTION_BITS, HALF, TABLE, compute_word_threshold

_MASK32 = 0xFFFFFFFF
_PHILOX = ((0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85))
_PHILOX_ROUNDS = 10
_DIRECT = _PIECES = 256
#: Vocabularies up to this size are scored whole; larger ones by the fast path. Tuning: same result.
_WHOLE_VOCABULARY = 2_048
#: Best logits that the fast path scores first. Tuning: same result.
_HEAD = 64
#: Logits from here on do not fit the fixed-point score.
_LOGIT_MAX = float(1 << 40)
_LOWEST = torch.iinfo(torch.int64).min


class NumericalError(RuntimeError):
    """Our own model produced logits that are not finite: nobody else's fault."""


def make_keys(seeds: Sequence[bytes], device: torch.device | None = None) -> Tensor:
    """Philox keys of N 32-byte seeds, int64 [N, 4]."""
    return torch.tensor([prf.compute_key(seed) for seed in seeds], dtype=torch.int64, device=device)


def _philox(c0: Tensor, c1: Tensor, c2: Tensor, c3: Tensor, k0: Tensor, k1: Tensor) -> list[Tensor]:
    """Philox4x32-10 on int64 tensors that broadcast. A 32×32 product wraps modulo 2^64, and
    `>> 32 & mask` still recovers its exact high word."""
    (m0, m1), (w0, w1) = _PHILOX
    for _ in range(_PHILOX_ROUNDS):
        p0, p1 = c0 * m0, c2 * m1
        c0, c1, c2, c3 = (
            ((p1 >> 32) & _MASK32) ^ c1 ^ k0,
            p1 & _MASK32,
            ((p0 >> 32) & _MASK32) ^ c3 ^ k1,
            p0 & _MASK32,
        )
        k0, k1 = (k0 + w0) & _MASK32, (k1 + w1) & _MASK32
    return [c0, c1, c2, c3]


def compute_words(keys: Tensor, positions: Tensor, vocabulary: int) -> Tensor:
    """Words of every id: keys int64 [N, 4], positions int64 [N] → int64 [N, vocabulary]."""
    blocks = torch.arange((vocabulary + 3) // 4, dtype=torch.int64, device=keys.device)[None]
    s0, s1, s2, s3 = keys.unsqueeze(-1).unbind(1)
    words = _philox(blocks, positions[:, None], s2, s3, s0, s1)
    return torch.stack(words, dim=-1).flatten(1)[:, :vocabulary]


def compute_words_at(keys: Tensor, positions: Tensor, ids: Tensor) -> Tensor:
    """Words of some ids only: ids int64 [N, M] → int64 [N, M]."""
    s0, s1, s2, s3 = keys.unsqueeze(-1).unbind(1)
    words = _philox(ids >> 2, positions[:, None], s2, s3, s0, s1)
    return torch.stack(words, dim=-1).gather(-1, (ids & 3).unsqueeze(-1)).squeeze(-1)


class KeyedSampler:
    """The keyed argmax over one vocabulary.

    Args:
        drawable: bool [V], ids that may be drawn.
        temperature: Tq = 1024 · T.
        device: where logits will be.
    """

    def __init__(
        self, drawable: NDArray[np.bool_], temperature: int, device: torch.device | None = None
    ) -> None:
        self._drawable = torch.from_numpy(drawable.copy()).to(device)
        self._table = torch.from_numpy(TABLE.copy()).to(device)
        self._temperature = temperature
        self._few = int(drawable.sum()) <= _HEAD

    def _noise(self, words: Tensor) -> Tensor:
        """(Γ(word) · Tq) >> 10, int64 of the same shape, 2^-20 logits."""
        side = words >> 31
        z = torch.where(side == 1, _MASK32 - words, words)
        octave = (torch.frexp(z.double()).exponent.long() - 9).clamp_(min=0)
        i = side * HALF + torch.where(z < _DIRECT, z, octave * _PIECES + (z >> octave))
        a = self._table[i]
        b = self._table[torch.where(z < _DIRECT, i, i + 1)]
        gumbel = a + (((b - a) * (z & ((torch.ones_like(z) << octave) - 1))) >> octave)
        return (gumbel * self._temperature) >> 10

    def score(self, logits: Tensor, keys: Tensor, positions: Tensor, ids: Tensor) -> Tensor:
        """Keyed scores of some ids, int64 [N, M], 2^-20 logits.

        Args:
            logits: float [N, V].
            keys: int64 [N, 4].
            positions: int64 [N], index of the token in its completion.
            ids: int64 [N, M].
        """
        words = compute_words_at(keys, positions, ids)
        return _to_fixed(logits.gather(1, ids)) + self._noise(words)

    def draw(self, logits: Tensor, keys: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """The keyed argmax of each row and its score: int64 [N], int64 [N]; lowest id wins a tie.

        Arguments as in `score`.

        Raises:
            NumericalError: a logit is not finite.
        """
        if not (logits.abs() < _LOGIT_MAX).all():
            raise NumericalError("the model's logits are not finite, or beyond any use")
        if logits.shape[1] <= _WHOLE_VOCABULARY or self._few:
            return self._draw_whole(logits, keys, positions)
        return self._draw_fast(logits, keys, positions)

    def _draw_whole(self, logits: Tensor, keys: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        noise = self._noise(compute_words(keys, positions, logits.shape[1]))
        scores = (_to_fixed(logits) + noise).masked_fill_(~self._drawable, _LOWEST)
        best = scores.max(dim=1).values
        # argmax names any of several equal ids; the first that equals the maximum is the lowest
        ids = (scores == best[:, None]).to(torch.uint8).argmax(dim=1)
        return ids, best

    def _draw_fast(self, logits: Tensor, keys: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Scores the best logits, then only ids whose word could still win: exact, 64–69 ids."""
        logits = logits.masked_fill(~self._drawable, -torch.inf)
        head = logits.topk(_HEAD, dim=1)
        rest = _to_fixed(head.values[:, -1])  # no other logit exceeds it
        best = self.score(logits, keys, positions, head.indices).max(dim=1).values
        # (Γ · Tq) >> 10 ≥ need  ⇔  Γ ≥ ⌈need · 1024 / Tq⌉, and Γ never decreases
        needs = [-((-need << 10) // self._temperature) for need in (best - rest).tolist()]
        thresholds = [compute_word_threshold(need) for need in needs]
        could_win = self._find_contenders(keys, positions, thresholds, logits.shape[1])
        could_win.scatter_(1, head.indices, True)
        rows, ids = could_win.nonzero(as_tuple=True)  # ascending ids within each row
        words = compute_words_at(keys[rows], positions[rows], ids[:, None])[:, 0]
        noise = self._noise(words)
        scores = _to_fixed(logits[rows, ids]) + noise
        best = best.scatter_reduce(0, rows, scores, "amax")
        winners = torch.full_like(best, logits.shape[1])
        won = scores == best[rows]
        winners.scatter_reduce_(0, rows[won], ids[won], "amin")
        return winners, best

    def _find_contenders(
        self, keys: Tensor, positions: Tensor, thresholds: Sequence[int], vocabulary: int
    ) -> Tensor:
        """Drawable ids whose word reaches their row's threshold, bool [N, vocabulary]."""
        if keys.device.type == "cpu":  # numpy has unsigned words: four times as fast
            words = prf.compute_words(
                keys.numpy().astype(np.uint64), positions.numpy().astype(np.uint64), vocabulary
            )
            limits = np.minimum(thresholds, _MASK32).astype(np.uint32)
            reached = torch.from_numpy(words >= limits[:, None])
        else:
            limit = torch.tensor(thresholds, device=keys.device)
            reached = compute_words(keys, positions, vocabulary) >= limit[:, None]
        return reached.logical_and_(self._drawable)


def _to_fixed(logits: Tensor) -> Tensor:
    """rint(logit · 2^20) as int64; float64 products and rounding are exact IEEE operations."""
    return torch.round(logits.double() * (1 << FRACTION_BITS)).long()
