"""Yuma consensus: what an epoch makes of stakes and weights.

One epoch of one subnet as subtensor computes it in spec 293, with what that spec gives a new
subnet: Yuma3 off, liquid alpha off. Weights above what validators with a share κ of the active
stake agree on are clipped; miners earn by the clipped weights, validators by the bonds they built
up on miners before others saw their worth.

Source: opentensor/subtensor, pallets/subtensor/src/epoch/run_epoch.rs, and Bittensor's paper on
Yuma consensus. Not here: Yuma3, liquid alpha, and how the two emissions are paid out (owner's cut,
root dividends, child hotkeys, nominators).

Shares are integers in units of 2^-32, cut off after every multiplication and division as the
runtime's I32F32 is: every machine computes the same bytes, and they are the runtime's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

#: One row of weights or bonds: uid → u16.
Row = Mapping[int, int]

_BITS = 32
_ONE = 1 << _BITS
_U16 = 65_535
_MILLION = 1_000_000
#: Shares, by uid of the one that gives them and then of the one that gets them.
_Matrix = list[dict[int, int]]


@dataclass(frozen=True, slots=True)
class YumaRules:
    """A subnet's settings that an epoch heeds; the defaults are a new subnet's."""

    tempo: int = 360  # blocks; bonds on uids registered within so many before the epoch are void
    #: blocks after its last weights at which a validator stops counting
    activity_cutoff: int = 5_000
    kappa: int = 32_767  # share of active stake that must agree on a weight, of 65,535
    #: part of the old bonds that an epoch keeps, millionths, at most all
    bonds_moving_average: int = 900_000
    #: how far bonds follow the clipped weights and not those set, of 65,535
    bonds_penalty: int = _U16
    max_validators: int = 64  # at most so many uids hold a permit after the epoch
    stake_threshold: int = 0  # rao; less stake counts as none


@dataclass(frozen=True, slots=True)
class EpochInputs:
    """A subnet's state at an epoch block, before the epoch. Sequences are by uid, of one length."""

    block: int  # the epoch's block
    emission: int  # rao of alpha for miners and validators together, the owner's cut already taken
    owner_uid: int | None  # alone may weigh itself; None where the owner's hotkey holds no uid
    stakes: Sequence[int]  # rao of alpha, plus TAO on the root network times its weight
    permits: Sequence[bool]  # who may set weights, as the epoch before left it
    last_update: Sequence[int]  # block of the last weights set, or of the registration
    registered_at: Sequence[int]  # blocks
    weights: Mapping[int, Row]  # rows as they stand on chain, by the uid that set them
    bonds: Mapping[int, Row]  # rows as the epoch before left them, by the uid that holds them
    rules: YumaRules = field(default_factory=YumaRules)

    def __post_init__(self) -> None:
        count = len(self.stakes)
        if {len(self.permits), len(self.last_update), len(self.registered_at)} != {count}:
            raise ValueError("stakes, permits, last_update and registered_at differ in length")
        for rows in (self.weights, self.bonds):
            for uid in {*rows, *(other for row in rows.values() for other in row)}:
                if not 0 <= uid < count:
                    raise ValueError(f"uid {uid} in weights or bonds, and there are {count} uids")
        if self.rules.bonds_moving_average > _MILLION:
            raise ValueError("bonds_moving_average is in millionths, at most 1,000,000")


@dataclass(frozen=True, slots=True)
class EpochResult:
    """The chain's values after an epoch. Tuples are by uid, shares of 65,535 rounded down."""

    active: tuple[bool, ...]  # has set weights within the activity cutoff
    stake_weight: tuple[int, ...]  # share of the subnet's stake
    consensus: tuple[int, ...]  # the weight that enough stake agrees on
    trust: tuple[int, ...]  # how much of the miner's weight was left after clipping
    incentive: tuple[int, ...]  # share of miners' pay; the chain stores it as Rank too
    dividends: tuple[int, ...]  # share of validators' pay
    validator_trust: tuple[int, ...]  # how much of the validator's weights was left after clipping
    emission: tuple[int, ...]  # rao, both kinds of pay together
    #: miner_emission, validator_emission: rao, what is then paid out. Without incentives anywhere
    #: validators share everything by stake.
    miner_emission: tuple[int, ...]
    validator_emission: tuple[int, ...]
    pruning_scores: tuple[int, ...]  # the lowest is evicted first; the largest is 65,535
    permits: tuple[bool, ...]  # who may set weights from now on
    #: rows by the uid that holds them, the largest on each miner 65,535
    bonds: dict[int, dict[int, int]]


