"""Writes what documents have from the code: settings.md, and the tables of other pages.

python docs/tables.py          # rewrites them
python docs/tables.py --check  # exit 1 if they differ
"""

import inspect
import re
import sys
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from page_parts import fill, write_or_check

from assay.environments import arithmetic, gsm, gym, math_file, mixture, sat
from assay.environments.gym_datasets import ALIKE, COUNTED, FORMS, LEVELS
from assay.environments.foreign import package_environment
from assay.environments.programs import code_file
from assay.environments.worlds import errands
from assay.inference.architecture import FIELDS, LAYER_TYPES, ROPE_NUMBERS, ROPE_TYPES, SIZES, SWITCHES
from assay.neurons.session.chain_delivery import DELIVERY, DeliveryEvent, DeliveryState
from assay.cli.preflight.checks import PROBE
from assay.cli.status import (
    PublicRoundStatus,
    PublicStatus,
    PublicVerdictStatus,
    PublicWindowStatus,
)
from assay.neurons.settings.loading import list_settings
from assay.artifacts.store_objects import make_step_name
from assay.neurons.program.metrics import COMMON, OWN, Metric, get_served_name
from assay.artifacts.submissions.submission_pack import PackedPart, PackedRefusal, PackedSubmission
from assay.artifacts.store_objects import (
    make_delta_name,
    make_tensor_name,
)
from assay.artifacts.store_objects import make_mirror_name
from assay.artifacts.store_objects import (
    make_checkpoint_name,
    make_parameters_name,
)
from assay.neurons.program.program_status import (
    BeaconStatus,
    CheckpointStatus,
    CountdownStatus,
    DemoStatus,
    DraftingStatus,
    EngineStatus,
    FetchingStatus,
    MinerStatus,
    PaceStatus,
    ProgramStatus,
    RelayStatus,
    TrainerStatus,
    UploadStatus,
    WorkerStatus,
)
from assay.neurons.validator.record_book import RecordStatus
from assay.neurons.validator.validator_status import (
    RoundStatus,
    SettlementStatus,
    ValidatorStatus,
    VerdictStatus,
    WindowStatus,
)
from assay.protocol import Beacon, BeaconChain, Calibration, Committed, Header, Manifest, Member
from assay.protocol.commitment import make_object_name
from assay.protocol.encoding import (
    Choice,
    FixedBytes,
    Integer,
    Many,
    Maybe,
    Prefixed,
    Record,
    get_fields,
)
from assay.protocol.hashing import Domain
from assay.protocol.parameters import (
    DEMO_TIMING,
    MAIN_TIMING,
    MAIN_WORK,
    SMALL_MODEL_TESTS,
    EnvironmentChoice,
    Identity,
    Parameters,
    Setting,
    Start,
    Tests,
    Timing,
    Work,
)
from assay.protocol.reason import CHEATING, WITHHELD, Reason
from assay.protocol.record import (
    CoveredWindow,
    MemberRow,
    Moment,
    SeatScore,
    Seen,
    SettlementRecord,
    Weight,
    WindowRecord,
    make_latest_name,
    make_settlement_record_name,
    make_statistics_name,
    make_window_record_name,
)
from assay.protocol.step import StepRecord, StepSource, StepSuccess
from assay.protocol.submission import GroupSizes
from assay.protocol.window import WINDOW_SCHEDULE, Phase

SETTINGS = Path(__file__).with_name("settings.md")
STATUS = Path(__file__).with_name("status.md")
METRICS = Path(__file__).with_name("metrics.md")
ENVIRONMENTS = Path(__file__).with_name("environments.md")
VALIDATOR = Path(__file__).with_name("validator.md")
SPECIFICATION = Path(__file__).with_name("specification.md")

