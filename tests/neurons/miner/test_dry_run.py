"""The output of `assay mine --dry-run` before anything is paid for."""

import json
import shutil
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.cli.checks_view import render_dry_run
from assay.lab.simulator import SimulatedRules
from assay.network.beacon import LocalBeacon
from assay.network.store.folder import open_folder
from assay.neurons.miner import dry_run as dry_run_module
from assay.neurons.miner.dry_run import dry_run, list_faster_ways
from assay.neurons.miner.engines import MinerEngines
from assay.neurons.miner.engines import drafter as engine_drafter
from assay.neurons.miner.engines.engine import read_engine
from assay.neurons.miner.miner import Miner, MinerConfig, MinerDependencies
from assay.neurons.miner.mining_cost import compute_mining_cost
from assay.neurons.preflight.check_results import CheckState
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.parameters import MAIN_TIMING
from assay.protocol.ss58 import encode_ss58
from assay.session.window_time import compute_window_seconds
from tests.commands import run_command
from tests.neurons.miner.engines.engine_server import EngineServer, load_drafter
from tests.neurons.miner_bench import ALICE, GENESIS_MS, HOTKEYS, LOCATOR, Fuse, Fused

TAO = 10**9
NEWCOMER = bytes(range(32))
CONFIG = MinerConfig(6, 2)
SENDS = {"set_commitment", "set_weights", "register", "add_stake", "swap", "fund"}


