"""Five hundred windows on the virtual clock, with faults at random: what grows, leaks or gets lost.

Two miners, a validator and a trainer run as their commands run them, in one process. Chain, beacons
and stores fail at random, and the programs are killed again and again (see tests/soak). A second
validator that is never disturbed shows the right results.

Memory is the resident memory of that process, after garbage collection and after the allocator has
returned what it can: it has one heap and keeps no free block of 128 KiB or more. The process holds
the five programs and the simulated chain with its newest 256 blocks. Memory moves by ten MiB as
programs die and begin, so medians of twenty looks are compared: at windows 100 to 195 and at 405 to
500.
"""

import json
import sys
import tempfile
import tracemalloc
from pathlib import Path
from statistics import median
from time import process_time

from figures import FAST, Figure, report

sys.path.append(str(Path(__file__).parents[1]))
from tests.soak.gauge import Gauge, fix_allocator, look
from tests.soak.world import World

WINDOWS, SEED = (60, 1) if FAST else (500, 1)
#: Growth counts from here on: everything has been used by then.
WARM = WINDOWS // 5
#: Windows between two looks. Medians of a fifth of the looks at either end are compared.
EVERY, LOOKS = WINDOWS // 100 or 1, 20
GROWTH_PERCENT = 1.0


def play(world: World) -> list[tuple[int, Gauge]]:
    """Measurements by window."""
    looks: list[tuple[int, Gauge]] = []

    def after(window: int) -> None:
        if window % EVERY == 0 and window <= WINDOWS:
            looks.append((window, look()))
            gauge = looks[-1][1]
            print(
                f"  window {window}: {gauge.memory / 2**20:.1f} MiB, {gauge.threads} threads, "
                f"{gauge.descriptors} descriptors",
                file=sys.stderr,
                flush=True,
            )

    world.play(after)
    return looks


def compare(looks: list[tuple[int, Gauge]], name: str) -> tuple[float, float]:
    """The median of the first warm looks, and that of the last ones."""
    warm = [getattr(gauge, name) for window, gauge in looks if window >= WARM]
    return median(warm[:LOOKS]), median(warm[-LOOKS:])


def count_files(folder: Path) -> tuple[int, int]:
    """Files and bytes below a folder."""
    files = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(files), sum(files)


def main() -> None:
    """Print the figures and every fault."""
    fix_allocator()
    started = process_time()
    with tempfile.TemporaryDirectory(prefix="assay-") as root:
        world = World(Path(root), WINDOWS, SEED, setattr)
        try:
            looks = play(world)
            seconds = process_time() - started
            weather = {p.name: dict(p.weather.counts) for p in world.programs}
            lives = {p.name: p.lives for p in world.programs}
            folders = {p.name: count_files(p.folder) for p in world.programs}
        finally:
            world.close()
    check = world.check
    for finding in [*check.findings, *world.log.defects]:
        print(f"  NOT AS IT SHOULD BE: {finding}", file=sys.stderr)
    print(
        json.dumps(
            {"met": weather, "lives": lives, "excused": check.excused, "files and bytes": folders}
        ),
        file=sys.stderr,
    )
    before, now = compare(looks, "memory")
    figures = [
        Figure(
            f"five programs and the simulated chain, resident at window {WINDOWS}",
            now / 2**20,
            "MiB",
            f"at window {WARM}",
            before / 2**20,
            ratio_bound=1 + GROWTH_PERCENT / 100,
        ),
        *(
            Figure(
                f"more {name} than at window {WARM}",
                compare(looks, name)[1] - compare(looks, name)[0],
                "",
                bound=0,
            )
            for name in ("threads", "descriptors", "children", "tasks")
        ),
        Figure(
            "commitments and settlements lost or changed by faults",
            len(check.findings),
            "",
            bound=0,
        ),
        Figure("defects of Assay in the logs", len(world.log.defects), "", bound=0),
        Figure("commitments and settlements equal to those without faults", check.equal, ""),
        Figure("windows that a long fault has cost", sum(check.excused.values()), ""),
        Figure("kills", sum(lives.values()) - len(lives), ""),
        Figure(
            "calls that met another fault",
            sum(sum(w.values()) for w in weather.values())
            - sum(w.get("killed", 0) for w in weather.values()),
            "",
        ),
        Figure("CPU time of a window", seconds / WINDOWS, "s"),
    ]
    report(
        f"Soak: {WINDOWS} windows on the virtual clock, faults drawn from seed {SEED}", figures, 1
    )
    if tracemalloc.is_tracing():  # PYTHONTRACEMALLOC=8
        for statistic in tracemalloc.take_snapshot().statistics("lineno")[:25]:
            print(statistic, file=sys.stderr)


if __name__ == "__main__":
    main()
