"""`assay plan`."""

from typing import Annotated, Literal

import typer

from assay.cli.command import Invocation, command
from assay.cli.exits import FINDING, OK
from assay.cli.help_pages import PagedGroup
from assay.cli.options import AsJson, Price, Quiet, read_price
from assay.cli.start import TORCH, starting

app = typer.Typer(cls=PagedGroup)


@command(
    app,
    "plan",
    "assay plan qwen2.5-1.5b-math --miners 8 --card H100 --price 2.0/h",
    lambda s: (s.compute.device, s.compute.threads, s.publish.slot_ms),
)
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
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="Time this machine for at most a minute, and plan with that."
        ),
    ] = False,
    price: Price = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Estimate the cost of a recipe's window: tokens, seconds, memory and bytes of each program.

    The estimate is arithmetic from data sheets, and all its inputs are shown. It needs no chain, no
    model and no GPU. With --measure it times this CPU or GPU instead, with a few layers of the
    recipe's model: processor seconds, so that other programs do not count. With --localnet it takes
    the localnet's block time and threads. With a machine's price also in dollars: of a window, and
    of a million tokens that are verified, read and learned from. Exit code 1 if something does not
    fit.
    """
    settings = invocation.load_settings()
    hour = read_price(price)
    if measure and card is not None:
        from assay.settings.loading import ConfigError

        raise ConfigError("--measure times this machine: leave --card out")
    with starting(settings, loads=TORCH if measure else None, quiet=quiet, problem_files=False):
        from assay.cli.plan_view import show_plan
        from assay.subnet.window_plan import PlanRequest, open_recipe, plan_recipe
        from assay.subnet.window_prices import compute_prices

        if measure:
            from assay.cli.exits import cleaning_up
            from assay.neurons.program.logs import log_lines, make_report, wants_json
            from assay.settings.placing import open_placement
            from assay.subnet.machine_timing import measure_machine
    request = PlanRequest(recipe, miners, card, implementation, settings.publish.slot_ms)
    speed = None
    if measure:
        asked = open_recipe(request)
        with cleaning_up(), log_lines(wants_json(settings, as_json), quiet):
            device = open_placement(settings.compute).device
            speed = measure_machine(asked, device, make_report("measuring_note"))
    planned = plan_recipe(request, speed)
    show_plan(planned, None if hour is None else compute_prices(planned, hour), as_json)
    return OK if planned.fits else FINDING
