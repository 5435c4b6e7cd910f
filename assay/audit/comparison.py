"""Compares several validators of one subnet: which of them judged, and which copied weights.

Weights change little from one settlement to the next. A validator that sets another's last weights
is therefore near everybody's, and earns as if it had judged. There are two signs. First, a witness
comes from a forward pass for one validator alone. A validator never judged a verdict without its
own witness, and of two records with the same witnesses one is a copy (only a model shows which).
Second, weights that follow settlements one behind, while another validator shows the newest, needed
no judging: they could be read on chain, whatever record is published afterwards.

The comparison does not know who set weights by hand, or by rules of its own. It says how far such
weights are from the others.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from assay.audit.auditor import audit
from assay.audit.differences import (
    ComparedSettlement,
    ComparedWindow,
    compare_settlements,
    compare_windows,
)
from assay.audit.findings import AuditReport
from assay.audit.ports import Public
from assay.network.chain.errors import ForgottenError
from assay.network.chain.ports import BlockReader
from assay.network.store.base import StoreError
from assay.session.window_reader import iterate_weight_blocks

Weights = Mapping[int, int]
#: Weights at most this far apart count as equal, because of rounding.
SAME = 1e-3
#: Weights this many times nearer to an older settlement than to the newest belong to the older one,
#: with or without noise.
_NEARER = 4
#: Bytes of a witness that two validators cannot share by chance.
_WITNESS_MIN = 8


@dataclass(frozen=True, slots=True)
class NearestWeights:
    """The settled weights that are nearest to those on chain."""

    distance: float  # see `compute_distance`
    epoch: int
    validator: bytes


@dataclass(frozen=True, slots=True)
class WeightsAtBlock:
    """One validator's weights on chain at one block."""

    block: int
    own_distance: float | None  # to the nearest of its own records; None if it has none by then
    other: NearestWeights | None  # the nearest of others' records
    nearest: NearestWeights  # of all records
    fresh: float  # distance to the nearest of the newest settlement that any validator shows
    behind: int  # settlements between `nearest` and the newest one

    @property
    def is_stale(self) -> bool:
        """Return whether the weights are of an older settlement while others show the newest."""
        return self.behind > 0 and _NEARER * self.nearest.distance < self.fresh


@dataclass(slots=True)
class ComparedValidator:
    """The figures that distinguish a validator that judges from one that copies."""

    hotkey: bytes
    report: AuditReport | None  # None: it publishes no known record
    observed: list[WeightsAtBlock] = field(default_factory=list)
    fault: str | None = None  # why its record could not be read

    @property
    def witnessed(self) -> int:
        """The number of verdicts whose witness is of this validator's own forward pass."""
        return 0 if self.report is None else sum(f.witnessed for f in self.report.windows)

    @property
    def unwitnessed(self) -> int:
        """The number of verdicts whose witness is missing, or is not of its own forward pass."""
        return 0 if self.report is None else sum(f.unwitnessed for f in self.report.windows)

    @property
    def stale(self) -> list[WeightsAtBlock]:
        """The blocks at which its weights are of an older settlement than others show."""
        return [one for one in self.observed if one.is_stale]

    @property
    def lags(self) -> bool:
        """Return whether it lags at more than half of the blocks: one block may be missed."""
        return 2 * len(self.stale) > len(self.observed)

    @property
    def has_stopped(self) -> bool:
        """Return whether it lags with the weights of one settlement only: it no longer sets any."""
        return self.lags and len({one.nearest.epoch for one in self.stale}) == 1

    @property
    def suspicion(self) -> str | None:
        """The reason why the validator seems to copy, or None."""
        every = self.witnessed + self.unwitnessed
        if 2 * self.unwitnessed > every:
            return (
                f"{self.unwitnessed} of {every} verdicts have no witness of its own forward pass: "
                "it did not judge them"
            )
        if self.lags and not self.has_stopped and not self.witnessed:
            return (
                f"at {len(self.stale)} of {len(self.observed)} epochs its weights are of an "
                "earlier settlement than others show: it copies them, or is late each time"
            )
        return None


@dataclass(frozen=True, slots=True)
class ValidatorComparison:
    """Compared validators, in order of hotkey."""

    validators: tuple[ComparedValidator, ...]
    windows: range
    has_model: bool
    #: two hotkeys → groups whose witness both records have, byte for byte
    shared: Mapping[tuple[bytes, bytes], int]
    forgotten: int  # settlements whose weights the nodes that were asked have forgotten
    judged: tuple[ComparedWindow, ...]
    settled: tuple[ComparedSettlement, ...]

    @property
    def has_copier(self) -> bool:
        """Return whether one of these validators copies, even if it is not known which."""
        return bool(self.shared) or any(validator.suspicion for validator in self.validators)


