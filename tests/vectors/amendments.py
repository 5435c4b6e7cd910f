"""Vectors of parameters that follow others: when that is decided, and what follows from it."""

from dataclasses import replace
from typing import Any

from subjects import PARAMETERS, digest

from assay.protocol.amendment import ParameterHistory, compute_decision_block, find_amendment_fault
from assay.protocol.commitment import Tag
from assay.protocol.encoding import to_json
from assay.protocol.parameters import Parameters, Start
from assay.protocol.window import Phase, compute_block

Json = Any

#: Windows of notice, and the first window of the amendment.
NOTICE = PARAMETERS.timing.notice_windows
FIRST = 50


def amend(before: Parameters, window: int, **sections: Any) -> Parameters:
    """Parameters that follow others, with the checkpoint of these."""
    start = replace(before.start, predecessor=before.digest, window=window)
    return replace(before, **{"start": start, **sections})


def _make_cases() -> list[tuple[str, Parameters, bool]]:
    """Amendments, and whether each may follow."""
    p = PARAMETERS
    timing, work, tests, identity = p.timing, p.work, p.tests, p.identity
    plain = amend(p, FIRST, work=replace(work, prompt_share=1))
    named = Start(p.digest, FIRST, digest("calibrated"), 40)
    fewer = replace(tests, margin_levels=tests.margin_levels[:4], rate_limits=tests.rate_limits[:4])
    steering = replace(p.steering, weight_step=0)
    at_most = timing.mirror_end - timing.window_blocks
    return [
        ("work", plain, True),
        ("burn share", amend(p, FIRST, identity=replace(identity, burn_share=1)), True),
        ("rewards", amend(p, FIRST, rewards=replace(p.rewards, quality_weight=0)), True),
        ("steering, no checkpoint", amend(p, FIRST, steering=steering), False),
        ("steering", replace(amend(p, FIRST, steering=steering), start=named), True),
        ("netuid", amend(p, FIRST, identity=replace(identity, netuid=8)), False),
        ("trainer", amend(p, FIRST, identity=replace(identity, trainer=digest("other"))), False),
        ("amender", amend(p, FIRST, identity=replace(identity, amender=digest("key"))), False),
        ("beacon", amend(p, FIRST, beacon=replace(p.beacon, period_ms=30_000)), False),
        ("length", amend(p, FIRST, timing=replace(timing, window_blocks=13)), False),
        (
            "another predecessor",
            replace(plain, start=replace(plain.start, predecessor=digest("other"))),
            False,
        ),
        ("soonest", amend(p, NOTICE, work=plain.work), True),
        ("too soon", amend(p, NOTICE - 1, work=plain.work), False),
        ("audit", amend(p, FIRST, timing=replace(timing, audit_offset=at_most)), True),
        (
            "audit out of order",
            amend(p, FIRST, timing=replace(timing, audit_offset=at_most - 1, mirror_end=28)),
            False,
        ),
        ("verdicts", amend(p, FIRST, timing=replace(timing, mirror_end=26, verdict_end=27)), True),
        (
            "verdicts out of order",
            amend(
                p,
                FIRST,
                timing=replace(
                    timing, sample_offset=18, fetch_end=22, mirror_end=23, verdict_end=24
                ),
            ),
            False,
        ),
        ("temperature", amend(p, FIRST, work=replace(work, temperature=512)), False),
        ("temperature, named", replace(p, work=replace(work, temperature=512), start=named), True),
        ("completions", amend(p, FIRST, work=replace(work, max_tokens=47)), False),
        ("levels", amend(p, FIRST, tests=fewer), False),
        ("levels, named", replace(p, tests=fewer, start=named), True),
        (
            "levels, no checkpoint",
            replace(p, tests=fewer, start=replace(named, checkpoint=bytes(32))),
            False,
        ),
        (
            "levels, the genesis",
            replace(p, tests=fewer, start=replace(named, checkpoint=p.identity.genesis_checkpoint)),
            False,
        ),
        ("levels, no number", replace(p, tests=fewer, start=replace(named, number=0)), False),
        ("a checkpoint for nothing", replace(plain, start=named), False),
    ]


def make_amendments() -> Json:
    first = PARAMETERS
    cases = _make_cases()
    for name, amended, follows in cases:
        assert (find_amendment_fault(first, amended) is None) is follows, name
    history = ParameterHistory(first)
    late = replace(first.timing, verdict_end=39)
    history.add(amend(first, FIRST, timing=late))
    history.add(amend(history.latest, FIRST + 2 * NOTICE, timing=first.timing))
    windows = (0, 1, FIRST - 1, FIRST, FIRST + 2 * NOTICE - 1, FIRST + 2 * NOTICE, 1_000)
    blocks = [compute_block(first.timing, w, Phase.CHALLENGE) for w in windows]
    ends = [(b, b + step) for b in blocks for step in (24, 36, 48)]
    return {
        "parameters": to_json(first),
        "amendments": [
            {
                "name": name,
                "parameters": to_json(amended),
                "digest": amended.digest.hex(),
                "follows": follows,
            }
            for name, amended, follows in cases
        ],
        "decisions": [
            {"window": w, "block": compute_decision_block(first, w)}
            for w in (1, NOTICE, NOTICE + 1, FIRST, 1_000)
        ],
        "history": [to_json(p) for p in history.all],
        "in_force": [{"window": w, "place": history.all.index(history.get(w))} for w in windows],
        "settled": [
            {"previous_epoch": a, "epoch": b, "windows": list(history.compute_settled(a, b))}
            for a, b in ends
        ],
        "checkpoints": [_make_checkpoint(*row) for row in _CHECKPOINTS],
    }


_NAMED = Start(PARAMETERS.digest, FIRST, digest("calibrated"), 40)
#: Start, the trainer's slot, and the checkpoint in force by hand.
_CHECKPOINTS = [
    (Start(), None, digest("genesis checkpoint")),
    (Start(), (Tag.CHECKPOINT, 0), digest("published")),
    (_NAMED, None, digest("calibrated")),
    (_NAMED, (Tag.CHECKPOINT, 39), digest("calibrated")),
    (_NAMED, (Tag.CHECKPOINT, 40), digest("calibrated")),
    (_NAMED, (Tag.CHECKPOINT, 41), digest("published")),
    (_NAMED, (Tag.MINER, 41), bytes(32)),
]


def _make_checkpoint(start: Start, slot: tuple[Tag, int] | None, in_force: bytes) -> Json:
    held = None
    if slot is not None:
        tag, number = slot
        held = {"tag": tag.value.decode(), "number": number, "digest": digest("published").hex()}
    return {"start": to_json(start), "slot": held, "checkpoint": in_force.hex()}
