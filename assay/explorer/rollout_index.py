"""An index of rollouts, in one SQLite file, for a page that filters, sorts and searches them.

Everything in it can be read again: see `assay.explorer.rollout_indexing`. Texts are found by their
trigrams where this Python's SQLite has FTS5 with them, and else by a scan that ends in time.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from assay.explorer.index import NUMBER_MAX, IndexFile
from assay.explorer.ports import IndexedGroup

#: Changes with the tables below; the file's own version also says whether it has trigrams.
_VERSION = 1
#: Seconds of a query, and of a scan for a text.
QUERY_S, SCAN_S = 5.0, 1.0
#: Characters of a text that trigrams find. Rollouts that a scan finds at most, and looks at before
#: it looks at the clock.
TRIGRAM, FOUND_MAX, _SCANNED = 3, 10_000, 2_000
#: Characters of a text that is kept. Of those of a list its rows have the beginnings, unless there
#: are few, and a text is looked for.
TEXT_MAX, _BEGINNING, _WHOLE = 1 << 16, 4_000, 100
_SCHEMA = """
CREATE TABLE files (
    name TEXT PRIMARY KEY, kind TEXT NOT NULL, next INTEGER, rollouts INTEGER NOT NULL, why TEXT
);
CREATE TABLE audited (
    window INTEGER PRIMARY KEY, groups INTEGER NOT NULL, served INTEGER NOT NULL
);
CREATE TABLE groups (
    id INTEGER PRIMARY KEY, window INTEGER NOT NULL, hotkey TEXT NOT NULL, number INTEGER NOT NULL,
    level INTEGER, environment TEXT NOT NULL, step INTEGER, source TEXT NOT NULL, verdict TEXT,
    size INTEGER NOT NULL, UNIQUE (window, hotkey, number)
);
CREATE INDEX groups_by_hotkey ON groups (hotkey);
CREATE INDEX groups_by_level ON groups (level);
CREATE INDEX groups_by_environment ON groups (environment);
CREATE INDEX groups_by_verdict ON groups (verdict);
CREATE TABLE prompts (id INTEGER PRIMARY KEY, prompt TEXT NOT NULL);
CREATE TABLE rollouts (
    id INTEGER PRIMARY KEY, grp INTEGER NOT NULL, window INTEGER NOT NULL, number INTEGER NOT NULL,
    reward INTEGER NOT NULL, advantage REAL, tokens INTEGER NOT NULL, surprise REAL, ended TEXT
);
CREATE INDEX rollouts_by_group ON rollouts (grp, number);
CREATE INDEX rollouts_by_window ON rollouts (window);
CREATE INDEX rollouts_by_reward ON rollouts (reward);
CREATE INDEX rollouts_by_advantage ON rollouts (advantage);
CREATE INDEX rollouts_by_tokens ON rollouts (tokens);
CREATE INDEX rollouts_by_surprise ON rollouts (surprise);
CREATE TABLE texts (id INTEGER PRIMARY KEY, completion TEXT NOT NULL);
CREATE TABLE tools (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE calls (
    tool INTEGER NOT NULL, rollout INTEGER NOT NULL, PRIMARY KEY (tool, rollout)
) WITHOUT ROWID;
CREATE INDEX calls_by_rollout ON calls (rollout);
"""
_TRIGRAMS = """
CREATE VIRTUAL TABLE found USING fts5(
    completion, content='texts', content_rowid='id', tokenize='trigram'
);
CREATE VIRTUAL TABLE asked USING fts5(
    prompt, content='prompts', content_rowid='id', tokenize='trigram'
);
"""
#: Order of a list → SQL. A rollout without the figure comes last.
ORDERS: Mapping[str, str] = {
    "newest": "r.window DESC, r.grp, r.number",
    "oldest": "r.window, r.grp, r.number",
    "best": "r.reward DESC, r.id DESC",
    "worst": "r.reward, r.id",
    "longest": "r.tokens DESC, r.id DESC",
    "shortest": "r.tokens, r.id",
    "surprising": "r.surprise DESC, r.id DESC",
    "expected": "r.surprise, r.id",
    "advantage": "r.advantage DESC, r.id DESC",
    "disadvantage": "r.advantage, r.id",
}
#: The figure of these orders by the lowest, which must be there.
_LOWEST = {"expected": "r.surprise", "disadvantage": "r.advantage"}


@dataclass(frozen=True, slots=True)
class RolloutFilter:
    """Which rollouts are wanted; None, or no text: any. windows, rewards (millionths), tokens:
    first and last, None: no end. hotkeys: any of these. verdict: `none` asks for groups without
    one."""

    windows: tuple[int | None, int | None] = (None, None)
    rewards: tuple[int | None, int | None] = (None, None)
    tokens: tuple[int | None, int | None] = (None, None)
    hotkeys: Sequence[str] | None = None
    level: int | None = None
    environment: str = ""
    verdict: str = ""
    end: str = ""
    tool: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class RolloutScan:
    """How far a search without trigrams came: rollouts looked at, of all; it ends early where time
    is up or enough is found."""

    looked: int
    whole: int


@dataclass(frozen=True, slots=True)
class FoundRollouts:
    """A part of a list. rows: of the query, in order. scan: None without one."""

    count: int
    rows: Sequence[Any]
    scan: RolloutScan | None


@dataclass(frozen=True, slots=True)
class RolloutProgress:
    """How far the index is.

    rollouts: in it. files, read: that there are, and of them read whole. unread: why files cannot
    be read, each with their number. left_out: files for which there is no room. windows: whose
    audited groups were looked for; audited: these groups; served: of them those that a store
    served, or a step has. done: nothing is left to read now.
    """

    rollouts: int = 0
    files: int = 0
    read: int = 0
    unread: Mapping[str, int] = field(default_factory=dict)
    left_out: int = 0
    windows: int = 0
    audited: int = 0
    served: int = 0
    done: bool = False


@cache
def has_trigrams() -> bool:
    """Whether this Python's SQLite has FTS5 with its tokenizer of trigrams."""
    database = sqlite3.connect(":memory:")
    try:
        database.executescript(_TRIGRAMS)
    except sqlite3.OperationalError:
        return False
    finally:
        database.close()
    return True


class RolloutIndex(IndexFile):
    """The index of rollouts of one network. Raises as `IndexFile`.

    Attributes:
        progress: how far it is filled.
    """

    def __init__(self, path: Path, validator: bytes, parameters: bytes) -> None:
        self.progress = RolloutProgress()
        self.has_trigrams = has_trigrams()
        schema = _SCHEMA + (_TRIGRAMS if self.has_trigrams else "")
        version = 2 * _VERSION + self.has_trigrams
        super().__init__(path, schema, version, validator, parameters, "groups")

    # --- writing

    def put(
        self, groups: Iterable[IndexedGroup], source: str, verdicts: Mapping[tuple[int, str], str]
    ) -> int:
        """Add groups that are not there yet; of those that are, note the step that learned from
        them. Returns the number of rollouts added. Within a transaction of `write`'s caller."""
        database, added = self._get_connection(), 0
        for one in groups:
            window, hotkey = min(one.window, NUMBER_MAX), one.hotkey
            verdict = verdicts.get((window, hotkey))
            row = database.execute(
                "INSERT INTO groups (window, hotkey, number, level, environment, step, source, "
                "verdict, size) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (
                    *(window, hotkey, one.number, one.level, one.environment, one.step),
                    *(source, verdict, len(one.rollouts)),
                ),
            )
            if row.rowcount:
                assert row.lastrowid is not None  # it was inserted just now
                self._put_rollouts(database, row.lastrowid, window, one)
                added += len(one.rollouts)
            elif one.step is not None:
                _note_step(database, window, one)
        return added

    def _put_rollouts(
        self, database: sqlite3.Connection, group: int, window: int, one: IndexedGroup
    ) -> None:
        (first,) = database.execute("SELECT coalesce(max(id), 0) + 1 FROM rollouts").fetchone()
        numbered = list(enumerate(one.rollouts, first))
        texts = [(number, rollout.text) for number, rollout in numbered]
        database.executemany(
            "INSERT INTO rollouts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *(number, group, window, r.number, _fit(r.reward), r.advantage),
                    *(_fit(r.tokens), r.surprise, r.end),
                )
                for number, r in numbered
            ],
        )
        database.execute("INSERT INTO prompts VALUES (?, ?)", (group, one.prompt))
        database.executemany("INSERT INTO texts VALUES (?, ?)", texts)
        if self.has_trigrams:
            database.execute("INSERT INTO asked (rowid, prompt) VALUES (?, ?)", (group, one.prompt))
            database.executemany("INSERT INTO found (rowid, completion) VALUES (?, ?)", texts)
        for number, rollout in numbered:
            for tool in rollout.tools:
                database.execute("INSERT OR IGNORE INTO tools (name) VALUES (?)", (tool,))
                database.execute(
                    "INSERT OR IGNORE INTO calls SELECT id, ? FROM tools WHERE name = ?",
                    (number, tool),
                )

    # --- reading

    def find(self, wanted: RolloutFilter, order: str, size: int, offset: int) -> FoundRollouts:
        """Rollouts of a filter, in one of `ORDERS`, with the figures of their groups.

        Raises:
            SlowQueryError: it takes longer than `QUERY_S`.
            IndexDamagedError: the file cannot be read.
        """
        scan, conditions, values = None, *_list_conditions(wanted)
        if order in _LOWEST:
            conditions.append(f"{_LOWEST[order]} IS NOT NULL")
        text = clean_text(wanted.text)
        if text and self.has_trigrams and len(text) >= TRIGRAM:
            conditions.append(
                "(r.id IN (SELECT rowid FROM found WHERE found MATCH ?) "
                "OR r.grp IN (SELECT rowid FROM asked WHERE asked MATCH ?))"
            )
            values += [_quote(text)] * 2
        elif text:
            found, scan = self._scan(text)
            conditions.append("r.id IN (SELECT value FROM json_each(?))")
            values.append(json.dumps(found))
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        # where little is left, or it took long: once for both the number and the rows
        is_kept = bool(text) or any("r.grp" in condition for condition in conditions)
        kept = "AS MATERIALIZED" if is_kept else "AS NOT MATERIALIZED"
        most = TEXT_MAX if text and size <= _WHOLE else _BEGINNING
        with self.limit(QUERY_S):
            rows = self.read(
                f"WITH r {kept} (SELECT * FROM rollouts r {where}) "
                "SELECT r.*, g.hotkey, g.number AS group_number, g.level, g.environment, g.step, "
                "g.source, g.verdict, g.size, substr(p.prompt, 1, ?) AS prompt, "
                "substr(t.completion, 1, ?) AS completion, (SELECT count(*) FROM r) AS count "
                f"FROM (SELECT r.* FROM r ORDER BY {ORDERS[order]} LIMIT ? OFFSET ?) r "
                "JOIN groups g ON g.id = r.grp JOIN prompts p ON p.id = r.grp "
                f"JOIN texts t ON t.id = r.id ORDER BY {ORDERS[order]}",
                (*values, most, most, size, offset),
            )
        return FoundRollouts(rows[0]["count"] if rows else 0, rows, scan)

    def _scan(self, text: str) -> tuple[list[int], RolloutScan]:
        """Rollouts with a text in prompt or completion, the newest first, by looking at each until
        time is up."""
        pattern = "%" + text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"
        (ends,) = self.read("SELECT coalesce(max(id), 0) AS last FROM rollouts")
        last, found, until = ends["last"], list[int](), time.monotonic() + SCAN_S
        while last > 0 and len(found) < FOUND_MAX and time.monotonic() < until:
            found += [
                row["id"]
                for row in self.read(
                    "SELECT r.id FROM rollouts r JOIN texts t ON t.id = r.id "
                    "JOIN prompts p ON p.id = r.grp WHERE r.id BETWEEN ?1 AND ?2 "
                    "AND (t.completion LIKE ?3 ESCAPE '\\' OR p.prompt LIKE ?3 ESCAPE '\\') "
                    "ORDER BY r.id DESC",
                    (last - _SCANNED + 1, last, pattern),
                )
            ]
            last -= _SCANNED
        return found, RolloutScan(ends["last"] - max(0, last), ends["last"])

    def list_choices(self) -> dict[str, list[tuple[str | int | None, int]]]:
        """What a filter can choose, by its name: values, each with the number of groups, or of
        rollouts."""
        queries = {
            "level": "SELECT level, count(*) FROM groups WHERE level IS NOT NULL GROUP BY 1",
            "environment": "SELECT environment, count(*) FROM groups GROUP BY 1",
            "verdict": "SELECT verdict, count(*) FROM groups GROUP BY 1",
            "end": "SELECT ended, count(*) FROM rollouts WHERE ended IS NOT NULL GROUP BY 1",
            "tool": "SELECT name, (SELECT count(*) FROM calls WHERE tool = id) FROM tools "
            "ORDER BY 1 LIMIT 100",
        }
        return {name: [tuple(row) for row in self.read(query)] for name, query in queries.items()}


