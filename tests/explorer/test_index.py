"""The index: read from the record, bit by bit, and rebuilt whenever it is faulty."""

import json
import shutil
from dataclasses import replace

import pytest

from assay.explorer import indexing
from assay.protocol.encoding import encode
from assay.protocol.record import Weight, decode_settlement_record
from assay.protocol.score_tree import compute_weights_digest, make_score_tree
from tests.explorer.inside import look_into

pytestmark = pytest.mark.slow


def find_record(folder):
    (found,) = (folder / "record").iterdir()
    return found


def read_settlements(folder):
    files = find_record(folder).glob("settlement-*.record")
    records = [decode_settlement_record(file.read_bytes()) for file in files]
    return sorted(records, key=lambda record: record.epoch)


def announce(folder, record):
    latest = {"epoch": record.epoch, "digest": record.digest.hex()}
    (find_record(folder) / "latest.json").write_text(json.dumps(latest))


def list_epochs(inside):
    return [row["epoch"] for row in inside.index.read("SELECT epoch FROM settlements")]


def test_all_of_a_record_is_read_once(copy, tmp_path):
    records = read_settlements(copy)
    with look_into(copy, tmp_path / "i.sqlite") as inside:
        assert list_epochs(inside) == [record.epoch for record in records]
        assert inside.indexer.progress.done
    for file in find_record(copy).glob("window-*"):
        file.unlink()
    with look_into(copy, tmp_path / "i.sqlite") as inside:  # nothing is read again
        assert list_epochs(inside) == [record.epoch for record in records]
        links = {row["link"] for row in inside.index.read("SELECT link FROM windows")}
        assert links == {"ok"}


def test_new_settlements_are_added_and_gaps_filled(copy, tmp_path):
    records = read_settlements(copy)
    index = tmp_path / "i.sqlite"
    announce(copy, records[1])
    with look_into(copy, index) as inside:
        assert list_epochs(inside) == [record.epoch for record in records[:2]]
        announce(copy, records[-1])
        inside.indexer.step()
        assert list_epochs(inside) == [record.epoch for record in records]
        # as if it had been cut off while the oldest were read
        with inside.index.write() as database:
            database.execute("DELETE FROM settlements WHERE epoch = ?", (records[0].epoch,))
        inside.indexer.step()
        assert list_epochs(inside) == [record.epoch for record in records]


def test_a_record_is_not_followed_back_without_end(copy, tmp_path, monkeypatch):
    monkeypatch.setattr(indexing, "SETTLEMENTS_MAX", 2)
    with look_into(copy, tmp_path / "i.sqlite") as inside:
        inside.indexer.step()
        epochs = [record.epoch for record in read_settlements(copy)]
        assert list_epochs(inside) == epochs[-2:] != epochs


def test_totals_do_not_hang_on_the_order_of_reading(copy, tmp_path):
    records = read_settlements(copy)
    columns = "address, uid, seen, windows, accepted, refused, score, settled, weight, reason"
    query = f"SELECT {columns} FROM miners ORDER BY address"
    announce(copy, records[0])
    with look_into(copy, tmp_path / "a.sqlite") as inside:
        for record in records[1:]:
            announce(copy, record)
            inside.indexer.step()
        forwards = [tuple(row) for row in inside.index.read(query)]
    with look_into(copy, tmp_path / "b.sqlite") as inside:
        assert [tuple(row) for row in inside.index.read(query)] == forwards


