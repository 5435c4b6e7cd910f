"""The rollout browser: over a real demo's steps, its export and its audited groups, against what
these say themselves; with hostile texts and queries, and after kills."""

import json
import shutil
import subprocess
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.file import open_step_parser
from assay.artifacts.steps.folder import read_step, read_step_groups
from assay.audit.provenance.column_layouts import LAYOUTS
from assay.audit.provenance.step_export import export_steps
from assay.explorer import rollout_index
from assay.explorer.index import IndexDamagedError
from assay.explorer.labels import show_hidden
from assay.explorer.pages import link_static
from assay.explorer.rollout_index import TEXT_MAX
from assay.explorer.sources import rollout_texts
from assay.explorer.views import rollout_list
from assay.protocol.ss58 import encode_ss58
from assay.training import compute_advantages
from tests.commands import start_code
from tests.explorer.inside import Page, browse, look_into
from tests.explorer.test_hostile import EVIL, INVISIBLE
from tests.preloading import MODULES

pytestmark = pytest.mark.slow
LISTED = "/rollouts.json?size=1000&"
#: A program that fills an index and is killed within the transaction of a part.
KILLED = f"""
import os, signal, sys
from functools import partial
from pathlib import Path
from assay.explorer.rollout_index import RolloutIndex
from assay.explorer.sources import groups
from assay.sandbox import share_preloaded
from tests.explorer.inside import look_into
preloaded = share_preloaded(*{MODULES})
preloaded.start_as_fork()
groups.Sandbox = partial(groups.Sandbox, preloaded=preloaded)
folder, index, left = Path(sys.argv[1]), Path(sys.argv[2]), [int(sys.argv[3])]
put = RolloutIndex.put
def put_and_die(*given):
    count = put(*given)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return count
RolloutIndex.put = put_and_die
with look_into(folder, index) as inside:
    inside.rollouts.step()
"""


def place(row):
    return row["window"], row["hotkey"], row["group"], row["rollout"]


def list_rows(inside, query=""):
    """All rows of a list, page after page."""
    rows, page = [], 1
    while True:
        document = inside.get_json(f"{LISTED}page={page}&{query}")
        assert document["faults"] == []
        rows += document["rows"]
        if page >= document["paging"]["pages"]:
            assert len(rows) == document["paging"]["count"]
            return rows
        page += 1


@pytest.fixture(scope="module")
def inside(demo):
    with look_into(demo) as inside:
        inside.rollouts.step()
        yield inside


@pytest.fixture(scope="module")
def rows(inside):
    return list_rows(inside)


@pytest.fixture(scope="module")
def export(demo, tmp_path_factory):
    """The demo's exports, by the name of their columns."""
    folders = {name: tmp_path_factory.mktemp("export") / "data set" for name in LAYOUTS}
    for name, folder in folders.items():
        export_steps(demo, folder, range(1 << 30), columns=name)
    return folders


def read_learned(demo):
    """What a demo's steps consumed, rollout by rollout, by its place."""
    found, outline = {}, None
    with open_step_parser() as parser:
        for path in sorted((demo / "steps").glob("step-*.json")):
            step = read_step(path)
            outline = outline or CheckpointFolder(demo / "models").get_outline(step.child)
            for one in read_step_groups(step, parser):
                group = one.group
                advantages = compute_advantages(group.rewards) or [None] * len(group.rewards)
                for number, tokens in enumerate(group.completions):
                    where = one.window, encode_ss58(one.hotkey), one.index, number
                    mean = -sum(group.behaviour_logprobs[number]) / len(tokens)
                    said = outline.tokenizer.decode(tokens)
                    end = "stop" if tokens[-1] in outline.manifest.end_tokens else "length"
                    found[where] = {
                        "reward": group.rewards[number],
                        "advantage": advantages[number],
                        "tokens": len(tokens),
                        "surprise": pytest.approx(mean, abs=1e-6),
                        "end": end,
                        "level": one.levels[0],
                        "step": step.record.number,
                        "completion": said,
                        "prompt": outline.tokenizer.spell(group.prompt),
                    }
    return found


def pick(row, names):
    texts = {name: row[name]["text"] for name in ("completion", "prompt")}
    return {name: texts.get(name, row[name]) for name in names}


