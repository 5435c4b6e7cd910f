"""A trainer's fields of `status.json`, besides those of every program."""

from dataclasses import asdict
from typing import cast

from assay.artifacts.status.trainer import (
    CourseStatus,
    PoolStatus,
    ScheduleStatus,
    StatsStatus,
    StepStatus,
)
from assay.environments.pieces.growth import measure_pool
from assay.environments.registry import get_pool_cap
from assay.inference.checkpoint import Checkpoint
from assay.neurons.trainer.lessons import Lesson
from assay.protocol.parameters import EnvironmentChoice
from assay.training import Learner
from assay.training.watch import RULES, CourseVerdict


def describe_schedule(learner: Learner) -> ScheduleStatus:
    """Where a learner is in its schedule."""
    schedule = learner.config.schedule
    return {
        "name": schedule.schedule,
        "steps": learner.step,
        "position": schedule.get_position(learner.step),
        "length": schedule.schedule_steps or None,
        "phase": schedule.get_phase(learner.step),
        "rate": learner.rate,
    }


def describe_pool(parent: Checkpoint | None, environment: EnvironmentChoice) -> PoolStatus | None:
    """The pool of a checkpoint; None: there is none yet, or the network does not write its own
    problems."""
    if parent is None or get_pool_cap(environment) is None:
        return None
    return cast(PoolStatus, measure_pool(parent.piece_pool).to_json())


def describe_course(verdict: CourseVerdict) -> CourseStatus:
    """What a course does."""
    first = verdict.findings[0] if verdict.findings else None
    held = [finding.rule for finding in verdict.findings]
    return {
        "state": verdict.state.value,
        "sentence": str(verdict),
        "windows": verdict.windows,
        "rules": {rule.name: rule in held for rule in RULES},
        "figure": None if first is None else first.rule.figure,
        "value": None if first is None else first.value,
        "threshold": None if first is None else first.rule.threshold,
        "help": None if first is None else first.rule.help,
    }


def describe_step(lesson: Lesson, reward: float | None) -> StepStatus:
    """A step. `reward`: the mean of its groups', in whole rewards; None: there were none."""
    return {
        "window": lesson.window,
        "groups": len(lesson.rewards),
        "replayed": lesson.replayed,
        "waiting": lesson.waiting,
        "delayed": lesson.delayed,
        "expired": lesson.expired,
        "delayed_staleness": lesson.delayed_staleness,
        "reward": reward,
        "tokens": lesson.tokens,
        "silent_tokens": lesson.silent_tokens,
        "checkpoint": lesson.published.number,
        "digest": lesson.published.digest.hex(),
        "stats": cast(StatsStatus, asdict(lesson.stats)),
    }
