"""`search:SHA256`: questions about the documents of a file, which the model searches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from assay.environments.answer_form import AnswerForm, FormedEnvironment
from assay.environments.base import UNREAD, Answer, Param, Problem, RewardParts, rate_answer
from assay.environments.kind import FromFile, Kind
from assay.environments.plain_form import write_plainly
from assay.environments.problem_file import read_objects
from assay.environments.problem_formats import FORMATS
from assay.environments.problem_table import LOOKED_AT
from assay.environments.search.index import Index, split_words
from assay.environments.search.search_rows import (
    LEVELS,
    NAME,
    Document,
    SearchRow,
    SearchRows,
    holds_search,
)
from assay.environments.tools.search import SearchTool
from assay.protocol.prf import Stream

#: Increases whenever any problem, reply or score would change.
VERSION = 2

PARAMS: Mapping[str, Param] = MappingProxyType(
    {
        "passages": Param(3, 1, 10, "most documents of a result"),
        "characters": Param(600, 100, 4_000, "most characters of a document's text in a result"),
    }
)
#: The form of answers, and what they are.
FORM, _ANSWER = AnswerForm.HASH, "the answer in a few words"
#: Most words and characters of a query.
WORDS_MAX, QUERY_MAX = 64, 1_024
#: Most questions that the proof episode searches for.
PROVED = 64

#: Queries of the proof episode behind these.
PROOF_QUERIES = ("", "\u00e9\u0660\uff11", "the K\u212a I\u0130", " ".join("a" * (WORDS_MAX + 1)))

UNSEARCHABLE = f"error: a query has 1 to {WORDS_MAX} words in {QUERY_MAX:,} characters"
NOTHING = "nothing found"


@dataclass(frozen=True, slots=True)
class SearchTask(Answer):
    """The row that the problem comes from."""

    row: SearchRow


class Search:
    """The search in some documents."""

    def __init__(self, documents: Sequence[Document], passages: int, characters: int) -> None:
        """Args: each document has a word; `passages` and `characters` as the settings."""
        self._documents = documents
        self._index = Index([document.whole for document in documents])
        self._passages, self._characters = passages, characters

    def answer(self, query: str) -> str:
        """The documents that fit a query best, or a fixed sentence. Any text is a query, and its
        work is bounded by `WORDS_MAX` and the number of documents."""
        words = split_words(query) if len(query) <= QUERY_MAX else ()
        if not 1 <= len(words) <= WORDS_MAX:
            return UNSEARCHABLE
        found = self._index.find(words, self._passages)
        shown = (self._write(number, self._documents[i]) for number, i in enumerate(found, 1))
        return "\n".join(shown) or NOTHING

    def _write(self, number: int, document: Document) -> str:
        """A line of a result, as Search-R1 writes it."""
        title = f"(Title: {document.title})" if document.title else ""
        text = document.text
        if len(text) > self._characters:
            text = f"{text[: self._characters]}..."
        return f"Doc {number}{title} {text}"


class SearchFile(FormedEnvironment):
    """The questions of a file, at the levels that it names, in one turn: a network asks them with
    the tool.

    Attributes:
        documents: of the file. tool: the search in them.
        skipped: reason → numbers of the rows whose questions are skipped for it.
    """

    def __init__(self, digest: str, params: Mapping[str, int]) -> None:
        """Open the file whose SHA-256 is `digest`, 64 lower-case hex digits.

        Raises:
            ValueError: `digest` is no digest, this machine has no such file, a row is damaged, no
                question can be asked, there is no document, or a setting is out of range.
        """
        super().__init__(f"{NAME}:{digest}", VERSION, PARAMS, params, FORM)
        rows = SearchRows()
        self._by_level = rows.find_levels(digest, NAME)
        self.skipped = rows.skipped
        self.levels = list(self._by_level)
        settings = self.params["passages"], self.params["characters"]
        self.documents = tuple(rows.documents)
        search = Search(self.documents, *settings)
        questions = [row.question for _, row in rows.kept[:PROVED]]
        self.tool = SearchTool(search.answer, [*questions, *PROOF_QUERIES])

    def _draw(self, stream: Stream, level: int) -> Problem:
        """Draw one of the level's rows, each equally likely."""
        row = stream.choose(self._by_level[level])
        return Problem(row.question, level, SearchTask(row), self.write_request(_ANSWER))

    def score(self, problem: Problem, completion: str) -> RewardParts:
        """Correctness: the answer is one of the row's, in plain form."""
        if not isinstance(problem.answer, SearchTask):
            raise TypeError(f"not a problem of {self.name}: {type(problem.answer).__name__}")
        answer = self.read_answer(completion)
        plain = "" if answer is None else write_plainly(answer)
        return rate_answer(plain in problem.answer.row.answers) if plain else UNREAD


def _is_told(rows: Sequence[dict[str, Any]], lines: Sequence[bytes]) -> bool:
    """Whether some of the first or the last rows are documents, or questions that bring some."""
    return any(map(holds_search, [*rows, *read_objects(lines[-LOOKED_AT:], NAME)]))


KIND = Kind(NAME, VERSION, FORM, file=FromFile(SearchFile, PARAMS, LEVELS, FORMATS[NAME], _is_told))