def test_every_rollout_of_a_step_is_listed_as_it_was_learned_from(demo, rows):
    learned, listed = read_learned(demo), {place(row): row for row in rows}
    assert len(listed) == len(rows)
    of_steps = {where: row for where, row in listed.items() if row["source"] == "step"}
    assert of_steps.keys() == learned.keys()
    assert len(learned) > 500
    for where, wanted in learned.items():
        assert pick(of_steps[where], wanted) == wanted, where
    assert any(row["advantage"] for row in rows)


def test_audited_groups_that_no_step_has_are_read_from_their_files(demo, inside, rows):
    audited = [row for row in rows if row["source"] == "record"]
    assert audited
    assert {row["verdict"] for row in audited} & {"SAMPLING_MISMATCH", "SKETCH_MISMATCH"}
    known = inside.get_json("/rollouts.json")["sources"]
    assert 0 < known["served"] <= known["audited"]
    assert (known["rollouts"], known["done"], known["unread"]) == (len(rows), True, [])
    one = next(row for row in audited if row["rollout"] == 0)
    group = [row for row in rows if place(row)[:3] == place(one)[:3]]
    assert len(group) == one["size"]
    rewards = [row["reward"] for row in group]
    wanted = compute_advantages(rewards) or [None] * len(rewards)
    assert [row["advantage"] for row in group] == wanted


def test_of_a_record_alone_those_whose_files_are_still_served_are_counted(copy, tmp_path):
    shutil.rmtree(copy / "steps")
    with look_into(copy, tmp_path / "a.sqlite") as inside:
        inside.rollouts.step()
        before = inside.get_json("/rollouts.json")["sources"]
        page = inside.get("/rollouts").text
    assert (before["files"], before["read"]) == (0, 0)
    assert before["served"] > 10
    assert "A record itself holds no rollouts" in page
    gone = sorted((copy / "store").glob("5*/*.rollouts"))[::2]
    for file in gone:
        file.unlink()
    with look_into(copy, tmp_path / "b.sqlite") as inside:
        inside.rollouts.step()
        after = inside.get_json("/rollouts.json")["sources"]
    assert after["audited"] == before["audited"]
    assert after["served"] < before["served"]


def test_filters_choose_what_they_say(inside, rows):
    some = next(row for row in rows if row["name"] and row["source"] == "record")
    uid = inside.get_json(f"/miner/{some['hotkey']}.json")["uid"]
    window = some["window"]
    for query, holds in {
        f"window={window}": lambda r: r["window"] == window,
        f"window={window}-": lambda r: r["window"] >= window,
        f"window=-{window}": lambda r: r["window"] <= window,
        "reward=0.2-0.9": lambda r: 200_000 <= r["reward"] <= 900_000,
        "reward=1": lambda r: r["reward"] == 1_000_000,
        "tokens=5-9": lambda r: 5 <= r["tokens"] <= 9,
        f"miner={some['hotkey'][:9]}": lambda r: r["hotkey"] == some["hotkey"],
        f"miner={some['name']}": lambda r: r["name"] == some["name"],
        f"miner={uid}": lambda r: r["hotkey"] == some["hotkey"],
        f"level={some['level']}": lambda r: r["level"] == some["level"],
        f"environment={some['environment']}": lambda r: True,
        "environment=chess": lambda r: False,
        f"verdict={some['verdict']}": lambda r: r["verdict"] == some["verdict"],
        "verdict=none": lambda r: r["verdict"] is None,
        "end=length": lambda r: r["end"] == "length",
        "tool=calculator": lambda r: False,
        f"verdict=ACCEPTED&end=stop&reward=1&window={window}-": lambda r: (
            (r["verdict"], r["end"], r["reward"]) == ("ACCEPTED", "stop", 1_000_000)
            and r["window"] >= window
        ),
    }.items():
        found = {place(row) for row in list_rows(inside, query)}
        assert found == {place(row) for row in rows if holds(row)}, query
    choices = inside.get_json("/rollouts.json")["choices"]
    levels = {(one["value"]) for one in choices["level"]}
    assert levels == {str(row["level"]) for row in rows}
    counts = {one["value"]: one["count"] for one in choices["end"]}
    assert counts.get("length", 0) == sum(row["end"] == "length" for row in rows)


