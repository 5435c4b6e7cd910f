"""A file of problems as a table: its rows, and which columns hold problem, answer and level.

People's files differ in the names of their columns, not in much else. One set of names, in a fixed
order, finds them, so everybody who has a file reads the same problems from it. A file in another
shape is refused with what to do.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

from assay.environments.base import BLANKS
from assay.environments.problem_formats import NAMES, QUESTIONS, find_format
from assay.protocol.encoding import EncodingError, read_json
from assay.sandbox.child import clean

#: Limits: bytes of a file's rows as JSON Lines, and rows; bytes of what is read as one.
TEXT_MAX, ROWS_MAX, DOCUMENT_MAX = 256 << 20, 10**6, 64 << 20
#: Rows that show which columns a file has.
LOOKED_AT = 64
#: Most columns, and characters of a cell, of a file with commas.
_COLUMNS_MAX, _CELL_MAX = 256, 1 << 24
_BOM = b"\xef\xbb\xbf"
_UTF16 = b"\xff\xfe", b"\xfe\xff"
#: How packed files begin, and what packs them.
_PACKED = {
    b"PK\x03\x04": "zip",
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
}
_LEVEL = re.compile(r"(?:Level )?([1-5])")
_DIGITS = re.compile("[0-9]+")
_SAID = re.compile(rb"\S")
#: How messages begin as JSON.
_MESSAGES = re.compile(r"\s*\[\s*\{\s*\"(?:role|content|from|value)\"\s*:", re.ASCII)
#: Keys of an object of JSON that holds a list of rows.
_LISTS = "data", "Data", "rows", "train", "test", "examples", "problems"

#: Texts that DAPO's and verl's rows put around a problem, before and behind it: they ask for
#: another form of answer. A point and blanks may follow.
_AROUND = (
    (
        "Solve the following math problem step by step. The last line of your response should be "
        "of the form Answer: $Answer (without quotes) where $Answer is the answer to the problem.",
        'Remember to put your answer on its own line after "Answer:"',
    ),
    *(
        ("", f"Let's think step by step and output the final answer {form}")
        for form in (r"within \boxed{}", 'after "####"', "after '####'")
    ),
)


#: Names of roles in messages. The last two are ShareGPT's.
_ROLES = {name: name for name in ("system", "user", "assistant")}
_ROLES |= {"human": "user", "gpt": "assistant"}
_BEHIND = tuple(behind for _, behind in _AROUND)


class TableError(ValueError):
    """The bytes are no table, or none that is known. The message says why."""


class OtherShapeError(TableError):
    """The rows are of a shape that another environment reads."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of problem, answer, solution and level; None: the file has none.

    Attributes:
        rivals: other columns that may hold an answer: it must not differ.
    """

    problem: str
    answer: str | None
    solution: str | None = None
    level: str | None = None
    rivals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chat:
    """A question, and the messages before it, each with its role: a system's, and then in turn a
    user's and an assistant's."""

    question: str
    context: tuple[tuple[str, str], ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        return self.question, *(content for _, content in self.context)

    @property
    def is_single(self) -> bool:
        """Whether it is the only message of a user."""
        return len(self.context) <= 1 and all(role == "system" for role, _ in self.context)


def split_rows(data: bytes) -> tuple[str, list[bytes]]:
    """The name of a format, and rows as lines of JSON. Lines of JSON are not looked into.

    Raises:
        TableError: the data is JSON or commas, but no table, or no text in UTF-8.
    """
    text = data.removeprefix(_BOM)
    if text.startswith(_BOM):
        raise TableError("it begins with two byte order marks: remove them")
    packed = next((name for magic, name in _PACKED.items() if data.startswith(magic)), None)
    if packed is not None:
        raise TableError(f"it is packed, by {packed}: unpack it")
    if text.startswith(_UTF16) or b"\0" in text[:4]:
        raise TableError("it is no text in UTF-8, but perhaps in UTF-16: save it as UTF-8")
    start = text[:4096].lstrip()[:1]
    end = text.find(b"\n") + 1 or len(text)
    first, has_more = text[:end].removesuffix(b"\n"), _SAID.search(text, end) is not None
    if start == b"[" or (start == b"{" and not (has_more and _ends_object(first))):
        if len(text) > DOCUMENT_MAX:
            raise TableError(
                f"it is one document of JSON of more than {DOCUMENT_MAX >> 20} MiB: write it as "
                "JSON Lines, a row a line"
            )
        try:
            rows = _read_document(text)
        except EncodingError as error:
            if start == b"{" and _ends_object(first):
                return "JSON Lines", [first]  # whoever reads the row names it
            raise TableError(f"it {error}") from None
        is_row = isinstance(rows, list) and len(rows) == 1 and start == b"{"
        return "JSON Lines" if is_row else "JSON", _dump_rows(rows)
    if start == b"{" or b"," not in first:
        if start not in b'{"' and any(mark in first for mark in (b";", b"\t")):
            raise TableError(
                "its first line is no JSON and has no comma, but a tab or a semicolon: save it as "
                "CSV with commas"
            )
        return "JSON Lines", [line for line in text.split(b"\n") if line.strip()]
    return "CSV", _read_commas(text)


def _ends_object(line: bytes) -> bool:
    """Whether a line that starts an object of JSON ends it, or, if it is damaged, seems to."""
    if not line.rstrip().endswith(b"}"):
        return False
    if line.count(b"{") <= line.count(b"}"):
        return True
    with suppress(EncodingError):
        return isinstance(read_json(line), dict)
    return False


def _read_document(text: bytes) -> Iterable[Any]:
    """The rows of one document of JSON: a list, an object with a list, or one of columns, or those
    of SQuAD's articles. Any other object is one row."""
    document = read_json(text)
    if not isinstance(document, dict):
        return list(document)
    lists = [document[name] for name in _LISTS if _has_objects(document.get(name))]
    if len(lists) == 1:
        articles = [_list_questions(article) for article in lists[0]]
        return list(lists[0]) if None in articles else chain.from_iterable(filter(None, articles))
    columns = [_list_column(one) for one in document.values()]
    if not columns or not all(isinstance(one, list) and not _has_objects(one) for one in columns):
        return [document]
    if len(set(map(len, columns))) > 1:
        raise TableError("its columns have different lengths")
    if len({tuple(one) for one in document.values() if isinstance(one, dict)}) > 1:
        raise TableError("its columns name different rows")
    return [dict(zip(document, row, strict=True)) for row in zip(*columns, strict=True)]


