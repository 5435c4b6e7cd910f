"""Compares two traces of one step: finds the first operator that differs, and which trace is right.

That operator is run again here, on the inputs that both name, and as other machines would run it. A
digest does not say how far off an answer is. So a trace from a kind of machine that this one cannot
emulate is not called wrong where kernels may round differently (`MOVES_OR_ROUNDS_ONCE` lists those
that must not). A machine of that kind has to decide then.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.folder import Step
from assay.artifacts.steps.trace_files import StoredTrace, TraceError
from assay.audit.tracing.operator_rerun import Answer, list_machines, rerun_on
from assay.audit.tracing.step_trace import reach_operator, remake
from assay.protocol.trace import (
    OperatorRecord,
    Parting,
    TraceFault,
    TraceFaults,
    TraceRecord,
    find_parting,
)
from assay.training.last_bits import compute_code_digest, describe_engine, describe_processor

#: Operators that move elements, compare them or round each once, as IEEE 754 defines: they give the
#: same bits on every machine. `bench/operators.py` checks that.
MOVES_OR_ROUNDS_ONCE = frozenset(
    (
        "_local_scalar_dense", "_reshape_alias", "_to_copy", "_unsafe_view", "abs", "alias",
        "arange", "as_strided", "bitwise_and", "bitwise_not", "bitwise_or", "cat", "clamp",
        "clamp_max", "clamp_min", "clone", "constant_pad_nd", "copy_", "detach", "diagonal",
        "div", "embedding", "eq", "expand", "fill_", "full", "full_like", "gather", "ge",
        "gt", "index", "index_select", "le", "lift_fresh", "logical_and", "logical_not",
        "logical_or", "lt", "masked_fill", "maximum", "minimum", "mul", "ne", "neg",
        "new_zeros", "ones", "ones_like", "permute", "relu", "repeat", "select",
        "select_backward", "slice", "slice_backward", "split", "split_with_sizes",
        "squeeze", "stack", "sub", "t", "transpose", "tril", "triu", "unbind", "unsqueeze",
        "view", "where", "zero_", "zeros", "zeros_like",
    )
)  # fmt: skip

Status = Literal["right", "wrong", "unfit", "unknown"]


@dataclass(frozen=True, slots=True)
class Standing:
    """The finding on one of the two traces. `unfit`: it contradicts itself or its record."""

    status: Status
    detail: str  # one sentence


@dataclass(frozen=True, slots=True)
class Bisection:
    """The result of comparing two traces."""

    a: Standing
    b: Standing
    detail: str  # one sentence: where they differ
    index: int | None = None  # of the first operator that differs
    operator: str | None = None
    arguments: str | None = None

    @property
    def is_settled(self) -> bool:
        """Return whether both traces are known to be right, or one to be wrong."""
        statuses = {self.a.status, self.b.status}
        return statuses == {"right"} or bool(statuses & {"wrong", "unfit"})

    @property
    def accuses(self) -> bool:
        """Return whether one of the traces is wrong."""
        return bool({self.a.status, self.b.status} & {"wrong", "unfit"})


_FITS = Standing("unknown", "nothing is known against it")


def bisect_traces(
    a: StoredTrace | TraceFault,
    b: StoredTrace | TraceFault,
    step: Step | None,
    checkpoints: CheckpointFolder | None,
    say: Callable[[str], None] = lambda line: None,
) -> Bisection:
    """Compare two traces of a step.

    Args:
        step: the step of both, which is repeated here up to the operator; None: the operator is
            only named.
        checkpoints: with the step's parent.
        say: called with the current activity.

    Raises:
        TraceError: the traces are not of one step, or not of this one.
        StoreError, UnavailableError: a trace cannot be read.
        StepError, CheckpointError, OperatorError: as `reexecute`.
        RerunError: the operator cannot be run again here, so nobody is accused.
    """
    if isinstance(a, TraceFault) or isinstance(b, TraceFault):
        return _say_unfit(*(x if isinstance(x, TraceFault) else None for x in (a, b)))
    _require_one_step(a.record, b.record, step)
    if step is not None:
        faults = [_find_other_threads(x.record, step) for x in (a, b)]
        if any(faults):
            return _say_unfit(*faults)
    parting = find_parting(a, b)
    if isinstance(parting, TraceFaults):
        return _say_unfit(parting.a, parting.b)
    if parting is None:
        return _compare_made(a.record, b.record, step, checkpoints, say)
    if step is None or checkpoints is None:
        unknown = Standing("unknown", "no step was repeated: name the step with --step")
        return _describe(parting, unknown, unknown)
    return _judge(parting, (a.record, b.record), step, checkpoints, say)


def _require_one_step(a: TraceRecord, b: TraceRecord, step: Step | None) -> None:
    if a.step != b.step:
        raise TraceError(
            f"A is of the step with record {a.step.hex()[:16]}…, B of {b.step.hex()[:16]}…: only "
            "traces of the same step can be compared"
        )
    if step is not None and step.record.digest != a.step:
        raise TraceError(f"the traces are of another step: its record is {a.step.hex()[:16]}…")


def _find_other_threads(trace: TraceRecord, step: Step) -> TraceFault | None:
    if trace.threads == step.record.threads:
        return None
    wanted = step.record.threads
    return TraceFault(f"{trace.threads} threads computed it, and the step's record says {wanted}")


def _say_unfit(a: TraceFault | None, b: TraceFault | None) -> Bisection:
    first, second = (_FITS if x is None else Standing("unfit", x.detail) for x in (a, b))
    return Bisection(first, second, "they cannot be compared")


def _compare_made(
    a: TraceRecord,
    b: TraceRecord,
    step: Step | None,
    checkpoints: CheckpointFolder | None,
    say: Callable[[str], None],
) -> Bisection:
    """Compare traces whose operators are all the same."""
    if a.tensors == b.tensors:
        same = Standing("right", f"all {a.operators:,} operators are equal to the other's")
        return Bisection(same, same, "they are equal")
    detail = "all operators are equal, but the traces name different results"
    if step is None or checkpoints is None:
        return Bisection(_FITS, _FITS, detail)
    say("repeating the step")
    made = remake(step, checkpoints)
    if made not in (a.tensors, b.tensors):  # other operators run here, or both traces are wrong
        return Bisection(_FITS, _FITS, f"{detail}; this machine makes neither")
    first, second = (
        Standing("right", "the step makes these tensors here, too")
        if x.tensors == made
        else Standing("unfit", "its operators do not make the tensors that it names")
        for x in (a, b)
    )
    return Bisection(first, second, detail)


def _judge(
    parting: Parting,
    records: tuple[TraceRecord, TraceRecord],
    step: Step,
    checkpoints: CheckpointFolder,
    say: Callable[[str], None],
) -> Bisection:
    with TemporaryDirectory(prefix="assay-") as folder:
        file = Path(folder) / "call"
        say(f"repeating the step up to operator {parting.index:,}")
        here = reach_operator(step, checkpoints, parting.index, file)
        questions = [None if x is None else x.question for x in (parting.a, parting.b)]
        if questions[0] != questions[1]:
            standings = [
                _judge_question(x, here, record)
                for x, record in zip((parting.a, parting.b), records, strict=True)
            ]
        elif here is None or here.question != questions[0]:
            other = "the operators before this one differ here from both traces"
            standings = [Standing("unknown", f"{other}: use a machine of their kind")] * 2
        else:
            answers = [x.answer for x in (parting.a, parting.b) if x is not None]
            reasons = _explain(answers, here, file, step.record.threads, say)
            standings = [
                _judge_answer(answer, reasons, record, here)
                for answer, record in zip(answers, records, strict=True)
            ]
        return _describe(parting, *standings)


def _judge_question(
    theirs: OperatorRecord | None, here: OperatorRecord | None, record: TraceRecord
) -> Standing:
    """Judge a trace whose operator differs from the one here, or has other inputs: the inputs came
    from outside, since everything before is the same."""
    asked = None if theirs is None else theirs.question
    if asked == (None if here is None else here.question):
        return Standing("right", "the step runs this operator here, on the same inputs")
    if (record.engine, record.code) == (_describe_here(), compute_code_digest()):
        what = "it ends" if theirs is None else f"it runs {theirs.operator}"
        ending = "the step ends" if here is None else f"the step runs {here.operator}"
        return Standing("wrong", f"{what} where {ending} here, or reads something else")
    return Standing("unknown", f"it was made by other software: {record.engine}")


def _explain(
    answers: list[tuple[str, tuple[bytes, ...]]],
    here: OperatorRecord,
    file: Path,
    threads: int,
    say: Callable[[str], None],
) -> Mapping[Answer, str]:
    """The answers that this machine can compute → how."""
    reasons: dict[Answer, str] = {here.answer: "this machine, as it is"}
    for machine in [] if _is_alike_everywhere(here) else list_machines():
        if all(answer in reasons for answer in answers):
            break
        say(f"running the operator with {machine.name}")
        (answer,) = rerun_on(machine, file, threads)
        reasons.setdefault(answer, f"this machine with {machine.name}")
    return reasons


def _is_alike_everywhere(operator: OperatorRecord) -> bool:
    return operator.operator.split(".")[1] in MOVES_OR_ROUNDS_ONCE


def _judge_answer(
    answer: Answer, reasons: Mapping[Answer, str], record: TraceRecord, here: OperatorRecord
) -> Standing:
    if answer in reasons:
        return Standing("right", f"{reasons[answer]}, gets the same result")
    if _is_alike_everywhere(here):
        return Standing("wrong", "this operator gives the same bits on every machine")
    place = (record.engine, record.processor, record.code)
    if place == (_describe_here(), describe_processor(), compute_code_digest()):
        return Standing("wrong", "it names a machine like this one, which gets another result")
    machine = f"{record.engine}, {record.processor}"
    return Standing("unknown", f"this machine cannot get this result; try one like: {machine}")


def _describe(parting: Parting, a: Standing, b: Standing) -> Bisection:
    either = parting.a or parting.b
    name, arguments = (None, None) if either is None else (either.operator, either.arguments)
    detail = f"operator {parting.index:,}, {name}, is the first that differs"
    if a.status == b.status == "right":
        detail += ": the machines differ, and neither lies"
    return Bisection(a, b, detail, parting.index, name, arguments)


def _describe_here() -> str:
    return describe_engine(torch.device("cpu"))
