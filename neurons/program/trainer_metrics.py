"""A trainer's further metrics, see `metrics`."""

from collections.abc import Callable

from assay.artifacts.status.trainer import GateStatus, GroupsStatus, StatsStatus, TrainerStatus
from assay.neurons.program.metric import Metric, Reader, Samples, counter, gauge, mark

#: Bottlenecks of a trainer.
HINDRANCES = ("judging", "learning", "publishing", "too few groups", "skipped for age", "no signal")
#: What a trainer's course does.
COURSE_STATES = ("begins", "learns", "is flat", "falls", "is starved", "collapses")

_Figure = float | Samples | None


def _stats(read: Callable[[StatsStatus], _Figure]) -> Reader[TrainerStatus]:
    """A figure of the newest step's tokens."""
    return lambda s: s["figures"] and s["figures"]["stats"] and read(s["figures"]["stats"])


def _groups(read: Callable[[GroupsStatus], _Figure]) -> Reader[TrainerStatus]:
    """A figure of the newest window's groups."""
    return lambda s: s["figures"] and s["figures"]["groups"] and read(s["figures"]["groups"])


def _gate(read: Callable[[GateStatus], _Figure]) -> Reader[TrainerStatus]:
    """A figure of what the newest checkpoint's course has shown."""
    return lambda s: s["gate"] and read(s["gate"])


def _leave_out_unknown(**figures: float | None) -> Samples:
    return {label: figure for label, figure in figures.items() if figure is not None}


def _read_held_out(status: TrainerStatus) -> float | None:
    points = status["held_out"]
    return points[-1]["correct"] / points[-1]["problems"] if points else None


def _read_rules(status: TrainerStatus) -> Samples:
    return {name: float(holds) for name, holds in status["course"]["rules"].items()}


def _read_spent(status: TrainerStatus) -> Samples | None:
    pace = status["pace"]
    return pace and {
        "judging": pace["judging_seconds"],
        "learning": pace["learning_seconds"],
        "publishing": pace["publishing_seconds"],
        "waiting": pace["waiting_seconds"],
    }


