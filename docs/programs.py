"""Writes what pages about running programs have from the code: settings.md, and the tables of
status.md, metrics.md, validator.md, owner.md and rounds.md.

python docs/programs.py          # rewrites them
python docs/programs.py --check  # exit 1 if they differ
"""

import inspect
import re
import sys
from collections.abc import Mapping
from enum import Enum
from operator import attrgetter
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from page_parts import fill, find_remarks, write_or_check

from assay.artifacts.status.demo import DemoStatus
from assay.artifacts.status.miner import (
    AtWorkStatus,
    CommitmentStatus,
    DraftingStatus,
    EngineStatus,
    MinedFileStatus,
    MinedGroupsStatus,
    MinedStatus,
    MinerStatus,
    OwnVerdictStatus,
    PaidWeightStatus,
    PaymentStatus,
    SpeedStatus,
    UploadStatus,
)
from assay.artifacts.status.program import (
    BeaconStatus,
    CheckpointStatus,
    CountdownStatus,
    FetchingStatus,
    ProgramStatus,
    RelayStatus,
    WorkerStatus,
)
from assay.artifacts.status.trainer import (
    CourseStatus,
    FiguresStatus,
    GateStatus,
    GroupsStatus,
    HeldOutStatus,
    PaceStatus,
    PoolStatus,
    ReturnStatus,
    ScheduleStatus,
    StaleAgeStatus,
    StatsStatus,
    StepStatus,
    TrainerStatus,
)
from assay.artifacts.status.validator import (
    LedgerEntryStatus,
    PostStatus,
    RecordStatus,
    RoundStatus,
    SettlementStatus,
    ValidatorStatus,
    VerdictStatus,
    WindowStatus,
)
from assay.audit.public_status import (
    PublicRoundStatus,
    PublicStatus,
    PublicVerdictStatus,
    PublicWindowStatus,
)
from assay.neurons.program.metric import Metric, get_served_name
from assay.neurons.program.metrics import COMMON, OWN
from assay.neurons.trainer.stages import STAGE_TASKS, TRAINER_STAGES, TrainerEvent
from assay.rounds.course import ROUND_COURSE, RoundEvent
from assay.session.chain_delivery import DELIVERY, DeliveryEvent
from assay.network.toml_settings import list_tables
from assay.settings.loading import list_settings
from assay.settings.sections import Settings
from assay.training.figures import GroupFigures, TokenFigures
from assay.training.watch import BEGINNING, NEWEST, RULES

SETTINGS = Path(__file__).with_name("settings.md")
STATUS = Path(__file__).with_name("status.md")
METRICS = Path(__file__).with_name("metrics.md")
VALIDATOR = Path(__file__).with_name("validator.md")
OWNER = Path(__file__).with_name("owner.md")
ROUNDS = Path(__file__).with_name("rounds.md")

STATUSES = (
    ProgramStatus,
    CountdownStatus,
    CheckpointStatus,
    FetchingStatus,
    BeaconStatus,
    RelayStatus,
    ValidatorStatus,
    WindowStatus,
    RoundStatus,
    VerdictStatus,
    SettlementStatus,
    RecordStatus,
    PostStatus,
    LedgerEntryStatus,
    WorkerStatus,
    MinerStatus,
    AtWorkStatus,
    DraftingStatus,
    SpeedStatus,
    EngineStatus,
    UploadStatus,
    MinedStatus,
    MinedGroupsStatus,
    MinedFileStatus,
    CommitmentStatus,
    OwnVerdictStatus,
    PaymentStatus,
    PaidWeightStatus,
    TrainerStatus,
    StepStatus,
    CourseStatus,
    GateStatus,
    ReturnStatus,
    PoolStatus,
    ScheduleStatus,
    FiguresStatus,
    GroupsStatus,
    StatsStatus,
    StaleAgeStatus,
    HeldOutStatus,
    PaceStatus,
    DemoStatus,
    PublicStatus,
    PublicWindowStatus,
    PublicRoundStatus,
    PublicVerdictStatus,
)


def make_settings() -> str:
    """All of settings.md."""
    lines = [
        "# Settings",
        "",
        "Settings come from a TOML file that you name with `--config`, then from `ASSAY_SECTION__NAME` variables, then from",
        "flags. A later source overrides an earlier one. Lists are written as TOML in the file and as JSON in a variable. An",
        "unknown name is an error. A default in plain words says what happens without a value.",
    ]
    for section, fields in list_settings().items():
        lines += ["", f"## [{section}]", "", describe_section(section), ""]
        lines += ["| name | default | what |", "|---|---|---|"]
        for name, field in fields.items():
            text, _, unset = re.sub("; [Nn]one: ", "\0", f"{field.description}").partition("\0")
            default = field.default
            shown = (
                unset.replace("<", "&lt;") if default is None or default == () else f"`{default}`"
            )
            lines.append(f"| `{name}` | {shown} | {text} |")
        for name, field in fields.items():
            lines += make_tables(f"{section}.{name}", list_tables(field))
    return "\n".join(lines) + "\n"


def make_tables(name: str, tables: Mapping[str, type[BaseModel]]) -> list[str]:
    """The settings of each of the tables that a setting may be; none of another setting."""
    if not tables:
        return []
    lines = ["", f"### [{name}]", "", "| `type` | name | default | what |", "|---|---|---|---|"]
    for kind, table in tables.items():
        for bound, field in table.model_fields.items():
            if bound != "type":
                lines.append(f"| `{kind}` | `{bound}` | `{field.default}` | {field.description} |")
    return lines


