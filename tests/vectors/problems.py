"""Vectors of the environments' problems, and of the rewards of answers."""

from collections.abc import Iterator
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from subjects import ALICE, digest

from assay.environments.arithmetic import Terms
from assay.environments.base import Environment, Problem
from assay.environments.dealing import deal_level
from assay.environments.gsm import THEMES, Task
from assay.environments.registry import make_environment
from assay.environments.sat import Formula
from assay.environments.steering import compute_asked_shares
from assay.protocol.encoding import to_json
from assay.protocol.manifest import LevelWeight, start_levels

Json = Any


def make_arithmetic() -> Json:
    settings = [{}, {"minus": 25}, {"minus": 100, "words": 100}]
    problems = []
    for params, levels in (
        ({}, [1]),
        ({}, [5, 6]),
        ({"minus": 25}, [5, 6]),
        ({"minus": 50}, list(range(1, 13))),
        ({"minus": 50, "words": 100}, [2, 3]),
        ({"minus": 50, "words": 50}, [12]),
    ):
        environment = make_environment("arithmetic", params)
        for i in range(3):
            seed = digest(f"problem {i}")
            problem = environment.make_problem(seed, levels)
            assert isinstance(problem.answer, Terms)
            problems.append(
                {
                    "settings": dict(environment.params),
                    "levels": levels,
                    "seed": seed.hex(),
                    "level": problem.level,
                    "prompt": problem.prompt,
                    "prompt_sha256": sha256(problem.prompt.encode()).hexdigest(),
                    "terms": list(problem.answer.values),
                }
            )
    environment = make_environment("arithmetic", {"minus": 50})
    seed = next(s for i in range(99) if _has_terms(environment, s := digest(f"scored {i}"), 4))
    problem = environment.make_problem(seed, [6])
    return {
        "digests": [name_digest("arithmetic", params) for params in settings],
        "problems": problems,
        "scored": {
            "settings": dict(environment.params),
            "levels": [6],
            "seed": seed.hex(),
            "prompt": problem.prompt,
            "completions": [
                {"about": about, "completion": text} | asdict(environment.score(problem, text))
                for about, text in _iterate_sums(list(problem.answer.values))  # type: ignore[attr-defined]
            ],
        },
        "bad": iterate_bad("arithmetic", {"minus": 101}, [0], [13], [2, 1], [3, 3]),
    }


def _has_terms(environment: Any, seed: bytes, count: int) -> bool:
    """Different terms of which one is negative, and no sum on the way that equals a term."""
    values = environment.make_problem(seed, [6]).answer.values
    sums = {sum(values[: i + 1]) for i in range(1, count)}
    return len({*values, *sums}) == 2 * count - 1 and min(values) < 0 < sum(values)


def _iterate_sums(v: list[int]) -> list[tuple[str, str]]:
    a, b, c, total = v[0], v[0] + v[1], v[0] + v[1] + v[2], sum(v)
    steps = [f"{a}{v[1]:+d}={b}", f"{b}{v[2]:+d}={c}", f"{c}{v[3]:+d}={total}"]
    end = f"#### {total}"
    other = [f"{v[3]}{v[2]:+d}={v[3] + v[2]}", f"{v[3] + v[2]}{v[1]:+d}={v[3] + v[2] + v[1]}"]

    def text(*lines: str) -> str:
        return "\n".join(lines)

    return [
        ("full marks", text(*steps, end)),
        ("the answer alone", end),
        ("a wrong answer after true steps", text(*steps, f"#### {total + 1}")),
        ("two of three steps", text(*steps[:2], end)),
        ("the second step is false", text(steps[0], f"{b}{v[2]:+d}={c + 1}", steps[2], end)),
        ("a step twice", text(steps[0], steps[0], steps[2], end)),
        ("a line too many", text("", *steps, end)),
        ("an empty line first", text("", *steps[:2], end)),
        ("another order", text(*other, end)),
        ("starts with what is no term", text(f"{total + 500}+1={total + 501}", end)),
        ("a space in a step", text(steps[0].replace("=", " = "), end)),
        ("a newline at the end", text(*steps, end, "")),
        ("a space at the end", end + " "),
        ("no space", f"####{total}"),
        ("a plus", f"#### +{total}"),
        ("a leading zero", f"#### 0{total}"),
        ("minus zero", "#### -0"),
        ("nineteen digits", "#### " + "1" * 19),
        ("other digits", "#### " + "".join(chr(0x660 + int(d)) for d in str(total))),
        ("two answers", text(end, end)),
        ("the mark in a step", text("#### 1", *steps, end)),
        ("behind a thought with another", text("#### 1</think>", "", *steps, end)),
        ("in a thought alone", text(*steps, end, "</think>")),
        ("five signs", "#" + end),
        ("a carriage return", text(*steps) + "\r\n" + end),
        ("no text", ""),
    ]


