"""The rollout browser: a list with filters, orders and a search, and a group side by side."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from assay.explorer.documents.rollouts import (
    ComparedRollout,
    Excerpt,
    FilterChoice,
    FilterChoices,
    GroupFigures,
    GroupPlace,
    IndexedSources,
    RolloutFigures,
    RolloutGroupDocument,
    RolloutRow,
    RolloutsDocument,
    SearchScan,
    UnreadFiles,
)
from assay.explorer.documents.windows import ReadingLack, RolloutWorth
from assay.explorer.index import NUMBER_MAX, SlowQueryError
from assay.explorer.page_reader import NotFoundError, PageReader
from assay.explorer.rollout_index import (
    ORDERS,
    QUERY_S,
    FoundRollouts,
    RolloutFilter,
    RolloutIndex,
    RolloutProgress,
    clean_text,
)
from assay.explorer.views.common import Query, make_paging, name_hotkey

#: Rollouts of a list, and of a group, on a page.
_ROWS, _COLUMNS = 50, 16
#: Characters of an excerpt, and before a match; of a text in a column; of what is searched for.
_EXCERPT, _BEFORE, _COLUMN_TEXT, TEXT_LIMIT = 280, 80, 12_000, 200
#: Filters of the list that an address names.
FILTERS = (
    *("q", "window", "miner", "level", "environment", "reward", "tokens", "verdict", "end", "tool"),
)
#: Orders of a group's columns → SQL.
GROUP_ORDERS: Mapping[str, str] = {
    "number": "number",
    "best": "reward DESC, number",
    "worst": "reward, number",
}
_NUMBER = r"(\d{1,18}(?:\.\d{0,9})?|\.\d{1,9})?"
_RANGE = re.compile(rf"{_NUMBER}\s*(?:(-|–|to|\.\.)\s*{_NUMBER})?", re.ASCII)
_NOTHING = ReadingLack(
    why="no rollout is known here: neither a trainer's steps, nor an export, nor a file of a miner "
    "that an audit drew from and whose store still serves it",
    passing=False,
)


def has_rollouts(reader: PageReader) -> bool:
    """Whether the index has a rollout, or is about to."""
    index = reader.rollouts
    return index is not None and (index.progress.rollouts > 0 or _count(index) > 0)


def _count(index: RolloutIndex) -> int:
    return int(index.read("SELECT EXISTS (SELECT 1 FROM rollouts) AS n")[0]["n"])


@dataclass(slots=True)
class _Asked:
    """The filters of an address. faults: sentences about those that are not understood."""

    filters: RolloutFilter
    values: dict[str, str]
    faults: list[str] = field(default_factory=list)


def view_rollouts(reader: PageReader, query: Query) -> RolloutsDocument:
    """The rollouts of `FILTERS`, in the order of `sort`."""
    index, asked = reader.rollouts, _read_filters(reader, query)
    order = query.get("sort", "newest")
    order = order if order in ORDERS else "newest"
    found, lack = FoundRollouts(0, [], None), None
    paging = make_paging(query, 0, _ROWS)
    if index is None or not has_rollouts(reader):
        waits = index is not None and not index.progress.done and index.progress.files > 0
        lack = ReadingLack(why="rollouts are being read", passing=True) if waits else _NOTHING
    elif not asked.faults:
        size = query.get_size(_ROWS)
        # a count of more than any is not known before the query: its page is asked for as it is
        offset = (min(query.get_page(), NUMBER_MAX // size) - 1) * size
        try:
            found = index.find(asked.filters, order, size, offset)
            if not found.rows and offset:
                found = index.find(asked.filters, order, size, 0)
                query = Query({**query.values, "page": "1"})
        except SlowQueryError:
            why = f"this takes longer than {QUERY_S:.0f} seconds: add a filter"
            lack = ReadingLack(why=why, passing=False)
        paging = make_paging(query, found.count, _ROWS)
    paging["kept"] |= asked.values | ({} if order == "newest" else {"sort": order})
    rows = _describe_rows(reader, index, found, asked.filters.text) if index else []
    scan = found.scan
    return RolloutsDocument(
        title="Rollouts",
        command=None,
        lack=lack,
        sources=_describe_sources(index),
        asked=asked.values,
        faults=asked.faults,
        order=order,
        orders=list(ORDERS),
        choices=_describe_choices(index),
        scan=None if scan is None else SearchScan(looked=scan.looked, whole=scan.whole),
        rows=rows,
        paging=paging,
    )


def view_rollout_group(
    reader: PageReader, query: Query, window: int, hotkey: str, group: int
) -> RolloutGroupDocument:
    """One group's rollouts. Raises NotFoundError: the index does not have it."""
    index = reader.rollouts
    place = {"window": window, "hotkey": hotkey, "group": group}
    found = index and index.read(
        "SELECT g.*, g.number AS group_number, p.prompt, "
        "(SELECT avg(reward) FROM rollouts WHERE grp = g.id) AS mean FROM groups g "
        "JOIN prompts p ON p.id = g.id "
        "WHERE g.window = :window AND g.hotkey = :hotkey AND g.number = :group",
        place,
    )
    if not index or not found:
        raise NotFoundError("no step, export or file that can be read has this group")
    (one,) = found
    order = query.get("sort", "number")
    order = order if order in GROUP_ORDERS else "number"
    paging = make_paging(query, one["size"], _COLUMNS)
    asked = {name: text for name in FILTERS if (text := query.get(name, limit=TEXT_LIMIT))}
    paging["kept"] |= asked | ({} if order == "number" else {"sort": order})
    rows = index.read(
        "SELECT r.*, t.completion FROM rollouts r JOIN texts t ON t.id = r.id WHERE r.grp = ? "
        f"ORDER BY {GROUP_ORDERS[order]} LIMIT ? OFFSET ?",
        (one["id"], paging["size"], paging["offset"]),
    )
    tools, text = _find_tools(index, [row["id"] for row in rows]), clean_text(asked.get("q", ""))
    known = reader.ask_one("SELECT 1 AS n FROM windows WHERE window = ?", window)
    return RolloutGroupDocument(
        title=f"Group {group} of window {window}",
        command=None,
        **_describe_group(reader, one),
        asked=asked,
        prompt=_cut(one["prompt"], text, _COLUMN_TEXT),
        mean=None if one["mean"] is None else one["mean"] / 1_000_000,
        order=order,
        orders=list(GROUP_ORDERS),
        rows=[
            ComparedRollout(
                **_describe_figures(row, tools),
                completion=_cut(row["completion"], text, _COLUMN_TEXT),
            )
            for row in rows
        ],
        paging=paging,
        before=_find_beside(index, place, "<", "DESC"),
        after=_find_beside(index, place, ">", ""),
        recorded=known is not None,
    )


