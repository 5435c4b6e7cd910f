"""A trainer whose workers judge while it learns: it publishes the same as alone, in whatever order
results come, and whatever happens to the workers."""

import threading
from contextlib import contextmanager

import pytest
import torch

from assay.artifacts.steps.config import StepChoice
from assay.inference.workers.messages import WorkerSettings
from assay.inference.workers.pool import open_workers
from assay.neurons.trainer.background_judge import BackgroundJudge
from assay.neurons.trainer.lessons import WindowReading
from assay.neurons.trainer.window_judging import WindowJudging
from assay.training import Learner
from tests.adversarial.trainer_bench import Bench, Calls, Killed
from tests.inference.workers.faulty_worker import list_faults, open_faulty, put_faults
from tests.inference.workers.pooled import get_pids, is_alive, wait_until

#: Seconds that a test waits for what must come at once.
SOON_S = 60.0


@pytest.fixture
def expected(undisturbed_bench):
    """The checkpoints of a trainer that judges without workers."""
    return undisturbed_bench


@pytest.fixture(scope="module")
def pool():
    torch.set_num_threads(1)
    with open_workers([WorkerSettings()]) as pool:
        yield pool


@contextmanager
def open_bench(world, folder, pool):
    bench = Bench(world, folder, Calls(), pool)
    try:
        yield bench
    finally:
        bench.close()


def require_same(bench, expected):
    assert bench.published == expected.published
    assert bench.read_store() == expected.read_store()
    assert bench.read_steps() == expected.read_steps()


def get_run(bench, window):
    runs = bench.trainer.judge.runs
    return next((run for run in runs if run.reading.context.window == window), None)


@pytest.mark.parametrize(
    "order", ["while", *(pytest.param(o, marks=pytest.mark.slow) for o in ("before", "after"))]
)
def test_steps_are_the_same_in_any_order(world, tmp_path, pool, expected, monkeypatch, order):
    """Window 1 is judged before the learner begins with window 0, while it learns, or after."""
    learn, judge = Learner.learn, WindowReading.judge
    learned, judged, met = threading.Event(), threading.Event(), []

    def learn_late(self, groups, **told):
        run = get_run(bench, 1)
        if run is not None:
            met.append(order)
            if order == "before":
                assert run.is_done.wait(SOON_S)
        stats = learn(self, groups, **told)
        learned.set()
        if run is not None and order == "while":
            assert run.is_done.wait(SOON_S)
        return stats

    def judge_late(reading, *arguments):
        if reading.context.window == 1 and order == "after":
            assert learned.wait(SOON_S)
        judge(reading, *arguments)
        judged.set()

    monkeypatch.setattr(Learner, "learn", learn_late)
    monkeypatch.setattr(WindowReading, "judge", judge_late)
    with open_bench(world, tmp_path, pool) as bench:
        bench.run()
        assert met == [order]  # window 1 was under way when window 0 was learned from
        require_same(bench, expected)
        pace = bench.trainer.pace.describe(60.0)
        assert (pace.windows, pace.groups_came) == (2, 10.0)
        assert pace.learning_seconds > 0 < pace.publishing_seconds


@pytest.mark.slow
def test_steps_are_the_same_without_overlap(world, tmp_path, pool, expected, monkeypatch):
    monkeypatch.setattr(BackgroundJudge, "begin_ahead", lambda *_: None)
    with open_bench(world, tmp_path, pool) as bench:
        bench.run()
        require_same(bench, expected)


@pytest.mark.slow
def test_rollouts_of_the_newest_checkpoint_alone_are_not_judged_ahead(world, tmp_path, pool):
    """They would be too old at their turn. The program reports that as usual."""
    with open_bench(world, tmp_path, pool) as bench:
        bench.start(staleness=0)
        bench.run()
        assert [lesson.window for lesson in bench.lessons] == [0]
        assert ["1 checkpoints behind" in line for line in bench.said] == [True]


def test_files_judged_ahead_may_be_too_old_at_their_turn(
    world, tmp_path, pool, expected, monkeypatch
):
    begun = []

    def judge_any(windows, course, window):
        begun.append(window)
        vars(windows)["_judge"].begin_ahead(world.parameters, window)

    monkeypatch.setattr(WindowJudging, "judge_ahead", judge_any)
    with open_bench(world, tmp_path, pool) as bench:
        bench.start(staleness=0)
        bench.run()
        assert 1 in begun
        assert [lesson.window for lesson in bench.lessons] == [0]
        assert ["1 checkpoints behind" in line for line in bench.said] == [True]
        assert bench.published == expected.published[:1]


class CallsWithAnEnd(Calls):
    """Kills the trainer at the nth call of a name."""

    def __init__(self, name, number):
        super().__init__()
        self.name, self.number = name, number

    def __call__(self, name):
        super().__call__(name)
        if name == self.name and self.names.count(name) == self.number:
            self.dead = True
            raise Killed