@pytest.mark.parametrize(
    ("sort", "figure", "way"),
    [
        ("best", "reward", -1),
        ("worst", "reward", 1),
        ("longest", "tokens", -1),
        ("shortest", "tokens", 1),
        ("surprising", "surprise", -1),
        ("expected", "surprise", 1),
        ("advantage", "advantage", -1),
        ("disadvantage", "advantage", 1),
        ("newest", "window", -1),
        ("oldest", "window", 1),
    ],
)
def test_orders(inside, rows, sort, figure, way):
    listed = list_rows(inside, f"sort={sort}")
    values = [way * row[figure] for row in listed if row[figure] is not None]
    assert values == sorted(values)
    lacking = [row[figure] is None for row in listed]
    assert lacking == sorted(lacking), "those without the figure come last, or not at all"
    assert {place(row) for row in listed} <= {place(row) for row in rows}


#: Texts that a query language, LIKE or a pattern would take for something else.
QUERIES = (
    *("=", "1", "+1", "=?", "12", "a", '"', "'", '"" OR ""', 'a" OR "b', "1 OR 2", "*", "1*"),
    *("%", "_", "%%%", "1_1", "\\", "\\%", "NEAR(1 2)", "prompt:1", "^1", "{1 2}:1", "-1", "(1"),
    *("1; DROP TABLE groups", "\x00\x00\x00", "\u202e123", "\U0001f600" * 3, "é", "x" * 300),
)


@pytest.mark.parametrize("trigrams", [True, False])
def test_a_text_is_found_wherever_it_is(demo, inside, rows, trigrams, monkeypatch, tmp_path):
    if not trigrams:
        monkeypatch.setattr(rollout_index, "has_trigrams", lambda: False)
    with look_into(demo, tmp_path / "i.sqlite") as other:
        other.rollouts.step()
        words = {row["completion"]["text"][:4] for row in rows[:40]}
        for query in (*QUERIES, *words):
            answer = other.client.get(
                "/rollouts.json", params={"q": query, "size": 1_000, "sort": "best"}
            )
            assert answer.status_code == 200, query
            document = answer.json()
            wanted = query.strip()[:200].lower()
            assert document["asked"] == ({"q": query.strip()[:200]} if wanted else {})
            found = {
                place(row)
                for row in rows
                if wanted in row["prompt"]["text"].lower()
                or wanted in row["completion"]["text"].lower()
            }
            assert document["paging"]["count"] == len(found), query
            assert {place(row) for row in document["rows"]} <= found, query
            is_scan = bool(wanted) and (not trigrams or len(wanted) < 3)
            assert (document["scan"] is not None) == is_scan, query
        page = other.get("/rollouts?q=123").text
        assert ("no index of trigrams" in page) == (not trigrams)
        assert "fewer than three" in other.get("/rollouts?q=1").text or not trigrams
        listed = other.get_json("/rollouts.json?q=%3D%3F")
        for row in listed["rows"]:
            part = row["prompt"] if row["prompt"]["match"] else row["completion"]
            begin, end = part["match"]
            assert part["text"][begin:end] == "=?"


def test_a_scan_ends_in_time_and_says_how_far_it_came(inside, rows, monkeypatch):
    monkeypatch.setattr(rollout_index, "SCAN_S", 0)
    monkeypatch.setattr(rollout_index, "_SCANNED", 100)
    assert inside.get_json("/rollouts.json?q=1")["scan"] == {"looked": 0, "whole": len(rows)}
    monkeypatch.setattr(rollout_index, "SCAN_S", 60)
    monkeypatch.setattr(rollout_index, "FOUND_MAX", 10)
    scan = inside.get_json("/rollouts.json?q=1")["scan"]
    assert 0 < scan["looked"] < scan["whole"]
    assert f">{scan['looked']}</data> of" in inside.get("/rollouts?q=1").text


def test_a_query_that_takes_too_long_says_so(inside, monkeypatch):
    monkeypatch.setattr(rollout_list, "QUERY_S", 0)
    monkeypatch.setattr(rollout_index, "QUERY_S", -1)
    monkeypatch.setattr("assay.explorer.index._LOOK", 1)
    page = inside.get("/rollouts?q=123")
    assert (page.status_code, "add a filter" in page.text) == (200, True)
    monkeypatch.undo()
    assert "add a filter" not in inside.get("/rollouts?q=123").text


