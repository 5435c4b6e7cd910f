"""Gathers facts from the network: chain, beacon, records, stores, and the miner's own folder."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from assay.artifacts.mining_history import HistoryError, MiningHistory
from assay.artifacts.records.reader import list_validators
from assay.audit.explain.published_verdicts import PublishedVerdicts, open_published
from assay.audit.explain.rejudging import find_model, judge_again
from assay.audit.explain.reproduction import ExplainError, Material
from assay.audit.explain.settled_share import Paid, SettlementShare
from assay.audit.explain.window_case import StatedVerdict, WindowCase
from assay.audit.ports import Outlines
from assay.inference.placement import Placement
from assay.network.chain.errors import ForgottenError
from assay.network.chain.ports import BlockReader, SubnetReader
from assay.network.store.base import ObjectStore, StoreError
from assay.network.store.opening import ReadableStores
from assay.protocol.commitment import Tag, make_object_name, parse_commitment
from assay.protocol.context import Context, find_context_fault
from assay.protocol.parameters import Parameters
from assay.protocol.reason import Reason
from assay.protocol.record import make_record_context
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import Phase, compute_block
from assay.session.payments import find_payment
from assay.session.session import Session
from assay.session.window_reader import find_settlement, get_challenge, get_context

#: Most validators whose records are read, unless one is named.
_VALIDATORS_MAX = 16


@dataclass(frozen=True, slots=True)
class WindowQuery:
    """The window to explain, and further places to look."""

    hotkey: bytes
    window: int
    folder: Path  # the miner's own: history and checkpoints
    model: Path | None  # a checkpoint's folder
    validator: bytes | None  # whose record; None: all that name one on chain
    #: the store with the record; None: the one that the validator names on chain
    records: ObjectStore | None
    placement: Placement | None = None  # where and how the checkpoint runs


def gather_from_network(
    session: Session, outlines: Outlines, asked: WindowQuery
) -> tuple[WindowCase, Material]:
    """Everything that can be found on a hotkey's window.

    Args:
        outlines: checkpoints without their tensors, for callers without a model.

    Raises:
        ExplainError: the window is still open, or too long ago.
        UnknownParametersError: the window's parameters cannot be read here.
        ChainError, BeaconError, StoreError, WorkerError: it cannot be looked up.
    """
    chain, stores = session.chain, session.stores
    head, hotkey, window = chain.get_head(), asked.hotkey, asked.window
    parameters = session.history.get(window)
    _require_audited(parameters, window, head)
    notes: list[str] = []
    records = _find_records(session, asked, notes)
    context = _get_context(session, records, window, notes)
    material = _find_material(stores, asked, context, notes)
    where = (material.model, outlines, asked.placement)
    rejudgment, lacks = judge_again(context, hotkey, material.source, *where)
    own_verdict = _read_history(chain, asked, context, notes)
    reason = None if rejudgment.verdict is None else rejudgment.verdict.reason
    notes += _look_at_chain(chain, context, hotkey, reason)
    owned = _find_owned(chain, context, hotkey) if reason is Reason.NOT_REGISTERED else ()
    statements = [(r, s) for r in records if (s := r.get_verdict(hotkey, window)) is not None]
    settles_at = None
    with suppress(ForgottenError):
        settles_at = find_settlement(chain, parameters, window)
    settled = None
    if statements and settles_at is not None:
        settled = statements[0][0].get_share(hotkey, settles_at)
    has_permit = None
    if statements:
        rows, validator = chain.get_metagraph(head), statements[0][0].reader.validator
        has_permit = any(row.permit for row in rows if row.hotkey == validator)
    facts = WindowCase(
        hotkey=hotkey,
        context=context,
        statements=tuple(statement for _, statement in statements),
        rejudgment=rejudgment,
        own_verdict=own_verdict,
        settled=settled,
        settles_at=settles_at,
        head=head,
        paid=_find_paid(chain, parameters, hotkey, settled),
        has_permit=has_permit,
        owned=owned,
        notes=(*notes, *lacks),
    )
    return facts, material


def _require_audited(parameters: Parameters, window: int, head: int) -> None:
    timing = parameters.timing
    audit = compute_block(timing, window, Phase.AUDIT)
    if head < audit:
        begins = compute_block(timing, window, Phase.CHALLENGE)
        end = compute_block(timing, window, Phase.VERDICT_END)
        state = "has not begun" if head < begins else f"is still open until block {end}"
        raise ExplainError(
            f"window {window} {state}: its audit is drawn at block {audit}, its verdicts are final "
            f"at block {end}, and the chain is at block {head}"
        )


def _get_context(
    session: Session, records: Sequence[PublishedVerdicts], window: int, notes: list[str]
) -> Context:
    """The context from state, or from a validator's record if no node has the state any more."""
    chain, beacons, parameters = session.chain, session.beacons, session.history.get(window)
    try:
        challenge = get_challenge(chain, beacons, parameters, window)
        context = None
        if challenge is not None:
            context = get_context(chain, beacons, parameters, challenge)
    except ForgottenError as error:
        for published in records:
            record = published.reader.get_window(window)
            if record is None or record.parameters != parameters.digest:
                continue
            recorded = make_record_context(record, parameters)
            if (
                recorded is not None
                and recorded.audit is not None
                and find_context_fault(recorded) is None
            ):
                notes.append(
                    f"the nodes have forgotten window {window}: who took part and what was "
                    f"committed is {published.who}'s word"
                )
                return recorded
        raise ExplainError(
            f"window {window} is too long ago: {error}; it needs an archive endpoint (archives "
            "under [chain]), or a validator's record of that window (--validator, --records)"
        ) from error
    if context is None:
        raise ExplainError(
            f"the beacon that draws the audit of window {window} is not out yet: ask again later"
        )
    return context


