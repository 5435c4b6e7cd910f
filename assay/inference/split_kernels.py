"""Split products on a GPU: two Triton kernels, for one matrix or for each of a mixture's experts.

`split_rows` writes the three bf16 terms of an activation in one pass. `multiply_rows` multiplies
them. It keeps two fp32 accumulators for a tile: the smaller terms are summed whole, then each piece
of `SUMMED` factors of the largest ones, which is added to them as IEEE rounds. A result is written
once, where products of the library are read and written again for each piece. Of gates, both
products are one: what is written are the terms of silu(x·G)·(x·U), for the next product. Between
others stand norms and attention, so their results are split where they are needed.

Rows may belong to several matrices, those of one matrix after those of another. One launch then
does the work of all: each program looks up whose rows its tile has.

Tiles are fixed for a kind of GPU and nothing is tuned at run time. They do not decide the order of
sums, so another GPU's tiles change no bit. This module does not know how a GPU's matrix units
round. Importing it imports Triton; to interpret the kernels on a CPU, set `TRITON_INTERPRET=1`
before.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from assay.inference.placing.precision import SUMMED

#: Factors that a program holds at once, a divisor of `SUMMED`. Fixed: it decides the order of sums.
FACTORS = 64
#: Elements that a program splits.
_SPLIT = 4_096
#: Rows of tiles whose programs run near each other, so that they share a matrix in the cache.
BAND = 8
#: One compilation for all numbers of rows.
_VARYING = {"do_not_specialize": ("rows", "tiles")}


class Tile(NamedTuple):
    """The part of a result that a program computes."""

    rows: int
    columns: int
    warps: int
    stages: int  # parts of operands that are fetched ahead


#: By the major number of a GPU's compute capability, as arithmetic has it: two accumulators of a
#: tile fill half of the registers, and `stages` the shared memory. `bench/card_rows.py` times
#: others.
TILES = {8: Tile(128, 64, 8, 3), 9: Tile(128, 128, 8, 4)}
_TILE = Tile(64, 64, 4, 2)
#: Rows of a tile where the rows of one matrix are fewer.
_FEW = 64


class Groups(NamedTuple):
    """Rows of several matrices.

    Attributes:
        ends: int64 [E], the place behind the last row of each matrix.
        sources: int64 [N], the activation's row that each row stands for.
    """

    ends: Tensor
    sources: Tensor


@triton.jit
def _round(x):  # type: ignore[no-untyped-def]
    """The bf16 nearest to a float32, half to even, as torch rounds. In integers: Triton's
    interpreter would cut bits off."""
    bits = x.to(tl.uint32, bitcast=True)
    near = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    near = tl.where(x == x, near, 0x7FC0)  # what is no number stays none
    return near.to(tl.uint16).to(tl.bfloat16, bitcast=True)


@triton.jit
def _store_terms(at, x, stride, inside):  # type: ignore[no-untyped-def]
    """Write the three terms of x, the smallest first, `stride` apart."""
    first = _round(x)
    rest = x - first.to(tl.float32)
    second = _round(rest)
    rest -= second.to(tl.float32)
    tl.store(at, _round(rest), mask=inside)
    tl.store(at + stride, second, mask=inside)
    tl.store(at + stride + stride, first, mask=inside)


@triton.jit
def split_rows(x, terms, count, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]
    """Write the terms of float32 [count]: `assay.inference.split.split_terms` of three."""
    at = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    inside = at < count
    _store_terms(terms + at, tl.load(x + at, mask=inside, other=0.0), count, inside)


@triton.jit
def _add_product(x, x_inside, w, w_inside, left, total, WIDE: tl.constexpr):  # type: ignore[no-untyped-def]
    """total + the product of a part of x and of w, of whose factors `left` are left."""
    factors = tl.arange(0, x.shape[1])
    a = tl.load(x, mask=x_inside[:, None] & (factors < left)[None, :], other=0.0)
    b = tl.load(w, mask=(factors < left)[:, None] & w_inside[None, :], other=0.0)
    if WIDE:  # Triton's interpreter takes a bf16 operand for integers
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, total)


@triton.jit(**_VARYING)
def multiply_rows(  # type: ignore[no-untyped-def]
    smallest, middle, largest, weight, bias, product, sources, ends, tile_ends, rows, tiles, out,
    inner, matrix_stride, out_stride, inner_stride, product_stride, up, term_stride,
    MATRICES: tl.constexpr, PLACES: tl.constexpr, BIAS: tl.constexpr, GATED: tl.constexpr,
    WIDE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, FACTORS: tl.constexpr,
    PIECE: tl.constexpr, BAND: tl.constexpr,
):  # fmt: skip
    """Multiply one tile: grid (tiles · ⌈out / COLUMNS⌉,), twice as many columns if GATED. Then half
    of a tile's columns are of the gate, and half lie `up` elements behind them. With MATRICES, not
    0, `tile_ends` are the places behind the last tile of each, as `ends` are of rows."""
    WIDTH: tl.constexpr = COLUMNS // 2 if GATED else COLUMNS
    # a band of rows of tiles, one column of tiles after the other
    across = tl.cdiv(out, WIDTH)
    band = tl.program_id(0) // (BAND * across)
    high = tl.minimum(tiles - band * BAND, BAND)
    place = tl.program_id(0) % (BAND * across)
    tile, column = band * BAND + place % high, place // high
    start, end = tile * ROWS, rows
    number = tl.zeros([], tl.int32)
    if MATRICES:
        places = tl.arange(0, PLACES)
        behind = tl.load(tile_ends + places, mask=places < MATRICES, other=tiles + 1)
        number = tl.sum((behind <= tile).to(tl.int32), 0)
        if number == MATRICES:  # there are fewer tiles than there could be
            return
        end = tl.load(ends + number).to(tl.int32)
        first, before = 0, 0
        if number > 0:
            first = tl.load(ends + number - 1).to(tl.int32)
            before = tl.load(tile_ends + number - 1).to(tl.int32)
        start = first + (tile - before) * ROWS
    at = start + tl.arange(0, ROWS)
    inside = at < end
    row = at.to(tl.int64)
    if MATRICES:
        row = tl.load(sources + at, mask=inside, other=0)
    lanes = tl.arange(0, COLUMNS)
    columns = column * WIDTH + lanes % WIDTH
    wanted = columns < out
    factors = tl.arange(0, FACTORS)
    xs = row[:, None] * inner + factors[None, :]
    matrix = weight + number.to(tl.int64) * matrix_stride
    places = columns.to(tl.int64) * out_stride
    if GATED:
        places += (lanes // WIDTH) * up
    ws = matrix + factors[:, None] * inner_stride + places[None, :]

    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    w = ws
    for k in range(0, inner, FACTORS):
        total = _add_product(smallest + xs + k, inside, w, wanted, inner - k, total, WIDE)
        total = _add_product(middle + xs + k, inside, w, wanted, inner - k, total, WIDE)
        w += FACTORS * inner_stride
    piece = tl.zeros((ROWS, COLUMNS), tl.float32)
    w = ws
    for k in range(0, inner, FACTORS):
        piece = _add_product(largest + xs + k, inside, w, wanted, inner - k, piece, WIDE)
        w += FACTORS * inner_stride
        if (k + FACTORS) % PIECE == 0:
            total += piece
            piece = tl.zeros((ROWS, COLUMNS), tl.float32)
    total += piece
    if BIAS:
        total += tl.load(bias + number * out + columns, mask=wanted, other=0.0)[None, :]
    if GATED:
        halves = tl.permute(tl.reshape(total, (ROWS, 2, WIDTH)), (0, 2, 1))
        gate, lifted = tl.split(halves)
        total = gate / (1.0 + tl.exp(-gate)) * lifted
        columns = column * WIDTH + tl.arange(0, WIDTH)
    inside = inside[:, None] & (columns < out)[None, :]
    written = product + at.to(tl.int64)[:, None] * product_stride + columns[None, :]
    if GATED:
        _store_terms(written, total, term_stride, inside)
    else:
        tl.store(written, total, mask=inside)


def split(x: Tensor) -> Tensor:
    """The three terms of float32 [...] that add up to it, the smallest first: bf16 [3, ...]."""
    x = x.contiguous()
    terms = x.new_empty(3, *x.shape, dtype=torch.bfloat16)
    if x.numel():
        grid = (triton.cdiv(x.numel(), _SPLIT),)
        with torch.cuda.device_of(x):  # Triton launches on the current one
            split_rows[grid](x, terms, x.numel(), SIZE=_SPLIT)
    return terms


def multiply(
    terms: Sequence[Tensor],
    weight: Tensor,
    bias: Tensor | None,
    product: Tensor,
    groups: Groups | None = None,
    tile: Tile | None = None,
) -> None:
    """Multiply the terms of an activation by a matrix, or of each row by its own, and add a bias.

    Args:
        terms: three of bf16 [n, in], the smallest first, contiguous.
        weight: bf16 [out, in], or with groups [E, out, in], in any layout.
        bias: float32 [out], or with groups [E, out], contiguous; None for none.
        product: float32 [N, out], with contiguous rows, which is written; without groups N = n.
        groups: of the product's rows. None: all have one matrix.
        tile: None: this GPU's.
    """
    _launch(terms, weight, bias, product, groups, tile, None)


def multiply_gates(
    terms: Sequence[Tensor],
    gate: Tensor,
    up: Tensor,
    groups: Groups | None = None,
    tile: Tile | None = None,
) -> Tensor:
    """The terms of silu(x · gateᵀ) · (x · upᵀ), bf16 [3, N, out], the smallest first.

    Args:
        gate, up: of one shape and layout, as `weight` of `multiply`, which also has the others.
    """
    rows = len(terms[0]) if groups is None else len(groups.sources)
    made = gate.new_empty(3, rows, gate.shape[-2])
    apart = (up.data_ptr() - gate.data_ptr()) // gate.element_size()
    _launch(terms, gate, None, made, groups, tile, apart)
    return made


def _launch(
    terms: Sequence[Tensor],
    weight: Tensor,
    bias: Tensor | None,
    product: Tensor,
    groups: Groups | None,
    tile: Tile | None,
    apart: int | None,
) -> None:
    """See `multiply`; with `apart`, the distance of a gate's two matrices, `multiply_gates`."""
    rows, out = product.shape[-2:]
    matrices = 0 if groups is None else len(weight)
    tile = tile or get_tile(product.device, rows // max(1, matrices))
    tiles = triton.cdiv(rows, tile.rows)
    sources = ends = tile_ends = product  # none is read
    if groups is not None:
        sources, ends = groups.sources, groups.ends
        counts = ends.diff(prepend=ends.new_zeros(1))
        tile_ends = (counts + (tile.rows - 1)).div(tile.rows, rounding_mode="floor").cumsum(0)
        tiles += matrices  # at most: each matrix may have one that is not full
    if not product.numel():
        return
    width = tile.columns if apart is None else tile.columns // 2
    with torch.cuda.device_of(product):
        multiply_rows[(tiles * triton.cdiv(out, width),)](
            *terms,
            weight,
            product if bias is None else bias,
            product,
            sources,
            ends,
            tile_ends,
            rows,
            tiles,
            out,
            weight.shape[-1],
            weight.stride(0) if matrices else 0,
            weight.stride(-2),
            weight.stride(-1),
            product.stride(-2),
            apart or 0,
            product.stride(0),
            MATRICES=matrices,
            PLACES=triton.next_power_of_2(max(1, matrices)),
            BIAS=bias is not None,
            GATED=apart is not None,
            WIDE=not product.is_cuda,
            ROWS=tile.rows,
            COLUMNS=tile.columns,
            FACTORS=FACTORS,
            PIECE=SUMMED,
            BAND=BAND,
            num_warps=tile.warps,
            num_stages=tile.stages,
        )


def get_tile(device: torch.device, rows: int) -> Tile:
    """A GPU's tile for so many rows of a matrix."""
    if device.type == "cpu":  # interpreted
        return Tile(32, 32, 1, 1)
    major, _ = torch.cuda.get_device_capability(device)
    tile = TILES.get(major, _TILE)
    properties: Any = torch.cuda.get_device_properties(device)
    # a stage holds a part of the matrix and of the two smaller terms, in bf16
    stage = 2 * FACTORS * (tile.columns + 2 * tile.rows)
    if tile.stages * stage > properties.shared_memory_per_block_optin:
        tile = _TILE
    return shrink(tile) if rows < tile.rows else tile


def shrink(tile: Tile) -> Tile:
    """A tile for few rows."""
    return tile._replace(rows=_FEW, warps=4)
