"""The command line's root, and the commands that need no chain.

Exit codes: 0 as promised or accepted; 1 a finding; 2 could not run; 130 stopped by Ctrl-C.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from assay.cli import chain_commands, record_commands
from assay.cli.options import COMPUTE, AsJson, Quiet, command

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Assay: miners are paid for reasoning rollouts that anyone can check.",
    epilog="Start with `assay demo`. Flags win over ASSAY_* variables, these over --config FILE.",
    pretty_exceptions_enable=False,
)
env_app = typer.Typer(no_args_is_help=True, help="Problems: look at them, try answers.")


@command(app, "demo", "demo.*", runs="demo", problem_files=False)
def run_demo(quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Run a whole subnet in this process: miners, cheats, validator, trainer.

    Two honest miners, three that cheat, one validator and one trainer walk through some windows of
    mining, auditing, paying and learning. The chain is a development simulator that the bittensor
    SDK connects to, on any free port; rules, signatures, consensus, model, judge and learning are
    real. Exit 1 if anything promised did not happen: a cheat paid, an honest miner refused, no
    weights, no better model.
    """


@command(app, "verify", *COMPUTE, runs="verify")
def run_verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A submission, *.rollouts.")],
    context: Annotated[Path, typer.Option(metavar="FILE", help="The window's context, JSON.")],
    model: Annotated[Path, typer.Option(metavar="FOLDER", help="The checkpoint in force.")],
    hotkey: Annotated[
        str | None,
        typer.Option(metavar="SS58", help="Whose file it should be [default: the header's]."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Judge all groups, not only the audited.")
    ] = False,
    allow_local_beacon: Annotated[
        bool,
        typer.Option("--allow-local-beacon", help="Accept a beacon chain other than quicknet."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Answer by the exit code alone.")] = False,
    as_json: AsJson = False,
) -> None:
    """Judge one submission offline, exactly as validators do.

    Needs no network: the context holds the window's public facts, and both its beacons are verified
    again. The demo's own contexts use a local beacon chain: add --allow-local-beacon for them.
    Exit 0 accepted, 1 refused, 2 could not judge.
    """


@command(app, "convert", runs="convert", problem_files=False)
def run_convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A submission, *.rollouts.")],
    to: Annotated[Literal["parquet"], typer.Option("--to", help="What to write.")] = "parquet",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A new file [default: beside FILE, named like it]."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a submission as a table that DuckDB, pandas and `datasets` open.

    A row a rollout: group, rollout, tokens, log-probabilities in nats, sketch. The header's fields
    and the root stand in the schema's metadata. Every part is held against the root that the file
    itself leads to; `assay verify` says whether it is genuine.
    """


@command(app, "calibrate", "calibrate.*", *COMPUTE, runs="calibrate", problem_files=False)
def run_calibrate(quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Measure what two implementations of the reference differ by, and fit the honest rates.

    Implementations: fp32-sdpa, fp32-eager, split3; bf16 and split2 are there to be refused. Leaves
    calibration.json (whose digest a manifest names), report.json and calibration.png. Exit 1 where
    something was found: a pair that margins would refuse, rates that do not cover it.
    """


@command(app, "contest", "judge.url", "judge.model", "environments.files", *COMPUTE, runs="contest")
def run_contest(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Checkpoints: two or more.")
    ],
    env: Annotated[
        str, typer.Option("--env", metavar="NAME", help="Whose problems: sat, or sat,k=4, ….")
    ],
    problems: Annotated[
        int, typer.Option(min=1, max=20_000, help="How many, the same for all.")
    ] = 500,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Which problems, and which noise.")
    ] = 0,
    levels: Annotated[
        list[int] | None,
        typer.Option(
            "--level",
            metavar="LEVEL",
            help="Of the problems; may repeat [default: those in force under the checkpoints].",
        ),
    ] = None,
    temperature: Annotated[
        float, typer.Option(min=1 / 1_024, max=64, help="At which answers are drawn.")
    ] = 1.0,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for answers, ranking and preferences.")
    ] = Path("assay-contest"),
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Set checkpoints on the same held-out problems: who solves more, and is it chance?

    The environment's scorer decides, and an exact sign test says who is better, corrected for as
    many as take part. With --judge a language model is asked, in both orders, where the scorer sees
    no difference. Leaves ranking.json and preferences as a data set; stopped, the same command goes
    on. Nothing here is paid for. Exit 1 where the judge left pairs without a verdict.
    """


@command(app, "plan", runs="plan", problem_files=False)
def run_plan(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A recipe's file, or a shipped one's name.")
    ],
    miners: Annotated[
        int | None, typer.Option(min=1, max=256, help="How many mine [default: the recipe's].")
    ] = None,
    card: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="H100, H200, A100-80GB, … [default: the recipe's]."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count what a recipe's window takes: tokens, seconds, memory and bytes of each program.

    Arithmetic from data sheets, with all its inputs: needs no chain, no model and no card. Exit 1
    where something does not fit.
    """


