"""What `assay audit compare` prints."""

import json
from typing import Any

from rich.table import Table

from assay.audit.comparison import ComparedValidator, ValidatorComparison
from assay.audit.differences import ComparedSettlement, ComparedWindow
from assay.cli.console import open_console
from assay.protocol.ss58 import encode_ss58


def show_comparison(comparison: ValidatorComparison, as_json: bool) -> None:
    """Show a comparison of validators."""
    if as_json:
        print(json.dumps(describe_comparison(comparison)))
    else:
        _print_comparison(comparison)


def describe_comparison(comparison: ValidatorComparison) -> dict[str, Any]:
    """The comparison as JSON. Shares and distances are null if nothing was compared."""
    return {
        "windows": [comparison.windows[0], comparison.windows[-1]],
        "model": comparison.has_model,
        "validators": [_describe(validator) for validator in comparison.validators],
        "shared_witnesses": [
            {"validators": [encode_ss58(hotkey) for hotkey in pair], "groups": count}
            for pair, count in sorted(comparison.shared.items())
        ],
        "settlements_forgotten": comparison.forgotten,
        "judged": [_describe_window(judged) for judged in comparison.judged],
        "settled": [_describe_settlement(settled) for settled in comparison.settled],
    }


def _describe_window(judged: ComparedWindow) -> dict[str, Any]:
    return {
        "window": judged.window,
        "outcomes": [
            {"validator": encode_ss58(validator), "outcome": outcome.value}
            for validator, outcome in judged.outcomes.items()
        ],
        "members": judged.members,
        "differing": [
            {
                "hotkey": encode_ss58(row.hotkey),
                "uid": row.uid,
                "said": [
                    {
                        "validator": encode_ss58(validator),
                        "reason": reason and reason.value,
                        "score": score,
                    }
                    for validator, (reason, score) in row.by_validator.items()
                ],
            }
            for row in judged.differing
        ],
    }


def _describe_settlement(settled: ComparedSettlement) -> dict[str, Any]:
    return {
        "epoch": settled.epoch,
        "totals": [
            {"validator": encode_ss58(validator), "score": score}
            for validator, score in settled.totals.items()
        ],
        "seats": settled.seats,
        "differing": [
            {
                "uid": row.uid,
                "hotkey": row.hotkey and encode_ss58(row.hotkey),
                "said": [
                    {"validator": encode_ss58(validator), "score": score, "weight": weight}
                    for validator, (score, weight) in row.by_validator.items()
                ],
            }
            for row in settled.differing
        ],
    }


def _describe(validator: ComparedValidator) -> dict[str, Any]:
    report = validator.report
    return {
        "validator": encode_ss58(validator.hotkey),
        "record": report is not None,
        "fault": validator.fault,
        "matched": None if report is None else report.matched,
        "verdicts_witnessed": validator.witnessed,
        "verdicts_unwitnessed": validator.unwitnessed,
        "epochs": [
            {
                "block": epoch_weights.block,
                "distance_to_own": epoch_weights.own_distance,
                "distance_to_others": epoch_weights.other and epoch_weights.other.distance,
                "nearest": epoch_weights.other and encode_ss58(epoch_weights.other.validator),
                "nearest_epoch": epoch_weights.other and epoch_weights.other.epoch,
                "settlements_behind": epoch_weights.behind,
            }
            for epoch_weights in validator.observed
        ],
        "stale_epochs": len(validator.stale),
        "stopped": validator.has_stopped,
        "suspicion": validator.suspicion,
    }


def _print_comparison(comparison: ValidatorComparison) -> None:
    console = open_console()
    first, last = comparison.windows[0], comparison.windows[-1]
    table = Table(title=f"validators, windows {first} to {last}", title_justify="left")
    for name in ("validator", "record", "witnessed", "from own", "from others", "behind"):
        table.add_column(name, justify="left" if name in ("validator", "record") else "right")
    for validator in comparison.validators:
        table.add_row(*_make_row(validator, comparison.has_model))
    console.print(table)
    console.print(
        "from own, from others: the largest share of its weights on chain that differs from a "
        "record's weights.",
        style="dim",
    )
    if comparison.judged or comparison.settled:
        verdicts = sum(len(judged.differing) for judged in comparison.judged)
        seats = sum(len(settled.differing) for settled in comparison.settled)
        console.print(
            f"{verdicts} of {sum(judged.members for judged in comparison.judged)} verdicts and "
            f"{seats} of {sum(settled.seats for settled in comparison.settled)} scores or weights "
            "differ between their records; --json names them."
        )
    if not comparison.has_model:
        console.print("Witnesses need the model: --model FOLDER runs its forward passes again.")
    for validator in comparison.validators:
        if validator.suspicion is not None:
            text = f"{encode_ss58(validator.hotkey)}: {validator.suspicion}."
            console.print(text, style="bold red", markup=False)
        elif validator.has_stopped:
            text = f"{encode_ss58(validator.hotkey)}: its weights stay those of an old settlement."
            console.print(text, style="yellow", markup=False)
        if validator.fault is not None:
            text = f"{encode_ss58(validator.hotkey)}: its record cannot be read: {validator.fault}"
            console.print(text, style="yellow", markup=False)
    for pair, count in sorted(comparison.shared.items()):
        console.print(
            f"{' and '.join(map(encode_ss58, pair))} have the same witness of {count} groups: one "
            "of the two copied the other's record. --model FOLDER shows which one.",
            style="bold red",
            markup=False,
        )
    if comparison.forgotten:
        console.print(
            f"Weights of {comparison.forgotten} settlements were not compared: the nodes have "
            "forgotten them. An archive node has them.",
            style="yellow",
        )
    if not comparison.has_copier:
        style = "bold green" if comparison.has_model else "yellow"
        console.print("There is no sign that any of them copies.", style=style)


def _make_row(validator: ComparedValidator, has_model: bool) -> list[str]:
    report, observed = validator.report, validator.observed
    every = validator.witnessed + validator.unwitnessed
    own_distances = [s.own_distance for s in observed if s.own_distance is not None]
    others = [s.other.distance for s in observed if s.other is not None]
    return [
        encode_ss58(validator.hotkey),
        ("none" if validator.fault is None else "unread")
        if report is None
        else "differs"
        if report.differs
        else "matches",
        f"{validator.witnessed} of {every}" if has_model and report is not None else "-",
        f"{max(own_distances):.2%}" if own_distances else "-",
        f"{max(others):.2%}" if others else "-",
        str(max((s.behind for s in observed), default=0)),
    ]
