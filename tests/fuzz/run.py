"""Coverage-guided fuzzing of every decoder with atheris.

The seconds are shared out among the targets, two at a time. The seed is the same in every run
unless `--seed` says otherwise, so that what CI tries rests on the code and not on luck. The corpus
starts from vectors and genesis files. An input that breaks a contract is kept in
`regressions/NAME/`, where the quick tests replay it. Exit status 1 means that one was found; 0 with
a word, that there is no atheris.
"""

import argparse
import multiprocessing
import os
import re
import sys
from contextlib import redirect_stderr
from hashlib import sha256
from io import StringIO
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[2]
REGRESSIONS = Path(__file__).parent / "regressions"
#: Modules that are instrumented; pyarrow and torch are not.
INSTRUMENTED = [
    "assay.protocol",
    "assay.network",
    "assay.inference",
    "assay.environments",
    "assay.rounds.wire",
]
#: Bounds on one input: seconds, MiB of the whole process, bytes.
LIMITS = {"timeout": 60, "rss_limit_mb": 3_072, "max_len": 1 << 16}
AT_ONCE = 2


def fuzz(name: str, target: Any, seconds: int, seed: int, folder: Path) -> None:
    """Runs one target for a while, in a process that libFuzzer ends. Its words go to a file."""
    import atheris

    with (folder / f"{name}.log").open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    corpus, found = folder / name, folder / f"{name}.found"
    corpus.mkdir()
    found.mkdir()
    known = [path.read_bytes() for path in (REGRESSIONS / name).glob("*")]
    for number, data in enumerate([*target.seeds(), *known]):
        (corpus / str(number)).write_bytes(data)
    bounds = [f"-{bound}={value}" for bound, value in LIMITS.items()]
    options = [f"-max_total_time={seconds}", f"-seed={seed}", f"-artifact_prefix={found}/"]

    def attack(data: bytes) -> None:
        try:
            target.run(data)
        except BaseException:  # libFuzzer keeps what crashes, atheris does not keep what raises
            (found / f"raises-{sha256(data).hexdigest()[:16]}").write_bytes(data)
            raise

    atheris.Setup([name, *bounds, *options, str(corpus)], attack)
    atheris.Fuzz()


def fuzz_all(targets: dict[str, Any], seconds: int, seed: int) -> list[str]:
    """Runs all targets, `seconds` each; the names of those in which something was found."""
    fork = multiprocessing.get_context("fork")
    waiting, running, broken = list(targets), {}, []
    with TemporaryDirectory() as name:
        folder = Path(name)
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                arguments = waiting[0], targets[waiting[0]], seconds, seed, folder
                process = fork.Process(target=fuzz, args=arguments)
                process.start()
                running[process.sentinel] = process, waiting.pop(0)
            for sentinel in wait(list(running)):
                process, target = running.pop(sentinel)
                process.join()
                said = (folder / f"{target}.log").read_text(errors="replace")
                report(target, said)
                if process.exitcode:
                    print(said[-6_000:], flush=True)
                    keep(target, folder / f"{target}.found")
                    broken.append(target)
    return broken


def report(name: str, said: str) -> None:
    last = re.findall(r"#(\d+)\s+DONE\s+cov: (\d+)", said)
    tries, coverage = last[-1] if last else ("?", "?")
    print(f"{name:22}{tries:>9} inputs{coverage:>7} edges", flush=True)


def keep(name: str, found: Path) -> None:
    for path in found.iterdir():
        kept = REGRESSIONS / name / path.name
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(path.read_bytes())
        print(f"{name}: the input is {kept}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=30, help="for all targets together")
    parser.add_argument("--only", metavar="NAME", help="one target")
    parser.add_argument("--seed", type=int, default=1, help="0 draws one")
    chosen = parser.parse_args()
    try:
        import atheris
    except ImportError:
        version = ".".join(map(str, sys.version_info[:2]))
        print(
            f"fuzz: skipped, atheris is not installed for this Python ({version}); where there is "
            "a wheel: pip install 'assay[fuzz]'. Under hypothesis the tests fuzz all the same."
        )
        return 0
    sys.path.insert(0, str(ROOT))
    with redirect_stderr(StringIO()), atheris.instrument_imports(include=INSTRUMENTED):
        from tests.fuzz.targets import TARGETS

    targets = {n: t for n, t in TARGETS.items() if chosen.only in (None, n)}
    if not targets:
        parser.error(f"there is no target {chosen.only}; there are: {', '.join(TARGETS)}")
    at_once = min(AT_ONCE, len(targets))
    seconds = max(1, chosen.seconds * at_once // len(targets))
    broken = fuzz_all(targets, seconds, chosen.seed)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
