"""A running program's figures for Prometheus: every one read off the status that it writes.

One table says which there are; docs/metrics.md is printed from it. Names and units follow
Prometheus's own conventions. A label has as many values as its description says, however many
hotkeys there are: none names a stranger's.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from assay.protocol import Phase, Reason

#: Label's value → figure, or all labels' values where there are several. A metric without a label
#: has the one value "".
Samples = Mapping[str, float] | Mapping[tuple[str, ...], float]
#: What a u16 share is a part of.
_WHOLE = 65_535
#: Rao of one alpha.
_ALPHA = 1e9


class MetricKind(Enum):
    """What Prometheus calls it."""

    GAUGE = "gauge"
    COUNTER = "counter"


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure.

    Attributes:
        name: without the program's prefix; a counter's ends in `_total` when it is served.
        help: what it is, and its labels' values.
        read: a status, as `neurons.status` describes it → the figures.
    """

    name: str
    kind: MetricKind
    help: str
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


def _read_info(status: dict[str, Any]) -> Samples:
    return {tuple(str(status[name]) for name in ("program", "software", "netuid", "hotkey")): 1.0}


def _read_phase(status: dict[str, Any]) -> Samples:
    return {phase.name: float(status["countdown"]["phase"] == phase.name) for phase in Phase}


def _read_head_age(status: dict[str, Any]) -> Samples:
    at = status["head_at"]
    return {} if at is None else {"": max(0.0, time.time() - at)}


def _read_finality_lag(status: dict[str, Any]) -> Samples:
    best = status["best"]
    return {} if best is None else {"": max(0, best - status["head"])}


def _read_lag(status: dict[str, Any]) -> Samples:
    used, newest = status["checkpoint"], status["published"]
    if used is None or newest is None or used["number"] is None:
        return {}
    return {"": newest["number"] - used["number"]}


def _read_checkpoint_age(status: dict[str, Any]) -> Samples:
    since = status["published_since"]
    return {} if since is None else {"": max(0.0, time.time() - since)}


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
_GAUGE, _COUNTER = MetricKind.GAUGE, MetricKind.COUNTER