def _list_questions(article: Any) -> Iterator[dict[str, Any]] | None:
    """The questions of an article in SQuAD's own JSON, each with the title and its paragraph, as
    rows; a paragraph without any is one. None: it is no such article."""
    paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
    if not paragraphs or not _are_objects(paragraphs):
        return None
    read = [(one, one.get("qas")) for one in paragraphs]
    if not all(_are_objects(asked) for _, asked in read):
        return None
    return (
        {"title": article.get("title"), "context": one.get("context")} | question
        for one, asked in read
        for question in asked or [{}]
    )


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _list_column(value: Any) -> Any:
    """A column that pandas wrote as row → value, as the list of its values; any other value as it
    is."""
    is_column = isinstance(value, dict) and value and all(map(_DIGITS.fullmatch, value))
    return list(value.values()) if is_column else value


def _has_objects(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(one, dict) for one in value)


def _dump_rows(rows: Iterable[Any]) -> list[bytes]:
    """Rows as lines of JSON. A file that repeats its columns' names in each may say much in few
    bytes. Raises a TableError where lines are too many or too long together."""
    lines: list[bytes] = []
    size = 0
    for row in rows:
        try:
            line = json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError:  # half a surrogate pair, which whoever reads the row refuses
            line = json.dumps(row).encode()
        size += len(line)
        if len(lines) == ROWS_MAX or size > TEXT_MAX:
            raise TableError(
                f"it has more than {ROWS_MAX} rows, or {TEXT_MAX >> 20} MiB as JSON Lines"
            )
        lines.append(line)
    return lines


