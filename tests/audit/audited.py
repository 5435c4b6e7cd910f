"""A network that is worth auditing, and liars who are consistent about it.

Real parts: protocol, model, judge, files, beacons, two validators with their journals, outboxes and
record books. The chain is the simulator. A `Liar` takes one validator's record and changes any part
of it. Then it computes again every score, weight, root, digest and link that follows, sets the
weights on chain and announces the record there. Only the lie is left to find.
"""

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from assay.artifacts.checkpoints.adapter import make_adapter
from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.database import Database
from assay.artifacts.discovery import publish_parameters
from assay.artifacts.submissions.reading import SubmissionReader
from assay.audit.auditor import audit
from assay.audit.bundle import open_bundle
from assay.audit.bundle_export import export_bundle
from assay.audit.ports import Public
from assay.audit.sources import FetchedOutlines, StoredSubmissions
from assay.inference.low_rank import merge, round_factors
from assay.lab.demo.run import ModelFolders
from assay.lab.gauntlet.attack_setup import RememberingForward
from assay.lab.gauntlet.content_attacks import FakingMiner
from assay.lab.simulator import SimulatedChain
from assay.network.beacon import LocalBeacon
from assay.network.chain.errors import ForgottenError
from assay.network.store.folder import open_folder
from assay.neurons.miner.miner import Miner, MinerConfig, MinerDependencies
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.validator.make_records import Author
from assay.neurons.validator.record_book import RecordBook
from assay.neurons.validator.validator import Validator
from assay.protocol.amendment import ParameterHistory
from assay.protocol.commitment import Commitment, Tag, encode_commitment, make_object_name
from assay.protocol.encoding import encode
from assay.protocol.parameters import DEMO_TIMING
from assay.protocol.record import (
    NOTHING,
    Outcome,
    SeatScore,
    Weight,
    decode_settlement_record,
    decode_window_record,
    make_settlement_record_name,
    make_window_record_name,
)
from assay.protocol.score_tree import compute_weights_digest, make_score_tree
from assay.protocol.ss58 import encode_ss58
from assay.session.parameter_follower import ParameterFollower
from assay.subnet.presets import DEMO_WORK, NETUID, make_demo_parameters
from assay.verification import Result, Seat, compute_settlement, settle_weights
from tests.small_genesis import open_small_genesis

GENESIS_MS = 1_700_000_000_000
LOCATOR, RECORDS = "test:store", "test:records"
NAMES = ("owner", "trainer", "liar", "rival", "alice", "bob", "mallory", "nora")
HOTKEYS = {name: sha256(name.encode()).digest() for name in NAMES}
LIAR, RIVAL = HOTKEYS["liar"], HOTKEYS["rival"]
GROUPS, BURN = 5, 100_000
#: Two honest ones, and one who cheats.
MINERS = {"alice": Miner, "bob": Miner, "mallory": FakingMiner}
WINDOWS = range(6)
EPOCHS = (48, 73, 98)
#: Half the rollouts of the demo's groups.
FEW = replace(DEMO_WORK, group_size=4, audited_rollouts=8, sampled_rollouts=2)
#: Block before which the trainer publishes its checkpoint: in force from window 3 on.
TAUGHT_AT = 30


@dataclass(frozen=True)
class Located:
    """A reader of a file in a folder of this machine."""

    path: Path
    reader: SubmissionReader

    def offer(self, plan):
        return self.reader.offer(plan)


class LocatedSubmissions(StoredSubmissions):
    """Miners' files in their one store, a folder."""

    def open(self, context, hotkey):
        name = make_object_name(encode_ss58(hotkey), context.window)
        return Located(self.stores[LOCATOR].root / name, super().open(context, hotkey))


@dataclass
class Network:
    """The played network, in folders."""

    folder: Path
    chain: SimulatedChain
    beacons: LocalBeacon
    history: ParameterHistory
    validators: dict
    windows: range = WINDOWS

    @property
    def parameters(self):
        """Those that it began with."""
        return self.history.first

    @property
    def models(self):
        return self.folder / "models"

    @property
    def records(self):
        return open_folder(self.folder / "records")

    def make_public(self, **changes):
        """The inputs of an audit, as an auditor finds them."""
        scratch = Path(self.folder / "scratch")
        public = Public(
            chain=self.chain,
            beacons=self.beacons,
            parameters=self.parameters,
            history=self.history,
            records=self.records,
            submissions=LocatedSubmissions({LOCATOR: open_folder(self.folder / "store")}),
            outlines=FetchedOutlines(scratch, lambda: [ModelFolders(self.models)]),
            copies={},
            rules=lambda _: open_folder(self.folder / "store"),
        )
        return replace(public, **changes)

    def export(self, out, validator=LIAR, public=None):
        return export_bundle(
            public or self.make_public(),
            validator,
            self.windows,
            out,
            self.folder / "scratch",
            lambda: iter([ModelFolders(self.models)]),
            lambda *_: None,
        )