#: What every program has.
COMMON = (
    Metric(
        "assay_info",
        _GAUGE,
        "1; the labels say who this is, the hotkey is its own",
        _read_info,
        ("program", "software", "netuid", "hotkey"),
    ),
    Metric("assay_window", _GAUGE, "window of the newest finalized block", _one("window_now")),
    Metric(
        "assay_phase",
        _GAUGE,
        "1 for the newest moment of that window (specification, section 2), 0 for the five others",
        _read_phase,
        ("phase",),
    ),
    Metric(
        "assay_phase_remaining_blocks",
        _GAUGE,
        "blocks until its next moment",
        _one("countdown", "blocks"),
    ),
    Metric(
        "assay_phase_remaining_seconds",
        _GAUGE,
        "the same by the chain's slot",
        _one("countdown", "seconds"),
    ),
    Metric("assay_chain_head_block", _GAUGE, "newest finalized block seen", _one("head")),
    Metric("assay_chain_head_age_seconds", _GAUGE, "since its timestamp", _read_head_age),
    Metric(
        "assay_chain_finality_lag_blocks",
        _GAUGE,
        "newest block that the node knows, less the newest finalized",
        _read_finality_lag,
    ),
    Metric(
        "assay_beacon_pace_seconds",
        _GAUGE,
        "moving average until a beacon is there if this relay (at most 16) is asked first",
        _relays("pace_seconds"),
        ("relay",),
    ),
    Metric(
        "assay_beacon_won",
        _COUNTER,
        "races in which this relay's verified beacon came first",
        _relays("won"),
        ("relay",),
    ),
    Metric(
        "assay_beacon_failed",
        _COUNTER,
        "answers of this relay that were errors, broken, or none in time",
        _relays("failed"),
        ("relay",),
    ),
    Metric(
        "assay_beacon_lied",
        _COUNTER,
        "answers of this relay that were well-formed and false",
        _relays("lied"),
        ("relay",),
    ),
    Metric(
        "assay_beacon_late",
        _GAUGE,
        "1 while a round is due and not to be had",
        lambda s: {"": float(s["beacon"]["trouble"] is not None)},
    ),
    Metric(
        "assay_checkpoint_number",
        _GAUGE,
        "checkpoint in force, steps from the genesis; none before it was opened here",
        _one("checkpoint", "number"),
    ),
    Metric(
        "assay_checkpoint_published_number",
        _GAUGE,
        "the newest that the trainer has committed to",
        _one("published", "number"),
    ),
    Metric("assay_checkpoint_lag", _GAUGE, "checkpoints between the two", _read_lag),
    Metric(
        "assay_checkpoint_age_seconds",
        _GAUGE,
        "since this program first saw the newest",
        _read_checkpoint_age,
    ),
    Metric(
        "assay_checkpoint_fetched_bytes",
        _GAUGE,
        "of checkpoints on their way, what has come",
        _read_fetched("bytes"),
    ),
    Metric(
        "assay_checkpoint_fetch_size_bytes",
        _GAUGE,
        "of checkpoints on their way, all",
        _read_fetched("of"),
    ),
    Metric(
        "assay_trouble",
        _GAUGE,
        "1 while a person should know or mend something: the log and `assay status` say what",
        lambda s: {"": float(s["trouble"] is not None)},
    ),
    Metric(
        "assay_status_age_seconds",
        _GAUGE,
        "since the program last looked at itself: long steps and a program that hangs let it grow",
        lambda s: {"": max(0.0, time.time() - s["at"])},
    ),
    Metric("assay_start_time_seconds", _GAUGE, "Unix time of the start", _one("started_at")),
    Metric("assay_steps", _COUNTER, "bounded pieces of work done", _count("steps")),
    Metric("assay_step_seconds", _COUNTER, "that they took", _count("step_seconds")),
    Metric(
        "assay_step_failures",
        _COUNTER,
        "steps that ended with an error: outside (tried again) or defect (ours)",
        _count("step_failures", "outside", "defect"),
        ("kind",),
    ),
    Metric(
        "assay_log_lines",
        _COUNTER,
        "lines said: info, warning, error",
        _count("lines", "info", "warning", "error"),
        ("level",),
    ),
    Metric(
        "assay_store_writes",
        _COUNTER,
        "objects written to the program's own store: done, failed",
        _count("writes", "done", "failed"),
        ("outcome",),
    ),
    Metric("assay_store_written_bytes", _COUNTER, "bytes of them", _count("written_bytes")),
    Metric("assay_store_write_seconds", _COUNTER, "that writing took", _count("write_seconds")),
)

