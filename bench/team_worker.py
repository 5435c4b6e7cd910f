"""One process of a learner's team, or a single one; prints its seconds and its memory as JSON.

python bench/team_worker.py FOLDER THREADS STEPS
"""

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from assay.inference.model_loading import load_model, outline_config
from assay.training import Group, LearnConfig, Learner
from assay.training.sharding import get_team, is_in_team
from assay.training.team import follow, join_team


def read_memory() -> int:
    """Bytes of this process's own memory, without mapped files."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) << 10


@contextmanager
def watch_memory() -> Iterator[list[int]]:
    """Look at this process's memory every millisecond, because Linux keeps no peak of it."""
    seen, ended = [read_memory()], threading.Event()

    def look() -> None:
        while not ended.wait(0.001):
            seen.append(read_memory())

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()
        seen.append(read_memory())


def main(folder: Path, threads: int, steps: int) -> None:
    groups = [Group(**group) for group in json.loads((folder / "groups.json").read_text())]
    with join_team() as rank:
        torch.set_num_threads(threads)
        config = LearnConfig(epochs=1)
        with watch_memory() as seen:
            if not is_in_team():
                learner = Learner(load_model(folder).requires_grad_(True), config)
            else:
                learner = Learner(outline_config((folder / "config.json").read_bytes()), config)
                learner.load_weights(folder, None)
        peak, kept = max(seen) - seen[0], seen[-1] - seen[0]
        learner.learn(groups[:1])
        taken = []
        for _ in range(steps):
            began = time.perf_counter()
            learner.learn(groups)
            taken.append(time.perf_counter() - began)
        found = {"seconds": min(taken), "kept_bytes": kept, "peak_bytes": peak}
        (folder / f"{get_team()[1]}-{threads}-{rank}.json").write_text(json.dumps(found))
        if rank:
            follow()  # the first process ends them


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
