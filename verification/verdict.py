"""The judge's verdict: a submission is accepted, or refused for its first fault.

Window, hotkey, reason and values are consensus. The other fields are for people. Specification,
section 8. A verdict is kept and shown as a `VerdictRecord`, in which both have the same fields.
"""

from dataclasses import astuple, dataclass, field, fields, replace
from typing import Annotated, Any, ClassVar, TypeAlias

from assay.protocol.encoding import (
    I64,
    U32,
    U64,
    U128,
    Choice,
    Digest,
    Flag,
    Float,
    Integer,
    Many,
    Maybe,
    Prefixed,
    Record,
)
from assay.protocol.parameters import FRACTION_BITS
from assay.protocol.reason import Reason, Refusal
from assay.protocol.ss58 import encode_ss58
from assay.protocol.submission import LOGPROB_BITS


@dataclass(frozen=True, slots=True)
class GroupValue:
    """A group that was read whole: its integer value, and the rewards of its rollouts and their
    correctness alone, in millionths."""

    index: U32
    value: U128
    rewards: Annotated[tuple[int, ...], Many(Integer(8, signed=True), 1 << 16)]
    correctness: Annotated[tuple[int, ...], Many(Integer(4), 1 << 16)]
    #: its rollouts that went through the model
    audited: Annotated[tuple[int, ...], Many(Integer(2), 1 << 16)]


