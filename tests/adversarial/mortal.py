"""A validator that can be killed between any two of its effects, and started again from disk.

Chain, calendar, beacons, journal and outbox are real. The result for a submission follows from its
window and hotkey and from the ledger that it was judged with. So a submission that is judged twice,
lost, or entered twice into a ledger shows in the published records. A kill is an exception that
nothing catches: the database is closed in the middle and opened again.
"""

import json
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from assay.artifacts.database import Database
from assay.lab.simulator import SimulatedChain
from assay.network.beacon import LocalBeacon
from assay.network.store.folder import FolderStore, open_folder
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.validator import submission_queue as module
from assay.neurons.validator.make_records import Author
from assay.neurons.validator.record_book import RecordBook
from assay.neurons.validator.run_archive import Archive
from assay.neurons.validator.validator import Validator
from assay.neurons.validator.weights_outbox import list_rows
from assay.protocol.amendment import ParameterHistory
from assay.protocol.parameters import Timing
from assay.protocol.reason import Reason, Refusal
from assay.protocol.window import Phase, compute_block
from assay.subnet.presets import NETUID, make_demo_parameters
from assay.verification import Accepted, GroupValue, JudgeResult, Refused, Statistics

GENESIS_MS = 1_700_000_000_000
NAMES = ("owner", "trainer", "validator", "alice", "bob", "carol")
HOTKEYS = {name: sha256(name.encode()).digest() for name in NAMES}
LOCATOR = "https://records.example"
TIMING = Timing(
    window_blocks=3,
    commit_offset=3,
    audit_offset=4,
    sample_offset=5,
    fetch_end=6,
    mirror_end=7,
    verdict_end=9,
    checkpoint_lead=0,
    slot_ms=1_000,
    tempo=11,
    beacon_delay_ms=0,
    notice_windows=2,
)


def make_beacons(now_ms):
    return LocalBeacon(b"mortal", GENESIS_MS, 1_000, now_ms)


@cache
def make_parameters(genesis_hash=bytes(32)):
    beacons = make_beacons(lambda: 0).chain
    parameters = make_demo_parameters(genesis_hash, beacons, 0, HOTKEYS["trainer"], b"\x07" * 32)
    return replace(parameters, timing=TIMING)


class Killed(BaseException):
    """kill -9."""


class Fate:
    """Counts a program's effects, and kills it at some of them.

    Args:
        kills: for each kill, the number of points after the one before; 0 is the very first point.

    Attributes:
        points: names of the points passed so far.
        hook: called at each point; may raise any error.
    """

    def __init__(self, kills=()):
        self.points = []
        self.killed = 0
        self.hook = lambda name: None
        self._kills = list(kills)
        self._passed = 0

    def __call__(self, name):
        self.points.append(name)
        self.hook(name)
        self._passed += 1
        if self._kills and self._passed > self._kills[0]:
            self._kills.pop(0)
            self._passed = 0
            self.killed += 1
            raise Killed(name)

    def wrap(self, function, name):
        def run(*arguments, **options):
            self(f"before {name}")
            answer = function(*arguments, **options)
            self(f"after {name}")
            return answer

        return run


class MortalChain:
    """A chain whose calls are points, and that remembers all submitted data."""

    def __init__(self, chain, fate):
        self._chain = chain
        self._fate = fate
        self.sent = []

    def __getattr__(self, name):
        found = getattr(self._chain, name)
        return self._fate.wrap(found, name) if callable(found) else found

    def set_weights(self, hotkey, weights):
        def send():
            block = self._chain.set_weights(hotkey, weights)
            self.sent.append(dict(weights))
            return block

        return self._fate.wrap(send, "set_weights")()


class MortalDatabase(Database):
    """A file whose commits are points."""

    def __init__(self, file, fate):
        self._fate = fate
        super().__init__(file)
        self._connection.execute("PRAGMA synchronous = OFF")  # the machine itself goes on

    def commit(self):
        self._fate("before commit")
        super().commit()
        self._fate("after commit")


class MortalStore(FolderStore):
    """A folder whose writes are points."""

    def __init__(self, folder, fate):
        super().__init__(open_folder(folder).root)
        self._fate = fate

    def put(self, name, data):
        self._fate.wrap(super().put, "put")(name, data)


