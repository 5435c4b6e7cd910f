"""Made-up groups of a large model, and costly ones, for measurements of bytes alone.

They have 16 completions of 230 tokens on average, with ids of 151,936. Log-probabilities and
sketches have a model's distributions. Ids follow Zipf's law or are uniform.
"""

from collections.abc import Callable
from unittest.mock import patch

import numpy as np

from assay.protocol import submission
from assay.protocol.bit_fields import Integers
from assay.protocol.prefix_code import PrefixCode, make_prefix_code
from assay.protocol.submission import LOGPROB_MAX, Rollout, encode_group, get_id_bits

SIZE, TOKENS, VOCABULARY = 16, 230, 151_936
ID_BITS = get_id_bits(VOCABULARY)
#: A group's head, ids and proofs.
Parts = tuple[bytes, bytes, bytes]
#: Draws this many ids.
Draw = Callable[[int], Integers]

_CLASS_BITS = 5


def draw_uniformly(random: np.random.Generator) -> Draw:
    return lambda count: random.integers(0, VOCABULARY, count)


def draw_by_zipf(random: np.random.Generator, exponent: float) -> Draw:
    """A draw that gives the k-th id, in an order drawn once, with a frequency of k^-exponent."""
    ends = np.cumsum(compute_zipf(exponent))
    ids = random.permutation(VOCABULARY)
    return lambda count: ids[np.searchsorted(ends, random.random(count) * ends[-1])]


def compute_zipf(exponent: float) -> np.ndarray:
    weights: np.ndarray = np.arange(1, VOCABULARY + 1) ** -exponent
    return weights / weights.sum()


def make_groups(random: np.random.Generator, count: int, draw: Draw) -> list[list[Rollout]]:
    """Groups whose lengths are evenly spread from half to one and a half times the mean."""
    lengths = np.linspace(TOKENS // 2, TOKENS * 3 // 2, count * SIZE).round().astype(int)
    rows = random.permutation(lengths).reshape(count, SIZE).tolist()
    return [[_make_rollout(random, draw(length)) for length in row] for row in rows]


def _make_rollout(random: np.random.Generator, ids: Integers) -> Rollout:
    count = len(ids)
    logprobs = np.minimum(random.gamma(0.3, 2, count) * 65_536, LOGPROB_MAX)
    sketch = np.rint(random.normal(0, 32, (count, 2))).clip(-127, 127)
    return Rollout(ids.astype(np.uint32), logprobs.astype(np.uint32), sketch.astype(np.int8))


def make_dear_group(random: np.random.Generator, group: list[Rollout]) -> Parts:
    """The most costly known parts of a group's lengths that a whole reading still accepts: as many
    different ids as are still coded, and proofs of as many bits as possible."""
    total = sum(len(rollout.tokens) for rollout in group)
    for percent in range(90, 0, -1):
        symbols = np.sort(random.permutation(VOCABULARY)[: total * percent // 100])
        more = random.choice(symbols, total - len(symbols))
        ids = random.permutation(np.concatenate([symbols, more]))
        if len(make_prefix_code(ids, ID_BITS).symbols):
            break
    rows, at = [], 0
    for rollout in group:
        rows.append(_make_dear_rollout(ids[at : at + len(rollout.tokens)]))
        at += len(rollout.tokens)
    return _encode(rows)


def make_padded_group(random: np.random.Generator, group: list[Rollout]) -> Parts:
    """The most costly known parts that are accepted if not all of the group is read: a single id of
    one bit, in a code with as many symbols as tokens, of 24 lengths."""
    total = sum(len(rollout.tokens) for rollout in group)
    lengths, depth, free = [1], 9, 256
    while len(lengths) + free + free // 2 <= total and depth < 31:
        lengths += [depth] * (free // 2)
        depth, free = depth + 1, 2 * (free - free // 2)
    lengths += [depth] * free
    symbols = random.permutation(np.arange(1, VOCABULARY))[: len(lengths) - 1]
    by_length = np.array(lengths)
    order = np.lexsort((symbols, by_length[1:]))  # the first one stays: 0, of one bit
    code = PrefixCode(ID_BITS, np.concatenate([[0], symbols[order]]), by_length)
    return _encode([_make_dear_rollout(0 * row.tokens) for row in group], code)


def _make_dear_rollout(ids: np.ndarray) -> Rollout:
    count = len(ids)
    sketch = np.full((count, 2), -127, np.int8)
    return Rollout(ids.astype(np.uint32), np.full(count, LOGPROB_MAX, np.uint32), sketch)


def _encode(group: list[Rollout], ids_code: PrefixCode | None = None) -> Parts:
    """A group's parts, with a code of the classes in which the largest takes 24 bits."""
    class_code = PrefixCode(_CLASS_BITS, np.arange(25), np.array([*range(1, 25), 24]))

    def make(numbers: Integers, symbol_bits: int) -> PrefixCode:
        if symbol_bits == _CLASS_BITS:
            return class_code
        return ids_code or make_prefix_code(numbers, symbol_bits)

    with patch.object(submission, "make_prefix_code", make):
        return encode_group(group, ID_BITS)
