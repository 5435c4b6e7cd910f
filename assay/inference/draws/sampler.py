"""Keyed sampling on tensors: token t is the argmax of logit + Gumbel noise keyed by the rollout.

The results are the integers of `assay.protocol.draw`, bit for bit, on any device: by numba's
kernels on a CPU, Triton's on a GPU, and numpy and plain tensors where nothing compiles. This module
does not know which model or precision the logits came from. Only the reference's logits make the
result valid. Specification, section 3.
"""

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assay.inference.placing.triton_modules import load_triton_module
from assay.protocol import prf
from assay.protocol.draw import LOGIT_MAX, compute_slack, draw_token
from assay.protocol.errors import OperatorError, TroubleKind
from assay.protocol.gumbel import BOUND_SLOPE, BOUND_START, GUMBEL_MAX, HALF, TABLE
from assay.protocol.parameters import FRACTION_BITS

if TYPE_CHECKING:
    from assay.inference.draws.card_kernels import Bound

_MASK32 = 0xFFFFFFFF
_PHILOX = ((0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85))
_PHILOX_ROUNDS = 10
_DIRECT = _PIECES = 256
#: Logits from which starting a thread pays. Tuning.
_THREAD_ELEMENTS = 1 << 19
#: Where nothing compiles, numpy draws row by row from this size on, and tensors below it. Tuning.
_LARGE_VOCABULARY = 2_048
_LOGIT_MAX_BITS = int(np.float32(LOGIT_MAX).view(np.int32))
BROKEN = "the model's logits are not finite, or beyond any use"


class NumericalError(OperatorError, RuntimeError):
    """A checkpoint's model computes logits that are not finite. Its trainer is to blame, but nobody
    can prove it: another device may stay just below the largest number."""

    trouble_kind = TroubleKind.CHECKPOINT


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


@cache
def load_kernels() -> ModuleType | None:
    """The module `kernels`, or None where numba cannot run, compile or cache its results."""
    try:
        from numba.core.errors import NumbaError
    except (ImportError, OSError) as error:
        _warn_of_numpy(error)
        return None
    try:
        from assay.inference.draws import kernels
    except (NumbaError, RuntimeError, ImportError, OSError) as error:
        _warn_of_numpy(error)
        return None
    return kernels


@cache
def load_card_kernels(device: torch.device) -> ModuleType | None:
    """The module `card_kernels`, or None where it does not run on this device."""
    return load_triton_module(
        "assay.inference.draws.card_kernels",
        lambda kernels: try_out(kernels, device),
        "drawing on tensors, many times slower",
    )


def try_out(kernels: ModuleType, device: torch.device) -> None:
    """Draw one token of a vocabulary of one, as a trial."""
    sampler = KeyedSampler(np.ones(1, bool), 1_024, device)
    row = torch.zeros(1, 1, device=device), make_keys([bytes(32)], device)
    sampler.draw_on_card(kernels, *row, torch.zeros(1, dtype=torch.int64, device=device))


def _warn_of_numpy(error: Exception) -> None:
    message = f"numba does not compile here ({error}): drawing in numpy, several times slower"
    warnings.warn(message, RuntimeWarning, stacklevel=3)


