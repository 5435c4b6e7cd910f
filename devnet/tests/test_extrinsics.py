"""Extrinsics that must not be included, and the results of those that are."""

import random
import struct
from typing import Any

import pytest

from devlab import TAO, Lab, get_key, sign
from subtensor_devnet.errors import InvalidTransactionError, RpcError
from subtensor_devnet.extrinsics import EXTRINSIC_BYTES, decode_extrinsic
from subtensor_devnet.pallets.balances import WEIGHT_FEE
from subtensor_devnet.pool import SIGNER_SIZE
from subtensor_devnet.scale import encode_bytes

ALICE, BOB = get_key("//Alice"), get_key("//Bob")
GIFT = {"dest": BOB.ss58_address, "value": TAO}
TRANSFER = ("Balances", "transfer_keep_alive")


def make_mortal(period_bits: int, phase: int) -> bytes:
    return struct.pack("<H", period_bits | phase << 4)


def refuse(lab: Lab, raw: bytes) -> str:
    """The pool's reason for not taking an extrinsic."""
    with pytest.raises(RpcError) as caught:
        lab.chain.submit(raw, None)
    assert len(lab.chain.pool) == 0
    return f"{caught.value.code} {caught.value.data}"


# --- what must not get in


def test_another_keys_signature_is_refused(lab: Lab) -> None:
    raw = bytearray(lab.sign(BOB, *TRANSFER, GIFT))
    place = raw.index(bytes(BOB.public_key))
    raw[place : place + 32] = bytes(ALICE.public_key)
    assert refuse(lab, bytes(raw)) == "1010 Transaction has a bad signature"


@pytest.mark.parametrize("index", [-1, -40, 60, 100, 104])
def test_a_changed_byte_is_refused(lab: Lab, index: int) -> None:
    raw = bytearray(lab.sign(ALICE, *TRANSFER, GIFT))
    raw[index] ^= 4
    assert refuse(lab, bytes(raw)).startswith("1010")


def test_an_extrinsic_for_another_chain_is_refused(lab: Lab) -> None:
    call = lab.codec.encode_call(*TRANSFER, GIFT)
    raw = sign(lab.codec, b"\x01" * 32, ALICE, call, 0)
    assert refuse(lab, raw) == "1010 Transaction has a bad signature"


def test_a_replayed_extrinsic_is_refused(lab: Lab) -> None:
    raw = lab.sign(ALICE, *TRANSFER, GIFT)
    lab.chain.submit(raw, None)
    with pytest.raises(RpcError, match="already in the pool"):
        lab.chain.submit(raw, None)
    lab.pass_blocks()
    assert refuse(lab, raw) == "1010 Transaction is outdated"


def test_a_second_extrinsic_with_one_nonce_is_refused(lab: Lab) -> None:
    lab.chain.submit(lab.sign(ALICE, *TRANSFER, GIFT, nonce=0), None)
    other = lab.sign(ALICE, *TRANSFER, GIFT | {"value": 1}, nonce=0)
    with pytest.raises(RpcError, match="Priority is too low"):
        lab.chain.submit(other, None)


def test_an_extrinsic_whose_life_is_over_is_refused(lab: Lab) -> None:
    lab.pass_blocks(5)
    birth = lab.chain.get_hash(4)
    mortal = lab.sign(ALICE, *TRANSFER, GIFT, era=make_mortal(1, 0), birth=birth)  # blocks 4 to 7
    lab.chain.submit(mortal, None)
    lab.pass_blocks()
    assert lab.get_outcome(-1) is None
    late = lab.sign(ALICE, *TRANSFER, GIFT, era=make_mortal(1, 0), birth=birth)
    lab.pass_blocks(2)
    assert "bad signature" in refuse(lab, late)  # a node takes another block for its birth


