"""What `assay recipe new` prints: what was found, and the commands to type next."""

from collections.abc import Iterable
from pathlib import Path
from shlex import quote

from assay.cli.console import print_result
from assay.subnet.new_recipe.making import MadeRecipe


def show_recipe(made: MadeRecipe, model: Path | None, as_json: bool) -> None:
    """Show a recipe that was written. `model`: as a person has named it; None: the shipped one."""
    commands = list_next(made, model)
    document = made.to_json() | {"next": commands}
    print_result(document, as_json, "\n".join([*_describe(made), "Next:", *_indent(commands)]))


def list_next(made: MadeRecipe, model: Path | None) -> list[str]:
    """The commands that take the recipe."""
    file = quote(str(made.file))
    of = "" if model is None else f" --model {quote(str(model))}"
    time = "" if made.block_time == 1 else f" --block-time {made.block_time}"
    return [
        f"assay plan {file}",
        f"assay localnet --members --recipe {file}{of}{time}",
        "assay subnet publish --netuid N --wallet owner --hotkey one --trainer SS58 --store URL "
        f"--recipe {file}{of or ' --model FOLDER'}",
    ]


def _describe(made: MadeRecipe) -> list[str]:
    trial, work, recipe = made.trial, made.recipe.parameters["work"], made.recipe
    count, tests = len(trial.outcomes), made.recipe.parameters["tests"]
    levels = ", ".join(f"{k} ({right} of {n})" for k, (n, right) in trial.levels.items())
    return [
        f"{made.file}: {recipe.about}",
        f"  {recipe.environment}",
        f"  {trial.solved} of {count} completions are right, {trial.read} can be read; by level: "
        f"{levels}",
        f"  levels {', '.join(map(str, recipe.levels))}; valued_groups {work['valued_groups']}, "
        f"group_size {work['group_size']}, max_tokens {work['max_tokens']:,}; margin_cap "
        f"{tests['margin_cap']:,}",
        *(f"  ! {note}" for note in made.notes),
        "  each number's reason is in the file",
    ]


def _indent(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]
