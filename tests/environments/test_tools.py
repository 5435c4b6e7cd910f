"""Tools: calls in each form, the calculator, and environments that have one."""

import ast
import json
import re
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest

from assay.environments.base import Environment, OneTurn, Problem, rate_answer
from assay.environments.gsm import Task
from assay.environments.problem_file import ProblemFileError
from assay.environments.registry import (
    count_named_units,
    list_manners,
    make_environment,
    parse_choice,
)
from assay.environments.search import index
from assay.environments.tools import (
    CallForm,
    calculator,
    calls,
    json_reader,
    proofs,
    search,
    tool,
    tool_environment,
)
from assay.environments.tools import python as python_module
from assay.environments.tools.calculator import Calculator, evaluate
from assay.environments.tools.calls import CALL_MAX, CallFault, read_call, write_call
from assay.environments.tools.json_reader import DEPTH_MAX, JsonFault, read_json
from assay.environments.tools.python import OUTPUT_MAX, RUN_COST, SPENT, Python, Ran
from assay.protocol.parameters import MILLION, EnvironmentChoice, Setting
from assay.sandbox.guest import LOST, Budget, TurnsBudget, run_turns
from assay.sandbox.guest.turns import TURNS_MAX
from tests.absent import has_sandbox
from tests.environments.exactness import INEXACT

TOOL = Calculator()
LINE, HERMES, LLAMA, XML, MISTRAL = CallForm
RIGHT, WRONG = rate_answer(1), rate_answer(0)


def hermes(body: str) -> str:
    return f"<tool_call>\n{body}\n</tool_call>"


CALL = '{"name": "calculator", "arguments": {"expression": "6*7"}}'
PARAMETERS = CALL.replace("arguments", "parameters")
XML_CALL = "<function=calculator>\n<parameter=expression>\n6*7\n</parameter>\n</function>"

XML_ODD = "fault: the call is not <function=name>, one <parameter=name>, and their ends"

