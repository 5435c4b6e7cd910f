"""Short answers in words: the plain form by which they are compared, and the answers of a row.

Two texts are one answer if their plain forms are the same, character by character. Nothing is
rated by how near it comes: whoever pays for nearness pays for padding.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from assay.environments.base import BLANKS
from assay.environments.math_file import find_boxed
from assay.environments.problem_file import has_control
from assay.environments.problem_table import parse_cell, read_level
from assay.protocol.encoding import EncodingError

#: Signs in an answer that say nothing: not a point or a colon within a number, nor a comma there
#: that is none of thousands.
_SIGNS = re.compile(r"[;!?'\"()\[\]{}`*_]|[.,:](?![0-9])|,(?=[0-9]{3}(?![0-9]))")
_SMALL = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_SPACES = str.maketrans(dict.fromkeys(BLANKS, " "))
_ARTICLE, _RUN = re.compile("(?<![^ ])(?:an?|the)(?![^ ])"), re.compile(" +")
#: Answers that a guess meets half of the time.
YES_OR_NO = frozenset(("yes", "no", "true", "false"))
#: HotpotQA's levels.
_NAMED_LEVELS = {"easy": 1, "medium": 2, "hard": 3}
#: Names of an answer and its aliases where they are an object: TriviaQA's, and SQuAD's.
_PARTS = "value", "Value", "aliases", "Aliases", "text"
#: How a list of texts begins, as JSON or as Python writes it, and why a row has none.
NO_JSON = "with a list that is no JSON for an answer"
_LIST = re.compile(r"\[ *[\"']")


def write_plainly(answer: str) -> str:
    """An answer without what says nothing in it: the case of ASCII letters, some signs, articles,
    and blanks but one between two words. In time linear in the answer."""
    bare = _SIGNS.sub("", answer.translate(_SMALL)).translate(_SPACES)
    return _RUN.sub(" ", _ARTICLE.sub("", bare)).strip(" ")


def read_answers(row: Mapping[str, Any], names: Iterable[str]) -> tuple[list[str], str | None]:
    """The answers of some columns as a row writes them, each once; or a reason not to ask it.

    A value is a text, a whole number, a list of these, or an object of a value and aliases. A text
    may be a list of texts as JSON: a cell of CSV is text. Of a text with `\\boxed{…}` the answer is
    what its last box holds.
    """
    if is_unanswerable(row):
        return [], "that says it has no answer"
    found = list[str]()
    for name in names:
        for value in _list_values(row.get(name)):
            if type(value) is bool:
                return [], "with a yes or no for an answer"
            if type(value) is not int and not isinstance(value, str):
                return [], "with an answer of another type"
            texts = _open_list(str(value))
            if texts is None:
                return [], NO_JSON
            found += map(_open_box, texts)
    if any(map(has_control, found)):
        return [], "with a control character in an answer"
    return list(dict.fromkeys(found)), None


def read_yes_or_no(row: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """The one answer of some columns, in plain form, if it is yes, no, true or false."""
    if is_unanswerable(row):
        return None
    values = {
        write_plainly(str(value)) if isinstance(value, str | bool) else ""
        for name in names
        for value in _list_values(row.get(name))
    }
    return values.pop() if len(values) == 1 and values <= YES_OR_NO else None


def find_fault(question: str, plain: Sequence[str]) -> str | None:
    """A reason not to ask a question with these answers, in plain form."""
    if not plain:
        return "without an answer"
    if not YES_OR_NO.isdisjoint(plain):
        return "with a yes or no for an answer"
    asked = f" {write_plainly(question)} "
    if any(f" {answer} " in asked for answer in plain):
        return "with the answer in the question"
    return None


def read_named_level(row: Mapping[str, Any]) -> int | None:
    """The level that a row names, 1 to 5, or None."""
    stated = row.get("level", row.get("Level"))
    return _NAMED_LEVELS.get(str(stated)) or read_level(stated)


def is_unanswerable(row: Mapping[str, Any]) -> bool:
    """Whether a row says of its question that nothing answers it."""
    return _says(row, "answerable", "false") or _says(row, "is_impossible", "true")


def _says(row: Mapping[str, Any], name: str, value: str) -> bool:
    """Whether a column says true or false, as JSON or as a text of CSV."""
    return str(row.get(name)).translate(_SMALL) == value


def _list_values(value: Any) -> list[Any]:
    """The values of a column, without null."""
    if isinstance(value, dict):
        return [one for name in _PARTS if name in value for one in _list_values(value[name])]
    if isinstance(value, list):
        return [one for inner in value for one in _list_values(inner)]
    return [] if value is None else [value]


def _open_list(text: str) -> list[str] | None:
    """The texts of a list as JSON; any other text alone. None: it seems to be a list."""
    if not _LIST.match(text):
        return [text]
    with suppress(EncodingError):
        value = parse_cell(text)
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return value
    return None


def _open_box(text: str) -> str:
    """What the last box of a text holds; the text, if it has none that is closed."""
    with suppress(ValueError):
        return text if (boxed := find_boxed(text)) is None else boxed
    return text
