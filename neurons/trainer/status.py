"""A trainer's fields of `status.json`, besides those of every program."""

from dataclasses import asdict
from typing import cast

from assay.artifacts.gates.gains import GateLine, describe_gain
from assay.artifacts.gates.gains import describe_course as describe_measured_course
from assay.artifacts.status.trainer import (
    CourseStatus,
    GateStatus,
    PoolStatus,
    ScheduleStatus,
    StatsStatus,
    StepStatus,
)
from assay.environments.pieces.growth import measure_pool
from assay.environments.registry import get_pool_cap
from assay.inference.checkpoint import Checkpoint
from assay.neurons.trainer.lessons import Lesson
from assay.protocol.betting import measure_evidence
from assay.protocol.gate import Outcome
from assay.protocol.parameters import EnvironmentChoice, Gate
from assay.training import Learner
from assay.training.watch import RULES, CourseVerdict

#: Evidence above which no more is told, thousandths: no float could hold all that there may be.
_EVIDENCE_MAX = 10**12


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


def describe_gate(line: GateLine, gate: Gate) -> GateStatus:
    """What a line's newest course has shown."""
    course, newest = line.course, line.measured[-1] if line.measured else None
    evidence = measure_evidence(course.pairs, course.attempt, gate.error_better, gate.error_worse)
    returns = [turn for turn in line.turns if turn.outcome is Outcome.RETURN]
    gain = None if newest is None else newest.gain
    return {
        "rule": gate.rule.value,
        "problems": gate.problems,
        "milestone": line.milestone,
        "attempt": course.attempt,
        "measured": len(course.counts),
        "at_most": gate.checkpoints or None,
        "wins": sum(one.wins for one in course.counts),
        "losses": sum(one.losses for one in course.counts),
        "better": _write_evidence(evidence.better),
        "better_needed": _write_evidence(evidence.better_needed),
        "worse": _write_evidence(evidence.worse),
        "worse_needed": _write_evidence(evidence.worse_needed),
        "checkpoint": None if newest is None else newest.number,
        "gain": None if gain is None else gain.mean / 1_000,
        "gain_low": None if gain is None else gain.low / 1_000,
        "gain_high": None if gain is None else gain.high / 1_000,
        "gain_problems": None if gain is None else gain.asked,
        "returned": {"number": returns[-1].number, "milestone": returns[-1].milestone}
        if returns
        else None,
        "gain_sentence": describe_gain(line),
        "course_sentence": describe_measured_course(line, gate),
    }


def _write_evidence(thousandths: int) -> float:
    return min(thousandths, _EVIDENCE_MAX) / 1_000


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
