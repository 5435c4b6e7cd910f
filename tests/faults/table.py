"""The faults that strike in each phase of a window, and the reasons why others do not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.faults.programs import SERVICES, Strike
from tests.faults.proxy import HTTP_FAULTS, WEBSOCKET_FAULTS
from tests.faults.stage import FAULT_TIMING, Plan

#: Two answers that bear each other's numbers are a node that lies: nothing but another node tells.
#: Empty fragments strike where an endless body does, and no otherwise.
FAULTS: Mapping[str, Sequence[str]] = {
    service: [name for name in WEBSOCKET_FAULTS if name not in ("swapped", "empty fragments")]
    if service == "chain"
    else list(HTTP_FAULTS)
    for service in SERVICES
}
#: Faults under which work may continue. They come last, when no others are left. An uploading
#: program needs only a status.
HARMLESS: Mapping[str, Sequence[str]] = {
    "chain": ("reordered", "latency"),
    "beacon": ("altered body", "latency"),
    "checkpoints": ("reordered", "whole body", "latency"),
    "submissions": ("reordered", "whole body", "latency"),
    "bucket": (
        "endless body",
        "length too long",
        "length too short",
        "huge length",
        "bomb",
        "reordered",
        "latency",
    ),
}
#: (phase, service, fault).
Cell = tuple[str, str, str]

_EVERY = {service: len(names) for service, names in FAULTS.items()}
_RANGES = ("wrong range", "shifted range", "whole body")


@dataclass(frozen=True, slots=True)
class Phase:
    """Some blocks of a window.

    Attributes:
        blocks: after the window's first, at which faults strike; then there is time to recover.
        queues: for each block, or for all from the last one on, whose faults strike in which order.
        unasked: service → why nobody asks it.
        spared: (service, fault) → why it cannot strike though the service is asked.
    """

    blocks: range
    queues: Sequence[Sequence[str]]
    unasked: Mapping[str, str]
    spared: Mapping[Strike, str]

    @property
    def cells(self) -> set[Strike]:
        """The faults that strike here."""
        services = {service for queue in self.queues for service in queue}
        every = {(service, name) for service in services for name in FAULTS[service]}
        return every - self.spared.keys()


_WHOLE = "a round is asked for whole, never by range"
_BEACON = {("beacon", name): _WHOLE for name in _RANGES}
_SIGNED = "who writes a bucket signs its ranges: the service itself refuses another one"
_BODILESS = "what was written, or is not there, is answered without a body"
_IN_BODY = (*_RANGES, "altered body", "length too short")
_KNOWN = "both rounds are known, and kept"
_TOO_EARLY = "no file is read before the audit"
_READ = "every file has been read"
_HELD = "the checkpoint in force was fetched at the start"
_TIMING = FAULT_TIMING

PHASES: Mapping[str, Phase] = {
    "start": Phase(
        range(-1, 0), [["checkpoints"] * _EVERY["checkpoints"]], {"submissions": _TOO_EARLY}, {}
    ),
    "challenge": Phase(
        range(1, 2),
        [["chain"] * _EVERY["chain"] + ["beacon"] * _EVERY["beacon"]],
        {"checkpoints": _HELD, "submissions": _TOO_EARLY},
        _BEACON,
    ),
    "upload": Phase(
        range(1, _TIMING.commit_offset - 3),
        [["bucket"]],
        {"checkpoints": _HELD, "submissions": _TOO_EARLY},
        {("bucket", name): _BODILESS for name in _IN_BODY},
    ),
    "commitment": Phase(
        range(_TIMING.commit_offset - 1, _TIMING.commit_offset + 1),
        [["chain"] * (_EVERY["chain"] // 2)],
        {
            "beacon": "the challenge's round is kept, the audit's is not out",
            "checkpoints": _HELD,
            "submissions": _TOO_EARLY,
            "bucket": "the upload is done",
        },
        {},
    ),
    "audit": Phase(
        range(_TIMING.audit_offset + 1, _TIMING.audit_offset + 2),
        [["chain"] * _EVERY["chain"] + ["beacon"] * _EVERY["beacon"]],
        {},
        _BEACON,
    ),
    "reading": Phase(
        range(_TIMING.audit_offset + 1, _TIMING.fetch_end - 2),
        # the miner's look at its own file, the validator, the trainer, which looks three times
        [["submissions", "checkpoints", "submissions"], ["submissions", "checkpoints"]],
        {},
        {},
    ),
    "publishing": Phase(
        range(_TIMING.audit_offset + 1, _TIMING.audit_offset + 2),
        [["bucket"] * _EVERY["bucket"]],
        {},
        {("bucket", name): _SIGNED for name in _RANGES},
    ),
    "next checkpoint": Phase(
        range(_TIMING.audit_offset + 3, _TIMING.verdict_end), [["checkpoints"] * 2], {}, {}
    ),
    "verdicts": Phase(
        range(_TIMING.verdict_end, _TIMING.verdict_end + 1),
        [["chain"] * _EVERY["chain"]],
        {"beacon": _KNOWN, "submissions": _READ},
        {},
    ),
    "settlement": Phase(
        range(_TIMING.verdict_end + 1, _TIMING.verdict_end + 3),
        [["chain"] * (_EVERY["chain"] // 2)],
        {"beacon": _KNOWN, "submissions": _READ},
        {},
    ),
    "record": Phase(
        range(_TIMING.verdict_end + 4, _TIMING.verdict_end + _TIMING.tempo),
        [["bucket"]],
        {"beacon": _KNOWN, "submissions": _READ},
        {("bucket", name): _BODILESS for name in _IN_BODY},
    ),
}


def list_cells() -> set[Cell]:
    """All that is to strike."""
    return {(name, *strike) for name, phase in PHASES.items() for strike in phase.cells}


def make_plan(left: set[Cell]) -> tuple[Plan, dict[int, str]]:
    """A run's plan for the cells that have not been struck yet: faults by block after the window's
    first, and the phase of each block."""
    plan: dict[int, list[Strike]] = {}
    owners: dict[int, str] = {}
    for name, phase in PHASES.items():
        waiting = {
            service: [f for f in _order(service) if (name, service, f) in left]
            for service in FAULTS
        }
        if not any(waiting.values()) or set(phase.blocks) & plan.keys():
            continue
        for at, block in enumerate(phase.blocks):
            queue = phase.queues[min(at, len(phase.queues) - 1)]
            strikes = [(service, waiting[service].pop(0)) for service in queue if waiting[service]]
            if strikes:
                plan[block], owners[block] = strikes, name
    return plan, owners


def _order(service: str) -> list[str]:
    harmless = HARMLESS[service]
    return [name for name in FAULTS[service] if name not in harmless] + list(harmless)
