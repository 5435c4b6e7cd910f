"""A trainer that publishes another model than its step makes, and tampered files of its data."""

import itertools
import json
import math
import shutil
from dataclasses import replace
from hashlib import sha256

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from assay.artifacts.checkpoints.adapter import ADAPTER_PATH, name_adapter, read_adapter
from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.artifacts.steps.config import StepChoice, StepConfig, encode_config
from assay.artifacts.steps.delay import Tally
from assay.artifacts.steps.examples import keep_examples, read_examples
from assay.artifacts.steps.file import open_step_parser, write_groups
from assay.artifacts.steps.folder import (
    StepError,
    StepFolder,
    compute_root_of,
    parse_config,
    read_spare,
    read_step,
    read_step_groups,
)
from assay.artifacts.steps.groups import (
    OWN_TRIES,
    choose_external,
    compute_rank,
    count_teaching,
    generate_own,
)
from assay.artifacts.steps.plan import StepInputs, plan_step
from assay.artifacts.steps.pool import DrawnBy
from assay.artifacts.steps.replay import EarlierStep, choose_replays, count_replays
from assay.audit.provenance.choice import find_false_choice, plan_again
from assay.audit.provenance.consumed import find_disorder, verify_provenance
from assay.audit.provenance.reexecution import reexecute
from assay.audit.provenance.step_export import ExportError, export_steps
from assay.cli.app import app
from assay.environments.base import ask
from assay.environments.problem_file import get_known_files
from assay.inference.folder import MANIFEST_FILE, CheckpointError, digest_tensors
from assay.network.files import write_json
from assay.network.store.folder import open_folder
from assay.neurons.trainer.lessons import WindowReading
from assay.neurons.trainer.setup import TrainerConfig
from assay.neurons.trainer.trainer import Trainer
from assay.protocol.amendment import ParameterHistory
from assay.protocol.encoding import to_json
from assay.protocol.reason import Reason
from assay.protocol.ss58 import encode_ss58
from assay.protocol.step import StepLeftOut
from assay.settings.learning import read_config
from assay.training import (
    Cispo,
    Dppo,
    Grpo,
    Gspo,
    Icepop,
    LearnConfig,
    Schedule,
    compute_advantages,
)
from assay.training.grpo import LOSSES
from assay.training.rows.reader import READER
from tests.adversarial.conftest import open_models
from tests.adversarial.trainer_bench import Calls, RecordedChain

LEARNING = LearnConfig(epochs=1, groups_per_batch=8, learning_rate=1e-3, seed=5)


def train(world, folder, **changes):
    """The world's two windows, learned from."""
    lessons, said = [], []
    counts = {
        name: changes.pop(name) for name in ("local_groups", "external_groups") if name in changes
    }
    config = TrainerConfig(
        changes.pop("learning", LEARNING),
        "test:trainer",
        last_window=1,
        choice=replace(changes.pop("choice", StepChoice()), **counts),
        steps=StepFolder(folder / "steps", changes.pop("kept", 5), changes.pop("spare", 0)),
        **changes,
    )
    chain = RecordedChain(world.chain, world.hotkeys["trainer"], Calls())
    models = open_models(folder / "models", world.checkpoint)
    sources = replace(world.sources, chain=chain, checkpoints=models)
    trainer = Trainer(
        world.hotkeys["trainer"],
        ParameterHistory(world.parameters),
        sources,
        config,
        lessons.append,
        said.append,
    )
    trainer.step()  # at block 0
    chain.head = world.chain.get_head()
    while trainer.window != 2:
        trainer.step()
        assert trainer.trouble is None
    return lessons, said


@pytest.fixture(scope="module", autouse=True)
def _judged_once():
    """Every training run here learns from the world's two windows: their files are judged once."""
    judge, judged = WindowReading.judge, {}

    def judge_once(reading, hotkey, checkpoint, sources):
        key = reading.context.window, hotkey, checkpoint.digest
        if key not in judged:
            alone = WindowReading(reading.context, [])
            judge(alone, hotkey, checkpoint, sources)
            assert alone.groups
            judged[key] = alone.groups
        reading.groups += judged[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WindowReading, "judge", judge_once)
        yield


@pytest.fixture
def course(taught, tmp_path):
    """A copy to spoil."""
    shutil.copytree(taught, tmp_path / "course")
    return tmp_path / "course"


def get_steps(course):
    return sorted((course / "steps").glob("step-*.json"))


def verify(course, number=2):
    step = read_step(get_steps(course)[number - 1])
    return reexecute(step, CheckpointFolder(course / "models"))


