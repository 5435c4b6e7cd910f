"""The gauntlet's last table, and the ledger's entries."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from assay.explorer.ports import Post
from assay.explorer.reader import Reader
from assay.explorer.views.common import (
    Query,
    View,
    describe_audit,
    describe_trouble,
    make_paging,
)

_ROWS_MAX = 512
_ENTRIES = 50
#: Figures of a row of the gauntlet, with what they are.
_FIGURES = (
    "differs", "caught_given_differs", "detected_per_rollout", "detected_per_group",
    "detected_per_window", "tokens_to_9999", "income_per_compute", "income_error",
)  # fmt: skip


def view_gauntlet(reader: Reader, query: Query) -> View:
    """What every known way to cheat earned, as it was measured last."""
    document = reader.around.read_gauntlet()
    rows = [] if document is None else [r for r in document.get("rows", []) if type(r) is dict]
    return {
        "title": "Gauntlet",
        "known": document is not None,
        "windows": None if document is None else _get_number(document, "windows"),
        "seconds": None if document is None else _get_number(document, "seconds"),
        "rows": [_describe_row(row) for row in rows[:_ROWS_MAX]],
        "command": None if document is None else reader.around.commands.gauntlet(document),
    }


def _get_number(row: Mapping[str, Any], name: str) -> float | int | None:
    value = row.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
        return None
    return value


def _describe_row(row: Mapping[str, Any]) -> View:
    reasons = row.get("reasons")
    return {
        "attack": str(row.get("attack", "")),
        "model": str(row.get("model", "")),
        "legal": row.get("legal") is True,
        "pays": row.get("pays") is True,
        **{name: _get_number(row, name) for name in _FIGURES},
        "reasons": {
            str(reason): count
            for reason, count in (reasons.items() if type(reasons) is dict else ())
            if type(count) is int
        },
    }


def view_ledger(reader: Reader, query: Query) -> View:
    """What was posted to the EVM, or is to be."""
    posts = reader.around.list_posts()
    paging = make_paging(query, len(posts or ()), _ENTRIES)
    shown = list(posts or ())[paging["offset"] : paging["offset"] + _ENTRIES]
    epochs = [post.epoch for post in shown]
    covered = reader.ask_one(
        "SELECT min(window) AS first, max(window) AS last FROM windows WHERE epoch BETWEEN ? AND ?",
        min(epochs, default=0),
        max(epochs, default=-1),
    )
    return {
        "title": "Ledger",
        "known": posts is not None,
        "contract": reader.around.contract,
        "link": reader.around.ledger_link,
        "posts": [_describe_post(reader, post) for post in shown],
        "paging": paging,
    } | describe_audit(reader, covered["first"], covered["last"])


def _describe_post(reader: Reader, post: Post) -> View:
    row = reader.ask_one("SELECT * FROM settlements WHERE epoch = ?", post.epoch)
    root = str(post.entry.get("score_root", ""))
    return {
        "epoch": post.epoch,
        "state": post.state,
        "transaction": post.transaction,
        "block": post.block,
        "trouble": describe_trouble(post.trouble),
        "score_root": root,
        "recorded_root": None if row is None else row["score_root"].hex(),
        "equal": None if row is None else root == row["score_root"].hex(),
    }
