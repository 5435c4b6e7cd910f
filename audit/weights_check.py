"""A settlement's weights, as the chain has shown them."""

from collections.abc import Callable, Mapping

from assay.audit.findings import Check, Findings
from assay.audit.ports import PublicChain
from assay.network.chain import ForgottenError
from assay.neurons.session.window_reader import iterate_looks
from assay.protocol.record import NOTHING, SettlementRecord

#: Settlements back whose weights may still stand, where newer ones did not reach the chain.
_BACK_MAX = 64
_ARCHIVE = "the nodes asked have forgotten block {}'s state: it needs an archive endpoint"

Read = Callable[[int], SettlementRecord | None]


def pair_weights(record: SettlementRecord) -> list[tuple[int, int]]:
    """(uid, weight) of a record, ascending."""
    return [(weight.uid, weight.weight) for weight in record.weights]


def find_weight(right: Mapping[int, int], other: Mapping[int, int]) -> str | None:
    """The first uid whose weight differs, as the start of a sentence."""
    for uid in sorted(right.keys() | other.keys()):
        if right.get(uid, 0) != other.get(uid, 0):
            return f"uid {uid} should weigh {right.get(uid, 0)} and weighs {other.get(uid, 0)}"
    return None


def check_shown_weights(
    chain: PublicChain, record: SettlementRecord, read: Read, found: Findings
) -> None:
    """The chain must have shown these weights, and at the next epoch nothing but weights of the
    validator's own record: an epoch that counts no window is no leave to weigh as one likes.

    Args:
        read: the validator's settlement of an epoch block; None where none is published.

    Raises:
        ChainError: the chain cannot be read.
    """
    try:
        rows = _read_rows(chain, record)
        if not rows:
            found.miss(
                Check.CHAIN, f"no block after epoch {record.epoch} could show its weights yet"
            )
            return
        _compare(chain, record, rows, read, found)
    except ForgottenError:
        found.miss(Check.CHAIN, "weights of that time: " + _ARCHIVE.format(record.epoch))


def _read_rows(chain: PublicChain, record: SettlementRecord) -> dict[int, dict[int, int]]:
    """Block → what the chain shows there, up to the first that shows the record's weights."""
    rows = {}
    for number in iterate_looks(chain, record.epoch):
        rows[number] = dict(chain.get_weights(number).get(record.validator, {}))
        if rows[number] == dict(pair_weights(record)) or not record.weights:
            break
    return rows


def _compare(
    chain: PublicChain,
    record: SettlementRecord,
    rows: Mapping[int, dict[int, int]],
    read: Read,
    found: Findings,
) -> None:
    said = dict(pair_weights(record))
    first, latest = min(rows), max(rows)
    if said and rows[latest] != said:
        difference = find_weight(said, rows[first])
        never = f"up to block {latest} it never shows the record's weights"
        if all(row and _is_explained(chain, record, b, row, read) for b, row in rows.items()):
            # a later settlement's take the place of what could not be sent in time
            found.miss(Check.CHAIN, f"{difference} on chain: {never}, but other settlements' of it")
        else:
            found.differ(Check.CHAIN, f"{difference} on chain: {never}")
        return
    found.look(Check.CHAIN)
    row = rows[first]
    if row and not _is_explained(chain, record, first, row, read):
        uid, weight = max(row.items(), key=lambda item: item[1])
        found.differ(
            Check.CHAIN,
            f"at block {first} the chain shows weights that no settlement of the record has: uid "
            f"{uid} weighs {weight}",
        )


def _is_explained(
    chain: PublicChain, record: SettlementRecord, number: int, row: dict[int, int], read: Read
) -> bool:
    """Whether a row at a block is of the record, or of another settlement before that block, or
    stood there before the first."""
    later = (read(n) for n in range(record.epoch + 1, number) if chain.is_epoch(n))
    if any(other is not None and dict(pair_weights(other)) == row for other in later):
        return True
    before: SettlementRecord | None = record
    for _ in range(_BACK_MAX):
        if before is None:  # nothing is published there, so nothing is proven: said elsewhere
            return True
        if dict(pair_weights(before)) == row:
            return True
        if before.previous == NOTHING:
            return row == dict(chain.get_weights(before.epoch).get(record.validator, {}))
        before = read(before.previous_epoch) if before.previous_epoch < before.epoch else None
    return True
