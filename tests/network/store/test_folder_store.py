"""An object store on a folder: stored objects are read back, whole and by range, and from nowhere
else."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from assay.network.store import folder as folder_store
from assay.network.store.base import LOCATOR_MAX, NAME_MAX, ObjectStore, StoreError
from assay.network.store.folder import open_file, open_folder
from assay.network.store.opening import ReadableStores, open_store


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:  # tmp_path is too long for a locator
        (Path(name) / "a store").mkdir()
        yield Path(name) / "a store"


@pytest.fixture
def store(folder: Path) -> ObjectStore:
    return open_store(folder.as_uri())


def test_put_then_get(store: ObjectStore, folder: Path) -> None:
    store.put("hotkey/window-7.rollouts", b"first")
    store.put("hotkey/window-7.rollouts", b"second")
    assert store.get("hotkey/window-7.rollouts", 6) == b"second"
    assert (folder / "hotkey/window-7.rollouts").read_bytes() == b"second"


def test_empty_object(store: ObjectStore) -> None:
    store.put("empty", b"")
    assert store.get("empty", 0) == b""
    assert store.open("empty").size() == 0
    assert store.open("empty").read(0, 10) == b""


def test_ranges(store: ObjectStore, folder: Path) -> None:
    store.put("a/b", b"0123456789")
    for source in (store.open("a/b"), open_file(folder / "a" / "b")):
        assert source.size() == 10
        assert source.read(2, 5) == b"234"
        assert source.read(8, 20) == source.read(8, 1 << 70) == b"89"
        empty = ((10, 12), (3, 3), (5, 2), (-4, 2), (1 << 70, (1 << 70) + 1))
        assert [source.read(*r) for r in empty] == [b""] * len(empty)


def test_open_reads_nothing_and_sees_what_comes_later(store: ObjectStore) -> None:
    source = store.open("later")
    assert source.size() is None
    assert source.read(0, 1) is None
    assert store.get("later", 1) is None
    store.put("later", b"x")
    assert source.read(0, 1) == b"x"


def test_object_above_the_limit(store: ObjectStore) -> None:
    store.put("large", bytes(11))
    with pytest.raises(StoreError, match="at most 10"):
        store.get("large", 10)


CHANGES: dict[str, Callable[[Path], None]] = {
    "cut short": lambda path: os.truncate(path, 4),
    "made longer": lambda path: os.truncate(path, 1 << 20),
    "taken away": lambda path: path.unlink(missing_ok=True),
}


@pytest.mark.parametrize("name", CHANGES)
def test_object_that_changes_while_it_is_read(
    store: ObjectStore, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Between the look at its size and the reading: never more bytes than were looked at."""

    def spoil(look: Callable[..., Any]) -> Callable[..., Any]:
        def look_and_spoil(*arguments: Any) -> Any:
            seen = look(*arguments)
            CHANGES[name](folder / "x")
            return seen

        return look_and_spoil

    def try_to_read(use: Callable[[], bytes | None]) -> bytes | None:
        (folder / "x").write_bytes(b"0123456789")
        try:
            return use()
        except StoreError as error:
            return str(error)[:11].encode()

    monkeypatch.setattr(os, "fstat", spoil(os.fstat))
    monkeypatch.setattr(folder_store, "get_size", spoil(folder_store.get_size))
    whole = b"cannot read" if name == "cut short" else b"0123456789"
    assert try_to_read(lambda: store.get("x", 10)) == whole
    start, end = {
        "cut short": (b"23", b"cannot read"),
        "made longer": (b"23456789", b"6789"),
        "taken away": (None, None),
    }[name]
    assert try_to_read(lambda: store.open("x").read(2, 1 << 30)) == start
    assert try_to_read(lambda: store.open("x").read(6, 1 << 30)) == end


def test_list_is_sorted_and_by_folder(store: ObjectStore) -> None:
    for name in ("b/2", "b/1", "a", "bb/3", "b/c/4"):
        store.put(name, b"")
    assert store.list() == ("a", "b/1", "b/2", "b/c/4", "bb/3")
    assert store.list("b") == store.list("b/") == ("b/1", "b/2", "b/c/4")
    assert store.list("nothing") == ()


