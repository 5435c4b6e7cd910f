"""One trainer of a round, on one thread: learns from its share of each window in turn, writes its
child unless it is alone, and leaves its seconds in a file.

python bench/rounds_worker.py FOLDER TRAINERS
"""

import json
import sys
from pathlib import Path
from time import perf_counter

import torch

from assay.inference.checkpoint import load_checkpoint
from assay.inference.model_loading import read_tensors
from assay.rounds.outer_step import begin_outer
from assay.rounds.wire import DifferenceForm, encode_difference
from assay.training import GENESIS, Group, LearnConfig, Learner, pick_masters


def main(folder: Path, trainers: int) -> None:
    torch.set_num_threads(1)
    windows = [
        [Group(**group) for group in window]
        for window in json.loads((folder / "windows.json").read_text())
    ]
    learner = Learner(load_checkpoint(GENESIS).load_trainable(), LearnConfig())
    parent = begin_outer(read_tensors(GENESIS / "model.safetensors")).masters
    pieces: list[bytes] = []
    began = perf_counter()
    for window in filter(None, windows):
        learner.learn(window)
    if trainers > 1:
        child = pick_masters(dict(learner.export_state()))
        pieces, _ = encode_difference(parent, child, DifferenceForm(), {})
    (folder / "seconds.json").write_text(json.dumps(perf_counter() - began))
    for number, piece in enumerate(pieces):
        (folder / f"{number:04}.piece").write_bytes(piece)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
