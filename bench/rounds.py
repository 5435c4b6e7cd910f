"""A round of two trainers compared with one trainer, on the same groups: wall-clock seconds.

The groups of a round's windows are drawn once, from the shipped model. One trainer learns from all
of them, with one step for each window. Each of two trainers learns from its drawn share, in a
process of one thread, both at once. Then each writes its child, and the outer step merges the
decoded children. Seconds cover the steps (the slower trainer's if there are two), its encoding, and
decoding and merging both children, but not the start of processes. Both courses run in turn, and
the least of each counts. `outer_success.py` measures what the merged model solves. `--fast`: fewer
and smaller windows, once.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from time import perf_counter

import torch
from checkpoints import make_groups
from figures import FAST, Figure, report
from safetensors.torch import save_file

from assay.inference.checkpoint import load_checkpoint
from assay.inference.model_loading import read_tensors
from assay.protocol.parameters import Rounds
from assay.rounds.calendar import compute_share
from assay.rounds.choice import DEFAULTS
from assay.rounds.difference_form import choose_form
from assay.rounds.outer_step import begin_outer, step_outwards
from assay.training import GENESIS, Group

WORKER = Path(__file__).with_name("rounds_worker.py")
WINDOWS, GROUPS, REPEATS = (2, 8, 1) if FAST else (8, 48, 3)
#: Most seconds for one trainer's round.
PATIENCE_S = 3_600
TRAINERS = (b"\1" * 32, b"\2" * 32)
RULES = Rounds(TRAINERS, **DEFAULTS)


def draw() -> list[list[Group]]:
    """The groups of each window."""
    checkpoint = load_checkpoint(GENESIS)
    model = checkpoint.load_trainable().requires_grad_(False)
    return [
        make_groups(checkpoint, model, f"rounds {window}", None, GROUPS)
        for window in range(WINDOWS)
    ]


def share(windows: Sequence[Sequence[Group]], trainer: bytes, count: int) -> list[list[Group]]:
    """The groups from which one of `count` trainers learns."""
    line = TRAINERS[:count]
    return [
        [
            group
            for index, group in enumerate(groups)
            if compute_share(line, sha256(bytes([window])).digest(), bytes(32), index) == trainer
        ]
        for window, groups in enumerate(windows)
    ]


def play(windows: Sequence[Sequence[Group]], count: int, folder: Path) -> float:
    """Seconds of a round."""
    running = []
    for trainer in TRAINERS[:count]:
        own = folder / trainer.hex()
        own.mkdir(parents=True)
        shares = share(windows, trainer, count)
        (own / "windows.json").write_text(json.dumps([list(map(asdict, w)) for w in shares]))
        command = [sys.executable, str(WORKER), str(own), str(count)]
        running.append((own, subprocess.Popen(command)))
    seconds = 0.0
    for own, process in running:
        if process.wait(PATIENCE_S):
            raise SystemExit(f"a trainer ended with {process.returncode}")
        seconds = max(seconds, json.loads((own / "seconds.json").read_text()))
    return seconds + (merge([own for own, _ in running]) if count > 1 else 0.0)


def merge(folders: Sequence[Path]) -> float:
    """Seconds that each trainer needs to decode and merge both children."""
    outer, form = begin_outer(read_tensors(GENESIS / "model.safetensors")), choose_form(RULES)
    pieces = [[file.read_bytes() for file in sorted(own.glob("*.piece"))] for own in folders]
    began = perf_counter()
    children = [form.decode(outer.masters, own) for own in pieces]
    merged = step_outwards(outer, children, RULES)
    seconds = perf_counter() - began
    save_file(dict(merged.masters), folders[0] / "merged.safetensors")
    return seconds


def main() -> None:
    torch.set_num_threads(1)
    windows = draw()
    taken: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory(prefix="assay-") as name:
        for repeat in range(REPEATS):
            for count, seconds in taken.items():
                seconds.append(play(windows, count, Path(name) / f"{repeat}-{count}"))
                print(f"  trainers: {count}: {seconds[-1]:.1f} s", flush=True)
    larger = max(sum(map(len, share(windows, trainer, 2))) for trainer in TRAINERS)
    figures = [
        Figure(
            "seconds of a round: two trainers of one thread each, and the merge",
            min(taken[2]),
            "s",
            "one trainer",
            min(taken[1]),
            ratio_bound=0.65,
        ),
        Figure(
            "larger one of the two trainers' shares of the groups",
            100 * larger / WINDOWS / GROUPS,
            "%",
        ),
    ]
    report(f"A round of {WINDOWS} windows of {GROUPS} groups", figures, threads=1)


if __name__ == "__main__":
    main()
