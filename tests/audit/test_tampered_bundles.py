"""A bundle that somebody has touched: the audit names the file, whatever was done to it."""

import os
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assay.audit.bundle_seal import seal_folder
from assay.cli.app import app
from assay.judge.pack import PackedRefusal, decode_pack, encode_pack
from assay.judge.seal import SUMS_FILE, BundleError, SealError, find_broken_seals
from assay.protocol.reason import Reason
from tests.audit.audited import HOTKEYS, open_audit

FLIPS = 2_400


@pytest.fixture
def copy(bundle, tmp_path):
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def list_files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def list_kinds(folder):
    """A file of each kind."""
    kinds = {path.parent.parent.name + path.suffix: path for path in list_files(folder)}
    assert len(kinds) > 5
    return [*{*kinds.values(), folder / SUMS_FILE, folder / "facts.json"}]


def flip(path, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def audit(folder, *options):
    return CliRunner().invoke(
        app, ["audit", "--offline", str(folder), "--allow-local-beacon", "--json", *options]
    )


@pytest.mark.slow
def test_any_flipped_bit_names_its_file(copy):
    """Over all files, the list of sums among them; in each the first and the last bit, too."""
    draw = random.Random(7)
    files = list_files(copy)
    assert copy / SUMS_FILE in files
    assert find_broken_seals(copy) == []
    done = 0
    while done < FLIPS:
        for path in files:
            bits = 8 * path.stat().st_size
            for bit in {0, bits - 1, *(draw.randrange(bits) for _ in range(14))}:
                flip(path, bit)
                faults = find_broken_seals(copy)
                flip(path, bit)
                assert len(faults) == 1, faults
                assert faults[0].startswith(f"{path} ")
                done += 1
    assert find_broken_seals(copy) == []


def test_every_bit_of_the_seal_itself(copy):
    """The last line of the list, which seals the rest of it."""
    path = copy / SUMS_FILE
    size = path.stat().st_size
    for bit in range(8 * (size - 72), 8 * size):
        flip(path, bit)
        faults = find_broken_seals(copy)
        flip(path, bit)
        assert [fault.startswith(f"{path} ") for fault in faults] == [True], bit


def test_the_command_names_a_file_of_each_kind(copy):
    assert audit(copy).exit_code == 0
    for path in list_kinds(copy):
        flip(path, 77)
        result = audit(copy)
        assert result.exit_code == 2
        assert f"{path} is damaged" in result.stderr
        assert not result.stdout
        flip(path, 77)
    assert audit(copy).exit_code == 0


def test_missing_added_renamed_and_replaced_files(copy):
    victim = next(path for path in list_files(copy) if path.suffix == ".record")
    other = victim.with_name("another.record")
    data = victim.read_bytes()

    victim.rename(other)
    assert sorted(find_broken_seals(copy)) == sorted(
        [f"{victim} is missing", f"{other} was not sealed"]
    )
    victim.symlink_to(other)
    assert any(fault.startswith(f"{victim} is damaged") for fault in find_broken_seals(copy))
    victim.unlink()
    victim.mkdir()
    assert f"{victim} is a folder" in find_broken_seals(copy)
    victim.rmdir()
    other.rename(victim)
    for wrong in (data[:-1], data + b"\0", b""):
        victim.write_bytes(wrong)
        assert find_broken_seals(copy) == [f"{victim} is damaged: it is not as it was sealed"]
    victim.write_bytes(data)
    assert find_broken_seals(copy) == []
    (copy / SUMS_FILE).unlink()
    assert "cannot be read" in find_broken_seals(copy)[0]


@pytest.mark.parametrize("choose", [list_kinds, list_files])
def test_sealed_again_it_is_judged_by_what_it_says(copy, choose):
    """A new seal over nonsense does not help: each file is also compared with the digest that names
    it."""
    for path in choose(copy):
        if path.name == SUMS_FILE:
            continue
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        seal_folder(copy)
        result = audit(copy)
        assert result.exit_code in (1, 2), path
        assert "defect in assay" not in result.stderr, (path, result.stderr)
        path.write_bytes(data)
    seal_folder(copy)
    assert audit(copy).exit_code == 0


@pytest.mark.parametrize("reason", Reason)
def test_the_word_of_a_pack_proves_nothing(copy, reason):
    """Whoever makes a bundle may say of a file's parts what it likes, in its record's own words,
    too: then nothing was shown of the file, and nobody has checked it."""
    packs = [path for path in list_files(copy) if path.parent.name.startswith("window-")]
    whole = [one for one in packs if decode_pack(one.read_bytes()).is_whole]
    pack, shown = whole[0], decode_pack(whole[0].read_bytes())
    refusal = PackedRefusal(reason, "so says the bundle")
    said = [replace(part, data=None, refusal=refusal) for part in shown.parts]
    pack.write_bytes(encode_pack(replace(shown, parts=tuple(said))))
    seal_folder(copy)
    result = audit(copy)
    assert result.exit_code == 2, result.stdout
    assert "defect in assay" not in result.stderr


def test_sums_that_lead_out_of_the_folder(copy):
    outside = copy.parent / "outside"
    outside.write_bytes(b"x")
    (copy / "link").symlink_to(outside)
    with pytest.raises(SealError, match="link was not sealed"), open_audit(copy):
        pass


def test_a_folder_that_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match="is not a bundle"), open_audit(tmp_path):
        pass


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("about.json", r'"windows": \[[^]]*\]', '"windows": [0, 1.5]'),
        ("about.json", r'"windows": \[[^]]*\]', '"windows": [0, 999999999999]'),
        ("facts.json", r'"head": \d+', '"head": 1e999'),
        ("facts.json", HOTKEYS["alice"].hex(), HOTKEYS["alice"].hex()[2:]),
    ],
)
def test_nonsense_sealed_anew_is_one_readable_line(name, old, new, copy):
    path = copy / name
    text, count = re.subn(old, new, path.read_text())
    assert count
    path.write_text(text)
    seal_folder(copy)
    result = audit(copy)
    assert result.exit_code == 2
    assert "defect in assay" not in result.stderr, result.stderr


def test_a_pipe_in_place_of_the_sums_is_not_waited_for(copy):
    (copy / SUMS_FILE).unlink()
    os.mkfifo(copy / SUMS_FILE)
    assert "regular file" in find_broken_seals(copy)[0]
