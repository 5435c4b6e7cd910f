"""A store that reveals its file to some validators, or at the last moment, splits nobody.

Three validators read ahead and leave the parts that they read in time in their own stores. Until
MIRROR_END each of them finds its missing parts with the others. A fourth validator, which comes too
late to ask miners themselves, gives no verdict on files that no mirror has.
"""

import threading
import time
from dataclasses import dataclass, replace

import pytest
import torch

from assay.artifacts.database import Database
from assay.artifacts.store_objects import make_mirror_name
from assay.artifacts.submissions.mirror_writer import MirrorWriter
from assay.artifacts.submissions.read_ahead import ReadAhead, fetch
from assay.artifacts.submissions.reader import KnownMirror, open_submission
from assay.network.store.folder import open_folder
from assay.neurons.validator.status import name_verdicts
from assay.protocol.commitment import make_object_name
from assay.protocol.reason import Reason
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import Phase, compute_block
from assay.verification import compute_score
from tests.adversarial.conftest import LOCATOR, make_world
from tests.adversarial.watched import Watched

#: The third is shown less than the others, and looks first at each block: nothing has been left in
#: mirrors by then.
THIRD, FIRST, SECOND = VALIDATORS = ("trainer", "validator", "owner")
#: It begins when FETCH_END has passed.
FOURTH = "fourth"
MINERS = ("alice", "bob", "carol", "dave", "erin")
#: Seconds for what other threads do.
PATIENCE_S = 60.0


class Gate:
    """Miners' store as one validator is shown it.

    Args:
        is_shown: by an object's name; may wait.
    """

    def __init__(self, store, is_shown):
        self._store = store
        self._is_shown = is_shown
        self.asked = set()

    def open(self, name):
        return GatedFile(self, name, self._store.open(name))

    def is_shown(self, name):
        self.asked.add(name)
        return self._is_shown(name)


@dataclass
class GatedFile:
    gate: Gate
    name: str
    file: object

    def read(self, start, end):
        return self.file.read(start, end) if self.gate.is_shown(self.name) else None


class Reader(Watched):
    """A validator that reads ahead and mirrors, as programs do; it can be started again."""

    def __init__(self, play, name):
        self.play, self.name = play, name
        self.store = open_folder(play.folder / "mirrors" / name)
        self.gate = Gate(play.store, lambda path: play.is_shown(path, self))
        self.waiting = []  # reads that the gate keeps waiting
        self.open()

    def open(self):
        world, play = self.play.world, self.play
        mirrors = [open_folder(play.folder / "mirrors" / other) for other in VALIDATORS]
        own = VALIDATORS.index(self.name) if self.name in VALIDATORS else None
        known = [KnownMirror(store) for n, store in enumerate(mirrors) if n != own]
        sources = replace(world.sources, stores={LOCATOR: self.gate}, mirrors=lambda root: known)
        self.mirror = MirrorWriter(self.store, 2)
        self.ahead = ReadAhead(sources, self.mirror.put, threads=4)
        self.database = Database(play.folder / f"{self.name}.sqlite")
        settlements = getattr(self, "settlements", [])
        world = replace(world, sources=sources)
        super().__init__(world, self.name, self.database, self.ahead)
        self.settlements = settlements

    def close(self):
        self.ahead.close()
        self.mirror.close()
        self.database.close()

    def work(self):
        """Do all the work that is due at this block, except for what the gate delays."""
        end = time.monotonic() + PATIENCE_S
        while self.validator.step() or self.ahead.counts[0] > len(self.waiting):
            assert time.monotonic() < end
        while self.mirror.held_bytes:
            assert time.monotonic() < end
            time.sleep(0.001)

    def has_copy(self, miner, *, samples=False):
        """Whether it has left one for others."""
        root = self.audit(0).context.commitments[self.world.hotkeys[miner]].root
        return self.store.get(make_mirror_name(0, root, samples=samples), 1 << 24) is not None


