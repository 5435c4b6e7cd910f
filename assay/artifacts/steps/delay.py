"""Groups of proposals that a step learns from later, when it is known how often the network has
solved what they proposed. Specification, section 11.4.

In the step that consumes it such a group waits: its rows are there, as the pool follows from them,
and no loss has them. It enters the first step before which two of its rollouts count, or none.
Which groups enter, and with which counts, follows from the rows of the steps between, so everybody
who has those finds the same.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

from assay.artifacts.steps.config import StepConfig
from assay.artifacts.steps.file import DELAY_MAX, WAITING, ConsumedGroup, Delay, open_step_parser
from assay.artifacts.steps.folder import Step, StepError, StepFolder, parse_config, read_step_groups
from assay.artifacts.steps.groups import find_most, replay_all
from assay.artifacts.steps.pool import DrawnBy
from assay.artifacts.steps.replay import EarlierStep, iterate_line
from assay.artifacts.steps.returns import has_return
from assay.environments.base import Environment, RewardParts, State
from assay.environments.pooling import (
    Subject,
    find_proposal,
    find_trial,
    is_proposing,
    list_asked,
    list_proposed,
    rate_delayed,
)
from assay.environments.registry import get_pool_cap
from assay.environments.rewards import compute_reward
from assay.environments.scoring import run_all
from assay.inference.checkpoint import Outline
from assay.inference.folder import CheckpointError
from assay.protocol.manifest import Manifest
from assay.protocol.parameters import Parameters
from assay.protocol.step import DelayedRollout
from assay.verification.episodes import Episode

#: Rollouts of a group that must count: with fewer there is nothing to compare.
COUNTING_MIN = 2


@dataclass(frozen=True, slots=True)
class LineStep:
    """A step with what later ones need of what it consumed: files of several steps would not fit
    into memory.

    Attributes:
        fresh: the miners' groups of its own window that wait, or that a checkpoint of the line
            drew.
        delayed: window, hotkey and index of the groups that it has learned from late.
    """

    step: Step
    fresh: Sequence[ConsumedGroup]
    delayed: Sequence[tuple[int, bytes, int]]


@dataclass(frozen=True, slots=True)
class Line:
    """The last steps behind a checkpoint, newest first.

    Attributes:
        missing: number of the checkpoint of the newest step that is not here, although a group of
            it may be due; None: there is none.
        reason: why its file cannot be used, if it is here.
        end: the step that ends it, as it was made under other parameters or with other tries.
    """

    steps: Sequence[LineStep]
    missing: int | None
    reason: str | None = None
    end: Step | None = None

    def find_entered(self, window: int) -> dict[tuple[bytes, int], int]:
        """Hotkey and index of the groups of a window that steps of the line have learned from late,
        whichever source they name → the number of the checkpoint that the newest of them made."""
        return {
            (hotkey, index): later.step.record.number
            for later in reversed(self.steps)
            for learned, hotkey, index in later.delayed
            if learned == window
        }

    def find_expiring(self, parent: int) -> set[tuple[int, bytes, int]]:
        """Window, hotkey and index of the groups that wait and can be due before one step more
        alone: the step that begins with checkpoint number `parent`."""
        found, last = set[tuple[int, bytes, int]](), parent - DELAY_MAX
        drew = {digest for digest, number in self.numbers.items() if number == last}
        for source in self.steps:
            entered = self.find_entered(source.step.record.window)
            found |= {
                (one.window, one.hotkey, one.index)
                for one in source.fresh
                if one.delay == WAITING and one.checkpoint in drew
                if (one.hotkey, one.index) not in entered
            }
        return found

    @property
    def numbers(self) -> dict[bytes, int]:
        """Checkpoint → number, of those that the steps began with."""
        records = (one.step.record for one in self.steps)
        return {record.parent: record.number - 1 for record in records}


def _accept(step: Step, groups: Sequence[ConsumedGroup], drew: Container[bytes]) -> None:
    """A trainer's own step."""