@pytest.fixture
def subnet(make_subnet):
    """Head 30: window 1 is the last whose commitments count; somebody committed to 9 groups."""
    subnet = make_subnet(CONFIG)
    chain = subnet.chain
    chain.rules = SimulatedRules(registration_cost=2 * TAO, alpha_price=TAO // 20)
    for name, groups in (("validator", 9), ("owner", 4)):
        window = 1 if name == "validator" else 0  # the last window is not counted
        commitment = Commitment(Tag.MINER, window, groups, bytes(32), LOCATOR)
        chain.set_commitment(HOTKEYS[name], encode_commitment(commitment))
    owner, other = HOTKEYS["owner"], HOTKEYS["validator"]
    chain.pay({owner: (30_000, 700 * TAO), other: (30_000, 10 * TAO)})
    for _ in range(30):
        chain.mint()
    return subnet


class Timed(Miner):
    """Takes half of these seconds for a group."""

    seconds, now = 1.0, 0.0

    def generate(self, work, indices):
        made = super().generate(work, indices)
        Timed.now += Timed.seconds / 2 * len(indices)
        return [] if work.limit.is_over else made


@pytest.fixture(scope="module")
def measured():
    """Hotkey, parameters, settings and pace → the speed, if no server drafts."""
    return {}


@pytest.fixture(autouse=True)
def timed(monkeypatch, measured):
    """A speed is measured once: most tests are about other checks."""
    measure = dry_run_module.measure_speed

    def measure_once(outside, hotkey, parameters, config, *more):
        if outside.engines is not None:
            return measure(outside, hotkey, parameters, config, *more)
        key = hotkey, parameters.digest, config, Timed.seconds
        if key not in measured:
            measured[key] = measure(outside, hotkey, parameters, config, *more)
        return measured[key]

    monkeypatch.setattr(dry_run_module, "measure_speed", measure_once)
    monkeypatch.setattr(dry_run_module, "Miner", Timed)
    monkeypatch.setattr(Timed, "now", 0.0)


def look(subnet, hotkey=ALICE, seconds=1.0, late_ms=0, shown=None, config=CONFIG, **outside):
    Timed.seconds = seconds
    fuse = Fuse()
    chain = Fused(outside.pop("chain", subnet.chain), fuse)
    reached = MinerDependencies(chain, subnet.beacons, subnet.checkpoints, subnet.store, LOCATOR)
    now_ms = subnet.chain.get_block(subnet.chain.get_head()).timestamp_ms + late_ms
    run = dry_run(
        replace(reached, **outside),
        hotkey,
        hotkey,
        subnet.parameters,
        config,
        now_ms,
        public_store=shown,
        timer=lambda: Timed.now,
    )
    assert not {name.split()[1] for name in fuse.names} & SENDS
    return run


def states(run):
    return {check.check: check.state.value for check in run.checks}


def find(run, name):
    (check,) = (check for check in run.checks if check.check == name)
    return check


def show(run, cost=None):
    text = StringIO()
    Console(width=160, file=text).print(render_dry_run(run, cost))
    return text.getvalue()


def test_all_is_well(subnet):
    run = look(subnet)
    assert set(states(run).values()) == {"ok"}
    assert run.ready
    assert "uid 3 since block 0" in find(run, "registration").detail
    # 6 s between beacon and commitment, 2 groups a second: 12 fit, 6 are wanted
    assert (run.speed.window_seconds, run.speed.fits, run.speed.committed) == (6.0, 12, 6)
    assert run.speed.tokens > 2 * 8
    earning = run.earning
    assert (earning.window, earning.own_groups, earning.other_groups) == (1, 6, 9)
    assert earning.share == pytest.approx(0.4)
    assert earning.paid == 10 * TAO  # pay burned at the owner's uid goes to nobody
    assert earning.epochs_a_day == pytest.approx(86_400 / 25)
    assert earning.alpha_a_day == pytest.approx(0.4 * 10 * TAO * 86_400 / 25)
    assert earning.registration is None
    assert json.loads(json.dumps(run.to_json()))["checks"][0]["state"] == "ok"
    text = show(run)
    assert "40.00%" in text
    assert "everything is ready" in text


def test_a_windows_cost_on_this_machine_stands_beside_its_pay(subnet):
    run = look(subnet)
    cost = compute_mining_cost(run, 2_000_000, 300_000_000)
    # 12 blocks of a second; 10 alpha an epoch of 25 blocks, of which 40 %, at 0.05 τ
    assert cost.cycle_seconds == 12.0
    assert cost.window == round(2e6 * 12 / 3_600)
    assert cost.alpha == pytest.approx(0.4 * 10 * TAO * 12 / 25, abs=1)
    assert cost.tao == cost.alpha // 20
    assert cost.pay == pytest.approx(300e6 * cost.tao / TAO, abs=1)
    assert cost.million == round(2e12 * run.speed.seconds / 3_600 / run.speed.tokens)
    # paid at that price it is neither above nor far below
    assert cost.tao * cost.even_tao_price // TAO >= cost.window
    assert cost.tao * (cost.even_tao_price - 1) // TAO < cost.window + 1
    text = show(run, cost)
    assert "costs $0.006667 at $2.00 an hour" in text
    assert "at $300.00 a TAO: $28.80, $28.79 more than it costs" in text
    unpriced = show(run, compute_mining_cost(run, 2_000_000))
    assert "which the chain does not know (--tao-price)" in unpriced
    assert "more than it costs" not in unpriced
    assert cost.to_json()["unit"] == "micro-dollars"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--price 2.0/h", "--price is for an estimate: add --dry-run"),
        ("--dry-run --tao-price 300", "name it with --price"),
        ("--dry-run --price 2.0", "the unit is missing"),
        ("--dry-run --price 2.0/h --tao-price -1", "write dollars in digits"),
    ],
)
def test_a_wrong_price_is_refused_in_a_line(words, said):
    done = run_command("mine", "--netuid", "3", "--wallet", "//Alice", *words.split())
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_window_that_is_not_paid_has_no_price_that_covers_it(subnet):
    subnet.chain.pay({})
    subnet.chain.mint()
    run = look(subnet)
    cost = compute_mining_cost(run, 2_000_000, 300_000_000)
    assert (cost.alpha, cost.pay, cost.even_tao_price) == (0, 0, None)
    assert "no price of TAO covers the cost: nothing is paid" in show(run, cost)
    unknown = compute_mining_cost(replace(run, speed=None, earning=None), 2_000_000, 300_000_000)
    assert (unknown.alpha, unknown.pay, unknown.million) == (None, None, None)
    assert "its pay is not known" in show(run, unknown)


def test_episodes_are_played_to_measure_them(subnet):
    subnet.play()
    run = look(subnet)
    assert run.ready
    assert run.speed.drafting["tokens"] == run.speed.tokens > 2 * 2  # of two groups of two


