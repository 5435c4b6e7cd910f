"""`assay status`: the status file of a demo or a neuron, as it is or drawn."""

import json
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from assay.neurons.commands.console import FIGURES, open_console
from assay.neurons.commands.program_view import render_program
from assay.neurons.config import ConfigError
from assay.neurons.demo.view import render_status

#: What the documents of a demo and of a neuron have, the first that fits.
_NEEDED = {"stage": render_status, "program": render_program}


def run_status(folder: Path, as_json: bool) -> None:
    """Prints what a run in the folder last wrote of itself.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    file = folder / "status.json"
    try:
        document: Any = json.loads(file.read_text())
    except OSError:
        below = sorted(str(found.parent) for found in folder.glob("*/status.json"))
        if below:
            raise ConfigError(
                f"{folder} holds several programs: name one with --dir {' or '.join(below)}"
            ) from None
        raise ConfigError(
            f"{folder} holds no run: start `assay demo --out {folder}`, or name the --dir of a "
            "miner, validator or trainer"
        ) from None
    except ValueError:
        document = None
    try:
        draw = next(draw for key, draw in _NEEDED.items() if key in document)
        drawn: RenderableType = draw(document)
    except (TypeError, ValueError, LookupError, AttributeError, StopIteration):
        raise ConfigError(f"{file} is damaged: start the run again") from None
    if as_json:
        print(json.dumps(document))
    else:
        open_console(FIGURES).print(drawn)
