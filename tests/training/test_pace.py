"""A trainer's bottlenecks, with a clock that moves only on demand."""

from dataclasses import asdict
from typing import get_type_hints

from assay.artifacts.status.trainer import PaceStatus
from assay.neurons.program.trainer_metrics import HINDRANCES
from assay.training.pace import PACE_WINDOWS, SILENT, SKIPPED, Activity, TrainerPace

JUDGING, LEARNING, PUBLISHING, WAITING = Activity


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def play(windows, window_s=100.0, own=0, beside=False):
    """windows: of each, seconds by activity, seconds of judging, groups that came and were used."""
    clock = Clock()
    pace = TrainerPace(clock, own, beside)
    for spent, judged_s, came, used in windows:
        for activity, seconds in spent.items():
            pace.begin(activity)
            clock.now += seconds
        if used:
            pace.note_lesson(came, used, 1_000 * used)
        pace.end_window(judged_s)
    found = pace.describe(window_s)
    return None if found is None else asdict(found)


def test_nothing_is_said_before_a_window_is_done_with():
    assert play([]) is None


def test_words_and_fields_are_those_of_status_and_metrics():
    assert (*Activity, SKIPPED, SILENT) == HINDRANCES
    found = play([({LEARNING: 1}, 0, 1, 1)])
    assert found.keys() == get_type_hints(PaceStatus).keys()


def test_a_trainer_that_waits_has_too_few_groups():
    """10 groups take 20 s to judge and 30 s to learn from, a checkpoint 10 s: the remaining 90 s
    hold 18 of them."""
    found = play([({WAITING: 40, JUDGING: 20, LEARNING: 30, PUBLISHING: 10}, 20, 10, 10)] * 3)
    assert found == {
        "windows": 3,
        "judging_seconds": 60.0,
        "learning_seconds": 90.0,
        "publishing_seconds": 30.0,
        "waiting_seconds": 120.0,
        "holds_back": "too few groups",
        "groups_came": 10.0,
        "groups_usable": 18,
        "tokens_per_second": round(30_000 / 90, 3),
    }


def test_the_usable_number_of_groups_is_not_too_few():
    """A window is 60 s: 10 groups fill it to the second; one second more, and they do not."""
    row = ({JUDGING: 20, LEARNING: 30, PUBLISHING: 10}, 20, 10, 10)
    assert play([row], 60.0)["groups_usable"] == 10
    assert play([row], 60.0)["holds_back"] == "learning"
    waited = ({**row[0], WAITING: 5}, *row[1:])
    assert play([waited], 65.0)["holds_back"] == "too few groups"
    assert play([row], 65.0)["holds_back"] == "learning", "it did not wait for any"


def test_the_longest_phase_holds_it_back():
    for slow in (JUDGING, LEARNING, PUBLISHING):
        spent = {JUDGING: 30, LEARNING: 30, PUBLISHING: 30} | {slow: 90}
        assert play([(spent, spent[JUDGING], 10, 10)])["holds_back"] == slow.value


def test_workers_that_judge_beside_it_cost_it_nothing():
    """10 groups take 60 s to judge and 70 s to learn from, in windows of 100 s: alone 6 fit, with
    workers 12; the learner's bound, since workers could judge 16."""
    row = ({LEARNING: 70, PUBLISHING: 16}, 60, 10, 10)
    alone = play([({JUDGING: 60} | row[0], *row[1:])])
    assert (alone["groups_usable"], alone["holds_back"]) == (6, "learning")
    beside = play([({WAITING: 14} | row[0], *row[1:])], beside=True)
    assert (beside["groups_usable"], beside["holds_back"]) == (12, "too few groups")
    # slow workers are a bound, too: 10 groups in 200 s are 5 a window, and the learner waits
    slow = play([({JUDGING: 130} | row[0], 200, 10, 10)], beside=True)
    assert (slow["groups_usable"], slow["holds_back"]) == (5, "judging")


def test_own_groups_take_of_the_time():
    """4 own groups and 6 of the miners' take 50 s: the 80 s without the own ones hold 16 of
    them."""
    found = play([({WAITING: 50, LEARNING: 50}, 0, 6, 10)], own=4)
    assert (found["groups_came"], found["groups_usable"]) == (6.0, 16)


def test_windows_without_a_step_count_as_windows():
    """Their groups did not come, and no checkpoint was published in them."""
    full = ({WAITING: 40, LEARNING: 50, PUBLISHING: 10}, 0, 10, 10)
    found = play([full, ({WAITING: 100}, 0, 0, 0)])
    assert (found["groups_came"], found["groups_usable"]) == (5.0, 18)
    none = play([({WAITING: 100}, 0, 0, 0)])
    assert (none["holds_back"], none["groups_usable"]) == ("too few groups", None)
    assert none["tokens_per_second"] is None


def test_groups_without_signal_are_not_too_few():
    """They came, and none of them taught; one lesson among them is enough to go by the rule."""
    clock = Clock()
    pace = TrainerPace(clock)
    for used in (0, 0, 4):
        pace.note_lesson(12, used, 100 * used)
        pace.begin(LEARNING if used else JUDGING)
        clock.now += 10
        pace.end_window(0.0)
        found = pace.describe(100.0)
        assert found.groups_came == 12
        assert (found.holds_back == SILENT) == (not used)


def test_skipped_windows_leave_the_mean():
    """Nobody counted their groups; judging them ahead is no cost of a good group."""
    clock = Clock()
    pace = TrainerPace(clock)
    for stale in (False, True) * 2:
        if not stale:
            pace.begin(LEARNING)
            clock.now += 50
            pace.note_lesson(10, 10, 1)
        pace.end_window(20.0, stale)
    found = pace.describe(70.0)
    assert (found.groups_came, found.groups_usable, found.holds_back) == (10.0, 10, "learning")
    found = pace.describe(140.0)
    assert (found.groups_usable, found.holds_back) == (20, SKIPPED)


def test_time_with_a_trouble_belongs_to_nobody():
    found = play([({WAITING: 10, None: 1_000, LEARNING: 50}, 0, 5, 5)])
    assert found["waiting_seconds"] + found["learning_seconds"] == 60.0


def test_only_the_last_windows_count():
    old = ({LEARNING: 500}, 0, 1, 1)
    new = ({LEARNING: 10, WAITING: 90}, 0, 1, 1)
    found = play([old] * 5 + [new] * PACE_WINDOWS)
    assert found["windows"] == PACE_WINDOWS
    assert found["learning_seconds"] == 10.0 * PACE_WINDOWS
    assert found["holds_back"] == "too few groups"
