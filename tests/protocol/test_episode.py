"""The spans of a rollout: where ids alone end it, and how replies are woven in."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.protocol.episode import Reply, find_stop, split_turns, weave

COMPLETIONS = json.loads((Path(__file__).parents[1] / "vectors/completions.json").read_text())


@pytest.mark.parametrize("case", COMPLETIONS["completions"], ids=lambda case: case["about"])
def test_ids_alone_end_an_episode_where_the_vectors_do(case: Any) -> None:
    tokens, most = case["tokens"], COMPLETIONS["max_tokens"]
    stop = find_stop(np.isin(tokens, COMPLETIONS["end_tokens"]), case["turns"], most)
    if case["reason"] == "WRONG_TERMINATION":
        assert (stop == len(tokens), min(stop, len(tokens)) - 1) == (False, case["token"])
    elif case["reason"] is None:
        assert stop == len(tokens)


def test_turns_end_with_their_end_tokens() -> None:
    assert split_turns(np.array([False])) == [(0, 1)]
    assert split_turns(np.array([True])) == [(0, 1)]
    assert split_turns(np.array([False, True, True, False])) == [(0, 2), (2, 3), (3, 4)]


def test_replies_stand_between_turns() -> None:
    replies = (Reply(2, (7, 8)), Reply(3, ()), Reply(4, (9,)))
    assert weave([1, 2, 3, 4, 5], replies) == ([1, 2, 7, 8, 3, 4, 9, 5], [0, 1, 4, 5, 7])
    assert weave([1, 2], ()) == ([1, 2], [0, 1])
