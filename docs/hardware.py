"""Writes the tables of hardware.md: what models of four sizes need, by arithmetic.

python docs/hardware.py          # rewrites them
python docs/hardware.py --check  # exit 1 if they differ
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from page_parts import fill, write_or_check

from assay.cli.preflight.memory import estimate_memory
from assay.inference.placing.memory_plan import ModelShape
from assay.inference.placing.placement import Placement
from assay.protocol.parameters import MAIN_TIMING, MAIN_WORK
from assay.training import LearnConfig

PAGE = Path(__file__).with_name("hardware.md")
#: A card, sustained: bf16 products, fp32 products, bytes of memory, each a second.
BF16, FP32, BANDWIDTH = 600e12, 50e12, 3.6e12
#: What an audit is taken to read of a miner: rollouts of so many tokens, prompts of so many.
COMPLETION, PROMPT, MINERS = 1_024, 128, 256


@dataclass(frozen=True)
class Model:
    """A Qwen2.5, by its config.json. parameters: as its card says."""

    name: str
    parameters: float
    layers: int
    hidden: int
    inner: int
    heads: int
    shared: int
    head: int
    vocabulary: int

    @property
    def shape(self) -> ModelShape:
        return ModelShape(
            parameters=round(self.parameters),
            cached=2 * self.layers * self.shared * self.head,
            wide=3 * self.inner + 4 * self.hidden,
            kept=self.layers * (4 * self.inner + 14 * self.hidden),
            recomputed=self.layers * self.hidden + 4 * self.inner + 14 * self.hidden,
            vocabulary=self.vocabulary,
        )

    def compute_seconds(self, tokens: float) -> float:
        """Seconds that a card reads so many tokens in, by split3."""
        attention = self.hidden * (2 * self.heads + 2 * self.shared) * self.head
        weights = self.layers * (attention + 3 * self.hidden * self.inner)
        weights += self.hidden * self.vocabulary
        products = 6 * weights / BF16  # three terms, a product and a sum each
        context = PROMPT + COMPLETION / 2
        scores = 4 * self.layers * self.heads * self.head * context / FP32
        logits = 12 * self.vocabulary / BANDWIDTH
        return tokens * (products + scores + logits)


MODELS = (
    Model("0.5B", 494e6, 24, 896, 4_864, 14, 2, 64, 151_936),
    Model("1.5B", 1.544e9, 28, 1_536, 8_960, 12, 2, 128, 151_936),
    Model("7B", 7.616e9, 28, 3_584, 18_944, 28, 4, 128, 152_064),
    Model("32B", 32.76e9, 64, 5_120, 27_648, 40, 8, 128, 152_064),
)


def make_memory_table() -> str:
    rows = ["| model | weights, bf16 | validator, `split3` | miner, `fp32-sdpa` | trainer, all weights |"]
    rows.append("|---|---|---|---|---|")
    for model in MODELS:
        placements = {"split3": Placement("cpu", "split3", 1e-9), "fp32": Placement("cpu", memory_share=1e-9)}
        judged = estimate_memory("validator", model.shape, MAIN_WORK, placement=placements["split3"])
        mined = estimate_memory("miner", model.shape, MAIN_WORK, 8, placement=placements["fp32"])
        taught = estimate_memory(
            "trainer",
            model.shape,
            MAIN_WORK,
            learning=LearnConfig(groups_per_batch=8, tokens_per_pass=PROMPT + COMPLETION, recompute=True),
            placement=placements["fp32"],
        )
        sizes = (2 * model.parameters, judged, mined, taught)
        rows.append(f"| {model.name} | " + " | ".join(f"{size / 2**30:,.1f} GiB" for size in sizes) + " |")
    return "\n".join(rows)


def make_time_table() -> str:
    tokens = MAIN_WORK.audited_rollouts * (PROMPT + COMPLETION)
    window = MAIN_TIMING.window_blocks * MAIN_TIMING.slot_ms / 1_000
    rows = [
        f"| model | tokens a second | {MINERS} audits | share of a window of {window:,.0f} s |",
        "|---|---|---|---|",
    ]
    for model in MODELS:
        seconds = model.compute_seconds(MINERS * tokens)
        rate = 1 / model.compute_seconds(1)
        rows.append(f"| {model.name} | {rate:,.0f} | {seconds:,.0f} s | {seconds / window:.0%} |")
    return "\n".join(rows)


def main() -> int:
    parts = {"memory": make_memory_table(), "time": make_time_table()}
    return write_or_check({PAGE: fill(PAGE.read_text(), parts, PAGE.name)})


if __name__ == "__main__":
    sys.exit(main())
