"""Commands that speak to a chain: neurons, wallets, money, weights, the subnet itself."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from assay.neurons.commands.options import (
    AsJson,
    BeaconEndpoints,
    Config,
    HotkeyName,
    LocalnetFolder,
    Netuid,
    NetworkName,
    Quiet,
    Readable,
    StoreLocator,
    Threads,
    WalletName,
    WalletPath,
    Yes,
    load,
    plain_errors,
)

app = typer.Typer()
wallet_app = typer.Typer(no_args_is_help=True, help="Keys: the SDK's wallets, as files.")
weights_app = typer.Typer(no_args_is_help=True, help="Weights on chain.")
subnet_app = typer.Typer(no_args_is_help=True, help="What a subnet's owner does.")
app.add_typer(wallet_app, name="wallet")
app.add_typer(weights_app, name="weights")
app.add_typer(subnet_app, name="subnet")


def confirm_by(yes: bool, as_json: bool) -> Any:
    """Asks on the terminal; without one nothing is agreed to but by --yes."""

    def ask(question: str) -> bool:
        from assay.neurons.config import ConfigError

        if not yes and not sys.stdin.isatty():
            raise ConfigError(f"{question} There is no terminal to ask on: add --yes to agree")
        return yes or typer.confirm(question, err=as_json)

    return ask


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
        bool,
        typer.Option("--dry-run", help="Check everything, time some groups, send nothing."),
    ] = False,
    localnet: LocalnetFolder = None,
    config: Config = None,
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
        )
        from assay.neurons.commands.neurons import run_dry_run, run_miner

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
            store={"readable": readable or None},
            beacon={"endpoints": beacon or None},
            validator={"dir": directory, "threads": threads},
        )
        from assay.neurons.commands.neurons import run_validator

        raise typer.Exit(run_validator(settings, as_json, quiet))


@app.command()
def train(
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
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train: judge all that was submitted, learn from what is genuine, publish checkpoints.

    The wallet's hotkey must be the trainer that the subnet's parameters name. Runs until Ctrl-C and
    picks up where it was.
    """
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
        )
        from assay.neurons.commands.neurons import run_trainer

        raise typer.Exit(run_trainer(settings, as_json, quiet))


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
        from assay.neurons.commands.account import run_register
        from assay.neurons.wiring import parse_tao

        limit = None if max_cost is None else parse_tao(max_cost)
        run_register(settings, limit, confirm_by(yes, as_json), as_json)


@app.command()
def stake(
    amount: Annotated[str, typer.Argument(metavar="TAO", help="How much, such as 1.25.")],
    network: NetworkName = None,
    netuid: Netuid = None,
    wallet: WalletName = None,
    hotkey: HotkeyName = None,
    wallet_path: WalletPath = None,
    any_price: Annotated[
        bool,
        typer.Option("--any-price", help="Even where this moves the price by more than 5 %."),
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
        from assay.neurons.commands.account import run_stake
        from assay.neurons.wiring import parse_tao

        run_stake(settings, parse_tao(amount), any_price, confirm_by(yes, as_json), as_json)


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
        from assay.neurons.commands.account import run_metagraph

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
        from assay.neurons.commands.account import run_wallet_create

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
        from assay.neurons.commands.account import run_wallet_list

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
        from assay.neurons.commands.account import run_wallet_show

        run_wallet_show(settings, as_json)


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
        from assay.neurons.commands.weights import run_weights_show

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
        from assay.neurons.commands.weights import parse_shares, run_weights_set

        row = parse_shares(weights)
        run_weights_set(settings, row, wait, confirm_by(yes, as_json), as_json)


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
        from assay.neurons.commands.subnet import run_subnet_create
        from assay.neurons.wiring import parse_tao

        limit = None if max_cost is None else parse_tao(max_cost)
        run_subnet_create(settings, limit, confirm_by(yes, as_json), as_json)


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
        from assay.neurons.commands.subnet import run_subnet_start

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
        str | None, typer.Option(metavar="NAME", help="Which problems [default: arithmetic].")
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
                "trainer": trainer, "genesis": genesis, "preset": preset, "changes": changes,
                "environment": environment, "beacon_info": beacon_info, "slot_ms": slot_ms,
            },
        )  # fmt: skip
        from assay.neurons.commands.publish import run_subnet_publish

        ask = confirm_by(yes, as_json)
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
        from assay.neurons.commands.subnet import run_subnet_show

        run_subnet_show(settings, as_json)
