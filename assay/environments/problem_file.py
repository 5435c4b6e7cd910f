"""Files of problems on this machine, found by their SHA-256 alone.

A network names a file by its digest, and each machine decides where to keep it. No author is
trusted: every row is checked. JSON Lines is read in this process within limits. Parquet needs
native code, so a sandboxed child reads it.
"""

import io
import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar
from uuid import UUID

from assay.environments.base import BLANKS, INTEGER
from assay.environments.problem_forks import share_work
from assay.environments.problem_formats import COLUMN_NAMES, FORMATS
from assay.environments.problem_table import (
    DOCUMENT_MAX,
    ROWS_MAX,
    TEXT_MAX,
    Chat,
    OtherShapeError,
    TableError,
    read_chat,
    split_rows,
)
from assay.protocol.encoding import EncodingError, read_json
from assay.protocol.errors import OperatorError
from assay.sandbox import Budget, Lost, Sandbox, child
from assay.sandbox.child import clean

#: Limits: bytes of a file, whose rows a node holds, and of one row; characters of a question.
FILE_MAX, ROW_MAX, QUESTION_MAX = 256 << 20, 64 << 10, 8_192
#: Bytes of a row that a person looks at, of which a network would read a part.
LONG_ROW_MAX = 16 << 20
#: Rows that several processes read, if they may: fewer are read sooner than forks are made.
SHARED_MIN = 10_000
#: Limit of CPU seconds for reading a Parquet file.
_PARQUET_SECONDS = 60.0
PARQUET_MAGIC = b"PAR1"
_BOOT = "from assay.environments.problem_file import serve_rows; serve_rows()"
#: Limit of unpacked bytes of all columns; rows unpacked at a time.
_UNPACKED_MAX, _BATCH = 96 << 20, 1_000
#: Columns that are named as not unpacked, and characters of a name.
NAMED_MAX, _NAME_MAX = 64, 60

_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAMED = re.compile(r"([a-z_]+):([0-9a-f]{64})")
#: GSM8K writes some numbers with commas, and some of its answers end in blanks. A file may have
#: both: neither is ambiguous.
_ENDING = re.compile(
    rf"(?:.*\n)?#### (-?[0-9]{{1,3}}(?:,[0-9]{{3}})+|-?[0-9]+)[{BLANKS}]*+", re.DOTALL
)

#: Control characters except tab and line ends, and lone surrogates: no question needs them.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")

#: Files to look at, in the order in which they were named.
_known: dict[Path, None] = {}


class ProblemFileError(OperatorError, ValueError):
    """A file of problems cannot be used. The message names the file, the row and the reason."""


class OtherFormatError(ProblemFileError):
    """The rows have the fields of another format, or none of the expected ones."""


_A = TypeVar("_A")
_R = TypeVar("_R")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Row:
    """A question, its solution with `#### N` as the last line, and N."""

    question: str
    solution: str
    value: int

    @property
    def steps(self) -> int:
        """The number of lines before the last."""
        return self.solution.count("\n")


class ContradictionError(ValueError):
    """Two rows ask the same, and their answers differ. `first`: the number of the first."""

    #: What is wrong with the first.
    ABOUT_FIRST = "a later row asks the same, and its answer is another: remove one of them"

    def __init__(self, first: int) -> None:
        super().__init__(f"it asks what row {first} asks, and its answer is another: remove one")
        self.first = first


