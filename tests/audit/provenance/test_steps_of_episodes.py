"""A step that learns from episodes of `guess`: its file, what is derived again, and what is learned
and exported of it. Also what else is drawn in turns: held-out problems and a calibration set."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.config import StepConfig
from assay.artifacts.steps.file import open_step_parser, read_groups, write_groups
from assay.artifacts.steps.folder import StepError, StepFolder, make_record, read_step
from assay.artifacts.steps.groups import generate_own
from assay.audit.explain import rejudging
from assay.audit.provenance import consumed
from assay.audit.provenance.consumed import find_false_group, make_problem_of
from assay.audit.provenance.reexecution import learn_again
from assay.audit.provenance.step_export import make_rows
from assay.environments.registry import open_environment
from assay.explorer.sources import group_child
from assay.inference.checkpoint import load_checkpoint
from assay.inference.passage_sampling import ask_problems, sample_passages
from assay.inference.passages import decode_passages, encode_passages
from assay.protocol.beacon import QUICKNET
from assay.protocol.episode import Reply
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.reason import Reason, Refusal
from assay.subnet.presets import make_demo_parameters, parse_environment
from assay.training import GENESIS, LearnConfig, Learner
from assay.training.held_out import count_successes

MINER, WINDOW = b"m" * 32, 3
LEARNING = LearnConfig(epochs=1, groups_per_batch=8)


@pytest.fixture(scope="module")
def checkpoint():
    return load_checkpoint(GENESIS)


@pytest.fixture(scope="module")
def parameters(checkpoint):
    made = make_demo_parameters(bytes(32), QUICKNET, 0, b"t" * 32, checkpoint.digest)
    turns = {"turns": 3, "context": 512, "reply_bytes": 64, "paid_reply": 4_000}
    work = replace(made.work, group_size=3, **turns)
    return replace(made, work=work, environment=parse_environment("guess"))


@pytest.fixture(scope="module")
def taken(checkpoint, parameters):
    """A group that passes for a miner's, and one of the trainer's own."""
    # alone, as it is made again: log-probabilities can round otherwise in a larger batch
    (own,) = generate_own(checkpoint, parameters, 1, WINDOW)
    _, other = generate_own(checkpoint, parameters, 2, WINDOW)
    return [replace(other, hotkey=MINER, proof=b"p" * 32), own]


def record(checkpoint, parameters, taken):
    given = parameters, WINDOW, taken, [], checkpoint.manifest, StepConfig(LEARNING)
    return make_record(*given, (bytes(32), bytes(32)), {"a": torch.zeros(1)}, torch.device("cpu"))


def find_fault(checkpoint, parameters, taken):
    made = record(checkpoint, parameters, taken)
    return find_false_group(made, taken, parameters, checkpoint.manifest, lambda one: checkpoint)


def change(taken, **fields):
    """The miner's group with other values in its first rollout that has replies."""
    group = taken[0].group
    place = next(i for i, replies in enumerate(group.replies) if replies)
    values = {
        name: [new(old) if i == place else old for i, old in enumerate(getattr(group, name))]
        for name, new in fields.items()
    }
    return [replace(taken[0], group=replace(group, **values)), *taken[1:]]


def test_a_step_of_episodes_is_written_and_derived_again(checkpoint, parameters, taken, tmp_path):
    assert all(any(one.group.replies) for one in taken), "nothing would be shown"
    path = tmp_path / "step.parquet"
    write_groups(path, taken)
    with open_step_parser() as parser:
        assert read_groups(path, parser) == taken
    assert find_fault(checkpoint, parameters, taken) is None


def cut(values):
    return values[:-1]


FALSE = {
    "another reply": {"replies": lambda r: [Reply(r[0].at, (*r[0].ids[:-1], 5)), *r[1:]]},
    "a reply less": {"replies": lambda r: r[1:]},
    "a token less": {"completions": cut, "behaviour_logprobs": cut},
    "another reward": {"rewards": lambda reward: reward ^ 1},
}


@pytest.mark.parametrize("name", FALSE)
def test_what_a_trainer_makes_up_is_named(checkpoint, parameters, taken, name):
    fault = find_fault(checkpoint, parameters, change(taken, **FALSE[name]))
    assert fault is not None
    assert "group 1: rollout " in fault


def test_the_learner_reads_what_the_reference_has_read(checkpoint, taken):
    """At each own token it finds the probability that the reference has measured."""
    excluded = [i for i, can in enumerate(checkpoint.tokenizer.drawable) if not can]
    config = replace(LEARNING, excluded=tuple(excluded))
    groups = [replace(one.group, rewards=[1_000_000, 0, 0]) for one in taken]
    stats = Learner(checkpoint.load_trainable(), config).learn(groups)
    assert stats.tokens == sum(len(own) for group in groups for own in group.completions)
    assert stats.mean_ratio == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    "fields",
    [
        {"replies": lambda r: [Reply(r[0].at, (1 << 20,)), *r[1:]]},
        {"completions": lambda own: [1 << 20, *own[1:]]},
    ],
)
def test_ids_that_the_model_does_not_have_are_not_learned(checkpoint, taken, fields):
    """A step is traced without a look at its world."""
    with pytest.raises(StepError, match="token id"):
        learn_again(
            Learner(checkpoint.load_trainable(), LEARNING), change(taken, **fields), bytes(32)
        )


