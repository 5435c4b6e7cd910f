"""Encodings equal those of a real localnet (data/bittensor-golden.json)."""

import json
from pathlib import Path
from typing import Any

import pytest
from bittensor_core import Keypair
from bittensor_core import Runtime as CoreRuntime

from subtensor_devnet.block_database import BlockHeader
from subtensor_devnet.errors import DispatchError, InvalidTransactionError
from subtensor_devnet.extrinsics import Era, decode_extrinsic, encode_bare, make_payload, take_apart
from subtensor_devnet.metadata import SPEC_VERSION, TRANSACTION_VERSION, load_metadata
from subtensor_devnet.pallets.balances import compute_fee
from subtensor_devnet.runtime_apis import RuntimeApis
from subtensor_devnet.scale import encode_compact, hash_blake2
from subtensor_devnet.scale_codec import SS58_TYPE, ScaleCodec

GOLDEN = json.loads(Path(__file__).with_name("data").joinpath("bittensor-golden.json").read_text())
SLOT_MS = 250
PEOPLE = {
    name: Keypair.create_from_uri(f"//{name.capitalize()}").ss58_address
    for name in ("bob", "charlie")
}


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


GENESIS = unhex(GOLDEN["network"]["genesis_hash"])
BLOCK = GOLDEN["block"]["raw"]["block"]


@pytest.fixture(scope="module")
def codec() -> ScaleCodec:
    return ScaleCodec(load_metadata(15, SLOT_MS))


@pytest.fixture(scope="module")
def core() -> Any:
    return CoreRuntime(load_metadata(14, SLOT_MS), SPEC_VERSION, TRANSACTION_VERSION, SS58_TYPE)


def name_of(entry: dict[str, Any]) -> str:
    return ".".join(
        str(entry[key])
        for key in ("module", "pallet", "api", "function", "storage_function", "method", "name")
        if key in entry
    )


@pytest.mark.parametrize("entry", GOLDEN["storage_keys"], ids=name_of)
def test_a_storage_key(codec: ScaleCodec, entry: dict[str, Any]) -> None:
    key = codec.make_key(entry["pallet"], entry["storage_function"], *entry["params"])
    assert key == unhex(entry["key_hex"])


@pytest.mark.parametrize("entry", GOLDEN["storage_values"], ids=name_of)
def test_a_storage_value(codec: ScaleCodec, entry: dict[str, Any]) -> None:
    item = entry["pallet"], entry["storage_function"]
    raw = None if entry["raw_hex"] is None else unhex(entry["raw_hex"])
    assert codec.decode_value(*item, raw) == entry["decoded"]
    if raw is not None:
        assert codec.encode_value(*item, entry["decoded"]) == raw


@pytest.mark.parametrize("entry", GOLDEN["query_maps"], ids=name_of)
def test_a_storage_map(codec: ScaleCodec, entry: dict[str, Any]) -> None:
    item, fixed = (entry["pallet"], entry["storage_function"]), entry["params"]
    assert codec.make_key(*item, *fixed) == unhex(entry["prefix_hex"])
    pairs = []
    for key, value in entry["raw_changes"]:
        (free,) = codec.decode_map_keys(*item, unhex(key), len(fixed))
        pairs.append([free, codec.decode_value(*item, unhex(value))])
    assert pairs == entry["pairs"]


@pytest.mark.parametrize("entry", GOLDEN["calls"], ids=name_of)
def test_a_call(codec: ScaleCodec, entry: dict[str, Any]) -> None:
    data = unhex(entry["data_hex"])
    arguments = {name: encode_inner(codec, value) for name, value in entry["params"].items()}
    assert codec.encode_call(entry["module"], entry["function"], arguments) == data
    call = codec.decode_call(data)
    assert (call.pallet, call.name) == (entry["module"], entry["function"])
    if arguments == entry["params"]:
        assert codec.encode_call(call.pallet, call.name, call.arguments) == data


def encode_inner(codec: ScaleCodec, value: Any) -> Any:
    """The recording names calls within calls in words."""
    if isinstance(value, list):
        return [encode_inner(codec, one) for one in value]
    if isinstance(value, dict) and "module" in value:
        inner = dict(value)
        return codec.encode_call(inner.pop("module"), inner.pop("function"), inner)
    words = value.split() if isinstance(value, str) else []
    if words[:1] != ["transfer"]:
        return value
    amount, dest = int(words[1]), PEOPLE[words[3]]
    return codec.encode_call("Balances", "transfer_keep_alive", {"dest": dest, "value": amount})


@pytest.mark.parametrize("entry", GOLDEN["signature_payloads"], ids=("immortal", "mortal"))
def test_signed_bytes(core: Any, entry: dict[str, Any]) -> None:
    birth = unhex(entry.get("era_birth_block_hash", GOLDEN["network"]["genesis_hash"]))
    numbers = encode_compact(entry["nonce"]) + encode_compact(entry["tip"])
    extra = bytes(core.encode_era(entry["era"])) + numbers + b"\x00"
    payload = make_payload(unhex(entry["call_data_hex"]), extra, GENESIS, birth)
    assert payload == unhex(entry["payload_hex"])


@pytest.mark.parametrize("entry", GOLDEN["extrinsics"], ids=("immortal", "mortal"))
def test_a_signed_extrinsic(codec: ScaleCodec, entry: dict[str, Any]) -> None:
    data = unhex(entry["extrinsic_hex"])
    parts = take_apart(data)
    assert parts.public_key == unhex(entry["public_key_hex"])
    assert parts.signature == unhex(entry["signature_hex"])
    assert (parts.nonce, parts.tip) == (entry["nonce"], entry["tip"])
    assert parts.call == unhex(entry["call_data_hex"])
    assert hash_blake2(data) == unhex(entry["extrinsic_hash"])
    if entry["era"] != "00":
        period, current = entry["era"]["period"], entry["era"]["current"]
        assert parts.era == Era(period, current % period)
        assert parts.era.compute_birth(current + period - 1) == current
    with pytest.raises(InvalidTransactionError, match="bad signature"):
        decode_extrinsic(codec, data, 66, lambda number: GENESIS)


