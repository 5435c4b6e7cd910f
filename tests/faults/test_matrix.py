"""Every fault before the chain and before the beacon, in every phase of a window.

A real miner, validator and trainer over a development network on a virtual clock. Where a fault is
over before the next block, the run's outcome is the undisturbed one's: what was mined and committed
to, verdicts, ledgers, weights, pay, the public record's files, see `tests.killing.outcome`. Where
it lasts until a phase is over, the window ends as the protocol says.

Two answers that bear each other's numbers ("swapped") are left out: that is a node that lies, and
nothing but another node can tell. `make faults` plays it.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.faults.proxy import HTTP_FAULTS, WEBSOCKET_FAULTS
from tests.faults.stage import FaultStage, Plan, Strike
from tests.killing import stage as killing_stages
from tests.killing.network import TIMING
from tests.killing.outcome import Outcome

#: Blocks after a window's first at which something is done, and what.
PHASES = {
    "challenge": 1,  # its round is out a block later
    "commitment sent": TIMING.commit_offset - 3,
    "commitment block": TIMING.commit_offset,
    "audit": TIMING.audit_offset + 1,
    "verdicts": TIMING.verdict_end,
    "settlement": TIMING.verdict_end + 1,
}
FAULTS: Mapping[str, Sequence[str]] = {
    "chain": [name for name in WEBSOCKET_FAULTS if name != "swapped"],
    "beacon": list(HTTP_FAULTS),
}
#: Under these work goes on: they come last, when there is none left for others to strike.
HARMLESS = ("latency", "reordered", "wrong range", "shifted range", "whole body")
#: Faults of a service that strike in one phase of a run, and runs that strike with all in each.
TOGETHER = 7
RUNS = max(-(-len(names) // TOGETHER) for names in FAULTS.values())
Hits = dict[str, dict[str, int]]
Play = Callable[[Plan, bool], tuple[Outcome, Hits]]


def open_stage(root: str) -> None:
    """In the stage's process."""
    killing_stages.current = FaultStage(Path(root))


def play_there(plan: Plan, clear: bool) -> tuple[Outcome, Hits]:
    stage = killing_stages.current
    assert isinstance(stage, FaultStage)
    first = stage.start_block + 1
    return stage.play_in({first + at: strikes for at, strikes in plan.items()}, clear)


@pytest.fixture(scope="module")
def play() -> Iterator[Play]:
    """Plays a plan whose blocks are counted from the window's first."""
    sys.path.append(str(Path(__file__).parents[2]))  # the stage's process imports this module too
    with TemporaryDirectory(prefix="assay-") as root:  # short: for a locator
        spawn = get_context("spawn")
        with ProcessPoolExecutor(1, spawn, initializer=open_stage, initargs=(root,)) as stage:
            yield lambda plan, clear: stage.submit(play_there, plan, clear).result()


@pytest.fixture(scope="module")
def undisturbed(play: Play) -> Outcome:
    return play({}, True)[0]


def find_differences(outcome: Outcome, undisturbed: Outcome) -> list[str]:
    return list(compare(outcome.found, undisturbed.found))


def compare(found: Any, expected: Any, path: str = "") -> Iterator[str]:
    """Where two outcomes differ, and how."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted(found.keys() | expected.keys(), key=str):
            yield from compare(found.get(key), expected.get(key), f"{path}/{key}")
    elif found != expected:
        yield f"{path}: {found!r:.300} instead of {expected!r:.300}"


def make_plan(run: int) -> Plan:
    """Over all runs each fault of each service strikes in each phase."""

    def choose(service: str, phase: int) -> list[Strike]:
        names = FAULTS[service]
        first = (run + phase) * TOGETHER
        return [(service, names[(first + at) % len(names)]) for at in range(TOGETHER)]

    return {
        at: sorted(
            [*choose("beacon", phase), *choose("chain", phase)],
            key=lambda strike: strike[1] in HARMLESS,
        )
        for phase, at in enumerate(PHASES.values())
    }


def test_the_matrix_is_whole() -> None:
    struck = {
        (at, *strike)
        for run in range(RUNS)
        for at, strikes in make_plan(run).items()
        for strike in strikes
    }
    assert struck == {
        (at, service, name)
        for at in PHASES.values()
        for service, names in FAULTS.items()
        for name in names
    }


@pytest.mark.faults
@pytest.mark.parametrize("run", range(RUNS))
def test_every_fault_in_every_phase(play: Play, undisturbed: Outcome, run: int) -> None:
    plan = make_plan(run)
    outcome, hits = play(plan, True)
    assert find_differences(outcome, undisturbed) == []
    planned = {strike for strikes in plan.values() for strike in strikes}
    chain = {name for service, name in planned if service == "chain" and name not in HARMLESS}
    # a busy machine may be too slow for one or two of them
    assert len(chain - hits["chain"].keys()) <= 2, hits


@pytest.mark.faults
def test_a_bad_day(play: Play, undisturbed: Outcome) -> None:
    """One fault a phase, of either service where it is asked."""
    plan: Plan = {
        PHASES["challenge"]: [("beacon", "altered body"), ("chain", "half-open")],
        PHASES["commitment sent"]: [("chain", "cut")],
        PHASES["audit"]: [("beacon", "stall"), ("chain", "garbage")],
        PHASES["settlement"]: [("chain", "deaf")],
    }
    outcome, hits = play(plan, True)
    assert find_differences(outcome, undisturbed) == []
    for strikes in plan.values():
        for service, name in strikes:
            assert hits[service].get(name), (service, name)


def last(service: str, name: str, blocks: range) -> Plan:
    """A fault that lasts."""
    return {at: [(service, name)] for at in blocks}


@pytest.mark.faults
@pytest.mark.parametrize("name", ["half-open", "refuse"])
def test_no_chain_until_the_commitment_block_is_past(
    play: Play, undisturbed: Outcome, name: str
) -> None:
    """Nobody could commit: everyone is NO_COMMITMENT, and an all-zero settlement is the owner's."""
    blocks = range(TIMING.commit_offset + 1)
    outcome, _ = play(last("chain", name, blocks), False)
    (record,) = read_verdicts(outcome)
    assert {verdict["reason"] for verdict in record["verdicts"]} == {"NO_COMMITMENT"}
    ((_, state, row),) = outcome.found["validator"]["outbox"]
    assert (state, row) == ("confirmed", [(0, 65_535)])
    assert outcome.found["miner"] != undisturbed.found["miner"]


@pytest.mark.faults
@pytest.mark.parametrize("first", [0, TIMING.audit_offset], ids=["challenge", "audit"])
def test_a_round_that_comes_after_the_verdicts(
    play: Play, undisturbed: Outcome, first: int
) -> None:
    """Without a beacon in time a validator abstains: no verdict, no weights, and another round is
    never taken."""
    blocks = range(first, TIMING.verdict_end + 1)
    outcome, hits = play(last("beacon", "not there", blocks), False)
    assert hits["beacon"]["not there"] > 1
    assert not [v for record in read_verdicts(outcome) for v in record["verdicts"]]
    assert outcome.found["validator"]["outbox"] == []
    assert outcome.found["weights taken"] == []


def read_verdicts(outcome: Outcome) -> list[dict[str, Any]]:
    records: Mapping[str, dict[str, Any]] = outcome.found["validator"]["records"]
    return [record for record in records.values() if "verdicts" in record]
