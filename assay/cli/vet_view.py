"""What `assay env vet` prints: checks of a file, or what answers without thought earn in an
environment and attacks on its worlds."""

from collections.abc import Iterable
from dataclasses import asdict
from shlex import quote

from rich.console import Group
from rich.table import Table
from rich.text import Text

from assay.cli.console import make_table, print_result
from assay.environments.foreign.vet_report import SHARE, VetCheck
from assay.environments.thoughtless import ThoughtlessAnswer
from assay.network.text import make_printable
from assay.protocol.parameters import MILLION
from assay.protocol.reward_terms import say_share
from assay.subnet.vetting import VettedEnvironment, VettedFile

#: Characters of an answer that are shown.
_SHOWN = 60
#: Titles of checks, of those whose name is not the field's.
_TITLES = {"hostile answers": "adversarial answers", "hostile turns": "adversarial turns"}


def show_vetted_file(vetted: VettedFile, as_json: bool, family: str | None = None) -> None:
    """Show the checks of a file, what was packed, and the command that makes a network of it.
    `family`: that the file is to be read as; None: the one that it shows."""
    file, report = vetted.file, vetted.report
    document: dict[str, object] = {
        "name": report.subject,
        "file": None if file is None else str(file),
        "fit": report.is_fit,
        "checks": [asdict(check) for check in report.checks],
    }
    verdict = (
        "fit for a subnet"
        if report.is_fit
        else f"not fit for a subnet: {', '.join(map(_name_check, report.failed))}"
    )
    place = "no file was written or replaced" if file is None else file
    if report.is_fit and file is not None:
        read_as = "" if family is None else f" --as {family}"
        document["next"] = f"assay recipe new {quote(str(file))}{read_as} --model MODEL"
        verdict += f"\nNext: {document['next']}"
    lines = Text(f"{report.subject}\n  {place}\n  {verdict}")
    print_result(document, as_json, Group(_make_checks_table(report.checks), lines))


def show_vetted_environment(vetted: VettedEnvironment, typed: str, as_json: bool) -> None:
    """Show the best answer without thought of each level, the floor that keeps pay from it, and
    attacks on worlds. `typed`: the environment as a person has named it."""
    environment, floor, checks = vetted.environment, vetted.floor, vetted.checks
    document: dict[str, object] = {
        "name": environment.name,
        "rated": sorted(environment.rated),
        "fit": vetted.is_fit,
        "satisfaction_floor": floor,
        "levels": [asdict(one) for one in vetted.answers],
        "checks": [asdict(check) for check in checks],
    }
    table = make_table("level", "right", "parts met", "read", "best reward-hacking baseline")
    for one in vetted.answers:
        table.add_row(*_describe(one))
    failed = [_name_check(check.name) for check in checks if not check.passed]
    verdicts = Text("\n".join(_list_verdicts(vetted.too_right, floor, failed)))
    if vetted.is_fit:
        document["next"] = f"assay recipe new {quote(typed)} --model MODEL"
        verdicts.append(f"\nNext: {document['next']}")
    tables = [table, _make_checks_table(checks)] if checks else [table]
    print_result(document, as_json, Group(*tables, verdicts))


def _make_checks_table(checks: Iterable[VetCheck]) -> Table:
    """A row for each check: its name, whether it passed, and what was found."""
    table = make_table("looked at", "", "found")
    for check in checks:
        mark = Text("✓", "green") if check.passed else Text("✗", "red")
        detail = make_printable(check.detail).replace("\n", "?")
        table.add_row(_name_check(check.name), mark, Text(detail))
    return table


def _name_check(name: str) -> str:
    return _TITLES.get(name, name)


def _describe(one: ThoughtlessAnswer) -> list[Text]:
    sample = make_printable(one.sample).replace("\n", "⏎")
    shown = sample if len(sample) <= _SHOWN else f"{sample[:_SHOWN]}…"
    shares = (one.correctness, one.satisfaction, one.format)
    return [
        Text(str(one.level)),
        *(Text(f"{share / 10_000:.1f} %") for share in shares),
        Text(shown),
    ]


def _list_verdicts(too_right: list[int], floor: int, failed: list[str]) -> list[str]:
    lines = []
    if failed:
        lines.append(f"not fit for a subnet: its multi-turn environment fails {', '.join(failed)}")
    if too_right:
        lines.append(
            f"not fit for a subnet: such an answer is right in more than one of {SHARE} "
            f"problems at levels {', '.join(map(str, too_right))}"
        )
    if floor:
        advice = (
            f"where parts pay, satisfaction_floor = {floor} leaves such an answer nothing in nine "
            f"of ten problems: it meets up to {say_share(floor)} of the parts"
        )
        full = "do not pay for parts here: such an answer meets all of them"
        lines.append(advice if floor < MILLION else full)
    return lines or ["reward-hacking baselines earn next to nothing"]
