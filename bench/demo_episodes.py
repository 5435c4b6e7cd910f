"""What a demo of episodes learns: success on held-out problems before and after it, by seed.

`assay demo --episodes` plays the whole loop for each seed: chain, miners, a cheat, validator and
trainer. Two of them play at a time, each with one core. `--fast` here is one seed and six windows.
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryDirectory

from figures import FAST, Figure, report

SEEDS = ("assay",) if FAST else ("assay", "1", "2")
COMMAND = (sys.executable, "-m", "assay", "demo", "--episodes", "--json", "--quiet")
SIZES = ("--windows", "6", "--groups", "16") if FAST else ()
#: Points that a demo is to gain, and seconds of a processor that it may take: it has one thread at
#: work at a time.
GAIN, SECONDS = 30, 600


def measure(seed: str) -> list[Figure]:
    with TemporaryDirectory() as folder:
        out = Path(folder) / "demo"
        with Popen([*COMMAND, "--seed", seed, "--out", str(out), *SIZES], stdout=PIPE) as demo:
            assert demo.stdout is not None
            said = demo.stdout.read()
            _, status, used = os.wait4(demo.pid, 0)
            demo.returncode = os.waitstatus_to_exitcode(status)
        if not said:
            raise SystemExit(f"seed {seed}: the demo ended with {demo.returncode}")
        summary = json.loads(said)
    accuracy = summary["accuracy"]
    (_, high), (low, _) = accuracy["before_interval95"], accuracy["after_interval95"]
    before, after = 100 * accuracy["before"], 100 * accuracy["after"]
    gain, about = after - before, f"by both intervals at least {100 * (low - high):.1f}"
    seconds = used.ru_utime + used.ru_stime
    print(f"seed {seed}: {before:.1f} to {after:.1f} %, {seconds:.0f} s", file=sys.stderr)
    return [
        Figure(f"seed {seed}: held out, after", after, "%", "before", before),
        Figure(f"seed {seed}: gained", gain, "points", about, least=None if FAST else GAIN),
        Figure(f"seed {seed}: processor time", seconds, "s", bound=None if FAST else SECONDS),
    ]


def main() -> None:
    with ThreadPoolExecutor(2) as executor:
        figures = [figure for found in executor.map(measure, SEEDS) for figure in found]
    report("episodes of `guess`, learned by a demo", figures, 1)


if __name__ == "__main__":
    main()