@command(app, "gauntlet", "gauntlet.*", *COMPUTE, runs="gauntlet", problem_files=False)
def run_gauntlet(quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Let every known way to cheat run against the judge, and show what it earns.

    Each strategy works on the shipped model and on a bench model of high entropy; the judge is the
    validators' own. Then 200 windows of income are resampled from what was measured. Exit 1 if a
    legal strategy is refused, or an illegal one earns more than honest work.
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
        str | None, typer.Option(metavar="SS58", help="Whose record [default: the only one there].")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Draw it again every second, until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show how a run stands: a demo's, or that of a miner, validator or trainer in its --dir.

    Window, phase and countdown, beacons, checkpoint, verdicts, weights, and whether the program
    lives and keeps up. With --record the newest settlement of a validator's public record, as
    anybody can read it; `assay audit` says whether it is true.
    """


Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Such as sat, or sat,k=4, or mix,sat=1,gsm=2.")
]
Seed = Annotated[
    str, typer.Option("--seed", metavar="HEX", help="32 bytes; a window's challenge seed, say.")
]
Hotkey = Annotated[
    str | None, typer.Option("--hotkey", metavar="SS58", help="Whose problems [default: nobody's].")
]
Levels = Annotated[
    list[int] | None,
    typer.Option("--level", metavar="LEVEL", help="Levels in force; may repeat [default: all]."),
]
_NO_SEED = "00" * 32


@command(env_app, "list", "environments.files", runs="env")
def run_env_list(as_json: AsJson = False) -> None:
    """List the environments there are, and why some cannot be used."""


@command(env_app, "show", "environments.files", runs="env")
def run_env_show(name: Name, as_json: AsJson = False) -> None:
    """Show an environment as parameters would name it: settings, levels, digest."""


@command(env_app, "sample", "environments.files", runs="env")
def run_env_sample(
    name: Name,
    seed: Seed = _NO_SEED,
    count: Annotated[int, typer.Option("--n", min=1, max=10_000, help="How many problems.")] = 3,
    levels: Levels = None,
    hotkey: Hotkey = None,
    as_json: AsJson = False,
) -> None:
    """Show the first problems of a seed, as a miner would be asked them."""


@command(env_app, "score", "environments.files", runs="env")
def run_env_score(
    name: Name,
    answer: Annotated[
        str, typer.Option(metavar="TEXT", help="All that was answered; - reads it from stdin.")
    ],
    seed: Seed = _NO_SEED,
    index: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Which problem of the seed.")
    ] = 0,
    levels: Levels = None,
    hotkey: Hotkey = None,
    as_json: AsJson = False,
) -> None:
    """Score an answer to a problem of a seed, in millionths, under the default reward weights."""


@command(env_app, "new", runs="env_package")
def run_env_new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the package: a-z, 0-9 and _.")],
    folder: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="New folder [default: NAME].")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Lay down an environment of one's own: package, levels, adversarial set, tests."""


@command(env_app, "vet", runs="env_package")
def run_env_vet(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            exists=True,
            help="A package's archive, or its folder, which is packed; or a taskset's wheel.",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="FILE", help="JSON Lines that the taskset loads."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Try a package, or a taskset of verifiers 0.4, in the cage: fit to pay by or not, and why.

    Exit code 1: it is not.
    """


@command(env_app, "export", "environments.files", runs="env_package")
def run_env_export(
    name: Name,
    verifiers: Annotated[
        Path, typer.Option("--verifiers", metavar="DIR", help="Where the wheel is written.")
    ],
    as_json: AsJson = False,
) -> None:
    """Write an environment as a taskset of verifiers 0.4: same seeds, same scorer."""


app.add_typer(chain_commands.app)
app.add_typer(record_commands.app)
app.add_typer(env_app, name="env")