class Mortal:
    """One subnet in memory and one validator's folder.

    Args:
        ledger: makes what settlements are put into once their records are published, of a database.
    """

    def __init__(self, folder: Path, monkeypatch, kills=(), ledger=None, **options):
        self.fate = Fate(kills)
        self.folder = folder
        self.real = SimulatedChain(
            b"mortal", NETUID, GENESIS_MS, TIMING.slot_ms, TIMING.tempo, tuple(HOTKEYS.values())
        )
        self.chain = MortalChain(self.real, self.fate)
        self.beacons = make_beacons(lambda: self.real.get_block(self.real.get_head()).timestamp_ms)
        self.parameters = make_parameters(self.real.genesis_hash)
        self.options = options
        self._make_ledger = ledger
        self.ledger = None
        self._archive = Archive(folder)
        monkeypatch.setattr(module, "judge_hotkey", self.fate.wrap(self.judge, "judge"))
        monkeypatch.setattr(
            module, "judge_samples", self.fate.wrap(self.judge_samples, "judge samples")
        )
        monkeypatch.setattr(module, "open_checkpoint", lambda *arguments: object())
        self.judged, self.sampled = [], []
        self.database = self.validator = None
        self.restart()

    def start(self):
        """Opens the folder: that is full of points too."""
        self.database = MortalDatabase(self.folder / "validator.sqlite", self.fate)
        archive, fate = self._archive, self.fate
        self.history = self.make_history()
        author = Author("assay test", self.history, HOTKEYS["validator"])
        self.store = MortalStore(self.folder / "record", fate)
        put = None
        if self._make_ledger is not None:
            self.ledger = self._make_ledger(self.database)
            put = self.ledger.put_record
        book = RecordBook(self.database, self.chain, author, TIMING.tempo, self.store, LOCATOR, put)
        self.validator = Validator(
            HOTKEYS["validator"],
            self.history,
            JudgeSources(self.look(self.chain), self.beacons, None, {}),
            self.database,
            fate.wrap(archive.write_context, "on_context"),
            fate.wrap(archive.write_window, "on_window"),
            fate.wrap(archive.write_settlement, "on_settlement"),
            book=book,
            **self.options,
        )

    def make_history(self):
        """The parameters that a validator which starts finds."""
        return ParameterHistory(self.parameters)

    def look(self, chain):
        """The chain as the validator sees it."""
        return chain

    def restart(self):
        while True:
            if self.database is not None:
                self.database.close()
            try:
                return self.start()
            except Killed:
                continue

    def work(self):
        """All there is to do before the next block, by however many lives it takes."""
        while True:
            try:
                self.fate("step")
                if not self.step():
                    return
            except Killed:
                self.restart()

    def step(self):
        return self.validator.step()

    def play(self, blocks):
        for _ in range(blocks):
            self.real.mint()
            self.work()

    def judge(self, context, hotkey, checkpoint, sources, ledger, *, validator, late, **_):
        """Alice is honest, Bob shows his files late or not at all, Carol was caught once. Mirrors
        have nothing."""
        return JudgeResult(*self._judge(context, hotkey, ledger, validator, late))

    def _judge(self, context, hotkey, ledger, validator, late):
        window, head = context.window, self.real.get_head()
        self.judged.append((window, hotkey))
        shown = compute_block(context.parameters.timing, window, Phase.AUDIT) + 2

        def refuse(reason, detail):
            return Refused(window=window, hotkey=hotkey, fault=Refusal(reason, detail)), ledger

        if hotkey == HOTKEYS["carol"] and window == 2:
            return refuse(Reason.SKETCH_MISMATCH, "another's")
        if hotkey == HOTKEYS["bob"] and (head < shown or window % 3 == 0):
            return refuse(Reason.NOT_REVEALED, "not yet")
        if hotkey not in (HOTKEYS["alice"], HOTKEYS["bob"], HOTKEYS["carol"]):
            return refuse(Reason.NO_COMMITMENT, "nothing stands on chain")
        if late:
            return refuse(Reason.NOT_REVEALED, "no mirror")
        ledger = ledger.add(np.array([0.1 * (window + 1), -1 / 3, hotkey[0] / 7e3]))
        return Accepted(
            window=window,
            hotkey=hotkey,
            detail=f"rollout {ledger.rollouts} of the settlement",
            committed_groups=2,
            statistics=Statistics(ledger_capital=sum(ledger.log_sums)),
            groups=(GroupValue(0, 100 * (window + 1) + hotkey[1], (1, 2), (1, 0), (0,)),),
            tokens=window,
            witness=sha256(validator + hotkey + bytes([window])).digest()[:16],
            provisional=True,
        ), ledger

    def judge_samples(self, context, hotkey, sources, verdict, *, late):
        """Carol shows no samples now and then, and Bob only those that mirrors have."""
        assert verdict.provisional
        self.sampled.append((context.window, hotkey))
        withheld = hotkey == HOTKEYS["carol"] and context.window % 4 == 0
        if withheld or (hotkey == HOTKEYS["bob"] and context.window % 3 == 1 and not late):
            return verdict.conclude(Refusal(Reason.NOT_REVEALED, "a sample", unbound=True))
        return verdict.conclude(None)

    def describe(self):
        """Everything that is public in the end, and all submitted data, without clocks."""
        published = {
            str(path.relative_to(self.folder)): forget_clocks(json.loads(path.read_text()))
            for path in sorted(self.folder.rglob("*.json"))
        }
        published |= {
            path.name: path.read_bytes() for path in sorted(self.folder.rglob("*.record"))
        }
        rows = [(row.epoch, row.state, row.weights) for row in list_rows(self.database, 99)]
        standing = self.real.get_weights(self.real.get_head()).get(HOTKEYS["validator"])
        return published, rows, self.chain.sent, standing


def is_write(name):
    """Whether a point of a play changes something: the rest only reads."""
    return any(word in name for word in ("commit", "set_weights", "on_", "judge", "put"))


def require_kills_change_nothing(play, folder, choose):
    """A play that is killed once ends as one that never is, at each of some points.

    Args:
        play: takes a folder and points to be killed at.
        choose: names of all points → numbers of those to be tried.
    """
    expected = play(folder / "whole")
    for number in choose(expected.fate.points):
        mortal = play(folder / str(number), kills=[number])
        assert mortal.fate.killed == 1
        assert mortal.describe() == expected.describe(), (number, expected.fate.points[number])
        mortal.database.close()


def forget_clocks(record):
    """A JSON file without values that depend on a clock."""
    for verdict in record.get("verdicts", ()):
        assert verdict.pop("seconds") >= 0
    return record
