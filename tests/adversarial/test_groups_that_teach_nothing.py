"""Windows in which the rollouts of each group earn the same: no checkpoint is made of them."""

from dataclasses import replace

import pytest

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.neurons.program.counters import Counters
from assay.neurons.trainer.lessons import Silence, WindowReading
from assay.neurons.trainer.program import LessonNotes
from assay.protocol.commitment import parse_commitment
from tests.adversarial.test_moving_levels import eager, make_course  # noqa: F401 - a fixture
from tests.adversarial.trainer_bench import Bench, Calls


@pytest.fixture(scope="module")
def judge():
    """Judges a file once, and takes two of its groups: enough to learn from, and quick."""
    honest, judged = WindowReading.judge, {}

    def judge_few(reading, hotkey, checkpoint, sources):
        key = reading.context.window, hotkey, checkpoint.digest
        if key not in judged:
            alone = WindowReading(reading.context, [])
            honest(alone, hotkey, checkpoint, sources)
            judged[key] = alone.groups[:2]
        return judged[key]

    return judge_few


@pytest.fixture
def score(monkeypatch, judge):
    """A function that has all rollouts of some windows earn a reward; None: no group comes."""

    def change(rewards):
        def judge_changed(reading, hotkey, checkpoint, sources):
            window, taken = reading.context.window, judge(reading, hotkey, checkpoint, sources)
            if window not in rewards:
                reading.groups += taken
            elif (reward := rewards[window]) is not None:
                reading.groups += [
                    replace(
                        one, group=replace(one.group, rewards=[reward] * len(one.group.rewards))
                    )
                    for one in taken
                ]

        monkeypatch.setattr(WindowReading, "judge", judge_changed)

    return change


@pytest.fixture
def make_bench(world, tmp_path):
    made = []

    def make():
        made.append(Bench(world, tmp_path / str(len(made)), Calls()))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


def test_the_last_checkpoint_stays_and_the_next_window_is_learned_from(make_bench, score):
    """As if no group had come: nothing is sent, stored or kept, and the learner is as it was."""
    score({0: 0})
    bench = make_bench()
    bench.start(last_window=0)
    bench.run(window=1)
    (silence,) = bench.silences
    assert (silence.window, set(silence.rewards), silence.checkpoint) == (0, {0}, 0)
    assert silence.tokens > 0
    assert bench.said == [f"trainer: {silence}"]
    assert "no rollout earned anything" in bench.said[0]
    assert (bench.published, bench.lessons, bench.read_steps()) == ([], [], {})
    bench.start()  # its position is in its folder
    bench.run()
    assert len(bench.silences) == 1
    (lesson,) = bench.lessons
    assert (lesson.window, lesson.published.number) == (1, 1)
    silent, taught = bench.windows
    assert (silent.window, silent.checkpoint, silent.stats) == (0, None, None)
    assert (silent.groups.groups, silent.groups.all_wrong) == (len(silence.rewards), 1.0)
    assert (taught.window, taught.checkpoint, taught.stats) == (1, 1, lesson.stats)
    assert (taught.groups.groups, taught.staleness) == (len(lesson.rewards), 0)
    assert 0 < taught.stats.entropy < 5
    assert parse_commitment(bench.chain.slot[1]).number == 1
    score({0: None})
    without = make_bench()
    without.run()
    assert without.silences == []
    assert [one.groups is None for one in without.windows] == [True, False]
    assert without.published == bench.published


def test_every_silent_window_is_said_and_none_moves_the_chain(make_bench, score):
    score({0: 10**6, 1: 300_000})
    bench = make_bench()
    bench.run()
    assert [silence.window for silence in bench.silences] == [0, 1]
    assert ["harder levels would help" in bench.said[0], "between" in bench.said[1]] == [True] * 2
    assert bench.published == []
    assert bench.trainer.pace.describe(1.0).groups_came > 0


def test_levels_that_move_are_published_all_the_same(world, tmp_path, eager, score):  # noqa: F811
    """Otherwise levels at which nothing is ever solved could never be left."""
    eager(teaching=100)
    score({0: 0, 1: 0})
    course = make_course(world, tmp_path).run(window=1)
    (lesson,) = course.lessons
    made, parent = lesson.published, world.checkpoint.manifest
    assert made.levels != parent.levels
    assert lesson.stats.dropped == len(lesson.rewards) > 0
    models = CheckpointFolder(tmp_path / "models")
    before, after = (models.get(digest).manifest.tensors for digest in (parent.digest, made.digest))
    assert before == after


def test_status_and_metrics_of_a_silent_window():
    tally, silence = Counters(), Silence(7, (0, 0, 0), 200, 120, 3)
    notes = LessonNotes(None, None, tally, lambda: None)
    notes.note_silence(silence)
    assert notes.silence == (
        "window 7: all of its 3 groups are zero-variance, as the rollouts of each earn the same "
        "(0.000 on "
        "average), so checkpoint 3 stays: no rollout earned anything; an SFT cold start (assay "
        "train "
        "warm-start), easier levels or more tokens a rollout would help"
    )
    counted = {name: sum(by.values()) for name, by in tally.read().items()}
    assert counted == {"groups": 3, "silent_groups": 3, "step_tokens": 200, "silent_tokens": 120}
