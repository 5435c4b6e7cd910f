"""Whether a course learns, in one line: by fixed rules over the figures of its windows.

`RULES` is the one table of figures and thresholds; pages, metrics and alerts follow it. A rule
holds if its figure is beyond the threshold in enough of the newest windows. What is relative is
compared with the course's own beginning, the median of its first windows. The first rule of the
table that holds is what the line names. Where none holds, the line compares the rewards of the
newest windows with those before.

What the rules cannot see: a scorer that is pleased by something wrong while answers stay long and
different (`neurons.trainer.monitor` compares reward and held-out success), and a course that had
collapsed before its first window.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from math import sqrt
from pathlib import Path
from statistics import fmean, median, variance
from typing import Any

from assay.protocol.encoding import read_json
from assay.training.figures import GroupFigures
from assay.training.lesson import LearnStats

#: Newest windows that a rule looks at, and windows of a course's beginning.
NEWEST, BEGINNING = 3, 5
#: Newest windows whose rewards are compared, older half with newer half, and standard errors by
#: which they must differ.
COMPARED, ERRORS = 16, 2.0

#: The file in which a trainer keeps its windows' figures.
WINDOWS_FILE = "windows.json"


class CourseState(Enum):
    """What a course does. The values are written into files."""

    BEGINS = "begins"
    LEARNS = "learns"
    FLAT = "is flat"
    FALLS = "falls"
    STARVED = "is starved"
    COLLAPSES = "collapses"


@dataclass(frozen=True, slots=True)
class WatchedWindow:
    """One window of a course, in order.

    Attributes:
        window: its number.
        checkpoint: number of the checkpoint that its step made; None: it made none.
        staleness: checkpoints between the one that drew its groups and the step's parent.
        groups: of those that do not wait for their reward; None: no such group was accepted.
        stats: None: nothing was learned, or nobody kept the figures.
        fault: why its step failed because of its numbers; None: it did not.
        waiting: groups beside `groups`, of proposals that wait for their reward.
    """

    window: int
    checkpoint: int | None = None
    staleness: int = 0
    groups: GroupFigures | None = None
    stats: LearnStats | None = None
    fault: str | None = None
    waiting: int = 0

    @classmethod
    def from_json(cls, value: Any) -> "WatchedWindow":
        """The opposite of `asdict`. Raises TypeError or LookupError: it is something else."""
        groups, stats = value["groups"], value["stats"]
        return cls(
            **value
            | {
                "groups": None if groups is None else GroupFigures(**groups),
                "stats": None if stats is None else LearnStats(**stats),
            }
        )


@dataclass(frozen=True, slots=True)
class _Beginning:
    """Medians of a course's first windows."""

    length: float
    at_limit: float
    commonest: float
    entropy: float | None


