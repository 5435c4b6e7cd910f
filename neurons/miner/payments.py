"""What a settlement brought a hotkey, as the chain says at the epoch that paid it."""

from assay.artifacts.ports import Chain
from assay.neurons.miner.mining_history import Payment
from assay.neurons.session.window_reader import find_epoch
from assay.protocol import Parameters


def find_payment(
    chain: Chain, parameters: Parameters, hotkey: bytes, settlement: int
) -> Payment | None:
    """None before it has come.

    Weights are set after the epoch that settles, and pay at the next one; where they are encrypted
    first, at the one after that.

    Raises:
        ForgottenError: the nodes have forgotten it.
        ChainError: the chain cannot be read.
    """
    head = chain.get_head()
    if head <= settlement:
        return None
    block, epochs = settlement, 2 if chain.get_hyperparameters().commit_reveal else 1
    for _ in range(epochs):
        block = find_epoch(chain, parameters, block + 1)
    return None if head < block else _read_payment(chain, hotkey, settlement, block)


def _read_payment(chain: Chain, hotkey: bytes, settlement: int, block: int) -> Payment:
    member = chain.get_members(block).get(hotkey)
    if member is None:
        note = "the hotkey held no uid any more"
        return Payment(settlement, block, None, note=note)
    weights = {
        validator: (row[member.uid], sum(row.values()))
        for validator, row in chain.get_weights(block).items()
        if row.get(member.uid)
    }
    row = next(row for row in chain.get_metagraph(block) if row.uid == member.uid)
    return Payment(settlement, block, member.uid, weights, row.incentive, row.emission)
