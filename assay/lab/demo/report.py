"""Describes a run: the status that `assay status` shows, and the demo's summary and promises."""

import resource
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from math import comb
from typing import Any

from assay.artifacts.status.demo import (
    AccuracyStatus,
    DemoMinerStatus,
    DemoRunStatus,
    DemoStatus,
    DemoVerdictStatus,
)
from assay.artifacts.status.program import RUNNING, STOPPED
from assay.artifacts.status.trainer import GateStatus
from assay.audit.findings import AuditReport
from assay.lab.demo.run import Actor, DemoRun, PlayedExample
from assay.lab.gauntlet.strategy import Strategy
from assay.neurons.program.software import get_software
from assay.neurons.program.status import ChainStatus, describe_loop, describe_program
from assay.neurons.trainer.gate_monitor import GateMonitor
from assay.neurons.validator.judged_window import Settlement
from assay.neurons.validator.status import describe_validator
from assay.neurons.validator.weights_outbox import list_rows
from assay.protocol.reason import Reason
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import Phase, compute_block, compute_window
from assay.rounds.in_force import get_checkpoint_digest
from assay.session.chain_delivery import DeliveryState
from assay.verification import compute_score

_VERSIONED = ("assay", "torch", "transformers", "numpy", "pyarrow")
_SHOWN_VERDICTS = 12
#: Probability with which a correct run may break a promise.
CHANCE = 1e-9


def describe_status(run: DemoRun) -> DemoStatus:
    """The present state of a run: its validator's status, and the demo's further figures, which
    `view` draws."""
    head = run.chain.get_block(run.chain.get_head())
    window = compute_window(run.parameters.timing, head.number)
    newest = run.lessons[-1].published if run.lessons else None
    seen = ChainStatus(
        head,
        None,
        get_checkpoint_digest(run.chain, run.parameters, window),
        None if newest is None else (newest.digest, newest.number),
    )
    validator = run.validator
    program = describe_program(
        validator.name,
        get_software(),
        validator.hotkey,
        run.parameters,
        run.checkpoints,
        None,
        seen,
    )
    validating = describe_validator(
        validator, run.parameters.timing, head.number, run.database, run.book
    )
    state = STOPPED if run.stage == "done" else RUNNING
    return {
        **program,
        **describe_loop(state, run.started_at, validator.trouble, {}),
        **validating,
        "posts": [],
        "posting_trouble": None,
        "stage": run.stage,
        "demo": _describe_demo(run),
    }


