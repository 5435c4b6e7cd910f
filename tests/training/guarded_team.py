"""A team of two whose steps wait for a sign, and that ends where anything is unpickled.

It is each process of the team: `python -m tests.training.guarded_team FOLDER`. Each writes its
number into the folder, and the first one where the team meets, and `ready-0` and `ready-1` after
its two steps; then it waits for `go-0` and `go-1`.
"""

import os
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import torch

from assay.training import GENESIS, LearnConfig
from assay.training.objectives import Imitation
from assay.training.team import follow, join_team, make_shared
from assay.training.team_launch import find_seat
from tests.training.team import make_examples, make_groups

PATIENCE_S = 300
CONFIG = LearnConfig(learning_rate=1e-3, epochs=1, groups_per_batch=2, tokens_per_pass=64)


def forbid_pickles(folder: Path) -> None:
    """Have every unpickling write a file and raise an error."""

    def refuse(*arguments: Any, **named: Any) -> None:
        (folder / "unpickled").touch()
        raise RuntimeError("something is unpickled")

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "pickle.find_class":
            refuse()

    sys.addaudithook(look)
    for name in "load", "loads", "Unpickler", "_Unpickler":
        setattr(pickle, name, refuse)
    for name in "_unpickler", "_tensor_to_object":
        setattr(torch.distributed.distributed_c10d, name, refuse)


def wait_for(file: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while not file.exists():
        assert time.monotonic() < end, f"nobody makes {file}"
        time.sleep(0.05)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    forbid_pickles(folder)
    with join_team({"rate": "1"}) as rank:
        (folder / f"process-{rank}").write_text(str(os.getpid()))
        if rank:
            follow()
            return
        seat = find_seat()
        (folder / "place").write_text("" if seat is None else str(seat.folder))
        learner = make_shared(GENESIS, CONFIG, None, "cpu")
        for step in range(2):
            learner.learn(make_groups())
            learner.update(make_examples(), Imitation(), 1e-3)
            learner.save_state(folder / "state.safetensors")
            learner.load_state(folder / "state.safetensors")
            (folder / f"ready-{step}").touch()
            wait_for(folder / f"go-{step}")
        (folder / "learned").touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
