"""A machine on which a window has time for a few groups: the clock here goes as fast as the tests
say, token by token."""

from types import SimpleNamespace

import pytest

from assay.inference import draft
from assay.inference.reference import Reference
from assay.neurons.miner.measured_speed import MeasuredSpeed, MeasuredStep, explain_speed
from assay.neurons.miner.miner import Miner, MinerConfig
from assay.neurons.miner.review import MinerWithReview
from assay.neurons.program.counters import Counters
from assay.protocol.commitment import parse_commitment
from assay.protocol.parameters import DEMO_TIMING
from assay.protocol.window import Phase, compute_block
from assay.subnet.presets import DEMO_WORK

#: Seconds of drawing a token, and of reading it: a group of some 280 tokens takes 1.4 s, and a
#: window has 6 s for all.
DRAWING_S, READING_S = 0.004, 0.001


@pytest.fixture
def slow(monkeypatch):
    """A function that has a subnet's time pass with each token, times a factor."""

    def make(subnet, factor=1.0):
        batch = draft._Batch  # noqa: SLF001
        step, measure = batch.step, Reference.measure_with_leads
        pace = {"factor": factor}

        def step_slowly(self, model):
            subnet.pass_time(pace["factor"] * DRAWING_S * len(self.keys))
            return step(self, model)

        def read_slowly(self, prompts, tokens, *more):
            subnet.pass_time(pace["factor"] * READING_S * sum(map(len, tokens)))
            return measure(self, prompts, tokens, *more)

        monkeypatch.setattr(batch, "step", step_slowly)
        monkeypatch.setattr(Reference, "measure_with_leads", read_slowly)
        return pace

    return make


class Noting(Miner):
    """Notes the size of each step."""

    def generate(self, work, indices):
        made = super().generate(work, indices)
        steps = self.__dict__.setdefault("noted", [])
        steps.append((work.challenge.window, len(indices), len(made)))
        return made


def mine(subnet, miner, window):
    """Mine up to the block at which a window's commitment must stand. Returns its slot then."""
    block = compute_block(DEMO_TIMING, window, Phase.COMMIT)
    subnet.run_to(miner, block)
    slot = subnet.get_slot(block)
    return None if slot is None else parse_commitment(slot)


def test_a_step_longer_than_a_window_costs_no_window(make_subnet, genesis, slow):
    """Eight groups together take 10 s of a window's 6 s: they came too late in every window."""
    subnet = make_subnet(MinerConfig(8, 8))
    slow(subnet)
    miner = subnet.start(Noting)
    for window in range(3):
        committed = mine(subnet, miner, window)
        assert committed.number == window
        assert committed.groups >= 3
    assert miner.noted[0] == (0, 1, 1), "nothing was measured before"
    assert all(made <= asked < 8 for _, asked, made in miner.noted)
    cut = [window for window, asked, made in miner.noted if made < asked]
    assert len(cut) == len({*cut}), "answers' lengths vary by draw, and the last step may be cut"
    assert 3 <= miner.speed["fits"] < 8
    told = [line for line in subnet.lines if "of a window at" in line]
    assert 1 <= len(told) <= 1 + len(cut)
    assert not any("was not committed" in line or "no group" in line for line in subnet.lines)


def test_the_groups_are_those_of_a_quick_machine(make_subnet, slow):
    """Only their number depends on time."""
    made = []

    class Keeping(Miner):
        def encode(self, work):
            made.append(list(work.groups))
            return super().encode(work)

    for seconds in (None, slow):
        subnet = make_subnet(MinerConfig(8, 8))
        if seconds is not None:
            seconds(subnet)
        mine(subnet, subnet.start(Keeping), 0)
    quick, few = made
    assert 3 <= len(few) < len(quick) == 8
    for group, right in zip(few, quick[: len(few)], strict=True):
        for rollout, other in zip(group, right, strict=True):
            assert rollout.tokens.tolist() == other.tokens.tolist()
            assert rollout.logprobs.tolist() == other.logprobs.tolist()
            assert rollout.sketch.tolist() == other.sketch.tolist()


def test_a_restart_knows_the_speed(make_subnet, slow):
    subnet = make_subnet(MinerConfig(8, 8))
    slow(subnet)
    mine(subnet, subnet.start(Noting), 0)
    miner = subnet.start(Noting)
    assert mine(subnet, miner, 1).groups >= 3
    window, asked, _ = miner.noted[0]
    assert window == 1
    assert 1 < asked < 5, "not all that fits: a step may take longer than the last ones"


def test_a_machine_that_becomes_slow_in_a_step_earns_the_groups_before(make_subnet, slow):
    """The step is cut off, and what was finished before it is committed in time."""
    subnet = make_subnet(MinerConfig(8, 8))
    pace = slow(subnet)
    miner = subnet.start(Noting)
    mine(subnet, miner, 0)

    class SlowLater(Noting):
        def generate(self, work, indices):
            pace["factor"] = 1.0 if not work.groups else 50.0
            return super().generate(work, indices)

    miner = subnet.start(SlowLater)
    assert mine(subnet, miner, 1).groups == miner.noted[0][2] > 0
    assert miner.noted[1][1] > miner.noted[1][2]
    assert len(miner.noted) == 2
    (told,) = [line for line in subnet.lines if "time was up after" in line]
    pays_little = miner.speed["fits"] < DEMO_WORK.valued_groups
    assert ("a GPU, an engine that drafts" in told) == pays_little
    assert "was not committed" not in "".join(subnet.lines)


