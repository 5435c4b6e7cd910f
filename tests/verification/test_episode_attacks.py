"""Episodes that were not played as their world and the keyed draw say: each by the test that shows
it. One rollout of a group is forged."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from assay.lab.gauntlet.forged_episodes import FORGERIES, Forger, Logits
from assay.protocol.reason import Reason
from assay.protocol.submission import Rollout
from assay.verification import compute_score
from tests.verification import echo

World = Any  # conftest.EchoWorld: tests cannot import a conftest


@pytest.fixture
def forger(echoing: World) -> echo.EchoForger:
    """Of the target."""
    return echo.EchoForger(echoing, *echoing.target)


def require_refused(echoing: World, forged: Rollout, reason: Reason) -> None:
    index, r = echoing.target
    draft = echoing.mine()
    draft.groups[index][r] = forged
    verdict = echoing.judge(draft, groups=[index])
    assert (verdict.reason, verdict.fault.group, verdict.fault.rollout) == (reason, index, r), (
        verdict.detail
    )
    assert compute_score(verdict) == 0


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_episode_is_refused_for_what_it_is(
    echoing: World, forger: Forger, name: str
) -> None:
    reason, forge = FORGERIES[name]
    require_refused(echoing, forge(forger), reason)


def test_a_reply_that_was_not_cut(echoing: World, forger: Forger) -> None:
    """The cut at reply_bytes is the protocol's, not the world's."""
    first = forger.honest.turns[0]

    def say(number: int, ids: tuple[int, ...]) -> Sequence[int]:
        return ids if number else (*ids, *first[len(ids) - 2 : -1])

    require_refused(echoing, forger.hear(say), Reason.SKETCH_MISMATCH)


def test_replies_of_another_rollout(echoing: World, forger: Forger) -> None:
    other = forger.neighbour.heard
    forged = forger.hear(lambda number, ids: other[number % len(other)].ids)
    require_refused(echoing, forged, Reason.SKETCH_MISMATCH)


def test_later_turns_of_another_model(echoing: World, forger: Forger) -> None:
    """Its own draws and proofs, behind an honest first turn."""
    first, honest = len(forger.honest.turns[0]), echoing.forward.model
    one = forger.honest
    genuine = forger.prove(one.tokens, one.heard)
    echoing.forward.model = type(honest)(honest.model, seed=10**6)
    try:

        def begin(logits: Logits, t: int, _: int) -> int:
            return one.tokens[t] if t < first else forger.draw(logits, t)

        forged = forger.draw_by(begin)
    finally:
        echoing.forward.model = honest
    mixed = Rollout(
        forged.tokens,
        np.concatenate([genuine.logprobs[:first], forged.logprobs[first:]]),
        np.concatenate([genuine.sketch[:first], forged.sketch[first:]]),
    )
    require_refused(echoing, mixed, Reason.SKETCH_MISMATCH)
