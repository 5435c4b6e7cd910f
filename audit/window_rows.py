"""One row of a window's record: a miner, its verdict, its values and its score, derived again.

What a file shows is bound by the root on chain once its leaves are; what is said of a file before
that (it was missing, broken, another's) nobody can prove afterwards, whoever says it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.artifacts.submissions.submission_judge import judge_and_carry
from assay.audit.findings import Check, Findings
from assay.audit.ports import Submissions
from assay.inference import Checkpoint, Outline
from assay.network.store import StoreError
from assay.protocol import Context, Reason, encode_ss58
from assay.protocol.record import MemberRow
from assay.verification import Examined, Ledger, SubmissionReader, Verdict, examine

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


@dataclass(frozen=True, slots=True)
class Desk:
    """What all rows of a window are checked with.

    Attributes:
        checkpoint: None: no forward pass is run.
        validator: hotkey of the record's author, for its witness.
        has_ledgers: every window of the settlement before this one was run, too.
    """

    context: Context
    outline: Outline
    submissions: Submissions
    checkpoint: Checkpoint | None
    validator: bytes
    has_ledgers: bool


def check_row(desk: Desk, row: MemberRow, ledger: Ledger, found: Findings) -> Ledger:
    """Checks a row; the ledger of its seat afterwards, as `judge` has it."""
    name = encode_ss58(row.hotkey)
    if row.reason is None or row.reason is Reason.INTERNAL:
        if row.reason is None:
            found.notes.append(f"{name}: there is no verdict")
        else:
            found.take_word(f"{name}: the validator's judge broke on it, which nobody can prove")
        _check_score(desk, row, name, found)
        return ledger
    try:
        reader = desk.submissions.open(desk.context, row.hotkey)
        examined = examine(
            reader, row.hotkey, desk.context, desk.outline.tokenizer, manifest=desk.outline.manifest
        )
        if isinstance(examined, Verdict):
            _check_refusal(row, examined, name, found)
        else:
            ledger = _check_whole(desk, row, examined, reader, ledger, name, found)
    except StoreError as error:
        _miss_file(row, f"{name}: the file cannot be read from its store: {error}", found)
    _check_score(desk, row, name, found)
    _check_witness_length(desk, row, name, found)
    return ledger


def _check_refusal(row: MemberRow, verdict: Verdict, name: str, found: Findings) -> None:
    """The file, or its lack, is refused without a model."""
    reason, said = verdict.reason, row.reason
    found.look(Check.VERDICTS)
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
        Check.VERDICTS,
        f"{name}: the record says {row.reason}, and it is {verdict.reason}: {verdict.detail}",
    )


def _miss_file(row: MemberRow, sentence: str, found: Findings) -> None:
    found.look(Check.FILES)
    if row.reason is Reason.NOT_REVEALED:
        return
    found.miss(Check.FILES, sentence)


def _check_whole(
    desk: Desk,
    row: MemberRow,
    examined: Examined,
    reader: SubmissionReader,
    ledger: Ledger,
    name: str,
    found: Findings,
) -> Ledger:
    """The file is there and whole: only a model could refuse it."""
    said = row.reason
    found.look(Check.FILES)
    if said is not Reason.ACCEPTED and said not in _BY_MODEL:
        if said in _UNBOUND and not _is_refused_by_commitment(desk, row):
            found.take_word(
                f"{name}: the record says {said}; the file that is served now is whole, and nobody "
                "can prove what was served then"
            )
        else:
            found.differ(
                Check.VERDICTS,
                f"{name}: the record says {said}, and what it committed to has no such fault",
            )
        return ledger
    verdict = None
    if desk.checkpoint is not None:
        verdict, ledger = judge_and_carry(
            reader, row.hotkey, desk.context, desk.checkpoint, ledger, validator=desk.validator
        )
        _check_verdict(desk, row, verdict, name, found)
    else:
        found.claims += 1
    if said is Reason.ACCEPTED:
        if verdict is None or not verdict.accepted:
            verdict = examined.accept()
        _check_values(row, verdict, name, found)
    return ledger


def _is_refused_by_commitment(desk: Desk, row: MemberRow) -> bool:
    committed = desk.context.commitments.get(row.hotkey)
    return committed is None or not 0 < committed.groups <= desk.context.parameters.work.group_cap


def _check_verdict(
    desk: Desk, row: MemberRow, verdict: Verdict, name: str, found: Findings
) -> None:
    """What the forward pass says."""
    ledgers = Reason.LEDGER_MISMATCH in (row.reason, verdict.reason)
    if ledgers and not desk.has_ledgers:
        found.miss(
            Check.VERDICTS,
            f"{name}: the ledger of its seat runs from the settlement's first window on, which was "
            "not looked at",
        )
    elif row.reason is verdict.reason:
        found.look(Check.VERDICTS)
    else:
        _differ(row, verdict, name, found)
    found.look(Check.WITNESS)
    fault = _find_witness_fault(row.witness, verdict.witness)
    if fault is not None:
        found.differ(Check.WITNESS, f"{name}: {fault}")


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
    found.look(Check.VALUES)
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
    found.differ(Check.VALUES, f"{name}: {fault}")


def _check_witness_length(desk: Desk, row: MemberRow, name: str, found: Findings) -> None:
    """2 · G bytes a group that was measured; without a model it is not known how many were before
    one failed."""
    if row.reason not in _BY_MODEL | {Reason.ACCEPTED}:
        if row.witness:
            found.differ(
                Check.WITNESS, f"{name}: {row.reason} needs no forward pass, and has a witness"
            )
        return
    work, committed = desk.context.parameters.work, desk.context.commitments.get(row.hotkey)
    size = 2 * work.group_size
    groups = min(0 if committed is None else committed.groups, work.audited_groups)
    whole = row.reason in (Reason.ACCEPTED, Reason.LEDGER_MISMATCH)
    measured, rest = divmod(len(row.witness), size)
    if rest or not measured or measured > groups or (whole and measured < groups):
        found.differ(
            Check.WITNESS,
            f"{name}: {groups} groups are audited, each with {size} bytes of witness, and the "
            f"record has {len(row.witness)} in all: not all were looked at",
        )


def _check_score(desk: Desk, row: MemberRow, name: str, found: Findings) -> None:
    """The score follows from the row's own values; these were compared before."""
    found.look(Check.SCORES)
    if row.reason is not Reason.ACCEPTED:
        if row.score or row.values:
            found.differ(
                Check.SCORES, f"{name}: scored {row.score} in spite of {row.reason or 'no verdict'}"
            )
        return
    committed = desk.context.commitments.get(row.hotkey)
    groups = 0 if committed is None else committed.groups
    audited = min(groups, desk.context.parameters.work.audited_groups)
    if len(row.values) != audited or not audited:
        found.differ(
            Check.SCORES,
            f"{name}: {audited} of its {groups} groups are audited, and the record values "
            f"{len(row.values)}",
        )
        return
    score = groups * sum(row.values) // audited
    if row.score != score:
        found.differ(Check.SCORES, f"{name}: its values make a score of {score}, not {row.score}")


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
