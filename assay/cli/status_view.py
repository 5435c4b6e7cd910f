"""What `assay status` prints: a document, or its drawing."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from assay.artifacts.status.demo import is_demo
from assay.artifacts.status.program import ProgramStatus
from assay.cli.console import make_table
from assay.cli.program_view import count_reasons, render_head, render_program, render_shares
from assay.lab.demo.view import render_status
from assay.lab.localnet.description import ROLES, find_localnet, is_running
from assay.neurons.program.life import describe_age
from assay.neurons.program.run_status import RunStatus, find_runs, naming_damage, read_run_status
from assay.settings.loading import ConfigError

if TYPE_CHECKING:  # loaded only for `--record`
    from assay.audit.public_status import PublicRoundStatus, PublicStatus
    from assay.settings.sections import Settings

#: Seconds between two looks of --watch.
_LOOK_S = 1.0
#: Returns a status and its drawing.
Look = Callable[[], tuple["ProgramStatus | PublicStatus | dict[str, Any]", RenderableType]]


def watch_status(look: Look) -> NoReturn:
    """Draw a status every second, until Ctrl-C."""
    drawn, console = look()[1], Console(highlight=False)
    if not console.is_terminal:
        raise ConfigError("--watch needs a terminal: run the command without it")
    with Live(drawn, console=console, auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(_LOOK_S)
            live.update(look()[1], refresh=True)


def look_at_run(folder: Path, demo: Path) -> tuple[ProgramStatus, RenderableType]:
    """A run's status, see `read_run_status`."""
    status = read_run_status(folder, demo)
    return status.document, _render_run(folder, status)


def look_at_all(settings: "Settings") -> tuple[dict[str, Any], RenderableType]:
    """What runs in the usual folders, see `find_runs`: `localnet`, its description or None, and
    `runs`, folder → status."""
    demo, root = settings.demo.out, settings.localnet.dir
    own = (settings.miner.dir, settings.validator.dir, settings.trainer.dir)
    of_localnet = [root / name for name in ROLES]
    localnet = find_localnet(root) if is_running(root) else None
    try:
        runs = find_runs((demo, *own, *of_localnet), demo)
    except ConfigError:
        if localnet is None:
            raise
        runs = {}
    parts: list[RenderableType] = []
    if localnet is not None:
        at = f"{localnet.endpoint}, subnet {localnet.netuid}"
        parts.append(Text(f"localnet in {root}: {at}\n"))
    for folder, run in runs.items():
        parts += [Text(f"{folder}", style="bold underline"), _render_run(folder, run)]
    documents = {str(folder): run.document for folder, run in runs.items()}
    described = None if localnet is None else asdict(localnet)
    return {"localnet": described, "runs": documents}, Group(*parts)


def _render_run(folder: Path, run: RunStatus) -> RenderableType:
    document, sign = run.document, run.sign
    with naming_damage(folder):
        if is_demo(document):
            return Group(render_head(document, sign), render_status(document))
        return render_program(document, sign)


def look_at_record(where: str, validator: bytes | None) -> "tuple[PublicStatus, RenderableType]":
    """The status of a public record, see `read_public_status`."""
    from assay.audit.public_status import read_public_status

    document = read_public_status(where, validator)
    return document, _render_record(document, time.time())


def _render_record(document: "PublicStatus", now: float) -> RenderableType:
    """Header, windows, and each uid's pay. `now` is Unix time, seconds."""
    windows = document["windows"]
    text = Text()
    text.append("public record", style="bold")
    software = "".join(c for c in document["software"] if c.isprintable())
    text.append(f"  {document['hotkey']}, by {software}\nsettled at block {document['epoch']:,}")
    text.append(f", before it at {document['previous_epoch']:,}")
    times = [w["audit"]["at"] for w in windows if w["audit"]]
    if times:
        age = describe_age(max(0, int(now - max(times))))
        text.append(f"   its last audit was drawn {age} ago")
    table = make_table("window", "outcome", "challenge", "audit", "accepted", "others")
    for window in windows:
        rounds = _name_round(window["challenge"]), _name_round(window["audit"])
        reasons = count_reasons(verdict["reason"] for verdict in window["verdicts"])
        table.add_row(str(window["window"]), window["outcome"], *rounds, *reasons)
    hotkeys = {str(v["uid"]): v["hotkey"] for window in windows for v in window["verdicts"]}
    return Group(text, table, render_shares(document["scores"], document["weights"], hotkeys))


def _name_round(moment: "PublicRoundStatus | None") -> str:
    if moment is None:
        return "–"
    return f"round {moment['round']:,} {'✓' if moment['verified'] else 'not quicknet’s'}"
