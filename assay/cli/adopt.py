"""`assay adopt`: makes a model folder that Assay takes, or others open, and says what it did."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from assay.cli.console import print_result
from assay.cli.exits import cleaning_up
from assay.neurons.program.logs import log_lines, make_report, wants_json
from assay.settings.sections import Settings
from assay.subnet.adoption.adopt import Adoption, adopt_model, export_checkpoint


def run_adopt(
    settings: Settings,
    source: Path,
    out: Path,
    end_tokens: Sequence[str],
    base: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Adopt a model into a new folder, and print what was done."""
    with cleaning_up(), log_lines(wants_json(settings, as_json), quiet):
        report = make_report("adoption_note")
        adoption = adopt_model(source, out, end_tokens, base, report=report)
    _print(adoption, out, as_json, f"Next: `assay subnet publish --recipe RECIPE --model {out}`")


def run_export(settings: Settings, checkpoint: Path, out: Path, as_json: bool, quiet: bool) -> None:
    """Write a checkpoint as a folder that other programs open, and print what it has."""
    with cleaning_up(), log_lines(wants_json(settings, as_json), quiet):
        report = make_report("adoption_note")
        adoption = export_checkpoint(checkpoint, out, report)
    _print(adoption, out, as_json, "Next: name this folder to transformers")


def _print(adoption: Adoption, out: Path, as_json: bool, then: str) -> None:
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