#: A form, a turn, and its argument; None: there is no call. A fault is its reply's words.
TURNS: list[tuple[CallForm, str, str | None]] = [
    (LINE, "calculator: 6*7", "6*7"),
    (LINE, "I multiply.\ncalculator:6*7 \r\n", "6*7"),
    (LINE, "calculator: 6*7\n#### 42", None),
    (LINE, "Calculator: 6*7", None),
    (LINE, "so\rcalculator:\t6*7", "6*7"),
    (LINE, "calculator", None),
    (LINE, "", None),
    (LINE, f"calculator: {'1' * CALL_MAX}", "fault: the call is too long"),
    (HERMES, f"So:\n{hermes(CALL)}\n", "6*7"),
    (HERMES, f"<tool_call>{CALL}</tool_call>", "6*7"),
    (HERMES, f"<think>\n{hermes(CALL)}\n</think>\n#### 42", None),
    (HERMES, f"<think>\nI call.\n</think>\n{hermes(CALL)}", "6*7"),
    (HERMES, f"{hermes(CALL)}{hermes(CALL)}", "fault: a turn has one call"),
    (HERMES, f"{hermes(CALL)} So it is.", "fault: there is something behind the call"),
    (HERMES, f"<tool_call>{CALL}", "fault: the call has no end"),
    (HERMES, hermes(f"[{CALL}]"), 'fault: a call has "name" and "arguments"'),
    (HERMES, hermes(CALL.replace("6*7", "x" * CALL_MAX)), "fault: the call is too long"),
    (HERMES, hermes("[" * 10_000), "fault: the call is nested too deep"),
    (HERMES, hermes("x" * 10_000_000), "fault: the call is too long"),
    (HERMES, hermes(CALL.replace("arguments", "name")), "fault: the call has a name twice"),
    (HERMES, hermes(CALL.replace("calculator", "python")), "fault: the only tool is calculator"),
    (HERMES, hermes(CALL.replace('"6*7"', "42")), "fault: calculator takes expression, a string"),
    (HERMES, CALL, None),
    (LLAMA, PARAMETERS, "6*7"),
    (LLAMA, f" <|python_tag|>{PARAMETERS}\n", "6*7"),
    (LLAMA, PARAMETERS.replace("{", '{"type": "function", ', 1), "6*7"),
    (LLAMA, f"So: {PARAMETERS}", None),
    (LLAMA, f"{PARAMETERS}; {PARAMETERS}", "fault: the call goes on behind its end"),
    (LLAMA, "{so} #### 42", "fault: the call has a name that is no string"),
    (XML, hermes(XML_CALL), "6*7"),
    (XML, hermes(XML_CALL.replace("6*7", "\n6*7\n")), "\n6*7\n"),
    (
        XML,
        hermes(XML_CALL.replace("</function>", "")),
        "fault: the call is not <function=name>, one <parameter=name>, and their ends",
    ),
    (
        XML,
        hermes(XML_CALL.replace("=expression", "=code")),
        "fault: calculator takes expression, a string",
    ),
    (MISTRAL, f"So:[TOOL_CALLS] [{CALL}]", "6*7"),
    (MISTRAL, '[TOOL_CALLS]calculator[ARGS]{"expression": "6*7"}', "6*7"),
    (MISTRAL, f"[TOOL_CALLS][{CALL}, {CALL}]", "fault: a turn has one call"),
    (MISTRAL, f"[TOOL_CALLS]{CALL}", "fault: the call is no list of one"),
    (MISTRAL, f"[{CALL}]", None),
    # marks in a string of the JSON are none
    (HERMES, hermes(CALL.replace("6*7", "</tool_call>")), "</tool_call>"),
    (HERMES, hermes(CALL.replace("6*7", "a<tool_call>b")), "a<tool_call>b"),
    (HERMES, hermes(CALL.replace("6*7", "a</think>b")), "a</think>b"),
    (
        HERMES,
        f"so {hermes(CALL.replace('6*7', '</tool_call></think>'))} \r\n",
        "</tool_call></think>",
    ),
    (HERMES, f"<think><tool_call></think>{hermes(CALL.replace('6*7', '</think>'))}", "</think>"),
    (HERMES, f"{hermes(CALL)}</think>{hermes(CALL.replace('6*7', '8'))}", "8"),
    (HERMES, f"{hermes(CALL)}so{hermes(CALL)}", "fault: a turn has one call"),
    (HERMES, f"I write <tool_call>: {hermes(CALL)}", "6*7"),
    (HERMES, f"{hermes('{}')}{hermes(CALL)}", "6*7"),
    (HERMES, f"{hermes(CALL)}</think>so", None),
    (HERMES, hermes(CALL.replace("6*7", "<tool_call>" * 7)), "<tool_call>" * 7),
    (HERMES, hermes(CALL.replace("6*7", "<tool_call>" * 8)), "fault: a turn has one call"),
    (HERMES, hermes(CALL.replace("6*7", "\\ud83d\\ude00")), "\U0001f600"),
    (MISTRAL, f"[TOOL_CALLS] [{CALL.replace('6*7', '[TOOL_CALLS]')}]", "[TOOL_CALLS]"),
    (MISTRAL, f"[TOOL_CALLS] [{CALL.replace('6*7', '</think>')}]", "</think>"),
    (MISTRAL, f"[TOOL_CALLS][{CALL}][TOOL_CALLS][{CALL}]", "fault: a turn has one call"),
    (LLAMA, PARAMETERS.replace("6*7", "</think><|python_tag|>"), "</think><|python_tag|>"),
    (LLAMA, f"so</think>\n{PARAMETERS.replace('6*7', '</think>')}", "</think>"),
    (LLAMA, f"So: <|python_tag|>{PARAMETERS}", "6*7"),
    (LLAMA, f"{PARAMETERS}</think>\n{PARAMETERS.replace('6*7', '8')}", "8"),
    (LLAMA, f"{PARAMETERS}<|python_tag|>{PARAMETERS}", "fault: a turn has one call"),
    (LLAMA, "<|python_tag|>print(1)", "fault: the call has a value that cannot be read"),
    (LLAMA, f"{PARAMETERS}</think>so", None),
    # today's forms of Mistral's models
    (MISTRAL, '[TOOL_CALLS]calculator[CALL_ID]a1b2c3d4e[ARGS]{"expression": "6*7"}', "6*7"),
    (MISTRAL, '[TOOL_CALLS]calculator{"expression": "6*7"}', "6*7"),
    (
        MISTRAL,
        ' [TOOL_CALLS] calculator [ARGS] {"expression": "[TOOL_CALLS]x{"}\n',
        "[TOOL_CALLS]x{",
    ),
    (MISTRAL, '[TOOL_CALLS]python{"code": "1"}', "fault: the only tool is calculator"),
    (
        MISTRAL,
        '[TOOL_CALLS]calculator{"code": "1"}',
        "fault: calculator takes expression, a string",
    ),
    (MISTRAL, "[TOOL_CALLS]calculator", "fault: the call has a value that cannot be read"),
    (MISTRAL, '[TOOL_CALLS]calculator{"expression": "1"', "fault: the call lacks a comma"),
    (MISTRAL, "[TOOL_CALLS]{}", "fault: the call is no list of one"),
    (
        MISTRAL,
        '[TOOL_CALLS]calculator{"expression": "1"}[TOOL_CALLS]calculator{"expression": "2"}',
        "fault: a turn has one call",
    ),
    # arguments as JSON text
    *(
        (form, turn.replace('{"expression": "6*7"}', r'"{\"expression\": \"6*7\"}"'), "6*7")
        for form, turn in (
            (HERMES, hermes(CALL)),
            (LLAMA, PARAMETERS),
            (MISTRAL, f"[TOOL_CALLS][{CALL}]"),
        )
    ),
    (
        HERMES,
        hermes(CALL.replace('{"expression": "6*7"}', '"6*7"')),
        "fault: calculator takes expression, a string",
    ),
    (
        HERMES,
        hermes(CALL.replace('{"expression": "6*7"}', json.dumps('"{}"'))),
        "fault: calculator takes expression, a string",
    ),
    # what a fault says is so
    (
        HERMES,
        hermes(CALL.replace('"calculator"', "1")),
        "fault: the call has a name that is no string",
    ),
    (XML, hermes("<function=></function>"), XML_ODD),
    (XML, hermes("<function=x></function>"), XML_ODD),
    # a value of XML ends at the last mark of its end
    (
        XML,
        hermes(XML_CALL.replace("6*7", "</parameter>\n</function>")),
        "</parameter>\n</function>",
    ),
    (
        XML,
        hermes(XML_CALL.replace("6*7", "<tool_call>\n</tool_call>")),
        "<tool_call>\n</tool_call>",
    ),
    (XML, f"{hermes(XML_CALL)}</think>{hermes(XML_CALL)}", "6*7"),
    (XML, f"{hermes(XML_CALL)}\n{hermes(XML_CALL)}", "fault: a turn has one call"),
    (XML, f"{hermes(XML_CALL)} so", "fault: there is something behind the call"),
    (XML, hermes(XML_CALL.replace("6*7", "x" * CALL_MAX)), "fault: the call is too long"),
]


