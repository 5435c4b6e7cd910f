"""One trainer of a round, on one thread: learns from its share of each window in turn, and leaves
its state and its seconds.

python bench/rounds_worker.py FOLDER CHECKPOINT SEED
"""

import json
import sys
from pathlib import Path
from time import perf_counter

import torch

from assay.inference import read_tensors
from assay.inference.model_loading import load_model
from assay.training import Group, LearnConfig, Learner


def main(folder: Path, checkpoint: Path, seed: int) -> None:
    torch.set_num_threads(1)
    windows = json.loads((folder / "windows.json").read_text())
    learner = Learner(load_model(checkpoint).requires_grad_(True), LearnConfig(seed=seed))
    begin, state = torch.load(folder / "begin.pt"), folder / "state.safetensors"
    kept = dict(learner.export_state())
    if state.exists():  # its own moments stay from round to round
        kept |= {n: t for n, t in read_tensors(state).items() if not n.startswith("master.")}
    learner.import_state(kept | begin)
    began = perf_counter()
    for window in windows:
        if window:
            learner.learn([Group(**group) for group in window])
    (folder / "seconds.json").write_text(json.dumps(perf_counter() - began))
    learner.save_state(state)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
