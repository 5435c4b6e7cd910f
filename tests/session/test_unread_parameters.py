"""Amendments that a program cannot fetch, read or work by, and the files of problems they name."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from assay.artifacts import published_problems
from assay.artifacts.discovery import DiscoveryError
from assay.artifacts.published_problems import publish_all_problems
from assay.artifacts.store_objects import make_parameters_name, make_problems_name
from assay.environments import problem_file
from assay.environments.problem_file import add_problem_files, compute_file_digest
from assay.environments.registry import open_environment
from assay.network.chain.values import STATE_BLOCKS
from assay.protocol.parameters import Parameters
from assay.session.parameter_follower import ParameterFollower
from assay.subnet.presets import parse_environment
from tests.amended_parameters import amend
from tests.session.owners_subnet import LENGTH, NOTICE, Subnet, vary


def test_one_that_cannot_be_fetched_stops_what_comes_after_it(subnet: Subnet) -> None:
    """The program reports it while there is time; once they can be fetched, work continues."""
    followed = subnet.follow()
    amended = subnet.say(vary(subnet.first, 10))
    subnet.away.add(make_parameters_name(amended.digest))
    followed.look()
    assert "they would apply from window 10 on" in (followed.note or "")
    assert followed.history.end is None
    subnet.decide(10)
    followed.look()
    assert followed.history.end == 10
    assert "this program stops before window 10" in (followed.note or "")
    again = subnet.follow()  # a restart knows no more, and works by what it knows
    assert (again.history.end, again.history.all) == (10, (subnet.first,))
    subnet.away.clear()
    for found in (followed, again):
        found.look()
        assert (found.history.end, found.note) == (None, None)
        assert found.history.all == (subnet.first, amended)


def test_one_that_cannot_be_fetched_and_is_taken_back_stops_nothing(subnet: Subnet) -> None:
    followed = subnet.follow()
    amended = subnet.say(vary(subnet.first, 10))
    subnet.away.add(make_parameters_name(amended.digest))
    followed.look()
    subnet.say(subnet.first)
    subnet.decide(10)
    followed.look()
    assert (followed.history.end, followed.note) == (None, None)


@pytest.mark.parametrize("window", [1, NOTICE - 1])
def test_one_that_cannot_be_fetched_and_cannot_hold_stops_nothing(
    subnet: Subnet, window: int
) -> None:
    followed = subnet.follow()
    subnet.mint_to(30)
    amended = vary(subnet.first, 10)
    subnet.away.add(make_parameters_name(amended.digest))
    subnet.say(amended, number=window)
    followed.look()
    assert followed.history.end is None
    assert followed.history.get_at(30) == subnet.first


@dataclass
class Blind:
    """A program that could not fetch the decided parameters, and one that could."""

    subnet: Subnet
    amended: Parameters

    def __post_init__(self) -> None:
        self.seeing = self.subnet.follow("seeing")
        self.blind = self.subnet.follow("blind")
        self.name = make_parameters_name(self.amended.digest)
        self.subnet.say(self.amended)
        self.seeing.look()  # it has the file
        self.subnet.away.add(self.name)
        self.subnet.decide(10)
        self.look()
        assert (self.blind.history.end, self.seeing.history.end) == (10, None)

    def look(self) -> None:
        for followed in (self.seeing, self.blind):
            followed.look()

    def restart(self) -> None:
        self.blind = self.subnet.follow("blind")

    def agree(self) -> None:
        """Once the file is there, all know the same."""
        self.subnet.away.clear()
        self.look()
        assert self.blind.history.all == self.seeing.history.all
        assert self.amended in self.blind.history.all
        assert (self.blind.history.end, self.blind.note) == (None, self.seeing.note)


@pytest.fixture
def blind(subnet: Subnet) -> Blind:
    return Blind(subnet, vary(subnet.first, 10))


def test_unread_decided_parameters_are_remembered_when_the_slot_goes_back(blind: Blind) -> None:
    blind.subnet.say(blind.subnet.first)
    blind.look()
    assert blind.blind.history.end == 10
    blind.restart()
    assert blind.blind.history.end == 10
    blind.subnet.mint_to(STATE_BLOCKS + 100)
    blind.look()
    blind.restart()
    assert blind.blind.history.end == 10
    blind.agree()


def test_unread_decided_parameters_give_way_to_no_rival(blind: Blind) -> None:
    rival = vary(blind.subnet.first, 20, 7)
    blind.subnet.say(rival)
    blind.look()
    assert blind.blind.history.end == 10
    blind.subnet.decide(20)
    blind.look()
    assert blind.blind.history.end == 10
    blind.restart()
    assert blind.blind.history.end == 10
    blind.agree()
    assert rival not in blind.seeing.history.all


def test_a_look_that_breaks_off_lets_nobody_work_longer(
    blind: Blind, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("broken off")

    monkeypatch.setattr(ParameterFollower, "_take", fail)
    with pytest.raises(RuntimeError, match="broken off"):
        blind.blind.look()
    assert blind.blind.history.end == 10


def test_a_second_that_cannot_be_read_lets_nobody_work_longer(blind: Blind) -> None:
    second = vary(blind.amended, 20, 7)
    blind.subnet.away.add(make_parameters_name(second.digest))
    blind.subnet.say(second)
    blind.subnet.decide(20)
    blind.look()
    assert (blind.blind.history.end, blind.seeing.history.end) == (10, 20)
    blind.agree()
    assert second in blind.blind.history.all


def test_all_agree_on_a_shorter_notice(subnet: Subnet) -> None:
    """The second's decision falls by the first's notice, which the blind one does not know."""
    timing = replace(subnet.first.timing, notice_windows=1)
    blind = Blind(subnet, amend(subnet.first, 10, timing=timing))
    second = vary(blind.amended, 20, 7)
    subnet.away.add(make_parameters_name(second.digest))
    subnet.mint_to(18 * LENGTH + 1)  # too late by the notice of the network's first
    subnet.say(second)
    blind.look()
    subnet.mint_to(19 * LENGTH)
    blind.look()
    blind.agree()
    assert second in blind.seeing.history.all


def test_a_slot_that_is_corrected_in_time_holds_for_those_who_saw_the_wrong_one(
    subnet: Subnet,
) -> None:
    followed = subnet.follow()
    amended = vary(subnet.first, 10)
    subnet.away.add(make_parameters_name(amended.digest))
    subnet.say(amended, number=3)
    followed.look()
    subnet.away.clear()
    subnet.say(amended)
    subnet.decide(10)
    followed.look()
    assert followed.history.all == (subnet.first, amended)
    assert subnet.follow("newcomer").history.all == (subnet.first, amended)


def test_newcomers_join_while_what_is_announced_cannot_be_fetched(subnet: Subnet) -> None:
    subnet.mint_to(30)
    amended = vary(subnet.first, 20)
    subnet.away.add(make_parameters_name(amended.digest))
    subnet.say(amended)
    newcomer = subnet.follow("newcomer")
    assert newcomer.history.all == (subnet.first,)
    assert "they would apply from window 20 on" in (newcomer.note or "")


def test_a_network_that_cannot_be_fetched_is_another_one_all_the_same(subnet: Subnet) -> None:
    followed = subnet.follow()
    other = replace(subnet.first, identity=replace(subnet.first.identity, burn_share=9))
    subnet.away.add(make_parameters_name(other.digest))
    subnet.say(other)
    with pytest.raises(DiscoveryError, match="another network"):
        followed.look()


def test_fetched_parameters_are_kept_while_the_owners_store_is_away(subnet: Subnet) -> None:
    amended = subnet.say(vary(subnet.first, 10))
    subnet.decide(10)
    known = subnet.follow().history.all
    subnet.away |= {make_parameters_name(p.digest) for p in (subnet.first, amended)}
    assert subnet.follow().history.all == known == (subnet.first, amended)
    with pytest.raises(DiscoveryError, match="cannot fetch"):
        subnet.follow("newcomer")


def test_unusable_parameters_stop_the_program(subnet: Subnet) -> None:
    followed = subnet.follow()
    choice = replace(parse_environment("arithmetic"), digest=bytes(32))
    start = replace(subnet.first.start, predecessor=subnet.first.digest, window=10)
    start = replace(start, checkpoint=b"\1" * 32, number=3)
    subnet.say(replace(subnet.first, environment=choice, start=start))
    followed.look()
    assert "another version" in (followed.note or "")
    assert followed.history.end is None
    subnet.decide(10)
    followed.look()
    assert followed.history.end == 10
    assert followed.history.problem is not None
    assert "another version" in followed.history.problem


def damage_json(subnet: Subnet, amended: Parameters) -> None:
    """Damage the JSON as a later version's would look damaged."""
    path = subnet.store.root / make_parameters_name(amended.digest)
    value = json.loads(path.read_text())
    path.write_text(json.dumps({**value, "new": 1}))


