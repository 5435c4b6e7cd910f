"""Explains how a window leads to pay: the settlement, and every reason for which the pay can be
zero."""

from assay.audit.explain.settled_share import (
    NO_PERMIT,
    SettlementShare,
    describe_paid,
    list_settlement,
)
from assay.audit.explain.window_case import WindowCase
from assay.protocol.record import Outcome
from assay.protocol.window import Phase, compute_block


def list_pay(facts: WindowCase) -> list[str]:
    """The fate of the window's score, step by step, one sentence each."""
    statement = facts.statements[0] if facts.statements else None
    lines = []
    if statement is not None and statement.outcome is Outcome.ABSTAINED:
        lines.append(
            f"{statement.who} abstained from window {facts.context.window}: it lacked something of "
            "its own, and its settlement leaves the window out for everybody"
        )
    elif statement is not None and statement.outcome is Outcome.VOID:
        lines.append(
            f"window {facts.context.window} is void for everybody: the checkpoint in force is "
            "unusable, and nobody is paid for it"
        )
    elif statement is None:
        lines.append(_await_record(facts))
    if facts.settled is None:
        lines += _await_settlement(facts)
        return lines
    lines += list_settlement(facts.settled)
    lines += _explain_chain(facts, facts.settled)
    return lines


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
        "settlement's weights are revealed; name one with --validator or --records"
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


def _explain_chain(facts: WindowCase, settled: SettlementShare) -> list[str]:
    lines = []
    if facts.has_permit is False and facts.statements:
        lines.append(f"{facts.statements[0].who} {NO_PERMIT}")
    paid = facts.paid
    if paid is None:
        if facts.head is not None:
            lines.append(
                "the chain has not paid it yet: weights count at the next epoch, encrypted ones "
                "at the first epoch after they are revealed"
            )
        return lines
    return [*lines, describe_paid(paid, settled)]
