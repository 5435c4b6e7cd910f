"""A run described: the status that `assay status` shows, and the demo's summary and promises."""

import resource
import sys
from importlib.metadata import version
from typing import Any

from assay.neurons.demo.loop import Actor, DemoRun
from assay.neurons.validating.audits import Settlement
from assay.neurons.windows import get_checkpoint_digest
from assay.protocol import Phase, Reason, encode_ss58
from assay.protocol.window import compute_block, compute_window
from assay.verification import Seat, compute_score

_VERSIONED = ("assay", "torch", "transformers", "numpy", "pyarrow")
_SHOWN_VERDICTS = 12


def describe_status(run: DemoRun) -> dict[str, Any]:
    """Essentials of a run at this moment, for people; `neurons.demo.view` draws it."""
    timing = run.parameters.timing
    block = run.chain.get_head()
    window = min(compute_window(timing, block), run.settings.windows - 1)
    digest = get_checkpoint_digest(run.chain, run.parameters, window)
    published = {lesson.published.digest: lesson.published.number for lesson in run.lessons}
    weights = run.validator.settlements[-1].weights if run.validator.settlements else {}
    return {
        "stage": run.stage,
        "block": block,
        "last_block": run.last_block,
        "window": window,
        "windows": run.settings.windows,
        "phases": [
            {"window": w, "phase": _name_phase(run, w, block)}
            for w in range(max(0, window - 2), window + 1)
        ],
        "checkpoint": {"number": published.get(digest, 0), "digest": digest.hex()},
        "miners": [_describe_miner(run, actor, weights) for actor in run.actors],
        "lessons": [
            {
                "window": lesson.window,
                "groups": len(lesson.rewards),
                "reward": round(lesson.stats.mean_reward, 4),
                "checkpoint": lesson.published.number,
            }
            for lesson in run.lessons
        ],
        "accuracy": _describe_accuracy(run),
        "notes": run.notes[-5:],
    }


def _name_phase(run: DemoRun, window: int, block: int) -> str:
    timing = run.parameters.timing
    audit = run.validator.audits.get(window)
    if audit is None:
        return "waiting for the beacon"
    if audit.closed:
        return "final"
    if block < compute_block(timing, window, Phase.COMMIT):
        return "generating"
    if audit.context is None:
        return "committed, audit beacon awaited"
    if not audit.complete:
        return f"judging, {len(audit.verdicts)} of {len(audit.context.members)}"
    return f"judged, final at block {compute_block(timing, window, Phase.VERDICT_END)}"


def _describe_miner(run: DemoRun, actor: Actor, weights: Any) -> dict[str, Any]:
    hotkey = actor.miner.hotkey
    member = run.chain.get_members(run.chain.get_head())[hotkey]
    verdicts = [
        {"window": w, "reason": audit.verdicts[hotkey].reason.value,
         "score": compute_score(audit.verdicts[hotkey])}
        for w, audit in list(run.validator.audits.items())
        if hotkey in audit.verdicts and w < run.settings.windows
    ]  # fmt: skip
    progress = actor.miner.progress
    return {
        "name": actor.miner.name,
        "role": actor.role,
        "hotkey": encode_ss58(hotkey),
        "uid": member.uid,
        "at_work": None if progress is None else {"window": progress[0], "groups": progress[1]},
        "verdicts": verdicts[-_SHOWN_VERDICTS:],
        "weight": weights.get(member.uid, 0),
    }


def describe_summary(run: DemoRun, seconds: float) -> dict[str, Any]:
    """`summary.json`: every verdict, every settlement, accuracy before and after."""
    return {
        "windows": [_describe_window(run, window) for window in range(run.settings.windows)],
        "settlements": [_describe_settlement(run, s) for s in run.validator.settlements],
        "lessons": [
            {
                "window": lesson.window,
                "checkpoint": lesson.published.digest.hex(),
                "rewards": list(lesson.rewards),
                "groups_without_variance": lesson.stats.dropped,
                "clipped_share": round(lesson.stats.clipped_share, 4),
            }
            for lesson in run.lessons
        ],
        "accuracy": _describe_accuracy(run),
        "promises_broken": find_broken_promises(run),
        "seconds": round(seconds, 1),
        "peak_rss_mib": measure_peak_rss_mib(),
        "versions": {
            "python": sys.version.split()[0],
            **{name: version(name) for name in _VERSIONED},
        },
    }


