"""The findings of `assay doctor`, and a program's message about them when it starts."""

import json
import logging
import shutil
from collections import namedtuple
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from rich.console import Console

from assay.artifacts.checkpoints.folder import CheckpointFolder, DownloadSettings
from assay.cli.checks_view import print_checks, render_checks
from assay.inference.placement import Placement
from assay.inference.placing.devices import read_container_memory, read_machine_memory
from assay.lab.simulator import SimulatedRules
from assay.network.chain.errors import ChainError
from assay.network.files import hold_folder
from assay.network.store.folder import open_folder
from assay.network.store.opening import ReadableStores
from assay.neurons.preflight import checks, examination
from assay.neurons.preflight.check_results import CheckState, OpenAttempt, PreflightCheck
from assay.neurons.preflight.checks import (
    check_disk,
    check_memory,
    check_proposals,
    check_relays,
    check_trainer,
)
from assay.neurons.preflight.doctor import diagnose
from assay.neurons.preflight.examination import (
    PreflightInputs,
    examine,
    list_hidden,
    look_briefly,
    warn_briefly,
)
from assay.neurons.preflight.machine_fences import Fences, judge_fences, probe_fences
from assay.neurons.preflight.machine_sandbox import check_sandbox
from assay.neurons.preflight.model_folder import check_model_folder
from assay.neurons.preflight.surroundings import open_role_stores
from assay.neurons.program.loop import claim_folder
from assay.protocol.amendment import ParameterHistory
from assay.protocol.parameters import EnvironmentChoice, Parameters, Rounds, Setting
from assay.sandbox import file_fence
from assay.sandbox.guest import INTERPRETER, is_prepared, store
from assay.sandbox.guest.engine import require_engine
from assay.session.memory import estimate_height, estimate_memory
from assay.session.session import Session, open_session
from assay.settings.loading import load_settings
from assay.subnet.presets import parse_environment
from assay.training import GENESIS, LearnConfig
from tests.commands import run_command
from tests.network.store.hostile import Hostile, answer
from tests.neurons.miner_bench import ALICE, HOTKEYS, Fuse, Fused

GIB = 1 << 30
SENDS = {"set_commitment", "set_weights", "register", "add_stake", "swap", "fund"}


@pytest.fixture
def subnet(make_subnet):
    subnet = make_subnet()
    subnet.chain.rules = SimulatedRules(registration_cost=10**9, permits=True)
    for _ in range(30):
        subnet.chain.mint()
    return subnet


@dataclass
class Followed:
    """Parameters as a `ParameterFollower` has them."""

    history: ParameterHistory
    pending: Parameters | None = None
    note: str | None = None


def surround(subnet, role="miner", **changes):
    around = PreflightInputs(
        role=role,
        folder=subnet.folder / role,
        groups_per_step=2,
        hotkey=HOTKEYS.get(role, ALICE),
        coldkey=ALICE,
        chain=subnet.chain,
        parameters=subnet.parameters,
        followed=Followed(ParameterHistory(subnet.parameters)),
        beacons=subnet.beacons,
        relays=lambda: {"http://a": "", "http://b": ""},
        store=None if role == "validator" else subnet.store,
        checkpoints=subnet.checkpoints,
        placement=Placement(),
    )
    return replace(around, **changes)


def get_now(subnet):
    return subnet.chain.get_block(subnet.chain.get_head()).timestamp_ms


def look(subnet, role="miner", **changes):
    found = [*examine(surround(subnet, role, **changes), get_now(subnet))]
    return [*found, *list_hidden(role, found)]


def states(found):
    return {check.check: check.state.value for check in found}


@pytest.mark.parametrize("role", ["miner", "trainer"])
def test_all_is_well_and_nothing_is_sent(subnet, role):
    fuse = Fuse()
    found = look(subnet, role, chain=Fused(subnet.chain, fuse))
    assert set(states(found).values()) == {"ok"}, found
    assert not {name.split()[1] for name in fuse.names} & SENDS
    assert {"checkpoint", "memory", "store", "relays"} <= set(states(found))
    assert ("trainer" in states(found)) == (role == "trainer")
    text = StringIO()
    Console(width=160, file=text).print(render_checks(found))
    assert "✗" not in text.getvalue()


