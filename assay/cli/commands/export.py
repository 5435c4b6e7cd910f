"""`assay export`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from assay.cli.checks import require_there
from assay.cli.command import Invocation, command
from assay.cli.exits import FINDING, OK
from assay.cli.help_pages import PagedGroup
from assay.cli.options import AsJson, Quiet
from assay.cli.start import TORCH, starting

app = typer.Typer(cls=PagedGroup)


@command(
    app,
    "export",
    "assay export --dir assay-demo --out data --columns trl",
    lambda s: (s.trainer.dir,),
)
def export(
    invocation: Invocation,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="New or empty folder for the data set.")
    ] = None,
    push: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Send the groups to this server (Atropos API)."),
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILES", help="Miners' files (*.rollouts) to export instead of steps."
        ),
    ] = None,
    windows: Annotated[
        str | None, typer.Option(metavar="A..B", help="Only these windows, both ends included.")
    ] = None,
    columns: Annotated[
        Literal["assay", "trl", "prime-rl", "verl"],
        typer.Option(help="Columns as this trainer reads them."),
    ] = "assay",
    wait: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            max=86_400,
            help="Longest wait for the server and its trainer.",
        ),
    ] = 600,
    resend: Annotated[
        bool,
        typer.Option(
            "--resend", help="Send groups of unknown outcome again; they may arrive twice."
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Export all rollouts that a trainer learned from, as a data set or to another trainer.

    With --out it writes Parquet files and a data card for `datasets.load_dataset(DIR)`: texts,
    reward parts, advantages, each rollout's source, and the root on chain that proves it. It checks
    each step's data against the step's record. --dir may be a demo's folder. With FILES it exports
    these files, as `assay convert` does. With --push it sends miners' groups to a server of
    `atroposlib`, each once, even across kills and restarts. Exit codes of --push: 0 every group was
    delivered, 1 nobody knows whether some group arrived, 2 the server is away or refuses a group.
    """
    settings = invocation.load_settings()
    _require_combination(out, push, files, windows, columns)
    if not files:
        _require_steps(settings.trainer.dir)
    require_there(*(files or ()))
    with starting(settings, loads=TORCH, quiet=quiet):
        from assay.artifacts.submissions.table import write_tables
        from assay.audit.provenance.step_export import export_steps
        from assay.audit.provenance.step_push import push_steps
        from assay.cli.export_view import show_export, show_push, show_tables
        from assay.cli.saying import choose_say, say_plainly
        from assay.network.atropos import UnknownDeliveryError
    folder, say = settings.trainer.dir, choose_say(quiet, say_plainly)
    if push is not None:
        try:
            pushed = push_steps(folder, push, _parse_windows(windows), wait, resend, say)
        except UnknownDeliveryError as error:
            print(f"assay: {error}", file=sys.stderr)
            return FINDING
        show_push(pushed, push, as_json)
        return FINDING if pushed.unknown else OK
    assert out is not None
    if files:
        show_tables(write_tables(files, out), out, as_json)
    else:
        written = export_steps(folder, out, _parse_windows(windows), say, columns)
        show_export(written, out, as_json)
    return OK


def _parse_windows(text: str | None) -> range:
    from assay.audit.provenance.step_export import ExportError

    if text is None:
        return range(2**63 - 1)
    first, dots, last = text.partition("..")
    if not (dots and first.isdecimal() and last.isdecimal() and int(first) <= int(last) < 2**63):
        raise ExportError(f"--windows {text} is not A..B, as in 100..120")
    return range(int(first), int(last) + 1)


def _require_combination(
    out: Path | None, push: str | None, files: list[Path] | None, windows: str | None, columns: str
) -> None:
    """Check which options are combined."""
    from assay.settings.loading import ConfigError

    shaped = columns != "assay"
    if (out is None) == (push is None):
        raise ConfigError("name either a folder with --out or a server with --push")
    if push is not None and (files or shaped):
        raise ConfigError(
            "--push sends the groups that a trainer accepted, in its own format: leave out FILES "
            "and --columns"
        )
    if files and (windows is not None or shaped):
        raise ConfigError(
            "--windows and --columns apply to a trainer's steps: leave out these, or FILES"
        )


def _require_steps(folder: Path) -> None:
    """Check that a trainer has steps."""
    from assay.settings.loading import ConfigError

    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}: --dir names a trainer's")
    steps = folder / "steps"
    if not any(steps.glob("step-*.json")):
        raise ConfigError(f"{steps} has no steps: name a trainer's or a demo's folder with --dir")
