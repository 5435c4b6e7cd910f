"""The keyed draw and the judge's statistics on a GPU: two Triton kernels that read the logits once.

`scan_blocks` reads every logit. For each block of `BLOCK` ids it keeps five numbers: the largest
bound of a score, the largest |logit|, the largest logit and two sums of exponentials. `settle_rows`
then finds the blocks of a row that can hold the winner, and reads those again, one or two of
dozens. Only ids whose bound reaches the best score found get their exact score, in the integers of
`assay.protocol.draw`, bit for bit. No noise is written to memory.

Block sizes are fixed and nothing is tuned at run time, so results depend neither on the GPU's other
work, nor on which rows are computed together. Sums of exponentials are float32 within a block, as a
tree, and float64 over the blocks in order. Products and sums are never fused: compilers' defaults
change between versions of Triton.

This module does not know where the logits came from. Importing it imports Triton. To interpret the
kernels on a CPU, set `TRITON_INTERPRET=1` before. Specification, section 3.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Ids of one program, a power of two. Fixed: it decides the order of sums.
BLOCK = 4_096
_WARPS = 8
_HALF = tl.constexpr(256 + 23 * 256 + 1)  # entries of half of `assay.protocol.gumbel.TABLE`
#: Below every score: a logit is below 2^40, so a score is above −2^61.
_LOWEST = tl.constexpr(-(1 << 62))
#: Adding and subtracting it rounds a float64 below 2^51 to an integer, half to even.
_ROUNDER = tl.constexpr(1.5 * 2.0**52)
_ROUNDED_MAX = tl.constexpr(2.0**51)
#: One compilation for all numbers of rows, and one order of sums: Triton must not specialise on
#: these arguments where they are 1 or a multiple of 16, nor on the alignment of these addresses.
_VARYING = {
    "do_not_specialize": ("blocks", "temperature", "token_unit", "token_max"),
    "do_not_specialize_on_alignment": (
        *("keys", "positions", "tokens"),
        *("tops", "magnitudes", "maxima", "totals", "squares"),
        *("ids", "scores", "margins", "gini", "logprobs"),
    ),
}


class Bound(NamedTuple):
    """The bound of a score: logit + start − slope · (bits of a float32); see `protocol.gumbel`."""

    start: float  # T · BOUND_START, logits
    slope: float  # T · BOUND_SLOPE
    slack: float  # `compute_slack` at magnitude 0


class CardStatistics(NamedTuple):
    """The results of `measure_rows`; see `assay.inference.draws.row_statistics.RowStatistics`."""

    best: Tensor
    margins: Tensor
    gini: Tensor
    logprobs: Tensor


@triton.jit
def _make_words(keys, position, quads):  # type: ignore[no-untyped-def]
    """Philox words of the four ids of each quad: four tensors, uint32 of the shape of `quads`."""
    zeros = tl.zeros_like(quads).to(tl.uint32)
    s0, s1 = tl.load(keys), tl.load(keys + 1)
    s2, s3 = tl.load(keys + 2).to(tl.uint32), tl.load(keys + 3).to(tl.uint32)
    seed = (s0 | (s1 << 32)).to(tl.uint64)
    at = zeros + position.to(tl.uint32)
    return tl.philox(seed, quads.to(tl.uint32), at, zeros + s2, zeros + s3)


@triton.jit
def _load_bounds(  # type: ignore[no-untyped-def]
    logits, drawable, keys, position, vocabulary, start, slope, block, SIZE: tl.constexpr
):
    """Id, logit, word, drawability and bound of the score (in logits) of each id of a block."""
    words = _make_words(keys, position, block * (SIZE // 4) + tl.arange(0, SIZE // 4))
    word = tl.interleave(tl.interleave(words[0], words[2]), tl.interleave(words[1], words[3]))
    ids = block * SIZE + tl.arange(0, SIZE)
    inside = ids < vocabulary
    logit = tl.load(logits + ids, mask=inside, other=0.0)
    open_ = tl.load(drawable + ids, mask=inside, other=0) != 0
    bits = (word ^ 0xFFFFFFFF).to(tl.float32).to(tl.int32, bitcast=True)
    bound = logit + (start - slope * bits.to(tl.float32))
    return ids, logit, word, open_, tl.where(open_, bound, float("-inf"))


@triton.jit
def _round_half_even(x):  # type: ignore[no-untyped-def]
    """The nearest integer to a float64, as a float64. A number of 2^51 or more is an integer
    already."""
    return tl.where(tl.abs(x) < _ROUNDED_MAX, (x + _ROUNDER) - _ROUNDER, x)


@triton.jit
def _score(logit, word, wanted, table, temperature):  # type: ignore[no-untyped-def]
    """Exact keyed scores where `wanted`, int64 in 2^-20 logits: `score_tokens`."""
    w = word.to(tl.int64)
    side = w >> 31
    z = tl.where(side == 1, 0xFFFFFFFF - w, w)
    # the exponent of a float64 is the bit length of an integer, less one
    octave = tl.maximum((z.to(tl.float64).to(tl.int64, bitcast=True) >> 52) - (1_023 + 8), 0)
    direct = z < 256
    i = side * _HALF + tl.where(direct, z, octave * 256 + (z >> octave))
    a = tl.load(table + i, mask=wanted, other=0)
    b = tl.load(table + tl.where(direct, i, i + 1), mask=wanted, other=0)
    one = tl.full(z.shape, 1, tl.int64)
    gumbel = a + (((b - a) * (z & ((one << octave) - 1))) >> octave)
    fixed = _round_half_even(logit.to(tl.float64) * 1_048_576.0).to(tl.int64)
    return fixed + ((gumbel * temperature) >> 10)


@triton.jit(**_VARYING)
def scan_blocks(  # type: ignore[no-untyped-def]
    logits, stride, drawable, keys, positions, vocabulary, blocks, start, slope,
    tops, magnitudes, maxima, totals, squares, SIZE: tl.constexpr, SUMS: tl.constexpr,
):  # fmt: skip
    """Scan one block of one row: grid (rows, blocks). Writes [N, blocks], all float32 but
    `magnitudes`, which are a float32's bits: those of infinities and NaN are larger than any
    number's."""
    row, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    _, logit, _, open_, bound = _load_bounds(
        logits + row * stride, drawable, keys + row * 4, tl.load(positions + row),
        vocabulary, start, slope, block, SIZE,
    )  # fmt: skip
    at = row * blocks + block
    bits = logit.to(tl.int32, bitcast=True) & 0x7FFFFFFF
    tl.store(magnitudes + at, tl.max(bits, 0))
    tl.store(tops + at, tl.max(bound, 0))
    if SUMS:
        masked = tl.where(open_, logit, float("-inf"))
        top = tl.max(masked, 0)
        power = tl.where(open_, tl.exp(masked - tl.where(top == float("-inf"), 0.0, top)), 0.0)
        tl.store(maxima + at, top)
        tl.store(totals + at, tl.sum(power, 0))
        tl.store(squares + at, tl.sum(power * power, 0))


