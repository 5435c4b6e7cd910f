"""A validator that has lost its database finds where its records end, and goes on from there.

Nobody's word is taken but the chain's: the hotkey's own slot names the digest of a settlement that
it announced, and that binds all records before it. Newer ones count where their links lead to it.
"""

from assay.artifacts.ports import Objects
from assay.neurons.validator.make_records import Ends
from assay.protocol import Commitment, SettlementRecord, Tag, decode_settlement_record
from assay.protocol.encoding import EncodingError, read_json
from assay.protocol.record import NOTHING, make_latest_name, make_settlement_record_name

#: Settlements that are followed back. Bytes of the store's hint at the newest.
_STEPS_MAX, _LATEST_BYTES = 4_096, 1 << 12


def find_ends(
    objects: Objects, address: str, announced: Commitment | None, limit: int
) -> Ends | str | None:
    """Where a validator's published records end.

    Args:
        objects: its own store.
        announced: what its slot on chain holds.
        limit: bytes of a record at most.

    Returns:
        None where it has published nothing; a sentence where it has, and the chain does not show
        that what the store holds is what it was.

    Raises:
        StoreError: the store cannot be read.
    """
    hint = _read_hint(objects, address)
    if announced is None or announced.tag is not Tag.RECORD:
        if hint is None:
            return None
        return "the store holds earlier ones, and the hotkey's slot on chain announces none"
    newest = _read(objects, address, max(announced.number, hint or 0), limit)
    linked = _follow(objects, address, newest, announced.number, limit)
    windows = [covered.record for record in linked for covered in record.windows[-1:]]
    is_first = bool(linked) and linked[-1].previous == NOTHING
    bound = {(record.epoch, record.digest) for record in linked}
    if newest is None or (announced.number, announced.digest) not in bound:
        return (
            f"the store does not hold the record of epoch {announced.number} that the hotkey has "
            "announced on chain, or its newest ones do not lead to it"
        )
    if not windows and not is_first:
        return "the store does not hold what its newest ones lead to"
    return Ends(windows[0] if windows else NOTHING, newest.digest, newest.epoch)


def _follow(
    objects: Objects, address: str, newest: SettlementRecord | None, last: int, limit: int
) -> list[SettlementRecord]:
    """From the newest back along the links, to an epoch and to a settlement that has windows."""
    linked: list[SettlementRecord] = []
    record, has_windows = newest, False
    while record is not None and len(linked) < _STEPS_MAX:
        linked.append(record)
        has_windows = has_windows or bool(record.windows)
        if (record.epoch <= last and has_windows) or record.previous == NOTHING:
            break
        before = _read(objects, address, record.previous_epoch, limit)
        record = before if before is not None and before.digest == record.previous else None
    return linked


def _read(objects: Objects, address: str, epoch: int, limit: int) -> SettlementRecord | None:
    data = objects.get(make_settlement_record_name(address, epoch), limit)
    try:
        record = None if data is None else decode_settlement_record(data)
    except EncodingError:
        return None
    return record if record is not None and record.epoch == epoch else None


def _read_hint(objects: Objects, address: str) -> int | None:
    """Epoch of the newest that the store says it holds."""
    data = objects.get(make_latest_name(address), _LATEST_BYTES)
    try:
        epoch = None if data is None else int(read_json(data)["epoch"])
    except (EncodingError, ArithmeticError, KeyError, TypeError, ValueError):
        return None
    return epoch if epoch is not None and 0 <= epoch < 2**64 else None
