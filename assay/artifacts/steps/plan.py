"""What a training step takes, derived once: a trainer carries the plan out, and whoever repeats the
step compares it with what the step has taken.

How it works. `plan_step` derives all of a step's choice from what was there before it:

    held-out success of the parent ──────────────→ levels of the checkpoint that it makes
    its window's groups, good ones ─→ which wait ─→ by rank: fresh, spares
    fresh, and the steps before it ──────────────→ by share and rank: replays
    the steps before it ─→ tries of proposals ───→ delayed, expired
    how many of all these have a signal ─────────→ own: how many the trainer draws
    fresh ─→ their proposals ────────────────────→ pool of the checkpoint that it makes

Each side gives what it knows. A trainer has judged all groups of its window, so its plan is what it
does: it draws its own groups, learns, and writes the record. An audit has the groups that the step
consumed and the steps beside it. The plan of an honest step's own groups is that step: what the
plan takes out, or adds from the steps beside it, is what the step did wrong.

Nothing here reads a step's file or the chain, draws rollouts or knows the time. What a group's
rollouts say follows from their tokens: `Tally` plays them. Specification, sections 11, 11.3, 11.4.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from assay.artifacts.steps.config import StepChoice, StepConfig
from assay.artifacts.steps.delay import Line, Tally
from assay.artifacts.steps.file import WAITING, ConsumedGroup
from assay.artifacts.steps.groups import OwnGroups, choose_external, count_teaching, find_most
from assay.artifacts.steps.pool import compute_step_pool
from assay.artifacts.steps.replay import (
    EarlierStep,
    choose_replays,
    count_replays,
    name_replays,
    sort_earlier,
)
from assay.environments.steering import compute_next_levels
from assay.inference.checkpoint import Outline
from assay.protocol.manifest import HeldOutCounts, LevelWeights
from assay.protocol.step import StepReplay


@dataclass(frozen=True, slots=True)
class StepInputs:
    """What a step's choice follows from.

    Attributes:
        parent: the checkpoint that it begins with.
        window: its own.
        audit_seed: of that window, 32 bytes; None: it is not known. Then groups with a signal rank
            as they come: how many are taken is right, and not which.
        config: its settings. In a round nothing is chosen: a `StepChoice` of defaults.
        fresh: good groups of miners of its window, each once.
        earlier: the steps whose groups it may replay.
        line: the steps whose proposals may be due; None: it learns from none late.
        held_out: the parent's success, from which levels follow; none: they stay.
    """

    parent: Outline
    window: int
    audit_seed: bytes | None
    config: StepConfig
    fresh: Sequence[ConsumedGroup]
    earlier: Sequence[EarlierStep] = ()
    line: Line | None = None
    held_out: HeldOutCounts = ()


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What a step takes.

    Attributes:
        fresh: the miners' groups of its window that it consumes, in order; those that wait for
            their reward have the mark.
        spares: good ones with a signal that it leaves over, in order.
        own: how many groups of the trainer's own it draws.
        replays: groups of earlier windows that it learns from again, in order.
        delayed: groups of earlier windows that have waited for it, in order, with their tries.
        staleness: most checkpoints from the one that drew a delayed group to the step's parent;
            None: there is no such group.
        expired: number of groups of earlier windows that can be due in no later step.
        held_out: its parent's success. levels, pool: of the checkpoint that it makes; the pool as
            its file's bytes.
        named: where its groups of earlier windows are from, as its record says it.
    """

    fresh: tuple[ConsumedGroup, ...]
    spares: tuple[ConsumedGroup, ...]
    own: OwnGroups
    replays: tuple[ConsumedGroup, ...]
    delayed: tuple[ConsumedGroup, ...]
    staleness: int | None
    expired: int
    held_out: HeldOutCounts
    levels: LevelWeights
    pool: bytes
    named: tuple[StepReplay, ...] | None

    @property
    def earlier(self) -> list[ConsumedGroup]:
        """The groups of earlier windows, in the order in which the step learns from them."""
        return sort_earlier([*self.replays, *self.delayed])

    def changes(self, parent: Outline) -> bool:
        """Whether levels or pool become others, so that the checkpoint is another one even where
        no group teaches."""
        return self.levels != parent.manifest.levels or self.pool != parent.piece_pool