@triton.jit
def _find_floor(best, reach):  # type: ignore[no-untyped-def]
    """The bound, float32 in logits, that an id needs to reach a score."""
    return (best.to(tl.float64) / 1_048_576.0 - reach).to(tl.float32)


@triton.jit
def _draw_block(  # type: ignore[no-untyped-def]
    logits, drawable, keys, position, vocabulary, start, slope, block, floor, table, temperature,
    SIZE: tl.constexpr,
):  # fmt: skip
    """The best score of a block's ids whose bound reaches `floor`, and the lowest id with it."""
    ids, logit, word, _, bound = _load_bounds(
        logits, drawable, keys, position, vocabulary, start, slope, block, SIZE
    )
    reaches = (bound >= floor) & (bound > float("-inf"))
    score = tl.where(reaches, _score(logit, word, reaches, table, temperature), _LOWEST)
    best = tl.max(score, 0)
    return best, tl.min(tl.where(score == best, ids, vocabulary), 0)


@triton.jit
def _settle_claim(  # type: ignore[no-untyped-def]
    row, logits, drawable, keys, position, table, temperature, token, best, blocks, maxima, totals,
    squares, margins, gini, logprobs, token_unit, token_max, COUNT: tl.constexpr,
):  # fmt: skip
    """Compute and write margin, Gini impurity and log-probability of one row's claimed id."""
    one = tl.arange(0, 1)
    words = _make_words(keys, position, (token >> 2).to(tl.int32) + one)
    corner = (token & 3).to(tl.int32) + one
    low = tl.where(corner == 0, words[0], words[1])
    word = tl.where(corner < 2, low, tl.where(corner == 2, words[2], words[3]))
    logit = tl.load(logits + token + one)
    score = tl.sum(_score(logit, word, one == 0, table, temperature), 0)
    tl.store(margins + row, best - score)

    places = tl.arange(0, COUNT)
    inside = places < blocks
    highest = tl.load(maxima + row * blocks + places, mask=inside, other=float("-inf"))
    highest = highest.to(tl.float64)
    top = tl.max(highest, 0)
    scale = tl.exp(highest - top)
    sums = tl.load(totals + row * blocks + places, mask=inside, other=0.0).to(tl.float64)
    total = tl.sum(sums * scale, 0)
    sums = tl.load(squares + row * blocks + places, mask=inside, other=0.0).to(tl.float64)
    square = tl.sum(sums * scale * scale, 0)
    tl.store(gini + row, tl.maximum(1.0 - square / (total * total), 0.0))
    surprise = tl.sum(top - logit.to(tl.float64), 0) + tl.log(total)
    units = tl.minimum(tl.maximum(_round_half_even(surprise * token_unit), 0), token_max)
    closed = tl.load(drawable + token) == 0
    tl.store(logprobs + row, tl.where(closed, token_max, units.to(tl.int64)))


