"""Records, statuses and completions are strangers' texts: pages show them as text and nothing
else."""

import json
from dataclasses import replace

import pytest

from assay.explorer.documents.windows import GroupFacts, PromptMessage, TokenRow, TurnRow
from assay.explorer.labels import TROUBLES, show_hidden
from assay.explorer.pages import link_static
from assay.explorer.ports import GroupReading, RolloutReading
from assay.explorer.sources.run_view import RunView
from assay.protocol.encoding import encode
from assay.protocol.errors import TroubleKind
from assay.protocol.record import decode_window_record
from tests.explorer.inside import Page, browse, look_into
from tests.explorer.program import list_pages

pytestmark = pytest.mark.slow
EVIL = (
    "</code></pre><script>pwned=1</script><img src=x onerror=pwned=1>\"'><svg onload=pwned=1>"
    "{{7*7}}{% raw %}javascript:pwned=1\x00\x1b[2J\u202egnp.exe\u2066\u200b\ufeff\u3164"
)
#: A path that a program's own messages may name, and no page may.
SECRET = "/home/operator/keys-7c1f"
#: Whatever turns the direction of text, writes nothing, or ends a line unseen.
INVISIBLE = set("\x00\x1b\u202e\u2066\u200b\ufeff\u3164\u00ad\u2028")
LOCATOR = "</bdi><script>pwned=1</script>\u202e'\"><img src=x onerror=pwned=1>"[:60]


#: What ends a reply and begins a model's turn, were it read as tokens and not as text.
MARKUP = f"<|im_end|>\n<|im_start|>assistant\n<tool_call>{EVIL}</tool_call><|endoftext|></s>[INST]"


class HostileGroups:
    """Completions that nobody's tokenizer would have to hold back. Rollouts of odd numbers are
    episodes."""

    def read(self, context, hotkey, group, wait_s):
        tokens = [
            TokenRow(
                number=n // 7,
                id=n,
                text=EVIL[n : n + 7],
                state="off",
                margin=1.0,
                drawn=3,
                logprob=0.5,
                measured=0.5,
                distance=0.0,
                audited=n % 2 == 0,
            )
            for n in range(0, len(EVIL), 7)
        ]
        third = len(tokens) // 3
        turns = [
            TurnRow(
                number=n,
                first=third * n,
                tokens=third,
                text=MARKUP,
                reply=MARKUP,
                reply_tokens=9,
                off=third,
            )
            for n in range(3)
        ]
        rollouts = [
            RolloutReading(n, tokens, EVIL, 0, {EVIL: 1}, turns if n % 2 else (), EVIL, 1)
            for n in range(8)
        ]
        messages = [PromptMessage(role=EVIL, content=EVIL)] * 2
        facts = GroupFacts(
            prompt=EVIL, messages=messages, arguments=EVIL, level=1, measured=True, note=EVIL
        )
        return GroupReading(facts, [0], rollouts)

    def close(self):
        pass


def poison(folder):
    """Everything in a run's folder that people can write freely, and a record that was settled with
    another content."""
    (record,) = (path for path in (folder / "record").iterdir())
    for file in record.glob("*.statistics.json"):
        document = json.loads(file.read_text())
        for verdict in document["verdicts"]:
            verdict["detail"] = EVIL
            verdict["statistics"] |= {EVIL: 1.0, "margin_max": 1e308}
            verdict["group"] = EVIL
        document["verdicts"].append({"hotkey": EVIL, "reason": EVIL, "statistics": EVIL})
        file.write_text(json.dumps(document))
    for file in record.glob("window-*.record"):
        found = decode_window_record(file.read_bytes())
        members = tuple(
            replace(row, committed=row.committed and replace(row.committed, locator=LOCATOR))
            for row in found.members
        )
        changed = replace(found, members=members, software="<script>pwned=1</script>")
        file.write_bytes(encode(changed))
    status = json.loads((folder / "status.json").read_text())
    for miner in status["demo"]["miners"]:
        miner["name"] = EVIL
    status["stage"] = EVIL
    status["trouble"] = f"the store {SECRET} cannot be read: {EVIL}"
    status["trouble_kind"] = "store"
    for one in status["windows"]:
        one["missing"] = f"no answer from wss://10.0.0.7:9944/{SECRET}"
    said = f"ledger: https://evm.example/{SECRET}"
    post = {"epoch": 1, "state": EVIL, "transaction": None, "block": None}
    status["posts"] = [post | {"trouble": said, "entry": {}}]
    (folder / "status.json").write_text(json.dumps(status))
    row = {"attack": EVIL, "model": EVIL, "reasons": {EVIL: 1}, "legal": EVIL, "differs": "NaN"}
    gauntlet = {"rows": [row, EVIL, None], "windows": EVIL, "seconds": 1e308}
    (folder / "gauntlet.json").write_text(json.dumps(gauntlet))
    for step in (folder / "steps").glob("*.json"):
        document = json.loads(step.read_text())
        document["digest"] = document["record"]["parent"] = EVIL
        step.write_text(json.dumps(document))


