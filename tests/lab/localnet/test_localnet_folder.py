"""`assay localnet`: the files in its folder, its second start there, its refusals."""

import json
import os
import stat
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import pytest

from assay.cli import settings_source
from assay.cli.localnet_view import show_localnet
from assay.lab.localnet import services
from assay.lab.localnet.description import (
    MINER_WALLET,
    VALIDATOR_WALLET,
    BeaconService,
    Localnet,
    Party,
    find_localnet,
    read_settings,
    write_localnet,
)
from assay.lab.localnet.services import (
    Subnet,
    found,
    get_begin_ms,
    read_founding,
    read_subnet,
    run_services,
)
from assay.network.beacon import read_chain_info
from assay.network.chain.errors import ChainError
from assay.network.toml_settings import TomlError
from assay.neurons.program.loop import claim_folder
from assay.neurons.program.run_status import read_run_status
from assay.settings.loading import ConfigError, load_settings
from assay.settings.sections import LocalnetSettings, Settings
from assay.subnet.recipes import RECIPES
from tests.commands import run_command
from tests.missing_packages import hide_packages

NASTY = 'a "quoted" \\ folder\twith ü and 😀'


@pytest.fixture
def localnet() -> Localnet:
    return Localnet(
        endpoint="ws://127.0.0.1:9944",
        netuid=7,
        genesis_hash="ab" * 32,
        block_time=0.5,
        parameters="cd" * 32,
        beacon=BeaconService("http://127.0.0.1:9945", {"period": 1}),
        store=f"file:///srv/{NASTY}",
        owner=Party("//Alice", "5Owner"),
        trainer=Party("//Trainer", "5Trainer"),
        wallets=f"/srv/{NASTY}/wallets",
        settings="/srv/assay.toml",
        pids={"localnet": 1},
    )


def load(folder: Path, role: str | None = None, **sections: dict[str, object]) -> Settings:
    return load_settings(None, sections, read_settings(folder, role))


# --- settings


def test_every_setting_that_a_command_needs_lies_in_the_folder(
    tmp_path: Path, localnet: Localnet
) -> None:
    write_localnet(tmp_path, localnet)
    assert find_localnet(tmp_path) == localnet
    settings = load(tmp_path)
    chain = settings.chain
    assert (chain.network, chain.netuid) == (localnet.endpoint, 7)
    assert chain.genesis_hash == localnet.genesis_hash
    assert settings.store.locator == localnet.store
    assert settings.store.readable == (localnet.store,)
    assert settings.beacon.endpoints == (localnet.beacon.url,)
    assert settings.wallet.path == Path(localnet.wallets)
    assert settings.publish.slot_ms == 500
    assert settings.miner.dir == tmp_path / "miner"
    assert settings.compute.threads == 1
    # the same file serves as --config
    assert load_settings(tmp_path / "assay.toml", {}).model_dump() == settings.model_dump()


