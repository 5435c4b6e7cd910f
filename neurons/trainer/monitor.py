"""The progress of training: each checkpoint is tried on held-out problems, plotted and watched.

    progress.json    one point a checkpoint
    windows.json     figures of each window (`training.figures`), by which the course is judged
                     (`training.watch`)
    progress.svg     reward and held-out success; TensorBoard's files in `tensorboard/` where that
                     is installed, with all figures

The monitor runs when the trainer has nothing to do, so that no commitment waits for it. It also
looks at an older checkpoint after a newer one has come, as long as the older one is on disk.

It reports when reward and held-out score diverge, which is the visible sign of reward hacking. The
rule uses the last 2k checkpoints, all of the same levels. Let r₁, r₂ be the mean training rewards
and h₁, h₂ the held-out scores of their older and newer half, Δr = r₂ − r₁ and Δh = h₂ − h₁. The
monitor raises an alarm if

    Δr > Z · se(Δr)                  the reward has risen, and
    s·Δr − Δh > Z · se(s·Δr − Δh)    held-out success by less than s of it,

with Z = 3 and s = 1/4. While held-out success rises by at least a quarter of the reward's rise, a
look raises a false alarm with probability below 0.14 % (one-sided normal tail; held-out problems
are the same at every checkpoint, so the binomial error that is used for h is an upper bound). The
rule cannot see a hack that the held-out score rewards as well, nor one older than 2k checkpoints.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from math import sqrt
from pathlib import Path
from typing import Any

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.charts.axes import make_count_axis, make_share_axis
from assay.charts.drawing import Plot, Point, Series, draw_picture
from assay.environments.levels import Success
from assay.inference.folder import CheckpointError
from assay.network.files import write_file, write_json
from assay.neurons.trainer.lessons import Lesson
from assay.neurons.trainer.suites import SuiteMonitor
from assay.neurons.trainer.tracking import Tracker
from assay.neurons.trainer.trainer import Trainer
from assay.protocol.encoding import EncodingError, read_json
from assay.protocol.errors import OperatorError, Trouble, TroubleKind
from assay.training.held_out import HeldOut
from assay.training.watch import (
    WINDOWS_FILE,
    CourseState,
    WatchedWindow,
    judge_course,
    list_figures,
    read_windows,
)

#: k: checkpoints in each half.
HALF = 4
#: Z: standard errors.
ERRORS = 3.0
#: s: the least share of the reward's rise that held-out success shows if the rise is honest.
SHARE = 0.25


@dataclass(frozen=True, slots=True)
class HeldOutPoint:
    """One checkpoint: the lesson that made it, and its results on held-out problems."""

    number: int
    reward: float  # mean over the lesson's groups, 0 to 1
    reward_error: float  # its standard error, over groups
    #: correct, problems: counts of the held-out problems
    correct: int
    problems: int
    #: levels of both the lesson's problems and the held-out ones; None where they differ, and the
    #: point is not compared
    levels: tuple[int, ...] | None


def find_divergence(points: Sequence[HeldOutPoint]) -> str | None:
    """The divergence of the last 2k checkpoints, or None: one sentence with its figures."""
    points = list(takewhile(lambda p: p.levels and p.levels == points[-1].levels, points[::-1]))
    points.reverse()
    if len(points) < 2 * HALF:
        return None
    older, newer = points[-2 * HALF : -HALF], points[-HALF:]
    (r1, r1_error), (h1, h1_error) = _pool_reward(older), _pool_score(older)
    (r2, r2_error), (h2, h2_error) = _pool_reward(newer), _pool_score(newer)
    rise, gain = r2 - r1, h2 - h1
    rise_error = sqrt(r1_error**2 + r2_error**2)
    gain_error = sqrt(h1_error**2 + h2_error**2)
    shortfall = SHARE * rise - gain
    if rise <= ERRORS * rise_error or shortfall <= ERRORS * sqrt(
        (SHARE * rise_error) ** 2 + gain_error**2
    ):
        return None
    return (
        f"the reward rose by {rise:.3f} (± {rise_error:.3f}) over the last {2 * HALF} checkpoints, "
        f"eval accuracy by {gain:.3f} (± {gain_error:.3f}): the model may have learned to "
        f"please the scorer; look at answers of checkpoint {points[-1].number} before you continue"
    )


def _pool_reward(points: Sequence[HeldOutPoint]) -> tuple[float, float]:
    count = len(points)
    error = sqrt(sum(point.reward_error**2 for point in points)) / count
    return sum(point.reward for point in points) / count, error


def _pool_score(points: Sequence[HeldOutPoint]) -> tuple[float, float]:
    correct, asked = sum(p.correct for p in points), sum(p.problems for p in points)
    share = (correct + 1) / (asked + 2)  # never 0 or 1: an error of 0 would claim certainty
    return correct / asked, sqrt(share * (1 - share) / asked)


logger = logging.getLogger("assay")

#: Most points that are kept and drawn.
_KEPT = 4_096
#: Most checkpoints that wait for the monitor. The oldest ones beyond are left out.
_WAITING = 8
_FILE = "progress.json"
#: Most windows whose figures are kept.
_WINDOWS_KEPT = 1_024
#: What somebody should look at.
_BAD = (CourseState.COLLAPSES, CourseState.STARVED)


class LearningMonitorError(OperatorError):
    """The monitor's points cannot be read or written."""

    trouble_kind = TroubleKind.DISK


