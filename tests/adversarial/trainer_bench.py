"""A trainer on a bench: every call that it makes to the outside is counted, and may be its last.
With a pool, workers judge for it."""

from dataclasses import replace
from pathlib import Path

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.folder import StepFolder
from assay.network.chain.errors import ChainError, UnknownOutcomeError
from assay.network.chain.values import STATE_BLOCKS
from assay.network.store.base import ObjectStore
from assay.network.store.folder import open_folder
from assay.neurons.trainer.background_judge import BackgroundJudge
from assay.neurons.trainer.setup import TrainerConfig
from assay.neurons.trainer.trainer import Trainer, get_time
from assay.protocol.amendment import ParameterHistory
from assay.protocol.commitment import parse_commitment
from assay.training import LearnConfig

LOCATOR = "test:trainer"
LEARNING = LearnConfig(epochs=1, groups_per_batch=64, learning_rate=1e-3)


#: An outcome that nobody knows: the one time the commitment was lost, the other time not.
LOST, HELD = UnknownOutcomeError("no answer"), UnknownOutcomeError("no answer")


class Killed(BaseException):
    """Raised where a process is killed: none of its own code runs after it."""


class Calls:
    """Counts a trainer's calls to the outside, and kills it, or fails, at one of them."""

    def __init__(self):
        self.names, self.due, self.dead, self.errors = [], None, False, None

    def __call__(self, name):
        if self.dead:
            raise Killed
        self.names.append(name)
        if len(self.names) == self.due:
            if self.errors is None:
                self.dead = True
                raise Killed
            if name in self.errors:
                raise self.errors[name]("not just now")

    def revive(self):
        self.due, self.dead, self.errors = None, False, None


class RecordedChain:
    """The chain of a world whose windows are over, as far as `head`, with a live trainer's slot."""

    def __init__(self, chain, hotkey, calls):
        self.recorded, self.hotkey, self.calls = chain, hotkey, calls
        self.head, self.sent, self.outcomes = 0, [], []
        self.slots = [(0, None)]  # each with the block after which it stands

    @property
    def slot(self):
        return self.slots[-1]

    @slot.setter
    def slot(self, slot):
        self.slots.append(slot)

    def get_head(self):
        self.calls("get_head")
        return self.head

    def get_block(self, number):
        self.calls("get_block")
        return self.recorded.get_block(number)

    def get_members(self, number):
        self.calls("get_members")
        return self.recorded.get_members(number)

    def get_commitments(self, number):
        self.calls("get_commitments")
        if number < self.head - STATE_BLOCKS:
            raise ChainError(f"state at block {number} is not there")
        slots = dict(self.recorded.get_commitments(min(number, self.recorded.get_head())))
        standing = (payload for since, payload in reversed(self.slots) if number > since)
        payload = next(standing, None)
        if payload is not None:
            slots[self.hotkey] = payload
        return slots

    def set_commitment(self, hotkey, payload):
        self.calls("set_commitment")
        assert hotkey == self.hotkey
        self.sent.append(payload)
        error = self.outcomes.pop(0) if self.outcomes else None
        if error is not LOST:
            self.slot = self.head, payload
        if error is not None:
            raise error


class CountedStore:
    """A store that counts."""

    def __init__(self, store: ObjectStore, calls):
        self.store, self.calls = store, calls

    def open(self, name):
        self.calls("open")
        return self.store.open(name)

    def put(self, name, data):
        self.calls("put")
        self.store.put(name, data)


class CountedBeacons:
    """Beacons that count."""

    def __init__(self, beacons, calls):
        self.beacons, self.calls = beacons, calls

    def get(self, number):
        self.calls("beacon")
        return self.beacons.get(number)


class Bench:
    """One trainer's folders and chain; trainers come and go."""

    def __init__(self, world, folder: Path, calls: Calls, pool=None):
        self.world, self.folder, self.calls = world, folder, calls
        self.hotkey = world.hotkeys["trainer"]
        self.chain = RecordedChain(world.chain, self.hotkey, calls)
        self.store = open_folder(folder / "store")
        genesis = world.checkpoint
        CheckpointFolder(folder / "models").add(genesis.folder, genesis.digest)
        self.lessons, self.said, self.silences, self.windows = [], [], [], []
        self.trainer = None
        self.pool = pool
        self.start()

    def step(self):
        """One step that must do something."""
        assert self.trainer.step(), self.trainer.trouble

    def start(self, fetching=None, parameters=None, **changes):
        self.close()
        sources = replace(
            self.world.sources,
            chain=self.chain,
            beacons=CountedBeacons(self.world.beacons, self.calls),
            checkpoints=self._open_models(fetching),
        )
        config = TrainerConfig(
            LEARNING,
            LOCATOR,
            CountedStore(self.store, self.calls),
            self.folder / "trainer",
            last_window=1,
            retry_s=0.0,
            steps=StepFolder(self.folder / "steps"),
        )
        judge = None
        if self.pool is not None:
            pooled = CheckpointFolder(self.folder / "models", fetching, load=self.pool.load)
            judge = BackgroundJudge(self.pool, pooled, sources, get_time)
        self.trainer = Trainer(
            self.hotkey,
            ParameterHistory(parameters or self.world.parameters),
            sources,
            replace(config, **changes),
            self.lessons.append,
            self.said.append,
            judge,
            self.silences.append,
            self.windows.append,
        )

    def _open_models(self, fetching):
        """The genesis is read and verified already."""
        genesis, models = self.world.checkpoint, CheckpointFolder(self.folder / "models", fetching)
        models.opened[genesis.digest] = genesis
        return models

    def close(self):
        self.calls.revive()
        if self.trainer is not None:
            self.trainer.close()

    def run(self, blocks=40, window=2):
        """Until there is nothing left to do; the first idle moment ends the world's first block."""
        for _ in range(blocks):
            for _ in range(100):
                if not self.trainer.step() and not self.trainer.step():
                    break  # idle, not held up once
            if self.trainer.window == window and self.trainer.course.announcement is None:
                return
            self.chain.head = max(self.chain.head + 1, self.world.chain.get_head())
        raise AssertionError(f"the trainer never came to an end: {self.trainer.trouble}")

    @property
    def published(self):
        """Commitments in the order in which the chain got them, each once."""
        found = []
        for payload in self.chain.sent:
            if payload not in found:
                found.append(payload)
        return [parse_commitment(payload).digest for payload in found]

    def read_store(self):
        return {p.relative_to(self.folder): p.read_bytes() for p in self.list_files("store")}

    def read_steps(self):
        return {p.relative_to(self.folder): p.read_bytes() for p in self.list_files("steps")}

    def list_files(self, name):
        return sorted(p for p in (self.folder / name).rglob("*") if p.is_file())
