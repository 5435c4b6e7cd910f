"""When and how much the chain pays for a settlement."""

from assay.artifacts.mining_history import Payment
from assay.network.chain.ports import SubnetReader
from assay.protocol.parameters import Parameters
from assay.session.window_reader import find_epoch


def find_payment(
    chain: SubnetReader, parameters: Parameters, hotkey: bytes, settlement: int
) -> Payment | None:
    """The payment of a settlement, or None before it has come.

    Weights are set after the epoch that settles, and pay at the next one. Encrypted weights pay one
    epoch later.

    Raises:
        ForgottenError: the nodes no longer have the state.
        ChainError: the chain cannot be read.
    """
    head = chain.get_head()
    if head <= settlement:
        return None
    block, epochs = settlement, 2 if chain.get_hyperparameters().commit_reveal else 1
    for _ in range(epochs):
        block = find_epoch(chain, parameters, block + 1)
    return None if head < block else _read_payment(chain, hotkey, settlement, block)


def _read_payment(chain: SubnetReader, hotkey: bytes, settlement: int, block: int) -> Payment:
    member = chain.get_members(block).get(hotkey)
    if member is None:
        note = "the hotkey no longer had a uid"
        return Payment(settlement, block, None, note=note)
    weights = {
        validator: (row[member.uid], sum(row.values()))
        for validator, row in chain.get_weights(block).items()
        if row.get(member.uid)
    }
    row = next(row for row in chain.get_metagraph(block) if row.uid == member.uid)
    return Payment(settlement, block, member.uid, weights, row.incentive, row.emission)
