"""Checks a checkpoint's course as an auditor finds it: by the chain, and by what stores serve.

What is found here is the trainer's doing, never the validator's, and voids nothing. See
`assay.session.gate_evidence`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from assay.artifacts.gates.file import GateAnswers, compute_bytes_max
from assay.artifacts.steps.folder import RECORD_BYTES_MAX, parse_step
from assay.artifacts.steps.returns import RETURN_FILE, parse_return
from assay.artifacts.store_objects import make_answers_name, make_step_name
from assay.audit.findings import Aspect, Findings
from assay.audit.ports import Public
from assay.inference.checkpoint import Outline
from assay.inference.folder import CheckpointError
from assay.network.chain.errors import ChainError, ForgottenError
from assay.network.store.base import StoreError
from assay.network.store.deadlines import within
from assay.protocol.amendment import UnknownParametersError
from assay.protocol.encoding import EncodingError
from assay.protocol.gate import Course, GateCounts
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.manifest import Manifest, continue_line, find_line_lie
from assay.protocol.parameters import Gate, GateRule, Parameters
from assay.protocol.step import ReturnRecord, StepRecord
from assay.session.course_windows import CourseWindows
from assay.session.gate_evidence import (
    LATE_MAX,
    AskedGate,
    CourseFault,
    DueCounts,
    ask_again,
    find_chain_faults,
    find_false_counts,
    find_forged_answers,
    find_return_fault,
    list_due,
    open_answers,
)
from assay.session.window_reader import BeaconError

#: Checkpoints in a row that were never in force, of which one in force is made.
_UNHEARD_MAX = 64
#: Seconds for a file of answers from one store.
_ANSWERS_S = 600.0
_RECORD_S = 120.0


class _UnreadableError(Exception):
    """Something that a course's check needs cannot be read here. The message says what and why."""


@dataclass(slots=True)
class CourseChecks:
    """Checks courses during one audit, each checkpoint's once."""

    _done: set[bytes] = field(default_factory=set)
    _windows: CourseWindows | None = None

    def check(self, public: Public, window: int, outline: Outline, findings: Findings) -> None:
        """Check the course of the checkpoint that is in force in a window, and what it counts anew.

        Args:
            public: with the window's parameters.

        Raises:
            ChainError: the chain cannot be read.
            WorkerError: the sandbox cannot run.
        """
        manifest = outline.manifest
        if public.parameters.gate.rule is GateRule.NONE or manifest.step == ZERO_DIGEST:
            return
        if manifest.digest in self._done:
            return
        findings.look(Aspect.COURSE)
        if self._windows is None:
            self._windows = CourseWindows(public.chain, public.beacons, public.history)
        check = _Check(public, window, manifest, self._windows, findings)
        for _ in range(_UNHEARD_MAX):
            self._done.add(check.manifest.digest)
            unheard = check.run()
            if unheard is None or unheard.manifest.digest in self._done:
                return
            check = unheard
        check.miss(f"{_UNHEARD_MAX} checkpoints before it were never in force")


