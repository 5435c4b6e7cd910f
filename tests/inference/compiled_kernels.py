"""Triton's kernels compiled for cards that are not here: run by `test_card_kernels.py`."""

import json
import sys
from itertools import product
from typing import Any

from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from assay.inference import split_kernels
from assay.inference.draws import card_kernels
from assay.inference.split_kernels import Tile

REALS, WHOLES = "*fp32", "*i64"
COMMON = {
    "logits": REALS,
    "stride": "i32",
    "drawable": "*i1",
    "keys": WHOLES,
    "positions": WHOLES,
    "vocabulary": "i32",
    "blocks": "i32",
    "start": "fp32",
    "slope": "fp32",
}
SCANNED = {"tops": REALS, "magnitudes": "*i32", "maxima": REALS, "totals": REALS, "squares": REALS}
SETTLED = {
    "tokens": WHOLES,
    "ids": WHOLES,
    "scores": WHOLES,
    "margins": WHOLES,
    "gini": "*fp64",
    "logprobs": WHOLES,
    "token_unit": "i32",
    "token_max": "i32",
}
SETTLING = COMMON | {"slack": "fp32", "table": WHOLES, "temperature": "i32"} | SCANNED | SETTLED


TERM = "*bf16"
TERMS = {"smallest": TERM, "middle": TERM, "largest": TERM}
PRODUCT = TERMS | {
    "weight": TERM,
    "bias": REALS,
    "product": REALS,
    **dict.fromkeys(("sources", "ends", "tile_ends"), WHOLES),
    **dict.fromkeys(("rows", "tiles", "out", "inner"), "i32"),
    **dict.fromkeys(("matrix_stride", "out_stride"), "i64"),
    "product_stride": "i32",
    **dict.fromkeys(("up", "term_stride"), "i64"),
}
#: Bytes of shared memory that a program may have, by NVIDIA's guides.
SHARED = {80: 163 << 10, 90: 227 << 10}
#: Arguments that sizes of real models make multiples of 16.
EVEN = (*PRODUCT.keys() - {"rows", "tiles"},)


def compile_for(
    architecture: int, kernel: Any, types: dict[str, str], constants: dict[str, Any], **options: Any
) -> Any:
    """A kernel for a card. `even` among the options names arguments that are multiples of 16."""
    even = options.pop("even", ())
    names = kernel.arg_names
    source = ASTSource(
        fn=kernel,
        signature=types | dict.fromkeys(constants, "constexpr"),
        constexprs=constants,
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in even},
    )
    return compile(source, target=GPUTarget("cuda", architecture, 32), options=options)


def compile_products(architecture: int, tile: Tile, matrices: int, is_gated: bool) -> Any:
    """`multiply_rows` for rows of one matrix or of several, with a bias, or of gates."""
    constants = {
        "inner_stride": 1,
        "MATRICES": matrices,
        "PLACES": max(1, matrices),
        "BIAS": not is_gated,
        "GATED": is_gated,
        "WIDE": False,
        "ROWS": tile.rows,
        "COLUMNS": tile.columns,
        "FACTORS": split_kernels.FACTORS,
        "PIECE": split_kernels.SUMMED,
        "BAND": split_kernels.BAND,
    }
    options = {"num_warps": tile.warps, "num_stages": tile.stages, "even": EVEN}
    types = PRODUCT | {"product": TERM if is_gated else REALS}
    return compile_for(architecture, split_kernels.multiply_rows, types, constants, **options)


def main() -> None:
    """Prints, as JSON, the bytes of each kernel's program: architecture → kernel → bytes."""
    sizes: dict[str, dict[str, int]] = {}
    for architecture in map(int, sys.argv[1:]):
        found = sizes[str(architecture)] = {}
        for sums in (False, True):
            fixed = {"SIZE": card_kernels.BLOCK, "SUMS": sums}
            for kernel, types, constants in (
                (card_kernels.scan_blocks, COMMON | SCANNED, fixed),
                (card_kernels.settle_rows, SETTLING, fixed | {"COUNT": 64}),
            ):
                options = {"num_warps": 8, "enable_fp_fusion": False}
                done = compile_for(architecture, kernel, types, constants, **options)
                found[f"{kernel.__name__}, sums {sums}"] = len(done.asm["cubin"])
        types = {"x": REALS, "terms": TERM, "count": "i32"}
        done = compile_for(architecture, split_kernels.split_rows, types, {"SIZE": 4_096})
        found["split_rows"] = len(done.asm["cubin"])
        tile = split_kernels.TILES[architecture // 10]
        tiles = (0, tile), (128, tile), (128, split_kernels.shrink(tile))
        for (matrices, shape), is_gated in product(tiles, (False, True)):
            done = compile_products(architecture, shape, matrices, is_gated)
            assert ("wgmma" in done.asm["ptx"]) == (architecture == 90)
            assert done.metadata.shared <= SHARED[architecture]
            name = f"multiply_rows, {matrices} matrices, {shape.rows} rows, gated {is_gated}"
            found[name] = len(done.asm["cubin"])
    print(json.dumps(sizes))


if __name__ == "__main__":
    main()
