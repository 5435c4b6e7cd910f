"""From a chain to a network: another program finds an owner's parameters, or learns why it
cannot."""

import json
import shutil
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest

from assay.artifacts.checkpoints.folder import CheckpointFolder, DownloadSettings
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.artifacts.discovery import (
    PARAMETERS_BYTES_MAX,
    DiscoveryError,
    fetch_parameters,
    make_mirrors,
    publish_parameters,
)
from assay.artifacts.published_problems import publish_all_problems
from assay.artifacts.store_objects import UnavailableError, make_parameters_name
from assay.environments import problem_file
from assay.environments.problem_file import add_problem_files, compute_file_digest
from assay.environments.registry import open_environment
from assay.inference.checkpoint import load_checkpoint
from assay.inference.folder import CheckpointError
from assay.lab.simulator import SimulatedChain
from assay.network.beacon import LocalBeacon
from assay.network.chain.errors import ChainError
from assay.network.store.base import ObjectStore, StoreError
from assay.network.store.folder import FolderStore, open_folder
from assay.network.store.opening import open_store
from assay.protocol.beacon import QUICKNET
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.errors import OperatorError
from assay.protocol.parameters import Gate, GateRule, Parameters, find_parameters_fault
from assay.protocol.ss58 import encode_ss58
from assay.rounds.in_force import get_in_force_at
from assay.session.parameter_follower import ParameterFollower
from assay.subnet import publishing
from assay.subnet.presets import PRESETS, change_parameters, parse_environment, read_changes
from assay.subnet.publish import OwnedSubnet, PreparedNetwork, publish
from assay.subnet.publishing import make_subnet_parameters, publish_subnet
from assay.training import GENESIS
from tests.disks import filling

NETUID = 25
GENESIS_MS = 1_700_000_000_000
LOCATOR = "test:store"
OWNER, TRAINER, OTHER = (sha256(name).digest() for name in (b"owner", b"trainer", b"other"))


BEACON = LocalBeacon(b"net", GENESIS_MS, 1_000, lambda: GENESIS_MS).chain


def make_chain() -> SimulatedChain:
    return SimulatedChain(b"net", NETUID, GENESIS_MS, 1_000, 24, (OWNER, TRAINER, OTHER))


@cache
def make_parameters() -> Parameters:
    """Those of each network here: to make them loads the model."""
    demo = PRESETS["demo"]
    return make_subnet_parameters(make_chain(), BEACON, GENESIS, TRAINER, "arithmetic", demo)


class Net:
    """A chain and a store; publishing mints a block a look."""

    def __init__(self, folder: Path):
        self.chain = make_chain()
        self.store = open_folder(folder / "store")
        self.warnings = []
        self._programs, self._started = folder / "programs", 0
        self.parameters = make_parameters()

    def open(self, locator: str) -> ObjectStore:
        if locator != LOCATOR:
            raise StoreError(f"{locator!r} is not a store")
        return self.store

    def follow(self, open_store=None, program: str | None = None) -> ParameterFollower:
        """A program that starts; each has a folder of its own unless it is named."""
        self._started += 1
        folder = self._programs / (program or str(self._started))
        return ParameterFollower(self.chain, open_store or self.open, folder)

    def publish(self, parameters: Parameters | None = None, **changes):
        arguments = {
            "owner": OWNER,
            "genesis_folder": GENESIS,
            "wait": lambda seconds: self.chain.mint(),
        } | changes
        return publish_subnet(
            self.chain,
            store=self.store,
            locator=LOCATOR,
            parameters=parameters or self.parameters,
            warn=self.warnings.append,
            **arguments,
        )

    def commit(self, hotkey: bytes, payload: bytes) -> None:
        self.chain.set_commitment(hotkey, payload)
        self.chain.mint()

    def commit_to(self, digest: bytes, tag: Tag = Tag.PARAMETERS, locator: str = LOCATOR) -> None:
        self.commit(OWNER, encode_commitment(Commitment(tag, 7, 0, digest, locator)))


