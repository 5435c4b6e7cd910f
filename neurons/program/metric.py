"""A metric for Prometheus, read from the status that its program writes.

Names and units follow Prometheus's own conventions. A label has as many values as its description
says, however many hotkeys there are: no label names another participant's hotkey.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from assay.artifacts.status.program import ProgramStatus
from assay.protocol.reason import Reason

#: Label's value → number, or all labels' values → number where there are several. A metric without
#: a label has the one value "".
Samples = Mapping[str, float] | Mapping[tuple[str, ...], float]
#: A program's status.
S = TypeVar("S", bound=ProgramStatus, contravariant=True)
#: A status → its figure, or figures by label; None: it has none at the moment.
Reader = Callable[[S], float | Samples | None]

REASONS = tuple(reason.value for reason in Reason)


class MetricKind(Enum):
    """Prometheus's name for the kind of a metric."""

    GAUGE = "gauge"
    COUNTER = "counter"


@dataclass(frozen=True, slots=True)
class Metric(Generic[S]):
    """One metric."""

    name: str  # without the program's prefix; a counter's ends in `_total` when it is served
    kind: MetricKind
    help: str  # its meaning, and its labels' values
    reader: Reader[S]
    labels: tuple[str, ...] = ()

    def read(self, status: S) -> Samples:
        """The samples of a status; none where it has no figure."""
        figure = self.reader(status)
        if isinstance(figure, Mapping):
            return figure
        return {} if figure is None else {"": float(figure)}


def gauge(name: str, help_: str, reader: Reader[S], *labels: str) -> Metric[S]:
    """A figure that rises and falls."""
    return Metric(name, MetricKind.GAUGE, help_, reader, labels)


def counter(name: str, count: str, help_: str, **values: Sequence[str]) -> Metric[ProgramStatus]:
    """A sum from the status's `counts`, without a label or with one that has these values. It is 0
    before anything was added."""
    (known,) = values.values() or [("",)]
    zeros = dict.fromkeys(known, 0.0)
    return Metric(
        name,
        MetricKind.COUNTER,
        help_,
        lambda status: zeros | status["counts"].get(count, {}),
        tuple(values),
    )


def mark(chosen: str, values: Iterable[str]) -> Samples:
    """1 for the chosen one of a label's values, 0 for the others."""
    return {value: float(value == chosen) for value in values}


def get_served_name(metric: Metric[S]) -> str:
    """The name that a query uses."""
    return metric.name + ("_total" if metric.kind is MetricKind.COUNTER else "")