#: What a program has besides.
OWN: dict[str, tuple[Metric, ...]] = {
    "miner": (
        Metric("assay_miner_window", _GAUGE, "window at work", _one("at_work", "window")),
        Metric(
            "assay_miner_window_groups",
            _GAUGE,
            "groups of it that are done",
            _one("at_work", "groups"),
        ),
        Metric("assay_miner_groups", _COUNTER, "groups generated", _count("groups")),
        Metric(
            "assay_miner_tokens", _COUNTER, "completion tokens of finished groups", _count("tokens")
        ),
        Metric(
            "assay_miner_drafted_tokens",
            _COUNTER,
            "tokens that were drafted for them: kept or discarded",
            _count("drafted", "kept", "discarded"),
            ("outcome",),
        ),
        Metric(
            "assay_miner_generating_seconds",
            _COUNTER,
            "that generating took",
            _count("generating_seconds"),
        ),
        Metric(
            "assay_miner_verdicts",
            _COUNTER,
            "final verdicts of the miner's own judge, by reason (specification, section 8)",
            _count("verdicts", *_REASONS),
            ("reason",),
        ),
        Metric(
            "assay_miner_score",
            _GAUGE,
            "what the newest window with a final own verdict adds to its settlement",
            _read_newest_row("verdict", "score"),
        ),
        Metric(
            "assay_miner_incentive_ratio",
            _GAUGE,
            "share of the miners' emission in the epoch paid last",
            _read_newest_row("payment", "incentive", scale=1 / _WHOLE),
        ),
        Metric(
            "assay_miner_emission_alpha",
            _GAUGE,
            "alpha of that epoch",
            _read_newest_row("payment", "emission_rao_alpha", scale=1 / _ALPHA),
        ),
    ),
    "validator": (
        Metric(
            "assay_validator_verdicts",
            _COUNTER,
            "submissions judged, by reason (specification, section 8)",
            _count("verdicts", *_REASONS),
            ("reason",),
        ),
        Metric(
            "assay_validator_judged_tokens",
            _COUNTER,
            "completion tokens verified",
            _count("judged_tokens"),
        ),
        Metric(
            "assay_validator_judging_seconds",
            _COUNTER,
            "that fetching and judging took, the forward passes within",
            _count("judging_seconds"),
        ),
        Metric(
            "assay_validator_windows",
            _COUNTER,
            "windows that became final: complete, incomplete (we abstain), void",
            _count("windows", "complete", "incomplete", "void"),
            ("outcome",),
        ),
        Metric("assay_validator_settlements", _COUNTER, "epochs settled", _count("settlements")),
        Metric(
            "assay_validator_weights_pending",
            _GAUGE,
            "settlements whose weights are due or on their way",
            _read_pending,
        ),
        Metric(
            "assay_validator_weights_confirmed_block",
            _GAUGE,
            "block at which the newest weights were seen in final state",
            _read_confirmed,
        ),
        Metric(
            "assay_validator_score",
            _GAUGE,
            "of each uid (at most 256) in the newest settlement",
            _read_newest_settlement("scores"),
            ("uid",),
        ),
        Metric(
            "assay_validator_weight",
            _GAUGE,
            "u16 of each uid (at most 256) in the newest settlement",
            _read_newest_settlement("weights"),
            ("uid",),
        ),
        Metric(
            "assay_validator_queue_depth",
            _GAUGE,
            "what waits: submissions of open windows to "
            "be judged, records to be published, posts to the ledger",
            _read_validator_queue,
            ("queue",),
        ),
    ),
    "trainer": (
        Metric("assay_trainer_window", _GAUGE, "window that is learned from next", _one("window")),
        Metric("assay_trainer_lessons", _COUNTER, "windows learned from", _count("lessons")),
        Metric("assay_trainer_groups", _COUNTER, "groups learned from", _count("groups")),
        Metric(
            "assay_trainer_reward_mean",
            _GAUGE,
            "mean reward of the newest lesson's groups, 0 to 1",
            _read_lesson("reward"),
        ),
        Metric(
            "assay_trainer_lesson_checkpoint",
            _GAUGE,
            "checkpoint that it made",
            _read_lesson("checkpoint"),
        ),
        Metric(
            "assay_trainer_held_out_accuracy_ratio",
            _GAUGE,
            "share of held-out problems solved by the checkpoint tried last",
            _read_held_out,
        ),
        Metric(
            "assay_trainer_held_out_checkpoint",
            _GAUGE,
            "that checkpoint",
            lambda s: {"": s["held_out"][-1]["number"]} if s["held_out"] else {},
        ),
        Metric(
            "assay_trainer_diverged",
            _GAUGE,
            "1 while reward rises and held-out accuracy falls",
            lambda s: {"": float(s["alarm"] is not None)},
        ),
    ),
}


def get_served_name(metric: Metric) -> str:
    """The name that a query uses."""
    return metric.name + ("_total" if metric.kind is MetricKind.COUNTER else "")
