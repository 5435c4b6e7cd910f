"""A validator's further metrics, see `metrics`."""

from assay.artifacts.status.validator import ValidatorStatus
from assay.neurons.program.metric import REASONS, Metric, MetricKind, Samples, counter, gauge


def _read_scores(status: ValidatorStatus) -> Samples | None:
    """Of the newest settlement that has them."""
    scores = (row["scores"] for row in status["settlements"])
    return next((by_uid for by_uid in scores if by_uid is not None), None)


def _read_weights(status: ValidatorStatus) -> Samples | None:
    return next((row["weights"] for row in status["settlements"]), None)


def _read_pending(status: ValidatorStatus) -> float:
    return sum(row["state"] in ("due", "sending", "sent") for row in status["settlements"])


def _read_confirmed(status: ValidatorStatus) -> float | None:
    return max((row["confirmed_at"] or 0 for row in status["settlements"]), default=0) or None


def _read_queues(status: ValidatorStatus) -> Samples:
    judging = [window for window in status["windows"] if window["state"] == "judging"]
    posts = [post for post in status["posts"] if post["state"] not in ("confirmed", "superseded")]
    return {
        "submissions": float(sum((w["members"] or 0) - len(w["verdicts"]) for w in judging)),
        "records": float(status["record"]["waiting"] if status["record"] else 0),
        "posts": float(len(posts)),
    }


def _read_workers(status: ValidatorStatus) -> Samples:
    works = [worker["lack"] is None for worker in status["workers"]]
    return {"working": float(sum(works)), "left_out": float(works.count(False))} if works else {}


VALIDATOR: tuple[Metric[ValidatorStatus], ...] = (
    counter(
        "assay_validator_verdicts",
        "verdicts",
        "verdicts, by reason (specification, section 8)",
        reason=REASONS,
    ),
    counter("assay_validator_judged_tokens", "judged_tokens", "verified completion tokens"),
    counter("assay_validator_judged_rollouts", "judged_rollouts", "verified rollouts"),
    counter("assay_validator_judged_turns", "judged_turns", "turns of these rollouts"),
    counter(
        "assay_validator_judged_reply_tokens",
        "judged_replies",
        "tokens of the environment's replies in these rollouts, derived and read again",
    ),
    counter(
        "assay_validator_judged_broken_episodes",
        "judged_broken",
        "of these rollouts, ended by the sandbox in which their environment runs",
    ),
    counter(
        "assay_validator_judging_seconds",
        "judging_seconds",
        "seconds spent fetching and judging, forward passes included",
    ),
    counter(
        "assay_validator_windows",
        "windows",
        "final windows: complete, incomplete (the validator abstains), void",
        outcome=("complete", "incomplete", "void"),
    ),
    counter("assay_validator_settlements", "settlements", "settled epochs"),
    counter(
        "assay_validator_gate_answers",
        "gate_answers",
        "answers of the trainer's gate that this validator has checked with their models",
    ),
    counter(
        "assay_validator_gate_faults",
        "gate_faults",
        "faults found in the trainer's answers, missing files too; they void nothing",
    ),
    gauge(
        "assay_validator_weights_pending",
        "settlements whose weights are not confirmed yet",
        _read_pending,
    ),
    gauge(
        "assay_validator_weights_confirmed_block",
        "block in whose finalized state the newest weights were seen",
        _read_confirmed,
    ),
    gauge(
        "assay_validator_score",
        "score of each uid (at most 256) in the newest settlement",
        _read_scores,
        "uid",
    ),
    gauge(
        "assay_validator_weight",
        "weight (u16) of each uid (at most 256) in the newest settlement",
        _read_weights,
        "uid",
    ),
    gauge(
        "assay_validator_queue_depth",
        "queue lengths: submissions to judge, records to publish, posts to the ledger",
        _read_queues,
        "queue",
    ),
    gauge(
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
)
