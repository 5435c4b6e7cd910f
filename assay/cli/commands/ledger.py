"""`assay ledger`: the contract on the EVM."""

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.checks import require_address, require_signer, require_subnet, require_there
from assay.cli.command import Invocation, command
from assay.cli.help_pages import PagedGroup
from assay.cli.options import AsJson, Yes, ledger, network
from assay.cli.start import WEB3, confirm, starting

app = typer.Typer(cls=PagedGroup, no_args_is_help=True, help="The ledger of scores on the EVM.")


@command(
    app,
    "key",
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
        from assay.cli.ledger import run_ledger_key
    run_ledger_key(settings, as_json)


@command(
    app,
    "deploy",
    lambda s: (
        s.chain.network,
        s.wallet,
        s.ledger.endpoint,
        s.ledger.chain_id,
        s.ledger.key,
        s.ledger.password_file,
    ),
)
def deploy(invocation: Invocation, yes: Yes = False, as_json: AsJson = False) -> None:
    """Deploy a ScoreLedger and its WeightsCheck. The deployer has no power over them."""
    settings = invocation.load_settings()
    with starting(settings, loads=WEB3):
        from assay.cli.ledger import run_ledger_deploy
    run_ledger_deploy(settings, confirm(yes, as_json), as_json)


@command(
    app, "bind", lambda s: (*network(s), s.wallet, *ledger(s), s.ledger.key, s.ledger.password_file)
)
def bind(invocation: Invocation, yes: Yes = False, as_json: AsJson = False) -> None:
    """Let the key post for the wallet's hotkey. It replaces any earlier key."""
    settings = invocation.load_settings()
    require_signer(settings, "hotkey")
    with starting(settings, loads=WEB3):
        from assay.cli.ledger import run_ledger_bind
    run_ledger_bind(settings, confirm(yes, as_json), as_json)


@command(app, "show", lambda s: (*network(s), *ledger(s), s.ledger.weights_check))
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
        from assay.cli.ledger import run_ledger_show
    return run_ledger_show(settings, validator, epoch, uid, as_json)


@command(app, "verify-score", lambda s: (*network(s), *ledger(s)))
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
        from assay.cli.ledger import run_ledger_verify_score
    return run_ledger_verify_score(settings, record, miner, score, as_json)


@command(app, "status", lambda s: (s.validator.dir,))
def status(invocation: Invocation, as_json: AsJson = False) -> None:
    """Show a validator's posts to the ledger contract, and why some are not sent yet."""
    settings = invocation.load_settings()
    with starting(settings):
        from assay.cli.ledger import run_ledger_status
    run_ledger_status(settings, as_json)
