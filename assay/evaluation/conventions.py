"""Conventions: the prompt and the scorers by which a suite's figures are known elsewhere.

A figure can only be compared with another if both have the same prompt and the same scorer, so
every result names them. `gsm8k` repeats the task of that name of lm_eval (version 3.0): its text,
its stops, both of its filters and its comparison, character by character. `boxed` is the request
that most reports on MATH, MATH-500 and AIME use. Its scorer is the exact grammar of `math:SHA256`.
`choices` is that of simple-evals for GPQA and MMLU. `words` asks for a line as it does, and
compares the answer whole, as `text:SHA256` does. `instructions` asks IFEval's prompts as they are,
and counts a reply that meets all of its instructions. `programs` asks for a program as
`code:SHA256` does, takes the last block of code as LiveCodeBench does, and runs it on the row's
test cases.

An owner's words may replace those of a convention: the result then has them, too.
"""

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from assay.environments import gsm, letters_file, math_file, text_file
from assay.environments.answer_form import AnswerForm, read_answer
from assay.environments.base import ANSWER_BYTES, Answer, Conversation, Problem
from assay.environments.instructions import instruction_file
from assay.environments.instructions.instruction_file import InstructionRow
from assay.environments.math_answer import read_math
from assay.environments.math_file import MathTask, find_boxed
from assay.environments.plain_form import write_plainly
from assay.environments.programs import code_file
from assay.environments.programs.code_file import CodeRow, run_cases
from assay.environments.prompting import make_manner
from assay.environments.text_file import TextRow
from assay.evaluation.statistics import Outcome
from assay.protocol.parameters import UNITS, Prompts, PromptText

#: How a suite's programs are run: all test cases of a row count, up to the most that one may have.
PROGRAM_PARAMS: Mapping[str, int] = MappingProxyType(
    {"cases": 256, "exact": 0, "millions": 10_000, UNITS: 100_000}
)


@dataclass(frozen=True, slots=True)
class SuiteRow:
    """One problem of a suite.

    Attributes:
        number: of the row, from 1, as `assay env look` counts.
        problem: its text, with its choices if it has some.
        solution: the right answer as the file has it, for `gsm` with its steps.
        right: what a scorer compares with, if that is no text.
        letters: of its choices. how: what kind of program is asked for, and by which language.
    """

    number: int
    problem: str
    solution: str
    right: MathTask | InstructionRow | CodeRow | TextRow | Problem | None = None
    letters: str = ""
    how: str = ""


@dataclass(frozen=True, slots=True)
class Scorer:
    """One way to judge a completion. about: its rule, in words."""

    name: str
    about: str
    judge: Callable[[str, SuiteRow], Outcome]


@dataclass(frozen=True, slots=True)
class Convention:
    """A prompt, its stops and its scorers, the first of which counts first.

    Attributes:
        family: of environments whose files it asks.
        text: of the prompt, with {problem} in it once, and perhaps {letters} and {how}.
        shot: of an example before it, with {problem} and {solution}; None: it takes none.
        stops: texts that end an answer and are no part of it.
        is_slow: judging takes long enough for threads: programs are run.
    """

    name: str
    family: str
    text: str
    shot: str | None
    stops: Sequence[str]
    scorers: Sequence[Scorer]
    is_slow: bool = False

    def put(
        self,
        row: SuiteRow,
        shots: Sequence[SuiteRow] = (),
        prompts: Prompts | None = None,
        *,
        bos: bool = False,
        plain: bool = False,
    ) -> Conversation:
        """What a model is asked: one message of a user, after examples in the same message.

        Args:
            prompts: an owner's. Words that it lacks are the convention's.
            bos, plain: see `Conversation`.
        """
        before, after = (_fill(part, row) for part in self.text.split("{problem}"))
        before = "".join([*(_fill(self.shot or "", shot) for shot in shots), before])
        own = {} if prompts is None else {text.name: text.text for text in prompts.texts}
        words = {"before": before, "after": after} | own
        record = Prompts(
            self.family,
            tuple(PromptText(*text) for text in sorted(words.items())),
            () if prompts is None else prompts.shots,
        )
        manner = make_manner(self.family, {"bos": bos, "plain": plain}, record)
        return Problem(row.problem, 0, Answer(), manner=manner).conversation

    def cut(self, text: str) -> str | None:
        """A completion up to its first stop; None: it has none."""
        ends = [end for stop in self.stops if (end := text.find(stop)) >= 0]
        return text[: min(ends)] if ends else None


_PARTS = re.compile(r"\{(problem|solution|letters|how)\}")


def _fill(text: str, row: SuiteRow) -> str:
    """A text with a row's parts in place. Not by `format`: texts have braces of LaTeX."""
    return _PARTS.sub(lambda match: str(getattr(row, match[1])), text)


# --- lm_eval's gsm8k

_STRICT = re.compile(r"#### (-?[0-9.,]+)")
_FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")


def _compare_texts(found: str | None, row: SuiteRow) -> Outcome:
    """Its `exact_match` of what a filter has found. None: nothing, and no number is that."""
    if found is None:
        return Outcome(None, False)
    answer = _ignore(found.strip())
    return Outcome(answer, answer == _ignore(row.solution))


def _ignore(text: str) -> str:
    """A text without what `exact_match` ignores: `,`, `\\$`, `(?s).*#### ` and `\\.$`, in turn."""
    rest = text.replace(",", "").replace("$", "").rpartition("#### ")[2]
    return re.sub(r"\.$", "", rest).lower()


