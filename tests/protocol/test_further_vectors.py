"""Vectors of what is around the judge, derived a second time by other means: levels, the order of
mirrors, deltas, chat templates."""

import struct
from decimal import Decimal
from fractions import Fraction
from hashlib import sha256

from transformers.utils.chat_template_utils import render_jinja_template

from tests.protocol.test_vectors import load


def test_levels_move_by_thousandths_of_what_was_asked() -> None:
    for entry in load("levels"):
        parts: dict[int, list[int]] = {}
        for level in entry["levels"]:
            parts.setdefault(level // 1_000, []).append(level)
        expected = []
        for part, run in parts.items():
            seen = [s for s in entry["held_out"] if s["level"] in run]
            solved, asked = (sum(s[name] for s in seen) for name in ("solved", "asked"))
            legal = [level for level in entry["legal"] if level // 1_000 == part]
            share = Fraction(solved, asked) if asked >= 200 else Fraction(1, 2)
            step = (share >= Fraction(7, 10)) - (share <= Fraction(15, 100))
            places = [legal.index(level) + step for level in run]
            inside = places[0] >= 0 and places[-1] < len(legal)
            expected += [legal[place] for place in places] if inside else run
        assert entry["next"] == expected, entry["about"]


def test_mirrors_are_asked_by_a_draw_weighted_by_stake() -> None:
    vector = load("mirrors")
    before = bytes.fromhex(vector["root"]) + bytes.fromhex(vector["reader"])

    def compute_rank(hotkey: str, stake: int) -> tuple[Decimal, str]:
        drawn = int(sha256(before + bytes.fromhex(hotkey)).hexdigest()[:14], 16)
        return -(Decimal(drawn + 1) / 2**56).ln() / max(1, stake), hotkey

    for entry in vector["orders"]:
        ranks = sorted(compute_rank(*each) for each in entry["stakes"].items())
        assert entry["order"] == [hotkey for _, hotkey in ranks]


def test_a_delta_moves_the_values_whose_bit_is_set() -> None:
    for entry in load("delta"):
        mask, low, high = map(bytes.fromhex, entry["parts"])
        values = [value for (value,) in struct.iter_unpack("<H", bytes.fromhex(entry["parent"]))]
        bits = "".join(f"{byte:08b}" for byte in mask)
        changed = [i for i, bit in enumerate(bits) if bit == "1"]
        for i, folded in zip(changed, map(int.__add__, low, (h << 8 for h in high)), strict=True):
            values[i] = (
                values[i] + (folded // 2 if folded % 2 == 0 else -(folded + 1) // 2)
            ) % 2**16
        assert struct.pack(f"<{len(values)}H", *values).hex() == entry["child"], entry["about"]


def test_templates_make_what_hugging_face_makes_of_them() -> None:
    vector = load("chat_template")
    prompt = vector["prompt"]
    typed = {
        "the clock": "2024-07-26 00:00",
        "one that fails leaves the prompt": prompt,
        "chance is none": prompt,
    }
    messages = [{"role": "user", "content": prompt}]
    for entry in vector["rendered"]:
        expected = typed.get(entry["about"])
        if expected is None:
            ((expected,), _) = render_jinja_template(
                [messages],
                chat_template=entry["template"],
                add_generation_prompt=True,
                **vector["special_tokens"],
            )
        assert entry["text"] == expected, entry["about"]