def test_what_is_not_understood_is_said(inside):
    for query in ("reward=x", "reward=-", "window=1-2-3", "level=-1", "tokens=٣", "level=1.5"):
        document = inside.get_json(f"/rollouts.json?{query}")
        (fault,) = document["faults"]
        assert fault.startswith(query.partition("=")[0])
        assert document["rows"] == []
    assert "Write" not in inside.get("/rollouts?reward=0.5").text
    for query in (
        "page=999999999999",
        "size=999999999999",
        "sort=none",
        "page=-1",
        "window=9" * 40,
    ):
        assert inside.get(f"/rollouts?{query}").status_code == 200
    assert len(inside.get_json("/rollouts.json?size=5000")["rows"]) <= 1_000


def test_a_group_is_seen_side_by_side_and_its_rollouts_say_what_they_earned(inside, rows):
    one = next(row for row in rows if row["advantage"] and row["source"] == "step" and row["name"])
    path = f"/rollouts/{one['window']}/{one['hotkey']}/{one['group']}"
    group = inside.get_json(f"{path}.json")
    wanted = sorted((r for r in rows if place(r)[:3] == place(one)[:3]), key=place)
    assert [row["reward"] for row in group["rows"]] == [row["reward"] for row in wanted]
    assert sum(row["advantage"] for row in group["rows"]) == pytest.approx(0, abs=1e-9)
    assert group["mean"] == pytest.approx(sum(r["reward"] for r in wanted) / len(wanted) / 1e6)
    best = inside.get_json(f"{path}.json?sort=best")["rows"]
    assert all(a["reward"] >= b["reward"] for a, b in pairwise(best))
    after = group["after"]
    behind = inside.get_json("/rollouts/{window}/{hotkey}/{group}.json".format(**after))
    assert behind["before"] == {n: one[n] for n in ("window", "hotkey", "group")}
    kept = inside.get(f"{path}?q=abc&level=5").text
    assert "/rollouts?q=abc&amp;level=5" in kept
    number = one["rollout"]
    own = inside.get_json(f"/window/{one['window']}/{one['hotkey']}/{one['group']}/{number}.json")
    assert own["indexed"]
    worth = own["worth"]
    assert (worth["reward"], worth["advantage"]) == (one["reward"], one["advantage"])
    assert worth["step"] == one["step"]
    page = inside.get(f"/window/{one['window']}/{one['hotkey']}/{one['group']}/{number}").text
    assert f'<data value="{one["advantage"]}">' in page
    assert inside.get("/rollouts/1/5Nobody/0").status_code == 404


def test_a_rollouts_own_page_compares_its_group_without_the_index(demo, rows):
    one = next(row for row in rows if row["advantage"] and row["source"] == "record")
    path = f"/window/{one['window']}/{one['hotkey']}/{one['group']}/{one['rollout']}.json"
    with look_into(demo) as inside:
        for _ in range(60):
            document = inside.get_json(path)
            if document["lack"] is None:
                break
        assert not document["indexed"]
        assert document["worth"]["reward"] == one["reward"]
        assert document["worth"]["advantage"] == pytest.approx(one["advantage"])


def test_a_menu_has_it_once_there_is_a_rollout(demo):
    with look_into(demo) as inside:
        assert 'href="/rollouts"' not in inside.get("/training").text
        page = inside.get("/rollouts").text
        assert "--trainer" in page
        assert "--rollouts" in page
        inside.rollouts.step()
        ends = inside.get_json("/rollouts.json")
        assert ends["lack"] is None
        with look_into(demo, inside.index.path) as other:
            assert 'href="/rollouts"' in other.get("/training").text


