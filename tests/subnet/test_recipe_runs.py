"""Every recipe from its file and a model's folder to a window that was mined, judged and learned
from, its architecture shrunk.

The code is the commands' and the neurons' own: publishing, discovery, miner, validator, trainer.
The chain is the simulator; wallets are left out. Smaller than in the recipe: the model's sizes,
tokens of a completion, problems that are asked to calibrate and to try a checkpoint, tokens of a
pass, groups of the miner. All else is the recipe's, the trainer's settings, tests and group sizes
too.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

from assay.artifacts.checkpoints.folder import CheckpointFolder, DownloadSettings
from assay.artifacts.database import Database
from assay.artifacts.discovery import make_mirrors
from assay.environments import problem_file
from assay.environments.problem_file import add_problem_files
from assay.environments.registry import open_environment
from assay.inference.folder import CheckpointError
from assay.lab.simulator import SimulatedChain
from assay.network.beacon import LocalBeacon
from assay.network.beacon.chain_info import describe_chain
from assay.network.store.folder import open_folder
from assay.neurons.miner.miner import Miner, MinerConfig, MinerDependencies
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.trainer.setup import make_trainer_config
from assay.neurons.trainer.trainer import Trainer
from assay.neurons.validator.validator import Validator
from assay.protocol.encoding import to_json
from assay.protocol.reason import Reason
from assay.protocol.ss58 import encode_ss58
from assay.session.parameter_follower import ParameterFollower
from assay.settings.loading import ConfigError
from assay.settings.sections import ComputeSettings, PublishSettings
from assay.subnet.presets import DEMO_RECIPE, EPISODES_RECIPE, NETUID, PRESETS
from assay.subnet.publish import OwnedSubnet, prepare, publish, read_publish_request
from assay.subnet.recipe import list_recipes, read_recipe
from assay.training import GENESIS
from assay.training.held_out import HeldOut
from tests.absent import has_gym
from tests.subnet.shrunk_recipe import shrink_recipe, write_model

ROOT = Path(__file__).parents[2]
OWNER, TRAINER, VALIDATOR, MINER = (
    sha256(name).digest() for name in (b"owner", b"trainer", b"validator", b"miner")
)
GENESIS_MS = 1_700_000_000_000
#: Groups that the miner makes, up to the recipe's cap. Where the right answer is a digit, a group
#: of 16 lacks a signal with probability .9^16 = .19. By the share of such problems, .28 of 48
#: groups and .67 of 16 in the two recipes that have least, all groups do with at most 4e-6.
GROUPS = 48
#: The recipe that keeps all ids of its vocabulary, so each group is costly. Every answer of its
#: problems is a digit, and .19^13 is less than 1e-9.
WHOLE, WHOLE_GROUPS = "qwen2.5-1.5b-math", 13
#: The recipe that a team trains, here of two processes.
TEAM = "7b-8-cards"
#: Of the shipped model, which is small; `assay demo` plays both whole.
DEMOS = (DEMO_RECIPE, EPISODES_RECIPE)
#: The files of a model's folder.
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
#: Problems of a file in MATH's format, each answered by a digit.
MATH = [
    {
        "problem": f"How much is {a + 9 * level} - {9 * level - b}?",
        "solution": rf"\boxed{{{a + b}}}",
        "level": f"Level {level}",
    }
    for level in range(1, 6)
    for a in range(5)
    for b in range(5)
]


@pytest.fixture(autouse=True)
def forget_files(monkeypatch):
    monkeypatch.setattr(problem_file, "_known", {})
    torch.set_num_threads(1)


@pytest.fixture
def folder():
    with TemporaryDirectory(prefix="assay-") as folder:  # pytest's are too long for a locator
        yield Path(folder)


class Stage:
    """A chain with four hotkeys, a beacon and a store; time passes when a block is minted."""

    def __init__(self, folder, preset):
        timing = PRESETS[preset].timing
        self.folder, self.locator = folder, f"file://{folder}/store"
        self.chain = SimulatedChain(
            b"recipe",
            NETUID,
            GENESIS_MS,
            timing.slot_ms,
            timing.tempo,
            (OWNER, TRAINER, VALIDATOR, MINER),
        )
        self.beacons = LocalBeacon(b"recipe", GENESIS_MS, 1_000, self.get_time)
        self.store = open_folder(folder / "store")
        info = folder / "info.json"
        info.write_text(json.dumps(describe_chain(self.beacons.chain, "test", 1)))
        self.options = {"trainer": encode_ss58(TRAINER), "beacon_info": info}
        self.subnet = OwnedSubnet(self.chain, OWNER, self.store, self.locator)

    def get_time(self):
        return self.chain.get_block(self.chain.get_head()).timestamp_ms

    def publish(self, **options):
        rules = PublishSettings(**self.options | {"out": self.folder / "genesis"} | options)
        network = prepare(read_publish_request(rules, ComputeSettings(device="cpu")))
        publish(network, self.subnet, wait=lambda seconds: self.chain.mint())

    def find_network(self):
        """Parameters and checkpoint as anybody finds them; and what judges read."""
        followed = ParameterFollower(self.chain, lambda locator: self.store, self.folder / "rules")
        mirrors = make_mirrors(self.chain, followed.history.latest, lambda locator: self.store)
        models = CheckpointFolder(self.folder / "models", DownloadSettings(mirrors))
        sources = JudgeSources(self.chain, self.beacons, models, {self.locator: self.store})
        return followed.history, sources


def play(stage, recipe, groups):
    """The first window, mined, judged and learned from: the verdict, and the step."""
    history, sources = stage.find_network()
    outside = MinerDependencies(
        stage.chain, stage.beacons, sources.checkpoints, stage.store, stage.locator
    )
    miner = Miner("miner", MINER, history, outside, MinerConfig(groups, groups, 0), print)
    validator = Validator(
        VALIDATOR, history, sources, Database(), *[lambda made: None] * 3, last_window=0
    )
    settings = recipe.trainer.model_copy(update={"dir": stage.folder / "trainer"})
    held_out, lessons = HeldOut(history, settings.problems), []
    config = make_trainer_config(settings, stage.locator, stage.store, held_out)
    trainer = Trainer(
        TRAINER, history, sources, replace(config, last_window=0), lessons.append, print
    )
    for _ in range(4 * history.latest.timing.verdict_end):
        stage.chain.mint()
        for neuron in (miner, validator, trainer):
            while neuron.step():
                pass
        judged = validator.judged_windows.get(0)
        if lessons and judged is not None and MINER in judged.verdicts:
            break
    trainer.close()
    (lesson,) = lessons
    return judged.verdicts[MINER], lesson


def play_recipe(name, folder):
    """Run a shipped recipe, shrunk, from its file to a step. Returns the step."""
    file = shrink_recipe(name, folder, whole_vocabulary=name == WHOLE)
    recipe = read_recipe(str(file))
    if recipe.file is not None:
        rows = folder / "math.jsonl"
        rows.write_text("\n".join(map(json.dumps, MATH)) + "\n")
        add_problem_files([rows])
    rules = recipe.make_rules(recipe.fill_environment())
    environment = open_environment(rules.environment)
    write_model(folder / "model", recipe.model, environment, recipe.levels)
    before = {path.name: path.read_bytes() for path in (folder / "model").iterdir()}
    stage = Stage(folder, recipe.preset)
    stage.publish(recipe=str(file), model=folder / "model")
    assert {path.name: path.read_bytes() for path in (folder / "model").iterdir()} == before
    groups = WHOLE_GROUPS if name == WHOLE else GROUPS
    verdict, lesson = play(stage, recipe, groups)
    history, sources = stage.find_network()
    found = history.latest
    assert (found.work, found.tests) == (rules.work, rules.tests)
    assert found.environment == rules.environment
    genesis = sources.checkpoints.get(found.identity.genesis_checkpoint)
    assert genesis.manifest.level_numbers == recipe.levels
    assert len(genesis.tokenizer.drawable) == recipe.model.vocab_size
    assert verdict.reason is Reason.ACCEPTED, verdict
    assert lesson.stats.groups == min(groups, found.work.group_cap, recipe.trainer.external_groups)
    assert lesson.stats.updates >= 1
    assert (lesson.published.number, lesson.published.parent) == (1, genesis.digest)
    assert lesson.published.tensors != genesis.manifest.tensors
    return lesson


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in list_recipes() if n not in (*DEMOS, TEAM)])
def test_a_recipe_is_published_mined_judged_and_learned_from(name, folder):
    if "mixture" in name and not has_gym():
        pytest.skip("needs the extra `envs`")
    play_recipe(name, folder)


@pytest.mark.slow
def test_the_recipe_of_a_team_is_learned_from_by_a_team(folder):
    """tests/adversarial/test_training_as_a_team.py compares the results of two processes with those
    of one."""
    command = [sys.executable, "-m", "tests.subnet.recipe_team", TEAM, str(folder)]
    # it holds where PYTHONSAFEPATH keeps the working directory out, too
    env = {**os.environ, "PYTHONPATH": str(ROOT)}  # noqa: TID251 - a child needs a whole environment
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3_000:]
    assert (folder / "learned").exists()
    assert (folder / "followed").exists()


@pytest.mark.slow
def test_the_demos_recipe_makes_the_demos_checkpoint_and_network(folder):
    """Its model is as small as possible: nothing is shrunk, and the checkpoint has the shipped
    one's bytes except where machines round differently. `assay demo` runs the rest of it."""
    recipe = read_recipe(DEMO_RECIPE)
    model = copy_model(folder / "model", *FILES)
    stage = Stage(folder, recipe.preset)
    stage.publish(recipe=DEMO_RECIPE, model=model)
    history, sources = stage.find_network()
    found = sources.checkpoints.get(history.latest.identity.genesis_checkpoint)
    shipped = json.loads((GENESIS / "manifest.json").read_text())
    assert found.manifest.tensors.hex() == shipped["tensors"]
    assert to_json(found.manifest)["levels"] == shipped["levels"]
    assert found.manifest.max_tokens == shipped["max_tokens"]
    assert history.latest.work == PRESETS["demo"].work
    verdict, lesson = play(stage, recipe, GROUPS)
    assert verdict.reason is Reason.ACCEPTED
    assert lesson.stats.updates >= 1


