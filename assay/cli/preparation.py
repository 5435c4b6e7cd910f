"""`assay train warm-start` and its like: they run a course, alone or in a team, and print what
came of it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from shlex import quote
from typing import Any, TypeVar

from rich.text import Text

from assay.cli.checks import require_files
from assay.cli.console import print_result
from assay.cli.exits import cleaning_up
from assay.inference.placement import Placement
from assay.lab.contests.preference_pairs import PREFERENCES
from assay.neurons.program.logs import log_lines, make_report, wants_json
from assay.settings.learning import describe_learning, describe_network, make_learning_here
from assay.settings.loading import make_cards_repeat
from assay.settings.placing import open_placement
from assay.settings.sections import Settings
from assay.subnet.preparation import PreparationRequest
from assay.subnet.recipe import Recipe, read_recipe
from assay.subnet.waiting import Report
from assay.training import LearnConfig
from assay.training.team import follow, join_team
from assay.training.team_launch import run_team
from assay.training.team_meeting import is_member

_R = TypeVar("_R", bound=PreparationRequest)


def run_preparation(
    run: Callable[[_R, LearnConfig, Placement, Report], dict[str, Any]],
    settings: Settings,
    request: _R,
    recipe: str,
    as_json: bool,
    quiet: bool,
    again: Sequence[str],
) -> int:
    """Prepare a model, and print its document. Returns the exit code.

    Args:
        run: the course.
        recipe: as it is named.
        again: arguments of Python that start this command once more, for each process of a team.
    """
    make_cards_repeat()
    trainer = settings.trainer
    learning = make_learning_here(trainer, settings.compute.device)
    if trainer.is_shared and not request.show and not is_member():
        return run_team(trainer.processes, again)
    network = describe_network(trainer)
    with join_team(describe_learning(trainer), network=network) as rank:
        placement = open_placement(settings.compute)
        if rank:
            follow()
            return 0
        with cleaning_up(), log_lines(wants_json(settings, as_json), quiet):
            report = make_report("preparation_note")
            document = run(request, learning, placement, report)
        view = _show(document) if request.show else _describe(document, recipe)
        print_result(document, as_json, Text(view))
    return 0


def read_recipe_with(name: str, levels: Sequence[int] | None) -> Recipe:
    """A recipe, with other levels if some are given."""
    named = read_recipe(name)
    if levels is None:
        return named
    return named.model_copy(update={"levels": tuple(sorted({*levels}))})


def find_pairs(named: Path) -> Path:
    """The file of preferences of a contest's folder; else the file that is named."""
    file = named / PREFERENCES if named.is_dir() else named
    require_files(file)
    return file


def _show(document: dict[str, Any]) -> str:
    """Examples as the model will read them. They are a stranger's: nothing of them moves a
    terminal's cursor."""
    lines = []
    for number, shown in enumerate(document["shown"], 1):
        texts = dict(shown)
        row = texts.pop("row", None)
        lines.append(f"example {number:,}" + ("" if row is None else f", of row {row:,}"))
        for name, text in texts.items():
            lines.append(f"  {name}:")
            lines += ["    " + _print(line) for line in text.split("\n")]
    return "\n".join(lines)


def _print(line: str) -> str:
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in line)


def _describe(document: dict[str, Any], recipe: str) -> str:
    progress, model = document["progress"], document["model"]
    lines = [f"{model}: {document['end']}"]
    for trial in progress["trials"]:
        solved, read = trial["solved"], trial["read"]
        loss = "" if trial["loss"] is None else f"held-out loss {trial['loss']:.3f}, "
        if trial["preferred"] is not None:
            loss += "{solved:,} of {asked:,} pairs right, ".format(**trial["preferred"])
        lines.append(
            f"  after {trial['step']:>5,} steps: {loss}{solved['solved']:,} of {solved['asked']:,} "
            f"solved, {read['solved']:,} read"
        )
    lines.append(f"  {progress['tokens']:,} tokens in {progress['seconds'] / 60:,.1f} minutes")
    if document["adapter"] is not None:
        lines.append(f"  {document['adapter']} makes the same tensors of the model it began with")
    named = f"--recipe {quote(recipe)} --model {quote(str(model))}"
    return "\n".join([*lines, f"Next: assay subnet publish {named}"])