def test_explain_and_explorer_name_turns(checkpoint, parameters, taken):
    """Of an episode: the turn of a token, and what its world said before."""
    group = taken[1].group
    place = next(i for i, replies in enumerate(group.replies) if replies)
    own, replies = group.completions[place], group.replies[place]
    seed = hash_fields(Domain.TRAINER, b"local", checkpoint.digest, WINDOW.to_bytes(8, "big"))
    context = SimpleNamespace(parameters=parameters, challenge_seed=seed)
    hotkey, index = parameters.identity.trainer, taken[1].index
    first = replies[0]
    for token, turn, within in ((0, 0, 0), (first.at - 1, 0, first.at - 1), (first.at, 1, 0)):
        fault = Refusal(Reason.SAMPLING_MISMATCH, "", index, place, token)
        found = rejudging._place(context, checkpoint, hotkey, fault, own)  # noqa: SLF001
        assert (found.turn, found.token) == (turn, within)
        assert found.reply == (checkpoint.tokenizer.decode(first.ids) if turn else None)
        assert found.reply_tokens == (len(first.ids) if turn else 0)
    problem = make_problem_of(taken[1], parameters, checkpoint)
    episode = rejudging.play_again(context, checkpoint, problem, own)
    given = own, episode, None, checkpoint
    rows = group_child._list_turns(*given)  # noqa: SLF001
    assert [row["first"] for row in rows] == [0, *(reply.at for reply in replies)]
    assert sum(row["tokens"] for row in rows) == len(own)
    said = [checkpoint.tokenizer.decode(reply.ids) for reply in replies]
    assert [row["reply"] for row in rows] == [*said, None]


def keep(checkpoint, parameters, taken, tmp_path):
    """A trainer's step of these groups, and its checkpoints."""
    folder = StepFolder(tmp_path / "steps")
    made = record(checkpoint, parameters, taken)
    folder.keep_before(Learner(checkpoint.load_trainable(), LEARNING), None)
    folder.keep_data(made, parameters, taken)
    folder.keep_record(made, bytes(32))
    models = CheckpointFolder(tmp_path / "models")
    models.add(GENESIS, checkpoint.digest)
    return read_step(folder.get_path(made.number, made.digest)), models


def double(group):
    """A group with each rollout twice."""
    columns = "completions", "rewards", "behaviour_logprobs", "replies"
    return replace(group, **{name: getattr(group, name) * 2 for name in columns})


def draw_no_id(group):
    """A group whose first rollout begins with an id that nobody draws."""
    (_, *rest), *others = group.completions
    return replace(group, completions=[[0, *rest], *others])


@pytest.mark.parametrize(
    ("change_group", "fault"),
    [(double, "it has 6 rollouts, not 3"), (draw_no_id, "a token that can never be drawn")],
)
def test_no_world_plays_for_a_group_that_is_none(
    checkpoint, parameters, taken, tmp_path, monkeypatch, change_group, fault
):
    """A step's file could have 2^22 rollouts in one group, and an export would play them all."""
    assert not checkpoint.tokenizer.drawable[0]
    false = [replace(taken[0], group=change_group(taken[0].group)), taken[1]]
    step, models = keep(checkpoint, parameters, false, tmp_path)
    monkeypatch.setattr(consumed, "replay_all", None)
    with pytest.raises(StepError, match=fault):
        next(make_rows(step, false, models))


def test_an_export_shows_turns_and_replies(checkpoint, parameters, taken, tmp_path):
    step, models = keep(checkpoint, parameters, taken, tmp_path)
    rows = list(make_rows(step, taken, models))
    assert len(rows) == 6
    for row in rows:
        assert row["tools"] is None
        if not row["replies"]:
            assert row["turns"] is None
            continue
        *replied, last = row["turns"]
        assert (last["reply"], last["role"]) == (None, None)
        assert {one["role"] for one in replied} == {"user"}
        assert all(
            one["reply"] in ("higher\n", "lower\n") or one["reply"].startswith("Guess a number")
            for one in replied
        )
        texts = [text for one in replied for text in (one["text"], one["reply"])]
        assert row["completion"] == "".join([*texts, last["text"]])  # there is no frame


def test_held_out_problems_and_calibration_sets_are_episodes(checkpoint, parameters):
    environment, work = open_environment(parameters.environment), parameters.work
    counted = count_successes(checkpoint, environment, work, 4, twice=True)
    assert sum(success.asked for success in counted.values()) == 4
    tokenizer = checkpoint.tokenizer
    drafter, levels = checkpoint.get_drafter(work.temperature), checkpoint.manifest.level_numbers
    given = drafter, tokenizer, environment, ask_problems(tokenizer.encode, environment, levels, 4)
    passages = sample_passages(*given, work)
    assert decode_passages(encode_passages(passages)) == passages
    assert any(passage.replies for passage in passages)
    assert max(passage.length for passage in passages) <= work.context
    one_turn = replace(work, turns=1, context=0, reply_bytes=0, paid_reply=0)
    for whole, single in zip(passages, sample_passages(*given, one_turn), strict=True):
        assert not single.replies
        assert single.completion == whole.completion[: len(single.completion)]
