"""kill −9 of the devnet and of the three neurons, real signals to real processes.

One window is played on a devnet with a virtual clock: mined, committed to, fetched, judged, learned
from, weighed, paid. An undisturbed run lists all points at which a process could die, see
`tests.killing.points`; then it is played again and somebody dies at a point and is started again on
the same folder. What is left in the end is the undisturbed run's, see `tests.killing.outcome`.

Every kind of point is taken by `make nightly`, many deaths to a run. `make kill` takes every point
of the devnet, and of the neurons' those that differ in what has been left on disk, in the store or
on chain. A death moves the points that follow it a little, so that of many deaths to a run later
ones fall near the points that are meant, not always on them.
"""

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import zip_longest
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.killing import stage as stages
from tests.killing.outcome import Outcome
from tests.killing.points import STEP, Fate, list_distinct, name_kind
from tests.killing.stage import NEURONS, ROLES, Fates, Stage, StuckError

#: Tests that the long ones are cut into, for several processors.
PARTS = 6
#: Points from one death of the devnet to the next. A node's pool dies with it, and a block in which
#: three neurons connect again has about 130 points: a death in each would let no extrinsic live.
STRETCH = 250
#: Parts of an outcome that follow from weights.
_OF_WEIGHTS = ("validator", "weights", "weights taken", "metagraph", "public record")
Play = Callable[[Fates], Outcome]


def open_stage(root: str, episodes: bool) -> None:
    """In the stage's process."""
    stages.current = Stage(Path(root), episodes=episodes)


def play_there(fates: Fates) -> Outcome:
    return stages.current.play(fates)


@contextmanager
def start_stage(*, episodes: bool = False) -> Iterator[Play]:
    """Plays in a process of its own."""
    sys.path.append(str(Path(__file__).parents[2]))  # the stage's process imports this module too
    with TemporaryDirectory(prefix="assay-") as root:  # short: for a locator
        spawn, given = get_context("spawn"), (root, episodes)
        with ProcessPoolExecutor(1, spawn, initializer=open_stage, initargs=given) as stage:
            yield lambda fates: stage.submit(play_there, fates).result()


@pytest.fixture(scope="module")
def play() -> Iterator[Play]:
    with start_stage() as play:
        yield play


@pytest.fixture(scope="module")
def undisturbed(play: Play) -> Outcome:
    return play({})


def find_differences(outcome: Outcome, undisturbed: Outcome) -> dict[str, Any]:
    found, expected = outcome.found, undisturbed.found
    return {key: found[key] for key in expected if found[key] != expected[key]}


def list_reasons(outcome: Outcome) -> set[str]:
    """Of the one window's verdicts."""
    records = outcome.found["validator"]["records"].values()
    (record,) = (record for record in records if "verdicts" in record)
    return {verdict["reason"] for verdict in record["verdicts"]}


def test_an_undisturbed_run_has_something_to_lose(undisturbed: Outcome) -> None:
    found = undisturbed.found
    assert undisturbed.deaths == []
    assert list_reasons(undisturbed) == {"ACCEPTED", "NO_COMMITMENT"}
    ((_, state, row),) = found["validator"]["outbox"]
    assert state == "confirmed"
    assert [list(pair) for pair in row] in [list(map(list, r)) for r in found["weights"].values()]
    assert len(found["weights taken"]) == 1
    assert len(found["commitments taken"]) == 2
    assert [row for row in found["metagraph"] if row[4]], "nobody was paid"
    assert [name for name in found["trainer"] if name.startswith("learner")]
    assert [name for name in found["public record"] if name.endswith(".record")]


@pytest.mark.parametrize("roles", [("devnet",), NEURONS], ids=["devnet", "neurons"])
def test_killed_at_every_kind_of_point(
    play: Play, undisturbed: Outcome, roles: tuple[str, ...]
) -> None:
    """Each life ends before the first effect of a kind. A kind that no longer comes up, such as the
    answer to weights that are already set, has its turn in another run."""
    left = {role: list(dict.fromkeys(map(name_kind, undisturbed.points[role]))) for role in roles}
    while any(left.values()):
        lives = {role: [Fate(kinds=frozenset([kind])) for kind in left[role]] for role in roles}
        outcome = play(lives)
        assert outcome.deaths, f"never come to: {left}"
        assert find_differences(outcome, undisturbed) == {}
        for role, name in outcome.deaths:
            left[role].remove(name_kind(name))


