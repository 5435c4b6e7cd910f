"""`assay subnet show`: the parameters in force, and those that are announced."""

import json
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from types import SimpleNamespace

import pytest

from assay.artifacts.discovery import publish_parameters
from assay.artifacts.store_objects import make_checkpoint_name
from assay.cli.subnet_view import show_network
from assay.inference.folder import MANIFEST_FILE, verify_manifest
from assay.lab.simulator import SimulatedChain
from assay.network.store.folder import open_folder
from assay.protocol.beacon import QUICKNET
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.parameters import DEMO_TIMING, Start
from assay.protocol.ss58 import encode_ss58
from assay.session.parameter_follower import ParameterFollower
from assay.subnet.presets import NETUID, change_parameters, make_demo_parameters
from assay.training import GENESIS

OWNER, TRAINER = (sha256(name).digest() for name in (b"owner", b"trainer"))
LOCATOR = "test:store"
CHECKPOINT = verify_manifest(GENESIS).digest


class Net:
    """A subnet, its owner's store, and a session on it."""

    def __init__(self, folder, changes=None):
        self.chain = SimulatedChain(
            b"shown", NETUID, 1_700_000_000_000, DEMO_TIMING.slot_ms, 24, (OWNER, TRAINER)
        )
        self.store = open_folder(folder / "store")
        self.folder = folder
        demo = make_demo_parameters(self.chain.genesis_hash, QUICKNET, 0, TRAINER, CHECKPOINT)
        self.first = change_parameters(demo, changes or {})
        self.announce(self.first)

    def announce(self, parameters, number=None):
        publish_parameters(self.store, parameters)
        number = parameters.start.window if number is None else number
        said = Commitment(Tag.PARAMETERS, number, 0, parameters.digest, LOCATOR)
        self.chain.set_commitment(OWNER, encode_commitment(said))
        self.chain.mint()

    def play(self, blocks):
        for _ in range(blocks):
            self.chain.mint()

    @contextmanager
    def open_session(self):
        rules = self.folder / "rules"
        followed = ParameterFollower(self.chain, {LOCATOR: self.store}.__getitem__, rules)
        held = followed.history.get_at(self.chain.get_head())
        yield SimpleNamespace(
            chain=self.chain,
            followed=followed,
            history=followed.history,
            parameters=held,
            checkpoint_mirrors=lambda: iter([self.store]),
        )

    def show(self, capsys):
        """Text, and JSON."""
        with self.open_session() as session:
            show_network(session, False)
            text = capsys.readouterr().out
            show_network(session, True)
        return text, json.loads(capsys.readouterr().out)


@pytest.fixture
def net(tmp_path):
    return Net(tmp_path)


def test_nothing_is_announced(net, capsys):
    text, document = net.show(capsys)
    assert document["digest"] == net.first.digest.hex()
    assert document["announced"] == []
    assert document["note"] is None
    assert "announced" not in text
    assert "environment   arithmetic\n" in text
    assert "amended by    whoever owns the subnet\n" in text
    assert document["amender"] == document["owner"] == encode_ss58(OWNER)
    assert "episodes" not in text
    assert "burn " not in text
    assert document["levels"] == []
    assert "asked         not known" in text


def test_the_chain_s_settings_stand_beside_what_to_choose(tmp_path, capsys):
    net = Net(tmp_path, {"identity": {"burn_share": 50_000}})
    text, document = net.show(capsys)
    assert "chain         tempo 24 blocks\n" in text
    assert "chain         immunity_period 0 blocks; choose at least four tempos\n" in text
    assert "chain         not on this runtime: miner_burned, recycle_or_burn, " in text
    assert "burn          identity.burn_share sends 5 %" in text
    there = {one["name"]: one["there"] for one in document["chain_settings"]}
    assert there["tempo"]
    assert not there["collateral_lock_share"]


def test_a_tool_and_turns_are_shown(tmp_path, capsys):
    turns = {"turns": 4, "context": 512, "reply_bytes": 64, "paid_reply": 0}
    settings = {"tool": 1, "call_form": 1, "largest": 30}
    chosen = {"name": "gsm", "settings": settings}
    text, _ = Net(tmp_path, {"work": turns, "environment": chosen}).show(capsys)
    assert "environment   gsm,call_form=hermes,largest=30,tool=calculator\n" in text
    assert "episodes      up to 4 turns in 512 tokens, replies of up to 64 bytes\n" in text


def test_levels_in_force_are_those_of_the_checkpoints_manifest(net, capsys):
    name = make_checkpoint_name(CHECKPOINT, MANIFEST_FILE)
    net.store.put(name, b"{}")  # a stranger's
    assert net.show(capsys)[1]["levels"] == []
    net.store.put(name, (GENESIS / MANIFEST_FILE).read_bytes())
    text, document = net.show(capsys)
    assert [one["level"] for one in document["levels"]] == [5, 6]
    assert text.count("50.0 % of the problems, weight 1, as at the start") == 2


def test_an_announcement_from_its_first_word_until_it_holds(net, capsys):
    window = net.first.timing.notice_windows + 2
    work = replace(net.first.work, valued_groups=1, prompt_share=0)
    coming = replace(net.first, work=work, start=Start(net.first.digest, window))
    net.announce(coming)
    text, document = net.show(capsys)
    assert document["digest"] == net.first.digest.hex()
    (one,) = document["announced"]
    assert (one["window"], one["block"], one["decided_at"]) == (window, 12 * window, 24)
    assert one["decided"] is False
    assert one["parameters"] == coming.to_json()
    assert {change["field"]: change["after"] for change in one["changes"]} == {
        "work.valued_groups": 1,
        "work.prompt_share": 0,
    }
    assert f"from window {window} on, block {12 * window}, decided at block 24" in text
    assert "work.prompt_share 150000 → 0" in text
    net.play(24)
    text, document = net.show(capsys)
    assert [one["decided"] for one in document["announced"]] == [True]
    assert f"block {12 * window}, decided: " in text
    net.play(12 * window)
    text, document = net.show(capsys)
    assert document["digest"] == coming.digest.hex()
    assert document["announced"] == []


def test_the_owner_s_words_around_problems_are_shown(tmp_path, capsys):
    words = {"system": "Think.\x1b[2J", "shots": [["1 + 1?", "2"]]}
    net = Net(tmp_path, {"environment": {"prompts": {"arithmetic": words}}})
    text, _ = net.show(capsys)
    assert "prompts       arithmetic: system 'Think.\\x1b[2J'\n" in text
    assert "prompts       arithmetic: example '1 + 1?' → '2'\n" in text


def test_an_announcement_that_nobody_follows_says_why(net, capsys):
    window = net.first.timing.notice_windows + 2
    timing = replace(net.first.timing, window_blocks=24)
    net.announce(replace(net.first, timing=timing, start=Start(net.first.digest, window)))
    text, document = net.show(capsys)
    assert document["announced"] == []
    assert "their window_blocks differ" in document["note"]
    assert "their window_blocks differ" in text
