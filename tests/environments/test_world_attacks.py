"""Attacks on Assay's own worlds: they withstand, and each attack succeeds where a world has the
defect that it looks for."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from assay.environments.base import State
from assay.environments.foreign import world_vetting
from assay.environments.own_worlds import attack_own_worlds, list_worlds
from assay.environments.registry import make_environment
from assay.environments.worlds.guessing import Guesses
from assay.environments.worlds.world import WorldEnvironment
from assay.settings import loading
from tests.commands import run_command

(GUESS,) = list_worlds(make_environment("guess", {}))


def find_failed(environment: WorldEnvironment) -> dict[str, str]:
    found = attack_own_worlds(environment, 2)
    return {one.name.partition(": ")[2]: one.detail for one in found if not one.passed}


@pytest.fixture
def all_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world_vetting, "CONSTANTS", 60)


@pytest.mark.usefixtures("few_texts", "all_constants")
@pytest.mark.parametrize("name", ["guess", "codes", "rooms"])
def test_worlds_of_ours_withstand(name: str) -> None:
    (environment,) = list_worlds(make_environment(name, {"plain": 1}))
    assert find_failed(environment) == {}
    names = {one.name for one in attack_own_worlds(environment, 1)}
    assert {f"{name}: replies", f"{name}: constant turns", f"{name}: same twice"} < names


Step = Callable[[Guesses, str, bool], tuple[State, str | None]]


def leak(step: Step) -> Step:
    """Every other reply to what is no guess names the secret."""

    def leaking(self: Guesses, turn: str, is_ended: bool) -> tuple[State, str | None]:
        after, said = step(self, turn, is_ended)
        return after, said and f"Not {self.secret.text}, is it?"

    return leaking


def forget(step: Step) -> Step:
    """It replies by how often it was asked before."""
    asked = count()

    def forgetting(self: Guesses, turn: str, is_ended: bool) -> tuple[State, str | None]:
        after, said = step(self, turn, is_ended)
        return after, said and f"{next(asked)} {said}"

    return forgetting


def hedge(step: Step) -> Step:
    def hedging(self: Guesses, turn: str, is_ended: bool) -> tuple[State, str | None]:
        secret = self.secret.text  # one digit stands in many a turn
        is_named = len(secret) > 1 and secret in turn
        return step(self, secret if is_named else turn, is_ended)

    return hedging


def give_up(step: Step) -> Step:
    def giving(self: Guesses, turn: str, is_ended: bool) -> tuple[State, str | None]:
        return step(self, turn or self.secret.text, is_ended)

    return giving


def evaluate(step: Step) -> Step:
    def evaluating(self: Guesses, turn: str, is_ended: bool) -> tuple[State, str | None]:
        return step(self, self.secret.text if turn == "None" else turn, is_ended)

    return evaluating


@pytest.mark.usefixtures("few_texts", "all_constants")
@pytest.mark.parametrize(
    ("spoil", "check", "words"),
    [
        (leak, "replies", "says what is right, as in 60 of 60 problems"),
        (forget, "same twice", "is another in another order"),
        (hedge, "hostile turns", "earns, in both orders"),
        (give_up, "silence", "saying nothing 1 times earns"),
        (evaluate, "hostile turns", "'None' earns"),
    ],
)
def test_a_spoilt_world_is_found(
    spoil: Callable[[Any], Any], check: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Guesses, "step", spoil(Guesses.step))
    failed = find_failed(GUESS)
    assert check in failed, failed
    assert words in failed[check]


@pytest.mark.usefixtures("few_texts")
def test_a_world_whose_secret_hardly_varies_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    make = type(GUESS).make_problem

    def make_few(self: Any, seed: bytes, levels: list[int]) -> Any:
        return make(self, bytes([*bytes(31), seed[-1] % 2]), levels)

    monkeypatch.setattr(type(GUESS), "make_problem", make_few)
    assert "problems of level 1" in find_failed(GUESS)["constant turns"]


def test_each_part_of_a_mixture_is_attacked() -> None:
    mix = make_environment("mix", {"guess": 1, "codes": 2, "sat": 1, "guess.bos": 1})
    assert [one.name for one in list_worlds(mix)] == ["codes", "guess"]
    assert list_worlds(make_environment("sat", {})) == []


@pytest.mark.usefixtures("few_texts")
def test_vet_names_the_attacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guesses, "step", leak(Guesses.step))  # no such world could be opened
    monkeypatch.setattr(loading, "open_named_environment", lambda name: GUESS)
    done = run_command("env", "vet", "guess", "--quiet")
    assert done.returncode == 1
    assert "its multi-turn environment fails guess: replies" in done.stdout
