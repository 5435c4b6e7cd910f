"""A running program's figures for Prometheus: every one read off the status that it writes.

One table says which there are; docs/metrics.md is printed from it. Names and units follow
Prometheus's own conventions. A label has as many values as its description says, however many
hotkeys there are: none names a stranger's.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from assay.protocol import Phase, Reason

#: Label's value → figure, or all labels' values where there are several. A metric without a label
#: has the one value "".
Samples = Mapping[str, float] | Mapping[tuple[str, ...], float]
#: What a u16 share is a part of.
_WHOLE = 65_535
#: Of a miner's engine.
ENGINE_STATES = ("new", "starting", "drafting", "left")
#: What a trainer is held back by.
HINDRANCES = ("judging", "learning", "publishing", "too few groups", "skipped for age")
#: What a trainer's seconds go into.
_SPENT = ("judging", "learning", "publishing", "waiting")
#: Rao of one alpha.
_ALPHA = 1e9


class MetricKind(Enum):
    """What Prometheus calls it."""

    GAUGE = "gauge"
    COUNTER = "counter"


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure."""

    name: str  # without the program's prefix; a counter's ends in `_total` when it is served
    kind: MetricKind
    help: str  # what it is, and its labels' values
    #: a status, as `neurons.status` describes it → the figures
    read: Callable[[dict[str, Any]], Samples]
    labels: tuple[str, ...] = ()


def _one(*path: str) -> Callable[[dict[str, Any]], Samples]:
    """The number that stands at a place; none where something on the way is null."""

    def read(status: dict[str, Any]) -> Samples:
        found: Any = status
        for name in path:
            if found is None:
                return {}
            found = found[name]
        return {} if found is None else {"": float(found)}

    return read


def _count(name: str, *labels: str) -> Callable[[dict[str, Any]], Samples]:
    """A sum since the start, 0 where nothing was added yet."""

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
    """Seconds since a time that stands in the status; none where it is null."""

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
    """By uid, of the newest settlement that is known."""

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
    """Of a miner's newest window that has it."""

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


def _read_lesson(field: str) -> Callable[[dict[str, Any]], Samples]:
    def read(status: dict[str, Any]) -> Samples:
        return {"": float(status["lessons"][-1][field])} if status["lessons"] else {}

    return read


_REASONS = tuple(reason.value for reason in Reason)


def _gauge(
    name: str, help_: str, read: Callable[[dict[str, Any]], Samples], *labels: str
) -> Metric:
    return Metric(name, MetricKind.GAUGE, help_, read, labels)


def _counter(name: str, count: str, help_: str, **values: Sequence[str]) -> Metric:
    """A sum of the status's `counts`, by no label or by one with these values."""
    read = _count(count, *(value for label in values.values() for value in label))
    return Metric(name, MetricKind.COUNTER, help_, read, tuple(values))


def _relay(name: str, kind: MetricKind, help_: str) -> Metric:
    """One of a relay's figures, by the field's name."""
    return Metric(f"assay_beacon_{name}", kind, help_, _relays(name), ("relay",))


