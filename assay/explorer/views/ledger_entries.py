"""The ledger on the EVM: each settlement's entry beside its record.

An entry is read from the contract's events. The expected entry follows from the record alone. The
page marks a validator's own report of its posts as such. Of a settlement without a published record
the page shows only its progress: its digests stay secret until its weights are open.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from assay.explorer.documents.settlements import (
    DifferingField,
    EntryFields,
    EvmReading,
    LedgerDocument,
    LedgerEntryRow,
    PostProgress,
)
from assay.explorer.page_reader import PageReader
from assay.explorer.ports import EntryEvent, EntryStatus, LedgerReading
from assay.explorer.views.common import Query, describe_trouble, make_paging
from assay.protocol.record import NOTHING
from assay.protocol.score_tree import keccak256

_ROWS = 25
#: Newest settlements that are compared with the ledger.
_SETTLEMENTS = 4_096
#: An entry's fields in the contract's order, with what pages call them.
FIELDS = {
    "score_root": "root of scores",
    "record_digest": "record",
    "checkpoint": "checkpoint",
    "audit_round": "audit round",
    "weights_digest": "weights",
}


def view_ledger(reader: PageReader, query: Query) -> LedgerDocument:
    """Every settlement, its expected entry on the ledger, and its actual entry."""
    settled, posts, ledger = _read_all(reader)
    posted = {} if ledger is None else ledger.posted
    epochs = _list_epochs(settled, posts, ledger)
    states = [_find_state(epoch, settled.get(epoch), posted.get(epoch), ledger) for epoch in epochs]
    paging = make_paging(query, len(epochs), _ROWS)
    return LedgerDocument(
        title="Ledger",
        contract=reader.sources.contract,
        link=reader.sources.ledger_link,
        netuid=reader.subject.identity.netuid,
        validator=reader.subject.validator.hex(),
        evm=None
        if ledger is None
        else EvmReading(
            node=ledger.node,
            head=ledger.head,
            first=ledger.first,
            trouble=describe_trouble(ledger.trouble),
            since_ms=ledger.since_ms,
        ),
        posting=reader.sources.list_posts() is not None,
        counts={state: states.count(state) for state in dict.fromkeys(states)},
        entries=[
            _describe(epoch, settled.get(epoch), posts.get(epoch), posted.get(epoch), ledger)
            for epoch in epochs[paging["offset"] : paging["offset"] + paging["size"]]
        ],
        paging=paging,
        command=_find_command(reader, settled),
    )


_Rows = Mapping[int, Any]


def _read_all(reader: PageReader) -> tuple[_Rows, Mapping[int, EntryStatus], LedgerReading | None]:
    """The newest settlements, the validator's report of its posts, and the entries: by epoch."""
    settled = {
        row["epoch"]: row
        for row in reader.ask(
            "SELECT epoch, digest, first, last, score_root, checkpoint, audit_round, "
            "weights_digest, sound FROM settlements ORDER BY epoch DESC LIMIT ?",
            _SETTLEMENTS,
        )
    }
    posts = {post.epoch: post for post in reader.sources.list_posts() or ()}
    return settled, posts, reader.sources.read_ledger(min(settled, default=0))


def _list_epochs(
    settled: _Rows, posts: Mapping[int, EntryStatus], ledger: LedgerReading | None
) -> list[int]:
    """The epochs of the page's rows, the newest first."""
    return sorted({*settled, *posts, *({} if ledger is None else ledger.posted)}, reverse=True)


def find_entry_page(reader: PageReader, epoch: int) -> int:
    """The number of the page that lists a settlement's entry; 1 where none does."""
    epochs = _list_epochs(*_read_all(reader))
    return epochs.index(epoch) // _ROWS + 1 if epoch in epochs else 1


def find_transactions(reader: PageReader) -> dict[int, str]:
    """Settlement → hash of the transaction that posts its entry, hex, as far as one is known."""
    _, posts, ledger = _read_all(reader)
    reported = {epoch: post.transaction for epoch, post in posts.items() if post.transaction}
    return reported | (
        {} if ledger is None else {e: p.transaction for e, p in ledger.posted.items()}
    )


