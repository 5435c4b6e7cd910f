"""Of numpy what datasets of reasoning-gym use, with the same results: small arrays, its rounding,
and two of its generators of random numbers. A value beside those is Python's own."""

import math
import random as _random
from functools import reduce
from types import SimpleNamespace

_M32, _M64, _M128 = (1 << 32) - 1, (1 << 64) - 1, (1 << 128) - 1
int64 = int
str_ = str
object_ = object
float32 = None


class float64(float):
    """Rounds as numpy does, which is not always to the nearest decimal."""

    def __round__(self, decimals=0):
        return round(self, decimals)


class ndarray(list):
    """An array of one dimension, or of several: a list of arrays."""

    @property
    def shape(self):
        inner = self[0].shape if self and isinstance(self[0], ndarray) else ()
        return (len(self), *inner)

    def __getitem__(self, key):
        if isinstance(key, list):
            return ndarray(self[number] for number in key)
        if not isinstance(key, tuple):
            found = list.__getitem__(self, key)
            return ndarray(found) if isinstance(key, slice) else found
        first, rest = key[0], key[1:]
        found = list.__getitem__(self, first)
        if not rest:
            return ndarray(found) if isinstance(first, slice) else found
        return ndarray(one[rest] for one in found) if isinstance(first, slice) else found[rest]

    def __setitem__(self, key, value):
        if not isinstance(key, tuple):
            key = (key,)
        first, rest = key[0], key[1:]
        if not isinstance(first, slice):
            if rest:
                list.__getitem__(self, first)[rest] = value
            else:
                list.__setitem__(self, first, value)
            return
        for place, number in enumerate(range(*first.indices(len(self)))):
            part = value[place] if isinstance(value, list) else value
            self[(number, *rest)] = part

    def __truediv__(self, other):
        return ndarray(one / other for one in self)

    def __eq__(self, other):
        return ndarray(one == other for one in self)

    def __or__(self, other):
        return ndarray(a | b for a, b in zip(self, other, strict=True))

    __hash__ = None

    def tolist(self):
        return [one.tolist() if isinstance(one, ndarray) else one for one in self]

    def flatten(self):
        if not isinstance(self[0], ndarray):
            return ndarray(self)
        return ndarray(value for one in self for value in one.flatten())

    def tobytes(self):
        return "".join(self.flatten()).encode("utf-32-le")


def array(values, dtype=None):
    if not isinstance(values, list | tuple):
        return values
    return ndarray(array(value) for value in values)


def full(shape, value, dtype=None):
    if not shape:
        return value
    return ndarray(full(shape[1:], value) for _ in range(shape[0]))


def empty(shape, dtype=None):
    return full(shape, None)


def zeros(shape, dtype=None):
    return full(shape, 0)


def where(found):
    """Rows and columns of what is true in an array of two dimensions."""
    places = [(i, j) for i, row in enumerate(found) for j, value in enumerate(row) if value]
    return [i for i, _ in places], [j for _, j in places]


def rot90(turned, times, axes):
    """Of two or three dimensions, in the plane of two of them, in ascending order."""
    first, second = axes
    if first > 0:
        return ndarray(rot90(part, times, (first - 1, second - 1)) for part in turned)
    if second == 2:
        moved = rot90(ndarray(map(_transpose, turned)), times, (0, 1))
        return ndarray(map(_transpose, moved))
    for _ in range(times % 4):
        turned = _transpose(turned)[::-1]
    return turned


def _transpose(rows):
    return ndarray(map(ndarray, zip(*rows, strict=True)))


def all(values):
    return bool(reduce(lambda a, b: a and b, values, True))


def any(values):
    return bool(reduce(lambda a, b: a or b, values, False))


def sum(values):
    total = 0
    for value in _flatten(values):
        total += value
    return total


def max(values):
    return sorted(_flatten(values))[-1]


def mean(values):
    flat = _flatten(values)
    return float64(sum(flat) / len(flat))


def _flatten(values):
    return values.flatten() if isinstance(values, ndarray) else values


def exp(values):
    return ndarray(map(math.exp, values))


def abs(value):
    return value if value >= 0 else -value


