"""Triton's kernels compiled for cards that are not here: run by `test_card_kernels.py`."""

import json
import sys

from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from assay.inference.draws import card_kernels

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
                source = ASTSource(
                    fn=kernel,
                    signature=types | dict.fromkeys(constants, "constexpr"),
                    constexprs=constants,
                )
                target = GPUTarget("cuda", architecture, 32)
                options = {"num_warps": 8, "enable_fp_fusion": False}
                done = compile(source, target=target, options=options)
                found[f"{source.name}, sums {sums}"] = len(done.asm["cubin"])
    print(json.dumps(sizes))


if __name__ == "__main__":
    main()