def _note_step(database: sqlite3.Connection, window: int, one: IndexedGroup) -> None:
    """A step learned from a group that was indexed before, by its advantages."""
    known = database.execute(
        "UPDATE groups SET step = ? WHERE window = ? AND hotkey = ? AND number = ? "
        "AND step IS NULL RETURNING id",
        (one.step, window, one.hotkey, one.number),
    ).fetchone()
    if known is not None:
        database.executemany(
            "UPDATE rollouts SET advantage = ? WHERE grp = ? AND number = ?",
            [(rollout.advantage, known["id"], rollout.number) for rollout in one.rollouts],
        )


def _list_conditions(wanted: RolloutFilter) -> tuple[list[str], list[Any]]:
    """SQL of a filter, but its text, and the values of its question marks."""
    conditions, values = list[str](), list[Any]()

    def add(condition: str, *given: Any) -> None:
        conditions.append(condition)
        values.extend(given)

    for column, (first, last) in (
        ("window", wanted.windows),
        ("reward", wanted.rewards),
        ("tokens", wanted.tokens),
    ):
        # of most rollouts a range of rewards or lengths is true: a scan is faster than an index
        plus = "" if column == "window" else "+"
        if first is not None:
            add(f"{plus}r.{column} >= ?", first)
        if last is not None:
            add(f"{plus}r.{column} <= ?", last)
    if wanted.end:
        add("r.ended = ?", wanted.end)
    if wanted.tool:
        add(
            "r.id IN (SELECT rollout FROM calls JOIN tools t ON t.id = tool WHERE t.name = ?)",
            wanted.tool,
        )
    within, of_groups = list[str](), list[Any]()
    if wanted.hotkeys is not None:
        within.append("hotkey IN (SELECT value FROM json_each(?))")
        of_groups.append(json.dumps(list(wanted.hotkeys)))
    for column, value in (
        ("level", wanted.level),
        ("environment", wanted.environment or None),
        ("verdict", wanted.verdict or None),
    ):
        if value == "none" and column == "verdict":
            within.append("verdict IS NULL")
        elif value is not None:
            within.append(f"{column} = ?")
            of_groups.append(value)
    if within:
        add(f"r.grp IN (SELECT id FROM groups WHERE {' AND '.join(within)})", *of_groups)
    return conditions, values


def clean_text(text: str) -> str:
    """A text as the index has it: NUL would end it."""
    return text.replace("\0", "␀")


def _quote(text: str) -> str:
    """A text as one string of FTS5's language, whatever it has."""
    return '"' + text.replace('"', '""') + '"'


def _fit(number: int) -> int:
    return max(-NUMBER_MAX, min(number, NUMBER_MAX))
