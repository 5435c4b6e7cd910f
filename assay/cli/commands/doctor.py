"""`assay doctor`."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from assay.cli import start
from assay.cli.checks import require_subnet
from assay.cli.command import Invocation, command
from assay.cli.exits import FINDING, OK
from assay.cli.help_pages import PagedGroup
from assay.cli.hub_names import open_model
from assay.cli.options import AsJson, network, reading
from assay.cli.start import TORCH, starting

app = typer.Typer(cls=PagedGroup)


@command(
    app,
    "doctor",
    "assay doctor miner --netuid 3 --wallet mine --hotkey one --store URL",
    lambda s: (*network(s), s.wallet, s.store.locator, *reading(s), s.compute),
)
def doctor(
    invocation: Invocation,
    role: Annotated[
        Literal["miner", "validator", "trainer"],
        typer.Argument(
            metavar="PROGRAM", help="The program to check for: miner, validator or trainer."
        ),
    ] = "miner",
    directory: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="The program's own folder.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            metavar="FOLDER",
            help="Check only this model's folder (or ORG/NAME on the Hub).",
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Check everything that a program needs, and say how to fix each problem.

    It checks chain and clock, wallet and uid, beacons, store, disk, the checkpoint in force, and
    device and memory. It sends nothing to the chain, and you can run it while the program runs.
    Without a subnet it checks what needs none: fences and sandbox.
    With --model it asks no chain: it opens a model's folder as every reader of a checkpoint
    would, and says which file is unusable, and why. Exit codes: 0 nothing failed, 1 something
    failed, 2 could not check.
    """
    source = invocation.source
    if model is not None:
        settings = source.load()
        model = open_model(settings, model)
        with starting(settings, loads=TORCH, opens=model):
            from assay.cli.checks_view import show_checks
            from assay.neurons.preflight.model_folder import check_model_folder
        return OK if show_checks(check_model_folder(model), as_json) else FINDING
    source.flags[role] = {"dir": directory}
    settings = replace(source, role="trainer" if role == "trainer" else None).load()
    if settings.chain.netuid is None:
        with starting(settings):
            from assay.cli.checks_view import show_checks
            from assay.neurons.preflight.machine_fences import check_fences
            from assay.neurons.preflight.machine_sandbox import check_sandbox
        checks = check_fences, partial(check_sandbox, None)
        show_checks((check() for check in checks), as_json)
    require_subnet(settings)
    with starting(settings, opens=True):
        from assay.cli.checks_view import print_checks
        from assay.neurons.preflight.doctor import diagnose
        from assay.session.session import open_session
    with open_session(settings) as session, print_checks(as_json) as show:
        is_ready = diagnose(session, role, show, lambda: start.announce("loading PyTorch"))
    return OK if is_ready else FINDING
