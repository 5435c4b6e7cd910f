"""The search box: every page that a text may mean."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from assay.explorer.documents.training import SearchDocument, SearchHit
from assay.explorer.index import DIGEST_BYTES, NUMBER_MAX
from assay.explorer.page_reader import PageReader
from assay.explorer.ports import CheckpointOrigin
from assay.explorer.views.common import Query, list_known_windows, name_hotkey
from assay.explorer.views.ledger_entries import find_entries, find_entry_page, find_transactions
from assay.explorer.views.merged_rounds import find_children
from assay.explorer.views.roles import find_roles, name_kind
from assay.protocol.ss58 import decode_ss58, encode_ss58

#: Longest question, characters: a beacon's signature in hex, and a word before it.
_TEXT_MAX = 224
#: Pages that are named; fewest characters of an address, and digits of a digest, to search by.
_HITS, _PART_MIN, _DIGITS_MIN = 24, 3, 6
_WORDS = {
    "window": "window",
    "uid": "uid",
    "block": "block",
    "settlement": "settlement",
    "epoch": "settlement",
    "checkpoint": "checkpoint",
    "hotkey": "address",
    "coldkey": "address",
    "miner": "address",
    "validator": "address",
    "tx": "digest",
    "transaction": "digest",
    "digest": "digest",
}
_PREFIXED = re.compile(rf"({'|'.join(_WORDS)})[\s:#№]*(?=[\s:#№\d])\s*(.+)", re.IGNORECASE)
_NUMBER = re.compile(r"[\d,_\u2009 ]{1,24}")
_HEX = re.compile(r"(0x)?([0-9a-f]+)(?:…[0-9a-f]*)?", re.IGNORECASE)
_CONTRACT = 40
#: Checkpoints whose manifests are read.
_MANIFESTS = 256
_STEP = "the step that made it"
_BASE58 = re.compile(r"[1-9A-HJ-NP-Za-km-z]{46,49}")


@dataclass(frozen=True, slots=True)
class _Hits:
    """Hits, and one sentence for each kind of thing that was not found."""

    hits: tuple[SearchHit, ...] = ()
    missing: tuple[str, ...] = ()


def _hit(kind: str, name: str, path: str, why: str) -> SearchHit:
    """A page that may be meant. kind: what it is about; why: how it matches the text."""
    return SearchHit(kind=kind, name=name, path=path, why=why)


def _miss(*sentences: str) -> _Hits:
    return _Hits(missing=sentences)


def _join(results: Iterable[_Hits]) -> _Hits:
    listed = list(results)
    return _Hits(
        tuple(hit for result in listed for hit in result.hits),
        tuple(sentence for result in listed for sentence in result.missing),
    )


def view_search(reader: PageReader, query: Query) -> SearchDocument:
    """Every page that a text may mean. `redirect` names the page if there is only one."""
    text = query.get("q", limit=_TEXT_MAX)
    result = _find(reader, text) if text else _Hits()
    hits = list({hit["path"]: hit for hit in reversed(result.hits)}.values())[::-1]
    return SearchDocument(
        title="Search",
        query=text,
        hits=hits[:_HITS],
        more=len(hits) > _HITS,
        missing=list(result.missing),
        redirect=hits[0]["path"] if len(hits) == 1 else None,
        command=None,
    )


def _find(reader: PageReader, text: str) -> _Hits:
    match = _PREFIXED.fullmatch(text)
    kind = None if match is None else _WORDS[match[1].lower()]
    value = text if match is None else match[2].strip()
    finders: list[Callable[[], _Hits]] = []
    if kind not in ("address", "digest") and _NUMBER.fullmatch(value):
        finders.append(lambda: _find_number(reader, kind, re.sub(r"\D", "", value)))
    digits = _HEX.fullmatch(value)
    if kind in (None, "digest", "checkpoint", "settlement") and digits is not None:
        whole = digits[1] is not None and len(digits[2]) == _CONTRACT
        if len(digits[2]) >= _DIGITS_MIN or kind == "digest":
            finders.append(lambda: _find_digest(reader, digits[2].lower(), whole))
    if kind in (None, "address", "uid"):
        finders.append(lambda: _find_text(reader, value))
    result = _join(find() for find in finders)
    return result if result.hits or result.missing else _miss("nothing here has that name")


# --- numbers


def _find_number(reader: PageReader, kind: str | None, digits: str) -> _Hits:
    if not digits or int(digits) >= NUMBER_MAX:
        return _miss(f"no window, block or uid has a number of {NUMBER_MAX:,} or more")
    number = int(digits)
    finders = {
        "settlement": _find_settlement,
        "window": _find_window,
        "block": _find_block,
        "uid": _find_uid,
        "checkpoint": _find_checkpoint,
    }
    chosen = [finders[kind]] if kind in finders else list(finders.values())[:4]
    return _join(find(reader, number) for find in chosen)


def _find_window(reader: PageReader, number: int) -> _Hits:
    row = reader.ask_one("SELECT outcome FROM windows WHERE window = ?", number)
    if row is None:
        return _miss(f"no window {number:,} in this record: {list_known_windows(reader)}")
    hit = _hit("window", f"Window {number:,}", f"/window/{number}", f"its number; {row['outcome']}")
    return _Hits((hit,))


def _find_settlement(reader: PageReader, number: int) -> _Hits:
    if reader.ask_one("SELECT 1 FROM settlements WHERE epoch = ?", number) is None:
        return _miss(f"no settlement at block {number:,}")
    name = f"Settlement at block {number:,}"
    return _Hits((_hit("settlement", name, f"/settlement/{number}", "its epoch block"),))


def _find_block(reader: PageReader, number: int) -> _Hits:
    """The window that the block is one of."""
    window = reader.subject.get_window(number)
    if reader.ask_one("SELECT 1 FROM windows WHERE window = ?", window) is None:
        live = reader.sources.read_live()
        ahead = live is not None and number > live.head
        why = "has not been made yet" if ahead else f"is of window {window:,}, not in this record"
        return _miss(f"block {number:,} {why}")
    hit = _hit(
        "block", f"Window {window:,}", f"/window/{window}", f"block {number:,} is one of its"
    )
    return _Hits((hit,))


def _find_uid(reader: PageReader, number: int) -> _Hits:
    rows = reader.ask(
        "SELECT address, seen FROM miners WHERE uid = ? ORDER BY seen DESC LIMIT ?", number, _HITS
    )
    hits = tuple(
        _make_miner(reader, row["address"], f"uid {number:,}, last seen in window {row['seen']:,}")
        for row in rows
    )
    neurons = reader.sources.read_neurons()
    holder = next((n for n in neurons.rows if n.uid == number), None) if neurons else None
    if hits:
        return _Hits(hits)
    if holder is not None and neurons is not None:
        address = encode_ss58(holder.hotkey)
        return _miss(
            f"uid {number:,} belongs to {address} at block {neurons.block:,}. That hotkey was not "
            "a member of any window in this record"
        )
    return _miss(f"no member of any window had uid {number:,}")


def _find_checkpoint(reader: PageReader, number: int) -> _Hits:
    training = reader.sources.read_training()
    steps = training.steps if training else ()
    if any(step.number == number for step in steps) or any(
        origin.number == number for _, origin in _list_origins(reader)
    ):
        why = "its number"
        return _Hits(
            (_hit("checkpoint", f"Checkpoint № {number:,}", "/training#checkpoints", why),)
        )
    return _miss(f"no checkpoint № {number:,} is known here")


# --- digests


def _find_digest(reader: PageReader, digits: str, is_contract: bool) -> _Hits:
    if is_contract and (reader.sources.contract or "").lower() == "0x" + digits:
        return _Hits((_hit("contract", "The ledger’s contract", "/ledger", "its address"),))
    hits = (
        *_find_in_windows(reader, digits),
        *_find_in_settlements(reader, digits),
        *_find_checkpoints(reader, digits),
        *_find_children(reader, digits),
        *_find_in_network(reader, digits),
        *_find_on_ledger(reader, digits),
        *_find_keys(reader, digits),
    )
    if hits:
        return _Hits(hits)
    named = reader.sources.contract is not None
    ledger = "" if named else "; transactions need an EVM node: --evm URL --contract 0x…"
    return _miss(
        f"nothing has a digest that begins with {digits[:16]}{'…' if len(digits) > 16 else ''}: "
        f"no record, root, block, beacon, commitment, checkpoint, worker update, key or "
        f"transaction{ledger}"
    )


def _span(digits: str, size: int) -> tuple[bytes, bytes]:
    """The least and the greatest bytes of a size that begin with hex digits."""
    digits = digits[: 2 * size]
    return bytes.fromhex(digits.ljust(2 * size, "0")), bytes.fromhex(digits.ljust(2 * size, "f"))


def _find_in_windows(reader: PageReader, digits: str) -> Iterator[SearchHit]:
    rows = reader.ask(
        "SELECT d.kind, d.window, m.address FROM digests d LEFT JOIN miners m ON m.id = d.miner "
        "WHERE d.digest BETWEEN ? AND ? ORDER BY d.window DESC LIMIT ?",
        *_span(digits, DIGEST_BYTES),
        _HITS,
    )
    for row in rows:
        if len(digits) > 2 * DIGEST_BYTES and not _is_in_window(reader, row["window"], digits):
            continue
        window, address = row["window"], row["address"]
        if address is None:
            yield _hit("digest", f"Window {window:,}", f"/window/{window}", f"its {row['kind']}")
        else:
            who = name_hotkey(reader, address) or address[:8] + "…"
            name = f"{who} in window {window:,}"
            yield _hit("digest", name, f"/window/{window}/{address}", "its commitment’s root")


def _is_in_window(reader: PageReader, window: int, digits: str) -> bool:
    """Whether the window's record has this digest. The index has only its first bytes."""
    file = reader.read_window(window)
    if file is None:
        return True
    record = file.record
    moments = [m for m in (record.challenge, record.audit, record.sample) if m is not None]
    digests = [
        record.digest,
        *(m.block_hash for m in moments),
        *(m.beacon.signature for m in moments),
    ]
    digests += [row.committed.root for row in record.members if row.committed is not None]
    return any(digest.hex().startswith(digits) for digest in digests)