@dataclass(frozen=True, slots=True)
class _Check:
    """The check of one checkpoint's course.

    Attributes:
        window: one in which it is in force; if it never was, the last one before a later one was.
        is_heard: whether it is in force in this window.
    """

    public: Public
    window: int
    manifest: Manifest
    windows: CourseWindows
    findings: Findings
    is_heard: bool = True

    @property
    def gate(self) -> Gate:
        return self.public.parameters.gate

    def run(self) -> "_Check | None":
        """Check it. Return the check of its parent, if that one was never in force before: what it
        counts stays in the counts of all behind it, and nobody else looks at it."""
        manifest = self.manifest
        try:
            parent = self.read_parent()
            if parent is None:
                return None
            if fault := find_line_lie(manifest, parent, self.gate):
                self.blame(fault)
                return None  # which counts are new follows from the parent's
            self.check_return()
            carried = continue_line(parent, self.gate)
            added = manifest.course.counts[len(carried.counts) :]
            own = self.read_record(manifest)
            if own is not None and own.window >= self.window + (not self.is_heard):
                self.blame(
                    f"its record is of window {own.window}, and it was in force in window "
                    f"{self.window} already"
                )
            due = self.check_chain(parent, carried, added, None if own is None else own.window)
            last = self.window - 1 if own is None else min(own.window, self.window - 1)
            runs = {run.digest: run.window for run in due.runs}
            for counts in added:
                if counts.checkpoint in runs:
                    self.check_counts(counts, runs[counts.checkpoint], last)
            until = due.until if self.is_heard else self.window + 1
            if self.was_in_force(parent, until):
                return None
            return replace(self, window=until - 1, manifest=parent, is_heard=False)
        except _UnreadableError as error:
            self.miss(str(error))
        return None

    def blame(self, what: str) -> None:
        self.findings.blame(CourseFault(self.manifest.digest, what))

    def miss(self, what: str) -> None:
        named = f"the course of checkpoint {self.manifest.number}"
        self.findings.miss(Aspect.COURSE, f"{named} cannot be checked in full: {what}")

    # --- manifests and records

    def read_parent(self) -> Manifest | None:
        """Its parent's manifest; None: no store has it, which is the trainer's doing."""
        try:
            return self.public.outlines.get(self.manifest.parent).manifest
        except CheckpointError as error:
            if self.public.is_bundle:
                raise _UnreadableError(f"its parent's manifest: {error}") from None
            self.blame(f"nobody has its parent's manifest: {error}")
            return None

    def check_return(self) -> None:
        if not self.manifest.is_return:
            return
        with _reading("the milestone's manifest"):
            milestone = self.public.outlines.get(self.manifest.course.milestone).manifest
        if fault := find_return_fault(self.manifest, milestone):
            self.blame(fault)

    def read_record(self, made: Manifest) -> StepRecord | ReturnRecord | None:
        """The record of the step or return that made a checkpoint; None: it cannot be had."""
        file = RETURN_FILE if made.is_return else "step.json"
        name = make_step_name(made.step, file)
        data, reasons = self.fetch(name, RECORD_BYTES_MAX, _RECORD_S)
        try:
            if data is None:
                raise EncodingError("; ".join(reasons) or "no store has it")
            record = (parse_return if made.is_return else parse_step)(data).record
            if record.digest != made.step:
                raise EncodingError("it is not the one that the manifest names")
        except EncodingError as error:
            self.miss(f"{name}: {error}")
            return None
        return record

    def fetch(self, name: str, limit: int, seconds: float) -> tuple[bytes | None, list[str]]:
        """An object from the first store that has it, and why the others cannot be read."""
        reasons = []
        for store in self.public.mirrors():
            try:
                with within(seconds):
                    data = store.get(name, limit)
            except StoreError as error:
                reasons.append(str(error))
                continue
            if data is not None:
                return data, reasons
        return None, reasons

    # --- the chain

    def check_chain(
        self, parent: Manifest, carried: Course, added: Sequence[GateCounts], last: int | None
    ) -> DueCounts:
        """Check which checkpoints were in force. Return those that are due.

        Args:
            last: the window of the checkpoint's record; None: it is not known.
        """
        due = self.list_due(parent, carried)
        counted = {one.checkpoint for one in added}
        for digest in due.unknown:
            if digest in counted and not self.public.is_bundle:
                continue  # a fault, below
            self.miss(f"the manifest of {digest.hex()[:16]}…, which was in force, cannot be had")
        if self.public.is_bundle:  # of which a manifest may be missing
            added = [one for one in added if one.checkpoint not in due.unknown]
        for fault in find_chain_faults(added, due, last, LATE_MAX if self.is_heard else None):
            self.findings.blame(fault)
        return due

    def was_in_force(self, made: Manifest, until: int) -> bool:
        """Whether a checkpoint was in force before a window, or is the first one of a line."""
        if made.step == ZERO_DIGEST:
            return True
        since = self.find_counted(made)  # it was made behind this window
        if since is None:
            raise _UnreadableError("whether its parent was in force: the parent's record lacks")
        with _reading("which checkpoints were in force", self.public.is_bundle):
            for run in self.windows.iterate_back(until - 1):
                if run.digest == made.digest:
                    return True
                if run.window <= since:
                    break
        return False

    def list_due(self, parent: Manifest, carried: Course) -> DueCounts:
        """See `assay.session.gate_evidence.list_due`. A course that begins may have begun before,
        and have checkpoints from then on: nothing lies before its milestone's record."""
        since = [self.find_counted(parent)]
        if not carried.counts and parent.digest != carried.milestone:
            with suppress(_UnreadableError), _reading("the milestone's manifest"):
                milestone = self.public.outlines.get(carried.milestone).manifest
                since.insert(0, self.find_counted(milestone))
        asked = self.public.outlines.get, carried, self.gate, self.manifest.digest
        reason = ""
        for one in since:
            try:
                with _reading("which checkpoints were in force", self.public.is_bundle):
                    due = list_due(self.windows, *asked, one, self.window)
            except _UnreadableError as error:
                reason = str(error)
                continue
            if reason:
                self.miss(f"whether its course has begun before: {reason}")
            return due
        raise _UnreadableError(reason)

    def find_counted(self, made: Manifest) -> int | None:
        """The last window of whose checkpoints one has counted all: that of its record. None: the
        record cannot be had."""
        if made.step == ZERO_DIGEST:
            first = self.public.parameters.first_checkpoint
            begun = [p.start.window for p in self.public.history.all if p.first_checkpoint == first]
            return min(begun, default=0) - 1
        record = self.read_record(made)
        return None if record is None else min(record.window, self.window - 1)

    # --- the answers

    def check_counts(self, counts: GateCounts, first: int, last: int) -> None:
        """Check one checkpoint's counts against its answers, and these against the models.

        Args:
            first: the first window in which it was in force. last: the record's window.
        """
        public, milestone = self.public, self.manifest.course.milestone
        checkpoint = counts.checkpoint
        with _reading("what its problems are drawn from", public.is_bundle):
            parameters, randomness = public.history.get(last), self.windows.get_randomness(first)
        with _reading("its problems"):
            asked = ask_again(parameters, checkpoint, randomness, milestone, public.outlines.get)
        answers = self.open_answers(asked, parameters, counts)
        if answers is None:
            return
        fault = find_false_counts(asked, counts, answers)
        if fault is not None:
            self.findings.blame(fault)
        self.check_draws(asked, answers, parameters)

    def open_answers(
        self, asked: AskedGate, parameters: Parameters, counts: GateCounts
    ) -> GateAnswers | None:
        name = make_answers_name(counts.answers)
        most = compute_bytes_max(parameters.gate, parameters.work.max_tokens)
        data, reasons = self.fetch(name, most, _ANSWERS_S)
        if data is None and self.public.is_bundle:
            self.miss(f"the bundle has no {name}: its maker had not got it, or left it out")
            return None
        if data is None:
            why = "; ".join(reasons) or "no store has it"
            missing = CourseFault(counts.checkpoint, f"its answers are missing: {name}: {why}")
            self.findings.blame(missing)
            return None
        opened = open_answers(asked, counts, data)
        if isinstance(opened, CourseFault):
            self.findings.blame(opened)
            return None
        return opened

    def check_draws(self, asked: AskedGate, answers: GateAnswers, parameters: Parameters) -> None:
        """Check that each answer is its model's keyed draw, of the models that are at hand."""
        digest, models = asked.models[min(asked.models)], self.public.models
        if models is None:
            self.findings.notes.append(
                f"whether the gate's answers of checkpoint {digest.hex()[:16]}… are their models' "
                "own draws needs the models"
            )
            return
        for model, named in asked.models.items():
            try:
                checkpoint = models.get(named, parameters)
            except CheckpointError as error:
                self.miss(f"checkpoint {named.hex()[:16]}… cannot be run: {error}")
                continue
            if checkpoint is None:
                self.miss(f"no --model holds checkpoint {named.hex()[:16]}…, whose answers it has")
                continue
            for fault in find_forged_answers(asked, answers, model, checkpoint):
                self.findings.blame(fault)


@contextmanager
def _reading(what: str, is_bundle: bool = False) -> Iterator[None]:
    """Raise an _UnreadableError where something cannot be read that another reader might have. Of a
    bundle no answer of the chain can be asked for that it does not hold."""
    try:
        yield
    except (CheckpointError, ForgottenError, BeaconError, UnknownParametersError) as error:
        raise _UnreadableError(f"{what}: {error}") from None
    except ChainError as error:
        if not is_bundle:
            raise
        raise _UnreadableError(f"{what}: {error}") from None
    except ValueError as error:
        raise _UnreadableError(f"{what}: {error}") from None
