"""Amendments as programs see them: announced, decided, taken back, late, unfetchable."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from assay.artifacts import discovery
from assay.artifacts.discovery import DiscoveryError, publish_parameters
from assay.artifacts.published_problems import publish_problem_files
from assay.artifacts.store_objects import make_parameters_name, make_problems_name
from assay.devnet import SimulatedChain
from assay.environments import add_problem_files, open_environment, problem_file
from assay.environments.problem_file import FILE_MAX, compute_file_digest
from assay.network import ObjectStore, StoreError, open_folder
from assay.network.chain import STATE_BLOCKS
from assay.network.store import FolderStore
from assay.neurons.session import parameter_follower
from assay.neurons.session.parameter_follower import ParameterFollower
from assay.protocol import Commitment, Parameters, Tag, encode_commitment
from assay.protocol.amendment import compute_decision_block
from assay.subnet.presets import parse_environment
from tests.adversarial.mortal import HOTKEYS, NETUID, TIMING, make_parameters
from tests.amended_parameters import amend

LOCATOR = "https://owner.example"
LENGTH, NOTICE = TIMING.window_blocks, TIMING.notice_windows


@dataclass
class Subnet:
    """A chain whose owner publishes what it likes."""

    folder: Path
    chain: SimulatedChain
    first: Parameters
    store: FolderStore
    away: set[str] = field(default_factory=set)  # objects that are not served

    def open(self, locator: str) -> ObjectStore:
        if locator != LOCATOR:
            raise StoreError(f"{locator} leads nowhere")
        return Hidden(self.store.root, self.away)

    def follow(self, program: str = "program") -> ParameterFollower:
        return ParameterFollower(self.chain, self.open, self.folder / program)

    def say(self, parameters: Parameters, *, number: int | None = None) -> Parameters:
        """Publishes parameters and names them in the slot; the next block holds it."""
        publish_parameters(self.store, parameters)
        window = parameters.start.window if number is None else number
        slot = Commitment(Tag.PARAMETERS, window, 0, parameters.digest, LOCATOR)
        self.chain.set_commitment(HOTKEYS["owner"], encode_commitment(slot))
        self.chain.mint()
        return parameters

    def mint_to(self, block: int) -> None:
        while self.chain.get_head() < block:
            self.chain.mint()

    def decide(self, window: int) -> None:
        """Mints to the block that decides an amendment's first window."""
        self.mint_to(compute_decision_block(self.first, window))


class Hidden(FolderStore):
    """A store that does not have some of its objects just now."""

    def __init__(self, root: Path, away: set[str]) -> None:
        super().__init__(root)
        self._away = away

    def get(self, name: str, limit: int) -> bytes | None:
        return None if name in self._away else super().get(name, limit)


@pytest.fixture
def subnet(tmp_path: Path) -> Subnet:
    chain = SimulatedChain(
        b"amended", NETUID, 0, TIMING.slot_ms, TIMING.tempo, tuple(HOTKEYS.values())
    )
    first = make_parameters(chain.genesis_hash)
    made = Subnet(tmp_path, chain, first, open_folder(tmp_path / "store"))
    made.say(first)
    return made


def vary(before: Parameters, window: int, share: int = 1) -> Parameters:
    return amend(before, window, work=replace(before.work, prompt_share=share))


def test_one_that_is_announced_is_known_and_holds_once_it_is_decided(subnet: Subnet) -> None:
    followed = subnet.follow()
    amended = subnet.say(vary(subnet.first, 10))
    followed.look()
    assert (followed.pending, followed.note) == (amended, None)
    assert followed.history.all == (subnet.first,)
    subnet.mint_to(compute_decision_block(subnet.first, 10) - 1)
    followed.look()
    assert followed.history.all == (subnet.first,)
    subnet.chain.mint()
    followed.look()
    assert (followed.pending, followed.note) == (None, None)
    assert followed.history.all == (subnet.first, amended)
    assert followed.history.get(9) == subnet.first
    assert followed.history.get(10) == amended
    # who comes before it holds finds those that do; so does who comes later
    assert subnet.follow("newcomer").history.all == (subnet.first, amended)


