"""Files that fail narrowly, so that a validator measures them again: whatever that costs it, every
honest file is judged in its window."""

from dataclasses import replace

import pytest

from assay.artifacts.submissions import appeals
from assay.inference.implementations import PlainReference
from assay.inference.placing.devices import MemoryLackError
from assay.protocol import Reason
from tests.adversarial.conftest import make_world
from tests.adversarial.watched import Watched
from tests.quick_miner import QuickMiner

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
