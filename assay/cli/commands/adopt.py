"""`assay adopt`."""

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.checks import require_there
from assay.cli.command import Invocation, command
from assay.cli.exits import cleaning_up
from assay.cli.help_pages import PagedGroup
from assay.cli.hub_names import open_model
from assay.cli.options import AsJson, Quiet
from assay.cli.start import TORCH, starting

app = typer.Typer(cls=PagedGroup)


@command(app, "adopt", "assay adopt ORG/NAME --out model")
def adopt(
    invocation: Invocation,
    out: Annotated[Path, typer.Option(metavar="DIR", help="New folder for the model.")],
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="SOURCE",
            help="Folder of a model, a GGUF file, an SFT cold start's adapter, or ORG/NAME on "
            "the Hub.",
        ),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Model (folder, GGUF file or ORG/NAME) for which SOURCE is a LoRA adapter.",
        ),
    ] = None,
    end_token: Annotated[
        list[str] | None,
        typer.Option(
            "--end-token",
            metavar="TOKEN",
            help="Text or id of a token that ends a completion; may repeat [default: found].",
        ),
    ] = None,
    chat_template: Annotated[
        Path | None,
        typer.Option(
            "--chat-template",
            metavar="FILE",
            help="Chat template to use: Jinja, or a tokenizer_config.json [default: the model's].",
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="In place of SOURCE: folder of a checkpoint, for other programs."
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Import a model: convert its folder into one that Assay can use, or say why it cannot.

    It joins shards, converts weights to bf16, takes the text part of a model that also sees, merges
    an adapter, finds the chat template and the tokens that end a completion, and drops what is no
    part of the model. It prints what it kept, dropped, converted and guessed: check the guesses.
    SOURCE stays as it is. `assay subnet publish --model` does the same first. With --export it
    writes a checkpoint of Assay as a folder in the format of Hugging Face.
    """
    settings = invocation.load_settings()
    _require_one(source, export, base is None and not end_token and chat_template is None)
    _require_new(out)
    source = open_model(settings, source, quiet)
    base = open_model(settings, base, quiet)
    require_there(source, base, export, chat_template)
    with starting(settings, loads=TORCH, quiet=quiet, problem_files=False):
        from assay.cli.adopt_view import show_adoption
        from assay.neurons.program.logs import log_lines, make_report, wants_json
        from assay.subnet.adoption.adopt import adopt_model, export_checkpoint
        from assay.subnet.measurements import open_measurements
    with cleaning_up(), log_lines(wants_json(settings, as_json), quiet):
        report = make_report("adoption_note")
        if source is not None:
            ends, kept = end_token or (), open_measurements()
            given = source, out, ends, base, chat_template
            done = adopt_model(*given, report=report, kept=kept)
            then = f"Next: `assay subnet publish --recipe RECIPE --model {out}`"
        else:
            assert export is not None
            done = export_checkpoint(export, out, report)
            then = "Next: name this folder to transformers"
    show_adoption(done, out, as_json, then)


def _require_one(source: Path | None, export: Path | None, alone: bool) -> None:
    """Check which options are combined. `alone`: none says how to adopt."""
    from assay.settings.loading import ConfigError

    if (source is None) == (export is None):
        raise ConfigError("name either a model's folder, or a checkpoint's with --export")
    if export is not None and not alone:
        raise ConfigError(
            "--export writes a checkpoint as it is: leave out --base, --end-token and "
            "--chat-template"
        )


def _require_new(out: Path) -> None:
    """Check that --out is not there yet."""
    from assay.settings.loading import ConfigError

    if out.exists() or out.is_symlink():
        raise ConfigError(f"--out {out} already exists: name a new folder")
