"""Vectors of the parts around the judge: prompts by a template, deltas, mirrors' order, levels."""

import struct
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

from judging import make_manifest_for
from subjects import PARAMETERS, choose, digest

from assay.artifacts.checkpoints.tensor_delta import apply_delta
from assay.artifacts.submissions.mirror_list import order_by_stake
from assay.environments.base import ask, make_messages
from assay.environments.levels import Success, compute_candidates, compute_levels
from assay.environments.steering import compute_next_levels, find_levels_fault
from assay.gate.chat_template import ChatTemplate, TemplateFault
from assay.protocol.encoding import to_json
from assay.protocol.manifest import (
    HeldOutCounts,
    LevelSuccess,
    LevelWeight,
    LevelWeights,
    start_levels,
)
from assay.protocol.parameters import STEERING, WEIGHT_MAX, Start, Steering

Json = Any
#: Solved, asked, mixed.
Counts = tuple[int, int, int]

_CALLS = "{%% macro f(n) %%}{%% if n %%}{{ f(n - 1) }}{%% endif %%}{%% endmacro %%}{{ f(%d) }}x"
#: Templates, and what they are there to show.
TEMPLATES = [
    (
        "ChatML",
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content | trim }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    ),
    (
        "line breaks after blocks, and blanks before them, go",
        "  {% set name = 'x' %}\n{{ bos_token }}\n    {% for m in messages %}\n{{ m.content }}\n"
        "    {% endfor %}\n",
    ),
    ("what is none", "{{ tools is none }} {{ documents is none }} {{ date_string is defined }}"),
    ("JSON escapes nothing it need not", "{{ messages[0] | tojson }}"),
    ("JSON in another form", "{{ messages[0] | tojson(indent=1, sort_keys=true) }}"),
    ("what trainers mark", "a{% generation %}\n{{ eos_token }}{% endgeneration %}\nb"),
    ("the clock", "{{ strftime_now('%Y-%m-%d %H:%M') }}"),
    ("break", "{% for c in messages[0].content %}{{ c }}{% break %}{% endfor %}"),
    (
        "one that fails for this prompt alone",
        "{% if messages[0].content[0] == ' ' %}{{ raise_exception('no') }}{% endif %}x",
    ),
    ("calls within calls", _CALLS % 15),
    ("too many calls within calls", _CALLS % 16),
    ("as many steps as there may be", "{% for i in range(3998) %}{% endfor %}x"),
    ("a step too many", "{% for i in range(4000) %}{% endfor %}x"),
    ("a case beyond ASCII", "{{ messages[0].content | upper }}"),
    ("a list beyond ASCII", "{{ messages | map(attribute='content') | list }}"),
    ("a joined list beyond ASCII", "{{ messages | map(attribute='content') | join }}"),
    ("a character by its name", "{{ '\\N{LATIN SMALL LETTER A}' }}"),
    (
        "one that needs a text of role system",
        "{% if messages[0].role != 'system' %}{{ raise_exception('no') }}{% endif %}x",
    ),
    ("a default that nobody needs, and that fails", "{{ 'a' | default(nobody.name) }}"),
    ("one that always fails", "{{ raise_exception('no') }}"),
    ("chance is none", "{{ lipsum() }}"),
    ("a choice for a condition, without brackets", "{% if 1 if 1 else 0 %}x{% endif %}"),
    ("a test that a value follows", "{{ 1 is none if 1 else 2 }}"),
    ("what is safe is text", "{{ ('<' | safe) ~ (none | safe) }}{{ (1 | safe) + '\"' }}"),
    ("an address", "{{ messages[0].items }}"),
]

#: Several messages, and an argument of each type.
_CONVERSATION = make_messages(
    [("system", "Think."), ("user", "1 + 1?"), ("assistant", " 2"), ("user", "2 + é?\n")]
)
_ARGUMENTS = (("enable_thinking", False), ("level", -3), ("name", "é\n"))
_WITH_ARGUMENTS = (
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{{ name }}{{ level | default(0) + 1 }}{% if not enable_thinking %}<think></think>{% endif %}"
)


