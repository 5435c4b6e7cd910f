"""Amendments as programs see them: announced, decided, taken back, late, void."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from assay.artifacts import discovery
from assay.artifacts.discovery import DiscoveryError, publish_parameters
from assay.network.chain.values import STATE_BLOCKS
from assay.protocol.amendment import compute_decision_block
from assay.protocol.parameters import Parameters
from assay.session import parameter_follower
from tests.amended_parameters import amend
from tests.session.owners_subnet import LENGTH, NOTICE, Subnet, vary


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


def test_the_announcement_in_the_slot_at_the_decision_holds(subnet: Subnet) -> None:
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
    """The later one follows the first parameters; otherwise nobody would follow it."""
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
    subnet.mint_to(STATE_BLOCKS + 100)  # a decision stays, though no node knows that state
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


def test_the_owner_is_trusted_if_no_node_knows_a_decisions_state(subnet: Subnet) -> None:
    amended = subnet.say(vary(subnet.first, 10))
    subnet.mint_to(STATE_BLOCKS + 100)
    assert subnet.follow("newcomer").history.all == (subnet.first, amended)


def test_a_full_disk_stops_nothing(subnet: Subnet, monkeypatch: pytest.MonkeyPatch) -> None:
    followed = subnet.follow()

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(parameter_follower, "write_json", fail)
    amended = subnet.say(vary(subnet.first, 10))
    subnet.decide(10)
    followed.look()
    assert followed.history.all == (subnet.first, amended)


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


def test_newcomers_are_not_told_of_what_came_too_late_while_nodes_remember(subnet: Subnet) -> None:
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