#: Records whose fields are printed, each with the values that a network has, where there are such.
RECORDS: dict[type[Any], dict[str, Any]] = {
    Parameters: {},
    Start: {},
    Identity: {},
    BeaconChain: {},
    EnvironmentChoice: {},
    Setting: {},
    Timing: {"main network": MAIN_TIMING, "demo": DEMO_TIMING},
    Work: {"main network": MAIN_WORK},
    Tests: {"small models": SMALL_MODEL_TESTS},
    Header: {},
    GroupSizes: {},
    Calibration: {},
    Manifest: {},
    Member: {},
    Committed: {},
    Beacon: {},
    WindowRecord: {},
    Moment: {},
    MemberRow: {},
    Seen: {},
    SettlementRecord: {},
    CoveredWindow: {},
    SeatScore: {},
    Weight: {},
    StepRecord: {},
    StepSource: {},
    StepSuccess: {},
    PackedSubmission: {},
    PackedPart: {},
    PackedRefusal: {},
}

_ONE, _OTHER, _NUMBER = b"\x01" * 32, b"\x02" * 32, 7_654_321


def _name(made: str, one: str = "", other: str = "", number: str = "") -> str:
    """A name with words in place of what it was made of."""
    found = made.replace(_ONE.hex(), one).replace(_OTHER.hex(), other)
    return found.replace(str(_NUMBER), number)


#: Every object of a store: its name, who writes it, what it is held against.
OBJECTS = [
    (
        _name(make_object_name("<hotkey>", _NUMBER), number="<window>"),
        "miner", "section 4; the root on chain",
    ),
    (
        _name(make_mirror_name(_NUMBER, _ONE), "<root>", number="<window>"),
        "validator", "below; the root on chain, which is the miner's",
    ),
    (
        _name(make_mirror_name(_NUMBER, _ONE, samples=True), "<root>", number="<window>"),
        "validator", "below; the root on chain, which is the miner's",
    ),
    (
        _name(make_window_record_name("<hotkey>", _NUMBER), number="<window>"),
        "validator", "section 10; the record after it",
    ),
    (
        _name(make_settlement_record_name("<hotkey>", _NUMBER), number="<epoch block>"),
        "validator", "section 10; the digest on chain, or the record after it",
    ),
    (
        _name(make_statistics_name("<hotkey>", _NUMBER), number="<window>"),
        "validator", "for people; nothing",
    ),
    (make_latest_name("<hotkey>"), "validator", "section 10; what it names has that digest"),
    (
        _name(make_parameters_name(_ONE), "<digest>"),
        "owner", "section 0; the digest on chain",
    ),
    (
        _name(make_checkpoint_name(_ONE, "<file>"), "<digest>"),
        "owner, trainer", "section 7; the digest on chain",
    ),
    (
        _name(make_delta_name(_ONE, _OTHER), "<digest>", "<SHA-256>"),
        "trainer", "section 7; the SHA-256 of the tensor that it makes",
    ),
    (_name(make_tensor_name(_ONE), "<SHA-256>"), "owner, trainer", "section 7; its own SHA-256"),
    (
        _name(make_step_name(_ONE, "<file>"), "<digest>"),
        "trainer", "section 11; the checkpoint's manifest",
    ),
    (f"<hotkey>/{PROBE}", "all", "written by `assay doctor` to see whether it can be read; nothing"),
]