def make_chat_template() -> Json:
    prompt, tokens = " 7+15=?\n<é> ", {"bos_token": "<s>", "eos_token": "</s>"}
    return {
        "prompt": prompt,
        "special_tokens": tokens,
        "rendered": [
            {"about": about, "template": text, **_render(text, tokens, prompt)}
            for about, text in TEMPLATES
        ],
        "conversation": {
            "template": _WITH_ARGUMENTS,
            "messages": [{"role": one.role, "content": one.content} for one in _CONVERSATION],
            "arguments": dict(_ARGUMENTS),
            "text": ChatTemplate(_WITH_ARGUMENTS, tokens).render(_CONVERSATION, _ARGUMENTS),
        },
    }


def _render(source: str, tokens: dict[str, str], prompt: str) -> Json:
    """The text; null if the template fails for the prompt, and whether it is refused altogether."""
    try:
        template = ChatTemplate(source, tokens)
    except ValueError:
        return {"text": None, "refused": True}
    try:
        return {"text": template.render(ask(prompt).messages), "refused": False}
    except TemplateFault:
        return {"text": None, "refused": False}


def make_deltas() -> Json:
    """Tensors as little-endian u16; `parts` are the frames' contents."""
    ramp = [(i * 2_654_435_761 >> 7) & 0xFFFF for i in range(40)]
    cases = [
        ("nothing changes", [1, 2, 3], [1, 2, 3]),
        ("one up, one down", [5, 5, 5, 5], [5, 6, 4, 5]),
        ("around the end", [0, 0xFFFF], [0xFFFF, 0]),
        ("as far as it goes", [0, 0x8000, 0x7FFF], [0x8000, 0, 0x8000]),
        ("nine values, two bytes of bits", [7] * 9, [7] * 8 + [300]),
        ("many", ramp, [v + (i % 3 == 0) * (i - 20) & 0xFFFF for i, v in enumerate(ramp)]),
    ]
    return [_delta(*case) for case in cases]


def write_delta(
    before: Sequence[int], after: Sequence[int], width: int = 2
) -> tuple[bytes, list[bytes]]:
    """A delta of one block between patterns of `width` bytes, and what its frames hold."""
    changed = [a != b for a, b in zip(before, after, strict=True)]
    bits = "".join("1" if c else "0" for c in changed) + "0" * (-len(changed) % 8)
    mask = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    half, whole = 1 << (8 * width - 1), 1 << (8 * width)
    moves = [(b - a + half) % whole - half for a, b in zip(before, after, strict=True) if a != b]
    folded = [2 * d if d >= 0 else -2 * d - 1 for d in moves]
    planes = [bytes(z >> 8 * place & 0xFF for z in folded) for place in range(width)]
    frames = [_frame(part) for part in (mask, *planes)]
    lengths = struct.pack(f"<{1 + width}I", *map(len, frames))
    return lengths + b"".join(frames), [mask, *planes]


def _delta(about: str, before: Sequence[int], after: Sequence[int]) -> Json:
    delta, parts = write_delta(before, after)
    parent, child = (struct.pack(f"<{len(values)}H", *values) for values in (before, after))
    assert b"".join(apply_delta(len(child), BytesIO(parent).read, BytesIO(delta).read)) == child
    return {
        "about": about,
        "parent": parent.hex(),
        "child": child.hex(),
        "delta": delta.hex(),
        "parts": [part.hex() for part in parts],
    }


def _frame(data: bytes) -> bytes:
    """A zstd frame (RFC 8878) of one raw block: any version of a compressor would write another."""
    block = (len(data) << 3 | 1).to_bytes(3, "little")
    return bytes.fromhex("28b52ffd20") + bytes([len(data)]) + block + data


def make_mirrors() -> Json:
    root, reader = digest("root"), digest("reader")
    cases = [
        {digest(f"mirror {i}"): 10**15 for i in range(7)},
        {digest(f"mirror {i}"): 10 ** (3 * i) for i in range(6)},
        {digest("mirror 0"): 0, digest("mirror 1"): 1},
    ]
    return {
        "root": root.hex(),
        "reader": reader.hex(),
        "orders": [
            {
                "stakes": {hotkey.hex(): stake for hotkey, stake in stakes.items()},
                "order": [hotkey.hex() for hotkey in order_by_stake(root, reader, stakes)],
            }
            for stakes in cases
        ],
    }


