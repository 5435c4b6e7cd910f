"""Exact numbers of answers in mathematics: sums of rational multiples of √n and of powers of π.

Each result is bounded, so that no text makes a number that takes long. Two sums are the same number
where they have the same terms: square roots of different squarefree integers, and powers of π, have
no rational relation among them.
"""

from fractions import Fraction
from functools import lru_cache
from typing import NoReturn

#: Bits of a numerator or denominator; largest radicand and exponent; terms of a sum.
_BITS_MAX, _RADICAND_MAX, EXPONENT_MAX, _TERMS_MAX = 1_024, 10**6, 64, 16
#: Products of two terms that one text may ask for: none takes more than some tens of milliseconds.
PRODUCTS_MAX = 1_000

#: (power of π, squarefree n) → coefficient of π^power · √n; without zeros. 0 is empty.
Terms = dict[tuple[int, int], Fraction]


class UnknownError(Exception):
    """The grammar does not know it, or it is out of bounds."""


def refuse() -> NoReturn:
    raise UnknownError


def trim(terms: Terms) -> Terms:
    kept = {key: value for key, value in terms.items() if value}
    if len(kept) > _TERMS_MAX:
        refuse()
    for (power, _), value in kept.items():
        if max(value.numerator.bit_length(), value.denominator.bit_length()) > _BITS_MAX:
            refuse()
        if abs(power) > EXPONENT_MAX:
            refuse()
    return kept


def scale(terms: Terms, factor: Fraction) -> Terms:
    return trim({key: value * factor for key, value in terms.items()})


def add(one: Terms, other: Terms) -> Terms:
    return trim({key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}})  # type: ignore[misc]


def multiply(one: Terms, other: Terms) -> Terms:
    product: Terms = {}
    for (power, n), value in one.items():
        for (other_power, m), other_value in other.items():
            square, rest = _split_square(n * m)
            key = power + other_power, rest
            product[key] = product.get(key, Fraction(0)) + value * other_value * square
    return trim(product)


def divide(one: Terms, other: Terms) -> Terms:
    """By a single term, or by a sum of two without π: by its conjugate over its norm."""
    if len(other) == 2 and all(power == 0 for power, _ in other):
        (first, a), (second, b) = sorted(other.items())
        conjugate = {first: a, second: -b}
        return divide(multiply(one, conjugate), multiply(other, conjugate))
    if len(other) != 1:
        refuse()
    (((power, n), value),) = other.items()
    # 1 / (v · √n) = √n / (v · n)
    return multiply(one, {(-power, n): 1 / (value * n)})


def root(terms: Terms) -> Terms:
    """Of a rational that is not negative: √(a / b) = √(a · b) / b."""
    if not terms:
        return {}
    if terms.keys() != {(0, 1)} or terms[0, 1] < 0:
        refuse()
    value = terms[0, 1]
    square, rest = _split_square(value.numerator * value.denominator)
    return trim({(0, rest): Fraction(square, value.denominator)})


@lru_cache(maxsize=1 << 14)
def _split_square(n: int) -> tuple[int, int]:
    """s, r with n = s² · r and r free of squares."""
    if n > _RADICAND_MAX:
        refuse()
    square, divisor = 1, 2
    while divisor * divisor <= n:
        while n % (divisor * divisor) == 0:
            n //= divisor * divisor
            square *= divisor
        divisor += 1
    return square, n
