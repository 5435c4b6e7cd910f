"""A miner and a validator on a bucket: their files and messages never contain its key.

The key is the service's own, which checks every signature; the tests search for it in everything
that is written, logged, published, sent to the chain or said in an error.
"""

import logging
import traceback
from contextlib import closing
from dataclasses import replace

import pytest

from assay.artifacts.database import Database
from assay.artifacts.submissions import read_ahead
from assay.artifacts.submissions.mirror_writer import open_read_ahead
from assay.network.store.base import StoreError
from assay.neurons.miner.miner import MinerConfig
from assay.neurons.preflight.check_results import CheckState
from assay.neurons.preflight.examination import PreflightInputs, look_briefly
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.validator.make_records import Author
from assay.neurons.validator.record_book import RecordBook
from assay.neurons.validator.run_archive import Archive
from assay.neurons.validator.validator import Validator
from assay.protocol.amendment import ParameterHistory
from assay.protocol.reason import Reason
from assay.protocol.ss58 import encode_ss58
from assay.session.resources import open_own_store, open_stores
from assay.settings.loading import ConfigError, load_settings
from tests.neurons.miner_bench import ALICE, HOTKEYS
from tests.s3 import BUCKET, PREFIX, REGION, S3

VALIDATOR = HOTKEYS["validator"]
KEY_ID, SECRET, TOKEN = "AKIAHUNTER2HUNTER2", "hunter2/Very+Secret/hunter2", "hunter2session"


@pytest.fixture(scope="module")
def s3():
    with S3() as service:
        yield service


