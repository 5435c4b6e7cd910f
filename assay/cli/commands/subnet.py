"""`assay subnet`: the commands of a subnet's owner."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from assay.cli.checks import (
    require_address,
    require_each,
    require_signer,
    require_subnet,
    require_there,
    require_wallet,
)
from assay.cli.command import Invocation, command
from assay.cli.exits import cleaning_up
from assay.cli.help_pages import PagedGroup
from assay.cli.hub_names import open_model
from assay.cli.options import AsJson, Quiet, Yes, network
from assay.cli.start import TORCH, confirm, starting
from assay.network.hub.names import find_hub_name

if TYPE_CHECKING:
    from assay.settings.sections import PublishSettings

app = typer.Typer(
    cls=PagedGroup,
    no_args_is_help=True,
    help="The commands of a subnet's owner.",
    epilog="assay subnet show --netuid 3",
)


_Withdraw = Annotated[bool, typer.Option("--withdraw", help="Withdraw the announced parameters.")]
_MaxCost = Annotated[
    str | None,
    typer.Option("--max-cost", metavar="TAO", help="Pay at most this [default: the price shown]."),
]


@command(
    app,
    "create",
    "assay subnet create --wallet owner --hotkey one",
    lambda s: (s.chain.network, s.wallet),
    role="owner",
)
def create(
    invocation: Invocation, max_cost: _MaxCost = None, yes: Yes = False, as_json: AsJson = False
) -> None:
    """Buy a subnet for the wallet's coldkey. Its hotkey gets uid 0."""
    settings = invocation.load_settings()
    require_wallet(settings, "coldkey")
    with starting(settings, opens=True):
        from assay.cli.subnet_view import show_bought
        from assay.network.chain.acts import buy_subnet
        from assay.session.resources import connect, open_account, parse_tao
    limit = None if max_cost is None else parse_tao(max_cost)
    account = open_account(settings)
    with connect(settings.chain) as connection:
        bought = buy_subnet(connection, account.wallet, limit, confirm(yes, as_json))
    show_bought(bought, as_json)


@command(
    app,
    "start",
    "assay subnet start --netuid 3 --wallet owner --hotkey one",
    lambda s: (*network(s), s.wallet),
    role="owner",
)
def start(invocation: Invocation, yes: Yes = False, as_json: AsJson = False) -> None:
    """Open your subnet for stake. The chain allows this some time after the purchase."""
    settings = invocation.load_settings()
    require_signer(settings, "coldkey")
    with starting(settings, opens=True):
        from assay.cli.subnet_view import show_opened
        from assay.network.chain.acts import open_subnet
        from assay.session.resources import connect, open_account
        from assay.settings.loading import require_netuid
    account, netuid = open_account(settings), require_netuid(settings.chain)
    with connect(settings.chain) as connection:
        block = open_subnet(connection, account.wallet, netuid, confirm(yes, as_json))
    show_opened(netuid, block, as_json)


