"""What stands in for packages in reasoning-gym's image gives what they give."""

import importlib.util
import random
import sys
from importlib.resources import files
from itertools import product
from types import ModuleType

import numpy as np
import pytest


def load(name: str) -> ModuleType:
    path = str(files("assay.environments.gym").joinpath("inside", f"{name}.py"))
    spec = importlib.util.spec_from_file_location(f"standin_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NUMPY = load("numpy")


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 987_654_321])
def test_generators_draw_what_numpy_draws(seed: int) -> None:
    ours, theirs = NUMPY.Generator(seed), np.random.default_rng(seed)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    for count in range(1, 60):
        assert ours.integers(0, count) == theirs.integers(0, count)
        assert ours.choice(letters) == theirs.choice(letters)
        size = min(count, 26)
        drawn = ours.choice(letters, size=size, replace=False)
        assert drawn == theirs.choice(letters, size=size, replace=False).tolist()
    NUMPY.random.seed(seed % 2**32)
    np.random.seed(seed % 2**32)
    drawn = NUMPY.random.randint(0, 10, (9, 40)).tolist()
    assert drawn == np.random.randint(0, 10, (9, 40)).tolist()


def test_numbers_round_as_numpy_rounds() -> None:
    drawn = random.Random(1)
    values = [drawn.uniform(-1e4, 1e4) for _ in range(2_000)]
    for decimals, value in enumerate([*values, 0.125, -0.125, 2.5, 1.005, -0.0, -0.3, 0.5]):
        places = decimals % 5
        assert str(NUMPY.round(value, places)) == str(np.round(value, places))
        assert str(round(NUMPY.float64(value), places)) == str(round(np.float64(value), places))
    rows = [[1, 2], [4, 6]]
    assert str(round(NUMPY.mean(NUMPY.array(rows)), 2)) == str(round(np.mean(np.array(rows)), 2))


@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2)])
def test_arrays_turn_and_take_parts_as_numpy_s(axes: tuple[int, int]) -> None:
    theirs = np.arange(27).reshape(3, 3, 3)
    ours = NUMPY.array(theirs.tolist())
    for times in (-1, 1, 2):
        turned = np.rot90(theirs, times, axes=axes)
        assert NUMPY.rot90(ours, times, axes).tolist() == turned.tolist()
    part = (slice(None), slice(1, 2), slice(None))
    assert ours[part].tolist() == theirs[part].tolist()
    assert ours.shape == theirs.shape
    assert ours[1:, 0, 2].tolist() == theirs[1:, 0, 2].tolist()
    ours[part], theirs[part] = ours[part][::-1], theirs[part][::-1]
    ours[0, :, 1], theirs[0, :, 1] = 7, 7
    assert ours.tolist() == theirs.tolist()
    assert ours.flatten().tolist() == theirs.flatten().tolist()


def test_all_solutions_of_clauses_are_found() -> None:
    solve, drawn = load("pycosat").itersolve, random.Random(2)
    for _ in range(200):
        variables = range(1, drawn.randrange(2, 7))
        clauses = [
            [drawn.choice((-1, 1)) * one for one in drawn.sample(variables, min(3, len(variables)))]
            for _ in range(drawn.randrange(1, 20))
        ]
        count = max(abs(one) for clause in clauses for one in clause)
        right = [
            list(signs)
            for signs in product((False, True), repeat=count)
            if all(any((one > 0) == signs[abs(one) - 1] for one in clause) for clause in clauses)
        ]
        found = [[one > 0 for one in solution] for solution in solve(clauses)]
        assert sorted(found) == sorted(right)


@pytest.mark.skipif(sys.maxsize < 2**32, reason="sets have another order on 32 bits")
def test_sets_have_the_order_of_64_bits() -> None:
    wide, drawn = load("wide_sets").WideSet, random.Random(3)
    for size in range(120):
        pairs = [(drawn.randrange(40), drawn.randrange(40)) for _ in range(size)]
        assert list(wide(pairs)) == list(set(pairs))
        numbers = [pair[0] for pair in pairs]
        assert list(wide(numbers)) == list(set(numbers))
        held = wide(pairs)
        assert all(pair in held for pair in pairs)
        assert held == wide(reversed(pairs))
    assert (1, 2) not in wide([(2, 1)])
    words = [f"word {number}" for number in range(999)]
    assert sorted(wide(words)) == sorted(words)  # half of the hashes are below 0