@pytest.mark.parametrize("columns", sorted(LAYOUTS))
def test_an_export_says_the_same(demo, inside, rows, export, columns, tmp_path):
    (record,) = (demo / "record").iterdir()
    named = {"record": str(demo / "record"), "hotkey": record.name}
    shutil.copytree(demo / "record", tmp_path / "record")
    shutil.copytree(demo / "store" / "parameters", tmp_path / "record" / "parameters")
    named = {"record": str(tmp_path / "record"), "hotkey": record.name}
    with look_into(None, rollouts=export[columns], trainer=tmp_path, **named) as other:
        other.rollouts.step()
        listed = {place(row): row for row in list_rows(other)}
        known = other.get_json("/rollouts.json")["sources"]
    wanted = {place(row): row for row in rows if row["source"] == "step"}
    assert listed.keys() == wanted.keys()
    assert known["read"] == known["files"] == len(list((demo / "steps").glob("step-*.json")))
    for where, row in wanted.items():
        names = ("reward", "tokens", "level", "step", "verdict")
        assert pick(listed[where], names) == pick(row, names), where
        for name in ("advantage", "surprise"):
            assert listed[where][name] == pytest.approx(row[name], abs=1e-6), where
        assert listed[where]["source"] == "export"
        assert row["completion"]["text"].strip() in listed[where]["completion"]["text"]


def make_row(**changes):
    row = {
        "window": 3,
        "hotkey": encode_ss58(b"m" * 32),
        "group": 0,
        "rollout": 0,
        "reward": 0.5,
        "level": 1,
        "step": 2,
        "environment": "none",
        "prompt": "2+2=?",
        "completion": "4",
        "advantage": 0.25,
        "tokens": [1, 2],
        "logprobs": [-1.0, -2.0],
    }
    return {**row, **changes}


def look_at_export(demo, tmp_path, *tables):
    """An explorer over a demo without steps and the export of these rows."""
    folder = tmp_path / "hostile" / "data"
    folder.mkdir(parents=True)
    for number, table in enumerate(tables):
        path = folder / f"{number}.parquet"
        if isinstance(table, bytes):
            path.write_bytes(table)
        else:
            pq.write_table(pa.Table.from_pylist(table), path)
    return look_into(demo, rollouts=folder.parent, trainer=tmp_path)


def test_hostile_texts_are_texts(demo, tmp_path, chromium):
    long = EVIL + "x" * (1 << 20) + "the end of it"
    rows = [
        make_row(rollout=0, completion=EVIL, prompt=EVIL, environment=EVIL[:60]),
        make_row(rollout=1, completion=long, prompt=EVIL, environment=EVIL[:60]),
        make_row(rollout=2, completion="\u202eshalom \u05e9\u05dc\u05d5\u05dd\x00 behind NUL"),
    ]
    with look_at_export(demo, tmp_path, rows) as inside:
        inside.rollouts.step()
        hotkey = encode_ss58(b"m" * 32)
        query = "/rollouts?miner=" + hotkey
        group = f"/rollouts/3/{hotkey}/0"
        searched = "/rollouts?q=" + "%3Cscript%3Epwned"
        for path in (query, group, searched, f"{query}&q=%E2%80%AE", f"{query}&q=behind+NUL"):
            answer = inside.get(path)
            assert answer.status_code == 200
            assert len(answer.text) < 200_000
            page = Page(answer.text)
            scripts = [link_static(name) for name in ("live.js", "rollouts.js")]
            found = [at.get("src") for tag, at in page.elements if tag == "script"]
            assert found == scripts, path
            assert not {tag for tag, _ in page.elements} & {"img", "iframe", "object"}, path
            assert not INVISIBLE & set("".join(page.text)), path
        assert show_hidden(EVIL.replace("\0", "␀")) in "".join(Page(inside.get(group).text).text)
        document = inside.get_json(f"/rollouts.json?miner={hotkey}&q=behind+NUL")
        assert [row["rollout"] for row in document["rows"]] == [2]
        texts = inside.rollouts._index.read(  # noqa: SLF001
            "SELECT max(length(completion)) AS n FROM texts"
        )
        assert texts[0]["n"] == TEXT_MAX
        assert inside.get_json("/rollouts.json?q=the+end+of+it")["rows"] == []
        with browse(inside, chromium) as (opened, said):
            for path in (query, group):
                opened.goto("http://127.0.0.1:8400" + path)
                for width in (390, 1_280):
                    opened.set_viewport_size({"width": width, "height": 800})
                    assert opened.evaluate("document.documentElement.scrollWidth") <= width
                assert opened.evaluate("window.pwned === undefined")
        assert said == []


