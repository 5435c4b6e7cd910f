"""A validator that has lost its database finds where its records end, and goes on from there.

Nobody's word is taken but the chain's: the hotkey's own slot names the digest of a settlement that
it announced, and that binds all records before it. Newer ones count where their links lead to it.
"""

from assay.artifacts.records.record_reader import RecordFault, RecordReader, follow_links
from assay.neurons.validator.make_records import Ends
from assay.protocol import Commitment, SettlementRecord, Tag
from assay.protocol.record import NOTHING


def find_ends(reader: RecordReader, announced: Commitment | None) -> Ends | str | None:
    """Where a validator's published records end.

    Args:
        reader: of its own store.
        announced: what its slot on chain holds.

    Returns:
        None where it has published nothing; a sentence where it has, and the chain does not show
        that what the store holds is what it was.

    Raises:
        StoreError: the store cannot be read.
    """
    latest = reader.read_latest()
    hint = None if isinstance(latest, RecordFault) else latest.epoch
    if announced is None or announced.tag is not Tag.RECORD:
        if hint is None:
            return None
        return "the store holds earlier ones, and the hotkey's slot on chain announces none"
    newest = reader.get_settlement(max(announced.number, hint or 0))
    linked = _follow(reader, newest, announced.number)
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
    reader: RecordReader, newest: SettlementRecord | None, last: int
) -> list[SettlementRecord]:
    """From the newest back along the links, to an epoch and to a settlement that has windows."""
    linked: list[SettlementRecord] = []
    has_windows = False
    for record in follow_links(reader.get_settlement, 0 if newest is None else newest.epoch):
        if linked and record.digest != linked[-1].previous:
            break
        linked.append(record)
        has_windows = has_windows or bool(record.windows)
        if (record.epoch <= last and has_windows) or record.previous == NOTHING:
            break
    return linked
