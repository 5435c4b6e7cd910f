"""What `assay env look` prints: how a file of problems would be read."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Group
from rich.text import Text

from assay.cli.console import make_table, print_result
from assay.environments import letters_file
from assay.environments.problem_look import CHOOSING, FORMS, NAMED
from assay.environments.problem_report import Look
from assay.network.hub.origin import Origin, find_origin
from assay.network.text import make_printable

#: Characters of a problem or an answer that are shown.
_SHOWN = 200
#: What a reason means, where its name alone does not say it, and what a further environment asks.
_MEANT = {"words": "in words: text that has no value to compare"}
_FITS = {
    "letters": "that are a choice, or answered by yes or no",
    "math": "whose answer has a value",
    "search": "of the documents, in episodes with a tool",
    "text": "with short answers in words, each behind its passage if it has one",
}


def show_look(look: Look, write: Path | None, written: str, as_json: bool) -> None:
    """Show how a file is read. `written`: the environment of the file `write`, if there is one."""
    origin = find_origin(Path(look.file))
    document = _to_json(look, origin) | {"written": written}
    print_result(document, as_json, _describe(look, origin, write, written))


def _to_json(look: Look, origin: Origin | None) -> dict[str, object]:
    document = asdict(look) | {
        "usable": look.is_usable,
        "origin": None if origin is None else origin.to_json(),
    }
    del document["corpus"]
    for name in ("left_out", "damaged", "suites", "fits"):
        document[name] = {
            key: {"rows": len(rows), "first": rows[:NAMED]} for key, rows in document[name].items()
        }
    for name, numbers in (("shown", look.shown), ("empty", look.empty)):
        document[name] = {"rows": len(numbers), "first": numbers[:NAMED]}
    return document


def _describe(look: Look, origin: Origin | None, write: Path | None, written: str) -> Group:
    table = make_table(show_header=False)
    table.add_row("file", Text(f"{look.file}, {look.format}, {look.rows:,} rows"))
    if origin is not None:
        table.add_row("from", Text(str(origin.pinned)))
    table.add_row("environment", Text(look.environment if look.is_usable else "none: see below"))
    parts = ", ".join(f"{part}: {column}" for part, column in look.columns.items())
    table.add_row("columns", Text(make_printable(parts) or "none that is known"))
    counts = ", ".join(f"{level}: {count:,}" for level, count in sorted(look.per_level.items()))
    table.add_row("levels", Text(f"{look.levels} ({counts or 'none'})"))
    table.add_row("kept", Text(f"{look.asked:,} rows"))
    if look.documents:
        table.add_row("searched", Text(f"{look.documents:,} documents"))
    for reason, rows in sorted(look.left_out.items(), key=lambda entry: -len(entry[1])):
        meant = _MEANT.get(reason, reason)
        table.add_row("filtered", Text(f"{len(rows):,} {meant} ({_name(rows)})"))
    for fault, rows in look.damaged.items():
        table.add_row("refused for", Text(make_printable(f"{_name(rows)}: {fault}")))
    if look.shown:
        first = f" of the first {FORMS:,}" if look.asked > FORMS else ""
        line = f"{len(look.shown):,} rows{first} show their answer and need its form"
        table.add_row("form", Text(f"{line} ({_name(look.shown)})"))
    if look.empty:
        line = f"{len(look.empty):,} rows are met by a reply without content or a copy of the "
        line += f"prompt ({_name(look.empty)})"
        table.add_row("empty", Text(line))
    if look.odds:
        line = f"a row's answer is guessed once in {look.odds:.1f}: `odds` asks several at a time"
        if look.odds_max < letters_file.PARAMS["odds"].default:
            line += f", and a level has rows for odds={look.odds_max} at most: name it so"
        table.add_row("guess", Text(line))
    missed = set[int]().union(*look.left_out.values())
    for family, rows in look.fits.items():
        more = len(missed.intersection(rows))
        line = f"--as {family}: {family}:SHA256 asks {len(rows):,} rows {_FITS[family]}"
        table.add_row("fits too", Text(f"{line}; {more:,} of them are filtered out here"))
    for suite, rows in look.suites.items():
        table.add_row("in a suite", Text(f"{len(rows):,} rows are in {suite} ({_name(rows)})"))
    for suite, why in look.uncompared.items():
        table.add_row("not compared", Text(make_printable(f"all of {suite}: {why}")))
    for sample in look.samples:
        shown = f"row {sample.row}, level {sample.level}: {sample.problem[:_SHOWN]}"
        table.add_row("sample", Text(make_printable(shown)))
        table.add_row("", Text(f"right: {make_printable(sample.answer[:_SHOWN])}", style="bold"))
    return Group(table, *(Text(line) for line in _advise(look, write, written)))


def _advise(look: Look, write: Path | None, written: str) -> list[str]:
    if write is not None:
        content = f"{write} has the {look.asked:,} rows that are asked"
        return [f"{content}: name this file in `files`. Its environment is {written}."]
    if look.is_joined:
        return ["A network names one file: write one with --write FILE.jsonl."]
    if look.is_renamed:
        return ["A network reads no such columns: write them as it does with --write FILE.jsonl."]
    if look.is_thinned:
        return ["A network would ask the left-out rows, too: write the others with --write FILE."]
    if look.damaged:
        return ["Remove the refused rows, or write the others into a file with --write FILE.jsonl."]
    if not look.asked:
        why = ", for the reasons above: change the rows" if look.left_out else ": change the file"
        if look.environment.partition(":")[0] in CHOOSING:
            why += ", or name other columns with --column answer=NAME"
        return [f"No row can be asked{why}."]
    if look.fits:
        digest = look.environment.partition(":")[2]
        best = max(look.fits, key=lambda family: len(look.fits[family]))
        mixed = f"mix,{look.environment}=1,{best}:{digest}=1"
        return [f"A network may ask one file by several environments, such as {mixed}"]
    return []


def _name(rows: Sequence[int]) -> str:
    if not rows:
        return "none"
    more = ", …" if len(rows) > 5 else ""
    return f"row{'s' * (len(rows) > 1)} {', '.join(map(str, rows[:5]))}{more}"
