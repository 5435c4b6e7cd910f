"""Lies in a record, each sealed again: what a judge without a model finds."""

import shutil
from dataclasses import replace

import pytest

from assay.audit.bundle_seal import seal_folder
from assay.inference.tokenizing.folder_tokenizer import open_tokenizer
from assay.judge.bundle import open_bundle
from assay.judge.bundle_check import check_bundle, list_checked, report_to_json
from assay.judge.checkpoint import NoTextError
from assay.judge.seal import BundleError, SealError
from assay.protocol.encoding import encode
from assay.protocol.reason import Reason
from assay.protocol.record import (
    NOTHING,
    Outcome,
    decode_settlement_record,
    decode_window_record,
    make_settlement_record_name,
    make_window_record_name,
)
from assay.protocol.ss58 import encode_ss58

WINDOW, EPOCH = 4, 301


@pytest.fixture
def copy(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "bundle")


def open_record(folder, name, decode):
    (store,) = (folder / "store").glob("5*")
    path = folder / "store" / name(store.name, WINDOW if decode is decode_window_record else EPOCH)
    return path, decode(path.read_bytes())


def lie(folder, change, name=make_window_record_name, decode=decode_window_record):
    """Change a record, and seal the folder again. Returns the differences that are found."""
    path, record = open_record(folder, name, decode)
    path.write_bytes(encode(change(record)))
    seal_folder(folder)
    return check_bundle(open_bundle(folder)).differences


def lie_in_a_row(folder, stated, change):
    """Change the first row with this reason."""

    def lie_about(record):
        rows = list(record.members)
        at = next(i for i, row in enumerate(rows) if row.reason is stated)
        rows[at] = change(rows[at])
        return replace(record, members=tuple(rows))

    return lie(folder, lie_about)


def test_an_honest_record_differs_nowhere(kept):
    report = check_bundle(open_bundle(kept))
    assert (report.differences, report.missing) == ([], [])
    (window,) = report.windows
    words = {m.stated: m.found.word for m in window.members}
    assert words == {
        Reason.ACCEPTED: "FORM_OK",
        Reason.SAMPLING_MISMATCH: "FORM_OK",
        Reason.NO_COMMITMENT: "NO_COMMITMENT",
    }
    checked, not_checked = list_checked(report)
    assert {"beacons", "lengths", "settlements", "weights"} <= set(checked)
    assert {"draw", "sketch", "log-probabilities"} <= set(not_checked)
    assert "values" in checked
    assert report.no_text is None


def test_another_tokenizer_may_read_the_text(kept):
    def leave_it(folder, manifest, vocabulary):
        raise NoTextError("no library")

    theirs, ours = (check_bundle(open_bundle(kept), by) for by in (open_tokenizer, None))
    assert report_to_json(theirs) == report_to_json(ours)
    report = check_bundle(open_bundle(kept), leave_it)
    assert (report.differences, report.no_text) == ([], "no library")
    assert report.missing == ["no text was read: no library"]
    assert not report_to_json(report)["matched"]
    assert "values" in list_checked(report)[1]


def test_values_are_compared(copy):
    path, record = open_record(copy, make_window_record_name, decode_window_record)
    rows = list(record.members)
    at = next(i for i, row in enumerate(rows) if row.reason is Reason.ACCEPTED)
    rows[at] = replace(rows[at], values=tuple(value + 1 for value in rows[at].values))
    path.write_bytes(encode(replace(record, members=tuple(rows))))
    seal_folder(copy)
    found = check_bundle(open_bundle(copy)).differences
    assert any("its groups are worth" in text for text in found) or any(
        "make a score" in text for text in found
    )


def test_a_score_that_its_values_do_not_make(copy):
    found = lie_in_a_row(copy, Reason.ACCEPTED, lambda row: replace(row, score=row.score + 1))
    assert any("its values make a score of" in text for text in found)


def test_a_cheat_that_is_paid(copy):
    found = lie_in_a_row(copy, Reason.SAMPLING_MISMATCH, lambda row: replace(row, score=1))
    assert any("scored 1 in spite of SAMPLING_MISMATCH" in text for text in found)


def test_nothing_that_is_accepted(copy):
    found = lie_in_a_row(
        copy, Reason.NO_COMMITMENT, lambda row: replace(row, reason=Reason.ACCEPTED)
    )
    assert any("and it is NO_COMMITMENT" in text for text in found)


def test_a_whole_file_that_is_refused_for_its_form(copy):
    found = lie_in_a_row(
        copy,
        Reason.ACCEPTED,
        lambda row: replace(row, reason=Reason.TOKEN_OUT_OF_RANGE, values=(), score=0, witness=b""),
    )
    assert any("the committed file has no such fault" in text for text in found)


