"""Pages over the record of a real demo, asked for as a browser and as a program would."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from html import unescape
from pathlib import Path

import pytest
import torch
from starlette.testclient import TestClient
from typer.testing import CliRunner

from assay.cli.app import app
from assay.explorer import make_app
from assay.explorer.ports import CheckpointOrigin
from assay.explorer.sources.shell_commands import WINDOWS_MAX
from assay.judge.about import AUDITED_MAX
from assay.protocol.commitment import make_object_name
from assay.protocol.record import decode_settlement_record
from tests.commands import start_cold_program, start_program
from tests.explorer.api_types import check_document
from tests.explorer.inside import ADDRESS, UNLIMITED, Page, list_numbers, look_into, wait_for_course
from tests.explorer.program import list_pages, serve

pytestmark = pytest.mark.slow
_ROLLOUT_S = 400
#: Pages on which a demo has no figures.
EMPTY = ("/ledger", "/proposals", "/gauntlet", "/evaluations")


def wait_for_rollout(served, path):
    """The model runs in a process of its own, which has to start first."""
    ends = time.monotonic() + _ROLLOUT_S
    while time.monotonic() < ends:
        document = served.get_json(path + ".json")
        if document["lack"] is None or not document["lack"]["passing"]:
            return document
    raise AssertionError(f"{path} was not measured in time")


def test_it_writes_nothing_where_it_reads(copy):
    """Its container mounts the folder read-only."""
    before = list_states(copy)
    with serve(copy, "--dir", copy) as served:
        served.wait_until_read()
        wait_for_course(served.get_json)
        for path in list_pages(copy):
            assert served.get(path)[0] == 200, path
    assert list_states(copy) == before


def list_states(folder):
    return {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in (folder, *folder.rglob("*"))}


@pytest.fixture(scope="module")
def summary(demo):
    return json.loads((demo / "summary.json").read_text())


def test_every_page_is_there_with_the_numbers_that_its_json_has(served, demo):
    rollout = next(path for path in list_pages(demo) if path.count("/") == 5)
    wait_for_rollout(served, rollout)
    wait_for_course(served.get_json)
    for path in list_pages(demo):
        status, headers, html = served.get(path)
        assert status == 200, path
        assert "default-src 'none'" in headers["content-security-policy"]
        document = served.get_json("/index.json" if path == "/" else path + ".json")
        assert served.get_json(path) == document, "the Accept header asks for the same"
        page = Page(html)
        assert page.values or path in EMPTY, path
        missing = set(page.values) - set(list_numbers(document))
        assert not missing, (path, missing)
        assert sum(tag == "h1" for tag, _ in page.elements) == 1
        assert find_command(html) == document["command"], path  # as on the page


def test_pages_say_what_the_demo_came_to(served, summary):
    played = summary["windows"][0]
    window = served.get_json(f"/window/{played['window']}")
    found = {m["hotkey"]: (m["reason"], m["score"]) for m in window["members"]}
    for verdict in played["verdicts"]:
        assert found[verdict["hotkey"]] == (verdict["reason"], verdict["score"])
    assert window["window"]["beacons"] == "verified"
    assert window["window"]["link"] == "ok"
    last = served.get_json("/weights")["weights"]
    assert last["derived"] is True
    assert last["on_chain"] is True
    by_hotkey = {row["hotkey"]: row["weight"] for row in last["rows"]}
    assert summary["windows"][-1]["weights"].items() <= by_hotkey.items()
    training = served.get_json("/training")
    values = [point["value"] for point in training["tried"]]
    assert values == [summary["accuracy"]["before"], summary["accuracy"]["after"]]
    drawn = Page(served.get("/training")[2]).elements
    lines = sum(tag == "polyline" and look["class"] == "line" for tag, look in drawn)
    # each run's of each curve, and the picture of what was gained
    assert lines == sum(len(curve["series"]) for curve in training["curves"]) + 1
    parents = {row["digest"]: row["parent"] for row in training["checkpoints"]}
    assert set(filter(None, parents.values())) <= set(parents)


def test_a_refused_rollout_shows_the_very_token(served, demo, summary):
    window = summary["windows"][1]
    cheat = next(v for v in window["verdicts"] if v["reason"] == "SAMPLING_MISMATCH")
    member = served.get_json(f"/window/{window['window']}/{cheat['hotkey']}")
    place = member["place"]
    path = f"/window/{window['window']}/{cheat['hotkey']}/{place['group']}/{place['rollout']}"
    found = wait_for_rollout(served, path)["reading"]
    assert found["measured"], found["note"]
    off = [row["number"] for row in found["rows"] if row["state"] == "off"]
    assert place["token"] in off
    capital = next(m for m in member["measures"] if m["name"] == "log_capital")
    assert found["log_capital"] == pytest.approx(capital["value"], abs=1e-6)
    assert found["prompt"].endswith("=?\n")
    page = served.get(path)[2]
    assert f'level <data value="{found["level"]}">' in page
    assert f'martingale</dt><dd class="big"><data value="{found["log_capital"]}">' in page
    assert found["log_capital_bound"] == capital["bound"]


def test_a_group_s_page_tells_what_the_audit_does_with_each_rollout(served, summary):
    window = summary["windows"][1]
    honest = next(v for v in window["verdicts"] if v["role"] == "honest")
    path = f"/window/{window['window']}/{honest['hotkey']}"
    member = served.get_json(path)
    audited = {group["index"]: group for group in member["audited"]}
    network = served.get_json("/index.json")["network"]
    assert sum(group["rollouts"] for group in audited.values()) == network["audited_rollouts"]
    valued = next(group for group in audited.values() if group["valued"])
    only_run = next(group for group in audited.values() if not group["valued"])
    assert valued["value"]
    assert only_run["value"] is only_run["audited"] is None
    left = next(n for n in range(member["groups"]) if n not in audited)
    for group, other in ((valued["index"], "valued"), (only_run["index"], "unread"), (left, None)):
        found = wait_for_rollout(served, f"{path}/{group}/0")
        run = [] if found["drawn"] is None else found["drawn"]["audited"]
        assert [n for n, state in enumerate(found["states"]) if state == "audited"] == run
        assert audited.get(group, {}).get("audited") in (None, run), "the validator says the same"
        assert len(run) == (other is not None)
        sampled = {s["rollout"] for s in member["selection"]["sampled"] if s["group"] == group}
        for number, state in enumerate(found["states"]):
            rest = "sampled" if number in sampled and other != "valued" else other or "unread"
            assert state == ("audited" if number in run else rest)


def test_a_file_other_than_the_committed_one_is_not_shown(copy, summary):
    played = summary["windows"][1]
    honest = next(v["hotkey"] for v in played["verdicts"] if v["role"] == "honest")
    file = copy / "store" / make_object_name(honest, played["window"])
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with look_into(copy) as explorer:
        path = f"/window/{played['window']}/{honest}"
        last = explorer.get_json(path)["groups"] - 1
        assert wait_for_rollout(explorer, f"{path}/{last}/0")["lack"]["why"].endswith(
            f"of group {last} is not the one committed"
        )
        assert wait_for_rollout(explorer, f"{path}/0/0")["lack"] is None


def find_command(html):
    """The command that a page names, as it is copied."""
    found = re.search(r'<pre id="command"[^>]*><code>(<span>assay</span>.*?)</code></pre>', html)
    return found and unescape(re.sub(r"</?span>", "", found.group(1)))


def invoke(*words):
    """Run a command in this process, so that its modules are imported once."""
    threads = torch.get_num_threads()
    try:
        return CliRunner().invoke(app, [*map(str, words)])
    finally:
        torch.set_num_threads(threads)  # some commands set it


def test_every_page_s_command_derives_again_what_it_shows(demo, tmp_path, monkeypatch):
    """Copied from the page, run in the folder that the explorer was started in."""
    monkeypatch.chdir(demo.parent)
    small = ("gauntlet", "--fast", "--groups", 2, "--only", "constant sketch", "--quiet")
    assert invoke(*small, "--out", tmp_path).exit_code == 0
    shown = json.loads((tmp_path / "gauntlet.json").read_text())
    commands, seen = {}, {}
    with look_into(Path(demo.name), gauntlet=tmp_path / "gauntlet.json") as inside:
        wait_for_course(inside.get_json)
        for path in list_pages(demo):
            html = inside.get(path).text
            document = inside.get("/index.json" if path == "/" else path + ".json").json()
            seen[path] = document
            assert find_command(html) == document["command"], path
            if document["command"]:
                commands.setdefault(document["command"], []).append(path)
            if document.get("covers"):
                assert document["covers"]["whole"], "every window that the page lists"
                lists = [document.get(name) for name in ("windows", "rows")]
                listed = [w["window"] for rows in lists if type(rows) is list for w in rows]
                assert all(
                    document["covers"]["first"] <= w <= document["covers"]["last"] for w in listed
                )
    left = set(list_pages(demo)) - {path for paths in commands.values() for path in paths}
    # the demo measures no suite, posts nothing, has one trainer, does not write its own problems,
    # and its record is compared with no other
    assert left == {"/evaluations", "/ledger", "/proposals", "/rounds", "/validators"}
    outcomes = {w["outcome"] for w in seen["/windows"]["windows"]}
    assert outcomes == {"counted", "abstained"}, "those abstained from are derived as well"
    for command, paths in commands.items():
        words = shlex.split(command)[1:]
        done = invoke(*words, "--json")
        refused = words[0] == "verify" and seen[paths[0]]["reason"] != "ACCEPTED"
        refused |= paths == ["/watch"] and any(rule["holds"] for rule in seen["/watch"]["rules"])
        assert done.exit_code == refused, (command, done.output)
        document = json.loads(done.stdout)
        if paths == ["/gauntlet"]:
            assert document["rows"] == shown["rows"]
        elif paths == ["/training"]:
            newest = seen["/training"]["checkpoints"][0]
            assert (document["digest"], document["number"]) == (newest["step"], newest["number"])
        elif paths == ["/watch"]:
            assert document["sentence"] == seen["/watch"]["sentence"]
        elif words[0] == "verify":
            assert document["reason"] == seen[paths[0]]["reason"]
            assert document["hotkey"] == seen[paths[0]]["hotkey"]
        else:
            assert all(w["matched"] for w in document["windows"])
            assert document["weights_match"] is not False


def test_a_command_asks_for_no_more_than_one_audit_takes():
    assert WINDOWS_MAX == AUDITED_MAX


def test_the_process_that_serves_has_no_model_in_it(demo):
    with serve(demo.parent, "--dir", demo.name, start=start_cold_program) as explorer:
        explorer.wait_until_read()
        process = Path(f"/proc/{explorer.process.pid}")
        maps, status = ((process / name).read_text() for name in ("maps", "status"))
    assert "torch" not in maps
    assert "arrow" not in maps
    resident = int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1))
    assert resident < 150 << 10


def test_the_serving_process_imports_no_model_and_no_chain():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import assay.explorer.serving, sys;"
            "print([m for m in ('torch','transformers','bittensor','web3','pyarrow') "
            "if m in sys.modules])",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_lists_are_sorted_searched_and_paged(served, summary):
    cheap = next(
        v["hotkey"] for v in summary["windows"][0]["verdicts"] if v["name"] == "cheap-model"
    )
    for text in ("cheap", cheap[:9], "SAMPLING"):
        assert cheap in [m["hotkey"] for m in served.get_json(f"/miners?q={text}")["miners"]]
    assert served.get_json("/miners?q=%25")["miners"] == []
    rows = served.get_json("/miners?sort=uid")["miners"]
    assert [m["uid"] for m in rows] == sorted(m["uid"] for m in rows)
    assert served.get_json("/miners?sort=nonsense;DROP&page=99999")["sort"] == "weight"
    assert served.get_json("/windows?page=-3&page=x")["paging"]["page"] == 1


def test_a_missing_page_says_so(served):
    for path in (
        "/window/999999",
        "/window/x",
        "/miner/5Nobody",
        "/settlement/1",
        "/nowhere",
        "/window/99999999999999999999999",
        "/static/../routes.py",
        "/static/nothing.css",
        "/miners/",
        "/window/6/",
    ):
        status, headers, page = served.get(path)
        assert status == 404, path
        assert "as JSON" not in page
        assert "application/json" not in page
        assert headers["x-content-type-options"] == "nosniff"
    status, _, body = served.get("/window/999999.json")
    assert status == 404
    assert "are known" in json.loads(body)["error"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dir", "nowhere"], "there is no such folder"),
        ([], "nothing to show"),
        (["--record", "nowhere"], "no such folder"),
        (
            ["--dir", "{demo}", "--hotkey", "5Nonsense"],
            "--hotkey: '5Nonsense' is not an SS58 address",
        ),
        (
            ["--dir", "{demo}", "--hotkey", "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"],
            "holds no record of",
        ),
        (["--dir", "{demo}", "--evm-explorer", "javascript:alert(1)"], "https://host"),
        (["--dir", "{demo}", "--model", "nowhere"], "--model nowhere"),
        (["--dir", "{demo}", "--port", "{port}"], "name another with --port"),
        (["--dir", "{demo}/summary.json"], "is a file"),
        (["--record", "{demo}/summary.json"], "is a file"),
        (["--record", "http://127.0.0.1:1/none"], "name a validator with --hotkey"),
        (
            [
                "--record",
                "http://127.0.0.1:1/none",
                "--hotkey",
                "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty",
            ],
            "this machine can reach it",
        ),
        (["--dir", "{demo}", "--port", "99999"], "--port"),
        (["--dir", "{demo}", "--host", "nowhere.invalid"], "name an address of this machine"),
        (["--dir", "{demo}/models"], "holds no record yet"),
        *(
            (["--dir", "{demo}", "--allow-host", name], "write it alone")
            for name in (
                "a/b",
                "explorer.example:443",
                "https://explorer.example",
                "[::1]",
                "",
                "bücher.example",
                "a..b",
            )
        ),
        (
            [
                "--record",
                "{demo}/bundle/store",
                "--hotkey",
                "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty",
            ],
            "holds no record of",
        ),
    ],
)
def test_errors_are_one_line_that_helps(served, demo, tmp_path, arguments, said, monkeypatch):
    given = [a.format(demo=demo, port=served.port) for a in arguments]
    port = [] if "--port" in given else ["--port", "0"]
    monkeypatch.chdir(tmp_path)
    done = invoke("explorer", *given, *port)
    assert done.exit_code == 2, done.stderr
    opening, error = done.stderr.splitlines()
    assert opening == "assay: opening the explorer …"
    assert said in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--record", "http://127.0.0.1:1/none"], "name a validator with --hotkey"),
        (
            [
                "--record",
                "http://127.0.0.1:1/none",
                "--hotkey",
                "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty",
            ],
            "this machine can reach it",
        ),
        (["--record", "{demo}/record", "--hotkey", "5Nonsense"], "--hotkey"),
        (["--record", "nowhere"], "is not a folder"),
        (["--hotkey", "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"], "with --record"),
        (["--dir", "{demo}/summary.json"], "is a file"),
        (["--dir", "{demo}/models"], "has no run"),
        (["--dir", "nowhere"], "there is no such folder"),
        (["--dir", "{demo}", "--watch", "--json"], "use one of the two"),
        (["--dir", "{demo}", "--watch"], "needs a terminal"),
    ],
)
def test_errors_of_status_are_one_line_that_helps(demo, tmp_path, arguments, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = invoke("status", *(a.format(demo=demo) for a in arguments))
    assert done.exit_code == 2, done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_record_alone_serves_as_well(demo, tmp_path, summary):
    """Without the run around it: a store, and the rules beside the record."""
    store = tmp_path / "store"
    shutil.copytree(demo / "record", store)
    shutil.copytree(demo / "store" / "parameters", store / "parameters")
    window = summary["windows"][0]["window"]
    with look_into(None, record=str(store)) as inside:
        found = inside.get("/index.json").json()
        assert found["live"] is None
        assert found["weights"]["derived"] is True
        assert found["weights"]["on_chain"] is None
        assert f"--records {store}" in inside.get(f"/window/{window}.json").json()["command"]
        honest = summary["windows"][0]["verdicts"][0]["hotkey"]
        lack = inside.get(f"/window/{window}/{honest}/0/0.json").json()["lack"]
        assert lack is not None


def test_a_settlement_s_numbers_are_its_record_s(served, demo):
    (file, *_) = sorted((demo / "record").glob("*/settlement-1*.record"))
    record = decode_settlement_record(file.read_bytes())
    found = served.get_json(f"/settlement/{record.epoch}")
    assert found["settlement"]["digest"] == record.digest.hex()
    assert found["settlement"]["total"] == sum(score.score for score in record.scores)
    assert [w["window"] for w in found["windows"]] == [c.window for c in record.windows]
    weights = {row["uid"]: row["weight"] for row in found["weights"]["rows"] if row["weight"]}
    assert weights == {weight.uid: weight.weight for weight in record.weights}


def test_a_run_whose_record_comes_later_is_waited_for(copy, tmp_path):
    (copy / "record").rename(tmp_path / "later")
    status = json.loads((copy / "status.json").read_text())
    status |= {"stage": "mining", "state": "running", "at": int(time.time()) + 600}
    (copy / "status.json").write_text(json.dumps(status))
    with start_program(
        *("explorer", "--dir", copy, "--port", "0", "--index", tmp_path / "index"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr.readline() == "assay: opening the explorer …\n"
            assert "waiting for it" in process.stderr.readline()
            (tmp_path / "later").rename(copy / "record")
            assert process.stdout.readline().startswith("http://127.0.0.1:")
        finally:
            process.terminate()


def test_a_validators_results_are_hidden_until_its_weights_are_open(copy):
    """Its status.json holds verdicts that nobody else may see yet."""
    status = json.loads((copy / "status.json").read_text())
    newest = status["windows"][-1]
    assert any(verdict["reason"] == "ACCEPTED" for verdict in newest["verdicts"])
    status |= {"stage": "mining", "head": status["head"] - 20}
    status |= {"state": "running", "at": int(time.time()) + 600}
    newest["window"] += 1  # one that no record has
    newest["judged"] += 1  # one that waits for its samples: verdicts alone would be refusals
    (copy / "status.json").write_text(json.dumps(status))
    with serve(copy.parent, "--dir", copy.name) as explorer:
        explorer.wait_until_read()
        live = explorer.get_json("/")["live"]
        said = {w["window"]: w["said"] for w in live["windows"]}[newest["window"]]
        assert said == {
            "state": newest["state"],
            "trouble": None,
            "judged": len(newest["verdicts"]) + 1,
        }
        page = explorer.get("/")[2]
        now = page[page.index('id="now"') : page.index('id="settled"')]
        assert "accepted" not in now.lower()
        assert explorer.get(f"/window/{newest['window']}")[0] == 404


def test_no_address_makes_a_page_link_to_another_host(served):
    for path in ("//evil.example/x", "//evil.example", "///evil.example/miners?q=1"):
        status, _, page = served.get(path)
        assert status == 404
        links = re.findall(r'href="([^"]*)"', page)
        assert links
        assert not [link for link in links if link.startswith(("//", "http"))]


def test_a_lie_of_the_trainer_is_shown_where_its_checkpoints_are(demo):
    with look_into(demo) as inside:
        assert inside.get_json("/training")["lies"] == []
        lie = "it is measured against 6d6d…, and its parent against 7e7e…"
        around = inside.answer_instead(read_manifest=CheckpointOrigin(3), find_lie=lie)
        shown, *_ = make_app(inside.source.subject, inside.index, around, access=UNLIMITED)
        client = TestClient(shown, base_url=ADDRESS)
        document = client.get("/training.json").json()
        check_document("/training.json", document)
        assert {one["what"] for one in document["lies"]} == {lie}
        page = client.get("/training", headers={"accept": "text/html"}).text
        assert "The trainer lies about checkpoint" in page
        assert "it is measured against 6d6d" in page