class KeptRows(ABC, Generic[_R, _T]):
    """A file's rows, taken one by one: the usable ones, and the reason for skipping others.

    `_T` is what a level holds of a row.

    Attributes:
        are_plain: `_read` depends on a row and its number alone, and `_pack` and `_unpack` make a
            usable row a tuple of plain values and a row again.
        number: of the last row.
        kept: the number of each usable row, and the row.
        skipped: reason → numbers of rows.
    """

    are_plain = False

    def __init__(self) -> None:
        self.number = 0
        self.kept: list[tuple[int, _R]] = []
        self.skipped: dict[str, list[int]] = {}
        self._first: dict[Hashable, tuple[int, _R]] = {}

    def add(self, line: bytes) -> None:
        """Take one row. Raises ValueError if it is damaged or contradicts another row."""
        self.number += 1
        row, reason = self._read(line)
        if reason is None:
            self._keep(row)
        else:
            self._skip(reason)

    def _keep(self, row: _R) -> None:
        """Take a usable row, unless a row before it asks the same. Raises ContradictionError if
        that has another answer: one question has one answer."""
        question = self._identify(row)
        if question is not None:
            first, known = self._first.setdefault(question, (self.number, row))
            if first != self.number:
                if self._get_right(known) != self._get_right(row):
                    raise ContradictionError(first)
                self._skip("asked already")
                return
        self.kept.append((self.number, row))

    def _skip(self, reason: str) -> None:
        self.skipped.setdefault(reason, []).append(self.number)

    @abstractmethod
    def _read(self, line: bytes) -> tuple[_R, str | None]:
        """A row, and the reason for skipping it. Raises ValueError if it is damaged."""

    def _pack(self, row: _R) -> tuple[object, ...]:
        raise NotImplementedError

    def _unpack(self, packed: tuple[Any, ...]) -> _R:
        raise NotImplementedError

    def _identify(self, row: _R) -> Hashable:
        """What a usable row asks; None: rows may ask the same."""
        return None

    def _get_right(self, row: _R) -> object:
        """The right answer of a row whose question `_identify` tells."""
        return row

    def look_at(self, lines: Sequence[bytes]) -> None:
        """Look at a file's rows before the first of them is taken. Raises TableError if they have
        another shape."""

    def finish(self) -> None:
        """Skip rows for what only all rows together show."""

    @abstractmethod
    def divide(self) -> Mapping[int, Sequence[_T]]:
        """The usable rows of each level that has any."""

    def add_all(self, lines: Sequence[bytes], processes: int = 1) -> dict[str, list[int]]:
        """Take all rows of a file. Return fault → numbers of the damaged ones. Of rows that
        contradict each other none is taken: nobody knows which is right.

        Args:
            processes: most that read many rows at a time, see `share_work`.
        """
        self.look_at(lines)
        if processes == 1 or len(lines) < SHARED_MIN or not self.are_plain:
            return self._add_each(lines, self.add)
        read = share_work(lambda share: self._read_share(lines, share), len(lines), processes)
        self.number = 0
        return self._add_each(chain.from_iterable(read), self._add_read)

    def _read_share(self, lines: Sequence[bytes], share: range) -> list[object]:
        """What some lines are: of a usable row the packed one, of another the reason for skipping
        it, and of a damaged one a list of its fault."""
        read = list[object]()
        for place in share:
            self.number = place + 1
            try:
                row, reason = read_shaped(self._read, lines[place])
            except ValueError as error:
                read.append([str(error)])
            else:
                read.append(self._pack(row) if reason is None else reason)
        return read

    def _add_read(self, read: Any) -> None:
        """As `add`, of what `_read_share` made of a line."""
        self.number += 1
        if isinstance(read, tuple):
            self._keep(self._unpack(read))
        elif isinstance(read, str):
            self._skip(read)
        else:
            raise ValueError(*read)

    def _add_each(self, rows: Iterable[_A], add: Callable[[_A], None]) -> dict[str, list[int]]:
        damaged: dict[str, list[int]] = {}
        contested = set[int]()
        for row in rows:
            try:
                read_shaped(add, row)
            except ValueError as error:
                damaged.setdefault(str(error), []).append(self.number)
                if isinstance(error, ContradictionError):
                    contested.add(error.first)
        if contested:
            damaged[ContradictionError.ABOUT_FIRST] = sorted(contested)
            self.kept = [(number, row) for number, row in self.kept if number not in contested]
        self.finish()
        return damaged

    def find_levels(self, digest: str, family: str) -> dict[int, Sequence[_T]]:
        """The usable rows of the file with that SHA-256, by level, in ascending order; at least
        one.

        Args:
            family: of the environment, for messages.

        Raises:
            ProblemFileError: `digest` is no digest, this machine has no such file, a row is damaged
                or contradicts another, or no row is usable.
        """
        file, data = find_file(digest, family)
        own = FORMATS[family].own_columns if family in FORMATS else ()
        lines = read_table(data, file, own)[1]
        try:
            self.look_at(lines)
        except OtherShapeError as error:
            raise OtherFormatError(f"{file}: {error}") from None
        read_lines(lines, file, self.add)
        self.finish()
        by_level = dict(sorted(self.divide().items()))
        if not by_level:
            raise ProblemFileError(
                f"{family}:{digest}: none of its {len(lines)} problems can be asked: "
                f"{describe_skipped(self.skipped)}"
            )
        return by_level


