"""The outer step a second time, by Python's fractions: no arithmetic of a library."""

import math
import struct
from fractions import Fraction

import numpy as np


def round_to_single(value: Fraction) -> Fraction:
    """To nearest even, by search over single floats: no arithmetic of a library."""
    near = np.float32(float(value))
    beside = [near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))]
    best = min(abs(Fraction(float(one)) - value) for one in beside)
    tied = [one for one in beside if abs(Fraction(float(one)) - value) == best]
    even = [one for one in tied if not struct.unpack("<I", struct.pack("<f", one))[0] & 1]
    return Fraction(float((even or tied)[0]))


def weigh_by_hand(differences):
    """Factors in units of 2^-24, by fractions alone."""
    count, middle = len(differences), (len(differences) - 1) // 2
    wholes = []
    for row in differences:
        power = Fraction(2) ** 200
        while power / 2 > max(map(abs, row)):
            power /= 2
        wholes.append([math.trunc(value / power * 2**20) * power for value in row])

    def multiply(one, other):
        return sum(a * b for a, b in zip(one, other, strict=True))

    def take_root(value):
        return math.isqrt(math.floor(value * 2**40))

    squares = [multiply(row, row) for row in wholes]
    median = sorted(squares)[middle]
    agreed = []
    for i, row in enumerate(wholes):
        cosines = []
        for j, other in enumerate(wholes):
            if i != j:
                product = max(Fraction(0), multiply(row, other))
                cosines.append(take_root(product**2 / (squares[i] * squares[j])))
        agreed.append(sorted(cosines)[-(count // 2)] if cosines else 0)
    usual = sorted(agreed)[middle]
    weights = []
    for square, one in zip(squares, agreed, strict=True):
        length = min(2**20, take_root(4 * square / median))
        weights.append(length * min(2 * one, usual) // usual if usual else length)
    shrunk = [min(2**20, take_root(4 * median / square)) for square in squares]
    return [16 * w * s // sum(weights) for w, s in zip(weights, shrunk, strict=True)]


def step_by_hand(rules, theta, velocity, children):
    """Each element's master and velocity after a round, from fractions."""
    r = round_to_single
    rate, momentum = (r(Fraction(p, 10**6)) for p in (rules.rate, rules.momentum))
    differences = [[r(c - t) for c, t in zip(child, theta, strict=True)] for child in children]
    factors = [Fraction(factor, 2**24) for factor in weigh_by_hand(differences)]
    after = []
    for place, (start, old) in enumerate(zip(theta, velocity, strict=True)):
        total = r(differences[0][place] * factors[0])
        for difference, factor in zip(differences[1:], factors[1:], strict=True):
            total = r(total + r(difference[place] * factor))
        speed = r(r(old * momentum) + total)
        after.append((r(start + r(r(r(speed * momentum) + total) * rate)), speed))
    return after