def test_readers_never_see_half_an_object(store: ObjectStore) -> None:
    versions = [bytes([i]) * 100_000 for i in range(2)]
    store.put("x", versions[0])
    done = threading.Event()

    def write() -> None:
        for i in range(100):
            store.put("x", versions[i % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert store.get("x", 100_000) in versions
    writer.join()
    assert store.list() == ("x",)


ESCAPES = [
    "..",
    "../x",
    "a/../../x",
    "/etc/passwd",
    "a//b",
    "a/",
    "",
    ".",
    "./x",
    "a/./b",
    "a\0b",
    "a\\b",
    "a%2e%2e",
    "é",
    "x\n",
    "a b",
    "x#1",
    "x" * (NAME_MAX + 1),
]


@pytest.mark.parametrize("name", ESCAPES)
def test_names_that_escape_or_are_not_plain(store: ObjectStore, folder: Path, name: str) -> None:
    before = sorted(folder.parent.rglob("*"))
    for use in (store.open, lambda n: store.get(n, 10), lambda n: store.put(n, b"x")):
        with pytest.raises(StoreError, match="is not an object's name"):
            use(name)
    assert sorted(folder.parent.rglob("*")) == before


def test_listing_above_the_root(store: ObjectStore) -> None:
    with pytest.raises(StoreError, match="is not an object's name"):
        store.list("../")


def test_link_that_leads_out_of_the_store(store: ObjectStore, folder: Path) -> None:
    (folder.parent / "secret").write_bytes(b"secret")
    (folder / "link").symlink_to(folder.parent / "secret")
    (folder / "up").symlink_to(folder.parent)
    for name in ("link", "up/secret"):
        for use in (store.open(name).size, lambda n=name: store.put(n, b"x")):
            with pytest.raises(StoreError, match="leads out"):
                use()
    assert (folder.parent / "secret").read_bytes() == b"secret"


def test_link_that_stays_in_the_store(store: ObjectStore, folder: Path) -> None:
    store.put("a", b"x")
    (folder / "link").symlink_to(folder / "a")
    assert store.get("link", 1) == store.open("link").read(0, 1) == b"x"


def test_link_to_a_folder_above_ends_no_listing(store: ObjectStore, folder: Path) -> None:
    (folder / "link").symlink_to(folder)
    with pytest.raises(StoreError, match="cannot list"):
        store.list()


def test_link_in_a_circle(store: ObjectStore, folder: Path) -> None:
    (folder / "link").symlink_to(folder / "link")
    with pytest.raises(StoreError):
        store.get("link", 10)


def test_folder_or_pipe_in_the_place_of_an_object(store: ObjectStore, folder: Path) -> None:
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")  # opening it would wait for a writer for ever
    for name in ("folder", "pipe"):
        assert store.open(name).size() is None
        assert store.open(name).read(0, 1) is None
        assert store.get(name, 1) is None
    assert open_file(folder / "pipe").size() is None


LOCATORS = [
    "",
    "store",
    "/store",
    "s3://b/c",
    "file://",
    "file://host/tmp",
    "file:tmp",
    "file:///tmp?x=1",
    "file:///tmp#x",
    "file:///tmp%00",
    "file:///tmp\0x",
    "http://[",
    "é",
    "file:///tmp\n",
    "fi\nle:///tmp",
    " file:///tmp",
    "file:///tmp é",
    "file:///" + "x" * 5_000,
    "file:///no/such/folder",
]


@pytest.mark.parametrize("locator", LOCATORS, ids=lambda text: text[:20] or "empty")
def test_locator_that_is_no_store(locator: str) -> None:
    with pytest.raises(StoreError):
        open_store(locator)


def test_locator_longer_than_a_commitment_carries(folder: Path) -> None:
    name = "x" * (LOCATOR_MAX - len(f"{folder.parent.as_uri()}/"))
    for extra, words in (("", "does not exist"), ("x", "at most 80 bytes")):
        with pytest.raises(StoreError, match=words):
            open_store(f"{folder.parent.as_uri()}/{name}{extra}")


def test_missing_folder_says_what_to_do(folder: Path) -> None:
    with pytest.raises(StoreError, match="does not exist: create it"):
        open_store((folder / "none").as_uri())
    assert not (folder / "none").exists()


def test_own_folder_is_made(tmp_path: Path) -> None:
    own = tmp_path / ("a long name" * 10) / "store"
    open_folder(own).put("a/b", b"x")
    assert open_folder(own).get("a/b", 1) == b"x"
    with pytest.raises(StoreError, match="you may write"):
        open_folder(own / "a/b")


def test_file_in_the_place_of_a_folder(store: ObjectStore, folder: Path) -> None:
    (folder / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="create it"):
        open_store((folder / "file").as_uri())
    store.put("a", b"")
    with pytest.raises(StoreError, match="a store"):
        store.put("a/b", b"")


def test_store_that_cannot_be_written(store: ObjectStore, folder: Path) -> None:
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):  # a superuser writes all the same
        folder.chmod(0o700)
        (folder / "a").write_bytes(b"")
    with pytest.raises(StoreError, match="you may read and write it"):
        store.put("a/b", b"x")
    folder.chmod(0o700)


def test_store_that_goes_away(store: ObjectStore, folder: Path) -> None:
    folder.rmdir()
    assert store.get("a", 1) is None
    assert store.list() == ()


def test_a_file_outside_of_any_store(tmp_path: Path) -> None:
    path = tmp_path / "my submission (1).rollouts"
    source = open_file(path)
    assert source.size() is None
    assert source.read(0, 1) is None
    path.write_bytes(b"0123456789")
    assert source.size() == 10
    assert source.read(8, 20) == b"89"
    assert source.read(5, 2) == b""


def test_a_strangers_locator_leads_only_below_the_roots() -> None:
    with TemporaryDirectory() as folder:  # pytest's own are longer than a locator
        check_roots(Path(folder))


def check_roots(folder: Path) -> None:
    for name in ("public/miner", "private"):
        (folder / name).mkdir(parents=True)
    (folder / "public" / "way-out").symlink_to(folder / "private")
    root = (folder / "public").as_uri()
    stores = ReadableStores([root])
    for locator in (root, f"{root}/", f"{root}/miner"):
        assert stores.get(locator) is not None
    for locator in (folder.as_uri(), f"{root}/../private", f"{root}/way-out", "file:///"):
        assert stores.get(locator) is None
    for locator in ("", "ftp://example.org/a", f"{root}/nobody"):
        with pytest.raises(StoreError):
            stores.get(locator)


def test_probing_a_validator_for_the_folders_it_has(folder: Path) -> None:
    """Outside of what may be read, a folder that is there and one that is not look alike."""
    for roots in ([], [folder.as_uri()]):
        stores = ReadableStores(roots)
        for probe in (folder.parent, folder.parent / "none", folder.parent / "none/../none"):
            assert stores.get(f"file://{probe}") is None