def test_hashes_and_lifetimes_reach_as_far_back_as_the_runtimes_constant_says(lab: Lab) -> None:
    def get_kept(number: int) -> Any:
        return lab.chain.state.get("System", "BlockHash", number)

    nothing = get_kept(10_000)
    lab.pass_blocks(300)
    assert lab.codec.get_constant("System", "BlockHashCount") > 300
    assert get_kept(1) != nothing
    lab.chain.kept_hashes = 100
    lab.pass_blocks()
    assert (get_kept(200), get_kept(201) != nothing, get_kept(0) != nothing) == (
        nothing,
        True,
        True,
    )
    era = make_mortal(11, 200)
    old = lab.sign(ALICE, *TRANSFER, GIFT, era=era, birth=lab.chain.get_hash(200))
    assert "ancient birth block" in refuse(lab, old)
    lab.chain.kept_hashes = 101
    lab.chain.submit(old, None)


def test_an_extrinsic_that_dies_while_it_waits_is_dropped(lab: Lab) -> None:
    era = make_mortal(1, 0)
    lab.chain.submit(lab.sign(ALICE, *TRANSFER, GIFT, nonce=1, era=era), None)  # no nonce 0 yet
    lab.pass_blocks(4)
    assert lab.last is not None
    assert len(lab.last.dropped) == 1
    assert len(lab.chain.pool) == 0


def test_an_account_that_cannot_pay_gets_nothing_done(lab: Lab) -> None:
    nobody = get_key("//nobody")
    assert "Inability to pay" in refuse(lab, lab.sign(nobody, *TRANSFER, GIFT))


def test_unsigned_calls_are_refused(lab: Lab) -> None:
    call = lab.codec.encode_call("Timestamp", "set", {"now": 0})
    assert "not signed" in refuse(lab, encode_bytes(b"\x05" + call))


def test_a_signature_of_another_kind_is_refused(lab: Lab) -> None:
    raw = bytearray(lab.sign(ALICE, *TRANSFER, GIFT))
    raw[raw.index(bytes(ALICE.public_key)) + 32] = 2
    assert "sr25519" in refuse(lab, bytes(raw))


def test_an_extrinsic_larger_than_a_block_is_refused(lab: Lab) -> None:
    remark = {"remark": b"\x00" * EXTRINSIC_BYTES}
    assert "larger" in refuse(lab, lab.sign(ALICE, "System", "remark", remark))


def test_one_signer_cannot_fill_the_pool(lab: Lab) -> None:
    call = lab.codec.encode_call("System", "remark", {"remark": b""})
    genesis = lab.chain.genesis_hash
    for nonce in range(SIGNER_SIZE):
        lab.chain.submit(sign(lab.codec, genesis, ALICE, call, nonce), None)
    with pytest.raises(RpcError, match="Immediately Dropped"):
        lab.chain.submit(sign(lab.codec, genesis, ALICE, call, SIGNER_SIZE), None)
    lab.chain.submit(sign(lab.codec, genesis, BOB, call, 0), None)


def test_garbage_is_refused_and_nothing_else_happens(lab: Lab) -> None:
    chance = random.Random(461)
    good = lab.sign(ALICE, *TRANSFER, GIFT)
    for _ in range(400):
        raw = bytearray(good[: chance.randrange(len(good) + 1)])
        for _ in range(chance.randrange(4)):
            if raw:
                raw[chance.randrange(len(raw))] = chance.randrange(256)
        if bytes(raw) == good:
            continue
        with pytest.raises(InvalidTransactionError):
            decode_extrinsic(lab.codec, bytes(raw), 0, lab.chain.get_hash)


# --- results of included extrinsics


def test_nonces_are_taken_in_order_whatever_the_order_of_arrival(lab: Lab) -> None:
    for nonce in (2, 0, 1):
        lab.chain.submit(lab.sign(ALICE, *TRANSFER, GIFT, nonce=nonce), None)
    assert lab.chain.get_next_nonce(ALICE.ss58_address) == 3
    lab.pass_blocks()
    assert lab.last is not None
    assert [w.extrinsic.nonce for w in lab.last.included] == [0, 1, 2]


