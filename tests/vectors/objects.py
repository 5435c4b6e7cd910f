"""Vectors of encodings: parameters, submissions, commitments, manifests, contexts."""

import json
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bad_inputs import (
    BAD_SAFETENSORS,
    iterate_bad_commitments,
    iterate_bad_contexts,
    iterate_bad_manifests,
)
from refusals import make_refusals
from subjects import ALICE, BOB, PARAMETERS, WINDOW, digest

from assay.protocol.beacon import (
    QUICKNET,
    Beacon,
    BeaconChain,
    Scheme,
    compute_message,
    compute_round_at,
    is_valid_beacon,
)
from assay.protocol.commitment import Commitment, Tag, encode_commitment, make_object_name
from assay.protocol.context import Committed, Context, Member, context_to_json
from assay.protocol.encoding import encode, to_json
from assay.protocol.gate import Course, GateCounts
from assay.protocol.hashing import Domain
from assay.protocol.manifest import (
    Calibration,
    FurtherFile,
    LevelSuccess,
    LevelWeight,
    Manifest,
    compute_files_digest,
    compute_tensor_root,
    digest_safetensors,
)
from assay.protocol.parameters import (
    DEMO_TIMING,
    PROTOCOL_VERSION,
    Gate,
    GateRule,
    ModelClass,
    Parameters,
)
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import Block

DATA = Path(__file__).parents[1] / "data"

Json = Any


def mutate(value: Json) -> Json:
    """The value one step away."""
    match value:
        case int():
            return value + 1
        case list():
            if not value:  # a gate's environment, which may be left out
                return [to_json(PARAMETERS.environment)]
            return [mutate(value[0]), *value[1:]]
        case dict():
            last = next(reversed(value))
            return value | {last: mutate(value[last])}
        case Scheme.UNCHAINED_G1.value:
            return Scheme.CHAINED_G2.value
        case GateRule.NONE.value:
            return GateRule.BETTER.value
        case "arithmetic":
            return "arithmetics"
    return value[:-1] + format(int(value[-1], 16) ^ 1, "x")


def make_parameters() -> Json:
    whole = PARAMETERS.to_json()
    mutations = []
    for section, fields in whole.items():
        for name in fields:
            changed = deepcopy(whole)
            value = changed[section][name] = mutate(fields[name])
            made = Parameters.from_json(changed).digest.hex()
            mutations.append({"field": f"{section}.{name}", "value": value, "digest": made})
    library = ModelClass(digest("structure"), digest("shapes"), "5.19.0", "fp32-sdpa", "split3")
    marked = replace(PARAMETERS, model_class=library)
    return {
        "model_class": {
            "parameters": marked.to_json(),
            "encoding": encode(marked).hex(),
            "digest": marked.digest.hex(),
        },
        "parameters": whole,
        "encoding": encode(PARAMETERS).hex(),
        "digest": PARAMETERS.digest.hex(),
        "mutations": mutations,
        "refusals": make_refusals(),
    }


def make_commitments() -> Json:
    root = digest("root")
    valid = [
        Commitment(Tag.MINER, WINDOW, 1_024, root, "https://store.example/m"),
        Commitment(Tag.MINER, 2**64 - 1, 2**32 - 1, root, ""),
        Commitment(Tag.CHECKPOINT, 12, 0, root, "é" * 40),
        Commitment(Tag.PARAMETERS, 0, 0, root, "x" * 80),
        Commitment(Tag.RECORD, 12_072, 0, root, "https://store.example/v"),
    ]
    return {
        "valid": [
            asdict(c) | {"tag": c.tag.value.decode(), "digest": c.digest.hex(), "payload": p.hex()}
            for c, p in ((c, encode_commitment(c)) for c in valid)
        ],
        "bad": iterate_bad_commitments(encode_commitment(valid[0])),
        "object": {
            "hotkey": ALICE.hex(),
            "window": WINDOW,
            "name": make_object_name(encode_ss58(ALICE), WINDOW),
        },
    }


def make_beacons() -> Json:
    """Recorded beacons of both kinds of chain: the signed message, and the randomness."""
    recorded = json.loads((DATA / "drand-beacons.json").read_text())
    chains = {name: _read_chain(recorded[name]["info"]) for name in ("quicknet", "default")}
    assert chains["quicknet"] == QUICKNET
    made = []
    for name, chain in chains.items():
        for entry in recorded[name]["beacons"][:3]:
            previous = bytes.fromhex(entry.get("previous_signature", ""))
            beacon = Beacon(entry["round"], bytes.fromhex(entry["signature"]), previous)
            assert is_valid_beacon(chain, beacon)
            made.append(
                {
                    "chain": name,
                    "round": beacon.round,
                    "previous_signature": previous.hex(),
                    "message": compute_message(chain, beacon).hex(),
                    "signature": beacon.signature.hex(),
                    "randomness": beacon.randomness.hex(),
                }
            )
    start, period = QUICKNET.genesis_ms, QUICKNET.period_ms
    times = [0, start - 1, start, start + 1, start + period, start + period + 1, start + 10**12]
    return {
        "chains": {name: to_json(chain) for name, chain in chains.items()},
        "beacons": made,
        "rounds": [{"time_ms": at, "round": compute_round_at(QUICKNET, at)} for at in times],
    }