def compute_epoch(inputs: EpochInputs) -> EpochResult:
    """One epoch."""
    rules = inputs.rules
    stake = _normalize([s if s >= rules.stake_threshold else 0 for s in inputs.stakes])
    active = tuple(last + rules.activity_cutoff >= inputs.block for last in inputs.last_update)
    voting = _normalize(
        [s if a and p else 0 for s, a, p in zip(stake, active, inputs.permits, strict=True)]
    )
    weights = _get_valid_weights(inputs)
    consensus = _compute_consensus(voting, weights, _divide(rules.kappa, _U16))
    clipped = [
        {to: min(weight, consensus[to]) for to, weight in row.items() if consensus[to]}
        for row in weights
    ]
    ranks = _sum_columns(_scale_rows(clipped, voting))
    ranks_unclipped = _sum_columns(_scale_rows(weights, voting))
    incentive = _normalize(ranks)
    bonds = _compute_bonds(inputs, voting, weights, clipped)
    dividends = _normalize(
        [sum(bond * incentive[to] >> _BITS for to, bond in row.items()) for row in bonds]
    )
    fallback = voting if any(voting) else stake
    pay = [i + d for i, d in zip(incentive, dividends, strict=True)]
    total = sum(pay)
    shares = _normalize(pay) if total else fallback
    permits = _choose_validators(stake, rules.max_validators)
    return EpochResult(
        active=active,
        stake_weight=_to_u16(stake),
        consensus=_to_u16(consensus),
        trust=_to_u16([_divide(*pair) for pair in zip(ranks, ranks_unclipped, strict=True)]),
        incentive=_to_u16(incentive),
        dividends=_to_u16(dividends),
        validator_trust=_to_u16([sum(row.values()) for row in clipped]),
        emission=_to_rao(shares, inputs.emission),
        miner_emission=_to_rao([_divide(i, total) for i in incentive], inputs.emission),
        validator_emission=_to_rao(
            [_divide(d, total) for d in dividends] if total else fallback, inputs.emission
        ),
        pruning_scores=_upscale_to_u16(shares),
        permits=permits,
        bonds=_store_bonds(inputs, permits, _upscale_columns(bonds)),
    )


def _get_valid_weights(inputs: EpochInputs) -> _Matrix:
    """Rows of permitted validators, without themselves and who came after, each with sum 1."""
    matrix: _Matrix = [{} for _ in inputs.stakes]
    for uid, row in inputs.weights.items():
        if inputs.permits[uid]:
            matrix[uid] = {
                to: weight
                for to, weight in row.items()
                if (to != uid or uid == inputs.owner_uid)
                and inputs.registered_at[to] < inputs.last_update[uid]
            }
    sums = [sum(row.values()) for row in matrix]
    return [
        {to: _divide(weight, total) for to, weight in row.items()}
        for row, total in zip(matrix, sums, strict=True)
    ]


def _compute_consensus(voting: Sequence[int], weights: _Matrix, kappa: int) -> list[int]:
    """For every uid the largest weight that a share `kappa` of the stake gives it or exceeds.

    It is the smallest weight given at which the stake of those who give no more passes 1 − kappa.
    """
    voters = [uid for uid, stake in enumerate(voting) if stake > 0]
    stakes = _normalize([voting[uid] for uid in voters])
    total = sum(stakes)
    columns: list[list[tuple[int, int]]] = [[] for _ in voting]
    for uid, stake in zip(voters, stakes, strict=True):
        for to, weight in weights[uid].items():
            columns[to].append((weight, stake))
    return [_compute_weighted_median(column, total, total - kappa) for column in columns]


def _compute_weighted_median(column: list[tuple[int, int]], total: int, minority: int) -> int:
    """The median of pairs of weight and stake; the stake missing from `total` gave no weight."""
    absent = total - sum(stake for _, stake in column)
    given = sorted([*column, (0, absent)] if absent else column)
    passed = 0
    for weight, stake in given:
        passed += stake
        if passed > minority:
            return weight
    return given[-1][0] if given else 0


