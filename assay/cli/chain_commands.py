"""The commands of participants: programs, wallets, a subnet, the EVM ledger."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from assay.cli.first_checks import (
    require_change,
    require_coldkey,
    require_development_chain,
    require_folder,
    require_hotkey,
    require_hotkeys,
    require_record_store,
    require_store,
    require_subnet,
    require_there,
    require_trainer,
    require_trainer_folder,
    require_wallet,
)
from assay.cli.help_pages import PagedGroup
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
    prepare,
)

app = typer.Typer(cls=PagedGroup)
train_app = typer.Typer(cls=PagedGroup)
wallet_app = typer.Typer(cls=PagedGroup, no_args_is_help=True, help="Wallets: the SDK's key files.")
weights_app = typer.Typer(cls=PagedGroup, no_args_is_help=True, help="Weights on chain.")
subnet_app = typer.Typer(
    cls=PagedGroup, no_args_is_help=True, help="The commands of a subnet's owner."
)
ledger_app = typer.Typer(
    cls=PagedGroup, no_args_is_help=True, help="The ledger of scores on the EVM."
)

_Withdraw = Annotated[bool, typer.Option("--withdraw", help="Withdraw the announced parameters.")]
_MaxCost = Annotated[
    str | None,
    typer.Option("--max-cost", metavar="TAO", help="Pay at most this [default: the price shown]."),
]
_KEY = ("ledger.key", "ledger.password_file")
#: First checks of commands on the chain: that the subnet is named, and that the wallet's keys
#: exist; and that the signing key can be unlocked.
_SUBNET, _OWN = (require_subnet,), (require_wallet,)
_COLDKEY, _HOTKEY = (require_coldkey, require_subnet), (require_hotkey, require_subnet)
_TORCH, _WEB3 = "PyTorch", "web3"


@command(
    app,
    "localnet",
    "localnet.*",
    "log.format",
    runs="localnet",
    first=(require_folder("localnet", alone=True),),
)
def run_localnet(quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Run a subnet on this machine: a development chain, a beacon, a store and parameters.

    The chain is a simulator that the unchanged SDK connects to. At the start the command prints
    what the simulator lacks. It runs until Ctrl-C. After that or a kill, the same command
    continues. Other commands join with --localnet DIR. With --json it prints DIR/localnet.json when
    everything runs.
    """


@command(
    app,
    "faucet",
    "chain.network",
    *WALLET,
    runs="account",
    first=(require_development_chain, *_OWN),
    opens=True,
)
def run_faucet(
    amount: Annotated[str, typer.Argument(metavar="TAO", help="Amount.")] = "1000",
    as_json: AsJson = False,
) -> None:
    """Give a wallet's coldkey money, on a development chain of this machine."""