def make_levels() -> Json:
    legal = list(range(1, 13))
    mixed = [1_001, 1_002, 1_003, 2_001, 2_002, 2_003]
    cases = [  # level → solved, asked, mixed
        (
            "each that teaches",
            [5, 6],
            legal,
            {4: (65, 100, 36), 5: (45, 100, 44), 6: (33, 100, 40)},
        ),
        ("just enough to come in", [5], legal, {5: (100, 200, 80), 6: (60, 200, 71)}),
        ("one less is not", [5], legal, {5: (100, 200, 80), 6: (60, 200, 70)}),
        ("just enough to stay", [5, 6], legal, {5: (150, 200, 60), 6: (90, 200, 80)}),
        ("one less goes", [5, 6], legal, {5: (150, 200, 59), 6: (90, 200, 80)}),
        (
            "half is solved and nothing is learned",
            [5, 6],
            legal,
            {5: (50, 100, 40), 6: (50, 100, 0)},
        ),
        ("23 say nothing of a level in force", [5, 6], legal, {5: (23, 23, 0), 6: (50, 100, 40)}),
        ("23 say nothing of another", [5], legal, {5: (50, 100, 40), 6: (12, 23, 12)}),
        ("24 do", [5], legal, {5: (24, 24, 0), 6: (12, 24, 12)}),
        ("none but one undecided", [5, 6], legal, {5: (9, 23, 9), 6: (100, 100, 0), 7: (0, 99, 9)}),
        (
            "three at most, the hardest",
            [5, 6],
            legal,
            {4: (50, 100, 49), 5: (50, 100, 38), 6: (50, 100, 50), 7: (50, 100, 40)},
        ),
        (
            "none teaches: tenths count, and equals are all in force",
            [5, 6],
            legal,
            {4: (90, 100, 9), 5: (60, 100, 29), 6: (50, 100, 20), 7: (0, 100, 4)},
        ),
        (
            "of four equals the hardest three where half is solved",
            [5, 6],
            legal,
            {4: (90, 100, 20), 5: (60, 100, 29), 6: (50, 100, 20), 7: (0, 100, 22)},
        ),
        (
            "and the easiest where less is",
            [5, 6],
            legal,
            {4: (90, 100, 20), 5: (59, 100, 29), 6: (50, 100, 20), 7: (0, 100, 22)},
        ),
        (
            "as many as were in force",
            [3, 4, 5, 6],
            legal,
            {k: (50, 100, 40) for k in range(2, 8)},  # noqa: C420
        ),
        (
            "none teaches: the most mixed",
            [6],
            legal,
            {5: (99, 100, 3), 6: (90, 100, 25), 7: (5, 100, 9)},
        ),
        ("all is solved: the hardest", [5, 6], legal, dict.fromkeys(range(4, 8), (100, 100, 0))),
        ("nothing is: the easiest", [5, 6], legal, dict.fromkeys(range(4, 8), (0, 100, 0))),
        ("the highest stays", [11, 12], legal, {11: (200, 200, 0), 12: (200, 200, 0)}),
        ("the lowest stays", [1], legal, {1: (0, 200, 0), 2: (0, 200, 0)}),
        ("the next legal one", [2, 4], [2, 4, 7, 9], dict.fromkeys((2, 4, 7), (200, 200, 0))),
        ("none that lies further", [2, 4], [2, 4, 7, 9], {4: (90, 200, 80), 9: (90, 200, 99)}),
        ("nothing was asked", [5], legal, {}),
        (
            "a part by itself",
            [1_001, 2_002],
            mixed,
            {1_001: (200, 200, 0), 1_002: (99, 200, 99), 2_002: (0, 200, 0), 2_001: (9, 200, 71)},
        ),
        ("no further part", [1_003], mixed, {1_003: (200, 200, 0), 2_001: (99, 200, 99)}),
        (
            "no room for three of each",
            [1_000 * part + 1 for part in range(1, 12)],
            [1_000 * part + level for part in range(1, 12) for level in (1, 2)],
            {1_001: (50, 100, 40), 1_002: (50, 100, 50)},
        ),
    ]
    return [
        {
            "about": about,
            "levels": levels,
            "legal": known,
            "held_out": [
                {"level": k, "solved": s, "asked": a, "mixed": m} for k, (s, a, m) in seen.items()
            ],
            "candidates": list(compute_candidates(levels, known)),
            "next": list(
                compute_levels(levels, known, {k: Success(*each) for k, each in seen.items()})
            ),
        }
        for about, levels, known, seen in cases
    ]


