"""Writes the tables of recipes.md: the shipped recipes and the cards that `assay plan` knows.

python docs/recipes.py          # rewrites them
python docs/recipes.py --check  # exit 1 if they differ
"""

import sys
from pathlib import Path

from page_parts import fill, write_or_check

from assay.subnet.window_plan import make_plan
from assay.subnet.recipe import list_recipes, read_recipe
from assay.subnet.window_costs import CARDS, get_card

PAGE = Path(__file__).with_name("recipes.md")


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
    parts = {"recipes": make_recipe_table(), "cards": make_card_table()}
    return write_or_check({PAGE: fill(PAGE.read_text(), parts, PAGE.name)})


if __name__ == "__main__":
    sys.exit(main())
