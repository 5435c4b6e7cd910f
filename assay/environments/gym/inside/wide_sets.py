"""Sets in the order that CPython has on 64 bits. Here, on 32, tuples have other hashes."""

_MASK = (1 << 64) - 1
_P1, _P2, _P5 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x27D4EB2F165667C5
#: Places that are looked at one after the other, and bits by which the hash then moves.
_NEAR, _SHIFT = 9, 5


class WideSet:
    """A set, as far as `family_relationships` uses one. Items have small hashes, or are tuples of
    such."""

    def __init__(self, items=()):
        self._table, self._count = [None] * 8, 0
        self.update(items)

    def __iter__(self):
        return (item for item in self._table if item is not None)

    def __len__(self):
        return self._count

    def __contains__(self, item):
        return self._table[self._find(item)] is not None

    def __eq__(self, other):
        return len(self) == len(other) and all(item in other for item in self)

    __hash__ = None

    def update(self, items):
        for item in items:
            self.add(item)

    def add(self, item):
        place = self._find(item)
        if self._table[place] is not None:
            return
        self._table[place] = item
        self._count += 1
        if self._count * 5 >= (len(self._table) - 1) * 3:
            held, size = list(self), 8
            while size <= self._count * 4:
                size *= 2
            self._table = [None] * size
            for one in held:
                self._table[self._find(one)] = one

    def _find(self, item):
        """The place of an item, or the one that it gets."""
        table = self._table
        mask, rest = len(table) - 1, _hash(item)
        place = rest & mask
        while True:
            near = _NEAR if place + _NEAR <= mask else 0
            for found in range(place, place + near + 1):
                if table[found] is None or table[found] == item:
                    return found
            rest >>= _SHIFT
            place = (place * 5 + 1 + rest) & mask


def _hash(item):
    if not isinstance(item, tuple):
        return hash(item) & _MASK
    total = _P5
    for one in item:
        total = (total + hash(one) * _P2) & _MASK
        total = ((total << 31 | total >> 33) * _P1) & _MASK
    return (total + (len(item) ^ _P5 ^ 3527539)) & _MASK
