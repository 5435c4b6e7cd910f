"""`assay weights`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from assay.cli.checks import require_signer, require_subnet
from assay.cli.command import Invocation, command
from assay.cli.help_pages import PagedGroup
from assay.cli.options import AsJson, Yes, network
from assay.cli.start import confirm, starting

app = typer.Typer(
    cls=PagedGroup,
    no_args_is_help=True,
    help="Weights on chain.",
    epilog="assay weights show --netuid 3",
)

_PAIR = re.compile(r"([0-9]{1,5})=([0-9]{1,12})")


@command(app, "show", "assay weights show --netuid 3", network)
def show(
    invocation: Invocation,
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
    settings = invocation.load_settings()
    require_subnet(settings)
    with starting(settings, opens=True):
        from assay.cli.subnet_view import list_deliveries, show_weights
        from assay.session.resources import open_chain
    with open_chain(settings.chain) as chain:
        number = chain.get_head() if block is None else block
        deliveries = None if directory is None else list_deliveries(directory)
        show_weights(chain, number, deliveries, as_json)


@command(
    app,
    "set",
    "assay weights set 0=1 5=3 --netuid 3 --wallet mine --hotkey one",
    lambda s: (*network(s), s.wallet),
)
def set_(
    invocation: Invocation,
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
    settings = invocation.load_settings()
    require_signer(settings, "hotkey")
    with starting(settings, opens=True):
        from assay.cli.subnet_view import show_weights_set
        from assay.network.chain import acts
        from assay.session.resources import open_account, open_chain
        from assay.verification import compute_weights
    shares = _parse_shares(weights)
    account = open_account(settings)
    request = acts.WeightsRequest(compute_weights(shares, min(shares), 0), wait)
    with open_chain(settings.chain, poll_s=acts.LOOK_S) as chain:
        done = acts.set_weights(chain, account.wallet, request, confirm(yes, as_json))
    show_weights_set(chain.netuid, done, as_json)


def _parse_shares(words: Sequence[str]) -> dict[int, int]:
    """uid → share, from words such as `5=3`."""
    from assay.settings.loading import ConfigError

    shares: dict[int, int] = {}
    for word in words:
        match = _PAIR.fullmatch(word)
        if match is None or int(match[1]) > 65_535:
            raise ConfigError(
                f"{word!r} is not a weight: write UID=SHARE in whole numbers, such as 5=3"
            )
        if int(match[1]) in shares:
            raise ConfigError(f"uid {match[1]} is given twice: give it once")
        shares[int(match[1])] = int(match[2])
    if not any(shares.values()):
        raise ConfigError("every share is 0: give at least one uid more")
    return shares
