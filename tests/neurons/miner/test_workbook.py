"""A miner's work on disk: cut off, changed, foreign, or with no room for it."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from assay.neurons.miner.work_database import WorkDatabase, WorkDatabaseError, WorkStage
from assay.protocol.commitment import parse_commitment
from assay.session.window_reader import get_challenge
from tests.neurons.miner_bench import ALICE, HOTKEYS

BOUNDS = 8, 8 * (4 + 48 * 10)


@pytest.fixture
def mined(make_subnet, quick_miner):
    """A subnet whose first window was mined, and that window's challenge."""
    subnet = make_subnet()
    miner = subnet.start(quick_miner)
    subnet.run_to(miner, 6)
    challenge = get_challenge(subnet.chain, subnet.beacons, subnet.parameters, 0)
    return subnet, miner, challenge


def list_bytes(groups):
    """Each rollout as the file has it."""
    return [
        [
            len(r.tokens).to_bytes(4, "little")
            + b"".join(column.tobytes() for column in (r.tokens, r.logprobs, r.sketch))
            for r in group
        ]
        for group in groups
    ]


def test_the_workbook_keeps_what_was_made(mined):
    subnet, miner, challenge = mined
    page = subnet.book.open(challenge, ALICE, *BOUNDS)
    assert list_bytes(page.groups) == list_bytes(miner.work.groups)
    assert page.marks.keys() == {WorkStage.SEALED, WorkStage.UPLOADED, WorkStage.SENT}
    assert page.marks[WorkStage.SEALED] == 4
    assert page.size == page.path.stat().st_size


def test_a_torn_tail_is_dropped_wherever_it_is_torn(mined, tmp_path):
    """Cut after any byte, a file gives the groups before the cut, and takes new ones after."""
    subnet, miner, challenge = mined
    whole = subnet.book.open(challenge, ALICE, *BOUNDS)
    data, groups = whole.path.read_bytes(), list_bytes(miner.work.groups)
    ends = [len(data) - 3 * (5 + 8 + 16)]
    for group in reversed(groups):
        ends.append(ends[-1] - 21 - sum(map(len, group)))
    start, *ends = reversed(ends)
    cuts = {0, 1, start - 1, start} | {end + by for end in ends for by in (-20, -1, 0, 1)}
    for cut in sorted(cuts):
        with WorkDatabase(tmp_path / f"{cut}") as book:
            path = tmp_path / f"{cut}" / whole.path.name
            path.write_bytes(data[:cut])
            page = book.open(challenge, ALICE, *BOUNDS)
            left = sum(end <= cut for end in ends)
            assert list_bytes(page.groups) == groups[:left]
            assert page.marks == {}
            page.keep(miner.work.groups)
            again = book.open(challenge, ALICE, *BOUNDS)
            assert list_bytes(again.groups) == groups


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_flipped_bit_ends_what_is_trusted(place, mined):
    subnet, miner, challenge = mined
    page = subnet.book.open(challenge, ALICE, *BOUNDS)
    data = bytearray(page.path.read_bytes())
    data[int(len(data) * place)] ^= 1
    page.path.write_bytes(data)
    kept = list_bytes(subnet.book.open(challenge, ALICE, *BOUNDS).groups)
    assert len(kept) < 4
    assert kept == list_bytes(miner.work.groups)[: len(kept)]


def test_a_record_moved_to_another_place_is_not_trusted(mined, tmp_path):
    subnet, miner, challenge = mined
    page = subnet.book.open(challenge, ALICE, *BOUNDS)
    first, second = (len(b"".join(group)) + 21 for group in list_bytes(miner.work.groups)[:2])
    data = page.path.read_bytes()
    head = (
        page.size
        - 3 * 29
        - sum(len(b"".join(group)) + 21 for group in list_bytes(miner.work.groups))
    )
    swapped = data[head + first : head + first + second] + data[head : head + first]
    page.path.write_bytes(data[:head] + swapped + data[head + first + second :])
    assert subnet.book.open(challenge, ALICE, *BOUNDS).groups == []


