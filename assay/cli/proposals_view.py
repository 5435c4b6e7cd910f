"""What `assay train proposals` prints."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from assay.audit.provenance.proposals import PoolHistory, PoolRow
from assay.cli.console import make_table, print_result
from assay.protocol.ss58 import encode_ss58


def show_proposals(history: PoolHistory, count: int, as_json: bool) -> None:
    """Show the newest `count` rows of a checkpoint's pool."""
    rows = [_describe(row) for row in history.rows[:count]]
    figures = history.figures.to_json()
    document = {"checkpoint": history.number, "steps": history.steps, "pool": figures, "rows": rows}
    head = f"checkpoint {history.number}, by {history.steps} steps: {figures['sentence']}"
    print_result(document, as_json, Group(head, _make_table(rows)))


def _make_table(rows: Sequence[dict[str, Any]]) -> Table:
    table = make_table(
        "step", "author", "tries", "solves", "solvers", "function", left=("author", "function")
    )
    for row in rows:
        known = row["hotkey"] is not None
        table.add_row(
            str(row["step"]) if known else "earlier",
            row["hotkey"] if known else "",
            str(row["tries"]),
            str(row["solves"]),
            str(len(row["solvers"])),
            Text(row["function"]),
        )
    return table


def _describe(row: PoolRow) -> dict[str, Any]:
    author = None if row.hotkey is None else encode_ss58(row.hotkey)
    return {
        "digest": row.piece.digest.hex(),
        "function": row.piece.function,
        "inputs": list(row.piece.inputs),
        "outputs": list(row.piece.outputs),
        "size": row.piece.size,
        "step": row.number,
        "window": row.window,
        "hotkey": author,
        "index": row.index,
        "rollout": row.rollout,
        "tries": row.tries,
        "solves": row.solves,
        "solvers": [encode_ss58(hotkey) for hotkey in row.solvers],
    }
