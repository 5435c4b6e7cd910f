"""The command line's root, and the commands that need no chain.

Exit codes: 0 as promised or accepted; 1 a finding; 2 could not run; 130 stopped by Ctrl-C.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from assay.cli import chain_commands, record_commands
from assay.cli.first_checks import (
    DEMO_MARKER,
    require_out,
    require_own_out,
    require_pair,
    require_there,
)
from assay.cli.help_pages import PagedGroup
from assay.cli.options import COMPUTE, AsJson, Quiet, command, plain_errors

app = typer.Typer(
    cls=PagedGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Assay: miners are paid for reasoning rollouts that anyone can check.",
    epilog="Start with `assay demo`. Flags override ASSAY_* variables, and both override --config.",
    pretty_exceptions_enable=False,
)
env_app = typer.Typer(
    cls=PagedGroup, no_args_is_help=True, help="List, try, score and make environments."
)


_TORCH = "PyTorch"


@command(
    app,
    "demo",
    "demo.*",
    runs="demo",
    problem_files=False,
    first=(require_own_out("demo", "demo", DEMO_MARKER),),
    loads=_TORCH,
)
def run_demo(quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Run a whole subnet in this process: miners, cheats, validator, trainer.

    Two honest miners, three cheats, one validator and one trainer work for some windows: they mine,
    audit, pay and learn. The chain is a development simulator on a free port, and the bittensor SDK
    connects to it. Rules, signatures, consensus, model, judge and learning are real. Exit code 1 if
    a cheat was paid, an honest miner was refused, no weights were set, or the model did not
    improve.
    """


def _require_submission(file: Path) -> Path:
    """The file, if it is there. As an argument's callback, this comes before the complaint about
    an option that is missing."""
    with plain_errors():
        from assay.neurons.settings.loading import ConfigError

        if not file.is_file():
            raise ConfigError(f"there is no file {file}")
    return file


