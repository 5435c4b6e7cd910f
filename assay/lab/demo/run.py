"""The whole loop in one process: chain, beacon, store, five miners, a validator, a trainer.

The programs are the real ones. The neurons talk to a development chain through the SDK
(`subtensor_devnet` says what it leaves out), and the beacon signs real BLS rounds with its own key.
With `fast` the clock jumps from block to block and the neurons take turns. Without it, blocks come
every second.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.database import VALIDATOR_FILE, Database
from assay.artifacts.discovery import fetch_parameters
from assay.audit.bundle_export import export_bundle
from assay.audit.findings import AuditReport
from assay.audit.ports import Public
from assay.audit.sources import FetchedOutlines, StoredSubmissions, TrainerFiles
from assay.environments.levels import Success
from assay.environments.registry import open_environment
from assay.inference.checkpoint import load_checkpoint
from assay.inference.folder import CheckpointError, read_small_file, verify_manifest
from assay.inference.placement import Placement
from assay.inference.placing.devices import CPU
from assay.inference.sampled_episodes import sample_episodes
from assay.lab.demo.network import LOCATOR, TRAINER, VALIDATOR, DevnetNetwork, Network
from assay.lab.demo.players import FreePlayers, TurnPlayers
from assay.lab.demo.saved_point import (
    CHAIN_DATABASE,
    VERDICT_DATABASE,
    Founded,
    Played,
    describe_window,
    read_window,
    save_point,
)
from assay.lab.gauntlet.content_attacks import FakingMiner
from assay.lab.gauntlet.sampling_attacks import BestOfSeedsMiner, CheapModelMiner
from assay.lab.localnet.founding import make_first_checkpoint, shorten_windows
from assay.network.chain.ports import Chain
from assay.network.store.base import ObjectStore
from assay.network.store.folder import open_folder
from assay.neurons.miner.miner import Miner, MinerConfig, MinerDependencies
from assay.neurons.ports import Neuron
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.program.software import get_software
from assay.neurons.trainer.lessons import Lesson
from assay.neurons.trainer.setup import TrainerConfig, open_step_folder
from assay.neurons.trainer.trainer import Trainer
from assay.neurons.validator.make_records import Author
from assay.neurons.validator.record_book import RecordBook
from assay.neurons.validator.run_archive import Archive
from assay.neurons.validator.validator import Validator
from assay.protocol.amendment import ParameterHistory
from assay.protocol.parameters import Parameters
from assay.protocol.window import Phase, compute_block, compute_window
from assay.session.window_reader import find_settlement
from assay.settings.learning import make_choice, make_learning
from assay.settings.loading import ConfigError
from assay.settings.sections import DemoSettings
from assay.subnet.genesis_checkpoint import make_recipe_genesis
from assay.subnet.presets import DEMO_RECIPE, EPISODES_RECIPE
from assay.subnet.recipe import Recipe, read_recipe
from assay.subnet.waiting import Report, ignore_report, telling
from assay.training import GENESIS
from assay.training.first_turns import teach_first_turns
from assay.training.held_out import HeldOut, evaluate
from assay.verification import Seat

#: Folder of the bundle below the demo's.
BUNDLE_FOLDER = "bundle"
#: Groups that a miner generates in one step on a processor: few enough to finish before its next
#: look at the chain. A card generates all at once.
GROUPS_PER_STEP = 8
#: Held-out problems for each checkpoint. The levels of the next one follow from its success; those
#: of a demo of episodes stay.
HELD_OUT = 256
#: Windows, held-out problems before and after them, and groups of an honest miner, unless others
#: are given: of sums, of episodes, and of a recipe.
SIZES, EPISODES_SIZES, RECIPE_SIZES = (8, 1_500, 24), (24, 400, 24), (12, 300, 8)
#: Seconds that threads have to finish their step when the demo stops.
JOIN_S = 30.0
#: Blocks after the last epoch in which its weights are sent, included and final, and its record is
#: published.
CLOSING_BLOCKS = 6
#: Seconds between two looks at a chain that makes its blocks itself.
_LOOK_S = 0.1
#: The chain's folder below `out`, and the trainer's.
CHAIN_FOLDER, COURSE_FOLDER = "chain", "course"
#: Founds a network in a folder, for these miners, with this store, genesis and recipe; or goes on
#: with one.
Found = Callable[[DemoSettings, Sequence[str], ObjectStore, Path, Recipe, Founded | None], Network]


@dataclass(frozen=True, slots=True)
class Actor:
    """A miner of the demo as the summary names it."""

    miner: Miner
    role: str  # "honest" or "cheat"
    seat: Seat


@dataclass(frozen=True, slots=True)
class PlayedExample:
    """An episode of a held-out problem as the last checkpoint plays it: what is asked, each turn
    and the world's reply to it, and why it ended."""

    question: str
    turns: Sequence[tuple[str, str]]
    end: str