@pytest.fixture
def net(tmp_path) -> Net:
    return Net(tmp_path)


def change(parameters: Parameters, **identity) -> Parameters:
    return replace(parameters, identity=replace(parameters.identity, **identity))


# --- publish and find


def test_another_program_finds_an_owners_parameters(net, tmp_path):
    block = net.publish()
    assert net.warnings == []
    assert block == net.chain.get_head()
    followed = net.follow()
    found = followed.history.latest
    assert followed.history.all == (net.parameters,)
    assert found.digest == net.parameters.digest
    assert found == followed.history.get(0) == followed.history.get_at(10**6)
    mirrors = make_mirrors(net.chain, found, net.open)
    elsewhere = CheckpointFolder(tmp_path / "another program", DownloadSettings(mirrors))
    genesis = elsewhere.get(found.identity.genesis_checkpoint)
    assert genesis.digest == load_checkpoint(GENESIS).digest
    assert genesis.folder.parent.name == "another program"
    followed.look()
    assert (followed.pending, followed.note) == (None, None)
    assert followed.history.all == (net.parameters,)


def test_a_store_that_fills_gets_nothing_half_and_the_same_command_goes_on(net, tmp_path):
    with filling(20_000), pytest.raises(StoreError, match="File too large"):
        net.publish()
    assert not net.chain.get_commitments(net.chain.get_head())
    stored = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert stored
    assert all(path.read_bytes() == (GENESIS / path.name).read_bytes() for path in stored)
    net.publish()
    assert net.follow().history.latest == net.parameters


def test_a_model_whose_turns_no_reply_can_follow_is_not_published(net, monkeypatch):
    monkeypatch.setattr(publishing, "find_closer_fault", lambda parameters, _: "the closer")
    with pytest.raises(DiscoveryError, match="nobody could join: the closer"):
        net.publish()
    assert not net.chain.get_commitments(net.chain.get_head())


def test_a_file_that_the_environment_needs_is_published_with_it(net, tmp_path, monkeypatch):
    monkeypatch.setattr(problem_file, "_known", {})
    monkeypatch.setattr(publishing, "_require_publishable", lambda *_: None)  # needs a calibration
    file = tmp_path / "rows.jsonl"
    file.write_text('{"question": "How many?", "answer": "#### 12"}\n')
    add_problem_files([file])
    digest = compute_file_digest(file)
    choice = parse_environment(f"gsm:{digest}")
    net.publish(replace(net.parameters, environment=choice))
    assert net.store.get(f"problems/{digest}", 100) == file.read_bytes()
    gate = Gate(GateRule.NOT_WORSE, 64, 50_000, 50_000, environment=(choice,))
    gated, other = replace(net.parameters, gate=gate), open_folder(tmp_path / "other")
    publish_all_problems(other, gated)
    assert other.get(f"problems/{digest}", 100) == file.read_bytes()
    file.unlink()
    with pytest.raises(OperatorError, match=f"no file with SHA-256 {digest}"):
        publish_all_problems(net.store, gated)


def test_the_trainers_store_is_asked_before_the_owners(net, tmp_path):
    net.publish()
    trainers = open_folder(tmp_path / "trainers")
    payload = Commitment(Tag.CHECKPOINT, 1, 0, bytes(32), "test:trainers")
    net.commit(TRAINER, encode_commitment(payload))
    opened = {"test:trainers": trainers, LOCATOR: net.store}
    mirrors = make_mirrors(net.chain, net.parameters, opened.__getitem__)
    assert list(mirrors()) == [trainers, net.store]
    # a locator that nobody can open hides nobody else's
    assert list(make_mirrors(net.chain, net.parameters, net.open)()) == [net.store]


def test_publishing_again_uploads_and_sends_nothing(net, monkeypatch):
    net.publish()
    written = []
    for name in ("put", "put_parts"):
        monkeypatch.setattr(FolderStore, name, lambda *arguments: written.append(arguments[1]))
    monkeypatch.setattr(net.chain, "set_commitment", lambda *arguments: written.append("slot"))
    for _ in range(24):
        net.chain.mint()
    net.publish()
    assert written == []


