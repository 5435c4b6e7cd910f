"""The page of rounds: the merges' entries on each trainer's child, and the findings on them."""

import json
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from assay.artifacts.store_objects import make_merge_name
from assay.audit.provenance.round_audit import ChildAudit, RoundAudit, StepAudit
from assay.audit.provenance.round_watch import FINDINGS as FILE
from assay.explorer import make_app
from assay.explorer.labels import FINDINGS
from assay.explorer.ports import CheckpointOrigin
from assay.explorer.sources.round_findings import RoundFindings
from assay.network.store.folder import open_folder
from assay.protocol.encoding import to_json
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.parameters import Rounds
from assay.protocol.ss58 import encode_ss58
from assay.rounds import ChildFinding, MergedChild, MergeRecord
from tests.explorer.api_types import check_document
from tests.explorer.inside import UNLIMITED, look_into

TRAINERS = tuple(bytes([n]) * 32 for n in (1, 2, 3))
NAMES = tuple(map(encode_ss58, TRAINERS))
ROUNDS = Rounds(TRAINERS, 4, 1, 8, 4, 3, 3, 700_000, 900_000, 1 << 30, 0, 0, 0, 0)


def make_merge(end, *findings):
    children = tuple(
        MergedChild(hotkey, ZERO_DIGEST if one is ChildFinding.ABSENT else bytes([end]) * 32, one)
        for hotkey, one in zip(TRAINERS, findings, strict=True)
    )
    digests = [bytes([n]) * 32 for n in range(6)]
    return MergeRecord(
        1, "assay 0", digests[0], end, digests[1], children, digests[2], digests[3], digests[4],
        TRAINERS[0],
    )  # fmt: skip


def make_finding(end, checkpoint, rows, lessons=(), fault=None):
    """A finding as `assay audit round --follow` writes it."""
    children = tuple(ChildAudit(name, *row) for name, row in zip(NAMES, rows, strict=True))
    steps = tuple(StepAudit(*row) for row in lessons)
    return json.dumps(RoundAudit(end, checkpoint, fault, children, steps).to_json())


def put_merge(root, record):
    file = root / make_merge_name(record.digest)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(to_json(record)))
    return CheckpointOrigin(record.end, "ab" * 32, record.digest.hex())


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def open_findings(store, tmp_path, *lines):
    (tmp_path / FILE).write_text("".join(f"{line}\n" for line in lines))
    store.mkdir(exist_ok=True)
    return RoundFindings(tmp_path / FILE, [open_folder(store)])


def test_every_finding_has_words():
    assert set(FINDINGS) == {finding.value for finding in ChildFinding}


def test_a_merge_and_what_was_found_of_it_are_one_round(store, tmp_path):
    merge = make_merge(8, ChildFinding.TAKEN, ChildFinding.LARGE, ChildFinding.ABSENT)
    line = make_finding(
        8,
        "c0" * 32,
        [("taken", "taken", ""), ("large", "large", "it went 3 times the bound"), ("absent",) * 3],
        [(NAMES[0], 5, False, "tensor 0 differs")],
    )
    other = make_finding(4, "c1" * 32, [("taken", "taken", "")] * 3)
    origins = {"c0" * 32: put_merge(store, merge)}
    newest, oldest = open_findings(store, tmp_path, other, line).list_rounds(origins)
    assert (newest.end, newest.checkpoint, newest.parent) == (8, "c0" * 32, merge.parent.hex())
    assert newest.derived
    assert newest.fault is None
    assert [child.said for child in newest.children] == ["taken", "large", "absent"]
    assert [child.child for child in newest.children] == ["08" * 32, "08" * 32, None]
    assert newest.children[1].detail == "it went 3 times the bound"
    assert [step.equal for step in newest.repeated] == [False]
    assert (oldest.end, oldest.parent, oldest.measurer) == (4, None, None)


