"""The explorer's ledger page over real events: as recorded, different, missing, taken out again."""

import json
import re
import shlex
import signal
import time
from contextlib import closing
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from assay.artifacts.database import Database
from assay.artifacts.discovery import publish_parameters
from assay.cli.app import app
from assay.network.evm import LedgerPoster, ScoreLedger, make_ledger_entry
from assay.network.store.folder import open_folder
from assay.neurons.validator.post_outbox import PostOutbox
from assay.protocol.record import SettlementRecord
from assay.protocol.ss58 import encode_ss58
from assay.subnet.presets import NETUID
from tests.adversarial.mortal import Mortal
from tests.explorer.inside import Inside, Page, list_numbers, look_into
from tests.integration.evm.anvil import CHAIN_ID, Stage
from tests.integration.evm.test_end_to_end import VALIDATOR, bind, read_settlements, short_doubt  # noqa: F401 - short_doubt is a fixture

pytestmark = pytest.mark.slow
ADDRESS = encode_ss58(VALIDATOR)
LINK = "https://evm.example/sub"
#: Seconds for anything to show; the explorer's child has to start first.
PATIENCE_S = 120


@pytest.fixture
def records(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[SettlementRecord]:
    """Three settlements, published by a validator that posts nothing; who posts is bound."""
    bind(stage)
    mortal = Mortal(tmp_path, monkeypatch)
    mortal.play(40)
    publish_parameters(open_folder(tmp_path / "record"), mortal.parameters)
    mortal.database.close()
    return read_settlements(tmp_path)


def post(stage: Stage, *records: SettlementRecord) -> None:
    """Post the records as a validator does."""
    ledger = ScoreLedger(stage.node, stage.ledger.address, NETUID)
    with closing(Database()) as database:
        outbox = PostOutbox(database, LedgerPoster(ledger, stage.key, VALIDATOR), 0)
        for record in records:
            outbox.put_record(record)
        outbox.step()
    stage.anvil.mine(3)


def name_ledger(stage: Stage, **changes: Any) -> dict[str, Any]:
    own = {"endpoint": stage.anvil.endpoint, "chain_id": CHAIN_ID, "contract": stage.ledger.address}
    return own | {"confirmations": 2} | changes


def await_page(inside: Inside, look: Any) -> dict[str, Any]:
    """The ledger page's document, once it is as it should be."""
    ends = time.monotonic() + PATIENCE_S
    while not look(found := inside.get("/ledger.json").json()):
        assert time.monotonic() < ends, found
        time.sleep(0.2)
    return dict(found)


def get_states(found: dict[str, Any]) -> dict[int, str]:
    return {row["epoch"]: row["state"] for row in found["entries"]}


def test_events_are_compared_with_the_record(
    stage: Stage, records: list[SettlementRecord], tmp_path: Path
) -> None:
    first, second, third = records
    unheard = replace(first, epoch=1)
    lie = replace(second, score_root=b"\1" * 32, audit_round=7)
    post(stage, first, lie, unheard)
    record = {"record": str(tmp_path / "record"), "hotkey": ADDRESS, "evm_explorer": LINK}
    with look_into(None, ledger=name_ledger(stage), **record) as inside:
        found = await_page(inside, lambda d: d["evm"]["first"] == first.epoch)
        states = {first.epoch: "equal", second.epoch: "different", third.epoch: "missing"}
        assert get_states(found) == states | {1: "unrecorded"}
        assert found["counts"] == dict.fromkeys(["missing", "different", "equal", "unrecorded"], 1)
        rows = {row["epoch"]: row for row in found["entries"]}
        entry = make_ledger_entry(first)
        assert entry is not None
        assert rows[first.epoch]["digest"] == entry.digest.hex()
        assert [d["name"] for d in rows[second.epoch]["differing"]] == [
            "root of scores",
            "record",
            "audit round",
        ]
        page = inside.get("/ledger").text
        assert not set(Page(page).values) - set(list_numbers(inside.get("/ledger.json").json()))
        links = set(re.findall(rf'href="{LINK}/([^"]*)"', page))
        assert {f"address/{stage.ledger.address}", f"tx/0x{rows[1]['transaction']}"} <= links
        assert f"block/{rows[1]['block']}" in links
        for words in ("equals the record", "differs from the record", "no entry"):
            assert words in page

        # the page's command, unchanged: a missing entry is not proven, then it is
        command = found["command"]
        assert command in unescape(re.sub("<[^>]*>", "", page))
        done = CliRunner().invoke(app, shlex.split(command)[1:])
        assert done.exit_code == 1, (command, done.output)
        before = stage.anvil.rpc("evm_snapshot")
        post(stage, third)
        await_page(inside, lambda d: get_states(d)[third.epoch] == "equal")
        done = CliRunner().invoke(app, shlex.split(command)[1:])
        assert done.exit_code == 0, (command, done.output)
        stage.anvil.rpc("evm_revert", before)  # a reorganisation takes it out again
        stage.anvil.mine(2)
        await_page(inside, lambda d: get_states(d)[third.epoch] == "missing")

        stage.anvil.process.send_signal(signal.SIGSTOP)
        try:
            found = await_page(inside, lambda d: d["evm"]["trouble"])
            assert "trying since" in inside.get("/ledger").text
        finally:
            stage.anvil.process.send_signal(signal.SIGCONT)
        assert found["evm"]["trouble"] == {"kind": "ledger", "about": "the ledger"}
        assert 0 <= time.time() * 1_000 - found["evm"]["since_ms"] < PATIENCE_S * 1_000
        assert get_states(found)[first.epoch] == "equal", "what was read stays"
        await_page(inside, lambda d: d["evm"]["trouble"] is None)


def test_unpublished_results_are_not_told(
    stage: Stage, records: list[SettlementRecord], tmp_path: Path
) -> None:
    """A validator's folder has the entries that it will post; nobody sees its digests before its
    record."""
    epoch, entry = records[-1].epoch + 11, make_ledger_entry(records[-1])
    assert entry is not None
    secret = {
        "score_root": "5e" * 32,
        "record_digest": "6e" * 32,
        "checkpoint": "7e" * 32,
        "audit_round": 987_654_321,
        "weights_digest": "8e" * 32,
    }
    said = {"state": "due", "transaction": None, "block": None, "trouble": None}
    posts = [{"epoch": epoch, "entry": secret, **said}]
    status = {"program": "validator", "posts": posts, "head": 1, "windows": [], "at": 0}
    (tmp_path / "status.json").write_text(json.dumps(status))
    # the rules, as a validator's folder has them
    rules = tmp_path / "steps" / "rules"
    rules.mkdir(parents=True)
    (tmp_path / "record" / "parameters").rename(rules / "parameters")
    with look_into(tmp_path, hotkey=ADDRESS) as inside:
        found, page = inside.get("/ledger.json"), inside.get("/ledger").text
        (row,) = [row for row in found.json()["entries"] if row["epoch"] == epoch]
        assert (row["state"], row["posted"], row["recorded"]) == ("waiting", None, None)
        for text in (found.text, page):
            digests = (byte * 4 for byte in ("5e", "6e", "7e", "8e"))  # short ones have as much
            for name in (*digests, "987654321", "987,654,321"):
                assert name not in text
        assert set(get_states(found.json()).values()) == {"unread", "waiting"}
        assert "no EVM node" in page


def test_a_node_of_another_chain_is_told(
    stage: Stage, records: list[SettlementRecord], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Everybody that it is the ledger, the operator why."""
    record = {"record": str(tmp_path / "record"), "hotkey": ADDRESS}
    with look_into(None, ledger=name_ledger(stage, chain_id=964), **record) as inside:
        found = await_page(inside, lambda d: d["evm"]["trouble"])
        assert found["evm"]["trouble"] == {"kind": "ledger", "about": "the ledger"}
        assert re.search("chain 42.*964", caplog.text)
        assert set(get_states(found).values()) == {"unread"}
