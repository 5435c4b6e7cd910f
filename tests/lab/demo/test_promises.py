"""The demo's broken promises, and the deviations that chance alone may cause."""

from math import comb
from types import SimpleNamespace

import pytest

from assay.lab.demo.report import CHANCE, Pay, compute_most_missed, find_broken_cheat
from assay.lab.demo.run import Actor
from assay.lab.gauntlet.content_attacks import FakingMiner
from assay.lab.gauntlet.sampling_attacks import CheapModelMiner, Greedy
from assay.neurons.miner.miner import MinerConfig
from assay.protocol.reason import Reason
from assay.verification import Seat

HOTKEY, SEAT = b"h" * 32, Seat(5, 9)
MISS = comb(6, 4) / comb(24, 4)


def make_cheat(kind: type) -> Actor:
    miner = object.__new__(kind)
    miner.name, miner.hotkey, miner.config = "cheat", HOTKEY, MinerConfig(24, 8)
    return Actor(miner, "cheat", SEAT)


def find(kind: type, missed: set[int], scores: list[int], paid: list[int]) -> list[str]:
    """The broken promises of windows 0 to 5, two to a settlement."""
    verdicts = {
        w: SimpleNamespace(
            verdicts={
                HOTKEY: SimpleNamespace(
                    reason=Reason.ACCEPTED if w in missed else Reason.SKETCH_MISMATCH
                )
            }
        )
        for w in range(6)
    }
    settlements = [
        SimpleNamespace(epoch=n, windows=(2 * n, 2 * n + 1), scores={SEAT: score})
        for n, score in enumerate(scores)
    ]
    run = SimpleNamespace(
        windows=range(6),
        parameters=SimpleNamespace(work=SimpleNamespace(audited_rollouts=4)),
        validator=SimpleNamespace(judged_windows=verdicts, settlements=settlements),
    )
    pay = {n: Pay(100 + n, {SEAT.uid: incentive}) for n, incentive in enumerate(paid)}
    return list(find_broken_cheat(run, make_cheat(kind), pay))


def test_a_cheat_is_missed_by_the_draw_alone() -> None:
    assert make_cheat(FakingMiner).miner.compute_miss_chance(4) == pytest.approx(MISS)
    assert pytest.approx(1 / 708.4) == MISS
    assert make_cheat(FakingMiner).miner.compute_miss_chance(8) == 0


def test_a_cheat_is_missed_where_its_rollouts_are_the_honest_ones() -> None:
    chance = make_cheat(CheapModelMiner).miner.compute_miss_chance(8)
    assert pytest.approx(1 / 35.5, abs=1e-4) == chance


@pytest.mark.parametrize("chance", [0, MISS, 0.1, 1])
def test_the_most_that_chance_explains(chance: float) -> None:
    def exceed(most: int) -> float:
        terms = (comb(6, n) * chance**n * (1 - chance) ** (6 - n) for n in range(most + 1, 7))
        return sum(terms)

    most = compute_most_missed(6, chance)
    assert exceed(most) <= CHANCE
    assert most == 0 or exceed(most - 1) > CHANCE


def test_nothing_is_broken_where_every_window_caught_it() -> None:
    assert find(FakingMiner, set(), [0, 0, 0], [0, 0]) == []


def test_a_window_that_missed_it_pays_nothing_beside_one_that_caught_it() -> None:
    assert find(FakingMiner, {0, 3}, [0, 0, 0], [0, 0]) == []
    broken = find(FakingMiner, {0, 3}, [0, 7, 0], [0, 9])
    assert broken == ["cheat earned 7 in a settlement", "the chain paid cheat"]


def test_a_settlement_that_missed_it_twice_pays_it() -> None:
    assert find(FakingMiner, {2, 3}, [0, 7, 0], [0, 9]) == []


def test_more_luck_than_there_is() -> None:
    assert find(FakingMiner, {0, 2, 4}, [0, 0, 0], [0, 0]) == []
    assert find(FakingMiner, {0, 2, 3, 4}, [0, 7, 0], [0, 9]) == [
        "cheat was accepted in 4 of 6 windows; chance explains 3"
    ]


def test_whoever_fakes_every_group_needs_more_than_the_draw() -> None:
    assert find(Greedy, {2}, [0, 0, 0], [0, 0]) == [
        "cheat was accepted in 1 of 6 windows; chance explains 0"
    ]
