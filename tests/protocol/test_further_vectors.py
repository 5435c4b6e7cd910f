"""Vectors of the parts around the judge, derived a second time by other means: levels, the order of
mirrors, deltas, chat templates."""

import struct
from decimal import Decimal
from fractions import Fraction
from hashlib import sha256
from math import ceil

from transformers.utils.chat_template_utils import render_jinja_template

from tests.protocol.test_vectors import load


def test_levels_are_those_on_which_two_tries_part() -> None:
    for entry in load("levels"):
        levels, counts = entry["levels"], {s["level"]: s for s in entry["held_out"]}
        parts = sorted({level // 1_000 for level in levels})
        runs = {part: [level for level in levels if level // 1_000 == part] for part in parts}
        roomy = sum(max(3, len(run)) for run in runs.values()) <= 32
        candidates, expected = [], []
        for part, run in runs.items():
            legal = [level for level in entry["legal"] if level // 1_000 == part]
            tried = [
                level
                for place, level in enumerate(legal)
                if set(legal[max(0, place - 1) : place + 2]) & set(run)
            ]
            candidates += tried
            mixed = {
                level: Fraction(counts[level]["mixed"], counts[level]["asked"])
                for level in tried
                if level in counts and counts[level]["asked"] >= 24
            }
            undecided = [level for level in run if level not in mixed]
            solved, asked = (sum(counts[k][n] for k in mixed) for n in ("solved", "asked"))
            likely = sorted(mixed, reverse=2 * solved >= asked)
            likely.sort(key=lambda level: int(10 * mixed[level]), reverse=True)
            enough = {k: Fraction(300 if k in run else 355, 1_000) for k in mixed}
            teaching = sorted((k for k in mixed if mixed[k] >= enough[k]), reverse=True)
            width = max(3 if roomy else 1, len(run)) - len(undecided)
            most = max((int(10 * share) for share in mixed.values()), default=0)
            equal = [level for level in likely if int(10 * mixed[level]) == most]
            chosen = teaching[:width] or ([] if undecided else equal[: width if most else 1])
            expected += sorted(undecided + chosen)
        assert entry["candidates"] == candidates, entry["about"]
        assert entry["next"] == expected, entry["about"]


def test_weights_go_toward_the_mean_signal_a_step_at_a_time() -> None:
    for entry in load("weights")["rule"]:
        about, steering = entry["about"], entry["steering"]
        counts = {s["level"]: s for s in entry["held_out"] if s["asked"] >= 24}
        before = {pair["level"]: Fraction(pair["weight"]) for pair in entry["before"]}
        following = {pair["level"]: pair["weight"] for pair in entry["next"]}
        parts = [name for name in sorted(entry["settings"]) if "." not in name]
        shares = {}
        for level in following:
            beside = [other for other in following if other // 1_000 == level // 1_000]
            whole = entry["settings"][parts[level // 1_000 - 1]] if entry["name"] == "mix" else 1
            shares[level] = Fraction(whole, len(beside))
        signals = {}
        for level in following.keys() & counts.keys():
            solved, asked, mixed = (counts[level][n] for n in ("solved", "asked", "mixed"))
            success = Fraction(1_000 * solved, asked)
            inside = steering["success_low"] <= success <= steering["success_high"]
            signals[level] = Fraction(10**6 * mixed // asked if inside else 0)
        whole = sum(shares[level] for level in signals)
        mean = sum(shares[level] * signal for level, signal in signals.items()) / (whole or 1)
        for level, weight in following.items():
            due = old = before.get(level, Fraction(1_000))
            if level in signals:
                target = 1_000 * signals[level] // mean if mean else 1_000
                step = ceil(old * steering["weight_step"] / 1_000)
                due = max(old - step, min(old + step, target))
            if entry["held_out"]:
                due = max(steering["weight_min"], min(steering["weight_max"], due))
            assert weight == due, (about, level)


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
    # Jinja's own filter marks a text, and escapes what is added to it: here there are only texts
    typed = {"the clock": "2024-07-26 00:00", "what is safe is text": '<None1"'}
    messages = [{"role": "user", "content": prompt}]
    for entry in vector["rendered"]:
        expected = typed.get(entry["about"])
        if entry["text"] is None:  # it fails, or does more than a template may
            continue
        if expected is None:
            ((expected,), _) = render_jinja_template(
                [messages],
                chat_template=entry["template"],
                add_generation_prompt=True,
                **vector["special_tokens"],
            )
        assert entry["text"] == expected, entry["about"]
    asked = vector["conversation"]
    ((expected,), _) = render_jinja_template(
        [asked["messages"]],
        chat_template=asked["template"],
        add_generation_prompt=True,
        **vector["special_tokens"],
        **asked["arguments"],
    )
    assert asked["text"] == expected