def find_entries(reader: PageReader, digits: str) -> Iterator[int]:
    """Settlements whose expected entry has a digest that begins with hex digits."""
    for epoch, row in _read_all(reader)[0].items():
        entry = _make_entry(row)
        if entry is not None and compute_entry_digest(entry).startswith(digits):
            yield epoch


def compute_entry_digest(entry: EntryFields) -> str:
    """The digest of an entry that the contract stores: keccak256 of its ABI encoding, hex."""
    words = [
        value.to_bytes(32, "big") if isinstance(value, int) else bytes.fromhex(value)
        for value in _list_values(entry).values()
    ]
    return keccak256(b"".join(words)).hex()


def _list_values(entry: EntryFields) -> dict[str, str | int]:
    """Name → value, in the contract's order."""
    values: Mapping[str, Any] = entry
    return {name: values[name] for name in FIELDS}


def _make_entry(row: Any) -> EntryFields | None:
    if bytes(row["score_root"]) == NOTHING:
        return None
    return EntryFields(
        score_root=row["score_root"].hex(),
        record_digest=row["digest"].hex(),
        checkpoint=row["checkpoint"].hex(),
        audit_round=int(row["audit_round"]),
        weights_digest=row["weights_digest"].hex(),
    )


def _describe(
    epoch: int,
    row: Any,
    post: EntryStatus | None,
    event: EntryEvent | None,
    ledger: LedgerReading | None,
) -> LedgerEntryRow:
    recorded = None if row is None else _make_entry(row)
    posted = None if event is None else event.entry
    if event is None and post is not None and row is not None:
        posted = post.entry  # the validator's own report: the record is published, so no secret
    source, head = event or post, None if ledger is None else ledger.head
    on_top = None if event is None or head is None else head - event.block
    return LedgerEntryRow(
        epoch=epoch,
        state=_find_state(epoch, row, event, ledger),
        recorded=recorded,
        digest=None if recorded is None else compute_entry_digest(recorded),
        sound=None if row is None else bool(row["sound"]),
        posted=posted,
        differing=_list_differing(posted, recorded),
        transaction=None if source is None else source.transaction,
        block=None if source is None else source.block,
        on_top=None if on_top is None else max(0, on_top),
        deep=None if on_top is None or ledger is None else on_top >= ledger.confirmations,
        said=None
        if post is None
        else PostProgress(state=post.state, trouble=describe_trouble(post.trouble)),
    )


def _list_differing(
    posted: EntryFields | None, recorded: EntryFields | None
) -> list[DifferingField]:
    if posted is None or recorded is None:
        return []
    pairs = zip(_list_values(posted).items(), _list_values(recorded).values(), strict=True)
    return [
        DifferingField(name=FIELDS[name], posted=theirs, recorded=ours)
        for (name, theirs), ours in pairs
        if theirs != ours
    ]


def _find_state(
    epoch: int, row: Any, event: EntryEvent | None, ledger: LedgerReading | None
) -> str:
    """The ledger's entry compared with the record: one word.

    equal, different, missing; unrecorded: an entry without a record that is known here; waiting:
    neither a record nor an entry; none: no score and no entry; unread: the ledger is not read, or
    not so far back.
    """
    if event is not None:
        if row is None:
            return "unrecorded"
        recorded = _make_entry(row)
        same = recorded is not None and not _list_differing(event.entry, recorded)
        return "equal" if same else "different"
    if row is None:
        return "waiting"
    if ledger is None or ledger.first is None or ledger.first > epoch:
        return "unread"
    return "none" if _make_entry(row) is None else "missing"


def _find_command(reader: PageReader, settled: Mapping[int, Any]) -> str | None:
    """For the newest settlement that has something to compare."""
    for epoch, known in settled.items():
        if known["first"] is None or bytes(known["score_root"]) == NOTHING:
            continue
        miner = reader.ask_one(
            "SELECT m.address FROM scores s JOIN miners m ON m.id = s.miner WHERE s.epoch = ? "
            "ORDER BY length(s.score) DESC, s.score DESC LIMIT 1",
            epoch,
        )
        return reader.sources.commands.compare(
            epoch, known["first"], known["last"], None if miner is None else miner["address"]
        )
    return None
