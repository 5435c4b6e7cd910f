"""The command `explain`."""

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.options import (
    AsJson,
    BeaconEndpoints,
    Config,
    LocalnetFolder,
    Netuid,
    NetworkName,
    Quiet,
    Readable,
    WalletName,
    WalletPath,
    load,
    plain_errors,
    say_what_opens,
)

app = typer.Typer()


@app.command()
def explain(
    window: Annotated[int, typer.Option(metavar="W", min=0, help="The window.")],
    hotkey: Annotated[
        str | None,
        typer.Option(
            metavar="SS58",
            help="Whose window; in a demo's folder a miner's name serves [default: the wallet's].",
        ),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            metavar="DIR",
            help="What a demo or a validator has left: no network is asked. Or the miner's own "
            "folder, for its history and checkpoints.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The checkpoint that was in force: judges again."),
    ] = None,
    validator: Annotated[
        str | None, typer.Option(metavar="SS58", help="Whose record to read [default: any].")
    ] = None,
    records: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="The store it lies in [default: the one that it names on chain]."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Leave the window's context and the file here."),
    ] = None,
    network: NetworkName = None,
    netuid: Netuid = None,
    wallet: WalletName = None,
    wallet_path: WalletPath = None,
    readable: Readable = None,
    beacon: BeaconEndpoints = None,
    localnet: LocalnetFolder = None,
    config: Config = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Say why a miner's window was refused, or what it earned, and how to see it for oneself.

    Reads validators' public records, the miner's file and its own history, and judges again what is
    at hand: with a model, everything. `--dir assay-demo --hotkey cheap-model --window 8` explains
    what `assay demo` has left. Exit 0 accepted, 1 refused, 2 could not find out.
    """
    with plain_errors():
        settings = load(
            config,
            localnet,
            chain={"network": network, "netuid": netuid},
            wallet={"name": wallet, "path": wallet_path},
            store={"readable": readable or None},
            beacon={"endpoints": beacon or None},
        )
        has_all = directory is not None and (directory / "contexts").is_dir()
        say_what_opens(directory if directory and has_all else settings, quiet)
        from assay.cli.explain import Question, run_explain

        question = Question(hotkey, window, directory, model, validator, records, out)
        raise typer.Exit(run_explain(settings, question, as_json))
