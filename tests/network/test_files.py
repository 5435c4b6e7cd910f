"""Files that are whole or not there, after a kill and after a power cut."""

import os
from pathlib import Path

import pytest

from assay.network.files import is_unfinished, move_folder, replace_file, write_file
from assay.network.store.base import NAME_MAX
from assay.network.store.folder import open_folder


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of synced and renamed files, in order."""
    events: list[str] = []
    sync, replace, rename = os.fsync, os.replace, Path.rename

    def note_sync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        size = 0 if path.is_dir() else path.stat().st_size
        events.append(f"sync {'unfinished' if is_unfinished(path.name) else path.name} {size}")
        sync(descriptor)

    def note_replace(source: str, target: Path) -> None:
        events.append(f"rename {target.name}")
        replace(source, target)

    def note_rename(source: Path, target: Path) -> Path:
        events.append(f"rename {target.name}")
        return rename(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    monkeypatch.setattr(Path, "rename", note_rename)
    return events


def test_a_power_cut_leaves_no_empty_file(tmp_path: Path, order: list[str]) -> None:
    """The bytes are on the disk before the name, and the folder that has the name after it."""
    write_file(tmp_path / "keys" / "file", b"four")
    name = tmp_path.name
    assert order == [f"sync {name} 0", "sync unfinished 4", "rename file", "sync keys 0"]
    order.clear()
    write_file(tmp_path / "keys" / "file", b"fives", durable=False)
    assert order == ["rename file"]
    assert (tmp_path / "keys" / "file").read_bytes() == b"fives"


@pytest.mark.parametrize("parts", [False, True])
def test_a_power_cut_leaves_no_empty_object(tmp_path: Path, order: list[str], parts: bool) -> None:
    store = open_folder(tmp_path)
    if parts:
        store.put_parts("a/object", iter([b"fo", b"ur"]))
    else:
        store.put("a/object", b"four")
    assert order[1:] == ["sync unfinished 4", "rename object", "sync a 0"]
    assert store.get("a/object", 4) == b"four"


def test_a_power_cut_leaves_no_half_a_folder(tmp_path: Path, order: list[str]) -> None:
    (tmp_path / "draft" / "deep").mkdir(parents=True)
    (tmp_path / "draft" / "deep" / "tensors").write_bytes(b"four")
    move_folder(tmp_path / "draft", tmp_path / "whole")
    at = order.index("rename whole")
    assert set(order[:at]) == {"sync draft 0", "sync deep 0", "sync tensors 4"}
    assert order[at + 1 :] == [f"sync {tmp_path.name} 0"]


def test_the_remains_of_a_kill_are_no_object(tmp_path: Path) -> None:
    store = open_folder(tmp_path)
    with replace_file(tmp_path / "a" / "object") as temporary:
        temporary.write_bytes(b"half")
        left = tmp_path / "a" / temporary.name.replace("object", "killed")
        left.write_bytes(b"half")
        assert store.list() == ()
    assert store.list() == ("a/object",)
    assert left.exists()


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    name = "/".join(["x" * 250, "y" * 250])
    assert len(name) <= NAME_MAX
    store = open_folder(tmp_path)
    store.put(name, b"four")
    assert store.list() == (name,)


def test_the_remains_of_a_killed_writer_are_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with replace_file(path) as temporary:
        temporary.write_bytes(b"half of what was to come")
        os.link(temporary, tmp_path / "kept")
    (tmp_path / "kept").rename(temporary)  # a kill would leave it like this
    write_file(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["file"]


def test_two_writers_at_a_time_do_not_write_into_each_others_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with replace_file(path) as first:
        first.write_bytes(b"first")
        with replace_file(path) as second:
            second.write_bytes(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]
