"""A miner's page says whether it is paid, and where not why, as `assay explain` would."""

import json
import shlex
from dataclasses import replace

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from assay.cli.app import app as commands
from assay.explorer import make_app
from assay.explorer.ports import Neurons, Uid
from assay.protocol.reason import name_cost
from assay.protocol.ss58 import decode_ss58, encode_ss58
from tests.explorer.inside import UNLIMITED, look_into

pytestmark = pytest.mark.slow


@pytest.fixture
def inside(demo):
    with look_into(demo) as opened:
        yield opened


@pytest.fixture(scope="module")
def keys(demo):
    """Name → hotkey of the demo's miners."""
    summary = json.loads((demo / "summary.json").read_text())
    return {v["name"]: v["hotkey"] for v in summary["windows"][0]["verdicts"]}


def look(inside, hotkey, **answers):
    """The document's part about pay, and its steps by name."""
    around = inside.answer_instead(**answers)
    app, *_ = make_app(inside.source.subject, inside.index, around, access=UNLIMITED)
    client = TestClient(app, base_url="http://127.0.0.1:8400")
    page = client.get(f"/miner/{hotkey}", headers={"accept": "text/html"})
    assert page.status_code == 200
    pay = client.get(f"/miner/{hotkey}.json").json()["pay"]
    assert "Is it paid?" in page.text
    return pay, {step["name"]: step for step in pay["steps"]}


def list_neurons(inside, keys, *, incentive=0, permit=True):
    """The validator and all miners with a uid each, as a chain would show them."""
    held = [inside.source.subject.validator, *map(decode_ss58, keys.values())]
    rows = [Uid(n, key, b"c" * 32, 1, 0, permit, incentive, 10**9) for n, key in enumerate(held)]
    return Neurons(170, rows)


def test_a_cheat_is_told_what_it_was_refused_for_and_what_to_do(inside, keys):
    pay, steps = look(inside, keys["cheap-model"])
    assert pay["paid"] is False
    assert "SAMPLING_MISMATCH, which costs the whole settlement" in pay["because"]
    assert [steps[name]["state"] for name in ("A uid", "Verdicts", "Settlement", "Weight")] == [
        "good",
        "bad",
        "bad",
        "bad",
    ]
    document = inside.get(f"/miner/{keys['cheap-model']}.json").json()
    (reason,) = document["reasons"]
    assert reason["costs"] == name_cost("SAMPLING_MISMATCH")
    assert reason["causes"]
    page = inside.get(f"/miner/{keys['cheap-model']}").text
    assert "<code>assay mine</code>" in page, "what to do, with commands as such"


def test_an_honest_miner_s_settlements_show_what_the_chain_paid(inside, keys, demo):
    summary = json.loads((demo / "summary.json").read_text())
    paid = {
        s["epoch_block"]: s["incentives"]["honest-1"]
        for s in summary["settlements"]
        if s["paid_at"] is not None
    }
    assert paid
    rows = inside.get(f"/miner/{keys['honest-1']}.json").json()["settlements"]
    shown = {row["epoch"]: row["paid"] for row in rows if row["paid"] is not None}
    assert shown == {epoch: round(share / 65_535, 6) for epoch, share in paid.items()}
    assert all("of the" in row["why"][-1] for row in rows)


def test_the_command_says_the_same_of_the_settlement(inside, keys):
    pay, steps = look(inside, keys["cheap-model"])
    done = CliRunner().invoke(commands, [*shlex.split(pay["command"])[1:], "--json"])
    said = json.loads(done.stdout)
    assert said["accepted"] is False
    assert set(steps["Settlement"]["said"]) <= set(said["pay"])


def test_a_chain_says_whether_it_pays(inside, keys):
    honest = keys["honest-1"]
    none = list_neurons(inside, keys)
    pay, steps = look(inside, honest, read_payment=None, read_neurons=none)
    assert (pay["paid"], steps["Pay"]["state"]) == (False, "bad")
    assert "paid uid 1 nothing as a miner" in pay["because"]
    half = list_neurons(inside, keys, incentive=32_768)
    pay, _ = look(inside, honest, read_payment=None, read_neurons=half)
    assert pay["paid"] is True
    assert "50.0% of the miners' share, 1.0000 alpha" in pay["because"]
    unknown, steps = look(inside, honest, read_payment=None, read_neurons=None)
    assert unknown["paid"] is None
    assert "% of the" in unknown["because"], "what nobody knows here is no miner's headline"
    assert "does not know what the chain paid" in steps["Pay"]["said"][-1]


