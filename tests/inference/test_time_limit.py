"""Generating stops when its time is up, and what it has finished is what it would have been."""

import pytest

from assay.inference import draft
from assay.inference.following import Follower
from assay.inference.generate import DraftCount, follow_groups, generate_groups
from assay.inference.reference import Reference
from assay.inference.time_limit import TimeLimit
from assay.verification.episodes import EpisodeRules
from tests.inference.conftest import list_ids
from tests.small_world import TURNS, make_play_requests


class Ticks:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def ticks(monkeypatch):
    """One tick for each round of decoding, and for each reading."""
    clock, batch = Ticks(), draft._Batch  # noqa: SLF001

    def slow_down(kind, name):
        honest = getattr(kind, name)

        def tick(*given):
            clock.now += 1
            return honest(*given)

        monkeypatch.setattr(kind, name, tick)

    slow_down(batch, "step")
    slow_down(Reference, "measure_with_leads")
    slow_down(Follower, "follow")
    return clock


@pytest.fixture
def make(checkpoint, requests, projection, ticks):
    """A function that generates until a tick."""

    def generate(how, until=None, asked=requests):
        ticks.now, count = 0.0, DraftCount()
        groups = how(
            asked,
            checkpoint.get_drafter(1_024),
            checkpoint.get_reference(1_024),
            checkpoint.get_rules(1_024),
            projection,
            count,
            limit=None if until is None else TimeLimit(until, ticks),
        )
        return groups, count, ticks.now

    return generate


@pytest.mark.parametrize("how", [generate_groups, follow_groups])
def test_the_groups_before_the_first_unfinished_one_are_whole(how, make):
    whole, _, ticks = make(how)
    made = [make(how, share * ticks) for share in (0.0, 0.5, 0.8, 0.9, 1.5)]
    counts = [len(groups) for groups, _, _ in made]
    assert counts[0] == 0
    assert counts[-1] == len(whole)
    assert any(0 < count < len(whole) for count in counts), counts
    for groups, count, _ in made:
        assert list_ids(groups) == list_ids(whole[: len(groups)])
        assert count.submitted == sum(len(row.tokens) for group in groups for row in group)
        assert count.rollouts == sum(map(len, groups))


def test_time_is_kept_for_reading(make, requests):
    """What was drafted whole is read, although there was no time to draft all."""
    lengths = [max(len(row.tokens) for row in group) for group in make(generate_groups)[0]]
    short, long = min(lengths), max(lengths)
    assert short <= 0.75 * (long + 1), "else this shows nothing"
    asked = [requests[lengths.index(short)], requests[lengths.index(long)]]
    groups, _, stopped = make(generate_groups, long + 1, asked)
    assert len(groups) == 1
    assert stopped < long, "the long one's last tokens were not drawn"


def test_a_limit_holds_in_a_round_and_by_one_reading(make):
    for how in (generate_groups, follow_groups):
        for until in (1, 9):
            assert make(how, until)[2] <= until + 1


def test_episodes_are_cut_between_groups_as_well(checkpoint, projection, ticks, make):
    rules = EpisodeRules(TURNS, 120, 64, checkpoint.manifest.max_tokens, frozenset({1}))
    asked = make_play_requests(checkpoint, 3, 2, rules)
    whole, _, needed = make(generate_groups, None, asked)
    for share in (0.5, 1.5):
        groups, _, _ = make(generate_groups, share * needed, asked)
        assert list_ids(groups) == list_ids(whole[: len(groups)])
    assert len(groups) == len(asked)
