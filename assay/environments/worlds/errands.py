"""A robot's errands: commands that move it over a map, replayed from the start.

A task of many steps that stays deterministic: the prompt states the whole world, the completion
ends in one line of commands, and the scorer replays them. An impossible command ends the run and
earns nothing, so each command has one meaning and there is nothing to try out. Only the end counts:
all parcels at their docks, within the number of commands that the prompt allows.

Worlds are drawn until the shortest way takes as many commands as the level asks for, so every
problem has an answer. The way itself is thrown away: any other way is as good.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

from assay.environments.answer_form import read_answer
from assay.environments.base import (
    UNREAD,
    Answer,
    DrawnEnvironment,
    Param,
    Problem,
    RewardParts,
    rate_answer,
)
from assay.environments.kind import Drawn, Kind
from assay.protocol.prf import Stream

NAME = "errands"
#: Increases whenever any problem or score would change.
VERSION = 2

PARAMS: Mapping[str, Param] = MappingProxyType(
    {"slack": Param(50, 0, 200, "percent of commands allowed beyond the shortest way")}
)


class ErrandPlan(NamedTuple):
    """The parameters of a level: a map, and the range of commands that its shortest way takes."""

    side: int  # cells
    walls: int  # percent of the rooms' cells
    doors: int
    parcels: int
    low: int
    high: int


#: Ranges of the shortest way follow each other, so that each level is harder than the one before.
LEVELS: tuple[ErrandPlan, ...] = (
    ErrandPlan(4, 0, 0, 1, 4, 5),
    ErrandPlan(4, 10, 0, 1, 6, 7),
    ErrandPlan(5, 20, 0, 1, 8, 10),
    ErrandPlan(5, 15, 1, 1, 11, 14),
    ErrandPlan(6, 15, 1, 1, 15, 19),
    ErrandPlan(6, 15, 1, 2, 20, 26),
    ErrandPlan(7, 15, 2, 2, 27, 34),
    ErrandPlan(8, 15, 2, 3, 35, 46),
)

#: Command → (rows down, columns right).
MOVES = {"north": (-1, 0), "south": (1, 0), "east": (0, 1), "west": (0, -1)}
COMMANDS = (*MOVES, "take", "put")
#: Characters of the longest command and the space after it.
_COMMAND_MAX = 6
_KEYS, _PARCELS = "ab", "pqr"
_FREE, WALL, _START = ".", "X", "@"


@dataclass(frozen=True, slots=True)
class World(Answer):
    """A map, row by row, and the number of commands allowed.

    Things are numbered: keys in order of their letters, then parcels. A thing's `spots` is the cell
    where it lies, and its `goals` the cell of its door or dock.
    """

    side: int
    walls: frozenset[int]
    start: int
    keys: int
    spots: tuple[int, ...]
    goals: tuple[int, ...]
    allowed: int


class State(NamedTuple):
    """The robot's cell, the thing that it holds (-1: none), and the things that have left their
    spots (a bit each). A thing that has left and is not held is used: a key's door is open, a
    parcel is at its dock."""

    cell: int
    held: int
    gone: int


class Errands(DrawnEnvironment):
    levels = range(1, len(LEVELS) + 1)

    def __init__(self, params: Mapping[str, int]) -> None:
        super().__init__(NAME, VERSION, PARAMS, params)

    def _draw(self, stream: Stream, level: int) -> Problem:
        world = draw(stream, level)
        allowed = world.allowed + world.allowed * self.params["slack"] // 100
        world = replace(world, allowed=allowed)
        return Problem(_write_prompt(world), level, world)

    def score(self, problem: Problem, completion: str) -> RewardParts:
        """Correctness: the commands after the only `####` bring all parcels to their docks.

        They are names of commands with one space between them, no more than the prompt allows, and
        each must be possible. Only the end counts, so a task is one part.
        """
        world = problem.answer
        if not isinstance(world, World):
            raise TypeError(f"not a problem of errands: {type(world).__name__}")
        answer = read_answer(completion)
        commands = None if answer is None else _read_commands(answer, world.allowed)
        return UNREAD if commands is None else rate_answer(is_delivered(world, commands))


def draw(stream: Stream, level: int) -> World:
    """Draw worlds until one has a shortest way of the level's length, which it then allows."""
    plan = LEVELS[level - 1]
    while True:
        world = _draw_world(stream, plan)
        way = None if world is None else find_shortest(world, plan.high)
        if world is not None and way is not None and len(way) >= plan.low:
            return replace(world, allowed=len(way))


def begin(world: World) -> State:
    """The state before the first command."""
    return State(world.start, -1, 0)


def is_delivered(world: World, commands: Sequence[str]) -> bool:
    """Whether each of `commands` is possible and all parcels are at their docks afterwards."""
    state = begin(world)
    for command in commands:
        following = compute_step(world, state, command)
        if following is None:
            return False
        state = following
    return is_done(world, state)


def compute_step(world: World, state: State, command: str) -> State | None:
    """The state after a command, or None if the command cannot be done.

    A move goes to the next cell, which must be on the map, and be neither a wall nor a closed door.
    A closed door opens if its key is held, and uses the key up. `take` takes the thing that lies
    here into the empty hand; `put` puts down the parcel that is held, at its dock.
    """
    cell, held, gone = state
    if command in MOVES:
        row, column = divmod(cell, world.side)
        down, right = MOVES[command]
        if not (0 <= row + down < world.side and 0 <= column + right < world.side):
            return None
        cell += down * world.side + right
        if cell in world.walls:
            return None
        if not is_closed(world, state, cell):
            return State(cell, held, gone)
        return State(cell, -1, gone) if held == world.goals.index(cell) else None
    if command == "take":
        here = world.spots.index(cell) if cell in world.spots else -1
        if held >= 0 or here < 0 or gone >> here & 1:
            return None
        return State(cell, here, gone | 1 << here)
    if held < world.keys or world.goals[held] != cell:
        return None
    return State(cell, -1, gone)


