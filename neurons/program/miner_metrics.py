"""A miner's further metrics, see `metrics`."""

from assay.artifacts.status.miner import MinerStatus, PaymentStatus
from assay.neurons.program.metric import REASONS, Metric, Samples, counter, gauge

#: The u16 that means a share of 1.
_WHOLE = 65_535
#: Rao of one alpha.
_ALPHA = 1e9
#: States of a miner's engine.
_ENGINE_STATES = ("new", "starting", "drafting", "left")


def _read_engines(status: MinerStatus) -> Samples:
    states = [engine["state"] for engine in status["engines"]]
    return {state: float(states.count(state)) for state in _ENGINE_STATES} if states else {}


def _read_score(status: MinerStatus) -> float | None:
    verdicts = (row["verdict"] for row in reversed(status["windows"]))
    return next((v["score"] for v in verdicts if v is not None and v["final"]), None)


def _find_payment(status: MinerStatus) -> PaymentStatus | None:
    """The newest one."""
    payments = (row["payment"] for row in reversed(status["windows"]))
    return next((payment for payment in payments if payment is not None), None)


def _read_incentive(status: MinerStatus) -> float | None:
    payment = _find_payment(status)
    return None if payment is None else payment["incentive"] * (1 / _WHOLE)


def _read_emission(status: MinerStatus) -> float | None:
    payment = _find_payment(status)
    return None if payment is None else payment["emission_rao_alpha"] * (1 / _ALPHA)


MINER: tuple[Metric[MinerStatus], ...] = (
    gauge(
        "assay_miner_window",
        "window that the miner is working on",
        lambda s: s["at_work"] and s["at_work"]["window"],
    ),
    gauge(
        "assay_miner_window_groups",
        "finished groups of that window",
        lambda s: s["at_work"] and s["at_work"]["groups"],
    ),
    gauge(
        "assay_miner_fitting_groups",
        "groups that fit into a window at the measured speed; absent before the first one",
        lambda s: s["speed"] and s["speed"]["fits"],
    ),
    counter("assay_miner_groups", "groups", "groups generated"),
    counter("assay_miner_tokens", "tokens", "completion tokens of generated groups"),
    counter("assay_miner_rollouts", "rollouts", "rollouts of generated groups"),
    counter("assay_miner_turns", "turns", "turns of these rollouts"),
    counter(
        "assay_miner_reply_tokens",
        "replies",
        "tokens of the environment's replies in these rollouts",
    ),
    counter(
        "assay_miner_broken_episodes",
        "broken",
        "of these rollouts, ended by the sandbox in which their environment runs",
    ),
    counter(
        "assay_miner_drafted_tokens",
        "drafted",
        "drafted tokens, kept or discarded by the verification pass",
        outcome=("kept", "discarded"),
    ),
    counter(
        "assay_miner_generating_seconds", "generating_seconds", "seconds spent generating groups"
    ),
    counter("assay_miner_drafting_seconds", "drafting_seconds", "seconds spent drafting"),
    counter(
        "assay_miner_reading_seconds",
        "reading_seconds",
        "seconds of verification passes, which overlap with drafting",
    ),
    gauge(
        "assay_miner_draft_ahead_tokens",
        "tokens by which drafts run ahead of the verification pass; absent without engines",
        lambda s: s["drafting"] and s["drafting"]["ahead"],
    ),
    gauge(
        "assay_miner_engines",
        "servers that draft: new, starting, drafting or left; absent if there are none",
        _read_engines,
        "state",
    ),
    counter(
        "assay_miner_verdicts",
        "verdicts",
        "the miner's own final verdicts, by reason (specification, section 8)",
        reason=REASONS,
    ),
    gauge(
        "assay_miner_score",
        "score of the newest window on which the miner's own verdict is final",
        _read_score,
    ),
    gauge(
        "assay_miner_incentive_ratio",
        "the miner's share of the miners' emission in the last paid epoch",
        _read_incentive,
    ),
    gauge(
        "assay_miner_emission_alpha",
        "alpha that the miner was paid in the last paid epoch",
        _read_emission,
    ),
)
