"""Which checkpoints were in force: what was read once outlives nodes that forget, and restarts."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from assay.inference.checkpoint import Outline
from assay.inference.folder import CheckpointError, verify_manifest
from assay.lab.simulator import SimulatedChain
from assay.network.beacon import LocalBeacon
from assay.network.chain.errors import ForgottenError
from assay.network.files import write_json
from assay.neurons.trainer.gate_keeping import GateKeeper
from assay.protocol.amendment import ParameterHistory
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.encoding import to_json
from assay.protocol.gate import (
    Course,
    GateCounts,
    Outcome,
    Place,
    continue_course,
    find_place,
    is_of_course,
)
from assay.protocol.manifest import Manifest
from assay.protocol.parameters import DEMO_TIMING, Gate, GateRule, Start
from assay.protocol.window import Phase, compute_block
from assay.session.course_windows import CourseWindows, Run
from assay.session.gate_evidence import find_chain_faults, list_due
from assay.subnet.presets import NETUID, make_demo_parameters
from assay.training import GENESIS

TRAINER = b"t" * 32
GATE = Gate(GateRule.NOT_WORSE, problems=64, error_worse=50_000, error_better=50_000)


class Forgetting(SimulatedChain):
    """A node that has the state of a few blocks."""

    kept = 10**9

    def get_commitments(self, number: int) -> dict[bytes, bytes]:
        if number < self.get_head() - self.kept:
            raise ForgottenError(f"state at block {number} is discarded")
        return {**super().get_commitments(number)}


class Network:
    """A chain on which checkpoints are published, one a window, under given numbers."""

    def __init__(self) -> None:
        begun = 1_700_000_000_000
        self.chain = Forgetting(
            b"test", NETUID, begun, DEMO_TIMING.slot_ms, DEMO_TIMING.tempo, (TRAINER,)
        )
        self.beacons = LocalBeacon(b"test", begun, 1_000, self.chain.get_time_ms)
        parameters = make_demo_parameters(
            self.chain.genesis_hash, self.beacons.chain, 0, TRAINER, b"g" * 32
        )
        self.history = ParameterHistory(replace(parameters, gate=GATE))
        self.window = 0

    def publish(self, digest: bytes) -> int:
        """Put a checkpoint in force. Return its first window."""
        named = Commitment(Tag.CHECKPOINT, 1, 0, digest, "test:store")
        self.chain.set_commitment(TRAINER, encode_commitment(named))
        self.pass_windows(1)
        return self.window

    def pass_windows(self, count: int) -> None:
        self.window += count
        due = compute_block(self.history.first.timing, self.window, Phase.CHECKPOINT)
        while self.chain.get_head() <= due:
            self.chain.mint()

    def open(self, file: Path | None = None) -> CourseWindows:
        return CourseWindows(self.chain, self.beacons, self.history, file)


@pytest.fixture
def network() -> Network:
    return Network()


def test_a_program_that_was_away_knows_what_it_has_seen(network: Network, tmp_path: Path) -> None:
    file, runs = tmp_path / "kept" / "in_force.json", []
    for digest in (b"a" * 32, b"b" * 32, b"c" * 32):
        runs.append(Run(digest, network.publish(digest)))
        assert next(network.open(file).iterate_back(network.window)) == runs[-1]
    network.chain.kept = 2
    network.pass_windows(40)  # nothing was published meanwhile: the slot says since when
    found = network.open(file).iterate_back(network.window)
    assert [next(found) for _ in runs] == runs[::-1]
    with pytest.raises(ForgottenError):
        next(found)  # before it ran for the first time
    with pytest.raises(ForgottenError):
        list(network.open().iterate_back(network.window))
    network.open(file).get_randomness(runs[0].window)  # of the block's body


def test_what_was_kept_of_another_network_is_not_believed(network: Network, tmp_path: Path) -> None:
    file, other = tmp_path / "in_force.json", Network()
    gate = replace(GATE, problems=32)
    other.history = ParameterHistory(replace(other.history.first, gate=gate))
    for one, digest in ((network, b"a" * 32), (other, b"b" * 32)):
        begun = one.publish(digest)
        assert next(one.open(file).iterate_back(begun)) == Run(digest, begun)


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"spans": 1}', b"\xff"])
def test_a_damaged_file_is_read_anew(network: Network, tmp_path: Path, damage: bytes) -> None:
    file = tmp_path / "in_force.json"
    file.write_bytes(damage)
    begun = network.publish(b"a" * 32)
    assert next(network.open(file).iterate_back(begun)) == Run(b"a" * 32, begun)
    again = next(network.open(file).iterate_back(begun))
    assert again == Run(b"a" * 32, begun)


def test_what_nobody_has_is_waited_for_until_its_window_is_over(network: Network) -> None:
    """However many windows pass meanwhile: a trainer that waits makes none itself."""
    first = verify_manifest(GENESIS)
    known = {first.digest: Named(first)}

    def get_outline(digest: bytes) -> Outline:
        if digest not in known:
            raise CheckpointError("no store has it")
        return known[digest]

    shelf = SimpleNamespace(get_outline=get_outline)
    sources: Any = SimpleNamespace(chain=network.chain, beacons=network.beacons, checkpoints=shelf)
    keeper = GateKeeper(network.history, sources, None, print)
    parent: Any = SimpleNamespace(manifest=first)
    network.publish(b"n" * 32)
    with pytest.raises(CheckpointError):
        keeper.prepare(parent, 1)
    network.pass_windows(4)
    assert not keeper.prepare(parent, 1)


@pytest.mark.parametrize("starts_anew", [False, True])
def test_an_amendment_ends_a_course_only_with_another_start(
    network: Network, tmp_path: Path, starts_anew: bool
) -> None:
    """A trainer's windows lag behind those in force, so that its counts cross the border."""
    old, first = network.history.first, verify_manifest(GENESIS)
    border = old.timing.notice_windows + 1
    named = (b"z" * 32, 9) if starts_anew else (bytes(32), 0)
    work = replace(old.work, max_tokens=old.work.max_tokens - starts_anew, group_cap=32)
    network.history.add(replace(old, work=work, start=Start(old.digest, border, *named)))
    made = replace(
        first, number=1, parent=first.digest, step=b"s" * 32, course=Course(first.digest, 1)
    )
    known: dict[bytes, Outline] = {b"g" * 32: Named(first), made.digest: Named(made)}
    sources: Any = SimpleNamespace(
        chain=network.chain,
        beacons=network.beacons,
        checkpoints=SimpleNamespace(get_outline=known.__getitem__),
    )
    counted = count(made.digest)
    data = b"answers"
    counted = replace(counted, answers=sha256(data).digest(), losses=3)
    (tmp_path / "gates").mkdir()
    write_json(tmp_path / "gates" / f"{made.digest.hex()}.json", to_json(counted))
    (tmp_path / "gates" / f"{counted.answers.hex()}.parquet").write_bytes(data)
    keeper = GateKeeper(network.history, sources, tmp_path, print)
    network.pass_windows(border)
    network.publish(made.digest)
    network.pass_windows(1)  # its beacon is out
    parent: Any = SimpleNamespace(manifest=first)
    found = keeper.measure(parent, border - 1).counts
    assert found == (() if starts_anew else (counted,))
    del known[made.digest]  # a trainer keeps a few checkpoints, and asks for none that is counted
    parent.manifest = replace(made, course=replace(made.course, counts=(counted,)))
    assert keeper.measure(parent, border - 1).counts == (counted,)