def make_sat() -> Json:
    problems = []
    for params, levels in (
        ({}, [5]),
        ({}, [5, 8, 13]),
        ({"k": 4, "density": 900}, [6]),
        ({"k": 5, "density": 2_000}, [7]),
        ({}, [200]),
    ):
        environment = make_environment("sat", params)
        seed = digest("problem 0")
        problem = environment.make_problem(seed, levels)
        long = len(problem.prompt) > 2_000
        problems.append(
            {
                "settings": dict(environment.params),
                "levels": levels,
                "seed": seed.hex(),
                "level": problem.level,
                "prompt": None if long else problem.prompt,
                "prompt_sha256": sha256(problem.prompt.encode()).hexdigest(),
            }
        )
    environment = make_environment("sat", {})
    seed = digest("scored")
    problem = environment.make_problem(seed, [5])
    formula = problem.answer
    assert isinstance(formula, Formula)
    solution = next(bits for bits in map("{:05b}".format, range(32)) if _solves(formula, bits))
    return {
        "digests": [name_digest("sat", params) for params in ({}, {"k": 5, "density": 2_000})],
        "problems": problems,
        "scored": {
            "settings": dict(environment.params),
            "levels": [5],
            "seed": seed.hex(),
            "prompt": problem.prompt,
            "completions": [
                {"about": about, "completion": text} | asdict(environment.score(problem, text))
                for about, text in (
                    ("a solution", f"#### {solution}"),
                    ("a solution after thoughts", f"x1 first.\n\n#### {solution}"),
                    ("zeros", "#### 00000"),
                    ("ones", "#### 11111"),
                    ("a digit short", f"#### {solution[:-1]}"),
                    ("a digit long", f"#### {solution}0"),
                    ("a two", f"#### {solution[:-1]}2"),
                    ("a newline at the end", f"#### {solution}\n"),
                    ("the mark before", f"####\n#### {solution}"),
                    ("five signs", f"##### {solution}"),
                    ("behind a thought with another", f"#### 1\n</think>\n#### {solution}"),
                    ("in a thought alone", f"#### {solution}</think>"),
                    ("no text", ""),
                )
            ],
        },
        "bad": iterate_bad("sat", {"k": 2}, [4], [201], [6, 5], [7, 7]),
    }


def _solves(formula: Formula, bits: str) -> bool:
    return all(any((bits[abs(x) - 1] == "1") == (x > 0) for x in c) for c in formula.clauses)


def make_gsm() -> Json:
    problems = []
    for params, levels in (
        ({}, [1]),
        ({}, [2, 5]),
        ({"largest": 5}, [8]),
        ({"largest": 1_000}, [4]),
    ):
        environment = make_environment("gsm", params)
        for i in range(6):
            seed = digest(f"problem {i}")
            problem = environment.make_problem(seed, levels)
            assert isinstance(problem.answer, Task)
            problems.append(
                describe(environment, levels, seed, problem)
                | {"solution": problem.answer.row.solution}
            )
    environment = make_environment("gsm", {})
    seed = digest("scored")
    problem = environment.make_problem(seed, [4])
    total = problem.answer.row.value  # type: ignore[attr-defined]
    return {
        "themes": [{"things": things, "sentences": said} for things, said in THEMES],
        "digests": [name_digest("gsm", params) for params in ({}, {"largest": 1_000})],
        "problems": problems,
        "scored": describe(environment, [4], seed, problem)
        | {
            "completions": [
                {"about": about, "completion": text} | asdict(environment.score(problem, text))
                for about, text in iterate_answers(total)
            ]
        },
        "bad": iterate_bad("gsm", {"largest": 4}, [0], [9], [2, 1], [3, 3]),
    }


def _iterate_blocks() -> Iterator[Json]:
    """The first levels of miners' problems."""
    wide = {"arithmetic": 10**6 - 17, "gsm": 3, "sat": 999_983}
    weights = [64_000, 250, 1_000, 3_999, 1, 2_000, 63_997, 500, 1_200]
    for name, params, levels, count, *given in (
        ("arithmetic", {}, [6], 3),
        ("arithmetic", {}, [2, 5, 9], 8),
        ("sat", {}, list(range(5, 37)), 40),
        ("mix", {"arithmetic": 3, "sat": 1}, [1_005, 1_006, 2_005], 20),
        ("mix", {"arithmetic": 3, "sat": 1}, [1_005, 1_006], 5),
        ("mix", {"arithmetic": 2, "gsm": 3, "sat": 1}, [1_001, 1_003, 2_004, 3_005], 26),
        ("mix", wide, [1_001, 1_002, 1_003, 2_001, 3_005, 3_006, 3_007, 3_008, 3_009], 130),
        ("mix", wide, [1_001, 1_002, 1_003, 2_001, 3_005, 3_006, 3_007, 3_008, 3_009], 70, weights),
        ("sat", {}, [5, 9], 6, [500, 2_500]),
        ("mix", {"arithmetic": 3, "gsm": 1}, [1_004, 1_006, 2_002], 40, [500, 1_500, 2_000]),
    ):
        environment = make_environment(name, params)
        challenge = digest(f"challenge of {name}")
        pairs = start_levels(levels)
        if given:
            pairs = tuple(map(LevelWeight, levels, given[0]))
        yield {
            "name": name,
            "settings": dict(environment.params),
            "levels": [to_json(pair) for pair in pairs],
            "shares": compute_asked_shares(environment, pairs),
            "challenge": challenge.hex(),
            "hotkey": ALICE.hex(),
            "asked": [
                deal_level(environment, challenge, ALICE, index, pairs) for index in range(count)
            ],
        }


