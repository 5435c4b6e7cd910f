"""The trainer as a program: put together from settings, and run until it is asked to stop, alone or
in a team of processes."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import cast

from assay.artifacts.status.program import LoopStatus, NetworkStatus
from assay.artifacts.status.trainer import (
    FiguresStatus,
    HeldOutStatus,
    LearningStatus,
    PaceStatus,
    StepStatus,
    TrainerStatus,
)
from assay.environments.problem_file import get_known_files
from assay.inference.plain_config import find_learning_conflict
from assay.neurons.preflight.starting import warn_at_start
from assay.neurons.program.counters import Counters, meter
from assay.neurons.program.logs import make_report
from assay.neurons.program.neuron import NetworkMonitor, NeuronSession
from assay.neurons.program.running import open_program, run_program
from assay.neurons.program.status import SHOWN, describe_workers
from assay.neurons.trainer.background_judge import BackgroundJudge
from assay.neurons.trainer.gate_monitor import GateMonitor
from assay.neurons.trainer.lessons import Lesson, Silence
from assay.neurons.trainer.monitor import HeldOutPoint, LearningMonitor, TrainerWithMonitor
from assay.neurons.trainer.setup import make_trainer_config
from assay.neurons.trainer.status import (
    describe_course,
    describe_pool,
    describe_schedule,
    describe_step,
)
from assay.neurons.trainer.suites import SuiteMonitor, read_suites
from assay.neurons.trainer.tracking import Tracker, make_plan
from assay.neurons.trainer.trainer import Trainer, get_time
from assay.protocol.parameters import Prompts
from assay.protocol.ss58 import encode_ss58
from assay.rounds.calendar import list_trainers
from assay.session.resources import open_own_store
from assay.settings.extras import require_extras
from assay.settings.learning import (
    describe_learning,
    describe_network,
    make_learning_here,
    make_step_config,
)
from assay.settings.loading import ConfigError, make_cards_repeat
from assay.settings.placing import open_placement
from assay.settings.sections import Settings, TrainerSettings
from assay.training.held_out import HeldOut
from assay.training.pace import PaceFigures
from assay.training.team import follow, join_team
from assay.training.team_launch import run_team
from assay.training.team_meeting import is_member

logger = logging.getLogger("assay")


def run_trainer(
    settings: Settings,
    as_json: bool = False,
    quiet: bool = False,
    *,
    again: Sequence[str] = (),
    stop: threading.Event | None = None,
    words: Mapping[str, Prompts] = MappingProxyType({}),
) -> int:
    """Train until asked to stop, alone or in a team of processes. Return the exit code of all.

    Args:
        as_json, quiet: see `open_program`.
        again: arguments of Python that start this program once more, for each process of a team.
        stop: see `run_program`. Without a team.
        words: for suites, see `read_suites`.

    Raises:
        ConfigError, MissingExtraError: see `make_learning_here`.
    """
    make_cards_repeat()
    trainer = settings.trainer
    make_learning_here(trainer, settings.compute.device)
    if trainer.is_shared and not is_member():
        if not again:
            raise ValueError("a trainer of several processes must know how to start them: `again`")
        return run_team(trainer.processes, again)
    network = describe_network(trainer)
    with join_team(describe_learning(trainer), network=network) as rank:
        if rank == 0:
            _run_first(settings, as_json, quiet, stop, words)
        else:
            open_placement(settings.compute)
            follow()
    return 0


def run_follower(settings: Settings) -> int:
    """Learn with the first process of a team, which is on another host, until it ends. Return the
    exit code. Raises ConfigError: torchrun did not start this process; MissingExtraError: it
    lacks a package."""
    make_cards_repeat()
    if not is_member():
        raise ConfigError(
            "follow: torchrun starts the processes of a host that follows: "
            "torchrun … -m assay train --follow"
        )
    trainer = settings.trainer
    require_extras(trainer)
    with join_team(describe_learning(trainer), follows=True, network=describe_network(trainer)):
        open_placement(settings.compute)
        follow(leaves=True)
    return 0


def _run_first(
    settings: Settings,
    as_json: bool,
    quiet: bool,
    stop: threading.Event | None,
    words: Mapping[str, Prompts],
) -> None:
    """The process of the neuron."""
    section = settings.trainer
    store, locator = open_own_store(settings)
    with open_program(settings, section, "trainer", as_json, quiet) as (session, watch):
        store = meter(store, watch.tally)
        _require_trainer(session, section)
        held_out = HeldOut(session.history, section.problems)
        report = make_report("held_out_tried")
        tracker = _open_tracker(section, session)
        checkpoints = session.sources.checkpoints
        monitor = LearningMonitor(section.dir, checkpoints, held_out, report, tracker)
        gates = GateMonitor(checkpoints, monitor.show)
        note = make_report("suite_note")
        suites = read_suites(section.suites, get_known_files(), note, words)
        watched = SuiteMonitor(
            section.dir, checkpoints, suites, section.suites_every, note, session.history
        )
        course = LessonNotes(monitor, watched, watch.tally, lambda: _get_pace(trainer, session))
        pool = session.pool
        config = make_trainer_config(section, locator, store, held_out)
        trainer = Trainer(
            session.account.hotkey,
            session.history,
            session.sources,
            config,
            course.note,
            make_report("trainer_note"),
            None
            if pool is None
            else BackgroundJudge(pool, session.judged_checkpoints, session.sources, get_time),
            course.note_silence,
            monitor.watch,
        )

        def describe(network: NetworkStatus, loop: Callable[[], LoopStatus]) -> TrainerStatus:
            learner = trainer.learner
            parent = None if trainer.course is None else trainer.course.parent
            return {
                **network,
                "window": trainer.window,
                "schedule": None if learner is None else describe_schedule(learner),
                "pool": describe_pool(parent, session.parameters.environment),
                "gate": gates.look(
                    None if parent is None else parent.digest, session.parameters.gate
                ),
                **course.describe(),
                "workers": describe_workers(pool),
                **loop(),
            }

        warn_at_start(session, "trainer", store, locator, config.choice.proposal_tries)
        neuron = TrainerWithMonitor(trainer, monitor, watched)
        try:
            run_program(session, neuron, describe, NetworkMonitor(session), as_json, watch, stop)
        finally:
            watched.close()
            trainer.close()
            if tracker is not None:
                tracker.close()


def _open_tracker(section: TrainerSettings, session: NeuronSession) -> Tracker | None:
    """The tracker that the settings name. Raises ConfigError: it is not installed."""
    if section.tracker == "off":
        return None
    first = session.history.first
    plan = make_plan(
        section.tracker_project,
        section.dir / "tracker",
        first.digest,
        first.identity.netuid,
        encode_ss58(session.account.hotkey),
        make_step_config(section).name_settings(),
    )
    return Tracker(plan)


def _require_trainer(session: NeuronSession, trainer: TrainerSettings) -> None:
    """Raise ConfigError if the parameters name other trainers only, or a model that nobody learns
    by these settings."""
    hotkey = session.account.hotkey
    trainers = list_trainers(session.history, session.followed.pending)
    if hotkey not in trainers:
        named = ", ".join(map(encode_ss58, trainers))
        raise ConfigError(
            f"this network's trainer is {named}, and the wallet's hotkey is "
            f"{encode_ss58(hotkey)}: name the right wallet"
        )
    if session.parameters.model_class is None:
        return
    conflict = find_learning_conflict(
        is_shared=trainer.is_shared, has_factors=bool(trainer.lora_rank)
    )
    if conflict is not None:  # before any work
        raise ConfigError(f"[trainer] {conflict}")


def _get_pace(trainer: Trainer, session: NeuronSession) -> PaceFigures | None:
    timing = session.parameters.timing
    return trainer.pace.describe(timing.window_blocks * timing.slot_ms / 1_000)


def write_step(step: StepStatus, newest: HeldOutPoint | None, pace: PaceFigures | None) -> str:
    """The figures of a step by which a person follows a run. Eval accuracy is that of the newest
    checkpoint with one, whose number follows it: 0.657@18."""
    parts = [f"step={step['checkpoint']}"]
    if step["reward"] is not None:
        parts.append(f"reward={step['reward']:.3f}")
    if newest is not None:
        parts.append(f"eval={newest.correct / newest.problems:.3f}@{newest.number}")
    if pace is not None and pace.tokens_per_second is not None:
        parts.append(f"tokens/s={pace.tokens_per_second:.0f}")
    return " ".join(parts)


class LessonNotes:
    """The lessons of this process's life, for log, status and metrics."""

    def __init__(
        self,
        monitor: LearningMonitor,
        suites: SuiteMonitor,
        tally: Counters,
        get_pace: Callable[[], PaceFigures | None],
    ) -> None:
        self._monitor = monitor
        self._suites = suites
        self._tally = tally
        self._get_pace = get_pace
        self._steps: list[StepStatus] = []  # the newest, as status.json shows them
        self.silence: str | None = None  # why the newest window with groups taught nothing

    def note(self, lesson: Lesson) -> None:
        """Take a lesson that was learned and published."""
        count = len(lesson.rewards)
        reward = round(sum(lesson.rewards) / count / 1e6, 4) if count else None
        step = describe_step(lesson, reward)
        points = self._monitor.points
        logger.info(
            "%s",
            write_step(step, points[-1] if points else None, self._get_pace()),
            extra={"event": "step_learned", "step": step},
        )
        self._steps.append(step)
        del self._steps[:-SHOWN]
        self.silence = None
        self._tally.add("trainer_steps")
        self._tally.add("groups", count)
        self._tally.add("silent_groups", lesson.stats.dropped)
        self._tally.add("step_tokens", lesson.tokens)
        self._tally.add("silent_tokens", lesson.silent_tokens)
        self._monitor.note(lesson)
        self._suites.note(lesson)

    def note_silence(self, silence: Silence) -> None:
        """Take a window whose groups taught nothing."""
        self.silence = str(silence)
        for name in ("groups", "silent_groups"):
            self._tally.add(name, len(silence.rewards))
        self._tally.add("step_tokens", silence.tokens)
        self._tally.add("silent_tokens", silence.silent_tokens)

    def describe(self) -> LearningStatus:
        """The part of status.json that is about learning."""
        pace, windows = self._get_pace(), self._monitor.windows
        points = self._monitor.points[-SHOWN:]
        return {
            "steps": self._steps,
            "silence": self.silence,
            "alarm": self._monitor.alarm,
            "course": describe_course(self._monitor.verdict),
            "figures": cast(FiguresStatus, asdict(windows[-1])) if windows else None,
            "held_out": [cast(HeldOutStatus, asdict(point)) for point in points],
            "pace": None if pace is None else cast(PaceStatus, asdict(pace)),
        }