def play_network(
    folder,
    *,
    timing=DEMO_TIMING,
    announce=None,
    epochs=EPOCHS,
    windows=WINDOWS,
    first=None,
    miners=MINERS,
    groups=GROUPS,
    **changes,
):
    """Six windows, three settlements, two checkpoints; miners, and one who commits and shows
    nothing.

    Args:
        announce: from the network's parameters to those that its owner's slot names later: block →
            parameters.
        epochs: its settlements, of these windows.
        first: its first checkpoint; None: the small genesis.
        miners: name → kind.
        groups: of each miner and window.
        changes: of the first parameters.
    """
    torch.set_num_threads(1)
    chain = SimulatedChain(
        b"audited", NETUID, GENESIS_MS, timing.slot_ms, timing.tempo, HOTKEYS.values()
    )
    beacons = LocalBeacon(
        b"audited", GENESIS_MS, 1_000, lambda: chain.get_block(chain.get_head()).timestamp_ms
    )
    checkpoint = open_small_genesis() if first is None else first
    checkpoints = CheckpointFolder(folder / "models")
    checkpoints.add(checkpoint.folder, checkpoint.digest)
    checkpoints.opened[checkpoint.digest] = checkpoint  # read and verified already
    taught = teach(checkpoints, checkpoint)
    parameters = make_demo_parameters(
        chain.genesis_hash, beacons.chain, 0, HOTKEYS["trainer"], checkpoint.digest
    )
    identity = replace(parameters.identity, burn_share=BURN)
    parameters = replace(parameters, identity=identity, timing=timing, **changes)
    store, records = open_folder(folder / "store"), open_folder(folder / "records")
    announced = {0: parameters} | ({} if announce is None else announce(parameters))
    owner = Owner(chain, store, announced)
    owner.work()
    chain.mint()
    followed = ParameterFollower(chain, {LOCATOR: store}.__getitem__, folder / "rules")
    history = followed.history
    outside = MinerDependencies(chain, beacons, checkpoints, store, LOCATOR)
    config = MinerConfig(groups, groups, windows[-1])
    neurons = [
        kind(name, HOTKEYS[name], history, outside, config, lambda _: None)
        for name, kind in miners.items()
    ]
    sources = JudgeSources(chain, beacons, checkpoints, {LOCATOR: store})
    validators = {}
    for name in ("liar", "rival"):
        author = Author("assay test", history, HOTKEYS[name])
        database = Database(folder / f"{name}.sqlite")
        tempo = parameters.timing.tempo
        book = RecordBook(database, chain, author, tempo, records, RECORDS)
        validators[name] = Validator(
            HOTKEYS[name], history, sources, database, *[lambda _: None] * 3, windows[-1], book=book
        )
    last = make_settlement_record_name(encode_ss58(RIVAL), epochs[-1])
    while not (folder / "records" / last).exists():
        _play_block(chain, [owner, *neurons, *validators.values()], taught, followed)
        assert chain.get_head() < 200
    for _ in range(30):  # the last announcement
        _play_block(chain, list(validators.values()), taught, followed)
    return Network(folder, chain, beacons, history, validators, windows)


def teach(checkpoints, base):
    """A checkpoint that differs from its base as little as two factors of rank 1 say."""
    weights = base.load_trainable().bfloat16().state_dict()
    name = next(name for name, weight in weights.items() if weight.dim() == 2)
    rows, columns = weights[name].shape
    left, right = torch.zeros(rows, 1), torch.full((1, columns), 2.0**-10)
    left[3] = 1
    factors = {name: round_factors(left, right)}
    weights[name] = merge(weights[name], factors[name])
    adapter = make_adapter(base.digest, factors)
    return checkpoints.publish(base, weights, b"\1" * 32, adapter=adapter)


class Owner:
    """Publishes parameters, each at its block."""

    def __init__(self, chain, store, announced):
        self._chain, self._store, self._announced = chain, store, announced

    def work(self):
        parameters = self._announced.pop(self._chain.get_head(), None)
        if parameters is not None:
            publish_parameters(self._store, parameters)
            slot = parameters.start.window, 0, parameters.digest, LOCATOR
            publish(self._chain, "owner", Commitment(Tag.PARAMETERS, *slot))

    def step(self):
        self.work()
        return False