_COLUMNS = {
    "digest": "its record",
    "score_root": "its root of scores",
    "weights_digest": "the digest of its weights",
}


def _find_in_settlements(reader: PageReader, digits: str) -> Iterator[SearchHit]:
    for column, why in _COLUMNS.items():
        rows = reader.ask(
            f"SELECT epoch FROM settlements WHERE {column} BETWEEN ? AND ? "
            f"AND {column} != zeroblob(32) ORDER BY epoch DESC LIMIT ?",
            *_span(digits, 32),
            _HITS,
        )
        for row in rows:
            epoch = row["epoch"]
            yield _hit("digest", f"Settlement at block {epoch:,}", f"/settlement/{epoch}", why)


def _find_checkpoints(reader: PageReader, digits: str) -> Iterator[SearchHit]:
    rows = reader.ask(
        "SELECT DISTINCT checkpoint FROM windows WHERE checkpoint BETWEEN ? AND ? "
        "AND checkpoint != zeroblob(32) LIMIT ?",
        *_span(digits, 32),
        _HITS,
    )
    known = {row["checkpoint"].hex(): "in force" for row in rows}
    training = reader.sources.read_training()
    for step in training.steps if training else ():
        for digest, why in ((step.child, "made by the trainer"), (step.record, _STEP)):
            if digest.startswith(digits):
                known.setdefault(step.child, why)
    for digest, origin in _list_origins(reader):
        if (origin.step or "").startswith(digits):
            known.setdefault(digest, _STEP)
    for digest, why in known.items():
        yield _hit("checkpoint", f"Checkpoint {digest[:8]}…", f"/training#{digest[:16]}", why)


