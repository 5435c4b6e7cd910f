"""Run by two processes under torchrun: learns, is resumed, and writes the results."""

import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from assay.inference.low_rank import Adapter, encode_adapter
from assay.protocol.episode import Reply
from assay.training import Group, LearnConfig, Learner, policy
from assay.training.genesis_model import make_model
from assay.training.imitation import Example
from assay.training.objectives import Imitation, Preference
from assay.training.preferences import Pair

CONFIG = LearnConfig(
    learning_rate=1e-3,
    epochs=2,
    groups_per_batch=2,
    tokens_per_pass=10,
    recompute=True,
    sft_weight=0.5,
    sft_batch=3,
    seed=3,
)


def make_learner(rank: int = 0, offload: bool = False) -> Learner:
    """With LoRA where a rank is given: its factors take larger steps. Examples are imitated
    beside."""
    config = replace(CONFIG, offload=offload)
    if rank:
        config = replace(config, lora_rank=rank, learning_rate=1e-2)
    model = make_model(hidden=16, layers=2, heads=2, inner=16, seed=0)
    return Learner(model, config, examples=make_examples())


def make_groups() -> list[Group]:
    """Four rows a group and three a pass: one process is without a row of its own at times."""
    return [
        Group(
            [10 + i, 11],
            [[5, 5, 1], [6, 7, 8, 1], [9, 1], [5, 1]],
            [1_000_000, 0, 200_000, 7],
            [[-4.5] * 3, [-4.6] * 4, [-4.4] * 2, [-4.5] * 2],
        )
        for i in range(3)
    ]


def make_examples() -> list[Example]:
    """Three rows: one process is without a row of its own at the end."""
    return [Example([10 + i, 11], [5, 6 + i, 7, 1], [Reply(2, (20, 21))]) for i in range(3)]


def make_pairs() -> list[Pair]:
    """Answers of two lengths, which two processes read."""
    return [Pair(one, Example(one.prompt, [9, 1]), 0.5) for one in make_examples()]


def main(folder: Path, rank: int, offload: bool) -> None:
    torch.set_num_threads(1)
    policy.LOGITS_MAX = 1  # one that is alone computes whole logits
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    learner = make_learner(rank, offload)
    first = learner.learn(make_groups())
    learner.save_state(folder / "state.safetensors")  # all take part
    dist.barrier()
    name = "up_proj.base_layer.weight" if rank else "up_proj.weight"
    whole = next(w for n, w in learner.model.named_parameters() if n.endswith(name))
    assert whole.to_local().numel() * 2 == whole.numel()  # type: ignore[attr-defined]
    learner.learn(make_groups())
    resumed = make_learner(rank, offload)
    resumed.load_state(folder / "state.safetensors")
    resumed.learn(make_groups())
    for one in (learner, resumed):
        one.update(make_examples(), Imitation(), 1e-3)
        one.update(make_pairs(), Preference(0.5), 1e-3)
    loss, _ = learner.measure(make_examples(), Imitation())
    states = dict(learner.export_state()), dict(resumed.export_state())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    published, factors = learner.bf16_state(), learner.export_factors()
    if dist.get_rank() == 0:
        save_file(states[0], folder / "end.safetensors")
        save_file(published, folder / "published.safetensors")
        (folder / "adapter").write_bytes(encode_adapter(Adapter(bytes(32), factors)))
        (folder / "tokens").write_text(f"{first.tokens} {first.updates}")
        (folder / "loss").write_text(repr(loss))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "offload")
