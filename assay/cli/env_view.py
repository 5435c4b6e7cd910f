"""What `assay env list|show|score|export` print."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from shlex import quote

from rich.console import Group
from rich.text import Text

from assay.cli.console import make_table, print_result
from assay.environments.base import Environment, RewardParts
from assay.environments.listing import EnvironmentEntry
from assay.settings.loading import ConfigError

#: Bytes of an answer that are read from standard input.
_ANSWER_MAX = 16 << 20


def show_environments(entries: Sequence[EnvironmentEntry], as_json: bool) -> None:
    """Show every environment that can be named without settings, and the refused ones."""
    table = make_table("environment", "levels", "what")
    faults = Counter(entry.about for entry in entries if entry.levels and not entry.usable)
    for entry in entries:
        levels = _describe_levels(entry.levels) if entry.levels else "–"
        shared = faults[entry.about] > 1  # a whole family lacks the same: reported once, below
        what = "cannot be used: see below" if shared else _describe(entry)
        table.add_row(Text(entry.name), levels, Text(what))
    missing = [
        Text(f"{count} of them cannot be used: {about}")
        for about, count in faults.items()
        if count > 1
    ]
    print_result([asdict(entry) for entry in entries], as_json, Group(table, *missing))


def show_environment(environment: Environment, as_json: bool) -> None:
    """Show name, settings, levels and digest."""
    document = {
        "name": environment.name,
        "settings": dict(environment.params),
        "levels": list(environment.levels),
        "digest": environment.digest.hex(),
        "rated": sorted(environment.rated),
        "turns": environment.turns,
    }
    settings = ", ".join(f"{name} = {value}" for name, value in environment.params.items())
    lines = (
        environment.name,
        f"  settings  {settings or 'none'}",
        f"  levels    {_describe_levels(environment.levels)}",
        f"  rated     {', '.join(['correctness', *sorted(environment.rated), 'format'])}",
        f"  turns     {environment.turns}",
        f"  digest    {environment.digest.hex()}",
    )
    print_result(document, as_json, "\n".join(lines))


def show_exported(file: Path, environment: Environment, as_json: bool) -> None:
    """Show a wheel, and how to use it."""
    module, digest = file.name.partition("-")[0], environment.digest.hex()
    install = f"pip install {quote(str(file))}   # where verifiers 0.4 and assay are"
    lines = f"{file}\n  {install}\n  vf-eval {module}"
    print_result({"file": str(file), "taskset": module, "digest": digest}, as_json, lines)


def show_exported_task(file: Path, environment: Environment, as_json: bool) -> None:
    """Show a task of Inspect, and how to use it."""
    asked = f"inspect eval {quote(str(file))} --model MODEL -T count=100"
    lines = f"{file}\n  {asked}   # where assay[inspect] is"
    document = {"file": str(file), "task": "assay", "digest": environment.digest.hex()}
    print_result(document, as_json, lines)


def show_score(parts: RewardParts, reward: int, as_json: bool) -> None:
    """Show the reward of an answer, and its parts, millionths."""
    document = {"reward": reward, **asdict(parts)}
    table = make_table(show_header=False)
    for part, value in document.items():
        table.add_row(part, f"{value:,}", style="bold" if part == "reward" else None)
    print_result(document, as_json, table)


def read_answer() -> str:
    """An answer from standard input. Raises ConfigError."""
    given = sys.stdin.buffer.read(_ANSWER_MAX + 1)  # as bytes: text would lose carriage returns
    if len(given) > _ANSWER_MAX:
        raise ConfigError(f"--answer -: more than {_ANSWER_MAX >> 20} MiB on stdin")
    try:
        return given.decode()
    except UnicodeDecodeError:
        raise ConfigError("--answer -: stdin is not UTF-8") from None


def _describe(entry: EnvironmentEntry) -> str:
    settings = "".join(
        f"\n{name} = {param.default} ({param.low} … {param.high}): {param.about}"
        for name, param in entry.settings.items()
    )
    return entry.about + settings


def _describe_levels(levels: Sequence[int]) -> str:
    """Ranges of levels: `1 … 8, 1001 … 1004`."""
    starts = [0, *(i for i, (a, b) in enumerate(pairwise(levels), 1) if b != a + 1), len(levels)]
    runs = [levels[first:end] for first, end in pairwise(starts)]
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]} … {r[-1]}" for r in runs)
