"""The weights of levels: how often each is asked, and how that follows held-out success.

Settings give each level a share, such as `sat = 3` to all levels of a mixture's part together. A
weight multiplies it. At each checkpoint weights go toward the levels whose two tries at a held-out
problem differ most often, as those teach most, by bounded steps within the owner's bounds. A
manifest names the parent's levels and success beside its own levels, so that everybody who has the
manifest computes them again. Specification, section 11.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gcd

from assay.environments.base import Environment, require_levels
from assay.environments.levels import PROBLEMS_MIN, Success, compute_candidates, compute_levels
from assay.environments.registry import open_environment
from assay.protocol.gate import Outcome
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.manifest import (
    WEIGHT_START,
    HeldOutCounts,
    LevelWeight,
    LevelWeights,
    Manifest,
    start_levels,
)
from assay.protocol.parameters import MILLION, Parameters, Steering


def compute_asked_shares(environment: Environment, levels: LevelWeights) -> list[int]:
    """How often each level is asked, relative to the others: coprime integers of 1 or more.
    Raises a ValueError: a level is not legal, or has no weight."""
    numbers = [pair.level for pair in levels]
    require_levels(numbers, environment.levels)
    if not all(pair.weight for pair in levels):
        raise ValueError(f"a level of {describe_levels(levels)} has no weight")
    shares = zip(environment.compute_shares(numbers), levels, strict=True)
    asked = [share * pair.weight for share, pair in shares]
    common = gcd(*asked)
    return [share // common for share in asked]


def compute_next_levels(
    parameters: Parameters, before: LevelWeights, held_out: HeldOutCounts
) -> LevelWeights:
    """The levels of a checkpoint, from its parent's levels and the parent's success.

    Raises:
        ValueError: the success is none that could be counted, or the levels are not the
            environment's.
    """
    if not held_out:
        return before
    environment = open_environment(parameters.environment)
    successes = read_successes(held_out)
    numbers = [pair.level for pair in before]
    if strange := successes.keys() - set(compute_candidates(numbers, environment.levels)):
        raise ValueError(f"level {min(strange)} is not tried beside {numbers}")
    levels = compute_levels(numbers, environment.levels, successes)
    shares = environment.compute_shares(levels)
    return compute_weights(before, levels, shares, successes, parameters.steering)


def compute_weights(
    before: LevelWeights,
    levels: Sequence[int],
    shares: Sequence[int],
    successes: Mapping[int, Success],
    steering: Steering,
) -> LevelWeights:
    """The weights of new levels. Each goes toward the ratio of its level's signal to the mean one,
    by at most a step.

    Args:
        before: the levels that were in force, with their weights.
        shares: of the new levels, without weights.
    """
    known = {pair.level: pair.weight for pair in before}
    signals = {
        level: compute_signal(successes[level], steering)
        for level in levels
        if level in successes and successes[level].asked >= PROBLEMS_MIN
    }
    asked = {level: share for level, share in zip(levels, shares, strict=True) if level in signals}
    whole = sum(asked.values())
    total = sum(share * signals[level] for level, share in asked.items())
    pairs = []
    for level in levels:
        weight = known.get(level, WEIGHT_START)
        if level in signals:
            target = WEIGHT_START * signals[level] * whole // total if total else WEIGHT_START
            step = -(-weight * steering.weight_step // 1_000)  # rounded up: small weights move, too
            weight = min(max(target, weight - step), weight + step)
        pairs.append(LevelWeight(level, min(max(weight, steering.weight_min), steering.weight_max)))
    return tuple(pairs)


def compute_signal(success: Success, steering: Steering) -> int:
    """The share of a level's problems on which two tries differ, in millionths; 0 where its success
    is not within the owner's bounds."""
    low, high = steering.success_low * success.asked, steering.success_high * success.asked
    if not low <= 1_000 * success.solved <= high:
        return 0
    return MILLION * success.mixed // success.asked


