"""A miner's file: the bytes of the vectors, one way to write each part, every part bound."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.protocol.bit_fields import BitWriter
from assay.protocol.encoding import EncodingError, decode, encode, from_json
from assay.protocol.hashing import Domain
from assay.protocol.submission import (
    HEADER_BYTES,
    LOGPROB_MAX,
    GroupHead,
    GroupSizes,
    Header,
    Opening,
    Rollout,
    are_ids_canonical,
    compute_group_leaf,
    compute_submission_root,
    decode_group_head,
    decode_ids,
    decode_opening,
    decode_proof,
    encode_group,
    encode_ids,
    encode_submission,
    get_id_bits,
    get_opening_bytes,
    is_head_committed,
    is_opening_committed,
    is_record_committed,
)

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "submission.json").read_bytes())
FILE, ROOT = bytes.fromhex(VECTOR["file"]), bytes.fromhex(VECTOR["root"])
HEADER = from_json(Header, VECTOR["header"])
GROUPS = HEADER.groups


def about(entry: Any) -> str:
    return str(entry["reason"])


def read_rollout(entry: Any) -> Rollout:
    return Rollout(
        np.array(entry["tokens"], np.uint32),
        np.array(entry["logprobs"], np.uint32),
        np.array(entry["sketch"], np.int8),
    )


def describe(rollout: Rollout) -> dict[str, Any]:
    return {name: getattr(rollout, name).tolist() for name in ("tokens", "logprobs", "sketch")}


def open_head(head: bytes, size: int, id_bits: int, ids: int, proofs: int) -> GroupHead:
    """The head of the one group of a file."""
    header = replace(HEADER, groups=1, group_size=size, id_bits=id_bits)
    return decode_group_head(head, Opening(header, (GroupSizes(len(head), ids, proofs),)), 0)


def decode_rollouts(head: GroupHead, ids: bytes, proofs: bytes) -> list[Rollout]:
    found = []
    for r in range(len(head.lengths)):
        where, beside = head.find_ids(r), head.find_proof(r)
        proof = decode_proof(proofs[beside.start : beside.end], head, r)
        tokens = decode_ids(ids[where.start : where.end], head, r)
        found.append(Rollout(tokens, proof.logprobs, proof.sketch))
    return found


@pytest.mark.parametrize("entry", VECTOR["groups"] + VECTOR["other_groups"])
def test_vectors_of_groups(entry: Any) -> None:
    group, id_bits = [read_rollout(row) for row in entry["rollouts"]], entry["id_bits"]
    parts = head, ids, proofs = encode_group(group, id_bits)
    assert [part.hex() for part in parts] == [entry["head"], entry["ids"], entry["proofs"]]
    found = open_head(head, len(group), id_bits, len(ids), len(proofs))
    assert list(map(describe, decode_rollouts(found, ids, proofs))) == entry["rollouts"]
    assert are_ids_canonical([rollout.tokens for rollout in group], found, id_bits)


def test_the_vector_of_a_file() -> None:
    assert [[v, get_id_bits(v)] for v, _ in VECTOR["id_bits"]] == VECTOR["id_bits"]
    assert encode(HEADER).hex() == VECTOR["header_encoding"]
    assert compute_submission_root(HEADER) == ROOT
    for index, (entry, leaf) in enumerate(zip(VECTOR["groups"], VECTOR["leaves"], strict=True)):
        assert compute_group_leaf(index, bytes.fromhex(entry["head"])).hex() == leaf
    facts = {name: getattr(HEADER, name) for name in ("window", "hotkey", "checkpoint", "id_bits")}
    rows = [[read_rollout(row) for row in entry["rollouts"]] for entry in VECTOR["groups"]]
    assert encode_submission(rows, parameters=HEADER.parameters, **facts) == (FILE, ROOT)


def test_every_part_of_a_file_is_found_by_arithmetic_and_bound_by_the_root() -> None:
    start = FILE[: get_opening_bytes(GROUPS)]
    assert is_opening_committed(start, ROOT)
    opening = decode_opening(start, GROUPS)
    at = len(start)
    for g, entry in enumerate(VECTOR["groups"]):
        head = opening.find_head(g)
        assert (head.start, opening.find_group(g).start) == (at, at)
        written = FILE[head.start : head.end]
        assert is_head_committed(written, opening, g)
        assert written.hex() == "".join(VECTOR["paths"][g]) + entry["head"]
        ids, proofs = opening.find_ids(g), opening.find_proofs(g)
        assert (head.end, ids.end, proofs.end) == (ids.start, proofs.start, ids.end + proofs.size)
        found = decode_group_head(bytes.fromhex(entry["head"]), opening, g)
        for r, digest in enumerate(found.ids_digests):
            record = found.find_ids(r)
            data = FILE[ids.start + record.start : ids.start + record.end]
            assert is_record_committed(Domain.IDS, data, digest)
            assert not is_record_committed(Domain.PROOF, data, digest)
        at = opening.find_group(g).end
        assert at == proofs.end
    assert at == opening.file_bytes == len(FILE)


@given(st.integers(0, 8 * len(FILE) - 1))
def test_no_bit_of_a_file_can_change_unseen(bit: int) -> None:
    data = bytearray(FILE)
    data[bit // 8] ^= 128 >> bit % 8
    size = get_opening_bytes(GROUPS)
    assert is_opening_committed(bytes(data[:size]), ROOT) == (bit >= 8 * size)
    opening = decode_opening(FILE[:size], GROUPS)
    for g in range(GROUPS):
        where = opening.find_head(g)
        if not is_head_committed(bytes(data[where.start : where.end]), opening, g):
            assert where.start <= bit // 8 < where.end
            return
        head = decode_group_head(data[where.end - opening.sizes[g].head : where.end], opening, g)
        parts = [
            (Domain.IDS, opening.find_ids(g).start, head.find_ids, head.ids_digests),
            (Domain.PROOF, opening.find_proofs(g).start, head.find_proof, head.proof_digests),
        ]
        for domain, start, find, digests in parts:
            for r, digest in enumerate(digests):
                record = data[start + find(r).start : start + find(r).end]
                if not is_record_committed(domain, bytes(record), digest):
                    return
    assert bit < 8 * size


def test_a_head_is_bound_to_its_place() -> None:
    opening = decode_opening(FILE[: get_opening_bytes(GROUPS)], GROUPS)
    first, second = opening.find_head(0), opening.find_head(1)
    assert not is_head_committed(FILE[second.start : second.end], opening, 0)
    assert not is_head_committed(FILE[first.start : first.end], opening, 1)


@pytest.mark.parametrize("bad", VECTOR["bad_headers"], ids=about)
def test_a_bad_header_is_refused(bad: Any) -> None:
    with pytest.raises(EncodingError):
        decode(Header, bytes.fromhex(bad["bytes"]))
    assert not is_opening_committed(bytes.fromhex(bad["bytes"])[:HEADER_BYTES], ROOT)


@pytest.mark.parametrize("bad", VECTOR["bad_openings"], ids=about)
def test_a_bad_opening_is_refused(bad: Any) -> None:
    with pytest.raises(EncodingError, match=bad["because"]):
        decode_opening(bytes.fromhex(bad["bytes"]), bad["groups"])


BY_HAND = VECTOR["by_hand"]


def open_by_hand(head: str, sizes: list[int]) -> GroupHead:
    return open_head(bytes.fromhex(head), BY_HAND["group_size"], BY_HAND["id_bits"], *sizes[1:])


def test_a_group_typed_by_hand_is_read() -> None:
    head = open_by_hand(BY_HAND["head"], BY_HAND["sizes"])
    ids, proofs = (bytes.fromhex("".join(BY_HAND[part])) for part in ("ids", "proofs"))
    rollouts = decode_rollouts(head, ids, proofs)
    assert list(map(describe, rollouts)) == BY_HAND["rollouts"]
    tokens = [rollout.tokens for rollout in rollouts]
    assert are_ids_canonical(tokens, head, BY_HAND["id_bits"])


@pytest.mark.parametrize("bad", VECTOR["bad_heads"], ids=about)
def test_a_bad_head_is_refused(bad: Any) -> None:
    with pytest.raises(EncodingError, match=bad["because"]):
        open_by_hand(bad["head"], bad["sizes"])


@pytest.mark.parametrize("bad", VECTOR["bad_records"], ids=about)
def test_a_bad_record_is_refused(bad: Any) -> None:
    head = open_by_hand(BY_HAND["head"], BY_HAND["sizes"])
    read: Any = decode_ids if bad["part"] == "ids" else decode_proof
    with pytest.raises(EncodingError, match=bad["because"]):
        read(bytes.fromhex(bad["bytes"]), head, 1)


@pytest.mark.parametrize("entry", VECTOR["uncanonical"], ids=about)
def test_ids_in_another_code_than_their_own_are_seen(entry: Any) -> None:
    head = open_by_hand(entry["head"], entry["sizes"])
    tokens = [decode_ids(bytes.fromhex(data), head, r) for r, data in enumerate(entry["ids"])]
    assert [row.tolist() for row in tokens] == entry["tokens"]
    assert not are_ids_canonical(tokens, head, BY_HAND["id_bits"])


few = st.integers(0, 3)


def draw_rollout(count: int, id_bits: int) -> st.SearchStrategy[Rollout]:
    def columns(values: st.SearchStrategy[int], size: int) -> st.SearchStrategy[list[int]]:
        return st.lists(values, min_size=size, max_size=size)

    ids = few.map(lambda number: number % 2**id_bits) | st.integers(0, 2**id_bits - 1)
    return st.builds(
        lambda tokens, logprobs, sketch: Rollout(
            np.array(tokens, np.uint32),
            np.array(logprobs, np.uint32),
            np.array(sketch, np.int8).reshape(count, 2),
        ),
        columns(ids, count),
        columns(few | st.integers(0, LOGPROB_MAX), count),
        columns(few | st.integers(-127, 127), 2 * count),
    )


@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.integers(0, 32), st.data())
def test_a_group_is_read_back(lengths: list[int], id_bits: int, data: st.DataObject) -> None:
    """Whatever the rows are: no honest group is refused, and its bytes are the only ones."""
    group = [data.draw(draw_rollout(count, id_bits)) for count in lengths]
    written, ids, proofs = encode_group(group, id_bits)
    head = open_head(written, len(group), id_bits, len(ids), len(proofs))
    found = decode_rollouts(head, ids, proofs)
    assert list(map(describe, found)) == list(map(describe, group))
    assert are_ids_canonical([rollout.tokens for rollout in group], head, id_bits)
    assert encode_group(found, id_bits) == (written, ids, proofs)


@given(st.binary(max_size=8), st.sampled_from(VECTOR["groups"]), st.data())
def test_a_mutant_is_refused_or_is_the_only_way_to_write_what_it_says(
    noise: bytes, entry: Any, data: st.DataObject
) -> None:
    sizes = [len(bytes.fromhex(entry[part])) for part in ("head", "ids", "proofs")]
    whole = bytearray.fromhex(entry["head"])
    start = data.draw(st.integers(64 * HEADER.group_size, len(whole) - 1))
    whole[start : start + len(noise)] = noise
    try:
        head = open_head(bytes(whole), HEADER.group_size, HEADER.id_bits, *sizes[1:])
    except EncodingError:
        return
    fields = BitWriter()
    for column in (head.lengths, head.ids_bytes, head.proof_bytes):
        fields.write_narrow(column)
    head.ids_code.write(fields)
    head.class_code.write(fields)
    digests = b"".join([*head.ids_digests, *head.proof_digests])
    assert digests + fields.finish() == whole
    for r, record in enumerate((noise, bytes.fromhex(entry["ids"])[: head.ids_bytes[0]])):
        try:
            tokens = decode_ids(record, head, r)
        except EncodingError:
            continue
        assert encode_ids(tokens.astype(np.int64), head.ids_code) == record


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"tokens": np.zeros(0, np.uint32)}, "at least one token"),
        ({"tokens": np.array([16], np.uint32)}, "more than 4 bits"),
        ({"logprobs": np.zeros(2, np.uint32)}, "differ in length"),
        ({"sketch": np.zeros((2, 2), np.int8)}, "differ in length"),
        ({"sketch": np.zeros((1, 3), np.int8)}, "differ in length"),
    ],
)
def test_rows_that_are_none_are_never_written(change: Any, fault: str) -> None:
    good = Rollout(np.zeros(1, np.uint32), np.zeros(1, np.uint32), np.zeros((1, 2), np.int8))
    with pytest.raises(ValueError, match=fault):
        encode_group([good, replace(good, **change)], 4)


@pytest.mark.parametrize("sizes", [[], [0], [1, 2]])
def test_groups_of_no_or_of_different_sizes_are_never_written(sizes: list[int]) -> None:
    row = read_rollout(VECTOR["groups"][0]["rollouts"][0])
    facts = {"window": 1, "hotkey": bytes(32), "checkpoint": bytes(32), "id_bits": 7}
    with pytest.raises(ValueError, match="all of one size"):
        encode_submission([[row] * size for size in sizes], parameters=bytes(32), **facts)
