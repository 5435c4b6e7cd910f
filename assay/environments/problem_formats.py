"""Formats of files of problems: the columns that hold what a row asks, and which environment reads
rows of which columns.

People's files differ in the names of their columns, not in much else. All formats stand in one
table, because one file is told from the others by all of them: what a format adds to the columns
that are unpacked or refused, every environment of a file sees.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

#: Part of a row → names of columns that hold it, best first. A point leads into an object, or into
#: text that holds one.
NAMES: Mapping[str, Sequence[str]] = {
    "problem": (
        *("problem", "Problem", "question", "Question", "prompt", "problem_text", "question_text"),
        *("query", "instruction", "messages", "conversations"),
    ),
    "answer": (
        *("reward_model.ground_truth", "verification_info.ground_truth", "final_answer", "answer"),
        *("Answer", "Final Answer", "expected_answer", "ground_truth", "gold"),
    ),
    "solution": ("solution", "Solution", "generated_solution"),
    "level": ("level", "Level"),
}
#: A column of problems beside which another may have what they are about.
INSTRUCTION, INPUT = "instruction", "input"
#: Columns of a question with choices: the question, the choices, and the right one as a letter, a
#: place from 0 or a text.
CHOICE_QUESTIONS = (
    *("question", "Question", "question_stem", "problem", "query", "prompt"),
    INSTRUCTION,
)
CHOICE_LISTS = "options", "choices"
CHOICE_RIGHTS = (
    *("answer_index", "answer", "answerKey", "answer_letter", "label", "target"),
    "correct_answer",
)
#: Columns of choices that have no order, and of those that letters name.
CHOICE_RIGHT, CHOICE_WRONG = "Correct Answer", tuple(f"Incorrect Answer {n}" for n in range(1, 10))
CHOICE_LETTERS = "A", "B", "C", "D"
#: All columns that may hold what a row of any shape asks, best first.
QUESTIONS = tuple(
    dict.fromkeys(
        (
            *NAMES["problem"],
            *CHOICE_QUESTIONS,
            *("description", "question_content", "text", INPUT, "conversation", "question.stem"),
        )
    )
)


#: Columns of a document's text, of several documents, and of answers to a question about them.
DOCUMENT_TEXTS = "text", "contents", "sentences", "paragraph_text"
DOCUMENT_LISTS = "context", "paragraphs"
DOCUMENT_ANSWERS = "answer", "answers", "golden_answers", "answer_aliases"
#: Columns of a question with a short answer in words, of its answers, and of what it is about,
#: which stands before it.
WORD_QUESTIONS = "question", "Question", "problem", "query", "prompt", INSTRUCTION
WORD_ANSWERS = (
    *DOCUMENT_ANSWERS,
    *("Answer", "final_answer", "expected_answer", "ground_truth", "gold", "possible_answers"),
)
PASSAGES = "context", "passage", "paragraphs", "article"
#: Columns that say whether a question has an answer.
ANSWERABLE = "answerable", "is_impossible"


@dataclass(frozen=True, slots=True)
class RowFormat:
    """Rows that one environment reads.

    Attributes:
        family: of the environment.
        about: what a row has, for people.
        fields: that each row has, the question first; none: rows have different ones.
        what: name of the rows for people, where their columns tell them from others.
        shapes: such columns: all of one of these are there.
        columns: of Parquet, to their first point: others are never unpacked.
        own_columns: of Parquet that are unpacked for this environment alone.
    """

    family: str
    about: str
    fields: tuple[str, ...] = ()
    what: str = ""
    shapes: tuple[tuple[str, ...], ...] = ()
    columns: tuple[str, ...] = ()
    own_columns: tuple[str, ...] = ()


#: Environment → the rows that it reads. A new one changes which files `math` refuses.
FORMATS: Mapping[str, RowFormat] = {
    one.family: one
    for one in (
        RowFormat(
            "gsm",
            "a question, and an answer that ends in a line `#### N`",
            fields=("question", "answer"),
        ),
        RowFormat(
            "math",
            "a problem, and a solution with its answer in \\boxed{…}",
            fields=("problem", "solution"),
            columns=tuple(name for names in NAMES.values() for name in names),
        ),
        RowFormat(
            "code",
            "a question, and its test cases as JSON in a text",
            fields=("question", "input_output"),
            what="programs with test cases",
            shapes=(
                *(("question", "input_output"), ("description", "public_tests")),
                *(("question_content", "public_test_cases"), ("prompt", "test", "entry_point")),
                *(("text", "test_list"), ("prompt", "test_list"), ("question", "solution", "test")),
            ),
            columns=(
                *("starter_code", "difficulty", "test_setup_code", "test_imports"),
                *("gpt_difficulty", "code", "canonical_solution", "private_tests"),
                *("generated_tests", "private_test_cases", "metadata", "test_info"),
            ),
        ),
        RowFormat(
            "letters",
            "a question, and its choices as a list of texts",
            fields=("question", "options"),
            what="a choice of letters",
            shapes=(
                *((name, listed) for name in CHOICE_QUESTIONS for listed in CHOICE_LISTS),
                ("Question", CHOICE_RIGHT),
                *((name, *CHOICE_LETTERS) for name in ("question", INPUT)),
            ),
            columns=(*CHOICE_RIGHTS, *CHOICE_WRONG),
            own_columns=(*PASSAGES, *WORD_ANSWERS, *ANSWERABLE),
        ),
        RowFormat(
            "instructions",
            "a prompt, and lists of instructions and of their arguments",
            fields=("prompt", "instruction_id_list", "kwargs"),
            what="instructions that a program checks",
            shapes=(("prompt", "instruction_id_list", "kwargs"),),
        ),
        RowFormat(
            "search",
            "documents, and questions with their answers",
            own_columns=(
                *("title", *DOCUMENT_TEXTS, *DOCUMENT_LISTS, *DOCUMENT_ANSWERS),
                *ANSWERABLE,
            ),
        ),
        RowFormat(
            "text",
            "a question, its answers in words, and perhaps a passage that it is about",
            own_columns=("title", *PASSAGES, *WORD_ANSWERS, *ANSWERABLE, INPUT),
        ),
    )
}
#: Columns of any format, to their first point.
COLUMN_NAMES = frozenset(QUESTIONS).union(
    *({name.partition(".")[0] for name in one.columns} for one in FORMATS.values()),
    *(shape for one in FORMATS.values() for shape in one.shapes),
)


def find_format(names: Iterable[str]) -> RowFormat | None:
    """The format that the columns of rows show, if any does."""
    held = frozenset(names)
    return next((one for one in FORMATS.values() if any(map(held.issuperset, one.shapes))), None)
