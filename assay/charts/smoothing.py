"""Smooths a noisy curve: an exponential moving average, as TensorBoard and W&B draw it."""

from collections.abc import Sequence

#: Weight of what came before, and points from which on a line is drawn smoothed. `curves.js` of the
#: explorer begins with the same.
WEIGHT, POINTS = 0.6, 8


def smooth(values: Sequence[float], weight: float = WEIGHT) -> list[float]:
    """Averages of each value and those before it, of which each counts `weight` times the next.

    The weights of an average add up to 1, so that it is not drawn toward 0 at the beginning.
    """
    smoothed, mean, total = list[float](), 0.0, 0.0
    for value in values:
        mean = weight * mean + (1 - weight) * value
        total = weight * total + (1 - weight)
        smoothed.append(mean / total)
    return smoothed