@pytest.mark.parametrize(
    ("form", "turn", "wanted"), TURNS, ids=[f"{f.name} {t[:40]!r}" for f, t, _ in TURNS]
)
def test_a_turn_has_the_call_that_its_form_says(
    form: CallForm, turn: str, wanted: str | None
) -> None:
    found = read_call(turn, form, TOOL)
    if wanted is not None and wanted.startswith("fault: "):
        assert isinstance(found, CallFault)
        assert found == f"error: {wanted.removeprefix('fault: ')}"
    else:
        assert not isinstance(found, CallFault)
        assert found == wanted


#: Turns as models of today write them, and what Python they have run.
PROGRAMS = (
    (HERMES, "<tool_call>\n{}\n</tool_call>", '{{"name": "python", "arguments": {{"code": {}}}}}'),
    (MISTRAL, "[TOOL_CALLS] [{}]", '{{"name": "python", "arguments": {{"code": {}}}}}'),
    (MISTRAL, "[TOOL_CALLS]{}", 'python[CALL_ID]a1b2c3d4e[ARGS]{{"code": {}}}'),
    (MISTRAL, "[TOOL_CALLS]{}", 'python{{"code": {}}}'),
    (LLAMA, "<|python_tag|>{}", '{{"name": "python", "parameters": {{"code": {}}}}}'),
    (LLAMA, "{}", '{{"type": "function", "name": "python", "parameters": {{"code": {}}}}}'),
)


@pytest.mark.parametrize(("form", "around", "call"), PROGRAMS)
def test_programs_with_marks_in_them_are_called(form: CallForm, around: str, call: str) -> None:
    """Of vllm#48353, and others: programs that write calls, thoughts and JSON."""
    marks = ("<tool_call>", "</tool_call>", "</think>", "[TOOL_CALLS]", "[ARGS]", "<|python_tag|>")
    for mark in (*marks, '{"a": 1}', "".join(marks)):
        program = f"s = '{mark}'\nprint(s)"
        turn = around.format(call.format(json.dumps(program)))
        for thought in ("", "so ", f"<think>{turn}</think>\n\n"):
            if form is LLAMA and thought == "so " and not around.startswith("<"):
                continue
            assert read_call(f"{thought}{turn}\n", form, Python(300)) == program


#: Texts that are repeated, in turns of some megabytes.
LONG = (
    *(
        "<tool_call>",
        "</tool_call>",
        hermes(CALL),
        "[TOOL_CALLS]",
        "[TOOL_CALLS] ",
        "<|python_tag|>",
    ),
    *(
        "</think>",
        "</think> {",
        "{",
        "[",
        '{"a":',
        '"',
        "\\",
        " ",
        "[CALL_ID]",
        "a",
        "<tool_call>{",
    ),
    *("<parameter=", "</parameter>", "<function=x>", "\r\n", "\\ud83d", "<tool_call> \n"),
)


