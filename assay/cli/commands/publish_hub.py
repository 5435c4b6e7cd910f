"""`assay publish-hub`."""

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.checks import require_address
from assay.cli.command import Invocation, command
from assay.cli.help_pages import PagedGroup
from assay.cli.hub_names import name_target
from assay.cli.options import AsJson, Quiet, Yes
from assay.cli.saying import choose_say
from assay.cli.start import TORCH, confirm, starting

app = typer.Typer(cls=PagedGroup)


@command(
    app,
    "publish-hub",
    "assay publish-hub --dir assay-train --model ORG/NAME --dry-run",
    lambda s: (s.trainer.dir, s.hub.token_file),
)
def publish_hub(
    invocation: Invocation,
    model: Annotated[
        str | None, typer.Option(metavar="ORG/NAME", help="Repository of the checkpoint.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="ORG/NAME", help="Repository of the accepted rollouts, a data set."),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="DIGEST", help="First digits of the checkpoint's digest [default: the newest]."
        ),
    ] = None,
    windows: Annotated[
        str | None,
        typer.Option(metavar="A..B", help="Only rollouts of these windows, both ends included."),
    ] = None,
    validator: Annotated[
        str | None,
        typer.Option(
            metavar="SS58",
            help="Validator whose settlement the cards name [default: the only one].",
        ),
    ] = None,
    records: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Store or folder of the validator's record [default: a demo's own, or none].",
        ),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Make new repositories private.")
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace files that no push of this network put there."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show files and cards; ask and push nothing.")
    ] = False,
    yes: Yes = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Push a checkpoint and the rollouts that its trainer learned from to the Hub.

    The card of each names the subnet, the window, the step, the validator's settlement and how to
    audit all of it. Each repository changes in one commit: readers see the old files or the new
    ones. After a stop the same command continues, and without a difference it changes nothing. It
    replaces only what a push of the same network has put there. --dir may be a demo's folder. The
    token comes from --token-file, HF_TOKEN or `hf auth login`. Nobody is paid for this.
    """
    from assay.settings.loading import ConfigError

    settings = invocation.load_settings()
    if model is None and data is None:
        raise ConfigError("name a repository with --model ORG/NAME, with --data ORG/NAME, or both")
    if data is None and windows is not None:
        raise ConfigError("--windows chooses rollouts: name their repository with --data ORG/NAME")
    targets = name_target(model, "model"), name_target(data, "dataset")
    require_address(validator, "--validator")
    _require_run(settings.trainer.dir)
    with starting(settings, loads=TORCH, quiet=quiet):
        from assay.audit.provenance import hub_publication
        from assay.cli.hub_view import show_publication
    request = hub_publication.HubRequest(
        settings.trainer.dir,
        *targets,
        checkpoint,
        windows,
        validator,
        records,
        private,
        overwrite,
        dry_run,
        settings.hub.token_file,
    )
    consent = confirm(yes, as_json, "nothing was pushed")
    publication = hub_publication.publish_hub(request, consent, choose_say(quiet))
    show_publication(publication, as_json)


def _require_run(folder: Path) -> None:
    """Check that a trainer has steps and checkpoints."""
    from assay.settings.loading import ConfigError

    if not any((folder / "steps").glob("step-*.json")) or not (folder / "models").is_dir():
        raise ConfigError(
            f"{folder} has no steps and checkpoints: name a trainer's or a demo's folder with --dir"
        )
