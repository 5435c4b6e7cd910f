"""Rounds that tests begin with: three trainers, on the demo's calendar."""

from dataclasses import replace
from hashlib import sha256

from assay.protocol.parameters import DEMO_TIMING, Parameters, Rounds
from assay.subnet.presets import make_demo_parameters

TRAINERS = tuple(sorted(sha256(name.encode()).digest() for name in ("t1", "t2", "t3")))
RULES = Rounds(
    trainers=TRAINERS,
    windows=4,
    staleness=1,
    child_offset=20,
    child_blocks=6,
    reveal_blocks=3,
    turn_blocks=4,
    rate=700_000,
    momentum=900_000,
    norm_bound=100 << 20,
    kept=0,
    chunk=0,
    bits=0,
    feedback=0,
)


def make_round_parameters(beacon, rounds: Rounds | None = RULES, **changes) -> Parameters:
    """The demo's with rounds, whose identity's trainer is one of the three."""
    parameters = make_demo_parameters(
        sha256(b"chain").digest(), beacon, 0, TRAINERS[1], sha256(b"genesis").digest()
    )
    assert parameters.timing == DEMO_TIMING
    return replace(parameters, rounds=rounds, **changes)
