"""One settlement's record, derived again from the rows of its windows."""

from collections.abc import Callable, Mapping, Sequence

from assay.audit.derived_context import check_parameters
from assay.audit.findings import Check, Findings
from assay.audit.ports import Public
from assay.audit.weights_check import check_shown_weights, find_weight, pair_weights
from assay.network.chain import ForgottenError
from assay.network.evm import make_ledger_entry
from assay.protocol import encode_ss58
from assay.protocol.record import NOTHING, Outcome, SeatScore, SettlementRecord, WindowRecord
from assay.protocol.score_tree import compute_weights_digest, make_score_tree
from assay.protocol.window import compute_settled_windows
from assay.verification import Result, Seat, compute_settlement, compute_weights

_ARCHIVE = "the nodes asked have forgotten block {}'s state: it needs an archive endpoint"


def check_settlement(
    public: Public,
    validator: bytes,
    record: SettlementRecord,
    windows: Mapping[int, WindowRecord],
    read: Callable[[int], SettlementRecord | None],
    found: Findings,
) -> Sequence[int]:
    """Checks a settlement's content.

    Args:
        windows: records of the windows that it covers, as far as they are there.
        read: the validator's settlement of an epoch block; None where none is published.

    Returns:
        Windows of its epoch that it leaves out, as one that begins or comes back may.

    Raises:
        ChainError: the chain cannot be read.
    """
    if record.validator != validator:
        found.differ(
            Check.RECORD,
            f"the record is {encode_ss58(record.validator)}'s, who did not publish it here",
        )
    by_then = check_parameters(public, record.parameters, record.epoch, found)
    if by_then is None:
        return ()
    public = by_then
    left_out = _check_covered(public, record, windows, found)
    counted = [covered.window for covered in record.windows if covered.outcome is Outcome.COUNTED]
    if any(window not in windows for window in counted):
        missing = next(window for window in counted if window not in windows)
        found.miss(Check.SETTLED, f"window {missing}, which it counts, has no record")
    else:
        last = windows[counted[-1]] if counted else None
        _check_last(record, last, found)
        _check_scores(public, record, [windows[window] for window in counted], found)
    _check_root(record, found)
    _check_weights(public, record, found)
    check_shown_weights(public.chain, record, read, found)
    _check_ledger(public, record, found)
    return left_out


def _check_covered(
    public: Public, record: SettlementRecord, windows: Mapping[int, WindowRecord], found: Findings
) -> Sequence[int]:
    """Every window between two epochs of the chain, with the outcome of its record; those that it
    may leave out."""
    found.look(Check.WINDOWS)
    for covered in record.windows:
        window = windows.get(covered.window)
        if window is None:
            found.miss(Check.WINDOWS, f"window {covered.window} has no record")
        elif window.digest != covered.record:
            found.differ(
                Check.WINDOWS,
                f"it was settled from another record of window {covered.window} than the one that "
                "is published",
            )
        elif window.outcome is not covered.outcome:
            found.differ(
                Check.WINDOWS,
                f"window {covered.window} is {window.outcome.value} in its record and "
                f"{covered.outcome.value} in the settlement",
            )
    try:
        epoch = _find_epoch_before(public, record)
    except ForgottenError:
        found.miss(Check.WINDOWS, _ARCHIVE.format(record.epoch))
        return ()
    if epoch is None:
        found.differ(Check.WINDOWS, f"no epoch of the subnet ended with block {record.epoch}")
        return ()
    if record.previous_epoch > epoch:
        found.differ(
            Check.WINDOWS,
            f"it follows a settlement at block {record.previous_epoch}, with which no epoch of the "
            "subnet ended",
        )
    due = compute_settled_windows(public.parameters.timing, epoch, record.epoch)
    said = [covered.window for covered in record.windows]
    # it had not begun before, or comes back from being away over an epoch that covers windows
    since = compute_settled_windows(public.parameters.timing, record.previous_epoch, record.epoch)
    begins = bool(said) and (record.previous == NOTHING or since != due)
    right = [window for window in due if not begins or window >= said[0]]
    if said != right:
        found.differ(
            Check.WINDOWS,
            f"windows {_list(right)} end between epochs {epoch} and {record.epoch}, and it settles "
            f"{_list(said)}",
        )
    return [window for window in due if window not in right]


def _find_epoch_before(public: Public, record: SettlementRecord) -> int | None:
    """The epoch block before a settlement's, by the chain: a record could name any block as the
    one before. None where the settlement's own is none."""
    chain, tempo = public.chain, public.parameters.timing.tempo
    if not chain.is_epoch(record.epoch):
        return None
    last = max(0, record.epoch - 2 * (tempo + 1))  # as far as `find_epoch` looks
    number = record.epoch - 1
    while number > last and not chain.is_epoch(number):
        number -= 1
    return number