def test_a_fee_is_what_length_and_weight_cost_and_the_tip_comes_on_top(lab: Lab) -> None:
    before, issued = lab.get_free(ALICE), lab.chain.state.get("Balances", "TotalIssuance")
    raw = lab.sign(ALICE, *TRANSFER, GIFT, tip=77)
    lab.chain.submit(raw, None)
    lab.pass_blocks()
    fee = WEIGHT_FEE + len(raw) - 2 + 77  # its length is written in two bytes
    assert lab.get_free(ALICE) == before - TAO - fee
    assert lab.chain.state.get("Balances", "TotalIssuance") == issued - fee
    (paid,) = (e for e in lab.get_events() if e["event_id"] == "TransactionFeePaid")
    assert paid["attributes"] == {"who": ALICE.ss58_address, "actual_fee": fee, "tip": 77}


def test_a_call_that_fails_is_paid_for_and_leaves_nothing_else(lab: Lab) -> None:
    before = lab.get_free(ALICE), lab.get_free(BOB)
    too_much = GIFT | {"value": before[0]}
    calls = [lab.codec.encode_call(*TRANSFER, GIFT), lab.codec.encode_call(*TRANSFER, too_much)]
    error = lab.do(ALICE, "Utility", "batch_all", calls=calls)
    assert error == "{'Token': 'FundsUnavailable'}"
    assert lab.get_free(BOB) == before[1]
    assert 0 < before[0] - lab.get_free(ALICE) < TAO // 1_000
    assert lab.chain.get_next_nonce(ALICE.ss58_address) == 1
    assert not any(e["event_id"] == "Transfer" for e in lab.get_events())


def test_a_batch_stops_at_what_fails_and_a_forced_one_goes_on(lab: Lab) -> None:
    good, bad = (
        lab.codec.encode_call(*TRANSFER, GIFT | {"value": value}) for value in (TAO, 10**18)
    )
    start = lab.get_free(BOB)
    assert lab.do(ALICE, "Utility", "batch", calls=[good, bad, good]) is None
    assert any(e["event_id"] == "BatchInterrupted" for e in lab.get_events())
    assert lab.get_free(BOB) == start + TAO
    assert lab.do(ALICE, "Utility", "force_batch", calls=[good, bad, good]) is None
    assert lab.get_free(BOB) == start + 3 * TAO


def test_only_the_sudo_key_is_root(lab: Lab) -> None:
    call = lab.codec.encode_call("AdminUtils", "sudo_set_network_rate_limit", {"rate_limit": 7})
    assert lab.do(BOB, "Sudo", "sudo", call=call) == "RequireSudo"
    direct = lab.do(ALICE, "AdminUtils", "sudo_set_network_rate_limit", rate_limit=7)
    assert direct == "BadOrigin"
    assert lab.do(ALICE, "Sudo", "sudo", call=call) is None
    assert lab.get("NetworkRateLimit") == 7


@pytest.mark.parametrize(
    ("pallet", "name", "arguments"),
    [
        ("SubtensorModule", "set_children", {"hotkey": 0, "netuid": 1, "children": []}),
        ("SubtensorModule", "lock_stake", {"hotkey": 0, "netuid": 1, "amount": TAO}),
        ("Proxy", "add_proxy", {"delegate": 0, "proxy_type": "Any", "delay": 0}),
    ],
)
def test_a_call_that_the_network_lacks_fails_and_says_so(
    lab: Lab, pallet: str, name: str, arguments: dict[str, Any]
) -> None:
    filled = {key: value or BOB.ss58_address for key, value in arguments.items()}
    filled |= {key: arguments[key] for key in ("delay", "children") if key in arguments}
    assert lab.do(ALICE, pallet, name, **filled) == "CallFiltered"


def test_the_last_coin_is_not_sent_by_who_wants_to_live_on(lab: Lab) -> None:
    poor = get_key("//poor")
    lab.do(ALICE, *TRANSFER, dest=poor.ss58_address, value=TAO)
    left = TAO - WEIGHT_FEE - 200
    error = lab.do(poor, *TRANSFER, dest=BOB.ss58_address, value=left)
    assert error == "{'Token': 'NotExpendable'}"
    assert lab.do(ALICE, *TRANSFER, dest=get_key("//x").ss58_address, value=1) == (
        "{'Token': 'BelowMinimum'}"
    )