def _find_children(reader: PageReader, digits: str) -> Iterator[SearchHit]:
    for one, path in find_children(reader, digits):
        yield _hit("round", f"Round of window {one.end:,}", path, "a worker update of its trainers")


def _list_origins(reader: PageReader) -> Iterator[tuple[str, CheckpointOrigin]]:
    """Checkpoints that were in force, digests in hex, with what their manifests say."""
    rows = reader.ask("SELECT DISTINCT checkpoint FROM windows WHERE length(checkpoint) = 32")
    for row in rows[:_MANIFESTS]:
        origin = reader.sources.read_manifest(row["checkpoint"])
        if origin is not None:
            yield row["checkpoint"].hex(), origin


def _find_in_network(reader: PageReader, digits: str) -> Iterator[SearchHit]:
    subject = reader.subject
    for parameters in subject.history.all:
        if parameters.digest.hex().startswith(digits):
            yield _hit("digest", "Parameters", "/#network-h", "their digest")
    if subject.identity.genesis_hash.hex().startswith(digits):
        yield _hit("digest", "The chain’s first block", "/#network-h", "its hash")


def _find_on_ledger(reader: PageReader, digits: str) -> Iterator[SearchHit]:
    for epoch, transaction in find_transactions(reader).items():
        if transaction.lower().removeprefix("0x").startswith(digits):
            yield _make_entry(reader, epoch, "its transaction")
    for epoch in find_entries(reader, digits):
        yield _make_entry(reader, epoch, "its expected digest")


