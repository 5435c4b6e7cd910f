"""`assay ledger`: the contract on the EVM."""

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.checks import require_address, require_signer, require_subnet, require_there
from assay.cli.command import Invocation, command
from assay.cli.exits import FINDING, OK
from assay.cli.help_pages import PagedGroup
from assay.cli.options import AsJson, Yes, ledger, network
from assay.cli.start import WEB3, confirm, starting

app = typer.Typer(
    cls=PagedGroup,
    no_args_is_help=True,
    help="The ledger of scores on the EVM.",
    epilog="assay ledger status --dir assay-validate",
)


@command(
    app,
    "key",
    "assay ledger key --wallet mine --hotkey one",
    lambda s: (
        s.chain.network,
        s.wallet,
        s.ledger.endpoint,
        s.ledger.chain_id,
        s.ledger.key,
        s.ledger.password_file,
    ),
)
def key(invocation: Invocation, as_json: AsJson = False) -> None:
    """Make the key that posts, unless it exists, and show the address that needs gas money.

    The key needs little money and has no other value. The hotkey can replace it at any time.
    """
    settings = invocation.load_settings()
    with starting(settings):
        from assay.cli.ledger_view import show_key
        from assay.session.evm_opening import create_key, open_node
    created, balance = create_key(settings), None
    if settings.ledger.endpoint is not None:
        with open_node(settings) as node:
            node.require_chain()
            balance = node.get_balance(created[1])
    show_key(*created, balance, as_json)


@command(
    app,
    "deploy",
    "assay ledger deploy --wallet mine --hotkey one",
    lambda s: (
        s.chain.network,
        s.wallet,
        s.ledger.endpoint,
        s.ledger.chain_id,
        s.ledger.key,
        s.ledger.password_file,
    ),
)
def deploy_(invocation: Invocation, yes: Yes = False, as_json: AsJson = False) -> None:
    """Deploy a ScoreLedger and its WeightsCheck. The deployer has no power over them."""
    settings = invocation.load_settings()
    with starting(settings, loads=WEB3):
        from assay.cli.ledger_view import show_deployed
        from assay.network.evm.acts import DeployRequest, deploy
        from assay.session.evm_opening import open_key, open_node
    with open_node(settings) as node:
        request = DeployRequest(node, lambda: open_key(settings), settings.ledger.confirmations)
        deployed = deploy(request, confirm(yes, as_json))
    show_deployed(node.chain_id, deployed, as_json)


@command(
    app,
    "bind",
    "assay ledger bind --netuid 3 --wallet mine --hotkey one --contract 0xADDRESS",
    lambda s: (*network(s), s.wallet, *ledger(s), s.ledger.key, s.ledger.password_file),
)
def bind_(invocation: Invocation, yes: Yes = False, as_json: AsJson = False) -> None:
    """Let the key post for the wallet's hotkey. It replaces any earlier key."""
    settings = invocation.load_settings()
    require_signer(settings, "hotkey")
    with starting(settings, loads=WEB3):
        from assay.cli.ledger_view import show_bound
        from assay.network.evm.acts import bind
        from assay.session.evm_opening import open_binding
    with open_binding(settings) as request:
        bound = bind(request, confirm(yes, as_json))
    show_bound(bound, as_json)


@command(
    app,
    "show",
    "assay ledger show SS58 7200 --netuid 3 --contract 0xADDRESS",
    lambda s: (*network(s), *ledger(s), s.ledger.weights_check),
)
def show(
    invocation: Invocation,
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
) -> int:
    """Show what a validator has posted for a settlement. Exit code 1 if it posted nothing."""
    settings = invocation.load_settings()
    require_address(validator, "SS58")
    require_subnet(settings)
    with starting(settings, loads=WEB3):
        from assay.cli.ledger_view import show_post
        from assay.network.evm.acts import PostRequest, find_post
        from assay.session.evm_opening import open_ledger, open_node
        from assay.settings.loading import parse_hotkey
    hotkey = parse_hotkey(validator, "SS58")
    with open_node(settings) as node:
        node.require_chain()
        ledger = open_ledger(settings, node)
        request = PostRequest(ledger, hotkey, epoch, uid, settings.ledger.weights_check)
        found = find_post(request)
    show_post(request, found, as_json)
    return FINDING if found.digest is None else OK


@command(
    app,
    "verify-score",
    "assay ledger verify-score FILE --miner SS58 --netuid 3",
    lambda s: (*network(s), *ledger(s)),
)
def verify_score(
    invocation: Invocation,
    record: Annotated[
        Path, typer.Argument(metavar="RECORD", help="A validator's settlement-<epoch>.record.")
    ],
    miner: Annotated[str, typer.Option(metavar="SS58", help="Hotkey of the miner.")],
    score: Annotated[
        int | None, typer.Option(min=0, help="Score to prove [default: the record's].")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Ask the contract whether a miner's score in a published record was posted.

    --json also prints the values for an EVM explorer's form, and the call for any JSON-RPC client.
    Exit codes: 0 proven, 1 not proven.
    """
    settings = invocation.load_settings()
    require_there(record)
    require_address(miner, "--miner")
    require_subnet(settings)
    with starting(settings, loads=WEB3):
        from assay.cli.ledger_view import read_settlement_record, show_proof
        from assay.network.evm.acts import claim_score, prove_score
        from assay.session.evm_opening import open_ledger, open_node
        from assay.settings.loading import parse_hotkey
    claim = claim_score(read_settlement_record(record), parse_hotkey(miner, "--miner"), score)
    with open_node(settings) as node:
        node.require_chain()
        ledger = open_ledger(settings, node)
        answer = prove_score(ledger, claim)
    show_proof(claim, answer, ledger.address, as_json)
    return OK if answer.is_proven else FINDING


@command(app, "status", "assay ledger status --dir assay-validate", lambda s: (s.validator.dir,))
def status(invocation: Invocation, as_json: AsJson = False) -> None:
    """Show a validator's posts to the ledger contract, and why some are not sent yet."""
    settings = invocation.load_settings()
    with starting(settings):
        from assay.cli.ledger_view import show_posts
    show_posts(settings.validator.dir, as_json)
