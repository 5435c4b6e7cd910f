"""A running program's metrics for Prometheus, all read from the status that it writes.

One table defines them, and docs/metrics.md is printed from it. Names and units follow Prometheus's
own conventions. A label has as many values as its description says, however many hotkeys there are:
no label names another participant's hotkey.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from assay.protocol import Phase, Reason

#: Label's value → number, or all labels' values → number where there are several. A metric without
#: a label has the one value "".
Samples = Mapping[str, float] | Mapping[tuple[str, ...], float]
#: The u16 that means a share of 1.
_WHOLE = 65_535
#: States of a miner's engine.
ENGINE_STATES = ("new", "starting", "drafting", "left")
#: Bottlenecks of a trainer.
HINDRANCES = ("judging", "learning", "publishing", "too few groups", "skipped for age")
#: Activities that a trainer's time is divided into.
_SPENT = ("judging", "learning", "publishing", "waiting")
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
    #: a status, as `neurons.status` describes it → the samples
    read: Callable[[dict[str, Any]], Samples]
    labels: tuple[str, ...] = ()


def _one(*path: str) -> Callable[[dict[str, Any]], Samples]:
    """The number at a path; no sample where something on the path is null."""

    def read(status: dict[str, Any]) -> Samples:
        found: Any = status
        for name in path:
            if found is None:
                return {}
            found = found[name]
        return {} if found is None else {"": float(found)}

    return read


def _count(name: str, *labels: str) -> Callable[[dict[str, Any]], Samples]:
    """A sum since the start; 0 before anything was added."""

    def read(status: dict[str, Any]) -> Samples:
        return dict.fromkeys(labels or ("",), 0.0) | status["counts"].get(name, {})

    return read


def _relays(field: str) -> Callable[[dict[str, Any]], Samples]:
    def read(status: dict[str, Any]) -> Samples:
        relays = status["beacon"]["relays"]
        return {relay["name"]: relay[field] for relay in relays if relay[field] is not None}

    return read


_WHO = ("program", "software", "netuid", "hotkey")


def _read_info(status: dict[str, Any]) -> Samples:
    return {tuple(str(status[name]) for name in _WHO): 1.0}


def _read_phase(status: dict[str, Any]) -> Samples:
    return {phase.name: float(status["countdown"]["phase"] == phase.name) for phase in Phase}


def _read_age(field: str) -> Callable[[dict[str, Any]], Samples]:
    """Seconds since a time in the status; no sample where it is null."""

    def read(status: dict[str, Any]) -> Samples:
        at = status[field]
        return {} if at is None else {"": max(0.0, time.time() - at)}

    return read


def _read_finality_lag(status: dict[str, Any]) -> Samples:
    best = status["best"]
    return {} if best is None else {"": max(0, best - status["head"])}


def _read_lag(status: dict[str, Any]) -> Samples:
    used, newest = status["checkpoint"], status["published"]
    if used is None or newest is None or used["number"] is None:
        return {}
    return {"": newest["number"] - used["number"]}


def _read_fetched(field: str) -> Callable[[dict[str, Any]], Samples]:
    return lambda status: {"": float(sum(item[field] for item in status["fetching"]))}


def _read_newest_settlement(field: str) -> Callable[[dict[str, Any]], Samples]:
    """Values by uid, from the newest known settlement."""

    def read(status: dict[str, Any]) -> Samples:
        known = (row[field] for row in status["settlements"] if row[field] is not None)
        return dict(next(known, {}))

    return read


def _read_pending(status: dict[str, Any]) -> Samples:
    waiting = [row for row in status["settlements"] if row["state"] in ("due", "sending", "sent")]
    return {"": float(len(waiting))}


def _read_confirmed(status: dict[str, Any]) -> Samples:
    blocks = [row["confirmed_at"] for row in status["settlements"] if row["confirmed_at"]]
    return {"": float(max(blocks))} if blocks else {}


def _read_validator_queue(status: dict[str, Any]) -> Samples:
    judging = [window for window in status["windows"] if window["state"] == "judging"]
    record = status["record"]
    posts = [post for post in status["posts"] if post["state"] not in ("confirmed", "superseded")]
    return {
        "submissions": float(sum(w["members"] - len(w["verdicts"]) for w in judging)),
        "records": 0.0 if record is None else float(record["waiting"]),
        "posts": float(len(posts)),
    }


def _read_engines(status: dict[str, Any]) -> Samples:
    states = [engine["state"] for engine in status["engines"]]
    return {state: float(states.count(state)) for state in ENGINE_STATES} if states else {}


def _read_workers(status: dict[str, Any]) -> Samples:
    lacks = [worker["lack"] is not None for worker in status["workers"]]
    left_out = float(sum(lacks))
    return {"working": len(lacks) - left_out, "left_out": left_out} if lacks else {}


def _read_workers_lost(status: dict[str, Any]) -> Samples:
    return {"": float(sum(worker["lost"] for worker in status["workers"]))}


def _read_pace(status: dict[str, Any]) -> Samples:
    pace = status["pace"]
    return {} if pace is None else {name: pace[f"{name}_seconds"] for name in _SPENT}


def _read_hindrance(status: dict[str, Any]) -> Samples:
    pace = status["pace"]
    return {} if pace is None else {by: float(pace["holds_back"] == by) for by in HINDRANCES}


def _read_newest_row(*path: str, scale: float = 1.0) -> Callable[[dict[str, Any]], Samples]:
    """Read the value from a miner's newest window that has it."""

    def read(status: dict[str, Any]) -> Samples:
        for row in reversed(status["windows"]):
            part = row[path[0]]
            if part is not None and (path[0] != "verdict" or part["final"]):
                return {"": part[path[1]] * scale}
        return {}

    return read


