"""Workers that judge: the same record to the byte, with any worker and whatever happens to them."""

import importlib.util
import os
import random
import signal
import threading
from dataclasses import replace

import pytest

from assay.artifacts.submissions.judging_threads import JudgingThreads
from assay.inference.workers.messages import WorkerSettings
from assay.inference.workers.pool import WorkerPool, open_workers
from assay.neurons.validator import submission_queue as module
from assay.protocol.reason import Reason
from tests.adversarial.with_workers import MINERS, Employer
from tests.inference.workers.faulty_worker import (
    KINDS,
    POISON,
    list_faults,
    open_faulty,
    put_faults,
)
from tests.inference.workers.pooled import wait_until
from tests.inference.workers.small_cluster import open_cluster


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The results of a validator that judges without workers."""
    employer = Employer(tmp_path_factory.mktemp("alone"), None).play()
    assert len(employer.settlements) == 2
    assert all(judged.complete for judged in employer.windows)
    reasons = [v.reason for judged in employer.windows for v in judged.verdicts.values()]
    assert reasons.count(Reason.ACCEPTED) >= 2 * len(MINERS)
    assert any(name.endswith(".record") for name in employer.read_records())
    return employer


def require_same(employer, expected):
    assert employer.read_records() == expected.read_records()
    assert employer.read_journal() == expected.read_journal()
    assert [s.weights for s in employer.settlements] == [s.weights for s in expected.settlements]


@pytest.mark.slow
@pytest.mark.parametrize(
    "count", [2, *(pytest.param(n, marks=pytest.mark.nightly) for n in (1, 4))]
)
def test_the_record_is_the_same_to_the_byte(tmp_path, expected, count):
    with open_workers([WorkerSettings()] * count) as pool:
        require_same(Employer(tmp_path, pool).play(), expected)
        assert pool.trouble is None


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="there is no Ray")
@pytest.mark.nightly
def test_the_record_is_the_same_on_a_cluster(tmp_path, expected):
    cpu = WorkerSettings()
    with open_cluster(hosts=2) as small, open_workers([cpu, cpu], small.address) as pool:
        require_same(Employer(tmp_path, pool).play(), expected)
        assert pool.trouble is None


@pytest.mark.slow
def test_without_workers_a_long_file_keeps_no_samples_from_being_asked(tmp_path, monkeypatch):
    """The first file of a window is judged until the samples of all have been read. Meanwhile
    blocks are minted until shortly before FETCH_END."""
    begun, asked, waited = [], threading.Event(), []
    judge = module.judge_hotkey

    def keep(window, root, parts, samples):
        if samples and window == 0:
            begun.append(root)
            if len(set(begun)) == len(MINERS):
                asked.set()

    def judge_slowly(context, *arguments, **options):
        if context.window == 0 and not waited:
            waited.append(None)
            waited[0] = asked.wait(60)
        return judge(context, *arguments, **options)

    def disturb(validator):
        chain, timing = employer.world.chain, employer.world.parameters.timing
        if validator.jobs and chain.get_head() < timing.fetch_end - 1:
            employer.world.mint()

    monkeypatch.setattr(module, "judge_hotkey", judge_slowly)
    threads = JudgingThreads(1)
    employer = Employer(tmp_path, None, disturb, threads=threads, keep=keep)
    employer.play(settlements=1)
    threads.close()
    assert waited == [True]
    first = next(judged for judged in employer.windows if judged.challenge.window == 0)
    reasons = [first.verdicts[employer.world.hotkeys[name]].reason for name in MINERS]
    assert first.complete
    assert reasons == [Reason.ACCEPTED] * len(MINERS)


class Chaos:
    """In each block with work two faults within requests, each kind in turn; or one that costs a
    whole try, and a kill from outside. A request may meet both, and has six workers to lose."""

    def __init__(self, folder, pool, seed):
        self.folder, self.pool, self.draw = folder, pool, random.Random(seed)
        self.met, self.killed = 0, 0
        self._kinds = self.draw.sample(KINDS, len(KINDS))
        self._head, self._steps = -1, 0

    def __call__(self, validator):
        head = max((job.head for job in validator.jobs), default=self._head)
        if self._steps:  # a kill is due, at the latest when the block is over
            self._steps = self._steps - 1 if head == self._head else 0
            if self._steps == 0 and not self._kill():
                self._steps = 1
        if head == self._head:
            return
        self._head = head
        if not list_faults(self.folder):
            kinds = [self._kinds[(self.met + n) % len(KINDS)] for n in range(2)]
            if "broken" in kinds:
                kinds, self._steps = kinds[:1], self.draw.randrange(1, 8)
            put_faults(self.folder, *kinds)
            self.met += len(kinds)

    def _kill(self):
        """Whether there was somebody to kill: a worker may be lost already."""
        pid = self.draw.choice(self.pool.describe()).pid
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.killed += 1
        return True


@pytest.mark.slow
@pytest.mark.parametrize("seed", [pytest.param(seed, marks=pytest.mark.kill) for seed in range(6)])
def test_workers_that_are_killed_at_every_stage_change_nothing(tmp_path, expected, seed):
    faults = tmp_path / "faults"
    with open_faulty(faults, 2) as pool:
        chaos = Chaos(faults, pool, seed)
        require_same(Employer(tmp_path / "run", pool, chaos).play(), expected)
        assert pool.trouble is None
    assert chaos.met >= len(KINDS)
    assert chaos.killed


@pytest.mark.slow
@pytest.mark.nightly
def test_a_file_that_kills_each_worker_costs_its_miner_alone(tmp_path, monkeypatch):
    judging, poisoned = threading.local(), []
    judge, measure = module.judge_hotkey, WorkerPool.measure

    def judge_hotkey(context, hotkey, *arguments, **options):
        judging.hotkey = hotkey if context.window == 0 else None
        return judge(context, hotkey, *arguments, **options)

    def measure_or_die(pool, model, prefill):
        if judging.hotkey == employer.world.hotkeys["alice"]:
            poisoned.append(model)
            model = replace(model, temperature=POISON)
        return measure(pool, model, prefill)

    monkeypatch.setattr(module, "judge_hotkey", judge_hotkey)
    monkeypatch.setattr(WorkerPool, "measure", measure_or_die)
    with open_faulty(tmp_path / "faults", 2) as pool:
        employer = Employer(tmp_path / "run", pool)
        employer.play(settlements=1)
        assert pool.trouble is None
    (first,) = (judged for judged in employer.windows if judged.challenge.window == 0)
    reasons = {name: first.verdicts[employer.world.hotkeys[name]].reason for name in MINERS}
    assert len(poisoned) == 2  # each cost three workers
    assert reasons.pop("alice") is Reason.INTERNAL
    assert set(reasons.values()) == {Reason.ACCEPTED}
    assert first.counts


@pytest.mark.slow
def test_a_card_that_vanishes_in_mid_window_leaves_the_work_to_the_rest(tmp_path, expected):
    faults = tmp_path / "faults"
    with open_faulty(faults, 2) as pool:

        def vanish(validator):
            if any(judged.verdicts for judged in validator.judged_windows.values()):
                (faults / "gone-worker 1 on cpu").touch()

        employer = Employer(tmp_path / "run", pool, vanish).play()
        require_same(employer, expected)
        wait_until(lambda: pool.trouble is not None)
        assert employer.validator.step() is False
        assert employer.validator.trouble == pool.trouble
        first = "1 of 2 workers are left out until they are back: worker 1"
        assert pool.trouble.text.startswith(first)


@pytest.mark.slow
@pytest.mark.nightly
def test_with_no_worker_left_it_says_so_and_abstains(tmp_path):
    faults = tmp_path / "faults"
    with open_faulty(faults, 1, retry_s=0.1) as pool:
        gone = faults / "gone-worker 0 on cpu"

        def vanish(validator):
            newest = max(validator.judged_windows, default=0)
            gone.touch() if newest < 2 else gone.unlink(missing_ok=True)

        employer = Employer(tmp_path / "run", pool, vanish).play()
    missing = "no worker is left to judge: worker 0 on cpu: device cuda:7 is not here"
    assert employer.windows[0].explain_abstention().startswith(missing)
    assert any(trouble and missing in trouble.text for trouble in employer.troubles)
    assert not employer.windows[0].counts
    assert employer.windows[-1].counts


@pytest.mark.slow
@pytest.mark.nightly
def test_a_validator_that_is_killed_judges_again_what_was_under_way(tmp_path, expected):
    """Its threads and workers end with it; the journal has the files that it had begun."""

    class Killed(BaseException):
        pass

    steps = [40, 60, 90]

    def kill(validator):
        if validator.jobs and len(steps) > killed[0] and validator.jobs[0].head > steps[killed[0]]:
            killed[0] += 1
            raise Killed

    killed = [0]
    employer = Employer(tmp_path, None)
    employer.disturb = kill
    while True:
        with open_workers([WorkerSettings()] * 2) as pool:
            employer.hire(pool)
            try:
                employer.play()
                break
            except Killed:
                continue
    require_same(employer, expected)
