"""`assay status`: how a demo, a neuron or a public record stands, as a document or drawn."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live

from assay.cli.console import FIGURES, open_console
from assay.cli.program_view import Sign, render_head, render_program
from assay.cli.record_view import describe_record, render_record
from assay.demo.demo_view import render_status
from assay.network.files import is_locked
from assay.neurons.settings.loading import ConfigError
from assay.protocol import decode_ss58

#: Seconds between two looks of --watch.
_LOOK_S = 1.0
#: Longest status.json, bytes: 16 windows of 256 verdicts have a tenth of it.
_STATUS_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """What was asked for on the command line.

    Attributes:
        record: locator of a validator's store, or a folder; None: the folder's status.
        hotkey: whose record, SS58; None: the only one there.
    """

    folder: Path
    record: str | None = None
    hotkey: str | None = None


def run_status(request: StatusRequest, as_json: bool, watch: bool = False) -> None:
    """Prints how it stands, once or until Ctrl-C.

    Raises:
        ConfigError: there is nothing to show, or it is damaged. StoreError: the store cannot be
            read.
    """
    look = _make_look(request)
    if as_json and watch:
        raise ConfigError("--watch draws, --json prints one document: name one of them")
    document, drawn = look()
    if as_json:
        print(json.dumps(document))
    elif watch:
        _watch(look, drawn)
    else:
        open_console(FIGURES).print(drawn)


Look = Callable[[], tuple[dict[str, Any], RenderableType]]


def _watch(look: Look, drawn: RenderableType) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        raise ConfigError("--watch needs a terminal: without it the command can be run again")
    with Live(drawn, console=console, auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(_LOOK_S)
            live.update(look()[1], refresh=True)


def _make_look(request: StatusRequest) -> Look:
    if request.record is None:
        if request.hotkey is not None:
            raise ConfigError("--hotkey says whose record is meant: name its store with --record")
        return lambda: _look_at_folder(request.folder)
    record, hotkey = request.record, request.hotkey
    try:
        validator = None if hotkey is None else decode_ss58(hotkey)
    except ValueError as error:
        raise ConfigError(f"--hotkey: {error}") from None

    def look() -> tuple[dict[str, Any], RenderableType]:
        document = describe_record(record, validator)
        return document, render_record(document, time.time())

    return look


def _look_at_folder(folder: Path) -> tuple[dict[str, Any], RenderableType]:
    document = _read(folder)
    try:
        marker = "demo" if "demo" in document else document["program"]
        sign = Sign(is_locked(folder / f".assay-{marker}"), int(time.time()) - document["at"])
        if "demo" not in document:
            return document, render_program(document, sign)
        return document, Group(render_head(document, sign), render_status(document))
    except (TypeError, ValueError, LookupError, AttributeError):
        raise ConfigError(
            f"{folder / 'status.json'} is damaged, or another version's: start the run again"
        ) from None


def _read(folder: Path) -> dict[str, Any]:
    file = folder / "status.json"
    try:
        with file.open("rb") as opened:
            data = opened.read(_STATUS_BYTES)
    except NotADirectoryError:
        raise ConfigError(
            f"--dir {folder} is a file: name the folder of a run, which holds status.json"
        ) from None
    except PermissionError as error:
        raise ConfigError(
            f"{file} cannot be read ({error.strerror}): ask as the user who runs the program"
        ) from None
    except OSError:
        if not folder.is_dir():
            raise ConfigError(
                f"--dir {folder}: there is no such folder; start `assay demo --out {folder}`, or "
                "name the --dir of a miner, validator or trainer"
            ) from None
        below = sorted(str(found.parent) for found in folder.glob("*/status.json"))
        if below:
            raise ConfigError(
                f"{folder} holds several programs: name one with --dir {' or '.join(below)}"
            ) from None
        raise ConfigError(
            f"{folder} holds no run: start `assay demo --out {folder}`, or name the --dir of a "
            "miner, validator or trainer"
        ) from None
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ConfigError(f"{file} is damaged: start the run again")
    return document
