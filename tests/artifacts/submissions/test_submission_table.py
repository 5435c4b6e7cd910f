"""A miner's file as a table: other programs read it, and nothing of it is lost."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from assay.artifacts.submissions.table import COLUMNS, TableError, write_table, write_tables
from assay.protocol.ss58 import encode_ss58
from assay.protocol.submission import HEADER_BYTES, LOGPROB_MAX, Rollout, get_opening_bytes
from tests.artifacts.conftest import HOTKEY, Group, Shown, are_equal, make_groups, show


@pytest.fixture(scope="module")
def shown() -> Shown:
    extremes = [
        Rollout(np.array([n], np.uint32), np.array([logprob], np.uint32), np.array([[n, -n]], "i1"))
        for n, logprob in ((0, 0), (1, 1), (127, LOGPROB_MAX), (9, LOGPROB_MAX - 1))
    ]
    return show([*make_groups(3), extremes])


@pytest.fixture
def file(shown: Shown, tmp_path: Path) -> Path:
    path = tmp_path / "window-1000.rollouts"
    path.write_bytes(shown.data + b"what lies behind is no part of it")
    return path


def read_rows(rows: list[dict[str, Any]]) -> list[Group]:
    """Rollouts from a table's rows, by group."""
    groups: dict[int, Group] = {}
    for row in rows:
        nats = np.array(row["logprobs"], np.float32)
        assert (nats <= 0).all()
        sketch = np.array(row["sketch"], np.int8).reshape(-1, 2)
        tokens = np.array(row["tokens"], np.uint32)
        group = groups.setdefault(row["group"], [])
        assert row["rollout"] == len(group)
        group.append(Rollout(tokens, (-nats * 2**16).astype(np.uint32), sketch))
    return list(groups.values())


def test_a_table_holds_all_rows_exactly(shown: Shown, file: Path) -> None:
    out = file.with_suffix(".parquet")
    written = write_table(file, out)
    table = pq.read_table(out)
    assert table.schema.names == list(COLUMNS)
    rows = read_rows(table.to_pylist())
    assert len(rows) == 4
    assert all(map(are_equal, rows, [*make_groups(3), rows[3]]))
    assert [r.logprobs.tolist() for r in rows[3]] == [[0], [1], [LOGPROB_MAX], [LOGPROB_MAX - 1]]
    assert written.rollouts == table.num_rows == 16
    assert written.tokens == sum(len(rollout.tokens) for group in rows for rollout in group)


def test_the_header_and_units_stand_beside_the_rows(shown: Shown, file: Path) -> None:
    out = file.with_suffix(".parquet")
    write_table(file, out)
    said = {key.decode(): value.decode() for key, value in pq.read_schema(out).metadata.items()}
    assert said["assay.hotkey"] == encode_ss58(HOTKEY)
    assert said["assay.window"] == "1000"
    assert said["assay.group_size"] == "4"
    assert said["assay.checkpoint"] == shown.context.checkpoint.hex()
    assert said["assay.root"] == shown.committed.root.hex()
    assert "natural logarithm" in said["assay.column.logprobs"]


def test_pandas_opens_it(file: Path) -> None:
    pandas = pytest.importorskip("pandas")
    write_table(file, file.with_suffix(".parquet"))
    frame = pandas.read_parquet(file.with_suffix(".parquet"))
    assert frame.groupby("group").size().tolist() == [4] * 4
    assert frame.logprobs.map(sum).le(0).all()


def test_a_data_set_of_files_loads(shown: Shown, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    (written,) = write_tables([file], out)
    assert written.out == out / "data" / f"{encode_ss58(HOTKEY)}-window-1000.parquet"
    card = (out / "README.md").read_text()
    assert "data_files: data/*.parquet" in card
    assert shown.committed.root.hex() in card
    assert all(f"| {name} |" in card for name in COLUMNS)
    with pytest.raises(TableError, match="is not empty"):
        write_tables([file], out)
    with pytest.raises(TableError, match="is there already"):
        write_tables([file, file], tmp_path / "twice")
    datasets = pytest.importorskip("datasets")
    rows = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))["train"]
    assert len(read_rows(list(rows))) == 4


# --- faults of a file


def test_a_file_that_is_cut_off_leaves_nothing(shown: Shown, tmp_path: Path) -> None:
    path, out = tmp_path / "a.rollouts", tmp_path / "a.parquet"
    for left in (2, HEADER_BYTES - 1, HEADER_BYTES, get_opening_bytes(4) - 1, len(shown.data) - 1):
        path.write_bytes(shown.data[:left])
        with pytest.raises(TableError, match=r"a\.rollouts is cut off, .* fetch it again"):
            write_table(path, out)
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("data", [b"", b"\0", b"PAR1" + bytes(999), b"{}", b"\0\1" + bytes(999)])
def test_a_file_of_another_kind(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(TableError, match="is not a miner's file of version 4"):
        write_table(tmp_path / "a", tmp_path / "b")


def test_a_file_that_names_no_rollout(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\0\4" + bytes(999))
    with pytest.raises(TableError, match="names no rollout"):
        write_table(tmp_path / "a", tmp_path / "b")


def test_damage_is_named(shown: Shown, file: Path, tmp_path: Path) -> None:
    """In the index, in a group's head, in a record of ids, in a proof."""
    places = {
        HEADER_BYTES: "its index is not",
        shown.opening.find_head(2).end - 1: "group 2 is not",
        shown.opening.find_ids(3).end - 1: "rollout 3 is not",
        shown.opening.find_proofs(1).start: "rollout 0 is not",
    }
    for place, words in places.items():
        damaged = bytearray(shown.data)
        damaged[place] ^= 1
        file.write_bytes(damaged)
        with pytest.raises(TableError, match=f"is damaged, {words}"):
            write_table(file, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_a_group_that_no_miner_writes_is_named(shown: Shown, tmp_path: Path) -> None:
    head, ids, proofs = shown.parts[1]
    path = tmp_path / "a.rollouts"
    path.write_bytes(shown.change({1: (head + b"\0", ids, proofs)}).data)
    with pytest.raises(TableError, match="cannot be read: group 1 has bits after"):
        write_table(path, tmp_path / "out")
