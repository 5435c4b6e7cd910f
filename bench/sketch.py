"""Building the sketch of 1,024 tokens at hidden size 1,536, beside one matrix product as wide."""

import numpy as np
import torch
from figures import Figure, measure, report

from assay.inference import SketchBuilder
from assay.verification import Projection

TOKENS, HIDDEN, WIDE = 1_024, 1_536, 16


def main() -> None:
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    matrix = generator.choice([-1.0, 1.0], (HIDDEN, 2)).astype(np.float32)
    centre = generator.normal(size=HIDDEN).astype(np.float32)
    builder = SketchBuilder(Projection(matrix, centre, 40.0))
    states = torch.randn(TOKENS, HIDDEN)
    wide = torch.randn(HIDDEN, WIDE)
    with torch.inference_mode():
        build = measure(lambda: builder.build(states), repeats=51)
        product = measure(lambda: states @ wide, repeats=51)
    baseline = f"matrix product by [{HIDDEN}, {WIDE}]"
    report(
        f"sketch of {TOKENS} tokens × H = {HIDDEN}",
        [Figure("build", build * 1e3, "ms", baseline, product * 1e3, bound=2)],
        1,
    )


if __name__ == "__main__":
    main()