TRAINER: tuple[Metric[TrainerStatus], ...] = (
    gauge("assay_trainer_window", "next window to learn from", lambda s: s["window"]),
    counter("assay_trainer_steps", "trainer_steps", "steps, each from one window"),
    counter(
        "assay_trainer_groups",
        "groups",
        "groups of all steps, and of windows without a step, but those that wait",
    ),
    counter(
        "assay_trainer_silent_groups",
        "silent_groups",
        "zero-variance groups: all their rewards were equal",
    ),
    counter(
        "assay_trainer_tokens",
        "step_tokens",
        "completion tokens of all groups, also of zero-variance groups and of those that wait",
    ),
    counter(
        "assay_trainer_silent_tokens", "silent_tokens", "completion tokens of zero-variance groups"
    ),
    gauge(
        "assay_trainer_learning_rate",
        "learning rate of the next step",
        lambda s: s["schedule"] and s["schedule"]["rate"],
    ),
    gauge(
        "assay_trainer_reward_mean",
        "mean reward of the newest step's groups, 0 to 1",
        lambda s: s["steps"][-1]["reward"] if s["steps"] else None,
    ),
    gauge(
        "assay_trainer_step_checkpoint",
        "checkpoint of the newest step",
        lambda s: s["steps"][-1]["checkpoint"] if s["steps"] else None,
    ),
    gauge(
        "assay_trainer_held_out_accuracy_ratio",
        "share of held-out problems that the last tested checkpoint solved",
        _read_held_out,
    ),
    gauge(
        "assay_trainer_held_out_checkpoint",
        "the last tested checkpoint",
        lambda s: s["held_out"][-1]["number"] if s["held_out"] else None,
    ),
    gauge(
        "assay_trainer_gain",
        "gain over the first checkpoint, of the newest measured one and up to seven before it, a "
        "share of 1: mean, and low, high of its 95 % band",
        _gate(lambda g: _leave_out_unknown(mean=g["gain"], low=g["gain_low"], high=g["gain_high"])),
        "bound",
    ),
    gauge(
        "assay_trainer_evidence_ratio",
        "evidence that the course is better, or worse, of what is needed",
        _gate(
            lambda g: {
                "better": g["better"] / g["better_needed"],
                "worse": g["worse"] / g["worse_needed"],
            }
        ),
        "that",
    ),
    gauge(
        "assay_trainer_pairs",
        "problems that one of a course's checkpoints and its milestone solved and the other did "
        "not: wins, losses",
        _gate(lambda g: {"wins": g["wins"], "losses": g["losses"]}),
        "kind",
    ),
    gauge(
        "assay_trainer_milestone",
        "checkpoint that others are measured beside",
        _gate(lambda g: g["milestone"]),
    ),
    gauge(
        "assay_trainer_return_checkpoint",
        "the newest return: a checkpoint that is its milestone again",
        _gate(lambda g: g["returned"] and g["returned"]["number"]),
    ),
    gauge(
        "assay_trainer_diverged",
        "1 while reward rises and eval accuracy does not rise enough with it",
        lambda s: s["alarm"] is not None,
    ),
    gauge(
        "assay_trainer_course",
        "1 for what the training run does: begins, learns, is flat, falls, is starved, collapses",
        lambda s: mark(s["course"]["state"], COURSE_STATES),
        "state",
    ),
    gauge(
        "assay_trainer_course_rule",
        "1 while a rule of collapse or starvation holds (the trainer's page has them)",
        _read_rules,
        "rule",
    ),
    gauge(
        "assay_trainer_entropy_nats",
        "mean entropy of the policy at the newest step's learned tokens",
        _stats(lambda f: f["entropy"]),
    ),
    gauge(
        "assay_trainer_clipped_ratio",
        "share of the newest step's learned tokens whose ratio was clipped",
        _stats(lambda f: f["clipped_share"]),
    ),
    gauge(
        "assay_trainer_kl_nats",
        "mean estimate of the newest step's divergence, per learned token",
        _stats(lambda f: f["mean_kl"]),
    ),
    gauge(
        "assay_trainer_stale",
        "older rollouts at the newest step's beginning: share of completions, effective sample "
        "size (ess), divergence in nats (kl)",
        _stats(
            lambda f: _leave_out_unknown(
                share=f["stale_share"], ess=f["stale_ess"], kl=f["stale_kl"]
            )
        ),
        "figure",
    ),
    gauge(
        "assay_trainer_stale_ess_ratio",
        "effective sample size of the newest step's older rollouts by age, in checkpoints; 4: or "
        "more",
        _stats(lambda f: {str(one["age"]): one["ess"] for one in f["stale_ages"]}),
        "age",
    ),
    gauge(
        "assay_trainer_stale_kl_nats",
        "mean estimate of the divergence of the newest step's older rollouts by age, per token",
        _stats(lambda f: {str(one["age"]): one["kl"] for one in f["stale_ages"]}),
        "age",
    ),
    gauge(
        "assay_trainer_token_ratio",
        "ratio of new to old probability at learned tokens: p01, p50, p99, max",
        _stats(
            lambda f: _leave_out_unknown(
                p01=f["ratio_p01"], p50=f["ratio_p50"], p99=f["ratio_p99"], max=f["ratio_max"]
            )
        ),
        "quantile",
    ),
    gauge(
        "assay_trainer_gradient_norm",
        "mean norm of the newest step's gradients, before they are scaled down",
        _stats(lambda f: f["gradient_norm"]),
    ),
    gauge(
        "assay_trainer_completion_tokens",
        "length of the newest window's completions: mean, p10, p50, p90, max",
        _groups(
            lambda f: {
                "mean": f["length_mean"],
                "p10": f["length_p10"],
                "p50": f["length_p50"],
                "p90": f["length_p90"],
                "max": f["length_max"],
            }
        ),
        "quantile",
    ),
    gauge(
        "assay_trainer_at_limit_ratio",
        "share of the newest window's completions that were truncated",
        _groups(lambda f: f["at_limit"]),
    ),
    gauge(
        "assay_trainer_groups_ratio",
        "shares of the newest window's groups: teaching, all_right, all_wrong",
        _groups(
            lambda f: {
                "teaching": f["teaching"],
                "all_right": f["all_right"],
                "all_wrong": f["all_wrong"],
            }
        ),
        "kind",
    ),
    gauge(
        "assay_trainer_distinct_completions",
        "mean number of distinct completions in the newest window's groups",
        _groups(lambda f: f["distinct"]),
    ),
    gauge(
        "assay_trainer_staleness",
        "checkpoints between the one that drew the newest window's groups and their step's parent",
        lambda s: s["figures"] and s["figures"]["staleness"],
    ),
    gauge(
        "assay_trainer_held_back",
        "1 for the bottleneck: judging, learning, publishing, too few groups, skipped for age, "
        "no signal",
        lambda s: s["pace"] and mark(s["pace"]["holds_back"], HINDRANCES),
        "by",
    ),
    gauge(
        "assay_trainer_spent_seconds",
        "seconds of the last 8 windows spent judging, learning, publishing, waiting",
        _read_spent,
        "activity",
    ),
    gauge(
        "assay_trainer_groups_came",
        "miners' accepted groups per window, mean of the last 8 windows",
        lambda s: s["pace"] and s["pace"]["groups_came"],
    ),
    gauge(
        "assay_trainer_groups_usable",
        "groups per window that a step can use",
        lambda s: s["pace"] and s["pace"]["groups_usable"],
    ),
)