def test_a_slow_machine_is_told_what_it_would_earn(subnet):
    run = look(subnet, seconds=4.0)  # two groups in 4 of 6 s, and one in the other two
    assert (run.speed.groups, run.speed.fits, run.speed.committed) == (2, 3, 3)
    assert states(run)["speed"] == "warn"
    assert "an engine that drafts" in find(run, "speed").remedy
    assert run.earning.share == pytest.approx(3 / 12)
    single = look(subnet, seconds=7.0)  # two groups would take longer than a window has
    assert (single.speed.groups, single.speed.fits) == (1, 1)
    hopeless = look(subnet, seconds=13.0)
    assert (hopeless.speed.groups, hopeless.speed.fits) == (0, 0)
    assert states(hopeless)["speed"] == "fail"
    assert "fewer tokens a rollout" in find(hopeless, "speed").remedy
    assert hopeless.earning.share == 0


def test_not_registered_and_rich(subnet):
    subnet.chain.fund(NEWCOMER, 3 * TAO)
    run = look(subnet, NEWCOMER)
    registration = find(run, "registration")
    assert registration.state == "warn"
    for words in ("one costs 2 τ", "has 3 τ", encode_ss58(NEWCOMER)):
        assert words in registration.detail
    assert "assay register" in registration.remedy
    assert run.ready
    # 0.4 of 10 alpha an epoch at 0.05 TAO
    a_day = 0.4 * 10 * 0.05 * 86_400 / 25
    assert run.earning.registration_days == pytest.approx(2 / a_day)
    assert "earned back" in show(run)