def test_a_validator_without_a_permit(subnet):
    found = look(subnet, "validator")
    assert states(found)["permit"] == "fail"
    assert "store" not in states(found)  # it writes none
    subnet.chain.fund(HOTKEYS["validator"], 10**12)
    subnet.chain.add_stake(HOTKEYS["validator"], 10**11, any_price=True)
    for _ in range(30):
        subnet.chain.mint()
    assert states(look(subnet, "validator"))["permit"] == "ok"
    assert states(look(subnet, "validator", hotkey=bytes(32)))["permit"] == "fail"


@pytest.mark.parametrize(
    ("parts", "tries", "miners", "said"),
    [
        ("deduce=1,propose=1", 8, 3, None),
        ("abduce=1,propose=1", 8, 0, None),  # nobody has committed yet
        ("deduce=1,abduce=1", 8, 3, "does nothing: the network has no part `propose`"),
        ("induce=1,propose=1", 8, 3, "nobody is asked them by `deduce` or `abduce`"),
        ("deduce=1,propose=1", 8, 1, "as many miners as now, 1, make 0 tries in time"),
        # seven steps, of two other miners four groups each, of eight rollouts each
        ("deduce=1,propose=1", 448, 3, None),
        ("deduce=1,propose=1", 449, 3, "3, make 448 tries in time"),
    ],
)
def test_tries_of_proposals_that_do_nothing(subnet, parts, tries, miners, said):
    rules = subnet.parameters
    work = replace(rules.work, group_cap=4, group_size=8)
    rules = replace(rules, work=work, environment=parse_environment(f"mix,{parts}"))
    found = check_proposals(tries, rules, miners)
    assert (found.state is CheckState.OK) == (said is None)
    assert said is None or said in found.detail


def test_a_trainer_is_told_where_its_tries_do_nothing(subnet):
    assert states(look(subnet, "trainer", proposal_tries=8))["proposals"] == "warn"
    assert "proposals" not in states(look(subnet, "trainer"))


def test_a_trainer_whose_rounds_are_yet_to_begin(subnet):
    rounds = Rounds((ALICE,), 2, 1, 18, 6, 3, 4, 700_000, 900_000, 100 << 20, 0, 0, 0, 0)
    first = subnet.parameters
    amended = replace(first, rounds=rounds, start=replace(first.start, window=48))
    assert check_trainer(first, [], ALICE).state is CheckState.FAIL
    found = check_trainer(first, [first, amended], ALICE)
    assert found.state is CheckState.OK
    assert found.detail.endswith("is one of 1 trainers in rounds from window 48 on")


def test_a_trainer_with_another_hotkey(subnet):
    found = look(subnet, "trainer", hotkey=ALICE)
    assert states(found)["trainer"] == "fail"


def test_not_registered_and_without_money(subnet):
    found = look(subnet, hotkey=bytes(32), coldkey=bytes(32))
    assert states(found)["registration"] == "fail"


def test_a_chain_that_does_not_answer_hides_the_rest_and_ends_nothing(subnet):
    class Dead:
        runtime = "none"

        def __getattr__(self, _):
            raise ChainError("no node answers")

    found = states(look(subnet, chain=Dead()))
    assert found["chain"] == found["clock"] == found["registration"] == "fail"
    assert found["relays"] == found["store"] == found["disk"] == "ok"
    assert found["memory"] == "warn"  # it needs a model


def test_rules_that_are_not_known_do_not_hide_the_chain(subnet):
    found = states(look(subnet, parameters=None))
    assert found["chain"] == found["registration"] == "ok"
    assert found["clock"] == "warn"


def test_a_damaged_model_is_to_be_deleted_which_fetches_it_again(subnet, genesis, tmp_path):
    copy = tmp_path / genesis.digest.hex()
    shutil.copytree(genesis.folder, copy)
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    found = {check.check: check for check in look(subnet, checkpoints=CheckpointFolder(tmp_path))}
    assert found["checkpoint"].state is CheckState.FAIL
    assert "delete" in found["checkpoint"].remedy