def test_the_announcement_hides_nothing_from_newcomers(subnet: Subnet) -> None:
    amended = subnet.say(vary(subnet.first, 10))
    newcomer = subnet.follow("newcomer")
    assert newcomer.history.all == (subnet.first,)
    assert newcomer.pending == amended


def test_of_two_announced_the_one_that_is_there_when_it_is_decided_holds(subnet: Subnet) -> None:
    followed = subnet.follow()
    subnet.say(vary(subnet.first, 10, 1))
    followed.look()
    second = subnet.say(vary(subnet.first, 10, 2))
    followed.look()
    assert followed.pending == second
    subnet.decide(10)
    subnet.say(vary(subnet.first, 10, 3))  # too late, whenever others look
    for found in (followed, subnet.follow("newcomer")):
        found.look()
        assert found.history.all == (subnet.first, second)
        assert "nobody follows" in (found.note or "")


def test_one_that_is_replaced_by_a_later_one_in_time_never_holds(subnet: Subnet) -> None:
    """Which follows the first parameters, or nobody would follow it."""
    followed = subnet.follow()
    withdrawn = subnet.say(vary(subnet.first, 10, 1))
    followed.look()
    later = subnet.say(vary(withdrawn, 20, 2))
    subnet.decide(20)
    followed.look()
    assert followed.history.all == (subnet.first,)
    assert "another predecessor" in (followed.note or "")
    assert later.digest.hex() not in {p.digest.hex() for p in followed.history.all}


def test_one_that_is_taken_back_in_time_never_holds(subnet: Subnet) -> None:
    followed = subnet.follow()
    subnet.say(vary(subnet.first, 10))
    followed.look()
    assert followed.pending is not None
    subnet.say(subnet.first)
    followed.look()
    assert (followed.pending, followed.note) == (None, None)
    subnet.decide(10)
    followed.look()
    assert followed.history.all == (subnet.first,)
    assert subnet.follow("newcomer").history.all == (subnet.first,)


def test_one_that_is_taken_back_too_late_holds(subnet: Subnet) -> None:
    """For all who saw it decided, and looked at it then or later: state at that block says so."""
    followed, sleeper = subnet.follow(), subnet.follow("sleeper")
    amended = subnet.say(vary(subnet.first, 10))
    subnet.decide(10)
    followed.look()
    subnet.say(subnet.first)
    followed.look()
    assert followed.history.all == (subnet.first, amended)
    # a program that was away knows it from the next that is announced
    following = subnet.say(vary(amended, 20, 2))
    sleeper.look()
    assert sleeper.history.all == (subnet.first, amended)
    assert sleeper.pending == following


@pytest.mark.parametrize("late", [1, 2, NOTICE * LENGTH])
def test_one_that_comes_too_late_is_followed_by_nobody(subnet: Subnet, late: int) -> None:
    followed = subnet.follow()
    subnet.mint_to(compute_decision_block(subnet.first, 10) + late - 1)
    subnet.say(vary(subnet.first, 10))
    for found in (followed, subnet.follow("newcomer")):
        found.look()
        assert found.history.all == (subnet.first,)
        assert found.pending is None
        assert "not in the owner's slot when that was decided" in (found.note or "")
    subnet.mint_to(STATE_BLOCKS + 100)  # what was decided stays so, though no node knows that state
    followed.look()
    assert followed.history.all == (subnet.first,)
    assert subnet.follow().history.all == (subnet.first,)


def test_one_that_comes_far_too_late_is_followed_by_no_program_that_was_there(
    subnet: Subnet,
) -> None:
    followed = subnet.follow()
    for window in range(150):
        subnet.mint_to(window * LENGTH)
        followed.look()
    subnet.say(vary(subnet.first, 10))  # whose decision no node knows any more
    followed.look()
    assert followed.history.all == (subnet.first,)
    assert subnet.follow().history.all == (subnet.first,)


def test_where_no_node_knows_a_decisions_state_the_owners_word_is_taken(subnet: Subnet) -> None:
    amended = subnet.say(vary(subnet.first, 10))
    subnet.mint_to(STATE_BLOCKS + 100)
    assert subnet.follow("newcomer").history.all == (subnet.first, amended)


def test_one_that_cannot_be_fetched_stops_what_comes_after_it(subnet: Subnet) -> None:
    """It is said while there is time; once it can be fetched, work goes on."""
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
    """A program that could not fetch what was decided, and one that could."""

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


