"""A running program's metrics for Prometheus, all read from the status that it writes.

One table for all programs, and one for each in a module beside, say what each metric is called,
what it means and where a status has it; docs/metrics.md is printed from them.
"""

import time
from typing import Any, Literal

from assay.artifacts.status.program import ProgramStatus
from assay.neurons.program.metric import Metric, MetricKind, Samples, counter, gauge, mark
from assay.neurons.program.miner_metrics import MINER
from assay.neurons.program.trainer_metrics import TRAINER
from assay.neurons.program.validator_metrics import VALIDATOR
from assay.protocol.window import Phase

#: Fields of a status that name its program.
_WHO: tuple[Literal["program", "software", "netuid", "hotkey"], ...] = (
    "program",
    "software",
    "netuid",
    "hotkey",
)


def _relay(
    field: Literal["pace_seconds", "won", "failed", "lied"], kind: MetricKind, help_: str
) -> Metric[ProgramStatus]:
    """A figure of each relay."""

    def read(status: ProgramStatus) -> Samples:
        relays = status["beacon"]["relays"]
        return {relay["name"]: figure for relay in relays if (figure := relay[field]) is not None}

    return Metric(f"assay_beacon_{field}", kind, help_, read, ("relay",))


def _age(at: float | None) -> float | None:
    """Seconds since a time."""
    return None if at is None else max(0.0, time.time() - at)


def _read_finality_lag(status: ProgramStatus) -> float | None:
    return None if status["best"] is None else max(0, status["best"] - status["head"])


def _read_checkpoint_lag(status: ProgramStatus) -> float | None:
    used, newest = status["checkpoint"], status["published"]
    if used is None or newest is None or used["number"] is None or newest["number"] is None:
        return None
    return newest["number"] - used["number"]


#: Metrics of every program.
COMMON: tuple[Metric[ProgramStatus], ...] = (
    gauge(
        "assay_info",
        "always 1; the labels identify the program",
        lambda s: {tuple(str(s[name]) for name in _WHO): 1.0},
        *_WHO,
    ),
    gauge("assay_window", "window of the newest finalized block", lambda s: s["window_now"]),
    gauge(
        "assay_phase",
        "1 for the latest moment of this window (specification, section 2), 0 for the others",
        lambda s: mark(s["countdown"]["phase"], (phase.name for phase in Phase)),
        "phase",
    ),
    gauge(
        "assay_phase_remaining_blocks",
        "blocks until this window's next moment",
        lambda s: s["countdown"]["blocks"],
    ),
    gauge(
        "assay_phase_remaining_seconds",
        "seconds until this window's next moment, at the chain's block time",
        lambda s: s["countdown"]["seconds"],
    ),
    gauge("assay_chain_head_block", "newest finalized block seen", lambda s: s["head"]),
    gauge(
        "assay_chain_head_age_seconds",
        "seconds since that block's timestamp",
        lambda s: _age(s["head_at"]),
    ),
    gauge(
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
    gauge(
        "assay_beacon_late",
        "1 while a round is due and no source has it",
        lambda s: s["beacon"]["trouble"] is not None,
    ),
    gauge(
        "assay_checkpoint_number",
        "checkpoint in force, in steps since the genesis; absent until the program has opened it",
        lambda s: s["checkpoint"] and s["checkpoint"]["number"],
    ),
    gauge(
        "assay_checkpoint_published_number",
        "newest checkpoint that the trainer has committed to",
        lambda s: s["published"] and s["published"]["number"],
    ),
    gauge(
        "assay_checkpoint_lag",
        "steps between the checkpoint in force and the newest one",
        _read_checkpoint_lag,
    ),
    gauge(
        "assay_checkpoint_age_seconds",
        "seconds since this program first saw the newest checkpoint",
        lambda s: _age(s["published_since"]),
    ),
    gauge(
        "assay_checkpoint_fetched_bytes",
        "bytes downloaded so far of the checkpoints that are being downloaded",
        lambda s: sum(download["bytes"] for download in s["fetching"]),
    ),
    gauge(
        "assay_checkpoint_fetch_size_bytes",
        "bytes of all checkpoints that are being downloaded",
        lambda s: sum(download["of"] for download in s["fetching"]),
    ),
    gauge(
        "assay_trouble",
        "1 while a person should know about a problem or fix it: see the log or `assay status`",
        lambda s: s["trouble"] is not None,
    ),
    gauge(
        "assay_status_age_seconds",
        "seconds since the program last wrote its status; grows in long turns and if it hangs",
        lambda s: _age(s["at"]),
    ),
    gauge(
        "assay_start_time_seconds", "Unix time of the program's start", lambda s: s["started_at"]
    ),
    counter("assay_steps", "steps", "finished turns of the program's loop"),
    counter("assay_step_seconds", "step_seconds", "seconds spent in turns of the loop"),
    counter(
        "assay_step_failures",
        "step_failures",
        "turns that ended with an error: outside (network or node; retried), defect (of Assay)",
        kind=("outside", "defect"),
    ),
    counter(
        "assay_log_lines",
        "lines",
        "log lines, by level: info, warning, error",
        level=("info", "warning", "error"),
    ),
    counter(
        "assay_store_writes",
        "writes",
        "writes to the program's own store: done, failed",
        outcome=("done", "failed"),
    ),
    counter("assay_store_written_bytes", "written_bytes", "bytes written to its own store"),
    counter("assay_store_write_seconds", "write_seconds", "seconds spent writing to its store"),
)

#: Further metrics of each program.
OWN: dict[str, tuple[Metric[Any], ...]] = {
    "miner": MINER,
    "validator": VALIDATOR,
    "trainer": TRAINER,
}