class LearningMonitor:
    """Evaluates the checkpoints that a trainer makes.

    Args:
        folder: for points and plot. Points from an earlier run are continued.
        held_out: tries each checkpoint. If it asks no problems, nothing is watched.
        report: called with one line for each finding.
        tracker: gets all figures, as TensorBoard does.

    Attributes:
        alarm: the divergence that was found, or None.
        windows: the figures of the course's windows, in order.
        verdict: what the course does by them.

    Raises:
        LearningMonitorError: the folder's points cannot be read, or `step` cannot write them.
    """

    def __init__(
        self,
        folder: Path,
        checkpoints: CheckpointFolder,
        held_out: HeldOut,
        report: Callable[[str], None],
        tracker: Tracker | None = None,
    ) -> None:
        self._tracker = tracker
        self._folder = folder
        self._checkpoints = checkpoints
        self._held_out = held_out
        self._report = report
        self._waiting: deque[Lesson] = deque(maxlen=_WAITING)
        self._board = _open_board(folder)
        self.points = _read_points(folder / _FILE)
        self.alarm = find_divergence(self.points)
        self.windows = _read_windows(folder / WINDOWS_FILE)
        self.verdict = judge_course(self.windows)

    def watch(self, window: WatchedWindow) -> None:
        """Take the figures of a window, and judge the course. Raises LearningMonitorError: they
        cannot be written."""
        # a step that was taken back is made again
        earlier = [one for one in self.windows if one.window < window.window]
        self.windows = [*earlier, window][-_WINDOWS_KEPT:]
        before, self.verdict = self.verdict.state, judge_course(self.windows)
        if self.verdict.state in _BAD and before is not self.verdict.state:
            logger.warning("%s", self.verdict, extra={"event": "course_judged"})
        try:
            write_json(self._folder / WINDOWS_FILE, [asdict(one) for one in self.windows])
            self._show("window", window.window, list_figures(window))
        except OSError as failure:
            raise _make_disk_error(self._folder, failure) from failure

    def note(self, lesson: Lesson) -> None:
        """Queue a lesson's checkpoint, unless its groups have no reward yet to compare."""
        if self._held_out.asks and lesson.rewards:
            self._waiting.append(lesson)

    def step(self) -> bool:
        """Evaluate one checkpoint. Return False where none waits."""
        if not self._waiting:
            return False
        lesson = self._waiting.popleft()
        try:
            parameters = self._held_out.get_parameters(lesson.window)
            checkpoint = self._checkpoints.get(lesson.published.digest, parameters)
        except CheckpointError:
            return True  # deleted meanwhile
        counts = self._held_out.count(checkpoint, lesson.window)
        inside = [c for c in counts if c.level in checkpoint.manifest.level_numbers]
        solved, asked = (sum(getattr(c, name) for c in inside) for name in ("solved", "asked"))
        if asked:  # otherwise there are too few problems to say anything about the levels in force
            self._add(lesson, Success(solved, asked))
        return True

    def _add(self, lesson: Lesson, accuracy: Success) -> None:
        number = lesson.published.number
        reward, error = _measure_reward(lesson)
        numbers = lesson.published.level_numbers
        levels = numbers if lesson.levels == numbers else None
        point = HeldOutPoint(number, reward, error, accuracy.solved, accuracy.asked, levels)
        # another course may begin again from a lower number
        self.points = [*(p for p in self.points if p.number < number), point][-_KEPT:]
        low, high = accuracy.interval
        self._report(
            f"eval accuracy of checkpoint {number}: {100 * accuracy.value:.1f} % of "
            f"{accuracy.asked} "
            f"held-out problems (95 %: {100 * low:.1f} to {100 * high:.1f})"
        )
        alarm = find_divergence(self.points)
        if alarm is not None and self.alarm is None:
            logger.warning("%s", alarm, extra={"event": "training_diverged"})
        self.alarm = alarm
        try:
            write_json(self._folder / _FILE, [asdict(point) for point in self.points])
            if self._board is None:
                write_file(self._folder / "progress.svg", draw(self.points).encode())
            self._show("checkpoint", number, {"reward": reward, "held-out": accuracy.value})
        except OSError as failure:
            raise _make_disk_error(self._folder, failure) from failure

    def show(self, axis: str, at: int, figures: dict[str, float]) -> None:
        """Show figures in TensorBoard and in the tracker. Raises LearningMonitorError: they cannot
        be written."""
        try:
            self._show(axis, at, figures)
        except OSError as failure:
            raise _make_disk_error(self._folder, failure) from failure

    def _show(self, axis: str, at: int, figures: dict[str, float]) -> None:
        if self._tracker is not None:
            self._tracker.log(axis, at, figures)
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(name, value, at)
            self._board.flush()