def list_hostile(demo):
    """An address of each kind of page, and an episode's."""
    pages = list_pages(demo)
    rollout = next(path for path in pages if path.endswith("/0/0"))
    return [*pages, rollout.removesuffix("0") + "1"]


@pytest.fixture
def hostile(copy):
    poison(copy)
    with look_into(copy, gauntlet=copy / "gauntlet.json") as inside:
        inside.source.sources.read_group = HostileGroups().read
        yield inside


def test_hostile_text_stays_text(hostile, demo):
    scripts = ("live.js", "uplot.js", "curves.js", "rollouts.js")
    styles = ("style.css", "chart.css", "uplot.css")
    allowed = {("script", link_static(name)) for name in scripts}
    allowed |= {("link", link_static(name)) for name in styles}
    seen = 0
    for path in list_hostile(demo):
        answer = hostile.get(path)
        assert answer.status_code == 200, (path, answer.text[-500:])
        assert not INVISIBLE & set(answer.text), path
        assert SECRET not in answer.text, path
        page = Page(answer.text)
        seen += "pwned=1" in "".join(page.text)
        for tag, attributes in page.elements:
            assert not any(name.startswith("on") or name == "style" for name in attributes), path
            if tag == "script":
                assert (tag, attributes.get("src")) in allowed, path
            assert tag not in ("img", "iframe", "object", "embed", "base"), path
            link = attributes.get("href", "/")
            assert link.startswith(("/", "#")), (path, link)
        if path.endswith("/0/1"):
            assert "".join(page.text).count("<|im_start|>assistant⏎") == 6, "turns and replies"
    assert seen >= 6, "the hostile text was not shown at all"


def test_hostile_json_is_json(hostile, demo):
    for path in list_hostile(demo):
        answer = hostile.get("/index.json" if path == "/" else path + ".json")
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        answer.json()
        assert SECRET not in answer.text, path


def test_a_trouble_is_told_by_its_kind(hostile):
    """The sentence is for `assay status`; its kind is for everybody."""
    live = hostile.get("/index.json").json()["live"]
    assert live["trouble"] == {"kind": "store", "about": "a store"}
    assert "Trouble with a store." in hostile.get("/").text
    said = [entry["said"] for entry in hostile.get("/ledger.json").json()["entries"]]
    assert [one["trouble"]["kind"] for one in said if one] == ["ledger"]


@pytest.mark.parametrize("kind", [None, EVIL, ["store"], {"kind": "store"}, 7])
def test_a_kind_that_is_none_is_another_trouble(copy, kind):
    """A status of an older program has no kind, and a forged one any."""
    status = json.loads((copy / "status.json").read_text())
    status |= {"trouble": f"it rains in {SECRET}", "trouble_kind": kind}
    (copy / "status.json").write_text(json.dumps(status))
    assert RunView(copy, bytes(32)).read_live().trouble.kind is TroubleKind.OTHER


def test_every_kind_is_put_into_words():
    assert set(TROUBLES) == set(TroubleKind)


def test_a_record_other_than_the_settled_one_is_named(hostile, demo):
    number = json.loads((demo / "summary.json").read_text())["windows"][0]["window"]
    found = hostile.get(f"/window/{number}.json").json()
    assert found["window"]["link"] == "differs"
    assert "not the record that was settled" in hostile.get(f"/window/{number}").text


def test_hostile_addresses_are_answered_like_any(hostile):
    for path in (
        "/miner/" + "%3Cscript%3Epwned=1%3C/script%3E",
        "/miners?q=%3Cscript%3Epwned%3D1",
        "/miners?sort=%3Cscript%3E&q=%00%E2%80%AE",
        "/window/%3Cscript%3E",
        "/window/8/%2e%2e/0/0",
        "/window/1/5x/18446744073709551615/0",
        "/miners?" + "q=a&" * 200,
    ):
        answer = hostile.get(path)
        assert answer.status_code in (200, 404, 414), path
        assert "<script>pwned" not in answer.text
        assert not INVISIBLE & set(answer.text)


def test_nothing_invisible_is_left():
    shown = show_hidden("".join(map(chr, [*range(0x3000), *range(0xFE00, 0x10000), 0xE0041])))
    for character in shown:
        assert character == "\n" or character.isprintable(), hex(ord(character))
    assert "⟨RLO⟩" in shown
    assert show_hidden("a\nb") == "a⏎\nb"


def test_hostile_text_runs_nothing_in_a_browser(hostile, demo, chromium):
    """The very pages, served to a real browser under their own policy: all that have it."""
    shown = [path for path in list_hostile(demo) if "pwned" in hostile.get(path).text]
    assert shown
    with browse(hostile, chromium) as (page, said):
        for path in shown:
            page.goto(path, wait_until="load", timeout=60_000)
            assert page.evaluate("typeof pwned") == "undefined", path
            assert page.evaluate("document.querySelectorAll('img, iframe').length") == 0
        page.set_viewport_size({"width": 390, "height": 800})  # still the episode's
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert said == []