# --- a course that begins twice


def count(digest: bytes) -> GateCounts:
    return GateCounts(digest, digest[::-1], GATE.problems, 0, 40, 0, 0)


class Twice:
    """A trainer that returns, plays its second attempt badly, and returns from the same checkpoint
    once more, as if the second attempt began now."""

    def __init__(self, network: Network) -> None:
        self.network, self.known = network, dict[bytes, Manifest]()
        self.first = verify_manifest(GENESIS)
        self.windows: dict[bytes, int] = {}
        beginning = Course(self.first.digest, 1)
        self.given_up = self.add(self.first, beginning)
        fallen = replace(beginning, counts=(count(self.given_up.digest),), outcome=Outcome.RETURN)
        self.returns = [self.add(self.given_up, fallen)]
        second = continue_course(self.returns[0].digest, fallen, False, GATE)
        self.bad = [self.add(self.returns[0], second)]
        for _ in range(3):
            self.bad.append(self.add(self.bad[-1], second))
        self.returns.append(self.add(self.given_up, fallen))
        self.again = self.add(self.returns[1], second)

    def add(self, parent: Manifest, course: Course) -> Manifest:
        number = parent.number + 1 + 10 * len(self.known)
        made = replace(
            self.first,
            number=number,
            parent=parent.digest,
            step=number.to_bytes(32, "big"),
            course=course,
        )
        self.known[made.digest] = made
        self.windows[made.digest] = self.network.publish(made.digest)
        return made

    def get_outline(self, digest: bytes) -> Outline:
        if digest not in self.known:
            raise CheckpointError("it is not here")
        outline: Outline = Named(self.known[digest])
        return outline


class Named(Outline):
    """An outline of which a manifest is asked."""

    def __init__(self, manifest: Manifest) -> None:
        object.__setattr__(self, "manifest", manifest)


@pytest.fixture
def twice(network: Network) -> Twice:
    return Twice(network)


def test_a_second_beginning_owes_the_counts_of_the_first(twice: Twice) -> None:
    network, own = twice.network, twice.again
    carried = continue_course(twice.returns[1].digest, twice.returns[1].course, False, GATE)
    asked = network.open(), twice.get_outline, carried, GATE, own.digest

    def name(since: int | None, last: int | None) -> list[bytes]:
        due = list_due(*asked, since, network.window)
        return [fault.checkpoint for fault in find_chain_faults((), due, last)]

    left_out = [bad.digest for bad in twice.bad]
    assert name(0, network.window - 1) == left_out  # since the milestone
    assert name(0, None) == left_out[:2]  # of a record that lags, the two newest may lack
    assert name(twice.windows[twice.returns[1].digest], None) == []  # since its parent alone
    counted = tuple(count(digest) for digest in left_out)
    due = list_due(*asked, 0, network.window)
    assert find_chain_faults(counted, due, network.window - 1) == []


def test_places_beside_a_course(twice: Twice) -> None:
    course = twice.again.course
    places: list[tuple[Manifest, Place]] = [
        (twice.again, Place.WITHIN),
        (twice.bad[0], Place.WITHIN),
        (twice.returns[0], Place.BEHIND),
        (twice.returns[1], Place.BEHIND),
        (twice.given_up, Place.BEFORE),
        (twice.first, Place.BEFORE),
    ]
    found = [find_place(one.digest, one.course, course, GATE) for one, _ in places]
    assert found == [place for _, place in places]
    within = [is_of_course(one.digest, one.course, course, GATE) for one, _ in places]
    assert within == [place is Place.WITHIN for _, place in places]
