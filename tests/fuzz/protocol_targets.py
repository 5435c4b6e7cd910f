"""The targets of the protocol: encodings, records, slots, beacons, submissions.

`targets.py` has the rules for targets, and all other targets.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from assay.artifacts.submissions.pack import PackedPart, PackedRefusal, measure_pack
from assay.judge.pack import PackedSubmission, PackError, decode_pack, encode_pack
from assay.judge.whole_file import read_whole
from assay.protocol.beacon import QUICKNET, Beacon, BeaconChain, Scheme, is_valid_beacon
from assay.protocol.bit_fields import BitWriter
from assay.protocol.commitment import encode_commitment, parse_commitment
from assay.protocol.context import context_from_json, context_to_json, find_context_fault
from assay.protocol.encoding import EncodingError, decode, encode, from_json, read_json, to_json
from assay.protocol.manifest import Calibration, Manifest
from assay.protocol.parameters import Parameters, find_parameters_fault
from assay.protocol.reason import Reason
from assay.protocol.record import (
    WindowRecord,
    decode_settlement_record,
    decode_window_record,
    make_record_context,
)
from assay.protocol.ss58 import decode_ss58, encode_ss58
from assay.protocol.submission import (
    HEADER_BYTES,
    GroupHead,
    GroupSizes,
    Header,
    Opening,
    Rollout,
    _compute_classes,
    _encode_proof,
    decode_group_head,
    decode_ids,
    decode_opening,
    decode_proof,
    encode_ids,
)
from assay.training import GENESIS

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Target:
    """One decoder under attack.

    Attributes:
        run: returns for every input, or raises what breaks the contract.
        seeds: good inputs, and bad ones that are known.
        examples: how many inputs the quick tests try.
    """

    run: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    examples: int = 150


@cache
def read_vectors(name: str) -> Any:
    return json.loads((TESTS / "vectors" / f"{name}.json").read_bytes())


# Fixed binary encodings and their JSON forms

ENCODED: tuple[type[Any], ...] = (Header, Manifest, Calibration, Parameters, Beacon)


def attack_encoding(of: type[Any], data: bytes) -> None:
    try:
        value = decode(of, data)
    except EncodingError:
        return
    assert encode(value) == data
    assert from_json(of, to_json(value)) == value


def attack_record(decode_record: Callable[[bytes], Any], data: bytes) -> None:
    try:
        record = decode_record(data)
    except EncodingError:
        return
    assert encode(record) == data
    assert from_json(type(record), to_json(record)) == record
    if isinstance(record, WindowRecord):
        parameters = Parameters.from_json(read_vectors("parameters")["parameters"])
        context = make_record_context(record, parameters)
        if context is not None:
            find_context_fault(context)


def list_records(kind: str) -> list[bytes]:
    vector = read_vectors("record")
    good = vector["windows"] if kind == "windows" else [vector["settlement"]]
    return [
        *(bytes.fromhex(entry["encoding"]) for entry in good),
        *(bytes.fromhex(entry["bytes"]) for entry in vector[f"bad_{kind}"]),
    ]


def attack_json(of: type[Any], data: bytes) -> None:
    try:
        value = from_json(of, read_json(data))
    except EncodingError:
        return
    assert decode(of, encode(value)) == value
    assert to_json(value) == json.loads(data)


def list_encodings(of: type[Any]) -> list[bytes]:
    """Encodings of a class; of those without vectors, any one."""
    written = list_json(of)
    return [encode(from_json(of, read_json(data))) for data in written]


def list_json(of: type[Any]) -> list[bytes]:
    values: dict[type[Any], Any] = {
        Header: read_vectors("submission")["header"],
        Manifest: read_vectors("manifest")["manifest"],
        Calibration: read_vectors("manifest")["calibration"],
        Parameters: read_vectors("parameters")["parameters"],
        Beacon: {"round": 1, "signature": "00" * 48, "previous_signature": ""},
    }
    found = [json.dumps(values[of]).encode()]
    if of in (Manifest, Calibration):
        found.append((GENESIS / f"{of.__name__.lower()}.json").read_bytes())
    return found


def attack_parameters(data: bytes) -> None:
    attack_json(Parameters, data)
    try:
        parameters = Parameters.from_json(read_json(data))
    except EncodingError:
        return
    find_parameters_fault(parameters)


def attack_context(data: bytes) -> None:
    try:
        context = context_from_json(read_json(data))
    except EncodingError:
        return
    find_context_fault(context)
    written = json.dumps(context_to_json(context), sort_keys=True)
    assert written == json.dumps(json.loads(data), sort_keys=True)


# Strangers' data on chain, and answers of a beacon's server


def attack_commitment(data: bytes) -> None:
    commitment = parse_commitment(data)
    assert commitment is None or encode_commitment(commitment) == data


def list_commitments() -> list[bytes]:
    vector = read_vectors("commitments")
    return [bytes.fromhex(entry["payload"]) for entry in vector["valid"] + vector["bad"]]


def attack_ss58(data: bytes) -> None:
    text = data.decode(errors="replace")
    try:
        key = decode_ss58(text)
    except ValueError:
        return
    assert encode_ss58(key) == text


def list_addresses() -> list[bytes]:
    vector = read_vectors("ss58")
    return [entry["address"].encode() for entry in vector["valid"] + vector["bad"]]


def attack_beacon(data: bytes) -> None:
    """A scheme, a round, a public key and a signature; the answer is a plain yes or no."""
    chained, number, rest = data[:1] > b"\x7f", data[1:9], data[9:]
    scheme = Scheme.CHAINED_G2 if chained else Scheme.UNCHAINED_G1
    key, signature = rest[: 144 - scheme.signature_bytes], rest[144 - scheme.signature_bytes :]
    chain = BeaconChain(QUICKNET.chain_hash, scheme, key, 0, 1)
    claimed = Beacon(int.from_bytes(number, "big"), signature)
    assert is_valid_beacon(chain, claimed) in (False, True)


def list_beacons() -> list[bytes]:
    drand = json.loads((TESTS / "data" / "drand-beacons.json").read_bytes())
    found = []
    for scheme, name in ((0, "quicknet"), (255, "default")):
        key = bytes.fromhex(drand[name]["info"]["public_key"])
        for entry in drand[name]["beacons"][:2]:
            head = bytes([scheme]) + entry["round"].to_bytes(8, "big")
            found.append(head + key + bytes.fromhex(entry["signature"]))
    return found


# A submission's file, and the parts read of one


def attack_opening(data: bytes) -> None:
    try:
        opening = decode_opening(data, max(0, len(data) - HEADER_BYTES) // 12)
    except EncodingError:
        return
    assert encode(opening.header) + b"".join(map(encode, opening.sizes)) == data
    assert opening.file_bytes >= len(data)


def list_openings() -> list[bytes]:
    vector = read_vectors("submission")
    bad = [bytes.fromhex(entry["bytes"]) for entry in vector["bad_openings"]]
    return [bytes.fromhex(vector["header_encoding"] + vector["index"]), *bad]


def make_opening(sizes: GroupSizes, id_bits: int, size: int) -> Opening:
    header = from_json(Header, read_vectors("submission")["header"])
    return Opening(replace(header, id_bits=id_bits, group_size=size), (sizes,))


def attack_head(data: bytes) -> None:
    """A number of rollouts, bits of an id, bytes of ids and of proofs, then a head."""
    size, id_bits = max(1, data[0] % 9) if data else 1, data[1] % 33 if data[1:] else 7
    ids, proofs = (int.from_bytes(data[at : at + 2], "big") for at in (2, 4))
    head = data[6:]
    try:
        found = decode_group_head(
            head, make_opening(GroupSizes(len(head), ids, proofs), id_bits, size), 0
        )
    except EncodingError:
        return
    fields = BitWriter()
    for column in (found.lengths, found.ids_bytes, found.proof_bytes):
        fields.write_narrow(column)
    found.ids_code.write(fields)
    found.class_code.write(fields)
    assert b"".join((*found.ids_digests, *found.proof_digests)) + fields.finish() == head


def list_heads() -> list[bytes]:
    vector = read_vectors("submission")
    heads = [
        (len(g["rollouts"]), g["id_bits"], len(g["ids"]) // 2, len(g["proofs"]) // 2, g["head"])
        for g in (*vector["groups"], *vector["other_groups"])
    ]
    heads += [(2, 7, *bad["sizes"][1:], bad["head"]) for bad in vector["bad_heads"]]
    return [
        bytes([size, id_bits])
        + ids.to_bytes(2, "big")
        + proofs.to_bytes(2, "big")
        + bytes.fromhex(head)
        for size, id_bits, ids, proofs, head in heads
    ]


@cache
def read_heads() -> list[GroupHead]:
    vector = read_vectors("submission")
    return [
        decode_group_head(
            bytes.fromhex(entry["head"]),
            make_opening(
                GroupSizes(*(len(entry[part]) // 2 for part in ("head", "ids", "proofs"))),
                entry["id_bits"],
                len(entry["rollouts"]),
            ),
            0,
        )
        for entry in (*vector["groups"], *vector["other_groups"])
    ]


def attack_ids(data: bytes) -> None:
    """Whose head, then a record of its first rollout's ids."""
    head = read_heads()[data[0] % len(read_heads()) if data else 0]
    try:
        tokens = decode_ids(data[1:], head, 0)
    except EncodingError:
        return
    assert len(tokens) == head.lengths[0]
    assert encode_ids(tokens.astype(np.int64), head.ids_code) == data[1:]


