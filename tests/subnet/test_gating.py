"""A gate as an owner names it: what is filled in, what is refused, and what it can show."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assay.environments import problem_file
from assay.environments.evaluation import (
    DRAWN_AFTER,
    UNKNOWN,
    find_evaluation_fault,
    list_file_parts,
    name_draw,
    replace_files,
)
from assay.environments.problem_file import add_problem_files, compute_file_digest
from assay.neurons.preflight.check_results import CheckState
from assay.neurons.preflight.checks import check_gate
from assay.protocol.beacon import QUICKNET
from assay.protocol.parameters import EnvironmentChoice, Gate, GateRule, Parameters
from assay.settings.loading import ConfigError
from assay.subnet.gating import PROBLEMS, compute_reach, list_gate_notes
from assay.subnet.presets import change_parameters, make_demo_parameters, parse_environment
from assay.subnet.recipe import read_recipe
from assay.subnet.window_plan import PlanRequest, make_plan, plan_recipe
from assay.training.gate_answers import find_gate_fault, open_gate_environment

BARE = replace(make_demo_parameters(bytes(32), QUICKNET, 0, bytes(32), bytes(32)), gate=Gate())
LEVELS = (5, 6)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two files of word problems: their environments' names."""
    monkeypatch.setattr(problem_file, "_known", {})
    names = []
    for number in range(2):
        rows = [
            {"question": f"{number}: what is {n} and 1?", "answer": f"Add.\n#### {n + 1}"}
            for n in range(12)
        ]
        file = tmp_path / f"{number}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        add_problem_files([file])
        names.append(f"gsm:{compute_file_digest(file)}")
    return names


def change(parameters: Parameters = BARE, **gate: Any) -> Parameters:
    return change_parameters(parameters, {"gate": gate})


def train_on(name: str) -> Parameters:
    return replace(BARE, environment=parse_environment(name))


