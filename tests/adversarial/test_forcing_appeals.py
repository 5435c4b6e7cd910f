"""Files that fail narrowly, so that a validator measures them again: whatever that costs it, every
honest file is judged in its window."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from assay.artifacts.submissions import appeals
from assay.inference.implementations import PlainReference
from assay.inference.placing.devices import MemoryLackError
from assay.neurons.trainer import lessons
from assay.protocol.reason import Reason
from assay.verification.appeal import APPEALS_MAX
from tests.adversarial.conftest import GROUPS, make_world
from tests.adversarial.watched import Watched
from tests.quick_miner import QuickMiner

ROOT = Path(__file__).parents[2]
HONEST = ("alice", "bob")
#: Fewer than force the appeals of a window on the main network, and as many more as are heard here.
CHEATS, HEARD = ("carol", "dave", "erin"), 2


class Narrow(QuickMiner):
    """Claims log-probabilities just beyond the bound, as no implementation measures them."""

    def generate(self, work, indices):
        return [
            [replace(rollout, logprobs=rollout.logprobs + 65) for rollout in group]
            for group in super().generate(work, indices)
        ]


def make_hostile_world(folder):
    world = make_world(folder, (*HONEST, *CHEATS), last=0)
    for name in CHEATS:
        world.miners[name].__class__ = Narrow
    return world


@pytest.mark.parametrize("lacks_memory", [False, True])
def test_forced_appeals_stop_no_honest_file(tmp_path, monkeypatch, lacks_memory):
    """Heard as often as a window allows, or not at all for lack of memory."""
    asked, measure = [], PlainReference.measure

    def note(self, *arguments):
        asked.append(arguments)
        if lacks_memory:
            raise MemoryLackError("the appeal needs more memory than there is")
        return measure(self, *arguments)

    monkeypatch.setattr(PlainReference, "measure", note)
    monkeypatch.setattr(appeals, "APPEALS_A_WINDOW", HEARD)
    world = make_hostile_world(tmp_path)
    watched = Watched(world)
    watched.run_to_settlement(1)
    judged = watched.audit(0)
    reasons = {name: judged.verdicts[world.hotkeys[name]].reason for name in world.miners}
    assert reasons == dict.fromkeys(HONEST, Reason.ACCEPTED) | dict.fromkeys(
        CHEATS, Reason.LOGPROB_MISMATCH
    )
    assert len(asked) == HEARD
    assert judged.counts
    uids = world.chain.get_members(0)
    assert set(watched.settlements[0].weights) == {uids[world.hotkeys[n]].uid for n in HONEST}


@pytest.mark.nightly
def test_twenty_files_that_force_appeals_within_two_gigabytes():
    """Long rollouts of a model with many heads, beside the weights and the libraries. Every file
    has a verdict: those that fail narrowly are refused, the honest ones pass."""
    command = [sys.executable, "-m", "tests.adversarial.small_validator"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}  # noqa: TID251 - a child needs a whole environment
    answer = subprocess.run(command, capture_output=True, text=True, timeout=3_600, env=env)
    assert answer.returncode == 0, answer.stderr[-2_000:]
    found = json.loads(answer.stdout)
    assert found["honest"] == [None] * 4
    assert found["junk"] == [Reason.SAMPLING_MISMATCH.value] * 20
    assert found["heard"] == appeals.APPEALS_A_WINDOW
    assert found["unheard_for_memory"] == 0


def test_appeals_give_no_lesson_an_order(world, monkeypatch):
    """Each group of every file needs one: which are heard does not depend on other files."""
    context = world.contexts[1]
    forward = world.checkpoint.get_reference(context.parameters.work.temperature)
    judge = lessons.judge_hotkey

    class Noisy:
        def measure(self, *arguments):
            first, *others = forward.measure(*arguments)
            margins = first.margins.copy()
            margins[0] = context.parameters.tests.margin_cap + 1
            return [replace(first, margins=margins), *others]

    def judge_noisily(*arguments, **options):
        return judge(*arguments, forward=Noisy(), **options)

    monkeypatch.setattr(lessons, "judge_hotkey", judge_noisily)
    monkeypatch.setattr(appeals, "APPEALS_A_WINDOW", APPEALS_MAX + 1)
    hotkeys = [world.hotkeys[name] for name in HONEST]
    readings = []
    for order in (hotkeys, hotkeys[::-1]):
        reading = lessons.WindowReading(context, [])
        for hotkey in order:
            reading.judge(hotkey, world.checkpoint, world.sources)
        readings.append(reading)
    first, second = readings
    assert first.sort_groups() == second.sort_groups()
    assert first.left_out == second.left_out
    assert [len(first.left_out[hotkey]) for hotkey in hotkeys] == [GROUPS - APPEALS_MAX] * 2
