"""Vectors of how problems are put, of the forms of answers, and of the program of an answer."""

from collections.abc import Iterator
from random import Random
from typing import Any

from assay.environments.answer_form import AnswerForm, read_answer
from assay.environments.base import Answer, Manner, Message, Problem
from assay.environments.programs.blocks import find_program
from assay.environments.registry import make_environment
from assay.protocol.encoding import to_json
from assay.protocol.parameters import Prompts, PromptText, Shot, find_prompts_fault

Json = Any

_SHOTS = (Shot("1 + 1?", " 2"), Shot("2 + 2?", " 4"))
_CONTEXT = (Message("system", "Be kind."), Message("user", "Hi."), Message("assistant", "Hello."))
_QUESTION, _REQUEST = "3 + 4?", "\nAnswer in digits.\n"


def _make(part: str = "gsm", shots: tuple[Shot, ...] = (), **texts: str) -> Prompts:
    return Prompts(part, tuple(PromptText(*one) for one in sorted(texts.items())), shots)


_ARGUMENTS = '{"enable_thinking":false,"level":-3,"name":"\u00e9\\n"}'
_RECORDS: tuple[tuple[str, Prompts | None], ...] = (
    ("as the environment puts it", None),
    ("a system text", _make(system="Think.")),
    ("an empty system text", _make(system="")),
    ("other words around it", _make(before="Q: ", after="\nA:")),
    ("no words behind it", _make(after="")),
    ("examples", _make(shots=_SHOTS)),
    (
        "all of it",
        _make(shots=_SHOTS, system="T", before="Q: ", after="\nA:", arguments=_ARGUMENTS),
    ),
    ("a frame of replies", _make(reply_before="\n", reply_after="x" * 1_024, reply_form="json")),
)
_HALF = "x" * 32_700
_BAD: tuple[tuple[str, tuple[Prompts, ...]], ...] = (
    ("parts in another order", (_make("sat", after=""), _make("gsm", after=""))),
    ("a part twice", (_make(after=""), _make(before=""))),
    ("texts in another order", (Prompts("gsm", (PromptText("b", ""), PromptText("a", ""))),)),
    ("another text", (_make(frame=""),)),
    ("nothing", (_make(),)),
    ("a form of replies that there is not", (_make(reply_form="text"),)),
    ("a frame too long", (_make(reply_before="x" * 1_025),)),
    ("a frame too long behind", (_make(reply_after="\u00e9" * 513),)),
    ("a byte too many", (_make(after=_HALF), _make("sat", after="x" * (65_536 - 32_700 - 45)))),
    *(
        (f"arguments {text}", (_make(arguments=text),))
        for text in (
            *("", "{}", "[]", "1", '{"a": 1}', '{"b":1,"a":1}', '{"a":1,"a":1}', '{"a":01}'),
            *('{"a":1.0}', '{"a":null}', '{"a":[1]}', '{"A":1}', '{"_a":1}', '{"messages":1}'),
            *('{"a":9223372036854775808}', '{"a":"\\u0061"}', '{"a":"\\/"}', '{"a":"\\u000a"}'),
            *('{"a":1}x', '{"a":-0}'),
        )
    ),
)
_ANSWERS = (
    *("5", "so\n#### 5", "#### 5\n", "#### 4\n#### 5", " #### 5", "####5"),
    *(
        "\\boxed{5}",
        "\\boxed{4}, no \\boxed{ \\frac{1}{2}\n}.",
        "\\boxed{\\{1\\}} it is",
        "\\boxed{5",
    ),
    *(
        "\\boxed{5",
        "\\boxed{4} \\boxed{5",
        "\\boxed{\\}}",
        "\\boxed{}",
        "<answer>5</answer>",
        "<answer>5",
    ),
    *("<answer>4</answer><answer> 5 </answer>.", "</answer><answer>5</answer>", "Answer: 5"),
    *("Answer:5\nthat is it", "Answer: 4\nAnswer: 5", "the Answer: 5", "\\boxed{\u00a05}"),
    "\\boxed{" + "x" * 32_769 + "}",
    *("<think>\n#### 4\n\\boxed{4}\n</think>\n\n#### 5", "#### 4</think>#### 5", "#### 5</think>"),
    *("<answer>4</answer></think>\r\n<answer>5</answer>", "#### 4\n</think >\n#### 5"),
    *("a</think>Answer: 4</think>\n\nAnswer: 5", "</think>\n so #### 5", "</think> #### 5"),
)
_FENCE = "`" * 3
#: Dressings of a program, of which `P` is the right one, and `$` a fence.
_DRESSED = (
    *(
        "$python\nP\n$",
        "$python\nP\n$\n \n",
        "$python\nP\n$\nso",
        "$py\nP\n$",
        "$PYTHON3 a=1\nP\n$",
    ),
    *("$python\nx\n$\n$python\nP\n$", "$python\nP\n$\n$\nx\n$", "$\nP\n$\n$c\nx\n$", "$\nP\n$"),
    *("$python \t\nP\n$ \t", "$python\r\nP\r\n$\r\n", "$python\r\nP\r\nx\n$\r", "$ \t py\nP\n$"),
    *("so $python\nP\n$", "  $python\n  P\n   x\n x\n  $", "    $python\nP\n$", "\t$python\nP\n$"),
    *(
        "$python\nx$\n$x\n$",
        "`$python\nx\n$\nP\n`$",
        "$python\nP\n`$",
        "`$python\nP\n$\n",
        "$python\nP",
    ),
    *("$python\nP\n    $\n$", "$python\n$", "$python\n\n$", "$\n$", "$python", "~~~python\nP\n~~~"),
    *("$python3.11\nP\n$", "$pyt\nP\n$", "$`python\nP\n$", "$py`\nP\n$", "$python\nP\n$ so\n$"),
    *(
        "<think>\n$python\nx\n$\n</think>\n\n$python\nP\n$",
        "$python\nP\n$\n</think>so",
        "$</think>$py\nP\n$",
    ),
    *(
        "$python\nx\n</think>\n$py\nP\n$",
        "x$y$\n$\nP\n$",
        "$python\n\0\n$",
        "$py\nP\n$\n$py\n\0\n$",
    ),
    *(
        "",
        "P",
        "$",
        "$\n",
        "\n\n$py\n$py\n$\n",
        "$\rpy\nP\n$",
        "$python\n\u00e9\u2028\x0b\n$",
        "   $py\nP\n $",
    ),
    "$python\n" + "x" * 32_768 + "\n$",
    "$python\n" + "x" * 32_769 + "\n$",
    "$python\n" + "\u00e9" * 16_385 + "\n$",
)
#: What drawn completions are made of.
_PIECES = (
    *(
        "$",
        "$",
        "`$",
        "`",
        "~~~",
        "\n",
        "\n",
        "\r\n",
        "\r",
        " ",
        "   ",
        "\t",
        "python",
        "py",
        "Python3",
        "c",
    ),
    *("$python\n", "\n$\n", "P", "x = 1", "#### 5", "</think>", "\u00e9", "x\0"),
)
_DRAWN = 400


