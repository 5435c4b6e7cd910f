"""The learner: accepted groups in, a better model out.

It does not know who judged the groups, where checkpoints are published, or which window it is. It
holds fp32 master weights and the optimiser's moments; what it publishes is their rounding to bf16,
and rounding never feeds back into the masters. Deterministic: the same model, groups, configuration
and number of threads give the same weights bit for bit on the same machine.

With a LoRA rank the masters stay as they were and small factors beside them learn (Hu et al.,
2021); what is published is their sum, rounded.

In a team of processes (`sharding`) all make the same calls with the same groups, and each learns
from its share of the rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from assay.training.grpo import Loss, LossConfig, compute_advantages, compute_loss
from assay.training.lora import add_factors, merge_factors
from assay.training.sharding import add_up, gather, get_team, shard, spread


@dataclass(frozen=True, slots=True)
class Group:
    """One problem's rollouts, as the trainer judged and scored them itself.

    `prompt` and each completion are token ids (the end token included where there is one), rewards
    are millionths, `behaviour_logprobs` natural logarithms, one a completion token, under the
    checkpoint that sampled.
    """

    prompt: list[int]
    completions: list[list[int]]
    rewards: list[int]
    behaviour_logprobs: list[list[float]]

    def __post_init__(self) -> None:
        sizes = {len(self.completions), len(self.rewards), len(self.behaviour_logprobs)}
        if len(sizes) != 1 or not self.completions or not self.prompt:
            raise ValueError("a group needs a prompt and as many rewards as completions")
        pairs = zip(self.completions, self.behaviour_logprobs, strict=True)
        if any(not tokens or len(tokens) != len(logprobs) for tokens, logprobs in pairs):
            raise ValueError("a completion needs at least one token and a logprob for each")


@dataclass(frozen=True, slots=True)
class LearnConfig:
    """Settings of the learner; the defaults were chosen by experiment on the demo's model.

    Attributes:
        rows_per_pass: completions a forward pass holds; gradients of the passes of a minibatch are
            summed, so that it costs memory and never changes what is learned beyond rounding.
            0: all of a minibatch.
        scaled: divide advantages by their group's standard deviation.
        from_genesis: the divergence is from the network's first checkpoint, which the caller hands
            to the learner; else from whoever sampled.
        lora_rank: of the factors that learn in place of all weights; 0: all weights.
        seed: of the order in which groups are taken, and of LoRA's first factors.
        excluded: ids without a tokenizer entry, which can never be drawn: log-probabilities leave
            them out.
    """

    learning_rate: float = 5e-5
    epochs: int = 4
    groups_per_batch: int = 8
    rows_per_pass: int = 0
    loss: LossConfig = field(default_factory=LossConfig)
    scaled: bool = False
    max_gradient: float = 1.0
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    from_genesis: bool = False
    lora_rank: int = 0
    seed: int = 0
    excluded: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LearnStats:
    """What one call of `learn` did; means run over tokens of all minibatches unless said."""

    groups: int
    dropped: int
    updates: int
    tokens: int
    mean_reward: float
    loss: float
    mean_ratio: float
    clipped_share: float
    mean_kl: float
    gradient_norm: float


@dataclass(frozen=True, slots=True)
class _Row:
    prompt: list[int]
    completion: list[int]
    behaviour: list[float]
    advantage: float


class Learner:
    """fp32 master weights, AdamW's moments, and one method that matters."""

    def __init__(
        self, model: nn.Module, config: LearnConfig, reference: nn.Module | None = None
    ) -> None:
        """Take over `model`: called with `input_ids`, it returns an object with `.logits`.

        Its weights are upcast to fp32 in place; dropout is never switched on.

        Args:
            reference: what the divergence is from, where the settings want one; never changed.

        Raises:
            ValueError: the settings want a reference and there is none.
            MissingPeftError: a LoRA rank is set and peft is not installed.
        """
        if config.from_genesis and config.loss.kl_weight and reference is None:
            raise ValueError("the divergence is from the first checkpoint, which is not given")
        model = model.to(torch.float32).eval()
        if config.lora_rank:
            model = add_factors(model, config.lora_rank, config.seed)
        shard(model)
        self.model = model
        self.config = config
        self.step = 0
        self._reference = reference if config.from_genesis and config.loss.kl_weight else None
        self._optimizer = torch.optim.AdamW(
            [weight for weight in self.model.parameters() if weight.requires_grad],
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
        )

    def learn(self, groups: Sequence[Group]) -> LearnStats:
        """Several passes over `groups` in minibatches; the model is unchanged if none can teach.

        Raises:
            ValueError: there are no groups.
        """
        if not groups:
            raise ValueError("there is nothing to learn from: no groups")
        scaled = self.config.scaled
        teaching = [rows for group in groups if (rows := _make_rows(group, scaled)) is not None]
        whole = self.config.loss.level == "sequence"
        counted = sum(1 if whole else len(row.completion) for rows in teaching for row in rows)
        scale = counted * min(1.0, self.config.groups_per_batch / max(1, len(teaching)))
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        losses: list[Loss] = []
        norms: list[float] = []
        for _ in range(self.config.epochs):
            order = torch.randperm(len(teaching), generator=generator).tolist()
            for start in range(0, len(order), self.config.groups_per_batch):
                chosen = order[start : start + self.config.groups_per_batch]
                parts, norm = self._update([row for i in chosen for row in teaching[i]], scale)
                losses += parts
                norms.append(norm)
        self.step += 1
        return _summarise(groups, len(groups) - len(teaching), losses, norms)

    def bf16_state(self) -> dict[str, Tensor]:
        """The weights as published: contiguous bf16 copies, rounded to nearest even, by name."""
        weights = merge_factors(self.model) if self.config.lora_rank else self.model.state_dict()
        return {
            name: gather(weight.detach()).to(torch.bfloat16).contiguous().clone()
            for name, weight in weights.items()
        }

    def export_state(self) -> dict[str, Tensor]:
        """Masters, moments and counters as copied tensors: what a restart or a digest needs."""
        state = {
            f"master.{n}": gather(w.detach()).clone() for n, w in self.model.state_dict().items()
        }
        for index, moments in self._optimizer.state_dict()["state"].items():
            state |= {
                f"adam.{index}.{name}": gather(t.detach()).clone() for name, t in moments.items()
            }
        return state | {"step": torch.tensor(self.step)}

    def import_state(self, state: dict[str, Tensor]) -> None:
        """Continue exactly where `export_state` was called.

        Raises:
            KeyError: the step is missing.
            IndexError: moments of a weight that there is not.
            RuntimeError: the masters are another model's.
        """
        prefix = "master."
        masters = {n.removeprefix(prefix): w for n, w in state.items() if n.startswith(prefix)}
        here = self.model.state_dict()
        self.model.load_state_dict(
            {n: spread(w, here[n]) if n in here else w for n, w in masters.items()}
        )
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in state.items():
            if name.startswith("adam."):
                _, index, moment = name.split(".")
                like = self._optimizer.param_groups[0]["params"][int(index)]
                moments.setdefault(int(index), {})[moment] = spread(tensor.clone(), like)
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": moments})
        self.step = int(state["step"])

    def _update(self, rows: Sequence[_Row], scale: float) -> tuple[list[Loss], float]:
        self._optimizer.zero_grad()
        losses = []
        size = self.config.rows_per_pass or len(rows)
        _, team = get_team()
        for start in range(0, len(rows), size):
            # gradients are averaged over the team, and losses are sums
            loss = self._measure(rows[start : start + size], scale / team)
            loss.value.backward()
            losses.append(_add_up(loss))
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_gradient)
        self._optimizer.step()
        return losses, float(gather(norm))

    def _measure(self, rows: Sequence[_Row], scale: float) -> Loss:
        rank, team = get_team()
        own = rows[rank::team] or rows[:1]  # everybody takes part in every pass
        ids, mask, behaviour = _pad(own)
        if rank >= len(rows):
            mask = torch.zeros_like(mask)
        reference = None
        if self._reference is not None:
            with torch.no_grad():
                reference = self._compute_logprobs(self._reference, ids)
        logprobs = self._compute_logprobs(self.model, ids)
        advantages = torch.tensor([row.advantage for row in own])
        return compute_loss(
            logprobs, behaviour, advantages, mask, scale, self.config.loss, reference
        )

    def _compute_logprobs(self, model: nn.Module, ids: Tensor) -> Tensor:
        """fp32 [rows, n - 1]: of each id but the first, given those before it."""
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits.float()
        if self.config.excluded:
            logits[..., list(self.config.excluded)] = -torch.inf
        return logits.log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)