def invoke(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.mark.parametrize("number", [1, 2])
def test_an_honest_step_is_equal(taught, number):
    assert len(list((taught / "steps").glob("*.before.safetensors"))) == 2
    finding = verify(taught, number)
    assert (finding.equal, finding.tensor, finding.remarks) == (True, None, ())


def test_the_record_is_bound_to_chain_and_checkpoint(taught, world):
    records = [read_step(path).record for path in get_steps(taught)]
    first, second = records
    manifests = {
        step.child: CheckpointFolder(taught / "models").get(step.child).manifest
        for step in map(read_step, get_steps(taught))
    }
    for step in map(read_step, get_steps(taught)):
        assert manifests[step.child].step == step.record.digest
        assert manifests[step.child].tensors == step.record.tensors
    assert first.parent == world.checkpoint.digest
    assert second.optimiser_before == first.optimiser_after
    for record in records:
        committed = world.contexts[record.window].commitments
        assert {s.hotkey: (s.root, s.groups) for s in record.sources} == {
            world.hotkeys[name]: (
                committed[world.hotkeys[name]].root,
                committed[world.hotkeys[name]].groups,
            )
            for name in ("alice", "bob")
        }


def test_a_checkpoint_with_other_weights_is_named_by_its_tensor(course, world):
    """A trainer that publishes what its data did not teach, manifest and all."""
    step = read_step(get_steps(course)[1])
    checkpoints = CheckpointFolder(course / "models")
    honest = checkpoints.get(step.child)
    weights = {n: w.to(torch.bfloat16) for n, w in honest.model.state_dict().items()}
    name = "model.layers.1.mlp.up_proj.weight"
    weights[name] = weights[name].clone()
    weights[name][0, 0] += 1.0
    parent = checkpoints.get(step.record.parent)
    forged = checkpoints.publish(parent, weights, step.record.digest)
    value = json.loads(step.path.read_text())
    value["child"] = forged.digest.hex()
    step.path.write_text(json.dumps(value))
    finding = verify(course)
    assert (finding.equal, finding.tensor) == (False, name)
    result = invoke("train", "verify-step", step.path, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["tensor"] == name


def test_a_record_that_lies_about_its_settings(course):
    """Digest and all are put right; the data do not lead to the weights."""
    step = read_step(get_steps(course)[0])
    config = step.record.config.replace('"learning_rate":0.001', '"learning_rate":0.002')
    assert config != step.record.config
    lie = replace(step, record=replace(step.record, config=config))
    finding = reexecute(lie, CheckpointFolder(course / "models"))
    assert not finding.equal
    assert "another step record" in finding.detail  # than the checkpoint's manifest has
    shutil.rmtree(course / "models" / step.child.hex())
    finding = reexecute(lie, CheckpointFolder(course / "models"))
    assert not finding.equal
    assert "root differs" in finding.detail


def test_without_the_made_checkpoint_the_record_decides(course):
    shutil.rmtree(course / "models" / read_step(get_steps(course)[1]).child.hex())
    finding = verify(course)
    assert finding.equal
    assert "is missing" in finding.detail


def spoil_state(course, step):
    path = step.path.with_suffix(".before.safetensors")
    state = load_file(path)
    name = next(name for name in state if name.endswith("exp_avg"))
    save_file(state | {name: state[name] + 1}, path)
    return "not what the record says"


def lose_state(course, step):
    step.path.with_suffix(".before.safetensors").unlink()
    return "not kept here"


def spoil_data(course, step):
    path = step.path.with_suffix(".parquet")
    table = pq.read_table(path)
    rewards = table.column("reward").to_pylist()
    rewards[0] ^= 1
    at = table.schema.get_field_index("reward")
    field = table.schema.field(at)
    pq.write_table(table.set_column(at, field, pa.array(rewards, field.type)), path)
    return "not what the step consumed"


def cut_data(course, step):
    path = step.path.with_suffix(".parquet")
    path.write_bytes(path.read_bytes()[:-100])
    return "cannot be read"


def lose_parent(course, step):
    shutil.rmtree(course / "models" / step.record.parent.hex())
    return "cannot read"


def spoil_record(course, step):
    step.path.write_text(step.path.read_text().replace('"threads": 1', '"threads": 2'))
    return "another digest"


@pytest.mark.parametrize(
    "spoil", [spoil_state, lose_state, spoil_data, cut_data, lose_parent, spoil_record]
)
def test_a_step_that_cannot_be_repeated_is_no_verdict(course, spoil):
    step = read_step(get_steps(course)[1])
    expected = spoil(course, step)
    with pytest.raises((StepError, CheckpointError), match=expected):
        verify(course)
    result = invoke("train", "verify-step", step.path)
    assert result.exit_code == 2


def test_a_damaged_checkpoint_is_never_called_equal(course):
    """Passed over as if it were not here, its step was equal whatever lay in its folder."""
    step = read_step(get_steps(course)[1])
    path = course / "models" / step.child.hex() / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.unlink()
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="not those of its manifest"):
        verify(course)


@pytest.mark.parametrize("threads", [0, 2**32 - 1])
def test_a_record_that_asks_for_any_number_of_threads(taught, threads):
    step = read_step(get_steps(taught)[0])
    lie = replace(step, record=replace(step.record, threads=threads))
    with pytest.raises(StepError, match="threads"):
        reexecute(lie, CheckpointFolder(taught / "models"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 10**9),
        ("epochs", "1"),
        ("epochs", 0),
        ("groups_per_batch", 0),
        ("tokens_per_pass", -1),
        ("learning_rate", float("nan")),
        ("lora_rank", 10**6),
        ("betas", [0.9]),
        ("betas", [2, 2]),
        ("seed", -1),
        ("scaled", 1),
        ("refill", 1),
        ("sft_weight", 0.5),
        ("sft_sha256", "../x"),
        ("sft_batch", 10**6),
        ("sft_reader", 2),
        ("sft_reader", "1"),
        ("replay_share", 1.0),
        ("replay_staleness", 0),
        ("proposal_tries", -1),
        ("proposal_tries", True),
        ("external_groups", 1.0),
        ("local_groups", None),
        ("from_genesis", "yes"),
        ("schedule", {"schedule": "wsd", "schedule_steps": 5}),
        ("schedule", {"warmup_steps": -1}),
        ("step", -1),
        ("step", 1 << 30),
        ("step", 0.5),
        ("loss", {"level": "group"}),
        ("loss", {"name": "ppo"}),
        ("loss", {"name": "grpo", "anchor": "step", "stale_cap": 0.5}),
        ("loss", {"name": "grpo", "anchor": "step", "stale_cap": math.inf}),
        ("loss", {"name": "grpo", "anchor": "step", "stale_weight": "prefix"}),
        ("loss", {"name": "grpo", "anchor": "parent"}),
        ("loss", {"name": "cispo", "high": math.nan}),
        ("loss", {"name": "dppo", "cap": math.inf}),
    ],
)
def test_settings_that_no_trainer_has(taught, name, value):
    """A stranger's settings would have us work for ever, or die of them."""
    step = read_step(get_steps(taught)[0])
    config = json.dumps(json.loads(step.record.config) | {name: value})
    with pytest.raises(StepError, match="not a learner's"):
        read_config(replace(step.record, config=config))
    with pytest.raises(StepError, match="not a learner's"):
        read_config(replace(step.record, config="[" * 100_000))


