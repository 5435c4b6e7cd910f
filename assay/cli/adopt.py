"""`assay adopt`: makes a model folder that Assay takes, and says what it did."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from assay.cli.console import print_result
from assay.neurons.program.logs import log_lines, make_report, wants_json
from assay.neurons.settings.sections import Settings
from assay.subnet.adoption.adopt import adopt_model
from assay.subnet.waiting import telling_bytes


def run_adopt(
    settings: Settings,
    source: Path,
    out: Path,
    end_tokens: Sequence[str],
    as_json: bool,
    quiet: bool,
) -> None:
    """Adopt a model into a new folder, and print what was done."""
    with log_lines(wants_json(settings, as_json), quiet):
        report = make_report("adoption_note")
        adoption = adopt_model(source, out, end_tokens, telling_bytes(report, "writing tensors"))
    document: dict[str, Any] = {
        "folder": str(out),
        "model_type": adoption.config["model_type"],
        "weights": adoption.weights,
        "end_tokens": [{"id": number, "text": text} for number, text in adoption.texts.ends],
        **adoption.notes.to_json(),
    }
    lines = [f"{out}: {document['model_type']}, {adoption.weights:,} weights in bf16"]
    lines += [f"  {kind:<10} {text}" for kind, text in adoption.notes.iterate()]
    lines.append(
        f"Next: `assay subnet publish --recipe RECIPE --model {out}`, or a recipe of yours"
    )
    print_result(document, as_json, Text("\n".join(lines)))
