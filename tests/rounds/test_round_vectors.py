"""The vectors of rounds, derived a second time by hashlib and struct."""

import struct
from fractions import Fraction
from hashlib import sha256

from assay.protocol.encoding import decode, from_json
from assay.protocol.parameters import Parameters
from assay.rounds.outer_records import ChildRecord, MergeRecord
from tests.protocol.test_vectors import load
from tests.rounds.outer_by_hand import round_to_single, step_by_hand, weigh_by_hand

VECTOR = load("rounds")


def hash_by_hand(label: str, *fields: bytes) -> bytes:
    whole = f"assay/v4/{label}".encode()
    parts = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    return sha256(bytes([len(whole)]) + whole + parts).digest()


def test_parameters_with_rounds() -> None:
    data = bytes.fromhex(VECTOR["encoding"])
    assert hash_by_hand("parameters", data).hex() == VECTOR["digest"]
    parameters = decode(Parameters, data)
    assert parameters.to_json() == VECTOR["parameters"]
    without = {k: v for k, v in VECTOR["parameters"].items() if k != "rounds"}
    assert Parameters.from_json(without).digest.hex() == load("parameters")["digest"]


def test_calendar() -> None:
    rules, of = VECTOR["parameters"]["rounds"], VECTOR["round"]
    length = VECTOR["parameters"]["timing"]["window_blocks"]
    end = (of["window"] // rules["windows"] + 1) * rules["windows"]
    deadline = end * length + rules["child_offset"]
    shown = deadline + rules["reveal_blocks"]
    turns = [shown + k * rules["turn_blocks"] for k in range(len(rules["trainers"]))]
    opening = deadline - rules["child_blocks"]
    expected = {"window": of["window"], "end": end, "opening": opening}
    turns_end = turns[-1] + rules["turn_blocks"]
    assert of == expected | {"deadline": deadline, "turns": turns, "turns_end": turns_end}


def test_shares_and_lines() -> None:
    trainers, seed = VECTOR["parameters"]["rounds"]["trainers"], VECTOR["audit_seed"]
    for entry in VECTOR["shares"]:
        index = entry["index"].to_bytes(4, "big")
        drawn = hash_by_hand("share", bytes.fromhex(seed), bytes.fromhex(entry["hotkey"]), index)
        assert entry["trainer"] == trainers[int(drawn.hex(), 16) % len(trainers)]
    before = bytes.fromhex(VECTOR["digest"]), VECTOR["round"]["end"].to_bytes(8, "big")
    for entry in VECTOR["lines"]:
        block = bytes.fromhex(entry["block_hash"])
        assert entry["line"] == sorted(
            trainers, key=lambda t, b=block: hash_by_hand("line", *before, b, bytes.fromhex(t))
        )


def read(text: str) -> list[float]:
    return list(struct.unpack(f">{len(text) // 8}f", bytes.fromhex(text)))


def test_outer_steps() -> None:
    rules = decode(Parameters, bytes.fromhex(VECTOR["encoding"])).rounds
    for step in VECTOR["steps"]:
        theta, velocity, *children = (
            list(map(Fraction, read(text)))
            for text in (step["theta"], step["velocity"], *step["children"])
        )
        differences = [
            [round_to_single(c - t) for c, t in zip(child, theta, strict=True)]
            for child in children
        ]
        assert weigh_by_hand(differences) == step["factors"]
        after = step_by_hand(rules, theta, velocity, children)
        found = zip(read(step["theta_after"]), read(step["velocity_after"]), strict=True)
        assert [tuple(map(Fraction, pair)) for pair in found] == after


def test_bounds() -> None:
    for entry in VECTOR["bounds"]:
        parts = [abs(Fraction(value)) * 2**30 // 1 for value in read(entry["difference"])]
        small = all(part < 2**40 for part in parts)
        assert entry["within"] == (
            small and sum(p * p for p in parts) <= (entry["bound"] << 10) ** 2
        )


def test_withheld_children() -> None:
    for entry in VECTOR["withheld"]:
        named, withheld = entry["named"], entry["withheld"]
        assert entry["enough"] == (named == 0 or Fraction(withheld, named) < Fraction(1, 2))


def test_records() -> None:
    for name, of in (("child", ChildRecord), ("merge", MergeRecord)):
        entry = VECTOR[name]
        data = bytes.fromhex(entry["encoding"])
        assert hash_by_hand(name, data).hex() == entry["digest"]
        assert decode(of, data) == from_json(of, entry["json"])
