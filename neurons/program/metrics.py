"""A running program's metrics for Prometheus, all read from the status that it writes.

One table defines them, and docs/metrics.md is printed from it. Names and units follow Prometheus's
own conventions. A label has as many values as its description says, however many hotkeys there are:
no label names another participant's hotkey.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from assay.neurons.program.status_samples import (
    WHO,
    Samples,
    read_age,
    read_confirmed,
    read_count,
    read_engines,
    read_fetched,
    read_finality_lag,
    read_held_out,
    read_hindrance,
    read_info,
    read_lag,
    read_newest_row,
    read_newest_settlement,
    read_one,
    read_pace,
    read_pending,
    read_phase,
    read_relays,
    read_step,
    read_validator_queue,
    read_workers,
    read_workers_lost,
)
from assay.protocol import Reason

#: The u16 that means a share of 1.
_WHOLE = 65_535
#: Rao of one alpha.
_ALPHA = 1e9


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
    #: a status, as `status` describes it → the samples
    read: Callable[[dict[str, Any]], Samples]
    labels: tuple[str, ...] = ()


_REASONS = tuple(reason.value for reason in Reason)


def _gauge(
    name: str, help_: str, read: Callable[[dict[str, Any]], Samples], *labels: str
) -> Metric:
    return Metric(name, MetricKind.GAUGE, help_, read, labels)


def _counter(name: str, count: str, help_: str, **values: Sequence[str]) -> Metric:
    """A sum from the status's `counts`, without a label or with one that has these values."""
    read = read_count(count, *(value for label in values.values() for value in label))
    return Metric(name, MetricKind.COUNTER, help_, read, tuple(values))


def _relay(name: str, kind: MetricKind, help_: str) -> Metric:
    """A value of each relay, by the field's name."""
    return Metric(f"assay_beacon_{name}", kind, help_, read_relays(name), ("relay",))


