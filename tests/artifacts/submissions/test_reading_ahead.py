"""Files read ahead of the judge: a slow file delays no other, and a late one is left out."""

import threading
from contextlib import closing
from dataclasses import replace

import pytest

from assay.artifacts.submissions import read_ahead
from assay.artifacts.submissions.pack import compute_pack_max
from assay.artifacts.submissions.read_ahead import ReadAhead
from assay.artifacts.submissions.reader import AUDITED, KnownMirror, ReadRequest
from assay.network.store.deadlines import _allowance
from assay.network.store.folder import open_folder
from assay.protocol.parameters import DEMO_TIMING, MAIN_WORK
from assay.protocol.reason import Reason
from tests.artifacts.submissions.shown_window import SAMPLED, Broken, mirror_of, with_store
from tests.neurons.miner_bench import ALICE, HOTKEYS, LOCATOR

BOB = HOTKEYS["owner"]
LATE = ReadRequest(late=True)
#: A block at which there is time.
HEAD = DEMO_TIMING.audit_offset


class Silent(Broken):
    """One that answers when it is told to."""

    def __init__(self):
        self.free = threading.Event()
        self.then = lambda start, end: None

    def read(self, start, end):
        assert self.free.wait(60)
        return self.then(start, end)


def choose(ahead, context, hotkeys, looking=AUDITED):
    """Has files read and says who can be judged."""
    for hotkey in hotkeys:
        ahead.begin(context, hotkey, HEAD, looking)
    return find_ready(ahead, context, hotkeys, looking)


def find_ready(ahead, context, hotkeys, looking=AUDITED):
    found = ahead.choose(context, {looking: hotkeys})
    assert found is None or found[1] == looking
    return found and found[0]


def test_files_read_ahead_are_judged_alike(shown):
    plain = shown.judge()
    kept = []
    with closing(ReadAhead(shown.sources, lambda *taken: kept.append(taken))) as ahead:
        assert choose(ahead, shown.context, [ALICE]) == ALICE
        found = shown.judge(replace(shown.sources, ahead=ahead))
        assert choose(ahead, shown.context, [ALICE], SAMPLED) == ALICE
        final = shown.judge_samples(found, replace(shown.sources, ahead=ahead))
    assert plain.accepted
    assert plain.provisional
    assert found == plain
    assert final == replace(plain, provisional=False) == shown.judge_samples(plain)
    root = shown.context.commitments[ALICE].root
    assert [(w, root, packed.hotkey, samples) for w, root, packed, samples in kept] == [
        (0, root, ALICE, False),
        (0, root, ALICE, True),
    ]


def test_read_files_are_left_for_others_before_judging(shown):
    kept = []
    with closing(ReadAhead(shown.sources, lambda *taken: kept.append(taken[3]))) as ahead:
        for looking in (AUDITED, SAMPLED):
            assert choose(ahead, shown.context, [ALICE], looking) == ALICE
        assert kept == [False, True]
        assert ahead.counts == (0, 2)


def test_late_files_are_left_for_nobody(shown):
    """Else this validator would find it in its own mirror, and be alone with it."""
    silent, kept = Silent(), []
    sources = with_store(shown, silent)
    with closing(ReadAhead(sources, lambda *taken: kept.append(taken))) as ahead:
        for looking in (AUDITED, SAMPLED):
            assert ahead.begin(shown.context, ALICE, HEAD, looking)
        ahead.drop(0, late=False)
        silent.then = shown.sources.stores[LOCATOR].open(shown.name).read
        silent.free.set()
        with ahead.changed:
            assert ahead.changed.wait_for(lambda: not any(ahead.held_bytes.values()), 60)
        assert find_ready(ahead, shown.context, [ALICE]) is None
        assert ahead.take(shown.context, ALICE) is None
    assert kept == []


def test_a_miner_without_a_file_is_judged_at_once(shown):
    with closing(ReadAhead(shown.sources)) as ahead:
        assert choose(ahead, shown.context, [BOB, ALICE]) == BOB
        assert ahead.take(shown.context, BOB) is None


