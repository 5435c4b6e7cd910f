"""Commands about learning: the trainer, a step done again, what was accepted as a data set."""

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.audit_cli import AllowLocalBeacon, Records, Validator
from assay.cli.options import (
    AsJson,
    BeaconEndpoints,
    Config,
    HotkeyName,
    LocalnetFolder,
    LogFormat,
    Metrics,
    Netuid,
    NetworkName,
    Quiet,
    Readable,
    StoreLocator,
    Threads,
    WalletName,
    WalletPath,
    load,
    plain_errors,
)

app = typer.Typer()
train_app = typer.Typer()
app.add_typer(train_app, name="train")


@train_app.callback(invoke_without_command=True)
def train(
    caller: typer.Context,
    network: NetworkName = None,
    netuid: Netuid = None,
    wallet: WalletName = None,
    hotkey: HotkeyName = None,
    wallet_path: WalletPath = None,
    store: StoreLocator = None,
    readable: Readable = None,
    beacon: BeaconEndpoints = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir", metavar="DIR", help="The trainer's own folder [default: assay-train]."
        ),
    ] = None,
    threads: Threads = None,
    localnet: LocalnetFolder = None,
    config: Config = None,
    metrics: Metrics = None,
    log_format: LogFormat = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train: judge all that was submitted, learn from what is genuine, publish checkpoints.

    The wallet's hotkey must be the trainer that the subnet's parameters name. Runs until Ctrl-C and
    picks up where it was.
    """
    if caller.invoked_subcommand is not None:
        return
    with plain_errors():
        settings = load(
            config,
            localnet,
            "trainer",
            chain={"network": network, "netuid": netuid},
            wallet={"name": wallet, "hotkey": hotkey, "path": wallet_path},
            store={"locator": store, "readable": readable or None},
            beacon={"endpoints": beacon or None},
            trainer={"dir": directory, "threads": threads},
            metrics={"listen": metrics},
            log={"format": log_format},
        )
        from assay.cli.neurons import run_trainer

        raise typer.Exit(run_trainer(settings, as_json, quiet))


@train_app.command("verify-step")
def verify_step(
    record: Annotated[
        str,
        typer.Argument(
            metavar="RECORD",
            help="A step record, steps/step-*.json; with --store, a checkpoint's digest.",
        ),
    ],
    models: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of checkpoints, by digest [default: models, beside the record's folder].",
        ),
    ] = None,
    store: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Fetch a checkpoint's step from this store; repeatable."),
    ] = None,
    directory: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="Folder for what is fetched.")
    ] = Path("assay-steps"),
    offline: Annotated[
        Path | None,
        typer.Option(
            metavar="BUNDLE", help="Hold the groups against a bundle of `assay audit export`."
        ),
    ] = None,
    files: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL", help="Miners' files are also looked for in this store; repeatable."
        ),
    ] = None,
    validator: Validator = None,
    records: Records = None,
    allow_local_beacon: AllowLocalBeacon = False,
    network: NetworkName = None,
    netuid: Netuid = None,
    readable: Readable = None,
    beacon: BeaconEndpoints = None,
    localnet: LocalnetFolder = None,
    config: Config = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Do a training step again, from the data beside its record, and compare bit by bit.

    With --offline, --netuid or --localnet its groups are also held against what miners had
    committed to on chain. Exit 0 equal, 1 different (the first tensor or group that differs is
    named), 2 could not run, or equal and not all of the groups could be looked at. Another kind of
    processor or another torch may differ in last bits; what differs here is said.
    """
    with plain_errors():
        settings = load(  # the network's files of problems, too; a mistyped variable is named
            config,
            localnet,
            chain={"network": network, "netuid": netuid},
            store={"readable": readable or None},
            beacon={"endpoints": beacon or None},
        )
        from assay.cli.audit import Request
        from assay.cli.step_sources import Tracing
        from assay.cli.train_steps import StepRequest
        from assay.cli.train_steps import verify_step as run
        from assay.neurons.settings.loading import ConfigError

        online = None if (network, netuid, localnet) == (None, None, None) else settings
        place = offline or online
        request = Request(validator, None, records, allow_local_beacon=allow_local_beacon)
        tracing = None if place is None else Tracing(place, request, files or ())
        if tracing is None and (files or validator or records):
            raise ConfigError("name a bundle with --offline, or a network with --netuid")
        asked = StepRequest(record, models, store or (), directory, tracing)
        raise typer.Exit(run(asked, as_json, quiet))


@app.command()
def export(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder to write the data set to; new or empty.")
    ],
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir", metavar="DIR", help="The trainer's folder, or a demo's [default: assay-train]."
        ),
    ] = None,
    windows: Annotated[
        str | None, typer.Option(metavar="A..B", help="These windows only, both ends included.")
    ] = None,
    config: Config = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write all rollouts that were learned from as a data set: Parquet files and a data card.

    `datasets.load_dataset(DIR)` reads it. Texts, reward parts, advantages, where each rollout comes
    from, and the root on chain that proves it; each step's data is checked against its record.
    """
    with plain_errors():
        from assay.cli.train_steps import run_export

        folder = load(config, None, trainer={"dir": directory}).trainer.dir
        run_export(folder, out, windows, as_json, quiet)
