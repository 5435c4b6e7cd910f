"""The problems of a miner: levels and parts in blocks, so that no miner's first problems are richer
than another's by more than a block.

A block asks every level in force as often as its weight says, in an order from the block's seed.
With levels drawn one by one, many hotkeys would look at their prompts, and each would stop before
its first poor problem. Specification, section 3.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from assay.environments.base import Environment, Problem
from assay.environments.steering import compute_asked_shares
from assay.protocol.manifest import LevelWeights
from assay.protocol.prf import Stream
from assay.protocol.seeds import compute_block_seed, compute_problem_seed

#: Most problems of a block.
BLOCK_MAX = 64
#: The golden section of 2^32: multiples of it are spread evenly modulo 2^32.
_SPREAD, _CYCLE = 2_654_435_769, 1 << 32


def make_miner_problem(
    environment: Environment, challenge_seed: bytes, hotkey: bytes, index: int, levels: LevelWeights
) -> Problem:
    """A miner's `index`-th problem.

    Args:
        levels: in force, of the checkpoint's manifest.

    Raises:
        ValueError: as `Environment.make_problem`.
    """
    level = deal_level(environment, challenge_seed, hotkey, index, levels)
    seed = compute_problem_seed(challenge_seed, hotkey, index)
    return environment.make_problem(seed, (level,))


def deal_level(
    environment: Environment, challenge_seed: bytes, hotkey: bytes, index: int, levels: LevelWeights
) -> int:
    """The level of a miner's `index`-th problem. Arguments and errors as `make_miner_problem`."""
    shares = compute_asked_shares(environment, levels)
    number, place = divmod(index, count_block(shares))
    dealt = deal_block(shares, compute_block_seed(challenge_seed, hotkey, number))
    return levels[dealt[place]].level


def count_block(shares: Sequence[int]) -> int:
    """The number of problems of a block: the sum of the shares, if that is not too large."""
    return min(sum(shares), BLOCK_MAX)


def deal_block(shares: Sequence[int], seed: bytes) -> list[int]:
    """A block's problems in order: for each, the place of its level.

    The shares follow each other on a line. Points at equal distances, the first drawn, meet each
    share as often as it holds them: exactly in proportion if a block has as many problems as the
    shares' sum, else rounded up or down, and in proportion on average over seeds. The points come
    in an order that spreads the points of any stretch of the line, such as a part's, evenly over
    the block. The place at which it begins is drawn.

    Args:
        shares: of each level, coprime.
        seed: of the block.
    """
    total, size = sum(shares), count_block(shares)
    stream = Stream(seed)
    first = stream.draw_below(total)
    ends = [size * end for end in accumulate(shares)]
    asked = [bisect_right(ends, first + total * point) for point in range(size)]
    begin = stream.draw_below(size)
    order = sorted(range(size), key=lambda point: _SPREAD * point % _CYCLE)
    return [asked[(begin + point) % size] for point in order]