def is_closed(world: World, state: State, cell: int) -> bool:
    """Whether a closed door is there: one whose key has not been used."""
    doors = world.goals[: world.keys]
    if cell not in doors:
        return False
    key = doors.index(cell)
    return state.held == key or not state.gone >> key & 1


def find_shortest(world: World, most: int) -> list[str] | None:
    """The first of the shortest ways, with commands in order of `COMMANDS`. None if it takes more
    than `most`."""
    start = begin(world)
    before: dict[State, tuple[State, str]] = {}
    seen, reached = {start}, [start]
    for _ in range(most):
        following = []
        for state in reached:
            for command, after in _iterate_steps(world, state):
                if after in seen:
                    continue
                seen.add(after)
                before[after] = state, command
                if is_done(world, after):
                    return _trace(before, after)
                following.append(after)
        reached = following
    return None


def write_commands(problem: Problem) -> str:
    """An answer of full marks: the shortest way.

    Raises:
        TypeError: `problem` was made by another environment.
    """
    world = problem.answer
    if not isinstance(world, World):
        raise TypeError(f"not a problem of errands: {type(world).__name__}")
    way = find_shortest(world, world.allowed)
    assert way is not None, "only such worlds are asked"
    return f"#### {' '.join(way)}"


def _iterate_steps(world: World, state: State) -> Iterator[tuple[str, State]]:
    for command in COMMANDS:
        after = compute_step(world, state, command)
        if after is not None:
            yield command, after


def _trace(before: Mapping[State, tuple[State, str]], state: State) -> list[str]:
    way = []
    while state in before:
        state, command = before[state]
        way.append(command)
    return way[::-1]


def is_done(world: World, state: State) -> bool:
    """Whether all parcels are at their docks."""
    parcels = (1 << len(world.spots)) - (1 << world.keys)
    return state.held < world.keys and state.gone & parcels == parcels


def _read_commands(answer: str, allowed: int) -> list[str] | None:
    if len(answer) >= allowed * _COMMAND_MAX:  # no space after the last
        return None
    commands = answer.split(" ")
    return commands if len(commands) <= allowed and set(commands) <= set(COMMANDS) else None


def _draw_world(stream: Stream, plan: ErrandPlan) -> World | None:
    """A world in which no two things share a cell. None if there are too few free cells."""
    side = plan.side
    walls, doors = set(), []
    for number in range(plan.doors):  # rooms side by side, a wall with one door between two
        column = (number + 1) * side // (plan.doors + 1)
        door = stream.draw_below(side)
        walls |= {row * side + column for row in range(side) if row != door}
        doors.append(door * side + column)
    rooms = [cell for cell in range(side * side) if cell not in walls and cell not in doors]
    walls |= {cell for cell in rooms if stream.draw_below(100) < plan.walls}
    free = [cell for cell in rooms if cell not in walls]
    things = plan.doors + plan.parcels
    if len(free) < 1 + things + plan.parcels:
        return None
    start, *places = (free[i] for i in stream.sample(len(free), 1 + things + plan.parcels))
    goals = (*doors, *places[things:])
    return World(side, frozenset(walls), start, plan.doors, tuple(places[:things]), goals, 0)


def name_things(world: World) -> str:
    """A letter for each thing: keys, then parcels. Its goal has the capital letter."""
    return _KEYS[: world.keys] + _PARCELS[: len(world.spots) - world.keys]


def name_cell(world: World, state: State, cell: int) -> str:
    """The character of a cell on a map: a wall, a thing that lies there, the goal of one that has
    not been used, or free."""
    if cell in world.walls:
        return WALL
    for thing, name in enumerate(name_things(world)):
        is_used = state.gone >> thing & 1 and state.held != thing
        if world.goals[thing] == cell and not is_used:
            return name.upper()
        if world.spots[thing] == cell and not state.gone >> thing & 1:
            return name
    return _FREE


def write_tasks(names: str) -> str:
    """What is to be done, for the names of all things."""
    tasks = ", ".join(f"{name} to {name.upper()}" for name in names if name in _PARCELS)
    return f"Bring {tasks}."


def write_doors(world: World, names: str) -> list[str]:
    """What keys are for, a line each."""
    return [
        f"Key {name} opens door {name.upper()}: step into it with the key, which is used up."
        for name in names[: world.keys]
    ]


def _write_prompt(world: World) -> str:
    state, names = begin(world), name_things(world)
    cells = [name_cell(world, state, cell) for cell in range(world.side**2)]
    cells[world.start] = _START
    rows = ["".join(cells[i : i + world.side]) for i in range(0, len(cells), world.side)]
    lines = [
        f"A robot at @ carries one thing at a time. X is a wall. {write_tasks(names)}",
        *write_doors(world, names),
        *rows,
        "Commands: north (up), south, east, west: one cell. take: what lies here. put: a parcel at "
        "its place, in capitals. One that cannot be done ends it all.",
        f"End with a line of ####, a space and at most {world.allowed} commands, a space between "
        "two.",
    ]
    return "\n".join(lines) + "\n"


KIND = Kind(
    NAME, VERSION, drawn=Drawn(Errands, "a robot fetches parcels on a map, by commands", PARAMS)
)