Real = Annotated[float, Float()]
Place = Annotated[int | None, Maybe(Integer(4))]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Extremes over everything that was measured, for people. No root includes them."""

    margin_max: I64 = 0  # 2^-20 logits
    log_capital: Real = 0.0  # natural logarithm of the sampling test's martingale
    logprob_rms: Real = 0.0  # 2^-16 nats
    sketch_mean: Real = 0.0  # average difference a token
    ledger_capital: Real = 0.0  # natural logarithm of the ledger's mixture

    def merge(self, other: "Statistics") -> "Statistics":
        """The larger value of each field."""
        return Statistics(*map(max, astuple(self), astuple(other)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """The fields of both verdicts.

    Attributes:
        committed_groups: n of the commitment, 0 where there is none.
        statistics: of everything that went through the model.
        witness: for each measured rollout, by group and rollout: two signed bytes of the state that
            drew the last measured token, under the validator's own projection (section 10). Empty
            where no validator was named. Not consensus: it differs from one validator to another,
            and by 1 from machine to machine.
    """

    window: int
    hotkey: bytes
    committed_groups: int = 0
    statistics: Statistics = field(default_factory=Statistics)
    witness: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted(_Judged):
    """A submission in which no check has found a fault.

    Attributes:
        detail: one sentence that a miner understands.
        groups: the valued groups.
        tokens: completion tokens that went through the model.
        rollouts: to which they belong; turns: of these rollouts.
        replies: tokens that worlds replied in them.
        broken: of these rollouts, ended by the sandbox in which their world runs.
        provisional: the sampled rollouts are not drawn yet.
    """

    detail: str
    groups: tuple[GroupValue, ...] = ()
    tokens: int = 0
    rollouts: int = 0
    turns: int = 0
    replies: int = 0
    broken: int = 0
    provisional: bool = False

    accepted: ClassVar[bool] = True
    reason: ClassVar[Reason] = Reason.ACCEPTED
    is_withheld: ClassVar[bool] = False

    def conclude(self, fault: Refusal | None) -> "Verdict":
        """A provisional verdict once its samples are known: accepted for good, or refused for the
        fault in them. What was measured stays."""
        if fault is None:
            return replace(self, provisional=False)
        return Refused(fault=fault, **_pick(_Judged, self))

    def to_record(self) -> "VerdictRecord":
        """The same, as it is kept and shown."""
        return VerdictRecord(reason=self.reason, **_pick(Accepted, self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(_Judged):
    """A submission with a fault: the first one that a check has found.

    Attributes:
        fault: `unbound` where bytes are missing or differ from those that the root on chain binds:
            the right ones may still be found until MIRROR_END.

    Raises:
        ValueError: the fault's reason is that of an accepted one, which the record would be.
    """

    fault: Refusal

    def __post_init__(self) -> None:
        if self.fault.reason is Reason.ACCEPTED:
            raise ValueError(f"a fault has no reason {self.fault.reason}")

    accepted: ClassVar[bool] = False
    provisional: ClassVar[bool] = False

    @property
    def reason(self) -> Reason:
        """Return the reason of the fault."""
        return self.fault.reason

    @property
    def detail(self) -> str:
        """Return the fault in one sentence that a miner understands."""
        return self.fault.detail

    @property
    def is_withheld(self) -> bool:
        """Return whether the miner did not show the bytes that the root on chain binds."""
        return self.fault.unbound or self.reason is Reason.NOT_REVEALED

    def to_record(self) -> "VerdictRecord":
        """The same, as it is kept and shown."""
        return VerdictRecord(**_pick(_Judged, self), **_pick(Refusal, self.fault))


#: One submission, judged.
Verdict: TypeAlias = Accepted | Refused


@dataclass(frozen=True, slots=True)
class VerdictRecord:
    """A verdict as it is kept in a journal, and shown."""

    window: U64
    hotkey: Digest
    reason: Annotated[Reason, Choice(Reason, "a reason")]
    detail: Annotated[str, Prefixed(1 << 20, text=True)]
    committed_groups: U32 = 0
    group: Place = None  # where it failed, with `rollout` and `token` as far as known
    rollout: Place = None
    token: Place = None
    statistics: Statistics = field(default_factory=Statistics)
    #: empty unless accepted, as the counts after it
    groups: Annotated[tuple[GroupValue, ...], Many(Record(GroupValue), 1 << 20)] = ()
    tokens: U64 = 0
    rollouts: U32 = 0
    turns: U64 = 0
    replies: U64 = 0
    broken: U32 = 0
    witness: Annotated[bytes, Prefixed(1 << 24)] = b""
    unbound: Annotated[bool, Flag()] = False
    provisional: Annotated[bool, Flag()] = False

    def to_verdict(self) -> Verdict:
        """The verdict. Fields that a verdict of its reason does not have are left out."""
        if self.reason is Reason.ACCEPTED:
            return Accepted(**_pick(Accepted, self))
        return Refused(fault=Refusal(**_pick(Refusal, self)), **_pick(_Judged, self))

    def to_json(self, seconds: float) -> dict[str, Any]:
        """JSON for people and scripts, in the units that people expect: logits and nats."""
        where = {"group": self.group, "rollout": self.rollout, "token": self.token}
        return {
            "hotkey": encode_ss58(self.hotkey),
            "window": self.window,
            "accepted": self.reason is Reason.ACCEPTED,
            "reason": self.reason.value,
            "detail": self.detail,
            **{name: value for name, value in where.items() if value is not None},
            "statistics": {
                "margin_max": self.statistics.margin_max / (1 << FRACTION_BITS),
                "log_capital": round(self.statistics.log_capital, 6),
                "logprob_rms": self.statistics.logprob_rms / (1 << LOGPROB_BITS),
                "sketch_mean": round(self.statistics.sketch_mean, 6),
                "ledger_capital": round(self.statistics.ledger_capital, 6),
            },
            "groups": [
                {
                    "index": g.index,
                    "value": g.value,
                    "rewards": list(g.rewards),
                    "correctness": list(g.correctness),
                    "audited": list(g.audited),
                }
                for g in self.groups
            ],
            "tokens": self.tokens,
            "seconds": round(seconds, 3),
        }


def _pick(of: type[Any], value: Any) -> dict[str, Any]:
    """The values of a dataclass's fields, from an object with the same names."""
    return {one.name: getattr(value, one.name) for one in fields(of)}