def copy_model(folder, *names):
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes((GENESIS / name).read_bytes())
    return folder


@pytest.mark.parametrize(
    ("files", "options", "said"),
    [
        (FILES, {"recipe": "qwen2.5-0.5b-gsm"}, "another architecture than the recipe"),
        (FILES[:2], {"recipe": DEMO_RECIPE}, "has no tokenizer.json"),
        (("config.json", *FILES[2:]), {"recipe": DEMO_RECIPE}, r"holds no \*.safetensors"),
        (
            FILES,
            {"recipe": DEMO_RECIPE, "environment": "mix,gsm=1,sat=1"},
            "mix,gsm=1,sat=1 does not have all of",
        ),
        (FILES, {"recipe": DEMO_RECIPE, "genesis": GENESIS}, "leave one out"),
        (FILES, {"recipe": "qwen2.5-1.5b-math", "model": None}, "needs its model: .*Qwen2.5-1.5B"),
        (FILES, {}, "needs a recipe: name one"),
    ],
)
def test_a_failed_publication_leaves_nothing(folder, files, options, said):
    """Neither in the store, nor on chain, nor a folder that looks like a checkpoint."""
    stage = Stage(folder, "demo")
    model = copy_model(folder / "model", *files)
    with pytest.raises((ConfigError, CheckpointError), match=said):
        stage.publish(**{"model": model} | options)
    assert {path.name for path in folder.iterdir()} <= {"model", "store", "info.json"}
    assert not any((folder / "store").rglob("*"))
    assert stage.chain.get_commitments(stage.chain.get_head()) == {}


def test_a_checkpoint_that_was_made_is_not_made_again(folder):
    """An owner who did not agree, or was cut off, publishes the checkpoint in the folder."""
    stage = Stage(folder, "demo")
    model = copy_model(folder / "model", *FILES)
    (folder / "genesis").mkdir()
    with pytest.raises(ConfigError, match=r"publish it with --genesis .*/genesis"):
        stage.publish(recipe=DEMO_RECIPE, model=model)
    stage.publish(recipe=DEMO_RECIPE, genesis=GENESIS)
    history, _ = stage.find_network()
    assert history.latest.work == PRESETS["demo"].work
