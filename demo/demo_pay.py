"""What the chain's own consensus paid for the validator's weights, read back from its state."""

from collections.abc import Mapping
from dataclasses import dataclass

from assay.demo.demo_run import DemoRun


@dataclass(frozen=True, slots=True)
class Pay:
    """One epoch's.

    Attributes:
        block: the epoch's.
        incentives: uid → u16 share of what miners get.
    """

    block: int
    incentives: Mapping[int, int]


def find_pay(run: DemoRun) -> dict[int, Pay]:
    """Epoch block of a settlement → what the next epoch made of its weights.

    The last settlement's next epoch comes after the demo.

    Raises:
        ChainError: the chain cannot be read.
    """
    chain, head = run.chain, run.chain.get_head()
    settled = [settlement.epoch for settlement in run.validator.settlements]
    pay = {}
    for epoch in settled:
        blocks = range(epoch + 1, min(head, run.last_block) + 1)
        following = next((block for block in blocks if chain.is_epoch(block)), None)
        if following is not None:
            rows = chain.get_metagraph(following)
            pay[epoch] = Pay(following, {row.uid: row.incentive for row in rows})
    return pay
