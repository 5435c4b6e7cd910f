"""The time from each command's start to its first output, in its own terminal, and the CPU time of
frequent commands.

The commands are those of tests/cli/test_imports.py, at least one of every command: with missing
files, with a chain that does not answer, and without any fault. The others run against `assay
localnet`.
"""

import os
import pty
import resource
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

from figures import FAST, Figure, report
from terminals import ASSAY, Terminals

sys.path.append(str(Path(__file__).parents[1]))

from tests.cli.test_imports import EXPECTED, fill_places, make_places

RUNS = 1 if FAST else 3
SECONDS, STATUS_S = 1.0, 0.5
PATIENCE_S = 60.0


def time_first_output(command: list[str], folder: Path) -> float:
    """Seconds until the terminal gets the first byte. Then the command is killed."""
    screen, terminal = pty.openpty()
    began = perf_counter()
    program = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal, cwd=folder
    )
    os.close(terminal)
    try:
        os.read(screen, 1)
        return perf_counter() - began
    except OSError:
        raise SystemExit(f"{' '.join(command)}: ended without a word") from None
    finally:
        program.kill()
        program.wait()
        os.close(screen)


def time_processor(*arguments: str) -> tuple[float, int]:
    """Processor seconds of a command from start to end, and its exit code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([ASSAY, *arguments], capture_output=True, timeout=PATIENCE_S, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, done.returncode


def measure_outputs(folder: Path) -> dict[str, float]:
    """Line → least seconds to its first output."""
    folder.mkdir()
    places = make_places(folder)
    found: dict[str, float] = {}
    for run in range(1 + RUNS):  # the first run reads files from the disk
        for number, line in enumerate(EXPECTED):
            words = fill_places(line, places, folder / f"new-{run}-{number}")
            seconds = time_first_output([ASSAY, *words], folder)
            if run:
                found[line] = min(found.get(line, seconds), seconds)
    return found


def measure_often_typed(root: Path) -> list[Figure]:
    """Processor seconds of `status`, `metagraph`, and `mine` with a missing wallet."""
    with ExitStack() as stack:
        terminals = Terminals(root, stack)
        net = str(terminals.folder)
        terminals.start("localnet", ASSAY, "localnet", "--dir", net, "--port=0")
        terminals.wait_for("the localnet", lambda: terminals.read("localnet.json").get("pids"))
        terminals.start("trainer", ASSAY, "train", "--localnet", net)
        terminals.wait_for("a trainer", lambda: terminals.read("trainer", "status.json"))
        lines = {
            "status": (("status", "--dir", f"{net}/trainer"), 0, STATUS_S),
            "metagraph": (("metagraph", "--localnet", net), 0, SECONDS),
            "mine with a missing wallet": (
                ("mine", "--localnet", net, "--wallet", "nosuch"),
                2,
                SECONDS,
            ),
        }
        figures = []
        for name, (words, wanted, bound) in lines.items():
            runs = [time_processor(*words) for _ in range(1 + RUNS)]
            if {code for _, code in runs} != {wanted}:
                raise SystemExit(f"assay {' '.join(words)}: exit codes {runs}, wanted {wanted}")
            spent = min(seconds for seconds, _ in runs)
            figures.append(Figure(f"CPU time of assay {name}", spent, "s", bound=bound))
    return figures


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="assay-") as name:
        root = Path(name)
        found = measure_outputs(root / "outputs")
        often = measure_often_typed(root)
    longest = sorted(found, key=lambda line: -found[line])
    for line in longest[:10]:
        print(f"{found[line]:6.2f} s  assay {line}", file=sys.stderr)
    ordered = sorted(found.values())
    figures = [
        Figure("commands measured", len(found), ""),
        Figure("first output of the slowest command", ordered[-1], "s", bound=SECONDS),
        Figure("first output, median of all commands", ordered[len(ordered) // 2], "s"),
        *often,
    ]
    report("First output of every command", figures, 1)


if __name__ == "__main__":
    main()