def _read_commas(text: bytes) -> list[bytes]:
    limit = csv.field_size_limit(_CELL_MAX)
    try:
        return _dump_rows(_iterate_commas(text))
    except UnicodeDecodeError:
        raise TableError("it is no text in UTF-8: save it as UTF-8") from None
    except csv.Error as error:
        raise TableError(f"it cannot be read as CSV: {error}") from None
    finally:
        csv.field_size_limit(limit)


def _iterate_commas(text: bytes) -> Iterator[dict[str, str]]:
    rows = csv.reader(io.StringIO(text.decode(), newline=""), strict=True)
    names = next(rows, [])
    if not 1 <= len(names) <= _COLUMNS_MAX:
        raise TableError(f"its first line names {len(names)} columns, not 1 to {_COLUMNS_MAX}")
    if len(set(names)) < len(names):
        raise TableError("its first line does not name each column once")
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise TableError(f"its row {number} has {len(row)} cells, not {len(names)}")
        yield dict(zip(names, row, strict=True))


def read_level(value: Any) -> int | None:
    """A level as files write it: 1 to 5, or `Level 1` to `Level 5`."""
    found = _LEVEL.fullmatch(str(value))
    return None if found is None else int(found[1])


def find_columns(rows: Sequence[Any], chosen: Mapping[str, str] | None = None) -> Columns:
    """The columns by their names and by what they hold in a file's first rows.

    Args:
        chosen: part → column that a person chose.

    Raises:
        TableError: the rows have no problem or no answer, or another shape.
    """
    objects = [row for row in rows if isinstance(row, dict)]
    if not objects:
        raise TableError("none of its first rows is an object of JSON")
    names = dict.fromkeys(name for row in objects for name in row)
    chosen = chosen or {}
    if unknown := sorted(chosen.keys() - NAMES.keys()):
        raise TableError(f"there is no part {unknown[0]!r}: {', '.join(NAMES)} are")
    for part, column in chosen.items():
        if not any(get_cell(row, column) is not None for row in objects):
            raise TableError(f"no column {column!r} for the {part}: it has {list_names(names)}")
    found = {
        part: chosen.get(part) or _choose(objects, candidates) for part, candidates in NAMES.items()
    }
    problem = found["problem"]
    if not chosen:
        other = find_format(names)
        if other is not None:
            todo = f"`{other.family}:SHA256` takes them"
            raise OtherShapeError(f"its columns {list_names(names)} are {other.what}: {todo}")
    if problem is None or not (found["answer"] or found["solution"]):
        raise TableError(_say_lacking(names, found))
    # a later row's answer is not to be replaced by the box of its solution
    answer = found["answer"] or "answer"
    held = (name for name in NAMES["answer"] if any(get_cell(row, name) for row in objects))
    rivals = () if "answer" in chosen else tuple(name for name in held if name != answer)
    return Columns(problem, answer, found["solution"], found["level"], rivals)


def _say_lacking(names: Iterable[str], found: Mapping[str, str | None]) -> str:
    """Why rows of these columns are no problems with answers, and what to do."""
    lacking = [] if found["problem"] else ["problem"]
    lacking += [] if found["answer"] or found["solution"] else ["answer"]
    empty = [name for part in lacking for name in NAMES[part] if name in names]
    if empty:
        return f"its column {empty[0]} is empty in the first rows"
    options = " ".join(f"--column {part}=NAME" for part in lacking)
    return (
        f"none of its columns {list_names(names)} is known for the {' or the '.join(lacking)}: "
        f"rename them, or name them to `assay env look` with {options}, which writes a file with "
        "--write"
    )


def _choose(rows: Sequence[dict[str, Any]], candidates: Iterable[str]) -> str | None:
    """The first candidate that half of the rows have, or else the first that any of them has."""
    held = {name: sum(get_cell(row, name) not in (None, "") for row in rows) for name in candidates}
    most = (name for name, count in held.items() if 2 * count >= len(rows) and count)
    return next(most, next((name for name, count in held.items() if count), None))


