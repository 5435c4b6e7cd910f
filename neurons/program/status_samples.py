"""Samples of metrics, read from a program's status.

A reader takes a status, as `neurons.program.program_status` describes it.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from assay.protocol import Phase

#: Label's value → number, or all labels' values → number where there are several. A metric without
#: a label has the one value "".
Samples = Mapping[str, float] | Mapping[tuple[str, ...], float]
#: States of a miner's engine.
ENGINE_STATES = ("new", "starting", "drafting", "left")
#: Bottlenecks of a trainer.
HINDRANCES = ("judging", "learning", "publishing", "too few groups", "skipped for age")
#: Activities that a trainer's time is divided into.
_SPENT = ("judging", "learning", "publishing", "waiting")
#: Fields of a status that name its program.
WHO = ("program", "software", "netuid", "hotkey")


def read_one(*path: str) -> Callable[[dict[str, Any]], Samples]:
    """The number at a path; no sample where something on the path is null."""

    def read(status: dict[str, Any]) -> Samples:
        found: Any = status
        for name in path:
            if found is None:
                return {}
            found = found[name]
        return {} if found is None else {"": float(found)}

    return read


def read_count(name: str, *labels: str) -> Callable[[dict[str, Any]], Samples]:
    """A sum since the start; 0 before anything was added."""

    def read(status: dict[str, Any]) -> Samples:
        return dict.fromkeys(labels or ("",), 0.0) | status["counts"].get(name, {})

    return read


def read_relays(field: str) -> Callable[[dict[str, Any]], Samples]:
    def read(status: dict[str, Any]) -> Samples:
        relays = status["beacon"]["relays"]
        return {relay["name"]: relay[field] for relay in relays if relay[field] is not None}

    return read


def read_info(status: dict[str, Any]) -> Samples:
    return {tuple(str(status[name]) for name in WHO): 1.0}


def read_phase(status: dict[str, Any]) -> Samples:
    return {phase.name: float(status["countdown"]["phase"] == phase.name) for phase in Phase}


def read_age(field: str) -> Callable[[dict[str, Any]], Samples]:
    """Seconds since a time in the status; no sample where it is null."""

    def read(status: dict[str, Any]) -> Samples:
        at = status[field]
        return {} if at is None else {"": max(0.0, time.time() - at)}

    return read


def read_finality_lag(status: dict[str, Any]) -> Samples:
    best = status["best"]
    return {} if best is None else {"": max(0, best - status["head"])}


def read_lag(status: dict[str, Any]) -> Samples:
    used, newest = status["checkpoint"], status["published"]
    if used is None or newest is None or used["number"] is None:
        return {}
    return {"": newest["number"] - used["number"]}


def read_fetched(field: str) -> Callable[[dict[str, Any]], Samples]:
    return lambda status: {"": float(sum(item[field] for item in status["fetching"]))}


def read_newest_settlement(field: str) -> Callable[[dict[str, Any]], Samples]:
    """Values by uid, from the newest known settlement."""

    def read(status: dict[str, Any]) -> Samples:
        known = (row[field] for row in status["settlements"] if row[field] is not None)
        return dict(next(known, {}))

    return read


def read_pending(status: dict[str, Any]) -> Samples:
    waiting = [row for row in status["settlements"] if row["state"] in ("due", "sending", "sent")]
    return {"": float(len(waiting))}


def read_confirmed(status: dict[str, Any]) -> Samples:
    blocks = [row["confirmed_at"] for row in status["settlements"] if row["confirmed_at"]]
    return {"": float(max(blocks))} if blocks else {}


def read_validator_queue(status: dict[str, Any]) -> Samples:
    judging = [window for window in status["windows"] if window["state"] == "judging"]
    record = status["record"]
    posts = [post for post in status["posts"] if post["state"] not in ("confirmed", "superseded")]
    return {
        "submissions": float(sum(w["members"] - len(w["verdicts"]) for w in judging)),
        "records": 0.0 if record is None else float(record["waiting"]),
        "posts": float(len(posts)),
    }


def read_engines(status: dict[str, Any]) -> Samples:
    states = [engine["state"] for engine in status["engines"]]
    return {state: float(states.count(state)) for state in ENGINE_STATES} if states else {}


def read_workers(status: dict[str, Any]) -> Samples:
    lacks = [worker["lack"] is not None for worker in status["workers"]]
    left_out = float(sum(lacks))
    return {"working": len(lacks) - left_out, "left_out": left_out} if lacks else {}


def read_workers_lost(status: dict[str, Any]) -> Samples:
    return {"": float(sum(worker["lost"] for worker in status["workers"]))}


def read_pace(status: dict[str, Any]) -> Samples:
    pace = status["pace"]
    return {} if pace is None else {name: pace[f"{name}_seconds"] for name in _SPENT}


def read_hindrance(status: dict[str, Any]) -> Samples:
    pace = status["pace"]
    return {} if pace is None else {by: float(pace["holds_back"] == by) for by in HINDRANCES}


def read_newest_row(*path: str, scale: float = 1.0) -> Callable[[dict[str, Any]], Samples]:
    """Read the value from a miner's newest window that has it."""

    def read(status: dict[str, Any]) -> Samples:
        for row in reversed(status["windows"]):
            part = row[path[0]]
            if part is not None and (path[0] != "verdict" or part["final"]):
                return {"": part[path[1]] * scale}
        return {}

    return read


def read_held_out(status: dict[str, Any]) -> Samples:
    points = status["held_out"]
    return {"": points[-1]["correct"] / points[-1]["problems"]} if points else {}


def read_step(field: str) -> Callable[[dict[str, Any]], Samples]:
    def read(status: dict[str, Any]) -> Samples:
        return {"": float(status["steps"][-1][field])} if status["steps"] else {}

    return read
