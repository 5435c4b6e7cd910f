"""Validators side by side: the page shows the comparison's findings, and nothing else."""

import json

import pytest

from assay.protocol.ss58 import encode_ss58
from tests.audit.audited import LIAR, RIVAL
from tests.audit.test_comparing_validators import COPIER
from tests.explorer.compared import WINDOW
from tests.explorer.inside import Page, look_into


def test_the_page_shows_who_copies_and_where_verdicts_scores_and_weights_differ(demo, comparison):
    told = json.loads(comparison.read_text())
    with look_into(demo, comparison=comparison) as inside:
        document = inside.get("/validators.json").json()
        page = inside.get("/validators")
        table = inside.get("/validators.csv?table=verdicts")
    assert document["comparison"] == told
    (verdict,) = document["verdicts"]
    assert verdict["window"] == WINDOW
    said = {row["validator"]: row for row in verdict["said"]}
    assert said[encode_ss58(LIAR)]["reason"] == "SKETCH_MISMATCH"
    assert said[encode_ss58(LIAR)]["score"] == 0 < said[encode_ss58(RIVAL)]["score"]
    seat = next(row for row in document["seats"] if row["hotkey"] == verdict["hotkey"])
    weights = {row["validator"]: row["weight"] for row in seat["said"]}
    assert weights[encode_ss58(LIAR)] < weights[encode_ss58(RIVAL)]
    assert document["verdict_count"] == 1
    text = "".join(Page(page.text).text)
    copier = next(v for v in told["validators"] if v["validator"] == encode_ss58(COPIER))
    assert copier["suspicion"][1:] in text
    assert text.count("Seems to copy") == 1
    assert text.count("no sign that it copies") == 2
    assert "not in its record" in text
    assert "is not among them" in text, "the record shown is another subnet's"
    assert table.text.count("\r\n") == 2


def test_without_a_comparison_the_page_says_how_to_make_one(demo):
    with look_into(demo) as inside:
        page = inside.get("/validators")
        assert inside.get("/validators.json").json()["known"] is False
    assert "assay audit compare --netuid N --json" in "".join(Page(page.text).text)


@pytest.mark.parametrize("text", ["[", "[]", "{}", '{"windows": [1, 2]}'])
def test_a_comparison_that_is_none_is_told(demo, tmp_path, text):
    file = tmp_path / "comparison.json"
    file.write_text(text)
    with look_into(demo, comparison=file) as inside:
        found = inside.get("/validators.json").json()
        page = inside.get("/validators")
    assert found["trouble"]["kind"] == "comparison"
    assert "Trouble with the comparison of validators" in page.text


def test_hostile_text_in_a_comparison_stays_text(demo, tmp_path, comparison):
    document = json.loads(comparison.read_text())
    evil = "</td><script>alert(1)</script>\u202e"
    for row in document["validators"]:
        row["suspicion"] = row["fault"] = evil
        row["validator"] = evil
    document["judged"][WINDOW]["differing"][0]["hotkey"] = evil
    file = tmp_path / "comparison.json"
    file.write_text(json.dumps(document))
    with look_into(demo, comparison=file) as inside:
        page = inside.get("/validators")
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert "\u202e" not in page.text


def test_a_window_and_a_settlement_say_whether_other_records_agree(demo, tmp_path, comparison):
    document = json.loads(comparison.read_text())
    summary = json.loads((demo / "summary.json").read_text())
    window, epoch = summary["windows"][1]["window"], summary["settlements"][0]["epoch_block"]
    judged, settled = document["judged"][WINDOW], document["settled"][-1]
    judged["window"], settled["epoch"] = window, epoch
    settled["differing"] = settled["differing"][:2]
    file = tmp_path / "comparison.json"
    file.write_text(json.dumps(document))
    with look_into(demo, comparison=file) as inside:
        assert inside.get(f"/window/{window}.json").json()["others"] is None, "of others alone"
        own = inside.get("/index.json").json()["network"]["validator"]
        document["validators"][0]["validator"] = own
        file.write_text(json.dumps(document))
        found = inside.get(f"/window/{window}.json").json()["others"]
        page = "".join(Page(inside.get(f"/window/{window}").text).text)
        assert found == {"validators": 2, "differing": 1}
        assert "The records of 2 validators differ on 1 miner." in page
        found = inside.get(f"/settlement/{epoch}.json").json()["others"]
        assert found == {"validators": 2, "differing": 2}
        judged["differing"] = []
        file.write_text(json.dumps(document))
        page = "".join(Page(inside.get(f"/window/{window}").text).text)
        assert "The records of 2 validators agree on it." in page