#: What each label's fields are, in order.
PREIMAGES = {
    Domain.CHALLENGE: "section 2",
    Domain.AUDIT: "section 2",
    Domain.PROBLEM: "section 3",
    Domain.ROLLOUT: "section 3",
    Domain.PROJECTION: "challenge_seed",
    Domain.VALIDATOR_PROJECTION: "audit_seed, the validator's hotkey",
    Domain.POSITIONS: "audit_seed, hotkey, u32 index, u32 rollout",
    Domain.AUDIT_GROUPS: "audit_seed, hotkey",
    Domain.AUDIT_ROLLOUTS: "audit_seed, hotkey, u32 index",
    Domain.SAMPLE: "section 2",
    Domain.SAMPLED_ROLLOUTS: "sample_seed, hotkey",
    Domain.IDS: "a completion's ids as they lie in the file",
    Domain.PROOF: "a rollout's proof as it lies in the file",
    Domain.GROUP_LEAF: "u32 index, the group's head",
    Domain.INDEX: "the file's index",
    Domain.SUBMISSION: "the encoded header",
    Domain.NODE: "left, right",
    Domain.ROOT: "u32 count, context…, top of the tree",
    Domain.PARAMETERS: "the encoded parameters",
    Domain.ENVIRONMENT: "environments.md",
    Domain.CHECKPOINT: "the encoded manifest",
    Domain.TENSOR_LEAF: "section 7",
    Domain.STRUCTURE: "“config.json”, the file's bytes",
    Domain.TOKENIZER: "“tokenizer.json”, its bytes, “tokenizer_config.json”, its bytes",
    Domain.CHAT_TEMPLATE: "the template in UTF-8; no field where the tokenizer has none",
    Domain.CALIBRATION: "the encoded calibration",
    Domain.CALIBRATION_SET: "the bytes of calibration_set.json",
    Domain.CALIBRATION_PROBLEM: "environment digest, u32 number",
    Domain.STEP: "the encoded step record",
    Domain.STEP_LEAF: "section 11",
    Domain.WINDOW_RECORD: "the encoded window record",
    Domain.SETTLEMENT_RECORD: "the encoded settlement record",
    Domain.ENVIRONMENT_STREAM: "environments.md",
    Domain.HELD_OUT: "a trainer's own: environment digest, u32 number; enters no verdict",
    Domain.TRAINER: "a trainer's own choices: section 11; enters no verdict",
    Domain.LOCAL_KEY: "the demo's own beacon key; enters no verdict",
}


def describe_codec(codec: Any) -> str:
    """A field's encoding in a word or three."""
    match codec:
        case Integer(width, signed):
            return f"{'i' if signed else 'u'}{8 * width}"
        case FixedBytes(size):
            return f"{size} bytes"
        case Prefixed(limit, text):
            return f"{'text' if text else 'bytes'} ≤ {limit}"
        case Many(item, limit):
            return f"list ≤ {limit} of {describe_codec(item)}"
        case Record(of):
            return of.__name__
        case Maybe(item):
            return f"maybe {describe_codec(item)}"
        case Choice():
            return "text ≤ 64"
    raise TypeError(f"no words for {codec!r}")


def find_remarks(of: type[Any]) -> dict[str, str]:
    """Field → what the code says of it: a comment after or above it, or an entry under
    `Attributes`."""
    source = inspect.getsource(of)
    remarks = dict(re.findall(r"^    (\w+): .*?  # (.+)$", source, re.M))
    for above, name in re.findall(r"((?:^    #: .+\n)+)^    (\w+):", source, re.M):
        remarks[name] = " ".join(line.strip()[3:] for line in above.splitlines())
    _, _, attributes = (inspect.getdoc(of) or "").partition("Attributes:\n")
    for name, text in re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", attributes, re.M):
        remarks[name] = " ".join(text.split())
    return remarks


def make_record(of: type[Any]) -> str:
    """A record's fields in order, how each is written, its values, what it is."""
    values, remarks = RECORDS[of], find_remarks(of)
    titles = [f"{of.__name__}", "encoding", *values, "what"]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for name, codec in get_fields(of):
        cells = [name, describe_codec(codec)]
        for record in values.values():
            value = getattr(record, name)
            cells.append(", ".join(map(str, value)) if isinstance(value, tuple) else str(value))
        lines.append(f"| {' | '.join([*cells, remarks.get(name, '').rstrip('.')])} |")
    return "\n".join(lines)


def make_schedule() -> str:
    """WINDOW_SCHEDULE with the offsets of both networks."""
    lines = ["| moment | block, main network | demo | what it decides |", "|---|---|---|---|"]
    for phase, decides in WINDOW_SCHEDULE.items():
        offsets = []
        for timing in (MAIN_TIMING, DEMO_TIMING):
            offset = 0 if phase is Phase.CHALLENGE else getattr(timing, phase.value)
            sign = "−" if phase is Phase.CHECKPOINT else "+"
            offsets.append(f"{timing.window_blocks}w" + (f" {sign} {offset}" if offset else ""))
        lines.append(f"| {phase.name} | {offsets[0]} | {offsets[1]} | {decides} |")
    return "\n".join(lines)