def test_what_was_decided_unread_is_not_forgotten_when_the_slot_goes_back(blind: Blind) -> None:
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


def test_what_was_decided_unread_gives_way_to_no_rival(blind: Blind) -> None:
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


def test_a_full_disk_stops_nothing(subnet: Subnet, monkeypatch: pytest.MonkeyPatch) -> None:
    followed = subnet.follow()

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(parameter_follower, "write_json", fail)
    amended = subnet.say(vary(subnet.first, 10))
    subnet.decide(10)
    followed.look()
    assert followed.history.all == (subnet.first, amended)


def test_a_second_that_cannot_be_read_lets_nobody_work_longer(blind: Blind) -> None:
    second = vary(blind.amended, 20, 7)
    blind.subnet.away.add(make_parameters_name(second.digest))
    blind.subnet.say(second)
    blind.subnet.decide(20)
    blind.look()
    assert (blind.blind.history.end, blind.seeing.history.end) == (10, 20)
    blind.agree()
    assert second in blind.blind.history.all


def test_of_a_shorter_notice_all_come_to_the_same(subnet: Subnet) -> None:
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


def test_a_slot_that_is_corrected_in_time_holds_for_who_saw_the_wrong_one(subnet: Subnet) -> None:
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


def test_parameters_that_nobody_could_run_by_are_void_and_stop_nobody(subnet: Subnet) -> None:
    followed = subnet.follow()
    work = replace(subnet.first.work, valued_groups=17)
    subnet.say(amend(subnet.first, 10, work=work))
    followed.look()
    assert "valued_groups exceeds audited_rollouts" in (followed.note or "")
    subnet.decide(10)
    for found in (followed, subnet.follow("newcomer")):
        found.look()
        assert (found.history.all, found.history.end) == ((subnet.first,), None)


def test_newcomers_join_while_what_is_announced_cannot_be_fetched(subnet: Subnet) -> None:
    subnet.mint_to(30)
    amended = vary(subnet.first, 20)
    subnet.away.add(make_parameters_name(amended.digest))
    subnet.say(amended)
    newcomer = subnet.follow("newcomer")
    assert newcomer.history.all == (subnet.first,)
    assert "they would apply from window 20 on" in (newcomer.note or "")


def test_of_what_comes_too_late_newcomers_are_not_told_while_nodes_remember(subnet: Subnet) -> None:
    subnet.mint_to(STATE_BLOCKS + 200)
    subnet.say(vary(subnet.first, 10))
    assert subnet.follow("newcomer").history.all == (subnet.first,)


def test_parameters_that_follow_each_other_without_end_stall_nobody(
    subnet: Subnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "AMENDMENTS_MAX", 5)
    followed, last = subnet.follow(), vary(subnet.first, 10)
    for number in range(8):
        publish_parameters(subnet.store, last)
        last = vary(last, 20 + number)
    subnet.say(last)
    subnet.decide(27)
    followed.look()
    assert followed.history.get(9) == subnet.first


def test_a_network_that_cannot_be_fetched_is_another_one_all_the_same(subnet: Subnet) -> None:
    followed = subnet.follow()
    other = replace(subnet.first, identity=replace(subnet.first.identity, burn_share=9))
    subnet.away.add(make_parameters_name(other.digest))
    subnet.say(other)
    with pytest.raises(DiscoveryError, match="another network"):
        followed.look()


def test_what_was_fetched_once_is_had_while_the_owners_store_is_away(subnet: Subnet) -> None:
    amended = subnet.say(vary(subnet.first, 10))
    subnet.decide(10)
    known = subnet.follow().history.all
    subnet.away |= {make_parameters_name(p.digest) for p in (subnet.first, amended)}
    assert subnet.follow().history.all == known == (subnet.first, amended)
    with pytest.raises(DiscoveryError, match="cannot fetch"):
        subnet.follow("newcomer")


def test_what_this_program_cannot_work_by_stops_what_comes_after_it(subnet: Subnet) -> None:
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
    assert followed.history.lack is not None
    assert "another version" in followed.history.lack