def test_not_registered_and_poor(subnet):
    subnet.chain.fund(NEWCOMER, TAO // 2)
    run = look(subnet, NEWCOMER)
    registration = find(run, "registration")
    assert registration.state == "fail"
    assert "send 1.5 τ or more" in registration.remedy
    assert not run.ready
    assert "not ready" in show(run)


def test_a_subnet_that_pays_nobody_yet(subnet):
    subnet.chain.pay({})
    subnet.chain.mint()
    run = look(subnet, NEWCOMER)
    assert run.earning.alpha_a_day == 0
    assert run.earning.registration_days is None
    assert "never at that" in show(run)


def test_a_store_that_cannot_be_written(subnet, tmp_path):
    store = open_folder(tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone")
    (tmp_path / "gone").write_text("a file now")
    run = look(subnet, store=store)
    assert states(run)["store"] == "fail"
    assert "gone" in find(run, "store").detail


def test_a_locator_that_leads_elsewhere(subnet, tmp_path):
    run = look(subnet, shown=open_folder(tmp_path / "elsewhere"))
    assert states(run)["store"] == "fail"
    assert "does not exist" in find(run, "store").detail
    # a cache that still has the last probe is no better
    stale = open_folder(tmp_path / "stale")
    stale.put(f"{encode_ss58(ALICE)}/probe", b"assay probe 1700000000000")
    assert "other bytes" in find(look(subnet, shown=stale), "store").detail


def test_the_probe_is_one_small_file_however_often_it_is_written(subnet):
    look(subnet)
    look(subnet, late_ms=500)
    assert [name.rpartition("/")[2] for name in subnet.store.list()] == ["probe"]


def test_a_beacon_of_another_chain(subnet):
    other = LocalBeacon(b"other", GENESIS_MS, 1_000, lambda: GENESIS_MS + 10**9)
    run = look(subnet, beacons=other)
    assert states(run)["beacon"] == "fail"
    assert "is not the pinned chain's" in find(run, "beacon").detail


def test_a_beacon_that_is_not_out(subnet):
    class Silent:
        def get(self, number):
            return None

    assert states(look(subnet, beacons=Silent()))["beacon"] == "fail"


def test_a_checkpoint_that_is_not_here(subnet, tmp_path):
    run = look(subnet, checkpoints=CheckpointFolder(tmp_path / "none"))
    assert states(run)["checkpoint"] == "fail"
    assert run.speed is None
    assert run.earning is None
    assert not run.ready
    assert "✗" in show(run)


def test_a_node_of_another_chain(subnet):
    subnet.parameters = replace(
        subnet.parameters, identity=replace(subnet.parameters.identity, genesis_hash=bytes(32))
    )
    run = look(subnet)
    assert states(run)["chain"] == "fail"
    assert "parameters are for the chain" in find(run, "chain").detail


@pytest.mark.parametrize(
    ("late_ms", "state"),
    [(-500, "ok"), (-1_500, "fail"), (9_000, "ok"), (11_000, "warn"), (13_000, "fail")],
)
def test_the_clock(subnet, late_ms, state):
    assert states(look(subnet, late_ms=late_ms))["clock"] == state


def test_the_time_of_a_window_on_the_main_network():
    # 33 blocks to the commitment, 3 before it is sent, 3 until the beacon is out: of 12 s each
    assert compute_window_seconds(MAIN_TIMING, 3) == 27 * 12
    assert compute_window_seconds(replace(MAIN_TIMING, window_blocks=20), 3) == 20 * 12
    assert compute_window_seconds(MAIN_TIMING, 33) == 0


@pytest.fixture
def short_canary(monkeypatch):
    """A few rows tell a keyed draw, too, and the server drafts one at a time."""
    monkeypatch.setattr(engine_drafter, "CANARY_ROWS", 4)


@pytest.mark.usefixtures("short_canary")
def test_the_drafter_is_named_with_advice_on_speed(subnet, genesis, monkeypatch):
    found = find(look(subnet), "drafting")
    assert (found.state, found.detail[:21]) == (CheckState.OK, "this program drafts: ")
    # a server has half a window for a draft, and a busy machine takes seconds
    monkeypatch.setattr(dry_run_module, "compute_window_seconds", lambda *_: 600.0)
    with EngineServer(genesis.get_drafter(1_024)) as server:
        engines = MinerEngines([read_engine(server.url)])
        found = find(look(subnet, engines=engines), "drafting")
        assert found.state is CheckState.OK
        assert found.detail.startswith("100.0% of drafts kept, ")
        assert "groups_per_step of 256 rollouts" in found.detail
        server.kind = "unkeyed"
        found = find(look(subnet, engines=MinerEngines(engines.engines)), "drafting")
        assert (found.state, found.remedy[:15]) == (CheckState.WARN, "fix the servers")
        assert "it serves without assay-vllm" in found.detail


@pytest.mark.usefixtures("short_canary")
def test_a_server_that_takes_up_a_checkpoint_is_waited_for(subnet, genesis, monkeypatch):
    """Drafts that this program makes meanwhile are not counted as the server's."""
    monkeypatch.setattr(engine_drafter, "PATIENCE_S", 0.05)
    with EngineServer(genesis.get_drafter(1_024), load=load_drafter) as server:
        server.pause_s = 1.0
        found = find(look(subnet, engines=MinerEngines([read_engine(server.url)])), "drafting")
        assert found.state is CheckState.OK
        assert server.asked > engine_drafter.CANARY_ROWS
        monkeypatch.setattr(dry_run_module, "ENGINES_S", 0.0)
        server.pause_s = 60.0
        found = find(look(subnet, engines=MinerEngines([read_engine(server.url)])), "drafting")
        server.go_on.set()
        assert (found.state, found.detail[:21]) == (CheckState.WARN, "no server drafts yet:")


@pytest.mark.parametrize(
    ("changed", "rollouts", "said"),
    [
        ({}, 256, []),
        ({"kept": 0.8}, 256, ["a server in a finer dtype"]),
        ({}, 64, ["a groups_per_step of 256"]),
        ({"reading_seconds": 4.0}, 256, ["the verification pass is the bottleneck"]),
        ({"drafting_seconds": 4.0}, 256, ["the servers are the bottleneck"]),
        ({"kept": None}, 256, []),
    ],
)
def test_the_advice_on_speed(changed, rollouts, said):
    spent = {"kept": 0.97, "drafting_seconds": 2.0, "reading_seconds": 2.0} | changed
    found = list_faster_ways(spent, rollouts)
    assert len(found) == len(said)
    assert all(way.startswith(text) for way, text in zip(found, said, strict=True))
