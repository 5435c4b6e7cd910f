"""What is known of one hotkey's window: said by validators, found here, settled, paid."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from assay.inference import Outline
from assay.protocol import Context, Header, Reason, Rollout
from assay.protocol.record import Outcome
from assay.verification import Verdict


@dataclass(frozen=True, slots=True)
class StatedVerdict:
    """What somebody says the window came to.

    Attributes:
        who: for people, such as "validator 5F…".
        outcome: what the whole window came to; None: not said.
        reason: None where there is no verdict.
        values: of the audited groups by ascending index.
        statistics: in the units of a verdict's JSON.
    """

    who: str
    outcome: Outcome | None
    reason: Reason | None
    detail: str | None = None
    group: int | None = None
    rollout: int | None = None
    token: int | None = None
    values: tuple[int, ...] = ()
    score: int = 0
    statistics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RolloutMeasurement:
    """The rollout in question, measured once more by itself.

    Attributes:
        tokens: its length.
        drawn: id of the model's keyed draw at the token in question; claimed: the submitted one.
        margin: of that token, logits.
        off: tokens that are not the keyed draw; above_cap: those of them beyond the cap.
        log_capital: natural logarithm of the rollout's martingale at its highest.
        block: first and last token of the block whose sketch is furthest away, and the average
            difference a token within it.
        sketch_mean: the same over the whole rollout.
        logprob_rms, logprob_max: over the positions drawn, nats.
        logprobs: −ln p claimed and measured at the position of the largest difference, nats.
    """

    tokens: int
    claimed: int
    drawn: int
    margin: float
    off: int
    above_cap: int
    log_capital: float
    block: tuple[int, int, float]
    sketch_mean: float
    logprob_rms: float
    logprob_max: float
    logprobs: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Rejudgment:
    """What was found here, from public facts, the file, and the model as far as they are at hand.

    Attributes:
        verdict: None where nothing at hand decides.
        has_model: the forward pass was run.
        header: what the file says of itself.
        size: of the file, bytes.
        rollout: the one in question.
        measured: only with the model.
        lacks: what would say more, one sentence each.
    """

    verdict: Verdict | None
    has_model: bool = False
    outline: Outline | None = None
    header: Header | None = None
    size: int | None = None
    rollout: Rollout | None = None
    measured: RolloutMeasurement | None = None
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SeatWindow:
    """One window of a settlement as it went for this hotkey."""

    window: int
    outcome: Outcome
    reason: Reason | None
    score: int


@dataclass(frozen=True, slots=True)
class SettlementShare:
    """The settlement that holds the window, by one validator's word.

    Attributes:
        windows: ascending, as far as they are known.
        score: of the hotkey's seat at the epoch block; None: it was not held any more.
        total: of all scores.
        weight, weights: the uid's, and the sum of all.
    """

    epoch: int
    windows: tuple[SeatWindow, ...]
    score: int | None
    total: int
    weight: int
    weights: int


@dataclass(frozen=True, slots=True)
class Paid:
    """What the chain made of the settlement.

    Attributes:
        block: the epoch block that pays it; head: the newest final block.
        uid: at that block; None: the seat was lost.
        weights: how many validators gave the uid a weight.
        incentive: u16 share of the miners' emission. emission: rao of alpha, where it is known.
    """

    block: int
    uid: int | None
    weights: int | None
    incentive: int
    emission: int | None = None


@dataclass(frozen=True, slots=True)
class WindowCase:
    """Everything that an explanation is made from.

    Attributes:
        said: validators' own words, the one that is explained first.
        own: the miner's own verdict, from its history.
        settles_at: epoch block of the settlement, where it is known; head: newest final block.
        paid: None: the chain has not paid it yet, or was not asked.
        has_permit: whether the validator asked may set weights; None: not known.
        owned: members' hotkeys whose coldkey the address is, where it took no part itself.
        notes: what else was seen on chain and in the miner's folder, one sentence each.
    """

    hotkey: bytes
    context: Context
    said: tuple[StatedVerdict, ...]
    found: Rejudgment
    own: StatedVerdict | None = None
    settled: SettlementShare | None = None
    settles_at: int | None = None
    head: int | None = None
    paid: Paid | None = None
    has_permit: bool | None = None
    owned: tuple[bytes, ...] = ()
    notes: tuple[str, ...] = ()
