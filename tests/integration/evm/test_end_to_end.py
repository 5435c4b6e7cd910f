"""From a validator's settlement to anybody's reading of the ledger."""

import json
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from assay.artifacts.database import Database
from assay.cli.app import app
from assay.network.evm import LedgerPoster, bind_hotkey, make_ledger_entry
from assay.network.evm.contracts import SilentError
from assay.neurons.validator import weights_outbox
from assay.neurons.validator.post_outbox import PostOutbox, PostThread, list_posts, open_posting
from assay.protocol.record import SettlementRecord, decode_settlement_record
from assay.protocol.score_tree import keccak256, make_score_tree
from assay.protocol.ss58 import decode_ss58, encode_ss58
from assay.session.chain_delivery import DeliveryState
from assay.session.evm_opening import create_key, open_key
from assay.settings.loading import ConfigError, load_settings
from assay.settings.sections import Settings
from tests.adversarial.mortal import HOTKEYS, Mortal
from tests.integration.evm.anvil import CHAIN_ID, NETUID, SR25519, STORAGE, Stage
from tests.integration.evm.test_contracts import KEYS_KEY, WEIGHTS_KEY, encode_weights

VALIDATOR = HOTKEYS["validator"]
#: The validator has no real key: the mock knows its signature.
SIGNATURE = bytes(64)


@pytest.fixture(autouse=True)
def short_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_outbox, "DOUBT_BLOCKS", 2)


def read_settlements(folder: Path) -> list[SettlementRecord]:
    paths = (folder / "record" / encode_ss58(VALIDATOR)).glob("settlement-*.record")
    records = [decode_settlement_record(path.read_bytes()) for path in paths]
    return sorted(records, key=lambda record: record.epoch)


def make_outbox(stage: Stage, database: Database) -> PostOutbox:
    return PostOutbox(database, LedgerPoster(stage.ledger, stage.key, VALIDATOR), 2)


def bind(stage: Stage) -> None:
    stage.anvil.mine(60)  # subtensor's EVM numbers blocks as the chain: posts come after epochs

    def sign(message: bytes) -> bytes:
        stage.anvil.allow(message, VALIDATOR, SIGNATURE)
        return SIGNATURE

    bind_hotkey(stage.ledger, stage.key, VALIDATOR, sign, 0)


