"""What `assay demo` shows, and the folder that it holds."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from assay.artifacts.status.demo import DemoStatus
from assay.artifacts.status.program import STOPPED
from assay.cli.console import FIGURES, print_result
from assay.cli.interrupts import require_wanted
from assay.cli.own_folder import DEMO
from assay.lab.demo.report import describe_status
from assay.lab.demo.run import DemoRun
from assay.lab.demo.saved_point import Point, find_point, restore_point
from assay.lab.demo.view import render_status, render_summary
from assay.network.files import take_lock, write_json
from assay.settings.loading import ConfigError
from assay.settings.sections import DemoSettings
from assay.subnet.waiting import Report, ignore_report

#: Seconds between two updates of a terminal's display and of status.json, and of the file alone.
_REFRESH_S, _WRITE_S = 0.25, 1.0


def show_summary(summary: dict[str, Any], settings: DemoSettings, as_json: bool) -> None:
    """Show what a demo has found, and where everything is."""
    words = Text()
    if not settings.is_virtual and (missed := count_missed(summary)):
        words.append(
            f"Honest miners were late {missed} times: this machine is too slow for a block a "
            "second. `assay demo --fast` runs the same without a clock.\n",
            style="yellow",
        )
    words.append(
        f"Everything is in {settings.out}: summary.json, reward.svg, the chain, for each window "
        "its context, files and models, and the validator's record with a bundle for `assay audit`."
    )
    print_result(summary, as_json, Group(render_summary(summary), words), FIGURES)


def count_missed(summary: dict[str, Any]) -> int:
    """Windows that honest miners missed without a commitment: only the clock can cause that."""
    verdicts = [verdict for window in summary["windows"] for verdict in window["verdicts"]]
    return sum(v["role"] == "honest" and v["reason"] == "NO_COMMITMENT" for v in verdicts)


@contextmanager
def holding(out: Path, plan: str) -> Iterator[Point | None]:
    """Reserve `out` for this run. One of this plan that was stopped goes on from the point that is
    yielded, of which `out` has the files; others' files are deleted, anything else is refused."""
    DEMO.require(out)
    assert DEMO.marker is not None
    try:
        marker = (out / DEMO.marker).open("a")
    except OSError as error:
        raise _explain(out, error) from None
    with marker:
        if not take_lock(marker.fileno()):
            raise ConfigError(f"another demo runs in --out {out}: name another folder")
        try:
            point = find_point(out, plan)
            if point is None:
                DEMO.clear(out)
            else:
                restore_point(out, point, DEMO.marker)
        except OSError as error:
            raise _explain(out, error) from None
        yield point


def _explain(out: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"cannot write to --out {out} ({error.strerror}): name a folder you may write to"
    )


@contextmanager
def showing(out: Path, quiet: bool) -> Iterator[tuple[Callable[[DemoRun], None], Report]]:
    """Show a live table on a terminal, and a line for each window elsewhere. Always writes
    status.json, which at the end says that the run has stopped. Yields what a `Demo` calls."""
    errors = Console(stderr=True)
    report = ignore_report if quiet else partial(errors.print, style="dim", highlight=False)
    drawn = [0.0]
    status: DemoStatus | None = None
    seen: set[int] = set()
    live = Live(console=errors, auto_refresh=False) if errors.is_terminal and not quiet else None
    pause_s = _WRITE_S if live is None else _REFRESH_S

    def update(run: DemoRun) -> None:
        nonlocal status
        require_wanted()
        now = time.monotonic()
        last = run.stage == "done"
        if live is None and not quiet:
            _print_news(errors, run, seen)
        if now - drawn[0] < pause_s and not last:
            return
        drawn[0] = now
        status = describe_status(run)
        write_json(out / "status.json", status, durable=False)
        if live is not None:
            live.update(render_status(status), refresh=True)

    try:
        with live or nullcontext():
            yield update, report
    finally:
        if status is not None:
            status |= {"state": STOPPED, "at": int(time.time())}
            with suppress(OSError):  # the original error says more
                write_json(out / "status.json", status, durable=False)


def _print_news(errors: Console, run: DemoRun, seen: set[int]) -> None:
    for window, judged in list(run.validator.judged_windows.items()):
        if judged.complete and window not in seen:
            seen.add(window)
            verdicts = ", ".join(
                f"{actor.miner.name} {judged.verdicts[actor.miner.hotkey].reason.value}"
                for actor in run.actors
                if actor.miner.hotkey in judged.verdicts
            )
            errors.print(f"window {window}: {verdicts}", highlight=False, soft_wrap=True)
