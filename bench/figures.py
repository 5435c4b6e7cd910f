"""Measuring and printing for every script here: several runs, compared with a baseline, with the
machine and the versions."""

import argparse
import json
import os
import platform
import resource
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, process_time

#: A script that has a parser of its own refuses what neither knows.
_OWN = hasattr(sys.modules["__main__"], "argparse")
_PARSER = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__, add_help=not _OWN)
_PARSER.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
_PARSER.add_argument("--fast", action="store_true", help="small sizes, where a script has them")
_PARSER.add_argument(
    "--out", type=Path, metavar="DIR", help="what was run before, where a script reads such"
)
_PARSER.add_argument(
    "--only", action="append", metavar="NAME", help="one of a script's parts, where it has names"
)
#: They are read when a script starts, so that a mistake shows at once.
_ARGUMENTS = _PARSER.parse_known_args()[0] if _OWN else _PARSER.parse_args()
FAST: bool = _ARGUMENTS.fast
OUT: Path | None = _ARGUMENTS.out
ONLY: list[str] | None = _ARGUMENTS.only
JSON: Path | None = _ARGUMENTS.json
_STARTED = perf_counter()
_VERSIONS = ("torch", "transformers", "numpy", "numba", "pyarrow", "pyblst")


@dataclass(frozen=True)
class Figure:
    """One line: a value, its baseline, and its bound."""

    name: str
    value: float
    unit: str
    baseline: str = ""
    baseline_value: float | None = None
    bound: float | None = None
    ratio_bound: float | None = None
    least: float | None = None  # lower bound

    @property
    def ratio(self) -> float | None:
        """The value divided by the baseline."""
        return self.value / self.baseline_value if self.baseline_value else None

    @property
    def kept(self) -> bool | None:
        """Whether the bound is kept; None without a bound."""
        if self.ratio_bound is not None and self.ratio is not None:
            return self.ratio <= self.ratio_bound
        if self.least is not None:
            return self.value >= self.least
        return None if self.bound is None else self.value <= self.bound


def measure(run: Callable[[], object], repeats: int = 7, warmups: int = 1) -> float:
    """Median seconds of one call."""
    for _ in range(warmups):
        run()
    times = []
    for _ in range(repeats):
        started = perf_counter()
        run()
        times.append(perf_counter() - started)
    return statistics.median(times)


def measure_together(
    runs: Sequence[Callable[[], object]],
    repeats: int = 21,
    clock: Callable[[], float] = perf_counter,
) -> list[float]:
    """Least seconds of one call of each function, called in turn. On a busy machine a median would
    include other work, and more of it in long runs than in short ones."""
    for run in runs:
        run()
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, taken in zip(runs, times, strict=True):
            started = clock()
            run()
            taken.append(clock() - started)
    return [min(taken) for taken in times]


def time_cpu(run: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock seconds of one call, and processor seconds of this process and of the children
    that ended meanwhile. Other work of the machine does not count in the latter."""

    def used() -> float:
        child = resource.getrusage(resource.RUSAGE_CHILDREN)
        return process_time() + child.ru_utime + child.ru_stime

    before, started = used(), perf_counter()
    run()
    return perf_counter() - started, used() - before


def read_processor_time(pids: Sequence[int]) -> float:
    """Processor seconds of this process and of others that run."""
    spent = process_time()
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        spent += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent


def describe_machine() -> dict[str, str]:
    """Processor, cores and versions."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    # these load PyTorch, which not every script needs
    from assay.inference.placing.devices import CPU, examine_device, find_device

    card = find_device("auto")
    return {
        "cpu": f"{cpu}, {os.cpu_count()} cores",
        **({} if card == CPU else {"card": examine_device(card).describe()}),
        "python": sys.version.split()[0],
        **{name: version(name) for name in _VERSIONS},
    }


def report(title: str, figures: Sequence[Figure], threads: int, **more: object) -> None:
    """Print the figures. `--json FILE` also writes them, together with `more`."""
    machine = describe_machine() | {"threads": str(threads)}
    print(f"\n{title}")
    print("  " + ", ".join(f"{k} {v}" for k, v in machine.items()))
    width = max(len(figure.name) for figure in figures)
    for figure in figures:
        line = f"  {figure.name:<{width}}  {figure.value:>10.4g} {figure.unit:<8}"
        if figure.baseline_value is not None:
            line += f" {figure.baseline}: {figure.baseline_value:.4g}"
        if figure.ratio is not None:
            line += f", ratio {figure.ratio:.3g}"
        if figure.kept is not None:
            bounds = {
                "ratio at most": figure.ratio_bound,
                "at least": figure.least,
                "at most": figure.bound,
            }
            what, bound = next((k, v) for k, v in bounds.items() if v is not None)
            line += f"  ({what} {bound:g}: {'kept' if figure.kept else 'NOT KEPT'})"
        print(line, flush=True)
    if JSON:
        rows = [asdict(figure) | {"ratio": figure.ratio, "kept": figure.kept} for figure in figures]
        ran = {
            "command": f"python bench/{Path(sys.argv[0]).name}" + " --fast" * FAST,
            "date": datetime.now(UTC).date().isoformat(),
            "seconds": round(perf_counter() - _STARTED),
        }
        document = {"title": title} | ran | {"machine": machine, "figures": rows} | more
        JSON.write_text(json.dumps(document, indent=1) + "\n")
