"""`assay adopt`."""

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.checks import require_there
from assay.cli.command import Invocation, command
from assay.cli.help_pages import PagedGroup
from assay.cli.options import AsJson, Quiet
from assay.cli.start import TORCH, starting

app = typer.Typer(cls=PagedGroup)


@command(app, "adopt")
def adopt(
    invocation: Invocation,
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Folder of a model, as hubs have it.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="New folder for the adopted model.")],
    end_token: Annotated[
        list[str] | None,
        typer.Option(
            "--end-token",
            metavar="TOKEN",
            help="Text or id of a token that ends a completion; may repeat [default: found].",
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make a model's folder into one that Assay takes, or say in one line why not.

    It joins shards, converts weights to bf16, takes the text part of a model that also sees, finds
    the chat template and the tokens that end a completion, and drops what is no part of the model.
    It prints what it kept, dropped, converted and guessed: check the guesses. The source stays as
    it is. `assay subnet publish --model` does the same first.
    """
    settings = invocation.load_settings()
    require_there(source)
    _require_new(out)
    with starting(settings, loads=TORCH, quiet=quiet, problem_files=False):
        from assay.cli.adopt import run_adopt
    run_adopt(settings, source, out, end_token or (), as_json, quiet)


def _require_new(out: Path) -> None:
    """Check that --out is not there yet."""
    from assay.neurons.settings.loading import ConfigError

    if out.exists() or out.is_symlink():
        raise ConfigError(f"--out {out} already exists: name a new folder")
