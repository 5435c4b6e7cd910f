"""`assay register`, `assay stake`, `assay metagraph`: the uids of a subnet."""

from typing import Annotated

import typer

from assay.cli.checks import require_signer, require_subnet
from assay.cli.command import Invocation, command
from assay.cli.help_pages import PagedGroup
from assay.cli.options import AsJson, Yes, network
from assay.cli.start import confirm, starting

app = typer.Typer(cls=PagedGroup)


_MaxCost = Annotated[
    str | None,
    typer.Option("--max-cost", metavar="TAO", help="Pay at most this [default: the price shown]."),
]


@command(app, "register", lambda s: (*network(s), s.wallet))
def register(
    invocation: Invocation, max_cost: _MaxCost = None, yes: Yes = False, as_json: AsJson = False
) -> None:
    """Buy a uid of the subnet for the wallet's hotkey, unless it already has one."""
    settings = invocation.load_settings()
    require_signer(settings, "coldkey")
    with starting(settings, opens=True):
        from assay.cli.account import run_register
    run_register(settings, max_cost, confirm(yes, as_json), as_json)


@command(app, "stake", lambda s: (*network(s), s.wallet))
def stake(
    invocation: Invocation,
    amount: Annotated[str, typer.Argument(metavar="TAO", help="Amount, such as 1.25.")],
    any_price: Annotated[
        bool, typer.Option("--any-price", help="Buy even if this moves the price by more than 5 %.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Stake TAO on the wallet's hotkey, for a validator's permit and its share of the vote."""
    settings = invocation.load_settings()
    require_signer(settings, "coldkey")
    with starting(settings, opens=True):
        from assay.cli.account import run_stake
    run_stake(settings, amount, any_price, confirm(yes, as_json), as_json)


@command(app, "metagraph", network)
def metagraph(invocation: Invocation, as_json: AsJson = False) -> None:
    """Show every neuron of the subnet: stake, permit, incentive, dividends."""
    settings = invocation.load_settings()
    require_subnet(settings)
    with starting(settings, opens=True):
        from assay.cli.account import run_metagraph
    run_metagraph(settings, as_json)