def attack_proof(data: bytes) -> None:
    """Likewise, its proof."""
    head = read_heads()[data[0] % len(read_heads()) if data else 0]
    try:
        proof = decode_proof(data[1:], head, 0)
    except EncodingError:
        return
    assert len(proof.logprobs) == len(proof.sketch) == head.lengths[0]
    rollout = Rollout(proof.logprobs, proof.logprobs, proof.sketch)
    classes = _compute_classes(proof.logprobs)
    assert _encode_proof(rollout, classes, head.class_code) == data[1:]


def list_records_of(part: str) -> list[bytes]:
    vector = read_vectors("submission")
    found = []
    for number, (entry, head) in enumerate(
        zip((*vector["groups"], *vector["other_groups"]), read_heads(), strict=True)
    ):
        where = head.find_ids(0) if part == "ids" else head.find_proof(0)
        record = bytes.fromhex(entry[part])[where.start : where.end]
        found.append(bytes([number]) + record)
    bad = [entry["bytes"] for entry in vector["bad_records"] if entry["part"] == part]
    return found + [b"\0" + bytes.fromhex(record) for record in bad]


def attack_file(data: bytes) -> None:
    """A file that somebody has on this machine."""
    try:
        opening, groups = read_whole(BytesIO(data))
        found = list(groups)
    except EncodingError:
        return
    assert len(found) == opening.header.groups
    assert {len(group) for group in found} == {opening.header.group_size}


