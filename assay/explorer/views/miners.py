"""Miners: all of them, and one."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from assay.audit.explain.settled_share import list_settlement
from assay.explorer.documents.miners import (
    ListedMiner,
    MinerCounts,
    MinerDocument,
    MinerReason,
    MinersDocument,
    MinerSettlement,
    MinerWindow,
)
from assay.explorer.documents.shared import Role
from assay.explorer.labels import get_mark
from assay.explorer.page_reader import NotFoundError, PageReader
from assay.explorer.views.common import (
    Query,
    ask_page,
    describe_audit,
    describe_reason,
    divide,
    make_strip,
    measure_speed,
    name_hotkey,
)
from assay.explorer.views.miner_earnings import (
    describe_earnings,
    describe_following,
    list_miner_curves,
)
from assay.explorer.views.miner_pay import (
    describe_pay,
    explain_absence,
    read_paid_share,
    read_share,
)
from assay.explorer.views.roles import find_roles, name_kind

_MINERS, _ROWS = 25, 50
_ALPHA = 10**9
#: Windows in a heat strip: of a list, and of one miner's page.
_STRIP, _LONG_STRIP = 24, 96
#: What a list can be sorted by: name → the order that comes first.
SORTS = {
    "weight": "weight DESC, length(settled) DESC, settled DESC, uid",
    "score": "length(settled) DESC, settled DESC, uid",
    "accepted": "CAST(accepted AS REAL) / max(1, windows) DESC, accepted DESC, uid",
    "refused": "refused DESC, uid",
    "seen": "seen DESC, uid",
    "uid": "uid, address",
    "hotkey": "address",
}
#: Those of a miner's work.
_OF_WORK = {"weight", "score", "accepted", "refused"}
_LIKE = str.maketrans({"%": r"\%", "_": r"\_", "\\": r"\\"})


def view_miners(reader: PageReader, query: Query) -> MinersDocument:
    """All who were ever members, sorted, searched, by pages."""
    sort = query.get("sort", "weight")
    sort = sort if sort in SORTS else "weight"
    search = query.get("q")
    where, values = _search(reader, search)
    selection = f"miners WHERE {where}"
    roles = find_roles(reader)
    order = SORTS[sort]
    if sort in _OF_WORK:  # those that are not there to mine come last
        order = f"committed = 0 AND address IN ({_quote(roles)}), {order}"
    paging, rows = ask_page(reader, query, selection, order, _MINERS, *values)
    paging["kept"] |= {name: value for name, value in (("q", search), ("sort", sort)) if value}
    newest = reader.ask_one(
        "SELECT epoch, total, first, last FROM settlements ORDER BY epoch DESC LIMIT 1"
    )
    known = reader.ask_one("SELECT min(window) AS first, max(window) AS last FROM windows")
    last = known["last"] or 0
    return MinersDocument(
        title="Miners",
        sort=sort,
        sorts=list(SORTS),
        search=search,
        epoch=None if newest is None else newest["epoch"],
        strip_windows=_STRIP,
        miners=[_describe(reader, row, newest, last, roles) for row in rows],
        paging=paging,
        **describe_audit(reader, known["first"], known["last"]),
    )


def _quote(addresses: Iterable[str]) -> str:
    """Hotkeys in SS58, which has no quotation mark, as a list of SQL."""
    return ", ".join(f"'{address}'" for address in addresses)


def _search(reader: PageReader, text: str) -> tuple[str, tuple[Any, ...]]:
    """Part of a hotkey, a uid, a reason, a role, or a name that the run has given."""
    if not text:
        return "1", ()
    named = [a for a, name in reader.sources.get_names().items() if text.lower() in name.lower()]
    named += [a for a, roles in find_roles(reader).items() if text.lower() in roles]
    marks = ", ".join("?" * len(named[:64]))
    pattern = f"%{text.translate(_LIKE)}%"
    uid = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else -1
    return (
        rf"(address LIKE ? ESCAPE '\' OR uid = ? OR reason LIKE ? ESCAPE '\' "
        rf"OR address IN ({marks}))",
        (pattern, uid, pattern, *named[:64]),
    )


def _describe(
    reader: PageReader, row: Any, newest: Any, last: int, roles: Mapping[str, Sequence[Role]]
) -> ListedMiner:
    current = newest is not None and row["settled_at"] == newest["epoch"]
    settled = int(row["settled"]) if current else 0
    strip = reader.ask(
        "SELECT window, reason FROM rows WHERE miner = ? AND window > ? ORDER BY window",
        row["id"],
        last - _STRIP,
    )
    return ListedMiner(
        **_describe_counts(reader, row, roles),
        settled=settled,
        share=divide(settled, int(newest["total"])) if newest is not None else None,
        weight=row["weight"] if current else 0,
        strip=make_strip((cell["window"], cell["reason"]) for cell in strip),
    )


def _describe_counts(
    reader: PageReader, row: Any, roles: Mapping[str, Sequence[Role]]
) -> MinerCounts:
    return MinerCounts(
        hotkey=row["address"],
        name=name_hotkey(reader, row["address"]),
        roles=[*roles.get(row["address"], ())],
        uid=row["uid"],
        windows=row["windows"],
        committed=row["committed"],
        accepted=row["accepted"],
        refused=row["refused"],
        score=row["score"],
        seen=row["seen"],
        reason=row["reason"],
        accepted_share=divide(row["accepted"], row["windows"], 4),
    )


def view_miner(reader: PageReader, query: Query, hotkey: str) -> MinerDocument:
    """One miner: its verdicts by window, its settlements. Raises NotFoundError: it was never a
    member."""
    row = reader.ask_one("SELECT * FROM miners WHERE address = ?", hotkey)
    if row is None:
        raise NotFoundError(explain_absence(reader, hotkey))
    selection = "rows WHERE miner = ?"
    paging, rows = ask_page(reader, query, selection, "window DESC", _ROWS, row["id"])
    strip = reader.ask(
        "SELECT window, reason FROM rows WHERE miner = ? ORDER BY window DESC LIMIT ?",
        row["id"],
        _LONG_STRIP,
    )
    reasons = reader.ask(
        "SELECT reason, count(*) AS n, max(window) AS newest FROM rows WHERE miner = ? "
        "GROUP BY reason ORDER BY n DESC",
        row["id"],
    )
    span = reader.ask_one(
        "SELECT min(window) AS first, max(window) AS last FROM rows WHERE miner = ?", row["id"]
    )
    counts = _describe_counts(reader, row, find_roles(reader))
    who = name_kind(counts["roles"], row["committed"])
    return MinerDocument(
        **counts,
        title=f"{who} {name_hotkey(reader, hotkey) or hotkey[:8] + '…'}",
        earnings=describe_earnings(reader, row),
        following=describe_following(reader, row) if who == "Miner" else None,
        strip=make_strip((cell["window"], cell["reason"]) for cell in strip[::-1]),
        curves=list_miner_curves(reader, row),
        reasons=[
            MinerReason(
                reason=r["reason"] or "no verdict",
                count=r["n"],
                word=get_mark(r["reason"]).word,
                newest=r["newest"],
                detail=_read_detail(reader, r["newest"], hotkey),
                **describe_reason(r["reason"]),
            )
            for r in reasons
        ],
        rows=[
            MinerWindow(
                window=r["window"],
                uid=r["uid"],
                groups=r["groups"],
                reason=r["reason"],
                score=r["score"],
                speed=measure_speed(reader, r),
            )
            for r in rows
        ],
        pay=describe_pay(reader, row),
        settlements=_list_settlements(reader, row["id"], hotkey),
        paging=paging,
        **describe_audit(reader, span["first"], span["last"]),
    )


def _read_detail(reader: PageReader, window: int, hotkey: str) -> str:
    file = reader.read_window(window)
    return "" if file is None else file.get_words(hotkey).get("detail", "")


def _list_settlements(reader: PageReader, miner: int, address: str) -> list[MinerSettlement]:
    rows = reader.ask(
        "SELECT s.epoch, s.uid, s.score, t.total, coalesce(w.weight, 0) AS weight, "
        "iif(c.epoch IS NULL, NULL, coalesce(p.emission, 0)) AS rao FROM scores s "
        "JOIN settlements t ON t.epoch = s.epoch JOIN miners m ON m.id = s.miner "
        "LEFT JOIN chain_epochs c ON c.epoch = s.epoch "
        "LEFT JOIN chain_pay p ON p.epoch = s.epoch AND p.hotkey = m.hotkey "
        "LEFT JOIN weights w ON w.epoch = s.epoch AND w.uid = s.uid "
        "WHERE s.miner = ? ORDER BY s.epoch DESC LIMIT 12",
        miner,
    )
    return [
        MinerSettlement(
            epoch=r["epoch"],
            uid=r["uid"],
            score=int(r["score"]),
            weight=r["weight"],
            share=divide(int(r["score"]), int(r["total"])),
            paid=read_paid_share(reader, r["epoch"], address),
            alpha=None if r["rao"] is None else r["rao"] / _ALPHA,
            why=list_settlement(read_share(reader, miner, r["epoch"]))[1:],
        )
        for r in rows
    ]