def _describe_demo(run: DemoRun) -> DemoRunStatus:
    timing = run.parameters.timing
    block = run.chain.get_head()
    window = min(max(compute_window(timing, block), run.windows[0]), run.windows[-1])
    has_begun = block >= compute_block(timing, window, Phase.CHALLENGE)
    genesis = run.parameters.identity.genesis_checkpoint
    digest = get_checkpoint_digest(run.chain, run.parameters, window) if has_begun else genesis
    published = {lesson.published.digest: lesson.published.number for lesson in run.lessons}
    weights = run.validator.settlements[-1].weights if run.validator.settlements else {}
    return {
        "block": block,
        "last_block": run.last_block,
        "window": window,
        "first_window": run.windows[0],
        "windows": len(run.windows),
        "phases": [
            {"window": w, "phase": _name_phase(run, w, block)}
            for w in range(max(run.windows[0], window - 2), window + 1)
        ],
        "checkpoint": {"number": published.get(digest, 0), "digest": digest.hex()},
        "miners": [_describe_miner(run, actor, weights) for actor in run.actors],
        "steps": [
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
    judged = run.validator.judged_windows.get(window)
    if judged is None:
        return "waiting for the beacon"
    if judged.closed:
        return "final"
    if block < compute_block(timing, window, Phase.COMMIT):
        return "generating"
    if judged.context is None:
        return "committed, audit beacon awaited"
    if not judged.complete:
        return f"judging, {len(judged.verdicts)} of {len(judged.context.members)}"
    return f"judged, final at block {compute_block(timing, window, Phase.VERDICT_END)}"


def _describe_miner(run: DemoRun, actor: Actor, weights: Mapping[int, int]) -> DemoMinerStatus:
    hotkey, uid = actor.miner.hotkey, actor.seat.uid
    verdicts: list[DemoVerdictStatus] = [
        {
            "window": w,
            "reason": judged.verdicts[hotkey].reason.value,
            "score": compute_score(judged.verdicts[hotkey]),
        }
        for w, judged in list(run.validator.judged_windows.items())
        if hotkey in judged.verdicts
    ]
    progress = actor.miner.progress
    return {
        "name": actor.miner.name,
        "role": actor.role,
        "hotkey": encode_ss58(hotkey),
        "uid": uid,
        "at_work": None if progress is None else {"window": progress[0], "groups": progress[1]},
        "verdicts": verdicts[-_SHOWN_VERDICTS:],
        "weight": weights.get(uid, 0),
    }


@dataclass(frozen=True, slots=True)
class Pay:
    """One epoch's pay."""

    block: int  # the epoch's
    incentives: Mapping[int, int]  # uid → u16 share of the miners' pay


def find_pay(run: DemoRun) -> dict[int, Pay]:
    """Epoch block of a settlement → the pay for its weights at the next epoch.

    The last settlement's next epoch comes after the demo.

    Raises:
        ChainError: the chain cannot be read.
    """
    chain, head = run.chain, run.chain.get_head()
    settled = [settlement.epoch for settlement in run.validator.settlements]
    pay = {}
    for epoch in settled:
        blocks = range(epoch + 1, min(head, run.last_block) + 1)
        following = next((block for block in blocks if chain.is_epoch(block)), None)
        if following is not None:
            rows = chain.get_metagraph(following)
            pay[epoch] = Pay(following, {row.uid: row.incentive for row in rows})
    return pay


def describe_summary(run: DemoRun, audit: AuditReport, seconds: float) -> dict[str, Any]:
    """The content of `summary.json`: every verdict, every settlement, its pay on chain, accuracy
    before and after. Raises a ChainError if the chain cannot be read."""
    pay = find_pay(run)
    return {
        "windows": [_describe_window(run, window) for window in run.windows],
        "settlements": [
            _describe_settlement(run, s, pay.get(s.epoch)) for s in run.validator.settlements
        ],
        "steps": [
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
        "gate": _describe_gate(run),
        "episode": None if run.example is None else _describe_example(run.example),
        "promises_broken": [*find_broken_promises(run, pay), *find_broken_record(audit)],
        "seconds": round(seconds, 1),
        "peak_rss_mib": measure_peak_rss_mib(),
        "versions": {
            "python": sys.version.split()[0],
            **{name: version(name) for name in _VERSIONED},
        },
    }


def _describe_example(example: PlayedExample) -> dict[str, Any]:
    turns = [{"turn": turn, "reply": reply} for turn, reply in example.turns]
    return {"question": example.question, "turns": turns, "end": example.end}


def measure_peak_rss_mib() -> int:
    """Peak memory of this process, MiB.

    A child's own peak is not available: Linux counts memory of its parent before it began.
    """
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10  # Linux counts KiB


def _describe_accuracy(run: DemoRun) -> AccuracyStatus:
    before, after = run.before, run.after
    return {
        "problems": run.problems,
        "before": round(before.value, 4) if before else None,
        "before_interval95": [round(x, 4) for x in before.interval] if before else None,
        "after": round(after.value, 4) if after else None,
        "after_interval95": [round(x, 4) for x in after.interval] if after else None,
    }


def _describe_gate(run: DemoRun) -> GateStatus | None:
    """What the checkpoints have shown by their gate, up to the newest; None: there is no gate."""
    gate, course = run.parameters.gate, run.trainer.course
    newest = None if course is None else course.parent.digest
    return GateMonitor(run.checkpoints, lambda *_: None).look(newest, gate)


def _describe_window(run: DemoRun, window: int) -> dict[str, Any]:
    judged = run.validator.judged_windows[window]
    settlement = next((s for s in run.validator.settlements if window in s.windows), None)
    by_uid = settlement.weights if settlement else {}
    uids = {a.miner.hotkey: a.seat.uid for a in run.actors}
    return {
        "window": window,
        "checkpoint": judged.challenge.checkpoint.hex(),
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
            if (verdict := judged.verdicts.get(actor.miner.hotkey)) is not None
        ],
        "weights": {encode_ss58(h): by_uid[uid] for h, uid in uids.items() if uid in by_uid},
    }


def _describe_settlement(run: DemoRun, settlement: Settlement, pay: Pay | None) -> dict[str, Any]:
    scores = {seat.uid: score for seat, score in settlement.scores.items()}
    return {
        "epoch_block": settlement.epoch,
        "windows": list(settlement.windows),
        "abstained": list(settlement.abstained),
        "scores": {a.miner.name: scores.get(a.seat.uid, 0) for a in run.actors},
        "weights": {a.miner.name: settlement.weights.get(a.seat.uid, 0) for a in run.actors},
        "paid_at": None if pay is None else pay.block,
        "incentives": None
        if pay is None
        else {a.miner.name: pay.incentives[a.seat.uid] for a in run.actors},
    }


def find_broken_promises(run: DemoRun, pay: Mapping[int, Pay]) -> list[str]:
    """The demo's promises that this run did not keep, one sentence each; empty when all is well.

    A recipe's subnet promises nothing about accuracy. Chance alone breaks the promises on cheats
    with a probability below `CHANCE`. Accuracy rises by about ten standard errors of the
    difference, so it needs no bound.
    """
    broken: list[str] = []
    for actor in run.actors:
        find = find_broken_cheat if actor.role == "cheat" else find_broken_honest
        broken += find(run, actor, pay)
    broken += _find_broken_chain(run)
    promises = run.settings.recipe is None  # of another's subnet nobody knows how much it learns
    if promises and run.before and run.after and run.after.interval[0] <= run.before.interval[1]:
        broken.append("held-out accuracy did not rise beyond its 95 % interval")
    return broken


def find_broken_honest(run: DemoRun, actor: Actor, pay: Mapping[int, Pay]) -> Iterator[str]:
    reasons = set(_get_reasons(run, actor).values())
    if reasons != {Reason.ACCEPTED}:
        refused = ", ".join(sorted(reasons - {Reason.ACCEPTED}))
        yield f"{actor.miner.name} was refused: {refused or 'never judged'}"
    if not all(settlement.scores.get(actor.seat, 0) for settlement in run.validator.settlements):
        yield f"{actor.miner.name} earned nothing in a settlement"
    if not (pay and all(paid.incentives[actor.seat.uid] for paid in pay.values())):
        yield f"the chain left {actor.miner.name} unpaid in an epoch"


def find_broken_cheat(run: DemoRun, actor: Actor, pay: Mapping[int, Pay]) -> Iterator[str]:
    """A cheat with some honest rollouts is missed if the audit draws only these. A settlement that
    missed it in every window may pay it. It must not be missed more often than chance explains."""
    reasons = _get_reasons(run, actor)
    missed = {window for window, reason in reasons.items() if reason is Reason.ACCEPTED}
    audited = run.parameters.work.audited_rollouts
    chance = actor.miner.compute_miss_chance(audited) if isinstance(actor.miner, Strategy) else 0
    most = compute_most_missed(len(run.windows), chance)
    if len(missed) > most:
        accepted = f"{len(missed)} of {len(run.windows)} windows"
        yield f"{actor.miner.name} was accepted in {accepted}; chance explains {most}"
    caught = [s for s in run.validator.settlements if not missed.issuperset(s.windows)]
    if earned := max((s.scores.get(actor.seat, 0) for s in caught), default=0):
        yield f"{actor.miner.name} earned {earned} in a settlement"
    if any(pay[s.epoch].incentives[actor.seat.uid] for s in caught if s.epoch in pay):
        yield f"the chain paid {actor.miner.name}"


def _get_reasons(run: DemoRun, actor: Actor) -> dict[int, Reason]:
    """A miner's verdicts, by window."""
    return {
        window: judged.verdicts[actor.miner.hotkey].reason
        for window, judged in run.validator.judged_windows.items()
        if actor.miner.hotkey in judged.verdicts
    }


def compute_most_missed(windows: int, chance: float) -> int:
    """The smallest number of windows that a cheat, missed in each with this chance, exceeds with a
    probability of at most `CHANCE`: a binomial's upper quantile."""
    tail, most = 1.0, -1
    while tail > CHANCE:
        most += 1
        tail = sum(
            comb(windows, n) * chance**n * (1 - chance) ** (windows - n)
            for n in range(most + 1, windows + 1)
        )
    return most


def find_broken_record(audit: AuditReport) -> list[str]:
    """The objections of an audit of the validator's record, made without a model."""
    each = [("window", f) for f in audit.windows] + [("settlement", f) for f in audit.settlements]
    return [
        f"the record of {kind} {findings.number} cannot be derived again: "
        f"{(findings.differences or findings.unknown)[0][1]}"
        for kind, findings in each
        if not findings.matched
    ]


def _find_broken_chain(run: DemoRun) -> list[str]:
    broken = []
    settled = {window for s in run.validator.settlements for window in s.windows}
    if missing := sorted(set(run.windows) - settled):
        broken.append(f"windows never settled: {', '.join(map(str, missing))}")
    on_chain = run.chain.get_weights(run.chain.get_head()).get(run.validator.hotkey)
    if not run.validator.settlements or on_chain != run.validator.settlements[-1].weights:
        broken.append("the weights on chain are not those of the last settlement")
    rows = list_rows(run.database, len(run.windows))
    if any(row.state is not DeliveryState.CONFIRMED for row in rows):
        broken.append("weights of a settlement were never confirmed")
    used = {judged.challenge.checkpoint for judged in run.validator.judged_windows.values()}
    if len(used) < 3:  # the genesis and at least two that were published
        broken.append("fewer than two published checkpoints were picked up")
    return broken
