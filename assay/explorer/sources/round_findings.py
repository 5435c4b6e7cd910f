"""Rounds of several trainers: the findings of their merge records, and of later re-derivations.

Stores hold merge records under the digest that a checkpoint's manifest names. `assay audit round
--follow` writes its findings into a folder, one line a round. Nothing raises: invalid records count
as missing.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assay.artifacts.ports import Objects
from assay.artifacts.records.run_folder import BROKEN
from assay.artifacts.store_objects import make_merge_name
from assay.explorer.page_reader import BoundedCache
from assay.explorer.ports import CheckpointOrigin, MergedRound, RepeatedStep, TrainerChild
from assay.protocol.encoding import from_json, read_json
from assay.protocol.errors import OperatorError
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.ss58 import decode_ss58, encode_ss58
from assay.rounds import MergeRecord

#: Findings of the newest rounds that are read: so many bytes of the file, and so many of them.
_BYTES, _ROUNDS = 4 << 20, 1_024
#: Bytes of a merge's record; records in memory.
_RECORD_BYTES, _CACHED = 1 << 22, 1_024
#: Children and repeated steps of a round, and characters of a sentence.
_ROWS, _TEXT = 1_024, 400
_DIGEST = re.compile("[0-9a-f]{64}")


class RoundFindings:
    """Rounds by their merges' records and an auditor's findings. Thread-safe."""

    def __init__(self, file: Path, stores: Sequence[Objects]) -> None:
        self._file, self._stores = file, stores
        self._records: BoundedCache[str, MergeRecord] = BoundedCache(_CACHED)

    def list_rounds(self, origins: Mapping[str, CheckpointOrigin]) -> list[MergedRound]:
        """The newest first, each checkpoint once.

        Args:
            origins: by the checkpoints' digests, hex.
        """
        rounds = {one.checkpoint: one for one in self._read_findings()}
        for checkpoint, origin in origins.items():
            record = None if origin.step is None else self._find_record(origin.step)
            if record is not None:
                rounds[checkpoint] = _join(checkpoint, record, rounds.get(checkpoint))
        return sorted(rounds.values(), key=lambda one: (-one.end, one.checkpoint))

    def _find_record(self, digest: str) -> MergeRecord | None:
        known = self._records.get(digest)
        for store in () if known is not None else self._stores:
            try:
                data = store.get(make_merge_name(bytes.fromhex(digest)), _RECORD_BYTES)
                known = from_json(MergeRecord, read_json(data or b""))
            except (OperatorError, ValueError):
                known = None
                continue
            if known.digest.hex() == digest:
                self._records.put(digest, known)
                break
            known = None
        return known

    def _read_findings(self) -> list[MergedRound]:
        try:
            with self._file.open("rb") as opened:
                size = opened.seek(0, 2)
                opened.seek(max(0, size - _BYTES))
                lines = opened.read(_BYTES).splitlines()[1 if size > _BYTES else 0 :]
        except OSError:
            return []
        rounds = []
        for line in lines[-_ROUNDS:]:
            try:
                rounds.append(_parse_finding(json.loads(line)))
            except (*BROKEN, RecursionError):
                continue
        return rounds


def _join(checkpoint: str, record: MergeRecord, audited: MergedRound | None) -> MergedRound:
    """A merge's own record with the findings of its audit, if there was one."""
    seen = {} if audited is None else {child.hotkey: child for child in audited.children}
    children = []
    for child in record.children:
        hotkey = encode_ss58(child.hotkey)
        known = seen.pop(hotkey, None)
        children.append(
            TrainerChild(
                hotkey,
                None if child.child == ZERO_DIGEST else child.child.hex(),
                child.finding.value,
                None if known is None else known.found,
                "" if known is None else known.detail,
            )
        )
    return MergedRound(
        record.end,
        checkpoint,
        record.parent.hex(),
        encode_ss58(record.measurer),
        (*children, *seen.values()),
        audited is not None,
        None if audited is None else audited.fault,
        () if audited is None else audited.repeated,
    )


def _parse_finding(document: Mapping[str, Any]) -> MergedRound:
    """Raises one of `BROKEN`: it is not a finding."""
    if not _DIGEST.fullmatch(document["checkpoint"]):
        raise ValueError("its checkpoint is not a digest")
    fault = document["fault"]
    return MergedRound(
        _parse_number(document["end"]),
        document["checkpoint"],
        None,
        None,
        tuple(
            TrainerChild(
                _parse_hotkey(row["hotkey"]),
                None,
                str(row["said"])[:_TEXT],
                str(row["found"])[:_TEXT],
                str(row["detail"])[:_TEXT],
            )
            for row in document["children"][:_ROWS]
        ),
        True,
        None if fault is None else str(fault)[:_TEXT],
        tuple(
            RepeatedStep(
                _parse_hotkey(row["hotkey"]),
                _parse_number(row["window"]),
                None if row["equal"] is None else bool(row["equal"]),
                str(row["detail"])[:_TEXT],
            )
            for row in document["steps"][:_ROWS]
        ),
    )


def _parse_number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError("it is not the number of a window")
    return value


def _parse_hotkey(text: Any) -> str:
    decode_ss58(text)
    return str(text)
