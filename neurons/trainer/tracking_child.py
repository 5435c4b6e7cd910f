"""The child process in which wandb runs: JSON lines on its standard input, no answer.

    python -P -c "from assay.neurons.trainer.tracking_child import main; main()" < lines

The first line is a `Plan`, the others are figures. At the input's end the library may finish what
it has begun, within the plan's seconds. Then the system kills the process, whatever it waits for.
The library reads its key from the variable that it documents, which this process inherits:
nothing of Assay's ever holds one.
"""

import json
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

#: Lines that wait for the library. What comes while as many wait is lost, and counted.
_WAITING = 4_096

#: Takes an axis, the place on it, and figures by name.
_Log = Callable[[str, int, Mapping[str, float]], None]


def main() -> None:
    """Pass the figures on until the input ends."""
    plan = json.loads(sys.stdin.buffer.readline())
    lines = queue.Queue[bytes | None](_WAITING)
    reader = threading.Thread(target=_read, args=(lines, plan["seconds"]), daemon=True)
    reader.start()
    log, finish = _open(plan)
    while (line := lines.get()) is not None:
        log(*json.loads(line))
    finish()


def _read(lines: "queue.Queue[bytes | None]", seconds: int) -> None:
    """Read all lines, also while the library waits for something, so that the end is not missed."""
    lost = 0
    for line in sys.stdin.buffer:
        try:
            lines.put_nowait(line)
        except queue.Full:
            lost += 1
            if lost & (lost - 1) == 0:  # the first, second, fourth …
                print(f"lost {lost} lines of figures: wandb takes no more", file=sys.stderr)
    signal.alarm(seconds)  # kills this process, also where it waits within the library
    lines.put(None)


def _open(plan: Mapping[str, Any]) -> tuple[_Log, Callable[[], None]]:
    import wandb

    quiet = wandb.Settings(
        console="off", save_code=False, x_disable_machine_info=True, x_save_requirements=False
    )
    run = wandb.init(
        project=plan["project"],
        id=plan["run"],
        name=plan["name"],
        config=plan["config"],
        dir=plan["folder"],
        resume="allow",
        settings=quiet,
    )
    known = set[str]()

    def log(axis: str, at: int, figures: Mapping[str, float]) -> None:
        for name in figures.keys() - known:
            run.define_metric(name, step_metric=axis)
        known.update(figures)
        run.log(dict(figures) | {axis: at})

    return log, run.finish
