"""The explorer beside a localnet: begun before it, its chain killed, begun anew; and all of it as a
newcomer types it."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from markupsafe import escape
from starlette.testclient import TestClient

from assay.explorer.pages import write_about
from assay.explorer.ports import Live
from assay.explorer.serving import ExplorerOpening
from assay.explorer.sources.live_state import BlockWatch, join_live
from assay.explorer.sources.peer_health import PeerHealth
from assay.explorer.sources.record import ExplorerRequest, NoRecordError
from assay.explorer.sources.run_view import RunView
from assay.explorer.waiting_app import AWAITED, WaitingApp
from assay.lab.localnet.description import BeaconService, Localnet, Party, write_localnet
from assay.protocol.errors import Trouble, TroubleKind
from assay.protocol.parameters import Parameters
from assay.settings.sections import Settings
from subtensor_devnet import Devnet, Seal
from tests.explorer.inside import look_into
from tests.explorer.program import serve
from tests.integration.test_localnet import Terminal, make_wallet

#: Seconds for anything to show: children have to start on a busy machine.
PATIENCE_S = 240


def wait_for(what, look):
    """Wait until `look` finds something, and return that."""
    ends = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < ends, what
        time.sleep(0.3)
    return found


def find_port():
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


def describe(folder, demo, devnet, genesis_hash=None):
    """A localnet's description over a demo's own chain, store and rules."""
    (rules,) = (demo / "store" / "parameters").glob("*.json")
    parameters = Parameters.from_json(json.loads(rules.read_text()))
    localnet = Localnet(
        endpoint=devnet.endpoint,
        netuid=parameters.identity.netuid,
        genesis_hash=genesis_hash or parameters.identity.genesis_hash.hex(),
        block_time=1.0,
        parameters=parameters.digest.hex(),
        beacon=BeaconService("http://127.0.0.1:9", {"period": 1}),
        store=(folder / "store").as_uri(),
        owner=Party("//Alice", "5Owner"),
        trainer=Party("//Trainer", "5Trainer"),
        wallets=str(folder / "wallets"),
        settings=str(folder / "assay.toml"),
    )
    write_localnet(folder, localnet)
    return localnet


@pytest.mark.slow
def test_a_localnet_that_comes_later_whose_chain_dies_and_comes_back(demo):
    """One explorer through all of it, over a real chain."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="assay-")))
        net, port = root / "net", find_port()
        explorer = stack.enter_context(serve(root, "--localnet", "net"))
        status, headers, page = explorer.get("/windows")
        assert status == 503
        assert "assay localnet" in page
        assert str(root) not in page
        assert "default-src 'none'" in headers["content-security-policy"]
        assert json.loads(explorer.get("/x.json")[2])["awaited"] == "localnet"
        assert explorer.get("/static/style.css")[0] == 200

        shutil.copytree(demo / "record", net / "store")
        shutil.copytree(demo / "store" / "parameters", net / "store" / "parameters")
        shutil.copytree(demo / "chain", net / "chain")
        (validator,) = (path.name for path in (demo / "record").iterdir())
        devnet = stack.enter_context(Devnet(net / "chain", port, seal=Seal.MANUAL))
        describe(net, demo, devnet)

        def look():
            status, _, body = explorer.get("/index.json")
            return json.loads(body) if status == 200 else None

        # nobody validates here: the record's author is on chain, or with its validator
        tell(net / "validator", validator, devnet.get_head())
        found = wait_for("the record", lambda: (f := look()) and f["live"] and f["weights"] and f)
        assert found["network"]["validator"] == validator
        assert "--localnet net" in found["command"]

        # blocks come: the validator says nothing of them, the chain does
        head = found["live"]["head"]
        devnet.new_blocks(3)
        wait_for("new blocks", lambda: look()["live"]["head"] >= head + 2)
        # the validator was killed: its last status is old, and the page continues with the chain
        tell(net / "validator", validator, head, age=60)
        wait_for("its end", lambda: "last heard of" in look()["live"]["program"])
        found = look()["live"]
        assert found["program"].startswith("the chain; the validator")
        assert found["moving"]

        devnet.close()
        killed = time.time()
        found = wait_for("trouble", lambda: (f := look()["live"])["since_ms"] and f)
        assert found["trouble"]["kind"] == "chain"
        assert found["since_ms"] <= killed * 1_000 + 60_000
        page = explorer.get("/weights")[2]
        assert "nothing new from the chain since" in page
        devnet = stack.enter_context(Devnet(net / "chain", port, seal=Seal.MANUAL))
        devnet.new_blocks(3)
        wait_for("the chain again", lambda: look()["live"]["head"] > found["head"])
        wait_for("calm", lambda: look()["live"]["trouble"] is None)

        describe(net, demo, devnet, "ab" * 32)
        wait_for(
            "another localnet", lambda: (look()["live"]["trouble"] or {}).get("kind") == "anew"
        )


