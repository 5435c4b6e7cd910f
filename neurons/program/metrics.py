"""A running program's metrics for Prometheus, all read from the status that it writes.

One table says what each metric is called, what it means and where a status has it; docs/metrics.md
is printed from it. Names and units follow Prometheus's own conventions. A label has as many values
as its description says, however many hotkeys there are: no label names another participant's
hotkey.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from assay.protocol import Phase, Reason

#: A program's status, as `neurons.program.status` describes it.
Status = Mapping[str, Any]
#: Label's value → number, or all labels' values → number where there are several. A metric without
#: a label has the one value "".
Samples = Mapping[str, float] | Mapping[tuple[str, ...], float]
#: A status → its figure, or figures by label; None: it has none at the moment.
Reader = Callable[[Status], float | Samples | None]

#: The u16 that means a share of 1.
_WHOLE = 65_535
#: Rao of one alpha.
_ALPHA = 1e9
_REASONS = tuple(reason.value for reason in Reason)
#: States of a miner's engine.
_ENGINE_STATES = ("new", "starting", "drafting", "left")
#: Bottlenecks of a trainer.
HINDRANCES = ("judging", "learning", "publishing", "too few groups", "skipped for age", "no signal")
#: What a trainer's course does.
COURSE_STATES = ("begins", "learns", "is flat", "falls", "is starved", "collapses")
#: Activities that a trainer's time is divided into.
_SPENT = ("judging", "learning", "publishing", "waiting")
#: Fields of a status that name its program.
_WHO = ("program", "software", "netuid", "hotkey")


class MetricKind(Enum):
    """Prometheus's name for the kind of a metric."""

    GAUGE = "gauge"
    COUNTER = "counter"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    name: str  # without the program's prefix; a counter's ends in `_total` when it is served
    kind: MetricKind
    help: str  # its meaning, and its labels' values
    reader: Reader
    labels: tuple[str, ...] = ()

    def read(self, status: Status) -> Samples:
        """The samples of a status; none where it has no figure."""
        figure = self.reader(status)
        if isinstance(figure, Mapping):
            return figure
        return {} if figure is None else {"": float(figure)}


def _gauge(name: str, help_: str, reader: Reader, *labels: str) -> Metric:
    return Metric(name, MetricKind.GAUGE, help_, reader, labels)


def _counter(name: str, count: str, help_: str, **values: Sequence[str]) -> Metric:
    """A sum from the status's `counts`, without a label or with one that has these values. It is 0
    before anything was added."""
    (known,) = values.values() or [("",)]
    zeros = dict.fromkeys(known, 0.0)
    return Metric(
        name,
        MetricKind.COUNTER,
        help_,
        lambda status: zeros | status["counts"].get(count, {}),
        tuple(values),
    )


def _relay(field: str, kind: MetricKind, help_: str) -> Metric:
    """A figure of each relay."""

    def read(status: Status) -> Samples:
        relays = status["beacon"]["relays"]
        return {relay["name"]: relay[field] for relay in relays if relay[field] is not None}

    return Metric(f"assay_beacon_{field}", kind, help_, read, ("relay",))


# --- where a status has a figure


def _at(*path: str | int) -> Reader:
    """The number at a path; none where something on it is null, or a list on it is empty."""

    def read(status: Status) -> float | None:
        value: Any = status
        for step in path:
            if not value:
                return None
            value = value[step]
        return None if value is None else float(value)

    return read


def _age(field: str) -> Reader:
    """Seconds since a time in the status."""

    def read(status: Status) -> float | None:
        at = status[field]
        return None if at is None else max(0.0, time.time() - at)

    return read


def _mark(chosen: str, values: Iterable[str]) -> Samples:
    """1 for the chosen one of a label's values, 0 for the others."""
    return {value: float(value == chosen) for value in values}


def _read_finality_lag(status: Status) -> float | None:
    return None if status["best"] is None else max(0, status["best"] - status["head"])


def _read_checkpoint_lag(status: Status) -> float | None:
    used, newest = status["checkpoint"], status["published"]
    if used is None or newest is None or used["number"] is None:
        return None
    return float(newest["number"] - used["number"])