def make_labels() -> str:
    """All domain labels with what is hashed under them."""
    lines = ["| label | fields |", "|---|---|"]
    lines += [f"| `{domain.value.decode()}` | {PREIMAGES[domain]} |" for domain in Domain]
    return "\n".join(lines)


def make_reasons() -> str:
    """Reasons in their order, and what each costs."""
    lines = ["| reason | costs |", "|---|---|"]
    for reason in Reason:
        if reason in CHEATING:
            costs = "the settlement"
        elif reason in WITHHELD:
            costs = "the window; twice, the settlement"
        elif reason is Reason.ACCEPTED:
            costs = "nothing: paid"
        elif reason is Reason.INTERNAL:
            costs = "our own fault: the validator abstains"
        else:
            costs = "the window"
        lines.append(f"| {reason.value} | {costs} |")
    return "\n".join(lines)


def make_settings() -> str:
    """All of settings.md."""
    lines = [
        "# Settings",
        "",
        "A TOML file named with `--config`, then `ASSAY_SECTION__NAME` variables, then flags; later wins.",
        "Lists are written as TOML and, in variables, as JSON. An unknown name is an error.",
    ]
    for section, fields in list_settings().items():
        lines += ["", f"## [{section}]", "", "| name | default | what |", "|---|---|---|"]
        for name, field in fields.items():
            default = field.default
            shown = "" if default is None or default == () else f"`{default}`"
            lines.append(f"| `{name}` | {shown} | {field.description} |")
    return "\n".join(lines) + "\n"


STATUSES = (
    ProgramStatus, CountdownStatus, CheckpointStatus, FetchingStatus, BeaconStatus, RelayStatus,
    ValidatorStatus, WindowStatus, RoundStatus, VerdictStatus, SettlementStatus, RecordStatus,
    WorkerStatus, MinerStatus, DraftingStatus, EngineStatus, UploadStatus, TrainerStatus, PaceStatus, DemoStatus,
    PublicStatus, PublicWindowStatus, PublicRoundStatus, PublicVerdictStatus,
)


def make_status(of: type[Any]) -> str:
    """One shape of status.json: its fields, their JSON types, what they are."""
    remarks, lines = find_remarks(of), [f"**{name_status(of)}.** {of.__doc__}", ""]
    lines += ["| field | JSON | what |", "|---|---|---|"]
    for name, kind in get_type_hints(of).items():
        shown = describe_type(kind).replace("|", "\\|")
        lines.append(f"| `{name}` | {shown} | {remarks.get(name, '')} |")
    return "\n".join(lines)


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
    return f"[{name_status(kind)}]"


def make_metrics(rows: tuple[Metric, ...]) -> str:
    """Metrics as they are served."""
    lines = ["| metric | type | label | what |", "|---|---|---|---|"]
    for row in rows:
        labels = ", ".join(f"`{label}`" for label in row.labels)
        lines.append(f"| `{get_served_name(row)}` | {row.kind.value} | {labels} | {row.help} |")
    return "\n".join(lines)


def make_objects() -> str:
    """Names in stores."""
    lines = ["| name | written by | what it is; what binds its bytes |", "|---|---|---|"]
    return "\n".join(lines + [f"| `{name}` | {who} | {what} |" for name, who, what in OBJECTS])


def make_delivery() -> str:
    """DELIVERY: for each event the state that follows each state; empty: it cannot happen."""
    states = [state for state in DeliveryState if DELIVERY[state]]
    lines = ["| what happens | " + " | ".join(f"`{state}`" for state in states) + " |"]
    lines.append("|---" * (len(states) + 1) + "|")
    for event in DeliveryEvent:
        found = [DELIVERY[state].get(event) for state in states]
        lines.append(f"| {event} | " + " | ".join(f"`{s}`" if s else "" for s in found) + " |")
    return "\n".join(lines)


