"""A team of two, one of which is out of memory within a request, while the other waits for its part
of a tensor. The first one tries everything again, as a neuron does.

It is each process of the team: `python -m tests.training.failing_process FOLDER RANK
make|save|load`.
"""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from assay.training import GENESIS, LearnConfig, Learner, sharding, team
from assay.training.team import follow, join_team, make_shared


def fail_in(name: str) -> None:
    """Have this process fail in a function of `sharding` before it takes part."""

    def fail(*arguments: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    setattr(sharding, name, fail)


def main(folder: Path, failing: str, where: str) -> None:
    torch.set_num_threads(1)
    team._PATIENCE = timedelta(seconds=60)  # noqa: SLF001 - what waits longer has hung
    file = folder / "state.safetensors"
    with join_team() as rank:
        fails = str(rank) == failing
        if fails and where == "make":
            fail_in("_hand_out")
        if rank:
            if fails and where != "make":
                make = team._make

                def make_and_fail(plan: Any, kind: type[Learner] = Learner) -> Learner:
                    made = make(plan, kind)
                    fail_in("_hand_out" if where == "load" else "gather")
                    return made

                team._make = make_and_fail
            follow()
            return
        for _ in range(2):
            try:
                learner = make_shared(GENESIS, LearnConfig(), None, "cpu")
                if where == "load":
                    learner.save_state(file)
                if fails and where != "make":
                    fail_in("_hand_out" if where == "load" else "gather")
                learner.load_state(file) if where == "load" else learner.save_state(file)
            except Exception:  # noqa: BLE001 - as the outermost loop of a neuron
                (folder / "retried").touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