def test_a_checkpoint_that_another_program_fetches_is_waited_for(subnet, tmp_path):
    """A miner that was just started fetches it: nothing is damaged."""
    digest = subnet.parameters.identity.genesis_checkpoint.hex()
    here = tmp_path / f".fetch-{digest}"
    here.mkdir()
    empty = open_folder(tmp_path)
    checkpoints = CheckpointFolder(tmp_path, DownloadSettings(lambda: [empty]))
    with hold_folder(here):
        found = look(subnet, checkpoints=checkpoints)
    (check,) = (one for one in found if one.check == "checkpoint")
    assert check.state is CheckState.WARN
    assert check.remedy == "wait until it is here, then check again"
    assert "another program is fetching" in check.detail


def test_ones_own_store_that_cannot_be_opened_does_not_hide_the_others():
    with TemporaryDirectory(prefix="assay-") as folder:  # short: for a locator
        theirs = f"file://{folder}/theirs"
        Path(folder, "theirs").mkdir()
        given = {"store": {"locator": f"file://{folder}/gone", "readable": [theirs]}}
        session, failures = Session(load_settings(None, given), Path(folder)), []
        own, readable = open_role_stores(session, "miner", OpenAttempt(failures.append))
        assert own is None
        assert readable is not None
        readable.open(theirs)
        (failure,) = failures
        assert "does not exist" in failure.detail


def test_a_server_that_hides_sizes_is_found_before_validators_ask_it(subnet):
    """Some let strangers GET, and answer HEAD with 403."""
    with TemporaryDirectory(prefix="assay-") as folder:
        written = open_folder(Path(folder))

        def show(method, path, headers, connection):
            data = written.get(path.lstrip("/"), 1_000) or b""
            if method == "HEAD":
                answer(connection, heads, b"", f"Content-Length: {len(data)}")
            elif "range" in headers:
                first, last = map(int, headers["range"].removeprefix("bytes=").split("-"))
                where = f"Content-Range: bytes {first}-{last}/{len(data)}"
                answer(connection, 206, data[first : last + 1], where)
            else:
                answer(connection, 200, data)
            return True

        with closing(Hostile(show)) as server:
            shown = ReadableStores((server.url,)).open(server.url)
            for heads, state in ((200, CheckState.OK), (403, CheckState.FAIL)):
                found = checks.check_store(written, shown, ALICE, heads)
                assert found.state is state, found
            assert "HEAD" in found.remedy


def test_parameters_to_come_are_told_and_what_is_amiss_with_them(subnet):
    parameters = subnet.parameters
    timing, length = parameters.timing, parameters.timing.window_blocks
    window = subnet.chain.get_head() // length + timing.notice_windows + 1
    pending = replace(
        parameters,
        start=replace(parameters.start, predecessor=parameters.digest, window=window),
        work=replace(parameters.work, valued_groups=3),
    )
    followed = Followed(ParameterHistory(parameters), pending)
    found = checks.check_amendment(subnet.chain, followed)
    assert found.state is CheckState.OK
    block = (window - timing.notice_windows) * length
    for said in (f"from window {window} on", f"decided at block {block}", "valued_groups 4 → 3"):
        assert said in found.detail
    followed.note = "they ask what is not here"
    assert checks.check_amendment(subnet.chain, followed).state is CheckState.WARN
    followed.history.stop_at(window, followed.note)
    found = checks.check_amendment(subnet.chain, followed)
    assert found.state is CheckState.FAIL
    assert followed.note in found.detail
    followed = Followed(ParameterHistory(parameters))
    followed.history.add(pending)
    assert ", decided: " in checks.check_amendment(subnet.chain, followed).detail


def test_unopened_parts_come_first_and_hidden_checks_last(subnet):
    failure = PreflightCheck("chain", CheckState.FAIL, "no node answers", "name another")
    around = PreflightInputs("miner", subnet.folder, 2)
    found = [failure, *examine(around, 0)]
    found += list_hidden("miner", found)
    assert found[0] is failure
    hidden = [check.check for check in found if check.detail == "not checked"]
    chain = ["clock", "amendment", "registration"]
    assert hidden == [*chain, "relays", "beacon", "checkpoint", "device", "memory", "store"]
    assert all(check.remedy for check in found if check.state is not CheckState.OK)