def _compute_bonds(
    inputs: EpochInputs, voting: Sequence[int], weights: _Matrix, clipped: _Matrix
) -> _Matrix:
    """New bonds: the old ones' moving average with stake times weight; columns have sum 1."""
    rules = inputs.rules
    old: _Matrix = [{} for _ in voting]
    last_epoch = max(0, inputs.block - rules.tempo)
    for uid, bond_row in inputs.bonds.items():
        old[uid] = {
            to: bond for to, bond in bond_row.items() if inputs.registered_at[to] < last_epoch
        }
    old = _normalize_columns(old)
    wanted = _mix(weights, clipped, _divide(rules.bonds_penalty, _U16))
    bought = _normalize_columns(_scale_rows(wanted, voting))
    past = _divide(rules.bonds_moving_average, _MILLION)
    fresh = _ONE - past
    averaged: _Matrix = []
    for old_row, new_row in zip(old, bought, strict=True):
        row = {
            to: (fresh * new_row.get(to, 0) >> _BITS) + (past * old_row.get(to, 0) >> _BITS)
            for to in sorted(old_row.keys() | new_row.keys())
        }
        averaged.append({to: bond for to, bond in row.items() if bond})
    return _normalize_columns(averaged)


def _store_bonds(
    inputs: EpochInputs, permits: Sequence[bool], bonds: _Matrix
) -> dict[int, dict[int, int]]:
    """Bonds of uids with a permit; who lost it loses them, who never had it keeps what stood."""
    stored = {
        uid: dict(row)
        for uid, row in inputs.bonds.items()
        if not inputs.permits[uid] and not permits[uid]
    }
    for uid, row in enumerate(bonds):
        if permits[uid]:
            stored[uid] = dict(zip(row, _to_u16(row.values()), strict=True))
    return {uid: row for uid, row in sorted(stored.items()) if row}


def _choose_validators(stake: Sequence[int], count: int) -> tuple[bool, ...]:
    """The uids with most stake, the higher uid among equals; never one without stake."""
    uids = sorted(range(len(stake)), key=lambda uid: (stake[uid], uid), reverse=True)
    chosen = set(uids[:count])
    return tuple(uid in chosen and share > 0 for uid, share in enumerate(stake))


def _divide(value: int, by: int) -> int:
    """value / by as a share, rounded down; 0 where `by` is 0."""
    return (value << _BITS) // by if by else 0


def _normalize(values: Sequence[int]) -> list[int]:
    """Shares of the values' sum; zeros where it is 0."""
    total = sum(values)
    return [_divide(value, total) for value in values]


def _mix(first: _Matrix, second: _Matrix, ratio: int) -> _Matrix:
    """first + ratio · (second − first); uids missing from a row of `second` are zeros."""
    if ratio == _ONE:
        return second
    mixed = [
        {to: value + (ratio * (other.get(to, 0) - value) >> _BITS) for to, value in row.items()}
        for row, other in zip(first, second, strict=True)
    ]
    return [{to: value for to, value in row.items() if value} for row in mixed]


def _scale_rows(matrix: _Matrix, factors: Sequence[int]) -> _Matrix:
    return [
        {to: value * factor >> _BITS for to, value in row.items()}
        for row, factor in zip(matrix, factors, strict=True)
    ]


def _sum_columns(matrix: _Matrix) -> list[int]:
    sums = [0] * len(matrix)
    for row in matrix:
        for to, value in row.items():
            sums[to] += value
    return sums


def _normalize_columns(matrix: _Matrix) -> _Matrix:
    sums = _sum_columns(matrix)
    return [{to: _divide(value, sums[to]) for to, value in row.items()} for row in matrix]


def _upscale_columns(matrix: _Matrix) -> _Matrix:
    """Divides each column by its largest value."""
    largest = [0] * len(matrix)
    for row in matrix:
        for to, value in row.items():
            largest[to] = max(largest[to], value)
    return [{to: _divide(value, largest[to]) for to, value in row.items()} for row in matrix]


def _to_u16(shares: Iterable[int]) -> tuple[int, ...]:
    return tuple(min(share * _U16 >> _BITS, _U16) for share in shares)


def _to_rao(shares: Iterable[int], emission: int) -> tuple[int, ...]:
    return tuple(share * emission >> _BITS for share in shares)


def _upscale_to_u16(shares: Sequence[int]) -> tuple[int, ...]:
    """Scales so that the largest becomes 65,535, rounded to the nearest."""
    largest = max(shares, default=0)
    return tuple(_divide(share * _U16, largest) + _ONE // 2 >> _BITS for share in shares)