def attack_pack(data: bytes) -> None:
    try:
        packed = decode_pack(data)
    except PackError:
        return
    assert encode_pack(packed) == data
    assert measure_pack(packed) <= len(data)


def list_packs() -> list[bytes]:
    part = PackedPart(0, 3, b"abc", None)
    refused = PackedPart(9, 3, None, PackedRefusal(Reason.NOT_REVEALED, "nothing is there"))
    parts = ((part,), (part, refused), ())
    return [encode_pack(PackedSubmission(bytes(32), some)) for some in parts]


PROTOCOL_TARGETS: dict[str, Target] = {
    **{
        of.__name__.lower(): Target(partial(attack_encoding, of), partial(list_encodings, of))
        for of in ENCODED
    },
    **{
        f"{of.__name__.lower()}.json": Target(partial(attack_json, of), partial(list_json, of))
        for of in ENCODED
    },
    "window_record": Target(
        partial(attack_record, decode_window_record), partial(list_records, "windows")
    ),
    "settlement_record": Target(
        partial(attack_record, decode_settlement_record), partial(list_records, "settlements")
    ),
    "commitment": Target(attack_commitment, list_commitments),
    "ss58": Target(attack_ss58, list_addresses),
    "beacon.signature": Target(attack_beacon, list_beacons),
    "parameters.json": Target(attack_parameters, lambda: list_json(Parameters)),
    "context.json": Target(
        attack_context, lambda: [json.dumps(read_vectors("context")["valid"]).encode()]
    ),
    "submission": Target(
        attack_file, lambda: [bytes.fromhex(read_vectors("submission")["file"])], 300
    ),
    "submission.opening": Target(attack_opening, list_openings, 300),
    "submission.head": Target(attack_head, list_heads, 600),
    "submission.ids": Target(attack_ids, partial(list_records_of, "ids"), 300),
    "submission.proof": Target(attack_proof, partial(list_records_of, "proofs"), 300),
    "submission.pack": Target(attack_pack, list_packs, 300),
}