def damage_json(subnet: Subnet, amended: Parameters) -> None:
    """As a later version's would be."""
    path = subnet.store.root / make_parameters_name(amended.digest)
    value = json.loads(path.read_text())
    path.write_text(json.dumps({**value, "new": 1}))


def test_what_a_later_version_writes_stops_what_comes_after_it(subnet: Subnet) -> None:
    followed = subnet.follow()
    damage_json(subnet, subnet.say(vary(subnet.first, 10)))
    subnet.decide(10)
    followed.look()
    assert followed.history.end == 10
    assert "holds no parameters" in (followed.history.lack or "")


BAD: dict[str, Callable[[Parameters], Parameters]] = {
    "identity": lambda p: amend(p, 10, identity=replace(p.identity, owner_uid=1)),
    "beacon": lambda p: amend(p, 10, beacon=replace(p.beacon, genesis_ms=7)),
    "window_blocks": lambda p: amend(p, 10, timing=replace(p.timing, window_blocks=4)),
    "no checkpoint": lambda p: amend(p, 10, work=replace(p.work, temperature=7)),
    "before": lambda p: vary(p, NOTICE - 1),
}


@pytest.mark.parametrize("name", BAD)
def test_one_that_cannot_follow_is_followed_by_nobody(subnet: Subnet, name: str) -> None:
    followed = subnet.follow()
    subnet.say(BAD[name](subnet.first))
    subnet.decide(10)
    for found in (followed, subnet.follow("newcomer")):
        found.look()
        assert found.history.all == (subnet.first,)
        assert (found.pending, found.history.end) == (None, None)
        assert "nobody follows" in (found.note or "")


def test_a_slot_that_says_another_window_announces_nothing(subnet: Subnet) -> None:
    followed = subnet.follow()
    subnet.say(vary(subnet.first, 10), number=11)
    followed.look()
    assert "the slot says 11" in (followed.note or "")
    subnet.mint_to(60)
    followed.look()
    assert followed.history.all == (subnet.first,)


def test_parameters_without_a_predecessor_are_another_network(subnet: Subnet) -> None:
    followed = subnet.follow()
    other = replace(subnet.first, identity=replace(subnet.first.identity, burn_share=9))
    subnet.say(other)
    with pytest.raises(DiscoveryError, match="another network"):
        followed.look()
    assert subnet.follow().history.all == (other,)  # a restart joins it


def test_a_newcomer_reads_little_state(subnet: Subnet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its node may take a second for each block's."""
    subnet.mint_to(STATE_BLOCKS + 100)
    amended = subnet.say(vary(subnet.first, 200))
    subnet.decide(200)
    asked: set[int] = set()
    honest = subnet.chain.get_commitments

    def get_commitments(number: int) -> Mapping[bytes, bytes]:
        asked.add(number)
        return honest(number)

    monkeypatch.setattr(subnet.chain, "get_commitments", get_commitments)
    assert subnet.follow("newcomer").history.all == (subnet.first, amended)
    assert len(asked) <= 2 + (STATE_BLOCKS // LENGTH).bit_length() + 1


def test_many_that_follow_each_other_are_found_by_who_comes_last(subnet: Subnet) -> None:
    known = [subnet.first]
    for number in range(1, 6):
        window = 10 * number
        known.append(subnet.say(vary(known[-1], window, number)))
        subnet.decide(window)
    assert subnet.follow("newcomer").history.all == tuple(known)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"latest": 7, "decided": []}'])
def test_a_damaged_memory_is_read_off_the_chain_again(subnet: Subnet, text: str) -> None:
    amended = subnet.say(vary(subnet.first, 10))
    subnet.decide(10)
    subnet.follow()
    (file,) = (subnet.folder / "program").glob("decided.json")
    file.write_text(text)
    assert subnet.follow().history.all == (subnet.first, amended)


# --- files of problems


@dataclass
class Machine:
    """What this process finds of files of problems, which another machine does not."""

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
    publish_problem_files(subnet.store, amended.environment)
    publish_problem_files(subnet.store, amended.environment)
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
        (bytes(FILE_MAX + 1), "more than"),
    ],
    ids=["none", "another", "empty", "too large"],
)
def test_a_file_that_cannot_be_had_is_named_and_fetched_once_it_can_be(
    subnet: Subnet, machine: Machine, data: bytes | None, words: str
) -> None:
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