def test_a_beacon_that_nobody_has_signed(copy):
    def choose(record):
        beacon = replace(record.audit.beacon, signature=record.challenge.beacon.signature)
        return replace(record, audit=replace(record.audit, beacon=beacon))

    found = lie(copy, choose)
    assert any("audit beacon's signature" in text for text in found)


def test_weights_that_the_scores_do_not_make(copy):
    def favour(record):
        weights = [replace(weight, weight=weight.weight - 1) for weight in record.weights]
        return replace(record, weights=tuple(weights))

    found = lie(copy, favour, make_settlement_record_name, decode_settlement_record)
    assert any("should weigh" in text for text in found)
    assert any("another digest" in text for text in found)


def test_scores_that_the_windows_do_not_make(copy):
    def favour(record):
        scores = [replace(score, score=score.score + 1) for score in record.scores]
        return replace(record, scores=tuple(scores))

    found = lie(copy, favour, make_settlement_record_name, decode_settlement_record)
    assert any("comes to" in text for text in found)
    assert any("have the root" in text for text in found)


def test_a_settlement_of_another_record_than_is_shown(copy):
    found = lie(copy, lambda record: replace(record, software="another"))
    assert any("it was settled from another record of 4" in text for text in found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda r: replace(r, challenge=None, audit=None, sample=None),
            "the window counts, although",
        ),
        (lambda r: replace(r, previous=NOTHING), "follows another record than the one of window 3"),
        (lambda r: replace(r, checkpoint=NOTHING), "no checkpoint was in force"),
        (lambda r: replace(r, outcome=Outcome.ABSTAINED), "abstained, though every member"),
        (lambda r: replace(r, parameters=bytes(32)), "not judged by the parameters"),
        (
            lambda r: replace(r, validator=bytes(32)),
            "its record is 5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSr",
        ),
        (lambda r: replace(r, window=r.window + 1), "under its name lies the record of window 5"),
    ],
)
def test_a_window_that_cannot_be_what_it_says(copy, change, said):
    found = lie(copy, change)
    assert any(text.startswith("window 4: ") and said in text for text in found), found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: replace(r, checkpoint=bytes(32)), "its last window that counts had checkpoint"),
        (lambda r: replace(r, audit_round=7), "its last window that counts was audited by round"),
        (lambda r: replace(r, parameters=bytes(32)), "not judged by the parameters"),
        (
            lambda r: replace(r, validator=bytes(32)),
            "its record is 5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSr",
        ),
        (lambda r: replace(r, epoch=r.epoch + 1), "under its name lies the record of epoch 302"),
        (lambda r: replace(r, previous_epoch=r.epoch), "its link leads to no epoch before it"),
        (lambda r: replace(r, previous_epoch=1), "passes over the settlement of epoch 241"),
        (lambda r: replace(r, previous=NOTHING), "its link leads to no epoch before it"),
        (lambda r: replace(r, previous=NOTHING, previous_epoch=0), "starts a chain of its own"),
        (lambda r: replace(r, previous=b"1" * 32), "follows another record than the one before"),
        (
            lambda r: replace(r, windows=(*r.windows, replace(r.windows[-1], window=5))),
            "it settles",
        ),
    ],
)
def test_a_settlement_that_cannot_be_what_it_says(copy, change, said):
    found = lie(copy, change, make_settlement_record_name, decode_settlement_record)
    assert any(text.startswith("epoch 301: ") and said in text for text in found), found


def test_a_flipped_byte_breaks_the_seal(copy):
    path = next((copy / "submissions").rglob("5*"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(SealError, match=path.name):
        open_bundle(copy)


def test_a_file_of_a_bundle_says_how_to_unpack_it(tmp_path):
    file = tmp_path / "run.tar"
    file.write_bytes(b"")
    with pytest.raises(BundleError, match="tar -xf"):
        open_bundle(file)


def test_a_file_with_other_bytes_than_the_chain_binds_is_not_form_ok(copy):
    """Sealed again, so that only the root on chain shows it."""
    _, record = open_record(copy, make_window_record_name, decode_window_record)
    row = next(row for row in record.members if row.reason is Reason.ACCEPTED)
    (pack,) = (copy / "submissions").rglob(encode_ss58(row.hotkey))
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.write_bytes(data)
    seal_folder(copy)
    report = check_bundle(open_bundle(copy))
    (member,) = [m for m in report.windows[0].members if m.hotkey == row.hotkey]
    assert member.found is None or member.found.word == "ROOT_MISMATCH"
    assert any(member.address in text for text in report.missing)


def test_a_folder_that_cannot_be_looked_at(tmp_path):
    with pytest.raises(BundleError, match="cannot be read"):
        open_bundle(tmp_path / ("a" * 300))
