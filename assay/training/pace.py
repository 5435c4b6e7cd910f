"""A trainer's use of time, its bottleneck, and the number of groups that a step could use.

Every second counts for the current activity of the trainer's own process: judging (or waiting for
workers that judge), learning, publishing (drawing own groups, trying the checkpoint, writing,
uploading and committing to it), or waiting for groups. A second with a trouble counts for none; the
trouble says why.

The rule is ECHO-2's capacity rule (arXiv 2602.02192) in a subnet's terms. Over the last windows let
W be the seconds of a window, P those of publishing a lesson, l and j those of learning from a group
and of judging one, and k the trainer's own groups in a lesson. A step could use

    n* = (W − P − k·l) / (l + j)             of the miners' groups where one process does both,
    n* = min((W − P)/l − k, W/j)             where workers judge beside it.

While fewer come, the groups are too few: the trainer waits, or skips windows for their age. If it
hardly waits, they are not.
Otherwise the activity that takes most time is the bottleneck, and the trainer reads windows later
and later. The rule does not consider what groups are worth.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import floor

#: Bottleneck of a trainer that has time left and yet skips windows.
SKIPPED = "skipped for age"
#: Bottleneck of a trainer whose windows had groups, none of which teaches.
SILENT = "no signal"
#: Share of the time that a trainer waits at least where groups are said to be too few.
_IDLE = 0.05
#: Number of last windows that count.
PACE_WINDOWS = 8


class Activity(StrEnum):
    """A trainer's activity, which may also be its bottleneck."""

    JUDGING = "judging"
    LEARNING = "learning"
    PUBLISHING = "publishing"
    WAITING = "too few groups"


@dataclass(slots=True)
class WindowTimes:
    """One window's seconds and groups.

    Attributes:
        spent: seconds of the trainer's own process, by activity.
        judged_s: from the first file that was judged to the last, whatever ran in parallel.
        came: the miners' groups that were accepted.
        used: groups of the lesson, including the trainer's own; 0: there was none, or they taught
            nothing.
        stale: it was skipped because its rollouts were too old; their number is unknown.
        tokens: tokens of all learning passes.
    """

    spent: dict[Activity, float] = field(default_factory=lambda: dict.fromkeys(Activity, 0.0))
    judged_s: float = 0.0
    came: int = 0
    used: int = 0
    stale: bool = False
    tokens: int = 0


class TrainerPace:
    """Measures the times of one trainer.

    Args:
        get_time: seconds of a clock that is never set.
        own_groups: the trainer's own groups in each lesson.
        is_parallel: workers judge in parallel.
    """

    def __init__(
        self, get_time: Callable[[], float], own_groups: int = 0, is_parallel: bool = False
    ) -> None:
        self.get_time = get_time
        self._own_groups, self._is_parallel = own_groups, is_parallel
        self._now: Activity | None = None
        self._since = get_time()
        self._row = WindowTimes()
        self._rows: deque[WindowTimes] = deque(maxlen=PACE_WINDOWS)

    def begin(self, activity: Activity | None) -> None:
        """Count the time from now on for this activity; None: for none."""
        now = self.get_time()
        if self._now is not None:
            self._row.spent[self._now] += now - self._since
        self._now, self._since = activity, now

    def note_lesson(self, came: int, used: int, tokens: int) -> None:
        """See `WindowTimes`."""
        self._row.came, self._row.used, self._row.tokens = came, used, tokens

    def end_window(self, judged_s: float, stale: bool = False) -> None:
        """Finish the current window."""
        self.begin(self._now)
        self._row.judged_s, self._row.stale = judged_s, stale
        self._rows.append(self._row)
        self._row = WindowTimes()

    def describe(self, window_s: float) -> "PaceFigures | None":
        """Figures over the last windows; None before the first is finished. `window_s` is a
        window's length by the parameters."""
        rows = list(self._rows)
        if not rows:
            return None
        spent = add_up_spent(rows)
        learning_s = spent[Activity.LEARNING]
        usable = compute_usable(rows, window_s, self._own_groups, self._is_parallel)
        return PaceFigures(
            len(rows),
            round(spent[Activity.JUDGING], 3),
            round(learning_s, 3),
            round(spent[Activity.PUBLISHING], 3),
            round(spent[Activity.WAITING], 3),
            find_hindrance(rows, usable),
            round(compute_came(rows), 3),
            usable,
            round(sum(row.tokens for row in rows) / learning_s, 3) if learning_s else None,
        )


@dataclass(frozen=True, slots=True)
class PaceFigures:
    """The figures in a status (docs/status.md): number of windows, seconds by activity, bottleneck,
    groups in a window, and learned tokens per second."""

    windows: int
    judging_seconds: float
    learning_seconds: float
    publishing_seconds: float
    waiting_seconds: float
    holds_back: str
    groups_came: float
    groups_usable: int | None
    tokens_per_second: float | None


def add_up_spent(rows: Sequence[WindowTimes]) -> dict[Activity, float]:
    """Seconds by activity."""
    return {activity: sum(row.spent[activity] for row in rows) for activity in Activity}


def compute_came(rows: Sequence[WindowTimes]) -> float:
    """Mean number of the miners' groups in a window, without windows skipped for their age."""
    came = [row.came for row in rows if not row.stale]
    return sum(came) / max(1, len(came))


def compute_usable(
    rows: Sequence[WindowTimes], window_s: float, own_groups: int, is_parallel: bool
) -> int | None:
    """n*, rounded down: the number of the miners' groups that a step could use. None while there
    was no lesson, or nothing took any time."""
    used, came = sum(row.used for row in rows), sum(row.came for row in rows)
    if not used:
        return None
    spent = add_up_spent(rows)
    publishing_s = spent[Activity.PUBLISHING] / sum(row.used > 0 for row in rows)
    learning_s = spent[Activity.LEARNING] / used
    judging_s = sum(row.judged_s for row in rows if not row.stale) / max(1, came)
    left_s = window_s - publishing_s - own_groups * learning_s
    # an activity that takes no time is no bound
    costs = [(left_s, learning_s + judging_s)]
    if is_parallel:
        costs = [(left_s, learning_s), (window_s, judging_s)]
    bounds = [total / each for total, each in costs if each > 0]
    return max(0, floor(min(bounds))) if bounds else None


def find_hindrance(rows: Sequence[WindowTimes], usable: int | None) -> str:
    """The trainer's bottleneck, by the rule above. Without any lesson, groups are too few, unless
    they came and taught nothing, or windows were skipped. A trainer that hardly waits has no use
    for more of them: what takes most of its time is the bottleneck then."""
    if compute_came(rows) and not any(row.used for row in rows):
        return SILENT
    spent = add_up_spent(rows)
    is_idle = spent[Activity.WAITING] >= _IDLE * sum(spent.values())
    if usable is None or compute_came(rows) < usable:
        if any(row.stale for row in rows):
            return SKIPPED
        if usable is None or is_idle:
            return Activity.WAITING.value
    return max((a for a in Activity if a is not Activity.WAITING), key=spent.__getitem__).value
