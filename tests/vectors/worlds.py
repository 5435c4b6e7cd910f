"""Vectors of worlds that commands change, and of what commands are worth there."""

from dataclasses import asdict
from hashlib import sha256

from problems import Json, describe, iterate_bad, name_digest
from subjects import digest

from assay.environments.registry import make_environment
from assay.environments.worlds.errands import LEVELS, World, find_shortest


def make_errands() -> Json:
    problems = []
    for params, levels in (
        *(({}, [level]) for level in range(1, len(LEVELS) + 1)),
        ({"slack": 0}, [2, 5]),
        ({"slack": 200}, [6, 7, 8]),
    ):
        environment = make_environment("errands", params)
        for i in range(3):
            seed = digest(f"problem {i}")
            problem = environment.make_problem(seed, levels)
            hashed = {"prompt_sha256": sha256(problem.prompt.encode()).hexdigest()}
            problems.append(describe(environment, levels, seed, problem) | hashed)
    environment = make_environment("errands", {})
    seed, levels = digest("scored"), [4]  # a door and its key
    problem = environment.make_problem(seed, levels)
    world = problem.answer
    assert isinstance(world, World)
    way = find_shortest(world, world.allowed)
    assert way is not None
    return {
        "digests": [name_digest("errands", params) for params in ({}, {"slack": 0})],
        "problems": problems,
        "scored": describe(environment, levels, seed, problem)
        | {
            "completions": [
                {"about": about, "completion": text} | asdict(environment.score(problem, text))
                for about, text in _iterate_ways(world, way)
            ]
        },
        "bad": iterate_bad("errands", {"slack": 201}, [0], [9], [2, 1], [3, 3]),
    }


def _iterate_ways(world: World, way: list[str]) -> list[tuple[str, str]]:
    back = {"north": "south", "south": "north", "east": "west", "west": "east"}
    end = f"#### {' '.join(way)}"
    taken = way.index("take")
    around = world.allowed - len(way)
    longest = _stretch(way, around // 2, back)
    return [
        ("the shortest way", end),
        ("after prose", f"The key first.\n\n{end}"),
        ("a detour", f"#### {' '.join(_stretch(way, 1, back))}"),
        ("as many as allowed, or one less", f"#### {' '.join(longest)}"),
        ("more than are allowed", f"#### {' '.join(_stretch(way, around // 2 + 1, back))}"),
        ("the last is missing", f"#### {' '.join(way[:-1])}"),
        ("put twice", f"{end} put"),
        ("nothing is taken", f"#### {' '.join(w for w in way if w != 'take')}"),
        ("taken twice", f"#### {' '.join([*way[: taken + 1], 'take', *way[taken + 1 :]])}"),
        ("the key is put down", f"#### {' '.join([*way[: taken + 1], 'put', *way[taken + 1 :]])}"),
        ("off the map", f"#### {' '.join(['north'] * world.side + way)}"),
        ("in capitals", end.upper()),
        ("two spaces", end.replace(" ", "  ")),
        ("a space at the end", f"{end} "),
        ("a newline at the end", f"{end}\n"),
        ("commas", f"#### {', '.join(way)}"),
        ("a line a command", "#### " + "\n".join(way)),
        ("an unknown command", f"{end} wait"),
        ("two answers", f"{end}\n{end}"),
        ("two, one in a thought", f"#### north\n</think>\n\n{end}"),
        ("in a thought alone", f"{end}</think>"),
        ("in the middle of a line", f"so {end}"),
        ("no command", "#### "),
        ("no text", ""),
    ]


def _stretch(way: list[str], pairs: int, back: dict[str, str]) -> list[str]:
    """The way with its first move to and fro repeated `pairs` times: a passed cell cannot block
    it."""
    first = way[0]
    assert first in back, "a robot does not begin on what it fetches"
    return [first, *[back[first], first] * pairs, *way[1:]]