#: What every program has.
COMMON = (
    _gauge("assay_info", "1; the labels say who this is, the hotkey is its own", _read_info, *_WHO),
    _gauge("assay_window", "window of the newest finalized block", _one("window_now")),
    _gauge(
        "assay_phase",
        "1 for the newest moment of that window (specification, section 2), 0 for the five others",
        _read_phase,
        "phase",
    ),
    _gauge(
        "assay_phase_remaining_blocks", "blocks until its next moment", _one("countdown", "blocks")
    ),
    _gauge(
        "assay_phase_remaining_seconds",
        "the same by the chain's slot",
        _one("countdown", "seconds"),
    ),
    _gauge("assay_chain_head_block", "newest finalized block seen", _one("head")),
    _gauge("assay_chain_head_age_seconds", "since its timestamp", _read_age("head_at")),
    _gauge(
        "assay_chain_finality_lag_blocks",
        "newest block that the node knows, less the newest finalized",
        _read_finality_lag,
    ),
    _relay(
        "pace_seconds",
        MetricKind.GAUGE,
        "moving average until a beacon is there if this relay (at most 16) is asked first",
    ),
    _relay("won", MetricKind.COUNTER, "races in which this relay's verified beacon came first"),
    _relay(
        "failed",
        MetricKind.COUNTER,
        "answers of this relay that were errors, broken, or none in time",
    ),
    _relay("lied", MetricKind.COUNTER, "answers of this relay that were well-formed and false"),
    _gauge(
        "assay_beacon_late",
        "1 while a round is due and not to be had",
        lambda s: {"": float(s["beacon"]["trouble"] is not None)},
    ),
    _gauge(
        "assay_checkpoint_number",
        "checkpoint in force, steps from the genesis; none before it was opened here",
        _one("checkpoint", "number"),
    ),
    _gauge(
        "assay_checkpoint_published_number",
        "the newest that the trainer has committed to",
        _one("published", "number"),
    ),
    _gauge("assay_checkpoint_lag", "checkpoints between the two", _read_lag),
    _gauge(
        "assay_checkpoint_age_seconds",
        "since this program first saw the newest",
        _read_age("published_since"),
    ),
    _gauge(
        "assay_checkpoint_fetched_bytes",
        "of checkpoints on their way, what has come",
        _read_fetched("bytes"),
    ),
    _gauge(
        "assay_checkpoint_fetch_size_bytes", "of checkpoints on their way, all", _read_fetched("of")
    ),
    _gauge(
        "assay_trouble",
        "1 while a person should know or mend something: the log and `assay status` say what",
        lambda s: {"": float(s["trouble"] is not None)},
    ),
    _gauge(
        "assay_status_age_seconds",
        "since the program last looked at itself: long steps and a program that hangs let it grow",
        _read_age("at"),
    ),
    _gauge("assay_start_time_seconds", "Unix time of the start", _one("started_at")),
    _counter("assay_steps", "steps", "bounded pieces of work done"),
    _counter("assay_step_seconds", "step_seconds", "that they took"),
    _counter(
        "assay_step_failures",
        "step_failures",
        "steps that ended with an error: outside (tried again) or defect (ours)",
        kind=("outside", "defect"),
    ),
    _counter(
        "assay_log_lines",
        "lines",
        "lines said: info, warning, error",
        level=("info", "warning", "error"),
    ),
    _counter(
        "assay_store_writes",
        "writes",
        "objects written to the program's own store: done, failed",
        outcome=("done", "failed"),
    ),
    _counter("assay_store_written_bytes", "written_bytes", "bytes of them"),
    _counter("assay_store_write_seconds", "write_seconds", "that writing took"),
)