_Read = Callable[[WatchedWindow, _Beginning | None], float | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """A figure with its threshold.

    Attributes:
        name: a metric's label.
        figure: what is looked at, in words.
        highest: the figure must not be above the threshold; else not below it.
        windows: of the newest `NEWEST` windows, how many must be beyond it.
        help: what helps.
        read: the figure of a window; None: it has none, or the rule does not apply to it.
    """

    name: str
    state: CourseState
    figure: str
    highest: bool
    threshold: float
    windows: int
    help: str
    read: _Read

    def is_beyond(self, value: float) -> bool:
        """Return whether a figure is beyond the threshold."""
        return value > self.threshold if self.highest else value < self.threshold


def _of_groups(read: Callable[[GroupFigures], float]) -> _Read:
    return lambda row, beginning: None if row.groups is None else read(row.groups)


def _of_stats(read: Callable[[LearnStats], float | None]) -> _Read:
    return lambda row, beginning: None if row.stats is None else read(row.stats)


def _read_fault(row: WatchedWindow, beginning: _Beginning | None) -> float:
    return float(row.fault is not None)


def _read_emptiness(row: WatchedWindow, beginning: _Beginning | None) -> float:
    return float(row.groups is None and not row.waiting and row.fault is None)


def _read_commonest(row: WatchedWindow, beginning: _Beginning | None) -> float | None:
    """Its rise: where there are two answers, the commonest has half from the beginning."""
    if row.groups is None or beginning is None or row.groups.groups < _GROUPS_LEAST:
        return None
    return row.groups.commonest - beginning.commonest


def _read_same(row: WatchedWindow, beginning: _Beginning | None) -> float | None:
    if row.groups is None or row.groups.all_right > 1 / 2:
        return None
    return row.groups.same


def get_entropy(row: WatchedWindow) -> float | None:
    """The entropy at a window's tokens, nats: what the learner measured, or else what the groups
    let estimate. None: neither is known."""
    measured = None if row.stats is None else row.stats.entropy
    return measured if measured is not None or row.groups is None else row.groups.entropy


def _read_entropy(row: WatchedWindow, beginning: _Beginning | None) -> float | None:
    """None where most groups are all right: who knows the answer has no need to explore."""
    entropy = get_entropy(row)
    if entropy is None or beginning is None or not beginning.entropy:
        return None
    if row.groups is None or row.groups.all_right > 1 / 2:
        return None
    return entropy / beginning.entropy


def _read_shortening(row: WatchedWindow, beginning: _Beginning | None) -> float | None:
    """None where completions were cut off at the beginning: to end in time is to learn."""
    if row.groups is None or beginning is None or beginning.at_limit > _CUT_OFF:
        return None
    return row.groups.length_mean / beginning.length


def _read_cut_off(row: WatchedWindow, beginning: _Beginning | None) -> float | None:
    if row.groups is None or beginning is None:
        return None
    return row.groups.at_limit - beginning.at_limit


#: Groups of a window without which its most frequent completion says nothing.
_GROUPS_LEAST = 4
#: Share of completions at the limit above which their lengths say nothing.
_CUT_OFF = 0.25
_SLOWER = "lower learning_rate or epochs, and go on from an earlier checkpoint"
_EXPLORE = "go on from an earlier checkpoint with kl_weight, wider bounds or a lower rate"

#: In the order of naming.
RULES = (
    Rule(
        "not_finite",
        CourseState.COLLAPSES,
        "steps whose loss or gradient was not a number",
        True,
        0.0,
        1,
        'lower learning_rate, or take precision = "float32"',
        _read_fault,
    ),
    Rule(
        "clip",
        CourseState.COLLAPSES,
        "share of learned tokens whose ratio was clipped",
        True,
        0.2,
        1,
        _SLOWER,
        _of_stats(lambda stats: stats.clipped_share),
    ),
    Rule(
        "ratio",
        CourseState.COLLAPSES,
        "99 % quantile of the ratio of new to old probability",
        True,
        5.0,
        1,
        _SLOWER,
        _of_stats(lambda stats: stats.ratio_p99),
    ),
    Rule(
        "ratio_low",
        CourseState.COLLAPSES,
        "1 % quantile of the ratio of new to old probability",
        False,
        0.01,
        1,
        _SLOWER,
        _of_stats(lambda stats: stats.ratio_p01),
    ),
    Rule(
        "one_answer",
        CourseState.COLLAPSES,
        "rise of the share of the most frequent completion, whatever was asked",
        True,
        0.3,
        NEWEST,
        "look at that completion: the scorer pays for it, or the rate is too high",
        _read_commonest,
    ),
    Rule(
        "same",
        CourseState.COLLAPSES,
        "share of the groups not all right in which all completions are the same",
        True,
        0.5,
        NEWEST,
        _EXPLORE,
        _read_same,
    ),
    Rule(
        "entropy",
        CourseState.COLLAPSES,
        "mean entropy at completions' tokens, of that of the beginning",
        False,
        0.1,
        NEWEST,
        _EXPLORE,
        _read_entropy,
    ),
    Rule(
        "shorter",
        CourseState.COLLAPSES,
        "mean length of completions, of that of the beginning",
        False,
        0.4,
        NEWEST,
        "look at answers: does the scorer pay for short ones, or a loss of length weigh too much?",
        _read_shortening,
    ),
    Rule(
        "longer",
        CourseState.COLLAPSES,
        "rise of the share of truncated completions",
        True,
        0.4,
        NEWEST,
        "look at answers; a loss of length, or more tokens a rollout, would help",
        _read_cut_off,
    ),
    Rule(
        "no_groups",
        CourseState.STARVED,
        "windows without an accepted group",
        True,
        0.0,
        NEWEST,
        "see `assay status` of a validator: are there miners, and why are they refused?",
        _read_emptiness,
    ),
    Rule(
        "all_wrong",
        CourseState.STARVED,
        "share of groups in which nothing was earned",
        True,
        0.9,
        NEWEST,
        "an SFT cold start (assay train warm-start), easier levels or more tokens a rollout",
        _of_groups(lambda groups: groups.all_wrong),
    ),
    Rule(
        "all_right",
        CourseState.STARVED,
        "share of groups in which everything was earned",
        True,
        0.9,
        NEWEST,
        "harder levels, or another environment",
        _of_groups(lambda groups: groups.all_right),
    ),
    Rule(
        "no_signal",
        CourseState.STARVED,
        "share of groups with non-zero advantage",
        False,
        0.1,
        NEWEST,
        "levels between those always and never solved, or larger groups",
        _of_groups(lambda groups: groups.teaching),
    ),
    Rule(
        "stale",
        CourseState.STARVED,
        "effective sample size of older rollouts: they are too old for this rate",
        False,
        0.3,
        NEWEST,
        'lower learning_rate, epochs or staleness, or take sync = "sequential"',
        _of_stats(lambda stats: stats.stale_ess),
    ),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that holds, and the figure of the newest window in which it is beyond the
    threshold."""

    rule: Rule
    value: float
    window: int

    def __str__(self) -> str:
        side = "above" if self.rule.highest else "below"
        if self.rule.name == "not_finite":
            return f"the step of window {self.window} was not a number: {self.rule.help}"
        return (
            f"{self.rule.figure}: {self.value:.3g}, {side} {self.rule.threshold:g}"
            f"{_name_windows(self.rule)}, last in window {self.window}: {self.rule.help}"
        )


def _name_windows(rule: Rule) -> str:
    return "" if rule.windows == 1 else f" in {rule.windows} windows one after the other"


@dataclass(frozen=True, slots=True)
class CourseVerdict:
    """What a course does, and why.

    Attributes:
        windows: that were read.
        text: the reason, with figure, value, threshold and what helps.
        findings: all rules that hold; the first is the reason.
    """

    state: CourseState
    windows: int
    text: str
    findings: tuple[Finding, ...] = ()

    def __str__(self) -> str:
        """One line."""
        return f"the training run {self.state.value}: {self.text}"


def judge_course(rows: Sequence[WatchedWindow]) -> CourseVerdict:
    """What a course does, by its windows in order."""
    beginning = _find_beginning(rows)
    found = tuple(f for rule in RULES if (f := _apply(rule, rows[-NEWEST:], beginning)))
    if found:
        return CourseVerdict(found[0].rule.state, len(rows), str(found[0]), found)
    rewards = [row.groups.reward for row in rows if row.groups is not None][-COMPARED:]
    half = len(rewards) // 2
    if half < NEWEST:
        few = f"{len(rewards)} windows with groups are too few to say more"
        return CourseVerdict(CourseState.BEGINS, len(rows), few)
    older, newer = rewards[:half], rewards[-half:]
    rise = fmean(newer) - fmean(older)
    error = sqrt((variance(older) + variance(newer)) / half)
    text = (
        f"the mean reward went from {fmean(older):.3f} to {fmean(newer):.3f} over "
        f"{len(rewards)} windows"
    )
    if abs(rise) <= ERRORS * error:
        text += f", within {ERRORS:g} standard errors ({error:.3f})"
        return CourseVerdict(CourseState.FLAT, len(rows), text)
    state = CourseState.LEARNS if rise > 0 else CourseState.FALLS
    return CourseVerdict(state, len(rows), text)


def measure_rules(rows: Sequence[WatchedWindow]) -> list[tuple[Rule, float | None]]:
    """Each rule with its figure of the newest window. None: the window has none, or the rule does
    not apply to it."""
    beginning = _find_beginning(rows)
    return [(rule, rule.read(rows[-1], beginning) if rows else None) for rule in RULES]


def _find_beginning(rows: Sequence[WatchedWindow]) -> _Beginning | None:
    """None before the course has as many windows with groups."""
    first = [row for row in rows if row.groups is not None][:BEGINNING]
    groups = [row.groups for row in first if row.groups is not None]
    if len(groups) < BEGINNING:
        return None
    known = [entropy for row in first if (entropy := get_entropy(row))]
    return _Beginning(
        median(one.length_mean for one in groups),
        median(one.at_limit for one in groups),
        median(one.commonest for one in groups),
        median(known) if known else None,
    )


def _apply(
    rule: Rule, newest: Sequence[WatchedWindow], beginning: _Beginning | None
) -> Finding | None:
    values = [rule.read(row, beginning) for row in newest]
    beyond = [
        (value, row.window)
        for value, row in zip(values, newest, strict=True)
        if value is not None and rule.is_beyond(value)
    ]
    if len(beyond) < rule.windows:
        return None
    return Finding(rule, *beyond[-1])


def read_windows(path: Path) -> list[WatchedWindow]:
    """The windows of a trainer's file. Raises OSError, EncodingError, TypeError or LookupError: it
    cannot be read, or is something else."""
    return [WatchedWindow.from_json(value) for value in read_json(path.read_bytes())]


def list_figures(window: WatchedWindow) -> dict[str, float]:
    """A window's figures by name, as TensorBoard, trackers and pages show them."""
    named: dict[str, Any] = {
        "window/staleness": window.staleness,
        "window/checkpoint": window.checkpoint,
    }
    for part, record in (("groups", window.groups), ("step", window.stats)):
        if record is not None:
            named |= {f"{part}/{name}": value for name, value in asdict(record).items()}
    if window.stats is not None:
        del named["step/stale_ages"]
        for of_age in window.stats.stale_ages:
            kept = {"share": of_age["share"], "ess": of_age["ess"], "kl": of_age["kl"]}
            named |= {f"step/stale_{n}/age-{of_age['age']}": v for n, v in kept.items()}
    return {name: float(value) for name, value in named.items() if value is not None}
