"""A model's preparation: steps by what somebody else wrote or prefers, before a network pays.

    curriculum = Curriculum(learner, Imitation(), examples.read, lambda: held, FORMAT)
    course = Preparation(curriculum, trial, PreparationConfig(), report)
    course.run(save)

GRPO learns from groups whose rewards differ, and a model that never answers right has none. So it
first imitates worked solutions (a warm start). How long is decided by a rule that is fixed
beforehand: until at least `FORMAT` of its answers can be read and the loss on held-out examples
falls no more, or until the steps are done. Success has no part in the rule: it would choose among
checkpoints by luck. What a course learns from, and by which objective, is its `Curriculum`: a warm
start, direct preference optimisation and on-policy distillation differ in nothing else.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Generic, TypeVar

from assay.environments.levels import Success
from assay.training.learner import Learner
from assay.training.objectives import Objective

_M = TypeVar("_M")
#: Share of answers that can be read, from which on a course may end.
FORMAT = 0.95
#: Share of the loss by which it must fall from one trial to the next, or it counts as flat.
_FLAT = 0.01
#: Share of the steps in which the learning rate rises, and the share of it that is left at the end.
_RISE, _LEFT = 0.1, 0.1
#: Seconds from one line about a step to the next, and from one saved state to the next.
_TELLING_S, _SAVING_S = 20.0, 300.0


@dataclass(frozen=True, slots=True)
class PreparationConfig:
    """The settings of a course.

    Attributes:
        steps: at most.
        batch: examples of a step.
        rate: highest learning rate. It rises over the first tenth of all steps, then falls to a
            tenth of itself along half a cosine.
        every: steps from one trial to the next.
    """

    steps: int = 120
    batch: int = 16
    rate: float = 1e-4
    every: int = 40

    def compute_rate(self, step: int) -> float:
        """The learning rate of a step, 0 to `steps` − 1."""
        rise = max(1, round(self.steps * _RISE))
        if step < rise:
            return self.rate * (step + 1) / rise
        done = (step - rise) / max(1, self.steps - rise)
        return self.rate * (_LEFT + (1 - _LEFT) * 0.5 * (1 + math.cos(math.pi * done)))


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial after some steps.

    Attributes:
        loss: the curriculum's own, of held-out examples; None: there are none.
        solved: of the held-out problems. read: whose answer could be read.
        preferred: held-out pairs with a margin above 0; None: nothing is learned from pairs.
    """

    step: int
    loss: float | None
    solved: Success
    read: Success
    preferred: Success | None = None

    def __str__(self) -> str:
        low, high = (100 * end for end in self.solved.interval)
        told = "" if self.loss is None else f"loss on held-out examples {self.loss:.3f}, "
        if self.preferred is not None:
            told += f"{100 * self.preferred.value:.0f} % of held-out pairs right, "
        return (
            f"{told}solved {100 * self.solved.value:.1f} % ({low:.1f} to {high:.1f}) of "
            f"{self.solved.asked:,} held-out problems, answers read {100 * self.read.value:.0f} %"
        )


@dataclass(slots=True)
class Progress:
    """How far a course is: everything but the learner's state.

    Attributes:
        position: in the examples.
        seconds: of all steps and trials so far.
    """

    step: int = 0
    position: int = 0
    seconds: float = 0.0
    tokens: int = 0
    trials: list[Trial] = field(default_factory=list)

    def find_end(self, form: float | None) -> str | None:
        """Why the course is over by its trials; None: they are no reason. `form`: see
        `Curriculum`."""
        if form is None or len(self.trials) < 2:
            return None
        *before, last = self.trials
        known = [trial.loss for trial in before if trial.loss is not None]
        if last.loss is None or not known or last.loss < (1 - _FLAT) * min(known):
            return None
        if last.read.value < form:
            return None
        read = f"answers are read in at least {100 * form:.0f} % and " if form else ""
        return f"{read}the held-out loss falls no more"


@dataclass(frozen=True, slots=True)
class Taught:
    """One step's results: the position behind what it read, its own tokens, and its mean loss."""

    position: int
    tokens: int
    loss: float