@pytest.mark.parametrize(
    ("faults", "state"),
    [
        ({"http://a": "", "http://b": ""}, "ok"),
        ({"http://a": "serves another chain", "http://b": ""}, "warn"),
        ({"http://a": "does not answer", "http://b": "lies"}, "fail"),
    ],
)
def test_each_relay_is_named_with_what_is_wrong_with_it(faults, state):
    check = check_relays(faults)
    assert check.state == state
    for url, fault in faults.items():
        assert f"{url} {fault or 'serves its rounds'}" in check.detail


@pytest.mark.parametrize(
    ("free", "checkpoint", "state"),
    [
        (2 * GIB, 0, "ok"),
        (GIB - 1, 0, "fail"),
        (3 * GIB, GIB, "warn"),
        (3 * GIB - 1, GIB, "fail"),
        (11 * GIB, GIB, "ok"),
    ],
)
def test_a_disk_that_fills(tmp_path, monkeypatch, free, checkpoint, state):
    usage = namedtuple("usage", "free")
    asked = []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: asked.append(path) or usage(free))
    check = check_disk(tmp_path / "not" / "there" / "yet", checkpoint)
    assert check.state == state
    assert asked == [tmp_path]  # the nearest folder that is there


@pytest.mark.parametrize(
    ("needed", "available", "state"),
    [(GIB, 2 * GIB, "ok"), (GIB, GIB + 1, "warn"), (GIB, GIB - 1, "fail"), (GIB, None, "warn")],
)
def test_memory_that_does_not_suffice(needed, available, state):
    assert check_memory(needed, available).state == state


def test_the_estimate_grows_with_model_batch_and_role(subnet, genesis):
    shape, work = genesis.shape, subnet.parameters.work
    assert shape.parameters == sum(p.numel() for p in genesis.model.parameters())
    assert shape.cached == 2 * 3 * 4 * 24  # keys and values, layers, heads, width of a head
    miner = estimate_memory("miner", shape, work, 2)
    assert miner < 2 * GIB
    assert estimate_memory("miner", shape, work, 8) > miner
    large = replace(shape, parameters=10**9)
    assert estimate_memory("validator", large, work, 0) > 4 * 10**9
    full = estimate_memory("trainer", large, work, learning=LearnConfig())
    assert full > 4 * 4 * 10**9
    lora = estimate_memory("trainer", large, work, learning=LearnConfig(lora_rank=8))
    assert full - lora == 2 * 4 * large.parameters  # when it publishes, no moments of all weights
    heights = [
        estimate_height("trainer", large, work, learning=LearnConfig(lora_rank=rank))
        for rank in (0, 8)
    ]
    assert heights[0] - heights[1] == 3 * 4 * large.parameters  # nor is there their gradient
    experts = replace(large, stacked=10**8)  # with their factors added
    assert (
        estimate_height("trainer", experts, work, learning=LearnConfig(lora_rank=8)) - heights[1]
        == 4 * 10**8
    )
    coded = estimate_memory("trainer", large, work, learning=LearnConfig(optimizer="adamw8bit"))
    assert full - coded == 6 * 10**9 - 31_250_000  # codes are bytes, and blocks of 256 have scales
    # as they are configured, not as they are by default
    wide = LearnConfig(groups_per_batch=64, tokens_per_pass=1 << 20)
    assert estimate_memory("trainer", shape, work, learning=wide) > estimate_memory(
        "trainer", shape, work, learning=replace(wide, groups_per_batch=8)
    )
    narrow = replace(wide, tokens_per_pass=1)  # one rollout alone
    assert estimate_memory("trainer", shape, work, learning=narrow) < estimate_memory(
        "trainer", shape, work, learning=LearnConfig(groups_per_batch=1)
    )
    twice = replace(wide, recompute=True)
    assert estimate_memory("trainer", shape, work, learning=twice) < estimate_memory(
        "trainer", shape, work, learning=wide
    )


