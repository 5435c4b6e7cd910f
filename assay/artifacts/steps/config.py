"""The settings of a step: how it learns, and by what its groups are chosen.

A step's record has them as JSON, which is part of its digest. So present settings keep their
present text: `encode_config` writes one flat object, whatever the records here look like.
"""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from assay.training import LearnConfig, LossConfig, Schedule
from assay.training.grpo import LOSSES

#: Settings by which tries of proposals are counted, or groups for them chosen.
_OF_TRIES = ("proposal_tries", "external_groups", "local_groups")
#: A loss's fields that a record names otherwise: when there was one list of bounds for all losses,
#: dppo's were called so.
_FLAT = {"fall": "low", "rise": "high"}
#: Settings that a record names under its loss, where that is not anchored at the behaviour: records
#: of before such losses keep their bytes.
_ANCHOR = ("anchor", "stale_weight", "stale_cap")
#: What a record says of bounds that its loss does not have.
_UNREAD = {"low": 0.2, "high": 0.28, "cap": 4.0}


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
        sft_reader: version of the reader that made examples of it, see `assay.training.rows`; in a
            record where it is not the first, whose records name none.
    """

    replay_share: float = 0.0
    replay_staleness: int = 4
    proposal_tries: int = 0
    external_groups: int | None = None
    local_groups: int = 0
    sft_sha256: str = ""
    sft_reader: int = 1


@dataclass(frozen=True, slots=True)
class StepConfig:
    """All settings of a step, as its record names them."""

    learning: LearnConfig = field(default_factory=LearnConfig)
    choice: StepChoice = field(default_factory=StepChoice)

    def name_settings(self) -> dict[str, Any]:
        """The settings by the names that a record gives them, each once."""
        learning = asdict(self.learning)
        anchor = {name: learning.pop(name) for name in _ANCHOR}
        learning["loss"] = _name_loss(self.learning.loss, learning.pop("kl_weight"))
        if anchor["anchor"] != "behaviour":
            learning["loss"] |= anchor
        return learning | asdict(self.choice)


def encode_config(config: StepConfig) -> str:
    """The settings of a record, in JSON. What no tries depend on where no proposals wait is left
    out, and the first reader of examples, so that records without them keep their bytes."""
    left_out: tuple[str, ...] = () if config.choice.proposal_tries else _OF_TRIES
    if config.choice.sft_reader == 1:
        left_out += ("sft_reader",)
    values = {n: value for n, value in config.name_settings().items() if n not in left_out}
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def decode_config(text: str) -> StepConfig:
    """Settings of the right form. Their values are not checked. Raises ValueError, TypeError,
    LookupError, AttributeError, RecursionError: the text has none."""
    values: dict[str, Any] = json.loads(text)
    schedule, told = Schedule(**values.pop("schedule", {})), values.pop("loss")
    values |= {name: told.pop(name) for name in _ANCHOR if name in told}
    loss, values["kl_weight"] = _read_loss(told)
    values |= {name: tuple(values[name]) for name in ("betas", "excluded")}
    names = [f.name for f in fields(StepChoice) if f.name in values]
    choice = StepChoice(**{name: values.pop(name) for name in names})
    learning = LearnConfig(loss=loss, schedule=schedule, **values)
    if type(learning.from_genesis) is not bool:
        raise TypeError("from_genesis is true or false")
    counts = {name: getattr(choice, name) for name in _OF_TRIES}
    counts["groups_per_batch"] = learning.groups_per_batch
    counts["sft_reader"] = choice.sft_reader
    for name, value in counts.items():  # steps are compared by them
        if type(value) is not int and (name, value) != ("external_groups", None):
            raise TypeError(f"{name} is a whole number")
    if learning.groups_per_batch < 1:
        raise ValueError("groups_per_batch is at least 1")
    return StepConfig(learning, choice)


def _name_loss(loss: LossConfig, kl_weight: float) -> dict[str, Any]:
    """A record's `loss`: one list of bounds for all losses, and beside them the name of one."""
    own = {_FLAT.get(name, name): value for name, value in asdict(loss).items()}
    return _UNREAD | own | {"name": loss.name, "kl_weight": kl_weight}


def _read_loss(told: dict[str, Any]) -> tuple[LossConfig, float]:
    """The loss and the divergence's weight. Raises as `decode_config`."""
    if "level" in told:  # older programs knew two losses, by this
        told["name"] = {"token": "grpo", "sequence": "gspo"}[told.pop("level")]
    kind, weight = LOSSES[told.pop("name")], told.pop("kl_weight", 0.0)
    names = {_FLAT.get(f.name, f.name): f.name for f in fields(kind)}
    strange = told.keys() - names.keys() - _UNREAD.keys()
    if strange:
        raise ValueError(f"{kind.name} has no {', '.join(sorted(strange))}")
    return kind(**{own: told[name] for name, own in names.items() if name in told}), weight
