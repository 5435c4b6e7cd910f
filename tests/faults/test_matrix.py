"""Every fault before the chain, the beacon and the store, in every phase of a window.

A real miner, validator and trainer over a development network on a virtual clock, with a bucket for
their files. Where a fault is over before the next block, the run's outcome is the undisturbed
one's: mined files, commitments, verdicts, ledgers, weights, pay, the public record's files, the
store, see `tests.killing.outcome`. Where it lasts until a phase is over, the window ends as the
protocol says.

`tests.faults.table` names every phase, service and fault, and says why some cannot strike; each of
the others is seen to strike. `make faults` plays it.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.faults.stage import FAULT_TIMING, FaultStage, Plan, Weather
from tests.faults.table import FAULTS, PHASES, list_cells, make_plan
from tests.killing import stage as killing_stages
from tests.killing.outcome import Outcome

#: Runs after which a fault that has not struck is taken not to strike.
RUNS_MAX = 16
Play = Callable[[Plan, bool], tuple[Outcome, Weather]]


def open_stage(root: str) -> None:
    """In the stage's process."""
    killing_stages.current = FaultStage(Path(root))


def play_there(plan: Plan, clear: bool) -> tuple[Outcome, Weather]:
    """Blocks are counted from the window's first."""
    stage = killing_stages.current
    assert isinstance(stage, FaultStage)
    first = stage.start_block + 1
    outcome, weather = stage.play_in({first + at: s for at, s in plan.items()}, clear)
    return outcome, Weather(
        {block - first: struck for block, struck in weather.struck.items()},
        {block - first: asked for block, asked in weather.asked.items()},
    )


@pytest.fixture(scope="module")
def play() -> Iterator[Play]:
    sys.path.append(str(Path(__file__).parents[2]))  # the stage's process imports this module too
    with TemporaryDirectory(prefix="assay-") as root:  # short: for a locator
        spawn = get_context("spawn")
        with ProcessPoolExecutor(1, spawn, initializer=open_stage, initargs=(root,)) as stage:
            yield lambda plan, clear: stage.submit(play_there, plan, clear).result()


@pytest.fixture(scope="module")
def calm(play: Play) -> tuple[Outcome, Weather]:
    return play({}, True)


@pytest.fixture(scope="module")
def undisturbed(calm: tuple[Outcome, Weather]) -> Outcome:
    return calm[0]


def find_differences(outcome: Outcome, undisturbed: Outcome) -> list[str]:
    return list(compare(outcome.found, undisturbed.found))


def compare(found: Any, expected: Any, path: str = "") -> Iterator[str]:
    """The differences between two outcomes."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted(found.keys() | expected.keys(), key=str):
            yield from compare(found.get(key), expected.get(key), f"{path}/{key}")
    elif found != expected:
        yield f"{path}: {found!r:.300} instead of {expected!r:.300}"


def test_the_table_is_whole() -> None:
    """Each service is struck in a phase or, said with the reason, asked by nobody in it."""
    for service, names in FAULTS.items():
        struck = {name for _, of, name in list_cells() if of == service}
        spared = {name for p in PHASES.values() for of, name in p.spared if of == service}
        assert struck | spared == set(names), service
    for name, phase in PHASES.items():
        assert not {service for service, _ in phase.cells} & phase.unasked.keys(), name


@pytest.mark.faults
def test_nobody_asks_where_the_table_says_so(calm: tuple[Outcome, Weather]) -> None:
    _, weather = calm
    asked = {
        (name, service)
        for name, phase in PHASES.items()
        for block in phase.blocks
        for service, count in weather.asked.get(block, {}).items()
        if count
    }
    assert not asked & {(name, of) for name, phase in PHASES.items() for of in phase.unasked}


@pytest.mark.faults
def test_every_fault_in_every_phase(play: Play, undisturbed: Outcome) -> None:
    left, runs = list_cells(), 0
    while left and runs < RUNS_MAX:
        plan, owners = make_plan(left)
        outcome, weather = play(plan, True)
        runs += 1
        assert find_differences(outcome, undisturbed) == [], weather.struck
        struck = {
            (owners[block], *strike) for block, all_ in weather.struck.items() for strike in all_
        }
        print(f"run {runs}: {len(struck)} of {sum(map(len, plan.values()))} have struck")
        left -= struck
    print(f"{len(list_cells()) - len(left)} of {len(list_cells())} have struck")
    assert left == set()


@pytest.mark.faults
def test_a_bad_day(play: Play, undisturbed: Outcome) -> None:
    """One fault of each service where it is asked."""
    plan: Plan = {
        1: [("beacon", "altered body"), ("chain", "half-open"), ("bucket", "cut")],
        FAULT_TIMING.audit_offset + 1: [
            ("beacon", "stall"),
            ("chain", "garbage"),
            ("checkpoints", "redirect"),
        ],
        FAULT_TIMING.sample_offset + 1: [("submissions", "stall")],
        FAULT_TIMING.verdict_end + 1: [("chain", "deaf")],
    }
    outcome, weather = play(plan, True)
    assert find_differences(outcome, undisturbed) == []
    assert weather.struck == plan


def last(service: str, name: str, blocks: range) -> Plan:
    """A fault that lasts."""
    return {at: [(service, name)] for at in blocks}


def require_nothing_earned(outcome: Outcome, undisturbed: Outcome) -> None:
    """An all-zero settlement is the owner's, and nothing was learned."""
    ((_, state, row),) = outcome.found["validator"]["outbox"]
    assert (state, row) == ("confirmed", [(0, 65_535)])
    assert undisturbed.found["trainer"].keys() - outcome.found["trainer"].keys()