def test_a_containers_limit_and_a_machines_memory(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 600\ninactive_file 50\n")
    assert read_container_memory(tmp_path) == (1_000, 350)
    (tmp_path / "memory.max").write_text("max\n")
    assert read_container_memory(tmp_path) == (None, None)
    assert read_container_memory(tmp_path / "none") == (None, None)
    (tmp_path / "meminfo").write_text("MemTotal: 10 kB\nMemAvailable:    7 kB\n")
    assert read_machine_memory(tmp_path / "meminfo") == (10 * 1_024, 7 * 1_024)
    assert read_machine_memory(tmp_path / "memory.max") == (None, None)


def test_a_program_that_starts_names_what_is_wrong_and_goes_on(subnet, tmp_path, caplog):
    gone = open_folder(tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone")
    (tmp_path / "gone").write_text("a file now")
    around = surround(subnet, store=gone, relays=lambda: {"http://a": "does not answer"})
    with caplog.at_level(logging.INFO, "assay"):
        warn_briefly(around, get_now(subnet) + 60_000)
    said = [record.getMessage() for record in caplog.records]
    assert [line.partition(":")[0] for line in said] == ["clock", "relays", "store"]
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    caplog.clear()
    warn_briefly(surround(subnet), get_now(subnet))
    assert not caplog.records


def test_a_program_that_starts_loads_no_model_for_it(subnet, monkeypatch):
    def refuse(*_):
        raise AssertionError("a model is loaded")

    monkeypatch.setattr(CheckpointFolder, "get", refuse)
    monkeypatch.setattr(examination, "check_beacon", refuse)
    assert states(look_briefly(surround(subnet), get_now(subnet))) == dict.fromkeys(
        ("chain", "clock", "amendment", "relays", "store", "disk"), "ok"
    )


def test_the_command_finds_what_is_wrong_where_nothing_is_there(tmp_path, capsys):
    given = {
        "chain": {"network": "nowhere", "netuid": 1},
        "wallet": {"path": tmp_path},
        "store": {"locator": "nonsense:"},
        "miner": {"dir": tmp_path / "miner"},
        "beacon": {"endpoints": ["http://127.0.0.1:9"]},
    }
    with open_session(load_settings(None, given)) as session, print_checks(as_json=True) as show:
        assert not diagnose(session, "miner", show, lambda: None)
    document = json.loads(capsys.readouterr().out)
    assert all(set(row) == {"check", "state", "detail", "remedy"} for row in document)
    failed = {row["check"] for row in document if row["state"] == "fail"}
    assert failed == {"wallet", "chain", "store"}
    assert CheckState.WARN in {row["state"] for row in document}


def test_without_a_subnet_there_is_nothing_to_look_at():
    done = run_command("doctor")
    assert done.returncode == 2
    assert done.stderr.startswith("assay: which subnet?")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"trouble": None, "windows": []}, ("ok", "reports no trouble")),
        ({"trouble": "no node answers"}, ("warn", "no node answers")),
        (
            {
                "trouble": None,
                "windows": [
                    {"window": 3, "missing": None},
                    {"window": 4, "missing": "2 of 6 not judged"},
                ],
            },
            ("warn", "windows 4: 2 of 6 not judged"),
        ),
        ({"windows": [{"groups": 3}]}, ("ok", "no trouble")),  # a miner's rows say nothing of it
        ([], ("warn", "is damaged")),
    ],
)
def test_a_programs_own_status(subnet, status, expected):
    """A validator that falls behind is found without reading its log."""
    folder = subnet.folder / "miner"
    with claim_folder(folder, "miner"):
        found = look_at_program(subnet, folder, status)
    assert found.state.value == expected[0]
    assert expected[1] in found.detail


def look_at_program(subnet, folder, status, age=0):
    if isinstance(status, dict):
        at = get_now(subnet) // 1_000 - age
        status = {"program": "miner", "state": "running", "at": at} | status
    (folder / "status.json").write_text(json.dumps(status))
    (found,) = (check for check in look(subnet) if check.check == "program")
    return found


WELL = {"trouble": None, "windows": []}


