"""What a miner's window costs on this machine, beside what the chain lets expect for it.

The chain knows pay in alpha and alpha's price in TAO. It does not know what a TAO is worth in
dollars: whoever asks names it, and else the price is computed at which pay covers the cost.
"""

from dataclasses import asdict, dataclass
from typing import Any

from assay.neurons.miner.dry_run import DryRun
from assay.settings.money import compute_cost, compute_million_cost

_DAY_S, _RAO = 86_400, 10**9


@dataclass(frozen=True, slots=True)
class MiningCost:
    """A window on this machine, rented all the time. Dollars are whole micro-dollars.

    Attributes:
        hour: of the machine. window: the same for a window, of `cycle_seconds` to the next one.
        million: of a million drawn tokens while the machine draws; None: none were drawn.
        alpha: rao of alpha for a window's work. tao: the same in rao, at alpha's price now. Both
            None: earnings are not known.
        tao_price: of one TAO; None: nobody named it. pay: for a window at that price.
        even_tao_price: of one TAO, from which on pay covers the cost; None: nothing is paid, or
            it is not known.
    """

    hour: int
    cycle_seconds: float
    window: int
    million: int | None
    alpha: int | None
    tao: int | None
    tao_price: int | None
    pay: int | None
    even_tao_price: int | None

    def to_json(self) -> dict[str, Any]:
        """The cost for scripts."""
        return {"unit": "micro-dollars"} | asdict(self)


def compute_mining_cost(run: DryRun, hour: int, tao_price: int | None = None) -> MiningCost:
    """A window's cost and pay. `hour`, `tao_price`: micro-dollars."""
    seconds, speed, earning = run.cycle_seconds, run.speed, run.earning
    cost = compute_cost(hour, seconds)
    alpha = tao = pay = even = None
    if earning is not None:
        alpha = round(earning.alpha_a_day * seconds / _DAY_S)
        tao = alpha * earning.alpha_price // _RAO
        pay = None if tao_price is None else tao * tao_price // _RAO
        even = -(-cost * _RAO // tao) if tao else None
    return MiningCost(
        hour=hour,
        cycle_seconds=seconds,
        window=cost,
        million=None if speed is None else compute_million_cost(hour, speed.seconds, speed.tokens),
        alpha=alpha,
        tao=tao,
        tao_price=tao_price,
        pay=pay,
        even_tao_price=even,
    )
