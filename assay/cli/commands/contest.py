"""`assay contest`."""

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.checks import require_own_out, require_there
from assay.cli.command import Invocation, command
from assay.cli.exits import FINDING, OK
from assay.cli.help_pages import PagedGroup
from assay.cli.hub_names import open_models
from assay.cli.options import AsJson, Quiet
from assay.cli.saying import choose_say
from assay.cli.start import TORCH, starting

app = typer.Typer(cls=PagedGroup)


@command(
    app,
    "contest",
    "assay contest before after --env gsm --problems 200",
    lambda s: (s.judge.url, s.judge.model, s.environments.files, s.compute),
)
def contest(
    invocation: Invocation,
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER", help="Two or more checkpoints: folders, or ORG/NAME on the Hub."
        ),
    ],
    env: Annotated[
        str,
        typer.Option(
            "--env", metavar="NAME", help="The problems' environment, such as sat or sat,k=4."
        ),
    ],
    problems: Annotated[
        int, typer.Option(min=1, max=20_000, help="Number of problems, the same for all.")
    ] = 500,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Seed of problems and noise.")
    ] = 0,
    levels: Annotated[
        list[int] | None,
        typer.Option(
            "--level",
            metavar="LEVEL",
            help="Level of problems; may repeat [default: those that a checkpoint has in force].",
        ),
    ] = None,
    temperature: Annotated[
        float, typer.Option(min=1 / 1_024, max=64, help="Sampling temperature of answers.")
    ] = 1.0,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for answers, ranking and preferences.")
    ] = Path("assay-contest"),
    judge_pairs: Annotated[
        bool,
        typer.Option(
            "--judge-pairs", help="Also write the judge's pairs alone, to DIR/judge-pairs."
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Compare checkpoints on the same held-out problems: which solves more, and is it chance?

    The environment's scorer decides. An exact sign test says which is better, corrected for the
    number of checkpoints. With --judge a language model compares answers with equal scores, in both
    orders. It writes ranking.json and a data set of preferences. After a stop, the same command
    continues. Nobody is paid for this. Exit code 1 if the judge left pairs without a verdict.
    """
    settings = invocation.load_settings()
    folders = open_models(settings, folders, quiet)
    require_there(*folders)
    require_own_out(out, "contest")
    with starting(settings, loads=TORCH, quiet=quiet):
        from assay.cli.contest_view import show_contest
        from assay.lab.contests.play import ContestRequest, play
    request = ContestRequest(
        folders,
        env,
        problems=problems,
        seed=seed,
        levels=levels or (),
        temperature=temperature,
        out=out,
        judge=settings.judge,
        judge_pairs=judge_pairs,
        compute=settings.compute,
    )
    result = play(request, choose_say(quiet))
    show_contest(result, out, as_json)
    return OK if result.is_whole else FINDING