@pytest.mark.nightly
def test_killed_in_the_middle_of_episodes() -> None:
    """Whoever plays or replays them, at any of their turns."""
    with start_stage(episodes=True) as play:
        undisturbed = play({})
        assert "ACCEPTED" in list_reasons(undisturbed)
        steps = {
            role: [at for at, name in enumerate(undisturbed.points[role], 1) if name == STEP]
            for role in NEURONS
        }
        assert all(steps.values())
        for part in (0.3, 0.9):
            fates = {
                role: [Fate(at=ats[int(part * (len(ats) - 1))]), Fate(kinds=frozenset({STEP}))]
                for role, ats in steps.items()
            }
            outcome = play(fates)
            assert find_differences(outcome, undisturbed) == {}
            assert outcome.deaths.count(("miner", STEP)) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(seed, marks=pytest.mark.kill if seed else pytest.mark.nightly)
        for seed in range(6)
    ],
)
def test_everybody_is_killed_again_and_again(play: Play, undisturbed: Outcome, seed: int) -> None:
    draw, lives = random.Random(seed), 8 if seed else 3  # the first seed's run is of `make nightly`
    fates = {
        role: [Fate(at=draw.randrange(1, len(undisturbed.points[role]) // 2)) for _ in range(lives)]
        for role in ROLES
    }
    outcome = play(fates)
    assert len(outcome.deaths) >= 3 * lives / 2
    differences = find_differences(outcome, undisturbed)
    if outcome.found["validator"]["outbox"][0][1] != "confirmed":
        # it died so often while it sent them that its weights are on their way to the last
        assert outcome.found["weights taken"] == []
        differences = {k: v for k, v in differences.items() if k not in _OF_WEIGHTS}
    assert differences == {}


def play_each(play: Play, undisturbed: Outcome, chosen: Sequence[Fates]) -> None:
    """Plays all of it before it complains."""
    wrong, deaths = [], 0
    for fates in chosen:
        try:
            outcome = play(fates)
        except StuckError as error:
            wrong.append((fates, str(error)))
            continue
        deaths += len(outcome.deaths)
        differences = find_differences(outcome, undisturbed)
        if differences:
            wrong.append((outcome.deaths, differences))
    assert wrong == []
    # threads take turns as they like: the last points of one run may be missing in the next
    wanted = sum(len(lives) for fates in chosen for lives in fates.values())
    assert wanted - deaths <= max(1, wanted // 20)


@pytest.mark.kill
@pytest.mark.parametrize("part", range(PARTS))
def test_neurons_killed_after_everything_that_leaves_a_trace(
    play: Play, undisturbed: Outcome, part: int
) -> None:
    """Three deaths a run: none of the neurons sees what another one does before it is on chain."""
    distinct = [list_distinct(undisturbed.points[role]) for role in NEURONS]
    play_each(
        play,
        undisturbed,
        [
            {role: [Fate(at=at)] for role, at in zip(NEURONS, ats, strict=True) if at is not None}
            for ats in list(zip_longest(*distinct))[part::PARTS]
        ],
    )


@pytest.mark.kill
@pytest.mark.parametrize("part", range(PARTS))
def test_the_devnet_killed_at_every_block_and_extrinsic(
    play: Play, undisturbed: Outcome, part: int
) -> None:
    points = undisturbed.points["devnet"]
    named = [at for at, name in enumerate(points, 1) if "author_" in name or "update" in name]
    chosen = sorted({*list_distinct(points), *named})
    play_each(play, undisturbed, [{"devnet": [Fate(at=at)]} for at in chosen[part::PARTS]])


@pytest.mark.kill
@pytest.mark.parametrize("part", range(PARTS))
def test_the_devnet_killed_at_every_request(play: Play, undisturbed: Outcome, part: int) -> None:
    """The node goes away at each request, as it comes or when it has been answered: at every second
    point. A run has many deaths, a stretch apart, and each run begins at another point."""
    others = [Fate(at=STRETCH)] * (len(undisturbed.points["devnet"]) // STRETCH - 1)
    firsts = range(1 + 2 * part, STRETCH + 1, 2 * PARTS)
    play_each(play, undisturbed, [{"devnet": [Fate(at=at), *others]} for at in firsts])
