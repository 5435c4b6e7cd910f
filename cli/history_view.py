"""A miner's history drawn for a terminal, from the described rows alone."""

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text


def render_history(rows: Sequence[dict[str, Any]]) -> RenderableType:
    """A line a window, and below the table why the refused ones were refused."""
    if not rows:
        return Text("no window was mined yet", style="dim")
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in ("window", "groups", "committed", "own verdict", "score", "weight", "alpha"):
        left = name in ("committed", "own verdict")
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*_list_cells(row))
    return Group(table, *(_explain(row) for row in rows if _find_words(row)))


def _list_cells(row: dict[str, Any]) -> list[Text | str]:
    groups, verdict, payment = (row[name] for name in ("groups", "verdict", "payment"))
    return [
        str(row["window"]),
        f"{groups['done']}/{groups['wanted']}",
        _name_commitment(row["commitment"]),
        _name_verdict(verdict),
        f"{verdict['score']:,}" if verdict else "",
        _name_weights(payment),
        f"{payment['emission_rao_alpha'] / 1e9:.4f}" if payment else "",
    ]


def _name_commitment(commitment: dict[str, Any] | None) -> Text:
    if commitment is None or commitment["sent_at"] is None:
        return Text("–", style="dim")
    stood = commitment["stood"]
    words = "" if stood is None else (" ✓" if stood else " ✗")
    return Text(f"at {commitment['sent_at']}{words}", style="red" if stood is False else "")


def _name_verdict(verdict: dict[str, Any] | None) -> Text:
    if verdict is None:
        return Text("not judged yet", style="dim")
    if verdict["reason"] is None:
        return Text("unknown", style="yellow")
    style = "green" if verdict["accepted"] else "red"
    return Text(verdict["reason"] + ("" if verdict["final"] else " so far"), style=style)


def _name_weights(payment: dict[str, Any] | None) -> str:
    if payment is None:
        return ""
    shares = [weight["share"] for weight in payment["weights"]]
    return f"{max(shares):.1%} by {len(shares)}" if shares else "0"


def _find_words(row: dict[str, Any]) -> list[str]:
    """What a person should read about a window beside its line."""
    words = [row["note"]] if row["note"] else []
    verdict, payment, commitment = row["verdict"], row["payment"], row["commitment"]
    if commitment is not None and commitment["stood"] is False:
        words.append("the commitment did not stand at its block")
    if verdict is not None and not verdict["accepted"]:
        where = [
            f"{name} {verdict[name]}" for name in ("group", "rollout", "token") if name in verdict
        ]
        words.append(f"{verdict['detail']}{' (' + ', '.join(where) + ')' if where else ''}")
        if verdict["costs"]:
            words.append(f"it costs {verdict['costs']}")
    if payment is not None and payment["note"]:
        words.append(payment["note"])
    return words


def _explain(row: dict[str, Any]) -> Text:
    words = "; ".join(_find_words(row))
    return Text(f"window {row['window']}: {words}", style="yellow")
