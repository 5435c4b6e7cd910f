"""Checks one settlement's record: derives it again from the rows of its windows, and compares its
weights with those on chain."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from assay.artifacts.records.reader import follow_links
from assay.audit.findings import FORGOTTEN, Aspect, Findings
from assay.audit.ports import Public
from assay.audit.window_parameters import check_parameters, is_decided_so
from assay.judge.record_faults import (
    compute_scores,
    earns,
    find_idle_fault,
    find_last_faults,
    find_root_fault,
    find_score_faults,
    find_weight,
    find_weight_faults,
)
from assay.network.chain.errors import ForgottenError
from assay.network.chain.ports import BlockReader
from assay.network.evm import make_ledger_entry
from assay.protocol.record import NOTHING, Outcome, SeatScore, SettlementRecord, WindowRecord
from assay.protocol.ss58 import encode_ss58
from assay.session.window_reader import iterate_weight_blocks
from assay.verification import Seat

#: Settlements back whose weights may still be in force, if newer ones did not reach the chain.
_BACK_MAX = 64

#: The settlement of an epoch block; None if none is published.
_Read = Callable[[int], SettlementRecord | None]


def check_settlement(
    public: Public,
    validator: bytes,
    record: SettlementRecord,
    windows: Mapping[int, WindowRecord],
    read: _Read,
    findings: Findings,
) -> Sequence[int]:
    """Check a settlement's content.

    Args:
        windows: records of the windows that it covers, as far as they exist.
        read: the validator's settlement of an epoch block; None if none is published.

    Returns:
        Windows of its epoch that it leaves out, as a validator that begins or returns may.

    Raises:
        ChainError: the chain cannot be read.
    """
    if record.validator != validator:
        findings.differ(
            Aspect.RECORD,
            f"the record is {encode_ss58(record.validator)}'s, who did not publish it here",
        )
    by_then = check_parameters(
        public, record.parameters, _find_last_window(public, record), record.epoch, findings
    )
    if by_then is None:
        return ()
    public = by_then
    left_out = _check_covered(public, record, windows, findings)
    counted = [covered.window for covered in record.windows if covered.outcome is Outcome.COUNTED]
    if any(window not in windows for window in counted):
        missing = next(window for window in counted if window not in windows)
        findings.miss(Aspect.SETTLED, f"window {missing}, which it counts, has no record")
    else:
        last = windows[counted[-1]] if counted else None
        findings.differ_all(Aspect.WINDOWS, find_last_faults(record, last))
        _check_scores(public, record, [windows[window] for window in counted], findings)
    findings.look(Aspect.ROOT)
    findings.differ_all(Aspect.ROOT, filter(None, [find_root_fault(record)]))
    findings.look(Aspect.WEIGHTS)
    _check_idle(record, read, findings)
    findings.differ_all(Aspect.WEIGHTS, find_weight_faults(record, public.history))
    _check_shown_weights(public.chain, record, read, findings)
    _check_ledger(public, record, findings)
    return left_out


def _find_last_window(public: Public, record: SettlementRecord) -> int:
    """The last window that it covers. Its parameters are the record's."""
    if record.windows:
        return max(covered.window for covered in record.windows)
    return max(0, public.history.compute_settled(0, record.epoch).stop - 1)