def find_worth(
    reader: PageReader, window: int, hotkey: str, group: int, rollout: int
) -> RolloutWorth | None:
    """What the index says of one rollout; None: nothing."""
    index = reader.rollouts
    rows = index and index.read(
        "SELECT r.reward, r.advantage, g.step, "
        "(SELECT avg(reward) FROM rollouts WHERE grp = g.id) AS mean "
        "FROM rollouts r JOIN groups g ON g.id = r.grp WHERE g.window = ? "
        "AND g.hotkey = ? AND g.number = ? AND r.number = ?",
        (window, hotkey, group, rollout),
    )
    if not rows:
        return None
    (row,) = rows
    return RolloutWorth(
        reward=row["reward"],
        advantage=row["advantage"],
        mean=row["mean"] / 1_000_000,
        step=row["step"],
    )


# --- what an address asks for


def _read_filters(reader: PageReader, query: Query) -> _Asked:
    values = {name: text for name in FILTERS if (text := query.get(name, limit=TEXT_LIMIT))}
    faults = list[str]()

    def read_range(name: str, scale: int, example: str) -> tuple[int | None, int | None]:
        given = values.get(name, "")
        found = _RANGE.fullmatch(given)
        if found is None or (given and not (found[1] or found[3])):
            faults.append(f"{name}: write it as {example}")
            return None, None
        first, last = (_scale(one, scale) for one in (found[1], found[3]))
        return first, last if found[2] else first

    level = values.get("level", "")
    if level and not (level.isascii() and level.isdecimal() and len(level) < 19):
        faults.append("level: write a whole number")
    miner = values.get("miner")
    filters = RolloutFilter(
        windows=read_range("window", 1, "`8`, `8-12`, `8-` or `-12`"),
        rewards=read_range("reward", 1_000_000, "`1`, `0.5-1`, `0.5-` or `-0.5`"),
        tokens=read_range("tokens", 1, "`64`, `10-64`, `64-` or `-64`"),
        hotkeys=None if miner is None else _find_hotkeys(reader, miner),
        level=int(level) if level and not faults else None,
        environment=values.get("environment", ""),
        verdict=values.get("verdict", ""),
        end=values.get("end", ""),
        tool=values.get("tool", ""),
        text=values.get("q", ""),
    )
    return _Asked(filters, values, faults)


def _scale(text: str | None, scale: int) -> int | None:
    return None if text is None else min(round(Decimal(text) * scale), NUMBER_MAX)