@dataclass(frozen=True, slots=True)
class Curriculum(Generic[_M]):
    """What a course learns from, and how.

    Attributes:
        read: the next `count` of its material from a position on, 0 at first, and the position
            behind them. Raises NoExampleError.
        hold: material that is only measured.
        form: share of answers that can be read, from which on a held-out loss that falls no more
            ends the course; None: only the steps end it, since the loss is a noisy figure.
    """

    learner: Learner
    objective: Objective[_M]
    read: Callable[[int, int], tuple[list[_M], int]]
    hold: Callable[[], Sequence[_M]]
    form: float | None

    def teach(self, position: int, count: int, rate: float) -> Taught:
        """Make one step with the next `count` examples from a position on. Raises as
        `Learner.learn` does, and NoExampleError."""
        material, behind = self.read(position, count)
        stats = self.learner.update(material, self.objective, rate)
        return Taught(behind, stats.tokens, stats.loss)

    def measure(self) -> tuple[float | None, Success | None]:
        """A trial's `loss` and `preferred`."""
        held = self.hold()
        if not held:
            return None, None
        loss, preferred = self.learner.measure(held, self.objective)
        return loss, None if preferred is None else preferred.right


class Preparation:
    """A course of a learner.

    Args:
        try_out: answers the held-out problems with the learner's weights as they would be
            published; returns those solved, and those whose answer could be read.
        report: called with lines for a person.
        progress: where to go on; the learner has the state that belongs to it.
    """

    def __init__(
        self,
        curriculum: Curriculum[Any],
        try_out: Callable[[], tuple[Success, Success]],
        config: PreparationConfig,
        report: Callable[[str], None],
        progress: Progress | None = None,
    ) -> None:
        self.progress = progress or Progress()
        self._curriculum = curriculum
        self._try_out = try_out
        self._config = config
        self._report = report
        self._told = 0.0

    def run(self, save: Callable[[], None]) -> str:
        """Go on to the end of the course, and return why that is the end. `save` is called where a
        kill should lose little. After Ctrl-C the step is finished and saved.

        Raises:
            LessonError, MemoryLackError, DeviceError: see `Learner.learn`.
            NoExampleError: there are no examples.
        """
        config, progress = self._config, self.progress
        saved = time.monotonic()
        while True:
            tried = progress.trials[-1].step if progress.trials else None
            is_due = progress.step % config.every == 0 or progress.step == config.steps
            if is_due and tried != progress.step:
                self._take_trial()
                save()
                saved = time.monotonic()
            end = progress.find_end(self._curriculum.form)
            if end is not None:
                return end
            if progress.step == config.steps:
                return f"all {config.steps:,} steps are done"
            before = progress.step
            try:
                with finishing(self._report):
                    self._take_step()
            except KeyboardInterrupt:
                if progress.step > before:
                    save()
                raise
            if time.monotonic() - saved >= _SAVING_S:
                save()
                saved = time.monotonic()

    def _take_step(self) -> None:
        config, progress = self._config, self.progress
        begun = time.monotonic()
        rate = config.compute_rate(progress.step)
        taught = self._curriculum.teach(progress.position, config.batch, rate)
        now = time.monotonic()
        progress.position, progress.step = taught.position, progress.step + 1
        progress.tokens += taught.tokens
        progress.seconds += now - begun
        if now - self._told >= _TELLING_S or progress.step == 1:
            self._told = now
            left = (now - begun) * (config.steps - progress.step)
            self._report(
                f"step {progress.step:,} of at most {config.steps:,}: loss {taught.loss:.3f}, "
                f"{taught.tokens / (now - begun):,.0f} tokens a second, at most "
                f"{left / 60:,.0f} minutes left"
            )

    def _take_trial(self) -> None:
        begun = time.monotonic()
        self._report(f"trial after {self.progress.step:,} steps")
        loss, preferred = self._curriculum.measure()
        solved, read = self._try_out()
        trial = Trial(self.progress.step, loss, solved, read, preferred)
        self.progress.trials.append(trial)
        self.progress.seconds += time.monotonic() - begun
        self._report(f"after {trial.step:,} steps: {trial}")


@contextmanager
def finishing(report: Callable[[str], None]) -> Iterator[None]:
    """Let the block end before Ctrl-C or SIGTERM counts, where Python handles it: a step that is
    cut short leaves a learner between two states. A second signal counts at once."""
    handled: dict[int, Callable[[int, FrameType | None], object]] = {}
    if threading.current_thread() is threading.main_thread():
        known = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        handled = {number: handler for number, handler in known.items() if callable(handler)}
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if asked:
            handled[number](number, frame)
        asked.append(number)
        report("finishing this step; a second signal loses what was learned since the last save")

    for number in handled:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
    if asked:
        handled[asked[0]](asked[0], None)