def _judge_strictly(text: str, row: SuiteRow) -> Outcome:
    found = _STRICT.search(text)
    return _compare_texts(None if found is None else found[1], row)


def _judge_flexibly(text: str, row: SuiteRow) -> Outcome:
    last = deque(_FLEXIBLE.finditer(text), maxlen=1)
    return _compare_texts(last[0][0] if last else None, row)


# --- others


def _judge_boxed(text: str, row: SuiteRow) -> Outcome:
    """The content of the last box. All right answers are one answer, and so are equal values."""
    assert isinstance(row.right, MathTask), "its convention asks only files of this family"
    try:
        content = find_boxed(text)
    except ValueError:  # never closed
        content = None
    if content is None or not content.strip():
        return Outcome(None, False)
    if len(content.encode("utf-8", "surrogatepass")) > ANSWER_BYTES:
        return Outcome(None, False)
    if row.right.accepts(content):
        return Outcome(True, True)
    answer = read_math(content, row.right.question)
    return Outcome(content.strip() if answer is None else answer.value, False)


def _judge_letter(text: str, row: SuiteRow) -> Outcome:
    found = _find_letter(row.letters).search(text)
    return Outcome(None, False) if found is None else Outcome(found[1], found[1] == row.solution)


@cache
def _find_letter(letters: str) -> re.Pattern[str]:
    return re.compile(rf"(?i)Answer[ \t]*:[ \t]*\$?([{letters}])\$?")


def _judge_words(text: str, row: SuiteRow) -> Outcome:
    """All spellings of one plain form are one answer."""
    assert isinstance(row.right, TextRow), "its convention asks only files of this family"
    answer = read_answer(text, AnswerForm.LINE)
    plain = "" if answer is None else write_plainly(answer)
    return Outcome(plain or None, plain in row.right.answers)


def _judge_instructions(text: str, row: SuiteRow) -> Outcome:
    """A reply votes for nothing but itself."""
    assert isinstance(row.right, InstructionRow), "its convention asks only files of this family"
    met = row.right.count_met(text)
    return Outcome(None if met is None else text, met == len(row.right.instructions))


def find_last_block(text: str) -> str | None:
    """The lines between the last two that contain ```; None: there are no two."""
    lines = text.split("\n")
    marks = [number for number, line in enumerate(lines) if "```" in line]
    return "\n".join(lines[marks[-2] + 1 : marks[-1]]) if len(marks) > 1 else None


def _judge_program(text: str, row: SuiteRow) -> Outcome:
    """A program votes for nothing but itself."""
    assert isinstance(row.right, CodeRow), "its convention asks only files of this family"
    program = find_last_block(text)
    if program is None or len(program.encode("utf-8", "surrogatepass")) > ANSWER_BYTES:
        return Outcome(None, False)
    try:
        program.encode()
    except UnicodeEncodeError:  # half a surrogate pair is no program
        return Outcome(None, False)
    is_right = "\0" not in program and all(run_cases(program, row.right, PROGRAM_PARAMS))
    return Outcome(program, is_right)


GSM8K = Convention(
    "gsm8k",
    gsm.NAME,
    "Question: {problem}\nAnswer:",
    "Question: {problem}\nAnswer: {solution}\n\n",
    ("Question:", "</s>", "<|im_end|>"),
    (
        Scorer("strict-match", "the first number after `#### `, as text", _judge_strictly),
        Scorer("flexible-extract", "the last number, as text", _judge_flexibly),
    ),
)
BOXED = Convention(
    "boxed",
    math_file.NAME,
    "{problem}\nPlease reason step by step, and put your final answer within \\boxed{}.",
    None,
    (),
    (Scorer("boxed", "the last \\boxed{…} has the right value, exactly", _judge_boxed),),
)
CHOICES = Convention(
    "choices",
    letters_file.NAME,
    "Answer the following multiple choice question. The last line of your response should be of "
    "the following format: 'Answer: $LETTER' (without quotes) where LETTER is one of {letters}. "
    "Think step by step before answering.\n\n{problem}",
    None,
    (),
    (Scorer("choices", "the letter after the first `Answer:`", _judge_letter),),
)
WORDS = Convention(
    "words",
    text_file.NAME,
    "{problem}\n\nThe last line of your response should be of the following format: "
    "'Answer: $ANSWER' (without quotes) where $ANSWER is the answer in a few words.",
    None,
    (),
    (
        Scorer(
            "exact",
            "the last line that begins with `Answer:` has one of the row's answers, in plain form",
            _judge_words,
        ),
    ),
)
INSTRUCTIONS = Convention(
    "instructions",
    instruction_file.NAME,
    "{problem}",
    None,
    (),
    (Scorer("strict", "the reply meets all of the row's instructions", _judge_instructions),),
)
PROGRAMS = Convention(
    "programs",
    code_file.NAME,
    "{problem}\n{how}\n",
    None,
    (),
    (
        Scorer(
            "last-block",
            "the code between the last two lines with ``` passes all test cases of the row, the "
            f"first {PROGRAM_PARAMS['cases']}, each within {PROGRAM_PARAMS['millions']:,} million "
            f"instructions, all within {PROGRAM_PARAMS[UNITS]:,} million",
            _judge_program,
        ),
    ),
    is_slow=True,
)
#: Family of environments → the convention by which its files are asked.
_ALL = GSM8K, BOXED, CHOICES, WORDS, INSTRUCTIONS, PROGRAMS
CONVENTIONS: Mapping[str, Convention] = MappingProxyType(
    {convention.family: convention for convention in _ALL}
)
