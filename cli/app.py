"""The command line. Heavy imports stay inside commands: `assay --help` answers at once.

Exit codes: 0 as promised or accepted; 1 a finding; 2 could not run; 130 stopped by Ctrl-C.
"""

from pathlib import Path
from typing import Annotated

import typer

from assay.cli import (
    audit_cli,
    chain_cli,
    env_cli,
    explain_cli,
    explorer_cli,
    ledger_cli,
    localnet_cli,
    subnet_cli,
    train_cli,
)
from assay.cli.options import FINDING, OK, AsJson, Config, Quiet, load, plain_errors

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Assay: miners are paid for reasoning rollouts that anyone can check.",
    epilog="Start with `assay demo`. Flags win over ASSAY_* variables, these over --config FILE.",
    pretty_exceptions_enable=False,
)


@app.command()
def demo(
    fast: Annotated[
        bool | None,
        typer.Option(
            "--fast/--real-time", help="Virtual clock, or a block a second [default: real time]."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder to leave everything in [default: assay-demo]."),
    ] = None,
    windows: Annotated[int | None, typer.Option(help="Windows to mine [default: 8].")] = None,
    groups: Annotated[
        int | None, typer.Option(help="Groups an honest miner does a window [default: 24].")
    ] = None,
    problems: Annotated[int | None, typer.Option(help="Held-out problems [default: 1500].")] = None,
    seed: Annotated[
        str | None, typer.Option(help="Another seed is another run [default: assay].")
    ] = None,
    config: Config = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run a whole subnet in this process: miners, cheats, validator, trainer.

    Two honest miners, three that cheat, one validator and one trainer walk through some windows of
    mining, auditing, paying and learning. The chain is a development simulator that the bittensor
    SDK connects to, on any free port; rules, signatures, consensus, model, judge and learning are
    real. Exit 1 if anything promised did not happen: a cheat paid, an honest miner refused, no
    weights, no better model.
    """
    given = {
        "out": out,
        "fast": fast,
        "windows": windows,
        "groups": groups,
        "problems": problems,
        "seed": seed,
    }
    with plain_errors():
        from assay.neurons.settings.loading import load_settings

        settings = load_settings(config, {"demo": given}).demo
        from assay.cli.demo import run_demo

        raise typer.Exit(run_demo(settings, as_json, quiet))


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A submission, *.parquet.")],
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
    with plain_errors():
        from assay.cli.verify import print_verdict, verify_file

        load(None, None)  # variables alone: files of problems, and a mistyped one is still named
        verdict = verify_file(file, context, model, hotkey, every, allow_local_beacon)
        if as_json or not quiet:
            print_verdict(verdict, as_json)
        raise typer.Exit(OK if verdict["accepted"] else FINDING)


@app.command()
def calibrate(
    model: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A checkpoint with its calibration set.")
    ] = None,
    a: Annotated[
        str | None,
        typer.Option("--a", metavar="IMPLEMENTATION", help="Who draws [default: fp32-sdpa]."),
    ] = None,
    b: Annotated[
        str | None,
        typer.Option("--b", metavar="IMPLEMENTATION", help="Who judges [default: fp32-eager]."),
    ] = None,
    problems: Annotated[
        int | None, typer.Option(help="Contexts of its set to read [default: all].")
    ] = None,
    cap: Annotated[
        float | None, typer.Option(metavar="LOGITS", help="Try another margin cap [default: 2e-4].")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder to leave it in [default: assay-calibration]."),
    ] = None,
    config: Config = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure what two implementations of the reference differ by, and fit the honest rates.

    Implementations: fp32-sdpa, fp32-eager, split3; bf16 and split2 are there to be refused. Leaves
    calibration.json (whose digest a manifest names), report.json and calibration.png. Exit 1 where
    something was found: a pair that margins would refuse, rates that do not cover it.
    """
    given = {"model": model, "a": a, "b": b, "problems": problems, "cap": cap, "out": out}
    with plain_errors():
        from assay.neurons.settings.loading import load_settings

        settings = load_settings(config, {"calibrate": given}).calibrate
        from assay.cli.calibrate import run_calibrate

        raise typer.Exit(run_calibrate(settings, as_json, quiet))


@app.command()
def gauntlet(
    fast: Annotated[
        bool | None,
        typer.Option("--fast/--whole", help="The shipped model only, few groups [default: whole]."),
    ] = None,
    only: Annotated[
        str | None, typer.Option(metavar="NAME", help="Part of the name of the strategies to run.")
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the bench models, built on first use [default: assay-models].",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write gauntlet.json here.")
    ] = None,
    groups: Annotated[
        int | None, typer.Option(help="Groups measured of each strategy [default: 16].")
    ] = None,
    config: Config = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Let every known way to cheat run against the judge, and show what it earns.

    Each strategy works on the shipped model and on a bench model of high entropy; the judge is the
    validators' own. Then 200 windows of income are resampled from what was measured. Exit 1 if a
    legal strategy is refused, or an illegal one earns more than honest work.
    """
    given = {"fast": fast, "only": only, "models": models, "out": out, "groups": groups}
    with plain_errors():
        from assay.neurons.settings.loading import load_settings

        settings = load_settings(config, {"gauntlet": given}).gauntlet
        from assay.cli.gauntlet import run_gauntlet

        raise typer.Exit(run_gauntlet(settings, as_json, quiet))


@app.command()
def status(
    directory: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="Folder of a run [default: assay-demo]."),
    ] = None,
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
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show how a run stands: a demo's, or that of a miner, validator or trainer in its --dir.

    Window, phase and countdown, beacons, checkpoint, verdicts, weights, and whether the program
    lives and keeps up. With --record the newest settlement of a validator's public record, as
    anybody can read it; `assay audit` says whether it is true.
    """
    with plain_errors():
        from assay.neurons.settings.loading import load_settings

        folder = load_settings(config, {"status": {"dir": directory}}).status.dir
        from assay.cli.status import Request, run_status

        run_status(Request(folder, record, hotkey), as_json, watch)


app.add_typer(localnet_cli.app)
app.add_typer(chain_cli.app)
app.add_typer(explain_cli.app)
app.add_typer(explorer_cli.app)
app.add_typer(audit_cli.audit_app, name="audit")
app.add_typer(env_cli.app, name="env")
app.add_typer(train_cli.app)
app.add_typer(subnet_cli.weights_app, name="weights")
app.add_typer(subnet_cli.subnet_app, name="subnet")
app.add_typer(ledger_cli.app, name="ledger")
