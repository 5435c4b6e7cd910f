"""`assay sandbox prepare`."""

from pathlib import Path

from assay.cli.console import print_result
from assay.cli.exits import cleaning_up
from assay.cli.start import announce
from assay.environments.gym.image import GYM
from assay.sandbox.guest import INTERPRETER, prepare
from assay.sandbox.guest.store import UNUSED_DAYS
from assay.settings.loading import ConfigError

#: Images by what `--for` names; None: nothing.
_IMAGES = {None: INTERPRETER, GYM.name: GYM}


def run_sandbox_prepare(module: Path | None, image: str | None, quiet: bool, as_json: bool) -> None:
    """Prepare the sandbox, and print what there is now.

    Args:
        image: name of the image; None: the interpreter's alone.
    """
    if image not in _IMAGES:
        known = ", ".join(name for name in _IMAGES if name)
        raise ConfigError(f"--for {image!r}: there is no such image; there is {known}")

    def tell(doing: str) -> None:
        if not quiet:
            announce(doing)

    with cleaning_up():
        ready = prepare(module, tell, _IMAGES[image])
    interpreter = ready.interpreter
    document = {
        "for": image,
        "python": interpreter.python,
        "module": interpreter.module_digest,
        "image": interpreter.image_digest,
        "wasmtime": ready.engine,
        "artifact": str(ready.artifact),
        "made": ready.made,
        "removed": ready.removed,
    }
    did = "is prepared" if ready.made else "was prepared before"
    text = (
        f"The sandbox for {image or 'programs'} {did}: Python {interpreter.python} in wasmtime "
        f"{ready.engine}, {ready.artifact}"
    )
    if ready.removed:
        text += f"\nRemoved, as nothing used it for {UNUSED_DAYS} days: {', '.join(ready.removed)}"
    print_result(document, as_json, text)
