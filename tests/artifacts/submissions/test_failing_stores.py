"""Stores that fail: the verdicts about them, and the mirrors that replace them."""

import socket
import threading
from contextlib import closing
from dataclasses import replace

import pytest

from assay.artifacts.submissions import mirror_writer
from assay.artifacts.submissions.mirror_writer import MirrorWriter
from assay.artifacts.submissions.pack import PackedPart, pack_parts
from assay.artifacts.submissions.read_ahead import fetch
from assay.artifacts.submissions.reader import AUDITED, know_no_mirrors, open_submission
from assay.artifacts.submissions.reading import read_submission
from assay.judge.pack import PackedSubmission
from assay.network.store.base import StoreError
from assay.network.store.deadlines import _allowance
from assay.network.store.folder import open_folder
from assay.network.store.http_client import HttpClient, HttpTimeouts
from assay.network.store.opening import ReadableStores
from assay.protocol.reason import Reason
from assay.verification import plan_audit, plan_samples
from tests.artifacts.submissions.shown_window import (
    SAMPLED,
    Broken,
    mirror_of,
    pack_file,
    with_mirrors,
    with_store,
)
from tests.network.store.hostile import Hostile, answer
from tests.neurons.miner_bench import ALICE

# --- the messages about them


def refuse_to_resolve(host, port, seconds):
    raise socket.gaierror(-3, "Temporary failure in name resolution")


def refuse_in_time(host, port, seconds):
    raise TimeoutError("10.0.0.2 did not answer")


@pytest.mark.parametrize("ahead", [False, True])
def test_a_verdict_says_nothing_of_the_validators_network(shown, caplog, ahead):
    """A locator whose name means something only in the validator's network, a name that nobody
    knows, and one that nobody answers look the same in verdicts."""
    caplog.set_level("DEBUG", "assay")
    committed = replace(shown.context.commitments[ALICE], locator="https://vault.corp.example/m")
    shown.context = replace(shown.context, commitments={ALICE: committed})
    said = set()
    nothing = socket.create_server(("127.0.0.1", 0))
    port = nothing.getsockname()[1]
    nothing.close()
    resolvers = (
        lambda host, port, seconds: ["10.20.30.40"],
        lambda host, port, seconds: [],
        refuse_to_resolve,
        refuse_in_time,
    )
    patience = HttpTimeouts(connect_s=0.5, total_s=1.0, tries=1)
    for resolve in resolvers:
        with closing(HttpClient(False, resolve, patience)) as client:
            sources = replace(shown.sources, stores=ReadableStores([], client))
            if ahead:
                fetched = fetch(open_submission(shown.context, ALICE, sources))
                said.add(fetched.checked.refusal.detail)
            else:
                said.add(shown.judge(sources).detail)
    root = f"http://127.0.0.1:{port}"  # a place that the operator has named
    committed = replace(committed, locator=root)
    shown.context = replace(shown.context, commitments={ALICE: committed})
    said.add(shown.judge(replace(shown.sources, stores=ReadableStores([root]))).detail)
    (detail,) = said
    assert "vault" not in detail
    assert "10." not in detail
    assert "10.20.30.40" in caplog.text  # which is the operator's to read


def test_a_verdict_says_nothing_of_the_validators_folders(shown, tmp_path):
    folder = tmp_path / "secret-name"
    store = open_folder(folder)
    (folder / shown.name).parent.mkdir()
    (folder / shown.name).symlink_to(tmp_path)
    found = shown.judge(with_store(shown, store))
    assert found.reason is Reason.NOT_REVEALED
    assert "secret-name" not in found.detail


def test_a_verdict_says_what_everybody_can_see(shown):
    """The miner can mend it."""
    with closing(Hostile(lambda method, path, headers, connection: answer(connection, 500))) as web:
        committed = replace(shown.context.commitments[ALICE], locator=web.url)
        shown.context = replace(shown.context, commitments={ALICE: committed})
        stores = ReadableStores([web.url], None, HttpClient(True, patience=HttpTimeouts(tries=1)))
        found = shown.judge(replace(shown.sources, stores=stores))
    assert "answers with status 500" in found.detail


# --- mirrors


def test_a_store_that_is_away_is_made_good_by_a_mirror(shown, tmp_path):
    mirror = mirror_of(shown, tmp_path / "mirror")
    for own in (Broken(), open_folder(tmp_path / "empty")):
        assert shown.judge(with_store(shown, own)).reason is Reason.NOT_REVEALED
        assert shown.judge(with_store(shown, own, [Broken(), mirror])) == shown.judge()
    assert shown.judge(with_mirrors(replace(shown.sources, stores={}), mirror)).accepted


