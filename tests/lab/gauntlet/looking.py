"""Looking first: an operator of many hotkeys sees all prompts, and lets each hotkey work only up to
the problem at which stopping pays best.

A prompt shows its part, its level and its length. From these the operator expects a cost and a
value. It works for the prefix of each hotkey's problems that is worth most at its going rate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from assay.environments.base import Environment
from assay.environments.dealing import deal_level
from assay.protocol.manifest import LevelWeights
from assay.protocol.parameters import MILLION, Work
from assay.verification import compute_value
from assay.verification.settlement import UNPAID_GROUPS

_SIZES = 32


@dataclass(frozen=True, slots=True)
class LevelPay:
    """What the operator expects of a group of one level: first tokens' costs, and value."""

    cost: float
    value: float


@dataclass(frozen=True, slots=True)
class Engine:
    """The cost of tokens, with 1 for a completion's first."""

    prompt: float  # of a prompt's token
    late: float  # that each own token before it adds to a completion's token


def compute_level_pay(
    work: Work,
    engine: Engine,
    *,
    success: float,
    prompt_tokens: int,
    lengths: Sequence[int],
    kept: int = MILLION,
) -> LevelPay:
    """What to expect of a group whose rollouts are right with one probability, and otherwise worth
    nothing.

    Args:
        success: that probability.
        kept: the reward of a right one, millionths: what its length leaves.
        lengths: tokens of completions, of any number: a group has `group_size` of such.
    """
    size, count = work.group_size, len(lengths)
    values = [
        compute_value(
            work,
            lengths=lengths,
            prompt_tokens=prompt_tokens * count // size,
            mean_reward=kept * right // size,
            mean_correctness=MILLION * right // size,
        )
        for right in range(size + 1)
    ]
    chances = [
        comb(size, right) * success**right * (1 - success) ** (size - right)
        for right in range(size + 1)
    ]
    value = sum(c * v for c, v in zip(chances, values, strict=True)) * size / count
    cost = sum(t + engine.late * t * (t - 1) / 2 for t in lengths) * size / count
    return LevelPay(cost + engine.prompt * prompt_tokens, value)


def deal_levels(
    environment: Environment, levels: LevelWeights, hotkeys: int, problems: int
) -> NDArray[np.int64]:
    """The levels of many hotkeys' first problems, as the protocol deals them: [hotkeys,
    problems]."""
    keys = [number.to_bytes(_SIZES, "big") for number in range(hotkeys)]
    dealt = [
        [deal_level(environment, bytes(_SIZES), key, index, levels) for index in range(problems)]
        for key in keys
    ]
    return np.array(dealt, np.int64)


def compute_looking_gain(
    asked: NDArray[np.int64],
    pays: Mapping[int, LevelPay],
    price: float,
    unpaid: float = float(UNPAID_GROUPS),
) -> float:
    """The largest income for each unit of cost, relative to that of working without looking, less
    1.

    Args:
        asked: levels of the hotkeys' problems, [hotkeys, problems].
        pays: of each level.
        price: of a hotkey, used or not, in the cost of a mean group.
        unpaid: groups of each submission that are not paid.
    """
    levels, places = np.unique(asked, return_inverse=True)
    places = places.reshape(asked.shape)
    costs = np.array([pays[int(level)].cost for level in levels])[places]
    values = np.array([pays[int(level)].value for level in levels])[places]
    done = np.arange(1, asked.shape[1] + 1)
    paid = np.cumsum(values, axis=1) * (1 - unpaid / done)
    spent = np.cumsum(costs, axis=1)
    honest, held = paid[:, -1].sum() / costs.sum(), price * costs.mean()
    low, high = honest, 4 * honest
    while high - low > 1e-6 * honest:
        rate = (low + high) / 2
        worth = (paid - rate * spent).max(axis=1)
        surplus = np.maximum(worth, 0.0).mean() - rate * held
        low, high = (rate, high) if surplus > 0 else (low, rate)
    return float(low / honest - 1)