@dataclass(slots=True)
class DemoRun:
    """State of a demo, for displays. Windows are numbered from the chain's first block."""

    settings: DemoSettings
    problems: int
    chain: Chain
    parameters: Parameters
    actors: Sequence[Actor]
    validator: Validator
    trainer: Trainer
    database: Database
    book: RecordBook
    checkpoints: CheckpointFolder
    windows: range
    last_block: int
    lessons: list[Lesson] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    before: Success | None = None
    after: Success | None = None
    example: PlayedExample | None = None
    stage: str = "starting"
    started_at: int = field(default_factory=lambda: int(time.time()))


#: Miner → its program, its role, and its share of an honest miner's groups.
Cast = Mapping[str, tuple[type[Miner], str, float]]
MINERS: Cast = {
    "honest-1": (Miner, "honest", 1.0),
    "honest-2": (Miner, "honest", 1.0),
    "cheap-model": (CheapModelMiner, "cheat", 0.5),
    "best-of-seeds": (BestOfSeedsMiner, "cheat", 0.5),
    "fake-groups": (FakingMiner, "cheat", 1.0),
}
#: Those of a demo of episodes: the other cheats draft one turn.
EPISODES_MINERS: Cast = {name: MINERS[name] for name in ("honest-1", "honest-2", "fake-groups")}
#: Those of a recipe's subnet of one turn.
RECIPE_MINERS: Cast = {name: MINERS[name] for name in ("honest-1", "honest-2", "cheap-model")}


def found_devnet(
    settings: DemoSettings,
    miners: Sequence[str],
    store: ObjectStore,
    genesis: Path,
    recipe: Recipe,
    founded: Founded | None,
) -> DevnetNetwork:
    """The demo's network, on a development chain in `settings.out`."""
    folder, fast, seed = settings.out / CHAIN_FOLDER, settings.is_virtual, settings.seed
    return DevnetNetwork(
        folder, seed, miners, store, genesis, fast=fast, recipe=recipe, founded=founded
    )


