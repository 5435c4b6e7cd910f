"""Making a bundle: cut off anywhere it continues, and it keeps exactly what the audit read."""

from dataclasses import replace

import pytest

from assay.audit.auditor import audit
from assay.audit.bundle_export import export_bundle
from assay.audit.bundle_seal import open_records
from assay.judge.seal import SUMS_FILE, BundleError, SealError
from assay.lab.demo.run import ModelFolders
from assay.network.chain.errors import ChainError
from tests.audit.audited import (
    HOTKEYS,
    LIAR,
    RIVAL,
    WINDOWS,
    ForgetfulChain,
    list_differences,
    open_audit,
)

#: Whose files can be read.
READ = {HOTKEYS[name] for name in ("alice", "bob", "mallory")}


class CutOff(BaseException):
    """Ctrl-C, or worse."""


class CountingSubmissions:
    """Files, and how often each was opened; the end comes at one of them."""

    def __init__(self, submissions, last=None):
        self.opened = []
        self._submissions = submissions
        self._last = last

    def open(self, context, hotkey):
        if len(self.opened) == self._last:
            raise CutOff
        self.opened.append((context.window, hotkey))
        return self._submissions.open(context, hotkey)


def export(network, out, submissions, **changes):
    public = network.make_public(submissions=submissions, **changes)
    return export_bundle(
        public,
        LIAR,
        WINDOWS,
        out,
        network.folder / "scratch",
        lambda: iter([ModelFolders(network.models)]),
        lambda *_: None,
    )


def list_files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_cut_off_anywhere_it_goes_on_to_the_same_bundle(network, tmp_path):
    whole = CountingSubmissions(network.make_public().submissions)
    assert export(network, tmp_path / "whole", whole).matched
    for last in (1, 30):
        out = tmp_path / str(last)
        first = CountingSubmissions(network.make_public().submissions, last)
        with pytest.raises(CutOff):
            export(network, out, first)
        assert not (out / SUMS_FILE).exists()
        with pytest.raises(SealError, match="not whole"), open_audit(out):
            pass
        (out / ".facts.json.x.tmp").write_bytes(b"half")
        second = CountingSubmissions(network.make_public().submissions)
        assert export(network, out, second).matched
        assert list_files(out) == list_files(tmp_path / "whole")
        # files that were read whole are not read again; nora's files, which nobody has, are
        # requested
        packed = {pair for pair in first.opened[:-1] if pair[1] in READ}
        assert not packed & set(second.opened)


def test_nothing_is_written_into_anothers_folder(network, tmp_path):
    files = network.make_public().submissions
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").write_text("mine")
    with pytest.raises(BundleError, match="is not empty"):
        export(network, tmp_path / "full", files)
    assert list_files(tmp_path / "full") == {"letter": b"mine"}
    export(network, tmp_path / "one", files)
    with pytest.raises(BundleError, match="has a complete bundle"):
        export(network, tmp_path / "one", files)
    (tmp_path / "one" / SUMS_FILE).unlink()
    public = network.make_public()
    with pytest.raises(BundleError, match="unfinished bundle of other"):
        export_bundle(public, RIVAL, WINDOWS, tmp_path / "one", tmp_path, list, lambda *_: None)


def test_a_bundle_holds_the_record_of_one(network, tmp_path):
    """And nothing that its audit does not read: no other validator, no statistics, and of tensors
    only the adapters that make a checkpoint's."""
    export(network, tmp_path / "one", network.make_public().submissions)
    names = list_files(tmp_path / "one")
    kept = [n for n in names if not n.endswith("/files/adapter.safetensors")]
    assert not [n for n in kept if n.endswith((".safetensors", ".statistics.json", ".parquet"))]
    assert len({n.split("/")[1] for n in names if n.endswith(".record")}) == 1
    with open_audit(tmp_path / "one") as public:
        with pytest.raises(ChainError, match="does not say"):
            public.chain.get_members(7)
        assert audit(public, RIVAL, WINDOWS).windows[0].unknown


def test_state_forgotten_at_the_making_stays_forgotten(network, tmp_path):
    files = network.make_public().submissions
    forgetful = ForgetfulChain(network.chain, 100)
    live = export(network, tmp_path / "old", files, chain=forgetful)
    with open_audit(tmp_path / "old") as public:
        offline = audit(public, LIAR, WINDOWS)
    assert [f.unknown for f in offline.windows] == [f.unknown for f in live.windows]
    assert offline == live
    assert not offline.matched


def test_two_readers_compare_what_they_have(network, tmp_path):
    files = network.make_public().submissions
    export(network, tmp_path / "one", files)
    with open_audit(tmp_path / "one") as public:
        copies = {"the store": network.records, "a bundle": open_records(tmp_path / "one")}
        report = audit(replace(public, copies=copies), LIAR, WINDOWS)
    assert list_differences(report) == []
    assert all("copies" in [check.value for check in found.checked] for found in report.windows)
