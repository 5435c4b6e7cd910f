"""How many groups a miner generates together, by the time that its newest steps took.

A step of n groups takes at least as long as one of fewer, and at most n/m times as long as one of
m. So each measured step bounds the time of every other, and the least bound counts. If the newest
step took longer than the others had said, the machine has become slower, and what they say is
scaled by that. A step that was cut off for lack of time bounds the time from below, until one of as
many groups was finished.
"""

from collections.abc import Callable, Sequence
from functools import cache

from assay.artifacts.mining_history import STEPS_KEPT, UPLOADS_KEPT, MeasuredStep
from assay.artifacts.status.miner import SpeedStatus
from assay.protocol.submission import Rollout

#: A step is begun if it would end in time even if it took this many times as long as estimated: its
#: completions may be longer than the last ones, and other programs may need the processor.
SAFETY = 1.5
#: What makes a slow miner faster.
HELP = (
    "a GPU, an engine that drafts (docs/engines.md) or fewer programs beside it would help here; "
    "so would fewer tokens a rollout or longer windows, which are the owner's choice"
)


def measure_step(
    window: int, groups: int, made: Sequence[Sequence[Rollout]], seconds: float
) -> MeasuredStep:
    """A step that was to generate this many groups, and has made these."""
    tokens = sum(len(rollout.tokens) for group in made for rollout in group)
    return MeasuredStep(window, groups, len(made), tokens, seconds)


class MeasuredSpeed:
    """A miner's speed by its newest steps, and seconds of its newest uploads, oldest first. Older
    ones than count are left out."""

    def __init__(self, steps: Sequence[MeasuredStep] = (), uploads: Sequence[float] = ()) -> None:
        self.steps = list(steps[-STEPS_KEPT:])
        self.uploads = list(uploads[-UPLOADS_KEPT:])

    def add_step(self, step: MeasuredStep) -> None:
        """Add the newest step."""
        self.steps = [*self.steps, step][-STEPS_KEPT:]

    def add_upload(self, seconds: float) -> None:
        """Add the newest upload."""
        self.uploads = [*self.uploads, seconds][-UPLOADS_KEPT:]

    @property
    def upload_s(self) -> float:
        """Seconds of the longest upload."""
        return max(self.uploads, default=0.0)

    def keep_for_upload(self, window_s: float) -> float:
        """Seconds of a window's time to keep for its upload: half of it at most, however slow the
        store was."""
        return min(self.upload_s, window_s / 2)

    @property
    def tokens_per_second(self) -> float | None:
        """Completion tokens of whole steps per second; None: there is no such step."""
        whole = [step for step in self.steps if step.is_whole]
        seconds = sum(step.seconds for step in whole)
        return sum(step.tokens for step in whole) / seconds if seconds else None

    def estimate(self, groups: int) -> float | None:
        """Seconds that a step of this many groups takes; None: no step was finished yet."""
        whole = [step for step in self.steps if step.is_whole]
        if not whole:
            return None
        *older, newest = whole
        seconds = _bound([newest], groups)
        if older:
            expected = _bound(older, newest.groups)
            slowdown = max(1.0, newest.seconds / expected) if expected else 1.0
            seconds = min(seconds, slowdown * _bound(older, groups))
        return max(seconds, self._find_least(groups))

    def _find_least(self, groups: int) -> float:
        """The longest time for which steps of as many groups or fewer have run without an end."""
        least: dict[int, float] = {}
        for step in self.steps:
            if step.is_whole:
                least = {size: s for size, s in least.items() if size > step.groups}
            else:
                least[step.groups] = max(step.seconds, least.get(step.groups, 0.0))
        return max((s for size, s in least.items() if size <= groups), default=0.0)

    def choose(self, left_s: float, most: int) -> int:
        """Groups to generate together, at least 1 and at most `most`; 0: not even one would be
        finished in the seconds that are left. Without a finished step it is 1, whose time says what
        the next ones may be."""
        return _choose(self.estimate, left_s, most)

    def count_fitting(self, left_s: float, step_groups: int, most: int) -> int | None:
        """Groups that steps of at most `step_groups` would finish in these seconds, at most `most`;
        None: no step was finished yet."""
        estimate = cache(self.estimate)  # most steps have as many groups
        if estimate(1) is None:
            return None
        done = 0
        while groups := _choose(estimate, left_s, min(step_groups, most - done)):
            done, left_s = done + groups, left_s - (estimate(groups) or 0.0)
        return done

    def describe(self, window_s: float, step_groups: int, most: int) -> SpeedStatus | None:
        """The speed in a status; None before the first step.

        Args:
            window_s: from a window's beacon to the sending of its commitment.
            step_groups, most: see `count_fitting`.
        """
        if not self.steps:
            return None
        newest, rate = self.steps[-1], self.tokens_per_second
        left_s = window_s - self.keep_for_upload(window_s)
        return SpeedStatus(
            step=newest.groups,
            made=newest.made,
            seconds=round(newest.seconds, 3),
            tokens_per_second=None if rate is None else round(rate, 3),
            window_seconds=round(left_s, 3),
            upload_seconds=round(self.keep_for_upload(window_s), 3),
            fits=self.count_fitting(left_s, step_groups, most),
        )


def explain_speed(speed: SpeedStatus, valued: int) -> str:
    """One sentence. `valued`: groups below which a window earns next to nothing."""
    text = ""
    if speed["made"] < speed["step"]:
        text = (
            f"time was up after {speed['made']} of {speed['step']} groups that were generated "
            f"together for {speed['seconds']:,.0f} s; "
        )
    fits, rate = speed["fits"], speed["tokens_per_second"]
    if fits is None or rate is None:
        text += "no group was finished yet, so nobody can tell how many fit into a window"
    else:
        text += (
            f"about {fits:,} {'group fits' if fits == 1 else 'groups fit'} into the "
            f"{speed['window_seconds']:,.0f} s of a window at {rate:,.1f} tokens a second"
        )
    return f"{text}: {HELP}" if fits is None or fits < valued else text


def _choose(estimate: Callable[[int], float | None], left_s: float, most: int) -> int:
    single = estimate(1)
    if single is None:
        return min(1, most)
    for groups in range(most, 1, -1):
        seconds = estimate(groups)
        if seconds is not None and SAFETY * seconds <= left_s:
            return groups
    return 1 if most and single <= left_s else 0  # the last one needs no reserve: it is cut off


def _bound(steps: Sequence[MeasuredStep], groups: int) -> float:
    """The least upper bound on the time of this many groups; of steps of the same size the newest
    counts."""
    newest = {step.groups: step.seconds for step in steps}
    return min(seconds * max(1.0, groups / size) for size, seconds in newest.items())