def describe_section(section: str) -> str:
    """What its class says of it."""
    said = inspect.getdoc(Settings.model_fields[section].annotation) or ""
    text = " ".join(said.split()).partition(": ")[2]
    return text[:1].upper() + text[1:]


def make_status(of: type[Any]) -> str:
    """One shape of status.json: its fields, their JSON types, what they are."""
    remarks, lines = find_remarks(of), [f"## {name_status(of)}", "", of.__doc__ or "", ""]
    lines += ["| field | JSON | what |", "|---|---|---|"]
    for name, kind in list_own_fields(of).items():
        shown = describe_type(kind).replace("|", "\\|")
        lines.append(f"| `{name}` | {shown} | {remarks.get(name, '')} |")
    return "\n".join(lines)


def list_own_fields(of: type[Any]) -> dict[str, Any]:
    """Field → type, without those of the programs' statuses that it extends."""
    fields = get_type_hints(of)
    for base in map(get_type_hints, (ProgramStatus, ValidatorStatus)):
        if base.keys() < get_type_hints(of).keys():
            fields = {name: kind for name, kind in fields.items() if name not in base}
    return fields


def name_status(of: type[Any]) -> str:
    """WindowStatus → window."""
    return of.__name__.removesuffix("Status").lower()


def describe_type(kind: Any) -> str:
    """A field's type as JSON has it."""
    if kind in (str, int, float, bool, Any):
        return {str: "text", int: "integer", float: "number", bool: "boolean"}.get(kind, "any")
    if kind is type(None):
        return "null"
    if get_origin(kind) is UnionType:
        return " or ".join(describe_type(part) for part in get_args(kind))
    if get_origin(kind) is list:
        return f"list of {describe_type(get_args(kind)[0])}"
    if get_origin(kind) is dict:
        return f"object of {describe_type(get_args(kind)[1])}"
    if kind not in STATUSES:
        return "object of any"  # whose fields are not promised
    return f"[{name_status(kind)}](#{name_status(kind)})"


def make_metrics(rows: tuple[Metric, ...]) -> str:
    """Metrics as they are served."""
    lines = ["| metric | type | label | what |", "|---|---|---|---|"]
    for row in rows:
        labels = ", ".join(f"`{label}`" for label in row.labels)
        lines.append(f"| `{get_served_name(row)}` | {row.kind.value} | {labels} | {row.help} |")
    return "\n".join(lines)


def make_transitions(table: Mapping[Any, Mapping[Any, Any]], events: type[Enum], name: Any) -> str:
    """For each event the state that follows each state; empty: it cannot happen."""
    states = [state for state, row in table.items() if row]
    lines = ["| event | " + " | ".join(f"`{name(state)}`" for state in states) + " |"]
    lines.append("|---" * (len(states) + 1) + "|")
    for event in events:
        found = [table[state].get(event) for state in states]
        lines.append(
            f"| {event} | " + " | ".join(f"`{name(s)}`" if s else "" for s in found) + " |"
        )
    return "\n".join(lines)


def make_stages() -> str:
    """STAGE_TASKS."""
    lines = ["| stage | what the trainer does there |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{stage}` | {task} |" for stage, task in STAGE_TASKS.items())])


def make_rules() -> str:
    """The rules by which a course is judged, in the order of naming."""
    lines = ["| rule | the course | if | in | what helps |", "|---|---|---|---|---|"]
    for rule in RULES:
        side = "above" if rule.highest else "below"
        windows = f"{rule.windows} of the newest {NEWEST} windows"
        lines.append(
            f"| `{rule.name}` | {rule.state.value} | {rule.figure}: {side} {rule.threshold:g} | "
            f"{windows} | {rule.help} |"
        )
    return "\n".join([*lines, "", f"The beginning is the median of the first {BEGINNING} windows."])


def make_figures() -> str:
    """The figures of a window's groups, and of a step's tokens."""
    lines = ["| figure | what |", "|---|---|"]
    for of in (GroupFigures, TokenFigures):
        for names, text in list_attributes(of):
            lines.append(f"| {names} | {text} |")
    return "\n".join(lines)


def list_attributes(of: type[Any]) -> list[tuple[str, str]]:
    """The entries under `Attributes`, some of which are of several fields."""
    _, _, attributes = (inspect.getdoc(of) or "").partition("Attributes:\n")
    found = re.findall(r"^ {4}([\w, ]+): (.+(?:\n {8}.+)*)", attributes, re.M)
    return [
        (", ".join(f"`{name}`" for name in names.split(", ")), " ".join(text.split()))
        for names, text in found
    ]


def main() -> int:
    """Rewrites or checks; the exit code."""
    figures = {"every program": make_metrics(COMMON)}
    figures |= {program: make_metrics(rows) for program, rows in OWN.items()}
    pages = {
        STATUS: {"shapes": "\n\n".join(make_status(of) for of in STATUSES)},
        METRICS: figures,
        VALIDATOR: {"delivery": make_transitions(DELIVERY, DeliveryEvent, str)},
        ROUNDS: {"course": make_transitions(ROUND_COURSE, RoundEvent, attrgetter("name"))},
        OWNER: {
            "trainer stages": make_stages(),
            "trainer events": make_transitions(TRAINER_STAGES, TrainerEvent, str),
            "course rules": make_rules(),
            "course figures": make_figures(),
        },
    }
    new = {page: fill(page.read_text(), parts, page.name) for page, parts in pages.items()}
    return write_or_check(new | {SETTINGS: make_settings()})


if __name__ == "__main__":
    sys.exit(main())