def write_taken(step, taken):
    """Groups of a trainer's own making, and the record that goes with them."""
    write_groups(step.path.with_suffix(".parquet"), taken)
    root = compute_root_of(taken, step.record.window, step.record.parent)
    return replace(step, record=replace(step.record, consumed=root, groups=len(taken)))


def test_a_reward_that_the_environment_never_gave(course):
    """A trainer that teaches arbitrary behaviour: its record is consistent, its rewards are made
    up."""
    step = read_step(get_steps(course)[0])
    taken = read_step_groups(step)
    taken[3].group.rewards[1] ^= 1
    finding = reexecute(write_taken(step, taken), CheckpointFolder(course / "models"))
    assert (finding.equal, finding.tensor) == (False, None)
    assert "group 3: rollout 1's reward is not what the parameters give" in finding.detail


def test_a_token_beyond_the_vocabulary(course):
    step = read_step(get_steps(course)[0])
    taken = read_step_groups(step)
    taken[0].group.completions[0][0] = 2**32 - 1
    finding = reexecute(write_taken(step, taken), CheckpointFolder(course / "models"))
    assert "can never be drawn" in finding.detail


def test_own_groups_that_the_parent_never_generated(world, tmp_path):
    """Nobody else judges them: junk that is called the trainer's own is named."""
    train(world, tmp_path, local_groups=2, external_groups=1)
    step = read_step(get_steps(tmp_path)[0])
    taken = read_step_groups(step)
    taken[1].group.behaviour_logprobs[0][0] -= 1.0
    finding = reexecute(write_taken(step, taken), CheckpointFolder(tmp_path / "models"))
    assert not finding.equal
    assert "group 0: not what the parent generates" in finding.detail


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"window": 7}, "record's window"),
        ({"proof": bytes(32)}, "other submissions"),
        ({"problem_seed": bytes(32)}, "makes another prompt"),
        ({"levels": (1,)}, "another prompt"),
        ({"levels": (99,)}, "not legal"),
        ({"levels": ()}, "not empty"),
    ],
)
def test_unbound_values_are_compared_with_bound_ones(course, tmp_path, change, said):
    """Seed, levels, window and proof: else a store could sell its own texts as the prompts."""
    step = read_step(get_steps(course)[0])
    taken = read_step_groups(step)
    assert write_taken(step, [replace(taken[0], **change), *taken[1:]]).record == step.record
    with pytest.raises(StepError, match=said):
        verify(course, 1)
    with pytest.raises(StepError, match=said):
        export_steps(course, tmp_path / "set", range(1))


def test_sources_that_nothing_was_learned_from(course):
    step = read_step(get_steps(course)[0])
    sources = tuple(replace(source, root=bytes(32)) for source in step.record.sources)
    lie = replace(step, record=replace(step.record, sources=sources))
    with pytest.raises(StepError, match="other submissions"):
        reexecute(lie, CheckpointFolder(course / "models"))


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (lambda taken: [taken[0]], "that it names as left out"),
        (lambda taken: [(taken[0][0], 9_002), (taken[0][0], 9_001)], "not in order"),
        (lambda taken: [(taken[0][0], 9_000 + i) for i in range(65)], "too many groups"),
    ],
)
def test_groups_that_no_step_can_have_left_out(taught, places, said):
    step = read_step(get_steps(taught)[0])
    taken = [(one.hotkey, one.index) for one in read_step_groups(step)]
    left_out = (StepLeftOut(*place, Reason.SAMPLING_MISMATCH) for place in places(taken))
    lie = replace(step, record=replace(step.record, left_out=tuple(left_out)))
    with pytest.raises(StepError, match=said):
        verify_provenance(lie.record, read_step_groups(step), b"")


def test_only_the_last_states_are_kept(world, tmp_path):
    train(world, tmp_path, kept=1)
    assert verify(tmp_path, 2).equal
    assert verify(tmp_path, 1).equal  # it began with the genesis' own weights and no moments
    assert len(list((tmp_path / "steps").glob("*.before.safetensors"))) == 1


@pytest.mark.parametrize(
    "command", [("train", "verify-step", "none"), ("export", "--dir", ".", "--out", "none")]
)
def test_both_find_the_networks_files_of_problems(tmp_path, monkeypatch, command):
    """Without them no step of a network that asks `gsm:SHA256` can be verified or exported."""
    monkeypatch.setattr("assay.environments.problem_file._known", {})
    (tmp_path / "rules.toml").write_text(f'environments.files = ["{tmp_path / "train.jsonl"}"]\n')
    (tmp_path / "train.jsonl").write_text('{"question": "How many?", "answer": "#### 1"}')
    (tmp_path / "none").write_text("{}")
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / "step-0.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert invoke(*command, "--config", tmp_path / "rules.toml").exit_code == 2  # no step
    assert get_known_files() == (tmp_path / "train.jsonl",)


# --- mixing and staleness


def test_own_groups_beside_the_miners(world, tmp_path):
    lessons, _ = train(world, tmp_path, local_groups=3, external_groups=4)
    assert [len(lesson.rewards) for lesson in lessons] == [7, 7]
    assert abs(lessons[0].stats.mean_ratio - 1) < 0.05
    step = read_step(get_steps(tmp_path)[1])
    taken = read_step_groups(step)
    own = [one for one in taken if one.hotkey == world.hotkeys["trainer"]]
    assert [one.index for one in own] == [0, 1, 2]
    assert {one.checkpoint for one in own} == {step.record.parent}  # the newest, on policy
    assert sum(source.groups for source in step.record.sources) == 4
    assert verify(tmp_path, 2).equal
    again = generate_own(
        CheckpointFolder(tmp_path / "models").get(step.record.parent), world.parameters, 3, 1
    )
    assert again == own


