"""Writes what specification.md has from the code: records, labels, reasons, names in stores.

python docs/specification.py          # rewrites them
python docs/specification.py --check  # exit 1 if they differ
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from page_parts import fill, find_remarks, write_or_check

from assay.artifacts.store_objects import (
    make_answers_name,
    make_checkpoint_name,
    make_child_name,
    make_delta_name,
    make_merge_name,
    make_mirror_name,
    make_outer_name,
    make_parameters_name,
    make_problems_name,
    make_piece_name,
    make_step_name,
    make_tensor_name,
)
from assay.judge.pack import PackedPart, PackedRefusal
from assay.judge.pack import PackedSubmission
from assay.neurons.preflight.checks import PROBE
from assay.inference.families import CHOSEN, FAMILIES, REFUSED, Family, Tensors, list_fields
from assay.inference.families.family import WORDS
from assay.inference.families.fields import COMMON, OLDER_ROPE, SIZES
from assay.inference.families.rotary import COMMON_TYPES, ROPE_LISTS, ROPE_NUMBERS, ROPE_TYPES
from assay.gate.rules import Rule
from assay.gate.tokenizer_file import ADDED_TOKEN, COMPONENTS, MODELS, REGEXES
from assay.gate.chat_template import ATTRIBUTES, FILTERS, FUNCTIONS, TESTS, UNICODE_READERS
from assay.gate.template_syntax import EXPRESSIONS, STATEMENTS
from assay.protocol.beacon import Beacon, BeaconChain
from assay.protocol.manifest import Calibration, Manifest
from assay.protocol.context import Committed, Member
from assay.protocol.submission import Header
from assay.protocol.commitment import make_object_name
from assay.protocol.encoding import (
    Choice,
    FixedBytes,
    Integer,
    Last,
    Many,
    Marked,
    Maybe,
    Prefixed,
    Record,
    get_fields,
)
from assay.protocol.hashing import Domain
from assay.protocol.gate import Course, GateCounts
from assay.protocol.manifest import FurtherFile, LevelSuccess, LevelWeight
from assay.protocol.parameters import (
    DEMO_TIMING,
    MAIN_TIMING,
    MAIN_WORK,
    STEERING,
    SMALL_MODEL_TESTS,
    EnvironmentChoice,
    Gate,
    Identity,
    ModelClass,
    Parameters,
    Prompts,
    PromptText,
    Rewards,
    Rounds,
    Setting,
    Shot,
    Start,
    Steering,
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
from assay.protocol.step import (
    DelayedRollout,
    ReturnRecord,
    StepLeftOut,
    StepRecord,
    StepReplay,
    StepSource,
)
from assay.protocol.trace import OperatorRecord, TraceRecord
from assay.protocol.submission import GroupSizes
from assay.rounds.outer_records import ChildRecord, MergedChild, MergeRecord
from assay.training.last_bits import CODE
from assay.protocol.window import WINDOW_SCHEDULE, Phase

PAGE = Path(__file__).with_name("specification.md")

#: Records whose fields are printed, each with the values that a network has, where there are such.
RECORDS: dict[type[Any], dict[str, Any]] = {
    Parameters: {},
    Start: {},
    Gate: {},
    Rounds: {},
    ModelClass: {},
    Identity: {},
    BeaconChain: {},
    EnvironmentChoice: {},
    Steering: {"presets": STEERING},
    Setting: {},
    Prompts: {},
    PromptText: {},
    Shot: {},
    Rewards: {"main network": Rewards()},
    Timing: {"main network": MAIN_TIMING, "demo": DEMO_TIMING},
    Work: {"main network": MAIN_WORK},
    Tests: {"small models": SMALL_MODEL_TESTS},
    Header: {},
    GroupSizes: {},
    Calibration: {},
    Manifest: {},
    Course: {},
    GateCounts: {},
    FurtherFile: {},
    LevelWeight: {},
    LevelSuccess: {},
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
    StepLeftOut: {},
    StepReplay: {},
    ReturnRecord: {},
    DelayedRollout: {},
    ChildRecord: {},
    MergeRecord: {},
    MergedChild: {},
    TraceRecord: {},
    OperatorRecord: {},
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
        "miner",
        "section 4; the root on chain",
    ),
    (
        _name(make_mirror_name(_NUMBER, _ONE), "<root>", number="<window>"),
        "validator",
        "below; the miner's root on chain",
    ),
    (
        _name(make_mirror_name(_NUMBER, _ONE, samples=True), "<root>", number="<window>"),
        "validator",
        "below; the miner's root on chain",
    ),
    (
        _name(make_window_record_name("<hotkey>", _NUMBER), number="<window>"),
        "validator",
        "section 10; the settlement's record, and the next window's record",
    ),
    (
        _name(make_settlement_record_name("<hotkey>", _NUMBER), number="<epoch block>"),
        "validator",
        "section 10; the digest on chain, or the next settlement's record",
    ),
    (
        _name(make_statistics_name("<hotkey>", _NUMBER), number="<window>"),
        "validator",
        "for people; nothing",
    ),
    (make_latest_name("<hotkey>"), "validator", "section 10; the digest that it names"),
    (_name(make_parameters_name(_ONE), "<digest>"), "owner", "section 0; the digest on chain"),
    (
        make_problems_name("<SHA-256>"),
        "owner",
        "a file of problems whose SHA-256 the environment's name contains; its own SHA-256",
    ),
    (
        _name(make_checkpoint_name(_ONE, "<file>"), "<digest>"),
        "owner, trainer",
        "section 7; the digest on chain",
    ),
    (
        _name(make_delta_name(_ONE, _OTHER), "<digest>", "<SHA-256>"),
        "trainer",
        "section 7; the SHA-256 of the tensor that the delta makes",
    ),
    (_name(make_tensor_name(_ONE), "<SHA-256>"), "owner, trainer", "section 7; its own SHA-256"),
    (
        _name(make_step_name(_ONE, "<file>"), "<digest>"),
        "trainer",
        "section 11; the checkpoint's manifest",
    ),
    (_name(make_answers_name(_ONE), "<SHA-256>"), "trainer", "section 7.1; its own SHA-256"),
    (_name(make_child_name(_ONE), "<digest>"), "trainer", "section 11.1; the digest on chain"),
    (_name(make_piece_name(_ONE), "<SHA-256>"), "trainer", "section 11.1; its own SHA-256"),
    (
        _name(make_merge_name(_ONE), "<digest>"),
        "trainer",
        "section 11.1; the checkpoint's manifest",
    ),
    (
        _name(make_outer_name(_ONE), "<root>"),
        "trainer",
        "section 11.1: an outer state, safetensors; the merge's record",
    ),
    (
        f"<hotkey>/{PROBE}",
        "all",
        "`assay doctor` writes it to test whether others can read it; nothing",
    ),
]

#: What each label's fields are, in order.
PREIMAGES = {
    Domain.CHALLENGE: "section 2",
    Domain.AUDIT: "section 2",
    Domain.PROBLEM: "section 3",
    Domain.BLOCK: "section 3",
    Domain.ROLLOUT: "section 3",
    Domain.PROJECTION: "challenge_seed",
    Domain.VALIDATOR_PROJECTION: "audit_seed, the validator's hotkey",
    Domain.POSITIONS: "audit_seed, hotkey, u32 index, u32 rollout",
    Domain.AUDIT_GROUPS: "audit_seed, hotkey",
    Domain.AUDIT_ROLLOUTS: "audit_seed, hotkey, u32 index",
    Domain.SAMPLE: "section 2",
    Domain.SAMPLED_ROLLOUTS: "sample_seed, hotkey",
    Domain.IDS: "the bytes of one rollout's ids in the file",
    Domain.PROOF: "the bytes of one rollout's proof in the file",
    Domain.GROUP_LEAF: "u32 index, the group's head",
    Domain.INDEX: "the bytes of the file's index",
    Domain.SUBMISSION: "the encoded header",
    Domain.NODE: "left, right",
    Domain.ROOT: "u32 count, context…, top of the tree",
    Domain.PARAMETERS: "the encoded parameters",
    Domain.PROMPTS: "section 3",
    Domain.TOOL: "environments.md",
    Domain.ENVIRONMENT: "environments.md",
    Domain.CHECKPOINT: "the encoded manifest",
    Domain.TENSOR_LEAF: "section 7",
    Domain.STRUCTURE: "“config.json”, the file's bytes",
    Domain.PLAIN_SHAPES: "section 7",
    Domain.TOKENIZER: "“tokenizer.json”, its bytes, “tokenizer_config.json”, its bytes",
    Domain.CHAT_TEMPLATE: "the template in UTF-8; no field if the tokenizer has no template",
    Domain.CALIBRATION: "the encoded calibration",
    Domain.CALIBRATION_SET: "the bytes of calibration_set.json",
    Domain.CALIBRATION_PROBLEM: "environment digest, u32 number",
    Domain.STEP: "the encoded step record",
    Domain.STEP_LEAF: "section 11",
    Domain.STEP_DELAY: "section 11.4",
    Domain.RETURN: "the encoded return record",
    Domain.CHILD: "the encoded child record",
    Domain.MERGE: "the encoded merge record",
    Domain.SHARE: "audit_seed, hotkey, u32 index",
    Domain.LINE: "parameters' digest, u64 end, the deadline block's hash, the trainer's hotkey",
    Domain.TRACE: "the encoded trace record",
    Domain.OPERATOR_LEAF: "the encoded operator record",
    Domain.WINDOW_RECORD: "the encoded window record",
    Domain.SETTLEMENT_RECORD: "the encoded settlement record",
    Domain.ENVIRONMENT_STREAM: "environments.md",
    Domain.ENVIRONMENT_PROOF: "environments.md",
    Domain.HELD_OUT: "section 11, and a trainer's own uses; no verdict depends on it",
    Domain.GATE: "section 7.1",
    Domain.GATE_PROBLEM: "section 7.1",
    Domain.GATE_CHECK: "section 7.1",
    Domain.TRAINER: "section 11: a trainer's own choices; no verdict depends on it",
    Domain.LOCAL_KEY: "the demo's own beacon key; no verdict depends on it",
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
        case Last(item):
            return f"{describe_codec(item)}, or nothing"
        case Marked(item):
            return f"marked {describe_codec(item)}"
        case Maybe(item):
            return f"maybe {describe_codec(item)}"
        case Choice():
            return "text ≤ 64"
    raise TypeError(f"no words for {codec!r}")


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
            costs = (
                "the validator's own fault: it abstains, or the miner loses the window (see below)"
            )
        else:
            costs = "the window"
        lines.append(f"| {reason.value} | {costs} |")
    return "\n".join(lines)


def make_objects() -> str:
    """Names in stores."""
    lines = ["| name | written by | content; the value that binds it |", "|---|---|---|"]
    return "\n".join(lines + [f"| `{name}` | {who} | {what} |" for name, who, what in OBJECTS])


def make_config() -> str:
    """Fields of a config.json."""
    lines = ["| every config.json | |", "|---|---|"]
    lines += [f"| `{name}` | size, 1 to {most} |" for name, most in SIZES.items()]
    lines += [f"| `{name}` | {_write_rule(rule)} |" for name, rule in COMMON.items()]
    lines += [
        f"| `{name}` | {_write_rule(rule)}; only where the family reads older fields |"
        for name, rule in OLDER_ROPE.items()
    ]
    for kind, numbers in ROPE_TYPES.items():
        needs = (*numbers, *ROPE_LISTS.get(kind, ()))
        said = f"needs {_quote(needs)}" if needs else "needs nothing"
        lines.append(f"| rotary type `{kind}` | {said} |")
    lines.append(f"| numbers of rope_parameters, all above 0 | {_quote(ROPE_NUMBERS)} |")
    return "\n".join(lines)


def make_groups() -> str:
    """Groups of tensors, by the words of their shapes."""
    lines = ["| group | tensors of a layer, or of the model |", "|---|---|"]
    groups: dict[str, Mapping[str, str]] = {}
    for family in FAMILIES.values():
        for group in (*family.layer, *family.outside):
            if groups.setdefault(group.about, group.shapes) != group.shapes:
                raise ValueError(f"two groups are named {group.about}")
    lines += [
        f"| {about} | {', '.join(f'`{name}` [{_write_shape(words)}]' for name, words in shapes.items())} |"
        for about, shapes in sorted(groups.items())
    ]
    words = ", ".join(f"{word} = {about}" for word, about in WORDS.items())
    return "\n".join([*lines, f"| words | {words} |"])


def _write_shape(words: str) -> str:
    return ", ".join(words.split()) or "a scalar"


def make_families() -> str:
    """One row a family: its fields, its groups, what a token sees, what follows the head."""
    titles = ("model_type", "fields", "left out: as", "groups", "a token sees", "logits", "rotary")
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for kind, family in FAMILIES.items():
        own = {name: rule for name, rule in list_fields(family).items() if name in family.fields}
        fields = ", ".join(
            f"`{name}`{' (needed)' if name in family.required else ''}: {_write_rule(rule)}"
            for name, rule in own.items()
        )
        fields += "".join(f", no `{name}`" for name in family.without)
        defaults = ", ".join(f"`{name}` {_write_json(v)}" for name, v in family.defaults.items())
        groups = "; ".join(_write_group(group) for group in (*family.layer, *family.outside))
        sizes = "".join(
            f"; {word} = `{names.replace(' · ', '` · `')}`" for word, names in family.sizes.items()
        )
        sizes += "; e = n of the table of mixtures" if family.experts is not None else ""
        cells = (fields, defaults, groups + sizes, family.mask.value, _write_finish(family))
        lines.append(f"| `{kind}` | {' | '.join(cells)} | {_write_rotation(family)} |")
    return "\n".join(lines)


def make_routers() -> str:
    """One row a mixture: what its routers make of logits."""
    titles = ("mixture", "n", "k", "s", "p", "divided by the sum", "further factor")
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for kind, family in FAMILIES.items():
        if (experts := family.experts) is not None:
            scores = ("sigmoid of the logit, plus `e_score_correction_bias`", "the sigmoid")
            plain = ("the logit", "softmax of the layer's logits")
            cells = (
                " or ".join(f"`{name}`" for name in experts.counts),
                f"`{CHOSEN}`",
                *(scores if experts.sigmoid else plain),
                f"if `{experts.normalised}`" if experts.normalised else "always",
                f"`{experts.scaling}`" if experts.scaling else "",
            )
            lines.append(f"| `{kind}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def make_refused() -> str:
    """Types that are refused, and why."""
    lines = ["| refused | what is missing |", "|---|---|"]
    return "\n".join(lines + [f"| `{kind}` | {why} |" for kind, why in sorted(REFUSED.items())])


def _write_group(group: Tensors) -> str:
    when = f" if {group.when}" if group.when else ""
    return group.about + when + (f" unless {group.unless}" if group.unless else "")


def _write_json(value: Any) -> str:
    return json.dumps(value)


def _write_finish(family: Family) -> str:
    if family.finish is None:
        return "the products"
    name = f"`{family.finish.field}`"
    return {
        "divide": f"the products / {name}",
        "multiply": f"the products · {name}",
        "cap": f"{name} · tanh(the products / {name})",
    }[family.finish.rule]


def _write_rotation(family: Family) -> str:
    rotation = family.rotation
    parts = [] if rotation.types == COMMON_TYPES else [_quote(rotation.types)]
    if rotation.numbers:
        parts.append(f"further numbers {_quote(rotation.numbers)}")
    if rotation.switches:
        parts.append(f"switches {_quote(rotation.switches)}")
    if rotation.needs:
        parts.append(f"needs {_quote(rotation.needs)}")
    if rotation.fraction:
        parts.append(f"`partial_rotary_factor`, left out: {rotation.fraction}")
    if rotation.sections:
        parts.append("`mrope_section`: three numbers whose sum is half of what is turned of a head")
    if rotation.by_layer:
        parts.append(f"an object for each of {_quote(rotation.by_layer)}")
    if not rotation.older:
        parts.append("no older fields")
    return "; ".join(parts) or "as every family"


def make_tokenizer() -> str:
    """Components of a tokenizer.json."""
    lines = ["| part of tokenizer.json | type | fields |", "|---|---|---|"]
    for part, kind in COMPONENTS.items():
        for name, fields in kind.types.items():
            lines.append(f"| {part} | `{name}` | {_write_fields(fields)} |")
        again = f"; {_quote(sorted(kind.repeated))} may occur again" if kind.repeated else ""
        lines.append(
            f"| {part} | `Sequence` | `{kind.parts}`: 1 to 8 of the above, each type once{again} |"
        )
    for name, fields in MODELS.items():
        entries = {"vocab": "see below"} | ({"merges": "see below"} if name == "BPE" else {})
        listed = ", ".join(f"`{field}`: {about}" for field, about in entries.items())
        lines.append(f"| model | `{name}` | {listed}, {_write_fields(fields)} |")
    lines.append(f"| an added token | | `id`: see below, {_write_fields(ADDED_TOKEN)} |")
    return "\n".join(lines)


def make_regexes() -> str:
    """Regular expressions that a `Split` may have."""
    return "\n".join(["```text", *REGEXES.values(), "```"])


def make_template() -> str:
    """What a chat template may have."""
    parts = {
        "statements": [node.__name__ for node in STATEMENTS],
        "expressions": [node.__name__ for node in EXPRESSIONS],
        "functions": FUNCTIONS,
        "filters": FILTERS,
        "tests": TESTS,
    }
    names = {str: "text", dict: "table", list: "list", tuple: "tuple"}
    for kind, attributes in ATTRIBUTES.items():
        parts[f"attributes of a {names.get(kind, 'loop')}"] = sorted(attributes)
    parts["of these for ASCII alone"] = sorted(UNICODE_READERS)
    lines = ["| a template may have | |", "|---|---|"]
    return "\n".join(lines + [f"| {what} | {_quote(names)} |" for what, names in parts.items()])


def _quote(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _write_rule(rule: Rule) -> str:
    return rule.about.replace("|", "\\|")


def _write_fields(fields: Mapping[str, Rule]) -> str:
    return ", ".join(
        f"`{name}`{'' if rule.required else ' (may be left out)'}: {_write_rule(rule)}"
        for name, rule in fields.items()
    )


def make_code() -> str:
    """The files that compute a step, by their folders."""
    folders: dict[str, list[str]] = {}
    for module in CODE:
        folder, _, name = module.replace(".", "/").rpartition("/")
        folders.setdefault(folder, []).append(f"`{name}.py`")
    lines = ["| folder | files |", "|---|---|"]
    lines += [f"| `{folder}` | {', '.join(names)} |" for folder, names in folders.items()]
    return "\n".join(lines)


def main() -> int:
    """Rewrites or checks; the exit code."""
    parts = {"schedule": make_schedule(), "labels": make_labels(), "reasons": make_reasons()}
    parts |= {"objects": make_objects(), "config": make_config(), "tokenizer": make_tokenizer()}
    parts |= {
        "groups": make_groups(),
        "families": make_families(),
        "routers": make_routers(),
        "refused": make_refused(),
    }
    parts |= {"regexes": make_regexes(), "template": make_template(), "code": make_code()}
    parts |= {of.__name__: make_record(of) for of in RECORDS}
    return write_or_check({PAGE: fill(PAGE.read_text(), parts, PAGE.name)})


if __name__ == "__main__":
    sys.exit(main())
