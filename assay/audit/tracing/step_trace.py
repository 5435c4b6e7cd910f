"""Repeats a training step and records every operator, or stops at one of them."""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.file import ConsumedGroup
from assay.artifacts.steps.folder import Step, digest_tensors_of
from assay.artifacts.steps.trace_files import write_operators, write_trace_record
from assay.audit.provenance.reexecution import learn_again, make_learner_before, open_step
from assay.audit.tracing.operator_calls import Run, TensorDigests, call_operator, run_operator
from assay.audit.tracing.operator_modes import Call, ReachedError, ReachMode, TraceMode
from assay.audit.tracing.operator_rerun import save_calls
from assay.protocol.errors import OperatorError
from assay.protocol.step import StepRecord
from assay.protocol.trace import TRACE_VERSION, OperatorRecord, TraceRecord, compute_trace_root
from assay.training import Learner
from assay.training.last_bits import compute_code_digest, describe_engine, describe_processor


def trace_step(
    step: Step,
    checkpoints: CheckpointFolder,
    folder: Path,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[TraceRecord, tuple[str, ...]]:
    """Repeat a step and write its trace.

    Args:
        checkpoints: with the parent.
        folder: for the trace.
        say: called with the current activity.

    Returns:
        The trace's record, and this machine's differences from the one that made the step.

    Raises:
        StepError, CheckpointError, OperatorError: as `reexecute`.
        UntraceableError, TraceError: an operator cannot be recorded, or there are too many.
        OperatorError: the trace cannot be written.
    """
    groups, remarks = open_step(step, checkpoints)
    learner = make_learner_before(step, checkpoints)
    say(f"step {step.record.number}: {step.record.groups} groups, operator by operator")
    try:
        return trace_learning(learner, groups, step.record, folder), remarks
    except OSError as error:
        raise OperatorError(f"the trace cannot be written to {folder}: {error}") from None


def trace_learning(
    learner: Learner,
    groups: Sequence[ConsumedGroup],
    step: StepRecord,
    folder: Path,
    run: Run = run_operator,
) -> TraceRecord:
    """Trace a step from a learner in its state before it. `run` runs each operator; it may emulate
    another machine."""
    digests = TensorDigests(torch.get_num_threads())
    with write_operators(folder) as writer, TraceMode(writer.append, digests, run):
        weights = learn_again(learner, groups, step.parent)
    operators = len(writer.leaves)
    record = TraceRecord(
        version=TRACE_VERSION,
        software=f"assay {version('assay')}",
        engine=describe_engine(learner.device),
        processor=describe_processor(),
        threads=torch.get_num_threads(),
        code=compute_code_digest(),
        step=step.digest,
        operators=operators,
        root=compute_trace_root(writer.top, operators, step.digest),
        tensors=digest_tensors_of(weights.items()),
    )
    write_trace_record(folder, record)
    return record


def reach_operator(
    step: Step, checkpoints: CheckpointFolder, index: int, file: Path
) -> OperatorRecord | None:
    """An operator of a step as it runs here, after all operators before it; None: the step has
    fewer.

    Args:
        file: gets the call, as `save_calls` writes it.

    Raises:
        StepError, CheckpointError, OperatorError: as `reexecute`.
        OSError: the file cannot be written.
    """
    groups, _ = open_step(step, checkpoints)
    learner = make_learner_before(step, checkpoints)
    records = []

    def take(call: Call) -> None:
        save_calls([call], file)
        operator, args, kwargs = call
        records.append(call_operator(operator, args, kwargs, TensorDigests(step.record.threads))[1])

    try:
        with ReachMode(index, take):
            learn_again(learner, groups, step.record.parent)
    except ReachedError:
        return records[0]
    return None


def remake(step: Step, checkpoints: CheckpointFolder) -> bytes:
    """Root over the tensors that a step makes here."""
    groups, _ = open_step(step, checkpoints)
    learner = make_learner_before(step, checkpoints)
    return digest_tensors_of(learn_again(learner, groups, step.record.parent).items())
