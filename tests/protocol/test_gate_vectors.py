"""The gate's vectors, derived a second time: by fractions and definitions, hashes by hand."""

import struct
from dataclasses import replace
from fractions import Fraction
from hashlib import shake_256
from typing import Any

import pytest

from assay.protocol import parameters
from assay.protocol.encoding import from_json
from assay.protocol.gate import (
    Course,
    GateCounts,
    continue_course,
    find_course_fault,
    find_line_fault,
    is_of_course,
)
from assay.protocol.manifest import Calibration, Manifest, find_fault
from tests.protocol.test_vectors import load, naive_hash, shuffle

Json = Any
VECTOR = load("gate")
STAKES = Fraction(3, 16), Fraction(5, 16)


def test_problems_are_drawn_by_two_hashes() -> None:
    for draw in VECTOR["draws"]:
        given = [bytes.fromhex(draw[name]) for name in ("checkpoint", "randomness")]
        assert draw["gate_seed"] == naive_hash("gate", *given).hex()
        for row in draw["problems"]:
            number = struct.pack(">I", row["number"])
            seed = naive_hash("gate-problem", bytes.fromhex(draw["gate_seed"]), number)
            assert row["problem_seed"] == seed.hex()


def test_a_validator_checks_the_head_of_a_shuffled_list() -> None:
    for row in VECTOR["checked"]:
        given = [bytes.fromhex(row[name]) for name in ("answers", "validator")]
        data = shake_256(naive_hash("gate-check", *given)).digest(1_024)
        words = (word for (word,) in struct.iter_unpack(">Q", data))
        most = min(8, row["problems"])  # all, if there are fewer
        assert row["checked"] == shuffle(words, row["problems"], most)
        assert len(set(row["checked"])) == most


def bet(stake: Fraction, wins: int, losses: int) -> Fraction:
    return (1 + stake) ** wins * (1 - stake) ** losses


def sum_pairs(counts: Json) -> tuple[int, int, int]:
    wins, losses = (sum(one[name] for one in counts) for name in ("wins", "losses"))
    return wins, losses, sum(one["asked"] for one in counts)


def test_better_is_a_mean_of_two_bets_on_all_pairs() -> None:
    for row in VECTOR["better"]:
        assert row["shown"] == name_shown(row["counts"], row["attempt"], row["error_better"]), row
    assert {row["shown"] for row in VECTOR["better"]} == {None, 0, 1, 3}