def _newest_row(part: str, field: str, scale: float = 1.0) -> Reader:
    """The figure of a miner's newest window that has it; a verdict's once it is final."""

    def read(status: Status) -> float | None:
        parts = (row[part] for row in reversed(status["windows"]) if row[part] is not None)
        known = (one[field] for one in parts if part != "verdict" or one["final"])
        figure = next(known, None)
        return None if figure is None else figure * scale

    return read


def _read_engines(status: Status) -> Samples:
    states = [engine["state"] for engine in status["engines"]]
    return {state: float(states.count(state)) for state in _ENGINE_STATES} if states else {}


def _newest_settlement(field: str) -> Reader:
    """Values by uid, of the newest settlement that has them."""
    return lambda status: next(
        (row[field] for row in status["settlements"] if row[field] is not None), None
    )


def _read_pending(status: Status) -> float:
    return sum(row["state"] in ("due", "sending", "sent") for row in status["settlements"])


def _read_confirmed(status: Status) -> float | None:
    return max((row["confirmed_at"] or 0 for row in status["settlements"]), default=0) or None


def _read_queues(status: Status) -> Samples:
    judging = [window for window in status["windows"] if window["state"] == "judging"]
    posts = [post for post in status["posts"] if post["state"] not in ("confirmed", "superseded")]
    return {
        "submissions": float(sum(w["members"] - len(w["verdicts"]) for w in judging)),
        "records": float(status["record"]["waiting"] if status["record"] else 0),
        "posts": float(len(posts)),
    }


def _read_workers(status: Status) -> Samples:
    works = [worker["lack"] is None for worker in status["workers"]]
    return {"working": float(sum(works)), "left_out": float(works.count(False))} if works else {}


def _read_held_out(status: Status) -> float | None:
    points = status["held_out"]
    return points[-1]["correct"] / points[-1]["problems"] if points else None


def _read_rules(status: Status) -> Samples:
    return {name: float(holds) for name, holds in status["course"]["rules"].items()}


def _read_figures(part: str, prefix: str, labels: Sequence[str]) -> Reader:
    """Figures of the newest window by the end of their name."""

    def read(status: Status) -> Samples:
        figures = (status["figures"] or {}).get(part) or {}
        named = {label: figures.get(prefix + label) for label in labels}
        return {label: value for label, value in named.items() if value is not None}

    return read


def _read_spent(status: Status) -> Samples | None:
    pace = status["pace"]
    return pace and {activity: pace[f"{activity}_seconds"] for activity in _SPENT}


