"""The serving process bounds everything that it reads, and says when a bound is exceeded."""

import json
import shutil
from dataclasses import replace

import pytest

from assay.artifacts.records.reader import STATISTICS_BYTES
from assay.explorer.sources.manifests import parse_manifest
from assay.explorer.views import ledger_entries
from assay.protocol.commitment import make_object_name
from assay.protocol.encoding import encode
from assay.protocol.record import decode_settlement_record
from assay.training import GENESIS
from tests.explorer.inside import Page, look_into


@pytest.fixture
def run(demo, tmp_path):
    """A demo's folder without its models and chain, which a test may change."""
    place = tmp_path / "run"
    shutil.copytree(demo / "record", place / "record")
    shutil.copytree(demo / "store" / "parameters", place / "store" / "parameters")
    shutil.copy(demo / "status.json", place)
    shutil.copy(demo / "summary.json", place)
    return place


@pytest.fixture(scope="module")
def small(demo):
    """An explorer over the demo's record that no test changes."""
    with look_into(demo) as inside:
        yield inside


def change_statistics(run, change):
    """Changes a window's statistics: its number, and a hotkey with a verdict in it."""
    *_, file = sorted((run / "record").glob("*/*.statistics.json"))
    document = json.loads(file.read_text())
    (verdict, *_) = [row for row in document["verdicts"] if row["groups"]]
    change(document, verdict)
    file.write_text(json.dumps(document))
    return int(file.name.split("-")[1].split(".")[0]), verdict["hotkey"]


def test_statistics_beyond_the_bound_are_not_parsed_and_that_is_told(run):
    def grow(document, verdict):
        document["more"] = "x" * STATISTICS_BYTES

    window, hotkey = change_statistics(run, grow)
    with look_into(run) as inside:
        for path in (f"/window/{window}", f"/window/{window}/{hotkey}"):
            assert inside.get(path + ".json").json()["unread"] == {"bytes_max": STATISTICS_BYTES}
            page = Page(inside.get(path).text)
            assert "are left out" in "".join(page.text)
            assert str(STATISTICS_BYTES) in page.values
        assert inside.get(f"/window/{window - 1}.json").json()["unread"] is None
        (row,) = inside.index.read("SELECT rewards FROM windows WHERE window = ?", (window,))
        assert row["rewards"] == 0


def test_names_and_sentences_of_statistics_are_cut(run):
    def fill(document, verdict):
        verdict |= {"reason": "R" * 9_000, "detail": "D" * 9_000}
        verdict["statistics"] |= {"S" * 9_000: 1.0}
        many = {"rewards": [1] * 300, "correctness": [1] * 300, "audited": [999] * 300}
        verdict["groups"] = [{"index": 0, "value": 0} | many] * 500
        document["verdicts"] += ["H", {"hotkey": "H" * 9_000}, {"statistics": 7}, {"groups": None}]

    window, hotkey = change_statistics(run, fill)
    with look_into(run) as inside:
        work = inside.source.subject.get_parameters(window).work
        subject = inside.source.subject
        verdicts = subject.reader.get_statistics(window, work)
        assert max(map(len, verdicts)) <= 64
        words = verdicts[hotkey]
        assert (len(words["reason"]), len(words["detail"])) == (64, 400)
        assert max(map(len, words["statistics"])) < 64
        assert len(words["groups"]) <= work.valued_groups
        for name in ("rewards", "correctness", "audited"):
            assert {len(group[name]) for group in words["groups"]} == {work.group_size}
        assert inside.get(f"/window/{window}/{hotkey}").status_code == 200


def test_a_manifest_is_what_the_specification_says():
    good = {"parent": "ab" * 32, "step": "0" * 64, "number": 7}
    found = parse_manifest(json.dumps(good).encode())
    assert (found.number, found.parent, found.step) == (7, "ab" * 32, None)
    for wrong in (
        {"parent": "ab" * 31},
        {"parent": "AB" * 32},
        {"parent": "ab" * 32 + "\n"},
        {"step": "x" * 10_000},
        {"step": None},
        {"number": -1},
        {"number": 1 << 64},
        {"number": 7.0},
        {"number": True},
        {"number": "7"},
    ):
        assert parse_manifest(json.dumps(good | wrong).encode()) is None, wrong
    assert parse_manifest(b"[" * 100_000) is None
    assert parse_manifest(b"null") is None


