"""Files of a step that are lost by the trainer's own fault, and windows without any that teach: a
trainer that judges without workers loses no file that comes back, and learns from the others in
time."""

from collections import Counter

import pytest
import torch

from assay.artifacts.submissions import judge as submission_judge
from assay.inference.checkpoint import Checkpoint
from assay.neurons.trainer import lessons
from assay.protocol.parameters import DEMO_TIMING
from assay.protocol.window import compute_window
from assay.sandbox import WorkerError
from tests.adversarial.conftest import GROUPS, make_world
from tests.adversarial.trainer_bench import Bench, Calls
from tests.quick_miner import QuickMiner


@pytest.fixture
def bench(world, tmp_path):
    bench = Bench(world, tmp_path, Calls())
    yield bench
    bench.close()


def require_same(bench, undisturbed):
    assert bench.published == undisturbed.published
    assert bench.read_store() == undisturbed.read_store()
    assert bench.read_steps() == undisturbed.read_steps()


@pytest.fixture
def break_on(monkeypatch):
    """Breaks our own forward pass in the middle of a miner's file, as often as asked."""

    def prepare(hotkey, window, times):
        broken, judge = [], lessons.judge_hotkey

        class Breaking:
            def __init__(self, forward):
                self.forward = forward
                self.measured = 0

            def measure(self, *arguments):
                if self.measured == 2 and len(broken) < times:
                    broken.append(True)
                    raise RuntimeError("a kernel of ours")
                self.measured += 1
                return self.forward.measure(*arguments)

        def judge_or_break(context, who, checkpoint, *arguments, **options):
            if (context.window, who) == (window, hotkey):
                forward = checkpoint.get_forward(context.parameters.work.temperature)
                options["forward"] = Breaking(forward)
            return judge(context, who, checkpoint, *arguments, **options)

        monkeypatch.setattr(lessons, "judge_hotkey", judge_or_break)
        return broken

    return prepare


@pytest.mark.parametrize("name", ["alice", pytest.param("bob", marks=pytest.mark.slow)])
def test_a_file_whose_judging_breaks_in_the_middle_is_looked_at_again(
    world, bench, undisturbed_bench, break_on, name
):
    """At each look the judge tries it twice. The groups before the break count once, not twice."""
    broken = break_on(world.hotkeys[name], 0, 2)
    bench.run()
    assert len(broken) == 2
    assert bench.said == []
    require_same(bench, undisturbed_bench)


@pytest.mark.slow
def test_a_file_whose_judging_always_breaks_keeps_no_step_waiting(world, bench, break_on):
    """The trainer looks at it as often as at a missing one; then the step uses the others."""
    broken = break_on(world.hotkeys["alice"], 0, 100)
    bench.run()
    assert len(broken) == 2 * lessons.LOOKS
    assert [(lesson.window, lesson.stats.groups) for lesson in bench.lessons] == [
        (0, GROUPS),
        (1, 2 * GROUPS),
    ]


def test_a_file_that_no_process_could_read_is_looked_at_again(
    world, bench, undisturbed_bench, monkeypatch
):
    """The trainer names the missing files. When they are back, the step is as if nothing had
    happened."""
    look, lacking, troubles = submission_judge.open_submission, [], set()

    def lack_twice(context, hotkey, *arguments):
        if context.window == 1 and hotkey == world.hotkeys["bob"] and len(lacking) < 2:
            lacking.append(True)
            raise WorkerError("no process can be started: free some memory")
        troubles.add(str(bench.trainer.trouble))
        return look(context, hotkey, *arguments)

    monkeypatch.setattr(submission_judge, "open_submission", lack_twice)
    bench.run()
    assert len(lacking) == 2
    assert "no process can be started: free some memory" in troubles
    require_same(bench, undisturbed_bench)


class MinerOfSome(QuickMiner):
    """Is away in window 1; in window 2 makes each group but the first a copy of the first."""

    def step(self):
        head = self.dependencies.chain.get_head()
        return compute_window(DEMO_TIMING, head) != 1 and super().step()

    def generate(self, work, indices):
        groups = super().generate(work, indices)
        return [groups[0]] * len(groups) if work.challenge.window == 2 else groups


@pytest.fixture(scope="module")
def four_windows(tmp_path_factory):
    """Windows 0 and 3 are mined honestly, window 1 by nobody, window 2 with copies."""
    torch.set_num_threads(1)
    world = make_world(tmp_path_factory.mktemp("four"))
    world.miners = {
        name: MinerOfSome(name, m.hotkey, world.history, m.dependencies, m.config, print)
        for name, m in world.miners.items()
    }
    for window in range(4):
        world.contexts[window] = world.open_context(window)
    counts = [len(lessons.find_waiting(world.contexts[window])) for window in range(4)]
    assert counts == [2, 0, 2, 2]
    return world


def test_windows_without_files_or_with_refused_ones_teach_nothing_and_cost_nothing(
    four_windows, tmp_path, monkeypatch
):
    """The steps around them follow one another; nothing of a refused file is learned from."""
    judge, verdicts = lessons.judge_hotkey, Counter()

    def note(context, hotkey, checkpoint: Checkpoint, *arguments, **options):
        found = judge(context, hotkey, checkpoint, *arguments, **options)
        verdicts[context.window, found.verdict.accepted] += 1
        return found

    monkeypatch.setattr(lessons, "judge_hotkey", note)
    # a copy is left out of its file, and all of a file's but one are too many
    monkeypatch.setattr(lessons, "LEFT_OUT_MAX", GROUPS - 2)
    bench = Bench(four_windows, tmp_path, Calls())
    bench.start(last_window=3)
    bench.run(window=4)
    bench.close()
    assert verdicts == {(0, True): 2, (2, False): 2, (3, True): 2}
    assert [(lesson.window, lesson.stats.groups) for lesson in bench.lessons] == [
        (0, 2 * GROUPS),
        (3, 2 * GROUPS),
    ]
    assert [lesson.published.number for lesson in bench.lessons] == [1, 2]
    assert bench.lessons[1].published.parent == bench.published[0]
    assert bench.said == []
    pace = bench.trainer.pace.describe(60.0)
    assert (pace.windows, pace.groups_came) == (4, GROUPS)