@pytest.fixture
def settings(s3, monkeypatch):
    """Settings as an operator has them: public ones in a file or flags, the key in variables."""
    monkeypatch.setenv("ASSAY_STORE__ACCESS_KEY_ID", s3.key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    upload = f"s3://{BUCKET}/{PREFIX}"
    given = {"locator": s3.public, "upload": upload, "endpoint": s3.endpoint, "region": REGION}
    return load_settings(None, {"store": given})


def find_in_files(folder, secrets):
    """Files below a folder that hold one of them."""
    found = []
    for path in folder.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        found += [(path.name, s) for s in secrets if s.encode() in data or s in str(path)]
    return found


def tell(caplog):
    """All log messages, at any level, except those of the service, which also runs in this
    process."""
    service = ("moto", "werkzeug", "boto", "urllib3")
    return "\n".join(
        f"{record.getMessage()} {record.exc_info}"
        for record in caplog.records
        if not record.name.startswith(service)
    )


@pytest.mark.slow
def test_no_secret_leaves_the_program(
    s3, settings, make_subnet, quick_miner, models, tmp_path, caplog, capfd, monkeypatch
):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(read_ahead, "WAIT_S", 60.0)  # blocks come as fast as steps here
    subnet = make_subnet(MinerConfig(4, 4, last_window=0))
    store, locator = open_own_store(settings)
    miner = subnet.start(quick_miner, store=store, locator=locator)
    archive, published = Archive(tmp_path), []
    author = Author("assay test", ParameterHistory(subnet.parameters), VALIDATOR)
    with closing(Database(tmp_path / "validator.sqlite")) as database:
        sources = JudgeSources(subnet.chain, subnet.beacons, models, open_stores(settings.store))
        book = RecordBook(
            database,
            subnet.chain,
            author,
            subnet.parameters.timing.tempo,
            store,
            locator,
            published.append,
        )
        with open_read_ahead(sources, store, 4) as ahead:
            validator = Validator(
                VALIDATOR,
                ParameterHistory(subnet.parameters),
                sources,
                database,
                archive.write_context,
                archive.write_window,
                archive.write_settlement,
                book=book,
                ahead=ahead,
                last_window=0,
            )
            while not published:
                assert subnet.chain.get_head() < 120
                subnet.run_to(miner, subnet.chain.get_head() + 1)
                while validator.step():
                    pass
    verdict = validator.judged_windows[0].verdicts[ALICE]
    assert verdict.reason is Reason.ACCEPTED, verdict.detail
    names = store.list()
    assert f"{encode_ss58(ALICE)}/window-0.rollouts" in names
    assert any(name.startswith("mirrors/0/") for name in names)
    assert any(name.endswith(".record") for name in names)
    secrets = (s3.key_id, s3.secret)
    assert find_in_files(tmp_path, secrets) == []
    assert sum(path.is_file() for path in tmp_path.rglob("*")) > 5
    state = repr([subnet.chain.get_commitments(b) for b in range(subnet.chain.get_head())])
    state += (
        repr(vars(subnet.chain)) + repr(subnet.lines) + tell(caplog) + "".join(capfd.readouterr())
    )
    state += repr(settings) + str(settings) + settings.model_dump_json() + repr(vars(settings))
    state += repr((store, miner, vars(miner), validator.trouble, sources))
    for secret in secrets:
        assert secret not in state
        for name in names:
            assert secret.encode() not in (store.get(name, 1 << 24) or b"")


def test_no_secret_is_in_what_goes_wrong(s3, settings, monkeypatch, tmp_path, caplog):
    """A key that the service refuses: each error, its causes, and what doctor says."""
    monkeypatch.setenv("ASSAY_STORE__ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("ASSAY_STORE__SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    settings = load_settings(
        None,
        {"store": settings.store.model_dump(include={"locator", "upload", "endpoint", "region"})},
    )
    store, locator = open_own_store(settings)
    told = [repr(settings), repr(store), settings.model_dump_json()]
    for use in (
        lambda: store.put("x", b"x"),
        lambda: store.put_parts("x", iter([b"x"])),
        lambda: store.get("x", 1),
        lambda: store.open("x").size(),
        lambda: store.list(),
        lambda: store.delete("x"),
    ):
        with pytest.raises(StoreError) as caught:
            use()
        told += [*traceback.format_exception(caught.value), repr(caught.value)]
    shown = open_stores(settings.store).get(locator)
    around = PreflightInputs("miner", tmp_path, 1, hotkey=ALICE, store=store, shown=shown)
    checks = {check.check: check for check in look_briefly(around, 0)}
    assert checks["store"].state is CheckState.FAIL
    told += [repr(checks), tell(caplog)]
    for secret in (KEY_ID, SECRET, TOKEN):
        assert secret not in "\n".join(told)


def read(settings, **changes):
    return load_settings(
        None, {"store": {**settings.store.model_dump(exclude_none=True), **changes}}
    )


def test_keys_from_a_file(s3, settings, monkeypatch, tmp_path):
    file = tmp_path / "credentials"
    file.write_text(
        f"[default]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n"
        f"[miner]\naws_access_key_id={s3.key_id}\naws_secret_access_key={s3.secret}\n"
    )
    file.chmod(0o600)
    store, _ = open_own_store(read(settings, credentials=file, profile="miner"))
    store.put("x", b"x")
    with pytest.raises(StoreError, match="credentials may"):
        open_own_store(read(settings, credentials=file))[0].put("x", b"x")
    with pytest.raises(ConfigError, match=r"no section \[other\]"):
        open_own_store(read(settings, credentials=file, profile="other"))
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        open_own_store(read(settings, credentials=file, profile="miner"))


@pytest.mark.parametrize(
    "text", [SECRET, f"[a\n{SECRET}", f"[default]\n{SECRET}", "\0", "[a]\n[a]\n"]
)
def test_a_file_of_keys_that_is_none(settings, tmp_path, text):
    file = tmp_path / "credentials"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        open_own_store(read(settings, credentials=file))
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_settings_that_do_not_fit_together(settings, monkeypatch):
    for name in ("ASSAY_STORE__ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    public = settings.store.locator
    bucket = {"locator": public, "upload": "s3://bucket/x"}
    for given, words in {
        "no key": ({**bucket, "endpoint": "http://127.0.0.1:9"}, "set AWS_ACCESS_KEY_ID"),
        "no service": (bucket, "name the service's endpoint"),
        "no upload": ({"locator": public}, "name the bucket behind it"),
        "no public place": ({**bucket, "locator": "file:///tmp"}, "cannot read s3://bucket/x"),
    }.values():
        with pytest.raises(ConfigError, match=words):
            open_own_store(load_settings(None, {"store": given}))
    for locator in ("https://e.org/x?X-Amz-Signature=hunter2", "https://u:hunter2@e.org/x"):
        with pytest.raises(StoreError, match="not a public locator") as caught:
            open_own_store(load_settings(None, {"store": {**bucket, "locator": locator}}))
        assert "hunter2" not in str(caught.value)


def test_doctor_reads_back_what_it_wrote_at_the_public_address(s3, settings, tmp_path):
    store, locator = open_own_store(settings)
    stores = open_stores(settings.store)
    around = PreflightInputs(
        "miner",
        tmp_path,
        1,
        hotkey=ALICE,
        store=store,
        shown=stores.get(locator),
        public=lambda: stores.get_as_stranger(locator),
    )

    def look(around):
        return {check.check: check for check in look_briefly(around, 7)}["store"]

    found = look(around)
    assert found.state is CheckState.WARN  # it is plain http: strangers do not read it
    assert "--readable" in found.detail
    elsewhere = open_stores(read(settings, locator=f"{s3.front.url}/elsewhere").store)
    shown = elsewhere.get(f"{s3.front.url}/elsewhere")
    found = look(replace(around, shown=shown))
    assert found.state is CheckState.FAIL
    assert "does not exist" in found.detail