def _find_records(
    session: Session, asked: WindowQuery, notes: list[str]
) -> list[PublishedVerdicts]:
    """The record of the named validator, else of all that name one on chain, by stake."""
    chain, history, window = session.chain, session.history, asked.window
    if asked.records is not None:
        names = [asked.validator] if asked.validator is not None else None
        names = names or list_validators(asked.records)[:_VALIDATORS_MAX]
        return [open_published(asked.records, name, history, window) for name in names]
    head = chain.get_head()
    slots = chain.get_commitments(head)
    stakes = {row.hotkey: row.stake for row in chain.get_metagraph(head)}
    verdicts = []
    for hotkey in sorted(slots, key=lambda h: (-stakes.get(h, 0), h)):
        commitment = parse_commitment(slots[hotkey])
        if commitment is None or commitment.tag is not Tag.RECORD:
            continue
        if asked.validator not in (None, hotkey):
            continue
        try:
            store = session.stores.open(commitment.locator)
        except StoreError as error:
            notes.append(f"the record of validator {encode_ss58(hotkey)} is not read: {error}")
            continue
        verdicts.append(open_published(store, hotkey, history, window))
    if asked.validator is not None and not verdicts:
        notes.append(
            f"validator {encode_ss58(asked.validator)} names no record on chain that can be read "
            "here: --records says where it lies"
        )
    return verdicts[:_VALIDATORS_MAX]


def _find_material(
    stores: ReadableStores, asked: WindowQuery, context: Context, notes: list[str]
) -> Material:
    model = find_model(asked.model, asked.folder / "models", context)
    committed = context.commitments.get(asked.hotkey)
    name = make_object_name(encode_ss58(asked.hotkey), asked.window)
    if committed is not None:
        try:
            store = stores.open(committed.locator)
            if store.open(name).size() is not None:
                return Material(store.open(name), store.get_path(name), None, model)
            notes.append(f"{name} is not in the store now, under {committed.locator!r}")
        except StoreError as error:
            notes.append(f"the miner's file is not read: {error}")
    return Material(None, None, None, model)


