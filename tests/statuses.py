"""Checks that a status.json has the shape of docs/status.md; the events of docs/metrics.md."""

import re
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from assay.artifacts.status.demo import DemoStatus
from assay.artifacts.status.miner import MinerStatus
from assay.artifacts.status.trainer import TrainerStatus
from assay.artifacts.status.validator import ValidatorStatus

_, _, _table = (
    (Path(__file__).parents[1] / "docs" / "metrics.md").read_text().partition("| event |")
)
#: The names of a program's events, by the page: alerts depend on these names.
EVENTS = frozenset(re.findall(r"^\| `(\w+)` \| .", _table, re.M))

#: A validator that has seen nothing yet: what can be unknown is.
VALIDATOR: dict[str, Any] = {
    "version": 1,
    "program": "validator",
    "software": "assay 1",
    "state": "running",
    "pid": 1,
    "started_at": 0,
    "at": 0,
    "netuid": 7,
    "parameters": "",
    "hotkey": "5x",
    "head": 0,
    "head_at": None,
    "best": None,
    "window_now": 0,
    "checkpoint": None,
    "published": None,
    "published_since": None,
    "countdown": {"phase": "CHALLENGE", "next": "COMMIT", "block": 1, "blocks": 1, "seconds": 1.0},
    "fetching": [],
    "beacon": {"chain": "", "trouble": None, "relays": []},
    "trouble": None,
    "trouble_kind": None,
    "counts": {},
    "windows": [],
    "settlements": [],
    "record": None,
    "workers": [],
    "gate": [],
    "posts": [],
    "posting_trouble": None,
}

_OWN = {"miner": MinerStatus, "validator": ValidatorStatus, "trainer": TrainerStatus}


def check_status(document: dict[str, Any]) -> None:
    """Every field is there, of its type, and no other."""
    shape = DemoStatus if "demo" in document else _OWN[document["program"]]
    _check(document, shape, document["program"])


def check_part(document: Any, shape: Any) -> None:
    """The same of a part."""
    _check(document, shape, shape.__name__)


def _check(value: Any, kind: Any, where: str) -> None:
    if kind is Any:
        return
    if get_origin(kind) is UnionType:
        kinds = [part for part in get_args(kind) if (part is NoneType) is (value is None)]
        assert kinds, where
        _check(value, kinds[0], where)
    elif get_origin(kind) in (list, dict):
        assert type(value) is get_origin(kind), where
        for item in value.values() if isinstance(value, dict) else value:
            _check(item, get_args(kind)[-1], where)
    elif hasattr(kind, "__total__"):
        fields = get_type_hints(kind)
        assert kind.__required_keys__ <= value.keys() <= fields.keys(), (where, value.keys())
        for name, part in value.items():
            _check(part, fields[name], f"{where}.{name}")
    else:
        allowed = (int, float) if kind is float else (kind,)
        assert type(value) in allowed, (where, value)