def publish(chain, name, commitment):
    chain.set_commitment(HOTKEYS[name], encode_commitment(commitment))


def _play_block(chain, neurons, taught, followed):
    chain.mint()
    window, offset = divmod(chain.get_head(), DEMO_TIMING.window_blocks)
    if offset in (4, 10):  # another one first: at another block it is another commitment
        root = sha256(b"nora %d %d" % (window, offset)).digest()
        publish(chain, "nora", Commitment(Tag.MINER, window, 3, root, LOCATOR))
    if chain.get_head() == TAUGHT_AT:
        publish(chain, "trainer", Commitment(Tag.CHECKPOINT, 1, 0, taught.digest, LOCATOR))
    followed.look()
    for neuron in neurons:
        while neuron.step():
            pass


# --- liars


class LyingChain:
    """The chain after a liar has set its weights and announced its record."""

    def __init__(self, chain, weights, slot):
        self._chain = chain
        self._weights = weights  # epoch → uid → weight
        self._slot = slot

    def __getattr__(self, name):
        return getattr(self._chain, name)

    def get_weights(self, number):
        settled = [epoch for epoch in self._weights if epoch < number]
        rows = dict(self._chain.get_weights(number))
        return {**rows, LIAR: self._weights[max(settled)]} if settled else rows

    def get_commitments(self, number):
        slots = self._chain.get_commitments(number)
        return {**slots, LIAR: self._slot} if number == self._chain.get_head() else slots


@dataclass
class Liar:
    """One validator's records, to be changed.

    Attributes:
        windows: by number.
        settlements: by epoch.
        shown: weights that it sets on chain if they are not the record's, by epoch.
        announced: digest on chain if it is not the newest settlement's.
        frozen: fields of a settlement that a lie has set and `agree` leaves alone: (epoch, field).
        raw: name → bytes published instead of a record's.
    """

    history: ParameterHistory
    chain: object
    windows: dict
    settlements: dict
    shown: dict = field(default_factory=dict)
    announced: bytes | None = None
    frozen: set = field(default_factory=set)
    raw: dict = field(default_factory=dict)

    def change_row(self, window, name, **changes):
        """A row of a window's record says something else."""
        record = self.windows[window]
        rows = [
            replace(row, **changes) if row.hotkey == HOTKEYS[name] else row
            for row in record.members
        ]
        self.windows[window] = replace(record, members=tuple(rows))

    def get_row(self, window, name):
        return next(r for r in self.windows[window].members if r.hotkey == HOTKEYS[name])

    def change(self, window, **changes):
        self.windows[window] = replace(self.windows[window], **changes)

    def settle(self, epoch, **changes):
        """A settlement is changed, and stays changed."""
        self.settlements[epoch] = replace(self.settlements[epoch], **changes)
        self.frozen |= {(epoch, name) for name in changes}

    def agree(self):
        """Computes again all that follows from the rest."""
        previous = None
        for number in sorted(self.windows):
            record = self.windows[number]
            if previous is not None and (number, "previous") not in self.frozen:
                record = replace(record, previous=previous)
            self.windows[number], previous = record, record.digest
        before = None
        for epoch in sorted(self.settlements):
            self.settlements[epoch] = self._agree_settlement(self.settlements[epoch], before)
            before = self.settlements[epoch]

    def _agree_settlement(self, record, before):
        epoch = record.epoch
        covered = tuple(
            replace(c, record=self.windows[c.window].digest, outcome=self.windows[c.window].outcome)
            if c.window in self.windows
            else c
            for c in record.windows
        )
        counted = [
            self.windows[c.window]
            for c in covered
            if c.window in self.windows and c.outcome is Outcome.COUNTED
        ]
        scores = self._score(epoch, counted)
        fields = {
            "windows": covered,
            "scores": scores,
            "checkpoint": counted[-1].checkpoint if counted else NOTHING,
            "audit_round": counted[-1].audit.beacon.round if counted else 0,
        }
        if before is not None:
            fields |= {"previous": before.digest, "previous_epoch": before.epoch}
        record = self._replace(record, fields)
        pairs = [(score.hotkey, score.score) for score in record.scores]
        idle, weights = settle_weights(
            {score.uid: score.score for score in record.scores} if counted else None,
            self.history.get(max((w.window for w in counted), default=0)),
            0 if before is None else before.idle,
        )
        record = self._replace(
            record,
            {
                "idle": idle,
                "score_root": make_score_tree(pairs).root if pairs else NOTHING,
                "weights": tuple(Weight(*pair) for pair in sorted(weights.items())),
            },
        )
        pairs = [(weight.uid, weight.weight) for weight in record.weights]
        return self._replace(record, {"weights_digest": compute_weights_digest(pairs)})

    def _replace(self, record, fields):
        free = {n: v for n, v in fields.items() if (record.epoch, n) not in self.frozen}
        return replace(record, **free)

    def _score(self, epoch, counted):
        scores = compute_settlement(
            Result(record.window, Seat(row.uid, row.registered_at), row.reason, row.score)
            for record in counted
            for row in record.members
            if row.reason is not None
        )
        held = self.chain.get_members(epoch)
        return tuple(
            SeatScore(hotkey, m.uid, m.registered_at, scores[Seat(m.uid, m.registered_at)])
            for hotkey, m in sorted(held.items())
            if Seat(m.uid, m.registered_at) in scores
        )

    def list_objects(self):
        """The validator's publications: name → bytes."""
        address = encode_ss58(LIAR)
        objects = {make_window_record_name(address, n): encode(r) for n, r in self.windows.items()}
        for epoch, record in self.settlements.items():
            objects[make_settlement_record_name(address, epoch)] = encode(record)
        return {**objects, **self.raw}

    def make_chain(self):
        weights = {
            epoch: {weight.uid: weight.weight for weight in record.weights}
            for epoch, record in self.settlements.items()
        }
        newest = max(self.settlements)
        digest = self.announced or self.settlements[newest].digest
        slot = encode_commitment(Commitment(Tag.RECORD, newest, 0, digest, RECORDS))
        return LyingChain(self.chain, {**weights, **self.shown}, slot)


