"""Errands in rooms that the robot has to explore: the world replies what it sees from its cell.

The maps, the commands and what each does are those of `errands`. There the prompt has the map, and
here it comes turn by turn: a turn is a few commands, and the reply is the robot's place, what lies
in its row and its column up to a wall, and what it holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from types import MappingProxyType

from assay.environments.base import BLANKS, UNREAD, Param, Problem, RewardParts, rate_answer
from assay.environments.kind import Drawn, Kind
from assay.environments.worlds import errands
from assay.environments.worlds.errands import COMMANDS, World, compute_step
from assay.environments.worlds.world import WorldEnvironment
from assay.protocol.prf import Stream

NAME = "rooms"
#: Increases whenever any problem, reply or score would change.
VERSION = 1
#: Digest of the proof episodes.
PROOF = "82ab75984e1b3b739a0476f4bd40b232ff5ceffac44ca81f172a426ffe58b7a5"
PARAMS: Mapping[str, Param] = MappingProxyType({})

#: Most commands of a turn.
COMMANDS_MAX = 8
#: The request behind a question, unless the owner says otherwise.
REQUEST = f"End each turn with a line of 1 to {COMMANDS_MAX} commands, a space between two.\n"
#: Most turns of an episode: whoever explores what is nearest first needs two thirds of them. A
#: level has the maps of that level of `errands`.
TURNS = (8, 12, 16, 20, 24, 28)

_UNREADABLE = f"Write 1 to {COMMANDS_MAX} of these words: {', '.join(COMMANDS)}.\n"
#: Characters of the longest line of commands.
_LINE_MAX = 6 * COMMANDS_MAX - 1


@dataclass(frozen=True, slots=True)
class Errand:
    """The `State` of an episode: the robot's, the turns that are left, and whether the last turn
    could be read."""

    world: World
    robot: errands.State
    left: int
    is_read: bool = False

    def step(self, turn: str, is_ended: bool) -> tuple["Errand", str | None]:
        """See `State.step`. A turn that was cut is read like another."""
        del is_ended
        commands = read_commands(turn)
        robot, failed = self._execute(commands)
        after = Errand(self.world, robot, self.left - 1, bool(commands))
        if errands.is_done(self.world, robot) or after.left <= 0:
            return after, None
        if not commands:
            return after, _UNREADABLE
        return after, f"{failed}{describe_view(self.world, robot)}\n"

    def _execute(self, commands: Sequence[str]) -> tuple[errands.State, str]:
        """The robot after the commands, and what is said of the first that cannot be done: the rest
        is skipped."""
        robot = self.robot
        for command in commands:
            following = compute_step(self.world, robot, command)
            if following is None:
                return robot, f"{command}: cannot be done\n"
            robot = following
        return robot, ""

    def score(self) -> RewardParts:
        """See `State.score`: only where things are at the end counts."""
        return rate_answer(errands.is_done(self.world, self.robot)) if self.is_read else UNREAD


def read_commands(turn: str) -> Sequence[str]:
    """The commands of a turn's last line, blanks around it apart; none if there is a word among
    them that is no command, or too many."""
    text = turn.rstrip(BLANKS)
    line = text[max(map(text.rfind, "\r\n")) + 1 :].lstrip(BLANKS)
    if len(line) > _LINE_MAX:
        return ()
    commands: list[str] = []
    while line:
        word, _, line = line.partition(" ")
        if word not in COMMANDS or len(commands) == COMMANDS_MAX:
            return ()
        commands.append(word)
    return commands


def describe_view(world: World, robot: errands.State) -> str:
    """Where the robot is, what it sees each way up to a wall or a closed door, what is here and
    what it holds, in the characters of the map of `errands`."""
    row, column = divmod(robot.cell, world.side)
    ways = ", ".join(f"{way} {_look(world, robot, *step)}" for way, step in errands.MOVES.items())
    names = errands.name_things(world)
    held = names[robot.held] if robot.held >= 0 else "nothing"
    here = errands.name_cell(world, robot, robot.cell)
    return f"row {row + 1}, column {column + 1}: {ways}, here {here}, hand {held}"


def _look(world: World, robot: errands.State, down: int, right: int) -> str:
    """The cells of one way, from the next one on. The last one is a wall, which the map's edge is
    too, or a closed door."""
    row, column = divmod(robot.cell, world.side)
    seen = ""
    while True:
        row, column = row + down, column + right
        if not (0 <= row < world.side and 0 <= column < world.side):
            return f"{seen}{errands.WALL}"
        cell = row * world.side + column
        seen += errands.name_cell(world, robot, cell)
        if cell in world.walls or errands.is_closed(world, robot, cell):
            return seen


class Rooms(WorldEnvironment):
    levels = range(1, len(TURNS) + 1)
    turns = max(TURNS)
    proof_turns = (
        *("north", "south", "east", "west", "take", "put", "east east take", "south south take"),
        *("west north take", "so\nnorth north put", "east put ", "north\ttake", "south  take"),
        *("take take", "north " * COMMANDS_MAX, "north " * (COMMANDS_MAX + 1), "East", "go north"),
        *("#### north", "west west west west", "south south south south", "east east east east"),
        *("put\r\n", "\r\neast take north", "west\nput take"),
    )

    def __init__(self, params: Mapping[str, int]) -> None:
        super().__init__(NAME, VERSION, PARAMS, params, PROOF)

    def write_answer(self, answer: str) -> str:
        return answer

    def list_thoughtless(self, problem: Problem) -> Sequence[str]:
        """Walks along the walls, which take and put whatever they can."""
        walks = ("east take put", "south take put", "west take put", "north take put")
        return list(islice(cycle(walks), TURNS[problem.level - 1]))

    def open(self, problem: Problem) -> Errand:
        world = self._find_world(problem)
        return Errand(world, errands.begin(world), TURNS[problem.level - 1])

    def solve(self, problem: Problem) -> Sequence[str]:
        world = self._find_world(problem)
        way = errands.find_shortest(world, world.allowed)
        assert way is not None, "only such worlds are asked"
        return [" ".join(way[i : i + COMMANDS_MAX]) for i in range(0, len(way), COMMANDS_MAX)]

    def _find_world(self, problem: Problem) -> World:
        world = problem.answer
        if not isinstance(world, World):
            raise TypeError(f"not a problem of {self.name}: {type(world).__name__}")
        return world

    def _draw(self, stream: Stream, level: int) -> Problem:
        world = errands.draw(stream, level)
        return Problem(_write_question(world, TURNS[level - 1]), level, world, REQUEST)


def _write_question(world: World, turns: int) -> str:
    names = errands.name_things(world)
    side, view = world.side, describe_view(world, errands.begin(world))
    lines = (
        f"A robot in a house of {side} by {side} cells carries one thing at a time. "
        f"{errands.write_tasks(names)}",
        *errands.write_doors(world, names),
        "Commands: north (up), south, east, west: one cell. take: what lies here. put: a parcel at "
        "its place, in capitals. What follows one that cannot be done is skipped.",
        f"You have {turns} turns. Replies say what is seen each way up to a wall, X, or a closed "
        "door.",
        view,
    )
    return "\n".join(lines) + "\n"


KIND = Kind(
    NAME,
    VERSION,
    drawn=Drawn(Rooms, "do a robot's errands in rooms that it explores, turn by turn", PARAMS),
)
