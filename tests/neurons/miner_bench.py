"""One miner on a simulated subnet whose program can be ended at any call to the outside."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.mining_history import MiningHistory
from assay.environments.registry import make_environment
from assay.lab.simulator import SimulatedChain
from assay.network.beacon import LocalBeacon
from assay.network.store.folder import open_folder
from assay.neurons.miner.miner import Miner, MinerConfig, MinerDependencies
from assay.neurons.miner.work_database import WorkDatabase
from assay.protocol.amendment import ParameterHistory
from assay.protocol.commitment import make_object_name
from assay.protocol.parameters import DEMO_TIMING, EnvironmentChoice
from assay.protocol.ss58 import encode_ss58
from assay.subnet.presets import NETUID, make_demo_parameters

LOCATOR = "test:store"
GENESIS_MS = 1_700_000_000_000
HOTKEYS = {
    name: sha256(name.encode()).digest() for name in ("owner", "trainer", "validator", "alice")
}
ALICE = HOTKEYS["alice"]


class Killed(BaseException):
    """kill -9: nothing that the program has in memory survives, and nothing of it runs any more."""


@dataclass
class Fuse:
    """Blows at its n-th touch, once."""

    at: int | None = None
    touched: int = 0
    names: list[str] = field(default_factory=list)

    def touch(self, name):
        self.touched += 1
        self.names.append(name)
        if self.touched == self.at:
            raise Killed


class Fused:
    """Any object, each of whose methods may be the last thing the program does, done or not."""

    def __init__(self, inner, fuse):
        self._inner = inner
        self._fuse = fuse

    def __getattr__(self, name):
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*arguments, **options):
            self._fuse.touch(f"before {name}")
            result = found(*arguments, **options)
            self._fuse.touch(f"after {name}")
            return result

        return call


class FusedFile:
    """A file of which the program may leave the first half of a write."""

    def __init__(self, inner, fuse):
        self._inner = inner
        self._fuse = fuse

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._inner.close()

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def write(self, data):
        for half in (data[: len(data) // 2], data[len(data) // 2 :]):
            self._fuse.touch("before a half of a write")
            self._inner.write(half)
            self._inner.flush()
        self._fuse.touch("after a write")


def fuse_files(monkeypatch, fuse):
    """Has the workbook write through `FusedFile`."""
    honest = Path.open

    def open_fused(self, mode="r", *arguments, **options):
        opened = honest(self, mode, *arguments, **options)
        return FusedFile(opened, fuse) if self.suffix == ".work" and mode == "r+b" else opened

    monkeypatch.setattr(Path, "open", open_fused)


class Subnet:
    """Chain, beacons, store and one miner's folder."""

    def __init__(self, folder, checkpoint, config=None):
        self.folder = folder
        self.chain = SimulatedChain(
            b"mining",
            NETUID,
            GENESIS_MS,
            DEMO_TIMING.slot_ms,
            DEMO_TIMING.tempo,
            tuple(HOTKEYS.values()),
        )
        self.beacons = LocalBeacon(
            b"mining",
            GENESIS_MS,
            1_000,
            lambda: self.chain.get_block(self.chain.get_head()).timestamp_ms,
        )
        self.parameters = make_demo_parameters(
            self.chain.genesis_hash, self.beacons.chain, 0, HOTKEYS["trainer"], checkpoint.digest
        )
        self.checkpoints = CheckpointFolder(folder / "models")
        self.store = open_folder(folder / "store")
        self.config = config or MinerConfig(4, 2)
        self.lines = []
        self.passed_s = 0.0  # since the head
        self.book = self.history = None

    def play(self):
        """Have the network ask for episodes."""
        work = replace(
            self.parameters.work,
            group_size=2,
            turns=3,
            context=240,
            reply_bytes=64,
            paid_reply=4_000,
        )
        choice = EnvironmentChoice("guess", (), make_environment("guess", {}).digest)
        self.parameters = replace(self.parameters, work=work, environment=choice)

    def start(self, kind=Miner, fuse=None, **outside):
        """A fresh program on the same folders."""
        self.end()
        self.book = WorkDatabase(self.folder / "work")
        self.history = MiningHistory(
            self.folder / "history.sqlite", self.chain.genesis_hash, NETUID, ALICE
        )
        reached = MinerDependencies(
            self.chain, self.beacons, self.checkpoints, self.store, LOCATOR, self.book, self.history
        )
        reached = replace(reached, clock=self.read_clock, **outside)
        if fuse is not None:
            names = ("chain", "beacons", "store", "workbook", "history")
            fused = {name: Fused(getattr(reached, name), fuse) for name in names}
            reached = replace(reached, **fused)
        return kind(
            "alice",
            ALICE,
            ParameterHistory(self.parameters),
            reached,
            self.config,
            self.lines.append,
        )

    def read_clock(self):
        """Seconds. They pass with blocks, and as a test says."""
        return self.chain.get_head() * self.parameters.timing.slot_ms / 1_000 + self.passed_s

    def pass_time(self, seconds):
        """Let time pass, and the blocks come that are due by then."""
        slot_s = self.parameters.timing.slot_ms / 1_000
        self.passed_s += seconds
        while self.passed_s >= slot_s:
            self.passed_s -= slot_s
            self.chain.mint()

    def end(self):
        """Do what the kernel does for a program that is gone."""
        if self.book is not None:
            self.book.close()
            self.history.close()

    def run_to(self, miner, block):
        """Mints up to a block, the miner doing all it can at each."""
        while self.chain.get_head() < block:
            self.chain.mint()
            while miner.step():
                pass

    def get_slot(self, block=None):
        """The miner's slot in state."""
        at = self.chain.get_head() if block is None else block
        return self.chain.get_commitments(at).get(ALICE)

    def get_file(self, window):
        """Bytes of a window's submission in the store, None where there are none."""
        path = self.folder / "store" / make_object_name(encode_ss58(ALICE), window)
        with suppress(FileNotFoundError):
            return path.read_bytes()
        return None
