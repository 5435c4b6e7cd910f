"""What is wrong with a record by its own contents and the records that it counts.

Needs no chain: who held which seat at an epoch, and which blocks were epochs, only the chain knows.
"""

from collections.abc import Iterable, Iterator, Mapping

from assay.protocol.amendment import ParameterHistory
from assay.protocol.reason import Reason
from assay.protocol.record import NOTHING, Outcome, SettlementRecord, WindowRecord
from assay.protocol.score_tree import compute_weights_digest, make_score_tree
from assay.verification import Result, Seat, compute_settlement, settle_weights


def find_outcome_fault(record: WindowRecord) -> str | None:
    """Why a window cannot have its outcome by the record's own rows; None: it can."""
    reasons = {row.reason for row in record.members}
    complete = record.audit is not None and None not in reasons
    broken = Reason.INTERNAL in reasons and Reason.ACCEPTED not in reasons
    if record.outcome is Outcome.COUNTED and not complete:
        return "the window counts, although not every member has a verdict"
    if record.outcome is Outcome.COUNTED and broken:
        return "the window counts, although the judge failed for every file"
    if record.outcome is Outcome.VOID and record.audit is None:
        return "the window is void, though the validator had nothing to judge yet"
    if record.outcome is Outcome.ABSTAINED and complete and not broken:
        return "the validator abstained, though every member has a verdict"
    return None


def compute_scores(counted: Iterable[WindowRecord]) -> dict[Seat, int]:
    """The score of each seat in a settlement, by the records of its windows that count."""
    return compute_settlement(
        Result(window.window, Seat(row.uid, row.registered_at), row.reason, row.score)
        for window in counted
        for row in window.members
        if row.reason is not None
    )


def find_score_faults(record: SettlementRecord, scores: Mapping[Seat, int]) -> Iterator[str]:
    """Listed seats whose score is not that of their windows. Who still held a seat, the chain
    knows."""
    for score in record.scores:
        right = scores.get(Seat(score.uid, score.registered_at))
        if right != score.score:
            yield (
                f"uid {score.uid} comes to {right} by its windows, and the record says "
                f"{score.score}"
            )


def find_last_faults(record: SettlementRecord, last: WindowRecord | None) -> Iterator[str]:
    """What the ledger's contract gets of a settlement and its last window that counts has not."""
    checkpoint = NOTHING if last is None else last.checkpoint
    audit = 0 if last is None or last.audit is None else last.audit.beacon.round
    if record.checkpoint != checkpoint:
        yield (
            f"its last window that counts had checkpoint {checkpoint.hex()[:16]}…, and it says "
            f"{record.checkpoint.hex()[:16]}…"
        )
    if record.audit_round != audit:
        yield (
            f"its last window that counts was audited by round {audit}, and it says "
            f"{record.audit_round}"
        )


def find_root_fault(record: SettlementRecord) -> str | None:
    """Why a settlement's root is not that of its scores; None: it is."""
    scores = [(score.hotkey, score.score) for score in record.scores]
    root = make_score_tree(scores).root if scores else NOTHING
    if record.score_root == root:
        return None
    return (
        f"its scores have the root {root.hex()[:16]}…, and it says {record.score_root.hex()[:16]}…"
    )


def earns(record: SettlementRecord) -> bool:
    """Return whether somebody earned in a settlement. If so, its count does not depend on the
    settlement before it."""
    return any(score.score for score in record.scores)


def find_idle_fault(record: SettlementRecord, before: int) -> str | None:
    """Why a settlement's count of those in which nobody earned is not right; None: it is.

    Args:
        before: the count of the settlement before it, 0 if it is the first.
    """
    counts = any(covered.outcome is Outcome.COUNTED for covered in record.windows)
    right = 0 if earns(record) else before + counts
    if record.idle == right:
        return None
    return f"nobody earned in {right} settlements in a row, and it says {record.idle}"


def find_weight_faults(record: SettlementRecord, history: ParameterHistory) -> Iterator[str]:
    """Weights that do not follow from a settlement's scores and its count."""
    by_uid = {score.uid: score.score for score in record.scores}
    counted = [covered.window for covered in record.windows if covered.outcome is Outcome.COUNTED]
    right: Mapping[int, int] = {}
    if counted:  # the burn share may change from one window to the next
        _, right = settle_weights(by_uid, history.get(max(counted)), record.idle - 1)
    stated = {weight.uid: weight.weight for weight in record.weights}
    difference = find_weight(right, stated)
    if difference is not None:
        yield f"{difference} in the record"
    if record.weights_digest != compute_weights_digest(list(stated.items())):
        yield "its weights have another digest than it says"


def find_weight(right: Mapping[int, int], other: Mapping[int, int]) -> str | None:
    """The first uid whose weight differs, as the start of a sentence; None: none does."""
    for uid in sorted(right.keys() | other.keys()):
        if right.get(uid, 0) != other.get(uid, 0):
            return f"uid {uid} should weigh {right.get(uid, 0)} and weighs {other.get(uid, 0)}"
    return None
