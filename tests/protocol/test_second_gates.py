"""Gates and courses that chance has made or changed: two implementations say the same of each."""

import json
import random
import re
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from assay.protocol.encoding import EncodingError, from_json
from assay.protocol.gate import Course, find_course_fault, find_line_fault
from assay.protocol.parameters import Parameters, find_parameters_fault
from tests.protocol.test_second_refusals import change
from tests.second_implementation import NODE, VECTORS

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")

Json = Any
GATES = 5_000
#: What the other program says of each row: whether the parameters are refused, whether the course
#: can be read, its fault with the place of the count, and where it leaves its parent's line.
SAY = """
const [courses, rules, core] = process.argv.slice(1, 4).map(require);
const text = require('node:fs').readFileSync(process.argv[4], 'utf8');
const { parameters, rows } = core.parse(text), parent = '07'.repeat(32);
const say = ({ gate, course, before, is_first }) => {
  const refused = rules.isRefused({ ...parameters, gate });
  if (!courses.isCourse(course)) return [refused, false, null, null];
  const fault = refused ? null : courses.findCourseFault(course, gate);
  if (!courses.isCourse(before)) return [refused, true, fault, null];
  const line = refused ? null : courses.findLineFault(parent, before, is_first, course, gate);
  return [refused, true, fault, line];
};
console.log(JSON.stringify(rows.map(say)));
"""
#: A word for each fault, by what this program says.
FAULTS = {
    "there is no gate": "there",
    "carries no course": "none",
    "there twice": "twice",
    "problems, not": "asked",
    "differing pairs": "pairs",
    "worse than the milestone": "worse",
    "its course has 1,000": "full",
    "not shown to be better": "over",
    "it returns": "return",
    "it claims": "milestone",
}
LINES = {"measured against": "milestone", "is number": "attempt", "changes or": "counts"}


def draw_gate(chance: random.Random) -> Json:
    rule = chance.choice(("none", "not-worse", "not-worse", "better", "better"))
    if rule == "none":
        return dict.fromkeys(("problems", "error_worse", "error_better", "checkpoints"), 0) | {
            "rule": rule,
            "environment": [],
        }
    errors = [chance.choice((50_000, 50_000, 1, 999_999, chance.randrange(1, 10**6)))] * 2
    return {
        "rule": rule,
        "problems": chance.choice((4, 64, 256, 1_024)),
        "error_worse": errors[0],
        "error_better": errors[1],
        "checkpoints": chance.randrange(1, 9) if rule == "better" else 0,
        "environment": [],
    }


def draw_course(chance: random.Random, gate: Json) -> Json:
    """One that a trainer might write: of checkpoints that are better, as good, or worse."""
    asked, length = gate["problems"], chance.choice((0, 1, 2, 3, 5, 8, 12))
    lean, counts = chance.choice((0.2, 0.35, 0.5, 0.65, 0.8)), []
    for number in range(length):
        pairs = chance.randrange(asked // 3 + 1)
        wins, first = sum(chance.random() < lean for _ in range(pairs)), pairs // 8
        counts.append(
            {
                "checkpoint": f"{number + 16:02x}" * 32,
                "answers": f"{number + 99:02x}" * 32,
                "asked": asked,
                "wins": wins,
                "losses": pairs - wins,
                "first_wins": first // 2,
                "first_losses": first - first // 2,
            }
        )
    outcome = chance.choice(("goes on", "goes on", "milestone", "return"))
    attempt = chance.choice((1, 1, 2, 7))
    return {"milestone": "09" * 32, "attempt": attempt, "counts": counts, "outcome": outcome}


def spoil(chance: random.Random, course: Json) -> Json:
    """One field of a manifest that lies, or fields of any kind."""
    if not course["counts"] or chance.random() < 0.4:
        return change(chance, course)
    changed = deepcopy(course)
    one = chance.choice(changed["counts"])
    field = chance.choice(list(one))
    if field in ("checkpoint", "answers"):
        one[field] = chance.choice((changed["milestone"], changed["counts"][0][field], "00" * 32))
    else:
        one[field] = chance.choice((0, one[field] + 1, one["asked"], 2**32 - 1))
    return changed


def make_rows(seed: int, count: int) -> list[Json]:
    chance, rows = random.Random(seed), []
    for _ in range(count):
        gate = draw_gate(chance)
        course = draw_course(chance, gate)
        before = course | {"counts": course["counts"][: chance.randrange(4)], "outcome": "goes on"}
        if chance.random() < 0.3:
            before["outcome"] = chance.choice(("milestone", "return"))
        if chance.random() < 0.4:
            course = spoil(chance, course)
        if chance.random() < 0.1:
            before = spoil(chance, before)
        if chance.random() < 0.1:
            gate = change(chance, gate)
        is_first = chance.random() < 0.1
        rows.append({"gate": gate, "course": course, "before": before, "is_first": is_first})
    return rows


def read_course(document: Json) -> Course | None:
    try:
        return from_json(Course, document)
    except EncodingError:
        return None


def find_place(course: Course, fault: str) -> int | None:
    """The place of the count that a fault names."""
    found = re.search(r"the counts of ([0-9a-f]{16})…", fault)
    if found is None:
        return None
    places = [i for i, one in enumerate(course.counts) if one.checkpoint.hex()[:16] == found[1]]
    is_again = "there twice" in fault and course.counts[places[0]].checkpoint != course.milestone
    return places[is_again]


def name(words: dict[str, str], fault: str) -> str:
    (named,) = {word for part, word in words.items() if part in fault}
    return named


def say(parameters: Json, row: Json) -> Json:
    """The same of this program."""
    try:
        followed = Parameters.from_json(parameters | {"gate": row["gate"]})
        refused = find_parameters_fault(followed) is not None
    except EncodingError:
        refused = True
    course, before = read_course(row["course"]), read_course(row["before"])
    if course is None:
        return [refused, False, None, None]
    fault = None if refused else find_course_fault(course, followed.gate)
    named = fault and [name(FAULTS, fault), find_place(course, fault)]
    line = None
    if before is not None and not refused:
        parent, gate = b"\7" * 32, followed.gate
        line = find_line_fault(parent, before, row["is_first"], course, gate)
    return [refused, True, named, line and name(LINES, line)]


def test_they_say_the_same_of_gates(tmp_path: Path) -> None:
    parameters = json.loads((VECTORS / "parameters.json").read_bytes())["parameters"]
    rows, file = make_rows(80, GATES), tmp_path / "rows.json"
    file.write_text(json.dumps({"parameters": parameters, "rows": rows}))
    second = VECTORS / "second"
    paths = [str(second / f"{one}.js") for one in ("courses", "rules", "core")]
    done = subprocess.run(
        [str(NODE), "-e", SAY, *paths, str(file)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    theirs = json.loads(done.stdout)
    ours = [say(parameters, row) for row in rows]
    differ = [(row, a, b) for row, a, b in zip(rows, ours, theirs, strict=True) if a != b]
    print(f"{GATES:,} gates, {len(differ)} differ")
    assert not differ, differ[0]
    # the rows reach every fault, and many have none
    assert {one[2][0] for one in ours if one[2]} >= set(FAULTS.values()) - {"full"}
    assert {one[3] for one in ours} >= set(LINES.values())
    assert 0.1 < sum(one == [False, True, None, None] for one in ours) / GATES < 0.9
