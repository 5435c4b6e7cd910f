"""Vectors of parameters that nobody may follow, and of their neighbours that are legal."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from subjects import PARAMETERS, digest

from assay.protocol.encoding import EncodingError, to_json
from assay.protocol.parameters import Parameters, find_parameters_fault

Json = Any
#: Field and value, several at once.
Edits = Sequence[tuple[str, Json]]

_START = (("start.predecessor", digest("predecessor").hex()), ("start.window", 8))
_ROUNDS = {
    "trainers": sorted(digest(f"trainer {n}").hex() for n in range(3)),
    "windows": 4,
    "staleness": 1,
    "child_offset": 0,
    "child_blocks": 4,
    "reveal_blocks": 4,
    "turn_blocks": 4,
    "rate": 700_000,
    "momentum": 900_000,
    "norm_bound": 1 << 20,
    "kept": 0,
    "chunk": 0,
    "bits": 0,
    "feedback": 0,
}
_GATE = {
    "rule": "not-worse",
    "problems": 256,
    "error_worse": 50_000,
    "error_better": 50_000,
    "checkpoints": 0,
    "environment": [],
}
_OTHER = to_json(PARAMETERS.environment)
#: Values of one field, legal ones and others.
_VALUES: dict[str, Sequence[Json]] = {
    "identity.version": (2, 3, 4),
    "identity.netuid": (65_535, 65_536, -1, True, 1.0, "1", None),
    "identity.burn_share": (0, 1_000_000, 1_000_001),
    "identity.trainer": ("00" * 32, "00" * 31, "AA" * 32, ""),
    "beacon.scheme": ("pedersen-bls-chained", "pedersen-bls-chaine", ""),
    "beacon.period_ms": (0, 1),
    "beacon.public_key": ("", "00" * 96, "00" * 97),
    "environment.name": ("", "x" * 128, "\u00e9" * 65),
    "environment.other": (1,),
    "environment.settings": (
        [],
        [{"name": "a", "value": 1}, {"name": "a", "value": 1}],
        [{"name": "b", "value": 1}, {"name": "a", "value": 1}],
        [{"name": "\uffee", "value": 1}, {"name": "\U0001f600", "value": -(1 << 63)}],
        [{"name": "units", "value": 15}],
        [{"name": "units", "value": 16}],
        [{"name": "x.units", "value": 16}],
        [{"name": "xunits", "value": 16}],
        [{"name": "x.tool_units", "value": 16}, {"name": "y.units", "value": 15}],
        [{"name": "x.tool_units", "value": 7}, {"name": "x.units", "value": 8}],
        [{"name": "x.tool_units", "value": 8}, {"name": "x.units", "value": 8}],
        [{"name": f"{n:03}", "value": n} for n in range(256)],
        [{"name": f"{n:03}", "value": n} for n in range(257)],
    ),
    "environment.prompts": ([], [{"part": "a", "texts": [], "shots": []}]),
    "rewards.correctness_weight": (0, 200_000, 200_001, 800_001),
    "rewards.satisfaction_floor": (999_999, 1_000_000),
    "rewards.length_penalty": (749_998, 749_999, 750_000, 1_000_001),
    "rewards.overlong_tokens": (0, 1),
    "steering.success_low": (950, 951),
    "steering.success_high": (1_000, 1_001, 49),
    "steering.weight_min": (0, 1, 1_000, 1_001),
    "steering.weight_max": (999, 1_000, 64_000, 64_001),
    "steering.weight_step": (0, 1_000, 1_001),
    "timing.window_blocks": (0, 11, 12),
    "timing.commit_offset": (0, 16, 17),
    "timing.audit_offset": (16, 19),
    "timing.sample_offset": (22, 25),
    "timing.mirror_end": (25, 29, 30),
    "timing.verdict_end": (29, 30),
    "timing.slot_ms": (0, 1),
    "timing.beacon_delay_ms": (5_999, 6_000),
    "timing.tempo": (0,),
    "timing.notice_windows": (0, 1),
    "work.group_size": (0, 1),
    "work.audited_rollouts": (11, 12),
    "work.valued_groups": (0, 16, 17),
    "work.sampled_rollouts": (0,),
    "work.group_cap": (0, 16_384, 16_385),
    "work.max_tokens": (0, 1, 524_288, 524_289),
    "work.temperature": (0, 1),
    "work.prompt_share": (1_000_000, 1_000_001),
    "work.position_share": (1 << 50, 1 << 63),
    "work.turns": (0, 1, 2),
    **{f"work.{name}": (1,) for name in ("context", "reply_bytes", "paid_reply")},
    "tests.margin_levels": ([], [0] * 8, [0] * 9, [0] * 17),
    "tests.alpha_inverse": (0, 1),
    "tests.rate_floor": (0, 1),
    "tests.scale_min": (0, 1),
    "tests.mean_stakes": ([], [0], [999_999], [1_000_000]),
    "tests.level_stakes": ([], [1] * 8, [1] * 9),
    "tests.rate_inflation": (255, 256),
    "tests.router_ramp": (1,),
    "gate.rule": ("none", "not-worse", "better", "worse", "None", "", None),
    **{
        f"gate.{name}": (0, 4)
        for name in ("problems", "error_worse", "error_better", "checkpoints")
    },
    "gate.environment": ([_OTHER], [_OTHER] * 2),
    "gate": ({}, None),
    "start.window": (1,),
    "start.number": (1,),
    "start.checkpoint": ("01" * 32,),
    "other": ({},),
    "rounds": (_ROUNDS, None, {}),
}
_SEVERAL: Sequence[Edits] = (
    (("rewards.correctness_weight", 0), ("rewards.quality_weight", 0)),
    (
        ("rewards.correctness_weight", 0),
        ("rewards.quality_weight", 0),
        ("rewards.format_weight", 1),
    ),
    *(
        (
            ("rewards.correctness_weight", 0),
            ("rewards.quality_weight", 0),
            ("rewards.satisfaction_weight", weight),
            ("rewards.length_penalty", penalty),
        )
        for weight, penalty in ((1, 0), (1_000_000, 0), (1_000_000, 1), (1_000_000, 1_000_000))
    ),
    *(
        (("rewards.overlong_tokens", tokens), ("rewards.overlong_penalty", penalty))
        for tokens, penalty in ((48, 1), (49, 1), (1, 0), (48, 749_999), (48, 750_000))
    ),
    *(
        (("rewards.quality_weight", 0), ("rewards.length_penalty", penalty))
        for penalty in (999_998, 999_999, 1_000_000)
    ),
    (("tests.router_ramp", 1), ("tests.experts_max", 1)),
    *(
        (("work.turns", 2), ("work.context", context), ("work.reply_bytes", reply))
        for context, reply in (
            (47, 1),
            (48, 0),
            (48, 1),
            (48, 1 << 16),
            (48, (1 << 16) + 1),
            ((1 << 24) // 8, 1),
            ((1 << 24) // 8 + 1, 1),
        )
    ),
    (("tests.margin_levels", [0]), ("tests.rate_limits", [0])),
    (("timing.window_blocks", 65_535), ("work.max_tokens", 524_288)),
    _START,
    (_START[0],),
    (*_START, ("start.checkpoint", "01" * 32), ("start.number", 9)),
    *(
        (("gate", _GATE | changes),)
        for changes in (
            {},
            {"rule": "none"},
            *({"problems": n} for n in (0, 4, 6, 255, 1_024, 1_028, 1 << 32)),
            *({"error_worse": n} for n in (0, 1, 999_999, 1_000_000)),
            *({"error_better": n} for n in (0, 1, 999_999, 1_000_000)),
            *({"checkpoints": n} for n in (1, 1_000)),
            *({"rule": "better", "checkpoints": n} for n in (0, 1, 1_000, 1_001)),
            *({"environment": [_OTHER] * n} for n in (1, 2)),
            {"environment": [_OTHER | {"name": "x" * 129}]},
        )
    ),
    (*_START, ("rounds", _ROUNDS), ("gate", _GATE)),
    *(
        (("environment.settings", [{"name": name, "value": 1}]), *more)
        for name in ("propose", "proposes")
        for more in ((), (*_START, ("rounds", _ROUNDS)))
    ),
    *(
        (*_START, ("rounds", _ROUNDS | changes))
        for changes in (
            {},
            {"trainers": []},
            {"trainers": _ROUNDS["trainers"][::-1]},
            {"trainers": _ROUNDS["trainers"][:1] * 2},
            {"windows": 0},
            {"windows": 3},
            *({name: 0} for name in ("rate", "norm_bound", "child_blocks", "reveal_blocks")),
            *({"turn_blocks": n} for n in (0, 13, 14)),
            *({"momentum": n} for n in (999_999, 1_000_000)),
            *({"norm_bound": n} for n in (1 << 30, (1 << 30) + 1)),
            *({"bits": n} for n in (1, 2, 16)),
            *({"bits": 16, "feedback": n} for n in (1, 1_000_000, 1_000_001)),
            {"feedback": 1},
            {"chunk": 1},
            *({"kept": 4, "chunk": n, "bits": 2} for n in (3, 4, 1 << 20, (1 << 20) + 1)),
            *({"kept": 4, "chunk": 4, "bits": n, "feedback": 5} for n in (0, 1, 8, 9, 16)),
        )
    ),
)


def make_refusals() -> Json:
    """Edits of the parameters as [[section, field], value], and whether they are refused then."""
    cases = [*(((field, v),) for field, values in _VALUES.items() for v in values), *_SEVERAL]
    rows = [
        {
            "edits": [[field.split("."), value] for field, value in edits],
            "refused": is_refused(edit(PARAMETERS.to_json(), edits)),
        }
        for edits in cases
    ]
    assert 0.3 < sum(row["refused"] for row in rows) / len(rows) < 0.8
    return rows


def edit(whole: Json, edits: Edits) -> Json:
    """A copy with other values of fields."""
    changed = deepcopy(whole)
    for field, value in edits:
        *sections, name = field.split(".")
        place = changed
        for section in sections:
            place = place[section]
        place[name] = value
    return changed


def is_refused(document: Json) -> bool:
    """Whether nobody follows these parameters."""
    try:
        return find_parameters_fault(Parameters.from_json(document)) is not None
    except EncodingError:
        return True