def test_the_ledger_s_page_works_out_the_rows_that_it_shows(run, monkeypatch):
    asked = []
    real = ledger_entries.compute_entry_digest
    monkeypatch.setattr(
        ledger_entries, "compute_entry_digest", lambda entry: asked.append(1) or real(entry)
    )
    with look_into(run) as inside:
        (before,) = inside.index.read("SELECT count(*) AS n FROM settlements")
        columns = [row["name"] for row in inside.index.read("PRAGMA table_info(settlements)")]
        fixed = ", ".join(columns[1:])
        with inside.index.write() as database:
            database.execute(
                "WITH RECURSIVE n(i) AS (SELECT 100000 UNION ALL SELECT i + 1 FROM n WHERE "
                f"i < 104999) INSERT INTO settlements (epoch, {fixed}) SELECT i, {fixed} FROM n, "
                "(SELECT * FROM settlements WHERE counted > 0 LIMIT 1)"
            )
        found = inside.get("/ledger.json?page=3").json()
        assert found["paging"]["count"] == sum(found["counts"].values()) == 4_096
        assert before["n"] < 100
        shown = [row["epoch"] for row in found["entries"]]
        assert shown == list(range(104_949, 104_924, -1))
        assert all(row["digest"] for row in found["entries"])
        assert len(asked) == len(shown)


@pytest.mark.parametrize(
    "table",
    [
        '{"rows": null}',
        "{}",
        "[]",
        "null",
        '"rows"',
        '{"rows": {"a": 1}}',
        '{"rows": [1, null]}',
        '{"rows": [], "windows": 1%s}' % ("0" * 400),
        '{"rows": [{"differs": 1e999}]}',
        '{"rows": [{"tokens_to_9999": 1%s}]}' % ("0" * 400),
        '{"rows": [{"income_error": NaN}]}',
        '{"rows": [{"differs": "0.5"}]}',
        '{"rows": [{"differs": true}]}',
        "[" * 100_000,
        "{",
        "",
        '{"rows": [], "asked": {"groups": 1%s, "only": 7}, "seconds": []}' % ("0" * 400),
    ],
)
def test_a_broken_table_of_the_gauntlet_is_told_by_its_kind(run, table):
    (run / "gauntlet.json").write_text(table)
    with look_into(run) as inside:
        found = inside.get("/gauntlet.json")
        assert found.status_code == 200
        assert found.json()["trouble"]["kind"] == "gauntlet"
        page = inside.get("/gauntlet")
        assert page.status_code == 200
        assert "Trouble with the gauntlet’s table" in page.text
        assert "0" * 60 not in page.text


def test_the_readable_part_of_a_gauntlet_table_is_shown(run):
    reasons = {f"{n}{'R' * 999}": n for n in range(99)}
    row = {
        "attack": "A" * 9_000,
        "model": "m",
        "differs": 0.5,
        "pays": True,
        "tokens_to_9999": None,
        "reasons": reasons,
    }
    (run / "gauntlet.json").write_text(json.dumps({"rows": [row], "windows": 200, "seconds": 1.5}))
    with look_into(run) as inside:
        found = inside.get("/gauntlet.json").json()
        assert found["trouble"] is None
        (shown,) = found["rows"]
        assert shown["differs"] == 0.5
        assert len(shown["attack"]) == max(map(len, shown["reasons"])) == 200
        assert len(shown["reasons"]) == 32


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("1000000000000000000", "is not in the record"),
        (str(2**62 - 1), "is not in the record"),
        (str(2**62), "all are below"),
        (str(2**64), "all are below"),
        ("9" * 300, "all are below"),
        ("-1", "digits alone"),
        ("+1", "digits alone"),
        ("007", "digits alone"),
        ("00", "digits alone"),
        ("1e3", "digits alone"),
        ("1.0", "digits alone"),
        ("%D9%A1", "digits alone"),
        ("%20", "digits alone"),
        ("0x1", "digits alone"),
    ],
)
def test_a_number_that_is_none_or_too_large_is_told_why(small, number, said):
    for path in (f"/window/{number}", f"/settlement/{number}"):
        answer = small.get(path + ".json")
        assert answer.status_code == 404, path
        expected = said.replace("is not in the record", "known")
        assert expected in answer.json()["error"]
        page = small.get(path)
        assert page.status_code == 404
        assert expected in page.text