#: Metrics of every program.
COMMON = (
    _gauge(
        "assay_info",
        "always 1; the labels identify the program",
        lambda s: {tuple(str(s[name]) for name in _WHO): 1.0},
        *_WHO,
    ),
    _gauge("assay_window", "window of the newest finalized block", _at("window_now")),
    _gauge(
        "assay_phase",
        "1 for the latest moment of this window (specification, section 2), 0 for the others",
        lambda s: _mark(s["countdown"]["phase"], (phase.name for phase in Phase)),
        "phase",
    ),
    _gauge(
        "assay_phase_remaining_blocks",
        "blocks until this window's next moment",
        _at("countdown", "blocks"),
    ),
    _gauge(
        "assay_phase_remaining_seconds",
        "seconds until this window's next moment, at the chain's block time",
        _at("countdown", "seconds"),
    ),
    _gauge("assay_chain_head_block", "newest finalized block seen", _at("head")),
    _gauge("assay_chain_head_age_seconds", "seconds since that block's timestamp", _age("head_at")),
    _gauge(
        "assay_chain_finality_lag_blocks",
        "blocks between the node's newest block and its newest finalized one",
        _read_finality_lag,
    ),
    _relay(
        "pace_seconds",
        MetricKind.GAUGE,
        "moving average of the time to a beacon if this relay (one of at most 16) is asked first",
    ),
    _relay("won", MetricKind.COUNTER, "races that this relay's verified beacon won"),
    _relay("failed", MetricKind.COUNTER, "errors, broken answers and timeouts of this relay"),
    _relay("lied", MetricKind.COUNTER, "well-formed but false answers of this relay"),
    _gauge(
        "assay_beacon_late",
        "1 while a round is due and no source has it",
        lambda s: s["beacon"]["trouble"] is not None,
    ),
    _gauge(
        "assay_checkpoint_number",
        "checkpoint in force, in steps since the genesis; absent until the program has opened it",
        _at("checkpoint", "number"),
    ),
    _gauge(
        "assay_checkpoint_published_number",
        "newest checkpoint that the trainer has committed to",
        _at("published", "number"),
    ),
    _gauge(
        "assay_checkpoint_lag",
        "steps between the checkpoint in force and the newest one",
        _read_checkpoint_lag,
    ),
    _gauge(
        "assay_checkpoint_age_seconds",
        "seconds since this program first saw the newest checkpoint",
        _age("published_since"),
    ),
    _gauge(
        "assay_checkpoint_fetched_bytes",
        "bytes downloaded so far of the checkpoints that are being downloaded",
        lambda s: sum(download["bytes"] for download in s["fetching"]),
    ),
    _gauge(
        "assay_checkpoint_fetch_size_bytes",
        "bytes of all checkpoints that are being downloaded",
        lambda s: sum(download["of"] for download in s["fetching"]),
    ),
    _gauge(
        "assay_trouble",
        "1 while a person should know about a problem or fix it: see the log or `assay status`",
        lambda s: s["trouble"] is not None,
    ),
    _gauge(
        "assay_status_age_seconds",
        "seconds since the program last wrote its status; grows in long turns and if it hangs",
        _age("at"),
    ),
    _gauge("assay_start_time_seconds", "Unix time of the program's start", _at("started_at")),
    _counter("assay_steps", "steps", "finished turns of the program's loop"),
    _counter("assay_step_seconds", "step_seconds", "seconds spent in turns of the loop"),
    _counter(
        "assay_step_failures",
        "step_failures",
        "turns that ended with an error: outside (network or node; retried), defect (of Assay)",
        kind=("outside", "defect"),
    ),
    _counter(
        "assay_log_lines",
        "lines",
        "log lines, by level: info, warning, error",
        level=("info", "warning", "error"),
    ),
    _counter(
        "assay_store_writes",
        "writes",
        "writes to the program's own store: done, failed",
        outcome=("done", "failed"),
    ),
    _counter("assay_store_written_bytes", "written_bytes", "bytes written to its own store"),
    _counter("assay_store_write_seconds", "write_seconds", "seconds spent writing to its store"),
)

