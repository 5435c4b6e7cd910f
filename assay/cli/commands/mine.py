"""`assay mine`."""

from typing import Annotated

import typer

from assay.cli.checks import require_folder, require_signer
from assay.cli.command import Invocation, command
from assay.cli.exits import FINDING, OK
from assay.cli.help_pages import PagedGroup
from assay.cli.options import AsJson, Price, Quiet, program, read_price
from assay.cli.start import TORCH, has_json_lines, starting

app = typer.Typer(cls=PagedGroup)


@command(
    app,
    "mine",
    "assay mine --netuid 3 --wallet mine --hotkey one --store URL --dry-run",
    lambda s: (*program(s), s.miner.dir, s.miner.groups, s.miner.engines, s.miner.engine_python),
)
def mine(
    invocation: Invocation,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything and time some groups, but send nothing."),
    ] = False,
    price: Price = None,
    tao_price: Annotated[
        str | None,
        typer.Option("--tao-price", metavar="DOLLARS", help="What a TAO is worth, for --price."),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Mine: generate each window's groups, upload them, commit, and judge them afterwards.

    It runs until Ctrl-C, and the same command continues. `assay status --dir DIR` shows each window
    with its verdict. --dry-run shows the price of registration and an estimate of the earnings, and
    exits with 1 if a problem would stop the miner. With --price it also shows what a window costs
    on this machine, beside its pay.
    """
    settings = invocation.load_settings()
    hour, tao = read_price(price), _read_tao_price(tao_price, price)
    _require_dry_run(hour, dry_run)
    require_signer(settings, "hotkey", stores=True)
    if not dry_run:
        require_folder(settings.miner.dir, "miner")
    with starting(
        settings, loads=TORCH, opens=True, quiet=quiet, as_json=has_json_lines(settings, as_json)
    ):
        from assay.neurons.miner.program import check_mining, run_miner
    if not dry_run:
        run_miner(settings, as_json, quiet)
        return OK
    from assay.cli.checks_view import render_dry_run
    from assay.cli.console import print_result

    result = check_mining(settings, as_json)
    cost = None
    if hour is not None:
        from assay.neurons.miner.mining_cost import compute_mining_cost

        cost = compute_mining_cost(result, hour, tao)
    document = result.to_json() | {"cost": cost and cost.to_json()}
    print_result(document, as_json, render_dry_run(result, cost))
    return OK if result.ready else FINDING


def _read_tao_price(tao_price: str | None, price: str | None) -> int | None:
    """Micro-dollars of a TAO. Raises ConfigError."""
    if tao_price is None:
        return None
    from assay.settings.loading import ConfigError
    from assay.settings.money import parse_dollars

    if price is None:
        raise ConfigError("--tao-price: a machine's price is missing: name it with --price 2.0/h")
    return parse_dollars(tao_price, "--tao-price")


def _require_dry_run(hour: int | None, dry_run: bool) -> None:
    """Check that somebody asks what a running miner would cost."""
    from assay.settings.loading import ConfigError

    if hour is not None and not dry_run:
        raise ConfigError("--price is for an estimate: add --dry-run")
