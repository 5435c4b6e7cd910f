"""Each rule on its own history, and histories that look alike and are good."""

import json
from dataclasses import asdict, replace

import pytest

from assay.neurons.trainer.status import describe_course
from assay.training import LearnStats
from assay.training.figures import GroupFigures
from assay.training.watch import (
    BEGINNING,
    NEWEST,
    RULES,
    CourseState,
    WatchedWindow,
    judge_course,
    measure_rules,
)

GROUPS = GroupFigures(
    groups=8,
    reward=0.4,
    teaching=0.9,
    all_right=0.0,
    all_wrong=0.1,
    length_mean=100.0,
    length_p10=60,
    length_p50=100,
    length_p90=150,
    length_max=256,
    at_limit=0.02,
    distinct=7.5,
    size=8.0,
    same=0.0,
    commonest=0.03,
)
STATS = LearnStats(8, 1, 4, 6_400, 0.4, 0.0, 1.0, 0.01, 0.001, 0.3, 5e-5, 0.4, 0.9, 1.0, 1.1, 3.0)


def make_course(*changes, groups=GROUPS, stats=STATS):
    """A beginning, and a window for each of the changes."""
    rows = [WatchedWindow(n, n + 1, 0, groups, stats) for n in range(BEGINNING)]
    for change in changes:
        n = len(rows)
        rows.append(change(WatchedWindow(n, n + 1, 0, groups, stats)))
    return rows


def of_groups(**values):
    return lambda row: replace(row, groups=replace(row.groups, **values))


def of_stats(**values):
    return lambda row: replace(row, stats=replace(row.stats, **values))


def with_fault(row):
    return WatchedWindow(row.window, fault="the gradient is not a number")


def without_groups(row):
    return WatchedWindow(row.window)


BAD = {
    "not_finite": with_fault,
    "clip": of_stats(clipped_share=0.25),
    "ratio": of_stats(ratio_p99=6.0),
    "ratio_low": of_stats(ratio_p01=0.005),
    "one_answer": of_groups(commonest=0.4),
    "same": of_groups(same=0.6),
    "entropy": of_stats(entropy=0.03),
    "shorter": of_groups(length_mean=39.0),
    "longer": of_groups(at_limit=0.5),
    "no_groups": without_groups,
    "all_wrong": of_groups(all_wrong=0.95, teaching=0.05),
    "all_right": of_groups(all_right=0.95, teaching=0.05),
    "no_signal": of_groups(teaching=0.0),
    "stale": of_stats(stale_ess=0.2),
}


def test_every_rule_has_a_history():
    assert list(BAD) == [rule.name for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_holds_from_its_last_window_on_and_not_before(rule):
    bad = BAD[rule.name]
    before = judge_course(make_course(*[bad] * (rule.windows - 1)))
    assert rule.name not in [finding.rule.name for finding in before.findings]
    verdict = judge_course(make_course(*[bad] * rule.windows))
    assert (verdict.state, verdict.findings[0].rule.name) == (rule.state, rule.name)
    assert rule.help in str(verdict)
    # one good window ends what needs several; the others are forgotten after as many as are read
    good = [lambda row: row] * (1 if rule.windows == NEWEST else NEWEST)
    after = judge_course(make_course(*[bad] * rule.windows, *good))
    assert rule.name not in [finding.rule.name for finding in after.findings]


def test_the_line_has_figure_value_and_threshold():
    verdict = judge_course(make_course(*[BAD["shorter"]] * 3))
    assert str(verdict).startswith(
        "the training run collapses: mean length of completions, of that of the beginning: 0.39, "
        "below "
        "0.4 in 3 windows one after the other, last in window 7: look at answers"
    )
    shown = describe_course(verdict)
    assert json.loads(json.dumps(shown)) == shown
    assert [name for name, holds in shown["rules"].items() if holds] == ["shorter"]
    assert (shown["value"], shown["threshold"]) == (0.39, 0.4)


@pytest.mark.parametrize(
    ("change", "beginning"),
    [
        # who ends in time was cut off before
        pytest.param(of_groups(length_mean=20.0), {"at_limit": 0.8}, id="ends in time"),
        # of two answers the commonest has half from the beginning
        pytest.param(of_groups(commonest=0.6), {"commonest": 0.45}, id="two answers"),
        # problems that are solved for sure leave no entropy
        pytest.param(
            lambda row: of_stats(entropy=0.01)(of_groups(all_right=0.6, same=1.0)(row)),
            {},
            id="solved",
        ),
        pytest.param(of_groups(at_limit=0.95), {"at_limit": 0.9}, id="long from the beginning"),
        pytest.param(of_groups(commonest=0.9, groups=2), {}, id="two groups"),
        pytest.param(of_stats(mean_kl=70.0), {}, id="one unlikely token"),
        pytest.param(lambda row: replace(row, groups=None, waiting=2), {}, id="waiting proposals"),
    ],
)
def test_what_only_looks_like_a_collapse(change, beginning):
    rows = make_course(*[change] * 5, groups=replace(GROUPS, **beginning))
    assert judge_course(rows).findings == ()


@pytest.mark.parametrize(
    ("rewards", "state"),
    [
        ([0.4] * 5, CourseState.BEGINS),
        ([0.40, 0.41] * 5, CourseState.FLAT),
        ([0.1 * n for n in range(8)], CourseState.LEARNS),
        ([0.8 - 0.1 * n for n in range(8)], CourseState.FALLS),
    ],
)
def test_without_a_rule_rewards_decide(rewards, state):
    rows = [
        WatchedWindow(n, n, 0, replace(GROUPS, reward=reward)) for n, reward in enumerate(rewards)
    ]
    assert judge_course(rows).state is state


def test_where_nothing_was_measured_entropy_is_that_of_the_groups():
    bare = make_course(groups=replace(GROUPS, entropy=0.5), stats=None)
    low = [replace(bare[0], groups=replace(GROUPS, entropy=0.04))] * 3
    (found,) = judge_course([*bare, *low]).findings
    assert (found.rule.name, found.value) == ("entropy", 0.08)
    measured = [replace(row, stats=STATS) for row in low]
    assert judge_course([*bare, *measured]).findings == ()


def test_rules_are_measured_in_the_newest_window():
    rows = make_course(of_stats(clipped_share=0.25), of_groups(length_mean=50.0))
    found = {rule.name: value for rule, value in measure_rules(rows)}
    assert (found["clip"], found["shorter"], found["no_groups"]) == (STATS.clipped_share, 0.5, 0)
    assert {value for _, value in measure_rules([])} == {None}
    early = dict(measure_rules(rows[: BEGINNING - 1]))
    assert [rule.name for rule in RULES if early[rule] is None] == [
        "one_answer", "entropy", "shorter", "longer", "stale"
    ]  # fmt: skip


def test_a_course_without_windows_begins():
    assert judge_course([]).state is CourseState.BEGINS


def test_a_window_is_read_back():
    for row in (*make_course(with_fault), WatchedWindow(7)):
        assert WatchedWindow.from_json(json.loads(json.dumps(asdict(row)))) == row
    with pytest.raises((TypeError, LookupError)):
        WatchedWindow.from_json({"window": 1, "groups": {}, "stats": None})
