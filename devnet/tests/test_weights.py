"""Weights: the chain's refusals, the accounts that may set them, and weights that it opens
itself."""

import struct
from typing import Any

import pytest
from bittensor_core import encrypt_at_round, inner_ciphertext

from devlab import OWNER, TAO, Lab, get_key
from subtensor_devnet.pallets.weights import is_pulse
from subtensor_devnet.runtime import MODULE
from subtensor_devnet.scale import encode_compact

#: Quicknet's first rounds: https://api.drand.sh/52db9ba7…/public/1 and 2.
ROUND = 1
SIGNATURE = bytes.fromhex(
    "b55e7cb2d5c613ee0b2e28d6750aabbb78c39dcc96bd9d38c2c2e12198df95571de8e8e402a0cc48871c7089a2b3af4b"
)
NEXT_SIGNATURE = bytes.fromhex(
    "b6b6a585449b66eb12e875b64fcbab3799861a00e4dbf092d99e969a5eac57dd3f798acf61e705fe4f093db926626807"
)
FULL = 65_535


def set_weights(lab: Lab, hotkey: Any, row: dict[int, int], **changes: Any) -> str | None:
    arguments = {"netuid": 1, "dests": [*row], "weights": [*row.values()], "version_key": 0}
    return lab.do(hotkey, MODULE, "set_weights", **arguments | changes)


@pytest.fixture
def net(subnet: Lab) -> Lab:
    """Uid 0 the owner, 1 a validator with a permit, 2 and 3 miners."""
    subnet.register("validator", stake=100 * TAO)
    subnet.register("miner", "other")
    subnet.pass_epoch()
    return subnet


VALIDATOR, MINER = get_key("//validator//hot"), get_key("//miner//hot")


@pytest.mark.parametrize(
    ("row", "changes", "error"),
    [
        ({2: FULL}, {"weights": [1, 2]}, "WeightVecNotEqualSize"),
        (dict.fromkeys(range(5), 1), {}, "UidsLengthExceedUidsInSubNet"),
        ({9: FULL}, {}, "UidVecContainInvalidOne"),
        ({2: FULL}, {"dests": [2, 2], "weights": [1, 1]}, "DuplicateUids"),
        ({2: FULL}, {"netuid": 5}, "MechanismDoesNotExist"),
    ],
)
def test_weights_that_are_wrong_in_themselves(
    net: Lab, row: dict[int, int], changes: dict[str, Any], error: str
) -> None:
    if "netuid" in changes:
        net.put("CommitRevealWeightsEnabled", 5, False)
    assert set_weights(net, VALIDATOR, row, **changes) == error
    assert net.get("Weights", 1, 1) == []


def test_a_stranger_sets_no_weights(net: Lab) -> None:
    assert set_weights(net, get_key("//stranger"), {2: FULL}) == "HotKeyNotRegisteredInSubNet"


def test_without_a_permit_one_weighs_oneself_at_most(net: Lab) -> None:
    assert set_weights(net, MINER, {3: FULL}) == "NeuronNoValidatorPermit"
    assert set_weights(net, MINER, {2: 7}) is None
    assert net.get("Weights", 1, 2) == [(2, FULL)]


def test_the_owners_hotkey_needs_no_permit(net: Lab) -> None:
    assert not net.get("ValidatorPermit", 1)[0]
    assert set_weights(net, OWNER, {2: FULL}) is None


def test_too_little_stake_sets_no_weights(net: Lab) -> None:
    net.put("StakeThreshold", 1_000 * TAO)
    assert set_weights(net, VALIDATOR, {2: FULL}) == "NotEnoughStakeToSetWeights"


def test_an_old_version_sets_no_weights(net: Lab) -> None:
    net.put("WeightsVersionKey", 1, 3)
    assert set_weights(net, VALIDATOR, {2: FULL}, version_key=2) == "IncorrectWeightVersionKey"
    assert set_weights(net, VALIDATOR, {2: FULL}, version_key=3) is None


def test_fewer_weights_than_the_subnet_asks_for_are_refused(net: Lab) -> None:
    net.put("MinAllowedWeights", 1, 2)
    assert set_weights(net, VALIDATOR, {2: FULL}) == "WeightVecLengthIsLow"
    assert set_weights(net, VALIDATOR, {2: FULL, 3: 1}) is None