@pytest.mark.parametrize("form", CallForm)
def test_a_long_turn_is_read_in_time_linear_in_it(form: CallForm) -> None:
    """In the square of its length, each would take minutes."""
    begin = {HERMES: "<tool_call>", LLAMA: "{", XML: "<tool_call>", MISTRAL: "[TOOL_CALLS]a"}
    started = time.process_time()
    for piece in LONG:
        text = piece * (10**6 // len(piece))
        for turn in (text, begin.get(form, "") + text, f"{text}</tool_call>"):
            found = read_call(turn, form, TOOL)
            assert found is None or isinstance(found, CallFault) or len(found) <= CALL_MAX
    assert time.process_time() - started < 60


@pytest.mark.parametrize("form", CallForm)
@pytest.mark.parametrize(
    "argument", ["", "1+1", 'a "quoted"\\ text', "\u00e9\U0001f600", "</think"]
)
def test_what_is_written_is_read(form: CallForm, argument: str) -> None:
    assert read_call(write_call(argument, form, TOOL), form, TOOL) == argument


# --- the field's own parsers, as vLLM 0.11 has them: what we read, they read alike


def parse_as_hermes(turn: str) -> tuple[str, object]:
    pairs = re.findall(r"<tool_call>(.*?)</tool_call>|<tool_call>(.*)", turn, re.DOTALL)
    call = json.loads(pairs[0][0] or pairs[0][1])
    return call["name"], call["arguments"]


def parse_as_llama(turn: str) -> tuple[str, object]:
    start = turn.index("{")
    call, _ = json.JSONDecoder().raw_decode(turn[start:])
    return call["name"], call["arguments"] if "arguments" in call else call["parameters"]


def parse_as_xml(turn: str) -> tuple[str, object]:
    calls = re.findall(r"<tool_call>(.*?)</tool_call>|<tool_call>(.*?)$", turn, re.DOTALL)
    (function,) = re.findall(r"<function=(.*?)</function>", calls[0][0], re.DOTALL)
    name, rest = function.split(">", 1)
    given = {}
    for parameter in re.findall(r"<parameter=(.*?)</parameter>", rest, re.DOTALL):
        key, value = parameter.split(">", 1)
        given[key] = value.removeprefix("\n").removesuffix("\n")
    return name, given


def parse_as_mistral(turn: str) -> tuple[str, object]:
    rest = turn.split("[TOOL_CALLS]")[1].strip()
    if "[ARGS]" in rest and not rest.startswith("["):
        name, given = rest.split("[ARGS]", 1)
        return name.strip(), json.loads(given)
    call = json.loads(rest)[0]
    return call["name"], call["arguments"]


PARSERS: dict[CallForm, Callable[[str], tuple[str, object]]] = {
    HERMES: parse_as_hermes,
    LLAMA: parse_as_llama,
    XML: parse_as_xml,
    MISTRAL: parse_as_mistral,
}
PIECES = [
    "",
    " ",
    "\n",
    "{",
    "}",
    '"',
    "\\",
    "\\u0041",
    "[",
    "]",
    ",",
    ":",
    "1",
    "\u00e9",
    "</think>",
]


@pytest.mark.parametrize("form", CallForm)
def test_mutated_calls_are_read_as_the_field_reads_them_or_refused(form: CallForm) -> None:
    random, legal = Random(int(form)), 0
    for number in range(2_000):
        turn = write_call(random.choice(TOOL.proof_arguments[:20]), form, TOOL)
        for _ in range(number % 4):
            at, length = random.randrange(len(turn) + 1), random.choice((0, 0, 1, 1, 2, 9))
            turn = turn[:at] + random.choice(PIECES) + turn[at + length :]
        found = read_call(turn, form, TOOL)
        if found is None or isinstance(found, CallFault):
            continue
        legal += 1
        if form in PARSERS:
            said = turn if "</think>" in found else turn.rpartition("</think>")[2]
            assert PARSERS[form](said) == ("calculator", {"expression": found}), turn
    assert legal >= 500  # those that nothing was done to


# --- JSON


@pytest.mark.parametrize(
    "text",
    [
        *("{}", "[]", '""', "0", "-1", "999999999999999999", "true", "false", "null", " 1 "),
        *('"\\uD83D\\uDE00 \\ud800\\udc00\\udbff\\uDFFF"',),
        *('{"a": [1, {"b": null}], "\\u0061b": "\\n\\/\\"\\\\"}', '"\U0001f600\u2028\x7f"'),
        "[" * DEPTH_MAX + "]" * DEPTH_MAX,
    ],
)
def test_json_is_read_as_python_reads_it(text: str) -> None:
    assert read_json(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is cut off"),
        ("[", "is cut off"),
        ("[1", "lacks a comma"),
        ("[1,]", "has a value that cannot be read"),
        ('{"a": 1,}', "has a name that is no string"),
        ("{'a': 1}", "has a name that is no string"),
        ("1.0", "has a value that cannot be read"),
        ("1e9", "has a value that cannot be read"),
        ("01", "has a value that cannot be read"),
        ("1" * 19, "has a value that cannot be read"),
        ("NaN", "has a value that cannot be read"),
        ("-", "has a value that cannot be read"),
        ("\uff11", "has a value that cannot be read"),
        ("[" * (DEPTH_MAX + 1), "is nested too deep"),
        ('"\\ud83d"', "has half of a surrogate pair"),
        ('"\\ude00\\ud83d"', "has half of a surrogate pair"),
        ('"\\ud83d\\u0041"', "has half of a surrogate pair"),
        ('"\\ud83d\\ude0"', "has half of a surrogate pair"),
        ('"\\u12"', "has an escape that is not known"),
        ('"\\', "has an escape that is not known"),
        ('"\t"', "has a control character in a string"),
        ('{"a": 1, "\\u0061": 2}', "has a name twice"),
        ("\ufeff1", "has a value that cannot be read"),
        ("1\u00a0", "goes on behind its end"),
    ],
)
def test_other_json_has_a_fixed_fault(text: str, fault: str) -> None:
    with pytest.raises(JsonFault, match=f"^{fault}$"):
        read_json(text)