@pytest.mark.faults
@pytest.mark.parametrize(
    ("service", "name"),
    [("chain", "half-open"), ("chain", "refuse"), ("bucket", "busy"), ("bucket", "stall")],
)
def test_no_chain_or_no_upload_until_the_commitment_block_is_past(
    play: Play, undisturbed: Outcome, service: str, name: str
) -> None:
    """Nobody could commit: everyone is NO_COMMITMENT."""
    outcome, _ = play(last(service, name, range(FAULT_TIMING.commit_offset + 1)), False)
    (record,) = read_verdicts(outcome)
    assert {verdict["reason"] for verdict in record["verdicts"]} == {"NO_COMMITMENT"}
    require_nothing_earned(outcome, undisturbed)
    assert outcome.found["miner"] != undisturbed.found["miner"]


@pytest.mark.faults
@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("not there", {"NOT_REVEALED"}),
        ("half-open", {"NOT_REVEALED"}),
        ("altered body", {"MALFORMED", "WRONG_HEADER", "ROOT_MISMATCH"}),
    ],
)
def test_a_file_that_is_not_shown_until_fetching_is_over(
    play: Play, undisturbed: Outcome, name: str, reasons: set[str]
) -> None:
    """A file that a store does not show in time is withheld, and so is one that differs from its
    commitment. It is not requested later. Final blocks are one behind the chain's newest."""
    blocks = range(FAULT_TIMING.audit_offset, FAULT_TIMING.fetch_end + 2)
    outcome, _ = play(last("submissions", name, blocks), False)
    (record,) = read_verdicts(outcome)
    found = {verdict["reason"] for verdict in record["verdicts"]} - {"NO_COMMITMENT"}
    assert len(found) == 1, found
    assert found <= reasons
    require_nothing_earned(outcome, undisturbed)
    assert outcome.found["commitments taken"][0] in undisturbed.found["commitments taken"]


@pytest.mark.faults
def test_a_checkpoint_that_cannot_be_had_until_verdicts_are_final(play: Play) -> None:
    """Without it a validator abstains: that it is not to be had is nobody's to prove."""
    blocks = range(FAULT_TIMING.audit_offset, FAULT_TIMING.verdict_end + 1)
    require_abstention(play(last("checkpoints", "not there", blocks), False)[0])


@pytest.mark.faults
@pytest.mark.parametrize("first", [0, FAULT_TIMING.audit_offset], ids=["challenge", "audit"])
def test_a_round_that_comes_after_the_verdicts(play: Play, first: int) -> None:
    """Without a beacon in time a validator abstains: no verdict, no weights, and another round is
    never taken."""
    blocks = range(first, FAULT_TIMING.verdict_end + 1)
    require_abstention(play(last("beacon", "not there", blocks), False)[0])


def require_abstention(outcome: Outcome) -> None:
    assert not [v for record in read_verdicts(outcome) for v in record["verdicts"]]
    assert outcome.found["validator"]["outbox"] == []
    assert outcome.found["weights taken"] == []


def read_verdicts(outcome: Outcome) -> list[dict[str, Any]]:
    records: Mapping[str, dict[str, Any]] = outcome.found["validator"]["records"]
    return [record for record in records.values() if "verdicts" in record]