def test_the_choice_among_the_miners_is_nobodys(taught):
    taken = read_step_groups(read_step(get_steps(taught)[0]))
    chosen = choose_external(taken, 4, bytes(32))
    assert sum(one.group.teaches for one in chosen) == 4
    assert chosen == [one for one in taken if one in chosen]  # in their order
    assert chosen == choose_external([one for one in taken if one in chosen], 4, bytes(32))
    assert chosen != choose_external(taken, 4, b"1" * 32)
    assert choose_external(taken, 99, bytes(32)) == taken
    assert choose_external(taken, 0, bytes(32)) == []


def test_spare_groups_take_the_place_of_those_without_a_signal(taught):
    taken = read_step_groups(read_step(get_steps(taught)[0]))
    seed = bytes(32)
    ranked = sorted(taken, key=lambda one: compute_rank(seed, one.hotkey, one.index))
    group = ranked[0].group
    silent = replace(group, rewards=[0] * len(group.rewards))
    differing = replace(group, rewards=[10**6, *silent.rewards[1:]])
    signals = [differing, silent, silent, differing, differing]
    few = [replace(one, group=given) for one, given in zip(ranked, signals, strict=False)]
    assert len(few) == len(signals)
    assert choose_external(few[::-1], 1, seed) == few[:1]
    assert (
        choose_external(few[::-1], 2, seed) == few[3::-1]
    )  # two that are silent are consumed, too
    assert choose_external(few[::-1], 4, seed) == few[::-1]  # no spare ones are left


def test_a_refilled_step_takes_whole_updates(taught, world):
    """The miners' spare groups come first."""
    taken = read_step_groups(read_step(get_steps(taught)[0]))
    window = world.contexts[0]
    assert count_teaching(taken) >= 4
    models = CheckpointFolder(taught / "models")
    tally = Tally(world.parameters, DrawnBy(world.parameters, world.checkpoint, models))

    def plan(refill, own=0):
        learning = replace(LEARNING, refill=refill, groups_per_batch=4)
        config = StepConfig(learning, StepChoice(external_groups=3, local_groups=own))
        given = world.checkpoint, window.window, window.audit_seed, config, taken
        return plan_step(StepInputs(*given), tally)

    assert plan(True).fresh == tuple(choose_external(taken, 4, window.audit_seed))
    plain = plan(False)
    assert plain.fresh == tuple(choose_external(taken, 3, window.audit_seed))
    left = [one for one in taken if one not in plain.fresh]
    assert plain.spares == tuple(one for one in left if one.teaches) != ()
    assert (plain.earlier, plain.named, plain.own.count) == ([], None, 0)
    assert plain.levels == world.checkpoint.manifest.levels
    for own in (1, 2, 3):
        planned = plan(True, own)
        assert (planned.own.wanted + count_teaching(planned.fresh)) % 4 == 0
        assert own <= planned.own.wanted < own + 4
        assert (plan(False, own).own.count, plan(False, own).own.wanted) == (own, None)


def test_dead_groups_of_the_trainer_s_own_are_refilled(world, tmp_path):
    """As in DAPO, more are drawn until the update is full. Whoever repeats the step draws as
    many."""
    learning = replace(LEARNING, refill=True, groups_per_batch=6)
    lessons, _ = train(world, tmp_path, learning=learning, local_groups=4, external_groups=1)
    assert verify(tmp_path, 1).equal
    assert verify(tmp_path, 2).equal
    for lesson, path in zip(lessons, get_steps(tmp_path), strict=True):
        taken = read_step_groups(read_step(path))
        own = [one for one in taken if one.hotkey == world.hotkeys["trainer"]]
        assert [one.index for one in own] == list(range(len(own)))
        full = count_teaching(taken) % 6 == 0 and own[-1].group.teaches
        assert full or len(own) == 4 * OWN_TRIES
        assert count_teaching(own) >= 4 or len(own) == 4 * OWN_TRIES
        assert lesson.stats.updates == 1
    step = read_step(get_steps(tmp_path)[0])
    taken = read_step_groups(step)
    taken[-1].group.behaviour_logprobs[0][0] -= 1.0
    finding = reexecute(write_taken(step, taken), CheckpointFolder(tmp_path / "models"))
    assert "not what the parent generates" in finding.detail


REPLAY = StepChoice(replay_share=0.5, replay_staleness=1)


@pytest.fixture(scope="module")
def replayed(world, tmp_path_factory):
    """The second step learns from groups of the first window again, and from some that the first
    left over."""
    folder = tmp_path_factory.mktemp("replayed")
    lessons, _ = train(world, folder, choice=REPLAY, external_groups=3, spare=2)
    assert [lesson.replayed for lesson in lessons] == [0, 3]
    assert [lesson.stats.groups - len(lesson.rewards) for lesson in lessons] == [0, 3]
    return folder


def copy_alone(replayed, folder):
    """The second step with its own files alone, and the parameters and checkpoints."""
    shutil.copytree(replayed / "models", folder / "models")
    shutil.copytree(replayed / "steps" / "rules", folder / "steps" / "rules")
    for path in (replayed / "steps").glob(f"{get_steps(replayed)[1].stem}*"):
        shutil.copy(path, folder / "steps")
    return read_step(get_steps(folder)[0])


def pick_replays(step):
    return [one for one in read_step_groups(step) if one.window != step.record.window]


