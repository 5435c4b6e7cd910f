"""Every kind of environment is held by the tests that keep one in consensus, or says why not.

An environment pays and is judged from the day it stands in the table. So each has vectors of its
problems and scores, which another implementation reproduces, hostile text that its scorer is shown,
and a section of the page by which somebody else could write it.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assay.environments import problem_look
from assay.environments.problem_formats import FORMATS
from assay.environments.registry import KINDS, list_files
from tests.absent import has_sandbox
from tests.environments import test_hostile_text
from tests.tree import ROOT

VECTORS = ROOT / "tests" / "vectors"
PAGE = (ROOT / "docs" / "environments.md").read_text()
#: Vectors whose programs the second implementation runs in the image.
SLOW = "code.json"
_FOREIGN = "its problems and scores are its author's code, run in the image that code.json pins"
_LIBRARY = (
    "its problems and scores are the library's code in an image whose digest the environment's "
    "names: test_gym compares them with the same code outside"
)
#: Environment → why it has no vector.
UNVECTORED = {
    "package:SHA256": _FOREIGN,
    "reasoning_gym:NAME": _LIBRARY,
    "verifiers:SHA256": _FOREIGN,
}
#: Environment with a vector → why the second implementation has none of it.
UNIMPLEMENTED: dict[str, str] = {}
#: Kind → the test of its hostile answers, where `test_hostile_text` has none.
HOSTILE = {
    "abduce": "test_piece_environments.test_abduce_takes_any_input_but_the_output",
    "deduce": "test_piece_environments.test_deduce_compares_values",
    "induce": "test_piece_environments.test_induce_tries_hidden_pairs",
    "instructions": "test_instructions.test_hostile_text_is_read_a_few_times",
    "math": "test_math.test_hostile_text_is_read_or_not_and_never_raises",
    "package": "test_packages.test_what_takes_too_many_instructions_earns_nothing",
    "propose": "test_propose.test_a_hostile_proposal_is_refused_and_bounded",
    "reasoning_gym": "test_gym.test_no_hostile_answer_earns",
    "verifiers": "test_tasksets.test_no_reply_finds_what_another_leaves_behind",
}
#: Drawn environment → why it knows no answer of its problems.
UNSOLVED = {
    "errands": "a shortest way is searched for only where it is wanted: `write_commands`",
    "propose": "there is no right proposal, only such as are taken into the pool",
    "sat": "the planted solution is thrown away: `list_thoughtless` has what needs no thought",
}
#: Kind → the section that it shares.
SECTIONS = dict.fromkeys(("abduce", "deduce", "induce"), "Pieces")


def list_environments_of(name: str) -> list[str]:
    """How environments of a kind are named: by itself, by a file, by a dataset."""
    kind = KINDS[name]
    ways = {name: kind.drawn, f"{name}:SHA256": kind.file, f"{name}:NAME": kind.datasets}
    return [way for way, has in ways.items() if has is not None]


ENVIRONMENTS = [way for name in KINDS for way in list_environments_of(name)]


def generalise(name: str) -> str:
    return re.sub(r":[0-9a-f]{64}$", ":SHA256", name)


def find_objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            yield from find_objects(inner)


def find_vectored(stem: str, vector: dict[str, Any]) -> Iterator[str]:
    """The environments of whose problems a file has vectors, and of some the scores."""
    if "problems" in vector and ("scored" in vector or "completions" in vector):
        yield vector.get("name") or vector.get("file", {}).get("name") or stem
    for one in find_objects(vector):
        if {"name", "digest", "problems"} <= one.keys():
            yield one["name"]
        if {"environment", "groups"} <= one.keys():
            yield one["environment"]["name"]


def load_vectored() -> dict[str, list[Path]]:
    """Environment → the files of its vectors."""
    found: dict[str, list[Path]] = {}
    for file in sorted(VECTORS.glob("*.json")):
        for name in find_vectored(file.stem, json.loads(file.read_bytes())):
            found.setdefault(generalise(name), []).append(file)
    return found


@pytest.fixture(scope="module")
def vectored() -> dict[str, list[Path]]:
    return load_vectored()


@pytest.fixture(scope="module")
def implemented(checked_vectors: subprocess.CompletedProcess[str]) -> set[str]:
    """What the second implementation computes of the vectors, all of it as they say."""
    done = checked_vectors
    assert done.returncode == 0, done.stdout + done.stderr
    (names,) = re.findall(r"^environments: (.*)$", done.stdout, re.M)
    return set(names.split(", "))


def demand(name: str, is_there: bool, excuses: dict[str, str], what: str) -> None:
    if name in excuses:
        assert not is_there, f"{name} has {what}: remove the reason for having none"
    else:
        assert is_there, f"{name} has no {what}: add it, or a reason to this file's table"


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_it_has_a_vector(name: str, vectored: dict[str, list[Path]]) -> None:
    demand(name, name in vectored, UNVECTORED, "vector in tests/vectors")


@pytest.mark.parametrize("name", [name for name in ENVIRONMENTS if name not in UNVECTORED])
def test_the_second_implementation_has_it(
    name: str, vectored: dict[str, list[Path]], request: pytest.FixtureRequest
) -> None:
    if {file.name for file in vectored.get(name, [])} == {SLOW}:
        return  # test_second_implementation looks for it where there is an image
    implemented = request.getfixturevalue("implemented")
    demand(name, name in implemented, UNIMPLEMENTED, "second implementation")


@pytest.mark.parametrize("name", KINDS)
def test_its_scorer_is_shown_hostile_text(name: str) -> None:
    is_there = name in test_hostile_text.LEVELS or (name == "code" and not has_sandbox())
    demand(name, is_there, HOSTILE, "row in tests/environments/test_hostile_text.py")
    if name in HOSTILE:
        module, _, test = HOSTILE[name].partition(".")
        text = (ROOT / "tests" / "environments" / f"{module}.py").read_text()
        assert f"\ndef {test}(" in text


@pytest.mark.parametrize("name", KINDS)
def test_the_page_has_a_section_of_it(name: str) -> None:
    headings = re.findall(r"^##+ (.*)$", PAGE, re.M)
    is_there = not {name, *list_environments_of(name)}.isdisjoint(headings)
    demand(name, is_there, SECTIONS, "section in docs/environments.md")
    if name in SECTIONS:
        _, _, section = PAGE.partition(f"\n## {SECTIONS[name]}\n")
        assert f"`{name}`" in section.partition("\n## ")[0]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_page_has_it_among_the_choices(name: str) -> None:
    _, _, choices = PAGE.partition("\n## Choosing an environment\n")
    table = re.findall(r"^\|([^|]*)\|", choices.partition("\n## ")[0], re.M)
    demand(name, f"`{name}`" in " ".join(table), {}, "row in the table of docs/environments.md")


@pytest.mark.parametrize("name", [name for name in KINDS if KINDS[name].drawn is not None])
def test_it_solves_its_problems(name: str) -> None:
    """What a miner warms up with, and what vetting answers."""
    if KINDS[name].require is not None and not has_sandbox():
        pytest.skip("needs the sandbox for programs")
    made = KINDS[name].drawn.make({})
    demand(name, any(made.solve(made.make_problem(bytes(32), made.levels))), UNSOLVED, "solve")


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (UNVECTORED, ENVIRONMENTS),
        (UNIMPLEMENTED, ENVIRONMENTS),
        (UNSOLVED, KINDS),
        (HOSTILE, KINDS),
        (SECTIONS, KINDS),
    ],
)
def test_no_reason_is_for_what_is_no_more(table: dict[str, str], names: list[str]) -> None:
    assert table.keys() <= set(names)


def test_a_kind_says_what_its_environments_are() -> None:
    """A record that says otherwise than its module would be another environment to people."""
    for name, kind in KINDS.items():
        assert kind.name == name
        assert list_environments_of(name)
        if kind.drawn is None or (kind.require is not None and not has_sandbox()):
            continue
        made = kind.drawn.make({})
        assert made.name == name
        defaults = {setting: param.default for setting, param in kind.list_settings().items()}
        assert made.params == defaults, name


def test_files_are_of_the_formats_that_there_are() -> None:
    rows = {name: one.rows for name, one in list_files().items() if one.rows is not None}
    assert rows == FORMATS
    assert problem_look.READERS.keys() == rows.keys()
