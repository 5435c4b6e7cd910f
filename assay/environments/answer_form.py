"""The forms in which a completion gives its answer: `#### 5`, `\\boxed{5}`, tags, or a line.

Each form gives one answer or none, in time linear in the completion, and only behind the thought.
Where a model may write a form several times, the last one is its answer. Environments.
"""

import re
from collections.abc import Mapping
from enum import IntEnum

from assay.environments.base import ANSWER_BYTES, BLANKS, DrawnEnvironment, Param, cut_thought


class AnswerForm(IntEnum):
    """The value of the setting `answer_form`."""

    HASH = 0
    BOXED = 1
    TAGS = 2
    LINE = 3


#: What is asked for where an owner asks for nothing else; {0} is what the answer is.
REQUESTS = {
    AnswerForm.HASH: "End with a line of ####, a space and {0}.",
    AnswerForm.BOXED: "Please reason step by step, and put {0} within \\boxed{{}} at the end.",
    AnswerForm.TAGS: "End with {0} between <answer> and </answer>.",
    AnswerForm.LINE: "End with a line of Answer:, a space and {0}.",
}
_BOX, _LINE, _OPENING, _CLOSING = "\\boxed{", "Answer:", "<answer>", "</answer>"
_AROUND = {
    AnswerForm.HASH: ("#### ", ""),
    AnswerForm.BOXED: (_BOX, "}"),
    AnswerForm.TAGS: (_OPENING, _CLOSING),
    AnswerForm.LINE: (f"{_LINE} ", ""),
}
#: A brace, or a character after a backslash, which is none.
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
#: The setting.
NAME = "answer_form"


class FormedEnvironment(DrawnEnvironment):
    """An environment whose answers have the form that the setting `answer_form` says.

    Attributes:
        form: None: the environment has no such setting, and its own way to read an answer.
    """

    def __init__(
        self,
        name: str,
        version: int,
        declared: Mapping[str, Param],
        params: Mapping[str, int],
        form: AnswerForm | None,
    ) -> None:
        """Args as for a `DrawnEnvironment`; `form` is the setting's default."""
        super().__init__(name, version, {**declared, **declare_form(form)}, params)
        self.form = None if form is None else AnswerForm(self.params[NAME])

    def read_answer(self, completion: str) -> str | None:
        """As the function of this name."""
        assert self.form is not None, "an environment without a form reads answers itself"
        return read_answer(completion, self.form)

    def write_answer(self, answer: str) -> str:
        if self.form is None:
            return super().write_answer(answer)
        before, after = _AROUND[self.form]
        return f"{before}{answer}{after}"

    def write_request(self, what: str) -> str:
        """The lines behind a question that ask for an answer, which is `what`."""
        return "" if self.form is None else f"\n{REQUESTS[self.form].format(what)}\n"


def declare_form(default: AnswerForm | None) -> dict[str, Param]:
    """The setting of an environment whose form is `default`, unless an owner chooses another; none
    of one without a form."""
    if default is None:
        return {}
    forms = ", ".join(f"{form:d} {form.name.lower()}" for form in AnswerForm)
    return {NAME: Param(int(default), 0, len(AnswerForm) - 1, f"form of an answer: {forms}")}


def read_answer(completion: str, form: AnswerForm = AnswerForm.HASH) -> str | None:
    """The answer of a completion, or None: it has none in this form behind its thought, or one of
    more than `ANSWER_BYTES` in UTF-8."""
    answer = {
        AnswerForm.HASH: _read_hash,
        AnswerForm.BOXED: _read_boxed,
        AnswerForm.TAGS: _read_tags,
        AnswerForm.LINE: _read_line,
    }[form](cut_thought(completion))
    if answer is None or len(answer.encode("utf-8", "surrogatepass")) > ANSWER_BYTES:
        return None
    return answer


def _read_hash(completion: str) -> str | None:
    """The text after `#### `, to the end, untrimmed; None unless that mark opens a line and is the
    text's only `####`."""
    before, mark, answer = completion.partition("#### ")
    if not mark or "####" in before or "####" in answer or (before and before[-1] != "\n"):
        return None
    return answer


def _read_boxed(completion: str) -> str | None:
    """The content of the last `\\boxed{`, up to the brace that closes it."""
    _, mark, rest = completion.rpartition(_BOX)
    end = find_closing(rest) if mark else None
    return None if end is None else rest[:end].strip(BLANKS)


def _read_tags(completion: str) -> str | None:
    """The text after the last `<answer>`, up to the first `</answer>` behind it."""
    _, mark, rest = completion.rpartition(_OPENING)
    answer, closed, _ = rest.partition(_CLOSING)
    return answer.strip(BLANKS) if mark and closed else None


def _read_line(completion: str) -> str | None:
    """The rest of the last line that begins with `Answer:`."""
    _, mark, rest = f"\n{completion}".rpartition(f"\n{_LINE}")
    return rest.partition("\n")[0].strip(BLANKS) if mark else None


def find_closing(text: str) -> int | None:
    """Index of the brace that closes one opened before the text. None if there is none."""
    if "{" not in text and "\\" not in text:
        return place if (place := text.find("}")) >= 0 else None
    depth = 1
    for match in _BRACE.finditer(text):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if not depth:
            return match.start()
    return None