def test_from_settlements_to_verified_scores(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind(stage)
    mortal = Mortal(tmp_path, monkeypatch, ledger=lambda database: make_outbox(stage, database))
    mortal.play(40)
    mortal.ledger.step()
    stage.anvil.mine(3)
    mortal.ledger.step()
    records = read_settlements(tmp_path)
    assert len(records) == 3
    rows = list_posts(mortal.database, 9)
    assert [row.epoch for row in rows] == [record.epoch for record in reversed(records)]
    assert {row.state for row in rows} == {DeliveryState.CONFIRMED}
    proven = 0
    for record in records:
        entry = make_ledger_entry(record)
        assert entry is not None
        posted = stage.ledger.find_posted(VALIDATOR, record.epoch)
        assert posted is not None
        assert posted.entry == entry
        scores = {row.hotkey: row.score for row in record.scores}
        tree = make_score_tree(list(scores.items()))
        for hotkey, score in scores.items():
            proof = tree.get_proof(hotkey)
            for claimed in (score, score + 1):
                said = stage.ledger.is_score_proven(
                    VALIDATOR, record.epoch, entry, hotkey, claimed, proof
                )
                assert said == (claimed == score)
            proven += score > 0
    assert proven
    # and the weights on chain are those of the newest settlement alone
    head = mortal.real.get_head()
    uid = mortal.real.get_members(head)[VALIDATOR].uid
    key = NETUID.to_bytes(2, "little") + uid.to_bytes(2, "little")
    stage.anvil.put_storage(KEYS_KEY + key, VALIDATOR)
    weights = list(mortal.real.get_weights(head)[VALIDATOR].items())
    stage.anvil.put_storage(WEIGHTS_KEY + key, encode_weights(weights))
    check = stage.deployed.weights_check
    found = [
        stage.ledger.check_weights(check, uid, VALIDATOR, record.epoch, entry)
        for record in records
        if (entry := make_ledger_entry(record)) is not None
    ]
    assert all(one.posted for one in found)
    assert found[-1].equal
    assert [one.equal for one in found] == [
        record.weights_digest == records[-1].weights_digest for record in records
    ]
    mortal.database.close()


def test_killed_at_any_point_every_settlement_is_posted_once(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills of the validator while settlements are published and put."""
    bind(stage)
    quiet = Mortal(tmp_path / "quiet", monkeypatch, ledger=lambda d: make_outbox(stage, d))
    quiet.play(30)
    expected = [(row.epoch, row.entry) for row in list_posts(quiet.database, 9)]
    points = [i for i, name in enumerate(quiet.fate.points) if name.endswith("put")]
    assert expected
    assert points
    quiet.database.close()
    for point in {p + late for p in points[-4:] for late in (0, 1, 2, 3)}:
        folder = tmp_path / str(point)
        mortal = Mortal(folder, monkeypatch, [point], ledger=lambda d: make_outbox(stage, d))
        mortal.play(30)
        assert mortal.fate.killed == 1
        found = [(row.epoch, row.entry) for row in list_posts(mortal.database, 9)]
        assert found == expected
        mortal.database.close()


class HangingPoster(LedgerPoster):
    """A node that takes every request and answers none until it is let go."""

    release = threading.Event()

    def get_head(self) -> int:
        self.release.wait(60)
        raise SilentError("no answer")


def test_weights_wait_for_no_evm(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same blocks with a ledger that hangs all the time, and without one."""
    threads: list[PostThread] = []

    def make_hanging(database: Database) -> PostThread:
        poster = HangingPoster(stage.ledger, stage.key, VALIDATOR)
        threads.append(PostThread(PostOutbox(database, poster, 2), look_s=0.01))
        threads[-1].start()
        return threads[-1]

    rows = []
    for name, make in (("without", None), ("with", make_hanging)):
        mortal = Mortal(tmp_path / name, monkeypatch, ledger=make)
        mortal.play(40)
        rows.append(weights_outbox.list_rows(mortal.database, 9))
        if make is not None:
            assert len(list_posts(mortal.database, 9)) == 3  # they wait, on disk
            HangingPoster.release.set()
            threads[0].close()
        mortal.database.close()
    without, with_ledger = rows
    assert without == with_ledger
    assert {row.state for row in without} == {weights_outbox.DeliveryState.CONFIRMED}


# --- from settings


def make_settings(stage: Stage, folder: Path, **ledger: Any) -> Settings:
    password = folder / "password"
    password.write_text("correct horse\n")
    password.chmod(0o600)
    own = {
        "endpoint": stage.anvil.endpoint,
        "chain_id": CHAIN_ID,
        "contract": stage.ledger.address,
        "key": folder / "key.json",
        "password_file": password,
        "confirmations": 0,
    }
    return load_settings(None, {"chain": {"netuid": NETUID}, "ledger": own | ledger})


def test_a_validator_posts_as_its_settings_say(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(stage, tmp_path)
    file, address, created = create_key(settings, iterations=2)
    assert created
    assert file.stat().st_mode & 0o077 == 0
    assert create_key(settings) == (file, address, False)
    assert "correct horse" not in file.read_text() + repr(settings)
    stage.anvil.rpc("anvil_setBalance", address, hex(10**18))
    stage.key, rich = open_key(settings), stage.key
    bind(stage)
    stage.key = rich
    mortal = Mortal(tmp_path / "validator", monkeypatch, ledger=lambda d: make_outbox(stage, d))
    mortal.play(20)
    (record,) = read_settlements(tmp_path / "validator")
    mortal.database.close()
    with (
        closing(Database(tmp_path / "validator.sqlite")) as database,
        open_posting(settings, database, VALIDATOR) as thread,
    ):
        assert thread is not None
        thread.put_record(record)
        deadline = time.monotonic() + 60
        while list_posts(database, 1)[0].state is not DeliveryState.CONFIRMED:
            assert time.monotonic() < deadline, thread.trouble
            time.sleep(0.05)
    posted = stage.ledger.find_posted(VALIDATOR, record.epoch)
    assert posted is not None
    assert posted.entry == make_ledger_entry(record)


def test_an_empty_password_file_encrypts_no_key(stage: Stage, tmp_path: Path) -> None:
    settings = make_settings(stage, tmp_path)
    (tmp_path / "password").write_text("\n")
    with pytest.raises(ConfigError, match="password is empty"):
        create_key(settings, iterations=2)
    assert not (tmp_path / "key.json").exists()


def test_a_keystore_that_names_anothers_address(stage: Stage, tmp_path: Path) -> None:
    settings = make_settings(stage, tmp_path)
    file, address, _ = create_key(settings, iterations=2)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"address": "ab" * 20}))
    with pytest.raises(ConfigError, match=address):
        open_key(settings)