# --- the calculator


def test_the_calculator_computes_as_python_does() -> None:
    random, computed = Random(3), 0
    tokens = ["1", "2", "3.5", ".25", "10", "+", "-", "*", "/", "**", "^", "(", ")", " "]
    for _ in range(4_000):
        text = "".join(random.choices(tokens, k=random.randint(1, 12)))
        found, _ = TOOL.call(text, None)
        if "//" in text:  # another operation of Python's
            assert "cannot be read" in found
            continue
        wrapped = re.sub(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+", r"Fraction('\g<0>')", text.strip())
        try:
            value = eval(wrapped.replace("^", "**"), {"Fraction": Fraction})
        except (SyntaxError, TypeError):  # such as a number that is called
            assert "cannot be read" in found, text
        except ZeroDivisionError:
            assert found == "error: a division by zero", text
        except OverflowError:  # of a root
            assert found.startswith("error: "), text
        else:
            if isinstance(value, Fraction) and "power" not in found and "digits" not in found:
                assert evaluate(text) == value
                computed += 1
            elif not isinstance(value, Fraction):  # brackets around nothing, a root
                assert found.startswith("error: "), text
    assert computed > 200


@pytest.mark.parametrize(
    ("expression", "reply"),
    [
        ("6*7", "42"),
        ("0.1+0.2", "0.3"),
        ("1/3", "1/3, about 0.333333"),
        ("-2/3", "-2/3, about -0.666667"),
        ("1/4096", "0.000244140625"),
        ("100*1.05**2", "110.25"),
        ("2**-1*3", "1.5"),
        ("-2**2", "-4"),
        ("2**3**2", "512"),
        ("10**39", "1" + "0" * 39),
        ("10**40", "error: a number has more than 40 digits"),
        ("9**256**256", "error: a number has more than 40 digits"),
        ("(1/0", "error: the expression cannot be read: use numbers, + - * / ** and brackets"),
        ("\ud800", "error: the expression cannot be read: use numbers, + - * / ** and brackets"),
    ],
)
def test_values_have_one_spelling(expression: str, reply: str) -> None:
    assert TOOL.call(expression, None) == (reply, None)


# --- environments


def make(text: str) -> Environment:
    return make_environment(*parse_choice(text))


def solve(problem: Problem) -> str:
    task = problem.answer
    assert isinstance(task, Task)
    return f"#### {task.row.value}"


def test_an_episode_of_calls_and_an_answer() -> None:
    environment = make("gsm,tool=calculator")
    problem = environment.make_problem(bytes(32), [2])
    assert problem.request.endswith(
        "Or end a turn with a line of calculator:, a space and an "
        "expression of numbers, + - * / ** and brackets, such as (3+4)*12/5. A reply follows.\n"
    )
    state, reply = environment.open(problem).step("calculator: 6*7", is_ended=True)
    assert reply == "42\n"
    assert state.score().format == 0
    state, reply = state.step("calculator: 6*", is_ended=True)
    assert reply == "error: the expression cannot be read: use numbers, + - * / ** and brackets\n"
    for text, parts in ((solve(problem), RIGHT), ("#### -1", WRONG)):
        answered, reply = state.step(text, is_ended=True)
        assert reply is None
        assert answered.score() == parts
    assert environment.score(problem, solve(problem)) == RIGHT
    assert environment.score(problem, "calculator: 6*7").format == 0


def test_calls_of_a_template_have_replies_without_a_line_break() -> None:
    environment = make("gsm,tool=calculator,call_form=hermes")
    problem = environment.make_problem(bytes(32), [2])
    assert problem.request == make("gsm").make_problem(bytes(32), [2]).request
    (told,) = json.loads(problem.conversation.tools)
    assert told["function"]["name"] == "calculator"
    assert told["function"]["parameters"]["required"] == ["expression"]
    assert environment.open(problem).step(hermes(CALL), is_ended=True)[1] == "42"
    assert environment.open(problem).step(f"<tool_call>{CALL}", is_ended=False)[1] is not None


def test_parts_of_a_mixture_have_tools_of_their_own() -> None:
    environment = make("mix,arithmetic=1,gsm=1,guess=1,gsm.tool=calculator,gsm.call_form=xml")
    assert environment.params["gsm.tool"] == 1
    assert "arithmetic.tool" not in environment.params
    for number in range(12):
        problem = environment.make_problem(number.to_bytes(32, "big"), environment.levels)
        state, reply = environment.open(problem).step(hermes(XML_CALL), is_ended=True)
        assert (reply == "42") == bool(problem.conversation.tools) == (problem.level // 1_000 == 2)
        del state


def test_every_tool_form_and_manner_has_a_digest_of_its_own() -> None:
    texts = ["gsm", "gsm,bos=1", "gsm,tool=1", "gsm,tool=1,bos=1"]
    texts += [f"gsm,tool=1,call_form={form.word}" for form in CallForm if form is not LINE]
    assert len({make(text).digest for text in texts}) == len(texts)
    assert make("gsm,tool=none,call_form=line").digest == make("gsm").digest
    assert isinstance(make("gsm").open(make("gsm").make_problem(bytes(32), [1])), OneTurn)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("guess,tool=calculator", "guess: tool is for environments of one turn"),
        ("mix,gsm=1,sat=1,gsm.tool=1,sat.call_form=1", "sat: call_form = 1 says how a tool is"),
        ("gsm,tool_units=100", "gsm: tool_units = 100 is for tool=python alone"),
        ("gsm,call_form=hermes", "gsm: call_form = 1 says how a tool is called, and tool is 0"),
        ("gsm,tool=4", "tool = 4 must be an integer from 0 to 3"),
        ("gsm,tool=1,call_form=5", "call_form = 5 must be an integer from 0 to 4"),
        ("gsm,tool=python3", "write each setting once"),
        ("gsm,tool=shell", "of tool also none, calculator"),
        ("mix,gsm=1,sat=1,tool=1", "there is no environment 'tool'"),
    ],
)
def test_wrong_settings_are_told_in_a_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make(text)


