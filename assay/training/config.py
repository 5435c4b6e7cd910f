"""The settings that a learner reads."""

from dataclasses import dataclass, field

from assay.training.grpo import Grpo, LossConfig, StaleWeight
from assay.training.optimizers import OptimizerName
from assay.training.policy import Precision
from assay.training.schedule import Schedule
from assay.training.stale import Anchor


@dataclass(frozen=True, slots=True)
class LearnConfig:
    """Settings of the learner; the defaults were chosen by experiment on the demo's model.

    Attributes:
        tokens_per_pass: tokens of a forward pass, replies included, more if one completion needs
            them. Gradients of
            the passes of a minibatch are summed, so this value costs memory and changes results
            only by rounding. The balance of a mixture's experts is each pass's own.
        precision: of products. Masters, gradients and moments are float32.
        recompute: keep only a layer's inputs and compute the rest again: a third more work, a
            fraction of the memory. The same bits.
        refill: give each update `groups_per_batch` groups with a signal, if there are as many.
        sft_weight: of the mean cross-entropy of examples that are imitated beside; 0: none are.
        sft_batch: examples of an update.
        offload: in a team, keep weights, gradients and moments on the CPU, where they are updated,
            and bring layers to the device in turn.
        loss: formula and bounds of the policy's loss.
        anchor: what ratios and bounds are of: the checkpoint that sampled, or for rollouts of older
            ones the step's beginning (`assay.training.stale`).
        stale_weight, stale_cap: with the latter, from the one to the other, and its cap.
        kl_weight: of the divergence from the reference; 0 computes none.
        scaled: divide advantages by their group's standard deviation.
        from_genesis: measure the divergence from the network's first checkpoint, which the caller
            passes to the learner; else from the checkpoint that sampled.
        lora_rank: of the factors that learn in place of all weights; 0: all weights.
        seed: of the order in which groups are taken, and of LoRA's first factors.
        step: steps of the course that are behind a learner without a state.
        excluded: ids without a tokenizer entry, which can never be drawn: log-probabilities leave
            them out.

    Raises:
        ValueError: the divergence's weight is negative, or `stale_cap` is below 1.
    """

    learning_rate: float = 5e-5
    optimizer: OptimizerName = "adamw"
    schedule: Schedule = field(default_factory=Schedule)
    epochs: int = 4
    groups_per_batch: int = 8
    refill: bool = False
    sft_weight: float = 0.0
    sft_batch: int = 8
    tokens_per_pass: int = 8_192
    precision: Precision = "float32"
    recompute: bool = False
    loss: LossConfig = field(default_factory=Grpo)
    anchor: Anchor = "behaviour"
    stale_weight: StaleWeight = "sequence"
    stale_cap: float = 3.0
    kl_weight: float = 0.0
    scaled: bool = False
    max_gradient: float = 1.0
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    from_genesis: bool = False
    offload: bool = False
    lora_rank: int = 0
    seed: int = 0
    step: int = 0
    excluded: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.kl_weight < 0:
            raise ValueError(f"the divergence's weight {self.kl_weight} is negative")
        if not self.stale_cap >= 1:
            raise ValueError(f"the cap {self.stale_cap} of stale rollouts' weight is below 1")

    @property
    def wants_reference(self) -> bool:
        """Whether a divergence is measured from the network's first checkpoint."""
        return self.from_genesis and bool(self.kl_weight)

    def compute_rate(self, step: int) -> float:
        """The learning rate of the lesson with so many steps behind it."""
        return self.learning_rate * self.schedule.compute_share(step)