def test_a_damaged_copy_is_published_again(net, tmp_path):
    net.publish()
    digest = net.parameters.identity.genesis_checkpoint
    damaged = tmp_path / "store" / "checkpoints" / digest.hex() / "config.json"
    damaged.write_bytes(damaged.read_bytes().replace(b"1", b"2"))
    written = make_parameters_name(net.parameters.digest)
    (tmp_path / "store" / written).write_text("{}")
    net.publish()
    assert damaged.read_bytes() == (GENESIS / "config.json").read_bytes()
    assert fetch_parameters(net.store, net.parameters.digest) == net.parameters


def test_whoever_finds_the_manifest_finds_everything(net, monkeypatch):
    put, order = FolderStore.put, []

    def watch(store, name, data):
        order.append(name)
        put(store, name, data)

    monkeypatch.setattr(FolderStore, "put", watch)
    publish_checkpoint(net.store, GENESIS, net.parameters.identity.genesis_checkpoint)
    assert order[-1].endswith("/manifest.json")
    assert sorted(order) == list(net.store.list())


def test_a_folder_of_another_checkpoint_is_not_uploaded(net):
    with pytest.raises(CheckpointError, match="holds checkpoint"):
        publish_checkpoint(net.store, GENESIS, bytes(32))
    assert net.store.list() == ()


# --- nothing to find


def test_an_owner_that_has_published_nothing(net):
    with pytest.raises(DiscoveryError, match="has published no parameters up to block 0"):
        net.follow()


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"hello", "no commitment of Assay's"),
        (encode_commitment(Commitment(Tag.MINER, 1, 1, bytes(32), LOCATOR)), "a MINER's"),
        (encode_commitment(Commitment(Tag.CHECKPOINT, 1, 0, bytes(32), LOCATOR)), "a CHECKPOINT's"),
    ],
)
def test_a_slot_with_something_else(net, payload, words):
    net.publish()
    followed = net.follow()
    net.commit(OWNER, payload)
    with pytest.raises(DiscoveryError, match=words):
        net.follow()
    with pytest.raises(DiscoveryError, match="withdrawn"):
        followed.look()


def test_a_store_that_nobody_can_open(net):
    net.commit_to(net.parameters.digest, locator="file:///nowhere/at/all")
    with pytest.raises(DiscoveryError, match="does not exist"):
        net.follow(open_store)


def test_a_store_without_the_parameters(net):
    net.commit_to(net.parameters.digest)
    with pytest.raises(DiscoveryError, match="publish the parameters there again"):
        net.follow()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no parameters"),
        (b"[]", "no parameters"),
        (b"[" * 100_000, "no parameters"),
        (b'{"identity": {}}', "no parameters"),
        (b"x" * (PARAMETERS_BYTES_MAX + 1), "at most"),
    ],
)
def test_garbage_in_the_place_of_parameters(net, data, words):
    net.commit_to(net.parameters.digest)
    net.store.put(make_parameters_name(net.parameters.digest), data)
    with pytest.raises(DiscoveryError, match=words):
        net.follow()


def test_other_parameters_under_the_digest(net):
    looser = replace(net.parameters, tests=replace(net.parameters.tests, margin_cap=1 << 40))
    name = make_parameters_name(net.parameters.digest)
    net.store.put(name, json.dumps(looser.to_json()).encode())
    net.commit_to(net.parameters.digest)
    with pytest.raises(DiscoveryError, match="other parameters"):
        net.follow()


def test_parameters_by_which_nobody_can_run(net):
    broken = replace(net.parameters, timing=replace(net.parameters.timing, slot_ms=0))
    publish_parameters(net.store, broken)
    with pytest.raises(UnavailableError, match="slot_ms is 0"):
        fetch_parameters(net.store, broken.digest)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [("genesis_hash", bytes(32), "genesis hash"), ("netuid", 26, "subnet 26, and this one is 25")],
)
def test_parameters_of_another_network(net, field, value, words):
    foreign = change(net.parameters, **{field: value})
    publish_parameters(net.store, foreign)
    net.commit_to(foreign.digest)
    with pytest.raises(DiscoveryError, match=words):
        net.follow()
    with pytest.raises(DiscoveryError, match=words):
        net.publish(foreign)


