"""`assay demo`: the run, its display, and its output files."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from assay.artifacts.status.demo import DemoStatus
from assay.artifacts.status.program import STOPPED
from assay.cli.console import FIGURES, print_result
from assay.cli.interrupts import catch_interrupts, require_wanted
from assay.cli.own_folder import DEMO
from assay.lab.demo.report import describe_status, describe_summary
from assay.lab.demo.run import Demo, DemoRun
from assay.lab.demo.view import plot_reward, render_status, render_summary
from assay.network.files import take_lock, write_file, write_json
from assay.settings.loading import ConfigError, make_cards_repeat
from assay.settings.placing import open_placement
from assay.settings.sections import Settings
from assay.subnet.waiting import ignore_report

#: Seconds between two updates of a terminal's display and of status.json, and of the file alone.
_REFRESH_S, _WRITE_S = 0.25, 1.0


def run_demo(every: Settings, as_json: bool, quiet: bool) -> int:
    """Play the demo. The exit code says whether it kept its promises."""
    settings = every.demo
    started = time.monotonic()
    placement = None
    if settings.recipe is None:
        torch.set_num_threads(1)  # the programs are threads, and the model is small
    else:
        make_cards_repeat()
        placement = open_placement(every.compute)
    errors = Console(stderr=True)
    report = ignore_report if quiet else partial(errors.print, style="dim", highlight=False)
    with (
        _hold(settings.out),
        catch_interrupts(),
        _show(errors, settings.out, quiet) as update,
        closing(Demo(settings, update, report=report, placement=placement)) as demo,
    ):
        demo.play()
        audit = demo.leave_bundle()
        summary = describe_summary(demo.run, audit, time.monotonic() - started)
    write_json(settings.out / "summary.json", summary)
    write_file(settings.out / "reward.svg", plot_reward(summary).encode())
    words = Text()
    if not settings.is_virtual and (late := count_late(summary)):
        words.append(
            f"Honest miners were late {late} times: this machine is too slow for a block a "
            "second. `assay demo --fast` runs the same without a clock.\n",
            style="yellow",
        )
    words.append(
        f"Everything is in {settings.out}: summary.json, reward.svg, the chain, for each window "
        "its context, files and models, and the validator's record with a bundle for `assay audit`."
    )
    print_result(summary, as_json, Group(render_summary(summary), words), FIGURES)
    return 1 if summary["promises_broken"] else 0


def count_late(summary: dict[str, Any]) -> int:
    """Windows that honest miners missed without a commitment: only the clock can cause that."""
    verdicts = [verdict for window in summary["windows"] for verdict in window["verdicts"]]
    return sum(v["role"] == "honest" and v["reason"] == "NO_COMMITMENT" for v in verdicts)


@contextmanager
def _hold(out: Path) -> Iterator[None]:
    """Reserve `out` for this run: an older run's files are deleted, anything else is refused."""
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
            DEMO.clear(out)
        except OSError as error:
            raise _explain(out, error) from None
        yield


def _explain(out: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"cannot write to --out {out} ({error.strerror}): name a folder you may write to"
    )


@contextmanager
def _show(errors: Console, out: Path, quiet: bool) -> Iterator[Callable[[DemoRun], None]]:
    """Show a live table on a terminal, and a line for each window elsewhere. Always writes
    status.json, which at the end says that the run has stopped."""
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
            yield update
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
