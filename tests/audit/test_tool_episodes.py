"""A mixture of problems with a tool and problems without one, from its miners to its auditors.

The model has watched somebody who half of the time asks for another sum and says what it is, and
else answers at once. So its groups have calls, and right answers beside wrong ones.
"""

from types import SimpleNamespace

import pytest
import torch

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.config import StepChoice
from assay.artifacts.steps.file import open_step_parser
from assay.artifacts.steps.folder import StepFolder, read_step, read_step_groups
from assay.audit.provenance.consumed import replay_group
from assay.audit.provenance.reexecution import reexecute
from assay.environments.registry import open_environment
from assay.inference.checkpoint import load_checkpoint
from assay.network.store.folder import open_folder
from assay.neurons.miner.miner import Miner
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.trainer.setup import TrainerConfig
from assay.neurons.trainer.trainer import Trainer
from assay.protocol.amendment import ParameterHistory
from assay.protocol.beacon import QUICKNET
from assay.protocol.parameters import DEMO_TIMING
from assay.protocol.reason import Reason
from assay.subnet.genesis_checkpoint import make_genesis
from assay.subnet.presets import change_parameters, make_demo_parameters
from assay.training import GENESIS, LearnConfig
from assay.training.first_turns import teach_first_turns
from tests.adversarial.trainer_bench import Calls, RecordedChain
from tests.audit.audited import EPOCHS, HOTKEYS, LOCATOR, play_network, read_window

pytestmark = pytest.mark.slow

TOKENS, STEPS, GROUPS = 48, 200, 6
SUMS, WORDS = 1_001, 2_001
CHANGES = {
    "environment": {
        "name": "mix",
        "settings": {"arithmetic": 1, "gsm": 1, "arithmetic.tool": 1},
        # a sum alone: the model has learnt no words
        "prompts": [{"part": "arithmetic", "texts": [{"name": "after", "text": ""}], "shots": []}],
    },
    "rewards": {"correctness_weight": 10**6, "quality_weight": 0},
    "work": {
        "group_size": 3,
        "audited_rollouts": 2,
        "valued_groups": 1,
        "sampled_rollouts": 1,
        "max_tokens": TOKENS,
        "turns": 3,
        "context": 512,
        "reply_bytes": 64,
        "paid_reply": 4_000,
    },
}
LEARNING = LearnConfig(epochs=1, groups_per_batch=8)
CHOICE = StepChoice(local_groups=12)


def call_half_of_the_time(problem, stream):
    if stream.draw_below(2):
        yield f"#### {sum(problem.answer.problem.answer.values)}"
        return
    reply = yield "calculator: 1+1"
    yield f"#### {reply.rstrip()}"


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("calling")
    made = change_parameters(
        make_demo_parameters(bytes(32), QUICKNET, 0, bytes(32), bytes(32)), CHANGES
    )
    environment, shipped = open_environment(made.environment), load_checkpoint(GENESIS)
    args = environment, SUMS, made.work, folder / "genesis", call_half_of_the_time, STEPS
    teach_first_turns(shipped, *args)
    make_genesis(folder / "genesis", TOKENS, environment, (SUMS, WORDS), work=made.work, problems=8)
    return play_network(
        folder / "network",
        first=load_checkpoint(folder / "genesis"),
        miners={"alice": Miner},
        groups=GROUPS,
        windows=range(1),
        epochs=EPOCHS[:1],
        environment=made.environment,
        rewards=made.rewards,
        work=made.work,
    )


@pytest.fixture(scope="module")
def course(network, tmp_path_factory):
    """A trainer's folder, with its step of the window."""
    folder = tmp_path_factory.mktemp("course")
    models = CheckpointFolder(folder / "models")
    genesis = network.parameters.identity.genesis_checkpoint
    models.add(CheckpointFolder(network.models).get(genesis).folder, genesis)
    chain = RecordedChain(network.chain, HOTKEYS["trainer"], Calls())
    stores = {LOCATOR: open_folder(network.folder / "store")}
    lessons = []
    trainer = Trainer(
        HOTKEYS["trainer"],
        ParameterHistory(network.parameters),
        JudgeSources(chain, network.beacons, models, stores),
        TrainerConfig(
            LEARNING, LOCATOR, last_window=0, steps=StepFolder(folder / "steps"), choice=CHOICE
        ),
        lessons.append,
        lambda line: None,
    )
    trainer.step()  # at block 0
    for chain.head in range(DEMO_TIMING.verdict_end + 2, network.chain.get_head()):
        while not lessons and trainer.step():
            assert trainer.trouble is None
    assert len(lessons) == 1
    return SimpleNamespace(folder=folder, models=models, lesson=lessons[0])


def read_course(course):
    (path,) = (course.folder / "steps").glob("step-*.json")
    step = read_step(path)
    with open_step_parser() as parser:
        return step, read_step_groups(step, parser)


def test_its_miner_is_paid_and_audited(network, tmp_path):
    rows = {row.hotkey: row for row in read_window(network.records, 0).members}
    assert rows[HOTKEYS["alice"]].reason is Reason.ACCEPTED
    assert network.export(tmp_path / "bundle").matched


def test_its_trainer_learns_from_both_parts_and_anyone_repeats_the_step(network, course):
    step, taken = read_course(course)
    checkpoint = course.models.get(network.parameters.identity.genesis_checkpoint)
    turns = {1: [], 2: []}
    for one in taken:
        problem, rollouts = replay_group(one, network.parameters, checkpoint)
        turns[problem.level // 1_000] += [episode.turns for episode, _ in rollouts]
    assert set(turns[2]) == {1}  # gsm has no tool
    assert sum(count > 1 for count in turns[1]) > len(turns[1]) // 8
    assert {one.hotkey for one in taken} == {HOTKEYS["alice"], HOTKEYS["trainer"]}
    finding = reexecute(step, course.models)
    assert (finding.equal, finding.tensor) == (True, None)