def make_weights() -> Json:
    """Levels in force with weights, held-out success, and the levels and weights that follow; and
    what manifests may say of them."""
    bounded, still = Steering(200, 800, 500, 2_000, 100), replace(STEERING, weight_step=0)
    wild = Steering(0, 1_000, 1, WEIGHT_MAX, 1_000)
    mixed = {"arithmetic": 3, "sat": 10**6}
    half = {5: (50, 100, 50), 6: (50, 100, 40)}
    dull = {5: (50, 100, 29), 6: (50, 100, 28)}
    start = {5: 1_000, 6: 1_000}
    cases: list[tuple[str, dict[str, int], Steering, dict[int, int], dict[int, Counts]]] = [
        ("toward the larger signal", {}, STEERING, start, half),
        ("at most a step", {}, bounded, start, {5: (50, 100, 70), 6: (50, 100, 30)}),
        ("what a target rounds to", {}, STEERING, {5: 1_112, 6: 880}, half),
        ("weights that stay", {}, still, {5: 1_300, 6: 700}, half),
        ("success at a bound", {}, bounded, start, {5: (80, 100, 40), 6: (20, 100, 40)}),
        ("success beyond one", {}, bounded, start, {5: (81, 100, 40), 6: (19, 100, 40)}),
        ("one beyond", {}, bounded, {5: 520, 6: 1_900}, {5: (81, 100, 40), 6: (20, 100, 40)}),
        ("nothing teaches", {}, STEERING, {5: 3_000, 6: 900}, dict.fromkeys((5, 6), (50, 100, 0))),
        ("untested", {}, STEERING, {5: 3_000, 6: 300}, {5: (9, 23, 9), 6: (40, 100, 40)}),
        ("a new level", {}, STEERING, {5: 2_000, 6: 900}, {
            5: (99, 100, 1), 6: (50, 100, 40), 7: (40, 100, 50)}),
        ("a small weight", {}, replace(wild, weight_step=1), {5: 3, 6: 1_000}, half),
        ("a weight of 1", {}, replace(wild, weight_step=1), {5: 1_000, 6: 1}, half),
        ("large weights", {}, wild, {5: WEIGHT_MAX, 6: 1}, dull),
        ("parts", {"sat": 1, "arithmetic": 3}, STEERING, {1_005: 1_000, 2_009: 1_000}, {
            1_005: (50, 100, 50), 2_009: (95, 100, 4)}),
        ("levels of parts", mixed, wild, {1_005: 900, 1_006: 1_200, 2_009: 700}, {
            1_004: (80, 100, 36), 1_005: (50, 99, 50), 1_006: (41, 97, 32), 2_009: (95, 101, 4)}),
        ("nothing was asked", {}, STEERING, {5: 3_000, 6: 10}, {}),
    ]  # fmt: skip
    rows = []
    for about, settings, steering, before, seen in cases:
        name = "mix" if settings else "arithmetic"
        choice = choose(name, settings)
        parameters = replace(PARAMETERS, environment=choice, steering=steering)
        pairs = tuple(LevelWeight(*pair) for pair in before.items())
        held_out = tuple(LevelSuccess(level, *counts) for level, counts in sorted(seen.items()))
        following = compute_next_levels(parameters, pairs, held_out)
        rows.append(
            {
                "about": about,
                "name": name,
                "settings": {setting.name: setting.value for setting in choice.settings},
                "steering": to_json(steering),
                "before": [to_json(pair) for pair in pairs],
                "held_out": [to_json(success) for success in held_out],
                "next": [to_json(pair) for pair in following],
            }
        )
    return {"manifests": _iterate_claims(), "rule": rows}


