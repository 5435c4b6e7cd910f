"""Drafts in bf16 compared with drafts in the reference's precision, on a GPU: arithmetic only.

An engine that multiplies bf16 weights with activations split into three bf16 terms (`split3`) would
draft what the reference draws. It reads as many bytes of weights as in bf16, takes three times the
products, and keeps keys and values in fp32. Each submitted token costs a share of a decoding step
for each of its drafts, and its reading by the reference on the same card. A step takes as long as
its bytes or its products, whichever take longer, at the rates of the data sheet.
"""

from dataclasses import dataclass

from figures import Figure, report

#: An H100 SXM: bytes and bf16 products (two operations each) a second.
BANDWIDTH, PRODUCTS = 3.35e12, 989e12 / 2
#: Tokens drafted and read for each submitted token if 1.6 % of drafts are wrong (`bench/follow.py`,
#: 512 tokens) and if none are: near ties are read again in both cases.
DRAFTED, READ = 1.19, 1.28
DRAFTED_SPLIT, READ_SPLIT = 1.0, 1.07
TERMS = 3


@dataclass(frozen=True)
class Size:
    """A model: its weights, and bytes of bf16 keys and values per token."""

    name: str
    weights: float
    kept: float


SIZES = (
    Size("Qwen2.5-1.5B", 1.54e9, 28 * 2 * 2 * 128 * 2),
    Size("7B", 7.6e9, 28 * 2 * 4 * 128 * 2),
)


def estimate(size: Size, rows: int, context: int, *, is_split: bool) -> float:
    """Seconds for each submitted token. `context`: tokens of a row at its middle."""
    width = 2 if is_split else 1
    moved = 2 * size.weights + rows * context * size.kept * width
    step = max(moved / BANDWIDTH, size.weights * rows * (TERMS if is_split else 1) / PRODUCTS)
    read = READ_SPLIT if is_split else READ
    reading = read * TERMS * size.weights / PRODUCTS
    return step / rows * (DRAFTED_SPLIT if is_split else DRAFTED) + reading


def main() -> None:
    figures = []
    for size in SIZES:
        for rows in (32, 128, 256):
            for context in (256, 1_024):
                split, plain = (
                    estimate(size, rows, context, is_split=is_split) * 1e6
                    for is_split in (True, False)
                )
                name = f"{size.name}, {rows} rows of {context:,} tokens: split3 drafts"
                figures.append(Figure(name, split, "µs a token", "bf16 drafts", plain))
    report("drafting and reading on one H100: arithmetic, measured nowhere", figures, 1)


if __name__ == "__main__":
    main()
