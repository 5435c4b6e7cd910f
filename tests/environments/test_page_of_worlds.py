"""The world of docs/worlds.md, as it stands there: it opens, is played, and is fit to pay by."""

import ast
import importlib.util
import io
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.cli.env_play import run_env_play
from assay.cli.vet_view import show_vetted_environment
from assay.environments import listing, registry
from assay.environments.base import UNREAD, Environment, Problem, State, rate_answer
from assay.environments.registry import make_environment
from assay.environments.worlds.world import ODD_TURNS
from assay.settings.loading import open_named_environment
from assay.subnet.problem_samples import SampleRequest
from assay.subnet.vetting import vet_environment
from tests.environments.conftest import make_seed
from tests.environments.exactness import require_exact
from tests.tree import ROOT

PAGE = (ROOT / "docs" / "worlds.md").read_text()
(CODE,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
(PLAYED,) = re.findall(r"^```text\n(.*?)^```$", PAGE, re.M | re.S)
RIGHT = rate_answer(1)


def load(folder: Path, code: str) -> ModuleType:
    """The page's file, as a module."""
    path = folder / "doors.py"
    path.write_text(code)
    spec = importlib.util.spec_from_file_location("doors", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", autouse=True)
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The page's module, with the page's last line and its row in the registry."""
    (needed,) = re.findall(r"^`(from .*?)`:$", PAGE, re.M)
    (kind,) = re.findall(r"^    (KIND = .*)$", PAGE, re.M)
    (row,) = re.findall(r"^    (doors\.KIND),$", PAGE, re.M)
    module = load(tmp_path_factory.mktemp("worlds"), f"{CODE}\n\n{needed}\n{kind}\n")
    declared = eval(row, {"doors": module})
    table = {**registry.KINDS, declared.name: declared}
    with pytest.MonkeyPatch.context() as patch:
        for each in (registry, listing):
            patch.setattr(each, "KINDS", table)
        yield module


@pytest.fixture(scope="module")
def world() -> Environment:
    return make_environment("doors", {})


def test_it_has_forty_lines_beside_its_imports() -> None:
    tree = ast.parse(CODE)
    left_out = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    left_out += [
        node.body[0]  # type: ignore[misc]
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)
    ]
    numbers = {n for node in left_out for n in range(node.lineno, (node.end_lineno or 0) + 1)}
    lines = enumerate(CODE.splitlines(), 1)
    rest = [n for n, line in lines if n not in numbers and line.strip() and "#:" not in line]
    assert len(rest) == 40


def test_it_opens_by_its_name_and_in_a_mixture(world: Environment) -> None:
    assert (list(world.levels), world.turns) == ([1, 2, 3, 4], 21)
    for level in world.levels:
        assert world.make_problem(make_seed(0), [level]).level == level
    mix = make_environment("mix", {"arithmetic": 1, "doors": 1})
    assert mix.turns == 21
    entry = next(one for one in listing.list_environments() if one.name == "doors")
    assert (entry.usable, entry.about) == (True, "find the keys of doors by replies, turn by turn")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (" open, the", " are open, the"),
        ("Write {count}", "Write  {count}"),
        ("!= self.keys[n]), count)", "!= self.keys[n]), 0)"),
        ("opened == count or", ""),
        ("DOORS = (5, 6", "DOORS = (4, 6"),
    ],
)
def test_a_world_that_says_something_else_does_not_open(tmp_path: Path, old: str, new: str) -> None:
    """Its proof episodes see each branch of `step`, the right answer, and the drawn problem."""
    assert CODE.count(old) == 1
    with pytest.raises(ValueError, match="doors replies otherwise"):
        load(tmp_path, CODE.replace(old, new)).DoorsWorld({})


def test_zeros_are_answered_with_the_digest(doors: ModuleType, tmp_path: Path) -> None:
    zeros = load(tmp_path, CODE.replace(doors.PROOF, "0" * 64))
    with pytest.raises(ValueError, match=f"its proof episodes give {doors.PROOF}, not {'0' * 64}"):
        zeros.DoorsWorld({})


def test_its_module_has_nothing_inexact() -> None:
    require_exact(CODE)


def listen(world: Environment, problem: Problem) -> tuple[int, State]:
    """Try the keys of one door after the other, by the replies alone: turns taken, and the state at
    the end."""
    count = int(problem.question.partition(" ")[0])
    state, known, turns = world.open(problem), "", 0
    tried = iter("abc")
    while True:
        key = next(tried)
        state, reply = state.step(f"So {(known + key).ljust(count, 'a')}\n", is_ended=True)
        turns += 1
        if reply is None:
            return turns, state
        opened = int(reply.partition(" ")[0])
        if opened > len(known):
            # the doors behind it had key a
            known, tried = (known + key).ljust(opened, "a"), iter("bc")


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_who_listens_finds_all_keys_in_time(world: Environment, level: int) -> None:
    for number in range(40):
        problem = world.make_problem(make_seed(number), [level])
        turns, state = listen(world, problem)
        assert state.score() == RIGHT
        assert turns <= 2 * int(problem.question.partition(" ")[0]) + 1 <= world.turns


def test_who_does_not_listen_finds_little(capsys: pytest.CaptureFixture[str]) -> None:
    vetted = vet_environment(open_named_environment("doors"))
    assert vetted.is_fit
    show_vetted_environment(vetted, "doors", as_json=False)
    assert "reward-hacking baselines earn next to nothing" in capsys.readouterr().out


def test_keys_are_spread_evenly(world: Environment) -> None:
    asked = [world.make_problem(make_seed(n), [1]).answer for n in range(400)]
    counts = Counter("".join(answer.keys for answer in asked))  # type: ignore[attr-defined]
    assert set(counts) == set("abc")
    assert min(counts.values()) > 400 * 5 * 0.28


def test_it_is_played_as_the_page_shows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    turns = re.findall(r"^> (.*\n)", PLAYED, re.M)
    assert len(turns) == 3
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("".join(turns).encode())))
    asked = SampleRequest("doors", "00" * 32, 1, [1])
    run_env_play(asked, as_json=False)
    assert capsys.readouterr().out == PLAYED


@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=12), max_size=12))
def test_no_turn_raises(world: Environment, turns: list[str]) -> None:
    state = world.open(world.make_problem(bytes(32), [1]))
    for turn in (*ODD_TURNS, *turns, "a" * 100_000):
        state, reply = state.step(turn, is_ended=False)
        assert reply is None or (reply.isascii() and reply.endswith("\n") and len(reply) < 64)
    assert state.score() == UNREAD


def test_a_problem_of_another_world_is_our_own_fault(world: Environment) -> None:
    other = make_environment("guess", {}).make_problem(bytes(32), [1])
    with pytest.raises(TypeError, match="not a problem of doors"):
        world.open(other)
