"""The first page's three answers: each figure is one that another page has."""

import json

import pytest

from assay.charts.smoothing import smooth
from assay.explorer.documents.training import AccuracyPoint
from assay.explorer.page_reader import PageReader
from assay.explorer.pages import draw_small
from assay.explorer.ports import GateReading, Live, Neurons, Training, Uid
from assay.explorer.views.common import Query
from assay.explorer.views.held_out import list_accuracy
from assay.explorer.views.overview import view_overview
from assay.protocol.errors import Trouble, TroubleKind
from assay.protocol.ss58 import decode_ss58
from tests.explorer.inside import Page, look_into


def test_an_average_begins_at_the_first_value_and_follows_slowly():
    assert smooth([]) == []
    assert smooth([3.0]) == pytest.approx([3.0])
    assert smooth([1.0] * 9) == pytest.approx([1.0] * 9)
    assert smooth([0.0, 1.0], 0.5) == pytest.approx([0.0, 2 / 3])
    assert smooth([2.0, 5.0, 7.0], 0.0) == pytest.approx([2.0, 5.0, 7.0])


def make_point(number, correct, problems, **more):
    value = correct / problems
    return AccuracyPoint(
        number=number, value=value, low=value - 0.1, high=value + 0.1, problems=problems, **more
    )


def test_checkpoints_on_other_problems_are_not_connected():
    """65.7 % of 166 problems and then 52.3 % of 128 are no fall."""
    tried = [
        make_point(18, 100, 166, levels=[4, 5, 6]),
        make_point(19, 109, 166),
        make_point(20, 67, 128, levels=[3, 5, 6]),
        make_point(21, 70, 128, levels=[3, 5, 6]),
        make_point(22, 70, 128, levels=[3, 4, 6]),
    ]
    points = list_accuracy(tried)
    assert [point["part"] for point in points] == [0, 0, 1, 1, 2]
    drawn = str(draw_small(points, "Held-out accuracy"))
    assert drawn.count("<polyline") == 3
    assert drawn.count('class="band"') == 2, "one checkpoint alone has a bar"


def test_each_answer_has_the_figures_of_the_page_that_it_leads_to(demo):
    summary = json.loads((demo / "summary.json").read_text())
    with look_into(demo) as inside:
        document, page = inside.get_json("/index.json"), inside.get("/").text
        training, weights = inside.get_json("/training.json"), inside.get_json("/weights.json")
        windows = inside.get_json("/windows.json")["windows"]
    screen = document["screen"]
    tiles = {tile["name"]: tile for tile in screen["tiles"]}
    reward, gain, tried = tiles["reward"], tiles["gain"], tiles["held-out"]
    assert (reward["at"], reward["value"]) == tuple(
        training["rewards"][-1][name] for name in ("window", "reward")
    )
    assert (gain["at"], gain["value"]) == tuple(
        training["gate"]["measured"][-1][name] for name in ("number", "gain")
    )
    assert tried["value"] == training["tried"][-1]["value"] == summary["accuracy"]["after"]
    in_force = document["checkpoint"]
    words = f"the newest measured; in window {in_force['window']} № {in_force['number']} was in"
    others = sum(tile["at"] != in_force["number"] for tile in (gain, tried))
    assert "".join(Page(page).text).count(words) == others
    first = tried["points"][0]
    shown = {"good": gain["low"] > 0, "bad": gain["high"] < 0}
    if not any(shown.values()):  # then held-out problems tell
        shown = {"good": tried["low"] > first["high"], "bad": tried["high"] < first["low"]}
    expected = next((state for state, holds in shown.items() if holds), "open")
    assert screen["learning"]["state"] == expected
    newest = next(window for window in windows if window["outcome"] == "counted")
    health = screen["health"]
    for name in ("window", "committed", "accepted", "refused"):
        assert health[name] == newest[name]
    verdicts = [v for window in summary["windows"] for v in window["verdicts"]]
    refused = [v["reason"] for v in verdicts if v["reason"] not in ("ACCEPTED", "NO_COMMITMENT")]
    assert {row["reason"]: row["count"] for row in health["reasons"]} == {
        reason: refused.count(reason) for reason in set(refused)
    }
    shares = {row["hotkey"]: row["share"] for row in weights["weights"]["rows"] if row["weight"]}
    assert {row["hotkey"]: row["share"] for row in screen["paid"]} == shares
    assert screen["paid_count"] == len(shares)
    page = Page(page)
    questions = "".join(page.text)
    for question in ("Is the model getting better?", "Is the network healthy?", "Who is paid?"):
        assert question in questions
    sparks = [look for _, look in page.elements if look.get("class") == "chart spark"]
    assert len(sparks) == 6, "each figure that has more than one value"


def test_accepted_tokens_are_estimated_from_those_that_were_audited(demo):
    """Beside all tokens of the files that were accepted, which the trainer's steps have."""
    with look_into(demo) as inside:
        rows = inside.index.read("SELECT tokens, accepted FROM windows WHERE outcome = 'counted'")
        statistics = inside.get_json("/index.json")["screen"]["health"]["tokens_per_second"]
    assert all(row["tokens"] > 0 for row in rows if row["accepted"])
    assert statistics > 0


def test_trouble_is_the_answer_and_a_chain_says_what_it_paid(demo):
    with look_into(demo) as inside:
        hotkey = inside.get_json("/index.json")["screen"]["paid"][0]["hotkey"]
        uid = Uid(3, decode_ss58(hotkey), bytes(32), 1, 0, False, 13_107, 2_500_000_000)
        live = Live(150, True, "the chain", Trouble(TroubleKind.CHAIN, "it is silent"))
        around = inside.answer_instead(
            read_live=live, read_neurons=Neurons(150, [uid], 50_000_000), read_payment=None
        )
        screen = view_overview(make_reader(inside, around), Query({}))["screen"]
    assert screen["healthy"] == {"state": "bad", "words": "trouble with the chain"}
    first = screen["paid"][0]
    assert (first["alpha"], first["tao"], first["paid"]) == (2.5, 0.125, 0.2)


def make_reader(inside, sources):
    return PageReader(inside.source.subject, inside.index, inside.indexer, sources)


@pytest.mark.parametrize(
    ("low", "high", "state", "words"),
    [
        (0.05, 0.3, "good", "yes"),
        (-0.05, 0.3, "good", "yes, by held-out problems; the gate’s problems do not show it yet"),
        (-0.3, -0.05, "bad", "no, it is worse"),
    ],
)
def test_the_gate_answers_first_and_held_out_problems_where_it_cannot(
    demo, low, high, state, words
):
    with look_into(demo) as inside:
        (row, *_) = inside.get_json("/training.json")["gate"]["measured"]
        measured = [{**row, "gain": (low + high) / 2, "low": low, "high": high}]
        tried = [make_point(0, 200, 600), make_point(8, 420, 600)]
        around = inside.answer_instead(
            read_gate=GateReading("", "", True, measured, []), read_training=Training((), tried)
        )
        screen = view_overview(make_reader(inside, around), Query({}))["screen"]
    assert screen["learning"] == {"state": state, "words": words}
    assert [tile["name"] for tile in screen["tiles"]] == ["gain", "held-out", "reward"]