@pytest.mark.parametrize("setting", ["tool=9", "tool=1,gsm.call_form=9", "tool_units=9"])
def test_a_tool_that_nobody_knows_is_a_fault_where_no_environment_is_made(setting: str) -> None:
    """As where a checkpoint's template is tried for another release's parameters."""
    text = f"mix,sat=1,gsm=1,gsm.{setting}"
    name, params = parse_choice(text)
    settings = tuple(Setting(key, value) for key, value in sorted(params.items()))
    fault = f"{setting.rpartition('.')[2].partition('=')[0]} = 9 must be an integer from"
    with pytest.raises(ValueError, match=fault):
        count_named_units(text)
    with pytest.raises(ValueError, match=fault):
        list_manners(EnvironmentChoice(name, settings, bytes(32), ()))


def test_a_machine_whose_tool_replies_otherwise_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    proofs.compute_tool_proof.cache_clear()
    monkeypatch.setattr(Calculator, "call", lambda self, argument, memory: ("41", memory))
    try:
        with pytest.raises(ValueError, match=r"the tool calculator replies otherwise on this"):
            make("gsm,tool=1")
    finally:
        proofs.compute_tool_proof.cache_clear()


@pytest.mark.parametrize(
    "module",
    [calculator, calls, index, json_reader, proofs, search, tool, tool_environment],
    ids=lambda one: one.__name__,
)
def test_a_tools_module_has_nothing_inexact(module: object) -> None:
    """As of a world, but for faults of its own, which become fixed sentences, for the division of
    fractions, and for JSON that it writes of its own texts."""
    tree = ast.parse(Path(module.__file__).read_text())  # type: ignore[attr-defined]
    source = ast.unparse(tree)
    for words in ("strip", "lstrip", "rstrip", "split"):
        assert f".{words}()" not in source
    for node in ast.walk(tree):
        name = getattr(node, "attr", getattr(node, "id", None))
        assert name not in INEXACT - {"Exception", "json", "split"}, (name, ast.dump(node))
        assert name != "loads"
        assert not isinstance(node, ast.Set | ast.SetComp), ast.dump(node)
        if isinstance(node, ast.ExceptHandler):
            assert ast.unparse(node.type or tree) in ("_Fault", "JsonFault")
        if isinstance(node, ast.Constant):
            assert not isinstance(node.value, float)
            assert not re.search(r"\\[bdsw]", str(node.value), re.IGNORECASE)


