"""What a trainer tells of a window that it has read: to a person, to its monitor and its status."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from assay.artifacts.steps.file import WAITING, ConsumedGroup
from assay.artifacts.steps.plan import StepPlan
from assay.neurons.trainer.lessons import (
    Lesson,
    Silence,
    WindowReading,
    compute_mean_rewards,
    count_tokens,
    list_rated,
)
from assay.protocol.manifest import Manifest
from assay.training import LearnStats
from assay.training.figures import compute_group_figures
from assay.training.watch import WatchedWindow


@dataclass(frozen=True, slots=True)
class WindowReport:
    """What became of a window whose groups were chosen.

    Attributes:
        result: a step's lesson, or the silence of groups that teach nothing.
        remarks: lines that a person should notice once, as long as they stay true.
    """

    result: Lesson | Silence
    watched: WatchedWindow
    remarks: Sequence[str] = ()


def report_step(
    reading: WindowReading,
    parent: Manifest,
    plan: StepPlan,
    groups: Sequence[ConsumedGroup],
    made: tuple[LearnStats, Manifest],
    remarks: Sequence[str],
) -> WindowReport:
    """Of a window that has taught something.

    Args:
        groups: of the window: the planned ones, then the trainer's own.
        made: what the learner says, and the checkpoint.
    """
    stats, published = made
    lesson = Lesson(
        reading.context.window,
        compute_mean_rewards(groups),
        stats,
        published,
        reading.levels,
        *count_tokens(groups),
        replayed=len(plan.replays),
        waiting=sum(one.delay == WAITING for one in groups),
        delayed=len(plan.delayed),
        expired=plan.expired,
        delayed_staleness=plan.staleness,
    )
    return WindowReport(lesson, _watch(reading, parent, groups, stats), remarks)


def report_silence(
    reading: WindowReading, parent: Manifest, groups: Sequence[ConsumedGroup]
) -> WindowReport:
    """Of a window that has taught nothing. Arguments as of `report_step`."""
    rewards = compute_mean_rewards(groups)
    waiting = len(groups) - len(rewards)
    given = reading.context.window, rewards, *count_tokens(groups), parent.number, waiting
    return WindowReport(Silence(*given), _watch(reading, parent, groups))


def _watch(
    reading: WindowReading,
    parent: Manifest,
    groups: Sequence[ConsumedGroup],
    stats: LearnStats | None = None,
) -> WatchedWindow:
    """The figures of a window whose groups were chosen, and of the step after it, if there is
    one. Groups that wait for their reward are in none."""
    rated = [one.group for one in list_rated(groups)]
    drawn_by = parent.number if reading.number is None else reading.number
    return WatchedWindow(
        reading.context.window,
        None if stats is None else parent.number + 1,
        parent.number - drawn_by,
        compute_group_figures(rated, parent.max_tokens) if rated else None,
        stats,
        waiting=len(groups) - len(rated),
    )


class Reporter:
    """Tells what a trainer has to tell. Arguments as of `Trainer`."""

    def __init__(
        self,
        name: str,
        report: Callable[[str], None],
        on_lesson: Callable[[Lesson], None],
        on_silence: Callable[[Silence], None],
        on_window: Callable[[WatchedWindow], None],
    ) -> None:
        self._name = name
        self._report = report
        self._on_lesson = on_lesson
        self._on_silence = on_silence
        self.note_window = on_window
        self._remarks: set[str] = set()  # of the last lesson

    def say(self, line: str) -> None:
        """One line for a person."""
        self._report(f"{self._name}: {line}")

    def tell(self, found: WindowReport) -> None:
        """Tell of a window, once it is saved."""
        result = found.result
        if isinstance(result, Lesson):
            for line in found.remarks:
                if line not in self._remarks:
                    self.say(line)
            self._remarks = set(found.remarks)
            self.note_window(found.watched)
            self._on_lesson(result)
        else:
            self.note_window(found.watched)
            self.say(str(result))
            self._on_silence(result)
