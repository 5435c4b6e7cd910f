"""`assay env vet NAME`: what answers without thought earn in an environment, and attacks on its
worlds."""

from dataclasses import asdict

from rich.console import Group
from rich.text import Text

from assay.cli.console import make_printable, make_table, print_result
from assay.cli.exits import FINDING, OK
from assay.cli.vet_checks import make_checks_table
from assay.environments.foreign.vet_report import SHARE, VetCheck
from assay.environments.own_worlds import attack_own_worlds, list_worlds
from assay.environments.thoughtless import (
    PROBLEMS,
    ThoughtlessAnswer,
    choose_levels,
    measure_thoughtless,
)
from assay.neurons.program.logs import log_lines, make_report
from assay.protocol.parameters import MILLION
from assay.protocol.reward_terms import say_share
from assay.settings.loading import ConfigError, open_named_environment
from assay.subnet.waiting import telling

#: Characters of an answer that are shown.
_SHOWN = 60


def run_env_vet_named(name: str, as_json: bool, quiet: bool) -> int:
    """Print the best answer without thought of each level, the floor that keeps pay from it, and
    attacks on worlds. Return FINDING if one is right too often or succeeds."""
    try:
        environment = open_named_environment(name)
    except ConfigError as error:
        known = ":" in name or "," in name
        fault = str(error) if known else "nor an environment: see `assay env list`"
        raise ConfigError(f"{name}: there is no such file or folder; {fault}") from None
    with log_lines(as_json, quiet):
        levels = choose_levels(environment)
        doing = f"trying answers without thought in {PROBLEMS} problems at {len(levels)} levels"
        with telling(make_report("answers_tried"), doing):
            found = measure_thoughtless(environment, levels)
        attacked: list[VetCheck] = []
        for worlds in list_worlds(environment):
            with telling(make_report("worlds_attacked"), f"attacking {worlds.name}"):
                attacked += attack_own_worlds(worlds)
    rated = "satisfaction" in environment.rated
    floor = max(one.floor for one in found) if rated else 0
    too_right = [one.level for one in found if one.is_too_right]
    document = {
        "name": environment.name,
        "rated": sorted(environment.rated),
        "fit": not too_right and all(check.passed for check in attacked),
        "satisfaction_floor": floor,
        "levels": [asdict(one) for one in found],
        "checks": [asdict(check) for check in attacked],
    }
    table = make_table("level", "right", "parts met", "read", "the best answer without thought")
    for one in found:
        table.add_row(*_describe(one))
    failed = [check.name for check in attacked if not check.passed]
    verdicts = Text("\n".join(_list_verdicts(too_right, floor, failed)))
    tables = [table, make_checks_table(attacked)] if attacked else [table]
    print_result(document, as_json, Group(*tables, verdicts))
    return FINDING if too_right or failed else OK


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
        lines.append(f"not fit for a subnet: its worlds fail {', '.join(failed)}")
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
    return lines or ["answers without thought earn next to nothing"]