def add_problem_files(files: Iterable[Path]) -> None:
    """Add to the files in which this process looks for problems. Reads nothing yet."""
    _known.update(dict.fromkeys(files))


def get_known_files() -> tuple[Path, ...]:
    return tuple(_known)


def compute_file_digest(file: Path) -> str:
    """SHA-256 of a file, by which an environment names it.

    Raises:
        ProblemFileError: the file cannot be read, or is too large.
    """
    return sha256(read_problem_file(file)).hexdigest()


def list_needed_files(name: str, settings: Iterable[str]) -> dict[str, str]:
    """Digest → family of the files that an environment needs: its own, and those of the parts of a
    mixture, which its settings name."""
    texts = name, *settings
    return {match[2]: match[1] for text in texts for match in _NAMED.finditer(text)}


def find_file(digest: str, family: str) -> tuple[Path, bytes]:
    """The path and the bytes of the file with that SHA-256.

    Args:
        family: of the environment, for messages.

    Raises:
        ProblemFileError: `digest` is no digest, or this machine has no such file.
    """
    if not _DIGEST.fullmatch(digest):
        raise ProblemFileError(
            f"{family}:{digest[:80]}: a file is named by its SHA-256, 64 lower-case hex digits"
        )
    looked = []
    for file in _known:
        try:
            data = read_problem_file(file)
        except ProblemFileError as error:
            looked.append(str(error))
            continue
        actual = sha256(data).hexdigest()
        if actual == digest:
            return file, data
        looked.append(f"{file} has SHA-256 {actual}")
    where = "; ".join(looked) or "none is named"
    raise ProblemFileError(
        f"no file with SHA-256 {digest} is here: get it from the network's owner, see that this is "
        "its digest, and name it in `files` under [environments] or, to assay-judge, with "
        f"--problems. Looked at: {where}"
    )


def read_problem_file(file: Path) -> bytes:
    """The bytes of a file.

    Raises:
        ProblemFileError: the file cannot be read, is larger than `FILE_MAX`, or is not a regular
            file: a pipe or a device may never end.
    """
    if file.exists() and not file.is_file():
        raise ProblemFileError(f"{file} is not a regular file")
    try:
        with file.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            data = opened.read(FILE_MAX + 1) if size <= FILE_MAX else b""
    except OSError as error:
        raise ProblemFileError(f"{file}: {error.strerror or error}") from None
    if max(size, len(data)) > FILE_MAX:
        raise ProblemFileError(
            f"{file} is larger than {FILE_MAX >> 20} MiB, and every node of a network holds all of "
            "a file in memory: keep fewer rows, or only the columns of problem, answer and level"
        )
    return data


def read_table(
    data: bytes, file: Path, own_columns: Collection[str] = ()
) -> tuple[str, list[bytes]]:
    """The name of the file's format, and its rows as lines of JSON; at least one.

    Args:
        own_columns: of Parquet that are unpacked beside those of all formats.

    Raises:
        ProblemFileError: the file is no table, is empty, or has too many rows.
    """
    if not data:
        raise ProblemFileError(f"{file} is empty")
    if data.startswith(PARQUET_MAGIC):
        if len(data) > DOCUMENT_MAX:
            raise ProblemFileError(
                f"{file} is Parquet of more than {DOCUMENT_MAX >> 20} MiB, which is unpacked at "
                "once: write several files, or JSON Lines"
            )
        rows = _unpack_parquet(data, file, COLUMN_NAMES.union(own_columns))
        name, lines = "Parquet", rows.removesuffix(b"\n").split(b"\n")
    else:
        try:
            name, lines = split_rows(data)
        except TableError as error:
            raise ProblemFileError(f"{file}: {error}") from None
    if not lines:
        raise ProblemFileError(f"{file} has no rows")
    if len(lines) > ROWS_MAX:
        raise ProblemFileError(f"{file} has more than {ROWS_MAX} rows")
    return name, lines