def test_a_window_of_nineteen_digits_has_its_page(run):
    (record,) = (run / "record").iterdir()
    settled = [decode_settlement_record(f.read_bytes()) for f in record.glob("settlement-*.record")]
    newest = max(settled, key=lambda found: found.epoch)
    number = 2**62 - 1
    covered = replace(newest.windows[-1], window=number)
    changed = replace(newest, windows=(*newest.windows, covered))
    (record / f"settlement-{newest.epoch}.record").write_bytes(encode(changed))
    latest = {"epoch": changed.epoch, "digest": changed.digest.hex()}
    (record / "latest.json").write_text(json.dumps(latest))
    with look_into(run) as inside:
        assert f"/window/{number}" in inside.get("/windows").text
        for path in (f"/window/{number}", "/", "/windows", "/miners", "/weights", "/training"):
            assert inside.get(path).status_code == 200, path


def test_documents_nested_too_deeply_are_not_there(run):
    deep = "[" * 100_000
    (run / "bundle").mkdir()
    (run / "contexts").mkdir()
    for name in ("bundle/facts.json", "bundle/about.json", "status.json", "summary.json"):
        (run / name).write_text(deep)
    (run / "models" / ("ab" * 32)).mkdir(parents=True)
    (run / "models" / ("ab" * 32) / "manifest.json").write_text(deep)
    (run / "steps").mkdir()
    (run / "steps" / "step-1.json").write_text(deep)
    for file in (run / "record").glob("*/*.statistics.json"):
        file.write_text(deep)
    (*_, window) = sorted((run / "record").glob("*/window-*.statistics.json"))
    number = int(window.name.split("-")[1].split(".")[0])
    (run / "contexts" / f"window-{number}.json").write_text(deep)
    with look_into(run) as inside:
        sources, commands = inside.source.sources, inside.source.sources.commands
        hotkey = inside.get("/miners.json").json()["miners"][0]["hotkey"]
        file = run / "store" / make_object_name(hotkey, number)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"a submission")
        assert sources.read_shown(1, {}) is None
        assert sources.read_manifest(bytes.fromhex("ab" * 32)) is None
        assert sources.read_training() is None
        assert sources.read_live() is None
        assert commands.audit(1, 2) is None
        assert commands.verify(number, hotkey) is None
        for path in ("/", "/weights", "/training", f"/window/{number}/{hotkey}", "/miners"):
            assert inside.get(path).status_code == 200, path


def test_the_levels_that_a_manifest_states():
    genesis = json.loads((GENESIS / "manifest.json").read_text())
    moved = {
        "levels": [{"level": 6, "weight": 1_215}, {"level": 7, "weight": 250}],
        "levels_before": [{"level": 6, "weight": 1_000}],
        "held_out": [{"level": 6, "solved": 34, "asked": 57, "mixed": 30}],
    }
    found = parse_manifest(json.dumps(genesis | moved).encode())
    assert found.levels == (
        {"level": 6, "weight": 1.215, "before": 1.0, "asked": 57, "solved": 34, "differ": 30},
        {"level": 7, "weight": 0.25, "before": None, "asked": None, "solved": None, "differ": None},
    )
    for wrong in ({"levels": [6]}, {"levels": "6"}, {"held_out": [{"level": 6}]}, {"scale": None}):
        assert parse_manifest(json.dumps(genesis | moved | wrong).encode()).levels == ()


def test_results_of_evaluations_are_shown_as_far_as_they_can_be_read(run, tmp_path):
    figure = {"value": 0.25, "low": 0.1, "high": 0.5, "method": "wilson"}
    scorer = {"name": "strict", "pass": {"1": figure, "x": 1}, "maj": 3, "histogram": [3, 1]}
    suites = [{"name": "words", "asked": 4, "scorers": [scorer, None]}, 7]
    document = {"name": "M" * 9_000, "samples": 1, "suites": suites}
    (tmp_path / "results.json").write_text(json.dumps(document))
    with look_into(run, evaluations=tmp_path, trainer=run) as inside:
        found = inside.get("/evaluations.json").json()
        (row,) = found["rows"]
        assert [row[name] for name in ("suite", "figure", "value", "asked", "temperature")] == [
            "words", "pass@1", 0.25, 4, None
        ]  # fmt: skip
        assert len(row["model"]) == 200
        assert found["histograms"][0]["problems"] == [3, 1]
        assert found["trouble"] is None
        page = inside.get("/evaluations").text
        assert "25.0 %" in page
        later = run / "suites" / "12"
        later.mkdir(parents=True)
        (later / "results.json").write_text('{"suites": "none"}')
        found = inside.get("/evaluations.json").json()
        assert len(found["rows"]) == 1
        assert found["trouble"]["kind"] == "other"
        assert "Trouble with" in inside.get("/evaluations").text
