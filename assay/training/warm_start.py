"""The cold start of a model: supervised steps until it answers in the form that is paid for.

    start = WarmStart(learner, examples, trial, WarmStartConfig(), report)
    start.run(save)

GRPO learns from groups whose rewards differ, and a model that never answers right has none. So it
first imitates worked solutions. How long is decided by a rule that is fixed beforehand: until at
least `FORMAT` of its answers can be read and the loss on held-out examples falls no more, or until
the steps are done. Success has no part in the rule: it would choose among checkpoints by luck.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from assay.environments import Success
from assay.training.examples import Examples
from assay.training.imitation import Example
from assay.training.learner import Learner

#: Share of answers that can be read, from which on a course may end.
FORMAT = 0.95
#: Share of the loss by which it must fall from one trial to the next, or it counts as flat.
_FLAT = 0.01
#: Share of the steps in which the learning rate rises, and the share of it that is left at the end.
_RISE, _LEFT = 0.1, 0.1
#: Seconds from one line about a step to the next, and from one saved state to the next.
_TELLING_S, _SAVING_S = 20.0, 300.0


@dataclass(frozen=True, slots=True)
class WarmStartConfig:
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
        loss: mean negative log-likelihood of held-out examples' tokens, in nats; None: there are
            none.
        solved: of the held-out problems. read: whose answer could be read.
    """

    step: int
    loss: float | None
    solved: Success
    read: Success

    def __str__(self) -> str:
        low, high = (100 * end for end in self.solved.interval)
        told = "" if self.loss is None else f"loss on held-out examples {self.loss:.3f}, "
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

    @property
    def end(self) -> str | None:
        """Why the course is over by its trials; None: they are no reason."""
        if len(self.trials) < 2:
            return None
        *before, last = self.trials
        known = [trial.loss for trial in before if trial.loss is not None]
        if last.loss is None or not known or last.loss < (1 - _FLAT) * min(known):
            return None
        if last.read.value < FORMAT:
            return None
        return (
            f"answers are read in at least {100 * FORMAT:.0f} % and the held-out loss falls no more"
        )


class WarmStart:
    """A course of a learner.

    Args:
        held: examples that are only measured.
        try_out: answers the held-out problems with the learner's weights as they would be
            published; returns those solved, and those whose answer could be read.
        report: called with lines for a person.
        progress: where to go on; the learner has the state that belongs to it.
    """

    def __init__(
        self,
        learner: Learner,
        examples: Examples,
        held: Sequence[Example],
        try_out: Callable[[], tuple[Success, Success]],
        config: WarmStartConfig,
        report: Callable[[str], None],
        progress: Progress | None = None,
    ) -> None:
        self.progress = progress or Progress()
        self._learner = learner
        self._examples, self._held = examples, held
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
            if progress.end is not None:
                return progress.end
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
        examples, position = self._examples.read(progress.position, config.batch)
        stats = self._learner.imitate(examples, config.compute_rate(progress.step))
        now = time.monotonic()
        progress.position, progress.step = position, progress.step + 1
        progress.tokens += stats.tokens
        progress.seconds += now - begun
        if now - self._told >= _TELLING_S or progress.step == 1:
            self._told = now
            left = (now - begun) * (config.steps - progress.step)
            self._report(
                f"step {progress.step:,} of at most {config.steps:,}: loss {stats.loss:.3f}, "
                f"{stats.tokens / (now - begun):,.0f} tokens a second, at most "
                f"{left / 60:,.0f} minutes left"
            )

    def _take_trial(self) -> None:
        begun = time.monotonic()
        self._report(f"trial after {self.progress.step:,} steps")
        loss = self._learner.measure(self._held) if self._held else None
        solved, read = self._try_out()
        trial = Trial(self.progress.step, loss, solved, read)
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
