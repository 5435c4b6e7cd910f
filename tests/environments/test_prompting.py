"""How problems are put, and the forms of answers."""

from pathlib import Path

import pyarrow as pa
import pytest

from assay.audit.provenance.column_layouts import ROLLOUT
from assay.audit.provenance.step_export import list_messages
from assay.environments.answer_form import AnswerForm, read_answer
from assay.environments.base import Message
from assay.environments.registry import make_environment, open_environment
from assay.protocol.encoding import encode
from assay.protocol.parameters import (
    PROMPTS_MAX,
    EnvironmentChoice,
    Prompts,
    PromptText,
    Setting,
    Shot,
    find_prompts_fault,
    read_arguments,
)
from assay.settings.loading import ConfigError
from assay.subnet.presets import change_parameters
from assay.subnet.recipe import read_recipe
from assay.subnet.recipes import RECIPES

SEED = bytes(32)
HALF = "x" * (PROMPTS_MAX // 2)


def make_prompts(part: str = "gsm", **texts: str) -> Prompts:
    return Prompts(part, tuple(PromptText(*one) for one in sorted(texts.items())))


def test_an_owner_s_words_surround_the_problem() -> None:
    prompts = Prompts(
        "gsm",
        (PromptText("after", "\nA:"), PromptText("before", "Q: "), PromptText("system", "Think.")),
        (Shot("1 + 1?", " 2"),),
    )
    problem = make_environment("gsm", {"bos": 1}, [prompts]).make_problem(SEED, [1])
    asked = problem.conversation
    last = f"Q: {problem.question}\nA:"
    assert asked.messages == (
        Message("system", "Think."),
        Message("user", "Q: 1 + 1?\nA:"),
        Message("assistant", " 2"),
        Message("user", last),
    )
    assert asked.text == f"Think.\n\nQ: 1 + 1?\nA: 2\n\n{last}"
    assert asked.bos


def test_an_export_has_all_messages_where_there_are_several() -> None:
    shown = Prompts("gsm", (), (Shot("1 + 1?", "2"),))
    problem = make_environment("gsm", {}, [shown]).make_problem(SEED, [1])
    messages = list_messages(problem)
    assert messages is not None
    assert [one["role"] for one in messages] == ["user", "assistant", "user"]
    assert messages[-1]["content"] == problem.prompt
    table = pa.array([messages, None], ROLLOUT["messages"][0])
    assert table.to_pylist() == [messages, None]
    assert list_messages(make_environment("gsm", {}).make_problem(SEED, [1])) is None


def test_words_that_are_not_given_are_the_environment_s() -> None:
    plain = make_environment("gsm", {}).make_problem(SEED, [1])
    problem = make_environment("gsm", {}, [make_prompts(system="Think.")]).make_problem(SEED, [1])
    assert problem.prompt == plain.prompt
    bare = make_environment("gsm", {}, [make_prompts(after="")]).make_problem(SEED, [1])
    assert bare.prompt == plain.question


def test_prompts_are_a_part_s_and_in_its_digest() -> None:
    params = {"gsm": 1, "arithmetic": 1}
    digests = {
        make_environment("mix", {**params, **more}, prompts).digest
        for more, prompts in (
            ({}, []),
            ({"gsm.bos": 1}, []),
            ({"gsm.plain": 1}, []),
            ({"gsm.answer_form": 1}, []),
            ({}, [make_prompts(system="a")]),
            ({}, [make_prompts(system="")]),
            ({}, [make_prompts("arithmetic", system="a")]),
        )
    }
    assert len(digests) == 7
    same = make_environment("mix", {**params, "gsm.bos": 0, "arithmetic.plain": 0})
    assert same.digest == make_environment("mix", params).digest
    with pytest.raises(ValueError, match="no part of mix"):
        make_environment("mix", params, [make_prompts("sat", system="a")])


def test_a_choice_opens_the_environment_with_its_prompts() -> None:
    prompts = (make_prompts(system="Think."),)
    made = make_environment("gsm", {"plain": 1}, prompts)
    settings = tuple(Setting(*one) for one in sorted(made.params.items()))
    choice = EnvironmentChoice("gsm", settings, made.digest, prompts)
    opened = open_environment(choice)
    assert opened.make_problem(SEED, [1]).conversation == made.make_problem(SEED, [1]).conversation


@pytest.mark.parametrize(
    ("prompts", "fault"),
    [
        ((make_prompts("b", after=""), make_prompts("a", after="")), "not in order of their parts"),
        ((make_prompts(),), "say nothing"),
        ((make_prompts(frame="x"),), "there is no text 'frame'"),
        ((make_prompts(arguments='{"b":1,"a":2}'),), "not canonical"),
        ((make_prompts(after=HALF), make_prompts("sat", after=HALF)), "in all"),
        ((Prompts("gsm", (PromptText("b", ""), PromptText("a", ""))),), "not in order, each once"),
    ],
)
def test_prompts_that_cannot_be_parameters(prompts: tuple[Prompts, ...], fault: str) -> None:
    found = find_prompts_fault(prompts)
    assert found is not None
    assert fault in found


@pytest.mark.parametrize(
    "text",
    [
        *("{}", "[]", '{"a":1.0}', '{"a":null}', '{"a":[1]}', '{"a": 1}', '{"A":1}', '{"_a":1}'),
        *('{"messages":1}', '{"a":9223372036854775808}', '{"a":1,"a":1}', '{"a":"\\u0061"}', "x"),
    ],
)
def test_arguments_that_no_template_may_have(text: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]"):
        read_arguments(text)


def test_arguments_are_read_as_their_types() -> None:
    assert read_arguments('{"a":"é","b":-3,"enable_thinking":false}') == {
        "a": "é",
        "b": -3,
        "enable_thinking": False,
    }


@pytest.mark.parametrize(
    ("form", "completion", "answer"),
    [
        (AnswerForm.HASH, "so\n#### 5", "5"),
        (AnswerForm.HASH, "\\boxed{5}", None),
        (AnswerForm.BOXED, r"$\boxed{4}$, no: $\boxed{ \frac{1}{2} }$.", r"\frac{1}{2}"),
        (AnswerForm.BOXED, r"\boxed{\{1, 2\}} it is", r"\{1, 2\}"),
        (AnswerForm.BOXED, r"\boxed{5} and \boxed{6", None),
        (AnswerForm.BOXED, "#### 5", None),
        (AnswerForm.TAGS, "<answer>4</answer> or <answer>\n5 </answer> yes", "5"),
        (AnswerForm.TAGS, "<answer>4</answer> <answer>5", None),
        (AnswerForm.LINE, "Answer: 4\nno\nAnswer: 5 \nthat is it", "5"),
        (AnswerForm.LINE, "the Answer: 4", None),
        # behind the thought alone, where it is drafted
        (AnswerForm.HASH, "<think>\n#### 4\n</think>\n\n#### 5", "5"),
        (AnswerForm.HASH, "#### 4</think>#### 5", "5"),
        (AnswerForm.HASH, "#### 5\n</think>\nso", None),
        (AnswerForm.HASH, "</think>\n#### 4\n#### 5", None),
        (AnswerForm.BOXED, r"\boxed{4}</think>so \boxed{5} it is", "5"),
        (AnswerForm.BOXED, r"\boxed{5}</think>", None),
        (AnswerForm.TAGS, "<answer>4</answer></think> <answer>5", None),
        (AnswerForm.LINE, "Answer: 4</think>Answer: 5", "5"),
    ],
)
def test_a_form_gives_one_answer_or_none(form: AnswerForm, completion: str, answer: str) -> None:
    assert read_answer(completion, form) == answer


@pytest.mark.parametrize("form", AnswerForm)
def test_each_form_is_asked_for_and_scored(form: AnswerForm) -> None:
    gsm = make_environment("gsm", {"answer_form": int(form)})
    problem = gsm.make_problem(SEED, [1])
    right = str(problem.answer.row.value)  # type: ignore[attr-defined]
    assert gsm.score(problem, gsm.write_answer(right)).correctness  # type: ignore[attr-defined]
    other = AnswerForm((form + 1) % len(AnswerForm))
    wrong = make_environment("gsm", {"answer_form": int(other)})
    assert not gsm.score(problem, wrong.write_answer(right)).format  # type: ignore[attr-defined]


def test_tables_by_part_become_records() -> None:
    rules = read_recipe("genesis-arithmetic").make_rules("mix,gsm=1,sat=1")
    table = {
        "system": "Think.",
        "shots": [["1 + 1?", "2"]],
        "arguments": {"enable_thinking": False, "a": 1},
    }
    changed = change_parameters(rules, {"environment": {"prompts": {"gsm": table}}})
    assert changed.environment.prompts == (
        Prompts(
            "gsm",
            (
                PromptText("arguments", '{"a":1,"enable_thinking":false}'),
                PromptText("system", "Think."),
            ),
            (Shot("1 + 1?", "2"),),
        ),
    )
    assert encode(changed) != encode(rules)
    again = change_parameters(rules, {"environment": changed.to_json()["environment"]})
    assert again == changed
    assert change_parameters(changed, {"environment": {"prompts": {}}}) == rules


_TABLE = '\n[parameters.environment.prompts.{}]\nsystem = "Think."\n'


@pytest.mark.parametrize(
    ("recipe", "part"), [("qwen2.5-0.5b-gsm", "gsm"), ("qwen3-4b-mixture", "math")]
)
def test_a_recipe_has_tables(recipe: str, part: str, tmp_path: Path) -> None:
    """The second's file of problems is not here: its tables are read all the same."""
    file, text = tmp_path / "own.toml", (RECIPES / f"{recipe}.toml").read_text()
    file.write_text(text + _TABLE.format(part))
    rules = read_recipe(str(file)).make_rules("mix,gsm=1,sat=1" if part == "gsm" else None)
    assert rules.environment.prompts == ((make_prompts(system="Think."),) if part == "gsm" else ())
    file.write_text(text + _TABLE.format("sat"))
    with pytest.raises(ConfigError, match=r"prompts\.sat: no part is of this name"):
        read_recipe(str(file))


@pytest.mark.parametrize(
    ("prompts", "says"),
    [
        ({"errands": {"system": ""}}, "no part is of this name: parts are gsm, sat"),
        ({"gsm": {"sytem": ""}}, r"gsm\.sytem is not one of after"),
        ({"gsm": {"system": 1}}, r"gsm\.system is text"),
        ({"gsm": {"shots": [["a"]]}}, "write pairs"),
        ({"gsm": {"arguments": {"a": 1.5}}}, "neither text, an integer"),
        ({"gsm": {}}, "say nothing"),
        ([{"part": "gsm"}], "prompts"),
        ("x", "a table for each part"),
    ],
)
def test_tables_that_are_wrong(prompts: object, says: str) -> None:
    rules = read_recipe("genesis-arithmetic").make_rules("mix,gsm=1,sat=1")
    with pytest.raises(ConfigError, match=says):
        change_parameters(rules, {"environment": {"prompts": prompts}})
