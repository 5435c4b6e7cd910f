"""A validator without a model reads a file's verdict from what others mirror, and copies scores.

The samples of a window are drawn when many audits are judged, and verdicts are final long after
that. So what a validator mirrors, and when, may not depend on what it has found.
"""

import time
from dataclasses import replace

import numpy as np
import torch

from assay.artifacts.store_objects import make_mirror_name
from assay.artifacts.submissions.mirror_writer import MirrorWriter
from assay.artifacts.submissions.read_ahead import ReadAhead
from assay.network.store.folder import open_folder
from assay.protocol.commitment import Commitment, Tag, encode_commitment, make_object_name
from assay.protocol.reason import Reason
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import Phase, compute_block
from tests.adversarial.conftest import LOCATOR, make_world
from tests.adversarial.watched import Watched

HONEST, CHEAT = MINERS = ("alice", "bob")
#: Seconds for what other threads do.
PATIENCE_S = 60.0


def cheat(world, name):
    """Commit to the same file with made-up log-probabilities, which only the model refutes."""
    groups = [
        [replace(rollout, logprobs=np.full_like(rollout.logprobs, 1 << 18)) for rollout in group]
        for group in world.genuine(name, 0)
    ]
    data, root = world.encode(name, 0, groups)
    hotkey = world.hotkeys[name]
    world.sources.stores[LOCATOR].put(make_object_name(encode_ss58(hotkey), 0), data)
    payload = encode_commitment(Commitment(Tag.MINER, 0, len(groups), root, LOCATOR))
    world.chain.set_commitment(hotkey, payload)


def watch(folder):
    """Play a window. Return its world, the validator, and for each miner the blocks at which its
    samples were first mirrored and its audit was judged."""
    world = make_world(folder, MINERS, last=0)
    store = open_folder(folder / "mirror")
    mirror = MirrorWriter(store, 2)
    ahead = ReadAhead(world.sources, mirror.put, threads=4)
    validator = Watched(world, ahead=ahead)
    mirrored, judged_at = {}, {}
    try:
        while not validator.windows:
            world.mint()
            head = world.chain.get_head()
            if head == compute_block(world.parameters.timing, 0, Phase.COMMIT) - 1:
                cheat(world, CHEAT)
            end = time.monotonic() + PATIENCE_S
            while validator.validator.step() or ahead.counts[0] or mirror.held_bytes:
                assert time.monotonic() < end
            window = validator.validator.judged_windows.get(0)
            if window is None or window.context is None:
                continue
            for name in world.miners:
                hotkey = world.hotkeys[name]
                if hotkey in window.verdicts or hotkey in window.provisional:
                    judged_at.setdefault(name, head)
                root = window.context.commitments[hotkey].root
                if store.get(make_mirror_name(0, root, samples=True), 1 << 24) is not None:
                    mirrored.setdefault(name, head)
    finally:
        ahead.close()
        mirror.close()
    return world, validator.windows[0], mirrored, judged_at


def test_samples_are_mirrored_alike_whatever_the_verdict(tmp_path):
    torch.set_num_threads(1)
    world, window, mirrored, judged_at = watch(tmp_path)
    reasons = {name: window.verdicts[world.hotkeys[name]].reason for name in world.miners}
    assert reasons == {HONEST: Reason.ACCEPTED, CHEAT: Reason.LOGPROB_MISMATCH}
    assert max(judged_at.values()) < mirrored[HONEST] == mirrored[CHEAT]
