"""A trainer of several processes: the first is the neuron, the others learn with it.

    torchrun --nproc-per-node 2 -m assay.cli train …

The first speaks to chain and store, judges and publishes; whatever it asks of its learner, it asks
of all, in the same order, so that each holds its part of weights, gradients and moments
(`assay.training.sharding`). If one ends, torchrun ends all, and the next start goes on from the
trainer's folder.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from assay.inference import load_checkpoint
from assay.training import Group, LearnConfig, Learner, LearnStats
from assay.training.sharding import get_team

#: How long a process waits for what the first does next: windows without a lesson are no fault.
_PATIENCE = timedelta(days=7)


@contextmanager
def join_team() -> Iterator[int]:
    """This process's rank: 0 for the neuron, and where nobody called torchrun."""
    if not dist.is_torchelastic_launched():
        yield 0
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield dist.get_rank()
        _ask("end")
    finally:
        dist.destroy_process_group()


def follow() -> None:
    """What all processes but the first do: what it asks, until it ends."""
    learner: Learner | None = None
    while True:
        asked: list[tuple[str, tuple[object, ...]] | None] = [None]
        dist.broadcast_object_list(asked, src=0)
        assert asked[0] is not None
        name, arguments = asked[0]
        if name == "end":
            return
        if name == "make":
            learner = _make(*arguments)  # type: ignore[arg-type] # as `make_shared` sends them
            continue
        # the first goes on with a new learner where a state is another model's
        harmless = (LookupError, RuntimeError, ValueError) if name == "import_state" else ()
        with suppress(*harmless):
            getattr(learner, name)(*arguments)


class SharedLearner(Learner):
    """The first process's learner, which has all others do as it does."""

    def learn(self, groups: Sequence[Group]) -> LearnStats:
        """See `Learner.learn`."""
        _ask("learn", list(groups))
        return super().learn(groups)

    def bf16_state(self) -> dict[str, Tensor]:
        """See `Learner.bf16_state`."""
        _ask("bf16_state")
        return super().bf16_state()

    def export_state(self) -> dict[str, Tensor]:
        """See `Learner.export_state`."""
        _ask("export_state")
        return super().export_state()

    def import_state(self, state: dict[str, Tensor]) -> None:
        """See `Learner.import_state`."""
        _ask("import_state", state)
        super().import_state(state)


def make_shared(parent: Path, config: LearnConfig, reference: Path | None, device: str) -> Learner:
    """A learner that begins with a checkpoint's weights, in every process of the team.

    Args:
        parent, reference: folders of checkpoints, which all processes see.
        device: of the first process. Where it is a card, each process takes one of its own.
    """
    _ask("make", parent, config, reference, device)
    return _make(parent, config, reference, device, SharedLearner)


def _make(
    parent: Path,
    config: LearnConfig,
    reference: Path | None,
    device: str,
    kind: type[Learner] = Learner,
) -> Learner:
    first = None if reference is None else load_checkpoint(reference).model
    if device.startswith("cuda"):
        device = f"cuda:{dist.get_node_local_rank()}"
        torch.cuda.set_device(device)
    return kind(load_checkpoint(parent).load_trainable(), config, first, device)


def _ask(name: str, *arguments: object) -> None:
    if get_team()[1] > 1 and get_team()[0] == 0:
        dist.broadcast_object_list([(name, arguments)], src=0)