#: Further metrics of each program.
OWN: dict[str, tuple[Metric, ...]] = {
    "miner": (
        _gauge(
            "assay_miner_window", "window that the miner is working on", _at("at_work", "window")
        ),
        _gauge(
            "assay_miner_window_groups", "finished groups of that window", _at("at_work", "groups")
        ),
        _gauge(
            "assay_miner_fitting_groups",
            "groups that fit into a window at the measured speed; absent before the first one",
            _at("speed", "fits"),
        ),
        _counter("assay_miner_groups", "groups", "groups generated"),
        _counter("assay_miner_tokens", "tokens", "completion tokens of generated groups"),
        _counter("assay_miner_rollouts", "rollouts", "rollouts of generated groups"),
        _counter("assay_miner_turns", "turns", "turns of these rollouts"),
        _counter(
            "assay_miner_reply_tokens", "replies", "tokens that worlds replied in these rollouts"
        ),
        _counter(
            "assay_miner_broken_episodes",
            "broken",
            "of these rollouts, ended by the sandbox in which their world runs",
        ),
        _counter(
            "assay_miner_drafted_tokens",
            "drafted",
            "drafted tokens, kept or discarded by the reference",
            outcome=("kept", "discarded"),
        ),
        _counter(
            "assay_miner_generating_seconds",
            "generating_seconds",
            "seconds spent generating groups",
        ),
        _counter("assay_miner_drafting_seconds", "drafting_seconds", "seconds spent drafting"),
        _counter(
            "assay_miner_reading_seconds",
            "reading_seconds",
            "seconds of the reference's passes, which overlap with drafting",
        ),
        _gauge(
            "assay_miner_draft_ahead_tokens",
            "tokens by which drafts run ahead of the reference; absent without engines",
            _at("drafting", "ahead"),
        ),
        _gauge(
            "assay_miner_engines",
            "servers that draft: new, starting, drafting or left; absent if there are none",
            _read_engines,
            "state",
        ),
        _counter(
            "assay_miner_verdicts",
            "verdicts",
            "the miner's own final verdicts, by reason (specification, section 8)",
            reason=_REASONS,
        ),
        _gauge(
            "assay_miner_score",
            "score of the newest window on which the miner's own verdict is final",
            _newest_row("verdict", "score"),
        ),
        _gauge(
            "assay_miner_incentive_ratio",
            "the miner's share of the miners' emission in the last paid epoch",
            _newest_row("payment", "incentive", scale=1 / _WHOLE),
        ),
        _gauge(
            "assay_miner_emission_alpha",
            "alpha that the miner was paid in the last paid epoch",
            _newest_row("payment", "emission_rao_alpha", scale=1 / _ALPHA),
        ),
    ),
    "validator": (
        _counter(
            "assay_validator_verdicts",
            "verdicts",
            "verdicts, by reason (specification, section 8)",
            reason=_REASONS,
        ),
        _counter("assay_validator_judged_tokens", "judged_tokens", "verified completion tokens"),
        _counter("assay_validator_judged_rollouts", "judged_rollouts", "verified rollouts"),
        _counter("assay_validator_judged_turns", "judged_turns", "turns of these rollouts"),
        _counter(
            "assay_validator_judged_reply_tokens",
            "judged_replies",
            "tokens that worlds replied in these rollouts, derived and read again",
        ),
        _counter(
            "assay_validator_judged_broken_episodes",
            "judged_broken",
            "of these rollouts, ended by the sandbox in which their world runs",
        ),
        _counter(
            "assay_validator_judging_seconds",
            "judging_seconds",
            "seconds spent fetching and judging, forward passes included",
        ),
        _counter(
            "assay_validator_windows",
            "windows",
            "final windows: complete, incomplete (the validator abstains), void",
            outcome=("complete", "incomplete", "void"),
        ),
        _counter("assay_validator_settlements", "settlements", "settled epochs"),
        _gauge(
            "assay_validator_weights_pending",
            "settlements whose weights are not confirmed yet",
            _read_pending,
        ),
        _gauge(
            "assay_validator_weights_confirmed_block",
            "block in whose finalized state the newest weights were seen",
            _read_confirmed,
        ),
        _gauge(
            "assay_validator_score",
            "score of each uid (at most 256) in the newest settlement",
            _newest_settlement("scores"),
            "uid",
        ),
        _gauge(
            "assay_validator_weight",
            "weight (u16) of each uid (at most 256) in the newest settlement",
            _newest_settlement("weights"),
            "uid",
        ),
        _gauge(
            "assay_validator_queue_depth",
            "queue lengths: submissions to judge, records to publish, posts to the ledger",
            _read_queues,
            "queue",
        ),
        _gauge(
            "assay_validator_workers",
            "worker processes: working or left out (see status.json); absent if there are none",
            _read_workers,
            "state",
        ),
        Metric(
            "assay_validator_workers_lost",
            MetricKind.COUNTER,
            "restarts of workers that died, hung or ran out of memory",
            lambda s: sum(worker["lost"] for worker in s["workers"]),
        ),
    ),
    "trainer": (
        _gauge("assay_trainer_window", "next window to learn from", _at("window")),
        _counter("assay_trainer_steps", "trainer_steps", "steps, each from one window"),
        _counter(
            "assay_trainer_groups",
            "groups",
            "groups of all steps, and of windows that teach nothing, but those that wait",
        ),
        _counter(
            "assay_trainer_silent_groups",
            "silent_groups",
            "groups without signal: all their rewards were equal",
        ),
        _counter(
            "assay_trainer_tokens",
            "step_tokens",
            "completion tokens of all groups, with and without signal, also of those that wait",
        ),
        _counter(
            "assay_trainer_silent_tokens",
            "silent_tokens",
            "completion tokens of groups without signal",
        ),
        _gauge(
            "assay_trainer_learning_rate", "learning rate of the next step", _at("schedule", "rate")
        ),
        _gauge(
            "assay_trainer_reward_mean",
            "mean reward of the newest step's groups, 0 to 1",
            _at("steps", -1, "reward"),
        ),
        _gauge(
            "assay_trainer_step_checkpoint",
            "checkpoint of the newest step",
            _at("steps", -1, "checkpoint"),
        ),
        _gauge(
            "assay_trainer_held_out_accuracy_ratio",
            "share of held-out problems that the last tested checkpoint solved",
            _read_held_out,
        ),
        _gauge(
            "assay_trainer_held_out_checkpoint",
            "the last tested checkpoint",
            _at("held_out", -1, "number"),
        ),
        _gauge(
            "assay_trainer_diverged",
            "1 while reward rises and held-out accuracy does not rise enough with it",
            lambda s: s["alarm"] is not None,
        ),
        _gauge(
            "assay_trainer_course",
            "1 for what the course does: begins, learns, is flat, falls, is starved, collapses",
            lambda s: _mark(s["course"]["state"], COURSE_STATES),
            "state",
        ),
        _gauge(
            "assay_trainer_course_rule",
            "1 while a rule of collapse or starvation holds (the trainer's page has them)",
            _read_rules,
            "rule",
        ),
        _gauge(
            "assay_trainer_entropy_nats",
            "mean entropy of the policy at the newest step's learned tokens",
            _at("figures", "stats", "entropy"),
        ),
        _gauge(
            "assay_trainer_clipped_ratio",
            "share of the newest step's learned tokens whose ratio was clipped",
            _at("figures", "stats", "clipped_share"),
        ),
        _gauge(
            "assay_trainer_kl_nats",
            "mean estimate of the newest step's divergence, per learned token",
            _at("figures", "stats", "mean_kl"),
        ),
        _gauge(
            "assay_trainer_stale",
            "older rollouts at the newest step's beginning: share of completions, effective sample "
            "size (ess), divergence in nats (kl)",
            _read_figures("stats", "stale_", ("share", "ess", "kl")),
            "figure",
        ),
        _gauge(
            "assay_trainer_token_ratio",
            "ratio of new to old probability at learned tokens: p01, p50, p99, max",
            _read_figures("stats", "ratio_", ("p01", "p50", "p99", "max")),
            "quantile",
        ),
        _gauge(
            "assay_trainer_gradient_norm",
            "mean norm of the newest step's gradients, before they are scaled down",
            _at("figures", "stats", "gradient_norm"),
        ),
        _gauge(
            "assay_trainer_completion_tokens",
            "length of the newest window's completions: mean, p10, p50, p90, max",
            _read_figures("groups", "length_", ("mean", "p10", "p50", "p90", "max")),
            "quantile",
        ),
        _gauge(
            "assay_trainer_at_limit_ratio",
            "share of the newest window's completions that use all tokens they may",
            _at("figures", "groups", "at_limit"),
        ),
        _gauge(
            "assay_trainer_groups_ratio",
            "shares of the newest window's groups: teaching, all_right, all_wrong",
            _read_figures("groups", "", ("teaching", "all_right", "all_wrong")),
            "kind",
        ),
        _gauge(
            "assay_trainer_distinct_completions",
            "mean number of different completions in the newest window's groups",
            _at("figures", "groups", "distinct"),
        ),
        _gauge(
            "assay_trainer_staleness",
            "checkpoints between the one that drew the newest window's groups and their step's "
            "parent",
            _at("figures", "staleness"),
        ),
        _gauge(
            "assay_trainer_held_back",
            "1 for the bottleneck: judging, learning, publishing, too few groups, skipped for age, "
            "no signal",
            lambda s: s["pace"] and _mark(s["pace"]["holds_back"], HINDRANCES),
            "by",
        ),
        _gauge(
            "assay_trainer_spent_seconds",
            "seconds of the last 8 windows spent judging, learning, publishing, waiting",
            _read_spent,
            "activity",
        ),
        _gauge(
            "assay_trainer_groups_came",
            "miners' accepted groups per window, mean of the last 8 windows",
            _at("pace", "groups_came"),
        ),
        _gauge(
            "assay_trainer_groups_usable",
            "groups per window that a step can use",
            _at("pace", "groups_usable"),
        ),
    ),
}


def get_served_name(metric: Metric) -> str:
    """The name that a query uses."""
    return metric.name + ("_total" if metric.kind is MetricKind.COUNTER else "")