def measure_peak_rss_mib() -> int:
    """Most memory this process had, MiB; its Parquet worker adds about 80.

    A child's own peak cannot be asked for: Linux counts what it had of its parent before it began.
    """
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10  # Linux counts KiB


def _describe_accuracy(run: DemoRun) -> dict[str, Any]:
    """Shares of held-out problems solved, each with its 95 % interval; None where not measured."""
    document: dict[str, Any] = {"problems": run.settings.problems}
    for when, accuracy in (("before", run.before), ("after", run.after)):
        document[when] = round(accuracy.value, 4) if accuracy else None
        document[f"{when}_interval95"] = (
            [round(bound, 4) for bound in accuracy.interval] if accuracy else None
        )
    return document


def _describe_window(run: DemoRun, window: int) -> dict[str, Any]:
    audit = run.validator.audits[window]
    settlement = next((s for s in run.validator.settlements if window in s.windows), None)
    by_uid = settlement.weights if settlement else {}
    uids = {a.miner.hotkey: _get_seat(run, a).uid for a in run.actors}
    return {
        "window": window,
        "checkpoint": audit.challenge.checkpoint.hex(),
        "verdicts": [
            {
                "hotkey": encode_ss58(actor.miner.hotkey),
                "name": actor.miner.name,
                "role": actor.role,
                "reason": verdict.reason.value,
                "detail": verdict.detail,
                "groups": verdict.committed_groups,
                "score": compute_score(verdict),
            }
            for actor in run.actors
            if (verdict := audit.verdicts.get(actor.miner.hotkey)) is not None
        ],
        "weights": {encode_ss58(h): by_uid[uid] for h, uid in uids.items() if uid in by_uid},
    }


def _describe_settlement(run: DemoRun, settlement: Settlement) -> dict[str, Any]:
    scores = {seat.uid: score for seat, score in settlement.scores.items()}
    return {
        "epoch_block": settlement.epoch,
        "windows": list(settlement.windows),
        "abstained": list(settlement.abstained),
        "scores": {a.miner.name: scores.get(_get_seat(run, a).uid, 0) for a in run.actors},
        "weights": {
            a.miner.name: settlement.weights.get(_get_seat(run, a).uid, 0) for a in run.actors
        },
    }


def _get_seat(run: DemoRun, actor: Actor) -> Seat:
    member = run.chain.get_members(run.chain.get_head())[actor.miner.hotkey]
    return Seat(member.uid, member.registered_at)


def find_broken_promises(run: DemoRun) -> list[str]:
    """What the demo promises and did not show, one sentence each; empty when all is well."""
    broken = []
    for actor in run.actors:
        reasons = {
            audit.verdicts[actor.miner.hotkey].reason
            for audit in run.validator.audits.values()
            if actor.miner.hotkey in audit.verdicts
            and audit.challenge.window < run.settings.windows
        }
        seat = _get_seat(run, actor)
        scores = [settlement.scores.get(seat, 0) for settlement in run.validator.settlements]
        if actor.role == "honest" and reasons != {Reason.ACCEPTED}:
            refused = ", ".join(sorted(reasons - {Reason.ACCEPTED}))
            broken.append(f"{actor.miner.name} was refused: {refused or 'never judged'}")
        if actor.role == "honest" and not all(scores):
            broken.append(f"{actor.miner.name} earned nothing in a settlement")
        if actor.role == "cheat" and any(scores):
            broken.append(f"{actor.miner.name} earned {max(scores)} in a settlement")
    broken += _find_broken_chain(run)
    if run.before and run.after and run.after.interval[0] <= run.before.interval[1]:
        broken.append("held-out accuracy did not rise beyond its 95 % interval")
    return broken


def _find_broken_chain(run: DemoRun) -> list[str]:
    broken = []
    settled = {window for s in run.validator.settlements for window in s.windows}
    if missing := sorted(set(range(run.settings.windows)) - settled):
        broken.append(f"windows {missing} were never settled")
    on_chain = run.chain.get_weights(run.chain.get_head()).get(run.validator.hotkey)
    if not run.validator.settlements or on_chain != run.validator.settlements[-1].weights:
        broken.append("the weights on chain are not those of the last settlement")
    used = {audit.challenge.checkpoint for audit in run.validator.audits.values()}
    if len(used) < 3:  # the genesis and at least two that were published
        broken.append("fewer than two published checkpoints were picked up")
    return broken
