"""The commands of those who take part: programs, wallets, a subnet, the EVM ledger."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from assay.cli.options import (
    FINDING,
    LEDGER,
    NETWORK,
    OK,
    PROGRAM,
    READING,
    WALLET,
    AsJson,
    Given,
    Quiet,
    Yes,
    command,
    confirm,
    group_command,
)

app = typer.Typer()
train_app = typer.Typer()
wallet_app = typer.Typer(no_args_is_help=True, help="Keys: the SDK's wallets, as files.")
weights_app = typer.Typer(no_args_is_help=True, help="Weights on chain.")
subnet_app = typer.Typer(no_args_is_help=True, help="What a subnet's owner does.")
ledger_app = typer.Typer(no_args_is_help=True, help="The ledger of scores on the EVM.")

_MaxCost = Annotated[
    str | None,
    typer.Option(
        "--max-cost", metavar="TAO", help="Pay at most this [default: the price when asked]."
    ),
]
_KEY = ("ledger.key", "ledger.password_file")


@command(app, "localnet", "localnet.*", "log.format")
def run_localnet(given: Given, quiet: Quiet = False, as_json: AsJson = False) -> int:
    """Run a subnet on this machine: a development chain, a beacon, a store, rules to join by.

    The chain is a simulator that the unchanged SDK connects to; it says at its start what it does
    not have. Runs until Ctrl-C; the same command goes on where it was, killed or not. Other
    commands join with --localnet DIR. With --json it prints DIR/localnet.json once all is up.
    """
    settings = given.load()
    from assay.cli.localnet import run_localnet

    return run_localnet(settings, as_json, quiet)


@command(app, "faucet", "chain.network", *WALLET)
def run_faucet(
    given: Given,
    amount: Annotated[str, typer.Argument(metavar="TAO", help="How much.")] = "1000",
    as_json: AsJson = False,
) -> None:
    """Give a wallet's coldkey money on a development chain of this machine."""
    settings = given.load()
    from assay.cli.account import run_faucet
    from assay.neurons.session.resources import parse_tao

    run_faucet(settings, parse_tao(amount), as_json)


