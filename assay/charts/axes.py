"""Axes: the range that is drawn, and ticks at round numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from math import ceil, floor, isclose, log10

#: Ticks of an axis, at most.
_TICKS = 7
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def write_plain(value: float) -> str:
    """Thousands apart, three decimals at most; what they cannot show, with two digits."""
    if value and abs(value) < 0.01:
        return f"{value:.2g}".replace("e-0", "e-")
    return f"{round(value, 3):,}".removesuffix(".0")


def write_percent(share: float) -> str:
    """A share of 1 in percent, one decimal at most."""
    return f"{round(100 * share, 1):g} %"


def write_power(value: float) -> str:
    """A power of ten: 1, 10, 10⁻³."""
    if value in (1, 10):
        return f"{value:g}"
    return "10" + str(round(log10(value))).translate(_SUPERSCRIPTS)


@dataclass(frozen=True, slots=True)
class Axis:
    """What is drawn from `first` to `last`.

    label: the quantity and its unit. log: by the logarithm; what is below `first` is drawn there.
    """

    first: float
    last: float
    ticks: Sequence[float]
    label: str = ""
    log: bool = False
    write: Callable[[float], str] = write_plain

    def place(self, value: float) -> float:
        """0 at `first`, 1 at `last`; the middle of an axis without length."""
        if self.first == self.last:
            return 0.5
        if self.log:
            length = log10(self.last / self.first)
            return log10(max(value, self.first) / self.first) / length
        return (value - self.first) / (self.last - self.first)


def make_count_axis(values: Sequence[int], label: str, margin: float = 0) -> Axis:
    """From the least to the greatest of whole numbers; margin: what is drawn beyond both."""
    first, last = min(values, default=0), max(values, default=0)
    return Axis(
        first - margin, last + margin, list_whole_ticks(first, last) if values else [], label
    )


def make_share_axis(label: str) -> Axis:
    """From 0 to 100 %."""
    return Axis(0, 1, list_ticks(1), label, write=write_percent)


def make_log_axis(first: float, last: float, label: str) -> Axis:
    """Powers of ten within two positive ends."""
    low, high = ceil(log10(first) - 1e-9), floor(log10(last) + 1e-9)
    powers = range(low, high + 1, -(-(high - low + 1) // _TICKS) or 1)
    return Axis(first, last, [10.0**power for power in powers], label, log=True, write=write_power)


def list_ticks(top: float) -> list[float]:
    """Quarters of a share; else from zero to the first round number that is not below."""
    if top <= 1:
        return [0, 0.25, 0.5, 0.75, 1]
    step = _choose_step(ceil(top))
    return [float(step * n) for n in range(ceil(top / step) + 1)]


def list_real_ticks(low: float, high: float) -> list[float]:
    """Few multiples of 1, 2 or 5 times a power of ten, from one that is not above `low` to one that
    is not below `high`."""
    if isclose(low, high):
        high = low + (abs(low) or 1)
    step = 10.0 ** floor(log10((high - low) / _TICKS))
    factor = next(
        f for f in (1, 2, 5, 10, 20) if ceil(high / step / f) - floor(low / step / f) < _TICKS
    )
    step *= factor
    first, last = floor(low / step), ceil(high / step)
    return [float(f"{n * step:.12g}") for n in range(first, last + 1)]


def list_whole_ticks(first: int, last: int) -> list[int]:
    """Few whole numbers within both ends, each a multiple of 1, 2 or 5 times a power of ten."""
    step = _choose_step(last - first)
    return list(range(-(-first // step) * step, last + 1, step))


def _choose_step(length: int) -> int:
    step, factors = 1, cycle((2, 2.5, 2))
    while length // step >= _TICKS:
        step = int(step * next(factors))
    return step
