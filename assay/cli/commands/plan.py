"""`assay plan`."""

from typing import Annotated, Literal

import typer

from assay.cli.command import Invocation, command
from assay.cli.exits import FINDING, OK
from assay.cli.help_pages import PagedGroup
from assay.cli.options import AsJson, Price, read_price
from assay.cli.start import starting

app = typer.Typer(cls=PagedGroup)


@command(app, "plan", "assay plan qwen2.5-1.5b-math --miners 8 --card H100 --price 2.0/h")
def plan(
    invocation: Invocation,
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A recipe: a file, or a shipped one's name.")
    ],
    miners: Annotated[
        int | None, typer.Option(min=1, max=256, help="Number of miners [default: the recipe's].")
    ] = None,
    card: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="GPU: H100, H200, A100-80GB, … [default: the recipe's]."),
    ] = None,
    implementation: Annotated[
        Literal["fp32-sdpa", "fp32-eager", "split3"] | None,
        typer.Option(help="Implementation of the verification pass [default: the recipe's]."),
    ] = None,
    price: Price = None,
    as_json: AsJson = False,
) -> int:
    """Estimate the cost of a recipe's window: tokens, seconds, memory and bytes of each program.

    The estimate is arithmetic from data sheets, and all its inputs are shown. It needs no chain, no
    model and no GPU. With a machine's price also in dollars: of a window, and of a million tokens
    that are verified, read and learned from. Exit code 1 if something does not fit.
    """
    settings = invocation.load_settings()
    hour = read_price(price)
    with starting(settings, problem_files=False):
        from assay.cli.plan_view import show_plan
        from assay.subnet.window_plan import PlanRequest, plan_recipe
        from assay.subnet.window_prices import compute_prices
    planned = plan_recipe(PlanRequest(recipe, miners, card, implementation))
    show_plan(planned, None if hour is None else compute_prices(planned, hour), as_json)
    return OK if planned.fits else FINDING