@command(app, "doctor", *NETWORK, *WALLET, "store.locator", *READING, *COMPUTE)
def run_doctor(
    source: SettingsSource,
    role: Annotated[
        Literal["miner", "validator", "trainer"],
        typer.Argument(
            metavar="PROGRAM", help="The program to check for: miner, validator or trainer."
        ),
    ] = "miner",
    directory: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="The program's own folder.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Check everything that a program needs, and say how to fix each problem.

    It checks chain and clock, wallet and uid, beacons, store, disk, the checkpoint in force, and
    device and memory. It sends nothing to the chain, and you can run it while the program runs.
    Exit codes: 0 nothing failed, 1 something failed, 2 could not check.
    """
    source.flags[role] = {"dir": directory}
    whose = replace(source, role="trainer" if role == "trainer" else None)
    settings = whose.load(problem_files=False)
    prepare(settings, {"as_json": as_json}, require_subnet, opens=True)
    from assay.cli.doctor import run_doctor

    return run_doctor(settings, role, as_json)


_MINER = ("dir", "groups", "engines", "engine_python")


@command(
    app,
    "mine",
    *PROGRAM,
    *(f"miner.{name}" for name in _MINER),
    runs="neurons",
    first=(*_HOTKEY, require_store, require_folder("miner")),
    loads=_TORCH,
    opens=True,
)
def run_miner(
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything and time some groups, but send nothing."),
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Mine: generate each window's groups, upload them, commit, and judge them afterwards.

    It runs until Ctrl-C, and the same command continues. `assay status --dir DIR` shows each window
    with its verdict. --dry-run shows the price of registration and an estimate of the earnings, and
    exits with 1 if a problem would stop the miner.
    """


@command(
    app,
    "validate",
    *PROGRAM,
    "validator.dir",
    "validator.devices",
    "cluster.address",
    runs="neurons",
    first=(*_HOTKEY, require_record_store, require_folder("validator")),
    loads=_TORCH,
    opens=True,
)
def run_validator(quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Validate: judge every committed file, settle at every epoch, write weights on chain.

    It runs until Ctrl-C, and the same command continues: verdicts and weights are on disk before
    they count.
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
    first=(*_HOTKEY, require_store, require_trainer_folder),
    loads=_TORCH,
    opens=True,
)
def run_trainer(quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Train: judge all submissions, learn from accepted groups, publish checkpoints.

    The subnet's parameters must name the wallet's hotkey as trainer. It runs until Ctrl-C, and the
    same command continues.
    """


@command(app, "register", *NETWORK, *WALLET, runs="account", first=_COLDKEY, opens=True)
def run_register(max_cost: _MaxCost = None, yes: Yes = False, as_json: AsJson = False) -> None:
    """Buy a uid of the subnet for the wallet's hotkey, unless it already has one."""


@command(app, "stake", *NETWORK, *WALLET, runs="account", first=_COLDKEY, opens=True)
def run_stake(
    amount: Annotated[str, typer.Argument(metavar="TAO", help="Amount, such as 1.25.")],
    any_price: Annotated[
        bool, typer.Option("--any-price", help="Buy even if this moves the price by more than 5 %.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Stake TAO on the wallet's hotkey, for a validator's permit and its share of the vote."""


@command(app, "metagraph", *NETWORK, runs="account", first=_SUBNET, opens=True)
def run_metagraph(as_json: AsJson = False) -> None:
    """Show every neuron of the subnet: stake, permit, incentive, dividends."""


@command(wallet_app, "create", *WALLET, runs="account")
def run_wallet_create(
    no_password: Annotated[
        bool, typer.Option("--no-password", help="Do not encrypt the coldkey; only for test money.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the missing coldkey and hotkey. It asks for a password and never overwrites."""


@command(wallet_app, "list", "wallet.path", runs="account")
def run_wallet_list(as_json: AsJson = False) -> None:
    """List this machine's wallets with their public addresses."""


@command(wallet_app, "show", *NETWORK, *WALLET, runs="account", first=_OWN, opens=True)
def run_wallet_show(as_json: AsJson = False) -> None:
    """Show a wallet's addresses, its balance, and whether its hotkey holds a uid."""


@command(weights_app, "show", *NETWORK, runs="subnet", first=_SUBNET, opens=True)
def run_weights_show(
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir", metavar="DIR", help="Folder of a validator, to show its unsent weights too."
        ),
    ] = None,
    block: Annotated[int | None, typer.Option(help="Block to read [default: the newest].")] = None,
    as_json: AsJson = False,
) -> None:
    """Show every validator's weights, and with --dir the delivery of a validator's settlements."""


@command(weights_app, "set", *NETWORK, *WALLET, runs="subnet", first=_HOTKEY, opens=True)
def run_weights_set(
    weights: Annotated[
        list[str], typer.Argument(metavar="UID=SHARE", help="Shares, such as 0=1 5=3.")
    ],
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the chain's rate limit allows it.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Set a validator's weights by hand, and read them back.

    It scales them so that the largest is 65,535. `assay validate` sets weights by itself. Use
    this in the first epoch of a new subnet, or to replace a validator.
    """


@command(
    subnet_app,
    "create",
    "chain.network",
    *WALLET,
    role="owner",
    runs="subnet",
    first=(require_coldkey,),
    opens=True,
)
def run_subnet_create(max_cost: _MaxCost = None, yes: Yes = False, as_json: AsJson = False) -> None:
    """Buy a subnet for the wallet's coldkey. Its hotkey gets uid 0."""


@command(
    subnet_app, "start", *NETWORK, *WALLET, role="owner", runs="subnet", first=_COLDKEY, opens=True
)
def run_subnet_start(yes: Yes = False, as_json: AsJson = False) -> None:
    """Open your subnet for stake. The chain allows this some time after the purchase."""


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
    first=(*_HOTKEY, require_store, require_trainer),
    loads=_TORCH,
    opens=True,
)
def run_subnet_publish(yes: Yes = False, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Publish a network's parameters and first checkpoint, and name them in the owner's slot.

    The wallet must be the subnet owner's. With a recipe and a model's folder, it first makes
    checkpoint 0 from that model. A second run with the same parameters changes nothing. A run with
    other parameters begins another network.
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
    first=(*_HOTKEY, require_store, require_change),
    loads=_TORCH,
    opens=True,
)
def run_subnet_amend(
    withdraw: _Withdraw = False, yes: Yes = False, quiet: Quiet = False, as_json: AsJson = False
) -> None:
    """Announce new parameters that apply from a future window.

    The wallet must be the subnet owner's. Running programs fetch and check the parameters, and
    change over at that window. Until the announcement is decided, you can replace or withdraw it.
    """


@command(subnet_app, "show", *NETWORK, "store.readable", runs="subnet", first=_SUBNET, opens=True)
def run_subnet_show(as_json: AsJson = False) -> None:
    """Show a network: its parameters, announced ones, its owner and trainer, its checkpoint."""


@command(ledger_app, "key", "chain.network", *WALLET, *LEDGER[:2], *_KEY, runs="ledger")
def run_ledger_key(as_json: AsJson = False) -> None:
    """Make the key that posts, unless it exists, and show the address that needs gas money.

    The key needs little money and has no other value. The hotkey can replace it at any time.
    """


@command(
    ledger_app, "deploy", "chain.network", *WALLET, *LEDGER[:2], *_KEY, runs="ledger", loads=_WEB3
)
def run_ledger_deploy(yes: Yes = False, as_json: AsJson = False) -> None:
    """Deploy a ScoreLedger and its WeightsCheck. The deployer has no power over them."""


@command(
    ledger_app, "bind", *NETWORK, *WALLET, *LEDGER, *_KEY, runs="ledger", first=_HOTKEY, loads=_WEB3
)
def run_ledger_bind(yes: Yes = False, as_json: AsJson = False) -> None:
    """Let the key post for the wallet's hotkey. It replaces any earlier key."""


@command(
    ledger_app,
    "show",
    *NETWORK,
    *LEDGER,
    "ledger.weights_check",
    runs="ledger",
    first=(require_hotkeys(validator="SS58"), *_SUBNET),
    loads=_WEB3,
)
def run_ledger_show(
    validator: Annotated[str, typer.Argument(metavar="SS58", help="Hotkey of a validator.")],
    epoch: Annotated[
        int, typer.Argument(metavar="EPOCH", min=0, help="Epoch block of the settlement.")
    ],
    uid: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65_535,
            help="The validator's uid, to also compare its current weights on chain.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a validator has posted for a settlement. Exit code 1 if it posted nothing."""


@command(
    ledger_app,
    "verify-score",
    *NETWORK,
    *LEDGER,
    runs="ledger",
    first=(require_there("record"), require_hotkeys(miner="--miner"), *_SUBNET),
    loads=_WEB3,
)
def run_ledger_verify_score(
    record: Annotated[
        Path, typer.Argument(metavar="RECORD", help="A validator's settlement-<epoch>.record.")
    ],
    miner: Annotated[str, typer.Option(metavar="SS58", help="Hotkey of the miner.")],
    score: Annotated[
        int | None, typer.Option(min=0, help="Score to prove [default: the record's].")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the contract whether a miner's score in a published record was posted.

    --json also prints the values for an EVM explorer's form, and the call for any JSON-RPC client.
    Exit codes: 0 proven, 1 not proven.
    """


@command(ledger_app, "status", "validator.dir", runs="ledger")
def run_ledger_status(as_json: AsJson = False) -> None:
    """Show a validator's posts to the ledger contract, and why some are not sent yet."""


app.add_typer(wallet_app, name="wallet")
app.add_typer(weights_app, name="weights")
app.add_typer(subnet_app, name="subnet")
app.add_typer(ledger_app, name="ledger")