#: What a program has besides.
OWN: dict[str, tuple[Metric, ...]] = {
    "miner": (
        _gauge("assay_miner_window", "window at work", _one("at_work", "window")),
        _gauge(
            "assay_miner_window_groups", "groups of it that are done", _one("at_work", "groups")
        ),
        _counter("assay_miner_groups", "groups", "groups generated"),
        _counter("assay_miner_tokens", "tokens", "completion tokens of finished groups"),
        _counter(
            "assay_miner_drafted_tokens",
            "drafted",
            "tokens that were drafted for them: kept or discarded",
            outcome=("kept", "discarded"),
        ),
        _counter("assay_miner_generating_seconds", "generating_seconds", "that generating took"),
        _counter(
            "assay_miner_drafting_seconds", "drafting_seconds", "of these, that drafts were made in"
        ),
        _counter(
            "assay_miner_reading_seconds",
            "reading_seconds",
            "of these, that the reference read drafts in: with engines both at once",
        ),
        _gauge(
            "assay_miner_draft_ahead_tokens",
            "that a draft goes ahead of the reference; none without engines",
            _one("drafting", "ahead"),
        ),
        _gauge(
            "assay_miner_engines",
            "servers that draft: new, starting, drafting, left (status.json says why); none where "
            "the program drafts by itself",
            _read_engines,
            "state",
        ),
        _counter(
            "assay_miner_verdicts",
            "verdicts",
            "final verdicts of the miner's own judge, by reason (specification, section 8)",
            reason=_REASONS,
        ),
        _gauge(
            "assay_miner_score",
            "what the newest window with a final own verdict adds to its settlement",
            _read_newest_row("verdict", "score"),
        ),
        _gauge(
            "assay_miner_incentive_ratio",
            "share of the miners' emission in the epoch paid last",
            _read_newest_row("payment", "incentive", scale=1 / _WHOLE),
        ),
        _gauge(
            "assay_miner_emission_alpha",
            "alpha of that epoch",
            _read_newest_row("payment", "emission_rao_alpha", scale=1 / _ALPHA),
        ),
    ),
    "validator": (
        _counter(
            "assay_validator_verdicts",
            "verdicts",
            "submissions judged, by reason (specification, section 8)",
            reason=_REASONS,
        ),
        _counter("assay_validator_judged_tokens", "judged_tokens", "completion tokens verified"),
        _counter(
            "assay_validator_judging_seconds",
            "judging_seconds",
            "that fetching and judging took, the forward passes within",
        ),
        _counter(
            "assay_validator_windows",
            "windows",
            "windows that became final: complete, incomplete (we abstain), void",
            outcome=("complete", "incomplete", "void"),
        ),
        _counter("assay_validator_settlements", "settlements", "epochs settled"),
        _gauge(
            "assay_validator_weights_pending",
            "settlements whose weights are due or on their way",
            _read_pending,
        ),
        _gauge(
            "assay_validator_weights_confirmed_block",
            "block at which the newest weights were seen in final state",
            _read_confirmed,
        ),
        _gauge(
            "assay_validator_score",
            "of each uid (at most 256) in the newest settlement",
            _read_newest_settlement("scores"),
            "uid",
        ),
        _gauge(
            "assay_validator_weight",
            "u16 of each uid (at most 256) in the newest settlement",
            _read_newest_settlement("weights"),
            "uid",
        ),
        _gauge(
            "assay_validator_queue_depth",
            "what waits: submissions of open windows to "
            "be judged, records to be published, posts to the ledger",
            _read_validator_queue,
            "queue",
        ),
        _gauge(
            "assay_validator_workers",
            "worker processes that judge: working, left_out (status.json says why); none where the "
            "program judges by itself",
            _read_workers,
            "state",
        ),
        Metric(
            "assay_validator_workers_lost",
            MetricKind.COUNTER,
            "workers that died, hung or ran out of memory and were started anew",
            _read_workers_lost,
        ),
    ),
    "trainer": (
        _gauge("assay_trainer_window", "window that is learned from next", _one("window")),
        _counter("assay_trainer_lessons", "lessons", "windows learned from"),
        _counter("assay_trainer_groups", "groups", "groups learned from"),
        _counter(
            "assay_trainer_silent_groups",
            "silent_groups",
            "those without signal, all of whose rewards were equal",
        ),
        _counter("assay_trainer_tokens", "lesson_tokens", "tokens of all groups' completions"),
        _counter(
            "assay_trainer_silent_tokens",
            "silent_tokens",
            "those in groups without signal: drawn and judged for nothing",
        ),
        _gauge(
            "assay_trainer_reward_mean",
            "mean reward of the newest lesson's groups, 0 to 1",
            _read_lesson("reward"),
        ),
        _gauge(
            "assay_trainer_lesson_checkpoint", "checkpoint that it made", _read_lesson("checkpoint")
        ),
        _gauge(
            "assay_trainer_held_out_accuracy_ratio",
            "share of held-out problems solved by the checkpoint tried last",
            _read_held_out,
        ),
        _gauge(
            "assay_trainer_held_out_checkpoint",
            "that checkpoint",
            lambda s: {"": s["held_out"][-1]["number"]} if s["held_out"] else {},
        ),
        _gauge(
            "assay_trainer_diverged",
            "1 while reward rises and held-out accuracy falls",
            lambda s: {"": float(s["alarm"] is not None)},
        ),
        _gauge(
            "assay_trainer_held_back",
            "1 for what holds the trainer back: judging, learning, publishing, too few groups, "
            "skipped for age",
            _read_hindrance,
            "by",
        ),
        _gauge(
            "assay_trainer_spent_seconds",
            "what the last 8 windows' time went into: judging, learning, publishing, waiting",
            _read_pace,
            "activity",
        ),
        _gauge(
            "assay_trainer_groups_came",
            "the miners' good groups a window, mean of the last 8",
            _one("pace", "groups_came"),
        ),
        _gauge(
            "assay_trainer_groups_usable",
            "groups a window that a step could use",
            _one("pace", "groups_usable"),
        ),
    ),
}


def get_served_name(metric: Metric) -> str:
    """The name that a query uses."""
    return metric.name + ("_total" if metric.kind is MetricKind.COUNTER else "")