def test_an_extrinsic_that_the_localnet_took_is_taken_here(codec: ScaleCodec) -> None:
    data, decoded = unhex(BLOCK["extrinsics"][2]), GOLDEN["block"]["decoded_extrinsics"][2]
    extrinsic = decode_extrinsic(codec, data, 66, lambda number: GENESIS)
    assert extrinsic.signer == decoded["address"]
    assert extrinsic.nonce == decoded["nonce"]
    assert extrinsic.call.name == decoded["call"]["call_function"]
    assert extrinsic.hash == unhex(decoded["extrinsic_hash"])
    assert compute_fee(extrinsic.call, len(extrinsic.data)) == GOLDEN["receipt"]["total_fee_amount"]
    one_bit = data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(InvalidTransactionError, match="bad signature"):
        decode_extrinsic(codec, one_bit, 66, lambda number: GENESIS)


def test_a_blocks_own_first_extrinsic(codec: ScaleCodec) -> None:
    (argument,) = GOLDEN["block"]["decoded_extrinsics"][0]["call"]["call_args"]
    call = codec.encode_call("Timestamp", "set", {"now": argument["value"]})
    assert encode_bare(call) == unhex(BLOCK["extrinsics"][0])


def test_a_header_and_its_hash(codec: ScaleCodec) -> None:
    block_hash = unhex(GOLDEN["block"]["block_hash"])
    assert codec.hash_header(BLOCK["header"]) == block_hash
    header = BlockHeader.from_json(block_hash, BLOCK["header"])
    assert header.to_json() == BLOCK["header"] | {"digest": {"logs": []}}


def test_events(codec: ScaleCodec) -> None:
    records = []
    for event in GOLDEN["events"]["decoded"]:
        phase = event["extrinsic_idx"]
        records.append(
            codec.make_event(phase, event["module_id"], event["event_id"], event["attributes"])
        )
    raw = unhex(GOLDEN["events"]["raw_hex"])
    before = sum(event["phase"] == "Initialization" for event in GOLDEN["events"]["decoded"])
    assert before == sum(event["extrinsic_idx"] is None for event in GOLDEN["events"]["decoded"])
    assert codec.encode_value("System", "Events", records) == raw


@pytest.mark.parametrize("entry", GOLDEN["runtime_calls"], ids=name_of)
def test_a_runtime_call(codec: ScaleCodec, entry: dict[str, Any]) -> None:
    apis = RuntimeApis(codec, {})
    api, method = entry["api"], entry["method"]
    arguments = apis.decode_arguments(api, method, unhex(entry["encoded_params_hex"]))
    assert list(arguments.values()) == entry["params"]
    output = codec.runtime_apis[api][method]["output"]
    raw = unhex(entry["raw_hex"])
    assert apis.encode_filled(output, codec.decode(output, raw)) == raw
    assert codec.decode(output, raw) == retuple(entry["decoded"], codec.decode(output, raw))


def retuple(value: Any, like: Any) -> Any:
    """JSON has no tuples."""
    if isinstance(like, tuple):
        return tuple(retuple(*pair) for pair in zip(value, like, strict=True))
    if isinstance(like, list):
        return [retuple(*pair) for pair in zip(value, like, strict=True)]
    if isinstance(like, dict):
        return {key: retuple(value[key], like[key]) for key in like}
    return value


@pytest.mark.parametrize("entry", GOLDEN["constants"], ids=name_of)
def test_a_constant(codec: ScaleCodec, entry: dict[str, Any]) -> None:
    assert codec.get_constant(entry["module"], entry["name"]) == entry["decoded"]


@pytest.mark.parametrize("version", [14, 15])
def test_added_metadata_is_read_and_the_rest_is_unchanged(version: int) -> None:
    changed = ScaleCodec(load_metadata(version, 12_000))
    assert changed.get_constant("Aura", "SlotDuration") == 12_000
    for name, sibling, key, values in (
        ("SubnetEpochConsensus", "CommitRevealWeightsEnabled", 7, ("Yuma", "Null")),
        ("RootClaimType", "StakingHotkeys", PEOPLE["bob"], ("Swap", "Keep")),
    ):
        item = "SubtensorModule", name
        assert changed.decode_value(*item, None) == values[0]
        assert changed.encode_value(*item, values[1]) == b"\x01"
        beside = changed.make_key("SubtensorModule", sibling, key)
        assert changed.make_key(*item, key)[32:] == beside[32:]
    for entry in GOLDEN["storage_keys"]:
        key = changed.make_key(entry["pallet"], entry["storage_function"], *entry["params"])
        assert key == unhex(entry["key_hex"])


def test_errors_have_the_runtimes_numbers(codec: ScaleCodec, core: Any) -> None:
    for pallet, name in (
        ("SubtensorModule", "HotKeyNotRegisteredInSubNet"),
        ("SubtensorModule", "RegistrationPriceLimitExceeded"),
        ("Commitments", "SpaceLimitExceeded"),
        ("AdminUtils", "ValueNotInBounds"),
    ):
        module = codec.make_error(DispatchError(pallet, name))["Module"]
        found, _ = core.module_error(module["index"], unhex(module["error"])[0])
        assert found == name