def _make_entry(reader: PageReader, epoch: int, why: str) -> SearchHit:
    page = find_entry_page(reader, epoch)
    path = f"/ledger?{urlencode({'page': page})}" if page > 1 else "/ledger"
    return _hit("transaction", f"Ledger entry {epoch:,}", f"{path}#entry-{epoch}", why)


def _find_keys(reader: PageReader, digits: str) -> Iterator[SearchHit]:
    if len(digits) > 64:
        return
    rows = reader.ask(
        "SELECT address FROM miners WHERE hotkey BETWEEN ? AND ? LIMIT ?", *_span(digits, 32), _HITS
    )
    for row in rows:
        yield _make_miner(reader, row["address"], "its hotkey’s public key")
    if reader.subject.validator.hex().startswith(digits):
        yield _hit("validator", "The validator of this record", "/#network-h", "its public key")


# --- addresses and names


def _make_miner(reader: PageReader, address: str, why: str) -> SearchHit:
    name = name_hotkey(reader, address)
    short = f"{address[:8]}…{address[-4:]}"
    row = reader.ask_one("SELECT committed FROM miners WHERE address = ?", address)
    kind = name_kind(find_roles(reader).get(address, ()), 0 if row is None else row["committed"])
    words = f"{kind} {short}" if name is None else f"{name} ({short})"
    return _hit("miner", words, f"/miner/{quote(address, safe='')}", why)


def _find_text(reader: PageReader, text: str) -> _Hits:
    try:
        return _find_account(reader, text, decode_ss58(text))
    except ValueError as error:
        wrong = str(error)
    hits = [*_find_names(reader, text), *_find_parts(reader, text)]
    if hits or _HEX.fullmatch(text) or _NUMBER.fullmatch(text):
        return _Hits(tuple(hits))
    if _BASE58.fullmatch(text):
        return _miss(wrong)
    return _miss(f"no hotkey or name here has {text!r} in it")


def _find_account(reader: PageReader, address: str, key: bytes) -> _Hits:
    if _is_member(reader, address):
        return _Hits((_make_miner(reader, address, "its hotkey"),))
    if key == reader.subject.validator:
        name = "The validator of this record"
        return _Hits((_hit("validator", name, "/#network-h", "its hotkey"),))
    neurons = reader.sources.read_neurons()
    if neurons is None:
        return _miss(
            "this address was not a member of any window in this record. To search for a coldkey, "
            "start the explorer with a chain (--netuid or --localnet)"
        )
    owned = [encode_ss58(n.hotkey) for n in neurons.rows if n.coldkey == key]
    hits = tuple(
        _make_miner(reader, one, "its hotkey’s coldkey")
        for one in owned[:_HITS]
        if _is_member(reader, one)
    )
    if hits:
        return _Hits(hits)
    at = f"at block {neurons.block:,}"
    if any(n.hotkey == key for n in neurons.rows):
        return _miss(f"this hotkey has a uid {at}, but was not a member of any window yet")
    if owned:
        named = ", ".join(owned[:4])
        return _miss(f"this coldkey’s hotkeys {at} ({named}) were not members of any window yet")
    return _miss(f"{at} no uid of the subnet has this address as its hotkey or its coldkey")


def _find_names(reader: PageReader, text: str) -> Iterable[SearchHit]:
    names = reader.sources.get_names()
    same = [address for address, name in names.items() if name.lower() == text.lower()]
    part = [
        address
        for address, name in names.items()
        if len(text) >= _PART_MIN and text.lower() in name.lower()
    ]
    for address in (same or part)[:_HITS]:
        if _is_member(reader, address):
            yield _make_miner(reader, address, "its name")


def _is_member(reader: PageReader, address: str) -> bool:
    return reader.ask_one("SELECT 1 FROM miners WHERE address = ?", address) is not None


def _find_parts(reader: PageReader, text: str) -> Iterable[SearchHit]:
    """Find a hotkey by its beginning, or by the shortened form that pages show."""
    start, _, end = text.partition("…")
    if len(start) < _PART_MIN or not (start + end).isalnum() or not text.isprintable():
        return
    rows = reader.ask(
        "SELECT address FROM miners WHERE address GLOB ? ORDER BY seen DESC LIMIT ?",
        f"{start}*{end}",
        _HITS + 1,
    )
    for row in rows:
        yield _make_miner(reader, row["address"], "its hotkey begins with this")
