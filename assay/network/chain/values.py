"""Values that a subnet's chain reports about itself and about extrinsics."""

from dataclasses import dataclass
from typing import Any

#: Blocks of state that a plain node keeps.
STATE_BLOCKS = 256
#: The largest weight of a row: the chain scales every row so.
LARGEST_WEIGHT = 65_535

#: Rao in one TAO.
TAO = 10**9


def format_tao(rao: int, unit: str = "τ") -> str:
    """An amount for people, exact: `1.25 τ`. Stake is counted in a subnet's own alpha."""
    whole, rest = divmod(abs(rao), TAO)
    tail = f"{rest:09d}".rstrip("0")
    return f"{'-' if rao < 0 else ''}{whole:,}{'.' + tail if tail else ''} {unit}"


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """The settings of a subnet that a neuron needs."""

    #: blocks between two epochs: tempo, or tempo + 1 on runtimes whose epochs follow from it alone;
    #: `is_epoch` knows which
    tempo: int
    commit_reveal: bool  # weights are sent encrypted and opened later by the chain
    weights_rate_limit: int  # blocks between two weight settings of one hotkey
    registration_cost: int  # price of a uid at this block, rao
    registration_open: bool
    max_uids: int  # when all are held, a registration evicts a holder
    immunity_period: int
    min_weights: int  # entries that a row of weights must have, zeros included


#: A setting's value in storage; None: it has none.
Setting = bool | int | float | str | list[int] | None


@dataclass(frozen=True, slots=True)
class MetagraphRow:
    """One uid at a block."""

    uid: int
    hotkey: bytes
    coldkey: bytes
    registered_at: int
    stake: int  # rao of alpha, all nominators together
    permit: bool  # may set weights on others
    #: incentive, dividends: u16 shares, as consensus set them at the last epoch
    incentive: int
    dividends: int
    emission: int
    last_update: int  # block of its last weights


@dataclass(frozen=True, slots=True)
class ChainEvent:
    """One event of one of our extrinsics: `Pallet.Name`, and its attributes as plain values."""

    name: str
    attributes: Any


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of an extrinsic that the chain accepted: the block that holds it, and the fee in
    rao, without the cost of the call itself."""

    block: int
    fee: int
    events: tuple[ChainEvent, ...]


@dataclass(frozen=True, slots=True)
class Quote:
    """The current price of a call, rao. The chain charges the price at its inclusion."""

    cost: int
    fee: int

    @property
    def total(self) -> int:
        """Cost and fee, rao."""
        return self.cost + self.fee
