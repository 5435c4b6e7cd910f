"""A window as the trainer reads it: every group judged by the trainer's own pass.

Rewards and log-probabilities come from that pass. Nothing in a miner's file is trusted.
Specification, section 11.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import compress

from assay.artifacts.steps.file import ConsumedGroup
from assay.artifacts.submissions.judge import UnjudgedError, judge_hotkey
from assay.environments.dealing import deal_level
from assay.environments.registry import open_environment
from assay.inference.checkpoint import Checkpoint
from assay.inference.workers.pool import NoWorkerError
from assay.neurons.program.neuron import JudgeSources
from assay.protocol.context import Context
from assay.protocol.manifest import Manifest
from assay.protocol.seeds import compute_problem_seed
from assay.protocol.step import LEFT_OUT_MAX, StepLeftOut
from assay.protocol.submission import LOGPROB_BITS
from assay.training import Group, LearnStats
from assay.verification import Ledger, MeasuredGroup, Refused

#: Blocks at which a withheld file is looked for.
LOOKS = 3
#: A whole reward, millionths.
_WHOLE = 10**6


@dataclass(frozen=True, slots=True)
class Lesson:
    """One window's learning: what was consumed, and the result."""

    window: int
    rewards: tuple[int, ...]  # mean reward of each group that does not wait for it, millionths
    stats: LearnStats
    published: Manifest
    levels: tuple[int, ...] | None  # in force for its groups' problems; None where there is none
    tokens: int  # tokens of its groups' completions, all drawn and judged
    silent_tokens: int  # of these, in groups without signal that do not wait for their reward
    replayed: int = 0  # groups of earlier windows beside them
    waiting: int = 0  # of its groups, proposals that it consumed without learning from them
    delayed: int = 0  # groups of earlier windows that had waited for it
    expired: int = 0  # groups of earlier windows that have waited in vain
    #: most checkpoints from the one that drew a delayed group to the step's parent; None: no group
    delayed_staleness: int | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """One window whose groups teach nothing: in each of them all rewards are equal, or they wait
    for their reward, and the pool stays."""

    window: int
    rewards: tuple[int, ...]  # of each group that does not wait, millionths
    tokens: int  # tokens of its groups' completions, all drawn and judged
    silent_tokens: int  # of these, in groups that do not wait
    checkpoint: int  # number of the newest checkpoint, which stays
    waiting: int = 0  # groups of proposals beside

    def __str__(self) -> str:
        """One sentence, with what would help."""
        if not self.rewards:
            return (
                f"window {self.window}: none of its {self.waiting} groups of proposals makes the "
                f"pool another one, so checkpoint {self.checkpoint} stays"
            )
        reward = sum(self.rewards) / len(self.rewards) / 1e6
        beside = f" beside {self.waiting} of proposals" if self.waiting else ""
        return (
            f"window {self.window}: all of its {len(self.rewards)} groups{beside} are "
            f"zero-variance, "
            f"as the rollouts of each earn the same ({reward:.3f} on average), so checkpoint "
            f"{self.checkpoint} stays: {self._find_help()}"
        )

    def _find_help(self) -> str:
        if not any(self.rewards):
            return (
                "no rollout earned anything; an SFT cold start (assay train warm-start), easier "
                "levels or more tokens a rollout would help"
            )
        if min(self.rewards) >= _WHOLE:
            return "every rollout earned everything; harder levels would help"
        return "levels between those always and never solved, or larger groups, would help"