class Dripping(Broken):
    """One that takes all the time it is given."""

    def read(self, start, end):
        _allowance.get().seconds = 0.0
        raise StoreError("it drips")

    def get(self, name, limit):
        self.read(0, limit)


def test_a_store_that_drips_to_some_validators_leaves_time_for_mirrors(shown, tmp_path):
    """So does a mirror that drips."""

    class Timed(Broken):
        def get(self, name, limit):
            assert _allowance.get().seconds > 1.0
            return mirror.get(name, limit)

    mirror = mirror_of(shown, tmp_path / "mirror")
    sources = with_store(shown, Dripping(), [Dripping(), Timed()])
    found = fetch(open_submission(shown.context, ALICE, sources), 10.0)
    assert found.is_whole


def test_a_validator_leaves_what_it_read_and_clears_away_the_old(shown, tmp_path):
    store = open_folder(tmp_path)
    store.put("mirrors/-3/old", b"no window of ours")
    packed = {
        looking: pack_file(open_submission(shown.context, ALICE, shown.sources, looking))
        for looking in (AUDITED, SAMPLED)
    }
    with closing(MirrorWriter(store, 2)) as mirror:
        for window in range(4):
            for looking in packed:
                root = shown.context.commitments[ALICE].root
                mirror.put(window, root, packed[looking], looking.samples)
        while not mirror.queue.empty():
            threading.Event().wait(0.01)
    names = [f"mirrors/{w}/{root.hex()}{end}" for w in (2, 3) for end in ("", ".samples")]
    assert store.list("mirrors") == ("mirrors/-3/old", *names)
    context = replace(shown.context, window=3)
    sources = with_store(shown, Broken(), [store])
    for looking, whole in packed.items():
        parts, make_plan = {}, plan_samples if looking.samples else plan_audit
        plan = make_plan(shown.context, ALICE)
        plan.record(parts)
        read_submission(plan, open_submission(context, ALICE, sources, looking))
        assert pack_parts(ALICE, parts) == whole


def test_copies_waiting_for_a_stalled_store_are_bounded_by_bytes(shown, caplog):
    started, free = threading.Event(), threading.Event()

    class Stalls(Broken):
        written = 0

        def list(self, prefix, some):
            return ()

        def put(self, name, data):
            started.set()
            assert free.wait(60)
            self.written += 1

    store = Stalls()
    size = mirror_writer.WAITING_BYTES // 4
    packed, huge = (
        PackedSubmission(ALICE, (PackedPart(0, n, bytes(n), None),)) for n in (size, 5 * size)
    )
    with closing(MirrorWriter(store, 2)) as mirror:
        mirror.put(0, bytes(32), packed, False)
        assert started.wait(60)  # bytes being written count
        for _ in range(9):
            mirror.put(0, bytes(32), packed, False)
            assert mirror.held_bytes <= mirror_writer.WAITING_BYTES
        assert mirror.left_out == 6
        assert caplog.text.count("some of the audited parts are not mirrored") == 1
        free.set()
        while mirror.held_bytes:
            threading.Event().wait(0.01)
        mirror.put(0, bytes(32), huge, False)  # alone, nothing is too large
        while mirror.held_bytes:
            threading.Event().wait(0.01)
    assert store.written == 5


def test_a_mirror_that_cannot_be_written_is_said_once(shown, caplog):
    packed = pack_file(open_submission(shown.context, ALICE, shown.sources))

    class Full(Broken):
        def list(self, prefix, some):
            return ()

        def put(self, name, data):
            raise StoreError("the disk is full")

    with closing(MirrorWriter(Full(), 2)) as mirror:
        for _ in range(3):
            mirror.put(0, bytes(32), packed, False)
        while not mirror.queue.empty():
            threading.Event().wait(0.01)
    assert caplog.text.count("are not mirrored: the disk is full") == 1


def test_nobody_is_asked_where_there_is_no_mirror(shown):
    assert know_no_mirrors(bytes(32)) == ()
    empty = replace(shown.context, commitments={})
    refusal = open_submission(empty, ALICE, shown.sources).offer(plan_audit(shown.context, ALICE))
    assert refusal.reason is Reason.NOT_REVEALED
    assert refusal.unbound