def test_a_rule_alone_has_the_other_numbers() -> None:
    assert change(rule="not-worse").gate == Gate(GateRule.NOT_WORSE, PROBLEMS, 50_000, 50_000, 0)
    better = change(rule="better").gate
    assert (better.rule, better.checkpoints) == (GateRule.BETTER, 20)
    few = change(rule="better", problems=32).gate
    assert few.checkpoints > 20, "fewer problems need a longer course"
    assert change(rule="better", checkpoints=7).gate.checkpoints == 7
    assert change(replace(BARE, gate=better), rule="not-worse").gate.checkpoints == 0
    assert change(replace(BARE, gate=better), problems=64).gate == replace(better, problems=64)
    assert change(replace(BARE, gate=better), rule="none").gate == Gate()


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ({"rule": "best"}, "a rule"),
        ({"rule": "not-worse", "problems": 63}, "multiple of 4"),
        ({"rule": "not-worse", "problems": "many"}, "problems"),
        ({"rule": "better", "problems": "many"}, "problems"),
        ({"rule": "not-worse", "checkpoints": 5}, "checkpoints are not"),
        ({"rule": "not-worse", "error_worse": 0}, "an error is not"),
        ({"rule": "none", "problems": 64}, "there is none, and it has settings"),
        ({"problems": 64}, "there is none, and it has settings"),
        ({"rule": "not-worse", "environment": ["gsm:00"]}, "arithmetic has no file"),
        ({"rule": "not-worse", "sort": 1}, "sort"),
    ],
)
def test_gates_that_cannot_be_are_named(gate: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        change(**gate)


def test_other_files_stand_in_the_place_of_the_networks(files: list[str]) -> None:
    trained, other = files
    network = train_on(f"mix,arithmetic=2,{trained}=3,{trained}.answer_form=boxed")
    choice = network.environment
    assert list_file_parts(choice) == [trained]
    changed = change(network, rule="not-worse", environment=[other])
    (asked,) = changed.gate.environment
    assert asked.name == "mix"
    settings = {one.name.replace(other, trained): one.value for one in asked.settings}
    assert settings == {one.name: one.value for one in choice.settings}
    assert asked.digest != choice.digest
    assert open_gate_environment(changed).digest == asked.digest
    assert find_gate_fault(changed, (1_005, 2_003)) is None
    prompts = {trained: {"system": "Work in steps."}}
    put = change_parameters(
        train_on(trained),
        {
            "environment": {"prompts": prompts},
            "gate": {"rule": "not-worse", "environment": [other]},
        },
    )
    assert [one.part for one in put.gate.environment[0].prompts] == [other]
    assert find_gate_fault(put, (3,)) is None


def test_a_file_that_is_trained_on_is_no_gates(files: list[str]) -> None:
    trained, other = files
    network = train_on(trained)
    fault = find_gate_fault(change(network, rule="not-worse"), (3,))
    assert fault is not None
    assert "what the network trains on" in fault
    assert '["gsm:SHA256"]' in fault
    same = find_gate_fault(change(network, rule="not-worse", environment=[trained]), (3,))
    assert "name another" in str(same)
    with pytest.raises(ValueError, match="no other file is named"):
        replace_files(network.environment, [])
    for named in ([other, other], ["math:00"]):
        with pytest.raises(ConfigError, match="one part's file"):
            change(network, rule="not-worse", environment=named)
    drawn = replace(change(rule="not-worse").gate, environment=(parse_environment(other),))
    assert "parts or settings differ" in str(find_gate_fault(replace(BARE, gate=drawn), LEVELS))
    absent = change(network, rule="not-worse", environment=[other])
    assert "none of the first checkpoint's levels" in str(find_gate_fault(absent, (9,)))


def test_what_may_be_learned_is_not_called_unknown(files: list[str]) -> None:
    assert name_draw(BARE.environment) == UNKNOWN
    assert name_draw(parse_environment("mix,arithmetic=1,sat=1")) == UNKNOWN
    assert name_draw(parse_environment(files[1])) == DRAWN_AFTER
    package = EnvironmentChoice(f"package:{'0' * 64}", (), bytes(32))
    assert name_draw(package) == UNKNOWN, "its code makes problems of numbers"
    assert find_evaluation_fault(package, None) is None
    gated = change(train_on(files[0]), rule="not-worse", environment=[files[1]])
    assert any("can learn" in note for note in list_gate_notes(gated))
    assert not any("can learn" in note for note in list_gate_notes(change(rule="better")))
    assert any("given up" in note for note in list_gate_notes(change(rule="better")))
    assert list_gate_notes(BARE) == []


def test_a_trainer_checks_what_it_would_ask(files: list[str]) -> None:
    network = train_on(files[0])
    assert check_gate(change(network, rule="not-worse")).state is CheckState.FAIL
    found = check_gate(change(network, rule="not-worse", environment=[files[1]]))
    assert (found.state, "drawn after" in found.detail) == (CheckState.OK, True)
    found = check_gate(change(rule="not-worse", problems=64))
    assert found.detail == "not-worse, 64 problems of each checkpoint, which are unknown"


def test_more_problems_show_more() -> None:
    reaches = [compute_reach(change(rule="not-worse", problems=n).gate) for n in (64, 256, 1_024)]
    assert [one.completions for one in reaches] == [144, 576, 2_304]
    named = [one.named_after for one in reaches]
    assert all(each is not None and each[0] <= 1_024 for each in named)
    assert [each[1] for each in named if each] == sorted({e[1] for e in named if e}, reverse=True)
    proven = [one.proven_after or 0 for one in reaches]
    assert proven == sorted(set(proven), reverse=True)
    assert 12 <= proven[1] <= 20, "nine of ten courses of the public run's pace: simulated, 15"
    tiny = compute_reach(replace(change(rule="not-worse").gate, problems=4, error_worse=1))
    assert all(line for line in tiny.describe())


def test_a_plan_has_the_gates_cost() -> None:
    recipe = read_recipe("smollm2-135m-gsm")
    gated = recipe.model_copy(
        update={"parameters": {**recipe.parameters, "gate": {"rule": "not-worse", "problems": 48}}}
    )
    request = plan_recipe(PlanRequest("smollm2-135m-gsm"))
    without = make_plan(
        recipe.model_copy(update={"parameters": {**recipe.parameters, "gate": {"rule": "none"}}}),
        request.card,
        2,
    )
    plan = make_plan(gated, request.card, 2)
    assert without.gate is None
    assert plan.gate is not None
    assert plan.gate.tokens == 108 * (64 + 24)
    assert plan.gate.share == plan.gate.seconds / plan.window_seconds
    more = plan.roles[-1].cost.seconds - without.roles[-1].cost.seconds
    assert more == pytest.approx(plan.gate.seconds)
    assert json.loads(json.dumps(plan.to_json()))["gate"]["reach"]["problems"] == 48