def make_mix() -> Json:
    problems, digests = [], []
    for params, levels in (
        ({"arithmetic": 3, "sat": 1}, [1_005, 1_006, 2_005]),
        ({"arithmetic": 1, "sat": 1, "arithmetic.minus": 50, "sat.k": 4}, [1_002, 2_006]),
        ({"arithmetic": 1, "sat": 10**6}, [1_001]),
    ):
        environment = make_environment("mix", params)
        digests.append(
            name_digest("mix", params)
            | {"parts": [part.digest.hex() for part in environment.parts]}  # type: ignore[attr-defined]
        )
        for i in range(6):
            seed = digest(f"problem {i}")
            problem = environment.make_problem(seed, levels)
            problems.append(describe(environment, levels, seed, problem))
    pair = {"arithmetic": 1, "sat": 1}
    bad = [
        ("one part", {"sat": 1}, "2 to 16 environments"),
        ("a mixture in it", {"sat": 1, "mix": 1}, "not a part of a mixture"),
        ("a weight of nothing", pair | {"sat": 0}, "from 1 to 1000000"),
        ("a boolean", pair | {"sat": True}, "from 1 to 1000000"),
        ("a setting of no part", pair | {"gsm.largest": 9}, "not a part of it"),
        ("a setting out of range", pair | {"sat.k": 9}, "must be an integer"),
    ]
    wrong = [("no level", []), ("a part that is not there", [3_001]), ("a level of none", [1_013])]
    return {
        "digests": digests,
        "problems": problems,
        "blocks": list(_iterate_blocks()),
        "bad": [
            *({"reason": r, "settings": s, "because": because} for r, s, because in bad),
            *({"reason": r, "settings": pair, "levels": x, "because": "level"} for r, x in wrong),
        ],
    }


def describe(environment: Environment, levels: list[int], seed: bytes, problem: Problem) -> Json:
    """A problem, and all that it follows from."""
    return {
        "settings": dict(environment.params),
        "levels": levels,
        "seed": seed.hex(),
        "level": problem.level,
        "prompt": problem.prompt,
    }


def iterate_answers(total: int) -> list[tuple[str, str]]:
    end = f"#### {total}"
    return [
        ("the answer alone", end),
        ("after prose", f"It takes some steps.\n\n{end}"),
        ("another number", f"#### {total + 1}"),
        ("two answers", f"{end}\n{end}"),
        ("two, one in a thought", f"#### 1</think>{end}"),
        ("two in a line", f"#### 1 {end}"),
        ("a leading zero", f"#### 0{total}"),
        ("a plus", f"#### +{total}"),
        ("decimals", f"{end}.0"),
        ("a full stop", f"{end}."),
        ("a space at the end", f"{end} "),
        ("a newline at the end", f"{end}\n"),
        ("a separator", f"#### {total:,}"),
        ("a separator in the wrong place", f"#### {str(total)[:-2]},{str(total)[-2:]}"),
        ("as many blanks as an answer may have", end + " " * (32_768 - len(str(total)))),
        ("a blank more", end + " " * (32_769 - len(str(total)))),
        ("a blank of Unicode at the end", f"{end}\u00a0"),
        ("no space", f"####{total}"),
        ("in the middle of a line", f"so {end}"),
        ("a carriage return", f"so\r{end}"),
        ("other digits", "#### " + "".join(chr(0x660 + int(d)) for d in str(total))),
        ("nineteen digits", "#### " + "1" * 19),
        ("no number", "#### NaN"),
        ("no text", ""),
    ]


def name_digest(name: str, params: dict[str, int]) -> Json:
    """An environment's digest, and the settings that it has."""
    environment = make_environment(name, params)
    return {
        "given": params,
        "settings": dict(environment.params),
        "digest": environment.digest.hex(),
    }


def iterate_bad(
    name: str, params: dict[str, int], low: Json, high: Json, down: Json, twice: Json
) -> Json:
    """Arguments that make no environment or no problem; `because` is part of the refusal."""
    legal = make_environment(name, {}).levels
    outside = f"are not legal: {legal[0]} to {legal[-1]} are"
    return [
        {"reason": "a setting out of range", "settings": params, "because": "must be an integer"},
        {"reason": "an unknown setting", "settings": {"colour": 1}, "because": "no parameter"},
        {"reason": "a boolean", "settings": dict.fromkeys(params, True), "because": "an integer"},
        {"reason": "no level", "settings": {}, "levels": [], "because": "not empty"},
        {"reason": "a level too low", "settings": {}, "levels": low, "because": outside},
        {"reason": "a level too high", "settings": {}, "levels": high, "because": outside},
        {"reason": "levels descend", "settings": {}, "levels": down, "because": "ascending"},
        {"reason": "a level twice", "settings": {}, "levels": twice, "because": "each once"},
    ]
