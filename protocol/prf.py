"""Pseudorandom functions: the byte stream behind every draw, and the words behind every token.

There are two of them. `Stream` (SHAKE-256) draws few numbers, each unbiased: the groups and the
positions that are audited, and the problems of an environment. `compute_word` (Philox4x32-10) gives
the 32-bit word of any (token position, vocabulary id) at random access, identical in Python, numpy
(`words`) and torch.

Specification, sections 1 and 3. Source of Philox: Salmon et al., "Parallel random numbers: as easy
as 1, 2, 3" (SC 2011). `numpy.random.Philox` is the 4x64 variant and cannot be used.
"""

from collections.abc import Sequence
from hashlib import shake_256
from struct import unpack
from typing import TypeVar

from assay.protocol.hashing import DIGEST_BYTES

_T = TypeVar("_T")

_WORDS = 2**64
#: Constants of Philox.
MASK32 = 0xFFFFFFFF
PHILOX_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
PHILOX_WEYL = 0x9E3779B9, 0xBB67AE85
PHILOX_ROUNDS = 10

#: A rollout's key: the first 16 bytes of its seed as four little-endian u32.
Key = tuple[int, int, int, int]


class Stream:
    """Uniform integers from a 32-byte seed: SHAKE-256 read as big-endian u64.

    The same seed always gives the same numbers. There is no other state.
    """

    def __init__(self, seed: bytes) -> None:
        if len(seed) != DIGEST_BYTES:
            raise ValueError(f"a stream's seed has {DIGEST_BYTES} bytes, not {len(seed)}")
        self._seed = seed
        self._words: tuple[int, ...] = ()
        self._next = 0

    def draw_u64(self) -> int:
        """The next eight bytes as an integer in [0, 2^64)."""
        if self._next == len(self._words):  # hashlib cannot squeeze further: double
            count = max(32, 2 * len(self._words))
            self._words = unpack(f">{count}Q", shake_256(self._seed).digest(8 * count))
        word = self._words[self._next]
        self._next += 1
        return word

    def draw_below(self, bound: int) -> int:
        """Unbiased integer in [0, bound), by rejection. `bound` in [1, 2^64]."""
        if not 1 <= bound <= _WORDS:
            raise ValueError(f"bound {bound} is outside [1, 2^64]")
        limit = _WORDS - _WORDS % bound
        while (word := self.draw_u64()) >= limit:
            pass
        return word % bound

    def draw_flips(self, count: int) -> list[bool]:
        """`count` results of `draw_below(2) == 1`."""
        end = self._next + count
        if end > len(self._words):
            return [self.draw_u64() & 1 == 1 for _ in range(count)]
        words = self._words[self._next : end]
        self._next = end
        return [word & 1 == 1 for word in words]

    def draw_between(self, low: int, high: int) -> int:
        """Unbiased integer in [low, high], both ends included."""
        return low + self.draw_below(high - low + 1)

    def choose(self, options: Sequence[_T]) -> _T:
        """One of `options`, each equally likely."""
        return options[self.draw_below(len(options))]

    def sample(self, population: int, count: int) -> list[int]:
        """`count` distinct integers of [0, population) in the order drawn (Fisher–Yates).

        A longer sample from the same seed starts with the shorter one.
        """
        if not 0 <= count <= population:
            raise ValueError(f"cannot draw {count} of {population} without replacement")
        moved: dict[int, int] = {}
        drawn = []
        for i in range(count):
            j = self.draw_between(i, population - 1)
            drawn.append(moved.get(j, j))
            moved[j] = moved.get(i, i)
        return drawn


def compute_key(seed: bytes) -> Key:
    """Philox key words s0..s3 of a 32-byte seed: its first 16 bytes, little endian."""
    if len(seed) != DIGEST_BYTES:
        raise ValueError(f"a seed has {DIGEST_BYTES} bytes, not {len(seed)}")
    s0, s1, s2, s3 = (int.from_bytes(seed[i : i + 4], "little") for i in (0, 4, 8, 12))
    return s0, s1, s2, s3


def compute_philox(counter: Key, key: tuple[int, int]) -> Key:
    """Philox4x32-10 on Python integers: the normative form, slow."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(PHILOX_ROUNDS):
        p0, p1 = PHILOX_MULTIPLIERS[0] * c0, PHILOX_MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & MASK32, (p0 >> 32) ^ c3 ^ k1, p0 & MASK32
        k0, k1 = (k0 + PHILOX_WEYL[0]) & MASK32, (k1 + PHILOX_WEYL[1]) & MASK32
    return c0, c1, c2, c3


def compute_word(key: Key, position: int, token: int) -> int:
    """word(t, v) in [0, 2^32): output v & 3 of Philox with counter (v >> 2, t, s2, s3)."""
    s0, s1, s2, s3 = key
    return compute_philox((token >> 2, position, s2, s3), (s0, s1))[token & 3]
