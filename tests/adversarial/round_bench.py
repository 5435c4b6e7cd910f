"""Three trainers, two miners and a chain in memory, all real but the chain; of the trainers any may
lie. Blocks are minted until a round is over."""

from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from assay.artifacts.checkpoints.folder import DownloadSettings
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.artifacts.steps.folder import StepFolder
from assay.lab.simulator import SimulatedChain
from assay.network.store.base import ObjectStore
from assay.network.store.folder import open_folder
from assay.neurons.miner.miner import MinerConfig
from assay.neurons.trainer.setup import TrainerConfig
from assay.neurons.trainer.trainer import Trainer
from assay.protocol.amendment import ParameterHistory
from assay.protocol.parameters import Rounds
from assay.rounds.calendar import find_round
from assay.training import LearnConfig
from assay.training.held_out import HeldOut
from tests.adversarial.conftest import GROUPS, World, make_world, open_models
from tests.amended_parameters import amend

NAMES = ("trainer", "second", "third")
LEARNING = LearnConfig(epochs=1, groups_per_batch=64, learning_rate=1e-4)
#: On the demo's calendar: two windows of 12 blocks a round, learned from when they are audited.
WINDOWS, OFFSET = 2, 18


@dataclass
class Stores:
    """Stores by locator. A liar's store may show each reader something else: `seen_by` has a
    view."""

    known: dict[str, ObjectStore]

    def get(self, locator: str) -> ObjectStore | None:
        return self.known.get(locator)


class RoundBench:
    """All participants of a network with rounds.

    Args:
        first: the window with which an amendment brings the rounds; 0: the network began with them.
        views: trainer's name → locator → the store that it finds there instead of the true one.
        problems: held-out ones, on which trainers measure checkpoints and children; 0: none.
    """

    def __init__(
        self, folder: Path, rounds=None, views=None, last=None, first=0, problems=0, **classes
    ):
        self.world: World = make_world(folder, last=last)
        world, chain = self.world, self.world.chain
        self.hotkeys = {name: world.hotkeys.get(name) or name_hotkey(name) for name in NAMES}
        for hotkey in list(self.hotkeys.values())[1:]:
            chain.fund(hotkey, 10**12)
            chain.register(hotkey, 10**12)
        chain.mint()
        trainers = tuple(sorted(self.hotkeys.values()))
        rules = Rounds(
            trainers=trainers,
            windows=WINDOWS,
            staleness=1,
            child_offset=OFFSET,
            child_blocks=6,
            reveal_blocks=2,
            turn_blocks=4,
            rate=700_000,
            momentum=900_000,
            norm_bound=100 << 20,
            kept=0,
            chunk=0,
            bits=0,
            feedback=0,
        )
        rules = replace(rules, **(rounds or {}))
        if first:
            self.parameters = amend(world.parameters, first, rounds=rules)
            world.history = self.history = ParameterHistory(world.parameters)
        else:
            self.parameters = world.parameters = replace(world.parameters, rounds=rules)
            world.history = self.history = ParameterHistory(self.parameters)
        self.stores = {self.locate(name): open_folder(folder / name / "store") for name in NAMES}
        self.stores["test:store"] = world.sources.stores["test:store"]
        genesis = folder / "models" / world.checkpoint.digest.hex()
        publish_checkpoint(self.stores["test:store"], genesis, world.checkpoint.digest)
        fetching = DownloadSettings(lambda: list(self.stores.values()), retry_s=0.0)
        self.models = open_models(folder / "miners", world.checkpoint, fetching)
        for name, miner in list(world.miners.items()):
            outside = replace(miner.dependencies, checkpoints=self.models)
            world.miners[name] = type(miner)(
                name, miner.hotkey, self.history, outside, MinerConfig(GROUPS, GROUPS, last), print
            )
        self.folder, self.views, self.problems = folder, views or {}, problems
        self.said = {name: [] for name in NAMES}
        self.lessons = {name: [] for name in NAMES}
        self.trainers = {}
        for name in NAMES:
            self.start(name, classes.get(name, Trainer))

    @staticmethod
    def locate(name: str) -> str:
        return f"test:{name}"

    @property
    def chain(self) -> SimulatedChain:
        return self.world.chain

    def start(self, name, kind=Trainer, learning=LEARNING):
        if name in self.trainers:
            self.trainers[name].close()
        own = self.folder / name
        view = Stores(self.stores | self.views.get(name, {}))
        fetching = DownloadSettings(lambda: list(self.stores.values()), retry_s=0.0)
        checkpoints = open_models(own / "models", self.world.checkpoint, fetching)
        sources = replace(self.world.sources, checkpoints=checkpoints, stores=view)
        config = TrainerConfig(
            learning,
            self.locate(name),
            self.stores[self.locate(name)],
            own / "course",
            retry_s=0.0,
            steps=StepFolder(own / "steps"),
            publish_states=True,
            held_out=HeldOut(self.history, self.problems) if self.problems else None,
        )
        self.trainers[name] = kind(
            self.hotkeys[name],
            self.history,
            sources,
            config,
            self.lessons[name].append,
            self.said[name].append,
        )

    def run_to(self, block: int, *, without=()) -> None:
        """Every block, everybody does all it can."""
        while self.chain.get_head() < block:
            self.world.mint()
            for name, trainer in self.trainers.items():
                if name not in without:
                    for _ in range(200):
                        if not trainer.step():
                            break
                    else:
                        raise AssertionError(f"{name} never rests")

    def run_round(self, number: int = 0, **how) -> None:
        """Until everybody has gone on from a round."""
        self.run_to(self.get_round(number).turns_end + 3, **how)

    def get_round(self, number: int):
        return find_round(self.parameters, number * self.parameters.rounds.windows)

    def get_base(self, name: str):
        """Digest of the checkpoint, and root of the outer state, with which its round began."""
        place = self.trainers[name].rounds.place
        return place.base, place.root

    def close(self) -> None:
        for trainer in self.trainers.values():
            trainer.close()


def name_hotkey(name: str) -> bytes:
    return sha256(name.encode()).digest()