@pytest.mark.slow
@pytest.mark.parametrize(("name", "number"), [("beacon", 4), ("put", 1)])
def test_killed_while_workers_judge(world, tmp_path, pool, expected, name, number):
    """The kill comes just before window 1's files are judged ahead, or during it."""
    bench = Bench(world, tmp_path, CallsWithAnEnd(name, number), pool)
    with pytest.raises(Killed):
        bench.run()
    bench.start()
    bench.run()
    require_same(bench, expected)
    bench.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["die within", pytest.param("memory", marks=pytest.mark.nightly)])
def test_a_worker_that_is_lost_in_the_middle_changes_nothing(world, tmp_path, expected, kind):
    faults = tmp_path / "faults"
    with open_faulty(faults, 1) as pool, open_bench(world, tmp_path / "bench", pool) as bench:
        put_faults(faults, kind)
        bench.run()
        assert not list_faults(faults)
        assert sum(worker.lost for worker in pool.describe()) == 1
        require_same(bench, expected)


@pytest.mark.slow
def test_without_any_worker_it_waits_and_leaves_no_file_out(world, tmp_path, expected):
    faults = tmp_path / "faults"
    with open_faulty(faults, 1, 0.2) as pool, open_bench(world, tmp_path / "bench", pool) as bench:
        gone = faults / "gone-worker 0 on cpu"
        gone.touch()
        bench.step()  # it stands before window 0
        bench.chain.head = world.chain.get_head()
        while "no worker is left to judge" not in str(bench.trainer.trouble):
            bench.trainer.step()
        assert (bench.trainer.window, bench.lessons) == (0, [])
        gone.unlink()
        wait_until(lambda: pool.is_working)
        bench.run()
        assert (bench.trainer.trouble, bench.trainer.workers_trouble) == (None, None)
        require_same(bench, expected)


def test_stopped_while_workers_judge_it_leaves_nothing_behind(world, tmp_path):
    faults = tmp_path / "faults"
    with open_faulty(faults, 1) as pool, open_bench(world, tmp_path / "bench", pool) as bench:
        pids = get_pids(pool)
        assert all(map(is_alive, pids))
        put_faults(faults, "hang")
        bench.step()  # it stands before window 0
        bench.chain.head = world.chain.get_head()
        for _ in range(2):  # opens the window, has it judged
            bench.step()
        wait_until(lambda: not list_faults(faults))  # the worker hangs over it
        assert get_run(bench, 0) is not None
        assert "judge a window" in list_threads()
        bench.trainer.close()
        bench.trainer = None
    assert not any(map(is_alive, pids))
    wait_until(lambda: not {"judge a window", "judge a submission"} & list_threads())


def list_threads():
    return {thread.name for thread in threading.enumerate()}


def test_a_defect_in_the_background_is_met_by_the_trainer(
    world, tmp_path, pool, expected, monkeypatch
):
    """Raised on its own thread, and nothing of the window is judged twice or lost."""
    judge, broken = WindowReading.judge, []

    def break_once(reading, *arguments):
        if not broken:
            broken.append(True)
            raise ZeroDivisionError
        judge(reading, *arguments)

    monkeypatch.setattr(WindowReading, "judge", break_once)
    with open_bench(world, tmp_path, pool) as bench:
        with pytest.raises(ZeroDivisionError):
            bench.run()
        bench.run()
        require_same(bench, expected)


def test_a_file_that_our_own_judge_broke_on_is_looked_at_again(world, tmp_path, expected):
    """Two files are judged at a time, each twice: of three faults one file has two."""
    faults = tmp_path / "faults"
    with open_faulty(faults, 1) as pool, open_bench(world, tmp_path / "bench", pool) as bench:
        put_faults(faults, *["broken"] * 3)
        bench.run()
        assert not list_faults(faults)
        require_same(bench, expected)


def test_a_window_without_files_has_no_age(world, tmp_path, pool, monkeypatch):
    """Judged ahead or not, the trainer learns from its own groups."""
    begun = []

    def judge_any(windows, course, window):
        begun.append(window)
        vars(windows)["_judge"].begin_ahead(world.parameters, window)

    for module in ("background_judge", "window_judging"):
        monkeypatch.setattr(f"assay.neurons.trainer.{module}.find_waiting", lambda _: [])
    monkeypatch.setattr(WindowJudging, "judge_ahead", judge_any)
    with open_bench(world, tmp_path, pool) as bench:
        bench.start(staleness=0, choice=StepChoice(local_groups=2))
        bench.run()
        assert 1 in begun
        assert [lesson.window for lesson in bench.lessons] == [0, 1]
