"""One window's record, derived again: its inputs, then each row's verdict, values and score.

What a file shows is bound by the root on chain once its leaves are; what is said of a file before
that (it was missing, broken, another's) nobody can prove afterwards, whoever says it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.artifacts.checkpoints.checkpoint_folder import find_checkpoint_fault
from assay.artifacts.submissions.submission_judge import judge_and_carry
from assay.audit.derived_context import check_parameters, derive_context
from assay.audit.findings import Aspect, Findings
from assay.audit.ports import Public, Submissions
from assay.inference import Checkpoint, CheckpointError, Outline, UnusableCheckpointError
from assay.network.store import StoreError
from assay.protocol import Context, Phase, Reason, encode_ss58
from assay.protocol.record import NOTHING, MemberRow, Outcome, WindowRecord
from assay.protocol.window import compute_block
from assay.verification import Examined, Ledger, Seat, SubmissionReader, Verdict, examine

#: Seat → its ledger in one settlement so far; None where it is not known.
Ledgers = dict[Seat, Ledger]
#: Decided by the chain alone.
_BY_CHAIN = frozenset({Reason.NOT_REGISTERED, Reason.NO_COMMITMENT})
#: Said of a file before its bytes are bound by the root on chain.
_UNBOUND = frozenset(
    {
        Reason.NOT_REVEALED,
        Reason.TOO_LARGE,
        Reason.MALFORMED,
        Reason.WRONG_HEADER,
        Reason.ROOT_MISMATCH,
    }
)
#: Decided by the model alone.
_BY_MODEL = frozenset(
    {
        Reason.SKETCH_MISMATCH,
        Reason.LOGPROB_MISMATCH,
        Reason.SAMPLING_MISMATCH,
        Reason.LEDGER_MISMATCH,
    }
)
#: How far two machines' witnesses may be apart.
_WITNESS_STEP = 1


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
            Aspect.RECORD,
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
    found.look(Aspect.VERDICTS)
    reasons = {row.reason for row in record.members}
    complete = record.audit is not None and None not in reasons
    broken = Reason.INTERNAL in reasons and Reason.ACCEPTED not in reasons
    if record.outcome is Outcome.COUNTED and not complete:
        found.differ(Aspect.VERDICTS, "the window counts, and not every member has a verdict")
    elif record.outcome is Outcome.COUNTED and broken:
        found.differ(Aspect.VERDICTS, "the window counts, though the judge worked for nobody")
    elif record.outcome is Outcome.VOID and record.audit is None:
        found.differ(
            Aspect.VERDICTS, "the window is void, though the validator had nothing to judge yet"
        )
    elif record.outcome is Outcome.ABSTAINED and complete and not broken:
        found.differ(Aspect.VERDICTS, "the validator abstained, though every member has a verdict")
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
    inputs = _RowInputs(
        context, outline, public.submissions, checkpoint, record.validator, ledgers is not None
    )
    carried = ledgers if ledgers is not None else {}
    for row in record.members:
        if row.hotkey not in context.members:
            continue  # it was said already
        member = context.members[row.hotkey]
        seat = Seat(member.uid, member.registered_at)
        carried[seat] = _check_row(inputs, row, carried.get(seat, Ledger()), found)
    return checkpoint is not None


def _open_outline(
    public: Public, record: WindowRecord, context: Context, found: Findings
) -> Outline | None:
    """None where no rows can be checked."""
    if context.checkpoint == NOTHING:  # the trainer's slot names none: void for all
        if record.outcome is Outcome.COUNTED:
            found.differ(Aspect.CHECKPOINT, "the window counts, and no checkpoint was in force")
        return None
    try:
        return public.outlines.get(context.checkpoint)
    except UnusableCheckpointError as error:
        if record.outcome is Outcome.COUNTED:
            found.differ(
                Aspect.CHECKPOINT, f"the window counts, and its checkpoint is unusable: {error}"
            )
    except CheckpointError as error:
        found.miss(Aspect.VALUES, f"the checkpoint in force is not to be had: {error}")
    return None


def _open_model(public: Public, context: Context, found: Findings) -> Checkpoint | None:
    if public.models is None:
        return None
    try:
        checkpoint = public.models.get(context.checkpoint)
    except CheckpointError as error:
        found.miss(Aspect.VERDICTS, f"the model of the checkpoint in force cannot be run: {error}")
        return None
    if checkpoint is None:
        found.miss(
            Aspect.VERDICTS,
            f"no --model holds checkpoint {context.checkpoint.hex()[:16]}…, which was in force",
        )
    return checkpoint


def _check_void(
    record: WindowRecord, void: str | None, checkpoint: Checkpoint | None, found: Findings
) -> None:
    if void is not None:
        if record.outcome is Outcome.COUNTED:
            found.differ(
                Aspect.CHECKPOINT, f"the window counts, and its checkpoint is unusable: {void}"
            )
    elif checkpoint is not None:
        found.differ(
            Aspect.CHECKPOINT, "the record says that the checkpoint is unusable, and it can be used"
        )
    else:
        found.claims += 1  # tensors that make no model void a window, too


# --- rows


@dataclass(frozen=True, slots=True)
class _RowInputs:
    """What all rows of a window are checked with."""

    context: Context
    outline: Outline
    submissions: Submissions
    checkpoint: Checkpoint | None  # None: no forward pass is run
    validator: bytes  # hotkey of the record's author, for its witness
    has_ledgers: bool  # every window of the settlement before this one was run, too


def _check_row(inputs: _RowInputs, row: MemberRow, ledger: Ledger, found: Findings) -> Ledger:
    """Checks a row; the ledger of its seat afterwards, as `judge` has it."""
    name = encode_ss58(row.hotkey)
    if row.reason is None or row.reason is Reason.INTERNAL:
        if row.reason is None:
            found.notes.append(f"{name}: there is no verdict")
        else:
            found.take_word(f"{name}: the validator's judge broke on it, which nobody can prove")
        _check_score(inputs, row, name, found)
        return ledger
    try:
        reader = inputs.submissions.open(inputs.context, row.hotkey)
        examined = examine(
            reader,
            row.hotkey,
            inputs.context,
            inputs.outline.tokenizer,
            manifest=inputs.outline.manifest,
        )
        if isinstance(examined, Verdict):
            _check_refusal(row, examined, name, found)
        else:
            ledger = _check_whole(inputs, row, examined, reader, ledger, name, found)
    except StoreError as error:
        _miss_file(row, f"{name}: the file cannot be read from its store: {error}", found)
    _check_score(inputs, row, name, found)
    _check_witness_length(inputs, row, name, found)
    return ledger


def _check_refusal(row: MemberRow, verdict: Verdict, name: str, found: Findings) -> None:
    """The file, or its lack, is refused without a model."""
    reason, said = verdict.reason, row.reason
    found.look(Aspect.VERDICTS)
    if said is reason:
        return
    committed = verdict.committed_groups
    by_chain = reason in _BY_CHAIN or (reason in _UNBOUND and not committed)
    if by_chain or said in _BY_CHAIN:
        _differ(row, verdict, name, found)
    elif reason not in _UNBOUND:  # bound by the root, and decided by what the file holds
        if said in _UNBOUND:
            found.notes.append(
                f"{name}: the record says {said}; what is served now is {reason}, and nobody can "
                "prove what was served then"
            )
        else:
            _differ(row, verdict, name, found)
    elif said in _UNBOUND:
        found.notes.append(f"{name}: the record says {said}, what is served now is {reason}")
    else:
        _miss_file(row, f"{name}: what it committed to is not served: {verdict.detail}", found)


def _differ(row: MemberRow, verdict: Verdict, name: str, found: Findings) -> None:
    found.differ(
        Aspect.VERDICTS,
        f"{name}: the record says {row.reason}, and it is {verdict.reason}: {verdict.detail}",
    )


def _miss_file(row: MemberRow, sentence: str, found: Findings) -> None:
    found.look(Aspect.FILES)
    if row.reason is Reason.NOT_REVEALED:
        return
    found.miss(Aspect.FILES, sentence)


def _check_whole(
    inputs: _RowInputs,
    row: MemberRow,
    examined: Examined,
    reader: SubmissionReader,
    ledger: Ledger,
    name: str,
    found: Findings,
) -> Ledger:
    """The file is there and whole: only a model could refuse it."""
    said = row.reason
    found.look(Aspect.FILES)
    if said is not Reason.ACCEPTED and said not in _BY_MODEL:
        if said in _UNBOUND and not _is_refused_by_commitment(inputs, row):
            found.take_word(
                f"{name}: the record says {said}; the file that is served now is whole, and nobody "
                "can prove what was served then"
            )
        else:
            found.differ(
                Aspect.VERDICTS,
                f"{name}: the record says {said}, and what it committed to has no such fault",
            )
        return ledger
    verdict = None
    if inputs.checkpoint is not None:
        verdict, ledger = judge_and_carry(
            reader,
            row.hotkey,
            inputs.context,
            inputs.checkpoint,
            ledger,
            validator=inputs.validator,
        )
        _check_verdict(inputs, row, verdict, name, found)
    else:
        found.claims += 1
    if said is Reason.ACCEPTED:
        if verdict is None or not verdict.accepted:
            verdict = examined.accept()
        _check_values(row, verdict, name, found)
    return ledger


def _is_refused_by_commitment(inputs: _RowInputs, row: MemberRow) -> bool:
    committed = inputs.context.commitments.get(row.hotkey)
    return committed is None or not 0 < committed.groups <= inputs.context.parameters.work.group_cap


def _check_verdict(
    inputs: _RowInputs, row: MemberRow, verdict: Verdict, name: str, found: Findings
) -> None:
    """What the forward pass says."""
    ledgers = Reason.LEDGER_MISMATCH in (row.reason, verdict.reason)
    if ledgers and not inputs.has_ledgers:
        found.miss(
            Aspect.VERDICTS,
            f"{name}: the ledger of its seat runs from the settlement's first window on, which was "
            "not looked at",
        )
    elif row.reason is verdict.reason:
        found.look(Aspect.VERDICTS)
    else:
        _differ(row, verdict, name, found)
    found.look(Aspect.WITNESS)
    fault = _find_witness_fault(row.witness, verdict.witness)
    if fault is not None:
        found.differ(Aspect.WITNESS, f"{name}: {fault}")


def _find_witness_fault(said: bytes, derived: bytes) -> str | None:
    if len(said) != len(derived):
        return (
            f"the forward passes leave {len(derived)} bytes of witness, and the record has "
            f"{len(said)}"
        )
    one, other = (np.frombuffer(data, np.int8).astype(np.int16) for data in (said, derived))
    apart = np.abs(one - other)
    if not len(apart) or int(apart.max()) <= _WITNESS_STEP:
        return None
    wrong = int((apart > _WITNESS_STEP).sum())
    return (
        f"{wrong} of {len(apart)} bytes of the witness are not what this validator's own forward "
        "pass gives: it did not run one, or copied another's"
    )


def _check_values(row: MemberRow, verdict: Verdict, name: str, found: Findings) -> None:
    found.look(Aspect.VALUES)
    values = [group.value for group in verdict.groups]
    if list(row.values) == values:
        return
    audited = [group.index for group in verdict.groups]
    if len(row.values) != len(values):
        fault = f"groups {_list(audited)} are audited, and the record values {len(row.values)}"
    else:
        place = next(i for i, value in enumerate(values) if row.values[i] != value)
        fault = (
            f"group {audited[place]} is worth {values[place]}, and the record says "
            f"{row.values[place]}"
        )
    found.differ(Aspect.VALUES, f"{name}: {fault}")


def _check_witness_length(inputs: _RowInputs, row: MemberRow, name: str, found: Findings) -> None:
    """2 · G bytes a group that was measured; without a model it is not known how many were before
    one failed."""
    if row.reason not in _BY_MODEL | {Reason.ACCEPTED}:
        if row.witness:
            found.differ(
                Aspect.WITNESS, f"{name}: {row.reason} needs no forward pass, and has a witness"
            )
        return
    work, committed = inputs.context.parameters.work, inputs.context.commitments.get(row.hotkey)
    size = 2 * work.group_size
    groups = min(0 if committed is None else committed.groups, work.audited_groups)
    whole = row.reason in (Reason.ACCEPTED, Reason.LEDGER_MISMATCH)
    measured, rest = divmod(len(row.witness), size)
    if rest or not measured or measured > groups or (whole and measured < groups):
        found.differ(
            Aspect.WITNESS,
            f"{name}: {groups} groups are audited, each with {size} bytes of witness, and the "
            f"record has {len(row.witness)} in all: not all were looked at",
        )


def _check_score(inputs: _RowInputs, row: MemberRow, name: str, found: Findings) -> None:
    """The score follows from the row's own values; these were compared before."""
    found.look(Aspect.SCORES)
    if row.reason is not Reason.ACCEPTED:
        if row.score or row.values:
            found.differ(
                Aspect.SCORES,
                f"{name}: scored {row.score} in spite of {row.reason or 'no verdict'}",
            )
        return
    committed = inputs.context.commitments.get(row.hotkey)
    groups = 0 if committed is None else committed.groups
    audited = min(groups, inputs.context.parameters.work.audited_groups)
    if len(row.values) != audited or not audited:
        found.differ(
            Aspect.SCORES,
            f"{name}: {audited} of its {groups} groups are audited, and the record values "
            f"{len(row.values)}",
        )
        return
    score = groups * sum(row.values) // audited
    if row.score != score:
        found.differ(Aspect.SCORES, f"{name}: its values make a score of {score}, not {row.score}")


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
