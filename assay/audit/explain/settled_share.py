"""A settlement's result for one hotkey, and its pay on chain, in figures and in words.

Nothing here knows a model, a chain or a store. A page in the explorer shows the same sentences as
`assay explain`.
"""

from dataclasses import dataclass
from typing import Any

from assay.protocol.reason import CHEATING, WITHHELD, Reason
from assay.protocol.record import Outcome


@dataclass(frozen=True, slots=True)
class SeatWindow:
    """One window of a settlement, with this hotkey's result."""

    window: int
    outcome: Outcome
    reason: Reason | None
    score: int


@dataclass(frozen=True, slots=True)
class SettlementShare:
    """The settlement of the window, as one validator claims it."""

    epoch: int
    windows: tuple[SeatWindow, ...]  # ascending, as far as they are known
    score: int | None  # of the hotkey's seat at the epoch block; None: it was no longer held
    total: int  # of all scores
    weight: int  # the uid's
    weights: int  # the sum of all


@dataclass(frozen=True, slots=True)
class Paid:
    """The chain's payment for the settlement."""

    block: int  # the epoch block that pays it
    uid: int | None  # at that block; None: the seat was lost
    weights: int | None  # number of validators that gave the uid a weight
    incentive: int  # u16 share of the miners' emission
    emission: int | None = None  # rao of alpha, if it is known


#: Text about a validator that may not set weights.
NO_PERMIT = "has no validator permit: the chain does not count its weights"


def describe_settled(settled: SettlementShare) -> dict[str, Any]:
    """A settlement's share as JSON for scripts."""
    return {
        "epoch_block": settled.epoch,
        "windows": [
            {
                "window": window.window,
                "outcome": window.outcome.value,
                "reason": window.reason and window.reason.value,
                "score": window.score,
            }
            for window in settled.windows
        ],
        "score": settled.score,
        "total": settled.total,
        "share": round(settled.score / settled.total, 6) if settled.score and settled.total else 0,
        "weight": settled.weight,
    }


def find_zeroing(settled: SettlementShare) -> str | None:
    """The reason why a settlement is worth nothing to the seat whatever its other windows earned,
    or None."""
    counted = [window for window in settled.windows if window.outcome is Outcome.COUNTED]
    cheats = [w for w in counted if w.reason in CHEATING]
    withheld = [w for w in counted if w.reason in WITHHELD]
    if cheats:
        named = " and ".join(f"window {w.window} ({w.reason})" for w in cheats)
        return (
            f"the whole settlement is zeroed by {named}: shown work that is not the model's own "
            f"costs the settlement (specification, section 9)"
        )
    if len(withheld) > 1:
        named = " and ".join(f"window {w.window} ({w.reason})" for w in withheld)
        return (
            f"the whole settlement is zeroed by {named}: one withheld window costs itself, two "
            f"cost the settlement (specification, section 9)"
        )
    return None


def list_settlement(settled: SettlementShare) -> list[str]:
    """The settlement's windows and their results for the hotkey, one sentence each."""
    names = ", ".join(str(window.window) for window in settled.windows)
    lines = [f"the settlement of epoch block {settled.epoch} covers windows {names}"]
    left_out = [w for w in settled.windows if w.outcome is not Outcome.COUNTED]
    lines += [
        f"window {w.window} counts for nobody: {'void' if w.outcome is Outcome.VOID else ''}"
        f"{'the validator abstained' if w.outcome is Outcome.ABSTAINED else ''}"
        for w in left_out
    ]
    zeroing = find_zeroing(settled)
    if settled.score is None:
        lines.append(
            "at the epoch block the uid was held by another registration: the seat was lost, and "
            "nobody is paid for its windows"
        )
    elif zeroing is not None:
        lines.append(zeroing)
    elif not settled.score:
        lines.append("this hotkey has no score in any of its windows")
    else:
        brought = ", ".join(f"window {w.window}: {w.score:,}" for w in settled.windows if w.score)
        share = settled.score / settled.total
        weight = (
            f", which gives the weight {settled.weight:,} of {settled.weights:,}"
            if settled.weights
            else ""
        )
        lines.append(
            f"this hotkey's score is {settled.score:,} ({brought}), {share:.1%} of the "
            f"{settled.total:,} of all seats{weight}"
        )
    if any(w.outcome is Outcome.COUNTED for w in settled.windows) and not (
        settled.total or settled.weights
    ):
        lines.append("nobody earned in it: it sets no weights, and the chain keeps the last ones")
    return lines


def describe_paid(paid: Paid, settled: SettlementShare) -> str:
    """The chain's payment, one sentence."""
    if paid.uid is None:
        return f"at epoch block {paid.block}, which pays it, the hotkey held no uid"
    if paid.incentive:
        alpha = f", {paid.emission / 1e9:,.4f} alpha" if paid.emission is not None else ""
        return (
            f"epoch block {paid.block} paid uid {paid.uid} {paid.incentive / 65_535:.1%} of the "
            f"miners' share{alpha}"
        )
    if paid.weights == 0 and settled.score:
        return (
            f"epoch block {paid.block} paid uid {paid.uid} nothing: no validator's weights for "
            f"it were on chain by then: they were not sent, not revealed yet, or set for other "
            f"uids"
        )
    if settled.score:
        return (
            f"epoch block {paid.block} paid uid {paid.uid} nothing although validators gave it "
            "weight: consensus clips weights that less than half of all stake supports"
        )
    return f"epoch block {paid.block} paid uid {paid.uid} nothing"
