"""Writes the tables of hardware.md: what models of four sizes need, by arithmetic.

python docs/hardware.py          # rewrites them
python docs/hardware.py --check  # exit 1 if they differ
"""

import sys
from pathlib import Path

from page_parts import fill, write_or_check

from assay.session.memory import estimate_memory
from assay.inference.placing.model_sizes import measure_shape
from assay.inference.placement import Placement
from assay.protocol.parameters import MAIN_TIMING, MAIN_WORK
from assay.subnet.recipe import Lengths, ModelNumbers
from assay.subnet.window_costs import CARDS, compute_read_seconds
from assay.training import LearnConfig

PAGE = Path(__file__).with_name("hardware.md")
#: What an audit is taken to read of a miner: rollouts of so many tokens, prompts of so many.
LENGTHS, MINERS = Lengths(128, 1_024), 256
CARD = CARDS["H200"]


def make_qwen(
    name: str, layers: int, hidden: int, inner: int, heads: int, shared: int, ids: int
) -> ModelNumbers:
    """A Qwen2.5, by its config.json."""
    return ModelNumbers(
        name=name,
        model_type="qwen2",
        vocab_size=ids,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=shared,
        tie_word_embeddings=hidden < 3_000,
    )


MODELS = (
    make_qwen("0.5B", 24, 896, 4_864, 14, 2, 151_936),
    make_qwen("1.5B", 28, 1_536, 8_960, 12, 2, 151_936),
    make_qwen("7B", 28, 3_584, 18_944, 28, 4, 152_064),
    make_qwen("32B", 64, 5_120, 27_648, 40, 8, 152_064),
)


def make_memory_table() -> str:
    rows = [
        "| model | weights, bf16 | validator, `split3` | miner, `fp32-sdpa` | trainer, all weights |"
    ]
    rows.append("|---|---|---|---|---|")
    for model in MODELS:
        placements = {
            "split3": Placement("cpu", "split3", 1e-9),
            "fp32": Placement("cpu", memory_share=1e-9),
        }
        shape = measure_shape(model, model.parameters)
        judged = estimate_memory("validator", shape, MAIN_WORK, placement=placements["split3"])
        mined = estimate_memory("miner", shape, MAIN_WORK, 8, placement=placements["fp32"])
        taught = estimate_memory(
            "trainer",
            shape,
            MAIN_WORK,
            learning=LearnConfig(groups_per_batch=8, tokens_per_pass=sum(LENGTHS), recompute=True),
            placement=placements["fp32"],
        )
        sizes = (2 * model.parameters, judged, mined, taught)
        rows.append(
            f"| {model.name} | " + " | ".join(f"{size / 2**30:,.1f} GiB" for size in sizes) + " |"
        )
    return "\n".join(rows)


def make_time_table() -> str:
    tokens = MAIN_WORK.audited_rollouts * sum(LENGTHS)
    window = MAIN_TIMING.window_blocks * MAIN_TIMING.slot_ms / 1_000
    rows = [
        f"| model | tokens a second | audit of {MINERS} miners | share of a window of {window:,.0f} s |",
        "|---|---|---|---|",
    ]
    for model in MODELS:
        seconds = compute_read_seconds(model, CARD, "split3", LENGTHS, MINERS * tokens)
        rate = MINERS * tokens / seconds
        rows.append(f"| {model.name} | {rate:,.0f} | {seconds:,.0f} s | {seconds / window:.0%} |")
    return "\n".join(rows)


def main() -> int:
    parts = {"memory": make_memory_table(), "time": make_time_table()}
    return write_or_check({PAGE: fill(PAGE.read_text(), parts, PAGE.name)})


if __name__ == "__main__":
    sys.exit(main())
