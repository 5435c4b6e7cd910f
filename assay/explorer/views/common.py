"""Parts that views share: paged lists, heat strips, shares, commands that re-derive a page."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from typing_extensions import TypedDict

from assay.audit.explain.texts import TEXTS
from assay.explorer.documents.miners import ReasonAdvice
from assay.explorer.documents.shared import (
    CountedReason,
    Covers,
    ListPart,
    StripCell,
    TroubleKind,
    VerdictStrip,
)
from assay.explorer.labels import TROUBLES, get_mark
from assay.explorer.page_reader import PageReader
from assay.protocol.errors import Trouble
from assay.protocol.reason import Reason, name_cost

#: Longest number in an address, digits.
_DIGITS_MAX = 12
#: Rows of a list that an address may ask for at once, with `size`.
ROWS_MAX = 1_000
#: Checkpoints whose steps are looked for: the first of the record, and the newest.
_FIRST, _NEWEST = 8, 56


@dataclass(frozen=True, slots=True)
class Query:
    """The query of an address. A value has at most `LIMIT` characters, unless a page takes more.

    wait_s: how long it waits, at most, for what has to be read or run first: a program asks for
    data, and a person sees meanwhile how far the reading is.
    """

    values: dict[str, str]
    wait_s: float = 8.0
    LIMIT: ClassVar[int] = 64

    def get(self, name: str, default: str = "", limit: int = LIMIT) -> str:
        return self.values.get(name, default).strip()[:limit]

    def get_page(self) -> int:
        return self._get_number("page", 1)

    def get_number(self, name: str) -> int | None:
        """A whole number of the address, or None."""
        text = self.get(name)
        return int(text) if self._is_number(text) else None

    def get_size(self, usual: int) -> int:
        """Rows of a list that are wanted at once."""
        return min(self._get_number("size", usual), ROWS_MAX)

    def _get_number(self, name: str, usual: int) -> int:
        text = self.get(name)
        return max(1, int(text)) if self._is_number(text) else usual

    @staticmethod
    def _is_number(text: str) -> bool:
        return text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX


class Rederivation(TypedDict):
    """The command that derives a page's content again, and the windows that it covers."""

    command: str | None
    covers: Covers | None


