"""Gathers facts from a folder alone: that of a demo or a validator. No network is used."""

import json
from pathlib import Path

from assay.artifacts.records.reader import (
    RecordFault,
    RecordReader,
    follow_links,
    list_validators,
    parse_statistics,
)
from assay.artifacts.records.run_folder import RunFolder
from assay.audit.explain.published_verdicts import PublishedVerdicts, find_words
from assay.audit.explain.rejudging import find_model, judge_again
from assay.audit.explain.reproduction import ExplainError, Material
from assay.audit.explain.settled_share import Paid, SettlementShare
from assay.audit.explain.window_case import StatedVerdict, WindowCase
from assay.inference.placement import Placement
from assay.network.store.folder import open_file
from assay.protocol.commitment import make_object_name
from assay.protocol.context import Context, find_context_fault
from assay.protocol.encoding import EncodingError
from assay.protocol.reason import Reason
from assay.protocol.record import Outcome
from assay.protocol.ss58 import decode_ss58, encode_ss58
from assay.protocol.window import Phase, compute_block


def find_hotkey(text: str, folder: Path | None = None) -> bytes:
    """A hotkey in SS58, or a miner's name in a demo's folder. Raises an ExplainError if it is
    neither."""
    run = None if folder is None else RunFolder(folder)
    names = {} if run is None else {name: key for key, name in run.get_names().items()}
    try:
        return decode_ss58(names.get(text, text))
    except ValueError as error:
        known = f"; the run has {', '.join(names)}" if names else ""
        raise ExplainError(f"--hotkey: {error}{known}") from None


def gather_from_folder(
    folder: Path,
    hotkey: bytes,
    window: int,
    model: Path | None,
    validator: bytes | None,
    placement: Placement | None = None,
) -> tuple[WindowCase, Material]:
    """Everything that the folder has on a hotkey's window.

    Args:
        model: a checkpoint's folder other than the run's own.
        validator: whose record; None: all records in the folder.
        placement: where and how the checkpoint runs.

    Raises:
        ExplainError: the folder has no such window.
        StoreError, WorkerError: it cannot be read or judged.
    """
    run = RunFolder(folder)
    context = _read_context(run, window)
    name = make_object_name(encode_ss58(hotkey), window)
    path = folder / "store" / name
    source = open_file(path) if path.is_file() else None
    place = find_model(model, folder / "models", context)
    notes = []
    rejudgment, lacks = judge_again(context, hotkey, source, place, placement=placement)
    store = run.open_record()
    authors = [] if store is None else list_validators(store)
    records = [
        PublishedVerdicts(RecordReader(store, author), context.parameters.work)
        for author in authors
        if store is not None and validator in (None, author)
    ]
    statements = [s for r in records if (s := r.get_verdict(hotkey, window)) is not None]
    if not statements:
        statements = _read_verdicts(run, hotkey, context)
        if statements:
            notes.append("the validator has not published its record of this window yet")
    settled = _find_settled(records, hotkey, window)
    facts = WindowCase(
        hotkey=hotkey,
        context=context,
        statements=tuple(statements),
        rejudgment=rejudgment,
        settled=settled,
        settles_at=None if settled is None else settled.epoch,
        paid=None if settled is None else _find_paid(run, hotkey, settled.epoch, context),
        notes=(*notes, *lacks),
    )
    return facts, Material(
        source, path if source is not None else None, run.get_context_path(window), place
    )


def _read_context(run: RunFolder, window: int) -> Context:
    file = run.get_context_path(window)
    if not file.is_file():
        numbers = run.list_windows()
        held = f"it has windows {numbers[0]} to {numbers[-1]}" if numbers else "it has none"
        raise ExplainError(f"{run.root} has no {file.stem.replace('-', ' ')}: {held}")
    try:
        context = run.read_context(window)
    except EncodingError as error:
        raise ExplainError(f"{file} is not a window's context: {error}") from None
    fault = find_context_fault(context)
    if fault is not None:
        raise ExplainError(f"{file}: {fault}")
    if context.audit is None:
        raise ExplainError(
            f"window {window} is still open until block "
            f"{compute_block(context.parameters.timing, window, Phase.VERDICT_END)}: {file} has no "
            "audit beacon yet"
        )
    return context


def _read_verdicts(run: RunFolder, hotkey: bytes, context: Context) -> list[StatedVerdict]:
    """A validator's own notes, before its record is out."""
    document = run.read_verdicts(context.window)
    address = encode_ss58(hotkey)
    for verdict in document.get("verdicts", []):
        if verdict.get("hotkey") == address and verdict.get("reason") in set(Reason):
            reason = Reason(verdict["reason"])
            outcome = Outcome.VOID if document.get("void") else None
            verdicts = parse_statistics(json.dumps(document), context.parameters.work)
            words = find_words(verdicts, hotkey, reason)
            values = tuple(int(group["value"]) for group in verdict.get("groups", []))
            score = int(verdict.get("score", 0))
            who = "the validator of this folder"
            return [StatedVerdict(who, outcome, reason, values=values, score=score, **words)]
    return []


def _find_settled(
    records: list[PublishedVerdicts], hotkey: bytes, window: int
) -> SettlementShare | None:
    for published in records:
        latest = published.reader.read_latest()
        if isinstance(latest, RecordFault):
            continue
        for record in follow_links(published.reader.get_settlement, latest.epoch):
            if window in [covered.window for covered in record.windows]:
                return published.get_share(hotkey, record.epoch)
    return None


def _find_paid(run: RunFolder, hotkey: bytes, epoch: int, context: Context) -> Paid | None:
    """The pay that a demo read back from its chain."""
    payment, member = run.get_payment(epoch, encode_ss58(hotkey)), context.members.get(hotkey)
    if payment is None or member is None:
        return None
    block, incentive = payment
    return Paid(block, member.uid, None, incentive)
