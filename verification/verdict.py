"""The judge's verdict.

Window, hotkey, reason and values are consensus. The other fields are for people. Specification,
section 8.
"""

from dataclasses import astuple, dataclass, field
from typing import Annotated, Any

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
from assay.protocol.reason import Reason
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


@dataclass(frozen=True, slots=True)
class Verdict:
    """One submission, judged."""

    window: U64
    hotkey: Digest
    reason: Annotated[Reason, Choice(Reason, "a reason")]
    #: one sentence that a miner understands
    detail: Annotated[str, Prefixed(1 << 20, text=True)]
    committed_groups: U32 = 0  # n of the commitment, 0 where there is none
    group: Place = None  # where it failed, with `rollout` and `token` as far as known
    rollout: Place = None
    token: Place = None
    statistics: Statistics = field(default_factory=Statistics)
    #: valued groups; empty unless accepted
    groups: Annotated[tuple[GroupValue, ...], Many(Record(GroupValue), 1 << 20)] = ()
    tokens: U64 = 0  # completion tokens that went through the model
    rollouts: U32 = 0  # to which they belong
    turns: U64 = 0  # of these rollouts
    replies: U64 = 0  # tokens that worlds replied in them
    broken: U32 = 0  # of these rollouts, ended by the sandbox in which their world runs
    #: for each measured rollout, by group and rollout: two signed bytes of the state that drew the
    #: last measured token, under the validator's own projection (section 10). Empty where no
    #: validator was named. Not consensus: it differs from one validator to another, and by 1 from
    #: machine to machine.
    witness: Annotated[bytes, Prefixed(1 << 24)] = b""
    #: refused because bytes are missing or differ from those that the root on chain binds. The
    #: right bytes may still be found until MIRROR_END.
    unbound: Annotated[bool, Flag()] = False
    #: no fault so far, but the sampled rollouts are not drawn yet
    provisional: Annotated[bool, Flag()] = False

    @property
    def accepted(self) -> bool:
        """Return whether every check passed."""
        return self.reason is Reason.ACCEPTED

    @property
    def is_withheld(self) -> bool:
        """Return whether the miner did not show the bytes that the root on chain binds."""
        return self.unbound or self.reason is Reason.NOT_REVEALED

    def to_json(self, seconds: float) -> dict[str, Any]:
        """JSON for people and scripts, in the units that people expect: logits and nats."""
        where = {"group": self.group, "rollout": self.rollout, "token": self.token}
        return {
            "hotkey": encode_ss58(self.hotkey),
            "window": self.window,
            "accepted": self.accepted,
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
