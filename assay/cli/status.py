"""`assay status`: the progress of a demo or a neuron, as a document or drawn.

Light: it reads one file. `public_record` reads and draws a public record, and is loaded only for
`--record`.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live

from assay.artifacts.records.run_folder import RunFolder
from assay.artifacts.status.demo import is_demo
from assay.artifacts.status.program import ProgramStatus
from assay.cli.console import FIGURES, print_result
from assay.cli.program_view import render_head, render_program
from assay.lab.demo.view import render_status
from assay.network.files import is_locked
from assay.neurons.program.life import Sign
from assay.settings.loading import ConfigError, parse_hotkey
from assay.settings.sections import Settings

if TYPE_CHECKING:  # loaded only for `--record`
    from assay.cli.public_record import PublicStatus

#: The advice where there is no run. A new demo is advised only for the demo's own folder: others
#: may be a program's that has not begun, or full of foreign files, which a demo refuses.
_NAME_A_RUN = (
    "name the folder of a run: a demo's --out, or the --dir of a miner, validator or trainer"
)
#: Seconds between two looks of --watch.
_LOOK_S = 1.0


#: Returns a status and its drawing.
Look = Callable[[], tuple["ProgramStatus | PublicStatus", RenderableType]]


def run_status(
    settings: Settings,
    record: str | None = None,
    hotkey: str | None = None,
    watch: bool = False,
    as_json: bool = False,
) -> None:
    """Print the status, once or until Ctrl-C.

    Args:
        record: locator of a validator's store, or a folder; None: the folder in the settings.
        hotkey: whose record, SS58; None: the only one there.
    """
    look = _make_look(settings, record, hotkey)
    if as_json and watch:
        raise ConfigError("--watch draws, --json prints one document: use one of the two")
    document, drawn = look()
    if watch:
        _watch(look, drawn)
    print_result(document, as_json, drawn, FIGURES)


def _watch(look: Look, drawn: RenderableType) -> NoReturn:
    console = Console(highlight=False)
    if not console.is_terminal:
        raise ConfigError("--watch needs a terminal: run the command without it")
    with Live(drawn, console=console, auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(_LOOK_S)
            live.update(look()[1], refresh=True)


def _make_look(settings: Settings, record: str | None, hotkey: str | None) -> Look:
    if record is None:
        if hotkey is not None:
            raise ConfigError("--hotkey chooses a record: name its store with --record")
        return lambda: _look_at_folder(settings.status.dir, settings.demo.out)
    from assay.cli.public_record import describe_record, render_record

    validator = None if hotkey is None else parse_hotkey(hotkey, "--hotkey")

    def look() -> "tuple[PublicStatus, RenderableType]":
        document = describe_record(record, validator)
        return document, render_record(document, time.time())

    return look


def _look_at_folder(folder: Path, demo: Path) -> tuple[ProgramStatus, RenderableType]:
    document = _read(folder, demo)
    try:
        marker = "demo" if is_demo(document) else document["program"]
        sign = Sign(is_locked(folder / f".assay-{marker}"), int(time.time()) - document["at"])
        if is_demo(document):
            return document, Group(render_head(document, sign), render_status(document))
        return document, render_program(document, sign)
    except (TypeError, ValueError, LookupError, AttributeError):
        raise ConfigError(
            f"{folder / 'status.json'} is damaged, or another version's: start the run again"
        ) from None


def _read(folder: Path, demo: Path) -> ProgramStatus:
    file = folder / "status.json"
    try:
        file.open("rb").close()
    except NotADirectoryError:
        raise ConfigError(
            f"--dir {folder} is a file: name the folder of a run, which has status.json"
        ) from None
    except PermissionError as error:
        raise ConfigError(
            f"{file} cannot be read ({error.strerror}): run this as the user of the program"
        ) from None
    except OSError:
        if not folder.is_dir():
            start = "start `assay demo`, or " if folder == demo else ""
            raise ConfigError(
                f"--dir {folder}: there is no such folder; {start}{_NAME_A_RUN}"
            ) from None
        below = sorted(str(path.parent) for path in folder.glob("*/status.json"))
        if below:
            raise ConfigError(
                f"{folder} has several programs: name one with --dir {' or '.join(below)}"
            ) from None
        raise ConfigError(f"--dir {folder} has no run of Assay: {_NAME_A_RUN}") from None
    document = RunFolder(folder).status.read()
    if not isinstance(document, dict):
        raise ConfigError(f"{file} is damaged: start the run again")
    return cast(ProgramStatus, document)
