"""A step as this project has made it since its records name losses, in one function and plain
formulas: what every kept step must give again, to the bit, on any processor.

It shares with the learner what computes on this machine (packs, the policy, factors, torch's
AdamW), and none of its components: neither its order of updates, nor a loss, nor a scale.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from assay.inference.implementations import make_packing_twin
from assay.inference.reading import make_even_packs
from assay.training.lora import add_factors, draw_factors
from assay.training.policy import Policy

#: A row: prompt, completion, replies, weight, log-probabilities of the behaviour.
Row = tuple[list[int], list[int], list[Any], float, list[float]]


@dataclass
class PlainLearner:
    """Masters and moments of a model."""

    model: PreTrainedModel
    reference: PreTrainedModel | None = None
    rank: int = 0
    seed: int = 0
    tokens_per_pass: int = 64
    most: float = 1.0
    step: int = 0
    policy: Policy = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        whole: nn.Module = self.model.eval()
        whole.to(torch.float32)
        inner: nn.Module = make_packing_twin(self.model)
        if self.rank:
            inner = add_factors(inner, self.rank)
            draw_factors(inner, self.seed)
        self.policy = Policy(inner)
        first = self.reference
        self.first = None if first is None else Policy(make_packing_twin(first))
        learning = [weight for weight in inner.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(learning, betas=(0.9, 0.95), weight_decay=0.0)

    def list_weights(self) -> dict[str, Tensor]:
        """All weights by name."""
        return {n: w.detach().clone() for n, w in self.policy.inner.state_dict().items()}

    def read(self, rows: Sequence[Row]) -> list[tuple[list[int], Tensor, Tensor, Tensor | None]]:
        """Of each pack its rows, log-probabilities, mask, and the reference's log-probabilities."""
        found = []
        parts = [row[0] for row in rows], [row[1] for row in rows]
        packs = make_even_packs(*parts, self.tokens_per_pass, 1, [row[2] for row in rows])
        for pack in packs:
            lengths = [len(rows[i][1]) for i in pack.indices]
            tokens = torch.tensor([token for i in pack.indices for token in rows[i][1]])
            told = None
            if self.first is not None:
                with torch.no_grad():
                    told = pad_sequence(self.first(pack, tokens).split(lengths), True)
            logprobs = pad_sequence(self.policy(pack, tokens).split(lengths), True)
            mask = torch.arange(logprobs.shape[1]) < torch.tensor(lengths)[:, None]
            found.append((list(pack.indices), logprobs, mask, told))
        return found

    def update(self, parts: Sequence[tuple[Sequence[Row], Callable[..., Tensor], float]]) -> float:
        """One update with the losses of parts. Returns their sum."""
        self.optimizer.zero_grad()
        total = 0.0
        for rows, compute, scale in parts:
            for indices, logprobs, mask, told in self.read(rows):
                loss = compute([rows[i] for i in indices], logprobs, mask, told) / scale
                loss.backward()
                total += loss.item()
        nn.utils.clip_grad_norm_(self.policy.inner.parameters(), self.most)
        self.optimizer.step()
        return total

    def set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def learn(
        self,
        groups: Sequence[Any],
        loss: "PlainLoss",
        rate: float,
        epochs: int,
        batch: int,
        examples: Sequence[Any] = (),
        sft: tuple[float, int] = (0.0, 0),
    ) -> None:
        """A step of groups, with examples beside by a weight, some to each update."""
        made = []
        for group in groups:
            mean = sum(group.rewards) / len(group.rewards)
            if min(group.rewards) == max(group.rewards):
                continue
            count, total = len(group.rewards), sum(group.rewards)
            gains = [(r * count - total) / (count * 1_000_000) for r in group.rewards]
            assert abs(gains[0] - (group.rewards[0] - mean) / 1e6) < 1e-9
            parts = group.completions, group.replies, gains, group.behaviour_logprobs
            made.append([(group.prompt, *part) for part in zip(*parts, strict=True)])
        whole = loss.name == "gspo"
        counted = sum(1 if whole else len(row[1]) for rows in made for row in rows)
        scale = counted * min(1.0, batch / max(1, len(made)))
        updates = epochs * -(-len(made) // batch)
        weight, each = sft
        if weight:
            generator = torch.Generator().manual_seed((1 << 62) + self.seed * 1_000_003 + self.step)
            drawn = torch.randperm(len(examples), generator=generator)[: updates * each].tolist()
            beside = [write(examples[n]) for n in islice(cycle(drawn), updates * each)]
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        self.set_rate(rate)
        done = 0
        for _ in range(epochs):
            order = torch.randperm(len(made), generator=generator).tolist()
            for start in range(0, len(order), batch):
                rows = [row for i in order[start : start + batch] for row in made[i]]
                parts_: list[Any] = [(rows, loss.compute, scale)]
                if weight:
                    now = beside[done * each : (done + 1) * each]
                    tokens = sum(len(row[1]) for row in now)
                    parts_.append((now, sum_imitation, tokens / weight))
                self.update(parts_)
                done += 1
        self.step += 1

    def imitate(self, examples: Sequence[Any], rate: float) -> float:
        """A step of examples."""
        return self._take([write(one) for one in examples], sum_imitation, rate)

    def distill(self, examples: Sequence[Any], rate: float) -> float:
        """A step of what was drawn, from the reference."""
        return self._take([write(one) for one in examples], sum_distillation, rate)

    def prefer(self, pairs: Sequence[Any], rate: float, beta: float) -> float:
        """A step of pairs."""
        rows = [write(one) for pair in pairs for one in (pair.chosen, pair.rejected)]
        sums = [0.0] * len(rows)
        with torch.no_grad():
            for indices, logprobs, mask, _ in self.read(rows):
                for i, own, here in zip(indices, logprobs, mask, strict=True):
                    sums[i] = own[here].double().sum().item()
        weighed, tokens = [], sum(len(row[1]) for row in rows)
        for number, pair in enumerate(pairs):
            chosen, rejected = sums[2 * number : 2 * number + 2]
            value = -(beta * (chosen - rejected - pair.reference))
            small = torch.tensor(-abs(value), dtype=torch.float64).exp().item()
            slope = beta * ((1.0 if value >= 0 else small) / (1 + small)) / len(pairs)
            weighed += [(1 * slope * tokens), (-1 * slope * tokens)]
        rows = [(*row[:3], gain, []) for row, gain in zip(rows, weighed, strict=True)]
        return self._take(rows, sum_imitation, rate)

    def _take(self, rows: Sequence[Row], compute: Callable[..., Tensor], rate: float) -> float:
        self.set_rate(rate)
        self.step += 1
        return self.update([(rows, compute, sum(len(row[1]) for row in rows))])


def write(example: Any) -> Row:
    """A row that somebody else wrote."""
    return example.prompt, example.completion, example.replies, 1.0, []


def sum_imitation(rows: Sequence[Row], logprobs: Tensor, mask: Tensor, _: Any) -> Tensor:
    weights = torch.tensor([row[3] for row in rows])
    return -(torch.where(mask, logprobs, 0.0) * weights[:, None]).sum()


def sum_distillation(rows: Sequence[Row], logprobs: Tensor, mask: Tensor, told: Any) -> Tensor:
    gap = torch.where(mask, (logprobs - told).detach(), 0.0)
    moving = torch.where(mask, logprobs - logprobs.detach(), 0.0)
    return (gap + gap * moving).sum()


@dataclass
class PlainLoss:
    """The five losses by their flat bounds."""

    name: str
    low: float = 0.2
    high: float = 0.28
    cap: float = 4.0
    kl_weight: float = 0.0

    def compute(self, rows: Sequence[Row], logprobs: Tensor, mask: Tensor, told: Any) -> Tensor:
        behaviour = pad_sequence([torch.tensor(row[4]) for row in rows], True)
        gains = torch.tensor([row[3] for row in rows])[:, None]
        moved = torch.where(mask, logprobs - behaviour, 0.0)
        weight = mask.float()
        if self.name == "gspo":
            weight = weight / mask.sum(-1, keepdim=True)
            ratio = (moved * weight).sum(-1, keepdim=True).expand_as(moved)
        else:
            ratio = moved
        ratio = ratio.clamp(max=20.0).exp()
        gain = self._gain(ratio, gains, logprobs, behaviour)
        if self.kl_weight:
            gap = -moved if told is None else torch.where(mask, told - logprobs, 0.0)
            gap = gap.clamp(max=20.0)
            gain = gain - self.kl_weight * (gap.exp() - gap - 1)
        return -(torch.where(mask, gain, 0.0) * weight).sum()

    def _gain(self, ratio: Tensor, gains: Tensor, logprobs: Tensor, behaviour: Tensor) -> Tensor:
        low, high = 1 - self.low, 1 + self.high
        if self.name == "cispo":
            return ratio.detach().clamp(max=high) * gains * logprobs
        if self.name == "icepop":
            return torch.where((ratio < low) | (ratio > high), 0.0, ratio * gains)
        capped = ratio.clamp(max=self.cap) * gains
        if self.name == "dppo":
            change = (logprobs.exp() - behaviour.exp()).detach()
            out = torch.where(gains > 0, change > self.high, change < -self.low)
            return torch.where(out, 0.0, capped)
        if self.name in ("grpo", "gspo"):
            return torch.minimum(capped, ratio.clamp(low, high) * gains)
        raise NotImplementedError(f"{self.name} has no plain formula")
