"""Blocks and all state there ever was, in one SQLite file: a block is one transaction.

A process that is killed leaves the last whole block. State is kept as changes, so that every block
of the past can be read; nothing is ever forgotten. A header's two roots are hashes of all state and
of all extrinsics, but not of Merkle tries: nobody asks a development network for proofs.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from subtensor_devnet.errors import DevnetError
from subtensor_devnet.scale import encode_bytes, hash_blake2
from subtensor_devnet.scale_codec import ScaleCodec

_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocks (
    number INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, header TEXT NOT NULL,
    extrinsics TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS keys (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS state (
    key INTEGER NOT NULL, block INTEGER NOT NULL, value BLOB, PRIMARY KEY (key, block)
) WITHOUT ROWID;
"""
#: Most keys whose row numbers are kept in memory.
_IDS_MAX = 1 << 16
_AT = "(SELECT value FROM state WHERE key = k.id AND block <= ? ORDER BY block DESC LIMIT 1)"


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """A block's header and its hash; hashes and roots have 32 bytes. Its digest is empty."""

    number: int
    hash: bytes
    parent_hash: bytes
    state_root: bytes
    extrinsics_root: bytes

    @classmethod
    def make(
        cls,
        codec: ScaleCodec,
        number: int,
        parent_hash: bytes,
        state_root: bytes,
        extrinsics_root: bytes,
    ) -> "BlockHeader":
        """The header of a new block."""
        header = cls(number, b"", parent_hash, state_root, extrinsics_root)
        return replace(header, hash=codec.hash_header(header.to_json()))

    def to_json(self) -> dict[str, Any]:
        """The header as nodes serve it."""
        return {
            "parentHash": "0x" + self.parent_hash.hex(),
            "number": hex(self.number),
            "stateRoot": "0x" + self.state_root.hex(),
            "extrinsicsRoot": "0x" + self.extrinsics_root.hex(),
            "digest": {"logs": []},
        }

    @classmethod
    def from_json(cls, block_hash: bytes, value: Mapping[str, Any]) -> "BlockHeader":
        """The header of a `to_json` document, whose hash is known."""
        return cls(
            int(value["number"], 16),
            block_hash,
            _read_hex(value["parentHash"]),
            _read_hex(value["stateRoot"]),
            _read_hex(value["extrinsicsRoot"]),
        )


def compute_state_root(parent_root: bytes, changes: Mapping[bytes, bytes | None]) -> bytes:
    """The root that binds all state: of the parent's root and the changes since."""
    pieces = [parent_root]
    for key, value in sorted(changes.items()):
        pieces.append(encode_bytes(key))
        pieces.append(b"\x00" if value is None else b"\x01" + encode_bytes(value))
    return hash_blake2(b"".join(pieces))


def compute_extrinsics_root(extrinsics: Sequence[bytes]) -> bytes:
    """The root that binds a block's extrinsics and their order, without their signatures."""
    return hash_blake2(b"".join(encode_bytes(extrinsic) for extrinsic in extrinsics))


