"""`assay verify` and `assay convert`: a miner's file."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from assay.cli.checks import require_there
from assay.cli.command import Invocation, command
from assay.cli.exits import FINDING, OK, plain_errors
from assay.cli.help_pages import GENERAL, PagedGroup
from assay.cli.hub_names import open_model
from assay.cli.options import AsJson
from assay.cli.start import TORCH, starting

app = typer.Typer(cls=PagedGroup)


def _require_submission(file: Path) -> Path:
    """The file, if it is there. As an argument's callback, this comes before the complaint about
    an option that is missing."""
    with plain_errors():
        from assay.settings.loading import ConfigError

        if not file.is_file():
            raise ConfigError(f"there is no file {file}")
    return file


@command(
    app,
    "verify",
    "assay verify window-8.rollouts --context window-8.json --model model",
    lambda s: (s.compute,),
)
def verify(
    invocation: Invocation,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A submission (*.rollouts).", callback=_require_submission
        ),
    ],
    context: Annotated[Path, typer.Option(metavar="FILE", help="The window's context (JSON).")],
    model: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", help="The checkpoint in force: a folder, or ORG/NAME on the Hub."
        ),
    ],
    hotkey: Annotated[
        str | None,
        typer.Option(metavar="SS58", help="The file's expected miner [default: the header's]."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Judge all groups, not only the audited ones.")
    ] = False,
    allow_local_beacon: Annotated[
        bool,
        typer.Option("--allow-local-beacon", help="Accept a beacon chain other than quicknet."),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", rich_help_panel=GENERAL, help="Print nothing; read the exit code."),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Judge one submission offline, exactly as validators do.

    It needs no network. The context has the window's public facts, and both its beacons are
    verified again. The demo's contexts use a local beacon chain: add --allow-local-beacon for them.
    Exit codes: 0 accepted, 1 refused, 2 could not judge.
    """
    settings = invocation.load_settings()
    model = open_model(settings, model, quiet)
    with starting(settings, problem_files=False):
        from assay.audit.context_file import read_context
        from assay.settings.loading import ConfigError, parse_hotkey
    facts = read_context(context, allow_local_beacon)
    key = parse_hotkey(hotkey, "--hotkey") if hotkey else None
    if not model.is_dir():
        raise ConfigError(f"{model} is not a folder: name a checkpoint's folder")
    # PyTorch takes seconds to load, and faults of the other files are reported first
    with starting(settings, loads=TORCH, quiet=quiet):
        from assay.audit.verify_file import VerifyRequest, verify_file
        from assay.cli.verify_view import show_verified
    request = VerifyRequest(file, context, facts, model, settings.compute, key, every)
    done = verify_file(request)
    if as_json or not quiet:
        show_verified(done, as_json)
    return OK if done.verdict.accepted else FINDING


@command(app, "convert", "assay convert window-8.rollouts --to parquet")
def convert(
    invocation: Invocation,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A submission (*.rollouts).")],
    to: Annotated[Literal["parquet"], typer.Option("--to", help="Format to write.")] = "parquet",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File to write [default: FILE's name, in its folder]."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a submission as a table that DuckDB, pandas and `datasets` open.

    Each row is a rollout: group, rollout, tokens, log-probabilities in nats, sketch. The schema's
    metadata has the header's fields and the root. It compares every part with the file's own root.
    `assay verify` says whether the file is genuine.
    """
    settings = invocation.load_settings()
    require_there(file)
    with starting(settings, problem_files=False):
        from assay.artifacts.submissions.table import COLUMNS, write_table
        from assay.cli.console import print_result

    written = write_table(file, out or file.with_suffix(f".{to}"))
    header = written.header
    text = (
        f"{written.rollouts:,} rollouts of {header.groups:,} groups, {written.tokens:,} tokens, "
        f"window {header.window}: {written.out}\n"
        f"columns: {', '.join(COLUMNS)}; the file's metadata describes them and has the header"
    )
    print_result(written.to_json(), as_json, text)
