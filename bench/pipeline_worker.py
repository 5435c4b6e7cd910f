"""One process of `pipeline.py`: a whole learner, the first or the last stage of one whose layers
are split, or one of two that learn apart and exchange their results.

    python bench/pipeline_worker.py FOLDER one|first|last|left|right PORT…

The stages are the product's learner, each with some of the layers: the same groups, order, packs,
loss and optimiser. The first stage sends its states to the last, in float32, and continues with the
next pack until gradients come back.
"""

import json
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from slow_link import Wire
from torch import Tensor, nn
from transformers import PreTrainedModel

from assay.artifacts.checkpoints.tensor_delta import apply_delta, make_delta
from assay.inference.model_loading import load_model
from assay.inference.packing import make_packing
from assay.inference.reading import Pack, make_even_packs
from assay.training import Group, LearnConfig, Learner
from assay.training.components import Loss
from assay.training.updates import Part, Updates

#: Most packs that the first stage has sent without gradients yet: it keeps their layers' states.
AHEAD = 4


@dataclass(frozen=True, slots=True)
class Task:
    """The work of all processes in a comparison.

    Attributes:
        split: number of layers in the first stage.
        steps: number of steps, measured one by one.
        inner: steps from one exchange to the next, of processes that learn apart.
        rounds: number of such exchanges.
    """

    split: int
    tokens_per_pass: int
    steps: int
    inner: int
    rounds: int

    @property
    def learning(self) -> LearnConfig:
        return LearnConfig(
            learning_rate=1e-6,
            epochs=1,
            groups_per_batch=1_000,
            tokens_per_pass=self.tokens_per_pass,
        )


class Keeping(Learner):
    """A learner that keeps the clipped gradients of its first step, for comparison with those of
    stages."""

    gradients: dict[str, Tensor] | None = None

    def __init__(self, model: PreTrainedModel, config: LearnConfig) -> None:
        super().__init__(model, config)
        self._plain: Updates = self._updates
        self._updates: Any = self  # whose updates are made here

    def keep_gradients(self) -> None:
        if self.gradients is None:
            named = self.model.named_parameters()
            self.gradients = {n: w.grad.clone() for n, w in named if w.grad is not None}

    def make(self, parts: Sequence[Part[Any]]) -> tuple[list[list[Loss]], float]:
        """See `Updates.make`."""
        found = self._plain.make(parts)
        self.keep_gradients()
        return found


class Stage(Keeping):
    """Some of a learner's layers. A step needs both stages, which talk over `wire`."""

    wire: Wire

    def __init__(self, model: PreTrainedModel, config: LearnConfig) -> None:
        super().__init__(model, config)
        self._read = 0  # tokens, prompts included

    def count(self) -> dict[str, float]:
        return self.wire.count() | {"tokens": self._read}

    def make_packs(self, rows: Sequence[Any]) -> list[Pack]:
        """The packs that an unsplit learner makes."""
        prompts, completions = [row.prompt for row in rows], [row.completion for row in rows]
        packs = make_even_packs(prompts, completions, self.config.tokens_per_pass, 1)
        self._read += sum(len(pack.tokens) for pack in packs)
        return packs

    def end_step(self) -> float:
        """Clip by the norm over both stages, and update. Returns that norm."""
        weights = list(self.model.parameters())
        own = nn.utils.get_total_norm([w.grad for w in weights if w.grad is not None])
        self.wire.send(pack_tensor(own.square().reshape(1)))
        squares = own.square() + read_tensor(self.wire.receive())
        norm = squares.sqrt().reshape(())
        nn.utils.clip_grads_with_norm_(weights, self.config.max_gradient, norm)
        self.keep_gradients()
        self._weights.optimizer.step()
        return norm.item()


class FirstStage(Stage):
    """Embeddings and the first layers."""

    def make(self, parts: Sequence[Part[Any]]) -> tuple[list[list[Loss]], float]:
        self._weights.optimizer.zero_grad()
        waiting: deque[Tensor] = deque()
        for pack in self.make_packs(parts[0].rows):
            states = self._compute(pack)
            self.wire.send(pack_tensor(states))
            waiting.append(states)
            while waiting and (back := self.wire.receive(wait=len(waiting) >= AHEAD)) is not None:
                given = waiting.popleft()
                given.backward(read_tensor(back).reshape(given.shape))
        for states in waiting:
            states.backward(read_tensor(self.wire.receive()).reshape(states.shape))
        return [[]], self.end_step()

    def _compute(self, pack: Pack) -> Tensor:
        """States [1, N, H] of the whole row, after the last of these layers."""
        model: Any = self.model
        packing = make_packing(pack.lengths)
        states: Tensor = model.model(
            torch.tensor([pack.tokens]),
            position_ids=packing.make_positions(torch.device("cpu")),
            packing=packing,
            use_cache=False,
        ).last_hidden_state
        return states


class Received(nn.Module):
    """The tensor from the other stage, in the place of embeddings."""

    states: Tensor

    def forward(self, ids: Tensor) -> Tensor:
        return self.states


class LastStage(Stage):
    """The other layers, the head and the loss."""

    def make(self, parts: Sequence[Part[Any]]) -> tuple[list[list[Loss]], float]:
        model: Any = self.model
        self._weights.optimizer.zero_grad()
        (part,), losses = parts, []
        for pack in self.make_packs(part.rows):
            states = read_tensor(self.wire.receive()).reshape(1, len(pack.tokens), -1)
            model.model.embed_tokens.states = states.requires_grad_(True)
            chosen = [part.rows[i] for i in pack.indices]
            read = self._passes._read_pack(pack, chosen, counts=True, with_reference=False)
            loss = part.objective.compute_loss(read, part.scale)
            loss.value.backward()
            assert states.grad is not None
            self.wire.send(pack_tensor(states.grad))
            losses.append(loss)
        return [losses], self.end_step()


