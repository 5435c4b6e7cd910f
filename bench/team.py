"""Two processes that learn together, compared with one: tokens per second, and memory for loading.

Each process has one thread; another baseline is one process with two threads. The model has 25
million parameters, as in `step.py`. Processes communicate over gloo on this machine.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from figures import FAST, Figure, report
from step import LENGTHS, PROMPTS, SMALL, make_groups, make_model

from assay.training.team_launch import run_team

WORKER = Path(__file__).with_name("team_worker.py")
GROUPS, STEPS = (1, 1) if FAST else (8, 3)
#: Most seconds for one of the three.
PATIENCE_S = 3_600


def measure(folder: Path, processes: int, threads: int) -> list[dict[str, float]]:
    """Each process's measurements."""
    arguments = [str(WORKER), str(folder), str(threads), str(STEPS)]
    if processes == 1:
        subprocess.run([sys.executable, *arguments], check=True, timeout=PATIENCE_S)
    else:
        run_team(processes, arguments)
    files = (folder / f"{processes}-{threads}-{rank}.json" for rank in range(processes))
    return [json.loads(file.read_text()) for file in files]


def main() -> None:
    groups = make_groups(GROUPS, SMALL.vocab_size, PROMPTS, LENGTHS)
    tokens = sum(len(row) for group in groups for row in group.completions)
    model = make_model(SMALL)
    weights = sum(weight.numel() for weight in model.parameters())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.bfloat16().save_pretrained(folder)
        (folder / "groups.json").write_text(json.dumps([asdict(group) for group in groups]))
        del model
        one, two, both = (measure(folder, *case) for case in ((1, 1), (2, 1), (1, 2)))
    alone = tokens / one[0]["seconds"]
    rows = [
        ("two processes of one thread", tokens / two[0]["seconds"]),
        ("one process of two threads", tokens / both[0]["seconds"]),
    ]
    figures = [
        Figure(f"{name}, tokens a second", rate, "/s", "one process of one thread", alone)
        for name, rate in rows
    ]
    figures += [
        Figure(
            "two processes of one thread, time of the same step",
            two[0]["seconds"],
            "s",
            "one process of one thread",
            one[0]["seconds"],
            ratio_bound=1 / 1.5,
        ),
        *(
            Figure(
                f"{weights / 1e6:.0f} M weights in two processes, {what}, in each",
                max(process[name] for process in two) / 2**20,
                "MiB",
                "all of them in float32",
                4 * weights / 2**20,
                ratio_bound=bound,
            )
            for what, name, bound in (
                ("loaded", "kept_bytes", None),
                ("while they load", "peak_bytes", 0.75),
            )
        ),
    ]
    report("a team of learners", figures, threads=1)


if __name__ == "__main__":
    main()