def test_one_weight_above_the_limit_is_refused(net: Lab) -> None:
    net.put("MaxWeightsLimit", 1, FULL // 2 + 1)
    assert set_weights(net, VALIDATOR, {2: FULL, 3: 1}) == "MaxWeightExceeded"
    assert set_weights(net, VALIDATOR, {2: 100, 3: 100}) is None
    assert net.get("Weights", 1, 1) == [(2, FULL), (3, FULL)]


def test_weights_come_at_the_rate_that_the_subnet_sets(net: Lab) -> None:
    net.put("WeightsSetRateLimit", 1, 5)
    assert set_weights(net, VALIDATOR, {2: FULL}) is None
    first = net.chain.head.number
    net.pass_blocks(3)
    assert set_weights(net, VALIDATOR, {3: FULL}) == "SettingWeightsTooFast"
    assert net.chain.head.number == first + 4
    assert set_weights(net, VALIDATOR, {3: FULL}) is None


def test_weights_in_the_clear_are_refused_where_they_are_to_be_shut(net: Lab) -> None:
    net.put("CommitRevealWeightsEnabled", 1, True)
    assert set_weights(net, VALIDATOR, {2: FULL}) == "CommitRevealEnabled"


# --- weights that the chain opens


def encrypt(hotkey: Any, row: dict[int, int], number: int = ROUND) -> bytes:
    """A commit as the SDK makes it, but to a round of the past."""
    count = encode_compact(len(row))
    payload = b"".join(
        (
            encode_compact(32) + bytes(hotkey.public_key),
            count + struct.pack(f"<{len(row)}H", *row),
            count + struct.pack(f"<{len(row)}H", *row.values()),
            struct.pack("<Q", 0),
        )
    )
    return bytes(inner_ciphertext(bytes(encrypt_at_round(payload, number)[0])))


def commit(lab: Lab, hotkey: Any, data: bytes, **changes: Any) -> str | None:
    arguments = {
        "netuid": 1,
        "mecid": 0,
        "commit": data,
        "reveal_round": ROUND,
        "commit_reveal_version": 4,
    }
    name = "commit_timelocked_mechanism_weights"
    return lab.do(hotkey, MODULE, name, **arguments | changes)


@pytest.fixture
def shut(net: Lab) -> Lab:
    """At the start of an epoch of a subnet that asks for commits."""
    net.put("CommitRevealWeightsEnabled", 1, True)
    net.pass_epoch()
    return net


def test_shut_weights_are_opened_by_the_rounds_real_signature_an_epoch_later(shut: Lab) -> None:
    data = encrypt(VALIDATOR, {2: FULL, 3: 21_845})
    assert commit(shut, VALIDATOR, data) is None
    assert shut.chain.list_awaited_rounds() == {ROUND}
    signature = SIGNATURE
    assert shut.chain.add_pulse(ROUND, signature)
    shut.pass_blocks(3)
    assert shut.chain.list_awaited_rounds() == set()
    assert shut.get("Weights", 1, 1) == []  # not in this epoch
    shut.pass_epoch()
    assert shut.get("Weights", 1, 1) == [(2, FULL), (3, 21_845)]
    names = [e["event_id"] for e in shut.get_events()]
    assert "TimelockedWeightsRevealed" in names
    assert shut.get("TimelockedWeightCommits", 1, shut.get("SubnetEpochIndex", 1) - 1) == []


def test_a_pulse_that_comes_during_the_epoch_still_opens_them(shut: Lab) -> None:
    assert commit(shut, VALIDATOR, encrypt(VALIDATOR, {2: FULL})) is None
    shut.pass_epoch()
    shut.pass_blocks(2)
    assert shut.get("Weights", 1, 1) == []
    shut.chain.add_pulse(ROUND, SIGNATURE)
    shut.pass_blocks()
    assert shut.get("Weights", 1, 1) == [(2, FULL)]


def test_weights_whose_round_never_comes_are_lost(shut: Lab) -> None:
    assert commit(shut, VALIDATOR, encrypt(VALIDATOR, {2: FULL})) is None
    shut.pass_epoch()
    shut.pass_epoch()
    shut.chain.add_pulse(ROUND, SIGNATURE)
    shut.pass_blocks(2)
    assert shut.get("Weights", 1, 1) == []
    assert list(shut.chain.state.list_entries(MODULE, "TimelockedWeightCommits", 1)) == []


def test_a_signature_that_quicknet_did_not_make_opens_nothing(shut: Lab) -> None:
    assert not shut.chain.add_pulse(ROUND, NEXT_SIGNATURE)
    assert not shut.chain.add_pulse(ROUND, bytes(48))


#: The bits that say how a point is written and every sixteenth of the others; and all others.
BITS = [bit for bit in range(8 * len(SIGNATURE)) if bit in (5, 6, 7) or bit % 16 == 0]
OTHER_BITS = [bit for bit in range(8 * len(SIGNATURE)) if bit not in BITS]


@pytest.mark.parametrize("bits", [BITS, OTHER_BITS], ids=["some", "others"])
def test_a_signature_is_of_one_round_and_has_one_encoding(bits: list[int]) -> None:
    assert is_pulse(ROUND, SIGNATURE)
    assert is_pulse(ROUND + 1, NEXT_SIGNATURE)
    others = [ROUND + 1, 0, -1, 2**64, 2**64 + ROUND]
    assert [number for number in others if is_pulse(number, SIGNATURE)] == []
    infinity = b"\xc0" + bytes(47)
    longer, shorter = SIGNATURE + b"\x00", SIGNATURE[:-1]
    flips = [flip(SIGNATURE, bit) for bit in bits]
    forged = [b"", bytes(48), b"\xff" * 48, infinity, longer, shorter, *flips]
    assert [data.hex() for data in forged if is_pulse(ROUND, data)] == []


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("what", ["another's", "garbage", "another round"])
def test_a_commit_that_cannot_be_opened_is_void_and_stops_nobody(shut: Lab, what: str) -> None:
    data = {
        "another's": encrypt(MINER, {2: FULL}),
        "garbage": b"\x00garbage" * 20,
        "another round": encrypt(VALIDATOR, {2: FULL}, ROUND + 1),
    }[what]
    assert commit(shut, VALIDATOR, data) is None
    assert commit(shut, OWNER, encrypt(OWNER, {3: FULL})) is None
    shut.chain.add_pulse(ROUND, SIGNATURE)
    shut.pass_epoch()
    assert shut.get("Weights", 1, 1) == []
    assert shut.get("Weights", 1, 0) == [(3, FULL)]


def test_opened_weights_meet_the_same_rules(shut: Lab) -> None:
    assert commit(shut, MINER, encrypt(MINER, {3: FULL})) is None  # no permit
    shut.chain.add_pulse(ROUND, SIGNATURE)
    shut.pass_epoch()
    assert shut.get("Weights", 1, 2) == []


def test_ten_commits_an_epoch_and_no_more(shut: Lab) -> None:
    shut.put("Tempo", 1, 100)
    for _ in range(10):
        assert commit(shut, VALIDATOR, b"\x01" * 50) is None
    assert commit(shut, VALIDATOR, b"\x01" * 50) == "TooManyUnrevealedCommits"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"commit_reveal_version": 3}, "IncorrectCommitRevealVersion"),
        ({"mecid": 1}, "MechanismDoesNotExist"),
        ({"netuid": 9}, "MechanismDoesNotExist"),
    ],
)
def test_a_commit_that_is_refused(shut: Lab, changes: dict[str, Any], error: str) -> None:
    assert commit(shut, VALIDATOR, b"\x01" * 50, **changes) == error


def test_commits_come_at_the_subnets_rate_too(shut: Lab) -> None:
    shut.put("WeightsSetRateLimit", 1, 5)
    shut.pass_blocks(5)
    assert commit(shut, VALIDATOR, b"\x01" * 50) is None
    assert commit(shut, VALIDATOR, b"\x01" * 50) == "CommittingWeightsTooFast"
    assert shut.get("LastUpdate", 1)[1] == shut.chain.head.number - 1


def test_a_commit_is_refused_where_weights_are_set_in_the_clear(net: Lab) -> None:
    assert commit(net, VALIDATOR, b"\x01" * 50) == "CommitRevealDisabled"
