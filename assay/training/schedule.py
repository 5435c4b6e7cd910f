"""The learning rate over a course: a pure function of the settings and of a step's position.

A *step* makes one checkpoint, and all its updates have one rate. The position counts a course's
steps from 1 on. A learner's state counts the steps behind it and each step's record names that
count, so the position outlives the optimiser's moments, and nothing replays a warm-up.

Names and curves are those of `transformers.get_scheduler`. That one begins at position 0, where a
warm-up's rate is 0 and a whole step would teach nothing.
"""

import math
from dataclasses import dataclass
from typing import Literal

ScheduleName = Literal["constant", "linear", "cosine", "wsd"]
Phase = Literal["warm-up", "peak", "decay", "over"]

#: Digits of a cosine. Machines' libraries differ in its last bits, and steps must not.
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Schedule:
    """The course of the learning rate. Attributes have the names of settings, whose rules
    (`TrainerSettings.find_conflict`) they keep.

    Attributes:
        schedule: the curve from the end of the warm-up on. constant has no end; linear and cosine
            (half a wave) fall at once; wsd (warm-up, stable, decay: Hu et al., "MiniCPM", 2024)
            stays at the peak and falls in a line over the last `decay_steps`.
        warmup_steps: steps in which the rate rises in a line to the peak.
        schedule_steps: steps of the whole course, warm-up included.
        schedule_begin: steps before the course.
        final_share: of the peak, at the end of the course and from there on.
    """

    schedule: ScheduleName = "constant"
    warmup_steps: int = 0
    schedule_steps: int = 0
    decay_steps: int = 0
    schedule_begin: int = 0
    final_share: float = 0.1

    @property
    def is_moving(self) -> bool:
        """Whether some steps have another rate than others."""
        return self.schedule != "constant" or self.warmup_steps > 1

    def get_position(self, step: int) -> int:
        """The position of the next step, where `step` steps are behind it: 1 for a course's first
        one, and for those before it."""
        return max(1, step + 1 - self.schedule_begin)

    def get_phase(self, step: int) -> Phase:
        """Where in the course the next step is."""
        position = self.get_position(step)
        if position < self.warmup_steps:
            return "warm-up"
        if self.schedule == "constant" or position <= self._fall:
            return "peak"
        return "decay" if position <= self.schedule_steps else "over"

    def compute_share(self, step: int) -> float:
        """The next step's rate as a share of the peak, above 0 to 1."""
        position, phase = self.get_position(step), self.get_phase(step)
        if phase == "warm-up":
            return position / self.warmup_steps
        if phase == "peak":
            return 1.0
        if phase == "over":
            return self.final_share
        done = (position - self._fall) / (self.schedule_steps - self._fall)
        left = 1 - done
        if self.schedule == "cosine":
            left = round(0.5 * (1 + math.cos(math.pi * done)), _DIGITS)
        return self.final_share + (1 - self.final_share) * left

    @property
    def _fall(self) -> int:
        """The last position at the peak."""
        if self.schedule == "wsd":
            return self.schedule_steps - self.decay_steps
        return self.warmup_steps