def test_a_merge_that_nobody_derived_again_is_what_its_record_says(store, tmp_path):
    merge = make_merge(8, *[ChildFinding.TAKEN] * 3)
    found = open_findings(store, tmp_path).list_rounds({"c0" * 32: put_merge(store, merge)})
    assert [child.found for child in found[0].children] == [None] * 3
    assert not found[0].derived


def test_malformed_findings_and_merges_are_not_shown(store, tmp_path):
    good = make_finding(4, "c1" * 32, [("taken", "taken", "")] * 3)
    wrong = [
        "",
        "{",
        "[" * 100_000,
        "null",
        good.replace('"c1', '"x1'),
        good.replace(NAMES[0], NAMES[0][:-1]),
        good.replace('"end": 4', '"end": -4'),
        good.replace('"end": 4', '"end": true'),
    ]
    merge = make_merge(8, *[ChildFinding.TAKEN] * 3)
    origin = put_merge(store, merge)
    (store / make_merge_name(merge.digest)).write_text(
        json.dumps(to_json(make_merge(9, *[ChildFinding.TAKEN] * 3)))
    )
    reading = open_findings(store, tmp_path, *wrong, good)
    assert [one.end for one in reading.list_rounds({"c0" * 32: origin})] == [4]
    (tmp_path / FILE).unlink()
    assert reading.list_rounds({}) == []


@pytest.mark.slow
def test_the_page_shows_who_was_merged_who_was_left_out_and_who_lied(demo, store, tmp_path):
    merge = make_merge(8, ChildFinding.TAKEN, ChildFinding.TAKEN, ChildFinding.STRANGE)
    with look_into(demo) as inside:
        subject = inside.source.subject
        checkpoint = inside.get("/index.json").json()["checkpoint"]["digest"]
        line = make_finding(
            8,
            checkpoint,
            [("taken", "taken", "")] * 2 + [("strange", "taken", "it is its own share")],
            [(NAMES[1], 6, True, "bit by bit"), (NAMES[0], 5, False, "tensor 0 differs")],
            "it says strange of a child that is taken",
        )
        found = open_findings(store, tmp_path, line).list_rounds(
            {checkpoint: put_merge(store, merge)}
        )
        around = inside.answer_instead(list_rounds=found)
        parameters = replace(subject.history.latest, rounds=ROUNDS)
        history = type(subject.history)(parameters)
        for known, with_rounds in ((subject, False), (replace(subject, history=history), True)):
            app, *_ = make_app(known, inside.index, around, access=UNLIMITED)
            client = TestClient(app, base_url="http://127.0.0.1:8400")
            document = client.get("/rounds.json").json()
            check_document("/rounds.json", document)
            assert (document["under_way"] is not None) is with_rounds
            page = client.get("/rounds", headers={"accept": "text/html"}).text.lower()
            assert "it says strange of a child" in page
            assert FINDINGS[ChildFinding.STRANGE.value] in page
        (row,) = document["rounds"]
        assert (row["merged"], row["children"], row["lied"]) == (2, 3, [NAMES[0]])
        assert document["trainers"][0]["lied"] == 1
        assert [t["left_out"] for t in document["trainers"]] == [0, 0, 1]
        way = document["under_way"]
        assert way["first"] <= client.get("/index.json").json()["live"]["window"] <= way["last"]
        assert way["deadline"] == way["end"] * parameters.timing.window_blocks + 8
        assert client.get("/rounds.csv?table=children").text.count("\r\n") == 4
        search = client.get("/search.json", params={"q": "08" * 32}).json()
        assert search["redirect"] == "/rounds#round-8"


@pytest.mark.slow
def test_a_network_of_one_trainer_has_no_rounds_and_that_is_told(demo):
    with look_into(demo) as inside:
        document = inside.get("/rounds.json").json()
        assert document["under_way"] is None
        assert document["rounds"] == document["children"] == []
        assert "There are no rounds" in inside.get("/rounds").text