# --- nothing to publish


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"owner_uid": 9}, "nobody has owner_uid 9"),
        ({"trainer": OWNER}, "share a hotkey"),
        ({"amender": TRAINER}, "trainer and amender share a hotkey"),
        ({"burn_share": 1_000_001}, "burn_share"),
    ],
)
def test_parameters_that_would_strand_everybody(net, changes, words):
    with pytest.raises(DiscoveryError, match=words):
        net.publish(change(net.parameters, **changes))
    assert net.store.list() == ()


def test_a_hotkey_that_is_not_the_owners(net):
    with pytest.raises(DiscoveryError, match="nobody reads the slot"):
        net.publish(owner=OTHER)


def test_a_genesis_beyond_its_own_bounds(net):
    strict = change_parameters(net.parameters, {"work": {"max_tokens": 8}})
    with pytest.raises(DiscoveryError, match="max_tokens"):
        net.publish(strict)


def test_a_genesis_folder_of_another_checkpoint(net):
    with pytest.raises(CheckpointError, match="holds checkpoint"):
        net.publish(change(net.parameters, genesis_checkpoint=bytes(32)))
    assert net.store.list() == ()


def test_an_environment_of_another_version(net):
    choice = replace(net.parameters.environment, digest=bytes(32))
    with pytest.raises(DiscoveryError, match="another version"):
        net.publish(replace(net.parameters, environment=choice))


def test_a_checkpoint_of_an_earlier_network_in_the_trainers_slot_is_warned_of(net):
    """It would be in force in place of the genesis, and nobody may be able to read it any more."""
    net.publish()
    trainer = net.parameters.identity.trainer
    old = Commitment(Tag.CHECKPOINT, 500, 0, bytes(range(32)), LOCATOR)
    net.commit(trainer, encode_commitment(old))
    net.publish()  # the same network, whose trainer works already
    assert net.warnings == []
    other = change(net.parameters, burn_share=net.parameters.identity.burn_share + 1)
    net.publish(other)
    (warning,) = net.warnings
    assert f"{encode_ss58(trainer)} is not empty" in warning
    net.chain.mint()
    assert get_in_force_at(net.chain, other, net.chain.get_head()).digest == old.digest


def test_faults_that_hinder_nobody_yet_are_warnings(net):
    odd = change(net.parameters, trainer=bytes(32), owner_uid=2)
    net.publish(replace(odd, timing=replace(odd.timing, tempo=99)))
    words = " ".join(net.warnings)
    assert len(net.warnings) == 3
    for said in ("is not registered", "burn share", "timing.tempo is 99"):
        assert said in words


def test_an_owner_is_told_before_it_names_an_amender(net):
    asked = []
    chosen = PreparedNetwork(TRAINER, BEACON, "arithmetic", "demo", None, OTHER, (), GENESIS)
    owned = OwnedSubnet(net.chain, OWNER, net.store, LOCATOR)
    mint = lambda seconds: net.chain.mint()  # noqa: E731
    published = publish(chosen, owned, asked.append, net.warnings.append, wait=mint)
    assert published.parameters.identity.amender == OTHER
    (question,) = asked
    assert f"Only hotkey {encode_ss58(OTHER)} amends them" in question
    assert "if its key is lost, these parameters stay for ever" in question
    assert net.warnings == []
    publish(replace(chosen, amender=None), owned, asked.append, wait=mint)
    assert "amends" not in asked[1]