def list_names(names: Iterable[str]) -> str:
    """The first of some columns' names, printable."""
    return clean(", ".join(list(names)[:12])) or "(none)"


def get_cell(row: dict[str, Any], column: str) -> Any:
    """A row's value in a column; None if there is none."""
    if column in row:
        return row[column]
    first, point, rest = column.partition(".")
    inner = row.get(first) if point else None
    if isinstance(inner, str) and inner[:1] == "{":
        with suppress(EncodingError):
            inner = parse_cell(inner)
    return get_cell(inner, rest) if isinstance(inner, dict) else None


def parse_cell(value: Any) -> Any:
    """A value, or what a text holds as JSON. Raises EncodingError if it holds none."""
    if not isinstance(value, str):
        return value
    try:
        data = value.encode()
    except UnicodeEncodeError:
        raise EncodingError("is not JSON: it has half a character") from None
    return read_json(data)


def read_problem_cell(value: Any) -> str | None:
    """The text of a problem: text, or the only message of a user in a chat. None if it is neither.
    A system's message is left out."""
    chat = read_chat(value)
    return chat.question if chat is not None and chat.is_single else None


def read_chat(value: Any) -> Chat | None:
    """A chat, or text as one of a user. None if it is neither, or its turns do not alternate. What
    an assistant says last is no part of a question."""
    value = _parse_chat(value)
    if isinstance(value, str):
        return Chat(_strip_request(value))
    messages = list(map(_read_message, value)) if isinstance(value, list) else []
    if messages and messages[-1] is not None and messages[-1][0] == "assistant":
        messages.pop()
    known = [message for message in messages if message is not None]
    roles = [role for role, _ in known]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    alternating = ["user", "assistant"] * len(turns)
    if len(known) < len(messages) or not turns or turns != alternating[: len(turns)]:
        return None
    if turns[-1] != "user":
        return None
    return Chat(_strip_request(known[-1][1]), tuple(known[:-1]))


def _parse_chat(value: Any) -> Any:
    """A cell's value; what it holds as JSON, if that is messages: a cell of CSV is text."""
    if isinstance(value, str) and _MESSAGES.match(value):
        with suppress(EncodingError):
            return parse_cell(value)
    return value


def list_asked(row: dict[str, Any], column: str | None = None) -> list[str]:
    """All texts of a row that may be what it asks, whatever its shape is.

    Args:
        column: looked at beside `QUESTIONS`.
    """
    found = []
    for name in (*QUESTIONS, *([] if column is None else [column])):
        value = _parse_chat(get_cell(row, name))
        messages = value if isinstance(value, list) else [{"role": "user", "content": value}]
        read = (message for message in map(_read_message, messages) if message is not None)
        found += [_strip_request(text) for role, text in read if role == "user"]
    return [text for text in found if text.strip(BLANKS)]


def _read_message(value: Any) -> tuple[str, str] | None:
    """The role and the text of a message. Its text may be in parts. None if it is anything else."""
    if not isinstance(value, dict):
        return None
    content = value.get("content", value.get("value"))
    if isinstance(content, list):
        parts = [one.get("text") if isinstance(one, dict) else None for one in content]
        content = "".join(map(str, parts)) if all(isinstance(one, str) for one in parts) else None
    if not isinstance(content, str):
        return None
    role = _ROLES.get(str(value.get("role", value.get("from"))))
    return None if role is None else (role, content)


def _strip_request(text: str) -> str:
    """A problem without the sentences around it that ask for another form of answer."""
    told = text.rstrip(BLANKS).removesuffix(".")
    if not told.endswith(_BEHIND):
        return text
    for before, behind in _AROUND:
        if told.startswith(before) and told.endswith(behind):
            return told[len(before) : len(told) - len(behind)].strip(BLANKS)
    return text
