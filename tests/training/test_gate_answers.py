"""Answers to a gate's problems: the same for everybody, and right by their ids alone."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest

from assay.environments.base import Environment, Problem, RewardParts, leave_unmade, rate_answer
from assay.environments.registry import make_environment
from assay.inference.checkpoint import Checkpoint, load_checkpoint
from assay.protocol.gate import compute_gate_seed
from assay.protocol.parameters import MAIN_WORK
from assay.subnet.presets import DEMO_ENVIRONMENT, DEMO_SETTINGS
from assay.training import GENESIS
from assay.training.gate_answers import (
    Answer,
    GateProblems,
    answer_gate,
    count_gate,
    draw_gate_problems,
    find_gate_obstacle,
    list_gate_levels,
    score_answers,
    select_first_problems,
)
from tests.absent import has_sandbox
from tests.small_world import TURNS, SmallWorld, Sums

SEED = compute_gate_seed(b"c" * 32, b"r" * 32)
WORK = replace(MAIN_WORK, max_tokens=64)
EPISODES = replace(WORK, turns=TURNS, context=512, reply_bytes=64)


@dataclass(frozen=True)
class Lenient:
    """An episode that is right if any of its sums is."""

    sums: Sums

    def step(self, turn: str, is_ended: bool) -> tuple["Lenient", str | None]:
        after, said = self.sums.step(turn, is_ended)
        return Lenient(after), said

    def score(self) -> RewardParts:
        return rate_answer(self.sums.right > 0)


class LenientWorld(SmallWorld):
    def open(self, problem: Problem) -> Lenient:
        return Lenient(super().open(problem))


@cache
def open_genesis() -> Checkpoint:
    return load_checkpoint(GENESIS)


@cache
def open_demo() -> Environment:
    return make_environment(DEMO_ENVIRONMENT, DEMO_SETTINGS)


@cache
def open_world() -> Environment:
    return LenientWorld(open_demo().params)


def draw(environment: Environment, count: int) -> GateProblems:
    levels = open_genesis().manifest.level_numbers
    return draw_gate_problems(environment, SEED, levels, count)


def list_tokens(answers: list[Answer]) -> list[list[int]]:
    return [answer.tokens.tolist() for answer in answers]


def test_problems_are_of_each_level_in_turn() -> None:
    problems = draw_gate_problems(open_demo(), SEED, (2, 4, 5), 8)
    assert [one.problem.level for one in problems] == [2, 4, 5, 2, 4, 5, 2, 4]
    assert len({one.seed for one in problems}) == 8
    assert draw_gate_problems(open_demo(), SEED, (2, 4, 5), 4) == problems[:4]
    other = draw_gate_problems(open_demo(), compute_gate_seed(b"d" * 32, b"r" * 32), (2, 4, 5), 8)
    assert not {one.seed for one in other} & {one.seed for one in problems}
    with pytest.raises(ValueError, match="none of the levels"):
        draw_gate_problems(open_demo(), SEED, (), 8)


@pytest.mark.parametrize(
    ("world", "work"), [(open_demo, WORK), (open_world, EPISODES)], ids=["turn", "episode"]
)
def test_all_machines_find_the_same_answers_and_rights(world, work) -> None:
    checkpoint, environment = open_genesis(), world()
    problems, seen = draw(environment, 24), list[int]()
    own = answer_gate(checkpoint, environment, work, problems, seen.append)
    milestone = answer_gate(checkpoint, environment, work, problems)
    first = answer_gate(checkpoint, environment, work, select_first_problems(problems))
    assert seen == [24]
    assert list_tokens(own) == list_tokens(milestone)
    assert list_tokens(own)[::4] == list_tokens(first)
    rights = [answer.is_right for answer in own]
    assert len(set(rights)) == 2, "some are right, and some are not"
    assert count_gate(rights, rights, rights[::4]) == (0, 0, 0, 0)
    tokens = [answer.tokens for answer in own]
    assert score_answers(checkpoint, environment, work, problems, tokens) == rights


def test_a_problem_that_is_not_made_is_nobodys() -> None:
    class Gaps(type(open_demo())):
        def make_problem(self, seed: bytes, levels: tuple[int, ...]) -> Problem:
            made = super().make_problem(seed, levels)
            return leave_unmade(made.level) if seed[0] % 2 else made

    environment = Gaps(open_demo().params)
    problems = draw(environment, 12)
    made = [one.problem.is_made for one in problems]
    assert 0 < sum(made) < 12
    answers = answer_gate(open_genesis(), environment, WORK, problems)
    assert [len(answer.tokens) > 0 for answer in answers] == made
    tokens = [np.array([1, 2], np.uint32)] * 12
    rights = score_answers(open_genesis(), environment, WORK, problems, tokens)
    assert not any(right for right, one in zip(rights, made, strict=True) if not one)


@pytest.mark.parametrize(
    ("world", "work"), [(open_demo, WORK), (open_world, EPISODES)], ids=["turn", "episode"]
)
def test_ids_that_no_draw_ends_with_score_by_the_rules(world, work) -> None:
    checkpoint, environment = open_genesis(), world()
    problems = draw(environment, 6)
    honest = answer_gate(checkpoint, environment, work, problems)
    right = next((i for i, one in enumerate(honest) if one.is_right), 0)
    end, vocabulary = checkpoint.manifest.end_tokens[0], len(checkpoint.tokenizer.drawable)
    odd = [
        [],
        [end],
        [end] * work.max_tokens,
        [vocabulary - 1] * work.max_tokens,
        honest[0].tokens.tolist()[:-1],
        [*honest[right].tokens.tolist(), 1, 2, 3],
    ]
    tokens = [np.array(row, np.uint32) for row in odd]
    rights = score_answers(checkpoint, environment, work, [*problems[:5], problems[right]], tokens)
    assert rights[:4] == [False] * 4
    assert rights[5] == honest[right].is_right, "what stands behind the end counts for nothing"


def test_pairs_are_counted_by_problem() -> None:
    own = [True, False, True, False, False, True, False, True]
    milestone = [False, True, True, False, True, False, True, True]
    assert count_gate(own, milestone, [False, True]) == (2, 3, 1, 1)
    with pytest.raises(ValueError, match="zip"):
        count_gate(own, milestone, [False])


def test_levels_are_those_of_both_manifests() -> None:
    assert list_gate_levels(open_demo(), (3, 4), (2, 4)) == (2, 3, 4)
    mixture = make_environment("mix", {"arithmetic": 1, "sat": 2})
    last = mixture.levels[-1]
    assert list_gate_levels(mixture, (1_003, last), (1_004, last)) == (1_003, 1_004, last)
    assert find_gate_obstacle(mixture) is None


@pytest.mark.skipif(not has_sandbox(), reason="no sandbox: assay sandbox prepare")
def test_parts_that_draw_from_a_pool_are_not_asked() -> None:
    mixture = make_environment("mix", {"arithmetic": 1, "deduce": 2, "deduce.tool": 1})
    assert list_gate_levels(mixture, mixture.levels, ()) == tuple(range(1_001, 1_013))
    pools = make_environment("mix", {"deduce": 1, "propose": 1})
    assert list_gate_levels(pools, pools.levels, pools.levels) == ()
    assert "drawn from a pool" in str(find_gate_obstacle(pools))


def test_levels_that_the_gates_environment_lacks_are_left_out() -> None:
    assert list_gate_levels(open_demo(), (2, 900), (3,)) == (2, 3)