def test_worse_is_a_mixture_of_bets_from_each_checkpoint_on() -> None:
    for row in VECTOR["worse"]:
        counts = row["counts"]
        shares = [Fraction(2**32 // (k * (k + 1)), 2**32) for k in range(1, len(counts) + 1)]
        capital = Fraction(0)
        for stake in STAKES:
            for place, share in enumerate(shares):
                wins, losses, _ = sum_pairs(counts[place:])
                capital += share * bet(stake, losses, wins) / 2
        capital += 1 - sum(shares)
        assert row["worse"] == (capital >= Fraction(10**6, row["error_worse"])), row
    assert {row["worse"] for row in VECTOR["worse"]} == {True, False}


def test_the_gains_bounds_are_the_last_that_are_shown() -> None:
    def is_shown(wins: int, losses: int, ties: int, gain: Fraction, error: int) -> bool:
        capital = sum(
            (1 + stake * (1 - gain)) ** wins
            * (1 - stake * (1 + gain)) ** losses
            * (1 - stake * gain) ** ties
            for stake in STAKES
        )
        return capital / 2 >= Fraction(2 * 10**6, error)

    for row in VECTOR["gains"]:
        wins, losses, asked = sum_pairs(row["counts"])
        for won, lost, bound in ((wins, losses, row["low"]), (losses, wins, -row["high"])):
            gain, step = Fraction(bound, 1_000), Fraction(1, 200)
            shown = [
                is_shown(won, lost, asked - wins - losses, at, row["error"])
                for at in (gain, gain + step)
            ]
            assert shown == [gain > -1, False], row


def name_shown(counts: Json, attempt: int, error: int) -> int | None:
    """The place of the first checkpoint up to which the sums show that a course is better."""
    for place in range(len(counts)):
        wins, losses, _ = sum_pairs(counts[: place + 1])
        capital = sum(bet(stake, wins, losses) for stake in STAKES) / 2
        if capital >= Fraction(1_644_935 * attempt**2, error):
            return place
    return None


def name_due(row: Json) -> Json:
    """The course of a checkpoint's child, by the words of section 7.1."""
    course = row["course"]
    empty = {"counts": [], "outcome": "goes on"}
    if row["is_first"]:
        return {"milestone": row["parent"], "attempt": 1} | empty
    fault = find_course_fault(from_json(Course, course), from_json(parameters.Gate, row["gate"]))
    if fault is not None:
        return {"milestone": "00" * 32, "attempt": 0} | empty
    match course["outcome"]:
        case "milestone":
            counts = course["counts"]
            place = name_shown(counts, course["attempt"], row["gate"]["error_better"])
            leads = [one["wins"] - one["losses"] for one in counts[: place + 1]]
            best = counts[leads.index(max(leads))]
            return {"milestone": best["checkpoint"], "attempt": 1} | empty
        case "return":
            again = {"milestone": course["milestone"], "attempt": course["attempt"] + 1}
            return again | empty
    return course


def test_a_child_carries_its_parents_course_on() -> None:
    for row in VECTOR["continued"]:
        assert row["continued"] == name_due(row)
        parent, own = bytes.fromhex(row["parent"]), from_json(Course, row["course"])
        due = from_json(Course, row["continued"])
        gate = from_json(parameters.Gate, row["gate"])
        assert continue_course(parent, own, row["is_first"], gate) == due
        if not row["is_first"]:
            assert [
                is_of_course(parent, own, from_json(Course, one["course"]), gate)
                for one in row["members"]
            ] == [one["is"] for one in row["members"]]
        # no return is of a course, and the first checkpoint is of none
        is_member = not row["is_first"] and row["course"]["outcome"] != "return"
        is_member &= row["course"]["milestone"] != "00" * 32
        assert [one["is"] for one in row["members"]] == [is_member, False, False]


@pytest.mark.parametrize("row", VECTOR["lines"])
def test_a_line_has_the_fault_that_it_says(row: Json) -> None:
    before, course = (from_json(Course, row[name]) for name in ("before", "course"))
    parent, gate = bytes.fromhex(row["parent"]), from_json(parameters.Gate, row["gate"])
    fault = find_line_fault(parent, before, row["is_first"], course, gate)
    assert (fault is None) is (row["fault"] is None)
    assert row["because"] in (fault or "")
    due = name_due(row | {"course": row["before"]})
    differs = [name for name in ("milestone", "attempt") if row["course"][name] != due[name]]
    if row["course"]["counts"][: len(due["counts"])] != due["counts"]:
        differs.append("counts")
    assert row["fault"] == next(iter(differs), None)


def fill(row: Json, course: Course, gate: parameters.Gate) -> Course:
    """With the counts that stand before those of the vector."""
    before = (
        GateCounts(number.to_bytes(32, "big"), bytes(32), gate.problems, 0, 0, 0, 0)
        for number in range(1, row["filled"] + 1)
    )
    counts = (*before, *course.counts)
    return Course(course.milestone, course.attempt, counts, course.outcome)


@pytest.mark.parametrize("row", VECTOR["courses"], ids=lambda row: row["about"])
def test_a_course_has_the_fault_that_it_says(row: Json) -> None:
    gate, manifest = from_json(parameters.Gate, row["gate"]), load("manifest")
    course = fill(row, from_json(Course, row["course"]), gate)
    whole = manifest["manifest"] | ({} if row["has_step"] else {"step": "00" * 32})
    made = replace(from_json(Manifest, whole), course=course)
    fault = find_fault(
        made,
        from_json(Calibration, manifest["calibration"]),
        from_json(parameters.Tests, manifest["tests"]),
        gate,
        manifest["max_tokens"],
    )
    assert (fault is None) is (row["fault"] is None), fault
    assert row["because"] in (fault or "")
    if row["place"] is not None and row["fault"] != "twice":
        assert course.counts[row["place"]].checkpoint.hex()[:16] in str(fault)
    if row["has_step"]:
        assert find_course_fault(course, gate) == fault