class Demo:
    """Builds the parts, runs them, and leaves everything in `settings.out`.

    Args:
        update: called whenever there may be something new to show.
        genesis: model folder to start from.
        found: founds the network.
        report: called with a line for what is done before there is something to show.
        placement: where and how models run; None: on the CPU.
        plan: what is played, see `describe_plan`. With a virtual clock the run is kept before each
            window, to go on from there; None: it is not.
        played: it goes on: `settings.out` has the files of this point.

    Raises:
        CheckpointError, StoreError, ChainError: the genesis or the output folder cannot be used.
    """

    def __init__(
        self,
        settings: DemoSettings,
        update: Callable[[DemoRun], None],
        genesis: Path | None = None,
        found: Found = found_devnet,
        report: Report = ignore_report,
        placement: Placement | None = None,
        plan: str | None = None,
        played: Played | None = None,
    ) -> None:
        self._plan = plan if settings.is_virtual else None
        self._began = time.monotonic() - (0 if played is None else played.seconds)
        self._report = report
        self._settings = settings
        self._update = update
        self._recipe, self._cast, sizes = choose_subnet(settings)
        self._windows, self._problems = settings.windows or sizes[0], settings.problems or sizes[1]
        self._groups = settings.groups or min(sizes[2], self._recipe.make_rules().work.group_cap)
        self._archive = Archive(settings.out)
        self._database = Database(settings.out / VALIDATOR_FILE)
        self._store = open_folder(settings.out / "store")
        self._checkpoints = CheckpointFolder(settings.out / "models", placement=placement)
        with TemporaryDirectory(prefix="assay-") as scratch:
            founded = None if played is None else played.founded
            folder = genesis or self._find_genesis(founded) or self._make_genesis(Path(scratch))
            self._genesis = verify_manifest(folder)
            self._checkpoints.add(folder, self._genesis.digest)
            given = settings, tuple(self._cast), self._store, folder, self._recipe
            self._network = found(*given, founded)
        self._chain = self._network.chain
        self.run = self._build(self._network.parameters)
        if played is not None:
            self.run.lessons += played.lessons
            self.run.notes += played.notes
            self.run.before = played.before
            validator, parameters = self.run.validator, self.run.parameters
            validator.settlements += self._archive.read_settlements()
            settled = (read_window(one, parameters) for one in played.windows)
            validator.judged_windows = {
                **{judged.challenge.window: judged for judged in settled},
                **validator.judged_windows,
            }

    @property
    def seconds(self) -> float:
        """How long it has been played, without what a stop took away."""
        return time.monotonic() - self._began

    def _find_genesis(self, founded: Founded | None) -> Path | None:
        """The first checkpoint of a network that goes on."""
        if founded is None:
            return None
        first = fetch_parameters(self._store, founded.parameters).identity.genesis_checkpoint
        return self._settings.out / "models" / first.hex()

    def _make_genesis(self, scratch: Path) -> Path:
        """The folder of the first checkpoint: the shipped one, one that is made of it and has seen
        turns, or a recipe's."""
        if self._settings.recipe is not None:
            model = self._settings.model
            device = self._checkpoints.placement.device
            given = self._recipe, model, scratch / "genesis", self._report, device
            return make_first_checkpoint(*given)[0]
        if not self._settings.episodes:
            return GENESIS
        rules, model, folder = self._recipe.make_rules(), scratch / "model", scratch / "genesis"
        environment = open_environment(rules.environment)
        (level,) = self._recipe.levels
        checkpoint = load_checkpoint(GENESIS)
        with telling(self._report, "the shipped model watches a careless player"):
            teach_first_turns(checkpoint, environment, level, rules.work, model)
        make_recipe_genesis(self._recipe, model, folder, rules, report=self._report)
        return folder

    def _build(self, parameters: Parameters) -> DemoRun:
        network, first = self._network, self._network.first_window
        windows = range(first, first + self._windows)
        history = ParameterHistory(parameters)
        sources = JudgeSources(
            self._chain, network.beacons, self._checkpoints, {LOCATOR: self._store}
        )
        author = Author(get_software(), history, network.hotkeys[VALIDATOR])
        tempo, records = parameters.timing.tempo, self._open_records()
        book = RecordBook(self._database, self._chain, author, tempo, records, None)
        return DemoRun(
            self._settings,
            self._problems,
            self._chain,
            parameters,
            [self._make_actor(name, parameters, windows) for name in self._cast],
            Validator(
                network.hotkeys[VALIDATOR],
                history,
                sources,
                self._database,
                self._archive.write_context,
                self._archive.write_window,
                self._archive.write_settlement,
                windows[-1],
                start=max(0, compute_block(parameters.timing, first, Phase.CHALLENGE) - 1),
                remember=2 * self._windows,  # the last settlement may cover windows after them
                book=book,
            ),
            Trainer(
                network.hotkeys[TRAINER],
                history,
                sources,
                TrainerConfig(
                    make_learning(self._recipe.trainer),
                    LOCATOR,
                    # what it must not lose where it goes on
                    folder=None if self._plan is None else self._settings.out / COURSE_FOLDER,
                    last_window=windows[-1],
                    steps=open_step_folder(self._settings.out / "steps", self._recipe.trainer),
                    held_out=HeldOut(history, self._count_held_out()),
                    choice=make_choice(self._recipe.trainer),
                    answers=self._store,
                ),
                lambda lesson: self.run.lessons.append(lesson),
                self._note,
            ),
            self._database,
            book,
            self._checkpoints,
            windows,
            find_settlement(self._chain, parameters, windows[-1]) + CLOSING_BLOCKS,
        )

    def _count_held_out(self) -> int:
        """Held-out problems of each checkpoint."""
        if self._settings.recipe is not None:
            return self._recipe.trainer.problems
        return 0 if self._settings.episodes else HELD_OUT

    def _open_records(self) -> ObjectStore:
        return open_folder(self._settings.out / "record")

    def _make_actor(self, name: str, parameters: Parameters, windows: range) -> Actor:
        kind, role, share = self._cast[name]
        groups = max(parameters.work.audited_rollouts, int(self._groups * share))
        chain, hotkey = self._chain, self._network.hotkeys[name]
        outside = MinerDependencies(
            chain, self._network.beacons, self._checkpoints, self._store, LOCATOR
        )
        is_card = self._checkpoints.placement.device != CPU
        config = MinerConfig(groups, groups if is_card else GROUPS_PER_STEP, windows[-1])
        member = chain.get_members(chain.get_head())[hotkey]
        return Actor(
            kind(name, hotkey, ParameterHistory(parameters), outside, config, self._note),
            role,
            Seat(member.uid, member.registered_at),
        )

    def leave_bundle(self) -> AuditReport:
        """Audit the validator's record without a model, and leave in `settings.out/bundle`
        everything that the audit has read, as any auditor would make it."""
        records = self._open_records()
        with TemporaryDirectory(prefix="assay-") as scratch:
            models = ModelFolders(self._settings.out / "models")
            public = Public(
                chain=self._network.chain,
                beacons=self._network.beacons,
                parameters=self.run.parameters,
                history=ParameterHistory(self.run.parameters),
                records=records,
                submissions=StoredSubmissions({LOCATOR: self._store}),
                outlines=FetchedOutlines(Path(scratch), lambda: [models]),
                copies={},
            )
            return export_bundle(
                public,
                self._network.hotkeys[VALIDATOR],
                _find_recorded(records, self.run.windows),
                self._settings.out / BUNDLE_FOLDER,
                Path(scratch),
                lambda: [models, TrainerFiles(self._settings.out / "steps"), self._store],
                lambda *_: None,
            )

    def close(self) -> None:
        """Close the files that stay in `settings.out`."""
        self._network.close()
        self._database.close()

    def play(self) -> None:
        """Run from the first window to the last, with an evaluation before and after.

        Raises:
            KeyboardInterrupt: on Ctrl-C, once every part has stopped.
            ChainError: the chain has stopped.
        """
        if self.run.before is None:
            self.run.before = self._evaluate("evaluating the genesis model", self._genesis.digest)
        self._enter("mining")
        neurons = [actor.miner for actor in self.run.actors]
        self._drive([*neurons, self.run.validator, self.run.trainer])
        newest = self.run.lessons[-1].published.digest if self.run.lessons else None
        digest = newest or self._genesis.digest
        self.run.after = self._evaluate("evaluating the last checkpoint", digest)
        if self._settings.episodes:
            self.run.example = self._play_example(digest)
        self._enter("done")

    def _drive(self, neurons: Sequence[Neuron]) -> None:
        timing, network = self.run.parameters.timing, self._network
        first = compute_block(timing, self.run.windows[0], Phase.CHALLENGE)
        network.start()
        while self._chain.get_head() < first:  # no participant has started yet
            self._pass_time()
        players = (
            TurnPlayers(neurons, network.count_waiting, self._show)
            if self._settings.is_virtual
            else FreePlayers(neurons)
        )
        players.start()
        try:
            players.play()
            while self._chain.get_head() < self.run.last_block and players.failure is None:
                self._save()
                self._pass_time()
                players.play()
                self._show()
        finally:
            players.stop()
            self._dismiss(players)
        if players.failure is not None:
            raise players.failure

    def _save(self) -> None:
        """Keep the run before a window's first block, where nobody has anything to do."""
        head, timing, before = self._chain.get_head(), self.run.parameters.timing, self.run.before
        window = compute_window(timing, head + 1)
        is_due = window != self.run.windows[0] and head + 1 == compute_block(
            timing, window, Phase.CHALLENGE
        )
        if self._plan is None or before is None or not is_due:
            return
        if self._network.count_waiting():
            return  # the next window will do
        run, founded = self.run, self._network.describe()
        windows = [describe_window(one) for one in run.validator.judged_windows.values()]
        told = run.lessons, run.notes, self.seconds
        save_point(
            self._settings.out,
            head,
            Played(self._plan, founded, before, windows, *told),
            {CHAIN_DATABASE: self._network.copy_to, VERDICT_DATABASE: self._database.copy_to},
        )

    def _pass_time(self) -> None:
        """Make a block if blocks are made here. Otherwise wait a moment, in which one may come."""
        if self._settings.is_virtual:
            self._network.make_block()
        else:
            time.sleep(_LOOK_S)
            self._network.require_running()

    def _dismiss(self, players: FreePlayers) -> None:
        """Wait until all have ended their step, even one that waits for a block."""
        self._network.stop_retrying()
        deadline = time.monotonic() + JOIN_S
        while not players.join(_LOOK_S) and time.monotonic() < deadline:
            if self._settings.is_virtual:
                self._network.make_block()

    def _evaluate(self, stage: str, digest: bytes) -> Success:
        self._enter(stage)
        checkpoint = self._checkpoints.get(digest, self.run.parameters)
        return evaluate(
            checkpoint,
            checkpoint.open_environment(self.run.parameters.environment),
            self.run.parameters.work,
            self._problems,
            self._genesis.level_numbers,  # the same problems before and after
            lambda done: self._show(),
        )

    def _play_example(self, digest: bytes) -> PlayedExample:
        parameters = self.run.parameters
        checkpoint = self._checkpoints.get(digest, parameters)
        environment = checkpoint.open_environment(parameters.environment)
        tokenizer = checkpoint.tokenizer
        problem = environment.make_problem(digest, checkpoint.manifest.level_numbers)
        asked = [(problem, tuple(tokenizer.encode(problem.conversation)), digest)]
        drafter = checkpoint.get_drafter(parameters.work.temperature)
        (played,) = sample_episodes(drafter, tokenizer, environment, asked, parameters.work)
        replies = played.episode.replies
        ends = pairwise([0, *(reply.at for reply in replies), len(played.tokens)])
        turns = [tokenizer.decode(played.tokens[start:stop]) for start, stop in ends]
        heard = [tokenizer.decode(reply.ids) for reply in replies]
        return PlayedExample(
            problem.prompt, list(zip_longest(turns, heard, fillvalue="")), str(played.episode.end)
        )

    def _enter(self, stage: str) -> None:
        self.run.stage = stage
        self._show()

    def _show(self) -> None:
        self._update(self.run)

    def _note(self, text: str) -> None:
        self.run.notes.append(text)


