"""Commands that speak to a chain: the neurons, wallets, registration, stake."""

from pathlib import Path
from typing import Annotated

import typer

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
    Yes,
    confirm,
    load,
    plain_errors,
)

app = typer.Typer()
wallet_app = typer.Typer(no_args_is_help=True, help="Keys: the SDK's wallets, as files.")
app.add_typer(wallet_app, name="wallet")


@app.command()
def mine(
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
        typer.Option("--dir", metavar="DIR", help="The miner's own folder [default: assay-mine]."),
    ] = None,
    groups: Annotated[
        int | None, typer.Option(help="Groups a window, at most [default: 1024].")
    ] = None,
    threads: Threads = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, time some groups, send nothing.")
    ] = False,
    localnet: LocalnetFolder = None,
    config: Config = None,
    metrics: Metrics = None,
    log_format: LogFormat = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Mine: generate each window's groups, upload them, commit, and see what became of them.

    Runs until Ctrl-C and picks up where it was. `assay status --dir DIR` shows each window with its
    verdict. --dry-run says what registration costs and roughly what mining earns, and exits 1 if
    something stands in the way.
    """
    with plain_errors():
        settings = load(
            config,
            localnet,
            chain={"network": network, "netuid": netuid},
            wallet={"name": wallet, "hotkey": hotkey, "path": wallet_path},
            store={"locator": store, "readable": readable or None},
            beacon={"endpoints": beacon or None},
            miner={"dir": directory, "groups": groups, "threads": threads},
            metrics={"listen": metrics},
            log={"format": log_format},
        )
        from assay.cli.neurons import run_dry_run, run_miner

        if dry_run:
            raise typer.Exit(run_dry_run(settings, as_json))
        raise typer.Exit(run_miner(settings, as_json, quiet))


@app.command()
def validate(
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
            "--dir", metavar="DIR", help="The validator's own folder [default: assay-validate]."
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
    """Validate: judge every committed file, settle at every epoch, write the weights on chain.

    Runs until Ctrl-C and picks up where it was: verdicts and weights are on disk before they count.
    """
    with plain_errors():
        settings = load(
            config,
            localnet,
            chain={"network": network, "netuid": netuid},
            wallet={"name": wallet, "hotkey": hotkey, "path": wallet_path},
            store={"locator": store, "readable": readable or None},
            beacon={"endpoints": beacon or None},
            validator={"dir": directory, "threads": threads},
            metrics={"listen": metrics},
            log={"format": log_format},
        )
        from assay.cli.neurons import run_validator

        raise typer.Exit(run_validator(settings, as_json, quiet))


@app.command()
def register(
    network: NetworkName = None,
    netuid: Netuid = None,
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
    """Buy a uid of the subnet for the wallet's hotkey. Does nothing where it holds one."""
    with plain_errors():
        settings = load(
            config,
            localnet,
            chain={"network": network, "netuid": netuid},
            wallet={"name": wallet, "hotkey": hotkey, "path": wallet_path},
        )
        from assay.cli.account import run_register
        from assay.neurons.session.resources import parse_tao

        limit = None if max_cost is None else parse_tao(max_cost)
        run_register(settings, limit, confirm(yes, as_json), as_json)


@app.command()
def stake(
    amount: Annotated[str, typer.Argument(metavar="TAO", help="How much, such as 1.25.")],
    network: NetworkName = None,
    netuid: Netuid = None,
    wallet: WalletName = None,
    hotkey: HotkeyName = None,
    wallet_path: WalletPath = None,
    any_price: Annotated[
        bool, typer.Option("--any-price", help="Even where this moves the price by more than 5 %.")
    ] = False,
    yes: Yes = False,
    localnet: LocalnetFolder = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Stake TAO on the wallet's hotkey: what gives a validator its permit and its say."""
    with plain_errors():
        settings = load(
            config,
            localnet,
            chain={"network": network, "netuid": netuid},
            wallet={"name": wallet, "hotkey": hotkey, "path": wallet_path},
        )
        from assay.cli.account import run_stake
        from assay.neurons.session.resources import parse_tao

        run_stake(settings, parse_tao(amount), any_price, confirm(yes, as_json), as_json)


@app.command()
def metagraph(
    network: NetworkName = None,
    netuid: Netuid = None,
    localnet: LocalnetFolder = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show every neuron of the subnet: stake, permit, incentive, dividends."""
    with plain_errors():
        settings = load(config, localnet, chain={"network": network, "netuid": netuid})
        from assay.cli.account import run_metagraph

        run_metagraph(settings, as_json)


@wallet_app.command("create")
def wallet_create(
    wallet: WalletName = None,
    hotkey: HotkeyName = None,
    wallet_path: WalletPath = None,
    no_password: Annotated[
        bool,
        typer.Option("--no-password", help="Leave the coldkey unencrypted: for test money only."),
    ] = False,
    localnet: LocalnetFolder = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make a coldkey and a hotkey, whichever is missing. Asks for a password, never overwrites."""
    with plain_errors():
        given = {"name": wallet, "hotkey": hotkey, "path": wallet_path}
        settings = load(config, localnet, wallet=given).wallet
        from assay.cli.account import run_wallet_create

        run_wallet_create(settings, not no_password, as_json)


@wallet_app.command("list")
def wallet_list(
    wallet_path: WalletPath = None,
    localnet: LocalnetFolder = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List the wallets of this machine by their public addresses."""
    with plain_errors():
        settings = load(config, localnet, wallet={"path": wallet_path}).wallet
        from assay.cli.account import run_wallet_list

        run_wallet_list(settings, as_json)


@wallet_app.command("show")
def wallet_show(
    network: NetworkName = None,
    netuid: Netuid = None,
    wallet: WalletName = None,
    hotkey: HotkeyName = None,
    wallet_path: WalletPath = None,
    localnet: LocalnetFolder = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show a wallet's addresses, its balance, and whether its hotkey holds a uid."""
    with plain_errors():
        settings = load(
            config,
            localnet,
            chain={"network": network, "netuid": netuid},
            wallet={"name": wallet, "hotkey": hotkey, "path": wallet_path},
        )
        from assay.cli.account import run_wallet_show

        run_wallet_show(settings, as_json)
