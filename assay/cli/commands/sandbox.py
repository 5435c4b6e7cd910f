"""`assay sandbox`."""

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.checks import require_files
from assay.cli.command import Invocation, command
from assay.cli.exits import cleaning_up
from assay.cli.help_pages import PagedGroup
from assay.cli.options import AsJson, Quiet
from assay.cli.start import announce

app = typer.Typer(
    cls=PagedGroup,
    no_args_is_help=True,
    help="The sandbox in which strangers' programs run.",
    epilog="assay sandbox prepare",
)


@command(app, "prepare", "assay sandbox prepare")
def prepare(
    invocation: Invocation,
    module: Annotated[
        Path | None,
        typer.Option(
            "--module",
            metavar="FILE",
            help="The interpreter's module [default: that of assay-python-wasm].",
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="NAME",
            help="Of another image: reasoning_gym [default: that of code:].",
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make this machine ready to run programs: start the interpreter once, and compile it.

    It takes some 15 seconds of processor time, once for each version of the engine, wasmtime. What
    is made lies in ~/.cache/assay/sandbox, for this user alone, and serves all environments of
    Python here. With --for reasoning_gym the interpreter has that package loaded, in the releases
    that the extra `envs` installs: some 50 seconds and 300 MB. Module and image are checked by
    their SHA-256, the compiled code by a checksum. A preparation that was stopped goes on where it
    was; a second one does nothing. What no version of Assay has used for 90 days is removed.
    """
    if module is not None:
        require_files(module)
    from assay.cli.sandbox_view import show_prepared
    from assay.environments.gym.image import GYM
    from assay.sandbox.guest import INTERPRETER
    from assay.sandbox.guest import prepare as prepare_sandbox
    from assay.settings.loading import ConfigError

    images = {None: INTERPRETER, GYM.name: GYM}
    if image not in images:
        known = ", ".join(name for name in images if name)
        raise ConfigError(f"--for {image!r}: there is no such image; there is {known}")

    def tell(doing: str) -> None:
        if not quiet:
            announce(doing)

    with cleaning_up():
        ready = prepare_sandbox(module, tell, images[image])
    show_prepared(ready, image, as_json)