def _read_held_out(status: dict[str, Any]) -> Samples:
    points = status["held_out"]
    return {"": points[-1]["correct"] / points[-1]["problems"]} if points else {}


def _read_step(field: str) -> Callable[[dict[str, Any]], Samples]:
    def read(status: dict[str, Any]) -> Samples:
        return {"": float(status["steps"][-1][field])} if status["steps"] else {}

    return read


_REASONS = tuple(reason.value for reason in Reason)


def _gauge(
    name: str, help_: str, read: Callable[[dict[str, Any]], Samples], *labels: str
) -> Metric:
    return Metric(name, MetricKind.GAUGE, help_, read, labels)


def _counter(name: str, count: str, help_: str, **values: Sequence[str]) -> Metric:
    """A sum from the status's `counts`, without a label or with one that has these values."""
    read = _count(count, *(value for label in values.values() for value in label))
    return Metric(name, MetricKind.COUNTER, help_, read, tuple(values))


def _relay(name: str, kind: MetricKind, help_: str) -> Metric:
    """A value of each relay, by the field's name."""
    return Metric(f"assay_beacon_{name}", kind, help_, _relays(name), ("relay",))


#: Metrics of every program.
COMMON = (
    _gauge("assay_info", "always 1; the labels identify the program", _read_info, *_WHO),
    _gauge("assay_window", "window of the newest finalized block", _one("window_now")),
    _gauge(
        "assay_phase",
        "1 for the moment that window reached last (specification, section 2), 0 for the others",
        _read_phase,
        "phase",
    ),
    _gauge(
        "assay_phase_remaining_blocks",
        "blocks until that window's next moment",
        _one("countdown", "blocks"),
    ),
    _gauge(
        "assay_phase_remaining_seconds",
        "seconds until that window's next moment, at the chain's block time",
        _one("countdown", "seconds"),
    ),
    _gauge("assay_chain_head_block", "newest finalized block seen", _one("head")),
    _gauge(
        "assay_chain_head_age_seconds", "seconds since that block's timestamp", _read_age("head_at")
    ),
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
        lambda s: {"": float(s["beacon"]["trouble"] is not None)},
    ),
    _gauge(
        "assay_checkpoint_number",
        "checkpoint in force, in steps since the genesis; absent until the program has opened it",
        _one("checkpoint", "number"),
    ),
    _gauge(
        "assay_checkpoint_published_number",
        "newest checkpoint that the trainer has committed to",
        _one("published", "number"),
    ),
    _gauge(
        "assay_checkpoint_lag",
        "steps between the checkpoint in force and the newest one",
        _read_lag,
    ),
    _gauge(
        "assay_checkpoint_age_seconds",
        "seconds since this program first saw the newest checkpoint",
        _read_age("published_since"),
    ),
    _gauge(
        "assay_checkpoint_fetched_bytes",
        "bytes downloaded so far of the checkpoints that are being downloaded",
        _read_fetched("bytes"),
    ),
    _gauge(
        "assay_checkpoint_fetch_size_bytes",
        "bytes of all checkpoints that are being downloaded",
        _read_fetched("of"),
    ),
    _gauge(
        "assay_trouble",
        "1 while a person should know about a problem or fix it: see the log or `assay status`",
        lambda s: {"": float(s["trouble"] is not None)},
    ),
    _gauge(
        "assay_status_age_seconds",
        "seconds since the program last wrote its status; grows in long turns and if it hangs",
        _read_age("at"),
    ),
    _gauge("assay_start_time_seconds", "Unix time of the program's start", _one("started_at")),
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
            "assay_miner_window", "window that the miner is working on", _one("at_work", "window")
        ),
        _gauge(
            "assay_miner_window_groups", "finished groups of that window", _one("at_work", "groups")
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
            _one("drafting", "ahead"),
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
            _read_newest_row("verdict", "score"),
        ),
        _gauge(
            "assay_miner_incentive_ratio",
            "the miner's share of the miners' emission in the last paid epoch",
            _read_newest_row("payment", "incentive", scale=1 / _WHOLE),
        ),
        _gauge(
            "assay_miner_emission_alpha",
            "alpha that the miner was paid in the last paid epoch",
            _read_newest_row("payment", "emission_rao_alpha", scale=1 / _ALPHA),
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
            _read_newest_settlement("scores"),
            "uid",
        ),
        _gauge(
            "assay_validator_weight",
            "weight (u16) of each uid (at most 256) in the newest settlement",
            _read_newest_settlement("weights"),
            "uid",
        ),
        _gauge(
            "assay_validator_queue_depth",
            "queue lengths: submissions to judge, records to publish, posts to the ledger",
            _read_validator_queue,
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
            _read_workers_lost,
        ),
    ),
    "trainer": (
        _gauge("assay_trainer_window", "next window to learn from", _one("window")),
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
            _read_step("reward"),
        ),
        _gauge(
            "assay_trainer_step_checkpoint",
            "checkpoint of the newest step",
            _read_step("checkpoint"),
        ),
        _gauge(
            "assay_trainer_held_out_accuracy_ratio",
            "share of held-out problems that the last tested checkpoint solved",
            _read_held_out,
        ),
        _gauge(
            "assay_trainer_held_out_checkpoint",
            "the last tested checkpoint",
            lambda s: {"": s["held_out"][-1]["number"]} if s["held_out"] else {},
        ),
        _gauge(
            "assay_trainer_diverged",
            "1 while reward rises and held-out accuracy falls",
            lambda s: {"": float(s["alarm"] is not None)},
        ),
        _gauge(
            "assay_trainer_held_back",
            "1 for the bottleneck: judging, learning, publishing, too few groups, skipped for age",
            _read_hindrance,
            "by",
        ),
        _gauge(
            "assay_trainer_spent_seconds",
            "seconds of the last 8 windows spent judging, learning, publishing, waiting",
            _read_pace,
            "activity",
        ),
        _gauge(
            "assay_trainer_groups_came",
            "miners' accepted groups per window, mean of the last 8 windows",
            _one("pace", "groups_came"),
        ),
        _gauge(
            "assay_trainer_groups_usable",
            "groups per window that a step can use",
            _one("pace", "groups_usable"),
        ),
    ),
}


def get_served_name(metric: Metric) -> str:
    """The name that a query uses."""
    return metric.name + ("_total" if metric.kind is MetricKind.COUNTER else "")
