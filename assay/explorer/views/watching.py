"""Watching a course: what it does, by which rule, and its figures over windows."""

from collections.abc import Mapping, Sequence
from typing import Any

from assay.explorer.documents.curves import POINTS_MAX, Curve, CurvePoint
from assay.explorer.documents.training import GateWords, StaleRow, WatchDocument, WatchedRow
from assay.explorer.page_reader import PageReader
from assay.explorer.ports import CourseReading
from assay.explorer.views.common import Query, list_step_digests, read_number
from assay.explorer.views.curves import make_curve
from assay.explorer.views.gains import view_gate

#: Ages of rollouts that a row may have.
_AGES_MAX = 16
#: Name, title, field of a row, greatest value of the axis.
_CURVES = (
    ("reward", "Reward of all groups of the step", "reward", 1.0),
    ("teaching", "Share of groups with non-zero advantage", "teaching", 1.0),
    ("entropy", "Entropy at completions’ tokens, nats", "entropy", None),
    ("distinct", "Distinct completions of a group", "distinct", None),
    ("length", "Tokens of a completion, mean", "length", None),
    ("at-limit", "Share of truncated completions", "at_limit", 1.0),
)


def view_watch(reader: PageReader, query: Query) -> WatchDocument:
    """Whether the course learns, and the figures that say so."""
    found = reader.sources.read_course(list_step_digests(reader), query.wait_s)
    shown = view_gate(reader, reader.sources.read_training())
    gate = shown and GateWords(sentence=shown["sentence"], course=shown["course"])
    if not isinstance(found, CourseReading):
        return WatchDocument(
            title="Does it learn?",
            gate=gate,
            lack=found,
            is_own=None,
            state=None,
            sentence=None,
            rules=[],
            rows=[],
            curves=[],
            command=reader.sources.commands.watch(),
        )
    rows = [_keep_finite(row) for row in found.rows[-POINTS_MAX:]]
    return WatchDocument(
        title="Does it learn?",
        gate=gate,
        lack=None,
        is_own=found.is_own,
        state=found.state,
        sentence=found.sentence,
        rules=[{**rule, "value": read_number(rule, "value")} for rule in found.rules],
        rows=rows,
        curves=_list_curves(rows),
        command=reader.sources.commands.watch(),
    )


def _keep_finite(row: WatchedRow) -> WatchedRow:
    """The row without figures that no page can show: a trainer's file may have any."""
    return {
        **row,
        "teaching": read_number(row, "teaching"),
        "reward": read_number(row, "reward"),
        "entropy": read_number(row, "entropy"),
        "distinct": read_number(row, "distinct"),
        "size": read_number(row, "size"),
        "length": read_number(row, "length"),
        "at_limit": read_number(row, "at_limit"),
        "ratio_p01": read_number(row, "ratio_p01"),
        "stale_ages": _read_ages(row),
        "figures": {
            name: value
            for name in row["figures"]
            if (value := read_number(row["figures"], name)) is not None
        },
    }


def _read_ages(row: Mapping[str, Any]) -> list[StaleRow]:
    found = row.get("stale_ages")
    return [
        StaleRow(
            age=age,
            share=read_number(one, "share"),
            ess=read_number(one, "ess"),
            kl=read_number(one, "kl"),
        )
        for one in (found if isinstance(found, list) else [])[:_AGES_MAX]
        if isinstance(one, Mapping) and isinstance(age := one.get("age"), int) and age >= 0
    ]


def _list_curves(rows: Sequence[WatchedRow]) -> list[Curve]:
    """The curves that have a point."""
    curves = []
    for name, title, key, top in _CURVES:
        points = [
            CurvePoint(x=row["window"], y=value)
            for row in rows
            if (value := read_number(row, key)) is not None
        ]
        curves.append(make_curve(name, title, "window", points, top))
    return [curve for curve in curves if curve["series"]]