def test_parameters_of_a_later_version_stop_the_program(subnet: Subnet) -> None:
    followed = subnet.follow()
    damage_json(subnet, subnet.say(vary(subnet.first, 10)))
    subnet.decide(10)
    followed.look()
    assert followed.history.end == 10
    assert "holds no parameters" in (followed.history.problem or "")


# --- files of problems


@dataclass
class Machine:
    """This process's files of problems, which another machine lacks."""

    monkeypatch: pytest.MonkeyPatch

    def change(self) -> None:
        self.monkeypatch.setattr(problem_file, "_known", {})
        open_environment.cache_clear()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    made = Machine(monkeypatch)
    made.change()
    yield made
    open_environment.cache_clear()


def ask_rows(subnet: Subnet, name: str = "{}") -> tuple[Parameters, str]:
    """Amended parameters whose environment has a file, and the file's name in a store."""
    file = subnet.folder / "rows.jsonl"
    file.write_text('{"question": "How many?", "answer": "#### 12"}\n')
    add_problem_files([file])
    digest = compute_file_digest(file)
    choice = parse_environment(name.format(f"gsm:{digest}"))
    amended = amend(subnet.first, 10, environment=choice)
    start = replace(amended.start, checkpoint=b"\1" * 32, number=3)
    return replace(amended, start=start), make_problems_name(digest)


