"""Facts from a folder alone: what a demo, or a validator, has left. No network is asked."""

import json
from pathlib import Path
from typing import Any

from assay.artifacts.parquet import ParquetWorker
from assay.audit.explain.material import ExplainError, Material, find_model, open_model
from assay.audit.explain.published_words import Records, find_words
from assay.audit.explain.rerun import judge_again
from assay.audit.explain.window_facts import Facts, Paid, Settled, Statement
from assay.inference import UnusableCheckpointError
from assay.network import open_file, open_folder
from assay.protocol import (
    Context,
    EncodingError,
    Phase,
    Reason,
    context_from_json,
    decode_ss58,
    encode_ss58,
    find_context_fault,
)
from assay.protocol.commitment import make_object_name
from assay.protocol.encoding import read_json
from assay.protocol.record import Outcome
from assay.protocol.window import compute_block

#: Largest context, and largest JSON of a run, that is read, bytes.
_BYTES_MAX = 64 << 20


def has_contexts(folder: Path) -> bool:
    """Whether the folder is of a run that keeps contexts: a demo's or a validator's."""
    return (folder / "contexts").is_dir()


def parse_hotkey(text: str, folder: Path | None = None) -> bytes:
    """A hotkey in SS58, or a miner's name in a demo's folder.

    Raises:
        ExplainError: it is neither.
    """
    names = _read_names(folder) if folder is not None else {}
    try:
        return names[text] if text in names else decode_ss58(text)
    except ValueError as error:
        known = f"; the run has {', '.join(names)}" if names else ""
        raise ExplainError(f"--hotkey {text!r} is no hotkey: {error}{known}") from None


def gather_from_folder(
    folder: Path,
    hotkey: bytes,
    window: int,
    model: Path | None,
    validator: bytes | None,
    worker: ParquetWorker,
) -> tuple[Facts, Material]:
    """All that the folder holds of a hotkey's window.

    Args:
        model: a checkpoint's folder other than the run's own.
        validator: whose record; None: all that are there.

    Raises:
        ExplainError: the folder has no such window.
        StoreError, WorkerError: it cannot be read.
    """
    context_file = folder / "contexts" / f"window-{window}.json"
    context = _read_context(context_file)
    name = make_object_name(encode_ss58(hotkey), window)
    path = folder / "store" / name
    source = open_file(path) if path.is_file() else None
    place = find_model(model, folder / "models", context)
    notes = []
    try:
        outline, checkpoint, lacks = open_model(place, context)
    except UnusableCheckpointError as error:
        outline = checkpoint = None
        lacks = (f"the window is void for everybody, its checkpoint is unusable: {error}",)
    found = judge_again(context, hotkey, source, worker, outline, checkpoint)
    records = _open_records(folder, context, validator)
    said = [s for r in records if (s := r.read_statement(hotkey, window)) is not None]
    if not said:
        said = _read_verdicts(folder, hotkey, window)
        if said:
            notes.append("the validator has not published its record of this window yet")
    settled = _find_settled(folder, records, hotkey, window)
    facts = Facts(
        hotkey=hotkey,
        context=context,
        said=tuple(said),
        found=found,
        settled=settled,
        settles_at=None if settled is None else settled.epoch,
        paid=None if settled is None else _find_paid(folder, hotkey, settled.epoch, context),
        notes=(*notes, *lacks),
    )
    return facts, Material(source, path if source is not None else None, context_file, place)


def _read_context(file: Path) -> Context:
    if not file.is_file():
        there = sorted(int(path.stem.rpartition("-")[2]) for path in _list_contexts(file.parent))
        held = f"it has windows {there[0]} to {there[-1]}" if there else "it has none"
        raise ExplainError(f"{file.parent.parent} has no {file.stem.replace('-', ' ')}: {held}")
    try:
        context = context_from_json(read_json(_read_limited(file)))
    except EncodingError as error:
        raise ExplainError(f"{file} is not a window's context: {error}") from None
    fault = find_context_fault(context)
    if fault is not None:
        raise ExplainError(f"{file}: {fault}")
    if context.audit is None:
        timing, window = context.parameters.timing, context.window
        raise ExplainError(
            f"window {window} is still open until block "
            f"{compute_block(timing, window, Phase.VERDICT_END)}: {file} has no audit beacon yet"
        )
    return context


def _list_contexts(folder: Path) -> list[Path]:
    return [p for p in folder.glob("window-*.json") if p.stem.rpartition("-")[2].isdecimal()]


def _read_limited(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_BYTES_MAX)


def _read_document(file: Path) -> dict[str, Any]:
    """A run's JSON for people; nothing where there is none that can be read."""
    try:
        document = json.loads(_read_limited(file))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _read_names(folder: Path) -> dict[str, bytes]:
    """A demo's miners: name → hotkey."""
    try:
        return {
            str(verdict["name"]): decode_ss58(verdict["hotkey"])
            for window in _read_document(folder / "summary.json")["windows"]
            for verdict in window["verdicts"]
        }
    except (ValueError, LookupError, TypeError, AttributeError):  # there is none, or it is damaged
        return {}


def _open_records(folder: Path, context: Context, validator: bytes | None) -> list[Records]:
    root = folder / "record"
    if not root.is_dir():
        return []
    objects = open_folder(root)
    authors = []
    for place in sorted(path for path in root.iterdir() if path.is_dir()):
        try:
            authors.append(decode_ss58(place.name))
        except ValueError:
            continue
    return [
        Records(objects, author, context.parameters)
        for author in authors
        if validator in (None, author)
    ]


def _read_verdicts(folder: Path, hotkey: bytes, window: int) -> list[Statement]:
    """A validator's own notes, before its record is out."""
    document = _read_document(folder / "verdicts" / f"window-{window}.json")
    address = encode_ss58(hotkey)
    for verdict in document.get("verdicts", []):
        if verdict.get("hotkey") == address and verdict.get("reason") in set(Reason):
            reason = Reason(verdict["reason"])
            outcome = Outcome.VOID if document.get("void") else None
            words = find_words(json.dumps(document).encode(), hotkey, reason)
            values = tuple(int(group["value"]) for group in verdict.get("groups", []))
            score = int(verdict.get("score", 0))
            who = "the validator of this folder"
            return [Statement(who, outcome, reason, values=values, score=score, **words)]
    return []


def _find_settled(
    folder: Path, records: list[Records], hotkey: bytes, window: int
) -> Settled | None:
    for published in records:
        author = folder / "record" / encode_ss58(published.validator)
        for path in sorted(author.glob("settlement-*.record")):
            epoch = path.stem.rpartition("-")[2]
            record = published.read_settlement(int(epoch)) if epoch.isdecimal() else None
            if record is not None and window in [covered.window for covered in record.windows]:
                return published.read_settled(hotkey, record.epoch)
    return None


def _find_paid(folder: Path, hotkey: bytes, epoch: int, context: Context) -> Paid | None:
    """What a demo read back from its chain."""
    summary = _read_document(folder / "summary.json")
    names = {key: name for name, key in _read_names(folder).items()}
    member = context.members.get(hotkey)
    for settlement in summary.get("settlements", []):
        if settlement.get("epoch_block") == epoch and settlement.get("paid_at") is not None:
            incentive = settlement.get("incentives", {}).get(names.get(hotkey))
            if incentive is not None and member is not None:
                return Paid(int(settlement["paid_at"]), member.uid, None, int(incentive))
    return None