def _read_hex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A block and all in it but its state; extrinsics with their length before them, as they
    travel."""

    header: BlockHeader
    extrinsics: tuple[bytes, ...]


class BlockDatabase:
    """One development network's file, made if it is missing. Used by one thread at a time;
    `DevnetError`: another process holds it, or it cannot be used."""

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self.connection = sqlite3.connect(file, timeout=0, check_same_thread=False)
            # the lock is held until the file is closed: two networks of one file would fork
            self.connection.executescript(
                "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; "
                f"PRAGMA synchronous = NORMAL; {_SCHEMA}"
            )
            with self.connection:
                self.connection.execute("INSERT OR REPLACE INTO settings VALUES ('format', '1')")
        except (OSError, sqlite3.Error) as error:
            held = isinstance(error, sqlite3.OperationalError)  # not so a file of something else
            raise DevnetError(
                f"cannot open the development network in {file}: {error}; "
                f"{'stop the other one in this folder, or ' if held else ''}use another folder"
            ) from error
        self.ids: dict[bytes, int] = {}

    def close(self) -> None:
        """Closes the file."""
        self.connection.close()

    def _find(self, question: str, *values: int | str | bytes) -> tuple[Any, ...] | None:
        """The first row of an answer."""
        row: tuple[Any, ...] | None = self.connection.execute(question, values).fetchone()
        return row

    def get_setting(self, name: str) -> str | None:
        """The value that is stored under a name."""
        row = self._find("SELECT value FROM settings WHERE name = ?", name)
        return None if row is None else str(row[0])

    def put_setting(self, name: str, value: str) -> None:
        """Stores a value of the network itself under a name."""
        with self.connection:
            self.connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    def add_block(self, block: StoredBlock, changes: Mapping[bytes, bytes | None]) -> None:
        """Keeps a block and what it changed, or nothing of either; `DevnetError`: disk or file do
        not take it."""
        header = block.header
        extrinsics = json.dumps([extrinsic.hex() for extrinsic in block.extrinsics])
        try:
            with self.connection:
                self.connection.execute(
                    "INSERT INTO blocks VALUES (?, ?, ?, ?)",
                    (header.number, header.hash, json.dumps(header.to_json()), extrinsics),
                )
                self._write_changes(header.number, changes)
        except sqlite3.Error as error:
            self.ids.clear()  # some may have been undone
            raise DevnetError(f"cannot write the next block to {self._file}: {error}") from error

    def amend(self, number: int, changes: Mapping[bytes, bytes | None]) -> None:
        """Changes the state of the newest block, as only a development network can."""
        with self.connection:
            self._write_changes(number, changes)

    def get_newest(self) -> int | None:
        """Number of the newest block, None before the first."""
        row = self._find("SELECT number FROM blocks ORDER BY number DESC")
        return None if row is None else int(row[0])

    def get_block(self, number: int) -> StoredBlock | None:
        """A block by its number."""
        return self._read_block("number = ?", number)

    def find_block(self, block_hash: bytes) -> StoredBlock | None:
        """A block by its hash."""
        return self._read_block("hash = ?", block_hash)

    def get_hash(self, number: int) -> bytes | None:
        """A block's hash by its number."""
        row = self._find("SELECT hash FROM blocks WHERE number = ?", number)
        return None if row is None else bytes(row[0])

    def _read_block(self, condition: str, value: int | bytes) -> StoredBlock | None:
        row = self._find(f"SELECT hash, header, extrinsics FROM blocks WHERE {condition}", value)
        if row is None:
            return None
        extrinsics = tuple(bytes.fromhex(text) for text in json.loads(row[2]))
        return StoredBlock(BlockHeader.from_json(bytes(row[0]), json.loads(row[1])), extrinsics)

    def load_newest_state(self) -> dict[bytes, bytes]:
        """The newest block's state: key → value."""
        rows = self.connection.execute(
            "SELECT k.key, s.value, MAX(s.block) FROM state s JOIN keys k ON k.id = s.key "
            "GROUP BY s.key"
        )
        return {bytes(key): bytes(value) for key, value, _ in rows if value is not None}

    def read_state(self, key: bytes, number: int) -> bytes | None:
        """The value under a key at a block."""
        row = self._find(f"SELECT {_AT} FROM keys k WHERE k.key = ?", number, key)
        return None if row is None or row[0] is None else bytes(row[0])

    def list_keys(self, prefix: bytes, after: bytes, count: int, number: int) -> list[bytes]:
        """Keys at a block that begin so and come after a key, in order."""
        end = _get_end(prefix)
        rows = self.connection.execute(
            f"SELECT k.key FROM keys k WHERE k.key >= ? AND k.key > ? AND (? IS NULL OR k.key < ?) "
            f"AND {_AT} IS NOT NULL ORDER BY k.key LIMIT ?",
            (prefix, after, end, end, number, count),
        )
        return [bytes(row[0]) for row in rows]

    def _write_changes(self, number: int, changes: Mapping[bytes, bytes | None]) -> None:
        rows = [(self._get_id(key), number, value) for key, value in changes.items()]
        self.connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?, ?)", rows)

    def _get_id(self, key: bytes) -> int:
        number = self.ids.get(key)
        if number is None:
            self.connection.execute("INSERT OR IGNORE INTO keys (key) VALUES (?)", (key,))
            row = self._find("SELECT id FROM keys WHERE key = ?", key)
            assert row is not None
            if len(self.ids) >= _IDS_MAX:
                self.ids.clear()
            number = self.ids[key] = row[0]
        return number


def _get_end(prefix: bytes) -> bytes | None:
    """The first byte string after all that begin with `prefix`; None: there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else None