def test_a_silent_store_holds_up_nobody_else(shown, monkeypatch):
    """Alice's store is silent; a second hotkey with the same commitment has a good one."""
    monkeypatch.setattr(read_ahead, "WAIT_S", 5.0)
    silent = Silent()
    committed = replace(shown.context.commitments[ALICE], locator="test:silent")
    members = {**shown.context.members, BOB: shown.context.members[ALICE]}
    commitments = {BOB: committed, ALICE: shown.context.commitments[ALICE]}
    context = replace(shown.context, members=members, commitments=commitments)
    stores = {**shown.sources.stores, "test:silent": silent}
    with closing(ReadAhead(replace(shown.sources, stores=stores))) as ahead:
        assert choose(ahead, context, [BOB, ALICE]) == ALICE
        assert ahead.take(context, ALICE) is not None
        monkeypatch.setattr(read_ahead, "WAIT_S", 0.0)
        assert choose(ahead, context, [BOB]) is None
        # past FETCH_END a file under way counts no more, even if it comes
        ahead.drop(context.window, late=False)
        assert find_ready(ahead, context, [BOB]) is None
        silent.free.set()
        for thread in ahead.threads:
            thread.join(0.01)
        assert find_ready(ahead, context, [BOB]) is None
        assert ahead.take(context, BOB) is None


def test_samples_wait_for_no_store_that_is_silent_at_the_audit(shown, monkeypatch):
    """It has threads and room of its own: it is known late, and there is little time for it."""
    monkeypatch.setattr(read_ahead, "AHEAD", 1)
    monkeypatch.setattr(read_ahead, "WAIT_S", 30.0)
    silent = Silent()
    committed = replace(shown.context.commitments[ALICE], locator="test:silent")
    members = {**shown.context.members, BOB: shown.context.members[ALICE]}
    commitments = {**shown.context.commitments, BOB: committed}
    context = replace(shown.context, members=members, commitments=commitments)
    sources = replace(shown.sources, stores={**shown.sources.stores, "test:silent": silent})
    with closing(ReadAhead(sources, threads=1)) as ahead:
        assert ahead.begin(context, BOB, HEAD)
        assert not ahead.begin(context, ALICE, HEAD)
        assert choose(ahead, context, [ALICE], SAMPLED) == ALICE
        assert not ahead.begin(context, ALICE, HEAD)
        silent.free.set()


def test_a_first_try_ends_long_before_fetch_end_on_a_quick_chain(shown, monkeypatch):
    """Else one silent miner has no verdict, and the window counts for nobody."""
    asked = []

    def note(reader, seconds, parts):
        asked.append(seconds)
        return read_ahead.FetchedSubmission(None)

    monkeypatch.setattr(read_ahead, "fetch", note)
    monkeypatch.setattr(read_ahead, "WAIT_S", 30.0)
    parameters = replace(shown.context.parameters, timing=DEMO_TIMING)
    context, ends = replace(shown.context, parameters=parameters), DEMO_TIMING
    for looking, blocks in (
        (AUDITED, ends.fetch_end - ends.audit_offset),
        (SAMPLED, ends.fetch_end - ends.sample_offset),
        (LATE, ends.mirror_end - ends.fetch_end),
        (ReadRequest(samples=True, late=True), ends.mirror_end - ends.fetch_end),
    ):
        asked.clear()
        with closing(ReadAhead(shown.sources)) as ahead:
            for _ in range(2):
                assert choose(ahead, context, [ALICE], looking) == ALICE
                ahead.take(context, ALICE, looking)
        assert asked[0] * 4_000 == blocks * DEMO_TIMING.slot_ms
        assert asked[1] == 2 * asked[0]


@pytest.mark.parametrize("looking", [AUDITED, LATE])
def test_servers_are_not_waited_for_past_the_deadline(shown, monkeypatch, looking):
    """However often they were before: later reads need their threads."""
    asked = []

    def note(reader, seconds, parts):
        asked.append(seconds)
        return read_ahead.FetchedSubmission(None)

    monkeypatch.setattr(read_ahead, "fetch", note)
    monkeypatch.setattr(read_ahead, "WAIT_S", 30.0)
    last = DEMO_TIMING.mirror_end if looking.late else DEMO_TIMING.fetch_end
    with closing(ReadAhead(shown.sources)) as ahead:
        ahead.tries[0, ALICE, looking] = 9
        for head in (last - 3, last - 1, last):
            assert ahead.begin(shown.context, ALICE, head, looking)
            assert find_ready(ahead, shown.context, [ALICE], looking) == ALICE
            ahead.take(shown.context, ALICE, looking)
    assert [round(seconds * 1_000 / DEMO_TIMING.slot_ms) for seconds in asked] == [4, 2, 1]


