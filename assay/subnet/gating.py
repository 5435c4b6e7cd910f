"""A gate as an owner chooses it, and what it can show: by arithmetic, before anything has run.

Nothing here loads torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from assay.environments.evaluation import DRAWN_AFTER, name_draw, replace_files
from assay.protocol.betting import Pairs, is_better, is_worse
from assay.protocol.encoding import from_json, to_json
from assay.protocol.parameters import (
    GATE_CHECKPOINTS_MAX,
    GATE_PART,
    EnvironmentChoice,
    Gate,
    GateRule,
    Parameters,
)
from assay.settings.loading import ConfigError

#: What an owner gets who names a rule alone.
PROBLEMS, ERROR = 256, 50_000
#: Share of problems on which two checkpoints of a run differ, and the gain of a checkpoint over the
#: one before: 17 % was measured, and the public run gained 7.2 points in 20 (docs/public_run.md).
DIFFERING, PACE = 0.17, 0.0036
#: The fall that a gate is asked about.
FALL = 0.05
#: Fewest checkpoints of a course under `better`, however many problems are asked.
_COURSE_MIN = 20
#: Standard deviations below its mean course at which an honest one is taken: one of ten is below.
_UNLUCKY = 1.28


@dataclass(frozen=True, slots=True)
class GateReach:
    """What a gate asks of each checkpoint, and what it can show.

    Attributes:
        completions: of each checkpoint's problems: its own, the milestone's, and of every fourth
            problem the first checkpoint's.
        named_after: problems and checkpoints after which a fall of `FALL` directly behind a
            milestone is named, on average; None: never in a course.
        proven_after: checkpoints after which nine of ten courses with the public run's pace have
            shown to be better; None: not in a course.
    """

    problems: int
    completions: int
    named_after: tuple[int, int] | None
    proven_after: int | None

    def describe(self) -> list[str]:
        """Lines for a person."""
        named, proven = self.named_after, self.proven_after
        fall = f"a fall of {FALL * 100:g} points"
        return [
            f"gate: {self.problems:,} problems of each checkpoint, with {self.completions:,} "
            "completions as answers",
            f"gate: {fall} directly behind a milestone is named after some {named[0]:,} "
            f"problems, {named[1]} checkpoints"
            if named
            else f"gate: {fall} is not named in a course: ask more problems",
            f"gate: a gain of {PACE * 100:g} points a checkpoint shows after {proven} checkpoints, "
            "in nine of ten courses"
            if proven
            else f"gate: a gain of {PACE * 100:g} points a checkpoint does not show in a course",
        ]


def compute_reach(gate: Gate) -> GateReach:
    """What a gate asks and can show."""
    return GateReach(
        gate.problems,
        count_completions(gate),
        _find_fall(gate),
        _find_gain(gate.problems, gate.error_better),
    )


def count_completions(gate: Gate) -> int:
    """Completions that are drawn for each checkpoint."""
    return 2 * gate.problems + gate.problems // GATE_PART


def list_gate_notes(parameters: Parameters) -> list[str]:
    """What an owner should know of a gate before it is published, in lines; none: there is none."""
    gate = parameters.gate
    if gate.rule is GateRule.NONE:
        return []
    lines = compute_reach(gate).describe()
    if gate.rule is GateRule.BETTER:
        lines.append(
            f"gate: a course that has not shown to be better in {gate.checkpoints} checkpoints is "
            "given up, and at each return miners lose what they draw in two to three windows"
        )
    if gate.environment and name_draw(gate.environment[0]) == DRAWN_AFTER:
        lines.append(
            "gate: its problems are rows of a file, which a trainer that has it can learn: a gain "
            "on them is one on problems drawn after the checkpoint, not on unknown ones"
        )
    return lines


def complete_gate(
    held: Mapping[str, Any], fields: Mapping[str, Any], choice: EnvironmentChoice
) -> Mapping[str, Any]:
    """A gate with some fields replaced, in the form of `Parameters.to_json`.

    Args:
        held: the gate so far.
        fields: that an owner names. `environment` may be the files, `family:SHA256` each, that
            stand in the place of the network's.
        choice: the network's environment.

    Raises:
        ConfigError: a file is not here, or in no part's place; there is a rule and no number that
            it needs.
    """
    rule = fields.get("rule", held["rule"])
    if rule == GateRule.NONE:
        return {**to_json(Gate()), **fields}
    fallen = {"problems": PROBLEMS, "error_worse": ERROR, "error_better": ERROR}
    kept = {name: value for name, value in held.items() if held["rule"] != GateRule.NONE}
    gate = {**to_json(Gate()), **fallen, **kept, **fields}
    files = gate["environment"]
    if isinstance(files, Sequence) and files and all(isinstance(one, str) for one in files):
        try:
            gate["environment"] = [to_json(replace_files(choice, files))]
        except ValueError as error:
            raise ConfigError(f"gate.environment: {error}") from None
    if rule != GateRule.BETTER:
        gate["checkpoints"] = fields.get("checkpoints", 0)
    elif not gate["checkpoints"] and "checkpoints" not in fields:
        numbers = gate["problems"], gate["error_better"]
        if any(type(one) is not int or not 0 < one < 10**6 for one in numbers):
            return gate  # the parameters say what is wrong with them
        found = _find_gain(*numbers)
        if found is None:
            raise ConfigError(
                f"gate.checkpoints: with {numbers[0]} problems, a gain of {PACE * 100:g} points a "
                f"checkpoint does not show in {GATE_CHECKPOINTS_MAX:,}: ask more, or name a number"
            )
        gate["checkpoints"] = max(_COURSE_MIN, found)
    return gate


def read_choice(written: Any) -> EnvironmentChoice:
    """The environment of parameters in the form of `Parameters.to_json`."""
    choice: EnvironmentChoice = from_json(EnvironmentChoice, written)
    return choice


def _find_fall(gate: Gate) -> tuple[int, int] | None:
    course: list[Pairs] = []
    for number in range(1, GATE_CHECKPOINTS_MAX + 1):
        course.append(_expect(gate.problems, number, -FALL))
        if is_worse(course, gate.error_worse):
            return number * gate.problems, number
        if number * gate.problems > 1 << 20:
            break
    return None


def _expect(problems: int, number: int, gain: float) -> Pairs:
    """The mean counts of the `number`-th checkpoint, rounded so that none is lost."""
    wins, losses = (
        round(number * part) - round((number - 1) * part)
        for part in (problems * (DIFFERING + gain) / 2, problems * (DIFFERING - gain) / 2)
    )
    return Pairs(problems, wins, losses)


def _find_gain(problems: int, error: int) -> int | None:
    """The checkpoints after which nine of ten courses of the expected pace have shown it: each
    checkpoint is better than the milestone by its number times the pace."""
    for number in range(1, GATE_CHECKPOINTS_MAX + 1):
        differing = number * problems * DIFFERING
        gained = problems * PACE * number * (number + 1) / 2
        net = min(differing, gained - _UNLUCKY * sqrt(differing))
        wins, losses = round((differing + net) / 2), round((differing - net) / 2)
        if net > 0 and is_better([Pairs(number * problems, wins, losses)], 1, error):
            return number
    return None
