"""The documents that a row of a file brings: what a search finds, or what stands before a question.

They come in few shapes: a text with its title, a list of titles and texts as HotpotQA and 2Wiki
have it, of objects as MuSiQue has it, or two lists.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from assay.environments.problem_formats import DOCUMENT_TEXTS, PASSAGES

#: Most characters of what a question is about.
PASSAGE_MAX = 8_192

#: What parts the words of a document: blanks, control characters, halves of a surrogate pair.
_GAPS = re.compile(r"[\x00- \x7f-\x9f\ud800-\udfff]+")
#: A question about a text that it does not have.
_ABOUT = re.compile(
    r"\baccording to the (?:above |given |following )?"
    r"(?:passage|paragraph|article|text|context|author|story|document)\b"
    r"|\b(?:the|this) (?:given |above |following )?(?:passage|excerpt)\b"
    r"|\b(?:passage|paragraph|article|text) (?:above|below)\b",
    re.ASCII | re.IGNORECASE,
)


def list_documents(row: Mapping[str, Any], names: Iterable[str]) -> Iterator[tuple[Any, Any]]:
    """The title and the text of each document in some columns, as the row writes them. Raises
    ValueError if a column holds anything else."""
    for name in names:
        yield from _read_several(row.get(name), name, row.get("title"))


def get_text(row: Mapping[str, Any]) -> Any:
    """The text of a document that is an object; None: it has none."""
    return next((row[name] for name in DOCUMENT_TEXTS if row.get(name) is not None), None)


def join_line(value: Any) -> str:
    """A text, or a list of sentences, as one line; nothing for null. Raises ValueError if it is
    neither."""
    text = _join(value)
    return text.strip(" ") if _has_no_gap(text) else _GAPS.sub(" ", text).strip(" ")


def join_lines(value: Any) -> str:
    """As `join_line`, but a line feed stays, and two that an empty line is between."""
    text = _join(value)
    if _has_no_gap(text):
        return text.strip(" ")
    return _GAPS.sub(lambda gap: "\n" * min(2, gap[0].count("\n")) or " ", text).strip(" \n")


def _has_no_gap(text: str) -> bool:
    """Whether all that parts words is a space: most texts are such, and a search takes longer."""
    return "  " not in text and text.isprintable()


def read_passage(row: Mapping[str, Any]) -> str:
    """What a row's question is about: the documents that it brings, each behind its title. Raises
    ValueError if they are of another shape."""
    documents = list_documents({**row, "title": None}, PASSAGES)
    written = ((join_line(title), join_lines(text)) for title, text in documents)
    return "\n\n".join(f"{title}\n{text}" if title else text for title, text in written if text)


def find_passage_fault(question: str, passage: str) -> str | None:
    """A reason not to ask a question with this passage, or without one."""
    if len(passage) > PASSAGE_MAX:
        return f"with a passage of more than {PASSAGE_MAX:,} characters"
    if not passage and _ABOUT.search(question):
        return "about a passage that it lacks"
    return None


def find_lacking(passages: Iterable[tuple[int, str]]) -> list[int]:
    """The numbers of the rows without a passage, where half of the rows have one: what they are
    about is missing."""
    held = list(passages)
    lacking = [number for number, passage in held if not passage]
    return lacking if 2 * len(lacking) <= len(held) else []


def _join(value: Any) -> str:
    parts = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(part, str) for part in parts):
        raise ValueError("a document of it is no text")
    return " ".join(parts)


def _read_several(value: Any, name: str, title: Any) -> list[tuple[Any, Any]]:
    """Titles and texts of a column: a list of pairs, of objects or of texts, an object of two
    lists, or, as in SQuAD, one text."""
    if value is None or isinstance(value, str):
        return [] if value is None else [(title, value)]
    if isinstance(value, dict):
        titles, texts = value.get("title"), value.get("sentences")
        if isinstance(titles, list) and isinstance(texts, list) and len(titles) == len(texts):
            return list(zip(titles, texts, strict=True))
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        return [(one.get("title"), get_text(one)) for one in value]
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return [(title, one) for one in value]
    if isinstance(value, list) and all(isinstance(one, list) and len(one) == 2 for one in value):
        return [(one[0], one[1]) for one in value]
    raise ValueError(f"its {name} is not a list of titles and texts")
