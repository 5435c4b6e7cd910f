"""Announced parameters that do not hold yet, described for people."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from assay.protocol.amendment import ParameterHistory, compute_decision_block
from assay.protocol.encoding import Json
from assay.protocol.parameters import Parameters
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import compute_window

#: Most characters of a field's value that people are shown.
_SHOWN = 400


def list_changes(old: Parameters, new: Parameters) -> dict[str, tuple[Json, Json]]:
    """The changes of an amendment: field, such as `work.valued_groups`, → before and after, as in
    JSON. The amendment's own start is left out."""
    before, after = dict(_iterate_fields(old.to_json())), dict(_iterate_fields(new.to_json()))
    return {
        name: (before.get(name), after.get(name))
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name) and not name.startswith("start.")
    }


def _write_value(value: Json) -> str:
    """A field's value for people. Long values are cut off. The only lists of text are of
    hotkeys."""
    if value is None:
        return "(none)"
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return ", ".join(encode_ss58(bytes.fromhex(str(one))) for one in value)
    text, length = (value, 16) if isinstance(value, str) else (json.dumps(value), _SHOWN)
    return text if len(text) <= length + 8 else f"{text[:length]}…"


def _iterate_fields(document: dict[str, Json], place: str = "") -> Iterator[tuple[str, Json]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _iterate_fields(value, f"{place}{name}.")
        else:
            yield f"{place}{name}", value


@dataclass(frozen=True, slots=True)
class AnnouncedParameters:
    """Parameters that do not hold yet, and those that hold until they do."""

    parameters: Parameters
    predecessor: Parameters
    is_decided: bool  # whether they will hold, whatever their owner announces later

    @property
    def window(self) -> int:
        """The first window for which they hold."""
        return self.parameters.start.window

    @property
    def block(self) -> int:
        """The first block of that window."""
        return self.window * self.parameters.timing.window_blocks

    @property
    def decided_at(self) -> int:
        """The block whose state decides about them."""
        return compute_decision_block(self.predecessor, self.window)

    def list_changes(self) -> dict[str, tuple[Json, Json]]:
        """See `list_changes`."""
        return list_changes(self.predecessor, self.parameters)

    def write_changes(self) -> dict[str, tuple[str, str]]:
        """The same for people, with long values cut off."""
        return {
            name: (_write_value(before), _write_value(after))
            for name, (before, after) in self.list_changes().items()
        }

    def describe(self) -> str:
        """One line for people."""
        until = "decided" if self.is_decided else f"decided at block {self.decided_at}"
        changes = ", ".join(
            f"{name} {before} → {after}" for name, (before, after) in self.write_changes().items()
        )
        return (
            f"{self.parameters.digest.hex()[:16]}… from window {self.window} on, block "
            f"{self.block}, {until}: {changes or 'nothing changes'}"
        )

    def to_json(self) -> dict[str, Json]:
        """The JSON that commands and pages show."""
        return {
            "digest": self.parameters.digest.hex(),
            "window": self.window,
            "block": self.block,
            "decided": self.is_decided,
            "decided_at": self.decided_at,
            "changes": [
                {"field": name, "before": before, "after": after}
                for name, (before, after) in self.list_changes().items()
            ],
        }


def list_announced(
    history: ParameterHistory, pending: Parameters | None, head: int
) -> list[AnnouncedParameters]:
    """Parameters that hold for none of the windows up to that of the newest block, in order.

    Args:
        pending: parameters that are announced after the latest and not decided; None: there are
            none.
    """
    window, known = compute_window(history.first.timing, head), history.all
    announced = [
        AnnouncedParameters(new, old, True)
        for old, new in pairwise(known)
        if new.start.window > window
    ]
    if pending is not None:
        announced.append(AnnouncedParameters(pending, history.latest, False))
    return announced
