"""Exact arithmetic on sums of rational multiples of √n and of powers of π.

Every result is bounded, so no text can make arithmetic slow. Two sums are equal exactly if their
terms are: square roots of different squarefree integers and powers of π are linearly independent
over the rationals.
"""

from fractions import Fraction
from functools import lru_cache
from typing import NoReturn

#: Limits: bits of a numerator or denominator, radicand, exponent, terms of a sum.
_BITS_MAX, _RADICAND_MAX, EXPONENT_MAX, _TERMS_MAX = 1_024, 10**6, 64, 16
#: Products of two terms for one text, which together take some tens of milliseconds at most.
PRODUCTS_MAX = 1_000

#: (power of π, squarefree n) → coefficient of π^power · √n, never zero. Zero is the empty sum.
Terms = dict[tuple[int, int], Fraction]


class UnknownError(Exception):
    """The grammar does not know the text, or a number exceeds a limit."""


def refuse() -> NoReturn:
    raise UnknownError


def trim(terms: Terms) -> Terms:
    nonzero = {key: value for key, value in terms.items() if value}
    if len(nonzero) > _TERMS_MAX:
        refuse()
    for (power, _), value in nonzero.items():
        above, below = value.as_integer_ratio()
        if above.bit_length() > _BITS_MAX or below.bit_length() > _BITS_MAX:
            refuse()
        if abs(power) > EXPONENT_MAX:
            refuse()
    return nonzero


def scale(terms: Terms, sign: int) -> Terms:
    """The terms by 1 or -1."""
    return terms if sign > 0 else {key: -value for key, value in terms.items()}


def add(one: Terms, other: Terms) -> Terms:
    return trim({key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}})  # type: ignore[misc]


def multiply(one: Terms, other: Terms) -> Terms:
    product: Terms = {}
    for (power, n), value in one.items():
        for (other_power, m), other_value in other.items():
            square, rest = _split_square(n * m)
            key, term = (power + other_power, rest), value * other_value
            term = term if square == 1 else term * square
            product[key] = product[key] + term if key in product else term
    return trim(product)


def divide(one: Terms, other: Terms) -> Terms:
    """Divide by a single term, or by a sum of two terms without π, through its conjugate."""
    if len(other) == 2 and all(power == 0 for power, _ in other):
        (first, a), (second, b) = sorted(other.items())
        conjugate = {first: a, second: -b}
        return divide(multiply(one, conjugate), multiply(other, conjugate))
    if len(other) != 1:
        refuse()
    (((power, n), value),) = other.items()
    if power == 0 and n == 1:
        return trim({key: above / value for key, above in one.items()})
    # 1 / (v · √n) = √n / (v · n)
    return multiply(one, {(-power, n): 1 / (value * n)})


def root(terms: Terms) -> Terms:
    """The root of a non-negative rational: √(a / b) = √(a · b) / b."""
    if not terms:
        return {}
    if terms.keys() != {(0, 1)} or terms[0, 1] < 0:
        refuse()
    value = terms[0, 1]
    square, rest = _split_square(value.numerator * value.denominator)
    return trim({(0, rest): Fraction(square, value.denominator)})


@lru_cache(maxsize=1 << 14)
def _split_square(n: int) -> tuple[int, int]:
    """s and r with n = s² · r and r squarefree."""
    if n > _RADICAND_MAX:
        refuse()
    square, divisor = 1, 2
    while divisor * divisor <= n:
        while n % (divisor * divisor) == 0:
            n //= divisor * divisor
            square *= divisor
        divisor += 1
    return square, n