def test_replayed_groups_are_named_with_their_step(replayed, world):
    first, second = (read_step(path) for path in get_steps(replayed))
    assert first.record.replayed is None
    named = second.record.replayed
    assert {(one.step, one.number, one.window) for one in named} == {(first.record.digest, 1, 0)}
    commitments = world.contexts[0].commitments
    assert all(one.root == commitments[one.hotkey].root for one in named)
    replays = pick_replays(second)
    assert read_step_groups(second)[-3:] == replays  # behind all others
    assert sum(one.groups for one in named) == len(replays) == 3
    assert all(one.group.teaches for one in replays)
    assert {one.checkpoint for one in replays} == {world.checkpoint.digest}


def test_the_plan_of_an_honest_step_s_groups_is_that_step(replayed, world):
    """Whether or not its window's seed is known: so what an audit's plan takes out is false."""
    step, models = read_step(get_steps(replayed)[1]), CheckpointFolder(replayed / "models")
    taken, record = read_step_groups(step), step.record
    parent, fresh = models.get(record.parent), [one for one in taken if one.window == 1]
    (source,) = {(one.step, one.number) for one in record.replayed}
    config = StepConfig(LEARNING, replace(REPLAY, external_groups=3))
    tally = Tally(world.parameters, DrawnBy(world.parameters, parent, models))
    for seed in (world.contexts[1].audit_seed, None):
        inputs = StepInputs(parent, 1, seed, config, fresh, [EarlierStep(*source, taken[-3:])])
        plan = plan_step(inputs, tally)
        assert [*plan.fresh, *plan.earlier] == taken
        assert (plan.named, plan.spares, plan.changes(parent)) == (record.replayed, (), False)


CHOICES = st.builds(
    StepChoice,
    replay_share=st.sampled_from([0.0, 0.1, 0.5, 0.9]),
    external_groups=st.none() | st.integers(0, 6),
    local_groups=st.integers(0, 3),
)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_an_audit_plans_whatever_a_trainer_has_planned(replayed, world, data):
    """From the groups that the plan took, and the record, without seed and all that was there."""
    step, models = read_step(get_steps(replayed)[1]), CheckpointFolder(replayed / "models")
    known, parent = read_step_groups(step), models.get(step.record.parent)
    (source,) = {(one.step, one.number) for one in step.record.replayed}
    tally = Tally(world.parameters, DrawnBy(world.parameters, parent, models))
    learning = replace(
        LEARNING, refill=data.draw(st.booleans()), groups_per_batch=data.draw(st.integers(1, 5))
    )
    config = StepConfig(learning, data.draw(CHOICES))

    def draw(window):
        """Groups of a window, each once, with and without a signal."""
        places = st.tuples(st.sampled_from("ab"), st.integers(0, 4))
        found = []
        for name, index in data.draw(st.lists(places, unique=True, max_size=8)):
            group = known[index % len(known)].group
            rewards = [10**6 * data.draw(st.booleans()), *[0] * (len(group.rewards) - 1)]
            changed = replace(group, rewards=rewards)
            given = {"window": window, "hotkey": name.encode() * 32, "index": index}
            found.append(replace(known[0], group=changed, proof=name.encode() * 32, **given))
        return found

    seed = data.draw(st.binary(min_size=32, max_size=32))
    earlier = [EarlierStep(*source, draw(0))]
    plan = plan_step(StepInputs(parent, 1, seed, config, draw(1), earlier), tally)
    taken = [*plan.fresh, *plan.earlier]
    record = replace(step.record, config=encode_config(config), replayed=plan.named)
    again = plan_again(replace(step, record=record), taken, parent, None, tally)
    assert ([*again.fresh, *again.earlier], again.named) == (taken, plan.named)
    assert find_false_choice(record, taken, again, parent, tally) is None
    assert find_disorder(record, taken, world.hotkeys["trainer"]) is None


def test_replayed_groups_are_those_of_the_lowest_ranks(replayed, world):
    """Among all that the first window's files had: consumed ones are as they were."""
    first, second = (read_step(path) for path in get_steps(replayed))
    with open_step_parser() as parser:
        spare = read_spare(first, parser)
    consumed = [one for one in read_step_groups(first) if one.group.teaches]
    assert spare
    assert not [one for one in spare if one in consumed or not one.group.teaches]
    pool = EarlierStep(first.record.digest, 1, [*consumed, *spare])
    seed = world.contexts[1].audit_seed
    assert choose_replays([pool], 3, seed) == pick_replays(second)
    ranked = [choose_replays([pool], count, seed) for count in range(len(pool.groups) + 1)]
    assert all(set(map(id, a)) < set(map(id, b)) for a, b in itertools.pairwise(ranked))


@pytest.mark.parametrize(
    ("fresh", "share", "most"), [(9, 0.1, 1), (8, 0.1, 0), (3, 0.5, 3), (1, 0.9, 9), (5, 0.0, 0)]
)
def test_replays_are_at_most_their_share(fresh, share, most):
    assert count_replays(fresh, share) == most


def test_a_step_with_replays_is_equal_from_its_own_files_alone(replayed, tmp_path):
    assert verify(replayed, 2).equal
    step = copy_alone(replayed, tmp_path)
    assert reexecute(step, CheckpointFolder(tmp_path / "models")).equal


