"""A network whose parameters name who amends it: whoever the chain calls its owner then has no say
in it."""

from dataclasses import replace

import pytest

from assay.artifacts.discovery import DiscoveryError
from assay.artifacts.store_objects import make_parameters_name
from assay.protocol.amendment import find_amendment_fault
from tests.adversarial.mortal import HOTKEYS
from tests.amended_parameters import amend
from tests.session.owners_subnet import Subnet, vary

AMENDER = HOTKEYS["alice"]
NEW_OWNER = b"\5" * 32


@pytest.fixture
def amended_by_alice(subnet: Subnet) -> Subnet:
    """The subnet again, with an amender; nobody has joined it yet."""
    identity = replace(subnet.first.identity, amender=AMENDER)
    subnet.first = subnet.say(replace(subnet.first, identity=identity))
    return subnet


def test_the_amenders_announcement_is_decided(amended_by_alice: Subnet) -> None:
    subnet = amended_by_alice
    followed = subnet.follow()
    assert (followed.history.all, followed.pending, followed.note) == ((subnet.first,), None, None)
    amended = subnet.say(vary(subnet.first, 10), by=AMENDER)
    followed.look()
    assert (followed.pending, followed.note) == (amended, None)
    subnet.decide(10)
    for found in (followed, subnet.follow("newcomer"), subnet.follow()):
        found.look()
        assert found.history.all == (subnet.first, amended)
        assert (found.pending, found.note) == (None, None)


def test_the_owners_announcement_is_not(amended_by_alice: Subnet) -> None:
    """Whoever looks, and whatever it names: an amendment, or another network."""
    subnet = amended_by_alice
    followed = subnet.follow()
    subnet.say(vary(subnet.first, 10))
    subnet.decide(10)
    for found in (followed, subnet.follow("newcomer"), subnet.follow()):
        found.look()
        assert found.history.all == (subnet.first,)
        assert (found.pending, found.note) == (None, None)
    other = replace(subnet.first, identity=replace(subnet.first.identity, burn_share=9))
    subnet.say(other)
    for found in (followed, subnet.follow()):
        found.look()
        assert found.history.all == (subnet.first,)
    # who has never joined it cannot know: the owner's slot names the network
    assert subnet.follow("stranger").history.all == (other,)


def test_a_withdrawal_by_the_owner_ends_nothing(amended_by_alice: Subnet) -> None:
    subnet = amended_by_alice
    followed = subnet.follow()
    amended = subnet.say(vary(subnet.first, 10), by=AMENDER)
    subnet.chain.set_commitment(HOTKEYS["owner"], b"nothing")
    subnet.decide(10)
    for found in (followed, subnet.follow()):
        found.look()
        assert found.history.all == (subnet.first, amended)


def test_the_amender_takes_back_and_begins_another_network(amended_by_alice: Subnet) -> None:
    subnet = amended_by_alice
    followed = subnet.follow()
    subnet.say(vary(subnet.first, 10), by=AMENDER)
    subnet.say(subnet.first, by=AMENDER)
    subnet.decide(10)
    followed.look()
    assert (followed.history.all, followed.pending) == ((subnet.first,), None)
    other = replace(subnet.first, identity=replace(subnet.first.identity, burn_share=9))
    subnet.say(other, by=AMENDER)
    with pytest.raises(DiscoveryError, match=r"the amender of subnet .* another network"):
        followed.look()
    assert subnet.follow().history.all == (other,)


def test_an_amendment_that_is_not_there_stops_the_program(amended_by_alice: Subnet) -> None:
    subnet = amended_by_alice
    followed = subnet.follow()
    amended = vary(subnet.first, 10)
    subnet.away.add(make_parameters_name(amended.digest))
    subnet.say(amended, by=AMENDER)
    subnet.decide(10)
    followed.look()
    assert followed.history.end == 10
    assert "from its amender's store" in (followed.note or "")


def test_no_amendment_changes_who_amends(amended_by_alice: Subnet) -> None:
    first = amended_by_alice.first
    for amender in (bytes(32), HOTKEYS["bob"]):
        other = amend(first, 10, identity=replace(first.identity, amender=amender))
        assert find_amendment_fault(first, other) == "their identity is another network's"


@pytest.mark.parametrize("has_amender", [True, False])
def test_a_takeover_between_announcement_and_decision(
    subnet: Subnet, request: pytest.FixtureRequest, has_amender: bool
) -> None:
    """The new owner announces too; its slot counts where the parameters name no amender."""
    if has_amender:
        request.getfixturevalue("amended_by_alice")
    followed = subnet.follow()
    announcer = AMENDER if has_amender else HOTKEYS["owner"]
    ours = subnet.say(vary(subnet.first, 10, 1), by=announcer)
    followed.look()
    assert followed.pending == ours
    subnet.chain.swap(HOTKEYS["owner"], NEW_OWNER)
    subnet.chain.mint()
    theirs = subnet.say(vary(subnet.first, 10, 2), by=NEW_OWNER)
    subnet.decide(10)
    followed.look()
    expected = ours if has_amender else theirs
    assert followed.history.all == (subnet.first, expected)
    assert subnet.follow().history.all == (subnet.first, expected)
