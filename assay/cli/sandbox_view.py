"""What `assay sandbox prepare` prints."""

from assay.cli.console import print_result
from assay.sandbox.guest import Prepared
from assay.sandbox.guest.store import UNUSED_DAYS


def show_prepared(ready: Prepared, image: str | None, as_json: bool) -> None:
    """Show what is prepared now. `image`: its name; None: the interpreter's alone."""
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
