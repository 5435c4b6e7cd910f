"""A subnet in memory with the shipped model: two windows mined honestly, once, for all attacks.

Real parts: protocol, model, judge, files in a store, BLS beacons. The chain is the simulator.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from assay.artifacts.checkpoints.folder import CheckpointFolder, DownloadSettings
from assay.artifacts.steps.file import open_step_parser
from assay.artifacts.steps.parquet_worker import ParquetWorker
from assay.artifacts.submissions.file import SubmissionFile
from assay.artifacts.submissions.judge import judge_with_checkpoint
from assay.inference.checkpoint import Checkpoint, load_checkpoint
from assay.inference.draft import Rules
from assay.lab.gauntlet.attack_setup import AttackSetup
from assay.lab.gauntlet.bench_models import SHIPPED, Family
from assay.lab.gauntlet.strategy import prefill
from assay.lab.simulator import SimulatedChain
from assay.network.beacon import LocalBeacon
from assay.network.store.folder import open_file, open_folder
from assay.neurons.miner.miner import Group, Miner, MinerConfig, MinerDependencies, WindowWork
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.validator import weights_outbox
from assay.protocol.amendment import ParameterHistory
from assay.protocol.context import Committed, Context
from assay.protocol.parameters import DEMO_TIMING, SMALL_MODEL_TESTS, Gate, Parameters, Tests
from assay.protocol.submission import encode_submission, get_id_bits
from assay.session.window_reader import get_challenge, get_context
from assay.subnet.model_class import make_class
from assay.subnet.presets import NETUID, make_demo_parameters
from assay.training import GENESIS
from assay.training.genesis_model import make_model
from assay.verification import Verdict
from tests.adversarial.trainer_bench import Bench, Calls
from tests.one_parser import share_parser
from tests.quick_miner import QuickMiner
from tests.small_genesis import open_small_genesis

LOCATOR = "test:store"
GROUPS = 5
LAB_GROUPS = 4
NO_GATE = Gate()
NAMES = ("owner", "trainer", "validator", "alice", "bob")


@dataclass
class World:
    """A chain, its participants, and the files mined so far."""

    chain: SimulatedChain
    beacons: LocalBeacon
    parameters: Parameters
    checkpoint: Checkpoint
    sources: JudgeSources
    hotkeys: dict[str, bytes]
    miners: dict[str, Miner]
    folder: Path
    contexts: dict[int, Context]
    works: dict[tuple[str, int], WindowWork]
    history: ParameterHistory

    def mint(self, blocks: int = 1) -> None:
        """New blocks, in each of which every miner does all it can."""
        for _ in range(blocks):
            self.chain.mint()
            for name, miner in self.miners.items():
                while miner.step():
                    pass
                work = miner.work
                if work is not None:
                    self.works[name, work.challenge.window] = work

    def open_context(self, window: int) -> Context:
        """The window's context, minting until the beacon of its samples is out."""
        while True:
            challenge = get_challenge(self.chain, self.beacons, self.parameters, window)
            if challenge is not None:
                context = get_context(self.chain, self.beacons, self.parameters, challenge)
                if context is not None and context.sample is not None:
                    return context
            self.mint()

    def genuine(self, name: str, window: int) -> list[Group]:
        """The groups that a miner honestly made for a window."""
        return list(self.works[name, window].groups)

    def prefill(self, name: str, window: int, index: int, tokens: Sequence[Sequence[int]]) -> Group:
        """Any tokens for one of a miner's problems, with genuine log-probabilities and sketches."""
        work = self.works[name, window]
        return prefill(work, self.miners[name].make_request(work, index), tokens)

    @property
    def rules(self) -> Rules:
        return self.checkpoint.get_rules(self.parameters.work.temperature)

    def encode(
        self, name: str, window: int, groups: Sequence[Group], /, **header: Any
    ) -> tuple[bytes, bytes]:
        """A file of these groups, and its root.

        Args:
            header: fields that are other than the right ones.
        """
        fields = {
            "parameters": self.parameters.digest,
            "window": window,
            "hotkey": self.hotkeys[name],
            "checkpoint": self.checkpoint.digest,
            "id_bits": get_id_bits(len(self.checkpoint.tokenizer.drawable)),
        }
        return encode_submission(groups, **{**fields, **header})

    def submit(
        self,
        name: str,
        window: int,
        groups: Sequence[Group],
        *,
        every: bool = True,
        data: bytes | None = None,
        **header: Any,
    ) -> Verdict:
        """Commits to these groups instead of the genuine ones and judges them.

        Args:
            every: judge all groups, so that the attack is judged.
            data: bytes to serve instead of the file that was committed to.
            header: see `encode`.
        """
        context = self.contexts[window]
        hotkey = self.hotkeys[name]
        encoded, root = self.encode(name, window, groups, **header)
        path = self.folder / "attack.rollouts"
        path.write_bytes(encoded if data is None else data)
        committed = Committed(root, len(groups), context.challenge_block.number, LOCATOR)
        context = replace(context, commitments={**context.commitments, hotkey: committed})
        submission = SubmissionFile(open_file(path))
        chosen = range(len(groups)) if every else None
        return judge_with_checkpoint(submission, hotkey, context, self.checkpoint, groups=chosen)