@command(app, "doctor", *NETWORK, *WALLET, "store.locator", *READING)
def run_doctor(
    given: Given,
    role: Annotated[
        Literal["miner", "validator", "trainer"],
        typer.Argument(metavar="miner|validator|trainer", help="Which program it is for."),
    ] = "miner",
    directory: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="The program's own folder.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Look at everything that a program needs, and say what to do about what is not well.

    Chain and clock, wallet and uid, beacons, store, disk, the checkpoint in force, memory for it.
    Sends nothing; may run beside the program. Exit 0 nothing failed, 1 something did, 2 it could
    not look.
    """
    given.flags[role] = {"dir": directory}
    settings = replace(given, role="trainer" if role == "trainer" else None).load()
    from assay.cli.doctor import run_doctor

    return run_doctor(settings, role, as_json)


@command(app, "mine", *PROGRAM, "miner.dir", "miner.groups", "miner.threads")
def run_miner(
    given: Given,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, time some groups, send nothing.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Mine: generate each window's groups, upload them, commit, and see what became of them.

    Runs until Ctrl-C and picks up where it was. `assay status --dir DIR` shows each window with its
    verdict. --dry-run says what registration costs and roughly what mining earns, and exits 1 if
    something stands in the way.
    """
    settings = given.load()
    from assay.cli.neurons import run_dry_run, run_miner

    return run_dry_run(settings, as_json) if dry_run else run_miner(settings, as_json, quiet)


@command(app, "validate", *PROGRAM, "validator.dir", "validator.threads")
def run_validator(given: Given, quiet: Quiet = False, as_json: AsJson = False) -> int:
    """Validate: judge every committed file, settle at every epoch, write the weights on chain.

    Runs until Ctrl-C and picks up where it was: verdicts and weights are on disk before they count.
    """
    settings = given.load()
    from assay.cli.neurons import run_validator

    return run_validator(settings, as_json, quiet)


@group_command(train_app, *PROGRAM, "trainer.dir", "trainer.threads", role="trainer")
def run_trainer(given: Given, quiet: Quiet = False, as_json: AsJson = False) -> int:
    """Train: judge all that was submitted, learn from what is genuine, publish checkpoints.

    The wallet's hotkey must be the trainer that the subnet's parameters name. Runs until Ctrl-C and
    picks up where it was.
    """
    settings = given.load()
    from assay.cli.neurons import run_trainer

    return run_trainer(settings, as_json, quiet)


@command(app, "register", *NETWORK, *WALLET)
def run_register(
    given: Given, max_cost: _MaxCost = None, yes: Yes = False, as_json: AsJson = False
) -> None:
    """Buy a uid of the subnet for the wallet's hotkey. Does nothing where it holds one."""
    settings = given.load()
    from assay.cli.account import run_register
    from assay.neurons.session.resources import parse_tao

    limit = None if max_cost is None else parse_tao(max_cost)
    run_register(settings, limit, confirm(yes, as_json), as_json)


@command(app, "stake", *NETWORK, *WALLET)
def run_stake(
    given: Given,
    amount: Annotated[str, typer.Argument(metavar="TAO", help="How much, such as 1.25.")],
    any_price: Annotated[
        bool, typer.Option("--any-price", help="Even where this moves the price by more than 5 %.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Stake TAO on the wallet's hotkey: what gives a validator its permit and its say."""
    settings = given.load()
    from assay.cli.account import run_stake
    from assay.neurons.session.resources import parse_tao

    run_stake(settings, parse_tao(amount), any_price, confirm(yes, as_json), as_json)


@command(app, "metagraph", *NETWORK)
def run_metagraph(given: Given, as_json: AsJson = False) -> None:
    """Show every neuron of the subnet: stake, permit, incentive, dividends."""
    settings = given.load()
    from assay.cli.account import run_metagraph

    run_metagraph(settings, as_json)


@command(wallet_app, "create", *WALLET)
def run_wallet_create(
    given: Given,
    no_password: Annotated[
        bool,
        typer.Option("--no-password", help="Leave the coldkey unencrypted: for test money only."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a coldkey and a hotkey, whichever is missing. Asks for a password, never overwrites."""
    settings = given.load().wallet
    from assay.cli.account import run_wallet_create

    run_wallet_create(settings, not no_password, as_json)


@command(wallet_app, "list", "wallet.path")
def run_wallet_list(given: Given, as_json: AsJson = False) -> None:
    """List the wallets of this machine by their public addresses."""
    settings = given.load().wallet
    from assay.cli.account import run_wallet_list

    run_wallet_list(settings, as_json)


@command(wallet_app, "show", *NETWORK, *WALLET)
def run_wallet_show(given: Given, as_json: AsJson = False) -> None:
    """Show a wallet's addresses, its balance, and whether its hotkey holds a uid."""
    settings = given.load()
    from assay.cli.account import run_wallet_show

    run_wallet_show(settings, as_json)


@command(weights_app, "show", *NETWORK)
def run_weights_show(
    given: Given,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="Also what a validator's folder has to send."),
    ] = None,
    block: Annotated[int | None, typer.Option(help="At a past block [default: newest].")] = None,
    as_json: AsJson = False,
) -> None:
    """Show every validator's weights, and with --dir which settlements were sent and confirmed."""
    settings = given.load()
    from assay.cli.subnet import run_weights_show

    run_weights_show(settings, directory, block, as_json)


@command(weights_app, "set", *NETWORK, *WALLET)
def run_weights_set(
    given: Given,
    weights: Annotated[list[str], typer.Argument(metavar="UID=SHARE...", help="Such as 0=1 5=3.")],
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the chain's rate limit allows it.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Set a validator's weights by hand, scaled so that the largest is whole, and read them back.

    `assay validate` does this by itself; by hand it is for the first epoch of a new subnet, or when
    a validator hands over.
    """
    settings = given.load()
    from assay.cli.subnet import parse_shares, run_weights_set

    run_weights_set(settings, parse_shares(weights), wait, confirm(yes, as_json), as_json)


@command(subnet_app, "create", "chain.network", *WALLET, role="owner")
def run_subnet_create(
    given: Given, max_cost: _MaxCost = None, yes: Yes = False, as_json: AsJson = False
) -> None:
    """Buy a subnet for the wallet's coldkey; its hotkey holds uid 0."""
    settings = given.load()
    from assay.cli.subnet import run_subnet_create
    from assay.neurons.session.resources import parse_tao

    limit = None if max_cost is None else parse_tao(max_cost)
    run_subnet_create(settings, limit, confirm(yes, as_json), as_json)


@command(subnet_app, "start", *NETWORK, *WALLET, role="owner")
def run_subnet_start(given: Given, as_json: AsJson = False) -> None:
    """Open one's subnet for stake; the chain allows it some time after it was bought."""
    settings = given.load()
    from assay.cli.subnet import run_subnet_start

    run_subnet_start(settings, as_json)


@command(subnet_app, "publish", *NETWORK, *WALLET, "store.locator", "publish.*", role="owner")
def run_subnet_publish(
    given: Given, yes: Yes = False, quiet: Quiet = False, as_json: AsJson = False
) -> None:
    """Publish a network's rules and first checkpoint, and name them in the owner's slot.

    The wallet is the subnet owner's. Repeating it changes nothing; other rules are another network.
    """
    settings = given.load()
    from assay.cli.publish import run_subnet_publish

    run_subnet_publish(settings, settings.publish, confirm(yes, as_json), as_json, quiet)


@command(subnet_app, "show", *NETWORK, "store.readable")
def run_subnet_show(given: Given, as_json: AsJson = False) -> None:
    """Show a network as everybody finds it: its rules, who runs it, the checkpoint in force."""
    settings = given.load()
    from assay.cli.subnet import run_subnet_show

    run_subnet_show(settings, as_json)


@command(ledger_app, "key", "chain.network", *WALLET, *LEDGER[:2], *_KEY)
def run_ledger_key(given: Given, as_json: AsJson = False) -> None:
    """Make the key that posts, unless it is there, and say where to send its gas money.

    It holds a little money and nothing else of worth: the hotkey can replace it at any time.
    """
    settings = given.load()
    from assay.cli.ledger import run_key

    run_key(settings, as_json)


@command(ledger_app, "deploy", "chain.network", *WALLET, *LEDGER[:2], *_KEY)
def run_ledger_deploy(given: Given, yes: Yes = False, as_json: AsJson = False) -> None:
    """Deploy a ledger and a weights' check over it. Whoever does so has no power over them."""
    settings = given.load()
    from assay.cli.ledger import run_deploy

    run_deploy(settings, confirm(yes, as_json), as_json)


@command(ledger_app, "bind", *NETWORK, *WALLET, *LEDGER, *_KEY)
def run_ledger_bind(given: Given, yes: Yes = False, as_json: AsJson = False) -> None:
    """Let the key post for the wallet's hotkey, in place of whichever did before."""
    settings = given.load()
    from assay.cli.ledger import run_bind

    run_bind(settings, confirm(yes, as_json), as_json)


@command(ledger_app, "show", *NETWORK, *LEDGER, "ledger.weights_check")
def run_ledger_show(
    given: Given,
    validator: Annotated[str, typer.Argument(metavar="SS58", help="Hotkey of a validator.")],
    epoch: Annotated[int, typer.Argument(min=0, help="Block of the epoch that settled.")],
    uid: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Its uid: also compare its weights on chain now."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Show what a validator has posted of a settlement. Exit 1 where nothing stands."""
    settings = given.load()
    from assay.cli.ledger import run_show

    return OK if run_show(settings, validator, epoch, uid, as_json) else FINDING


@command(ledger_app, "verify-score", *NETWORK, *LEDGER)
def run_ledger_verify_score(
    given: Given,
    record: Annotated[
        Path, typer.Argument(metavar="RECORD", help="settlement-<epoch>.record of a validator.")
    ],
    miner: Annotated[str, typer.Option(metavar="SS58", help="Hotkey of the miner.")],
    score: Annotated[
        int | None, typer.Option(min=0, help="Try another score [default: the record's].")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Ask the contract whether a miner's score in a published record is the one posted.

    --json also gives the values for an explorer's form, and the call for any JSON-RPC client.
    Exit 0 proven, 1 not.
    """
    settings = given.load()
    from assay.cli.ledger import run_verify

    return OK if run_verify(settings, record, miner, score, as_json) else FINDING


@command(ledger_app, "status", "validator.dir")
def run_ledger_status(given: Given, as_json: AsJson = False) -> None:
    """Show what a validator has posted, and what keeps the rest."""
    settings = given.load()
    from assay.cli.ledger import run_ledger_status

    run_ledger_status(settings, as_json)


app.add_typer(wallet_app, name="wallet")
app.add_typer(weights_app, name="weights")
app.add_typer(subnet_app, name="subnet")
app.add_typer(ledger_app, name="ledger")