def read_line(
    steps: StepFolder,
    parent: Manifest,
    parameters: Parameters,
    config: StepConfig,
    check: Callable[[Step, Sequence[ConsumedGroup], Container[bytes]], None] = _accept,
) -> Line:
    """The steps behind a checkpoint from which groups may be due, as far as they are in a folder.

    Args:
        config: the settings of the step that begins with it. A step that was made with another
            number of tries, or of groups to take at most, ends the line: else a trainer could
            choose these numbers when it has seen the tries.
        check: is given each step, what it consumed and the checkpoints of the line, and raises
            StepError or CheckpointError where the step is not to be used.

    Raises:
        WorkerError: no child can be started to read files.
    """
    found: list[LineStep] = []
    number, reason = parent.number, None
    proposes = get_pool_cap(parameters.environment) is not None
    due = max(0, min(DELAY_MAX, number - parameters.start.number)) if proposes else 0
    behind = list(islice(iterate_line(steps, parent), due))
    drew = {step.record.parent for step in behind}
    with open_step_parser() as parser:
        for step in behind:
            if step.record.parameters != parameters.digest:
                return Line(found, None, end=step)
            try:
                if name_choice(parse_config(step.record)) != name_choice(config):
                    return Line(found, None, end=step)
                groups = read_step_groups(step, parser)
                check(step, groups, drew)
            except (StepError, CheckpointError) as error:
                reason = f"the file of step {step.record.number} cannot be used: {error}"
                break
            found.append(_keep(step, groups, parameters.identity.trainer, drew))
    last = found[-1].step.record.parent if found else parent.digest
    if len(found) == due or (reason is None and has_return(steps, number - len(found), last)):
        return Line(found, None)  # nothing waits across a return
    return Line(found, number - len(found), reason)


def name_choice(config: StepConfig) -> tuple[int, int | None]:
    """The settings that all steps of a line have alike: tries, and groups to take at most."""
    return config.choice.proposal_tries, find_most(config)


def _keep(
    step: Step, groups: Sequence[ConsumedGroup], trainer: bytes, drew: Container[bytes]
) -> LineStep:
    fresh = [
        one
        for one in list_fresh(step, groups, trainer)
        if one.delay == WAITING or one.checkpoint in drew
    ]
    delayed = [
        (one.window, one.hotkey, one.index)
        for one in groups
        if one.delay is not None and one.delay != WAITING
    ]
    return LineStep(step, fresh, delayed)


def list_fresh(
    step: Step, groups: Sequence[ConsumedGroup], trainer: bytes
) -> Iterator[ConsumedGroup]:
    """The miners' groups of a step's own window."""
    for one in groups:
        if one.window == step.record.window and one.hotkey != trainer:
            yield one


def _open(one: ConsumedGroup, parameters: Parameters, drawn: Outline) -> State:
    """The state before a group's first turn."""
    environment = drawn.open_environment(parameters.environment)
    return environment.open(environment.make_problem(one.problem_seed, one.levels))


def rate_parts(one: ConsumedGroup, parts: Sequence[RewardParts]) -> list[RewardParts]:
    """The parts of the rewards of a group's rollouts: of delayed ones that count and are valid by
    their tries and solves, of others as their environment gives them."""
    rollouts = () if one.delay is None else one.delay.rollouts
    rated = list(parts)
    for number, (each, rollout) in enumerate(zip(parts, rollouts, strict=False)):
        if rollout.counts and each.is_right:
            rated[number] = rate_delayed(each, rollout.tries, rollout.solves)
    return rated


def compute_rewards(
    one: ConsumedGroup, parts: Sequence[RewardParts], parameters: Parameters
) -> list[int]:
    """The rewards of a group's rollouts, in millionths, see `rate_parts`."""
    longest = parameters.work.max_tokens
    return [
        compute_reward(each, len(tokens), parameters.rewards, longest)
        for each, tokens in zip(rate_parts(one, parts), one.group.completions, strict=True)
    ]


