"""One window's record, derived again."""

from assay.artifacts.checkpoints.checkpoint_folder import find_checkpoint_fault
from assay.audit.derived_context import check_parameters, derive_context
from assay.audit.findings import Check, Findings
from assay.audit.ports import Public
from assay.audit.window_rows import Desk, check_row
from assay.inference import Checkpoint, CheckpointError, Outline, UnusableCheckpointError
from assay.protocol import Context, Phase, Reason, encode_ss58
from assay.protocol.record import NOTHING, Outcome, WindowRecord
from assay.protocol.window import compute_block
from assay.verification import Ledger, Seat

#: Seat → its ledger in one settlement so far; None where it is not known.
Ledgers = dict[Seat, Ledger]


def check_window(
    public: Public, validator: bytes, record: WindowRecord, ledgers: Ledgers | None, found: Findings
) -> bool:
    """Checks a record's content.

    Args:
        ledgers: of the settlement that holds the window, up to it; None where they are not known.
            Changed to what they are after it.

    Returns:
        Whether forward passes were run, so that `ledgers` are what they should be.

    Raises:
        ChainError: the chain cannot be read.
    """
    if record.validator != validator:
        found.differ(
            Check.RECORD,
            f"the record is {encode_ss58(record.validator)}'s, who did not publish it here",
        )
    if record.software == "":
        found.notes.append("the record does not say what software judged")
    number = compute_block(public.parameters.timing, record.window, Phase.COMMIT)
    if record.challenge is None:  # parameters have decided nothing, and may have come later
        found.notes.append("the record says nothing of the window's inputs")
    else:
        by_then = check_parameters(public, record.parameters, number, found)
        if by_then is None:
            return False
        public = by_then
    context = derive_context(public, record, found)
    _check_outcome(record, found)
    if context is None or record.audit is None:
        found.notes.append("the validator abstained before the window's inputs were known")
        return public.models is not None  # it judged nobody, and no ledger has changed
    return _check_rows(public, record, context, ledgers, found)


def _check_outcome(record: WindowRecord, found: Findings) -> None:
    """Whether the record may count by what stands in it."""
    found.look(Check.VERDICTS)
    reasons = {row.reason for row in record.members}
    complete = record.audit is not None and None not in reasons
    broken = Reason.INTERNAL in reasons and Reason.ACCEPTED not in reasons
    if record.outcome is Outcome.COUNTED and not complete:
        found.differ(Check.VERDICTS, "the window counts, and not every member has a verdict")
    elif record.outcome is Outcome.COUNTED and broken:
        found.differ(Check.VERDICTS, "the window counts, though the judge worked for nobody")
    elif record.outcome is Outcome.VOID and record.audit is None:
        found.differ(
            Check.VERDICTS, "the window is void, though the validator had nothing to judge yet"
        )
    elif record.outcome is Outcome.ABSTAINED and complete and not broken:
        found.differ(Check.VERDICTS, "the validator abstained, though every member has a verdict")
    elif record.outcome is Outcome.ABSTAINED:
        found.notes.append("the validator abstained: whether it had to, nobody can prove")


def _check_rows(
    public: Public, record: WindowRecord, context: Context, ledgers: Ledgers | None, found: Findings
) -> bool:
    outline = _open_outline(public, record, context, found)
    if outline is None:
        return False
    checkpoint = _open_model(public, context, found)
    void = find_checkpoint_fault(outline, public.parameters)
    if (void is not None) is not (record.outcome is Outcome.VOID):
        _check_void(record, void, checkpoint, found)
    if void is not None or record.outcome is Outcome.VOID:
        return False
    desk = Desk(
        context, outline, public.submissions, checkpoint, record.validator, ledgers is not None
    )
    carried = ledgers if ledgers is not None else {}
    for row in record.members:
        if row.hotkey not in context.members:
            continue  # it was said already
        member = context.members[row.hotkey]
        seat = Seat(member.uid, member.registered_at)
        carried[seat] = check_row(desk, row, carried.get(seat, Ledger()), found)
    return checkpoint is not None


def _open_outline(
    public: Public, record: WindowRecord, context: Context, found: Findings
) -> Outline | None:
    """None where no rows can be checked."""
    if context.checkpoint == NOTHING:  # the trainer's slot names none: void for all
        if record.outcome is Outcome.COUNTED:
            found.differ(Check.CHECKPOINT, "the window counts, and no checkpoint was in force")
        return None
    try:
        return public.outlines.get(context.checkpoint)
    except UnusableCheckpointError as error:
        if record.outcome is Outcome.COUNTED:
            found.differ(
                Check.CHECKPOINT, f"the window counts, and its checkpoint is unusable: {error}"
            )
    except CheckpointError as error:
        found.miss(Check.VALUES, f"the checkpoint in force is not to be had: {error}")
    return None


def _open_model(public: Public, context: Context, found: Findings) -> Checkpoint | None:
    if public.models is None:
        return None
    try:
        checkpoint = public.models.get(context.checkpoint)
    except CheckpointError as error:
        found.miss(Check.VERDICTS, f"the model of the checkpoint in force cannot be run: {error}")
        return None
    if checkpoint is None:
        found.miss(
            Check.VERDICTS,
            f"no --model holds checkpoint {context.checkpoint.hex()[:16]}…, which was in force",
        )
    return checkpoint


def _check_void(
    record: WindowRecord, void: str | None, checkpoint: Checkpoint | None, found: Findings
) -> None:
    if void is not None:
        if record.outcome is Outcome.COUNTED:
            found.differ(
                Check.CHECKPOINT, f"the window counts, and its checkpoint is unusable: {void}"
            )
    elif checkpoint is not None:
        found.differ(
            Check.CHECKPOINT, "the record says that the checkpoint is unusable, and it can be used"
        )
    else:
        found.claims += 1  # tensors that make no model void a window, too
