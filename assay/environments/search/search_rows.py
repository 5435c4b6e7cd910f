"""The rows of a file with documents, and with questions about them.

Corpora and questions come in few shapes: those of BEIR and FlashRAG, where a document has a row of
its own, and those of HotpotQA, 2WikiMultihopQA, MuSiQue and SQuAD, where a question brings some. A
file may mix them: a document is found by every question, whichever row it stands in.
"""

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.environments.base import BLANKS
from assay.environments.documents import get_text, join_line, list_documents
from assay.environments.plain_form import find_fault, read_answers, read_named_level, write_plainly
from assay.environments.problem_file import (
    KeptRows,
    OtherFormatError,
    cut_levels,
    list_fields,
    read_object,
    require_question,
    require_text,
)
from assay.environments.problem_formats import (
    DOCUMENT_ANSWERS,
    DOCUMENT_LISTS,
    DOCUMENT_TEXTS,
    NAMES,
)

NAME = "search"
#: Levels that a file may have.
LEVELS = range(1, 6)
#: Most documents of a file, and characters of one with its title.
DOCUMENTS_MAX, DOCUMENT_MAX = 100_000, 8_192
_WORD = re.compile("[A-Za-z0-9]")


@dataclass(frozen=True, slots=True)
class Document:
    """A document: one line of text, and its title, which may be empty."""

    title: str
    text: str

    @property
    def whole(self) -> str:
        """What is searched."""
        return f"{self.title} {self.text}"


@dataclass(frozen=True, slots=True)
class SearchRow:
    """A row: a question with its answers, documents, or both.

    Attributes:
        question: empty: the row has documents alone.
        answers: that are accepted, in plain form; the first is the file's own.
        level: 1 to 5, or None.
        fault: a reason not to ask its question.
    """

    documents: tuple[Document, ...]
    question: str = ""
    answers: tuple[str, ...] = ()
    level: int | None = None
    fault: str | None = None


class SearchRows(KeptRows[SearchRow, SearchRow]):
    """A file's rows: those with questions are kept, of all the documents.

    Attributes:
        documents: each once, in the order of the file.
    """

    def __init__(self) -> None:
        super().__init__()
        self.documents: dict[Document, None] = {}

    def _read(self, line: bytes) -> tuple[SearchRow, str | None]:
        row = read_search_row(line)
        self.documents.update(dict.fromkeys(row.documents))
        if len(self.documents) > DOCUMENTS_MAX:
            raise ValueError(f"its documents are more than {DOCUMENTS_MAX:,} with those before")
        return row, row.fault

    def _identify(self, row: SearchRow) -> Hashable:
        return row.question or None

    def _get_right(self, row: SearchRow) -> object:
        return frozenset(row.answers)

    def finish(self) -> None:
        """Keep the rows that ask, if there is something to search."""
        read = self.kept
        self.kept = [(number, row) for number, row in read if row.question]
        if not self.kept and not self.skipped:
            self.skipped["with documents and no question"] = [number for number, _ in read]
        if self.kept and not self.documents:
            self.skipped["in a file without documents"] = [number for number, _ in self.kept]
            self.kept = []

    @property
    def has_levels(self) -> bool:
        return bool(self.kept) and all(row.level is not None for _, row in self.kept)

    def divide(self) -> Mapping[int, Sequence[SearchRow]]:
        """The rows of each level: those that all of them name, or else bands by length."""
        if not self.has_levels:
            ordered = sorted((row for _, row in self.kept), key=lambda row: len(row.question))
            return dict(enumerate(cut_levels(ordered, len(LEVELS)), 1))
        found: dict[int, list[SearchRow]] = {}
        for _, row in self.kept:
            found.setdefault(row.level or 0, []).append(row)
        return found


def holds_search(row: Mapping[str, Any]) -> bool:
    """Whether a row's columns are those of a document, or of a question that brings some."""
    has_text = any(isinstance(row.get(name), str) for name in ("text", "contents"))
    if not any(row.get(name) for name in NAMES["problem"]):
        return has_text
    brings = any(row.get(name) for name in DOCUMENT_LISTS)
    return bool(row.get("question")) and (brings or (has_text and "golden_answers" in row))


def read_search_row(line: bytes) -> SearchRow:
    """Read one line of JSON. Raises ValueError, with the fault, if it is damaged."""
    row = read_object(line, NAME)
    documents = tuple(_read_documents(row))
    if row.get("question") in (None, ""):
        if not any(name in row for name in (*DOCUMENT_TEXTS, *DOCUMENT_LISTS)):
            raise OtherFormatError(
                f"it has {list_fields(row)}: search:SHA256 takes documents, with a text, and "
                "questions, with an answer"
            )
        return SearchRow(documents)
    question = require_text(row["question"], "question", NAME).strip(BLANKS)
    require_question(question, "question")
    given, fault = read_answers(row, DOCUMENT_ANSWERS)
    answers = tuple(dict.fromkeys(plain for plain in map(write_plainly, given) if plain))
    fault = fault or find_fault(question, answers)
    return SearchRow(documents, question, answers, read_named_level(row), fault)


def _read_documents(row: Mapping[str, Any]) -> Iterator[Document]:
    """The documents of a row whose text has a word."""
    own = [(row.get("title"), text) for text in [get_text(row)] if text is not None]
    for title, text in (*own, *list_documents(row, DOCUMENT_LISTS)):
        document = Document(join_line(title), join_line(text))
        whole = document.whole
        if len(whole) > DOCUMENT_MAX:
            raise ValueError(
                f"a document of it has {len(whole)} characters: at most {DOCUMENT_MAX:,} may be, "
                "so divide it into passages"
            )
        if _WORD.search(document.text):
            yield document