def is_ripe(rollouts: Sequence[DelayedRollout]) -> bool:
    """Whether a group may be learned from: enough of its rollouts count, one of them by tries."""
    counting = [one for one in rollouts if one.counts]
    return len(counting) >= COUNTING_MIN and any(one.tries for one in counting)


#: A step's record, and a group of it by hotkey and index.
_Key = tuple[bytes, bytes, int]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A group of a line that was asked what may have been proposed.

    Attributes:
        place: of its step in the line.
        drawn: number of the checkpoint that drew it.
    """

    key: _Key
    group: ConsumedGroup
    place: int
    drawn: int


@dataclass(frozen=True, slots=True)
class _Index:
    """The groups of a line that were asked something, by what they were asked: a step can have
    many proposals, and each has few of these.

    Attributes:
        counts: tries and solves by miner, None: of all, for what steps of a place have proposed.
    """

    line: Line
    asked: dict[Subject, list[_Asked]] = field(default_factory=dict)
    counts: dict[tuple[int, Subject], dict[bytes | None, tuple[int, int]]] = field(
        default_factory=dict
    )


@dataclass(slots=True)
class Tally:
    """How often what was proposed was solved. It keeps what it finds: the next step asks for most
    of it again.

    Attributes:
        drawn: the checkpoints whose problems groups answer.
    """

    parameters: Parameters
    drawn: DrawnBy
    _proposals: dict[_Key, list[tuple[Subject, ...] | None]] = field(default_factory=dict)
    _subjects: dict[_Key, tuple[Subject, ...]] = field(default_factory=dict)
    _solves: dict[_Key, int] = field(default_factory=dict)
    _index: _Index | None = None

    def waits(self, one: ConsumedGroup) -> bool:
        """Whether a group asks for proposals, and so waits in a step that learns from these later.
        No checkpoint is looked for: which part of a mixture asks follows from the seed and the
        levels alone. Raises ValueError: its problem is none."""
        parameters = self.parameters
        if one.hotkey == parameters.identity.trainer:
            return False
        if get_pool_cap(parameters.environment) is None:
            return False
        return is_proposing(_open(one, parameters, self.drawn.known))

    def find_due(self, line: Line, parent: int, tries: int) -> list[EarlierStep]:
        """The groups that the step behind a line learns from late, as it has them, with the steps
        that consumed them first.

        Args:
            parent: number of the checkpoint that the step begins with.
            tries: that a proposal's problems must have had.

        Raises:
            CheckpointError: a checkpoint that drew groups is not here.
            ValueError: a group's problem is none.
            WorkerError: the sandbox cannot run.
        """
        found, numbers = [], line.numbers
        for place, source in enumerate(line.steps):
            entered = line.find_entered(source.step.record.window)
            due = []
            for one in source.fresh:
                drawn = numbers.get(one.checkpoint)
                if one.delay != WAITING or drawn is None or parent - drawn > DELAY_MAX:
                    continue
                if (one.hotkey, one.index) in entered:
                    continue
                rollouts = self.count(line, place, one, tries)
                if is_ripe(rollouts):
                    delay = Delay(source.step.record.digest, rollouts)
                    due.append(self._reward(replace(one, delay=delay)))
            if due:
                record = source.step.record
                found.append(EarlierStep(record.digest, record.number, due))
        self._forget(line)
        return found

    def _forget(self, line: Line) -> None:
        self._index = None
        known = {one.step.record.digest for one in line.steps}
        kept: tuple[dict[_Key, Any], ...] = (self._proposals, self._subjects, self._solves)
        for table in kept:
            for key in [key for key in table if key[0] not in known]:
                del table[key]

    def count(
        self, line: Line, place: int, one: ConsumedGroup, tries: int
    ) -> tuple[DelayedRollout, ...]:
        """What became of the rollouts of a waiting group in the steps behind its own. The
        proposer's own rollouts are no tries: it knows them before it commits to any.

        Args:
            place: of the group's own step in the line.
            tries: see `find_due`, also for errors.
        """
        source = line.steps[place].step.record
        rollouts = []
        for subjects in self._find_proposals((source.digest, one.hotkey, one.index), one):
            if subjects is None:
                rollouts.append(DelayedRollout(0, 0, 1))
                continue
            count = solves = 0
            for subject in subjects:
                counts = self._count_asked(line, place, subject)
                (tried, solved), own = counts[None], counts.get(one.hotkey, (0, 0))
                count, solves = count + tried - own[0], solves + solved - own[1]
            rollouts.append(DelayedRollout(count, solves, int(count >= tries)))
        return tuple(rollouts)

    def _count_asked(
        self, line: Line, place: int, subject: Subject
    ) -> dict[bytes | None, tuple[int, int]]:
        """Tries and solves of what a step of the line may have added to the pool."""
        if self._index is None or self._index.line is not line:
            self._index = self._make_index(line)
        index, number = self._index, line.steps[place].step.record.number
        if (place, subject) not in index.counts:
            found: dict[bytes | None, tuple[int, int]] = {None: (0, 0)}
            for one in index.asked.get(subject, ()):
                if one.place >= place or one.drawn < number:
                    continue
                tries, solves = len(one.group.group.completions), self._count_solves(one)
                for who in (None, one.group.hotkey):
                    count, right = found.get(who, (0, 0))
                    found[who] = count + tries, right + solves
            index.counts[place, subject] = found
        return index.counts[place, subject]

    def _make_index(self, line: Line) -> _Index:
        index, numbers = _Index(line), line.numbers
        oldest = line.steps[-1].step.record.number
        for place, later in enumerate(line.steps):
            for one in later.fresh:
                drawn = numbers.get(one.checkpoint, -1)
                if one.delay is not None or drawn < oldest:
                    continue
                key = later.step.record.digest, one.hotkey, one.index
                for subject in self._list_subjects(key, one):
                    asked = _Asked(key, one, place, drawn)
                    index.asked.setdefault(subject, []).append(asked)
        return index

    def _find_proposals(self, key: _Key, one: ConsumedGroup) -> list[tuple[Subject, ...] | None]:
        if key not in self._proposals:
            environment, episodes = self._play(one)
            tasks = [partial(find_proposal, episode.state) for episode in episodes]
            found = run_all(environment, tasks)
            self._proposals[key] = [None if each is None else list_proposed(each) for each in found]
        return self._proposals[key]

    def _list_subjects(self, key: _Key, one: ConsumedGroup) -> tuple[Subject, ...]:
        if key not in self._subjects:
            trial = find_trial(_open(one, self.parameters, self.drawn.find(one)))
            self._subjects[key] = () if trial is None else list_asked(trial)
        return self._subjects[key]

    def _count_solves(self, one: _Asked) -> int:
        if one.key not in self._solves:
            parts = self._score(one.group)
            self._solves[one.key] = sum(each.is_right for each in parts)
        return self._solves[one.key]

    def _reward(self, one: ConsumedGroup) -> ConsumedGroup:
        rewards = compute_rewards(one, self._score(one), self.parameters)
        return replace(one, group=replace(one.group, rewards=rewards))

    def _score(self, one: ConsumedGroup) -> list[RewardParts]:
        environment, episodes = self._play(one)
        return run_all(environment, [episode.state.score for episode in episodes])

    def _play(self, one: ConsumedGroup) -> tuple[Environment, list[Episode]]:
        outline = self.drawn.find(one)
        drawable = outline.tokenizer.drawable
        if any(t >= len(drawable) or not drawable[t] for own in one.group.completions for t in own):
            raise ValueError("a completion has a token that can never be drawn")
        environment = outline.open_environment(self.parameters.environment)
        problem = environment.make_problem(one.problem_seed, one.levels)
        given = one.group.prompt, one.group.completions, self.parameters.work, outline
        return environment, replay_all(environment, problem, *given)
