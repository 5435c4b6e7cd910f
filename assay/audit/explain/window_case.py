"""The known facts of one hotkey's window: claimed by validators, found here, settled, paid."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from assay.audit.explain.settled_share import Paid, SettlementShare
from assay.inference.checkpoint import Outline
from assay.protocol.context import Context
from assay.protocol.reason import Reason
from assay.protocol.record import Outcome
from assay.protocol.submission import Header, Opening
from assay.verification import Verdict
from assay.verification.rollout_statistics import RolloutStatistics


@dataclass(frozen=True, slots=True)
class StatedVerdict:
    """Somebody's claim about the window's result."""

    who: str  # for people, such as "validator 5F…"
    outcome: Outcome | None  # the whole window's outcome; None: not said
    reason: Reason | None  # None where there is no verdict
    detail: str | None = None
    group: int | None = None
    rollout: int | None = None
    token: int | None = None
    values: tuple[int, ...] = ()  # of the valued groups by ascending index
    #: valued group → its audited rollouts, as far as the claim has them
    audited: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    score: int = 0
    #: in the units of a verdict's JSON
    statistics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RolloutMeasurement:
    """The rollout in question, measured once more by itself."""

    tokens: int  # its length
    claimed: int  # id that was submitted as the token in question
    drawn: int  # id of the model's keyed draw there
    margin: float  # of that token, logits
    off: int  # tokens that are not the keyed draw
    above_cap: int  # number of those beyond the cap
    statistics: RolloutStatistics
    #: −ln p claimed and measured at the position of the largest difference, nats
    logprobs: tuple[float, float]


@dataclass(frozen=True, slots=True)
class TurnPlace:
    """The turn of the token in question, in an episode.

    Attributes:
        turn: its number, from 0.
        token: the token's number in it, from 0.
        reply: the world's reply before it, as text derived here; None before the first turn, or if
            the episode had ended by then.
        reply_tokens: number of the reply's tokens, with the frame's.
    """

    turn: int
    token: int
    reply: str | None
    reply_tokens: int


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """The beginning of the miner's file."""

    size: int | None = None  # of the file, bytes; None: it is not there
    header: Header | None = None  # the file's own description
    opening: Opening | None = None  # if the root binds it


@dataclass(frozen=True, slots=True)
class Rejudgment:
    """The findings here, from public facts, file and model as far as they are available."""

    verdict: Verdict | None  # None if no available input decides
    has_model: bool = False  # the forward pass was run
    outline: Outline | None = None
    opened: OpenedFile = OpenedFile()
    tokens: tuple[int, ...] | None = None  # of the completion in question
    measured: RolloutMeasurement | None = None  # only with the model
    place: TurnPlace | None = None  # only in networks of several turns
    #: the first token of the first turn whose sketch is further off than a rollout's may be
    unlike: TurnPlace | None = None
    #: group → its audited rollouts; empty if the file was not read whole
    audited: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()  # inputs that would show more, one sentence each


@dataclass(frozen=True, slots=True)
class WindowCase:
    """Everything that an explanation is made from."""

    hotkey: bytes
    context: Context
    statements: tuple[StatedVerdict, ...]  # validators' own claims; the first is explained
    rejudgment: Rejudgment
    own_verdict: StatedVerdict | None = None  # the miner's own verdict, from its history
    settled: SettlementShare | None = None
    settles_at: int | None = None  # epoch block of the settlement, if it is known
    head: int | None = None  # newest final block
    paid: Paid | None = None  # None: the chain has not paid it yet, or was not asked
    has_permit: bool | None = None  # whether the validator asked may set weights; None: not known
    #: members' hotkeys of the coldkey with this address, if the address took no part itself
    owned: tuple[bytes, ...] = ()
    #: further facts from the chain and the miner's folder, one sentence each
    notes: tuple[str, ...] = ()