def test_older_groups_need_no_checkpoint_that_drew_them(world, tmp_path):
    """What is older follows from digests: a trainer on another machine, or one that replays from
    farther back than it keeps outlines, has none of them. Whoever repeats its step has none, too,
    and the anchor of these groups is part of what the step makes."""
    learning = replace(LEARNING, anchor="step", epochs=2)
    lessons, _ = train(world, tmp_path / "whole", learning=learning, choice=REPLAY)
    stats = lessons[1].stats
    assert [(one["age"], one["ess"]) for one in stats.stale_ages] == [(1, stats.stale_ess)]

    def forget(checkpoints, digest):
        raise CheckpointError(f"checkpoint {digest.hex()[:16]}… is missing")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CheckpointFolder, "get_outline", forget)
        patch.setattr(CheckpointFolder, "read_number", lambda checkpoints, digest: None)
        lessons, _ = train(world, tmp_path / "without", learning=learning, choice=REPLAY)
        assert lessons[1].stats == replace(stats, stale_ages=[])
        assert verify(tmp_path / "without", 2).equal
    whole, without = (read_step(get_steps(tmp_path / n)[1]) for n in ("whole", "without"))
    assert whole.record == without.record
    assert whole.record.replayed
    settings = json.loads(whole.record.config)
    assert settings["loss"].pop("anchor") == "step"
    lie = replace(whole, record=replace(whole.record, config=json.dumps(settings)))
    shutil.rmtree(tmp_path / "whole" / "models" / whole.child.hex())
    finding = reexecute(lie, CheckpointFolder(tmp_path / "whole" / "models"))
    assert "root differs" in finding.detail


def test_a_record_that_names_an_anchor_over_a_step_without_one(world, tmp_path):
    """Older rollouts were learned from as today's, and the record says that they were anchored."""
    learning = replace(LEARNING, epochs=2)
    lessons, _ = train(world, tmp_path, learning=learning, choice=REPLAY)
    assert lessons[1].stats.stale_ages == []
    assert verify(tmp_path, 2).equal
    step = read_step(get_steps(tmp_path)[1])
    shutil.rmtree(tmp_path / "models" / step.child.hex())
    settings = json.loads(step.record.config)
    for weight in ("sequence", "token", "none"):
        settings["loss"] |= {"anchor": "step", "stale_weight": weight, "stale_cap": 3.0}
        lie = replace(step, record=replace(step.record, config=json.dumps(settings)))
        assert read_config(lie.record).learning.stale_weight == weight
        finding = reexecute(lie, CheckpointFolder(tmp_path / "models"))
        assert "root differs" in finding.detail


def test_a_false_replayed_row_is_named(replayed, tmp_path):
    step = copy_alone(replayed, tmp_path)
    taken = read_step_groups(step)
    taken[-1].group.rewards[0] ^= 1
    finding = reexecute(write_taken(step, taken), CheckpointFolder(tmp_path / "models"))
    named = f"window 0, {encode_ss58(taken[-1].hotkey)}, group {taken[-1].index}"
    assert finding.detail == f"{named}: rollout 0's reward is not what the parameters give"


def test_a_replayed_row_that_its_own_step_had_otherwise_is_named(world, tmp_path):
    """Its log-probabilities are made up, which no environment shows."""
    train(world, tmp_path, choice=REPLAY)  # from all groups: none is left over
    step = read_step(get_steps(tmp_path)[1])
    taken = read_step_groups(step)
    lie = taken[-1]
    assert lie.window == 0
    lie.group.behaviour_logprobs[0][0] -= 1.0
    finding = reexecute(write_taken(step, taken), CheckpointFolder(tmp_path / "models"))
    assert f"group {lie.index}: not as step 1 has learned from it" in finding.detail


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"replay_share": 0.4}, "beyond the share to replay, 2 groups"),
        ({"replay_share": 0.0}, "beyond the share to replay, 0 groups"),
    ],
)
def test_more_replays_than_the_settings_allow(replayed, settings, said):
    step = read_step(get_steps(replayed)[1])
    config = json.dumps(json.loads(step.record.config) | settings)
    lie = replace(step, record=replace(step.record, config=config))
    assert said in reexecute(lie, CheckpointFolder(replayed / "models")).detail


def test_replays_of_a_step_that_is_too_far_behind(replayed, tmp_path):
    step = copy_alone(replayed, tmp_path)
    named = tuple(replace(one, number=0) for one in step.record.replayed)
    lie = replace(step, record=replace(step.record, replayed=named))
    found = reexecute(lie, CheckpointFolder(tmp_path / "models"))
    assert "replayed 2 steps behind, which is too late" in found.detail


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"window": 1}, "other submissions"),
        ({"root": bytes(32)}, "other submissions"),
        ({"groups": 9}, "other submissions"),
        ({"number": 2}, "not of a step before"),
        (None, "record's window"),
    ],
)
def test_replays_that_their_record_does_not_name(replayed, change, said):
    step = read_step(get_steps(replayed)[1])
    named = change and tuple(replace(one, **change) for one in step.record.replayed)
    lie = replace(step.record, replayed=named)
    with pytest.raises(StepError, match=said):
        verify_provenance(lie, read_step_groups(step), b"")


ROWS = [
    {"messages": [{"role": "user", "content": "1+1=?"}, {"role": "assistant", "content": "2"}]},
    {"prompt": "2+2=?", "completion": "4"},
    {"prompt": "3+3=?", "completion": "6"},
]