def compare(publics: Mapping[bytes, Public | None], windows: range) -> ValidatorComparison:
    """Compare validators over windows.

    Args:
        publics: validator's hotkey → the inputs of an audit, with this one's records; None: it
            publishes none.

    Raises:
        ValueError: nobody publishes a readable record.
        ChainError, WorkerError: the comparison could not be done.
    """
    known = {hotkey: public for hotkey, public in publics.items() if public is not None}
    if not known:
        raise ValueError("none of these validators publishes a record")
    compared = {hotkey: ComparedValidator(hotkey, None) for hotkey in sorted(publics)}
    settled: dict[tuple[bytes, int], Weights] = {}
    for hotkey, public in known.items():
        try:
            report = compared[hotkey].report = audit(public, hotkey, windows)
        except StoreError as error:
            compared[hotkey].fault = str(error)
            continue
        for epoch, record in report.settlement_records.items():
            settled[hotkey, epoch] = {weight.uid: weight.weight for weight in record.weights}
    reports = {h: each.report for h, each in compared.items() if each.report is not None}
    if not reports:
        faults = "; ".join(each.fault for each in compared.values() if each.fault is not None)
        raise ValueError(f"none of these records can be read: {faults}")
    chain = next(iter(known.values())).chain
    weights, forgotten = _read_weights(chain, sorted({epoch for _, epoch in settled}))
    for block, rows in sorted(weights.items()):
        by_then = {place: w for place, w in settled.items() if place[1] < block and w}
        newest = _find_newest(rows, by_then)
        for hotkey, validator in compared.items():
            observed = (
                _look(block, hotkey, rows[hotkey], by_then, newest) if rows.get(hotkey) else None
            )
            if observed is not None:
                validator.observed.append(observed)
    has_model = next(iter(known.values())).models is not None
    shared = _count_shared(reports)
    return ValidatorComparison(
        tuple(compared.values()),
        windows,
        has_model,
        shared,
        forgotten,
        compare_windows({hotkey: report.window_records for hotkey, report in reports.items()}),
        compare_settlements({h: report.settlement_records for h, report in reports.items()}),
    )


def compute_distance(one: Weights, other: Weights) -> float:
    """The share of all weight that would have to move from some uids to others, 0 to 1."""
    total, total_other = sum(one.values()), sum(other.values())
    if not total or not total_other:
        return float(bool(total) != bool(total_other))
    uids = one.keys() | other.keys()
    moved = sum(abs(one.get(u, 0) * total_other - other.get(u, 0) * total) for u in uids)
    return moved / (2 * total * total_other)


def _count_shared(reports: Mapping[bytes, AuditReport]) -> Counter[tuple[bytes, bytes]]:
    holders: dict[tuple[int, bytes, bytes], list[bytes]] = {}
    for hotkey, report in sorted(reports.items()):
        for window, record in report.window_records.items():
            for row in record.members:
                if len(row.witness) >= _WITNESS_MIN:
                    holders.setdefault((window, row.hotkey, row.witness), []).append(hotkey)
    return Counter(pair for owners in holders.values() for pair in combinations(owners, 2))


def _read_weights(
    chain: BlockReader, epochs: Sequence[int]
) -> tuple[dict[int, Mapping[bytes, Weights]], int]:
    """Weights at the first block after each settlement at which they can be in force, by block, and
    the number of settlements whose weights are forgotten."""
    read: dict[int, Mapping[bytes, Weights]] = {}
    forgotten = 0
    for epoch in epochs:
        try:
            block = next(iterate_weight_blocks(chain, epoch), None)
            if block is not None and block not in read:
                read[block] = chain.get_weights(block)
        except ForgottenError:
            forgotten += 1
    return read, forgotten


def _find_newest(
    rows: Mapping[bytes, Weights], settled: Mapping[tuple[bytes, int], Weights]
) -> int:
    """The newest settlement whose weights some validator shows as in its own record, or 0. A chain
    may reveal weights an epoch late, for all alike. One validator is enough: nobody can show a
    settlement before it judged its windows."""
    epochs = (e for (h, e), w in settled.items() if compute_distance(rows.get(h, {}), w) <= SAME)
    return max(epochs, default=0)


def _look(
    block: int,
    hotkey: bytes,
    row: Weights,
    settled: Mapping[tuple[bytes, int], Weights],
    newest: int,
) -> WeightsAtBlock | None:
    """Compare a validator's weights at a block. None: no settlement's weights are known by then."""
    distances = [NearestWeights(compute_distance(row, w), e, h) for (h, e), w in settled.items()]
    if not distances:
        return None

    def find_nearest(places: Iterable[NearestWeights]) -> NearestWeights | None:
        return min(places, key=lambda n: (n.distance, -n.epoch, n.validator), default=None)

    own_nearest = find_nearest(n for n in distances if n.validator == hotkey)
    nearest = find_nearest(distances) or distances[0]
    return WeightsAtBlock(
        block,
        None if own_nearest is None else own_nearest.distance,
        find_nearest(n for n in distances if n.validator != hotkey),
        nearest,
        min((n.distance for n in distances if n.epoch == newest), default=0.0),
        len({epoch for _, epoch in settled if nearest.epoch < epoch <= newest}),
    )