def test_a_file_that_is_no_export_is_said_and_the_others_are_read(demo, tmp_path):
    faults = [
        b"no Parquet",
        [{"window": 1}],
        [make_row(hotkey="<script>")],
        [make_row(reward=float("nan"))],
        [make_row(window=-1)],
        [make_row(rollout=1 << 62)],
    ]
    good = [make_row(rollout=number) for number in range(3)]
    with look_at_export(demo, tmp_path, *faults, good) as inside:
        inside.rollouts.step()
        sources = inside.get_json("/rollouts.json")["sources"]
        assert sum(one["count"] for one in sources["unread"]) == len(faults)
        assert sources["read"] == sources["files"] - len(faults)
        page = inside.get("/rollouts").text
        assert "no file of an export" in page
        assert str(tmp_path) not in page
        rows = list_rows(inside, "miner=" + encode_ss58(b"m" * 32))
        assert [row["rollout"] for row in rows] == [0, 1, 2]
        assert {row["surprise"] for row in rows} == {1.5}


def test_tools_that_an_export_says_were_called_can_be_chosen(demo, tmp_path):
    tools = json.dumps([{"type": "function", "function": {"name": "calculator"}}])
    turns = [
        {"text": "calculator: 2+2", "reply": "4", "role": "tool"},
        {"text": "#### 4", "reply": None, "role": None},
    ]
    rows = [
        make_row(rollout=0, turns=turns, tools=tools),
        make_row(rollout=1, turns=None, tools=tools),
    ]
    with look_at_export(demo, tmp_path, rows) as inside:
        inside.rollouts.step()
        (row,) = list_rows(inside, "tool=calculator")
    assert (row["rollout"], row["tools"]) == (0, ["calculator"])
    assert row["completion"]["text"] == "calculator: 2+2\n→ 4\n#### 4"


def test_parts_of_a_file_follow_each_other(demo, export, inside, rows, tmp_path, monkeypatch):
    """Within this process, whose parts are small."""
    from assay.explorer.sources import export_child, rollout_child  # loads torch

    for module in (export_child, rollout_child):
        monkeypatch.setattr(module, "PART_ROLLOUTS", 20)
    readers = {"export": export_child.ExportReader(), "step": rollout_child.RolloutReader()}
    with look_into(demo, rollouts=export["assay"]) as other:
        source, asked = other.source.sources.rollouts, []

        def ask(helper, order):
            kind = order["kind"]
            asked.append((kind, order.get("first")))
            reader = readers["export" if kind == "export" else "step"]
            answer = json.loads(reader.answer(json.dumps(source._fixed | order).encode()))  # noqa: SLF001
            return answer["why"] or answer

        monkeypatch.setattr(source, "_ask", ask)
        other.rollouts.step()
        assert {place(row) for row in list_rows(other)} == {place(row) for row in rows}
        for kind in ("export", "step"):
            firsts = [first for name, first in asked if name == kind]
            assert len(set(firsts)) > 5
        assert other.get_json("/rollouts.json")["sources"]["unread"] == []


def test_a_group_with_more_text_than_a_part_may_have_keeps_beginnings():
    budget = rollout_texts.TextBudget(100)
    assert len(budget.take("a" * (1 << 20))) == TEXT_MAX
    assert len(budget.take("a" * (1 << 20))) == rollout_texts.LITTLE


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_it_goes_on_after_a_kill(demo, inside, rows, parts, tmp_path):
    index = tmp_path / "i.sqlite"
    killed = start_code(KILLED, demo, index, parts, stderr=subprocess.PIPE)
    _, said = killed.communicate(timeout=300)
    assert killed.returncode == -9, said.decode().splitlines()[-1:]
    with look_into(demo, index) as other:
        kept = {place(row) for row in list_rows(other)}
        assert len(kept) == sum(
            row["rollouts"]
            for row in other.rollouts._index.read("SELECT rollouts FROM files")  # noqa: SLF001
        )
        assert (parts == 1) == (kept == set())
        source, read = other.source.sources.rollouts, []
        original = source.read_part
        source.read_part = lambda file, first: (read.append(file.name), original(file, first))[1]
        other.rollouts.step()
        listed = list_rows(other)
        assert {place(row): pick(row, ("reward", "advantage", "completion")) for row in listed} == {
            place(row): pick(row, ("reward", "advantage", "completion")) for row in rows
        }
        assert len(read) == len(list((demo / "steps").glob("step-*.json"))) - parts + 1