class Play:
    """One window, from its first block to its settlement.

    Args:
        restarts: the second validator ends and begins again at each block.
    """

    def __init__(self, folder, *, restarts):
        self.folder, self.restarts = folder, restarts
        self.world = make_world(folder, MINERS, last=0)
        self.world.hotkeys[FOURTH] = b"4" * 32
        self.store = self.world.sources.stores[LOCATOR]
        self.freed = threading.Event()
        self.readers = {name: Reader(self, name) for name in VALIDATORS}

    def compute_block(self, phase):
        return compute_block(self.world.parameters.timing, 0, phase)

    def is_shown(self, path, reader):
        """Alice's and Dave's files are shown to all; Bob's in the last block to most; Carol's when
        it is too late; Erin's to one validator, which has asked in time and waits for it."""
        head, last = self.world.chain.get_head(), self.compute_block(Phase.FETCH_END)
        (miner,) = (m for m in MINERS if path == self.get_path(m))
        if miner == "bob":
            return head > last or (head == last and reader.name != THIRD)
        if miner == "carol":
            return head > last
        if miner == "erin":
            if head < last or reader.name != FIRST:
                return False
            reader.waiting.append(path)
            assert self.freed.wait(PATIENCE_S)
            reader.waiting.pop()
        return True

    def get_path(self, miner):
        return make_object_name(encode_ss58(self.world.hotkeys[miner]), 0)

    def upload_what_is_audited(self, miner):
        """And zeros for the rest."""
        context = replace(self.readers[FIRST].audit(0).context, sample=None)
        hotkey = self.world.hotkeys[miner]
        parts = {}
        fetch(open_submission(context, hotkey, self.world.sources), parts=parts)
        path = self.folder / "store" / self.get_path(miner)
        served = bytearray(path.stat().st_size)
        for part, data in parts.items():
            served[part.start : part.end] = data
        path.write_bytes(served)

    def run(self):
        last = self.compute_block(Phase.FETCH_END)
        while not all(self.readers[name].settlements for name in VALIDATORS):
            self.world.mint()
            head = self.world.chain.get_head()
            if head == last + 1:
                self.readers[FOURTH] = Reader(self, FOURTH)
            for reader in self.readers.values():
                if self.restarts and reader.name == SECOND:
                    reader.close()
                    reader.open()
                reader.work()
            judged = self.readers[FIRST].validator.judged_windows.get(0)
            if head < last and judged is not None and judged.context is not None:
                self.upload_what_is_audited("dave")
            if head == last + 1:
                self.freed.set()
            if head == self.compute_block(Phase.MIRROR_END):
                self.ledgers = [dict(r.validator.ledgers) for r in self.readers.values()]
        for reader in self.readers.values():
            reader.close()


@pytest.fixture(scope="module", params=[False, True], ids=["", "restarted"])
def played(request, tmp_path_factory):
    torch.set_num_threads(1)
    play = Play(tmp_path_factory.mktemp("late"), restarts=request.param)
    play.run()
    return play


def get_verdicts(played, miner, names=VALIDATORS):
    hotkey = played.world.hotkeys[miner]
    return [played.readers[name].audit(0).verdicts.get(hotkey) for name in names]


@pytest.mark.parametrize("miner", ["alice", "bob"])
def test_a_file_shown_to_most_in_the_last_block_reaches_all_by_mirrors(played, miner):
    verdicts = get_verdicts(played, miner)
    assert {verdict.reason for verdict in verdicts} == {Reason.ACCEPTED}
    (score,) = {compute_score(verdict) for verdict in verdicts}
    assert score > 0
    for name in (FIRST, SECOND):
        for samples in (False, True):
            assert played.readers[name].has_copy(miner, samples=samples)


def test_a_file_that_nobody_saw_in_time_is_withheld_from_all(played):
    assert {verdict.reason for verdict in get_verdicts(played, "carol")} == {Reason.NOT_REVEALED}


def test_a_miner_that_uploads_what_is_audited_alone_is_refused_by_all(played):
    """The measurements of its audited rollouts stay in the ledger of its seat."""
    verdicts = get_verdicts(played, "dave")
    assert {verdict.reason for verdict in verdicts} == {Reason.ROOT_MISMATCH}
    assert all("sample" in verdict.detail and verdict.witness for verdict in verdicts)
    for name in VALIDATORS:
        reader = played.readers[name]
        assert reader.has_copy("dave")
        assert not reader.has_copy("dave", samples=True)


def test_a_file_that_comes_to_one_validator_after_fetch_end_counts_for_nobody(played):
    """Though it was asked for before; nor is it left where others would find it."""
    assert played.get_path("erin") in played.readers[FIRST].gate.asked
    assert {verdict.reason for verdict in get_verdicts(played, "erin")} == {Reason.NOT_REVEALED}
    assert not any(played.readers[name].has_copy("erin") for name in VALIDATORS)


def test_all_settle_alike(played):
    first, *others = ([*played.readers[name].settlements] for name in VALIDATORS)
    assert others == [first, first]
    uids = {m: played.world.chain.get_members(0)[played.world.hotkeys[m]].uid for m in MINERS}
    assert set(first[0].weights) == {uids["alice"], uids["bob"]}
    assert 0 in first[0].windows
    ledgers = played.ledgers[: len(VALIDATORS)]
    assert ledgers == ledgers[:1] * len(VALIDATORS)
    rollouts = played.world.parameters.work.audited_rollouts
    entered = {seat.uid: ledger.rollouts for (_, seat), ledger in ledgers[0].items()}
    expected = {"alice": rollouts, "bob": rollouts, "carol": 0, "dave": rollouts, "erin": 0}
    assert {miner: entered.get(uids[miner], 0) for miner in MINERS} == expected


def test_a_validator_after_fetch_end_judges_no_file_that_mirrors_lack(played):
    """It could not ask in time; miners' own stores it does not ask at all."""
    fourth = played.readers[FOURTH]
    assert fourth.gate.asked == set()
    accepted = [get_verdicts(played, miner, [FOURTH])[0] for miner in ("alice", "bob")]
    assert {verdict.reason for verdict in accepted} == {Reason.ACCEPTED}
    assert [get_verdicts(played, m, [FOURTH]) for m in ("carol", "dave", "erin")] == [[None]] * 3
    assert not fourth.audit(0).counts
    assert "3 of" in fourth.audit(0).explain_abstention()
    said = "window 0: 2 ACCEPTED, not all judged, so this validator abstains"
    assert name_verdicts(fourth.audit(0)) == said
