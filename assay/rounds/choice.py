"""An owner's settings of rounds, and the defaults of the rest."""

from collections.abc import Mapping
from typing import Any

from assay.protocol.encoding import Json
from assay.protocol.errors import OperatorError
from assay.protocol.ss58 import decode_ss58

#: The section's name in parameters.
ROUNDS = "rounds"
#: OpenDiLoCo's outer step with less momentum: with .9, as in pretraining, nine rounds of RL end at
#: lower success (`bench/outer_success.py`). Eight windows a round, with groups of the previous
#: round's checkpoint allowed. On the main network children are named on chain in the last 3
#: of the 12 minutes before the deadline, and shown in the 3 minutes after it.
DEFAULTS: Mapping[str, Json] = {
    "windows": 8,
    "staleness": 1,
    "child_offset": 60,
    "child_blocks": 15,
    "reveal_blocks": 15,
    "turn_blocks": 15,
    "rate": 700_000,
    "momentum": 500_000,
    "norm_bound": 100 << 20,
    "kept": 0,
    "chunk": 0,
    "bits": 0,
    "feedback": 0,
}


#: A sparse form's rate in millionths: the first number divided by the share of values that a child
#: keeps, within the two bounds. Only the upper bound is measured, with 24 of 4,096 kept
#: (`bench/outer_success.py`).
_SPARSE_RATE, _LEAST_RATE, _GREATEST_RATE = 46_875, 1_000_000, 8_000_000


class RoundsError(OperatorError):
    """The owner's settings of rounds are not a valid section of parameters."""


def choose_outer_step(kept: Any, chunk: Any) -> dict[str, Json]:
    """Rate and momentum that suit a form, by their names.

    In a sparse form, error feedback takes momentum's place, as in SparseLoCo (Sarfi et al., 2025).
    The rate makes up for the part of a child that feedback drops. Any other value than a sparse
    form's gets the defaults, and the parameters' own checks name its fault.
    """
    if not (isinstance(kept, int) and isinstance(chunk, int) and 0 < kept <= chunk):
        return {name: DEFAULTS[name] for name in ("rate", "momentum")}
    rate = min(_GREATEST_RATE, max(_LEAST_RATE, _SPARSE_RATE * chunk // kept))
    return {"rate": rate, "momentum": 0}


def complete_rounds(before: Json, given: Any) -> dict[str, Json]:
    """The section of rounds in parameters' JSON, under its name. Empty without rounds.

    A change of `kept` or `chunk` also sets the outer step's rate and momentum, unless it names them
    (`choose_outer_step`). The same values given again change nothing.

    Args:
        before: the section in the present parameters; None if they have no rounds.
        given: fields that change; None if none do.

    Raises:
        RoundsError: trainers are not addresses, nobody names any, or `given` is no section.
    """
    if given is None:
        return {} if before is None else {ROUNDS: before}
    if not isinstance(given, Mapping):
        raise RoundsError("rounds is a section: write [rounds] and its fields below")
    old = DEFAULTS if before is None else before
    section = {**old, **given}
    if any(section[name] != old[name] for name in ("kept", "chunk")):
        section |= {**choose_outer_step(section["kept"], section["chunk"]), **given}
    trainers = section.get("trainers")
    if trainers is None and "trainers" not in given:
        raise RoundsError("there are no rounds yet: name the trainers' hotkeys in rounds.trainers")
    if not isinstance(trainers, list):
        raise RoundsError("rounds.trainers is a list of hotkeys' addresses")
    section["trainers"] = sorted({_read_hotkey(trainer) for trainer in trainers})
    return {ROUNDS: section} if section["trainers"] else {}


def _read_hotkey(written: Any) -> str:
    """A hotkey in hex, from an address or from hex as parameters' own JSON has it."""
    try:
        text = str(written)
        return text if len(text) == 64 else decode_ss58(text).hex()
    except ValueError as error:
        raise RoundsError(
            f"rounds.trainers: {written!r} is not a hotkey's address: {error}"
        ) from None