def test_foreign_work_is_never_taken_for_ones_own(mined):
    """Another hotkey's, another window's, another chain's: each under the name of our own."""
    subnet, miner, challenge = mined
    own = subnet.book.open(challenge, ALICE, *BOUNDS)
    strangers = [
        (challenge, HOTKEYS["owner"]),
        (replace(challenge, checkpoint=bytes(32)), ALICE),
        (replace(challenge, block=replace(challenge.block, hash=bytes(32))), ALICE),
    ]
    for other, hotkey in strangers:
        page = subnet.book.open(other, hotkey, *BOUNDS)
        assert page.path != own.path
        assert page.groups == []
        own.path.rename(page.path)
        assert subnet.book.open(other, hotkey, *BOUNDS).groups == []
        fresh = subnet.book.open(other, hotkey, *BOUNDS)
        fresh.keep(miner.work.groups[:1])  # takes the place of what was not its own
        assert len(subnet.book.open(other, hotkey, *BOUNDS).groups) == 1
        own.path.write_bytes(page.path.read_bytes())
        assert subnet.book.open(challenge, ALICE, *BOUNDS).groups == []
        own = subnet.book.open(challenge, ALICE, *BOUNDS)
        own.keep(miner.work.groups)


def test_a_full_disk_is_named_and_ends_no_window(make_subnet, quick_miner, monkeypatch):
    subnet = make_subnet()
    honest, full = Path.open, [True]

    def open_full(self, mode="r", *arguments, **options):
        if self.suffix == ".work" and mode == "r+b" and full[0]:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return honest(self, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", open_full)
    miner = subnet.start(quick_miner)
    subnet.run_to(miner, 13)
    for words in ("window-0-", "No space left on device", "disk is not full"):
        assert words in miner.trouble.text
    assert len([line for line in subnet.lines if "No space left" in line]) == 1
    assert parse_commitment(subnet.get_slot()).groups == 4
    full[0] = False
    subnet.run_to(miner, 25)
    assert miner.trouble is None


def test_groups_that_found_no_room_are_written_with_the_next(mined, monkeypatch, tmp_path):
    _, miner, challenge = mined
    groups = miner.work.groups
    with WorkDatabase(tmp_path / "other") as book:
        page = book.open(challenge, ALICE, *BOUNDS)
        page.keep(groups[:1])
        honest = Path.open

        class Half:
            def __init__(self, file):
                self.file = file

            def __enter__(self):
                return self

            def __exit__(self, *_):
                self.file.close()

            def __getattr__(self, name):
                return getattr(self.file, name)

            def write(self, data):
                self.file.write(data[: len(data) // 2])
                self.file.flush()
                raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(Path, "open", lambda self, *a: Half(honest(self, *a)))
            with pytest.raises(WorkDatabaseError, match="No space left"):
                page.keep(groups[:2])
        page.keep(groups[:3])
        assert list_bytes(book.open(challenge, ALICE, *BOUNDS).groups) == list_bytes(groups[:3])


def test_two_miners_never_share_a_folder(tmp_path):
    with WorkDatabase(tmp_path), pytest.raises(WorkDatabaseError, match="another miner works"):
        WorkDatabase(tmp_path)
    WorkDatabase(tmp_path).close()


def test_a_folder_that_is_none_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkDatabaseError, match="file"):
        WorkDatabase(tmp_path / "file")


def test_old_work_goes_and_nothing_else(make_subnet, quick_miner):
    subnet = make_subnet()
    miner = subnet.start(quick_miner)
    other = subnet.folder / "work" / "window-0-notes.txt"
    other.write_text("mine")
    subnet.run_to(miner, 6 * 12)
    kept = subnet.book.list_windows()
    assert kept == [2, 3, 4, 5]
    assert other.read_text() == "mine"