@command(app, "verify", *COMPUTE, runs="verify", problem_files=False)
def run_verify(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A submission (*.rollouts).", callback=_require_submission
        ),
    ],
    context: Annotated[Path, typer.Option(metavar="FILE", help="The window's context (JSON).")],
    model: Annotated[Path, typer.Option(metavar="FOLDER", help="The checkpoint in force.")],
    hotkey: Annotated[
        str | None,
        typer.Option(metavar="SS58", help="The file's expected miner [default: the header's]."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Judge all groups, not only the audited ones.")
    ] = False,
    allow_local_beacon: Annotated[
        bool,
        typer.Option("--allow-local-beacon", help="Accept a beacon chain other than quicknet."),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print nothing; read the exit code.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Judge one submission offline, exactly as validators do.

    It needs no network. The context has the window's public facts, and both its beacons are
    verified again. The demo's contexts use a local beacon chain: add --allow-local-beacon for them.
    Exit codes: 0 accepted, 1 refused, 2 could not judge.
    """


@command(app, "convert", runs="convert", problem_files=False, first=(require_there("file"),))
def run_convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A submission (*.rollouts).")],
    to: Annotated[Literal["parquet"], typer.Option("--to", help="Format to write.")] = "parquet",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File to write [default: FILE's name, in its folder]."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a submission as a table that DuckDB, pandas and `datasets` open.

    Each row is a rollout: group, rollout, tokens, log-probabilities in nats, sketch. The schema's
    metadata has the header's fields and the root. It compares every part with the file's own root.
    `assay verify` says whether the file is genuine.
    """


@command(
    app,
    "calibrate",
    "calibrate.*",
    *COMPUTE,
    runs="calibrate",
    problem_files=False,
    first=(require_pair, require_out("calibrate")),
    loads=_TORCH,
)
def run_calibrate(quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Measure how much two implementations of the reference differ, and fit the honest rates.

    Implementations are fp32-sdpa, fp32-eager and split3; bf16 and split2 are examples that fail. It
    writes calibration.json (a manifest names its digest), report.json and calibration.svg. Exit
    code 1 if no network may permit this pair, or if the report has findings to fix first.
    """


@command(
    app,
    "contest",
    "judge.url",
    "judge.model",
    "environments.files",
    *COMPUTE,
    runs="contest",
    first=(require_there("folders"),),
    loads=_TORCH,
)
def run_contest(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER", help="Two or more checkpoints.")
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
) -> None:
    """Compare checkpoints on the same held-out problems: which solves more, and is it chance?

    The environment's scorer decides. An exact sign test says which is better, corrected for the
    number of checkpoints. With --judge a language model compares answers with equal scores, in both
    orders. It writes ranking.json and a data set of preferences. After a stop, the same command
    continues. Nobody is paid for this. Exit code 1 if the judge left pairs without a verdict.
    """


@command(app, "plan", runs="plan", problem_files=False)
def run_plan(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A recipe: a file, or a shipped one's name.")
    ],
    miners: Annotated[
        int | None, typer.Option(min=1, max=256, help="Number of miners [default: the recipe's].")
    ] = None,
    card: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="GPU: H100, H200, A100-80GB, … [default: the recipe's]."),
    ] = None,
    implementation: Annotated[
        Literal["fp32-sdpa", "fp32-eager", "split3"] | None,
        typer.Option(help="Implementation of the reference [default: the recipe's]."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Estimate the cost of a recipe's window: tokens, seconds, memory and bytes of each program.

    The estimate is arithmetic from data sheets, and all its inputs are shown. It needs no chain, no
    model and no GPU. Exit code 1 if something does not fit.
    """


@command(
    app,
    "gauntlet",
    "gauntlet.*",
    *COMPUTE,
    runs="gauntlet",
    problem_files=False,
    first=(require_own_out("gauntlet", "file of Assay", "gauntlet.json", ".assay-*"),),
    loads=_TORCH,
)
def run_gauntlet(quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Run every known way to cheat against the validators' own judge, and show what it earns.

    Each strategy runs on the shipped model and on a bench model of high entropy. From these
    measurements it resamples the income of 200 windows. Exit code 1 if a legal strategy is refused,
    or an illegal one earns more than honest work.
    """


@command(app, "status", "status.dir", runs="status", problem_files=False)
def run_status(
    record: Annotated[
        str | None,
        typer.Option(
            metavar="STORE", help="Show a validator's public record: a folder or a locator."
        ),
    ] = None,
    hotkey: Annotated[
        str | None,
        typer.Option(metavar="SS58", help="The record's validator [default: the only one]."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Refresh every second, until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the progress of a demo, miner, validator or trainer from its folder.

    It shows window, phase and countdown, beacons, checkpoint, verdicts, weights, and whether the
    program is running and keeps up. With --record it shows the newest settlement of a validator's
    public record, which anybody can read. `assay audit` says whether that record is true.
    """


Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="An environment, such as sat, sat,k=4 or mix,sat=1,gsm=2."),
]
Seed = Annotated[
    str,
    typer.Option(
        "--seed",
        metavar="HEX",
        show_default=False,
        help="32 bytes, for example a window's challenge seed [default: zeros].",
    ),
]
Hotkey = Annotated[
    str | None,
    typer.Option(
        "--hotkey", metavar="SS58", help="Hotkey of the problems' miner [default: nobody]."
    ),
]
Levels = Annotated[
    list[int] | None,
    typer.Option("--level", metavar="LEVEL", help="Levels in force; may repeat [default: all]."),
]
_NO_SEED = "00" * 32


@command(env_app, "list", "environments.files", runs="env")
def run_env_list(as_json: AsJson = False) -> None:
    """List all environments, and say why some cannot be used."""


@command(env_app, "show", "environments.files", runs="env")
def run_env_show(name: Name, as_json: AsJson = False) -> None:
    """Show an environment's settings, levels and digest, as in a network's parameters."""


@command(env_app, "sample", "environments.files", runs="env")
def run_env_sample(
    name: Name,
    seed: Seed = _NO_SEED,
    count: Annotated[int, typer.Option("--n", min=1, max=10_000, help="Number of problems.")] = 3,
    levels: Levels = None,
    hotkey: Hotkey = None,
    as_json: AsJson = False,
) -> None:
    """Show a seed's first problems, as a miner gets them."""


@command(env_app, "score", "environments.files", runs="env")
def run_env_score(
    name: Name,
    answer: Annotated[
        str, typer.Option(metavar="TEXT", help="The whole answer; - reads it from stdin.")
    ],
    seed: Seed = _NO_SEED,
    index: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Index of the problem.")] = 0,
    levels: Levels = None,
    hotkey: Hotkey = None,
    as_json: AsJson = False,
) -> None:
    """Score an answer to one of a seed's problems, in millionths, with default reward weights."""


@command(env_app, "new", runs="env_package")
def run_env_new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the package: a-z, 0-9 and _.")
    ],
    folder: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="New folder [default: NAME].")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create an environment of your own: package, levels, adversarial set, tests."""


@command(env_app, "vet", runs="env_package")
def run_env_vet(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            exists=True,
            help="A package (its archive or its folder), or a taskset (its wheel or its bundle).",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="FILE", help="JSON Lines file that the taskset loads."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Test in the sandbox whether a package, or a taskset of verifiers 0.4, is fit for a subnet.

    It gives the reasons. Exit code 1 if it is not fit.
    """


@command(env_app, "export", "environments.files", runs="env_package")
def run_env_export(
    name: Name,
    verifiers: Annotated[
        Path, typer.Option("--verifiers", metavar="DIR", help="Folder for the wheel.")
    ],
    as_json: AsJson = False,
) -> None:
    """Export an environment as a taskset of verifiers 0.4, with the same seeds and scorer."""


app.add_typer(chain_commands.app)
app.add_typer(record_commands.app)
app.add_typer(env_app, name="env")