@pytest.mark.parametrize(
    ("status", "holds", "age", "expected"),
    [
        (WELL, True, 3, ("ok", "running, and reports no trouble")),
        (WELL, True, 600, ("warn", "busy with one step for 10 min")),
        (WELL, False, 3, ("fail", "NOT RUNNING: it ended unexpectedly 3 s ago")),
        (WELL, None, 3_600, ("fail", "NOT RUNNING, or on another machine: written 60 min ago")),
        (WELL | {"state": "stopped"}, False, 600, ("warn", "stopped 10 min ago")),
        ({"trouble": "no node answers"}, False, 600, ("fail", "no node answers")),
        (WELL, True, -86_400, ("ok", "no trouble")),  # the clock was set back since
    ],
)
def test_a_program_that_was_killed_or_stopped_is_called_so(subnet, status, holds, age, expected):
    """It is known from the lock of its folder and the age of its last status. `holds` is None if
    there is no lock to ask."""
    folder = subnet.folder / "miner"
    with claim_folder(folder, "miner") if holds else nullcontext():
        if holds is False:
            with claim_folder(folder, "miner"):
                pass
        folder.mkdir(exist_ok=True)
        found = look_at_program(subnet, folder, status, age)
    assert found.state.value == expected[0]
    assert expected[1] in found.detail
    assert bool(found.remedy) is (expected[0] != "ok")


@pytest.mark.parametrize(
    ("fences", "state", "words"),
    [
        (Fences(True, 7), CheckState.OK, "Landlock 7"),
        (Fences(True, 0), CheckState.WARN, "this kernel has no Landlock"),
        (Fences(False, 0), CheckState.WARN, "no fence around system calls"),
    ],
)
def test_the_fences_that_a_machine_lacks_are_told(fences, state, words):
    check = judge_fences(fences)
    assert check.state is state
    assert words in check.detail
    assert bool(check.remedy) == (state is not CheckState.OK)


def test_this_machines_fences_are_tried():
    assert probe_fences().landlock == file_fence.get_version()


@pytest.mark.parametrize(
    ("name", "settings", "needs"),
    [
        ("gsm", (), False),
        ("code:" + "a" * 64, (), True),
        ("package:" + "a" * 64, (), True),
        ("mix", ("sat", "verifiers:" + "b" * 64), True),
        ("mix", ("sat", "reasoning_gym:chain_sum"), True),
    ],
)
def test_a_machine_without_a_sandbox_is_told_how_to_get_one(
    name, settings, needs, monkeypatch, tmp_path
):
    monkeypatch.setenv("HOME", str(tmp_path))
    named = tuple(Setting(one, 1) for one in settings)
    check = check_sandbox(EnvironmentChoice(name, named, bytes(32)))
    assert check.state is (CheckState.FAIL if needs else CheckState.WARN)
    other = " --for reasoning_gym" if "reasoning_gym:chain_sum" in settings else ""
    assert check.remedy.endswith("assay sandbox prepare" + other)


def test_a_sandbox_of_another_processor_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where an image of a container is moved: the file is whole, and its engine refuses it."""
    pytest.importorskip("wasmtime", reason="needs the extra `envs`")
    monkeypatch.setenv("HOME", str(tmp_path))
    with store.hold(store.find_folder(), lambda _: None):
        artifact = store.name_artifact(store.find_folder(), INTERPRETER, require_engine())
        store.write_artifact(artifact, b"compiled elsewhere")
    assert is_prepared()
    check = check_sandbox(EnvironmentChoice("code:" + "0" * 64, (), bytes(32)))
    assert (check.state, "another processor" in check.detail) == (CheckState.FAIL, True)
    assert check.remedy.endswith("assay sandbox prepare")


def test_a_model_s_folder_is_checked_without_a_network(tmp_path: Path) -> None:
    """A good one passes. Of a bad one, each part that nobody can use is named in one line."""
    for number, change in enumerate((None, {"eos_token": ""})):
        folder = tmp_path / str(number)
        shutil.copytree(GENESIS, folder)
        if change is not None:
            path = folder / "tokenizer_config.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | change))
        found = {check.check: check for check in check_model_folder(folder)}
        good = change is None
        assert found["config"].state is found["tensors"].state is CheckState.OK
        for name in ("tokenizer", "checkpoint"):
            assert (found[name].state is CheckState.OK) == good, found[name]
        if not good:
            assert "tokenizer_config.json: eos_token" in found["tokenizer"].detail
            assert found["tokenizer"].detail.count("\n") == 0