def make_config() -> str:
    """Fields of a config.json."""
    listed = {
        "sizes, all of them": SIZES,
        "switches": SWITCHES,
        "`rope_type`": ROPE_TYPES,
        "numbers of rope_parameters": ROPE_NUMBERS,
        "layer types": LAYER_TYPES,
        "other fields": sorted(FIELDS - {*SIZES, *SWITCHES}),
    }
    lines = ["| config.json | |", "|---|---|"]
    lines += [f"| {what} | {', '.join(f'`{n}`' for n in names)} |" for what, names in listed.items()]
    return "\n".join(lines)


def make_gym_levels() -> str:
    """Legal levels of each dataset of reasoning-gym."""
    by_levels: dict[tuple[int, ...], list[str]] = {}
    for name, levels in LEVELS.items():
        by_levels.setdefault(levels, []).append(name)
    lines = ["| levels | datasets |", "|---|---|"]
    for levels, names in by_levels.items():
        whole = levels == tuple(range(1, len(levels) + 1))
        shown = f"1 … {len(levels)}" if whole and len(levels) > 1 else ", ".join(map(str, levels))
        lines.append(f"| {shown} | {', '.join(f'`{name}`' for name in names)} |")
    return "\n".join(lines)


#: What does not count → in words.
_ALIKE = {
    "case": "capitals, in an answer of ASCII alone",
    "zeros": "zeros at the end of a decimal, with its point where no other digit is left behind it",
    "blanks": "blanks",
    "ends": "blanks at the ends of lines",
}


def make_gym_alike() -> str:
    """What does not count in answers of datasets of reasoning-gym."""
    lines = ["| dataset | does not count |", "|---|---|"]
    for name, alike in ALIKE.items():
        lines.append(f"| `{name}` | {'; '.join(_ALIKE[what] for what in alike)} |")
    return "\n".join(lines)


def make_versions() -> str:
    """Versions of environments, as their digests name them."""
    modules = (arithmetic, code_file, errands, gsm, math_file, gym, mixture, package_environment, sat)
    shown = ", ".join(f"`{module.NAME}` {module.VERSION}" for module in modules)
    return f"- **Versions**: {shown}."


def make_gym_forms() -> str:
    """Forms of answers of datasets of reasoning-gym, and what an answer has no more of."""
    lines = ["| dataset | form | no more often |", "|---|---|---|"]
    for name, form in FORMS.items():
        shown = form.pattern.replace("|", "\\|")
        item = f"`{COUNTED[name]}`" if name in COUNTED else ""
        lines.append(f"| `{name}` | `{shown}` | {item} |")
    return "\n".join(lines)


def main() -> int:
    """Rewrites or checks; the exit code."""
    texts = {"schedule": make_schedule(), "labels": make_labels(), "reasons": make_reasons()}
    texts |= {"objects": make_objects(), "config": make_config()}
    texts |= {of.__name__: make_record(of) for of in RECORDS}
    shapes = "\n\n".join(make_status(of) for of in STATUSES)
    figures = {"every program": make_metrics(COMMON)}
    figures |= {program: make_metrics(rows) for program, rows in OWN.items()}
    delivery = {"delivery": make_delivery()}
    pages = {SPECIFICATION: texts, STATUS: {"shapes": shapes}, METRICS: figures}
    pages[VALIDATOR] = delivery
    pages[ENVIRONMENTS] = {
        "versions": make_versions(),
        "gym levels": make_gym_levels(),
        "gym alike": make_gym_alike(),
        "gym forms": make_gym_forms(),
    }
    new = {page: fill(page.read_text(), parts, page.name) for page, parts in pages.items()}
    new[SETTINGS] = make_settings()
    return write_or_check(new)


if __name__ == "__main__":
    sys.exit(main())
