"""Commands about a subnet as a whole: everybody's weights, and what its owner does."""

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.options import (
    AsJson,
    Config,
    HotkeyName,
    LocalnetFolder,
    Netuid,
    NetworkName,
    Quiet,
    Readable,
    StoreLocator,
    WalletName,
    WalletPath,
    Yes,
    confirm,
    load,
    plain_errors,
)

weights_app = typer.Typer(no_args_is_help=True, help="Weights on chain.")
subnet_app = typer.Typer(no_args_is_help=True, help="What a subnet's owner does.")


@weights_app.command("show")
def weights_show(
    network: NetworkName = None,
    netuid: Netuid = None,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="Also what a validator's folder has to send."),
    ] = None,
    block: Annotated[int | None, typer.Option(help="At a past block [default: newest].")] = None,
    localnet: LocalnetFolder = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show every validator's weights, and with --dir which settlements were sent and confirmed."""
    with plain_errors():
        settings = load(config, localnet, chain={"network": network, "netuid": netuid})
        from assay.cli.weights import run_weights_show

        run_weights_show(settings, directory, block, as_json)


@weights_app.command("set")
def weights_set(
    weights: Annotated[list[str], typer.Argument(metavar="UID=SHARE...", help="Such as 0=1 5=3.")],
    network: NetworkName = None,
    netuid: Netuid = None,
    wallet: WalletName = None,
    hotkey: HotkeyName = None,
    wallet_path: WalletPath = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the chain's rate limit allows it.")
    ] = False,
    yes: Yes = False,
    localnet: LocalnetFolder = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Set a validator's weights by hand, scaled so that the largest is whole, and read them back.

    `assay validate` does this by itself; by hand it is for the first epoch of a new subnet, or when
    a validator hands over.
    """
    with plain_errors():
        settings = load(
            config,
            localnet,
            chain={"network": network, "netuid": netuid},
            wallet={"name": wallet, "hotkey": hotkey, "path": wallet_path},
        )
        from assay.cli.weights import parse_shares, run_weights_set

        row = parse_shares(weights)
        run_weights_set(settings, row, wait, confirm(yes, as_json), as_json)


@subnet_app.command("create")
def subnet_create(
    network: NetworkName = None,
    wallet: WalletName = None,
    hotkey: HotkeyName = None,
    wallet_path: WalletPath = None,
    max_cost: Annotated[
        str | None,
        typer.Option(metavar="TAO", help="Pay at most this [default: the price when asked]."),
    ] = None,
    yes: Yes = False,
    localnet: LocalnetFolder = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Buy a subnet for the wallet's coldkey; its hotkey holds uid 0."""
    with plain_errors():
        settings = load(
            config,
            localnet,
            "owner",
            chain={"network": network},
            wallet={"name": wallet, "hotkey": hotkey, "path": wallet_path},
        )
        from assay.cli.subnet import run_subnet_create
        from assay.neurons.session.resources import parse_tao

        limit = None if max_cost is None else parse_tao(max_cost)
        run_subnet_create(settings, limit, confirm(yes, as_json), as_json)


@subnet_app.command("start")
def subnet_start(
    network: NetworkName = None,
    netuid: Netuid = None,
    wallet: WalletName = None,
    hotkey: HotkeyName = None,
    wallet_path: WalletPath = None,
    localnet: LocalnetFolder = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Open one's subnet for stake; the chain allows it some time after it was bought."""
    with plain_errors():
        settings = load(
            config,
            localnet,
            "owner",
            chain={"network": network, "netuid": netuid},
            wallet={"name": wallet, "hotkey": hotkey, "path": wallet_path},
        )
        from assay.cli.subnet import run_subnet_start

        run_subnet_start(settings, as_json)


@subnet_app.command("publish")
def subnet_publish(
    network: NetworkName = None,
    netuid: Netuid = None,
    wallet: WalletName = None,
    hotkey: HotkeyName = None,
    wallet_path: WalletPath = None,
    store: StoreLocator = None,
    trainer: Annotated[
        str | None, typer.Option(metavar="SS58", help="The hotkey that publishes checkpoints.")
    ] = None,
    genesis: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The first checkpoint [default: the shipped one]."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="main or demo [default: main].")
    ] = None,
    environment: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which problems: sat, or sat,k=4 [default: arithmetic]."),
    ] = None,
    changes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Parameters to change, by section: TOML or JSON."),
    ] = None,
    beacon_info: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A drand chain's info document [default: quicknet]."),
    ] = None,
    slot_ms: Annotated[
        int | None, typer.Option(help="The chain's slot, milliseconds [default: the preset's].")
    ] = None,
    yes: Yes = False,
    localnet: LocalnetFolder = None,
    config: Config = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Publish a network's rules and first checkpoint, and name them in the owner's slot.

    The wallet is the subnet owner's. Repeating it changes nothing; other rules are another network.
    """
    with plain_errors():
        settings = load(
            config,
            localnet,
            "owner",
            chain={"network": network, "netuid": netuid},
            wallet={"name": wallet, "hotkey": hotkey, "path": wallet_path},
            store={"locator": store},
            publish={
                "trainer": trainer,
                "genesis": genesis,
                "preset": preset,
                "changes": changes,
                "environment": environment,
                "beacon_info": beacon_info,
                "slot_ms": slot_ms,
            },
        )
        from assay.cli.publish import run_subnet_publish

        ask = confirm(yes, as_json)
        run_subnet_publish(settings, settings.publish, ask, as_json, quiet)


@subnet_app.command("show")
def subnet_show(
    network: NetworkName = None,
    netuid: Netuid = None,
    readable: Readable = None,
    localnet: LocalnetFolder = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show a network as everybody finds it: its rules, who runs it, the checkpoint in force."""
    with plain_errors():
        settings = load(
            config,
            localnet,
            chain={"network": network, "netuid": netuid},
            store={"readable": readable or None},
        )
        from assay.cli.subnet import run_subnet_show

        run_subnet_show(settings, as_json)
