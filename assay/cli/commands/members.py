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


@command(
    app,
    "register",
    "assay register --netuid 3 --wallet mine --hotkey one",
    lambda s: (*network(s), s.wallet),
)
def register(
    invocation: Invocation, max_cost: _MaxCost = None, yes: Yes = False, as_json: AsJson = False
) -> None:
    """Buy a uid of the subnet for the wallet's hotkey, unless it already has one."""
    settings = invocation.load_settings()
    require_signer(settings, "coldkey")
    with starting(settings, opens=True):
        from assay.cli.account_view import show_registered
        from assay.network.chain import acts
        from assay.session.resources import open_account, open_chain, parse_tao
    limit = None if max_cost is None else parse_tao(max_cost)
    account = open_account(settings)
    with open_chain(settings.chain) as chain:
        done = acts.register(chain, account.wallet, limit, confirm(yes, as_json))
    show_registered(chain.netuid, done, as_json)


@command(
    app,
    "stake",
    "assay stake 900 --netuid 3 --wallet mine --hotkey one",
    lambda s: (*network(s), s.wallet),
)
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
        from assay.cli.account_view import show_staked
        from assay.network.chain import acts
        from assay.session.resources import open_account, open_chain, parse_tao
    rao, account, consent = parse_tao(amount), open_account(settings), confirm(yes, as_json)
    with open_chain(settings.chain) as chain:
        done = acts.stake(chain, account.wallet, rao, consent, any_price=any_price)
    show_staked(chain.netuid, done, as_json)


@command(app, "metagraph", "assay metagraph --netuid 3", network)
def metagraph(invocation: Invocation, as_json: AsJson = False) -> None:
    """Show every neuron of the subnet: stake, permit, incentive, dividends."""
    settings = invocation.load_settings()
    require_subnet(settings)
    with starting(settings, opens=True):
        from assay.cli.account_view import show_metagraph
        from assay.session.resources import open_chain
    with open_chain(settings.chain) as chain:
        head = chain.get_head()
        rows, owner = chain.get_metagraph(head), chain.get_owner(head)
    show_metagraph(chain.netuid, head, owner, rows, as_json)