@triton.jit(**_VARYING)
def settle_rows(  # type: ignore[no-untyped-def]
    logits, stride, drawable, keys, positions, vocabulary, blocks, start, slope, slack, table,
    temperature, tops, magnitudes, maxima, totals, squares, tokens, ids, scores, margins, gini,
    logprobs, token_unit, token_max, SIZE: tl.constexpr, COUNT: tl.constexpr, SUMS: tl.constexpr,
):  # fmt: skip
    """Settle one row: grid (rows,). Writes the keyed argmax and its score; with SUMS, the
    statistics, too. The first of the row's `magnitudes` then holds the row's largest |logit|, as
    bits."""
    row = tl.program_id(0).to(tl.int64)
    logits, keys, position = logits + row * stride, keys + row * 4, tl.load(positions + row)
    tops, magnitudes = tops + row * blocks, magnitudes + row * blocks
    places = tl.arange(0, COUNT)
    bits = tl.max(tl.load(magnitudes + places, mask=places < blocks, other=0), 0)
    tl.store(magnitudes, bits)
    # in float64; the slack is the most that a bound may be too low, see `compute_slack`
    reach = bits.to(tl.float32, bitcast=True).to(tl.float64) * (2.0**-20) + slack
    bounds = tl.load(tops + places, mask=places < blocks, other=float("-inf"))
    likely, top = tl.argmax(bounds, 0), tl.max(bounds, 0)
    first, _ = _draw_block(
        logits, drawable, keys, position, vocabulary, start, slope, likely, top, table,
        temperature, SIZE,
    )  # fmt: skip
    floor = _find_floor(first, reach)
    best, winner = tl.full([], _LOWEST, tl.int64), tl.zeros([], tl.int32) + vocabulary
    for block in range(0, blocks):
        if tl.load(tops + block) >= floor:
            score, i = _draw_block(
                logits, drawable, keys, position, vocabulary, start, slope, block, floor, table,
                temperature, SIZE,
            )  # fmt: skip
            winner = tl.where(score > best, i, winner)  # blocks ascend: the lowest id wins a tie
            best = tl.maximum(score, best)
            floor = tl.maximum(floor, _find_floor(best, reach))
    tl.store(ids + row, winner.to(tl.int64))
    tl.store(scores + row, best)
    if SUMS:
        _settle_claim(
            row, logits, drawable, keys, position, table, temperature, tl.load(tokens + row),
            best, blocks, maxima, totals, squares, margins, gini, logprobs, token_unit, token_max,
            COUNT,
        )  # fmt: skip


