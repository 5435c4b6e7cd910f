"""Memory and processor time of other processes' programs, as Linux counts them."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path

#: Seconds between two looks. Each look walks all pages of all processes.
_LOOK_S = 2.0
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def list_family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for parent in found:
        for file in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, file.read_text().split())
    return found


def read_memory(pid: int) -> tuple[float, float]:
    """Resident MiB of a process: with pages that several processes map counted in shares, and in
    full."""
    fields = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        fields[name] = int(rest.split()[0]) / 1_024
    return fields["Pss"], fields["Rss"]


def read_processor(pid: int) -> float:
    """Seconds of processor time of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS_A_SECOND


def read_processors(programs: Mapping[str, int]) -> dict[str, float]:
    """Processor seconds so far of each program, name → process number, with its children."""
    return {name: sum(map(read_processor, list_family(pid))) for name, pid in programs.items()}


class Watch:
    """Looks at programs, with their children, until it is closed.

    Args:
        programs: name → process number.

    Attributes:
        pss, rss: the largest sums over all programs at one moment, MiB.
        pss_of: each program's largest, MiB.
    """

    def __init__(self, programs: Mapping[str, int]) -> None:
        self.pss = self.rss = 0.0
        self.pss_of = dict.fromkeys(programs, 0.0)
        self._programs = programs
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_S):
            try:
                sums = {
                    name: [
                        sum(sizes)
                        for sizes in zip(*map(read_memory, list_family(pid)), strict=True)
                    ]
                    for name, pid in self._programs.items()
                }
            except (FileNotFoundError, ProcessLookupError):
                continue  # a child has ended between two looks
            self.pss = max(self.pss, sum(pss for pss, _ in sums.values()))
            self.rss = max(self.rss, sum(rss for _, rss in sums.values()))
            for name, (pss, _) in sums.items():
                self.pss_of[name] = max(self.pss_of[name], pss)
