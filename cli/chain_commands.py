"""The commands of those who take part: programs, wallets, a subnet, the EVM ledger."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from assay.cli.options import (
    COMPUTE,
    LEDGER,
    NETWORK,
    PROGRAM,
    READING,
    WALLET,
    AsJson,
    Quiet,
    SettingsSource,
    Yes,
    command,
)

app = typer.Typer()
train_app = typer.Typer()
wallet_app = typer.Typer(no_args_is_help=True, help="Keys: the SDK's wallets, as files.")
weights_app = typer.Typer(no_args_is_help=True, help="Weights on chain.")
subnet_app = typer.Typer(no_args_is_help=True, help="What a subnet's owner does.")
ledger_app = typer.Typer(no_args_is_help=True, help="The ledger of scores on the EVM.")

_Withdraw = Annotated[bool, typer.Option("--withdraw", help="Take back what is announced.")]
_MaxCost = Annotated[
    str | None,
    typer.Option(
        "--max-cost", metavar="TAO", help="Pay at most this [default: the price when asked]."
    ),
]
_KEY = ("ledger.key", "ledger.password_file")


@command(app, "localnet", "localnet.*", "log.format", runs="localnet")
def run_localnet(quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Run a subnet on this machine: a development chain, a beacon, a store, rules to join by.

    The chain is a simulator that the unchanged SDK connects to; it says at its start what it does
    not have. Runs until Ctrl-C; the same command goes on where it was, killed or not. Other
    commands join with --localnet DIR. With --json it prints DIR/localnet.json once all is up.
    """


@command(app, "faucet", "chain.network", *WALLET, runs="account")
def run_faucet(
    amount: Annotated[str, typer.Argument(metavar="TAO", help="How much.")] = "1000",
    as_json: AsJson = False,
) -> None:
    """Give a wallet's coldkey money on a development chain of this machine."""


