"""`[trainer.loss]`: one table a loss, with its own bounds. Light, as `sections` is.

    [trainer.loss]
    type = "dppo"
    fall = 0.1

The flat form that all losses shared is read, too: `loss = "dppo"` and `clip_low = 0.1` under
`[trainer]`. It names bounds by what they are for other losses.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

LossName = Literal["grpo", "gspo", "cispo", "icepop", "dppo"]

_Low = Annotated[float, Field(gt=0, lt=1)]
_High = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Cap = Annotated[float, Field(gt=1, allow_inf_nan=False)]


_OWN = "as of grpo; behaviour is what the paper bounds, or weighs by"


class LossTable(BaseModel):
    """The settings of a loss."""

    model_config = ConfigDict(extra="forbid")

    type: LossName
    anchor: Literal["step", "behaviour"] = Field(
        "step",
        description="step: rollouts of older checkpoints are bounded around the weights at the "
        "step's beginning; behaviour: around the checkpoint that sampled",
    )

    def find_conflict(self) -> str | None:
        """The reason why nobody can learn by these bounds together; None: it is possible."""
        return None


class _WeighedTable(LossTable):
    """That of a loss that is told how to weigh what is stale."""

    stale_weight: Literal["sequence", "token", "none"] = Field(
        "sequence",
        description="with anchor = step, what leads from the checkpoint that sampled to the step's "
        "beginning: a weight for a whole completion, one for each token, or none",
    )
    stale_cap: float = Field(3.0, ge=1, le=1e6, description="cap on that weight")

    def find_conflict(self) -> str | None:
        """See `LossTable.find_conflict`."""
        for name in ("stale_weight", "stale_cap"):
            is_said = getattr(self, name) != type(self).model_fields[name].default
            if is_said and self.anchor == "behaviour":
                return f'loss.{name}: anchor = "behaviour" has no such weight'
        return None


class GrpoTable(_WeighedTable):
    """`grpo`: the pessimistic clip of a token's ratio."""

    type: Literal["grpo"]
    low: _Low = Field(0.2, description="ratios are bounded at 1 − this")
    high: _High = Field(0.28, description="ratios are bounded at 1 + this")
    cap: _Cap = Field(4.0, description="cap on the ratio if the advantage is negative")

    def find_conflict(self) -> str | None:
        """See `LossTable.find_conflict`."""
        if self.cap < 1 + self.high:
            return f"loss.cap: {self.cap} is below 1 + high, {1 + self.high}"
        return super().find_conflict()


class GspoTable(GrpoTable):
    """`gspo`: the same with one ratio for a whole rollout."""

    type: Literal["gspo"]  # type: ignore[assignment] # another one's

    def find_conflict(self) -> str | None:
        """See `LossTable.find_conflict`."""
        if self.stale_weight == "token":
            return "loss.stale_weight: gspo has one ratio for a whole completion, and none by token"
        return super().find_conflict()


class CispoTable(_WeighedTable):
    """`cispo`: every token teaches, with a bounded weight."""

    type: Literal["cispo"]
    anchor: Literal["step", "behaviour"] = Field("behaviour", description=_OWN)
    high: _High = Field(0.28, description="a token's weight is at most 1 + this")


class IcepopTable(LossTable):
    """`icepop`: tokens whose ratio is beyond a bound teach nothing. What is stale is masked by the
    same bounds, and has no other weight."""

    type: Literal["icepop"]
    low: _Low = Field(0.2, description="the lower bound is 1 − this")
    high: _High = Field(0.28, description="the upper bound is 1 + this")


class DppoTable(_WeighedTable):
    """`dppo`: tokens whose probability has moved too far teach nothing."""

    type: Literal["dppo"]
    anchor: Literal["step", "behaviour"] = Field("behaviour", description=_OWN)
    fall: _Low = Field(0.2, description="by this much a probability may have fallen")
    rise: _High = Field(0.28, description="by this much a probability may have risen")
    cap: _Cap = Field(4.0, description="cap on the ratio")


#: How rollouts of older checkpoints are learned from: what tables have beside type and bounds.
STALE = ("anchor", "stale_weight", "stale_cap")
#: Names of bounds in the flat form → those of tables.
FLAT = {"clip_low": ("low", "fall"), "clip_high": ("high", "rise"), "clip_cap": ("cap",)}


def _find_type(value: Any) -> str | None:
    """Which of the forms of `loss` a value has."""
    if isinstance(value, str):
        return "name"
    found = value.get("type") if isinstance(value, Mapping) else getattr(value, "type", None)
    return found if isinstance(found, str) else None


Loss = Annotated[
    Annotated[LossName, Tag("name")]
    | Annotated[GrpoTable, Tag("grpo")]
    | Annotated[GspoTable, Tag("gspo")]
    | Annotated[CispoTable, Tag("cispo")]
    | Annotated[IcepopTable, Tag("icepop")]
    | Annotated[DppoTable, Tag("dppo")],
    Discriminator(_find_type),
]
#: Type → its table.
LOSS_TABLES: dict[str, type[LossTable]] = {
    tag.tag: table for table, tag in map(get_args, get_args(get_args(Loss)[0])[1:])
}


def list_bounds(table: type[LossTable]) -> list[str]:
    """The names of a loss's bounds."""
    return [name for name in table.model_fields if name not in ("type", *STALE)]


def read_flat(name: str, clips: Mapping[str, float]) -> LossTable:
    """The table that the flat form stands for. `clips`: by the names of `FLAT`."""
    known = list_bounds(LOSS_TABLES[name])
    own = {new: clips[old] for old, names in FLAT.items() for new in names if new in known}
    return LOSS_TABLES[name].model_validate({"type": name, **own})


def write_table(table: LossTable) -> str:
    """A table as a line of TOML that names all bounds."""
    bounds = ", ".join(f"{n} = {getattr(table, n)}" for n in list_bounds(type(table)))
    return f'loss = {{ type = "{table.type}", {bounds} }}'