def read_shaped(read: Callable[[_A], _R], line: _A) -> _R:
    """What `read` makes of a line. Raises ValueError if it refuses it, or meets a value of another
    type than the row's shape has: no file of a stranger may end a node."""
    try:
        return read(line)
    except (TypeError, AttributeError, LookupError) as error:
        raise ValueError("it has a value of a type that nothing here reads") from error


def read_lines(lines: Iterable[bytes], file: Path, read: Callable[[bytes], _R]) -> list[_R]:
    """What `read` makes of each line. Raises ProblemFileError if it refuses one."""
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(read_shaped(read, line))
        except ValueError as error:
            kind = OtherFormatError if isinstance(error, OtherFormatError) else ProblemFileError
            raise kind(f"{file}, row {number}: {error}") from None
    return rows


def cut_levels(ordered: Sequence[_R], most: int) -> list[Sequence[_R]]:
    """Rows in k = min(most, rows) levels: level l has the rows ⌊(l−1)·rows/k⌋ to ⌊l·rows/k⌋ − 1."""
    count = min(most, len(ordered))
    ends = [i * len(ordered) // count for i in range(count + 1)] if count else [0]
    return [ordered[first:end] for first, end in pairwise(ends)]


def describe_skipped(skipped: Mapping[str, Sequence[int]]) -> str:
    """Text for people: reasons by frequency, each with its first row."""
    ranked = sorted(skipped.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    return ", ".join(f"{len(rows)} {reason} (row {rows[0]})" for reason, rows in ranked)


def read_row(line: bytes, is_first: bool = False) -> Row:
    """Read one line of JSON: an object with `question` and `answer`. Other fields are ignored.

    Args:
        is_first: the file's first row, which shows whether it is in GSM8K's format.

    Raises:
        ValueError: the message names the fault.
    """
    row = read_object(line, "gsm")
    if is_first and "question" in row and "####" not in str(row.get("answer", "####")):
        raise OtherFormatError("its answer has no ####: math:SHA256 may take such files")
    fields = require_texts(row, "gsm")
    question, solution = fields["question"], fields["answer"]
    ending = _ENDING.fullmatch(solution)
    if ending is None or solution.count("####") != 1:
        raise ValueError("its answer does not end with its only ####, a line `#### N`")
    value = ending[1].replace(",", "")
    if not INTEGER.fullmatch(value):
        raise ValueError(f"its answer {value[:40]} is not a whole number of at most 18 digits")
    return Row(question, solution, int(value))


def read_texts(line: bytes, family: str) -> dict[str, Any]:
    """Read one line of JSON: an object that has this environment's fields as text.

    Raises:
        ValueError: the message names the fault, and the environment that reads such rows.
    """
    return require_texts(read_object(line, family), family)


def require_texts(row: dict[str, Any], family: str) -> dict[str, Any]:
    """A row that has this environment's fields as text. Errors as of `read_texts`."""
    names = FORMATS[family].fields
    if not all(name in row for name in names):
        raise name_formats(row, family)
    asked, *_ = [require_text(row[name], name, family) for name in names]
    require_question(asked, names[0])
    return row


def read_object(line: bytes, family: str, most: int = ROW_MAX) -> dict[str, Any]:
    """Read one line of JSON, an object of at most `most` bytes. Raises ValueError if it is anything
    else."""
    if len(line) > most:
        raise ValueError(f"it has {len(line)} bytes, more than {most}")
    try:
        row = read_json(line)
    except EncodingError as error:
        raise ValueError(f"it {error}") from None
    if not isinstance(row, dict):
        fields = FORMATS[family].fields if family in FORMATS else ()
        wanted = f" with {' and '.join(fields)}" if fields else ""
        raise ValueError(f"it is not an object{wanted}")
    return row


def find_object_fault(line: bytes, family: str, most: int = ROW_MAX) -> str | None:
    """Why `read_object` refuses a row; None: it does not."""
    try:
        read_object(line, family, most)
    except ValueError as error:
        return str(error)
    return None


def read_objects(lines: Iterable[bytes], family: str, most: int = ROW_MAX) -> list[dict[str, Any]]:
    """The rows that `read_object` reads."""
    rows = []
    for line in lines:
        with suppress(ValueError):
            rows.append(read_object(line, family, most))
    return rows


def require_question(text: str, name: str) -> None:
    """Raises ValueError if a question is empty or too long."""
    if not 1 <= len(text.strip(BLANKS)) <= len(text) <= QUESTION_MAX:
        raise ValueError(f"its {name} has {len(text)} characters: 1 to {QUESTION_MAX} may be")


def require_chat(value: Any, name: str, family: str) -> Chat:
    """The chat or the text of a cell. Raises ValueError if it is neither, or one of its texts has
    control characters, or is empty or too long."""
    chat = read_chat(value)
    if chat is None:
        require_text(value, name, family)
        raise ValueError(f"its {name} is no chat")
    require_question(require_text(chat.question, name, family), name)
    for _, text in chat.context:
        require_question(require_text(text, name, family), name)
    return chat


def has_control(text: str) -> bool:
    """Whether a text has a character that no question needs."""
    return not text.isprintable() and _CONTROL.search(text) is not None


def require_text(text: Any, name: str, family: str) -> str:
    """A field of a row. Raises ValueError if it is not text, or has control characters."""
    if not isinstance(text, str):
        raise ValueError(
            f"its {name} is {json.dumps(text)[:40]}, and {family}:SHA256 takes text: "
            f"{FORMATS[family].about}"
        )
    if not text.isprintable() and (bad := _CONTROL.search(text)):
        raise ValueError(f"its {name} holds the character U+{ord(bad[0]):04X}")
    return text


def name_formats(row: dict[str, Any], family: str) -> ValueError:
    """The error for a row that lacks some of a family's fields: its fields, and what reads such
    rows."""
    names = FORMATS[family].fields
    others = {one.family: one.fields for one in FORMATS.values() if one.fields}
    for other, fields in others.items():
        if fields != names and all(name in row for name in fields):
            takes = f"{other}:SHA256 takes"
            if other == "gsm" and "####" not in str(row["answer"]):
                takes = f"{'text' if family == 'math' else 'math:SHA256 or text'}:SHA256 may take"
            return OtherFormatError(
                f"it has {' and '.join(fields)}, not {' and '.join(names)}: {takes} such files"
            )
    has = list_fields(row)
    takes = ", ".join(f"{family}:SHA256 takes {' and '.join(f)}" for family, f in others.items())
    kind = ValueError if any(name in row for name in names) else OtherFormatError
    return kind(f"it has {has}: {takes}")


def list_fields(row: dict[str, Any]) -> str:
    """The first fields of a row, for people."""
    return clean(", ".join(map(str, list(row)[:8]))) or "no field"


def list_unread_columns(data: bytes, own_columns: Collection[str] = ()) -> list[str]:
    """The columns of a file that `read_table` did not unpack, at most `NAMED_MAX`; of other files
    than Parquet none."""
    if not data.startswith(PARQUET_MAGIC):
        return []
    names = json.loads(_unpack_parquet(data, Path(), ()))
    return [name for name in names if name not in COLUMN_NAMES.union(own_columns)][:NAMED_MAX]


def _unpack_parquet(data: bytes, file: Path, columns: Iterable[str]) -> bytes:
    """The file's rows as JSON Lines, with those columns that it has, or without columns the names
    of all; converted in a sandboxed child that a hostile file may crash."""
    asked = json.dumps(sorted(columns)).encode() + b"\n" + data
    with Sandbox("reader of problem files", _BOOT) as sandbox:
        reply = sandbox.ask(asked, 1 + TEXT_MAX, Budget(_PARQUET_SECONDS))
    if isinstance(reply, Lost):
        cause = "it takes too much CPU time" if reply.spent else reply.cause
        raise ProblemFileError(f"{file} cannot be read as Parquet: {cause}")
    if reply[:1] != b"\0":
        raise ProblemFileError(f"{file}: {reply[1:].decode(errors='replace')}")
    return reply[1:]


# --- the sandboxed child, which turns a Parquet file into JSON Lines: it alone imports pyarrow


def serve_rows() -> NoReturn:
    """Run the child until its parent closes it."""
    import pyarrow as pa
    import pyarrow.parquet

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    pa.set_memory_pool(pa.system_memory_pool())  # other pools reserve address space
    child.serve(_answer)


def _answer(data: bytes) -> bytes:
    """A zero byte and the rows, or a one byte and the fault of the file."""
    import pyarrow as pa

    try:
        names, _, file = data.partition(b"\n")
        return b"\0" + _convert(file, frozenset(json.loads(names)))
    except MemoryError:  # pyarrow's MemoryError is also an ArrowException
        raise
    except (pa.ArrowException, OSError, ValueError, NotImplementedError) as error:
        return b"\1" + clean(f"it cannot be read as Parquet: {error}").encode(errors="replace")


def _convert(data: bytes, known: frozenset[str]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(
        pa.BufferReader(data),
        pre_buffer=False,
        thrift_container_size_limit=100_000,
        arrow_extensions_enabled=True,  # a UUID is one whoever wrote the file
    )
    schema = file.schema_arrow
    if not known:
        return json.dumps([name[:_NAME_MAX] for name in schema.names]).encode()
    columns = [name for name in schema.names if name in known]
    if not columns:
        has = ", ".join(schema.names[:8])
        raise ValueError(f"it has no column for a problem or an answer, but {has}")
    if len(set(columns)) < len(columns):
        raise ValueError("it has two columns of one name")
    for name in columns:
        odd = _find_odd_type(schema.field(name).type)
        if odd is not None:
            raise ValueError(f"its column {name} holds {odd}: write it as text or numbers")
    if not 0 < file.metadata.num_rows <= ROWS_MAX:
        raise ValueError(f"it has {file.metadata.num_rows} rows, not 1 to {ROWS_MAX}")
    lines, size = io.BytesIO(), 0
    for batch in file.iter_batches(_BATCH, columns=columns, use_threads=False):
        size += batch.nbytes
        if size > _UNPACKED_MAX:
            raise ValueError(f"it unpacks to more than {_UNPACKED_MAX >> 20} MiB")
        for row in batch.to_pylist():
            text = json.dumps(row, ensure_ascii=False, default=_write_value)
            lines.write(text.encode() + b"\n")
    return lines.getvalue()


def _find_odd_type(kind: Any) -> Any:
    """A type within one of Arrow that JSON has no value for, or None. How times and bytes are
    written would depend on the packages of a machine."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_dictionary(kind):
        return _find_odd_type(kind.value_type)
    if types.is_struct(kind):
        inner = [kind.field(i).type for i in range(kind.num_fields)]
        return next(filter(None, map(_find_odd_type, inner)), None)
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    if any(is_one(kind) for is_one in (*lists, types.is_list_view, types.is_large_list_view)):
        return _find_odd_type(kind.value_type)
    texts = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    named = isinstance(kind, pa.JsonType | pa.UuidType)
    numbers = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    is_known = texts or named or numbers or types.is_boolean(kind) or types.is_null(kind)
    return None if is_known else kind


def _write_value(value: Any) -> str:
    if not isinstance(value, Decimal | UUID):
        raise TypeError(f"a {type(value).__name__} is no JSON")  # `_find_odd_type` lets none pass
    return str(value)
