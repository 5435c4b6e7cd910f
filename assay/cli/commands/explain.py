"""`assay explain`."""

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.checks import require_address, require_subnet, require_there
from assay.cli.command import Invocation, command
from assay.cli.exits import COULD_NOT_RUN, FINDING, OK
from assay.cli.help_pages import PagedGroup
from assay.cli.hub_names import open_model
from assay.cli.options import AsJson, Quiet, Records, network, reading
from assay.cli.start import TORCH, starting

app = typer.Typer(cls=PagedGroup)


@command(
    app,
    "explain",
    "assay explain --dir assay-demo --hotkey cheap-model --window 8",
    lambda s: (*network(s), s.wallet.name, s.wallet.path, *reading(s), s.compute),
)
def explain(
    invocation: Invocation,
    window: Annotated[int, typer.Option(metavar="W", min=0, help="The window.")],
    hotkey: Annotated[
        str | None,
        typer.Option(
            metavar="SS58", help="The miner; in a demo's folder, its name [default: the wallet's]."
        ),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            metavar="DIR",
            help="Folder of a demo or a validator, to work without a network; or the miner's own, "
            "for its history and checkpoints.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Checkpoint that was in force, to judge again: a folder, or ORG/NAME on the Hub.",
        ),
    ] = None,
    validator: Annotated[
        str | None,
        typer.Option(metavar="SS58", help="Validator whose record to read [default: any]."),
    ] = None,
    records: Records = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder to save the window's context and the file in."),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Say why a miner's window was refused, or what it earned, and how to check that yourself.

    It reads validators' public records, the miner's file and the miner's own history, and judges
    again: everything with --model, else the parts that need no model. To explain a run of
    `assay demo`, add `--dir assay-demo --hotkey cheap-model --window 8`. Exit codes: 0 accepted, 1
    refused, 2 could not find out.
    """
    from assay.artifacts.records.run_folder import RunFolder
    from assay.settings.loading import ConfigError

    settings = invocation.load_settings()
    if directory is not None and not directory.is_dir():
        raise ConfigError(f"there is no folder {directory}")
    # a demo's or a validator's folder, which has everything
    place = directory if directory is not None and RunFolder(directory).has_contexts else None
    model = open_model(settings, model, quiet)
    require_there(model)
    require_address(validator, "--validator")
    if place is None:
        require_address(hotkey, "--hotkey")
        require_subnet(settings)
    with starting(settings, loads=TORCH, opens=place or True, quiet=quiet):
        from assay.audit.explain.asking import ExplainRequest, explain_window
        from assay.cli.explain_view import show_explanation
    request = ExplainRequest(window, hotkey, directory, model, validator, records, out)
    explanation, reproduction = explain_window(request, settings)
    show_explanation(explanation, reproduction, as_json)
    if explanation.accepted is None:
        return COULD_NOT_RUN
    return OK if explanation.accepted else FINDING
