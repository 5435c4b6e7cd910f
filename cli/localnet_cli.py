"""A subnet on one's own machine, money for it, and what is wrong with either."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from assay.cli.options import (
    AsJson,
    BeaconEndpoints,
    Config,
    HotkeyName,
    LocalnetFolder,
    LogFormat,
    Netuid,
    NetworkName,
    Quiet,
    Readable,
    StoreLocator,
    WalletName,
    WalletPath,
    load,
    plain_errors,
)

app = typer.Typer()


@app.command()
def localnet(
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir", metavar="DIR", help="Folder for everything of it [default: assay-localnet]."
        ),
    ] = None,
    block_time: Annotated[
        float | None,
        typer.Option(metavar="S", help="Seconds between blocks [default: as before, or 1]."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            help="The chain's, the beacon's is the next; 0: any [default: as before, or 9944]."
        ),
    ] = None,
    config: Config = None,
    log_format: LogFormat = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run a subnet on this machine: a development chain, a beacon, a store, rules to join by.

    The chain is a simulator that the unchanged SDK connects to; it says at its start what it does
    not have. Runs until Ctrl-C; the same command goes on where it was, killed or not. Other
    commands join with --localnet DIR. With --json it prints DIR/localnet.json once all is up.
    """
    with plain_errors():
        given = {"dir": directory, "block_time": block_time, "port": port}
        settings = load(config, None, localnet=given, log={"format": log_format})
        from assay.cli.localnet import run_localnet

        raise typer.Exit(run_localnet(settings, as_json, quiet))


@app.command()
def faucet(
    amount: Annotated[str, typer.Argument(metavar="TAO", help="How much.")] = "1000",
    network: NetworkName = None,
    wallet: WalletName = None,
    hotkey: HotkeyName = None,
    wallet_path: WalletPath = None,
    localnet: LocalnetFolder = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Give a wallet's coldkey money on a development chain of this machine."""
    with plain_errors():
        settings = load(
            config,
            localnet,
            chain={"network": network},
            wallet={"name": wallet, "hotkey": hotkey, "path": wallet_path},
        )
        from assay.cli.account import run_faucet
        from assay.neurons.session.resources import parse_tao

        run_faucet(settings, parse_tao(amount), as_json)


@app.command()
def doctor(
    role: Annotated[
        Literal["miner", "validator", "trainer"],
        typer.Argument(metavar="miner|validator|trainer", help="Which program it is for."),
    ] = "miner",
    network: NetworkName = None,
    netuid: Netuid = None,
    wallet: WalletName = None,
    hotkey: HotkeyName = None,
    wallet_path: WalletPath = None,
    store: StoreLocator = None,
    readable: Readable = None,
    beacon: BeaconEndpoints = None,
    directory: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="The program's own folder.")
    ] = None,
    localnet: LocalnetFolder = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Look at everything that a program needs, and say what to do about what is not well.

    Chain and clock, wallet and uid, beacons, store, disk, the checkpoint in force, memory for it.
    Sends nothing; may run beside the program. Exit 0 nothing failed, 1 something did, 2 it could
    not look.
    """
    with plain_errors():
        settings = load(
            config,
            localnet,
            "trainer" if role == "trainer" else None,
            chain={"network": network, "netuid": netuid},
            wallet={"name": wallet, "hotkey": hotkey, "path": wallet_path},
            store={"locator": store, "readable": readable or None},
            beacon={"endpoints": beacon or None},
            **{role: {"dir": directory}},
        )
        from assay.cli.doctor import run_doctor

        raise typer.Exit(run_doctor(settings, role, as_json))