class KeyedSampler:
    """The keyed argmax over one vocabulary.

    Args:
        drawable: bool [V], ids that may be drawn.
        temperature: Tq = 1024 · T.
        device: of the logits.

    Attributes:
        drawable: bool [V]. table: the protocol's Gumbel table, int64. Both on the device.
        temperature: as given.
        bound: float64 [3], the bound of the noise, logits; see `kernels.draw_rows`.
        slack: `compute_slack` at magnitude 0, logits.
    """

    def __init__(
        self, drawable: NDArray[np.bool_], temperature: int, device: torch.device | None = None
    ) -> None:
        self.drawable = torch.from_numpy(drawable.copy()).to(device)
        self.table = torch.from_numpy(TABLE.copy()).to(device)
        self.temperature = temperature
        most = GUMBEL_MAX / (1 << FRACTION_BITS)
        self.bound = np.array([BOUND_START, BOUND_SLOPE, most]) * (temperature / 1024)
        self.slack = compute_slack(0.0, temperature)

    def score(self, logits: Tensor, keys: Tensor, positions: Tensor, ids: Tensor) -> Tensor:
        """Keyed scores of some ids, int64 [N, M], 2^-20 logits.

        Args:
            logits: float [N, V]. float64 is processed as tensors, all narrower types as float32.
            keys: int64 [N, 4].
            positions: int64 [N], index of the token in its completion.
            ids: int64 [N, M].
        """
        kernels = load_kernels() if is_for_a_cpu(logits) else None
        if kernels is None:
            words = compute_words_at(keys, positions, ids)
            return self._score_words(logits.gather(1, ids), words)
        scores = torch.empty_like(ids)
        kernels.score_ids(
            *to_arrays(logits.float(), keys, positions, ids),
            self.temperature,
            *to_arrays(self.table, scores),
        )
        return scores

    def draw(self, logits: Tensor, keys: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """The keyed argmax of each row and its score: int64 [N], int64 [N]; lowest id wins a tie.

        Arguments as in `score`.

        Raises:
            NumericalError: a logit is not finite.
        """
        if is_for_a_cpu(logits):
            logits = logits.float()
            if (kernels := load_kernels()) is not None:
                return self.draw_compiled(kernels, logits, keys, positions)
            if logits.shape[1] >= _LARGE_VOCABULARY:
                return self.draw_in_numpy(logits, keys, positions)
        elif is_for_a_card(logits) and (kernels := load_card_kernels(logits.device)) is not None:
            return self.draw_on_card(kernels, logits.float(), keys, positions)
        return self.draw_on_tensors(logits, keys, positions)

    def draw_compiled(
        self, kernels: ModuleType, logits: Tensor, keys: Tensor, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        ids, scores = torch.empty_like(positions), torch.empty_like(positions)
        drawable, table = to_arrays(self.drawable, self.table)

        def draw(rows: slice) -> bool:
            done: bool = kernels.draw_rows(
                *to_arrays(logits[rows]),
                drawable,
                *to_arrays(keys[rows], positions[rows]),
                self.temperature,
                table,
                self.bound,
                self.slack,
                LOGIT_MAX,
                *to_arrays(ids[rows], scores[rows]),
            )
            return done

        require_done(logits, draw)
        return ids, scores

    def draw_on_card(
        self, kernels: ModuleType, logits: Tensor, keys: Tensor, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        bound = self.make_card_bound(kernels)
        ids, scores, bits = kernels.draw_rows(
            logits.contiguous(), self.drawable, keys, positions, self.temperature, self.table, bound
        )
        require_useful(bits)
        return ids, scores

    def make_card_bound(self, kernels: ModuleType) -> "Bound":
        """The bound of the noise as `card_kernels` takes it."""
        bound: Bound = kernels.Bound(float(self.bound[0]), float(self.bound[1]), self.slack)
        return bound

    def draw_in_numpy(
        self, logits: Tensor, keys: Tensor, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        drawable = self.drawable.numpy()
        rows = zip(logits.numpy(), keys.tolist(), positions.tolist(), strict=True)
        try:
            drawn = [draw_token(x, drawable, key, t, self.temperature) for x, key, t in rows]
        except ValueError as error:
            raise NumericalError(BROKEN) from error
        ids, scores = torch.tensor(drawn, dtype=torch.int64).reshape(-1, 2).unbind(1)
        return ids, scores

    def draw_on_tensors(
        self, logits: Tensor, keys: Tensor, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The same as `draw_token`, for all rows at once."""
        magnitude = logits.abs().amax(dim=1)
        if not (magnitude < LOGIT_MAX).all():
            raise NumericalError(BROKEN)
        words = compute_words(keys, positions, logits.shape[1])
        bits = (_MASK32 - words).float().view(torch.int32)
        start, slope, _ = self.bound.tolist()
        bounds = logits + (start - slope * bits.float())  # float32 or float64
        bounds.masked_fill_(~self.drawable, -torch.inf)
        likely = bounds.argmax(dim=1, keepdim=True)
        best = self._score_words(logits.gather(1, likely), words.gather(1, likely))[:, 0]
        slack = magnitude.double() * 2.0**-20 + self.slack
        floor = (best.double() / (1 << FRACTION_BITS) - slack).to(bounds.dtype)
        rows, ids = (bounds >= floor[:, None]).nonzero(as_tuple=True)
        scores = self._score_words(logits[rows, ids], words[rows, ids])
        best = best.scatter_reduce(0, rows, scores, "amax")
        winners = torch.full_like(best, logits.shape[1])
        won = scores == best[rows]
        winners.scatter_reduce_(0, rows[won], ids[won], "amin")
        return winners, best

    def _score_words(self, logits: Tensor, words: Tensor) -> Tensor:
        """Keyed scores of ids with these logits and words, int64 of the same shape."""
        return _to_fixed(logits) + self._noise(words)

    def _noise(self, words: Tensor) -> Tensor:
        """(Γ(word) · Tq) >> 10, int64 of the same shape, 2^-20 logits."""
        side = words >> 31
        z = torch.where(side == 1, _MASK32 - words, words)
        octave = (torch.frexp(z.double()).exponent.long() - 9).clamp_(min=0)
        i = side * HALF + torch.where(z < _DIRECT, z, octave * _PIECES + (z >> octave))
        a = self.table[i]
        b = self.table[torch.where(z < _DIRECT, i, i + 1)]
        gumbel = a + (((b - a) * (z & ((torch.ones_like(z) << octave) - 1))) >> octave)
        return (gumbel * self.temperature) >> 10


def _to_fixed(logits: Tensor) -> Tensor:
    """rint(logit · 2^20) as int64; float64 products and rounding are exact IEEE operations."""
    return torch.round(logits.double() * (1 << FRACTION_BITS)).long()


def require_useful(bits: Tensor) -> None:
    """Raise a NumericalError where a row's largest |logit| is too large or not finite.

    Args:
        bits: the largest |logit| of each row as the bits of a float32, int32 [N].
    """
    if not (bits < _LOGIT_MAX_BITS).all():
        raise NumericalError(BROKEN)


def require_done(logits: Tensor, work: Callable[[slice], bool]) -> None:
    """Run some work on rows of logits [N, V], on as many threads as torch uses. Raises a
    NumericalError where `work` returns False for any rows."""
    threads = min(torch.get_num_threads(), len(logits), logits.numel() // _THREAD_ELEMENTS)
    step = -(-len(logits) // max(1, threads))
    parts = [slice(start, start + step) for start in range(0, len(logits), max(1, step))]
    if len(parts) <= 1:
        done = [work(part) for part in parts]
    else:
        with ThreadPoolExecutor(len(parts)) as executor:
            done = list(executor.map(work, parts))
    if not all(done):
        raise NumericalError(BROKEN)


def is_for_a_cpu(logits: Tensor) -> bool:
    """Return whether the compiled and the numpy path, which take float32, draw from these
    exactly."""
    return logits.device.type == "cpu" and logits.dtype != torch.float64


def is_for_a_card(logits: Tensor) -> bool:
    """Return whether Triton's kernels, which take float32, draw from these exactly."""
    return logits.is_cuda and logits.dtype != torch.float64


def to_arrays(*tensors: Tensor) -> tuple[NDArray[np.generic], ...]:
    """CPU tensors as contiguous arrays that share their memory where possible."""
    return tuple(tensor.contiguous().numpy() for tensor in tensors)