@pytest.mark.parametrize("name", ["{}", "mix,arithmetic=1,{}=1"])
def test_a_file_of_problems_is_fetched_by_its_digest_and_kept(
    subnet: Subnet, machine: Machine, name: str
) -> None:
    amended, file = ask_rows(subnet, name)
    publish_all_problems(subnet.store, amended)
    publish_all_problems(subnet.store, amended)
    subnet.say(amended)
    machine.change()
    followed = subnet.follow()
    assert (followed.pending, followed.note) == (amended, None)
    subnet.decide(10)
    followed.look()
    assert followed.history.all == (subnet.first, amended)
    subnet.store.delete(file)
    machine.change()
    again = subnet.follow()
    assert again.history.latest == amended
    assert open_environment(amended.environment).digest == amended.environment.digest


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "the owner's store has no problems/"),
        (b'{"question": "How many?", "answer": "#### 13"}\n', "has other bytes than its digest"),
        (b"", "has other bytes than its digest"),
        (bytes(1_001), "has 1001 bytes, more than 1000"),
    ],
    ids=["none", "another", "empty", "too large"],
)
def test_a_file_that_cannot_be_had_is_named_and_fetched_once_it_can_be(
    subnet: Subnet,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    data: bytes | None,
    words: str,
) -> None:
    monkeypatch.setattr(published_problems, "FILE_MAX", 1_000)
    amended, file = ask_rows(subnet)
    if data is not None:
        subnet.store.put(file, data)
    right = (subnet.folder / "rows.jsonl").read_bytes()
    machine.change()
    followed = subnet.follow()
    subnet.say(amended)
    followed.look()
    assert f"no file with SHA-256 {file.partition('/')[2]} is here" in (followed.note or "")
    assert words in (followed.note or "")
    subnet.decide(10)
    followed.look()
    assert followed.history.end == 10
    subnet.store.put(file, right)
    followed.look()
    assert (followed.history.end, followed.note) == (None, None)
    assert followed.history.latest == amended