@pytest.mark.parametrize("looking", [AUDITED, SAMPLED, LATE])
@pytest.mark.parametrize("waiting", [1, 2, 5, 64, 256])
def test_all_files_are_asked_for_in_time_however_many_stores_are_silent(
    shown, monkeypatch, looking, waiting
):
    """One thread for audits, and four for samples, in rounds: no first try takes more than its part
    of the blocks that are left."""
    asked = []

    def note(reader, seconds, parts):
        asked.append(seconds)
        return read_ahead.FetchedSubmission(None)

    monkeypatch.setattr(read_ahead, "fetch", note)
    monkeypatch.setattr(read_ahead, "WAIT_S", 30.0)
    end = DEMO_TIMING.mirror_end if looking.late else DEMO_TIMING.fetch_end
    with closing(ReadAhead(shown.sources, threads=1)) as ahead:
        assert ahead.begin(shown.context, ALICE, HEAD, looking, waiting)
        assert find_ready(ahead, shown.context, [ALICE], looking) == ALICE
    places = read_ahead.SAMPLES_FACTOR if looking.samples else 1
    rounds = -(-waiting // places)
    assert 0 < asked[0] * rounds <= (end + 1 - HEAD) * DEMO_TIMING.slot_ms / 1_000


def test_quick_stores_are_asked_first_and_servers_in_turn(shown, monkeypatch):
    names = [b"%032d" % number for number in range(5)]
    servers = ["broken://one", "broken://one", "broken://one", "broken://two", "broken://two"]
    sent = shown.context.commitments[ALICE]
    context = replace(
        shown.context,
        members=dict.fromkeys([*names, ALICE], shown.context.members[ALICE]),
        commitments={
            ALICE: sent,
            **{n: replace(sent, locator=s) for n, s in zip(names, servers, strict=True)},
        },
    )
    fetch, asked = read_ahead.fetch, []

    def note(reader, seconds, parts):
        asked.append(reader.hotkey)
        return fetch(reader, seconds, parts)

    monkeypatch.setattr(read_ahead, "fetch", note)
    stores = {**shown.sources.stores, **dict.fromkeys(servers, Broken())}
    with closing(ReadAhead(replace(shown.sources, stores=stores), threads=1)) as ahead:

        def ask(window):
            asked.clear()
            due = ([*names, ALICE],)
            ahead.begin_all(replace(context, window=window), due, HEAD, AUDITED)
            with ahead.changed:
                assert ahead.changed.wait_for(lambda: not ahead.counts[0], 60)
            return asked

        in_turn = [names[0], names[3], names[1], names[4], names[2]]
        assert [name for name in ask(0) if name != ALICE] == in_turn
        assert ask(1) == [ALICE, *in_turn]  # the others were asked in vain


def test_files_that_came_in_time_are_judged_after_fetch_end(shown, monkeypatch):
    monkeypatch.setattr(read_ahead, "WAIT_S", 30.0)
    with closing(ReadAhead(shown.sources)) as ahead:
        for looking in (AUDITED, SAMPLED):
            assert choose(ahead, shown.context, [ALICE], looking) == ALICE
        ahead.drop(0, late=True)
        # nor is it asked for again
        for looking in (LATE, ReadRequest(samples=True, late=True)):
            assert ahead.begin(shown.context, ALICE, HEAD, looking)
        assert ahead.counts == (0, 2)
        sources = replace(shown.sources, ahead=ahead)
        assert find_ready(ahead, shown.context, [ALICE]) == ALICE
        verdict = shown.judge(sources)
        assert verdict.accepted
        assert find_ready(ahead, shown.context, [ALICE], SAMPLED) == ALICE
        assert not shown.judge_samples(verdict, sources).provisional
        for looking in (AUDITED, SAMPLED):
            assert find_ready(ahead, shown.context, [ALICE], looking) is None


def test_a_file_refused_in_time_is_searched_in_mirrors(shown, tmp_path, monkeypatch):
    """By the reading threads, while it still waits for the judge."""
    monkeypatch.setattr(read_ahead, "WAIT_S", 30.0)
    verdict, asked = shown.judge(), []
    sources = replace(
        with_store(shown, open_folder(tmp_path / "empty")),
        mirrors=lambda root: [KnownMirror(store) for store in asked],
    )
    with closing(ReadAhead(sources)) as ahead:
        sources = replace(sources, ahead=ahead)
        for looking in (AUDITED, SAMPLED):
            assert choose(ahead, shown.context, [ALICE], looking) == ALICE
        asked.append(mirror_of(shown, tmp_path / "mirror"))
        ahead.drop(0, late=False)
        for samples in (False, True):
            looking = ReadRequest(samples, late=True)
            assert choose(ahead, shown.context, [ALICE], looking) == ALICE
        assert shown.judge(sources).reason is Reason.NOT_REVEALED
        assert shown.judge(sources, late=True) == verdict
        withheld = shown.judge_samples(verdict, sources)
        assert withheld.reason is Reason.NOT_REVEALED
        assert withheld.fault.unbound
        assert withheld.witness == verdict.witness
        assert not shown.judge_samples(verdict, sources, late=True).provisional


@pytest.mark.parametrize("looking", [AUDITED, SAMPLED])
def test_a_file_refused_at_one_block_is_requested_at_the_next(shown, tmp_path, looking):
    """Though the judge has not come to it: it may be shown in the last block."""
    store = open_folder(tmp_path / "slow")
    with closing(ReadAhead(with_store(shown, store))) as ahead:

        def begin(head):
            assert ahead.begin(shown.context, ALICE, head, looking)
            with ahead.changed:
                assert ahead.changed.wait_for(lambda: not ahead.counts[0], 60)
            return ahead.tries[0, ALICE, looking]

        assert begin(HEAD) == 1
        path = tmp_path / "slow" / shown.name
        path.parent.mkdir()
        path.write_bytes(shown.sources.stores[LOCATOR].get(shown.name, 1 << 24))
        assert begin(HEAD) == 1
        assert begin(HEAD + 1) == 2
        assert begin(HEAD + 2) == 2  # it has come
        assert ahead.counts == (0, 1)
        held = ahead.take(shown.context, ALICE, looking).size
        assert held > 0
        assert ahead.held_bytes == {False: 0, True: 0}


def test_a_mirror_that_answers_after_mirror_end_is_too_late(shown, monkeypatch):
    """Before it is not."""
    silent = Silent()
    silent.get = silent.read
    sources = with_store(shown, Broken(), [silent])
    with closing(ReadAhead(sources)) as ahead:
        assert ahead.begin(shown.context, ALICE, HEAD, LATE)
        ahead.drop(0, late=False)
        assert ahead.counts == (1, 0)
        ahead.drop(0, late=True)
        assert ahead.counts == (0, 0)
        silent.free.set()


def test_a_miner_without_a_file_is_judged_after_fetch_end_too(shown):
    """State says all of it: a checkpoint that comes after FETCH_END loses no window over it."""
    with closing(ReadAhead(shown.sources)) as ahead:
        assert find_ready(ahead, shown.context, [ALICE, BOB]) == BOB
        assert find_ready(ahead, shown.context, [ALICE]) is None


def test_memory_is_bounded(shown, monkeypatch):
    monkeypatch.setattr(read_ahead, "KEPT_BYTES", 0)
    monkeypatch.setattr(read_ahead, "WAIT_S", 30.0)
    with closing(ReadAhead(shown.sources)) as ahead:
        for looking in (AUDITED, SAMPLED):
            assert choose(ahead, shown.context, [ALICE], looking) == ALICE
            assert ahead.held_bytes[looking.samples] > 0
            assert not ahead.begin(replace(shown.context, window=9), ALICE, HEAD, looking)
            ahead.take(shown.context, ALICE, looking)
            assert ahead.held_bytes[looking.samples] == 0


def test_memory_is_bounded_by_what_may_still_come(shown):
    """A file under way counts as the largest possible, so nobody has to wait for its size."""
    silent, names = Silent(), [b"%032d" % number for number in range(read_ahead.AHEAD)]
    # as on the main network, where sixty-four of the largest would be most of a gigabyte
    context = replace(
        shown.context,
        parameters=replace(shown.context.parameters, work=MAIN_WORK),
        members=dict.fromkeys(names, shown.context.members[ALICE]),
        commitments=dict.fromkeys(names, shown.context.commitments[ALICE]),
    )
    largest = compute_pack_max(context.parameters)
    assert read_ahead.AHEAD * largest > read_ahead.KEPT_BYTES > 16 * largest
    with closing(ReadAhead(with_store(shown, silent))) as ahead:
        begun = [name for name in names if ahead.begin(context, name, HEAD)]
        assert len(begun) * largest <= read_ahead.KEPT_BYTES < (len(begun) + 1) * largest
        assert ahead.held_bytes == {False: len(begun) * largest, True: 0}
        # threads continue with unwanted files until the deadline
        ahead.forget(context.window)
        assert ahead.counts == (0, 0)
        assert not ahead.begin(replace(context, window=9), names[0], HEAD)
        silent.free.set()
        with ahead.changed:
            assert ahead.changed.wait_for(lambda: ahead.held_bytes[False] == 0, 60)
        assert ahead.begin(replace(context, window=9), names[0], HEAD)


def test_a_window_that_is_over_is_forgotten(shown, monkeypatch):
    monkeypatch.setattr(read_ahead, "WAIT_S", 30.0)
    with closing(ReadAhead(shown.sources)) as ahead:
        for looking in (AUDITED, SAMPLED):
            choose(ahead, shown.context, [ALICE], looking)
        ahead.forget(0)
        assert ahead.counts == (0, 0)
        assert ahead.held_bytes == {False: 0, True: 0}
        assert ahead.tries == {}


def test_a_second_try_of_the_judges_own_waits_for_no_server_for_long(shown, monkeypatch):
    """On its thread, everybody else waits with it."""
    monkeypatch.setattr(read_ahead, "WAIT_S", 30.0)
    monkeypatch.setattr(read_ahead, "plan_audit", lambda *_: 1 // 0)

    class Watching:
        def open(self, name):
            seen.append(_allowance.get())
            return shown.sources.stores[LOCATOR].open(name)

    seen = []
    sources = with_store(shown, Watching())
    with closing(ReadAhead(sources)) as ahead:
        assert choose(ahead, shown.context, [ALICE]) == ALICE
        sources = with_store(shown, Watching(), [Broken()])
        assert shown.judge(replace(sources, ahead=ahead)).accepted
    assert seen[-1].seconds <= 20.0


def test_our_own_fault_is_ours(shown, monkeypatch):
    """If reading ahead breaks, the judge itself tries once more."""
    monkeypatch.setattr(read_ahead, "WAIT_S", 30.0)

    def break_down(*_):
        raise ValueError("a defect")

    monkeypatch.setattr(read_ahead, "plan_audit", break_down)
    with closing(ReadAhead(shown.sources)) as ahead:
        assert choose(ahead, shown.context, [ALICE]) == ALICE
        assert shown.judge(replace(shown.sources, ahead=ahead)).accepted


def test_a_defect_costs_neither_a_thread_nor_the_bytes_it_had_reserved(shown, monkeypatch):
    """The judge's thread raises it; later files are read ahead as before."""
    monkeypatch.setattr(read_ahead, "WAIT_S", 30.0)

    def break_down(*_):
        raise AttributeError("a defect")

    with closing(ReadAhead(shown.sources, threads=1)) as ahead:
        with monkeypatch.context() as broken:
            broken.setattr(read_ahead, "plan_audit", break_down)
            assert choose(ahead, shown.context, [ALICE]) == ALICE
            with pytest.raises(AttributeError, match="a defect"):
                ahead.take(shown.context, ALICE)
        assert ahead.held_bytes[False] == 0
        assert choose(ahead, shown.context, [ALICE]) == ALICE
        assert shown.judge(replace(shown.sources, ahead=ahead)).accepted


def test_a_closed_reader_begins_no_more_files(shown, monkeypatch):
    begun, go_on = [], threading.Event()

    def hang(reader, seconds, parts):
        begun.append(reader.hotkey)
        go_on.wait(60)
        return read_ahead.FetchedSubmission(None)

    monkeypatch.setattr(read_ahead, "fetch", hang)
    monkeypatch.setattr(read_ahead, "WAIT_S", 0.1)
    ahead = ReadAhead(shown.sources, threads=1)
    again = replace(shown.context, window=shown.context.window + 1)
    for context in (shown.context, again):
        assert choose(ahead, context, [ALICE]) is None
    ahead.close()
    go_on.set()
    for thread in ahead.threads:
        thread.join(60)
    assert begun == [ALICE]
    assert ahead.held_bytes[False] == 0