def tell(folder, hotkey, head=0, age=0, **more):
    """A validator's last word."""
    folder.mkdir(exist_ok=True)
    status = {
        "program": "validator",
        "hotkey": hotkey,
        "state": "running",
        "head": head,
        "windows": [],
        "posts": [],
        "trouble": None,
        "at": time.time() - age,
    } | more
    (folder / "status.new").write_text(json.dumps(status))
    (folder / "status.new").rename(folder / "status.json")


def test_both_words_are_heard():
    store, chain_away = Trouble(TroubleKind.STORE, "no store"), Trouble(TroubleKind.CHAIN, "away")
    run = Live(10, True, "the validator", store, ({"window": 1},))
    chain = Live(12, True, "the chain")
    assert join_live(run, None) is run
    assert join_live(None, chain) is chain
    both = join_live(run, chain)
    assert (both.head, both.program, both.trouble) == (12, "the validator", store)
    assert both.windows == run.windows
    silent = Live(12, True, "the chain", chain_away, since_ms=7)
    assert join_live(run, silent).trouble == chain_away
    ended = Live(10, False, "the validator has stopped", store)
    told = join_live(ended, chain)
    assert (told.program, told.trouble) == ("the chain; the validator has stopped", None)
    assert told.moving


def test_a_silent_peer_is_reported_before_giving_up(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    answers = PeerHealth("the node", TroubleKind.CHAIN)
    answers.begin()
    assert answers.describe() is None
    clock[0] += 6
    assert answers.describe()[0] == Trouble(TroubleKind.CHAIN, "the node does not answer")
    answers.end("it is gone")
    answers.begin()  # asked again, it is still in trouble
    assert answers.describe()[0] == Trouble(TroubleKind.CHAIN, "it is gone")
    answers.end()
    assert answers.describe() is None


def test_a_chain_that_stands_still_is_told(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    pace = BlockWatch(1_000)
    assert pace.note(5) is None
    clock[0] += 11
    assert pace.note(5) is None
    clock[0] += 2
    assert pace.note(5) is not None
    assert pace.note(6) is None
    slow = BlockWatch(12_000)
    assert slow.note(5) is None
    clock[0] += 90
    assert slow.note(5) is None
    clock[0] += 10
    assert slow.note(5) is not None


_HOLDER = """
import sys, time
from assay.network.files import take_lock
file = open(sys.argv[1], "a")
assert take_lock(file.fileno())
print("held", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(("name", "more"), [("validator", {}), ("demo", {"stage": "mining"})])
def test_a_program_that_was_killed_is_told_from_one_that_is_at_work(tmp_path, name, more):
    folder = RunView(tmp_path, bytes(32))
    tell(tmp_path, "5V", 7, **more)
    busy = f"the {name}{': mining' if more else ''}"
    assert (folder.read_live().program, folder.read_live().moving) == (busy, True)
    tell(tmp_path, "5V", 7, age=3_600, **more)
    assert not folder.read_live().moving, "a copy of a folder: nobody can ask for its lock"
    assert not folder.is_alive()
    marker = tmp_path / f".assay-{name}"
    with subprocess.Popen([sys.executable, "-c", _HOLDER, marker], stdout=subprocess.PIPE) as held:
        assert held.stdout.readline() == b"held\n"
        live = folder.read_live()
        assert live.moving
        assert live.program.startswith(f"{busy}, at work and last heard of at 2")
        (tmp_path / "status.json").rename(tmp_path / "status.old")
        assert folder.is_alive(), "it has said nothing yet"
        (tmp_path / "status.old").rename(tmp_path / "status.json")
        held.kill()
    live = folder.read_live()
    assert not live.moving
    assert live.program.startswith(f"the {name} ended without a word: it was last heard of at 2")
    assert live.program.endswith(" UTC")


@pytest.mark.parametrize("place", ["store", "rules"])
def test_a_run_is_shown_before_it_has_settled_anything(demo, tmp_path, place, monkeypatch):
    """Its rules lie in a demo's store, or are a neuron's own copy."""
    (rules,) = (demo / "store" / "parameters").glob("*.json")
    shutil.copytree(rules.parent, tmp_path / place / "parameters")
    (tmp_path / "record").mkdir()
    document = json.loads((demo / "status.json").read_text())
    assert document["parameters"] == rules.stem
    more = {"stage": "mining", "head": 150, "parameters": rules.stem}
    tell(tmp_path, document["hotkey"], **more)
    with look_into(tmp_path) as inside:
        clock = time.monotonic()
        assert inside.get("/").status_code == 200
        monkeypatch.setattr(time, "monotonic", lambda: clock + 60)
        assert inside.get("/index.json").json()["live"]["trouble"] is None, "it may take a while"
        monkeypatch.undo()
        found = inside.get("/index.json").json()
        timing = inside.source.subject.history.first.timing
        live = found["live"]
        assert (live["head"], live["program"]) == (150, "the demo: mining")
        assert live["window"] == 150 // timing.window_blocks
        assert live["next_window_seconds"] == live["next_window_in"] * timing.slot_ms / 1_000
        row = live["windows"][0]
        assert row["seconds_left"] == row["blocks_left"] * timing.slot_ms / 1_000 > 0
        assert (found["weights"], found["windows"]) == (None, [])
        for path in ("/", "/windows", "/miners", "/weights", "/training", "/ledger"):
            assert inside.get(path).status_code == 200, path
        page = inside.get("/").text
        assert "150</data>" in page
        assert "Nothing is settled yet" in page
        assert "about " in page
    tell(tmp_path, document["hotkey"], **more, age=3_600)
    with pytest.raises(NoRecordError), look_into(tmp_path):
        pass


@pytest.fixture
def short():
    """A folder whose stores have locators that are not too long."""
    with tempfile.TemporaryDirectory(prefix="assay-") as folder:
        yield Path(folder)


def test_a_run_s_own_store_is_read_while_its_program_holds_the_folder(demo, short):
    run, store = short / "run", short / "store"
    shutil.copytree(demo / "record", store)
    shutil.copytree(demo / "store" / "parameters", run / "rules" / "parameters")
    document = json.loads((demo / "status.json").read_text())
    said = {"record": {"locator": store.as_uri()}}
    tell(run, document["hotkey"], 150, age=3_600, **said)
    with pytest.raises(NoRecordError, match=f"--record '{store.as_uri()}'"), look_into(run):
        pass
    marker = run / ".assay-validator"
    with subprocess.Popen([sys.executable, "-c", _HOLDER, marker], stdout=subprocess.PIPE) as held:
        try:
            assert held.stdout.readline() == b"held\n"
            tell(run, document["hotkey"], 150, **said)
            with look_into(run) as inside:
                found = inside.get("/index.json").json()
                assert found["weights"]["derived"] is True
                assert found["live"]["head"] == 150
                assert str(store) not in inside.get("/").text
        finally:
            held.kill()


def test_durations_are_worded_for_people():
    said = {
        1: "1 s",
        119: "119 s",
        120: "2 min",
        7_199: "120 min",
        7_200: "2 h",
        172_799: "48 h",
        172_800: "2 days",
        0: "0 s",
    }
    for seconds, words in said.items():
        assert write_about(float(seconds)) == f'<data value="{float(seconds)}">about {words}</data>'


def test_awaited_files_are_named_without_a_folders_path(tmp_path):
    """Its operator is told which folder it is."""
    told: list[str] = []
    front = WaitingApp(("127.0.0.1",))
    request = ExplorerRequest(Settings(), None, tmp_path / "net")
    opening = ExplorerOpening(request, ExitStack(), front, ("127.0.0.1",), told.append)
    client = TestClient(front, base_url="http://127.0.0.1:8400")
    for kind in ("localnet", "validator", "record"):
        opening.tell(NoRecordError(f"{tmp_path} holds nothing", kind))
        page, document = client.get("/windows"), client.get("/index.json")
        assert (page.status_code, document.status_code) == (503, 503)
        assert str(tmp_path) not in page.text + document.text
        assert document.json()["awaited"] == kind
        assert escape(AWAITED[kind]) in page.text
    assert len(told) == 1, "once, until it is another sentence"
    assert str(tmp_path) in told[0]


def test_a_fault_of_our_own_ends_the_wait_too(tmp_path, monkeypatch):
    """The page would say for ever that it is being opened."""
    ended: list[bool] = []

    def fail(*_):
        raise RuntimeError("a defect")

    monkeypatch.setattr("assay.explorer.serving.open_source", fail)
    request = ExplorerRequest(Settings(), None, tmp_path / "net")
    front = WaitingApp(("127.0.0.1",))
    opening = ExplorerOpening(request, ExitStack(), front, ("127.0.0.1",), lambda _: None)
    opening.start(lambda: ended.append(True))
    with pytest.raises(RuntimeError, match="a defect"):
        opening.wait(60)
    opening.stop()
    assert ended == [True]


@pytest.mark.nightly
def test_a_newcomers_commands(chromium):
    """Localnet, miner and validator in terminals of their own, the explorer begun before all of
    them, a browser that is never loaded anew."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="assay-")))
        terminal = Terminal(root, stack)
        explorer = stack.enter_context(serve(root, "--localnet", "net"))
        page = chromium.new_context(base_url=explorer.address).new_page()
        page.set_default_timeout(PATIENCE_S * 1_000)
        page.goto("/")
        page.locator("main", has_text="no localnet has been started").wait_for()
        process, _ = terminal.start_localnet()
        page.locator("main", has_text="nobody validates").wait_for()
        at = ("--localnet", str(terminal.folder))
        for name in ("miner", "validator"):
            make_wallet(terminal, name)
        terminal.run("stake", "100", "--wallet", "validator", "--yes", "--any-price")
        terminal.start("mine", *at, "--wallet", "miner", "--groups", "6")
        validator = terminal.start("validate", *at, "--wallet", "validator")
        page.locator("#live-state:text-is('live')").wait_for()
        page.evaluate("window.untouched = true")
        page.locator("#now", has_text="final, by the validator").wait_for()
        page.locator("#settled tbody tr", has_text="yes").first.wait_for()

        validator.send_signal(signal.SIGKILL)
        page.locator("#now", has_text="was last heard of").wait_for()
        terminal.start("validate", *at, "--wallet", "validator")
        page.locator("#now", has_text="final, by the validator").wait_for()

        process.send_signal(signal.SIGKILL)
        page.locator("#now", has_text="Trouble with the chain").wait_for()
        head = explorer.get_json("/index.json")["live"]["head"]
        terminal.start_localnet()
        wait_for("blocks", lambda: explorer.get_json("/index.json")["live"]["head"] > head + 12)
        page.locator("#now .warn").wait_for(state="detached")
        assert page.evaluate("window.untouched") is True
