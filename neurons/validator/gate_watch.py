"""A validator's look at a trainer's answers: a few of each new file, when nothing else is due.

What it finds voids nothing and changes no verdict, so it may never cost one: files come on a thread
of their own, one at a time and within bounds, and between two answers the validator looks whether
anything is due. Specification, section 7.1.
"""

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice

from assay.artifacts.checkpoints.folder import open_checkpoint
from assay.artifacts.gates.checking import draw_checked_problems
from assay.artifacts.gates.file import GateAnswers, GateModel, read_answers
from assay.artifacts.gates.store import fetch_answers
from assay.artifacts.status.validator import GateStatus
from assay.artifacts.store_objects import UnavailableError
from assay.inference.folder import CheckpointError
from assay.network.chain.errors import ChainError, ForgottenError
from assay.network.store.base import ObjectStore
from assay.network.threads import call_beside
from assay.neurons.program.neuron import JudgeSources
from assay.protocol.amendment import ParameterHistory
from assay.protocol.encoding import EncodingError
from assay.protocol.errors import OperatorError
from assay.protocol.gate import Course, GateCounts, Place, find_place
from assay.protocol.parameters import GATE_PART, Gate, GateRule, Parameters, compute_scoring_units
from assay.session.course_windows import CourseWindows
from assay.session.gate_evidence import (
    AskedGate,
    CourseFault,
    ask_again,
    find_false_counts,
    find_forged_answers,
)
from assay.session.window_reader import BeaconError

logger = logging.getLogger("assay")

#: Seconds for one file from all stores, and between two attempts.
_FETCH_S, _RETRY_S = 120.0, 300.0
#: Attempts to fetch a file, stores asked, and files that wait: more are a trainer's own doing.
_TRIES, _STORES_MAX, _WAITING_MAX = 3, 8, 4
#: Times that the trainer's slot was written since a checkpoint came into force.
_RUNS_MAX = 64
#: Files whose result is remembered.
_KEPT = 16


@dataclass(slots=True)
class _Task:
    """A file that is looked at."""

    counts: GateCounts
    course: Course  # that counts it
    named: bytes  # the checkpoint in force whose manifest names the file
    window: int  # of it
    parameters: Parameters
    asked: AskedGate | None = None
    fetching: "Future[GateAnswers | CourseFault] | None" = None
    answers: GateAnswers | None = None
    rows: list[tuple[int, GateModel]] = field(default_factory=list)
    tries: int = 0
    retry_at: float = 0.0
    checked: int = 0
    faults: list[CourseFault] = field(default_factory=list)


