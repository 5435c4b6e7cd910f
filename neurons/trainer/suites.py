"""Evaluations of a trainer's checkpoints on suites that nobody trains on.

    suites/NUMBER/  an evaluation as `assay eval` writes it, of the checkpoint with that number

One stretch of tokens is drawn whenever the trainer has nothing else to do, so that no commitment
waits. An evaluation that a stop interrupted goes on after the start.
"""

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.evaluation.folder import PLAN, PLAN_MAX, RESULTS, EvaluationFolder
from assay.evaluation.model import wrap_checkpoint
from assay.evaluation.request import EvaluationRules
from assay.evaluation.run import Evaluation
from assay.evaluation.sampling import OwnSampler
from assay.evaluation.suite import Suite, put_words, read_suite
from assay.inference.folder import CheckpointError
from assay.neurons.trainer.lessons import Lesson
from assay.protocol.amendment import ParameterHistory
from assay.protocol.encoding import EncodingError, read_json
from assay.protocol.errors import OperatorError
from assay.protocol.parameters import Prompts

FOLDER = "suites"
#: Most checkpoints that wait. The oldest ones beyond are left out.
_WAITING = 8
#: Rows of a finding that are named.
_NAMED = 20

Report = Callable[[str], None]


def read_suites(
    files: Sequence[Path],
    trained: Sequence[Path],
    report: Report,
    words: Mapping[str, Prompts] = MappingProxyType({}),
) -> list[Suite]:
    """The suites in files. Says which of their rows occur in the files that are trained on, which
    others are not asked, and with which file they could not be compared.

    Args:
        words: family of a suite → the owner's, in place of its convention's.

    Raises:
        OperatorError: a file has no suite, or no suite is of a family with words.
    """
    suites = put_words([read_suite(file, trained) for file in files], words)
    for suite in suites:
        for reason, rows in suite.left_out.items():
            first = ", ".join(map(str, rows[:_NAMED])) + ", …" * (len(rows) > _NAMED)
            report(f"suite {suite.name}: {len(rows)} rows are filtered out, {reason}: row {first}")
        for file, why in suite.uncompared.items():
            report(f"suite {suite.name}: not all compared with the training file {file}: {why}")
    return suites


class SuiteMonitor:
    """Evaluates every so many checkpoints, greedily.

    Args:
        folder: of the trainer.
        every: checkpoints from one evaluation to the next.
        report: called with one line for each result, and for each evaluation that cannot be.
        history: parameters of the network.
    """

    def __init__(
        self,
        folder: Path,
        checkpoints: CheckpointFolder,
        suites: Sequence[Suite],
        every: int,
        report: Report,
        history: ParameterHistory,
    ) -> None:
        self._history = history
        self._folder = folder / FOLDER
        self._checkpoints = checkpoints
        self._suites = suites
        self._every = every
        self._report = report
        self._running: Generator[int] | None = None
        unfinished = _find_unfinished(self._folder) if suites else []
        self._waiting: deque[tuple[int, bytes]] = deque(unfinished, _WAITING)

    def note(self, lesson: Lesson) -> None:
        """Queue a lesson's checkpoint, if its turn has come."""
        if self._suites and lesson.published.number % self._every == 0:
            self._waiting.append((lesson.published.number, lesson.published.digest))

    def step(self) -> bool:
        """Draw one stretch. Return False if there is nothing to evaluate."""
        if self._running is None:
            if not self._waiting:
                return False
            self._running = self._evaluate(*self._waiting.popleft())
        try:
            next(self._running)
        except StopIteration:
            self._running = None
        except OperatorError as error:
            self._running = None
            self._report(f"suites: {error}")
        return True

    def close(self) -> None:
        """Stop between two stretches. The next start goes on from there."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def _evaluate(self, number: int, digest: bytes) -> Generator[int]:
        try:
            checkpoint = self._checkpoints.get(digest, self._history.latest)
        except CheckpointError:
            return  # deleted meanwhile
        model = wrap_checkpoint(checkpoint)
        rules = EvaluationRules(1, 0, checkpoint.manifest.max_tokens, 0)
        evaluation = Evaluation(model, self._suites, rules, f"checkpoint {number}")

        def make_sampler() -> OwnSampler:
            return model.make_sampler(checkpoint.model, rules.temperature, rules.max_tokens)

        folder = EvaluationFolder(self._folder / str(number))
        with folder.hold(evaluation.make_plan()):
            yield from evaluation.run(folder, make_sampler)
        for line in evaluation.describe():
            self._report(f"checkpoint {number}, {line}")


def _find_unfinished(folder: Path) -> list[tuple[int, bytes]]:
    """Number and digest of each checkpoint whose evaluation has begun and has no result."""
    found = []
    for plan in folder.glob(f"*/{PLAN}"):
        if (plan.parent / RESULTS).exists() or not plan.parent.name.isdecimal():
            continue
        try:
            with plan.open("rb") as file:
                digest = bytes.fromhex(read_json(file.read(PLAN_MAX))["model"]["checkpoint"])
        except (OSError, EncodingError, LookupError, TypeError, ValueError):
            continue  # whoever evaluates there says so
        found.append((int(plan.parent.name), digest))
    return sorted(found)
