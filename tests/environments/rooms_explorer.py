"""A player of `rooms` that sees the question and the replies alone, and explores what is near."""

import re
from collections.abc import Callable, Generator

from assay.environments.worlds.errands import MOVES
from assay.environments.worlds.rooms import COMMANDS_MAX

_VIEW = re.compile(
    r"row (\d+), column (\d+): north (\S+), south (\S+), east (\S+), west (\S+), "
    r"here (\S), hand (\S+)"
)
Cell = tuple[int, int]


def explore(question: str) -> Generator[str, str, None]:
    """Yields turns, and is sent replies."""
    player = _Explorer(question)
    reply = question
    while True:
        player.see(reply)
        commands: list[str] = []
        while len(commands) < COMMANDS_MAX:
            commands += player.choose(COMMANDS_MAX - len(commands))
            if player.is_curious:
                break
        reply = yield " ".join(commands)


class _Explorer:
    """Its map: cell → the character that it saw there last."""

    def __init__(self, question: str) -> None:
        side = re.search(r"(\d+) by \1 cells", question)
        assert side is not None
        self.side = int(side[1])
        self.map: dict[Cell, str] = {}
        self.cell, self.hand, self.is_curious = (0, 0), "nothing", True

    def see(self, reply: str) -> None:
        found = _VIEW.search(reply)
        assert found is not None, reply
        self.cell = int(found[1]) - 1, int(found[2]) - 1
        self.map[self.cell], self.hand = found[7], found[8]
        for (down, right), seen in zip(MOVES.values(), found.groups()[2:6], strict=True):
            row, column = self.cell
            for what in seen:
                row, column = row + down, column + right
                self.map[row, column] = what

    def choose(self, most: int) -> list[str]:
        """The next commands, at most so many: of what it knows, or to where it sees more."""
        self.is_curious = False
        spots = {what: cell for cell, what in self.map.items() if what.isalpha() and what != "X"}
        if self.hand != "nothing":
            goal, last = spots[self.hand.upper()], "put"
            way = self._find_way_to(goal, self.hand.upper())
            assert way is not None
            if self.hand in "ab":  # the step into the door uses the key
                return self._do(way[:most], None, len(way) <= most)
            return self._do(way[:most], last if len(way) < most else None)
        way = self._find_way(self._is_frontier, "")
        for things in ("pqr", "ab"):
            for name in things:
                there = spots.get(name), spots.get(name.upper())
                if None in there or (way is not None and things == "ab"):
                    continue
                first, second = (self._find_way_to(cell, name.upper()) for cell in there if cell)
                if first is not None and second is not None:
                    return self._do(first[:most], "take" if len(first) < most else None)
        assert way is not None, "there is nothing left to do"
        self.is_curious = len(way) <= most
        return self._do(way[:most], None)

    def _do(self, way: list[str], last: str | None, is_opened: bool = False) -> list[str]:
        for command in way:
            down, right = MOVES[command]
            self.cell = self.cell[0] + down, self.cell[1] + right
        here = self.map.get(self.cell, "?")
        if last == "take":
            self.hand, self.map[self.cell] = here, "."
        if last == "put" or is_opened:
            self.hand, self.map[self.cell] = "nothing", "."
            self.is_curious = True
        return [*way, *([last] if last else [])]

    def _is_frontier(self, cell: Cell) -> bool:
        row, column = cell
        return any(
            0 <= row + down < self.side
            and 0 <= column + right < self.side
            and (row + down, column + right) not in self.map
            for down, right in MOVES.values()
        )

    def _find_way_to(self, goal: Cell, door: str) -> list[str] | None:
        return self._find_way(lambda cell: cell == goal, door)

    def _find_way(self, is_goal: Callable[[Cell], bool], door: str) -> list[str] | None:
        """The shortest way over known cells, through no closed door but this one."""
        before: dict[Cell, tuple[Cell, str]] = {self.cell: (self.cell, "")}
        reached = [self.cell]
        while reached:
            following = []
            for cell in reached:
                if is_goal(cell):
                    way = []
                    while cell != self.cell:
                        cell, command = before[cell]
                        way.append(command)
                    return way[::-1]
                for command, (down, right) in MOVES.items():
                    after = cell[0] + down, cell[1] + right
                    what = self.map.get(after, "X")
                    if after not in before and what != "X" and (what not in "AB" or what == door):
                        before[after] = cell, command
                        following.append(after)
            reached = following
        return None