class GateWatch:
    """Looks at the answers that the checkpoints in force name.

    Args:
        hotkey: the validator's own: it draws which answers are checked.
        mirrors: gives the stores of checkpoints, anew for each file; may raise OperatorError.
        on_done: called with each file that is done.
    """

    def __init__(
        self,
        hotkey: bytes,
        parameters: ParameterHistory,
        sources: JudgeSources,
        mirrors: Callable[[], Iterable[ObjectStore]],
        on_done: Callable[[GateStatus], None] = lambda status: None,
    ) -> None:
        self._hotkey = hotkey
        self._parameters = parameters
        self._sources = sources
        self._mirrors = mirrors
        self._on_done = on_done
        self._windows = CourseWindows(sources.chain, sources.beacons, parameters)
        self._seen: OrderedDict[bytes | GateCounts, None] = OrderedDict()
        self._waiting: deque[_Task] = deque(maxlen=_WAITING_MAX)
        self.done: deque[GateStatus] = deque(maxlen=_KEPT)

    def step(self, digest: bytes, window: int) -> bool:
        """Do one piece: draw problems, take a file, or check one answer. Return whether there is
        more to do at once.

        Args:
            digest: of the checkpoint in force in a window.

        Raises:
            ChainError, BeaconError: the chain cannot be read now.
        """
        self._look(digest, window)
        if not self._waiting:
            return False
        task = self._waiting[0]
        try:
            return self._advance(task)
        except ForgottenError as error:
            self._finish(task, "not checked", str(error))
        except (BeaconError, ChainError):
            raise
        except (OperatorError, ValueError) as error:  # of a checkpoint, a sandbox or memory
            self._finish(task, "not checked", str(error))
        return True

    # --- which files

    def _look(self, digest: bytes, window: int) -> None:
        """Note the files that a checkpoint names anew, if it is here."""
        if digest in self._seen or not self._sources.checkpoints.holds(digest):
            return
        self._seen[digest] = None
        while len(self._seen) > _KEPT * _KEPT:
            self._seen.popitem(last=False)
        parameters = self._parameters.get(window)
        if parameters.gate.rule is GateRule.NONE:
            return
        try:
            course = self._sources.checkpoints.get_outline(digest).manifest.course
        except CheckpointError:
            return
        for counts in course.counts[-_WAITING_MAX:]:  # a checkpoint may count several anew
            if counts not in self._seen:
                self._seen[counts] = None
                self._waiting.append(_Task(counts, course, digest, window, parameters))

    # --- one file

    def _advance(self, task: _Task) -> bool:
        if task.asked is None:
            task.asked = self._ask(task)
            return True
        if task.answers is None:
            return self._take(task, task.asked)
        if task.rows:
            self._check(task, task.asked, task.answers, *task.rows.pop(0))
        if not task.rows:
            self._finish(task, "checked", None)
        return True

    def _ask(self, task: _Task) -> AskedGate:
        """Draw the problems again, if the models are here: none is fetched for this."""
        checkpoints, digest = self._sources.checkpoints, task.counts.checkpoint
        course, gate = task.course, task.parameters.gate
        needed = digest, course.milestone, task.parameters.first_checkpoint
        for named in needed:
            if not checkpoints.holds(named):
                raise CheckpointError(f"checkpoint {named.hex()[:16]}… is not here")
        earlier = [one.checkpoint for one in course.counts]
        earlier = [course.milestone, *earlier[: earlier.index(digest)]]
        first, is_whole = None, False
        for run in islice(self._windows.iterate_back(task.window), _RUNS_MAX):
            if run.digest == digest:
                first = run.window
            elif (is_whole := run.digest in earlier) or self._is_before(run.digest, course, gate):
                break
        if first is None and is_whole:
            fault = "it is counted, and was not in force in the windows before"
            task.faults.append(CourseFault(digest, fault))
        if first is None:
            raise CheckpointError("nothing says what its problems are")
        randomness = self._windows.get_randomness(first)
        get = checkpoints.get_outline
        return ask_again(task.parameters, digest, randomness, course.milestone, get)

    def _is_before(self, digest: bytes, course: Course, gate: Gate) -> bool:
        """Whether a checkpoint is of an earlier course, as far as its manifest is here."""
        if not self._sources.checkpoints.holds(digest):
            return False
        manifest = self._sources.checkpoints.get_outline(digest).manifest
        return find_place(digest, manifest.course, course, gate) is Place.BEFORE

    def _take(self, task: _Task, asked: AskedGate) -> bool:
        """Take the file, or begin to fetch it. Return whether it is here."""
        if task.fetching is None:
            if time.monotonic() >= task.retry_at:
                task.fetching = self._begin(task, asked)
            return False
        if not task.fetching.done():
            return False
        fetching, task.fetching = task.fetching, None
        try:
            result = fetching.result()
        except UnavailableError as error:
            task.tries += 1
            task.retry_at = time.monotonic() + _RETRY_S
            if task.tries == _TRIES:
                missing = CourseFault(task.counts.checkpoint, f"its answers are missing: {error}")
                task.faults.append(missing)
                self._finish(task, "missing", str(error))
            return False
        if isinstance(result, CourseFault):
            task.faults.append(result)
            self._finish(task, "checked", None)
            return True
        task.answers = result
        gate = task.parameters.gate
        choice = (*gate.environment, task.parameters.environment)[0]
        if not compute_scoring_units(choice):  # auditors run programs, which would hold up verdicts
            false = find_false_counts(asked, task.counts, result)
            task.faults += [] if false is None else [false]
        chosen = draw_checked_problems(task.counts.answers, self._hotkey, gate.problems)
        task.rows = [
            (number, model)
            for model in GateModel  # one model after the other stays open
            for number in chosen
            if model is not GateModel.FIRST or number % GATE_PART == 0
        ]
        return True

    def _begin(self, task: _Task, asked: AskedGate) -> "Future[GateAnswers | CourseFault]":
        stores = list(islice(self._mirrors(), _STORES_MAX))  # reads the chain: not in a thread
        vocabulary, most = len(asked.outline.tokenizer.drawable), task.parameters.work.max_tokens
        counts, gate = task.counts, task.parameters.gate
        return call_beside(lambda: _fetch(stores, counts, gate, most, vocabulary), "gate's answers")

    def _check(
        self, task: _Task, asked: AskedGate, answers: GateAnswers, number: int, model: GateModel
    ) -> None:
        checkpoints, digest = self._sources.checkpoints, asked.models[model]
        if not checkpoints.opens_beside(digest, task.named):
            raise CheckpointError(f"no memory for checkpoint {digest.hex()[:16]}… beside others")
        checkpoint = open_checkpoint(checkpoints, digest, task.parameters)
        task.faults += find_forged_answers(asked, answers, model, checkpoint, [number])
        task.checked += 1

    def _finish(self, task: _Task, state: str, why: str | None) -> None:
        self._waiting.remove(task)
        status = GateStatus(
            checkpoint=task.counts.checkpoint.hex(),
            answers=task.counts.answers.hex(),
            window=task.window,
            state=state,
            checked=task.checked,
            faults=[str(fault) for fault in task.faults],
            why=why,
        )
        self.done.append(status)
        for fault in task.faults:
            logger.warning("the trainer's course: %s", fault, extra={"event": "course_differs"})
        if not task.faults:
            logger.info(
                "the gate's answers of checkpoint %s…: %s",
                status["checkpoint"][:16],
                f"{task.checked} are their models' own" if why is None else f"not checked: {why}",
                extra={"event": "gate_checked"},
            )
        self._on_done(status)


def _fetch(
    stores: Sequence[ObjectStore], counts: GateCounts, gate: Gate, most: int, vocabulary: int
) -> GateAnswers | CourseFault:
    """Fetch and parse a file. Raises UnavailableError: it did not come. WorkerError: no child can
    be started to read it."""
    data = fetch_answers(stores, counts.answers, gate, most, _FETCH_S)
    try:
        return read_answers(data, gate, most, vocabulary)
    except EncodingError as error:
        return CourseFault(counts.checkpoint, f"its gate.parquet cannot be read: {error}")
