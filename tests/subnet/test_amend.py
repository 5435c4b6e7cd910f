"""A network is amended: announced, taken back, and nothing over what cannot be read."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from assay.artifacts.discovery import DiscoveryError, publish_parameters
from assay.artifacts.store_objects import make_parameters_name
from assay.cli.commands.subnet import require_change
from assay.lab.simulator import SimulatedChain
from assay.network.store.folder import open_folder
from assay.protocol.amendment import compute_decision_block
from assay.protocol.beacon import QUICKNET
from assay.protocol.commitment import Commitment, Tag, encode_commitment, parse_commitment
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.parameters import DEMO_TIMING
from assay.protocol.ss58 import encode_ss58
from assay.session.window_reader import find_settlement
from assay.settings.loading import ConfigError
from assay.settings.sections import AmendSettings
from assay.subnet import amending
from assay.subnet.amend import (
    announce_amendment,
    follow_owned,
    read_amend_request,
    withdraw_amendment,
)
from assay.subnet.amending import amend, require_amendment
from assay.subnet.presets import NETUID, make_demo_parameters
from assay.subnet.publish import OwnedSubnet

OWNER, TRAINER, AMENDER = (sha256(name).digest() for name in (b"owner", b"trainer", b"amender"))


class Net:
    """A subnet on the simulator and its owner's folder of files; wallets are left out."""

    def __init__(self, folder, amender=ZERO_DIGEST):
        self.chain = SimulatedChain(
            b"amended",
            NETUID,
            1_700_000_000_000,
            DEMO_TIMING.slot_ms,
            24,
            (OWNER, TRAINER, AMENDER),
        )
        self.folder = folder / "store"
        self.locator = f"file://{self.folder}"
        first = make_demo_parameters(self.chain.genesis_hash, QUICKNET, 0, TRAINER, bytes([7]) * 32)
        self.first = replace(first, identity=replace(first.identity, amender=amender))
        publish_parameters(open_folder(self.folder), self.first)
        said = Commitment(Tag.PARAMETERS, 0, 0, self.first.digest, self.locator)
        self.chain.set_commitment(OWNER, encode_commitment(said))
        self.mint_to(1)
        self.subnet = OwnedSubnet(self.chain, OWNER, open_folder(self.folder), self.locator)
        self.questions = []

    def mint_to(self, block):
        while self.chain.get_head() < block:
            self.chain.mint()

    def follow(self):
        with TemporaryDirectory() as folder:
            return follow_owned(self.subnet, lambda locator: self.subnet.store, Path(folder))

    def amend(self, changes):
        request = read_amend_request(AmendSettings(changes=changes))
        consent = self.questions.append
        return announce_amendment(
            request, self.subnet, self.follow(), consent, wait=lambda _: self.chain.mint()
        )

    def withdraw(self):
        return withdraw_amendment(self.subnet, self.follow(), wait=lambda _: self.chain.mint())

    @property
    def slot(self):
        return self.read_slot(OWNER)

    def read_slot(self, hotkey):
        return parse_commitment(self.chain.get_commitments(self.chain.get_head())[hotkey])


@pytest.fixture
def net():
    with TemporaryDirectory() as folder:  # pytest's are too long for a locator
        yield Net(Path(folder))


@pytest.fixture
def changes(tmp_path):
    path = tmp_path / "changes.toml"
    path.write_text("[work]\nprompt_share = 7\n")
    return path


def test_an_amendment_can_be_withdrawn_until_its_decision(net, changes):
    announced = net.amend(changes).announced.to_json()
    assert net.slot.digest.hex() == announced["digest"]
    assert announced["changes"] == [
        {"field": "work.prompt_share", "before": net.first.work.prompt_share, "after": 7}
    ]
    net.withdraw()
    assert net.slot.digest == net.first.digest
    with pytest.raises(DiscoveryError, match="nothing to withdraw"):
        net.withdraw()
    net.amend(changes)
    window = net.slot.number
    net.mint_to(compute_decision_block(net.first, window) + 1)
    with pytest.raises(DiscoveryError, match="nothing to withdraw"):
        net.withdraw()