def _check_covered(
    public: Public,
    record: SettlementRecord,
    windows: Mapping[int, WindowRecord],
    findings: Findings,
) -> Sequence[int]:
    """Check every window between two epochs against its record's outcome. Return those that it may
    leave out."""
    findings.look(Aspect.WINDOWS)
    for covered in record.windows:
        window = windows.get(covered.window)
        if window is None:
            findings.miss(Aspect.WINDOWS, f"window {covered.window} has no record")
        elif window.digest != covered.record:
            findings.differ(
                Aspect.WINDOWS,
                f"it was settled from another record of window {covered.window} than the one that "
                "is published",
            )
        elif window.outcome is not covered.outcome:
            findings.differ(
                Aspect.WINDOWS,
                f"window {covered.window} is {window.outcome.value} in its record and "
                f"{covered.outcome.value} in the settlement",
            )
    try:
        epoch = _find_epoch_before(public, record)
    except ForgottenError:
        findings.miss(Aspect.WINDOWS, FORGOTTEN.format(record.epoch))
        return ()
    if epoch is None:
        findings.differ(Aspect.WINDOWS, f"no epoch of the subnet ended with block {record.epoch}")
        return ()
    if record.previous_epoch > epoch:
        findings.differ(
            Aspect.WINDOWS,
            f"it follows a settlement at block {record.previous_epoch}, with which no epoch of the "
            "subnet ended",
        )
    due = public.history.compute_settled(epoch, record.epoch)
    then = {p.digest: p for p in map(public.history.get, due)}
    if not all(is_decided_so(replace(public, parameters=p), findings) for p in then.values()):
        return ()
    covered_windows = [covered.window for covered in record.windows]
    # the validator had not begun before, or returns after an epoch that covers windows
    since = public.history.compute_settled(record.previous_epoch, record.epoch)
    begins = bool(covered_windows) and (record.previous == NOTHING or since != due)
    right = [window for window in due if not begins or window >= covered_windows[0]]
    if covered_windows != right:
        findings.differ(
            Aspect.WINDOWS,
            f"windows {_list(right)} end between epochs {epoch} and {record.epoch}, and it settles "
            f"{_list(covered_windows)}",
        )
    return [window for window in due if window not in right]


def _find_epoch_before(public: Public, record: SettlementRecord) -> int | None:
    """The epoch before, from the chain: a record could name any block. None if the settlement's own
    block is not an epoch."""
    chain, tempo = public.chain, max(p.timing.tempo for p in public.history.all)
    if not chain.is_epoch(record.epoch):
        return None
    last = max(0, record.epoch - 2 * (tempo + 1))  # the limit of `find_epoch`
    number = record.epoch - 1
    while number > last and not chain.is_epoch(number):
        number -= 1
    return number


def _check_scores(
    public: Public, record: SettlementRecord, counted: Sequence[WindowRecord], findings: Findings
) -> None:
    scores = compute_scores(counted)
    try:
        held = public.chain.get_members(record.epoch)
    except ForgottenError:
        findings.miss(Aspect.SETTLED, "who held which seat: " + FORGOTTEN.format(record.epoch))
        findings.differ_all(Aspect.SETTLED, find_score_faults(record, scores))
        return
    findings.look(Aspect.SETTLED)
    right = {
        hotkey: SeatScore(hotkey, member.uid, member.registered_at, scores[seat])
        for hotkey, member in held.items()
        if (seat := Seat(member.uid, member.registered_at)) in scores
    }
    stated_scores = {score.hotkey: score for score in record.scores}
    for hotkey in sorted(right.keys() | stated_scores.keys()):
        wanted, stated = right.get(hotkey), stated_scores.get(hotkey)
        if wanted != stated:
            findings.differ(
                Aspect.SETTLED,
                f"{encode_ss58(hotkey)} comes to {_name(wanted)}, and the record says "
                f"{_name(stated)}",
            )


def _check_idle(record: SettlementRecord, read: _Read, findings: Findings) -> None:
    """Check in how many settlements in a row nobody earned: it decides whether weights are set."""
    before = None if record.previous == NOTHING else read(record.previous_epoch)
    if before is not None and before.digest != record.previous:
        before = None
    if before is None and record.previous != NOTHING and not earns(record):
        findings.miss(
            Aspect.WEIGHTS,
            f"the settlement of epoch {record.previous_epoch}, from which it counts how often "
            "nobody earned, is not there",
        )
        return
    count = 0 if before is None else before.idle
    findings.differ_all(Aspect.WEIGHTS, filter(None, [find_idle_fault(record, count)]))


def _name(score: SeatScore | None) -> str:
    return "nothing" if score is None else f"{score.score} on uid {score.uid}"


