"""What a calibration has found of one pair of implementations, beside the parameters that must fit
it, and the parameters that would. docs/owner.md, "Calibration", has the rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from assay.inference.calibration import MarginCurve
from assay.inference.pair_report import CAP_DISTANCE, CAP_RATE_MAX, GRID, SEEN_TOKENS, find_margin
from assay.protocol.manifest import RATE_UNIT, Calibration
from assay.protocol.parameters import CENTRE_BITS, FRACTION_BITS, Tests, make_tests

#: Least cap whose first level, a hundredth of it, is not 0.
_CAP_MIN = 100
#: A scale has room to grow by this factor.
_SCALE_ROOM = 2


@dataclass(frozen=True, slots=True)
class CalibrationFindings:
    """A pair that was compared on a checkpoint's calibration set, on this machine.

    Attributes:
        pair: its implementations.
        margin: logits that honest work exceeds once in 1e8 tokens.
        beyond_cap: how often a token's margin exceeds the cap.
        scale: the manifest's, 2^-16.
        token_seconds: on the wall, for drawing an own token and reading it once, many at a time.
    """

    pair: tuple[str, str]
    tests: Tests
    calibration: Calibration
    margin: float
    beyond_cap: float
    scale: int
    token_seconds: float

    @property
    def cap(self) -> int:
        """The least `margin_cap` that the rule allows for this pair, 2^-20 logits."""
        return max(_CAP_MIN, ceil(CAP_DISTANCE * self.margin * 2**FRACTION_BITS))

    @property
    def levels(self) -> Sequence[int]:
        """The `margin_levels` that belong to it."""
        return make_tests(self.cap).margin_levels

    @property
    def scale_max(self) -> int:
        """A `scale_max` with room for states that grow, 2^-16."""
        return 1 << max(CENTRE_BITS, (_SCALE_ROOM * self.scale - 1).bit_length())

    @property
    def rate_share(self) -> float:
        """The largest share of its limit that an honest rate has."""
        pairs = zip(self.calibration.rates, self.tests.rate_limits, strict=True)
        return max((rate / limit for rate, limit in pairs if limit), default=0.0)

    @property
    def faults(self) -> list[str]:
        """Which parameters do not fit this pair."""
        tests, faults = self.tests, []
        if self.cap > tests.margin_cap:
            faults.append(f"margin_cap = {tests.margin_cap:,} is below the rule's {self.cap:,}")
        if self.beyond_cap > CAP_RATE_MAX:
            faults.append(f"margins exceed margin_cap {self.beyond_cap:.2g} times a token")
        if self.rate_share > 1:
            faults.append(f"an honest rate is {self.rate_share:.3g} times its limit")
        if not tests.scale_min <= self.scale <= tests.scale_max:
            faults.append(f"scale {self.scale:,} is outside scale_min to scale_max")
        return faults

    @property
    def lines(self) -> list[str]:
        """What a recipe could have, as TOML."""
        return [
            "[parameters.tests]",
            f"margin_cap = {self.cap:_}",
            f"margin_levels = [{', '.join(f'{level:_}' for level in self.levels)}]",
            f"scale_max = {self.scale_max:_}",
        ]

    def describe(self) -> list[str]:
        """Lines for a person."""
        a, b = self.pair
        tests, unit = self.tests, 2**FRACTION_BITS
        largest = f"{CAP_DISTANCE * self.margin:.2g}"
        rates = ", ".join(
            f"{rate / RATE_UNIT:.1g} of {limit / RATE_UNIT:.1g} from {level:,}"
            for level, rate, limit in zip(
                tests.margin_levels, self.calibration.rates, tests.rate_limits, strict=True
            )
        )
        return [
            f"calibration: {a} against {b} on {self.calibration.tokens:,} tokens",
            f"  largest logit gap, exceeded once in 1e8 tokens: {self.margin:.2g} logits; "
            f"margin_cap "
            f"is {tests.margin_cap / unit:.2g} ({tests.margin_cap:,}), by the rule at least "
            f"{largest} ({self.cap:,})",
            f"  honest rates and their limits, by level: {rates}",
            f"  scale: {self.scale:,} of scale_max {tests.scale_max:,}",
            *(f"  ! {fault}" for fault in self.faults),
            "  By this pair alone, on this machine, a recipe could have:",
            *(f"    {line}" for line in self.lines),
            "  Other pairs, machines and further completions can need more: `assay calibrate`",
        ]

    def to_json(self) -> dict[str, Any]:
        """The findings for scripts."""
        tests = self.tests
        return {
            "pair": list(self.pair),
            "tokens": self.calibration.tokens,
            "margin_once_in_1e8": float(f"{self.margin:.4g}"),
            "rate_beyond_cap": float(f"{self.beyond_cap:.4g}"),
            "margin_cap": tests.margin_cap,
            "margin_levels": list(tests.margin_levels),
            "rates": [rate / RATE_UNIT for rate in self.calibration.rates],
            "rate_limits": [limit / RATE_UNIT for limit in tests.rate_limits],
            "scale": self.scale,
            "scale_max": tests.scale_max,
            "faults": self.faults,
            "proposed": {
                "margin_cap": self.cap,
                "margin_levels": list(self.levels),
                "scale_max": self.scale_max,
            },
            "token_seconds": float(f"{self.token_seconds:.4g}"),
        }


def make_findings(
    pair: tuple[str, str],
    tests: Tests,
    curve: MarginCurve,
    temperature: int,
    scale: int,
    token_seconds: float,
) -> CalibrationFindings:
    """The findings from a curve at the thresholds of `list_thresholds`.

    Args:
        temperature: Tq = 1024 · T.
        scale, token_seconds: see `CalibrationFindings`.
    """
    levels = len(tests.margin_levels)
    means = curve.survival / max(1, curve.tokens)
    margin = find_margin(means[levels + 1 : levels + 1 + len(GRID)], 1 / SEEN_TOKENS)
    calibration = curve.fit(levels, temperature / 1024)
    beyond = float(means[levels])
    return CalibrationFindings(pair, tests, calibration, margin, beyond, scale, token_seconds)