def plan_step(given: StepInputs, tally: Tally) -> StepPlan:
    """Derive a step's choice.

    Args:
        tally: knows what groups say, with the step's parent as the known checkpoint.

    Raises:
        CheckpointError: a checkpoint that drew groups is not here.
        ValueError: a group's problem is none, or the held-out success is none that could be
            counted.
        WorkerError: the sandbox cannot run.
    """
    choice, parent, seed = given.config.choice, given.parent, given.audit_seed
    candidates = _mark_waiting(given.fresh, choice, tally)
    fresh = choose_external(candidates, find_most(given.config), seed)
    chosen = {(one.hotkey, one.index) for one in fresh}
    left = [one for one in candidates if (one.hotkey, one.index) not in chosen]
    earlier = [
        replace(step, groups=[one for one in step.groups if _may_replay(one, choice, tally)])
        for step in given.earlier
    ]
    most = count_replays(count_teaching(fresh), choice.replay_share)
    replays = choose_replays(earlier, most, seed)
    sources = _find_due(given, tally)
    delayed = sort_earlier(one for step in sources for one in step.groups)
    teaching = count_teaching([*fresh, *replays, *delayed])
    return StepPlan(
        tuple(fresh),
        tuple(one for one in left if one.teaches),
        _plan_own(given.config, teaching),
        tuple(replays),
        tuple(delayed),
        _measure_staleness(given, delayed),
        _count_expired(given, delayed),
        given.held_out,
        compute_next_levels(tally.parameters, parent.manifest.levels, given.held_out),
        compute_step_pool(fresh, given.window, tally.drawn),
        name_replays(sort_earlier([*replays, *delayed]), [*earlier, *sources]),
    )


def _mark_waiting(
    fresh: Iterable[ConsumedGroup], choice: StepChoice, tally: Tally
) -> list[ConsumedGroup]:
    """A window's groups in order, with those marked that wait for their reward."""
    ordered = sorted(fresh, key=lambda one: (one.hotkey, one.index))
    if not choice.proposal_tries:
        return ordered
    return [replace(one, delay=WAITING) if tally.waits(one) else one for one in ordered]


def _may_replay(one: ConsumedGroup, choice: StepChoice, tally: Tally) -> bool:
    """Whether a group of an earlier step may be replayed: it has a signal, and does not wait."""
    return one.teaches and not (choice.proposal_tries and tally.waits(one))


def _find_due(given: StepInputs, tally: Tally) -> list[EarlierStep]:
    """The groups that have waited for this step, with the steps that consumed them first."""
    if given.line is None:
        return []
    number, tries = given.parent.manifest.number, given.config.choice.proposal_tries
    return tally.find_due(given.line, number, tries)


def _measure_staleness(given: StepInputs, delayed: Sequence[ConsumedGroup]) -> int | None:
    if given.line is None:
        return None
    numbers, parent = given.line.numbers, given.parent.manifest.number
    return max((parent - numbers[one.checkpoint] for one in delayed), default=None)


def _count_expired(given: StepInputs, delayed: Sequence[ConsumedGroup]) -> int:
    if given.line is None:
        return 0
    learned = {(one.window, one.hotkey, one.index) for one in delayed}
    return len(given.line.find_expiring(given.parent.manifest.number) - learned)


def _plan_own(config: StepConfig, teaching: int) -> OwnGroups:
    """The trainer's own groups beside others, of which `teaching` have a signal."""
    count, learning = config.choice.local_groups, config.learning
    if not count or not learning.refill:
        return OwnGroups(count)
    return OwnGroups(count, count + -(count + teaching) % learning.groups_per_batch)
