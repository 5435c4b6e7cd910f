"""What `assay adopt` prints."""

from pathlib import Path
from typing import Any

from rich.text import Text

from assay.cli.console import print_result
from assay.subnet.adoption.adopt import Adoption


def show_adoption(adoption: Adoption, out: Path, as_json: bool, then: str) -> None:
    """Show what was done to a model, and what comes next."""
    document: dict[str, Any] = {
        "folder": str(out),
        "model_type": adoption.config["model_type"],
        "weights": adoption.weights,
        "end_tokens": [{"id": number, "text": text} for number, text in adoption.texts.ends],
        **adoption.notes.to_json(),
        "origins": dict(adoption.origins),
    }
    lines = [f"{out}: {document['model_type']}, {adoption.weights:,} weights in bf16"]
    for part, origin in adoption.origins.items():
        lines.append(f"  {part:<10} {origin['repository']} at {origin['commit']}")
    lines += [f"  {kind:<10} {text}" for kind, text in adoption.notes.iterate()]
    print_result(document, as_json, Text("\n".join([*lines, then])))
