"""A trainer's fields of `status.json`."""

from typing import TypedDict

from assay.artifacts.status.program import ProgramStatus, WorkerStatus


class PaceStatus(TypedDict):
    """A trainer's use of its time, and its bottleneck: see docs/owner.md."""

    windows: int  # the windows counted here: the last 8 finished since the start, or fewer
    judging_seconds: float  # time spent judging; with workers, waiting for them
    learning_seconds: float
    publishing_seconds: float  # time to test, write, upload and commit to checkpoints
    waiting_seconds: float  # time spent waiting for windows and files
    #: bottleneck: judging, learning, publishing, too few groups, skipped for age, no signal
    holds_back: str
    groups_came: float  # miners' accepted groups per window, mean
    groups_usable: int | None  # groups per window that a step can use; null before the first step
    tokens_per_second: float | None  # tokens of all learning passes per second of learning


class CourseStatus(TypedDict):
    """What a trainer's training run does: see docs/owner.md."""

    state: str  # begins, learns, is flat, falls, is starved, collapses
    sentence: str  # all of it in one line
    windows: int  # windows that it follows from
    rules: dict[str, bool]  # each rule by name, and whether it holds
    figure: str | None  # the figure of the first rule that holds; null: none holds
    value: float | None  # its value
    threshold: float | None  # the threshold that it is beyond
    help: str | None  # what helps


class ReturnStatus(TypedDict):
    """A return: a checkpoint that is the milestone again."""

    number: int  # of that checkpoint
    milestone: int | None  # number of the milestone; null: its manifest is not at hand


class GateStatus(TypedDict):
    """What the newest checkpoint's course has shown, by its manifest: see docs/owner.md."""

    rule: str  # not-worse, better
    problems: int  # of each checkpoint
    milestone: int | None  # its number; null: its manifest is not at hand
    attempt: int  # number of the course among those from that milestone
    measured: int  # checkpoints of the course that are counted
    at_most: int | None  # of them, after which a course that is not better is given up; null: none
    wins: int  # problems that they solved and the milestone did not
    losses: int  # problems that the milestone solved and they did not
    better: float  # evidence that the course is better: what bets have made of 1
    better_needed: float  # from which on it is
    worse: float  # the same that it is worse
    worse_needed: float  # from which on it is
    checkpoint: int | None  # the newest one that was measured; null, as the next four: none was
    gain: float | None  # over the first checkpoint, of it and up to seven before; a share of 1
    gain_low: float | None  # an end of its 95 % band
    gain_high: float | None  # the other end
    gain_problems: int | None  # problems that it is of
    returned: ReturnStatus | None  # the newest return; null: none is known
    gain_sentence: str  # the gain in one line
    course_sentence: str  # the course in one line


class PoolStatus(TypedDict):
    """How diverse the newest checkpoint's pool of proposals is: see docs/environments.md."""

    proposals: int  # pieces in it
    shapes: int  # different functions among them, texts and numbers left out
    largest: int  # pieces of the most frequent of these
    size: float  # nodes of a piece, mean
    inputs: float  # inputs of a piece, mean
    sentence: str  # all of it in one line


class ScheduleStatus(TypedDict):
    """A trainer's learning rate, and its place in the schedule."""

    name: str  # constant, linear, cosine, wsd
    steps: int  # steps behind the learner, whatever it began with
    position: int  # of the next step in the schedule, from 1 on
    length: int | None  # steps of the schedule; null: it has no end
    phase: str  # of the next step: warm-up, peak, decay; over: the rate stays as it is
    rate: float  # learning rate of the next step


class StaleAgeStatus(TypedDict):
    """A step's older rollouts of one age."""

    age: int  # checkpoints between the one that drew them and the step's parent; 4: or more
    share: float  # of the step's completions
    ess: float  # effective sample size, a share of 1
    kl: float  # nats


