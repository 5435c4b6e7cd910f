"""Records that a bundle lacks, or has under another's name, each sealed again: what an audit of it
says, and what assay-judge says, which has no chain."""

import json
import shutil

import pytest

from assay.audit.auditor import audit
from assay.audit.bundle_seal import seal_folder
from assay.judge.bundle import open_bundle
from assay.judge.bundle_check import check_bundle, list_checked, report_to_json
from assay.protocol.record import decode_settlement_record
from tests.audit.audited import EPOCHS, LIAR, WINDOWS, open_audit

FIRST, MIDDLE, LAST = EPOCHS
GONE = "no settlement that the bundle has covers it"


@pytest.fixture
def store(bundle, tmp_path):
    """The folder of a copy's records."""
    copy = shutil.copytree(bundle, tmp_path / "bundle")
    (store,) = (copy / "store").glob("5*")
    return store


def settlement(epoch):
    return f"settlement-{epoch}.record"


def list_covered(store, epoch):
    record = decode_settlement_record((store / settlement(epoch)).read_bytes())
    return [covered.window for covered in record.windows]


def judge(store):
    """What assay-judge finds in a copy, sealed again."""
    folder = store.parent.parent
    seal_folder(folder)
    return check_bundle(open_bundle(folder))


def audit_copy(store):
    with open_audit(store.parent.parent) as public:
        return audit(public, LIAR, WINDOWS)


def test_all_are_there(store):
    report = judge(store)
    assert (report.differences, report.missing) == ([], [])
    assert [check.epoch for check in report.settlements] == [*EPOCHS]


@pytest.mark.parametrize("gone", [(FIRST,), (MIDDLE,), (LAST,), (MIDDLE, LAST), EPOCHS])
def test_a_settlement_that_is_not_there_is_missed(store, gone):
    uncovered = [window for epoch in gone for window in list_covered(store, epoch)]
    for epoch in gone:
        (store / settlement(epoch)).unlink()
    report = judge(store)
    assert report.differences == []
    wanted = [f"window {window}: {GONE}" for window in uncovered]
    if gone == (MIDDLE,):
        wanted.append(
            f"epoch {LAST}: the settlement of epoch {MIDDLE}, which it follows, is not here"
        )
    assert report.missing == wanted
    assert not report_to_json(report)["matched"]
    assert ("settlements" in list_checked(report)[0]) is (gone != EPOCHS)
    found = audit_copy(store)
    assert [f.number for f in found.settlements if not f.matched] == [*gone]


@pytest.mark.parametrize(
    ("taken", "place"), [(MIDDLE, FIRST), (LAST, MIDDLE), (FIRST, LAST), (FIRST, MIDDLE)]
)
def test_a_settlement_under_anothers_name_differs(store, taken, place):
    uncovered = list_covered(store, place)
    shutil.copy(store / settlement(taken), store / settlement(place))
    report = judge(store)
    assert report.differences[0] == (
        f"epoch {place}: under its name lies the record of epoch {taken}"
    )
    assert report.missing == [f"window {window}: {GONE}" for window in uncovered]
    assert [check.epoch for check in report.settlements if check.record] == [
        epoch for epoch in EPOCHS if epoch != place
    ]
    found = audit_copy(store)
    assert any(
        "under its name lies" in text for f in found.settlements for _, text in f.differences
    )


def test_a_settlement_of_no_epoch_differs(store):
    shutil.copy(store / settlement(LAST), store / settlement(MIDDLE + 1))
    assert judge(store).differences == [
        f"epoch {MIDDLE + 1}: under its name lies the record of epoch {LAST}",
        f"epoch {LAST}: it follows epoch {MIDDLE}, and passes over the settlement of epoch "
        f"{MIDDLE + 1}",
    ]


def test_a_cut_settlement_hides_none_behind_it(store):
    path = store / settlement(FIRST)
    path.write_bytes(path.read_bytes()[:-20])
    report = judge(store)
    (difference,) = report.differences
    assert difference.startswith(f"epoch {FIRST}: its record is none: weights_digest")
    assert [check.epoch for check in report.settlements if check.record] == [MIDDLE, LAST]
    assert [row["epoch"] for row in report_to_json(report)["settlements"]] == [MIDDLE, LAST]


def test_a_window_under_anothers_name_differs(store):
    shutil.copy(store / "window-3.record", store / "window-2.record")
    found = judge(store).differences
    assert "window 2: under its name lies the record of window 3" in found


def test_without_windows_nothing_of_them_is_said_to_be_checked(store):
    for path in store.glob("window-*.record"):
        path.unlink()
    report = judge(store)
    checked, left = list_checked(report)
    assert checked == ["seals", "settlements", "weights"]
    assert {"root", "values", "scores", "beacons"} <= {*left}
    assert len([text for text in report.missing if "no record of it" in text]) == len(WINDOWS)


@pytest.mark.parametrize("gone", [(), (MIDDLE,), (LAST,), EPOCHS])
def test_where_nodes_forgot_the_epochs_a_missing_settlement_is_missed(store, gone):
    """No epoch is known then but by the settlements themselves."""
    facts = store.parent.parent / "facts.json"
    document = json.loads(facts.read_text())
    epochs = document["answers"]["epoch"]
    document["answers"]["epoch"] = dict.fromkeys(epochs, "forgotten")
    facts.write_text(json.dumps(document))
    newest = decode_settlement_record((store / settlement(LAST)).read_bytes())
    latest = {"epoch": newest.epoch, "digest": newest.digest.hex()}
    (store / "latest.json").write_text(json.dumps(latest))
    behind = [
        window
        for epoch in EPOCHS[: EPOCHS.index(max(gone, default=0)) + 1 if gone else 0]
        for window in list_covered(store, epoch)
    ]
    for epoch in gone:
        (store / settlement(epoch)).unlink()
    seal_folder(store.parent.parent)
    report = audit_copy(store)
    unsettled = [
        found.number
        for found in report.windows
        if any("no published settlement leads to it" in text for _, text in found.unknown)
    ]
    assert unsettled == behind
    assert not report.matched
