"""Episodes as people see them: in the explorer, explained, and audited."""

import json
import math
import time

import pytest

from assay.audit.sources import ModelShelf
from assay.explorer.labels import show_hidden
from assay.explorer.sources import group_child
from assay.explorer.views import rollouts
from assay.inference.checkpoint import Outline
from assay.protocol.episode import End
from assay.protocol.reason import Reason
from assay.protocol.record import decode_settlement_record, make_settlement_record_name
from assay.protocol.ss58 import encode_ss58
from assay.verification.settlement import scale_values
from tests.audit.audited import EPOCHS, HOTKEYS, LIAR, Liar, accuse, open_audit, read_window
from tests.audit.episodes import FORGED, play_episodes, write_run
from tests.commands import run_command
from tests.explorer.inside import Page, browse, look_into

pytestmark = pytest.mark.slow
ADDRESSES = {name: encode_ss58(HOTKEYS[name]) for name in FORGED}


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return play_episodes(tmp_path_factory.mktemp("episodes"), "guess")


@pytest.fixture(scope="module")
def run(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_run(network, folder)
    return folder


@pytest.fixture(scope="module")
def inside(run):
    with look_into(run) as inside:
        yield inside


def read_rollout(inside, name, group, rollout):
    """A rollout's address and what the explorer has found of it."""
    path = f"/window/0/{ADDRESSES[name]}/{group}/{rollout}"
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        document = inside.get_json(path)
        if document["lack"] is None:
            return path, document
        assert document["lack"]["passing"], document["lack"]
        time.sleep(0.05)
    raise AssertionError(f"{path} was not read in time")


def find_longest(inside, name):
    """A rollout with as many turns as any."""
    found = (read_rollout(inside, name, group, r) for group in range(2) for r in range(3))
    return max(found, key=lambda pair: len(pair[1]["reading"]["turns"]))


def test_a_rollout_is_a_conversation(inside):
    """Tokens by turn, and between the turns what no file holds."""
    path, document = find_longest(inside, "alice")
    read = document["reading"]
    turns = read["turns"]
    assert len(turns) > 2, "nothing would be shown"
    assert [turn["number"] for turn in turns] == list(range(len(turns)))
    assert [turn["reply"] is None for turn in turns] == [False] * (len(turns) - 1) + [True]
    assert read["ended_at"] == read["tokens"] == sum(turn["tokens"] for turn in turns)
    answer = inside.get(path).text
    page = Page(answer)
    lists = [element for element in page.elements if element[0] == "ol"]
    starts = [attributes["start"] for _, attributes in lists]
    assert starts == [str(turn["first"]) for turn in turns]
    details = [attributes for tag, attributes in page.elements if tag == "details"]
    assert details == [{}] * (len(turns) + 1), "tokens of each, and all figures, on demand"
    rows = [element for element in page.elements if element[0] == "tbody"]
    assert len(rows) == len(turns) + 1  # and the parts of the reward
    divs = [attributes.get("class") or "" for tag, attributes in page.elements if tag == "div"]
    talk = [name for name in divs if name.startswith("said")]
    assert talk == ["said", *["said turn", "said reply"] * len(turns)][:-1]
    text = " ".join("".join(page.text).split())
    replies = [turn["reply_tokens"] for turn in turns]
    paid = f"{read['paid_replies']} paid as prompt"
    assert f"beside {sum(replies)} of replies, {paid}" in text
    assert read["paid_replies"] == min(sum(replies), 4 * read["tokens"])
    spoken = [read["prompt"], *(one for turn in turns for one in (turn["text"], turn["reply"]))]
    places = find_in_order(text, [" ".join(show_hidden(one).split()) for one in spoken if one])
    for count in replies[:-1]:
        assert f"Reply the environment; derived, {count} tokens, paid as prompt" in text
    assert places[-1] < text.index(f"The episode ended because {read['end']}.")
    for turn, row in zip(turns, read["rows"], strict=False):
        assert turn["off"] == 0
        percent = round(100 * math.exp(-row["logprob"]))
        if 1 <= percent < 100:
            assert f'<data value="{row["logprob"]}">{percent}%</data>' in answer
    assert "⚠" not in text


def find_in_order(text, parts):
    """Where each of the parts is, behind the one before it."""
    places = [0]
    for part in parts:
        places.append(text.index(part, places[-1]) + len(part))
    return places


def test_a_page_of_tokens_shows_the_turns_that_it_has(inside):
    """And all that was said, with where the other turns' tokens are."""
    path, document = find_longest(inside, "alice")
    turns, size = document["reading"]["turns"], 5
    shown = Page(inside.get(f"{path}?page=2&size={size}").text)
    starts = [attributes["start"] for tag, attributes in shown.elements if tag == "ol"]
    begun = [turn["first"] for turn in turns if size < turn["first"] < 2 * size]
    assert starts == [str(size), *map(str, begun)]
    divs = [attributes.get("class") for tag, attributes in shown.elements if tag == "div"]
    assert divs.count("said turn") == len(turns)
    left = [t for t in turns if t["first"] + t["tokens"] <= size or t["first"] >= 2 * size]
    assert left, "all turns are on this page"
    links = {look.get("href", "") for tag, look in shown.elements if tag == "a"}
    for turn in left:
        page = turn["first"] // size + 1
        link = f"{path}?page={page}&size={size}#turn-{turn['number']}"
        assert link in links
        there = Page(inside.get(link.partition("#")[0]).text)
        lists = [look["start"] for tag, look in there.elements if tag == "ol"]
        assert str(turn["first"]) in lists


def test_a_rollout_that_is_too_short_says_so(inside):
    path, document = find_longest(inside, "bob")
    read = document["reading"]
    assert (read["end"], read["ended_at"]) == (None, None)
    assert all(turn["reply"] is not None for turn in read["turns"])
    assert "so the episode goes on: the rollout is too short" in inside.get(path).text


def test_a_rollout_that_is_too_long_says_where_its_episode_ended(inside, monkeypatch):
    """No miner of this network makes one: the page is told that its world was silent earlier."""
    path, _ = find_longest(inside, "alice")
    measure = rollouts._measure  # noqa: SLF001
    early = {"end": End.DONE, "ended_at": 2}
    monkeypatch.setattr(rollouts, "_measure", lambda *given: measure(*given) | early)
    said = "The episode ended after 2 tokens, because the world gave no reply. The rollout goes on"
    text = " ".join("".join(Page(inside.get(f"{path}?size=7").text).text).split())
    assert f"⚠ {said}: it is too long." in text


def test_a_group_whose_environment_is_not_here_says_so(run, tmp_path, monkeypatch):
    def refuse(outline, choice):
        raise ValueError(f"no file of {choice.name} is here")

    monkeypatch.setattr(Outline, "open_environment", refuse)
    monkeypatch.setattr(group_child.torch, "set_num_threads", lambda count: None)
    order = {
        "models": str(run / "models"),
        "stores": [str(run / "store")],
        "settings": {},
        "scratch": str(tmp_path),
        "progress": str(tmp_path / "progress"),
        "context": json.loads((run / "contexts" / "window-0.json").read_text()),
        "hotkey": HOTKEYS["alice"].hex(),
        "group": 0,
    }
    said = json.loads(group_child.GroupReader().answer(json.dumps(order).encode()))
    assert (said["kind"], said["message"]) == ("unavailable", "no file of guess is here")
    assert said["value"]["why"].startswith("its problems cannot be made here")


def test_a_conversation_fits_a_telephone_and_all_can_read_it(inside, chromium):
    """With its tokens shown, in the light and in the dark."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    path, _ = find_longest(inside, "mallory")
    with browse(inside, chromium) as (page, said):
        page.emulate_media(reduced_motion="reduce")
        page.goto(path, wait_until="load", timeout=60_000)
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
        for width in (320, 1_400):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        told = {"resultTypes": ["violations"]}
        for scheme, rules in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
            page.emulate_media(color_scheme=scheme)
            found = axe.run(page, options=told | rules).response["violations"]
            assert [(rule["id"], [n["html"] for n in rule["nodes"]]) for rule in found] == []
    assert said == []


@pytest.mark.parametrize("name", ["bob", "mallory"])
def test_explain_names_the_turn_and_what_was_said_before_it(run, name):
    words = "explain", "--dir", run, "--hotkey", ADDRESSES[name], "--window", "0"
    done = run_command(*words, "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["reason"]) == (1, FORGED[name].value), done.stderr
    assert found["turn"] >= 0
    seen = "\n".join(found["seen"])
    assert "before this turn the environment replied, as derived here in " in seen
    causes = "\n".join(found["causes"])
    if name == "bob":
        assert "An episode ends with the turn" in found["rule"]
        assert "the world replies to its last turn" in seen
        assert f"of turn {found['turn']}; turns count from 0" in seen
    else:
        assert "the first turn whose fingerprint differs is turn 1; turns count from 0" in seen
        assert "a reply before the turn was not the environment's" in causes


@pytest.mark.parametrize("name", ["bob", "mallory"])
def test_an_audit_finds_a_forger_who_is_called_genuine(network, tmp_path, name):
    assert network.export(tmp_path / "bundle").matched
    windows = {0: read_window(network.records, 0)}
    settlement = make_settlement_record_name(encode_ss58(LIAR), EPOCHS[0])
    settlements = {EPOCHS[0]: decode_settlement_record(network.records.get(settlement, 1 << 20))}
    liar = Liar(network.history, network.chain, windows, settlements)
    liar.change_row(0, name, reason=Reason.ACCEPTED, values=(100,), score=scale_values(2, (100,)))
    models = ModelShelf([network.models])
    with open_audit(tmp_path / "bundle") as public:
        found = accuse(public, liar, models=models, windows=range(1))
    assert found[0] == "verdicts"
    assert f"says ACCEPTED, and it is {FORGED[name].value}" in found[1]