# --- python


@pytest.fixture
def python() -> Python:
    if not has_sandbox():
        pytest.skip("no sandbox: assay sandbox prepare")
    return Python(300)


def run_all_of(tool: Python, *programs: str) -> list[str]:
    memory: object = None
    replies = []
    for program in programs:
        reply, memory = tool.call(program, memory)
        replies.append(reply)
    return replies


def test_programs_of_an_episode_see_the_names_of_those_before(python: Python) -> None:
    made, printed, raised, missing = run_all_of(
        python, "x = [1, 2]", "x.append(sum(x))\nprint(x)\n\n", "print(x)\n1/0", "print(y)"
    )
    assert (made, printed) == ("", "[1, 2, 3]")
    assert raised.startswith("[1, 2, 3]\nTraceback (most recent call last):\n")
    assert raised.endswith("ZeroDivisionError: division by zero")
    assert missing.endswith("NameError: name 'y' is not defined")


@pytest.mark.parametrize(
    ("program", "reply"),
    [
        ("6 * 7", "42"),
        ("x = 2\nx", "2"),
        ("print(1)\n[1, 'a']", "1\n[1, 'a']"),
        ("1\n2", "2"),
        ("1; 2;", "2"),
        ("'\u00e9'", "'\u00e9'"),
        ("None", ""),
        ("print(3)", "3"),
        ("x = 3", ""),
        ("if 1:\n    5", ""),
        ("'x' * 1_022", f"'{'x' * 1_022}'"),
        ("'x' * 1_023", f"'{'x' * 1_020}..."),
        ("[0] * 10**3", f"[{'0, ' * 340}..."),
        ("class A:\n    def __repr__(self): return 'an A'\nA()", "an A"),
        ("def f():\n    yield 1\nnext(f())", "1"),
        ("''", "''"),
        ("# nothing", ""),
    ],
)
def test_the_value_of_a_last_expression_is_told(python: Python, program: str, reply: str) -> None:
    assert run_all_of(python, program) == [reply]


@pytest.mark.parametrize(
    ("program", "end"),
    [
        ("print(1)\nx.y", "line 2, in <module>\nNameError: name 'x' is not defined"),
        ("class A:\n    def __repr__(self): return 1\nA()", "returned non-string (type int)"),
        ("print(1)\nreturn 2", "SyntaxError: 'return' outside function"),
        ("print(1)\nawait x", "SyntaxError: 'await' outside function"),
        ("import numpy\nnumpy", "ModuleNotFoundError: No module named 'numpy'"),
        ("9 ** 9 ** 5", "use sys.set_int_max_str_digits() to increase the limit"),
    ],
)
def test_a_last_expression_fails_as_it_does_elsewhere(
    python: Python, program: str, end: str
) -> None:
    """What no Python can compile does not begin."""
    (reply,) = run_all_of(python, program)
    assert reply.endswith(end)
    assert reply.startswith("1\n") == ("x.y" in program)


def test_what_python_lacks_is_said_where_a_model_reads_it() -> None:
    assert "no numpy, no files and no network" in Python.about


@pytest.mark.parametrize(
    "program",
    [
        "while True: pass",
        "x = [0]\nwhile True: x += x",
        "while True: print('x' * 1_000)",
        "def f(): return f()\nimport sys\nsys.setrecursionlimit(10**9)\nf()",
        "import os\nos._exit(3)",
        "import os\nos.abort()",
    ],
)
def test_a_program_that_does_not_return_loses_the_names(python: Python, program: str) -> None:
    _, lost, missing, again = run_all_of(python, "y = 1", program, "print(y)", "print(2)")
    assert lost == LOST.decode().rstrip("\n")
    assert missing.endswith("NameError: name 'y' is not defined")
    assert again == "2"