def test_whoever_names_something_wins_over_the_localnet(
    tmp_path: Path, localnet: Localnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_localnet(tmp_path, localnet)
    own = tmp_path / "own.toml"
    own.write_text('[chain]\nnetuid = 8\n[miner]\ndir = "file"\n[wallet]\nname = "file"\n')
    monkeypatch.setenv("ASSAY_MINER__DIR", "variable")
    monkeypatch.setenv("ASSAY_WALLET__NAME", "variable")
    flags = {"wallet": {"name": "flag", "hotkey": None}}
    settings = load_settings(own, flags, read_settings(tmp_path))
    assert settings.wallet.name == "flag"
    assert settings.miner.dir == Path("variable")
    assert settings.chain.netuid == 8
    # what nobody names is the localnet's, within the same sections too
    assert settings.chain.network == localnet.endpoint
    assert settings.wallet.path == Path(localnet.wallets)
    assert settings.wallet.hotkey == "default"


def test_owner_and_trainer_have_their_keys_unless_another_is_named(
    tmp_path: Path, localnet: Localnet
) -> None:
    write_localnet(tmp_path, localnet)
    assert load(tmp_path).wallet.name == "default"
    assert load(tmp_path, "trainer").wallet.name == "//Trainer"
    assert load(tmp_path, "owner").wallet.name == "//Alice"
    assert load(tmp_path, "trainer", wallet={"name": "mine"}).wallet.name == "mine"


def test_a_folder_without_a_localnet_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no localnet has been started there"):
        read_settings(tmp_path / "nowhere")
    assert find_localnet(tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", '{"endpoint": 1}'])
def test_a_damaged_description_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "localnet.json").write_text(text)
    with pytest.raises(ConfigError, match="describes no localnet"):
        find_localnet(tmp_path)


def test_a_localnet_that_does_not_run_is_said_to_be_so(
    tmp_path: Path, localnet: Localnet, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for pids, running in (
        ({}, False),
        ({"localnet": ended.pid}, False),
        ({"me": os.getpid()}, True),
    ):
        write_localnet(tmp_path, replace(localnet, pids=pids))
        found = settings_source.SettingsSource(localnet=tmp_path).load()
        assert found.chain.netuid == 7  # its meaning is known all the same
        said = capsys.readouterr().err
        assert (f"assay localnet --dir {tmp_path}" in said) is not running


def test_a_command_waits_for_a_localnet_that_is_starting(
    tmp_path: Path,
    localnet: Localnet,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A reader starts every terminal at once: the network is not described for half a minute."""
    source = settings_source.SettingsSource(localnet=tmp_path)
    with claim_folder(tmp_path, "localnet", alone=True):
        with pytest.raises(ConfigError, match="no localnet has been started there"):
            replace(source, waits=False).load()
        described = replace(localnet, pids={"localnet": os.getpid()})
        monkeypatch.setattr(
            settings_source.time, "sleep", lambda _: write_localnet(tmp_path, described)
        )
        assert source.load().chain.netuid == 7
    said = capsys.readouterr().err
    assert said == f"assay: waiting for the localnet in {tmp_path}, which is starting …\n"


def test_a_command_that_comes_first_waits_for_a_localnet(
    tmp_path: Path,
    localnet: Localnet,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As in `assay localnet & assay mine --localnet …`: the folder does not even exist."""
    folder = tmp_path / "net"
    with ExitStack() as stack:
        steps = [
            lambda: stack.enter_context(claim_folder(folder, "localnet", alone=True)),
            lambda: write_localnet(folder, replace(localnet, pids={"localnet": os.getpid()})),
        ]
        monkeypatch.setattr(settings_source.time, "sleep", lambda _: steps.pop(0)())
        assert settings_source.SettingsSource(localnet=folder).load().chain.netuid == 7
    assert capsys.readouterr().err.splitlines() == [
        f"assay: waiting for a localnet to start in {folder} …",
        f"assay: waiting for the localnet in {folder}, which is starting …",
    ]


def test_a_localnet_that_never_starts_holds_a_command_up_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(settings_source.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(settings_source.time, "sleep", lambda s: now.__setitem__(0, now[0] + s))
    with pytest.raises(ConfigError, match="no localnet has been started there"):
        settings_source.SettingsSource(localnet=tmp_path / "net").load()
    assert 10 < now[0] < 20


def test_a_localnet_that_ends_before_it_is_described_holds_no_command_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        stack.enter_context(claim_folder(tmp_path, "localnet", alone=True))
        monkeypatch.setattr(settings_source.time, "sleep", lambda _: stack.close())
        with pytest.raises(ConfigError, match="no localnet has been started there"):
            settings_source.SettingsSource(localnet=tmp_path).load()


def test_a_localnets_folder_is_not_taken_for_a_programs(tmp_path: Path) -> None:
    for role in ("miner", "validator"):
        (tmp_path / role).mkdir()
        (tmp_path / role / "status.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"name one with --dir .*/miner or .*/validator"):
        read_run_status(tmp_path, Path("assay-demo"))


@pytest.mark.parametrize("name", ["thesis.txt", "chain/keys", ".hidden"])
def test_somebody_elses_folder_is_refused_before_anything_is_written(
    short_folder: Path, name: str
) -> None:
    (short_folder / name).parent.mkdir(parents=True, exist_ok=True)
    (short_folder / name).write_text("mine")
    done = run_command("localnet", "--dir", short_folder)
    assert done.returncode == 2
    expected = f"assay: {short_folder} is not empty, and not a localnet's: name another with --dir"
    assert done.stderr.splitlines() == [expected]
    with pytest.raises(ConfigError, match="is not empty"), run_services(short_folder, port=0):
        pass
    assert [path for path in short_folder.rglob("*") if path.is_file()] == [short_folder / name]


def test_damaged_settings_are_named(tmp_path: Path) -> None:
    (tmp_path / "assay.toml").write_bytes(b"\xff = [")
    with pytest.raises(TomlError, match="is not TOML"):
        read_settings(tmp_path)


# --- kept files


def test_the_beacons_key_is_its_owners_alone_and_outlives_the_process(tmp_path: Path) -> None:
    first = services.open_beacon(tmp_path / "beacon", 1.0)
    again = services.open_beacon(tmp_path / "beacon", 1.0)
    other = services.open_beacon(tmp_path / "other", 1.0)
    assert first.chain == again.chain
    assert first.get(1) == again.get(1) is not None
    assert other.chain.chain_hash != first.chain.chain_hash
    assert first.chain.genesis_ms % 1_000 == 0  # drand knows whole seconds
    mode = stat.S_IMODE((tmp_path / "beacon" / "secret.json").stat().st_mode)
    assert mode == 0o600


@pytest.mark.parametrize("text", ["", "{}", '{"seed": "zz", "genesis_ms": 0, "period_ms": 1}'])
def test_a_damaged_key_is_named_and_not_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / "secret.json").write_text(text)
    with pytest.raises(ConfigError, match="damaged"):
        services.open_beacon(tmp_path, 1.0)
    assert (tmp_path / "secret.json").read_text() == text


def test_beacons_are_as_old_as_the_chain() -> None:
    begin_ms = get_begin_ms(1_700_000_000_999, 1.0)
    assert begin_ms == 1_700_000_000_000 - 100_000
    assert get_begin_ms(1_700_000_000_000, 12.0) == 1_700_000_000_000 - 1_200_000


def test_a_path_too_long_for_a_commitment_is_refused_before_anything_is_made(
    tmp_path: Path,
) -> None:
    folder = tmp_path / ("a" * 80)
    with pytest.raises(ConfigError, match="shorter path"), run_services(folder):
        pass
    assert not folder.exists()


def test_ports_stay_unless_others_are_asked_for(localnet: Localnet) -> None:
    choose = services.choose_ports
    assert choose(None, None) == (9944, 9945)
    assert choose(None, 0) == (0, 0)
    assert choose(None, 7000) == (7000, 7001)
    moved = replace(localnet, endpoint="ws://127.0.0.1:8000")
    assert choose(moved, None) == (8000, 9945)
    assert choose(moved, 7000) == (7000, 7001)


# --- a whole one


@pytest.fixture
def founded(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Founding happens here, not in a process of its own: the model is in memory anyway."""
    monkeypatch.setattr(services, "_found_apart", found)
    return short_folder


def test_a_localnet_is_founded_once_and_found_again(founded: Path) -> None:
    with run_services(founded, 0.5, port=0) as first:
        assert find_localnet(founded) == first.localnet
        assert first.localnet.pids
        kept = read_founding(founded / "chain")
        assert kept is not None
        assert first.localnet.genesis_hash == kept.genesis_hash == first.devnet.genesis_hash.hex()
        parameters = json.loads(
            (founded / "store" / "parameters" / f"{kept.parameters}.json").read_text()
        )
        assert parameters["timing"]["slot_ms"] == 500
        chain = read_chain_info((founded / "beacon" / "info.json").read_bytes())
        assert parameters["beacon"]["chain_hash"] == chain.chain_hash.hex()
        head = first.devnet.get_head()
        # nobody else runs one there, and nobody changes its pace
        with pytest.raises(ConfigError, match="another localnet runs"), run_services(founded):
            pass
    assert find_localnet(founded) == replace(first.localnet, pids={})
    with (
        pytest.raises(ChainError, match="a network with a block every"),
        run_services(founded, 2.0),
    ):
        pass
    with run_services(founded) as second:
        assert asdict(second.localnet) == asdict(first.localnet)  # the addresses, too
        assert second.devnet.get_head() >= head


def test_a_localnet_by_a_recipe(founded: Path, tmp_path: Path) -> None:
    text = (RECIPES / "genesis-arithmetic.toml").read_text()
    recipe = tmp_path / "own.toml"
    said = tmp_path / "said.jsonl"
    text = text.replace("[trainer]", f'[trainer]\nsft_weight = 0.5\nsft = "{said}"')
    recipe.write_text(
        text.replace("problems = 256", "problems = 4").replace("max_tokens = 48", "max_tokens = 40")
    )
    subnet = Subnet(str(recipe))
    with run_services(founded, port=0, subnet=subnet) as first:
        file = founded / "store" / "parameters" / f"{first.localnet.parameters}.json"
        parameters = json.loads(file.read_text())
        assert parameters["work"]["max_tokens"] == 40
        genesis = parameters["identity"]["genesis_checkpoint"]
        assert (founded / "store" / "checkpoints" / genesis / "manifest.json").exists()
        trainer = load(founded, "trainer").trainer
        assert (trainer.learning_rate, trainer.sft) == (5e-5, said)
    with run_services(founded) as second:
        assert second.localnet.recipe == str(recipe)
    other = Subnet("genesis-guess")
    with (
        pytest.raises(ConfigError, match="rules: name another"),
        run_services(founded, subnet=other),
    ):
        pass


def test_a_localnet_with_members_needs_no_further_wallets(
    founded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with run_services(founded, port=0, subnet=Subnet(members=True)) as first:
        shown = [
            run_command("wallet", "show", "--localnet", str(founded), "--wallet", name, "--json")
            for name in (MINER_WALLET, VALIDATOR_WALLET)
        ]
        show_localnet(founded, first.localnet, quiet=False, as_json=False)
    miner, validator = (json.loads(done.stdout) for done in shown)
    assert {miner["uid"], validator["uid"]} == {2, 3}
    assert miner["balance_rao"] > validator["balance_rao"]  # which is staked
    told = capsys.readouterr().out
    assert f"assay mine --localnet {founded} --wallet //Miner" in told
    assert f"assay validate --localnet {founded} --wallet //Validator" in told
    assert "wallet create" not in told
    with run_services(founded) as second:
        assert second.localnet.members


def test_a_recipes_own_files_are_a_localnets(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"question": "1 + 1?", "answer": "#### 2"}\n')
    digest = sha256(file.read_bytes()).hexdigest()
    recipe = tmp_path / "own.toml"
    text = (RECIPES / "genesis-arithmetic.toml").read_text()
    named = f'environment = "gsm:{digest}"\nfiles = ["rows.jsonl"]'
    recipe.write_text(text.replace('environment = "arithmetic"', named).replace("[5, 6]", "[1]"))
    asked = LocalnetSettings(recipe=str(recipe))
    subnet = read_subnet(asked, [file])
    assert subnet.files == (str(file),)
    assert read_subnet(asked, []) == subnet == Subnet(str(recipe), None, (str(file),))


def test_a_localnet_says_before_it_begins_what_its_trainer_would_lack(
    founded: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hide_packages(monkeypatch, "peft")
    with (
        pytest.raises(ConfigError, match="the recipe needs its model"),
        run_services(founded, port=0, subnet=Subnet("smollm2-135m-gsm")),
    ):
        pass
    assert caplog.messages[0].startswith("the trainer will not start here: lora_rank needs peft: ")


def test_a_localnet_needs_the_recipes_model(founded: Path) -> None:
    with (
        pytest.raises(ConfigError, match="the recipe needs its model"),
        run_services(founded, port=0, subnet=Subnet("smollm2-135m-gsm")),
    ):
        pass


def test_killed_while_it_is_founded_it_is_founded_anew(
    founded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    def die(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(services, "publish_rules", die)  # the subnet is bought by then
        with pytest.raises(KilledError), run_services(founded, port=0):
            pass
    assert read_founding(founded / "chain") is None
    with run_services(founded, port=0) as services_:
        assert services_.localnet.netuid == 1


FOUNDING = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from assay.lab.localnet.services import prepare_founder
with ProcessPoolExecutor(1, get_context("spawn"), initializer=prepare_founder) as apart:
    print(apart.submit(os.getpid).result(), flush=True)
    apart.submit(time.sleep, 600).result()
"""


def test_a_founder_does_not_outlive_a_localnet_that_is_killed() -> None:
    """Otherwise it would keep writing into a folder that the next one uses."""
    killed = subprocess.Popen([sys.executable, "-c", FOUNDING], stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    founder = Path("/proc") / killed.stdout.readline().strip()
    assert founder.exists()
    killed.kill()
    killed.wait()
    deadline = time.monotonic() + 60
    while founder.exists() and "State:\tZ" not in (founder / "status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_port_that_is_taken_is_named(founded: Path) -> None:
    with run_services(founded, port=0) as first:
        port = int(first.localnet.endpoint.rpartition(":")[2])
        other = founded.with_name(founded.name + "b")
        with (
            pytest.raises(ConfigError, match=r"\d: Address already in use: .* --port"),
            run_services(other, port=port),
        ):
            pass
        assert read_founding(other / "chain") is None  # it was looked at first


def test_a_chain_that_stops_by_itself_ends_the_localnet(founded: Path) -> None:
    with run_services(founded, port=0) as running:
        running.require_running()
        running.devnet.stop()
        with pytest.raises(ChainError, match="has stopped"):
            running.require_running()


def test_a_folder_that_moved_is_said_to_be_useless_where_it_is(founded: Path) -> None:
    """The paths of rules and checkpoints are on chain, with the folder's old path."""
    with run_services(founded, port=0):
        pass
    moved = founded.with_name(founded.name + "m")
    founded.rename(moved)
    with (
        pytest.raises(ConfigError, match=r"was moved: .*/store for good; move it back"),
        run_services(moved, port=0),
    ):
        pass
    moved.rename(founded)
    with run_services(founded, port=0) as again:
        again.require_running()


@pytest.mark.parametrize("whither", ["gone", "replaced"])
def test_a_folder_lost_under_a_running_localnet_ends_it(founded: Path, whither: str) -> None:
    moved = founded.with_name(founded.name + "m")
    with run_services(founded, port=0) as running:
        running.require_running()
        founded.rename(moved)
        if whither == "replaced":  # by a program that makes its own folder anew
            (founded / "miner").mkdir(parents=True)
        with pytest.raises(ConfigError, match="moved or deleted under the running"):
            running.require_running()
    assert not (founded / "localnet.json").exists()
    assert (moved / "localnet.json").exists()