@pytest.mark.parametrize("damage", ["garbage", "other", "halved"])
def test_a_damaged_index_is_made_anew(copy, tmp_path, damage):
    index = tmp_path / "i.sqlite"
    with look_into(copy, index) as inside:
        epochs = list_epochs(inside)
        inside.index.read("PRAGMA wal_checkpoint(TRUNCATE)")
    if damage == "garbage":
        index.write_bytes(b"this is no database" * 1_000)
    elif damage == "halved":
        index.write_bytes(index.read_bytes()[: index.stat().st_size // 2])
    else:
        index.unlink()
        shutil.copy(copy / "validator.sqlite", index)
    with look_into(copy, index) as inside:
        assert list_epochs(inside) == epochs


def test_an_index_damaged_under_the_pages_is_made_anew(copy, tmp_path):
    index = tmp_path / "i.sqlite"
    with look_into(copy, index) as inside:
        epochs = list_epochs(inside)
        with inside.index.write() as database:
            database.execute("DROP TABLE windows")
        answer = inside.get("/")
        assert answer.status_code == 503
        assert "made anew" in answer.text
        inside.indexer.begin_again()
        inside.indexer.step()
        assert list_epochs(inside) == epochs
        assert inside.get("/").status_code == 200


def test_a_rewritten_record_is_read_anew(copy, tmp_path):
    index = tmp_path / "i.sqlite"
    with look_into(copy, index):
        pass
    newest = read_settlements(copy)[-1]
    changed = encode(replace(newest, software="assay 9.9.9"))
    name = f"settlement-{newest.epoch}.record"
    (find_record(copy) / name).write_bytes(changed)
    record = decode_settlement_record(changed)
    assert record.digest != newest.digest
    announce(copy, record)
    with look_into(copy, index) as inside:
        found = inside.get(f"/settlement/{newest.epoch}.json").json()
        assert found["settlement"]["digest"] == record.digest.hex()


def test_missing_records_are_named_and_the_rest_is_shown(copy, tmp_path):
    records = read_settlements(copy)
    window = records[-1].windows[-1].window
    (find_record(copy) / f"window-{window}.record").unlink()
    (find_record(copy) / f"settlement-{records[0].epoch}.record").unlink()
    with look_into(copy, tmp_path / "i.sqlite") as inside:
        assert list_epochs(inside) == [record.epoch for record in records[1:]]
        found = inside.get(f"/window/{window}")
        assert found.status_code == 200
        assert "record missing" in found.text
        assert inside.get("/weights.json").json()["weights"]["derived"] is None


def test_a_settlement_that_leads_forward_ends_the_walk(copy, tmp_path):
    """A record is a stranger's: it may name a settlement before it that comes after it."""
    newest = read_settlements(copy)[-1]
    looped = replace(newest, previous_epoch=newest.epoch)
    (find_record(copy) / f"settlement-{newest.epoch}.record").write_bytes(encode(looped))
    announce(copy, looped)
    with look_into(copy, tmp_path / "i.sqlite") as inside:
        inside.indexer.step()
        assert list_epochs(inside) == [newest.epoch]


def test_scores_that_no_window_gave_are_told(copy, tmp_path):
    """Twice the score for everybody: weights are unchanged, and the root fits its scores."""
    newest = read_settlements(copy)[-1]
    scores = tuple(replace(s, score=2 * s.score) for s in newest.scores)
    root = make_score_tree([(s.hotkey, s.score) for s in scores]).root
    with look_into(copy, tmp_path / "true.sqlite") as inside:
        assert inside.get("/weights.json").json()["weights"]["scores_derived"] is True
        assert "in the record differ from" not in inside.get("/weights").text
    forged = replace(newest, scores=scores, score_root=root)
    (find_record(copy) / f"settlement-{newest.epoch}.record").write_bytes(encode(forged))
    announce(copy, forged)
    with look_into(copy, tmp_path / "forged.sqlite") as inside:
        found = inside.get("/weights.json").json()["weights"]
        assert (found["derived"], found["scores_derived"]) == (True, False)
        first = found["rows"][0]
        assert first["score"] == 2 * first["derived_score"] > 0
        assert "differ from the sums of its windows’ rows" in inside.get("/weights").text


def test_a_weight_without_a_seat_has_its_row(copy, tmp_path):
    newest = read_settlements(copy)[-1]
    free = max(weight.uid for weight in newest.weights) + 90
    weights = (*newest.weights, Weight(free, 9))
    digest = compute_weights_digest([(w.uid, w.weight) for w in weights])
    forged = replace(newest, weights=weights, weights_digest=digest)
    (find_record(copy) / f"settlement-{newest.epoch}.record").write_bytes(encode(forged))
    announce(copy, forged)
    with look_into(copy, tmp_path / "i.sqlite") as inside:
        found = inside.get("/weights.json").json()["weights"]
        assert (found["derived"], found["scores_derived"]) == (False, True)
        assert found["listed"] == found["count"] + 1
        (row,) = [row for row in found["rows"] if row["uid"] == free]
        assert (row["hotkey"], row["seat"], row["weight"]) == (None, "none", 9)
        assert row["derived_weight"] == 0
        for path in ("/", "/weights", f"/settlement/{newest.epoch}"):
            page = inside.get(path).text
            assert "no seat recorded" in page


def test_numbers_that_no_database_holds_are_survived(copy, tmp_path):
    newest = read_settlements(copy)[-1]
    scores = tuple(replace(s, score=2**127, registered_at=2**64 - 1) for s in newest.scores)
    covered = replace(newest.windows[-1], window=2**64 - 1)
    changed = replace(
        newest, scores=scores, windows=(*newest.windows, covered), previous_epoch=2**64 - 1
    )
    rewards = [{"index": n, "value": 0, "rewards": [2**53 - 1] * 16} for n in range(100)]
    for n, file in enumerate(sorted(find_record(copy).glob("*.statistics.json"))):
        document = json.loads(file.read_text())
        for verdict in document["verdicts"]:
            # no float holds the one, no column the sum of the others
            verdict |= {"statistics": {"margin_max": 10**400}} if n % 2 else {"groups": rewards}
        file.write_text(json.dumps(document))
    (find_record(copy) / f"settlement-{newest.epoch}.record").write_bytes(encode(changed))
    announce(copy, changed)
    with look_into(copy, tmp_path / "i.sqlite") as inside:
        for path in ("/", "/weights", f"/settlement/{newest.epoch}", "/miners"):
            assert inside.get(path).status_code == 200