def choose_subnet(settings: DemoSettings) -> tuple[Recipe, Cast, tuple[int, int, int]]:
    """The recipe that is played, by whom, and the sizes unless others are given. Raises
    ConfigError."""
    if settings.recipe is None:
        if settings.model is not None:
            raise ConfigError("--model needs a recipe: name one with --recipe")
        if settings.episodes:
            return read_recipe(EPISODES_RECIPE), EPISODES_MINERS, EPISODES_SIZES
        return read_recipe(DEMO_RECIPE), MINERS, SIZES
    if settings.episodes:
        raise ConfigError("--episodes and --recipe both name a subnet: leave one out")
    recipe = shorten_windows(read_recipe(settings.recipe))
    has_turns = recipe.make_rules().work.turns > 1
    return recipe, EPISODES_MINERS if has_turns else RECIPE_MINERS, RECIPE_SIZES


@dataclass(frozen=True, slots=True)
class ModelFolders:
    """Folders of checkpoints by digest, as a store has them."""

    root: Path

    def get(self, name: str, limit: int) -> bytes | None:
        """A checkpoint's small file; None: it does not exist."""
        try:
            return read_small_file(self.root, name.removeprefix("checkpoints/"), limit)
        except CheckpointError:
            return None


def _find_recorded(records: ObjectStore, windows: range) -> range:
    """The demo's windows, and those before them that the validator's record lists as abstained."""
    numbers = [
        int(name.rpartition("/window-")[2].removesuffix(".record"))
        for name in records.list()
        if name.endswith(".record") and "/window-" in name
    ]
    return range(min(numbers, default=windows.start), windows.stop)
