"""From a window to pay, in words: the settlement, and every way in which it can come to nothing."""

from typing import Any

from assay.audit.explain.window_case import Paid, SettlementShare, WindowCase
from assay.protocol import Phase
from assay.protocol.reason import CHEATING, WITHHELD
from assay.protocol.record import Outcome
from assay.protocol.window import compute_block


def describe_settled(settled: SettlementShare) -> dict[str, Any]:
    """JSON for scripts."""
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


def list_pay(facts: WindowCase) -> list[str]:
    """What became of the window's score, step by step, one sentence each."""
    said = facts.said[0] if facts.said else None
    lines = []
    if said is not None and said.outcome is Outcome.ABSTAINED:
        lines.append(
            f"{said.who} abstained from window {facts.context.window}: it lacked something of its "
            "own, and its settlement leaves the window out for everybody"
        )
    elif said is not None and said.outcome is Outcome.VOID:
        lines.append(
            f"window {facts.context.window} is void for everybody: the checkpoint in force is "
            "unusable, and nobody is paid for it"
        )
    elif said is None:
        lines.append(_await_record(facts))
    if facts.settled is None:
        lines += _await_settlement(facts)
        return lines
    lines += _explain_settlement(facts.settled)
    lines += _explain_chain(facts, facts.settled)
    return lines


def find_zeroing(settled: SettlementShare) -> str | None:
    """Why a settlement is worth nothing to the seat whatever its other windows brought, or None."""
    counted = [window for window in settled.windows if window.outcome is Outcome.COUNTED]
    cheats = [w for w in counted if w.reason in CHEATING]
    withheld = [w for w in counted if w.reason in WITHHELD]
    if cheats:
        named = " and ".join(f"window {w.window} ({w.reason})" for w in cheats)
        return (
            f"the whole settlement is zeroed by {named}: shown work that is not the model's own "
            "costs the settlement (specification, section 9)"
        )
    if len(withheld) > 1:
        named = " and ".join(f"window {w.window} ({w.reason})" for w in withheld)
        return (
            f"the whole settlement is zeroed by {named}: one withheld window is worth nothing by "
            "itself, two cost the settlement (specification, section 9)"
        )
    return None


def _await_record(facts: WindowCase) -> str:
    timing = facts.context.parameters.timing
    end = compute_block(timing, facts.context.window, Phase.VERDICT_END)
    if facts.head is not None and facts.head < end:
        return (
            f"window {facts.context.window} is still open until block {end}: no verdict is final "
            f"before, and the chain is at block {facts.head}"
        )
    if facts.head is not None and facts.settles_at is not None and facts.head < facts.settles_at:
        return (
            f"verdicts are final since block {end}, and no validator's record of them is due yet: "
            "it is published after the settlement's weights are revealed"
        )
    return (
        "no validator's record of this window was found: records are published after the "
        "settlement's weights are revealed; name where one lies with --validator or --records"
    )


def _await_settlement(facts: WindowCase) -> list[str]:
    if facts.settles_at is None:
        return []
    if facts.head is not None and facts.head < facts.settles_at:
        left = facts.settles_at - facts.head
        return [
            f"the window is settled at epoch block {facts.settles_at}, {left} blocks from now; "
            "weights follow, and pay with the epoch after them"
        ]
    return [
        f"the window is settled by epoch block {facts.settles_at}; no record of that settlement "
        "was found"
    ]


def _explain_settlement(settled: SettlementShare) -> list[str]:
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
        lines.append("none of its windows brought this hotkey a score")
    else:
        brought = ", ".join(f"window {w.window} {w.score:,}" for w in settled.windows if w.score)
        share = settled.score / settled.total
        weight = (
            f", and the weight {settled.weight:,} of {settled.weights:,}" if settled.weights else ""
        )
        lines.append(
            f"they brought {settled.score:,} ({brought}): {share:.1%} of the {settled.total:,} "
            f"that all seats came to{weight}"
        )
    return lines


def _explain_chain(facts: WindowCase, settled: SettlementShare) -> list[str]:
    lines = []
    if facts.has_permit is False and facts.said:
        lines.append(
            f"{facts.said[0].who} has no validator permit: nobody counts the weights it sets"
        )
    paid = facts.paid
    if paid is None:
        if facts.head is not None:
            lines.append(
                "the chain has not paid it yet: weights count at the next epoch, and where they "
                "are encrypted first, at the one after they are revealed"
            )
        return lines
    return [*lines, _explain_paid(paid, settled)]


def _explain_paid(paid: Paid, settled: SettlementShare) -> str:
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
            f"epoch block {paid.block} paid uid {paid.uid} nothing: no validator's weights on it "
            "stood by then; they were not sent, not revealed yet, or set for other uids"
        )
    if settled.score:
        return (
            f"epoch block {paid.block} paid uid {paid.uid} nothing although validators gave it "
            "weight: what less than half of all stake votes for is clipped"
        )
    return f"epoch block {paid.block} paid uid {paid.uid} nothing"