def open_models(
    folder: Path, genesis: Checkpoint, fetching: DownloadSettings | None = None
) -> CheckpointFolder:
    """A folder with the genesis, which is read and verified already."""
    checkpoints = CheckpointFolder(folder, fetching)
    checkpoints.add(genesis.folder, genesis.digest)
    checkpoints.opened[genesis.digest] = genesis
    return checkpoints


def make_world(
    folder: Path,
    mining: Sequence[str] = ("alice", "bob"),
    last: int | None = None,
    genesis: Path | None = None,
    tests: Tests = SMALL_MODEL_TESTS,
    gate: Gate = NO_GATE,
) -> World:
    """A fresh chain at block 0 with everyone registered and miners ready, up to a last window.

    Args:
        genesis: the folder of another checkpoint 0 than the shipped one.
        tests, gate: of the parameters.
    """
    genesis_ms = 1_700_000_000_000
    hotkeys = {name: sha256(name.encode()).digest() for name in dict.fromkeys((*NAMES, *mining))}
    chain = SimulatedChain(
        b"test", NETUID, genesis_ms, DEMO_TIMING.slot_ms, DEMO_TIMING.tempo, tuple(hotkeys.values())
    )
    beacons = LocalBeacon(
        b"test", genesis_ms, 1_000, lambda: chain.get_block(chain.get_head()).timestamp_ms
    )
    checkpoint = open_small_genesis() if genesis is None else load_checkpoint(genesis)
    checkpoints = open_models(folder / "models", checkpoint)
    parameters = make_demo_parameters(
        chain.genesis_hash, beacons.chain, 0, hotkeys["trainer"], checkpoint.digest
    )
    parameters = replace(parameters, tests=tests, gate=gate, model_class=make_class(checkpoint))
    store, history = open_folder(folder / "store"), ParameterHistory(parameters)
    outside = MinerDependencies(chain, beacons, checkpoints, store, LOCATOR)
    miners = {
        name: QuickMiner(
            name, hotkeys[name], history, outside, MinerConfig(GROUPS, GROUPS, last), print
        )
        for name in mining
    }
    sources = JudgeSources(chain, beacons, checkpoints, {LOCATOR: store})
    return World(
        chain, beacons, parameters, checkpoint, sources, hotkeys, miners, folder, {}, {}, history
    )


@pytest.fixture(scope="session")
def _parser() -> Iterator[ParquetWorker]:
    with open_step_parser() as parser:
        yield parser


@pytest.fixture(scope="module", autouse=True)
def _one_parser(_parser: ParquetWorker) -> Iterator[None]:
    """Not for the session: tests of other folders would have it, too, if they came later."""
    with share_parser(_parser):
        yield


@pytest.fixture
def short_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the simulator, a block holds everything that was sent before it, so two blocks remove all
    doubt."""
    monkeypatch.setattr(weights_outbox, "DOUBT_BLOCKS", 2)


@pytest.fixture
def fresh_world(tmp_path: Path) -> World:
    """For attacks on the chain: nothing mined yet."""
    torch.set_num_threads(1)
    return make_world(tmp_path)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """For attacks on files: windows 0 and 1 mined by alice and bob."""
    torch.set_num_threads(1)
    world = make_world(tmp_path_factory.mktemp("world"))
    for window in (0, 1):
        world.contexts[window] = world.open_context(window)
    return world


@pytest.fixture(scope="session")
def taught(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a trainer that has learned from the world's two windows; not to be changed."""
    from tests.adversarial.test_reexecuting_steps import train  # it needs this file

    folder = tmp_path_factory.mktemp("taught")
    lessons, _ = train(world, folder)
    assert [lesson.window for lesson in lessons] == [0, 1]
    return folder


@pytest.fixture(scope="session")
def undisturbed_bench(world: World, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A trainer without workers, to which nothing happens."""
    bench = Bench(world, tmp_path_factory.mktemp("undisturbed"), Calls())
    bench.run()
    bench.close()
    assert [lesson.stats.groups for lesson in bench.lessons] == [2 * GROUPS, 2 * GROUPS]
    return bench


def make_lab(folder: Path, groups: int) -> AttackSetup:
    """The gauntlet on the shipped model; untrained models represent a cheat's others."""
    torch.set_num_threads(1)
    others = {
        role: make_model(48, 2, 4, 128, seed).eval().requires_grad_(False)
        for seed, role in enumerate(("smaller", "sibling", "foreign"))
    }
    return AttackSetup(Family(SHIPPED, GENESIS, others), folder, groups)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> AttackSetup:
    """See `make_lab`."""
    return make_lab(tmp_path_factory.mktemp("lab"), LAB_GROUPS)