@command(app, "doctor", *NETWORK, *WALLET, "store.locator", *READING, *COMPUTE)
def run_doctor(
    source: SettingsSource,
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
    source.flags[role] = {"dir": directory}
    settings = replace(source, role="trainer" if role == "trainer" else None).load()
    from assay.cli.doctor import run_doctor

    return run_doctor(settings, role, as_json)


_MINER = ("dir", "groups", "engines", "engine_python")


@command(app, "mine", *PROGRAM, *(f"miner.{name}" for name in _MINER), runs="neurons")
def run_miner(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, time some groups, send nothing.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Mine: generate each window's groups, upload them, commit, and see what became of them.

    Runs until Ctrl-C and picks up where it was. `assay status --dir DIR` shows each window with its
    verdict. --dry-run says what registration costs and roughly what mining earns, and exits 1 if
    something stands in the way.
    """


@command(
    app,
    "validate",
    *PROGRAM,
    "validator.dir",
    "validator.devices",
    "cluster.address",
    runs="neurons",
)
def run_validator(quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Validate: judge every committed file, settle at every epoch, write the weights on chain.

    Runs until Ctrl-C and picks up where it was: verdicts and weights are on disk before they count.
    """


@command(
    train_app,
    None,
    *PROGRAM,
    "trainer.dir",
    "trainer.processes",
    "validator.devices",
    "cluster.address",
    role="trainer",
    runs="neurons",
)
def run_trainer(quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Train: judge all that was submitted, learn from what is genuine, publish checkpoints.

    The wallet's hotkey must be the trainer that the subnet's parameters name. Runs until Ctrl-C and
    picks up where it was.
    """


@command(app, "register", *NETWORK, *WALLET, runs="account")
def run_register(max_cost: _MaxCost = None, yes: Yes = False, as_json: AsJson = False) -> None:
    """Buy a uid of the subnet for the wallet's hotkey. Does nothing where it holds one."""


@command(app, "stake", *NETWORK, *WALLET, runs="account")
def run_stake(
    amount: Annotated[str, typer.Argument(metavar="TAO", help="How much, such as 1.25.")],
    any_price: Annotated[
        bool, typer.Option("--any-price", help="Even where this moves the price by more than 5 %.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Stake TAO on the wallet's hotkey: what gives a validator its permit and its say."""


@command(app, "metagraph", *NETWORK, runs="account")
def run_metagraph(as_json: AsJson = False) -> None:
    """Show every neuron of the subnet: stake, permit, incentive, dividends."""


@command(wallet_app, "create", *WALLET, runs="account")
def run_wallet_create(
    no_password: Annotated[
        bool,
        typer.Option("--no-password", help="Leave the coldkey unencrypted: for test money only."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a coldkey and a hotkey, whichever is missing. Asks for a password, never overwrites."""


@command(wallet_app, "list", "wallet.path", runs="account")
def run_wallet_list(as_json: AsJson = False) -> None:
    """List the wallets of this machine by their public addresses."""


@command(wallet_app, "show", *NETWORK, *WALLET, runs="account")
def run_wallet_show(as_json: AsJson = False) -> None:
    """Show a wallet's addresses, its balance, and whether its hotkey holds a uid."""


@command(weights_app, "show", *NETWORK, runs="subnet")
def run_weights_show(
    directory: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="Also what a validator's folder has to send."),
    ] = None,
    block: Annotated[int | None, typer.Option(help="At a past block [default: newest].")] = None,
    as_json: AsJson = False,
) -> None:
    """Show every validator's weights, and with --dir which settlements were sent and confirmed."""


@command(weights_app, "set", *NETWORK, *WALLET, runs="subnet")
def run_weights_set(
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


@command(subnet_app, "create", "chain.network", *WALLET, role="owner", runs="subnet")
def run_subnet_create(max_cost: _MaxCost = None, yes: Yes = False, as_json: AsJson = False) -> None:
    """Buy a subnet for the wallet's coldkey; its hotkey holds uid 0."""


@command(subnet_app, "start", *NETWORK, *WALLET, role="owner", runs="subnet")
def run_subnet_start(as_json: AsJson = False) -> None:
    """Open one's subnet for stake; the chain allows it some time after it was bought."""


@command(
    subnet_app,
    "publish",
    *NETWORK,
    *WALLET,
    "store.locator",
    "publish.*",
    "environments.files",
    "compute.device",
    role="owner",
    runs="publish",
)
def run_subnet_publish(yes: Yes = False, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Publish a network's rules and first checkpoint, and name them in the owner's slot.

    The wallet is the subnet owner's. With a recipe and a model's folder, checkpoint 0 is made of it
    first. Repeating it changes nothing; other rules are another network.
    """


@command(
    subnet_app,
    "amend",
    *NETWORK,
    *WALLET,
    "store.locator",
    "store.readable",
    "amend.*",
    role="owner",
    runs="amend",
)
def run_subnet_amend(
    withdraw: _Withdraw = False, yes: Yes = False, quiet: Quiet = False, as_json: AsJson = False
) -> None:
    """Announce parameters that follow those in force, from a window to come on.

    The wallet is the subnet owner's. Programs that run fetch them, check them, and change over at
    that window. Until the announcement is decided it can be replaced, or withdrawn.
    """


@command(subnet_app, "show", *NETWORK, "store.readable", runs="subnet")
def run_subnet_show(as_json: AsJson = False) -> None:
    """Show a network as everybody finds it: its rules and those announced, who runs it, the
    checkpoint in force.
    """


@command(ledger_app, "key", "chain.network", *WALLET, *LEDGER[:2], *_KEY, runs="ledger")
def run_ledger_key(as_json: AsJson = False) -> None:
    """Make the key that posts, unless it is there, and say where to send its gas money.

    It holds a little money and nothing else of worth: the hotkey can replace it at any time.
    """


@command(ledger_app, "deploy", "chain.network", *WALLET, *LEDGER[:2], *_KEY, runs="ledger")
def run_ledger_deploy(yes: Yes = False, as_json: AsJson = False) -> None:
    """Deploy a ledger and a weights' check over it. Whoever does so has no power over them."""


@command(ledger_app, "bind", *NETWORK, *WALLET, *LEDGER, *_KEY, runs="ledger")
def run_ledger_bind(yes: Yes = False, as_json: AsJson = False) -> None:
    """Let the key post for the wallet's hotkey, in place of whichever did before."""


@command(ledger_app, "show", *NETWORK, *LEDGER, "ledger.weights_check", runs="ledger")
def run_ledger_show(
    validator: Annotated[str, typer.Argument(metavar="SS58", help="Hotkey of a validator.")],
    epoch: Annotated[
        int, typer.Argument(metavar="EPOCH", min=0, help="Block of the epoch that settled.")
    ],
    uid: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Its uid: also compare its weights on chain now."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a validator has posted of a settlement. Exit 1 where nothing stands."""


@command(ledger_app, "verify-score", *NETWORK, *LEDGER, runs="ledger")
def run_ledger_verify_score(
    record: Annotated[
        Path, typer.Argument(metavar="RECORD", help="A validator's settlement-<epoch>.record.")
    ],
    miner: Annotated[str, typer.Option(metavar="SS58", help="Hotkey of the miner.")],
    score: Annotated[
        int | None, typer.Option(min=0, help="Try another score [default: the record's].")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the contract whether a miner's score in a published record is the one posted.

    --json also gives the values for an explorer's form, and the call for any JSON-RPC client.
    Exit 0 proven, 1 not.
    """


@command(ledger_app, "status", "validator.dir", runs="ledger")
def run_ledger_status(as_json: AsJson = False) -> None:
    """Show what a validator has posted, and what keeps the rest."""


app.add_typer(wallet_app, name="wallet")
app.add_typer(weights_app, name="weights")
app.add_typer(subnet_app, name="subnet")
app.add_typer(ledger_app, name="ledger")