def test_a_damaged_index_is_made_anew(demo, tmp_path, rows):
    index = tmp_path / "i.sqlite"
    with look_into(demo, index) as inside:
        inside.rollouts.step()
    path = tmp_path / "i-rollouts.sqlite"
    data = bytearray(path.read_bytes())
    data[len(data) // 4 :] = bytes(len(data) - len(data) // 4)
    path.write_bytes(data)
    with look_into(demo, index) as inside:
        rollouts = inside.rollouts
        statuses = {inside.get(f"/rollouts?{q}").status_code for q in ("", "q=123", "sort=best")}
        assert statuses <= {200, 503}
        for _ in range(3):
            try:
                rollouts.step()
            except IndexDamagedError:
                rollouts._begin_again()  # noqa: SLF001
        assert {place(row) for row in list_rows(inside)} == {place(row) for row in rows}


def test_a_step_that_learned_from_an_audited_group_is_noted(demo, tmp_path):
    """The audit's file is often there before the step's."""
    with look_into(demo, tmp_path / "i.sqlite") as inside:
        source = inside.source.sources.rollouts
        listed, source.list_files = source.list_files, lambda steps: []
        inside.rollouts.step()
        before = {place(row): row for row in list_rows(inside)}
        assert {row["step"] for row in before.values()} == {None}
        source.list_files = listed
        inside.rollouts.step()
        after = {place(row): row for row in list_rows(inside)}
    assert before.keys() < after.keys()
    noted = [after[where] for where in before if after[where]["step"] is not None]
    assert noted
    assert {row["source"] for row in noted} == {"record"}


def test_keys_reach_rows_groups_and_the_list(inside, chromium):
    with browse(inside, chromium) as (page, said):
        page.goto("http://127.0.0.1:8400/rollouts?sort=best")
        assert "Keys: j and k" in page.locator(".keys").inner_text()
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("k")
        first = page.locator("a.row").first.get_attribute("href")
        assert page.evaluate("document.activeElement.getAttribute('href')") == first
        page.keyboard.press("Enter")
        page.wait_for_url("**" + first)
        heading = page.locator("h1").inner_text()
        with page.expect_navigation():  # keys work once it is loaded, not with its heading
            page.keyboard.press("n")
        assert page.locator("h1").inner_text() != heading
        with page.expect_navigation(url="**/rollouts"):
            page.keyboard.press("u")
        page.keyboard.press("f")
        page.keyboard.type("jk")
        assert page.locator("form.search input[name=q]").input_value() == "jk"
        page.keyboard.press("Enter")
        page.wait_for_url("**q=jk**")
    assert said == []


def test_it_works_without_script(inside, chromium):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()

    def fulfil(route):
        answer = inside.get(route.request.url.removeprefix("http://127.0.0.1:8400"))
        route.fulfill(status=answer.status_code, headers=dict(answer.headers), body=answer.content)

    page.route("**/*", fulfil)
    page.goto("http://127.0.0.1:8400/rollouts")
    page.get_by_role("textbox", name="Reward").fill("1")
    page.get_by_label("Sorted by").select_option("longest")
    page.get_by_role("button", name="Show").click()
    rewards = page.locator("table.browse tbody tr td:nth-child(2)").all_inner_texts()
    assert set(rewards) == {"1.000"}
    page.get_by_role("link", name="Tokens").click()
    page.locator("a.row").first.click()
    assert page.locator("ol.beside > li").count() > 1
    assert page.locator(".keys").count() == 0
    context.close()


def test_pages_fit_and_axe_finds_nothing(inside, rows, chromium):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    one = next(row for row in rows if row["advantage"])
    group = f"/rollouts/{one['window']}/{one['hotkey']}/{one['group']}"
    with browse(inside, chromium) as (page, said):
        for path in ("/rollouts", "/rollouts?q=12&reward=x", "/rollouts?q=%3D%3F", group):
            page.goto("http://127.0.0.1:8400" + path)
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                for width in (390, 1_280):
                    page.set_viewport_size({"width": width, "height": 800})
                    wide = page.evaluate("document.documentElement.scrollWidth")
                    assert wide <= width, (path, width)
                found = axe.run(page, options={"resultTypes": ["violations"]}).response
                seen = [(v["id"], v["nodes"][0]["html"][:200]) for v in found["violations"]]
                assert seen == [], (path, scheme)
    assert said == []
