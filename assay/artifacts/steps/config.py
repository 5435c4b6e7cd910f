"""The settings of a step: how it learns, and by what its groups are chosen.

A step's record has them as JSON, which is part of its digest. So present settings keep their
present text: `encode_config` writes one flat object, whatever the records here look like.
"""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from assay.training import LearnConfig, LossConfig, Schedule

#: Settings by which tries of proposals are counted, or groups for them chosen.
_OF_TRIES = ("proposal_tries", "external_groups", "local_groups")


@dataclass(frozen=True, slots=True)
class StepChoice:
    """What a step learns from. The learner reads none of it.

    Attributes:
        replay_share, replay_staleness: of the groups given, the share that may be of earlier
            windows, and the number of steps since then.
        proposal_tries: that a proposal's problems must have had before its group is learned from;
            0: it is at once.
        external_groups, local_groups: most groups of miners' with a signal, None: all; and number
            of the trainer's own. In a step's record where proposals wait.
        sft_sha256: of the file with the examples that are imitated beside, in hex; "": none is.
    """

    replay_share: float = 0.0
    replay_staleness: int = 4
    proposal_tries: int = 0
    external_groups: int | None = None
    local_groups: int = 0
    sft_sha256: str = ""


@dataclass(frozen=True, slots=True)
class StepConfig:
    """All settings of a step, as its record names them."""

    learning: LearnConfig = field(default_factory=LearnConfig)
    choice: StepChoice = field(default_factory=StepChoice)

    def name_settings(self) -> dict[str, Any]:
        """The settings by the names that a record gives them, each once."""
        return asdict(self.learning) | asdict(self.choice)


def encode_config(config: StepConfig) -> str:
    """The settings of a record, in JSON. What no tries depend on where no proposals wait is left
    out, so that records of networks without proposals keep their bytes."""
    left_out = () if config.choice.proposal_tries else _OF_TRIES
    values = {n: value for n, value in config.name_settings().items() if n not in left_out}
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def decode_config(text: str) -> StepConfig:
    """Settings of the right form. Their values are not checked. Raises ValueError, TypeError,
    LookupError, AttributeError, RecursionError: the text has none."""
    values: dict[str, Any] = json.loads(text)
    loss, schedule = values.pop("loss"), Schedule(**values.pop("schedule", {}))
    if "level" in loss:  # older programs knew two losses, by this
        loss["name"] = {"token": "grpo", "sequence": "gspo"}[loss.pop("level")]
    values |= {name: tuple(values[name]) for name in ("betas", "excluded")}
    names = [f.name for f in fields(StepChoice) if f.name in values]
    choice = StepChoice(**{name: values.pop(name) for name in names})
    learning = LearnConfig(loss=LossConfig(**loss), schedule=schedule, **values)
    if type(learning.from_genesis) is not bool:
        raise TypeError("from_genesis is true or false")
    counts = {name: getattr(choice, name) for name in _OF_TRIES}
    counts["groups_per_batch"] = learning.groups_per_batch
    for name, value in counts.items():  # steps are compared by them
        if type(value) is not int and (name, value) != ("external_groups", None):
            raise TypeError(f"{name} is a whole number")
    if learning.groups_per_batch < 1:
        raise ValueError("groups_per_batch is at least 1")
    return StepConfig(learning, choice)