def make_paging(query: Query, count: int, usual: int) -> ListPart:
    """The part of a list that a page shows.

    Args:
        usual: rows at once, unless the address asks for others.

    `kept` is the part of the query that links to other parts repeat.
    """
    size = query.get_size(usual)
    pages = max(1, -(-count // size))
    page = min(query.get_page(), pages)
    return ListPart(
        page=page,
        pages=pages,
        count=count,
        first=min(count, (page - 1) * size + 1),
        last=min(count, page * size),
        offset=(page - 1) * size,
        size=size,
        kept={} if size == usual else {"size": size},
    )


def ask_page(
    reader: PageReader, query: Query, selection: str, order: str, size: int, *values: Any
) -> tuple[ListPart, list[Any]]:
    """One part of a list, and its rows.

    Args:
        selection: the SQL after FROM.
        size: rows at once, unless the address asks for others.
        values: the values of the selection's question marks.
    """
    count = reader.ask_one(f"SELECT count(*) AS n FROM {selection}", *values)["n"]
    paging = make_paging(query, count, size)
    ordered = f"SELECT * FROM {selection} ORDER BY {order} LIMIT ? OFFSET ?"
    return paging, reader.ask(ordered, *values, paging["size"], paging["offset"])


def make_strip(verdicts: Iterable[tuple[int, str | None]]) -> VerdictStrip:
    """A heat strip of (window, reason) in order, and the same in words for who cannot see it."""
    cells = [StripCell(window=window, reason=reason) for window, reason in verdicts]
    counts = Counter(cell["reason"] or "no verdict" for cell in cells)
    words = "no window"
    if cells:
        listed = ", ".join(f"{count} × {name}" for name, count in counts.items())
        words = f"windows {cells[0]['window']} to {cells[-1]['window']}: {listed}"
    return VerdictStrip(cells=cells, words=words)


def divide(part: int, whole: int, digits: int = 6) -> float | None:
    return round(part / whole, digits) if whole else None


def measure_speed(reader: PageReader, row: Any) -> float | None:
    """Accepted tokens of a window for each second that it lasts; None: nobody knows them."""
    if not row["tokens"]:
        return None
    timing = reader.subject.get_parameters(row["window"]).timing
    return round(row["tokens"] / (timing.window_blocks * timing.slot_ms / 1_000), 2)


def describe_audit(reader: PageReader, first: int | None, last: int | None) -> Rederivation:
    """The command that derives these windows again, if there are any and a command can."""
    command = None
    if first is not None and last is not None:
        command = reader.sources.commands.audit(first, last)
    if command is None:
        return Rederivation(command=None, covers=None)
    covers = Covers(
        first=command.first,
        last=command.last,
        whole=(command.first, command.last) == (first, last),
        runs_model=command.runs_model,
    )
    return Rederivation(command=command.text, covers=covers)


def describe_trouble(trouble: Trouble | None) -> TroubleKind | None:
    """A program's trouble, as everybody may know it. None without trouble.

    Its text may name folders, endpoints and addresses. Only the operator sees it, in `assay status`
    and in the log.
    """
    if trouble is None:
        return None
    return TroubleKind(kind=trouble.kind.value, about=TROUBLES[trouble.kind])


def name_hotkey(reader: PageReader, address: str) -> str | None:
    return reader.sources.get_names().get(address)


def count_reasons(reasons: Iterable[str | None]) -> list[CountedReason]:
    """Reasons and how often each was given, the most frequent first."""
    counts = Counter(reason or "no verdict" for reason in reasons)
    return [
        CountedReason(reason=reason, count=count, word=get_mark(reason).word)
        for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def describe_reason(reason: str | None) -> ReasonAdvice:
    """A verdict's rule, and for a refusal its usual causes, its remedies, and its cost."""
    known = Reason(reason) if reason in set(Reason) else None
    text = None if known is None else TEXTS.get(known)
    return ReasonAdvice(
        rule=text.rule if text else None,
        causes=list(text.causes) if text else [],
        remedies=list(text.remedies) if text else [],
        costs=name_cost(known),
    )


def list_known_windows(reader: PageReader) -> str:
    """Which windows there are, as part of a sentence."""
    ends = reader.ask_one("SELECT min(window) AS first, max(window) AS last FROM windows")
    if ends["first"] is None:
        return "no window is known yet"
    return f"windows {ends['first']} to {ends['last']} are known"


def list_step_digests(reader: PageReader) -> list[str]:
    """Digests of the steps that made checkpoints in force, hex, in order: the first and the
    newest."""
    rows = reader.ask(
        "SELECT checkpoint, min(window) AS first FROM windows WHERE length(checkpoint) = 32 "
        "AND checkpoint != zeroblob(32) GROUP BY checkpoint ORDER BY first"
    )
    ends = [*rows[:_FIRST], *rows[_FIRST:][-_NEWEST:]]
    origins = [reader.sources.read_manifest(row["checkpoint"]) for row in ends]
    return [origin.step for origin in origins if origin is not None and origin.step]


#: Most characters of a text of a document that a person named, and size of its largest figure.
TEXT_MAX, FIGURE_MAX = 200, 10**15


def read_number(row: Mapping[str, Any], name: str) -> float | None:
    """A figure of such a document; None: it has none."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not -FIGURE_MAX <= value <= FIGURE_MAX:
        return None  # NaN is in no range
    return value


def read_text(row: Mapping[str, Any], name: str) -> str:
    """A text of such a document, cut; empty: it has none."""
    value = row.get(name)
    return value[:TEXT_MAX] if type(value) is str else ""
