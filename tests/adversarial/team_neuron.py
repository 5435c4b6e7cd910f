"""Run by two processes under torchrun: the first learns through `make_learner`, as the trainer
does; the other follows."""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from assay.inference import load_checkpoint
from assay.neurons.trainer.team import SharedLearner, follow, join_team
from assay.neurons.trainer.trainer_setup import make_learner
from assay.training import GENESIS, Group, LearnConfig, LossConfig

CONFIG = LearnConfig(
    epochs=1, learning_rate=1e-3, from_genesis=True, loss=LossConfig(kl_weight=0.1), seed=2
)


def make_groups():
    rows = [[10, 11, 12, 1], [13, 1], [14, 15, 1], [16, 17, 18, 1]]
    logprobs = [[-2.0] * len(row) for row in rows]
    return [Group([20 + i, 21], rows, [1_000_000, 0, 0, 500_000], logprobs) for i in range(2)]


def learn_twice():
    """One lesson, a restart from its state, another lesson."""
    parent = load_checkpoint(GENESIS)
    learner = make_learner(parent, CONFIG, lambda: parent)
    learner.learn(make_groups())
    state = learner.export_state()
    learner = make_learner(parent, CONFIG, lambda: parent)
    learner.import_state(state)
    stats = learner.learn(make_groups())
    return learner, stats


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    with join_team() as rank:
        if rank:
            follow()
            (folder / "followed").touch()
            return
        learner, stats = learn_twice()
        assert isinstance(learner, SharedLearner)
        save_file(learner.bf16_state(), folder / "published.safetensors")
        (folder / "stats.json").write_text(json.dumps([stats.tokens, stats.loss, stats.mean_kl]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
