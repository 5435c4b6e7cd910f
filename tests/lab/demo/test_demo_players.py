"""Turns on a virtual clock: the order of play, and players that wait or break."""

import threading
import time
from collections.abc import Callable

import pytest

from assay.lab.demo.players import FreePlayers, TurnPlayers

#: Longest wait for a thread, seconds.
PATIENCE_S = 10.0


class Pool:
    """Extrinsics that wait for a block, and who sent them."""

    def __init__(self) -> None:
        self.waiting: list[threading.Event] = []

    def count(self) -> int:
        return len(self.waiting)

    def send(self) -> None:
        """Comes back when a block holds it."""
        included = threading.Event()
        self.waiting.append(included)
        assert included.wait(PATIENCE_S)

    def make_block(self) -> None:
        taken, self.waiting = self.waiting, []
        for included in taken:
            included.set()


class Player:
    """Records its actions; submits in the named steps."""

    trouble = None

    def __init__(self, name: str, log: list[str], pool: Pool, script: str) -> None:
        self.name = name
        self._log = log
        self._pool = pool
        self._script = list(script)

    def step(self) -> bool:
        """`.` has more to do, `|` has not, `s` sends, `!` breaks."""
        mark = self._script.pop(0) if self._script else "|"
        time.sleep(0.002)
        self._log.append(f"{self.name}{mark}")
        if mark == "!":
            raise RuntimeError(f"{self.name} is broken")
        if mark == "s":
            self._pool.send()
        return mark != "|"


def play(scripts: dict[str, str], rounds: int) -> list[list[str]]:
    """Everybody's actions in each round, with a block after each round."""
    pool, log = Pool(), list[str]()
    neurons = [Player(name, log, pool, script) for name, script in scripts.items()]
    players = TurnPlayers(neurons, pool.count, lambda: None)
    players.start()
    found = []
    try:
        for _ in range(rounds):
            players.play()
            found.append(log.copy())
            log.clear()
            pool.make_block()
    finally:
        players.stop()
        pool.make_block()
        assert players.join(PATIENCE_S)
    if players.failure is not None:
        raise players.failure
    return found


def test_one_at_a_time_and_always_in_the_same_order() -> None:
    assert play({"a": "..|.|", "b": ".||"}, 2) == [
        ["a.", "a.", "a|", "b.", "b|"],
        ["a.", "a|", "b|"],
    ]


def test_whoever_sends_lets_the_others_go_on_and_is_there_again_after_the_block() -> None:
    """The step that sent ends before anybody's next turn, whichever thread wakes first."""
    for _ in range(5):
        assert play({"a": "s.|", "b": "s|", "c": "..|"}, 2) == [
            ["as", "bs", "c.", "c.", "c|"],
            ["a.", "a|", "b|", "c|"],
        ]


def test_an_extrinsic_that_misses_a_block_is_awaited_in_the_next() -> None:
    pool, log = Pool(), list[str]()
    players = TurnPlayers(
        [Player("a", log, pool, "s."), Player("b", log, pool, "|")], pool.count, lambda: None
    )
    players.start()
    players.play()
    players.play()  # no block has come
    assert log == ["as", "b|", "b|"]
    players.stop()
    pool.make_block()
    assert players.join(PATIENCE_S)


@pytest.mark.parametrize("kind", [FreePlayers, TurnPlayers])
def test_a_broken_neuron_stops_all(kind: Callable[..., FreePlayers | TurnPlayers]) -> None:
    pool, log = Pool(), list[str]()
    neurons = [Player("a", log, pool, ".|"), Player("b", log, pool, ".!")]
    players = kind(neurons) if kind is FreePlayers else kind(neurons, pool.count, lambda: None)
    players.start()
    players.play()
    assert players.join(PATIENCE_S)
    assert str(players.failure) == "b is broken"


def test_an_interrupt_ends_those_whose_turn_has_not_come() -> None:
    pool, log = Pool(), list[str]()
    players = TurnPlayers([Player("a", log, pool, "|")], pool.count, lambda: None)
    players.start()
    players.stop()
    assert players.join(PATIENCE_S)
    assert log == []