def test_an_owner_is_told_what_burning_costs_before_it_is_asked(net):
    said = []
    changes = ({"identity": {"burn_share": 100_000}},)
    chosen = PreparedNetwork(TRAINER, BEACON, "arithmetic", "demo", None, None, changes, GENESIS)
    owned = OwnedSubnet(net.chain, OWNER, net.store, LOCATOR)
    mint = lambda seconds: net.chain.mint()  # noqa: E731
    publish(chosen, owned, said.append, said.append, wait=mint)
    warning, question = said
    assert "identity.burn_share sends 10 %" in warning
    assert question.startswith("Publish parameters ")


def test_an_amender_that_cannot_announce_or_that_says_another_network(net):
    net.publish(change(net.parameters, amender=b"\5" * 32))
    (warning,) = net.warnings
    assert "cannot announce an amendment" in warning
    chosen = change(net.parameters, amender=OTHER)
    for said in (net.parameters.digest, chosen.digest):
        net.commit(OTHER, encode_commitment(Commitment(Tag.PARAMETERS, 0, 0, said, LOCATOR)))
        if said == chosen.digest:
            assert net.publish(chosen) > 0
        else:
            with pytest.raises(DiscoveryError, match="which would replace this one"):
                net.publish(chosen)


def test_mirrors_are_the_amenders_too(net, tmp_path):
    """Its slot's store may be the only one that has an amendment's checkpoint."""
    chosen, away = change(net.parameters, amender=OTHER), open_folder(tmp_path / "amender")
    net.publish(chosen)
    slot = Commitment(Tag.PARAMETERS, 9, 0, bytes(32), "test:amender")
    net.commit(OTHER, encode_commitment(slot))
    stores = {LOCATOR: net.store, "test:amender": away}
    assert list(make_mirrors(net.chain, chosen, stores.__getitem__)()) == [away, net.store]
    assert list(make_mirrors(net.chain, net.parameters, stores.__getitem__)()) == [net.store]


def test_an_owner_without_a_uid_is_told_to_register(net, monkeypatch):
    monkeypatch.setattr(net.chain, "get_owner", lambda number: bytes(32))
    with pytest.raises(DiscoveryError, match="register it"):
        make_subnet_parameters(net.chain, BEACON, GENESIS, TRAINER, "arithmetic", PRESETS["demo"])