def _check_ledger(public: Public, record: SettlementRecord, findings: Findings) -> None:
    if public.ledger is None:
        return
    stands = public.ledger.get_digest(record.validator, record.epoch)
    entry = make_ledger_entry(record)
    if entry is None:  # nothing is posted for a settlement without scores
        if any(stands):
            findings.differ(
                Aspect.LEDGER,
                f"the ledger holds an entry of epoch {record.epoch}, whose record has no scores",
            )
    elif not any(stands):
        findings.miss(
            Aspect.LEDGER,
            f"the ledger holds nothing of epoch {record.epoch}: it was not posted, or not yet",
        )
    elif stands != entry.digest:
        findings.differ(
            Aspect.LEDGER,
            f"the ledger holds another entry of epoch {record.epoch} than its record's score root, "
            "digest, checkpoint, audit round and weights",
        )
    else:
        findings.look(Aspect.LEDGER)


def _list(windows: Sequence[int]) -> str:
    return ", ".join(map(str, windows)) or "none"


# --- weights on chain


def _pair_weights(record: SettlementRecord) -> list[tuple[int, int]]:
    """(uid, weight) of a record, ascending."""
    return [(weight.uid, weight.weight) for weight in record.weights]


def _check_shown_weights(
    chain: BlockReader, record: SettlementRecord, read: _Read, findings: Findings
) -> None:
    """Check that the chain has shown these weights, and at the next epoch only weights of the
    validator's own record: an epoch that counts no window does not permit arbitrary weights."""
    try:
        rows = _read_rows(chain, record)
        if not rows:
            findings.miss(
                Aspect.CHAIN, f"no block after epoch {record.epoch} could show its weights yet"
            )
            return
        _compare(chain, record, rows, read, findings)
    except ForgottenError:
        findings.miss(Aspect.CHAIN, "weights of that time: " + FORGOTTEN.format(record.epoch))


def _read_rows(chain: BlockReader, record: SettlementRecord) -> dict[int, dict[int, int]]:
    """Block → the chain's weights there, up to the first block with the record's weights."""
    rows = {}
    for number in iterate_weight_blocks(chain, record.epoch):
        rows[number] = dict(chain.get_weights(number).get(record.validator, {}))
        if rows[number] == dict(_pair_weights(record)) or not record.weights:
            break
    return rows


def _compare(
    chain: BlockReader,
    record: SettlementRecord,
    rows: Mapping[int, dict[int, int]],
    read: _Read,
    findings: Findings,
) -> None:
    stated_weights = dict(_pair_weights(record))
    first, latest = min(rows), max(rows)
    if stated_weights and rows[latest] != stated_weights:
        difference = find_weight(stated_weights, rows[first])
        never = f"up to block {latest} it never shows the record's weights"
        if all(row and _is_explained(chain, record, b, row, read) for b, row in rows.items()):
            # a later settlement's weights replace those that could not be sent in time
            findings.miss(
                Aspect.CHAIN, f"{difference} on chain: {never}, but other settlements' of it"
            )
        else:
            findings.differ(Aspect.CHAIN, f"{difference} on chain: {never}")
        return
    findings.look(Aspect.CHAIN)
    row = rows[first]
    if row and not _is_explained(chain, record, first, row, read):
        uid, weight = max(row.items(), key=lambda item: item[1])
        findings.differ(
            Aspect.CHAIN,
            f"at block {first} the chain shows weights that no settlement of the record has: uid "
            f"{uid} weighs {weight}",
        )


def _is_explained(
    chain: BlockReader, record: SettlementRecord, number: int, row: dict[int, int], read: _Read
) -> bool:
    """Return whether a row has the weights of a settlement before the block, or was there before
    the first settlement."""
    later = (read(n) for n in range(record.epoch + 1, number) if chain.is_epoch(n))
    if any(other is not None and dict(_pair_weights(other)) == row for other in later):
        return True
    before = record
    for before in follow_links(read, record.epoch, limit=_BACK_MAX):
        if dict(_pair_weights(before)) == row:
            return True
    if before.previous == NOTHING:
        return row == dict(chain.get_weights(before.epoch).get(record.validator, {}))
    return True  # nothing is published there, so nothing is proven: reported elsewhere