def _check_last(record: SettlementRecord, last: WindowRecord | None, found: Findings) -> None:
    """What the ledger's contract is told of the settlement."""
    checkpoint = NOTHING if last is None else last.checkpoint
    audit = 0 if last is None or last.audit is None else last.audit.beacon.round
    if record.checkpoint != checkpoint:
        found.differ(
            Check.WINDOWS,
            f"its last window that counts had checkpoint {checkpoint.hex()[:16]}…, and it says "
            f"{record.checkpoint.hex()[:16]}…",
        )
    if record.audit_round != audit:
        found.differ(
            Check.WINDOWS,
            f"its last window that counts was audited by round {audit}, and it says "
            f"{record.audit_round}",
        )


def _check_scores(
    public: Public, record: SettlementRecord, counted: Sequence[WindowRecord], found: Findings
) -> None:
    scores = compute_settlement(
        Result(window.window, Seat(row.uid, row.registered_at), row.reason, row.score)
        for window in counted
        for row in window.members
        if row.reason is not None
    )
    try:
        held = public.chain.get_members(record.epoch)
    except ForgottenError:
        found.miss(Check.SETTLED, "who held which seat: " + _ARCHIVE.format(record.epoch))
        _check_known_scores(record, scores, found)
        return
    found.look(Check.SETTLED)
    right = {
        hotkey: SeatScore(hotkey, member.uid, member.registered_at, scores[seat])
        for hotkey, member in held.items()
        if (seat := Seat(member.uid, member.registered_at)) in scores
    }
    said = {score.hotkey: score for score in record.scores}
    for hotkey in sorted(right.keys() | said.keys()):
        wanted, stated = right.get(hotkey), said.get(hotkey)
        if wanted != stated:
            found.differ(
                Check.SETTLED,
                f"{encode_ss58(hotkey)} comes to {_name(wanted)}, and the record says "
                f"{_name(stated)}",
            )


def _check_known_scores(
    record: SettlementRecord, scores: Mapping[Seat, int], found: Findings
) -> None:
    """Without the chain: each seat that is there has the score of its windows."""
    for score in record.scores:
        right = scores.get(Seat(score.uid, score.registered_at))
        if right != score.score:
            found.differ(
                Check.SETTLED,
                f"uid {score.uid} comes to {right} by its windows, and the record says "
                f"{score.score}",
            )


def _name(score: SeatScore | None) -> str:
    return "nothing" if score is None else f"{score.score} on uid {score.uid}"


def _check_root(record: SettlementRecord, found: Findings) -> None:
    found.look(Check.ROOT)
    scores = [(score.hotkey, score.score) for score in record.scores]
    root = make_score_tree(scores).root if scores else NOTHING
    if record.score_root != root:
        found.differ(
            Check.ROOT,
            f"its scores have the root {root.hex()[:16]}…, and it says "
            f"{record.score_root.hex()[:16]}…",
        )


def _check_weights(public: Public, record: SettlementRecord, found: Findings) -> None:
    found.look(Check.WEIGHTS)
    identity = public.parameters.identity
    by_uid = {score.uid: score.score for score in record.scores}
    counts = any(covered.outcome is Outcome.COUNTED for covered in record.windows)
    right = compute_weights(by_uid, identity.owner_uid, identity.burn_share) if counts else {}
    said = {weight.uid: weight.weight for weight in record.weights}
    difference = find_weight(right, said)
    if difference is not None:
        found.differ(Check.WEIGHTS, f"{difference} in the record")
    if record.weights_digest != compute_weights_digest(pair_weights(record)):
        found.differ(Check.WEIGHTS, "its weights have another digest than it says")


def _check_ledger(public: Public, record: SettlementRecord, found: Findings) -> None:
    if public.ledger is None:
        return
    stands = public.ledger.get_digest(record.validator, record.epoch)
    entry = make_ledger_entry(record)
    if entry is None:  # nothing is posted of a settlement without scores
        if any(stands):
            found.differ(
                Check.LEDGER,
                f"the ledger holds an entry of epoch {record.epoch}, whose record has no scores",
            )
    elif not any(stands):
        found.miss(
            Check.LEDGER,
            f"the ledger holds nothing of epoch {record.epoch}: it was not posted, or not yet",
        )
    elif stands != entry.digest:
        found.differ(
            Check.LEDGER,
            f"the ledger holds another entry of epoch {record.epoch} than its record's score root, "
            "digest, checkpoint, audit round and weights",
        )
    else:
        found.look(Check.LEDGER)


def _list(windows: Sequence[int]) -> str:
    return ", ".join(map(str, windows)) or "none"
