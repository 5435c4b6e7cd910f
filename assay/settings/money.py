"""Amounts of dollars, in whole micro-dollars: read from a flag, and written for people."""

import re
from fractions import Fraction

from assay.settings.loading import ConfigError

#: Micro-dollars of a dollar, and tokens of a million.
MICRO = 1_000_000
_DOLLARS = re.compile(r"\d{1,9}(\.\d{1,6})?", re.ASCII)
_HOUR_S = 3_600


def parse_hour_price(text: str, flag: str = "--price") -> int:
    """Micro-dollars from dollars an hour of one machine, as in `2.0/h`. Raises ConfigError."""
    amount, _, unit = text.strip().partition("/")
    if unit != "h":
        missing = f"{unit!r} is not its unit" if unit else "the unit is missing"
        raise ConfigError(
            f"{flag} {text[:40]!r}: {missing}: write dollars an hour of one machine, as in 2.0/h"
        )
    return _parse(amount, f"{flag} {text[:40]!r}", "2.0/h")


def parse_dollars(text: str, flag: str) -> int:
    """Micro-dollars from dollars, as in `350.5`. Raises ConfigError."""
    return _parse(text.strip(), f"{flag} {text[:40]!r}", "350.5")


def _parse(amount: str, where: str, example: str) -> int:
    if not _DOLLARS.fullmatch(amount):
        raise ConfigError(
            f"{where}: write dollars in digits, with at most six decimals, as in {example}"
        )
    micro = int(Fraction(amount) * MICRO)
    if not micro:
        raise ConfigError(f"{where}: a price is above 0, as in {example}")
    return micro


def compute_cost(price: int, seconds: float) -> int:
    """Micro-dollars for a machine of that price, micro-dollars an hour, for so many seconds."""
    return round(price * seconds / _HOUR_S)


def compute_million_cost(price: int, seconds: float, tokens: float) -> int | None:
    """Micro-dollars for a million tokens, where so many take so many seconds; None: there are
    none."""
    return round(price * seconds / _HOUR_S / tokens * MICRO) if tokens else None


def format_dollars(micro: int) -> str:
    """An amount for people: cents, or as many decimals as a small amount needs."""
    decimals = 2 if micro >= MICRO else 4 if micro >= MICRO // 100 else 6
    return f"${micro / MICRO:,.{decimals}f}"