def test_a_machine_that_finishes_no_group_says_so_and_tries_again(make_subnet, slow):
    subnet = make_subnet(MinerConfig(8, 8))
    pace = slow(subnet, 20.0)
    miner = subnet.start(Noting)
    for window in range(2):
        assert mine(subnet, miner, window) is None
        assert f"no group of window {window} was finished in time" in "".join(subnet.lines)
    assert {made for _, _, made in miner.noted} == {0}
    assert {window for window, _, _ in miner.noted} >= {0, 1}
    assert miner.speed["fits"] is None
    assert "fewer tokens a rollout" in subnet.lines[-1]
    pace["factor"] = 0.1
    assert mine(subnet, miner, 3).groups == 8
    assert miner.speed["fits"] > 8, "more than its settings allow"


def test_work_that_was_cut_off_is_counted(make_subnet, slow):
    """It took the machine's time, although no group came of it."""
    subnet, tally = make_subnet(MinerConfig(8, 8)), Counters()
    slow(subnet, 20.0)
    idle = SimpleNamespace(trouble=None, step=lambda: False)
    mine(subnet, MinerWithReview(subnet.start(), idle, tally), 0)
    counted = tally.read()
    assert counted["groups"][""] == counted["tokens"][""] == 0
    assert counted["drafted"]["kept"] > 0
    assert counted["generating_seconds"][""] > 0


def test_time_is_kept_for_a_slow_upload(make_subnet, slow):
    """The first one takes longer than the margin has; the next window ends its groups earlier."""
    subnet = make_subnet(MinerConfig(64, 1))
    slow(subnet, 0.2)
    store, asked = subnet.store, []

    class SlowStore:
        def __getattr__(self, name):
            return getattr(store, name)

        def put(self, name, data, *more):
            asked.append(subnet.chain.get_head())
            subnet.pass_time(2.5)
            store.put(name, data, *more)

    miner = subnet.start(Noting, store=SlowStore())
    for window in range(3):
        mine(subnet, miner, window)
    due = [compute_block(DEMO_TIMING, window, Phase.COMMIT) - 3 for window in range(3)]
    assert asked[0] >= due[0]
    assert all(head <= block - 2 for head, block in zip(asked[1:], due[1:], strict=True))
    assert miner.speed["upload_seconds"] == 2.5


def test_a_store_that_was_away_for_long_leaves_time_for_groups():
    measured = MeasuredSpeed(uploads=[400.0])
    assert measured.keep_for_upload(300.0) == 150.0
    assert measured.keep_for_upload(1_000.0) == 400.0


def make_speed(*steps):
    """Steps as (groups, made, seconds)."""
    rows = [MeasuredStep(0, groups, made, 100 * made, seconds) for groups, made, seconds in steps]
    return MeasuredSpeed(rows)


def test_what_steps_say_of_others():
    assert MeasuredSpeed().estimate(1) is None
    one = make_speed((4, 4, 60.0))
    assert [one.estimate(n) for n in (1, 4, 8)] == [60.0, 60.0, 120.0]
    two = make_speed((4, 4, 60.0), (1, 1, 20.0))
    assert [two.estimate(n) for n in (1, 2, 4, 8)] == [20.0, 40.0, 60.0, 120.0]
    assert two.tokens_per_second == 500 / 80


def test_a_machine_that_became_slower_is_believed_at_once():
    speed = make_speed((1, 1, 10.0), (4, 4, 20.0), (2, 2, 60.0))  # three times as long as 20 s
    assert [speed.estimate(n) for n in (1, 2, 4)] == [30.0, 60.0, 60.0]
    speed.add_step(MeasuredStep(1, 2, 2, 200, 15.0))
    assert [speed.estimate(n) for n in (1, 2, 4)] == [10.0, 15.0, 20.0]


def test_a_step_that_was_cut_off_counts_until_a_finished_one():
    speed = make_speed((1, 1, 10.0), (2, 0, 90.0), (2, 1, 70.0))
    assert [speed.estimate(n) for n in (1, 2, 8)] == [10.0, 90.0, 90.0]
    assert not make_speed((1, 0, 90.0)).count_fitting(100.0, 8, 64)
    speed.add_step(MeasuredStep(1, 4, 4, 400, 30.0))
    assert speed.estimate(2) == 20.0


def test_the_size_of_a_step():
    assert MeasuredSpeed().choose(1_000.0, 8) == 1
    speed = make_speed((1, 1, 10.0))
    # half as long again must fit, but for the last group
    assert [speed.choose(left, 8) for left in (9.0, 10.0, 29.0, 30.0, 1_000.0)] == [0, 1, 1, 2, 8]
    assert speed.choose(1_000.0, 0) == 0
    assert speed.count_fitting(100.0, 8, 64) == 10
    assert speed.count_fitting(100.0, 8, 5) == 5
    assert speed.count_fitting(9.0, 8, 64) == 0
    assert make_speed((1, 1, 0.0)).count_fitting(9.0, 8, 64) == 64


def test_the_speed_in_words():
    speed = make_speed((2, 2, 10.0)).describe(60.0, 8, 64)
    assert explain_speed(speed, 4) == (
        "about 11 groups fit into the 60 s of a window at 20.0 tokens a second"
    )
    assert "a GPU" in explain_speed(speed, 20)
    cut = make_speed((1, 1, 50.0), (2, 1, 60.0)).describe(60.0, 8, 64)
    assert explain_speed(cut, 4).startswith(
        "time was up after 1 of 2 groups that were generated together for 60 s; about 1 group fits "
        "into the 60 s of a window at 2.0 tokens a second: a GPU"
    )