def _read_history(
    chain: BlockReader, asked: WindowQuery, context: Context, notes: list[str]
) -> StatedVerdict | None:
    """The miner's own notes of the window."""
    file = asked.folder / "history.sqlite"
    if not file.is_file():
        return None
    try:
        with MiningHistory(file, chain.genesis_hash, chain.netuid, asked.hotkey) as history:
            mined = history.get_mined(asked.window)
            verdicts = history.get_verdicts(asked.window)
    except HistoryError:  # of another hotkey, or network
        return None
    committed_at = compute_block(context.parameters.timing, asked.window, Phase.COMMIT)
    for window in mined:
        if window.sent_at is None:
            notes.append(
                "according to the miner's own history it sent no commitment in this window"
            )
        else:
            notes.append(
                f"according to the miner's own history the commitment was sent at block "
                f"{window.sent_at}; the slot's content at block {committed_at} counted"
            )
        if window.note:
            notes.append(f"the miner noted: {window.note}")
    if not mined:
        notes.append("the miner's own history has nothing of this window: it did not run")
    for verdict in verdicts:
        return StatedVerdict(
            "the miner's own judge",
            None,
            verdict.reason,
            verdict.detail,
            verdict.group,
            verdict.rollout,
            verdict.token,
            score=verdict.score,
            statistics=verdict.statistics if any(verdict.statistics.values()) else {},
        )
    return None


def _look_at_chain(
    chain: BlockReader, context: Context, hotkey: bytes, reason: Reason | None
) -> list[str]:
    """The facts in state about a hotkey that took no part."""
    timing, window = context.parameters.timing, context.window
    first = compute_block(timing, window, Phase.CHALLENGE)
    last = compute_block(timing, window, Phase.COMMIT)
    try:
        if reason is Reason.NOT_REGISTERED:
            return [_describe_seat(chain, hotkey, number) for number in (first, last)]
        if reason is Reason.NO_COMMITMENT:
            audit = compute_block(timing, window, Phase.AUDIT)
            return [_describe_slot(chain, hotkey, number, window) for number in (last, audit)]
    except ForgottenError:
        return []
    return []


def _describe_seat(chain: BlockReader, hotkey: bytes, number: int) -> str:
    member = chain.get_members(number).get(hotkey)
    if member is None:
        return f"at block {number} the hotkey held no uid"
    return f"at block {number} it held uid {member.uid}, registered at block {member.registered_at}"


def _find_owned(chain: SubnetReader, context: Context, address: bytes) -> tuple[bytes, ...]:
    """A coldkey's hotkeys at the window's first block, or now if that is pruned."""
    first = compute_block(context.parameters.timing, context.window, Phase.CHALLENGE)
    try:
        rows = chain.get_metagraph(first)
    except ForgottenError:
        rows = chain.get_metagraph(chain.get_head())
    if any(row.hotkey == address for row in rows):
        return ()
    return tuple(row.hotkey for row in rows if row.coldkey == address)


def _describe_slot(chain: BlockReader, hotkey: bytes, number: int, window: int) -> str:
    payload = chain.get_commitments(number).get(hotkey)
    if payload is None:
        return f"at block {number} its slot of commitments was empty"
    commitment = parse_commitment(payload)
    if commitment is None:
        return f"at block {number} its slot held something that is not a commitment of Assay's"
    if commitment.tag is not Tag.MINER:
        return f"at block {number} its slot held a {commitment.tag.name.lower()}'s commitment"
    late = ": too late" if commitment.number == window else ""
    return f"at block {number} its slot held the commitment to window {commitment.number}{late}"


def _find_paid(
    chain: SubnetReader, parameters: Parameters, hotkey: bytes, settled: SettlementShare | None
) -> Paid | None:
    payment = None
    if settled is not None:
        with suppress(ForgottenError):
            payment = find_payment(chain, parameters, hotkey, settled.epoch)
    if payment is None:
        return None
    weights = len(payment.weights)
    return Paid(payment.block, payment.uid, weights, payment.incentive, payment.emission)
