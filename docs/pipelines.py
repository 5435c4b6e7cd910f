"""Writes the tables of pipelines.md: what fits one machine, what a pipeline took that was measured
(bench/results/pipeline.json), and what larger ones would take.

python docs/pipelines.py          # rewrites them
python docs/pipelines.py --check  # exit 1 if they differ
"""

import json
import sys
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any

from hardware import LENGTHS, MODELS
from page_parts import fill, write_or_check

from assay.subnet.window_plan import MEMORY_SHARE
from assay.session.memory import OPENED_MIN, PROGRAM_BYTES, STORED, estimate_height
from assay.inference.placing.model_sizes import compute_weight_bytes, measure_shape
from assay.protocol.parameters import MAIN_WORK
from assay.subnet.recipe import ModelNumbers, read_recipe
from assay.subnet.window_costs import CARDS, compute_learn_seconds
from assay.training import LearnConfig

PAGE = Path(__file__).with_name("pipelines.md")
RESULTS = Path(__file__).parents[1] / "bench" / "results"
TEAM, RANK = 8, 16
#: Name in bench/results/pipeline.json → what the page calls it.
ROWS = {
    "pipeline, no limit on the link": "pipeline of two, no limit on the link",
    "pipeline, 100 Mbit/s": "pipeline of two, 100 Mbit/s",
    "pipeline, link slowed as for H200s": "pipeline of two, the link slowed as for H200s",
}
#: Bits a second of the link; bytes of a state's value as bf16; tokens of a step that is reckoned.
LINK, HALF, TOKENS = 100e6, 2, 1_000_000


def count_bytes(model: ModelNumbers, cards: int = 1, rank: int = 0) -> int:
    """Memory of a trainer's card, as `assay plan` counts it."""
    shape = measure_shape(model, model.parameters)
    learning = LearnConfig(tokens_per_pass=8_192, recompute=True, lora_rank=rank)
    opened = OPENED_MIN * compute_weight_bytes(STORED * shape.parameters, "split3")
    height = estimate_height("trainer", shape, MAIN_WORK, learning=learning, cards=cards)
    return PROGRAM_BYTES + opened + height


def find_card(size: int) -> str:
    """The smallest that has room."""
    fits = [
        card for card in CARDS.values() if size <= MEMORY_SHARE * card.memory and card.name != "cpu"
    ]
    return min(fits, key=lambda card: (card.memory, card.name)).name if fits else "none"


def make_memory_table() -> str:
    rows = [
        f"| model | one GPU, all weights | one GPU, LoRA | each of {TEAM} GPUs |",
        "|---|---|---|---|",
    ]
    for model in MODELS:
        sizes = (count_bytes(model), count_bytes(model, rank=RANK), count_bytes(model, TEAM))
        cells = (f"{size / 2**30:,.0f} GiB: {find_card(size)}" for size in sizes)
        rows.append(f"| {model.name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def read_results(name: str) -> dict[str, Any]:
    """A script's figures by name, its title and its machine."""
    document: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return document | {"figures": {figure["name"]: figure for figure in document["figures"]}}


def make_team_table() -> str:
    found = read_results("team")["figures"]
    speed = found["two processes of one thread, tokens a second"]
    loaded = found["25 M weights in two processes, loaded, in each"]
    rows = [
        "| two processes of one thread, one machine | measured | for comparison |",
        "|---|---|---|",
        f"| tokens a second | {speed['value']:,.0f} | one process: {speed['baseline_value']:,.0f} |",
        f"| weights in each, of 25 million, when loaded | {loaded['value']:.0f} MiB | all of them: "
        f"{loaded['baseline_value']:.0f} MiB |",
    ]
    return "\n".join(rows)


def make_measured_table() -> str:
    document = read_results("pipeline")
    found = document["figures"]
    machine = document["machine"]
    alone = found["pipeline, no limit on the link: tokens a second"]["baseline_value"]
    core = found["one process: share of a core"]["value"]
    rows = [
        f"{document['title']}. Machine: {machine['cpu']}, torch {machine['torch']}.",
        "",
        "| processes of one thread | tokens a second | × one process | time spent waiting | share of a core while not waiting |",
        "|---|---|---|---|---|",
        f"| one process | {alone:,.0f} | 1.00 | 0 % | {core:.0f} % |",
    ]
    for name, figure in found.items():
        what, end, _ = name.partition(": tokens a second")
        if end:
            waits, core = (
                found[f"{what}: {which}"]["value"]
                for which in ("time spent waiting", "share of a core while not waiting")
            )
            rows.append(
                f"| {ROWS.get(what, what)} | {figure['value']:,.0f} | {figure['ratio']:.2f} | {waits:.0f} % | {core:.0f} % |"
            )
    return "\n".join(rows)


def make_reckoned_table() -> str:
    found = read_results("pipeline")["figures"]
    column = found["sent from stage to stage, each column of a hidden state"][
        "value"
    ]  # bytes, as float32
    delta = found["lossless deltas sent, each way"]["value"]  # bytes a weight
    settings = read_recipe("7b-8-cards").trainer
    rows = [
        "| model | stages | a token's state | link, seconds a step | stage, seconds a step | GPUs busy "
        "| link that keeps GPUs busy | lossless delta over the link |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for card, model in product(("H200", "RTX 4090"), MODELS[1:]):
        state = column / 4 * HALF * model.hidden_size
        stages = max(2, ceil(count_bytes(model) / (MEMORY_SHARE * CARDS[card].memory)))
        linked = TOKENS * state * 8 / LINK
        computed = compute_learn_seconds(model, CARDS[card], LENGTHS, TOKENS, settings) / stages
        cells = (
            model.name,
            f"{stages} × {card}",
            f"{state / 1e3:,.1f} kB",
            f"{linked:,.0f} s",
            f"{computed:,.0f} s",
            f"{computed / max(linked, computed):.0%}",
            f"{LINK * linked / computed / 1e9:,.2f} Gbit/s",
            f"{delta * model.parameters * 8 / LINK:,.0f} s",
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> int:
    parts = {
        "memory": make_memory_table(),
        "team": make_team_table(),
        "measured": make_measured_table(),
        "reckoned": make_reckoned_table(),
    }
    return write_or_check({PAGE: fill(PAGE.read_text(), parts, PAGE.name)})


if __name__ == "__main__":
    sys.exit(main())
