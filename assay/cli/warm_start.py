"""`assay train warm-start`: runs the course, alone or in a team, and prints what came of it."""

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from assay.cli.console import print_result
from assay.cli.exits import cleaning_up
from assay.neurons.program.logs import log_lines, make_report, wants_json
from assay.neurons.settings.learning import make_learning
from assay.neurons.settings.loading import make_cards_repeat
from assay.neurons.settings.placing import open_placement
from assay.neurons.settings.sections import Settings
from assay.subnet.warm_start import WarmStartRequest, run_warm_start
from assay.training.team import follow, is_member, join_team, run_team


def run_train_warm_start(
    settings: Settings,
    request: WarmStartRequest,
    recipe: str,
    as_json: bool,
    quiet: bool,
    again: Sequence[str],
) -> int:
    """Make a model from a cold start, and print its document. Returns the exit code.

    Args:
        recipe: as it is named.
        again: arguments of Python that start this command once more, for each process of a team.
    """
    make_cards_repeat()
    trainer = settings.trainer
    if (trainer.processes > 1 or trainer.offload) and not is_member():
        return run_team(trainer.processes, again)
    with join_team() as rank:
        placement = open_placement(settings.compute)
        if rank:
            follow()
            return 0
        with cleaning_up(), log_lines(wants_json(settings, as_json), quiet):
            report = make_report("warm_start_note")
            document = run_warm_start(request, make_learning(trainer), placement, report)
        print_result(document, as_json, Text(_describe(document, recipe)))
    return 0


def _describe(document: dict[str, Any], recipe: str) -> str:
    progress, model = document["progress"], document["model"]
    lines = [f"{model}: {document['end']}"]
    for trial in progress["trials"]:
        solved, read = trial["solved"], trial["read"]
        loss = "" if trial["loss"] is None else f"held-out loss {trial['loss']:.3f}, "
        lines.append(
            f"  after {trial['step']:>5,} steps: {loss}{solved['solved']:,} of {solved['asked']:,} "
            f"solved, {read['solved']:,} read"
        )
    lines.append(f"  {progress['tokens']:,} tokens in {progress['seconds'] / 60:,.1f} minutes")
    if document["adapter"] is not None:
        lines.append(f"  {document['adapter']} makes the same tensors of the model it began with")
    return "\n".join([*lines, f"Next: assay subnet publish --recipe {recipe} --model {model}"])