@pytest.mark.parametrize(
    ("program", "reply"),
    [
        ("import time\ntime.sleep(10**6)\nprint(time.time() > 10**6)", "True"),
        (
            "open('/etc/passwd')",
            "FileNotFoundError: [Errno 44] No such file or directory: '/etc/passwd'",
        ),
        ("print(input())", "EOFError: EOF when reading a line"),
        ("print('\u00e9' * 2047)", "\u00e9" * 2047),
        (
            "print('\\ud800')",
            "UnicodeEncodeError: 'utf-8' codec can't encode character '\\ud800' "
            "in position 0: surrogates not allowed",
        ),
        (
            "\ud800",
            "SyntaxError: (unicode error) 'utf-8' codec can't decode byte 0xed in position "
            "0: invalid continuation byte",
        ),
        ("import random, time\nprint(time.time() < 1, random.random())", None),
    ],
)
def test_a_program_has_no_clock_chance_or_file_of_this_machine(
    python: Python, program: str, reply: str | None
) -> None:
    first, second = (run_all_of(python, program) for _ in range(2))
    assert first == second
    if reply is not None:
        assert first[0].splitlines()[-1] == reply


def test_an_episodes_budget_counts_programs_that_run_again(python: Python) -> None:
    """A slow program is run again by each later call, so few of them are left."""
    work = "for i in range(20_000): pass\nprint(i)"
    replies = run_all_of(Python(100), "x = 0", *[work] * 9)
    done = replies.count("19999")
    assert replies[-1] == SPENT
    assert 2 <= done <= 4
    once, memory = Python(100).call(work, None)
    assert isinstance(memory, Ran)
    each = memory.end.instructions
    assert each > 1_000_000
    assert (once, memory.spent) == ("19999", each + RUN_COST)
    endless = run_all_of(Python(100), *["while True: pass"] * 5)
    assert endless[:3] == [LOST.decode().rstrip("\n")] * 3
    assert endless[-1] == SPENT
    assert python.units == 300


def test_an_episode_of_more_programs_than_run_together_has_a_reply() -> None:
    """A first program that replaces the compiler makes so many cheap enough for the budget."""
    ran = Ran(programs=(b"",) * TURNS_MAX)
    assert Python(5_000).call("print(1)", ran) == (SPENT, ran)


def test_a_replay_with_more_left_says_what_the_programs_said(python: Python) -> None:
    """Of a program that takes the last of the budget, in a memory so large that each instruction
    counts as several, and is lost."""
    programs = [
        *("print()", "while True: pass", "while True: pass", "while True: pass"),
        "x = ' ' * 2_200_000\nimport os\nos._exit(1)",
        "import time\nprint(time.time_ns())",
    ]
    replies = run_all_of(Python(200), *programs)
    most = TurnsBudget(Budget(50 * MILLION, OUTPUT_MAX), 1_000 * MILLION)
    whole, _ = run_turns([program.encode() for program in programs], most)
    assert [one.output.decode().rstrip("\n") for one in whole] == replies


def test_python_is_an_environments_tool_and_its_budget_is_stated(python: Python) -> None:
    environment = make("gsm,tool=python,call_form=hermes,tool_units=200")
    assert environment.params["tool_units"] == 200
    problem = environment.make_problem(bytes(32), [2])
    state = environment.open(problem)
    for program, due in (("x = 6", ""), ("print(x * 7)", "42")):
        call = json.dumps({"name": "python", "arguments": {"code": program}})
        state, reply = state.step(hermes(call), is_ended=True)
        assert reply == due
    assert state.step(solve(problem), is_ended=True)[0].score() == RIGHT
    others = ("gsm,tool=python,call_form=xml", "gsm,tool=python,call_form=hermes")
    assert len({environment.digest, *(make(text).digest for text in others)}) == 3
    assert count_named_units("gsm,tool=python,call_form=hermes") == {"tool_units": python.units}
    assert count_named_units("mix,gsm=1,sat=1,gsm.tool=1").total() == 0
    assert environment.scorers >= 1


def test_where_no_program_can_run_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise ProblemFileError("no program can run here: assay sandbox prepare")

    monkeypatch.setattr(python_module, "require_sandbox", refuse)
    with pytest.raises(ValueError, match="no program can run here: assay sandbox prepare"):
        make("gsm,tool=python,call_form=hermes")