def test_half_of_a_ledger_is_refused_and_none_is_none(stage: Stage, tmp_path: Path) -> None:
    with closing(Database()) as database:
        nothing = make_settings(stage, tmp_path, endpoint=None, contract=None)
        with open_posting(nothing, database, VALIDATOR) as thread:
            assert thread is None
        for half in ({"endpoint": None}, {"contract": None}):
            settings = make_settings(stage, tmp_path, **half)
            with (
                pytest.raises(ConfigError, match="which"),
                open_posting(settings, database, VALIDATOR),
            ):
                pass
        unknown = make_settings(stage, tmp_path, chain_id=None)
        unknown.chain.network = "ws://127.0.0.1:9944"
        with (
            pytest.raises(ConfigError, match="--chain-id"),
            open_posting(unknown, database, VALIDATOR),
        ):
            pass


# --- the commands


class Operator:
    """Somebody at a terminal, with a wallet, a key and no way to type a password."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        password = folder / "password"
        password.write_text("correct horse\n")
        password.chmod(0o600)
        self.key = folder / "key.json"
        self.variables = {
            "ASSAY_LEDGER__ENDPOINT": stage.anvil.endpoint,
            "ASSAY_LEDGER__CHAIN_ID": CHAIN_ID,
            "ASSAY_LEDGER__CONFIRMATIONS": 0,
            "ASSAY_LEDGER__KEY": self.key,
            "ASSAY_LEDGER__PASSWORD_FILE": password,
            "ASSAY_CHAIN__NETUID": NETUID,
            "ASSAY_WALLET__NAME": "//Validator",
            "ASSAY_WALLET__HOTKEY": "//Validator",
        }

    def set(self, **more: object) -> None:
        self.variables |= {f"ASSAY_LEDGER__{name.upper()}": v for name, v in more.items()}

    def run(self, *arguments: object) -> Result:
        """In this process: what a process of its own adds, other commands' tests show."""
        variables = {name: str(value) for name, value in self.variables.items()}
        return CliRunner().invoke(app, ["ledger", *map(str, arguments)], env=variables)

    def ask(self, *arguments: object, code: int = 0) -> Any:
        done = self.run(*arguments, "--json")
        assert done.exit_code == code, done.stderr
        return json.loads(done.stdout)