def _iterate_claims() -> list[Json]:
    """Levels of manifests, what they follow from, and whether that can be."""
    choice, step = choose("arithmetic", {}), digest("step")
    first = replace(PARAMETERS, environment=choice)
    before = start_levels((5, 6))
    held_out = (LevelSuccess(5, 50, 100, 50), LevelSuccess(6, 50, 100, 40))
    next_levels = compute_next_levels(first, before, held_out)
    none, low, high = bytes(32), (LevelWeight(5, 249),), (LevelWeight(6, 4_001),)
    beside = (LevelSuccess(5, 50, 100, 50), LevelSuccess(6, 9, 10, 5))
    cases: list[tuple[str, LevelWeights, LevelWeights, HeldOutCounts, bytes]] = [
        ("a start", before, (), (), none),
        ("a start with weights", next_levels, (), (), none),
        ("a start with a parent", before, before, (), none),
        ("a start with success", before, (), held_out, none),
        ("a level that is none", start_levels((13,)), (), (), none),
        ("levels in another order", before[::-1], (), (), none),
        ("a level twice", (before[0], before[0]), (), (), none),
        ("weights that follow", next_levels, before, held_out, step),
        ("weights that do not", before, before, held_out, step),
        ("a weight one off", (*next_levels[:1], replace(next_levels[1], weight=901)), before,
         held_out, step),
        ("levels that do not", start_levels((5,)), before, held_out, step),
        ("nothing asked", before, before, (), step),
        ("nothing asked, and moved", next_levels, before, (), step),
        ("no parent's levels", before, (), (), step),
        ("no parent's levels, and success", before, (), held_out, step),
        ("a weight beyond its bound", low, low, (), step),
        ("a parent's weight beyond its bound", (LevelWeight(6, 4_000),), high,
         (LevelSuccess(6, 50, 100, 50),), step),
        ("success in another order", next_levels, before, held_out[::-1], step),
        ("few tries at the level beside", start_levels((5,)), start_levels((5,)), beside, step),
        ("at one further off", start_levels((5,)), start_levels((5,)),
         (beside[0], LevelSuccess(7, 9, 10, 5)), step),
        ("at one that is none", start_levels((12,)), start_levels((12,)),
         (LevelSuccess(12, 50, 100, 50), LevelSuccess(13, 9, 10, 5)), step),
        ("success twice", next_levels, before, (held_out[0], *held_out), step),
        ("more solved than asked", start_levels((5,)), start_levels((5,)),
         (LevelSuccess(5, 101, 100, 50),), step),
        ("more mixed than asked", start_levels((5,)), start_levels((5,)),
         (LevelSuccess(5, 50, 100, 101),), step),
        ("a parent of other levels", start_levels((5,)), start_levels((5, 13)),
         (LevelSuccess(5, 50, 100, 50),), step),
    ]  # fmt: skip
    rows = []
    for about, levels, levels_before, counts, step_digest in cases:
        stated = {"levels": levels, "levels_before": levels_before, "held_out": counts}
        manifest = replace(make_manifest_for([0], 1), **stated, step=step_digest)
        other, made = digest("other"), manifest.digest
        starts = [("", made, none), (", that an amendment names", other, made)]
        if about == "a start":
            starts += [(", of other parameters", other, none), (" no more", made, other)]
        for more, genesis, named in starts if step_digest == none else starts[:1]:
            identity = replace(first.identity, genesis_checkpoint=genesis)
            start = Start(first.digest, 9, named, 9) if named != none else Start()
            parameters = replace(first, identity=identity, start=start)
            rows.append(
                {
                    "about": f"{about}{more}",
                    "usable": find_levels_fault(manifest, parameters) is None,
                    "manifest": to_json(manifest),
                    "genesis_checkpoint": genesis.hex(),
                    "start_checkpoint": named.hex(),
                }
            )
    return rows