@pytest.mark.parametrize("reader", [1, READER])
def test_a_step_that_imitates_a_file_is_done_again_with_that_file(world, tmp_path, reader):
    file, other = tmp_path / "said.jsonl", tmp_path / "other.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    other.write_text(json.dumps(ROWS[0]) + "\n")
    digest = keep_examples(tmp_path / "steps", file)
    assert digest == sha256(file.read_bytes()).hexdigest()
    learning = replace(LEARNING, sft_weight=0.5, sft_batch=3)
    choice = StepChoice(sft_sha256=digest, sft_reader=reader)
    lessons, _ = train(world, tmp_path, learning=learning, choice=choice)
    assert lessons[1].stats.sft_loss < lessons[0].stats.sft_loss
    assert verify(tmp_path, 2).equal
    step = read_step(get_steps(tmp_path)[1])
    named = json.loads(step.record.config)
    assert (named["sft_sha256"], named.get("sft_reader", 1)) == (digest, reader)
    lighter = step.record.config.replace('"sft_weight":0.5', '"sft_weight":0.4')
    lie = replace(step, record=replace(step.record, config=lighter))
    without = tmp_path / "without"
    shutil.copytree(tmp_path / "steps", without / "steps")
    shutil.copytree(tmp_path / "models", without / "models")
    shutil.rmtree(without / "models" / step.child.hex())
    assert "root differs" in reexecute(lie, CheckpointFolder(without / "models")).detail
    kept = without / "steps" / "examples" / digest
    kept.write_bytes(other.read_bytes())
    with pytest.raises(StepError, match="damaged"):
        verify(without, 2)
    kept.unlink()
    with pytest.raises(StepError, match=f"{digest}, which is not here: name it with --examples"):
        verify(without, 2)
    path = get_steps(without)[1]
    assert invoke("train", "verify-step", path, "--examples", other).exit_code == 2
    result = invoke("train", "verify-step", path, "--examples", file)
    assert (result.exit_code, result.stdout[:5]) == (0, "EQUAL"), result.output


def test_a_file_without_anything_to_imitate(world, tmp_path):
    file = tmp_path / "said.jsonl"
    file.write_text(json.dumps({"question": "?"}) + "\n")
    digest = keep_examples(tmp_path / "steps", file)
    with pytest.raises(StepError, match="no row to imitate: 1 without messages"):
        read_examples(tmp_path / "steps", StepChoice(sft_sha256=digest), world.checkpoint)


def test_a_table_to_imitate_tells_of_its_other_columns(world, tmp_path):
    file, said = tmp_path / "said.parquet", []
    rows = [{"prompt": "1+1=?", "completion": "2", "difficulty": "low"}]
    pq.write_table(pa.Table.from_pylist(rows), file)
    digest = keep_examples(tmp_path / "steps", file)
    choice = StepChoice(sft_sha256=digest, sft_reader=READER)
    assert len(read_examples(tmp_path / "steps", choice, world.checkpoint, said.append)) == 1
    assert said[-1] == "sft: keys that nothing reads: difficulty 1 times"


def test_sequential_learns_from_the_newest_alone(world, tmp_path):
    """Window 1 was mined under the genesis, too: one checkpoint behind."""
    lessons, said = train(world, tmp_path, staleness=0)
    assert [lesson.window for lesson in lessons] == [0]
    assert "1 checkpoints behind" in said[0]


def test_a_divergence_from_the_genesis_is_done_again(world, tmp_path):
    settings = {"from_genesis": True, "kl_weight": 0.1, "scaled": True, "tokens_per_pass": 300}
    learning = replace(LEARNING, loss=Gspo(), **settings)
    train(world, tmp_path, learning=learning)
    assert verify(tmp_path, 2).equal


@pytest.mark.parametrize("optimizer", ["adamw8bit", "muon"])
def test_steps_of_another_optimiser_are_done_again(world, tmp_path, optimizer):
    """From the state before the second step, as published. Moments of another are not that."""
    if optimizer == "adamw8bit":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is of the extra `adamw8bit`")
    train(world, tmp_path, learning=replace(LEARNING, optimizer=optimizer))
    assert verify(tmp_path, 2).equal
    step = read_step(get_steps(tmp_path)[1])
    path = step.path.with_suffix(".before.safetensors")
    state = load_file(path)
    kinds = {name.split(".")[0] for name in state}
    assert kinds == {
        "master",
        "step",
        *(("adam8bit",) if optimizer != "muon" else ("adam", "muon")),
    }
    codes = [name for name, tensor in state.items() if tensor.dtype == torch.uint8]
    assert bool(codes) == (optimizer == "adamw8bit")
    config = step.record.config.replace(f'"optimizer":"{optimizer}"', '"optimizer":"adamw"')
    lie = replace(step, record=replace(step.record, config=config))
    with pytest.raises(StepError, match="of another model"):
        reexecute(lie, CheckpointFolder(tmp_path / "models"))
    name = codes[0] if codes else next(n for n in state if n.endswith("momentum_buffer"))
    save_file(state | {name: state[name] + 1}, path)
    with pytest.raises(StepError, match="not what the record says"):
        verify(tmp_path, 2)


#: Each with bounds that the steps below reach.
REACHED = {"cispo": Cispo(0.1), "icepop": Icepop(0.1, 0.1), "dppo": Dppo(0.1, 0.1)}


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ("grpo", "gspo")])
def test_each_loss_is_done_again(world, tmp_path, name):
    """Those two are other tests'."""
    learning = replace(LEARNING, loss=REACHED[name], epochs=2)
    train(world, tmp_path, learning=learning)
    assert verify(tmp_path, 2).equal
    step = read_step(get_steps(tmp_path)[1])
    config = parse_config(step.record)
    other = replace(config, learning=replace(config.learning, loss=Grpo(0.1, 0.1)))
    lie = replace(step, record=replace(step.record, config=encode_config(other)))
    shutil.rmtree(tmp_path / "models" / lie.child.hex())
    assert "root differs" in reexecute(lie, CheckpointFolder(tmp_path / "models")).detail


@pytest.mark.parametrize(("level", "name"), [("token", "grpo"), ("sequence", "gspo")])
def test_an_older_program_s_record_names_a_loss_by_its_level(taught, level, name):
    step = read_step(get_steps(taught)[0])
    settings = json.loads(step.record.config)
    del settings["loss"]["name"], settings["schedule"], settings["step"]
    settings["loss"]["level"] = level
    config = read_config(replace(step.record, config=json.dumps(settings))).learning
    assert config == replace(read_config(step.record).learning, loss=LOSSES[name]())