def test_an_operators_way(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key, deployment, binding, posts, and an auditor's questions."""
    operator = Operator(stage, tmp_path)
    key = operator.ask("key")
    assert key["created"]
    assert operator.key.stat().st_mode & 0o077 == 0
    assert operator.ask("key") == key | {"created": False}
    poor = operator.run("deploy", "--yes")
    assert poor.exit_code == 2
    assert "send TAO to its account" in poor.stderr
    stage.anvil.rpc("anvil_setBalance", key["address"], hex(10**18))
    unasked = operator.run("deploy")
    assert unasked.exit_code == 2
    assert "--yes" in unasked.stderr
    deployed = operator.ask("deploy", "--yes")
    operator.set(contract=deployed["contract"], weights_check=deployed["weights_check"])

    # whatever is signed counts: the mock cannot know what another process signs
    stage.anvil.etch(SR25519, "Garbage")
    yes = b"".join(n.to_bytes(32, "big") for n in (32, 32, 1))
    stage.anvil.send(SR25519, keccak256(b"set(bytes)")[:4] + yes)
    bound = operator.ask("bind", "--yes")
    assert (bound["bound_before"], bound["gas"] <= 120_000) == (False, True)
    assert operator.ask("bind", "--yes")["bound_before"]
    assert decode_ss58(bound["hotkey"]) == stage.hotkey.public

    nothing = operator.ask("show", bound["hotkey"], 5, code=1)
    assert (nothing["digest"], nothing["poster"].lower()) == (None, key["address"].lower())

    # another validator's record, on the stage's own ledger
    operator.set(contract=stage.deployed.ledger, weights_check=stage.deployed.weights_check)
    stage.anvil.etch(SR25519, "Sr25519Mock")
    bind(stage)
    mortal = Mortal(tmp_path / "validator", monkeypatch, ledger=lambda d: make_outbox(stage, d))
    mortal.play(30)
    mortal.ledger.step()
    stage.anvil.mine(3)
    mortal.ledger.step()
    mortal.database.close()
    record = read_settlements(tmp_path / "validator")[-1]
    address = encode_ss58(VALIDATOR)
    shown = operator.ask("show", address, record.epoch)
    assert shown["entry"]["record_digest"] == record.digest.hex()
    file = next((tmp_path / "validator").rglob(f"settlement-{record.epoch}.record"))
    miner = max(record.scores, key=lambda row: row.score)
    asked = ("verify-score", file, "--miner", encode_ss58(miner.hotkey))
    proven = operator.ask(*asked)
    assert (proven["proven"], proven["score"]) == (True, miner.score)
    assert not operator.ask(*asked, "--score", miner.score + 1, code=1)["proven"]
    # the call that the document gives, by hand
    said = stage.anvil.rpc("eth_call", {"to": proven["contract"], "data": proven["call"]}, "latest")
    assert int(said, 16) == 1
    posts = operator.ask("status", "--dir", tmp_path / "validator")["posts"]
    assert {post["state"] for post in posts} == {"confirmed"}
    text = operator.run("status", "--dir", tmp_path / "validator").stdout
    assert posts[0]["transaction"] in text


MINER = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


@pytest.mark.parametrize(
    ("arguments", "changes", "words"),
    [
        (("show", "5x", 5), {}, "is not an SS58 address"),
        (("bind", "--yes"), {"ASSAY_LEDGER__CONTRACT": ""}, "is not an address"),
        (("bind", "--yes"), {"ASSAY_LEDGER__CONTRACT": "0x" + "ab" * 20}, "no contract"),
        (("key",), {"ASSAY_LEDGER__ENDPOINT": "ftp://there"}, "is not an http"),
        (("key",), {"ASSAY_LEDGER__CHAIN_ID": 964}, "serves chain 42"),
        (("verify-score", "/dev/null", "--miner", "5x"), {}, "is not an SS58 address"),
        (("verify-score", "/dev/null", "--miner", MINER), {}, "not a settlement's record"),
        (("deploy", "--yes"), {"ASSAY_LEDGER__PASSWORD_FILE": "/dev/null"}, "others may read"),
    ],
)
def test_faults_are_named_in_one_line(
    stage: Stage,
    tmp_path: Path,
    arguments: tuple[object, ...],
    changes: dict[str, object],
    words: str,
) -> None:
    operator = Operator(stage, tmp_path)
    keystore = {"address": "ab" * 20}
    operator.key.write_text(json.dumps(keystore))
    operator.set(contract=stage.deployed.ledger)
    operator.variables |= changes
    done = operator.run(*arguments)
    assert done.exit_code == 2, done.stdout
    *loading, error = done.stderr.splitlines()
    assert words in error
    assert loading in ([], ["assay: loading web3 …"])
    assert "correct horse" not in done.stderr


def test_storage_mock_is_reached(stage: Stage) -> None:
    """The stage itself: stored values are read back at the precompile's address."""
    stage.anvil.put_storage(b"key", b"value")
    said = stage.anvil.rpc("eth_call", {"to": STORAGE, "data": "0x" + b"key".hex()}, "latest")
    assert bytes.fromhex(said[2:]) == b"value"


def test_a_validator_without_a_ledger_has_no_posts(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "validator.sqlite")) as database:
        assert list_posts(database, 5) == []