def _add_up(loss: Loss) -> Loss:
    """The team's loss, without its graph."""
    _, team = get_team()
    value, *sums = add_up(
        [loss.value.item() / team, loss.tokens, loss.clipped, loss.ratio_sum, loss.kl_sum]
    )
    return Loss(torch.tensor(value), int(sums[0]), int(sums[1]), sums[2], sums[3])


def _make_rows(group: Group, scaled: bool) -> list[_Row] | None:
    advantages = compute_advantages(group.rewards, scaled=scaled)
    if advantages is None:
        return None
    parts = zip(group.completions, group.behaviour_logprobs, advantages, strict=True)
    return [_Row(group.prompt, completion, old, gain) for completion, old, gain in parts]


def _pad(rows: Sequence[_Row]) -> tuple[Tensor, Tensor, Tensor]:
    """Right-padded ids [rows, n], and mask and behaviour [rows, n - 1] at predicted tokens."""
    longest = max(len(row.prompt) + len(row.completion) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest - 1, dtype=torch.bool)
    behaviour = torch.zeros(len(rows), longest - 1)
    for i, row in enumerate(rows):
        start, end = len(row.prompt), len(row.prompt) + len(row.completion)
        ids[i, :end] = torch.tensor(row.prompt + row.completion)
        mask[i, start - 1 : end - 1] = True
        behaviour[i, start - 1 : end - 1] = torch.tensor(row.behaviour)
    return ids, mask, behaviour


def _summarise(
    groups: Sequence[Group], dropped: int, losses: Sequence[Loss], norms: Sequence[float]
) -> LearnStats:
    rewards = [reward for group in groups for reward in group.rewards]
    tokens = sum(loss.tokens for loss in losses)
    return LearnStats(
        groups=len(groups),
        dropped=dropped,
        updates=len(norms),
        tokens=tokens,
        mean_reward=sum(rewards) / len(rewards) / 1_000_000,
        loss=sum(loss.value.item() for loss in losses) / max(1, len(norms)),
        mean_ratio=sum(loss.ratio_sum for loss in losses) / max(1, tokens),
        clipped_share=sum(loss.clipped for loss in losses) / max(1, tokens),
        mean_kl=sum(loss.kl_sum for loss in losses) / max(1, tokens),
        gradient_norm=sum(norms) / max(1, len(norms)),
    )
