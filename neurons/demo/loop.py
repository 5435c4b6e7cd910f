"""The whole loop in one process: chain, beacon, store, five miners, a validator, a trainer.

Embedded parts, real rules: the chain is a simulator (`assay.network.chain.simulator` says what it
leaves out), the beacon signs real BLS rounds with a key of its own, everything else is what runs
anywhere. With `fast` the clock jumps from block to block; without, blocks come every second and
each program has a thread.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from assay.environments import make_environment
from assay.inference import load_checkpoint
from assay.network.beacon import LocalBeacon
from assay.network.chain import SimulatedChain
from assay.network.parquet_worker import ParquetWorker
from assay.network.store import open_folder
from assay.neurons.archive import Archive
from assay.neurons.checkpoints import CheckpointFolder
from assay.neurons.config import DemoSettings
from assay.neurons.database import VALIDATOR_FILE, Database
from assay.neurons.demo_rules import (
    DEMO_ENVIRONMENT,
    DEMO_LEARNING,
    DEMO_SETTINGS,
    DEMO_WORK,
    NETUID,
    make_demo_parameters,
)
from assay.neurons.gauntlet.drafting import BestOfSeedsMiner, CheapModelMiner
from assay.neurons.gauntlet.files import FakingMiner
from assay.neurons.learning.evaluation import Accuracy, evaluate
from assay.neurons.learning.lessons import Lesson
from assay.neurons.learning.trainer import Trainer, TrainerConfig
from assay.neurons.mining.miner import Miner, MinerConfig, Outside
from assay.neurons.ports import Neuron
from assay.neurons.submissions import Sources
from assay.neurons.validating.validator import Validator
from assay.protocol import Parameters, Phase
from assay.protocol.parameters import DEMO_TIMING
from assay.protocol.window import compute_block
from assay.training import GENESIS

#: Unix time of the demo's block 0: fixed, so that a seed gives the same run on any day.
GENESIS_MS = 1_767_225_600_000
#: What stands on chain as the place of files and models.
LOCATOR = "demo:store"
BEACON_PERIOD_MS = 1_000
#: Groups that a miner generates in one step: what fits well before the next look at the chain.
GROUPS_PER_STEP = 8
#: Seconds that threads have to finish their step when the demo stops.
JOIN_S = 30.0
#: Seconds between two looks at the chain.
IDLE_S = 0.05


@dataclass(frozen=True, slots=True)
class Actor:
    """A miner of the demo as the summary names it."""

    miner: Miner
    role: str  # "honest" or "cheat"


@dataclass(slots=True)
class DemoRun:
    """State of a demo, for whoever shows it."""

    settings: DemoSettings
    chain: SimulatedChain
    parameters: Parameters
    actors: Sequence[Actor]
    validator: Validator
    trainer: Trainer
    last_block: int
    lessons: list[Lesson] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    before: Accuracy | None = None
    after: Accuracy | None = None
    stage: str = "starting"


class DemoClock:
    """Unix time as the demo has it: from a fixed genesis, at the pace of the wall or of blocks."""

    def __init__(self, genesis_ms: int, fast: bool) -> None:
        self._genesis_ms = genesis_ms
        self._fast = fast
        self._started = time.monotonic()
        self._block_ms = genesis_ms

    def start(self) -> None:
        """Starts counting now."""
        self._started = time.monotonic()

    def now_ms(self) -> int:
        """Milliseconds."""
        if self._fast:
            return self._block_ms
        return self._genesis_ms + int((time.monotonic() - self._started) * 1_000)

    def reach(self, timestamp_ms: int, stop: threading.Event) -> None:
        """Waits until, or jumps to, a moment; comes back early when asked to stop."""
        if self._fast:
            self._block_ms = timestamp_ms
        else:
            stop.wait(max(0.0, (timestamp_ms - self.now_ms()) / 1_000))


#: Miner → its program, its role, and how many of an honest miner's groups it does.
MINERS: dict[str, tuple[type[Miner], str, float]] = {
    "honest-1": (Miner, "honest", 1.0),
    "honest-2": (Miner, "honest", 1.0),
    "cheap-model": (CheapModelMiner, "cheat", 0.5),
    "best-of-seeds": (BestOfSeedsMiner, "cheat", 0.5),
    "fake-groups": (FakingMiner, "cheat", 1.0),
}
#: Everyone with a uid, in order of registration.
NAMES = ("owner", "trainer", "validator", *MINERS)


class Demo:
    """Builds the parts, drives them, and leaves everything in `settings.out`.

    Args:
        update: called whenever there may be something new to show.
        genesis: model folder to start from.

    Raises:
        CheckpointError, StoreError: the genesis or the output folder cannot be used.
    """

    def __init__(
        self,
        settings: DemoSettings,
        update: Callable[[DemoRun], None],
        genesis: Path = GENESIS,
    ) -> None:
        seed = settings.seed.encode()
        self._settings = settings
        self._update = update
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._clock = DemoClock(GENESIS_MS, settings.fast)
        self._archive = Archive(settings.out)
        self._database = Database(settings.out / VALIDATOR_FILE)
        self._store = open_folder(settings.out / "store")
        self._checkpoints = CheckpointFolder(settings.out / "models")
        self._worker = ParquetWorker()
        self._hotkeys = {name: sha256(seed + name.encode()).digest() for name in NAMES}
        self._chain = SimulatedChain(
            seed,
            NETUID,
            GENESIS_MS,
            DEMO_TIMING.slot_ms,
            DEMO_TIMING.tempo,
            tuple(self._hotkeys.values()),
        )
        self._beacons = LocalBeacon(seed, GENESIS_MS, BEACON_PERIOD_MS, self._clock.now_ms)
        self._genesis = load_checkpoint(genesis)
        self._checkpoints.add(genesis, self._genesis.digest)
        self.run = self._build()

    def _build(self) -> DemoRun:
        parameters = make_demo_parameters(
            self._chain.genesis_hash,
            self._beacons.chain,
            owner_uid=NAMES.index("owner"),
            trainer=self._hotkeys["trainer"],
            genesis_checkpoint=self._genesis.digest,
        )
        sources = Sources(
            self._chain, self._beacons, self._checkpoints, {LOCATOR: self._store}, self._worker
        )
        return DemoRun(
            self._settings,
            self._chain,
            parameters,
            [self._make_actor(name, parameters) for name in MINERS],
            Validator(
                self._hotkeys["validator"],
                parameters,
                sources,
                self._database,
                self._archive.write_context,
                self._archive.write_window,
                self._archive.write_settlement,
                self._settings.windows - 1,
                remember=self._settings.windows,
            ),
            Trainer(
                self._hotkeys["trainer"],
                parameters,
                sources,
                TrainerConfig(DEMO_LEARNING, LOCATOR, last_window=self._settings.windows - 1),
                self._on_lesson,
                self._note,
            ),
            self._compute_last_block(parameters),
        )

    def _make_actor(self, name: str, parameters: Parameters) -> Actor:
        kind, role, share = MINERS[name]
        groups = max(parameters.work.audited_groups, int(self._settings.groups * share))
        outside = Outside(self._chain, self._beacons, self._checkpoints, self._store, LOCATOR)
        config = MinerConfig(groups, GROUPS_PER_STEP, self._settings.windows - 1)
        return Actor(kind(name, self._hotkeys[name], parameters, outside, config, self._note), role)

    def _compute_last_block(self, parameters: Parameters) -> int:
        """The block after the epoch that settles the last window."""
        last = compute_block(parameters.timing, self._settings.windows - 1, Phase.VERDICT_END)
        while not self._chain.is_epoch(last):
            last += 1
        return last + 1

    def close(self) -> None:
        """Closes what stays in `settings.out`."""
        self._database.close()

    def play(self) -> None:
        """Runs from the first block to the last, with an evaluation before and after.

        Raises:
            KeyboardInterrupt: on Ctrl-C, once every part has stopped.
        """
        with self._worker:
            self.run.before = self._evaluate("evaluating the genesis model", self._genesis.digest)
            self._clock.start()
            self._enter("mining")
            neurons = [actor.miner for actor in self.run.actors]
            self._drive([*neurons, self.run.validator, self.run.trainer])
            newest = self.run.lessons[-1].published.digest if self.run.lessons else None
            digest = newest or self._genesis.digest
            self.run.after = self._evaluate("evaluating the last checkpoint", digest)
            self._enter("done")

    def _drive(self, neurons: Sequence[Neuron]) -> None:
        threads = [] if self._settings.fast else [self._start(neuron) for neuron in neurons]
        try:
            while self._chain.get_head() < self.run.last_block and not self._failures:
                due = self._chain.get_block(self._chain.get_head()).timestamp_ms
                self._clock.reach(due + DEMO_TIMING.slot_ms, self._stop)
                self._chain.mint()
                if self._settings.fast:
                    for neuron in neurons:
                        while neuron.step():
                            self._update(self.run)
                self._update(self.run)
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(JOIN_S)
        if self._failures:
            raise self._failures[0]

    def _start(self, neuron: Neuron) -> threading.Thread:
        thread = threading.Thread(target=self._loop, args=(neuron,), name=neuron.name, daemon=True)
        thread.start()
        return thread

    def _loop(self, neuron: Neuron) -> None:
        """A neuron's outermost loop: what breaks it stops the demo and is raised there."""
        try:
            while not self._stop.is_set():
                if not neuron.step():
                    self._stop.wait(IDLE_S)
        except Exception as error:  # noqa: BLE001 - handed to the main thread
            self._failures.append(error)
            self._stop.set()

    def _evaluate(self, stage: str, digest: bytes) -> Accuracy:
        self._enter(stage)
        checkpoint = self._checkpoints.get(digest)
        return evaluate(
            checkpoint,
            make_environment(DEMO_ENVIRONMENT, DEMO_SETTINGS),
            DEMO_WORK.temperature,
            self._settings.problems,
            lambda done: self._update(self.run),
        )

    def _enter(self, stage: str) -> None:
        self.run.stage = stage
        self._update(self.run)

    def _note(self, text: str) -> None:
        self.run.notes.append(text)

    def _on_lesson(self, lesson: Lesson) -> None:
        self.run.lessons.append(lesson)
