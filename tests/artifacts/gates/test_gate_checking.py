"""Answers in a gate's file that their models have not drawn are named, and honest ones never."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from assay.artifacts.gates.checking import Forged, draw_checked_problems, find_forged
from assay.artifacts.gates.file import GateAnswers, GateModel, list_rows
from assay.environments.base import Environment, leave_unmade
from assay.environments.registry import make_environment
from assay.inference.checkpoint import Checkpoint, load_checkpoint
from assay.protocol.beacon import QUICKNET
from assay.protocol.gate import compute_gate_seed
from assay.subnet.presets import DEMO_ENVIRONMENT, DEMO_SETTINGS, make_demo_parameters
from assay.training import GENESIS
from assay.training.gate_answers import (
    GateProblems,
    answer_gate,
    draw_gate_problems,
    select_first_problems,
)
from tests.small_world import TURNS, make_small_world

PROBLEMS = 48
PARAMETERS = make_demo_parameters(bytes(32), QUICKNET, 0, bytes(32), bytes(32))
EPISODES = replace(
    PARAMETERS, work=replace(PARAMETERS.work, turns=TURNS, context=512, reply_bytes=64)
)
MODELS = GateModel.OWN, GateModel.MILESTONE, GateModel.FIRST


@cache
def open_models() -> dict[GateModel, Checkpoint]:
    """The shipped model, and two that differ from it a little, as if it had learned."""
    models = {model: load_checkpoint(GENESIS) for model in MODELS}
    for seed, model in enumerate((GateModel.OWN, GateModel.FIRST)):
        source = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in models[model].model.parameters():
                noise = torch.randn(weight.shape, generator=source)
                weight.add_(noise, alpha=0.05 * float(weight.std()))
    return models


@cache
def draw(is_episode: bool) -> tuple[Environment, Any, GateProblems, GateAnswers]:
    parameters = EPISODES if is_episode else PARAMETERS
    environment = (
        make_small_world() if is_episode else make_environment(DEMO_ENVIRONMENT, DEMO_SETTINGS)
    )
    models = open_models()
    levels = models[GateModel.OWN].manifest.level_numbers
    problems = draw_gate_problems(
        environment, compute_gate_seed(b"c" * 32, b"r" * 32), levels, PROBLEMS
    )
    answers = [
        [one.tokens for one in answer_gate(models[model], environment, parameters.work, asked)]
        for model, asked in zip(
            MODELS, (problems, problems, select_first_problems(problems)), strict=True
        )
    ]
    return environment, parameters, problems, GateAnswers(*answers)


def check(answers: GateAnswers, is_episode: bool = False, **options: Any) -> list[Forged]:
    environment, parameters, problems, _ = draw(is_episode)
    return find_forged(open_models(), environment, parameters, problems, answers, **options)


def name(found: Sequence[Forged]) -> list[tuple[int, GateModel]]:
    return [(one.problem, one.model) for one in found]


def change(answers: GateAnswers, model: GateModel, number: int, tokens: Any) -> GateAnswers:
    rows = [list(answers.get(one)) for one in MODELS]
    rows[model][number] = np.array(tokens, np.uint32)
    return GateAnswers(*rows)


@pytest.mark.parametrize("is_episode", [False, True])
def test_honest_answers_of_all_models_pass(is_episode: bool) -> None:
    answers = draw(is_episode)[3]
    differing = sum(
        not np.array_equal(*pair) for pair in zip(answers.own, answers.milestone, strict=True)
    )
    assert differing > PROBLEMS // 4, "else one model's answers could be another's"
    assert check(answers, is_episode) == []


def test_one_changed_token_is_named() -> None:
    answers = draw(False)[3]
    drawable = np.flatnonzero(open_models()[GateModel.OWN].tokenizer.drawable)
    tokens = answers.own[5].copy()
    tokens[0] = next(one for one in drawable if one not in (tokens[0], *answers.own[5][-1:]))
    (found,) = check(change(answers, GateModel.OWN, 5, tokens))
    assert (found.problem, found.model) == (5, GateModel.OWN)
    assert "token 0 is not the model's keyed draw" in found.fault.detail
    assert check(change(answers, GateModel.OWN, 5, tokens), chosen=[4, 6]) == []


def test_another_models_answers_are_named() -> None:
    answers = draw(False)[3]
    found = check(GateAnswers(answers.milestone, answers.milestone, answers.first))
    differing = [
        (number, GateModel.OWN)
        for number in range(PROBLEMS)
        if not np.array_equal(answers.own[number], answers.milestone[number])
    ]
    assert name(found) == differing


def test_swapped_rows_are_named() -> None:
    answers = draw(False)[3]
    swapped = change(answers, GateModel.FIRST, 1, answers.first[2])
    swapped = change(swapped, GateModel.FIRST, 2, answers.first[1])
    assert name(check(swapped)) == [(4, GateModel.FIRST), (8, GateModel.FIRST)]


@pytest.mark.parametrize("is_episode", [False, True])
def test_answers_that_end_where_none_ends_are_named(is_episode: bool) -> None:
    answers = draw(is_episode)[3]
    vocabulary = len(open_models()[GateModel.OWN].tokenizer.drawable)
    tokens = answers.milestone[3].tolist()
    odd = {
        "the problem has no answer": [],
        "but ends": [*tokens, *tokens],
        "may draw": [vocabulary + 1, *tokens],
    }
    for words, row in odd.items():
        (found,) = check(change(answers, GateModel.MILESTONE, 3, row), is_episode)
        assert (found.problem, found.model) == (3, GateModel.MILESTONE)
        assert words in found.fault.detail
    if is_episode:
        cut = tokens[: tokens.index(open_models()[GateModel.OWN].manifest.end_tokens[0]) + 1]
        (found,) = check(change(answers, GateModel.MILESTONE, 3, cut), is_episode)
        assert "the world replies" in found.fault.detail


def test_an_answer_to_no_problem_is_named() -> None:
    environment, parameters, problems, answers = draw(False)
    gone = replace(problems[7], problem=leave_unmade(2))
    asked = (*problems[:7], gone, *problems[8:])
    found = find_forged(open_models(), environment, parameters, asked, answers)
    assert name(found) == [(7, GateModel.OWN), (7, GateModel.MILESTONE)]
    assert "no such problem" in found[0].fault.detail
    empty = change(change(answers, GateModel.OWN, 7, []), GateModel.MILESTONE, 7, [])
    assert find_forged(open_models(), environment, parameters, asked, empty) == []


def test_models_that_are_not_at_hand_are_not_looked_at() -> None:
    environment, parameters, problems, answers = draw(False)
    forged = change(answers, GateModel.OWN, 5, answers.own[6])
    models = {GateModel.MILESTONE: open_models()[GateModel.MILESTONE]}
    assert find_forged(models, environment, parameters, problems, forged) == []


def test_each_validator_checks_problems_of_its_own() -> None:
    drawn = [draw_checked_problems(b"f" * 32, bytes([key]) * 32, PROBLEMS) for key in range(9)]
    assert all(one == sorted(set(one)) and len(one) == 8 for one in drawn)
    assert len(set(map(tuple, drawn))) == 9
    assert draw_checked_problems(b"f" * 32, bytes(32), 4) == [0, 1, 2, 3]


def test_rows_and_problems_are_one_numbering() -> None:
    assert [row for row in list_rows(PROBLEMS) if row[1] is GateModel.FIRST] == [
        (number, GateModel.FIRST) for number in range(0, PROBLEMS, 4)
    ]
