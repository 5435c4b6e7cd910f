"""The rights of root and of rich accounts on a chain for development."""

import pytest

from assay.lab.localnet.development_calls import change_settings, send_tao
from assay.network.chain.errors import ChainError
from tests.integration.chain.nets import TAO, RuntimeNet


def test_money_for_a_newcomer(subnet: RuntimeNet) -> None:
    (hotkey,) = subnet.make_hotkeys(1, rao=TAO)
    coldkey = subnet.get_coldkey(hotkey)
    send_tao(subnet.connection, {coldkey: 5 * TAO})
    assert subnet.chain.get_balance(coldkey) == 6 * TAO


def test_more_money_than_there_is(subnet: RuntimeNet) -> None:
    with pytest.raises(ChainError, match="refused"):
        send_tao(subnet.connection, {bytes(31) + b"\x01": 2**63})


def test_settings_change_all_or_none(subnet: RuntimeNet) -> None:
    before = subnet.chain.get_hyperparameters()
    good = (
        "sudo_set_weights_set_rate_limit",
        {"netuid": subnet.netuid, "weights_set_rate_limit": 9},
    )
    bad = ("sudo_set_tempo", {"netuid": 60_000, "tempo": 5})
    with pytest.raises(ChainError, match="refused"):
        change_settings(subnet.connection, [good, bad])
    assert subnet.chain.get_hyperparameters() == before