def find_levels_fault(manifest: Manifest, parameters: Parameters) -> str | None:
    """The reason why a checkpoint's levels and weights cannot be, or None. They follow from what
    the manifest says of its parent."""
    levels, legal = manifest.level_numbers, open_environment(parameters.environment).levels
    if list(levels) != sorted(set(levels)) or not set(levels) <= set(legal):
        return f"levels {levels} are not ascending levels of the environment"
    if manifest.step == ZERO_DIGEST:
        if manifest.digest != parameters.first_checkpoint:
            return "it has no step, and is not the checkpoint that the parameters begin with"
        if manifest.levels_before or manifest.held_out or manifest.levels != start_levels(levels):
            return f"a checkpoint without a step has levels whose weight is not {WEIGHT_START:,}"
        return None
    least, most = parameters.steering.weight_min, parameters.steering.weight_max
    if any(not least <= p.weight <= most for p in (*manifest.levels, *manifest.levels_before)):
        return f"a level's weight is outside [{least}, {most}]"
    tried = [success.level for success in manifest.held_out]
    if tried != sorted(set(tried)):
        return "its held-out success is not in ascending order of levels"
    try:
        following = compute_next_levels(parameters, manifest.levels_before, manifest.held_out)
    except ValueError as error:
        return f"its levels follow from none: {error}"
    if manifest.levels != following:
        named, due = describe_levels(manifest.levels), describe_levels(following)
        return f"its levels are {named}, and from its parent's success follow {due}"
    return None


def find_parent_fault(manifest: Manifest, parent: Manifest) -> str | None:
    """The reason why a checkpoint's levels_before are a lie about its parent, or None. Those of a
    return to a milestone are the milestone's.

    It makes no checkpoint unusable: whoever has no parent at hand could not follow.
    """
    is_return = manifest.course.outcome is Outcome.RETURN
    if manifest.step == ZERO_DIGEST or is_return or manifest.levels_before == parent.levels:
        return None
    before, due = describe_levels(manifest.levels_before), describe_levels(parent.levels)
    return f"it says that its parent has the levels {before or 'none'}, and the parent has {due}"


@dataclass(frozen=True, slots=True)
class LevelStanding:
    """A level in force, and why its problems are asked as often as they are.

    Attributes:
        share: of all problems, in millionths; None where the environment is not known.
        weight, weight_before: thousandths. Before: of the parent; None if it did not ask the level.
        solved, asked, mixed: of the parent's held-out problems; None if it was not tried on any.
    """

    level: int
    share: int | None
    weight: int
    weight_before: int | None
    solved: int | None
    asked: int | None
    mixed: int | None

    def describe(self) -> str:
        """One line for a person."""
        share = "" if self.share is None else f"{self.share / 1e4:.1f} % of the problems, "
        line = f"level {self.level}: {share}weight {self.weight / WEIGHT_START:g}"
        if self.weight_before is None and self.asked is None:
            return f"{line}, as at the start"
        before = "none" if self.weight_before is None else f"{self.weight_before / WEIGHT_START:g}"
        tried = "not evaluated on held-out problems"
        if self.asked is not None:
            tried = (
                f"of {self.asked} held-out problems {self.solved} were solved, and two samples "
                f"differed on {self.mixed}"
            )
        return f"{line} ({before} before): {tried}"


def list_standings(manifest: Manifest, environment: Environment | None) -> list[LevelStanding]:
    """The standing of each level in force. environment: None where it cannot be opened here.
    Raises a ValueError: the levels are not the environment's."""
    before = {pair.level: pair.weight for pair in manifest.levels_before}
    tried = {success.level: success for success in manifest.held_out}
    shares: Sequence[int | None] = [None] * len(manifest.levels)
    if environment is not None:
        asked = compute_asked_shares(environment, manifest.levels)
        shares = [MILLION * share // sum(asked) for share in asked]
    standings = []
    for pair, share in zip(manifest.levels, shares, strict=True):
        seen = tried.get(pair.level)
        counts = (None,) * 3 if seen is None else (seen.solved, seen.asked, seen.mixed)
        standings.append(
            LevelStanding(pair.level, share, pair.weight, before.get(pair.level), *counts)
        )
    return standings


def read_successes(held_out: HeldOutCounts) -> dict[int, Success]:
    """Success by level. Raises a ValueError if it cannot have been counted."""
    return {one.level: Success(one.solved, one.asked, one.mixed) for one in held_out}


def describe_levels(levels: LevelWeights) -> str:
    """Levels with their weights, for a person."""
    return ", ".join(f"{pair.level} (× {pair.weight / WEIGHT_START:g})" for pair in levels)
