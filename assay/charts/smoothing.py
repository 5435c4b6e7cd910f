"""Smooths a noisy curve: an exponential moving average, as TensorBoard and W&B draw it."""

from collections.abc import Sequence

#: Points from which on a line is drawn smoothed, and the weight of what came before; the same of
#: many points. `curves.js` of the explorer begins with the same.
POINTS, WEIGHT = 8, 0.6
MANY, WEIGHT_OF_MANY = 60, 0.9


def smooth(values: Sequence[float], weight: float | None = None) -> list[float]:
    """Averages of each value and those before it, of which each counts `weight` times the next.
    None: by the number of values.

    The weights of an average add up to 1, so that it is not drawn toward 0 at the beginning.
    """
    if weight is None:
        weight = WEIGHT if len(values) < MANY else WEIGHT_OF_MANY
    smoothed, mean, total = list[float](), 0.0, 0.0
    for value in values:
        mean = weight * mean + (1 - weight) * value
        total = weight * total + (1 - weight)
        smoothed.append(mean / total)
    return smoothed