def _make_disk_error(folder: Path, failure: OSError) -> LearningMonitorError:
    return LearningMonitorError(
        f"cannot write the training's progress to {folder} ({failure}): make sure that you may "
        "write to the folder and that its disk is not full"
    )


def draw(points: Sequence[HeldOutPoint]) -> str:
    """Reward and held-out success over checkpoints, with 95 % intervals, as an SVG file."""
    scores = [(point.number, Success(point.correct, point.problems)) for point in points]
    series = [
        Series(
            "reward of the groups learned from (95 %)",
            [_make_estimate(p.number, p.reward, 1.96 * p.reward_error) for p in points],
            interval="band",
        ),
        Series(
            "eval accuracy (95 %)",
            [Point(number, score.value, *score.interval) for number, score in scores],
            interval="band",
        ),
    ]
    axis = make_count_axis([point.number for point in points], "checkpoint")
    plot = Plot(axis, make_share_axis("reward and eval accuracy"), series)
    return draw_picture("Progress of training", [plot])


def _make_estimate(number: int, value: float, error: float) -> Point:
    return Point(number, value, max(0.0, value - error), min(1.0, value + error))


def _measure_reward(lesson: Lesson) -> tuple[float, float]:
    """The mean reward and its standard error over groups, in whole rewards."""
    rewards = [reward / 1e6 for reward in lesson.rewards]
    count = len(rewards)
    mean = sum(rewards) / count
    variance = sum((reward - mean) ** 2 for reward in rewards) / max(1, count - 1)
    return mean, (variance / count) ** 0.5


def _read_points(path: Path) -> list[HeldOutPoint]:
    try:
        rows = read_json(path.read_bytes())
        return [
            HeldOutPoint(
                **row | {"levels": None if row["levels"] is None else tuple(row["levels"])}
            )
            for row in rows
        ]
    except FileNotFoundError:
        return []
    except (OSError, EncodingError, TypeError, LookupError) as error:
        raise LearningMonitorError(f"{path} cannot be read ({error}): move it away") from error


def _read_windows(path: Path) -> list[WatchedWindow]:
    try:
        return read_windows(path)
    except FileNotFoundError:
        return []
    except (OSError, EncodingError, TypeError, LookupError) as error:
        raise LearningMonitorError(f"{path} cannot be read ({error}): move it away") from error


def _open_board(folder: Path) -> Any:
    """TensorBoard's writer, or None where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))


class TrainerWithMonitor:
    """A trainer that also evaluates its checkpoints in the time that training leaves."""

    name = "trainer"

    def __init__(
        self, trainer: Trainer, monitor: LearningMonitor, suites: SuiteMonitor | None = None
    ) -> None:
        self._trainer = trainer
        self._monitor = monitor
        self._suites = suites

    @property
    def trouble(self) -> Trouble | None:
        """The trainer's trouble, else its workers', else the monitor's."""
        alarm = self._monitor.alarm
        diverged = None if alarm is None else Trouble(TroubleKind.CHECKPOINT, alarm)
        return self._trainer.trouble or self._trainer.workers_trouble or diverged

    def step(self) -> bool:
        """See `Trainer.step`, `LearningMonitor.step` and `SuiteMonitor.step`."""
        if self._trainer.step() or self._monitor.step():
            return True
        return self._suites is not None and self._suites.step()
