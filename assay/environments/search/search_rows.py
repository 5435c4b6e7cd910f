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
from assay.environments.problem_table import read_level

NAME = "search"
#: Levels that a file may have.
LEVELS = range(1, 6)
#: Most documents of a file, and characters of one with its title.
DOCUMENTS_MAX, DOCUMENT_MAX = 100_000, 8_192
#: HotpotQA's levels.
_NAMED_LEVELS = {"easy": 1, "medium": 2, "hard": 3}
_WORD = re.compile("[A-Za-z0-9]")
#: What parts the words of a document: blanks, control characters, halves of a surrogate pair.
_GAPS = re.compile(r"[\x00- \x7f-\x9f\ud800-\udfff]+")
#: Signs in an answer that say nothing: not a point or a colon within a number, nor a comma there
#: that is none of thousands.
_SIGNS = re.compile(r"[;!?'\"()\[\]{}`*_]|[.,:](?![0-9])|,(?=[0-9]{3}(?![0-9]))")
_SMALL = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_SPACES = str.maketrans(dict.fromkeys(BLANKS, " "))
_ARTICLE, _RUN = re.compile("(?<![^ ])(?:an?|the)(?![^ ])"), re.compile(" +")
#: Answers that a guess meets half of the time.
_GUESSED = frozenset(("yes", "no", "true", "false"))


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
    if not any(row.get(name) for name in NAMES["problem"]):
        return any(isinstance(row.get(name), str) for name in ("text", "contents"))
    brought = (*DOCUMENT_LISTS, "golden_answers")
    return bool(row.get("question")) and any(row.get(name) for name in brought)


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
    if not any(name in row for name in DOCUMENT_ANSWERS):
        raise OtherFormatError(f"it has {list_fields(row)}: a question needs an answer")
    plain = (
        write_plainly(answer) for name in DOCUMENT_ANSWERS for answer in _list_texts(row, name)
    )
    answers = tuple(dict.fromkeys(answer for answer in plain if answer))
    stated = row.get("level", row.get("Level"))
    level = _NAMED_LEVELS.get(str(stated)) or read_level(stated)
    return SearchRow(documents, question, answers, level, _find_fault(question, answers))


def write_plainly(answer: str) -> str:
    """An answer without what says nothing in it: the case of ASCII letters, some signs, articles,
    and blanks but one between two words. In time linear in the answer."""
    bare = _SIGNS.sub("", answer.translate(_SMALL)).translate(_SPACES)
    return _RUN.sub(" ", _ARTICLE.sub("", bare)).strip(" ")


def _find_fault(question: str, answers: Sequence[str]) -> str | None:
    if not answers:
        return "without an answer"
    if not _GUESSED.isdisjoint(answers):
        return "with a yes or no for an answer"
    asked = f" {write_plainly(question)} "
    if any(f" {answer} " in asked for answer in answers):
        return "with the answer in the question"
    return None


def _list_texts(row: Mapping[str, Any], name: str) -> list[str]:
    """The texts of a column: one, a list of them, or, as in SQuAD, a list `text` of an object."""
    value = row.get(name)
    if isinstance(value, dict):
        value = value.get("text")
    texts = value if isinstance(value, list) else [] if value is None else [value]
    written = (str(text) if type(text) is int else text for text in texts)
    return [require_text(text, name, NAME) for text in written]


def _read_documents(row: Mapping[str, Any]) -> Iterator[Document]:
    """The documents of a row whose text has a word."""
    title = row.get("title")
    given = [(title, text) for text in [_get_text(row)] if text is not None]
    for name in DOCUMENT_LISTS:
        given += _read_several(row.get(name), name, title)
    for title, text in given:
        document = Document(_join(title), _join(text))
        whole = document.whole
        if len(whole) > DOCUMENT_MAX:
            raise ValueError(
                f"a document of it has {len(whole)} characters: at most {DOCUMENT_MAX:,} may be, "
                "so divide it into passages"
            )
        if _WORD.search(document.text):
            yield document


def _read_several(value: Any, name: str, title: Any) -> list[tuple[Any, Any]]:
    """Titles and texts of a column of documents: a list of pairs or of objects, an object of two
    lists, or, as in SQuAD, one text."""
    if value is None or isinstance(value, str):
        return [] if value is None else [(title, value)]
    if isinstance(value, dict):
        titles, texts = value.get("title"), value.get("sentences")
        if isinstance(titles, list) and isinstance(texts, list) and len(titles) == len(texts):
            return list(zip(titles, texts, strict=True))
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        return [(one.get("title"), _get_text(one)) for one in value]
    if isinstance(value, list) and all(isinstance(one, list) and len(one) == 2 for one in value):
        return [(one[0], one[1]) for one in value]
    raise ValueError(f"its {name} is not a list of titles and texts")


def _get_text(row: Mapping[str, Any]) -> Any:
    """The text of a document; None: it has none."""
    return next((row[name] for name in DOCUMENT_TEXTS if row.get(name) is not None), None)


def _join(value: Any) -> str:
    """A text, or a list of sentences, as one line; nothing for null."""
    parts = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(part, str) for part in parts):
        raise ValueError("a document of it is no text")
    return _GAPS.sub(" ", " ".join(parts)).strip(" ")