def _find_hotkeys(reader: PageReader, text: str) -> list[str]:
    """Hotkeys by name, by uid, or by their first letters."""
    names = reader.sources.get_names()
    found = [hotkey for hotkey, name in names.items() if name == text]
    if text.isascii() and text.isdecimal() and len(text) < 6:
        rows = reader.ask("SELECT address FROM miners WHERE uid = ?", int(text))
        found += [row["address"] for row in rows]
    if reader.rollouts is not None and not found:
        rows = reader.rollouts.read(
            "SELECT DISTINCT hotkey FROM groups WHERE hotkey BETWEEN ?1 AND ?1 || '~' LIMIT 100",
            (text,),
        )
        found = [row["hotkey"] for row in rows]
    return found


# --- documents


def _describe_sources(index: RolloutIndex | None) -> IndexedSources:
    progress = RolloutProgress() if index is None else index.progress
    return IndexedSources(
        rollouts=progress.rollouts,
        files=progress.files,
        read=progress.read,
        unread=[UnreadFiles(why=why, count=count) for why, count in progress.unread.items()],
        left_out=progress.left_out,
        windows=progress.windows,
        audited=progress.audited,
        served=progress.served,
        done=progress.done,
        trigrams=index is not None and index.has_trigrams,
    )


def _describe_choices(index: RolloutIndex | None) -> FilterChoices:
    found = {} if index is None else index.list_choices()
    choices = {
        name: [
            FilterChoice(value="none" if value is None else str(value), count=count)
            for value, count in found.get(name, [])
        ]
        for name in ("level", "environment", "verdict", "end", "tool")
    }
    return FilterChoices(**choices)  # type: ignore[typeddict-item]  # these are its names


def _describe_rows(
    reader: PageReader, index: RolloutIndex, found: FoundRollouts, text: str
) -> list[RolloutRow]:
    tools, text = _find_tools(index, [row["id"] for row in found.rows]), clean_text(text)
    return [
        RolloutRow(
            **_describe_group(reader, row),
            **_describe_figures(row, tools),
            prompt=_cut(row["prompt"], text),
            completion=_cut(row["completion"], text),
        )
        for row in found.rows
    ]


def _describe_group(reader: PageReader, row: Any) -> GroupFigures:
    return GroupFigures(
        window=row["window"],
        hotkey=row["hotkey"],
        name=name_hotkey(reader, row["hotkey"]),
        group=row["group_number"],
        level=row["level"],
        environment=row["environment"],
        step=row["step"],
        source=row["source"],
        verdict=row["verdict"],
        size=row["size"],
    )


def _describe_figures(row: Any, tools: Mapping[int, list[str]]) -> RolloutFigures:
    return RolloutFigures(
        rollout=row["number"],
        reward=row["reward"],
        advantage=row["advantage"],
        tokens=row["tokens"],
        surprise=row["surprise"],
        end=row["ended"],
        tools=tools.get(row["id"], []),
    )


def _find_tools(index: RolloutIndex, rollouts: list[int]) -> dict[int, list[str]]:
    found = dict[int, list[str]]()
    marks = ", ".join("?" * len(rollouts))
    for row in index.read(
        f"SELECT rollout, name FROM calls JOIN tools ON id = tool WHERE rollout IN ({marks})",
        tuple(rollouts),
    ):
        found.setdefault(row["rollout"], []).append(row["name"])
    return found


def _find_beside(
    index: RolloutIndex, place: Mapping[str, Any], sign: str, way: str
) -> GroupPlace | None:
    """The group before or behind one, by window, hotkey and number."""
    rows = index.read(
        'SELECT window, hotkey, number AS "group" FROM groups '
        f"WHERE (window, hotkey, number) {sign} (:window, :hotkey, :group) "
        f"ORDER BY window {way}, hotkey {way}, number {way} LIMIT 1",
        place,
    )
    if not rows:
        return None
    window, hotkey, group = rows[0]
    return GroupPlace(window=window, hotkey=hotkey, group=group)


def _cut(text: str, wanted: str, most: int = _EXCERPT) -> Excerpt:
    """A text around the first match, or else its beginning."""
    found = re.search(re.escape(wanted), text, re.IGNORECASE) if wanted else None
    first = 0
    if found is not None and found.end() > most - _BEFORE:
        first = max(0, found.start() - _BEFORE)
    shown = text[first : first + most]
    span = None
    if found is not None:
        span = [found.start() - first, min(found.end() - first, len(shown))]
    return Excerpt(text=shown, first=first, cut=first + len(shown) < len(text), match=span)