@command(
    app,
    "publish",
    "assay subnet publish --netuid 3 --wallet owner --hotkey one --store URL "
    "\\\n    --trainer SS58 --recipe qwen2.5-1.5b-math \\\n    --model model --file problems.jsonl",
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
    """Publish a network's parameters and first checkpoint, and name them on chain.

    The wallet must be the subnet owner's. With a recipe and a model's folder, it first makes
    checkpoint 0 from that model. A second run with the same parameters changes nothing. A run with
    other parameters begins another network.
    """
    settings = invocation.load_settings()
    rules = settings.publish
    require_each(
        lambda: require_signer(settings, "hotkey", stores=True),
        lambda: _require_trainer(rules.trainer),
        lambda: require_address(rules.amender, "--amender"),
        lambda: _require_rules(rules),
    )
    rules.model = open_model(settings, rules.model, quiet)
    rules.genesis = open_model(settings, rules.genesis, quiet)
    with starting(settings, loads=TORCH, opens=True, quiet=quiet):
        from assay.cli.owner_view import show_published
        from assay.neurons.program.logs import log_lines, make_report, wants_json
        from assay.session.resources import open_account, open_chain, open_own_store
        from assay.subnet.publish import OwnedSubnet, prepare, read_publish_request
        from assay.subnet.publish import publish as publish_network
    store, locator = open_own_store(settings)
    account = open_account(settings)
    request = read_publish_request(rules, settings.compute)
    with log_lines(wants_json(settings, as_json), quiet):
        report = make_report("publication_note")
        with cleaning_up():
            network = prepare(request, report)
        with open_chain(settings.chain) as chain:
            chain.add_wallet(account.wallet)
            subnet = OwnedSubnet(chain, account.hotkey, store, locator)
            consent = confirm(yes, as_json, "nothing was published")
            published = publish_network(network, subnet, consent, report)
    show_published(published, as_json)


def _require_trainer(trainer: str | None) -> None:
    """Check that the hotkey that publishes checkpoints is named."""
    from assay.settings.loading import ConfigError

    if trainer is None:
        raise ConfigError("who publishes checkpoints? name the trainer's hotkey with --trainer")
    require_address(trainer, "--trainer")


def _require_rules(rules: "PublishSettings") -> None:
    """Check that recipe, model and changes are there, as far as that is known without the Hub."""
    from assay.subnet.recipe import read_recipe

    models = [
        one
        for one in (rules.model, rules.genesis)
        if one is not None and find_hub_name(str(one), "model") is None
    ]
    require_each(
        lambda: None if rules.recipe is None else read_recipe(rules.recipe),
        lambda: require_there(*models, rules.changes),
    )


@command(
    app,
    "amend",
    "assay subnet amend --netuid 3 --wallet owner --hotkey one --store URL "
    "\\\n    --changes changes.toml",
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

    The wallet must be the subnet owner's, or the amender's if the parameters name one. Running
    programs fetch and check the parameters, and change over at that window. Until the announcement
    is decided, you can replace or withdraw it.
    """
    settings = invocation.load_settings()
    require_each(
        lambda: require_signer(settings, "hotkey", stores=True),
        lambda: require_change(settings.amend.changes, withdraw),
    )
    settings.amend.checkpoint = open_model(settings, settings.amend.checkpoint, quiet)
    with starting(settings, loads=TORCH, opens=True, quiet=quiet):
        from assay.cli.owner_view import show_amended, show_withdrawn
        from assay.neurons.program.logs import log_lines, make_report, wants_json
        from assay.session.resources import open_account, open_chain, open_own_store, open_stores
        from assay.subnet.amend import (
            announce_amendment,
            follow_owned,
            read_amend_request,
            withdraw_amendment,
        )
        from assay.subnet.publish import OwnedSubnet
    store, locator = open_own_store(settings)
    account = open_account(settings)
    request = read_amend_request(settings.amend)
    with (
        log_lines(wants_json(settings, as_json), quiet),
        open_chain(settings.chain) as chain,
        TemporaryDirectory(prefix="assay-") as folder,
    ):
        chain.add_wallet(account.wallet)
        subnet = OwnedSubnet(chain, account.hotkey, store, locator)
        followed = follow_owned(subnet, open_stores(settings.store).open, Path(folder))
        if withdraw:
            consent = confirm(yes, as_json, "nothing was withdrawn")
            show_withdrawn(withdraw_amendment(subnet, followed, consent), as_json)
            return
        consent = confirm(yes, as_json, "nothing was announced")
        report = make_report("amendment_note")
        amended = announce_amendment(request, subnet, followed, consent, report)
    show_amended(amended, as_json)


def require_change(changes: Path | None, withdraw: bool) -> None:
    """Check that there is something to amend, and that its file can be read."""
    from assay.settings.loading import ConfigError

    if changes is not None:
        from assay.subnet.presets import read_changes

        read_changes(changes)
    elif not withdraw:
        raise ConfigError("nothing to change: name a file with --changes, or use --withdraw")


@command(app, "show", "assay subnet show --netuid 3", lambda s: (*network(s), s.store.readable))
def show(invocation: Invocation, as_json: AsJson = False) -> None:
    """Show a network: its parameters, announced ones, its owner and trainer, its checkpoint.

    Also the chain's settings of the subnet, and where an owner had better choose another value.
    """
    settings = invocation.load_settings()
    require_subnet(settings)
    with starting(settings, opens=True):
        from assay.cli.subnet_view import show_network
        from assay.session.session import open_session
    with open_session(settings) as session:
        show_network(session, as_json)