def test_a_commitment_that_never_stands(net, monkeypatch):
    """Sent again every few blocks, given up in the end; the next run has less to do."""
    now, sent = [0.0], []
    monkeypatch.setattr(publishing.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(net.chain, "set_commitment", lambda *arguments: sent.append(now[0]))

    def wait(seconds):
        now[0] += seconds
        net.chain.mint()

    with pytest.raises(DiscoveryError, match="run the same command again"):
        net.publish(wait=wait)
    assert 2 < len(sent) < 30


def test_a_publication_that_is_cut_off_is_repeated(net, monkeypatch):
    with monkeypatch.context() as patch:

        def refuse(*arguments):
            raise ChainError("no space left in this epoch")

        patch.setattr(net.chain, "set_commitment", refuse)
        with pytest.raises(ChainError, match="no space"):
            net.publish()
    with pytest.raises(DiscoveryError, match="published no parameters"):
        net.follow()
    net.publish()
    assert net.follow().history.all == (net.parameters,)


# --- changes


def test_other_parameters_are_another_network(net):
    net.publish()
    changed = change_parameters(net.parameters, {"work": {"group_cap": 512}})
    assert changed.digest != net.parameters.digest
    followed = net.follow(program="running")
    net.publish(changed)
    with pytest.raises(DiscoveryError, match="another network") as raised:
        followed.look()
    assert changed.digest.hex()[:16] in str(raised.value)
    assert followed.history.all == (net.parameters,)
    for program in ("running", "new"):  # started again, it joins the other one
        joined = net.follow(program=program)
        joined.look()
        assert joined.history.all == (changed,)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("environment", ["arithmetic", "sat"])
def test_presets_have_no_fault_and_come_back_as_they_were(net, name, environment):
    parameters = make_subnet_parameters(
        net.chain, QUICKNET, GENESIS, TRAINER, environment, PRESETS[name], slot_ms=250
    )
    assert find_parameters_fault(parameters) is None
    assert parameters.timing.slot_ms == 250
    slots = PRESETS[name].timing.beacon_delay_ms / PRESETS[name].timing.slot_ms
    assert parameters.timing.beacon_delay_ms == 250 * slots
    assert parameters.timing.tempo == 24
    assert parameters.identity.owner_uid == 0
    again = Parameters.from_json(json.loads(json.dumps(parameters.to_json())))
    assert again == parameters
    assert again.digest == parameters.digest
    publish_parameters(net.store, parameters)
    assert fetch_parameters(net.store, parameters.digest) == parameters


def test_an_owners_file_changes_what_it_names(net, tmp_path):
    file = tmp_path / "subnet.toml"
    file.write_text(
        "[work]\ngroup_size = 16\n[tests]\nmargin_levels = [0, 1, 2, 4, 8, 16, 32, 64]\n"
        '[identity]\nburn_share = 100_000\n[environment]\nname = "sat"\n'
    )
    changed = change_parameters(net.parameters, read_changes(file))
    assert changed.work == replace(net.parameters.work, group_size=16)
    assert changed.tests.margin_levels == (0, 1, 2, 4, 8, 16, 32, 64)
    assert changed.identity.burn_share == 100_000
    assert changed.environment.name == "sat"
    open_environment(changed.environment)  # settings and digest followed the name
    assert changed.timing == net.parameters.timing
    whole = tmp_path / "subnet.json"
    whole.write_text(json.dumps(changed.to_json()))
    assert change_parameters(net.parameters, read_changes(whole)) == changed


def test_a_single_setting_of_an_environment(net):
    sat = change_parameters(net.parameters, {"environment": {"name": "sat"}})
    setting = sat.environment.settings[0]
    for settings in (
        {setting.name: setting.value + 1},
        [{"name": setting.name, "value": setting.value + 1}],
    ):
        changed = change_parameters(sat, {"environment": {"settings": settings}})
        assert changed.environment.settings[0].value == setting.value + 1
        assert changed.environment.settings[1:] == sat.environment.settings[1:]
        assert changed.environment.digest != sat.environment.digest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[work\n", "not TOML"),
        ("[wrok]\n", "no section 'wrok'"),
        ("work = 3\n", "is a section"),
        ("[work]\ngroups = 3\n", "unknown field 'groups'"),
        ("[work]\ngroup_size = 70_000\n", "group_size"),
        ("[work]\ngroup_size = 1.5\n", "group_size"),
        ("[timing]\nwindow_blocks = 0\n", "window_blocks is 0"),
        ('[environment]\nname = "chess"\n', "no environment 'chess'"),
        ("[environment]\nname = 3\n", "no environment 3"),
        ("[environment]\nname = [3]\n", r"no environment \[3\]"),
        ("[environment]\nsettings = 3\n", "write names and integers"),
        ("[environment.settings]\ncolour = 3\n", "colour"),
        ('[identity]\ntrainer = "5F"\n', "trainer"),
    ],
)
def test_mistakes_in_an_owners_file_are_named(net, tmp_path, text, words):
    file = tmp_path / "subnet.toml"
    file.write_text(text)
    with pytest.raises(OperatorError, match=words):
        change_parameters(net.parameters, read_changes(file))


def test_an_owners_file_that_is_no_such_file(tmp_path):
    for name, data, words in (
        ("absent.toml", None, "cannot read"),
        ("huge.toml", b"#" * (2 << 20), "larger than"),
        ("list.json", b"[]", "no sections"),
        ("twice.json", b'{"work": {}, "work": {}}', "twice"),
    ):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(OperatorError, match=words):
            read_changes(tmp_path / name)


def test_a_published_folder_can_be_served_by_a_plain_copy(net, tmp_path):
    """Nothing in a store but names and bytes: any way of copying makes a mirror."""
    net.publish()
    shutil.copytree(tmp_path / "store", tmp_path / "copy")
    copy = open_folder(tmp_path / "copy")
    assert net.follow(lambda locator: copy).history.all == (net.parameters,)