def test_a_step_in_the_middle_of_a_schedule_is_done_again(world, tmp_path):
    """Its record says where: without the state before it, nobody else knows."""
    learning = replace(LEARNING, schedule=Schedule("cosine", 2, 4))
    lessons, _ = train(world, tmp_path, learning=learning)
    assert [lesson.stats.learning_rate for lesson in lessons] == [0.5e-3, 1e-3]
    steps = [read_step(path) for path in get_steps(tmp_path)]
    assert [json.loads(step.record.config)["step"] for step in steps] == [0, 1]
    assert all(verify(tmp_path, number).equal for number in (1, 2))
    config = steps[1].record.config.replace('"warmup_steps":2', '"warmup_steps":1')
    lie = replace(steps[1], record=replace(steps[1].record, config=config))
    shutil.rmtree(tmp_path / "models" / lie.child.hex())
    assert "root differs" in reexecute(lie, CheckpointFolder(tmp_path / "models")).detail


def test_low_rank_steps_are_done_again(world, tmp_path):
    pytest.importorskip("peft", reason="peft is of the extra `train`")
    learning = replace(LEARNING, lora_rank=4, learning_rate=1e-2)
    lessons, _ = train(world, tmp_path, learning=learning)
    assert verify(tmp_path, 2).equal
    # both checkpoints are changes of the genesis, which all that comes out of them says
    for lesson in lessons:
        folder = tmp_path / "models" / lesson.published.digest.hex()
        assert read_adapter(folder, lesson.published).base == world.checkpoint.digest
        store = open_folder(tmp_path / "store")
        publish_checkpoint(store, folder, lesson.published.digest)
    assert len([name for name in store.list() if name.startswith("tensors/")]) == len(
        {tensor.sha256 for tensor in digest_tensors(world.checkpoint.folder)}
    )


def test_an_adapter_that_the_step_does_not_make(world, tmp_path):
    pytest.importorskip("peft", reason="peft is of the extra `train`")
    learning = replace(LEARNING, lora_rank=4, learning_rate=1e-2)
    lessons, _ = train(world, tmp_path, learning=learning)
    models, honest = tmp_path / "models", lessons[-1].published
    data = bytearray((models / honest.digest.hex() / ADAPTER_PATH).read_bytes())
    data[-2] ^= 1
    manifest = replace(honest, files=name_adapter(honest.files, bytes(data)))
    folder = models / manifest.digest.hex()
    shutil.copytree(models / honest.digest.hex(), folder)
    (folder / ADAPTER_PATH).write_bytes(data)
    write_json(folder / MANIFEST_FILE, to_json(manifest))
    lie = replace(read_step(get_steps(tmp_path)[1]), child=manifest.digest)
    found = reexecute(lie, CheckpointFolder(models))
    assert (found.equal, found.detail) == (False, "the made checkpoint's manifest has other files")


# --- the data set


@pytest.fixture
def exported(taught, tmp_path):
    summary = export_steps(taught, tmp_path / "set", range(10))
    assert (summary.steps, summary.groups, summary.windows) == (2, 20, (0, 1))
    return tmp_path / "set"


def test_the_data_set_is_what_was_learned_from(exported, taught, world):
    rows = [
        row
        for path in sorted((exported / "data").glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]
    taken = [one for path in get_steps(taught) for one in read_step_groups(read_step(path))]
    size = world.parameters.work.group_size
    assert len(rows) == size * len(taken)
    assert {row["hotkey"] for row in rows} == {
        encode_ss58(world.hotkeys[name]) for name in ("alice", "bob")
    }
    for number, row in enumerate(rows):
        one, rollout = taken[number // size], number % size
        work = world.works["alice" if one.hotkey == world.hotkeys["alice"] else "bob", one.window]
        assert row["tokens"] == work.groups[one.index][rollout].tokens.tolist()
        assert world.checkpoint.tokenizer.encode(ask(row["prompt"])) == row["prompt_tokens"]
        advantages = compute_advantages(one.group.rewards)
        assert row["advantage"] == (None if advantages is None else advantages[rollout])
        assert row["reward"] == pytest.approx(
            0.8 * row["correctness"] + 0.2 * row["quality"], abs=1e-6
        )
        assert row["proof"] == world.contexts[one.window].commitments[one.hotkey].root.hex()
    assert any(row["advantage"] for row in rows)


def test_the_datasets_library_loads_it(exported, monkeypatch, tmp_path):
    datasets = pytest.importorskip("datasets", reason="datasets is of the extra `train`")
    loaded = datasets.load_dataset(str(exported), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == 160
    assert {"prompt", "completion", "reward", "proof"} <= set(loaded.column_names)


def test_a_window_alone_and_an_empty_range(taught, tmp_path):
    result = invoke(
        "export", "--dir", taught, "--out", tmp_path / "one", "--windows", "1..1", "--json"
    )
    assert result.exit_code == 0
    assert json.loads(result.stdout)["windows"] == [1, 1]
    assert "window" in (tmp_path / "one" / "README.md").read_text()
    with pytest.raises(ExportError, match="no steps"):
        export_steps(taught, tmp_path / "none", range(7, 9))
    with pytest.raises(ExportError, match="not empty"):
        export_steps(taught, tmp_path / "one", range(10))
    assert (
        invoke("export", "--dir", taught, "--out", tmp_path / "x", "--windows", "9").exit_code == 2
    )


def test_a_reward_that_the_environment_never_gave_is_not_exported(course, tmp_path, monkeypatch):
    """A trainer's own record may have false rewards: the data set has only rewards that can be
    derived."""
    step = read_step(get_steps(course)[0])
    taken = read_step_groups(step)
    taken[0].group.rewards[0] ^= 1
    monkeypatch.setattr("assay.audit.provenance.step_export.read_step_groups", lambda *_: taken)
    with pytest.raises(StepError, match="not what the parameters give"):
        export_steps(course, tmp_path / "set", range(1))
    assert not (tmp_path / "set" / "README.md").exists()