STAGES: dict[str, type[Stage]] = {"first": FirstStage, "last": LastStage}
SIDES = "left", "right"


def pack_tensor(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().numpy().tobytes()


def read_tensor(data: bytes | None) -> Tensor:
    """The message as a flat float32 tensor."""
    assert data is not None
    return torch.from_numpy(np.frombuffer(data, np.float32).copy())


def cut(model: Any, role: str, split: int) -> Any:
    """The model with only a stage's part."""
    layers = model.model.layers
    if role == "first":
        model.model.layers = layers[:split]
        model.model.norm, model.lm_head = nn.Identity(), nn.Identity()
    else:
        model.model.layers = layers[split:]
        model.model.embed_tokens = Received()
    return model


class Apart:
    """One of two processes that learn from half of all groups each, and exchange differences after
    some steps: an outer step of rate 1 without momentum, whose arithmetic is a sum."""

    def __init__(self, learner: Learner, task: Task, wire: Wire, whole: bool) -> None:
        """Args: whole: exchange float32 differences, not lossless ones of bf16."""
        self.learner, self.task, self.wire, self.whole = learner, task, wire, whole

    def run_round(self, groups: Sequence[Group]) -> None:
        weights = {name: weight.detach() for name, weight in self.learner.model.named_parameters()}
        parents = {name: weight.clone() for name, weight in weights.items()}
        for _ in range(self.task.inner):
            self.learner.learn(groups)
        for name, child in weights.items():
            self.wire.send(self._encode(parents[name], child))
        for name, child in weights.items():
            other = self._decode(parents[name], self.wire.receive())
            child.copy_((child + other) / 2)

    def _encode(self, parent: Tensor, child: Tensor) -> bytes:
        if self.whole:
            return pack_tensor(child - parent)
        before, after = (memoryview(as_bf16(tensor)) for tensor in (parent, child))
        delta = make_delta(before, after, 2 * len(after))
        assert delta is not None
        return delta

    def _decode(self, parent: Tensor, data: bytes | None) -> Tensor:
        assert data is not None
        if self.whole:
            return parent + read_tensor(data).reshape(parent.shape)
        before = as_bf16(parent)
        made = b"".join(apply_delta(len(before), BytesIO(before).read, BytesIO(data).read))
        bits = torch.from_numpy(np.frombuffer(made, np.int16).copy())
        return bits.view(torch.bfloat16).float().reshape(parent.shape)


def as_bf16(tensor: Tensor) -> bytes:
    return tensor.bfloat16().contiguous().view(torch.int16).numpy().tobytes()


def measure(
    run: Callable[[], object], steps: int, count: Callable[[], dict[str, float]]
) -> list[dict[str, float]]:
    """For each step its seconds, its processor seconds, and the counts during it."""
    found = []
    for _ in range(steps):
        before, began, used = count(), perf_counter(), process_time()
        run()
        times = {"seconds": perf_counter() - began, "processor": process_time() - used}
        found.append({name: n - before[name] for name, n in count().items()} | times)
    return found


def play(folder: Path, role: str, ports: Sequence[int]) -> list[list[dict[str, float]]]:
    """The steps of each link at one of these ports."""
    task = Task(**json.loads((folder / "task.json").read_text()))
    groups = [Group(**group) for group in json.loads((folder / "groups.json").read_text())]
    model = load_model(folder / "model").requires_grad_(True)
    if role == "one":
        learner = Keeping(model, task.learning)
        learner.learn(groups)
        save_gradients(learner, folder, role)
        return [measure(lambda: learner.learn(groups), task.steps, dict)]
    if role in SIDES:
        return list(learn_apart(Keeping(model, task.learning), task, groups, role, ports))
    stage = STAGES[role](cut(model, role, task.split), task.learning)
    phases = []
    for port in ports:
        stage.wire = Wire(port)
        if not phases:
            stage.learn(groups)
            save_gradients(stage, folder, role)
        steps = 1 if port == ports[-1] else task.steps  # the last link is slow
        phases.append(measure(lambda: stage.learn(groups), steps, stage.count))
        stage.wire.close()
    return phases


def learn_apart(
    learner: Keeping, task: Task, groups: Sequence[Group], role: str, ports: Sequence[int]
) -> Iterator[list[dict[str, float]]]:
    """Rounds over each link: the first link exchanges deltas, the second whole differences."""
    half = len(groups) // 2
    own = groups[:half] if role == SIDES[0] else groups[half:]
    learner.learn(own[:1])  # fills caches
    for whole, port in zip((False, True), ports, strict=True):
        wire = Wire(port)
        apart = Apart(learner, task, wire, whole)
        wire.send(b"")
        wire.receive()  # both begin now
        yield measure(lambda: apart.run_round(own), task.rounds, wire.count)  # noqa: B023 - at once
        wire.close()


def save_gradients(learner: Keeping, folder: Path, role: str) -> None:
    save_file(learner.gradients or {}, folder / f"{role}.safetensors")


def main() -> None:
    torch.set_num_threads(1)
    folder, role = Path(sys.argv[1]), sys.argv[2]
    found = play(folder, role, [int(port) for port in sys.argv[3:]])
    (folder / f"{role}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