def make_prompts() -> Json:
    assert all(find_prompts_fault(prompts) is not None for _, prompts in _BAD)
    return {
        "put": [
            _put(about, prompts, context)
            for context in ((), _CONTEXT)
            for about, prompts in _RECORDS
        ],
        "digests": [
            {
                "settings": dict(settings),
                "prompts": None if prompts is None else to_json(prompts),
                "digest": make_environment(
                    "gsm", settings, [] if prompts is None else [prompts]
                ).digest.hex(),
            }
            for settings in (
                {"answer_form": 0, "largest": 20},
                {"answer_form": 1, "largest": 20, "bos": 1},
                {"answer_form": 0, "largest": 20, "plain": 1},
            )
            for _, prompts in _RECORDS
        ],
        "bad": [
            {"about": about, "prompts": [to_json(one) for one in prompts]}
            for about, prompts in _BAD
        ],
        "answers": [
            {
                "about": f"{form.name.lower()}: {completion[:40]}",
                "form": int(form),
                "completion": completion,
                "answer": read_answer(completion, form),
            }
            for form in AnswerForm
            for completion in _ANSWERS
        ],
        "programs": list(_read_programs()),
    }


def _read_programs() -> Iterator[Json]:
    random = Random(82)
    drawn = ("".join(random.choices(_PIECES, k=random.randint(1, 16))) for _ in range(_DRAWN))
    for text in (*_DRESSED, *drawn):
        completion = text.replace("$", _FENCE).replace("P", "print(6)")
        block = find_program(completion)
        yield {"completion": completion, "block": None if block is None else block._asdict()}


def _put(about: str, prompts: Prompts | None, context: tuple[Message, ...]) -> Json:
    problem = Problem(_QUESTION, 1, Answer(), _REQUEST, context, Manner(prompts))
    return {
        "about": about,
        "problem": {
            "question": _QUESTION,
            "request": _REQUEST,
            "context": [_write(one) for one in context],
        },
        "prompts": None if prompts is None else to_json(prompts),
        "messages": [_write(one) for one in problem.conversation.messages],
        "text": problem.conversation.text,
    }


def _write(message: Message) -> Json:
    return {"role": message.role, "content": message.content}