@dataclass(slots=True)
class WindowReading:
    """A window whose submissions are being judged."""

    context: Context
    waiting: list[bytes]  # hotkeys whose files are still to be judged
    groups: list[ConsumedGroup] = field(default_factory=list)
    left_out: dict[bytes, list[StepLeftOut]] = field(default_factory=dict)  # hotkey → its groups
    #: hotkeys whose files were missing or other than committed at the last look, or could not be
    #: judged
    withheld: list[bytes] = field(default_factory=list)
    #: hotkey → why its file could not be judged at the last look
    unjudged: dict[bytes, str] = field(default_factory=dict)
    looks: int = 1  # number of looks at the files; the withheld ones are looked at again each time
    looked_at: int | None = None  # head of the last look
    judged_s: float = 0.0  # seconds spent on judging its files
    number: int | None = None  # of the checkpoint that judges them, once it was opened
    levels: tuple[int, ...] | None = None  # in force under that checkpoint
    #: whether a group is the trainer's to learn from; None: all are
    is_own: Callable[[Context, bytes, int], bool] | None = None

    def looks_again(self, head: int) -> bool:
        """Return whether another look is due. Withheld files are looked for at `LOOKS` blocks,
        since a store may be away for a moment; no longer, so that nobody can delay a lesson."""
        if not self.withheld or self.looks >= LOOKS:
            return False
        if self.looked_at is None:
            self.looked_at = head
        elif head > self.looked_at:
            self.looked_at, self.looks = head, self.looks + 1
            self.waiting, self.withheld = self.withheld, []
        return True

    def sort_groups(self) -> list[ConsumedGroup]:
        """The groups in an order that does not depend on which file came first."""
        return sorted(self.groups, key=lambda group: (group.hotkey, group.index))

    @property
    def is_in_round(self) -> bool:
        """Whether several trainers share its groups, so that nothing is left to choose."""
        return self.is_own is not None

    def judge(self, hotkey: bytes, checkpoint: Checkpoint, sources: JudgeSources) -> None:
        """Judge all own groups of one file. Groups with a fault are left out; too many of them
        exclude the whole file. Several threads may judge one file each, in any order: so appeals
        are bounded in a file, and not in a window. One that cannot be judged is withheld. Raises
        NoWorkerError: none is left, for any file."""
        context = self.context
        committed = context.commitments[hotkey]
        groups: Sequence[int] = range(min(committed.groups, context.parameters.work.group_cap))
        if self.is_own is not None:
            groups = [index for index in groups if self.is_own(context, hotkey, index)]
            if not groups:
                return
        try:
            judged = judge_hotkey(
                context,
                hotkey,
                checkpoint,
                sources,
                Ledger(),  # of this file alone: small steerings also exclude groups
                groups=groups,
                leave_out=LEFT_OUT_MAX,
                hand_out=True,
            )
        except UnjudgedError as error:  # it may pass
            if isinstance(error.__cause__, NoWorkerError):
                raise error.__cause__ from None
            self.unjudged[hotkey] = str(error)
            self.withheld.append(hotkey)
            return
        self.unjudged.pop(hotkey, None)
        verdict = judged.verdict
        if verdict.is_withheld:
            self.withheld.append(hotkey)
            return
        self.left_out[hotkey] = [
            StepLeftOut(hotkey, fault.group, fault.reason)
            for fault in judged.left_out
            if fault.group is not None
        ]
        if isinstance(verdict, Refused):
            return
        environment = open_environment(context.parameters.environment)
        seed, levels = context.challenge_seed, checkpoint.manifest.levels
        self.groups += [
            ConsumedGroup(
                _make_group(measured, value.rewards),
                context.window,
                hotkey,
                value.index,
                checkpoint.digest,
                committed.root,
                compute_problem_seed(seed, hotkey, value.index),
                (deal_level(environment, seed, hotkey, value.index, levels),),
            )
            for value, measured in zip(verdict.groups, judged.measured, strict=True)
        ]


def _make_group(measured: MeasuredGroup, rewards: Sequence[int]) -> Group:
    unit = -(1 << LOGPROB_BITS)
    return Group(
        list(measured.prompt),
        [tokens.tolist() for tokens in measured.tokens],
        list(rewards),
        [(logprobs / unit).tolist() for logprobs in measured.logprobs],
        [list(replies) for replies in measured.replies],
    )


def list_rated(groups: Sequence[ConsumedGroup]) -> list[ConsumedGroup]:
    """The groups that do not wait for their reward."""
    return [one for one in groups if one.delay is None]


def compute_mean_rewards(groups: Sequence[ConsumedGroup]) -> tuple[int, ...]:
    """Mean reward of each group that does not wait for it, millionths."""
    rated = list_rated(groups)
    return tuple(sum(one.group.rewards) // len(one.group.rewards) for one in rated)


def count_tokens(groups: Sequence[ConsumedGroup]) -> tuple[int, int]:
    """The number of tokens of all completions, and of those in groups without signal that do not
    wait for their reward."""
    counts = [sum(map(len, one.group.completions)) for one in groups]
    silent = [one.delay is None and not one.teaches for one in groups]
    return sum(counts), sum(compress(counts, silent))


def find_waiting(context: Context) -> list[bytes]:
    """Hotkeys that have committed to a file, in the order in which one judge looks at them."""
    return sorted(hotkey for hotkey in context.commitments if hotkey in context.members)
