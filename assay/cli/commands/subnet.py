"""`assay subnet`: the commands of a subnet's owner."""

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.checks import (
    require_address,
    require_signer,
    require_store,
    require_subnet,
    require_wallet,
)
from assay.cli.command import Invocation, command
from assay.cli.help_pages import PagedGroup
from assay.cli.hub_names import open_model
from assay.cli.options import AsJson, Quiet, Yes, network
from assay.cli.start import TORCH, confirm, starting

app = typer.Typer(cls=PagedGroup, no_args_is_help=True, help="The commands of a subnet's owner.")


_Withdraw = Annotated[bool, typer.Option("--withdraw", help="Withdraw the announced parameters.")]
_MaxCost = Annotated[
    str | None,
    typer.Option("--max-cost", metavar="TAO", help="Pay at most this [default: the price shown]."),
]


@command(app, "create", lambda s: (s.chain.network, s.wallet), role="owner")
def create(
    invocation: Invocation, max_cost: _MaxCost = None, yes: Yes = False, as_json: AsJson = False
) -> None:
    """Buy a subnet for the wallet's coldkey. Its hotkey gets uid 0."""
    settings = invocation.load_settings()
    require_wallet(settings, "coldkey")
    with starting(settings, opens=True):
        from assay.cli.subnet import run_subnet_create
    run_subnet_create(settings, max_cost, confirm(yes, as_json), as_json)


@command(app, "start", lambda s: (*network(s), s.wallet), role="owner")
def start(invocation: Invocation, yes: Yes = False, as_json: AsJson = False) -> None:
    """Open your subnet for stake. The chain allows this some time after the purchase."""
    settings = invocation.load_settings()
    require_signer(settings, "coldkey")
    with starting(settings, opens=True):
        from assay.cli.subnet import run_subnet_start
    run_subnet_start(settings, confirm(yes, as_json), as_json)


@command(
    app,
    "publish",
    lambda s: (
        *network(s),
        s.wallet,
        s.store.locator,
        s.publish,
        s.environments.files,
        s.compute.device,
    ),
    role="owner",
)
def publish(
    invocation: Invocation, yes: Yes = False, quiet: Quiet = False, as_json: AsJson = False
) -> None:
    """Publish a network's parameters and first checkpoint, and name them in the owner's slot.

    The wallet must be the subnet owner's. With a recipe and a model's folder, it first makes
    checkpoint 0 from that model. A second run with the same parameters changes nothing. A run with
    other parameters begins another network.
    """
    settings = invocation.load_settings()
    require_signer(settings, "hotkey")
    require_store(settings)
    _require_trainer(settings.publish.trainer)
    rules = settings.publish
    rules.model = open_model(settings, rules.model, quiet)
    rules.genesis = open_model(settings, rules.genesis, quiet)
    with starting(settings, loads=TORCH, opens=True, quiet=quiet):
        from assay.cli.publish import run_subnet_publish
    run_subnet_publish(settings, confirm(yes, as_json), as_json, quiet)


def _require_trainer(trainer: str | None) -> None:
    """Check that the hotkey that publishes checkpoints is named."""
    from assay.settings.loading import ConfigError

    if trainer is None:
        raise ConfigError("who publishes checkpoints? name the trainer's hotkey with --trainer")
    require_address(trainer, "--trainer")


@command(
    app,
    "amend",
    lambda s: (*network(s), s.wallet, s.store.locator, s.store.readable, s.amend),
    role="owner",
)
def amend(
    invocation: Invocation,
    withdraw: _Withdraw = False,
    yes: Yes = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Announce new parameters that apply from a future window.

    The wallet must be the subnet owner's. Running programs fetch and check the parameters, and
    change over at that window. Until the announcement is decided, you can replace or withdraw it.
    """
    settings = invocation.load_settings()
    require_signer(settings, "hotkey")
    require_store(settings)
    require_change(settings.amend.changes, withdraw)
    settings.amend.checkpoint = open_model(settings, settings.amend.checkpoint, quiet)
    with starting(settings, loads=TORCH, opens=True, quiet=quiet):
        from assay.cli.amend import run_subnet_amend
    run_subnet_amend(settings, withdraw, confirm(yes, as_json), as_json, quiet)


def require_change(changes: Path | None, withdraw: bool) -> None:
    """Check that there is something to amend, and that its file can be read."""
    from assay.settings.loading import ConfigError

    if changes is not None:
        from assay.subnet.presets import read_changes

        read_changes(changes)
    elif not withdraw:
        raise ConfigError("nothing to change: name a file with --changes, or use --withdraw")


@command(app, "show", lambda s: (*network(s), s.store.readable))
def show(invocation: Invocation, as_json: AsJson = False) -> None:
    """Show a network: its parameters, announced ones, its owner and trainer, its checkpoint."""
    settings = invocation.load_settings()
    require_subnet(settings)
    with starting(settings, opens=True):
        from assay.cli.subnet import run_subnet_show
    run_subnet_show(settings, as_json)
