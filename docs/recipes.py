"""Writes the tables of recipes.md: the shipped recipes, the cards that `assay plan` knows, what a
million tokens costs by both, and what services asked for one.

python docs/recipes.py          # rewrites them
python docs/recipes.py --check  # exit 1 if they differ
"""

import sys
from pathlib import Path

from page_parts import fill, write_or_check

from assay.settings.money import format_dollars, parse_hour_price
from assay.subnet.window_plan import make_plan
from assay.subnet.window_prices import compute_prices
from assay.subnet.recipe import list_recipes, read_recipe
from assay.subnet.window_costs import CARDS, get_card

PAGE = Path(__file__).with_name("recipes.md")
#: The price at which recipes are compared; all figures are in proportion to it.
HOUR = "2.0/h"
_PRIME = "docs.primeintellect.ai/hosted-training/models-and-pricing"
_TINKER = "tinker-docs.thinkingmachines.ai/tinker/models"
#: What services asked for a million tokens of reinforcement learning: service, model, dollars of
#: input, output and training, the day on which the page was read, the page. Copied, not computed.
SERVICES = (
    ("Prime Intellect", "Qwen3.5-0.8B", "0.02", "0.06", "0.06", "2026-09-20", _PRIME),
    ("Prime Intellect", "Llama-3.2-3B-Instruct", "0.05", "0.15", "0.15", "2026-09-20", _PRIME),
    ("Prime Intellect", "Qwen3.5-4B", "0.10", "0.30", "0.30", "2026-09-20", _PRIME),
    ("Prime Intellect", "Qwen3.5-9B", "0.20", "0.60", "0.60", "2026-09-20", _PRIME),
    ("Prime Intellect", "Qwen3.5-35B-A3B", "0.25", "0.75", "1.00", "2026-09-20", _PRIME),
    (
        *("Tinker", "Qwen3-4B-Instruct-2507", "0.07", "0.22", "0.22", "2026-01-05"),
        "thinkingmachines.ai/tinker",
    ),
    ("Tinker", "Qwen3-8B", "0.195", "0.60", "0.44", "2026-10-07", _TINKER),
)


def make_recipe_table() -> str:
    rows = [
        "| recipe | model | environment | group size × max_tokens | miners | trainer | steps | hours | gate |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in list_recipes():
        recipe = read_recipe(name)
        course = recipe.course
        plan = make_plan(recipe, get_card(course.card), course.miners)
        rules = recipe.make_rules()
        work, gate = rules.work, rules.gate
        cells = (
            f"[`{name}`](../assay/subnet/recipes/{name}.toml)",
            recipe.model.name,
            f"`{recipe.environment}`",
            f"{work.group_size} × {work.max_tokens:,}",
            str(course.miners),
            f"{course.trainer_cards} × {course.card}",
            f"{course.steps} × {plan.step_seconds:,.0f} s",
            f"{plan.hours:,.1f}",
            f"{gate.rule}, {gate.problems}" if gate.problems else "",
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def make_price_table() -> str:
    """Dollars for a million tokens by each recipe on GPUs."""
    rows = [
        "| recipe | on | read | drawn and verified | rented | learned from | rented |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in list_recipes():
        recipe = read_recipe(name)
        if recipe.course.card == "cpu":
            continue
        plan = make_plan(recipe, get_card(recipe.course.card), recipe.course.miners)
        prices = compute_prices(plan, parse_hour_price(HOUR))
        miner, validator, trainer = prices.programs
        amounts = (
            validator.own,
            (miner.verified or 0) + (validator.verified or 0),
            (miner.verified_rented or 0) + (validator.verified_rented or 0),
            trainer.own,
            trainer.own_rented,
        )
        shown = " | ".join(format_dollars(one or 0) for one in amounts)
        rows.append(f"| `{name}` | {recipe.course.card} | {shown} |")
    return "\n".join(rows)


def make_service_table() -> str:
    rows = [
        "| service | model | input | output | training | read on | page |",
        "|---|---|---|---|---|---|---|",
    ]
    for service, model, *dollars, day, page in SERVICES:
        amounts = " | ".join(f"${one}" for one in dollars)
        rows.append(f"| {service} | {model} | {amounts} | {day} | [page](https://{page}) |")
    return "\n".join(rows)


def make_card_table() -> str:
    rows = [
        "| device | bf16 | fp32 | memory | bandwidth | data sheet |",
        "|---|---|---|---|---|---|",
    ]
    for card in CARDS.values():
        rates = f"{card.bf16 / 1e12:,.1f} TFLOPS | {card.fp32 / 1e12:,.1f} TFLOPS"
        memory = f"{card.memory / 1e9:,.0f} GB | {card.bandwidth / 1e12:.2f} TB/s"
        rows.append(f"| `{card.name}` | {rates} | {memory} | {card.source} |")
    return "\n".join(rows)


def main() -> int:
    parts = {
        "recipes": make_recipe_table(),
        "cards": make_card_table(),
        "prices": make_price_table(),
        "services": make_service_table(),
    }
    return write_or_check({PAGE: fill(PAGE.read_text(), parts, PAGE.name)})


if __name__ == "__main__":
    sys.exit(main())
