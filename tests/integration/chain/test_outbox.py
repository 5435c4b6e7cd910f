"""Weights from a settlement to finalized state, on the simulator and on a real runtime alike."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.artifacts.database import Database
from assay.network.chain.errors import ChainError
from assay.network.chain.values import LARGEST_WEIGHT as FULL
from assay.neurons.validator.weights_outbox import WeightsOutbox, WeightsRow, list_rows
from assay.session.chain_delivery import DeliveryState
from tests.integration.chain.nets import TAO, Net, RuntimeNet


class Watched:
    """A chain that notes every attempt to set weights, and its result."""

    def __init__(self, chain: Any) -> None:
        self._chain = chain
        self.blocks: list[int] = []
        self.refusals: list[Exception] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)

    def set_weights(self, hotkey: bytes, weights: Mapping[int, int]) -> int:
        try:
            block: int = self._chain.set_weights(hotkey, weights)
        except ChainError as error:
            self.refusals.append(error)
            raise
        self.blocks.append(block)
        return block


def drive(net: Net, box: WeightsOutbox, database: Database, blocks: int) -> WeightsRow:
    """The newest row, once it is confirmed or this many blocks have passed."""
    end = net.chain.get_head() + blocks
    while True:
        head = net.chain.get_head()
        while box.step(head):
            pass
        (row,) = list_rows(database, 1)
        if row.state is DeliveryState.CONFIRMED or head >= end:
            return row
        net.pass_blocks(1)


def open_validator(net: Net) -> tuple[bytes, int]:
    """A hotkey with a permit, and its uid."""
    (hotkey,) = net.register(1, stake=10 * TAO)
    net.pass_epoch()
    return hotkey, net.chain.get_members(net.chain.get_head())[hotkey].uid


def test_the_block_of_the_last_weights_is_known_at_every_block(net: Net) -> None:
    hotkey, uid = open_validator(net)
    before = net.chain.get_head()
    assert net.chain.get_weights_block(hotkey, before) == 0  # registering is no setting of weights
    block = net.chain.set_weights(hotkey, {uid: FULL})
    net.pass_blocks(1)
    head = net.chain.get_head()
    assert net.chain.get_weights_block(hotkey, head) == block > before
    assert net.chain.get_weights(block)[hotkey] == {uid: FULL}
    assert net.chain.get_weights_block(hotkey, before) == 0
    (nobody,) = net.make_hotkeys(1)
    assert net.chain.get_weights_block(nobody, head) is None


def test_weights_are_confirmed_in_finalized_state_within_the_rate_limit(
    net: Net, tmp_path: Path
) -> None:
    hotkey, uid = open_validator(net)
    chain, database = Watched(net.chain), Database(tmp_path / "validator.sqlite")
    box = WeightsOutbox(database, chain, hotkey)
    net.set_rules(weights_rate_limit=8)
    for epoch, weights in ((1, {0: FULL, uid: 3}), (2, {uid: FULL})):
        box.put(epoch, weights)
        row = drive(net, box, database, 20)
        assert (row.epoch, row.state, row.trouble) == (epoch, DeliveryState.CONFIRMED, None)
        assert row.sent_at == chain.blocks[-1]
        assert row.confirmed_at is not None
        assert net.chain.get_weights(row.confirmed_at)[hotkey] == weights
    net.set_rules(weights_rate_limit=0)
    assert chain.refusals == []
    assert len(chain.blocks) == 2
    assert chain.blocks[1] - chain.blocks[0] >= 8


def test_weights_that_were_sent_before_the_kill_are_found_again(net: Net, tmp_path: Path) -> None:
    class KilledError(BaseException):
        pass

    class Deadly(Watched):
        def set_weights(self, hotkey: bytes, weights: Mapping[int, int]) -> int:
            super().set_weights(hotkey, weights)
            raise KilledError

    hotkey, uid = open_validator(net)
    chain, database = Deadly(net.chain), Database(tmp_path / "validator.sqlite")
    box = WeightsOutbox(database, chain, hotkey)
    box.put(1, {uid: FULL})
    try:
        box.step(net.chain.get_head())
    except KilledError:
        database.close()
    database = Database(tmp_path / "validator.sqlite")
    assert list_rows(database, 1)[0].state is DeliveryState.SENDING
    box = WeightsOutbox(database, chain, hotkey)
    row = drive(net, box, database, 5)
    assert (row.state, row.sent_at) == (DeliveryState.CONFIRMED, chain.blocks[0])
    assert len(chain.blocks) == 1


def test_weights_that_the_chain_opens_later_are_confirmed_when_it_took_them(
    subnet: RuntimeNet, tmp_path: Path
) -> None:
    hotkey, uid = open_validator(subnet)
    chain, database = Watched(subnet.chain), Database(tmp_path / "validator.sqlite")
    box = WeightsOutbox(database, chain, hotkey)
    subnet.set_rules(commit_reveal=True, weights_rate_limit=8)
    for epoch in (1, 2):
        box.put(epoch, {uid: FULL})
        row = drive(subnet, box, database, 20)
        assert (row.epoch, row.state, row.shut) == (epoch, DeliveryState.CONFIRMED, True)
        assert row.sent_at == chain.blocks[-1]
    subnet.set_rules(commit_reveal=False, weights_rate_limit=0)
    assert hotkey not in subnet.chain.get_weights(subnet.chain.get_head())
    assert chain.refusals == []
    assert chain.blocks[1] - chain.blocks[0] >= 8
