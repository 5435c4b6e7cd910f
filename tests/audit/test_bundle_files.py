"""A bundle as one file: the same bytes everywhere, and nothing else is unpacked."""

import gc
import io
import json
import os
import shutil
import tarfile
from hashlib import sha256
from tarfile import BLOCKSIZE

import pytest
from typer.testing import CliRunner

from assay.audit import bundle_file, sources
from assay.audit.bundle import open_bundle
from assay.audit.bundle_file import pack_bundle, unpack_bundle
from assay.audit.bundle_seal import seal_folder
from assay.audit.sources import MadeModels, ModelShelf
from assay.cli.app import app
from assay.inference.folder import CheckpointError
from assay.judge.seal import BundleError, SealError
from tests.small_genesis import open_small_genesis


def read_files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def run(*arguments):
    result = CliRunner().invoke(app, ["audit", *map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def packed(bundle, tmp_path_factory):
    return pack_bundle(bundle, tmp_path_factory.mktemp("packed"))


def test_the_same_bundle_is_the_same_file(bundle, packed, tmp_path):
    """Whatever its files' times, owners and order on the disk are."""
    assert packed.path.name == f"run-{packed.sha256}.tar"
    data = packed.path.read_bytes()
    assert packed.sha256 == sha256(data).hexdigest()
    assert packed.size == len(data)
    for name in sorted(read_files(bundle), reverse=True):
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle / name, tmp_path / "copy" / name)
        (tmp_path / "copy" / name).chmod(0o600)
        os.utime(tmp_path / "copy" / name, (1, 1))
    assert pack_bundle(tmp_path / "copy", tmp_path).path.read_bytes() == data


def test_it_is_a_tar_archive_like_any_other(bundle, packed, tmp_path):
    with tarfile.open(packed.path) as archive:
        archive.extractall(tmp_path / "theirs", filter="data")
    unpack_bundle(packed.path, tmp_path / "ours")
    assert read_files(tmp_path / "ours") == read_files(tmp_path / "theirs") == read_files(bundle)


def test_bytes_that_stand_twice_are_kept_once(bundle, packed):
    """Both checkpoints have the same tokenizer."""
    with tarfile.open(packed.path) as archive:
        (link,) = [m for m in archive if m.islnk() and m.name.endswith("/tokenizer.json")]
    sizes = sum(len(data) for data in read_files(bundle).values())
    size = (bundle / link.name).stat().st_size
    headers = BLOCKSIZE * len(read_files(bundle))
    assert packed.size < sizes - size + 2 * headers


def test_the_command_reads_the_file_and_cuts_a_slice_out_of_it(bundle, packed, tmp_path):
    """A slice of a slice is the slice of the whole, and is audited alone: with a model, whose
    second checkpoint is made of its adapter."""
    local, base = "--allow-local-beacon", open_small_genesis()
    whole = run("--offline", packed.path, local)
    assert whole == run("--offline", bundle, local)
    (tmp_path / "a").mkdir()
    cut = ("export", "--tar", "--windows", "2..3", "--offline")
    first = run(*cut, packed.path, "--out", tmp_path / "a" / "slice")["bundle"]
    assert first["needs"] == [base.digest.hex()]
    again = run(*cut, first["file"]["path"], "--out", tmp_path / "slice")["bundle"]
    assert again["file"]["sha256"] == first["file"]["sha256"]
    assert read_files(tmp_path / "slice") == read_files(tmp_path / "a" / "slice")
    assert first["file"]["bytes"] < packed.size
    found = run("--offline", first["file"]["path"], local, "--model", base.folder)
    assert found["matched"]
    assert [part["window"] for part in found["windows"]] == [2, 3]
    assert all(part["claims"] == 0 for part in found["windows"])


def test_a_model_that_is_no_checkpoint_will_do(packed, tmp_path):
    """Of window 3 on, its tensors are the base's; of those before, the checkpoint's own."""
    (tmp_path / "model").mkdir()
    for path in open_small_genesis().folder.glob("*.safetensors"):
        shutil.copyfile(path, tmp_path / "model" / path.name)
    local = "--allow-local-beacon"
    named = "--windows", "2..3", "--model", tmp_path / "model"
    assert run("--offline", packed.path, local, *named)["matched"]


def test_a_checkpoint_that_was_made_keeps_its_files_while_somebody_has_it(
    packed, tmp_path, monkeypatch
):
    """A gate's models, opened between the checkpoint in force and its model's first pass, do not
    take that model's folder away."""
    monkeypatch.setattr(sources, "_OPENED_MAX", 1)
    base, public = open_small_genesis(), open_bundle(packed.path, tmp_path).public
    shelf = ModelShelf([base.folder], made=MadeModels(public.outlines, tmp_path))
    (digest,) = {
        bytes.fromhex(path.name) for path in tmp_path.rglob("store/checkpoints/*") if path.is_dir()
    } - {base.digest}
    held = shelf.get(digest, public.parameters)
    assert shelf.get(base.digest, public.parameters).digest == base.digest
    again = shelf.get(digest, public.parameters)
    assert held.folder != again.folder
    folder, state = held.folder, held.models.plain.state_dict()
    assert state.keys() == again.models.plain.state_dict().keys()
    del held
    gc.collect()
    assert not folder.exists()
    assert again.folder.exists()


def test_a_made_checkpoint_that_cannot_be_opened_leaves_no_files(packed, tmp_path):
    """Each window would ask for it again."""
    base, public = open_small_genesis(), open_bundle(packed.path, tmp_path).public

    def fail(folder, digest):
        raise CheckpointError(f"{folder} is broken")

    (tmp_path / "made").mkdir()
    shelf = ModelShelf([base.folder], fail, MadeModels(public.outlines, tmp_path / "made"))
    digests = {path.name for path in tmp_path.rglob("store/checkpoints/*") if path.is_dir()}
    (digest,) = digests - {base.digest.hex()}
    with pytest.raises(CheckpointError, match="is broken"):
        shelf.get(bytes.fromhex(digest), public.parameters)
    assert [*(tmp_path / "made").iterdir()] == []


def test_another_model_is_not_taken_for_it(packed, tmp_path):
    (tmp_path / "model").mkdir()
    for path in open_small_genesis().folder.glob("*.safetensors"):
        data = bytearray(path.read_bytes())
        data[-2] ^= 1
        (tmp_path / "model" / path.name).write_bytes(data)
    arguments = ["--offline", packed.path, "--allow-local-beacon", "--model", tmp_path / "model"]
    result = CliRunner().invoke(app, ["audit", *map(str, arguments), "--windows", "2..3", "--json"])
    assert result.exit_code == 2
    missed = [part["not_checked"] for part in json.loads(result.stdout)["windows"]]
    assert ["no --model holds" in parts[0]["what"] for parts in missed] == [True, True]


def test_a_base_travels_with_it_where_that_is_asked(packed, tmp_path):
    base = open_small_genesis()
    cut = ("export", "--tar", "--windows", "3..3", "--offline", packed.path)
    kept = run(*cut, "--base", base.folder, "--out", tmp_path / "kept")["bundle"]
    assert kept["needs"] == []
    found = run("--offline", kept["file"]["path"], "--allow-local-beacon")
    assert found["matched"]
    assert found["model"]
    assert found["windows"][0]["claims"] == 0
    arguments = [*cut, "--base", tmp_path / "kept" / "store", "--out", tmp_path / "other"]
    result = CliRunner().invoke(app, ["audit", *map(str, arguments)])
    assert result.exit_code == 2
    assert "manifest.json" in result.stderr


def test_a_bundle_that_is_whole_is_only_packed(bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "bundle")
    packed = run("export", "--tar", "--out", tmp_path / "bundle")
    assert packed["matched"]
    assert packed["bundle"]["file"]["sha256"] == pack_bundle(bundle, tmp_path).sha256
    result = CliRunner().invoke(
        app, ["audit", "export", "--tar", "--windows=2..3", "--out", str(tmp_path / "bundle")]
    )
    assert result.exit_code == 2
    assert "cut 2..3 out with --offline" in result.stderr.replace("\n", " ")


# --- files of strangers


def make_archive(*members, kind=tarfile.USTAR_FORMAT, ends=2):
    """A tar archive of (changes of a member's header, its bytes)."""
    out = io.BytesIO()
    for changes, data in members:
        info = tarfile.TarInfo("a")
        info.size = len(data)
        for name, value in changes.items():
            setattr(info, name, value)
        out.write(info.tobuf(kind) + data + bytes(-len(data) % BLOCKSIZE))
    return out.getvalue() + bytes(ends * BLOCKSIZE)


HOSTILE = {
    "a folder above": make_archive(({"name": "../a"}, b"x")),
    "a folder above, later": make_archive(({"name": "a/../../b"}, b"x")),
    "an absolute name": make_archive(({"name": "/tmp/a"}, b"x")),
    "a folder's dot": make_archive(({"name": "./a"}, b"x")),
    "a hidden name": make_archive(({"name": ".a"}, b"x")),
    "two slashes": make_archive(({"name": "a//b"}, b"x")),
    "another system's slash": make_archive(({"name": "a\\b"}, b"x")),
    "a symbolic link": make_archive(({"type": tarfile.SYMTYPE, "linkname": "b"}, b"")),
    "a link to what is outside": make_archive(({"type": tarfile.LNKTYPE, "linkname": "/b"}, b"")),
    "a link to itself": make_archive(({"type": tarfile.LNKTYPE, "linkname": "a"}, b"")),
    "a link with bytes": make_archive(
        ({}, b"x"), ({"name": "b", "type": tarfile.LNKTYPE, "linkname": "a"}, b"x")
    ),
    "a folder": make_archive(({"type": tarfile.DIRTYPE}, b"")),
    "a pipe": make_archive(({"type": tarfile.FIFOTYPE}, b"")),
    "a device": make_archive(({"type": tarfile.CHRTYPE, "devmajor": 1}, b"")),
    "a sparse file": make_archive(({"type": tarfile.GNUTYPE_SPARSE}, b"")),
    "a header for all": make_archive(({"type": tarfile.XGLTYPE}, b"9 path=b\n"), ({}, b"x")),
    "a long name of GNU's": make_archive(({"type": tarfile.GNUTYPE_LONGNAME}, b"b\0"), ({}, b"x")),
    "the same name twice": make_archive(({}, b"x"), ({}, b"y")),
    "a wrong order": make_archive(({"name": "b"}, b"x"), ({"name": "a"}, b"y")),
    "a file that is a folder": make_archive(({"name": "a"}, b"x"), ({"name": "a/b"}, b"y")),
    "a folder that is a file": make_archive(({"name": "a/b"}, b"x"), ({"name": "a0"}, b""))[:1024]
    + make_archive(({"name": "a"}, b"y")),
    "another mode": make_archive(({"mode": 0o4755}, b"x")),
    "an owner": make_archive(({"uid": 1}, b"x")),
    "a time": make_archive(({"mtime": 1}, b"x")),
    "GNU's header": make_archive(({}, b"x"), kind=tarfile.GNU_FORMAT),
    "a size that is none": make_archive(({"size": -1}, b""), kind=tarfile.GNU_FORMAT),
    "a huge size": make_archive(({"size": (1 << 33) - 1}, b"")),
    "no end": make_archive(({}, b"x"), ends=0),
    "half an end": make_archive(({}, b"x"), ends=1),
    "too long an end": make_archive(({}, b"x"), ends=3),
    "letters behind a file": make_archive(({}, b"x"))[:-1025] + b"y" + bytes(1024),
    "cut off": make_archive(({}, bytes(4096)))[:3000],
    "nothing": b"",
    "another file": b"letters" * 1_000,
    "a damaged header": make_archive(({}, b"x")).replace(b"ustar", b"Ustar"),
}


@pytest.mark.parametrize("way", HOSTILE)
def test_no_other_archive_is_unpacked(way, tmp_path):
    """And nothing is written outside of the folder."""
    (tmp_path / "x.tar").write_bytes(HOSTILE[way])
    (tmp_path / "scratch").mkdir()
    with pytest.raises(BundleError):
        open_bundle(tmp_path / "x.tar", tmp_path / "scratch")
    outside = {path.name for path in tmp_path.rglob("*") if "bundle" not in path.parts}
    assert outside == {"x.tar", "scratch"}


@pytest.mark.parametrize(("name", "most"), [("MEMBERS_MAX", 3), ("BUNDLE_BYTES", 20_000)])
def test_both_sides_have_the_same_bounds(name, most, bundle, packed, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle_file, name, most)
    with pytest.raises(BundleError, match="export"):
        pack_bundle(bundle, tmp_path)
    with pytest.raises(BundleError, match="more files or bytes than are read"):
        unpack_bundle(packed.path, tmp_path / "out")
    assert not list(tmp_path.glob("*.tar"))


def test_links_count_as_what_they_link_to(tmp_path, monkeypatch):
    """A small archive could otherwise have an auditor read terabytes."""
    links = [({"name": f"b{n}", "type": tarfile.LNKTYPE, "linkname": "a"}, b"") for n in range(9)]
    (tmp_path / "x.tar").write_bytes(make_archive(({}, bytes(4096)), *links))
    unpack_bundle(tmp_path / "x.tar", tmp_path / "all")
    monkeypatch.setattr(bundle_file, "BUNDLE_BYTES", 9 * 4096)
    with pytest.raises(BundleError, match="more files or bytes"):
        unpack_bundle(tmp_path / "x.tar", tmp_path / "few")


def test_a_flipped_bit_shows_even_where_it_is_sealed_anew(bundle, packed, tmp_path):
    """The name seals the file."""
    shutil.copytree(bundle, tmp_path / "bundle")
    (tmp_path / "bundle" / "about.json").write_bytes(
        (bundle / "about.json").read_bytes().replace(b"\n", b"\n ", 1)
    )
    seal_folder(tmp_path / "bundle")
    other = pack_bundle(tmp_path / "bundle", tmp_path)
    other.path.rename(tmp_path / packed.path.name)
    with pytest.raises(SealError, match=other.sha256):
        unpack_bundle(tmp_path / packed.path.name, tmp_path / "out")


def test_a_cut_off_pack_leaves_no_file(bundle, tmp_path, monkeypatch):
    whole = bundle_file._encode_header  # noqa: SLF001 - called once for each file
    left = [2 * len(read_files(bundle)) - 1]  # all of the first pass, and not of the second

    def break_off(*arguments):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return whole(*arguments)

    monkeypatch.setattr(bundle_file, "_encode_header", break_off)
    with pytest.raises(KeyboardInterrupt):
        pack_bundle(bundle, tmp_path)
    assert list(tmp_path.iterdir()) == []