def _read_chain(info: Json) -> BeaconChain:
    """A chain from a drand node's description of it, in seconds."""
    return BeaconChain(
        chain_hash=bytes.fromhex(info["hash"]),
        scheme=Scheme(info["schemeID"]),
        public_key=bytes.fromhex(info["public_key"]),
        genesis_ms=1_000 * info["genesis_time"],
        period_ms=1_000 * info["period"],
    )


#: Of the manifest: the parameters of the other vectors have none.
GATE = Gate(GateRule.NOT_WORSE, problems=256, error_worse=50_000, error_better=50_000)


def make_safetensors(header: str, data: bytes) -> bytes:
    return len(header.encode()).to_bytes(8, "little") + header.encode() + data


def make_manifest() -> Json:
    header = (
        '{"__metadata__":{"format":"pt"},'
        '"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},'
        '"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}'
    )
    tensors = digest_safetensors(make_safetensors(header, bytes(range(16))))
    calibration = Calibration(rates=tuple(10**12 >> k for k in range(8)), tokens=100_000)
    manifest = Manifest(
        version=PROTOCOL_VERSION,
        structure=compute_files_digest(Domain.STRUCTURE, {"config.json": b"{}"}),
        tokenizer=compute_files_digest(Domain.TOKENIZER, {"b": b"2", "a": b"1"}),
        chat_template=compute_files_digest(Domain.CHAT_TEMPLATE, {}),
        tensors=compute_tensor_root(tensors),
        end_tokens=(2,),
        max_tokens=48,
        levels=(LevelWeight(5, 1_200), LevelWeight(6, 800)),
        levels_before=(LevelWeight(5, 1_000),),
        held_out=(LevelSuccess(5, 61, 100, 40), LevelSuccess(6, 12, 99, 28)),
        centre=(-3, 0, 70_000),
        scale=1 << 16,
        router_ramp=0,
        experts=0,
        calibration=calibration.digest,
        calibration_set=digest("calibration set"),
        files=(
            FurtherFile("notes.txt", digest("notes"), 12),
            FurtherFile("pool", digest("pool"), 1 << 20),
        ),
        parent=digest("parent"),
        step=digest("step"),
        number=7,
        course=Course(
            digest("milestone"),
            2,
            (
                GateCounts(digest("fifth"), digest("answers of five"), 256, 30, 21, 9, 4),
                GateCounts(digest("sixth"), digest("answers of six"), 256, 26, 19, 8, 8),
            ),
        ),
    )
    return {
        "gate": to_json(GATE),
        "manifest": to_json(manifest),
        "encoding": encode(manifest).hex(),
        "digest": manifest.digest.hex(),
        "calibration": to_json(calibration),
        "calibration_digest": calibration.digest.hex(),
        "safetensors": {
            "header": header,
            "data": bytes(range(16)).hex(),
            "tensors": [
                {"name": t.name, "dtype": t.dtype, "shape": list(t.shape), "sha256": t.sha256.hex()}
                for t in tensors
            ],
            "root": compute_tensor_root(tensors).hex(),
        },
        "files": {
            "structure": {"config.json": b"{}".hex()},
            "tokenizer": {"b": b"2".hex(), "a": b"1".hex()},
            "chat_template": {},
        },
        "tests": to_json(PARAMETERS.tests),
        "max_tokens": PARAMETERS.work.max_tokens,
        "bad": iterate_bad_manifests(),
        "bad_safetensors": [
            {"reason": reason, "header": text, "data": bytes(range(16)).hex()}
            for reason, text in BAD_SAFETENSORS.items()
        ],
    }


def make_valid_context() -> Context:
    recorded = json.loads((DATA / "drand-beacons.json").read_text())["quicknet"]["beacons"]
    signatures = {entry["round"]: bytes.fromhex(entry["signature"]) for entry in recorded}

    def name_round(number: int) -> int:
        """A block's timestamp that names this round: in the middle of its slot."""
        published = QUICKNET.genesis_ms + (number - 1) * QUICKNET.period_ms
        return published - DEMO_TIMING.beacon_delay_ms - DEMO_TIMING.slot_ms // 2

    return Context(
        window=WINDOW,
        challenge_block=Block(12_000, digest("block"), name_round(1_000)),
        audit_block=Block(12_017, bytes(32), name_round(1_001)),
        sample_block=Block(12_019, bytes(32), name_round(1_002)),
        challenge=Beacon(1_000, signatures[1_000]),
        audit=Beacon(1_001, signatures[1_001]),
        sample=Beacon(1_002, signatures[1_002]),
        members={ALICE: Member(3, 11_000), BOB: Member(4, 0)},
        commitments={ALICE: Committed(digest("root"), 8, 12_013, "https://store.example/m")},
        checkpoint=digest("checkpoint"),
        parameters=PARAMETERS,
    )


def make_context() -> Json:
    context = make_valid_context()
    return {
        "valid": context_to_json(context),
        "challenge_seed": context.challenge_seed.hex(),
        "audit_seed": context.audit_seed.hex(),
        "sample_seed": context.sample_seed.hex(),
        "bad": iterate_bad_contexts(context_to_json(context)),
    }
