"""The golden window: the shipped checkpoint gives the same ids on every machine."""

import json
import sys
from pathlib import Path

import pytest

from assay.protocol.parameters import SMALL_MODEL_TESTS
from tests.commands import run_code
from tests.machines import COMPUTING, find_machines, run

ROOT = Path(__file__).parents[2]
GOLDEN = json.loads((ROOT / "tests/vectors/golden.json").read_bytes())
CHECK = [sys.executable, "tests/vectors/golden.py", "--check"]


@pytest.mark.parametrize("groups", [1, pytest.param(4, marks=pytest.mark.nightly)])
def test_this_machine_draws_it(groups: int) -> None:
    """Its first groups, in a process of its own: the vectors' modules have names as short as
    any."""
    code = (
        f"import runpy, sys; sys.argv += ['--check', '{groups}']\n"
        "runpy.run_path('tests/vectors/golden.py', run_name='__main__')"
    )
    assert run_code(code, cwd=ROOT).startswith("the golden window; ")


def test_a_machine_without_wide_instructions_draws_it() -> None:
    assert find_machines()[0] == "default-1"
    assert run("default-1", "golden window", CHECK)


@pytest.mark.parametrize("place", COMPUTING, ids=lambda place: place.name)
def test_what_other_machines_run_is_here(place: Path) -> None:
    """A folder of tests, or a file of them."""
    assert place.is_file() or [*place.glob("test_*.py")]


def test_no_draw_of_it_hangs_on_rounding() -> None:
    """Two permitted implementations come apart by no more than the cap, twice: each may err."""
    assert GOLDEN["nearest_tie"] > 2 * SMALL_MODEL_TESTS.margin_cap
    lengths = [len(r["tokens"]) for group in GOLDEN["groups"] for r in group["rollouts"]]
    assert sum(lengths) > 500


def test_another_id_is_another_window() -> None:
    changed = json.loads(json.dumps(GOLDEN))
    changed["groups"][0]["rollouts"][0]["tokens"][0] += 1
    changed["groups"][1]["rollouts"][0]["logprobs"][0] += 2
    changed["groups"][2]["rollouts"][0]["sketch"][0][0] += 2
    code = (
        "import sys, json; sys.path.insert(0, 'tests/vectors')\n"
        "from golden import find_differences\n"
        "one, other = map(json.loads, sys.stdin.read().split('\\x00'))\n"
        "print(len(find_differences(one, other)), len(find_differences(one, one)))"
    )
    given = json.dumps(GOLDEN) + "\x00" + json.dumps(changed)
    assert run_code(code, given, cwd=ROOT).split() == ["3", "0"]