class Shelf(dict):
    """Objects by name."""

    def get(self, name, limit):
        data = super().get(name)
        assert data is None or len(data) <= limit
        return data


def read_window(objects, window, name="liar"):
    """A validator's published record of a window."""
    published = make_window_record_name(encode_ss58(HOTKEYS[name]), window)
    return decode_window_record(objects.get(published, 1 << 20))


def read_records(objects, name="liar", epochs=EPOCHS):
    """A validator's published records: window → record, and epoch → record."""
    address = encode_ss58(HOTKEYS[name])
    windows = {w: read_window(objects, w, name) for w in WINDOWS}
    settlements = {
        e: decode_settlement_record(objects.get(make_settlement_record_name(address, e), 1 << 20))
        for e in epochs
    }
    return windows, settlements


def remember_forward(get):
    """A function like `Checkpoint.get_forward`, whose forward passes measure nothing twice. Audits
    measure the same rollouts again and again."""
    known = {}

    def remembering(checkpoint, *given):
        key = checkpoint.digest, checkpoint.models.placement.implementation, given
        if key not in known:
            known[key] = RememberingForward(get(checkpoint, *given))
        return known[key]

    return remembering


@contextmanager
def open_audit(bundle, **changes):
    """A bundle as an auditor has it, some of it changed."""
    with TemporaryDirectory(prefix="assay-") as scratch:
        yield replace(open_bundle(bundle, Path(scratch)).public, **changes)


def audit_liar(public, liar, *, models=None, copies=None, windows=WINDOWS, ledger=None):
    """The audit of a liar's publications."""
    public = replace(
        public,
        chain=liar.make_chain(),
        records=Shelf(liar.list_objects()),
        models=models,
        copies=copies or {},
        ledger=ledger,
    )
    return audit(public, LIAR, windows)


def accuse(public, liar, **options):
    """The first difference that the audit of an agreed liar finds."""
    liar.agree()
    report = audit_liar(public, liar, **options)
    found = list_differences(report)
    assert found, "the lie stands"
    assert not report.matched
    return found[0]


def list_differences(report):
    """(check, sentence) of everything that differs, in order."""
    return [
        (check.value, sentence)
        for found in (*report.windows, *report.settlements)
        for check, sentence in found.differences
    ]


class ForgetfulChain:
    """A node that keeps state from some block on only."""

    def __init__(self, chain, kept):
        self._chain = chain
        self._kept = kept

    def __getattr__(self, name):
        found = getattr(self._chain, name)
        if name not in ("get_members", "get_commitments", "get_weights", "get_owner", "is_epoch"):
            return found

        def read(number):
            if number < self._kept:
                raise ForgottenError(f"state at block {number} is discarded")
            return found(number)

        return read