def test_a_validator_without_permit_and_weights_that_are_not_on_chain_are_named(inside, keys):
    honest = keys["honest-1"]
    alone = list_neurons(inside, keys, permit=False)
    pay, steps = look(inside, honest, read_payment=None, read_neurons=alone)
    assert pay["paid"] is False
    assert steps["Weight"]["said"][-1] == pay["because"]
    assert "no validator permit" in pay["because"]
    shown = inside.source.sources.read_shown(109, {})
    others = replace(shown, block=166, weights={0: 65_535})
    _, steps = look(inside, honest, read_shown=others)
    assert steps["Weight"]["said"][-1] == "at block 166 the chain shows none of this validator"


def test_a_seat_that_is_lost_comes_first(inside, keys):
    honest = keys.pop("honest-1")
    left = list_neurons(inside, keys, incentive=9)
    keys["honest-1"] = honest
    pay, steps = look(inside, honest, read_payment=None, read_neurons=left)
    assert pay["paid"] is False
    assert steps["A uid"]["state"] == steps["Pay"]["state"] == "bad"
    assert pay["because"] == "at block 170 it has no uid: `assay register` buys one"


def test_a_windows_outcome_tells_its_cost(inside, keys):
    """One withheld, then two; abstained and void; no member."""
    honest = keys["honest-1"]
    epoch = look(inside, honest)[0]["epoch"]
    first, second = (
        row["window"]
        for row in inside.index.read(
            "SELECT window FROM windows WHERE epoch = ? ORDER BY window", (epoch,)
        )
    )

    def change(statement, *values):
        with inside.index.write() as database:
            database.execute(statement, values)

    withheld = "UPDATE rows SET reason = 'NOT_REVEALED', score = 0 WHERE window = ?"
    change(withheld, first)
    _, steps = look(inside, honest)
    assert steps["Verdicts"]["state"] == "warn"
    assert steps["Settlement"]["state"] == "good"
    change(withheld, second)
    _, steps = look(inside, honest)
    assert steps["Settlement"]["state"] == "bad"
    assert "two cost the settlement" in steps["Settlement"]["said"][-1]
    for outcome, said in (("void", "is void for everybody"), ("abstained", "abstained from")):
        change("UPDATE windows SET outcome = ? WHERE window = ?", outcome, first)
        _, steps = look(inside, honest)
        assert said in steps["Verdicts"]["said"][0]
    change("UPDATE windows SET outcome = 'counted' WHERE window = ?", first)
    change("DELETE FROM rows WHERE window IN (?, ?)", first, second)
    change("DELETE FROM scores WHERE epoch = ?", epoch)
    _, steps = look(inside, honest)
    assert steps["Verdicts"]["said"][0] == f"it was not a member of window {first}"
    assert steps["Settlement"]["said"][-1] == "this hotkey has no score in any of its windows"


def test_a_hotkey_that_no_window_had_is_told_why_it_has_no_page(inside, keys):
    stranger = encode_ss58(b"s" * 32)

    def ask(hotkey, neurons):
        around = inside.answer_instead(read_neurons=neurons)
        app, *_ = make_app(inside.source.subject, inside.index, around, access=UNLIMITED)
        answer = TestClient(app, base_url="http://127.0.0.1:8400").get(f"/miner/{hotkey}.json")
        assert answer.status_code == 404
        return answer.json()["error"]

    assert "is not a hotkey: " in ask(stranger[:-1], None)
    assert "10 are known" in ask(stranger, None)
    assert "held no uid: `assay register`" in ask(stranger, list_neurons(inside, keys))
    held = list_neurons(inside, keys | {"new": stranger})
    assert "takes part from the first window that begins after" in ask(stranger, held)