def draw_rows(
    logits: Tensor,
    drawable: Tensor,
    keys: Tensor,
    positions: Tensor,
    temperature: int,
    table: Tensor,
    bound: Bound,
) -> tuple[Tensor, Tensor, Tensor]:
    """The keyed argmax of each row.

    Args:
        logits: float32 [N, V], with contiguous rows.
        drawable: bool [V], at least one id.
        keys: int64 [N, 4]. positions: int64 [N].
        temperature: Tq = 1024 · T.
        table: `assay.protocol.gumbel.TABLE`, int64.

    Returns:
        Ids int64 [N], scores int64 [N], and the bits of each row's largest |logit|, int32 [N].
        Where that is not a finite number below `LOGIT_MAX`, the other results mean nothing.
    """
    rows = _Rows(logits, drawable, keys, positions, temperature, table, bound)
    whole, _, bits = rows.settle(None)
    return whole[0], whole[1], bits


def measure_rows(
    logits: Tensor,
    drawable: Tensor,
    keys: Tensor,
    positions: Tensor,
    temperature: int,
    table: Tensor,
    bound: Bound,
    tokens: Tensor,
    logprob_unit: int,
    logprob_max: int,
) -> tuple[CardStatistics, Tensor]:
    """The judge's statistics of each row, and the bits of its largest |logit|.

    Args:
        tokens: int64 [N], below V, the claimed ids.
        logprob_unit: parts of a nat to which a log-probability is rounded.
        logprob_max: the limit for log-probabilities, in these parts; also the value of an
            undrawable id.
        others: as in `draw_rows`.
    """
    rows = _Rows(logits, drawable, keys, positions, temperature, table, bound)
    (best, _, margins, logprobs), gini, bits = rows.settle(tokens, logprob_unit, logprob_max)
    return CardStatistics(best, margins, gini, logprobs), bits


class _Rows:
    """Some rows of logits, scanned or not, and the buffers for the kernels' results."""

    def __init__(
        self,
        logits: Tensor,
        drawable: Tensor,
        keys: Tensor,
        positions: Tensor,
        temperature: int,
        table: Tensor,
        bound: Bound,
    ) -> None:
        self._device = logits.device
        self._rows, vocabulary = logits.shape
        self._blocks = triton.cdiv(vocabulary, BLOCK)
        self._temperature, self._table, self._bound = temperature, table, bound
        self._given = (
            logits,
            logits.stride(0),
            drawable,
            keys.contiguous(),
            positions.contiguous(),
            vocabulary,
            self._blocks,
            bound.start,
            bound.slope,
        )

    def settle(
        self, tokens: Tensor | None, unit: int = 0, most: int = 0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Settle the rows. Return int64 [4, N] of ids, scores, margins and log-probabilities, then
        Gini impurities and the bits of magnitudes. Without tokens, margins, log-probabilities and
        Gini impurities are not computed."""
        device, shape = self._device, (self._rows, self._blocks)
        scanned = torch.empty(4, *shape, device=device)
        bits = torch.empty(shape, dtype=torch.int32, device=device)
        whole = torch.empty(4, self._rows, dtype=torch.int64, device=device)
        gini = torch.empty(self._rows, dtype=torch.float64, device=device)
        tops, *sums = scanned
        settings = {
            "SIZE": BLOCK,
            "SUMS": tokens is not None,
            "num_warps": _WARPS,
            "enable_fp_fusion": False,
        }
        if not self._rows:
            return whole, gini, bits[:, 0]
        with torch.cuda.device_of(bits):  # Triton launches on the current one
            scan_blocks[shape](*self._given, tops, bits, *sums, **settings)
            settle_rows[(self._rows,)](
                *self._given,
                self._bound.slack * (1 + 2.0**-20),  # rounded up: it becomes a float32
                self._table,
                self._temperature,
                tops,
                bits,
                *sums,
                whole[0] if tokens is None else tokens.contiguous(),
                *whole[:3],
                gini,
                whole[3],
                unit,
                most,
                COUNT=triton.next_power_of_2(self._blocks),
                **settings,
            )
        return whole, gini, bits[:, 0]