#: Metrics of every program.
COMMON = (
    _gauge("assay_info", "always 1; the labels identify the program", read_info, *WHO),
    _gauge("assay_window", "window of the newest finalized block", read_one("window_now")),
    _gauge(
        "assay_phase",
        "1 for the latest moment of this window (specification, section 2), 0 for the others",
        read_phase,
        "phase",
    ),
    _gauge(
        "assay_phase_remaining_blocks",
        "blocks until this window's next moment",
        read_one("countdown", "blocks"),
    ),
    _gauge(
        "assay_phase_remaining_seconds",
        "seconds until this window's next moment, at the chain's block time",
        read_one("countdown", "seconds"),
    ),
    _gauge("assay_chain_head_block", "newest finalized block seen", read_one("head")),
    _gauge(
        "assay_chain_head_age_seconds", "seconds since that block's timestamp", read_age("head_at")
    ),
    _gauge(
        "assay_chain_finality_lag_blocks",
        "blocks between the node's newest block and its newest finalized one",
        read_finality_lag,
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
        lambda s: {"": float(s["beacon"]["trouble"] is not None)},
    ),
    _gauge(
        "assay_checkpoint_number",
        "checkpoint in force, in steps since the genesis; absent until the program has opened it",
        read_one("checkpoint", "number"),
    ),
    _gauge(
        "assay_checkpoint_published_number",
        "newest checkpoint that the trainer has committed to",
        read_one("published", "number"),
    ),
    _gauge(
        "assay_checkpoint_lag", "steps between the checkpoint in force and the newest one", read_lag
    ),
    _gauge(
        "assay_checkpoint_age_seconds",
        "seconds since this program first saw the newest checkpoint",
        read_age("published_since"),
    ),
    _gauge(
        "assay_checkpoint_fetched_bytes",
        "bytes downloaded so far of the checkpoints that are being downloaded",
        read_fetched("bytes"),
    ),
    _gauge(
        "assay_checkpoint_fetch_size_bytes",
        "bytes of all checkpoints that are being downloaded",
        read_fetched("of"),
    ),
    _gauge(
        "assay_trouble",
        "1 while a person should know about a problem or fix it: see the log or `assay status`",
        lambda s: {"": float(s["trouble"] is not None)},
    ),
    _gauge(
        "assay_status_age_seconds",
        "seconds since the program last wrote its status; grows in long turns and if it hangs",
        read_age("at"),
    ),
    _gauge("assay_start_time_seconds", "Unix time of the program's start", read_one("started_at")),
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
            "assay_miner_window",
            "window that the miner is working on",
            read_one("at_work", "window"),
        ),
        _gauge(
            "assay_miner_window_groups",
            "finished groups of that window",
            read_one("at_work", "groups"),
        ),
        _counter("assay_miner_groups", "groups", "groups generated"),
        _counter("assay_miner_tokens", "tokens", "completion tokens of generated groups"),
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
            read_one("drafting", "ahead"),
        ),
        _gauge(
            "assay_miner_engines",
            "servers that draft: new, starting, drafting or left; absent if there are none",
            read_engines,
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
            read_newest_row("verdict", "score"),
        ),
        _gauge(
            "assay_miner_incentive_ratio",
            "the miner's share of the miners' emission in the last paid epoch",
            read_newest_row("payment", "incentive", scale=1 / _WHOLE),
        ),
        _gauge(
            "assay_miner_emission_alpha",
            "alpha that the miner was paid in the last paid epoch",
            read_newest_row("payment", "emission_rao_alpha", scale=1 / _ALPHA),
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
            read_pending,
        ),
        _gauge(
            "assay_validator_weights_confirmed_block",
            "block in whose finalized state the newest weights were seen",
            read_confirmed,
        ),
        _gauge(
            "assay_validator_score",
            "score of each uid (at most 256) in the newest settlement",
            read_newest_settlement("scores"),
            "uid",
        ),
        _gauge(
            "assay_validator_weight",
            "weight (u16) of each uid (at most 256) in the newest settlement",
            read_newest_settlement("weights"),
            "uid",
        ),
        _gauge(
            "assay_validator_queue_depth",
            "queue lengths: submissions to judge, records to publish, posts to the ledger",
            read_validator_queue,
            "queue",
        ),
        _gauge(
            "assay_validator_workers",
            "worker processes: working or left out (see status.json); absent if there are none",
            read_workers,
            "state",
        ),
        Metric(
            "assay_validator_workers_lost",
            MetricKind.COUNTER,
            "restarts of workers that died, hung or ran out of memory",
            read_workers_lost,
        ),
    ),
    "trainer": (
        _gauge("assay_trainer_window", "next window to learn from", read_one("window")),
        _counter("assay_trainer_steps", "trainer_steps", "steps, each from one window"),
        _counter("assay_trainer_groups", "groups", "groups in all steps"),
        _counter(
            "assay_trainer_silent_groups",
            "silent_groups",
            "groups without signal: all their rewards were equal",
        ),
        _counter(
            "assay_trainer_tokens",
            "step_tokens",
            "completion tokens of all groups in steps, with and without signal",
        ),
        _counter(
            "assay_trainer_silent_tokens",
            "silent_tokens",
            "completion tokens of groups without signal",
        ),
        _gauge(
            "assay_trainer_reward_mean",
            "mean reward of the newest step's groups, 0 to 1",
            read_step("reward"),
        ),
        _gauge(
            "assay_trainer_step_checkpoint",
            "checkpoint of the newest step",
            read_step("checkpoint"),
        ),
        _gauge(
            "assay_trainer_held_out_accuracy_ratio",
            "share of held-out problems that the last tested checkpoint solved",
            read_held_out,
        ),
        _gauge(
            "assay_trainer_held_out_checkpoint",
            "the last tested checkpoint",
            lambda s: {"": s["held_out"][-1]["number"]} if s["held_out"] else {},
        ),
        _gauge(
            "assay_trainer_diverged",
            "1 while reward rises and held-out accuracy does not rise enough with it",
            lambda s: {"": float(s["alarm"] is not None)},
        ),
        _gauge(
            "assay_trainer_held_back",
            "1 for the bottleneck: judging, learning, publishing, too few groups, skipped for age",
            read_hindrance,
            "by",
        ),
        _gauge(
            "assay_trainer_spent_seconds",
            "seconds of the last 8 windows spent judging, learning, publishing, waiting",
            read_pace,
            "activity",
        ),
        _gauge(
            "assay_trainer_groups_came",
            "miners' accepted groups per window, mean of the last 8 windows",
            read_one("pace", "groups_came"),
        ),
        _gauge(
            "assay_trainer_groups_usable",
            "groups per window that a step can use",
            read_one("pace", "groups_usable"),
        ),
    ),
}


def get_served_name(metric: Metric) -> str:
    """The name that a query uses."""
    return metric.name + ("_total" if metric.kind is MetricKind.COUNTER else "")