def round(value, decimals=0):
    power = 10.0**decimals
    moved = value * power
    whole = math.floor(moved)
    rest = moved - whole
    if rest > 0.5 or (rest == 0.5 and whole % 2):
        whole += 1
    return float64(math.copysign(float(whole), moved) / power)


class _Legacy:
    """`numpy.random.seed` and `randint`: the Mersenne twister, seeded by one number."""

    def __init__(self):
        self._bits = _random.Random()

    def seed(self, number):
        state = [number & _M32]
        for place in range(1, 624):
            before = state[-1]
            state.append((1812433253 * (before ^ (before >> 30)) + place) & _M32)
        self._bits.setstate((3, (*state, 624), None))

    def randint(self, low, high, shape):
        if len(shape) > 1:
            return ndarray(self.randint(low, high, shape[1:]) for _ in range(shape[0]))
        return ndarray(self._draw(low, high - low - 1) for _ in range(shape[0]))

    def _draw(self, low, most):
        mask = (1 << most.bit_length()) - 1
        while (drawn := self._bits.getrandbits(32) & mask) > most:
            pass
        return low + drawn


class Generator:
    """`numpy.random.default_rng`: PCG64, seeded by a `SeedSequence` of one number."""

    def __init__(self, seed):
        words = _spread(seed)
        start, stream = (words[0] << 64) | words[1], (words[2] << 64) | words[3]
        self._step = (stream << 1 | 1) & _M128
        self._state = self._half = 0
        self._has_half = False
        self._move()
        self._state = (self._state + start) & _M128
        self._move()

    def _move(self):
        self._state = (self._state * 0x2360ED051FC65DA44385DF649FCCF645 + self._step) & _M128

    def _draw64(self):
        self._move()
        mixed, turn = (self._state >> 64) ^ (self._state & _M64), self._state >> 122
        return (mixed >> turn | mixed << (-turn & 63)) & _M64

    def _draw32(self):
        if self._has_half:
            self._has_half = False
            return self._half
        drawn = self._draw64()
        self._has_half, self._half = True, drawn >> 32
        return drawn & _M32

    def _draw(self, most):
        """A number from 0 to `most`, by Lemire's method."""
        if most == 0:
            return 0
        count = most + 1
        product = self._draw32() * count
        if product & _M32 < count:
            least = (_M32 - most) % count
            while product & _M32 < least:
                product = self._draw32() * count
        return product >> 32

    def integers(self, low, high):
        return low + self._draw(high - low - 1)

    def choice(self, values, size=None, replace=True):
        if size is None:
            return values[self._draw(len(values) - 1)]
        chosen = []  # Floyd's way
        for most in range(len(values) - size, len(values)):
            drawn = self._draw(most)
            chosen.append(most if drawn in chosen else drawn)
        for place in range(size - 1, 0, -1):
            other = self._draw(place)
            chosen[place], chosen[other] = chosen[other], chosen[place]
        return ndarray(values[number] for number in chosen)


def _spread(seed):
    """Four numbers of 64 bits, as a `SeedSequence` makes them of a number."""
    constant, pool = 0x43B0D7E5, []

    def mix_in(value):
        nonlocal constant
        value ^= constant
        constant = constant * 0x931E8875 & _M32
        value = value * constant & _M32
        return value ^ value >> 16

    def mix(a, b):
        value = (0xCA01F9DD * a - 0x4973F715 * b) & _M32
        return value ^ value >> 16

    given = [seed & _M32, *([seed >> 32] if seed >> 32 else ())]
    pool = [mix_in(given[n] if n < len(given) else 0) for n in range(4)]
    for source in range(4):
        for place in range(4):
            if source != place:
                pool[place] = mix(pool[place], mix_in(pool[source]))
    constant, words = 0x8B51F9DD, []
    for n in range(8):
        value = pool[n % 4] ^ constant
        constant = constant * 0x58F38DED & _M32
        value = value * constant & _M32
        words.append(value ^ value >> 16)
    return [low | high << 32 for low, high in zip(words[::2], words[1::2], strict=True)]


_legacy = _Legacy()
random = SimpleNamespace(
    seed=_legacy.seed, randint=_legacy.randint, default_rng=Generator, Generator=Generator
)
