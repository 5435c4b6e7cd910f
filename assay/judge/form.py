"""Judges a submission without a model: its form, and what follows from its text.

The word for a file is FORM_OK or the reason of a refusal, never ACCEPTED: whether its tokens are
the model's own draw is not looked at.
"""

from collections.abc import Callable
from dataclasses import dataclass

from assay.judge.checkpoint import CheckpointOutline
from assay.protocol.context import Context
from assay.protocol.encoding import EncodingError, Json
from assay.protocol.reason import Reason, Refusal
from assay.protocol.ss58 import encode_ss58
from assay.protocol.submission import Range, decode_ids, decode_proof, get_id_bits
from assay.verification import (
    CheckedSubmission,
    Examined,
    GroupValue,
    ReadPlan,
    Refused,
    examine,
    plan_audit,
    plan_samples,
)

#: The word for a file in which nothing but the model can find a fault.
FORM_OK = "FORM_OK"
#: A part of a file → its bytes, or an unbound refusal where they are not to be had.
ReadPart = Callable[[Range], bytes | Refusal]
#: What a file is checked for: always; with a checkpoint; with its text; with the samples' beacon.
FORM = ("root", "header", "sizes", "records")
IDS = ("ids that may be drawn", "lengths")
TEXT = ("problems", "replies", "rewards", "values")
SAMPLES = ("samples",)
#: What only a model can show.
BY_MODEL = ("draw", "sketch", "log-probabilities")


@dataclass(frozen=True, slots=True)
class FormVerdict:
    """What is known of a file without a model.

    Attributes:
        reason: of a refusal; None: FORM_OK.
        unbound: the bytes that were shown are not those that the root on chain binds.
        values: of the valued groups, ascending, if the model finds no fault; None: not computed.
        examined: what was read; None where it was refused.
    """

    window: int
    hotkey: bytes
    reason: Reason | None
    detail: str
    checked: tuple[str, ...]
    not_checked: tuple[str, ...]
    group: int | None = None
    rollout: int | None = None
    token: int | None = None
    unbound: bool = False
    values: tuple[GroupValue, ...] | None = None
    examined: Examined | None = None

    @property
    def word(self) -> str:
        """FORM_OK or a reason."""
        return FORM_OK if self.reason is None else self.reason.value


def judge_form(
    read: ReadPart,
    context: Context,
    hotkey: bytes,
    outline: CheckpointOutline | None = None,
    *,
    samples: bool = True,
) -> FormVerdict:
    """Check a file as far as that needs no model. Its beacons are the caller's to check, see
    `find_context_fault`.

    Args:
        outline: of the checkpoint in force; None: ids, lengths and text are not checked.
        samples: whether to read the samples, where their beacon is known.

    Raises:
        ValueError: the outline is not that of the context's checkpoint; or the environment is
            another version, or lacks something here.
        OperatorError: a sandbox that the environment needs does not run.
    """
    id_bits = None if outline is None else get_id_bits(len(outline.tokenizer.drawable))
    submission = run_plan(plan_audit(context, hotkey, id_bits), read)
    found: Refused | Examined | Refusal | None
    if outline is None:
        found = submission.refusal or _find_record_fault(submission)
    else:
        found = examine(submission, outline.tokenizer, manifest=outline.manifest, pool=outline.pool)
    done: list[str] = [*FORM]
    values = None
    examined = found if isinstance(found, Examined) else None
    if outline is not None:
        done += IDS
    if examined is not None and outline is not None and outline.no_text is None:
        verdict = examined.presume()
        if isinstance(verdict, Refused):
            found = verdict
        else:
            found, values = None, verdict.groups
        done += TEXT
    fault = found if isinstance(found, Refusal) else None
    if isinstance(found, Refused):
        fault = found.fault
    by_samples = fault is None and samples and context.sample is not None
    if by_samples:
        fault = run_plan(plan_samples(context, hotkey), read).refusal
        by_samples = fault is not None
        done += SAMPLES
    every = (*FORM, *IDS, *TEXT, *SAMPLES, *BY_MODEL)
    left = tuple(one for one in every if one not in done)
    if fault is not None:  # the first one ends the checks
        done, left = ["up to this fault"], ("what comes after it",)
    return FormVerdict(
        context.window,
        hotkey,
        None if fault is None else fault.reason,
        _describe(fault, context, by_samples),
        tuple(done),
        left,
        **{} if fault is None else {n: getattr(fault, n) for n in ("group", "rollout", "token")},
        unbound=fault is not None and fault.unbound,
        values=values,
        examined=examined,
    )


def run_plan(plan: ReadPlan, read: ReadPart) -> CheckedSubmission:
    """Run a plan to its end, over one copy of the file. Raises as `read`."""
    while plan.wanted is not None:
        data = read(plan.wanted)
        refusal = data if isinstance(data, Refusal) else plan.take(data)
        if refusal is not None:
            plan.refuse(refusal)
    return plan.result


def form_to_json(verdict: FormVerdict) -> dict[str, Json]:
    """JSON for people and scripts."""
    where = {name: getattr(verdict, name) for name in ("group", "rollout", "token")}
    groups = [
        {"index": g.index, "value": g.value, "rewards": [*g.rewards]} for g in verdict.values or ()
    ]
    return {
        "hotkey": encode_ss58(verdict.hotkey),
        "window": verdict.window,
        "word": verdict.word,
        "detail": verdict.detail,
        **{name: value for name, value in where.items() if value is not None},
        "groups": None if verdict.values is None else groups,
        "checked": [*verdict.checked],
        "not_checked": [*verdict.not_checked],
    }


def _describe(fault: Refusal | None, context: Context, by_samples: bool) -> str:
    if fault is not None:
        return f"a sampled rollout: {fault.detail}" if by_samples else fault.detail
    waits = "" if context.sample is not None else "; its samples are not known yet"
    return f"nothing that is checked here refuses it{waits}"


def _find_record_fault(submission: CheckedSubmission) -> Refusal | None:
    """The first record of an audited rollout that is not canonical."""
    for group in submission.groups:
        index, rollout = group.chosen.index, None
        try:
            for rollout, record in group.ids.items():
                decode_ids(record, group.head, rollout)
            for rollout, record in group.proofs.items():
                decode_proof(record, group.head, rollout)
        except EncodingError as error:
            detail = f"rollout {rollout} of group {index} {error}"
            return Refusal(Reason.MALFORMED, detail, index, rollout)
    return None