class StatsStatus(TypedDict):
    """What learning from a window did; means run over the learned tokens unless said otherwise."""

    groups: int
    dropped: int  # of these, zero-variance groups
    updates: int  # optimizer steps
    tokens: int  # learned tokens
    mean_reward: float
    loss: float
    mean_ratio: float  # of new to old probability
    clipped_share: float
    mean_kl: float
    gradient_norm: float
    learning_rate: float
    sft_loss: float | None  # mean cross-entropy of the examples beside, nats; null: there are none
    entropy: float | None  # nats; null, as the ratios: no token was learned
    ratio_p01: float | None  # quantiles of the ratio of new to old probability
    ratio_p50: float | None
    ratio_p99: float | None
    ratio_max: float | None
    earlier_ratio_p50: float | None  # of groups of earlier windows alone; null: there were none
    earlier_ratio_p99: float | None
    earlier_ratio_max: float | None
    stale_share: float | None  # of older rollouts' completions; null, as the next two: none counted
    stale_ess: float | None  # effective sample size, a share of 1
    stale_kl: float | None  # nats
    stale_ages: list[StaleAgeStatus]  # the same by age, ascending


class GroupsStatus(TypedDict):
    """Figures of a window's groups: see docs/owner.md. Shares are of 1, lengths in tokens."""

    groups: int
    reward: float
    teaching: float
    all_right: float
    all_wrong: float
    length_mean: float
    length_p10: int
    length_p50: int
    length_p90: int
    length_max: int
    at_limit: float
    distinct: float
    size: float
    same: float
    commonest: float
    entropy: float | None


class FiguresStatus(TypedDict):
    """A trainer's figures of one window."""

    window: int
    checkpoint: int | None  # number of the checkpoint that its step made; null: it made none
    staleness: int  # checkpoints between the one that drew its groups and the step's parent
    groups: GroupsStatus | None  # null: no group was accepted, or all wait for their reward
    stats: StatsStatus | None  # null: nothing was learned
    fault: str | None  # why its step failed because of its numbers; null: it did not
    waiting: int  # further groups, of proposals that wait for their reward


class StepStatus(TypedDict):
    """A trainer's step."""

    window: int
    groups: int  # of the window
    replayed: int  # groups of earlier windows beside them
    waiting: int  # groups of proposals that began to wait for their reward
    delayed: int  # groups of earlier proposals whose reward came
    expired: int  # groups of proposals that waited too long
    delayed_staleness: int | None  # as `staleness`, of delayed groups; null: there are none
    reward: float | None  # mean of all rollouts; null: there were none
    tokens: int  # completion tokens of all groups
    silent_tokens: int  # of these, of zero-variance groups
    checkpoint: int  # number of the checkpoint that it made
    digest: str  # of that checkpoint
    stats: StatsStatus


class HeldOutStatus(TypedDict):
    """A checkpoint that was evaluated on held-out problems."""

    number: int
    reward: float  # mean over its step's groups
    reward_error: float  # standard error of that mean
    correct: int  # held-out problems that it solved
    problems: int  # held-out problems
    levels: list[int] | None  # of both; null: they differ, and the point is not compared


class _Place(TypedDict):
    window: int | None  # the next window to learn from
    schedule: ScheduleStatus | None  # null before the first look at the chain
    #: null: the network does not write its own problems, or before the first look at the chain
    pool: PoolStatus | None
    gate: GateStatus | None  # null: the network has no gate, or before the first look at the chain


class LearningStatus(TypedDict):
    """What a trainer has learned from."""

    steps: list[StepStatus]  # the newest 16 steps
    #: why the newest window taught nothing, and what would help; null: it taught something
    silence: str | None
    alarm: str | None  # the divergence of reward and eval accuracy; null: none
    course: CourseStatus  # whether the training run learns
    figures: FiguresStatus | None  # figures of the newest window with its step; null: none yet
    held_out: list[HeldOutStatus]  # the newest 16 checkpoints evaluated on held-out problems
    pace: PaceStatus | None  # null before the first finished window


class TrainerStatus(ProgramStatus, _Place, LearningStatus):
    """The further fields of a trainer."""

    workers: list[WorkerStatus]  # empty if the program judges by itself