def test_nothing_is_said_over_parameters_that_are_decided_and_cannot_be_read(net, changes):
    """Whatever the slot named after them would be void, or name a predecessor that is none."""
    net.amend(changes)
    decided = net.slot
    net.mint_to(compute_decision_block(net.first, decided.number) + 1)
    path = net.folder / make_parameters_name(decided.digest)
    kept = path.read_bytes()
    path.unlink()
    changes.write_text("[work]\nprompt_share = 8\n")
    for act in (lambda: net.amend(changes), net.withdraw):
        with pytest.raises(DiscoveryError, match="publish the parameters there again"):
            act()
    assert net.slot == decided
    path.write_bytes(kept)
    net.amend(changes)
    assert net.slot.number > decided.number


def test_a_burn_share_is_warned_of_as_long_as_there_is_one(net, changes):
    amended = amend(net.chain, net.first, {"identity": {"burn_share": 250_000}})
    notes = require_amendment(net.first, amended, None)
    assert [note for note in notes if "identity.burn_share sends 25 %" in note]
    same = amend(net.chain, net.first, {"work": {"prompt_share": 7}})
    assert not [note for note in require_amendment(net.first, same, None) if "burn" in note]


@pytest.mark.parametrize("windows", [3, 4, 7])
def test_rounds_begin_with_the_first_window_that_begins_a_settlement_and_a_round(net, windows):
    rounds = {"trainers": [encode_ss58(TRAINER)], "windows": windows}
    changes = {"rounds": rounds | {"child_blocks": 6, "turn_blocks": 6}}

    def begins(window):
        before, after = (find_settlement(net.chain, net.first, w) for w in (window - 1, window))
        return before != after

    amended = amend(net.chain, net.first, changes)
    first = amended.start.window
    soonest = amend(net.chain, net.first, {"work": {"prompt_share": 7}}).start.window
    fit = [w for w in range(soonest, first + 1) if begins(w) and w % windows == 0]
    assert fit == [first]
    require_amendment(net.first, amended, None)
    assert amend(net.chain, net.first, changes, first) == amended
    other = next(w for w in range(first + 1, first + 100) if begins(w) and w % windows)
    with pytest.raises(ConfigError, match="not the first of a round"):
        amend(net.chain, net.first, changes, other)
    over = amend(net.chain, amended, {"rounds": {"trainers": []}}).start.window
    assert begins(over)
    assert over % windows == 0


def test_a_form_s_outer_step_is_shown_before_consent(net, changes):
    """The owner names a form alone, and sees the rate and momentum that come with it."""
    form = "kept = 24\nchunk = 4096\nbits = 2\nfeedback = 950000\n"
    changes.write_text(f'[rounds]\ntrainers = ["{encode_ss58(TRAINER)}"]\nchild_blocks = 6\n{form}')
    net.amend(changes)
    (question,) = net.questions
    assert "rounds.rate (none) → 8000000, rounds.momentum (none) → 0" in question


def test_rounds_that_never_begin_with_a_settlement(net, monkeypatch):
    monkeypatch.setattr(amending, "_SEARCHED", 1)
    rounds = {"trainers": [encode_ss58(TRAINER)], "windows": 1_000, "child_offset": 20}
    with pytest.raises(ConfigError, match=r"change rounds\.windows"):
        amend(net.chain, net.first, {"rounds": rounds})


def test_an_amendment_without_changes_is_asked_for_them(net):
    with pytest.raises(ConfigError, match="nothing to change"):
        require_change(None, withdraw=False)


def test_another_wallet_is_told_whose_key_is_needed(net, changes, tmp_path):
    net.subnet = replace(net.subnet, owner=TRAINER)
    with pytest.raises(ConfigError, match=f"only {encode_ss58(OWNER)}, which owns the subnet"):
        net.amend(changes)
    with TemporaryDirectory() as folder:
        other = Net(Path(folder), AMENDER)
        named = f"only {encode_ss58(AMENDER)}, which its parameters name"
        for act in (lambda: other.amend(changes), other.withdraw):
            with pytest.raises(ConfigError, match=named):
                act()
        assert other.questions == []


def test_an_amender_announces_and_withdraws_in_its_own_slot(changes):
    with TemporaryDirectory() as folder:
        net = Net(Path(folder), AMENDER)
        net.subnet = replace(net.subnet, owner=AMENDER)
        with pytest.raises(DiscoveryError, match="nothing to withdraw"):
            net.withdraw()
        announced = net.amend(changes).announced.to_json()
        assert net.read_slot(AMENDER).digest.hex() == announced["digest"]
        assert net.slot.digest == net.first.digest
        assert net.follow().pending.digest.hex() == announced["digest"]
        net.withdraw()
        assert net.read_slot(AMENDER).digest == net.first.digest
        assert net.follow().pending is None
