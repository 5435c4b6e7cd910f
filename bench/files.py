"""The cost of writing a small file so that it survives a power cut: written, synced, renamed.

The baseline does not wait for the disk. The figures depend on the disk of this machine.
"""

import tempfile
import time
from pathlib import Path

from figures import FAST, Figure, report

from assay.network.files import write_file

FILES, BYTES = 50 if FAST else 500, 20_000


def measure(folder: Path, *, durable: bool) -> float:
    """Median milliseconds per file. Every second file replaces an older one."""
    data, took = bytes(range(256)) * (BYTES // 256), []
    for number in range(FILES):
        started = time.perf_counter()
        write_file(folder / f"{durable}-{number // 2}", data, durable=durable)
        took.append(1e3 * (time.perf_counter() - started))
    return sorted(took)[FILES // 2]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="assay-") as name:
        quick, durable = (measure(Path(name), durable=durable) for durable in (False, True))
    figure = Figure(
        "a file written, synced and renamed", durable, "ms", "written and renamed", quick
    )
    report(f"files of {BYTES / 1e3:g} kB in {Path(name).parent}", [figure], 1)


if __name__ == "__main__":
    main()
