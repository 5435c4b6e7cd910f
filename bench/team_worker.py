"""One process of a learner's team, or one alone; prints its seconds and its memory as JSON.

python bench/team_worker.py FOLDER THREADS STEPS
"""

import json
import resource
import sys
import time
from pathlib import Path

import torch

from assay.inference.model_loading import load_model, outline_model
from assay.training import Group, LearnConfig, Learner
from assay.training.sharding import get_team, is_in_team
from assay.training.team import join_team


def main(folder: Path, threads: int, steps: int) -> None:
    groups = [Group(**group) for group in json.loads((folder / "groups.json").read_text())]
    with join_team() as rank:
        torch.set_num_threads(threads)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        config = LearnConfig(epochs=1, groups_per_batch=len(groups), tokens_per_pass=4_096)
        if not is_in_team():
            learner = Learner(load_model(folder).requires_grad_(True), config)
        else:
            learner = Learner(outline_model(folder), config)
            learner.load_weights(folder, None)
        loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        learner.learn(groups[:1])
        taken = []
        for _ in range(steps):
            began = time.perf_counter()
            learner.learn(groups)
            taken.append(time.perf_counter() - began)
        found = {"seconds": min(taken), "loading_bytes": (loaded - before) << 10}
        (folder / f"{get_team()[1]}-{threads}-{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
