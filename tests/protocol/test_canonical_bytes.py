"""Submissions, commitments, manifests, schedules and selections against their vectors."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from assay.protocol import (
    QUICKNET,
    Calibration,
    Commitment,
    EncodingError,
    Header,
    Manifest,
    Parameters,
    Rollout,
    Tag,
    encode_commitment,
    parse_commitment,
)
from assay.protocol.encoding import encode, from_json
from assay.protocol.manifest import compute_tensor_root, digest_safetensors, find_fault
from assay.protocol.parameters import DEMO_TIMING, MAIN_TIMING, find_parameters_fault
from assay.protocol.selection import select_groups, select_positions
from assay.protocol.submission import (
    LOGPROB_MAX,
    compute_group_leaf,
    compute_submission_root,
    decode_rollout,
    encode_rollout,
    split_rows,
)
from assay.protocol.window import (
    Phase,
    compute_block,
    compute_round,
    compute_settled_windows,
    compute_window,
)

VECTORS = Path(__file__).parents[1] / "vectors"
TIMINGS = {"main": MAIN_TIMING, "demo": DEMO_TIMING}


def load(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_bytes())


def read_group(data: bytes, rows: int) -> list[Rollout]:
    return [decode_rollout(row) for row in split_rows(data, rows)]


def test_submission_vectors() -> None:
    vector = load("submission")
    rows = []
    for entry in vector["rollouts"]:
        rollout = Rollout(
            np.array(entry["tokens"], np.uint32),
            np.array(entry["logprobs"], np.uint32),
            np.array(entry["sketch"], np.int8),
        )
        rows.append(encode_rollout(rollout))
        assert rows[-1].hex() == entry["encoding"]
    header = from_json(Header, vector["header"])
    assert encode(header).hex() == vector["header_encoding"]
    leaves = [
        compute_group_leaf(i, [rows[r] for r in group]) for i, group in enumerate(vector["groups"])
    ]
    assert [leaf.hex() for leaf in leaves] == vector["leaves"]
    assert compute_submission_root(header, leaves).hex() == vector["root"]


@pytest.mark.parametrize("bad", load("submission")["bad_groups"], ids=lambda bad: bad["reason"])
def test_a_bad_group_is_refused(bad: Any) -> None:
    with pytest.raises(EncodingError):
        read_group(bytes.fromhex(bad["bytes"]), bad["rows"])


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data())
def test_a_group_is_read_back(lengths: list[int], data: st.DataObject) -> None:
    group = []
    for count in lengths:
        tokens = data.draw(st.lists(st.integers(0, 2**32 - 1), min_size=count, max_size=count))
        logprobs = data.draw(st.lists(st.integers(0, LOGPROB_MAX), min_size=count, max_size=count))
        sketch = data.draw(st.binary(min_size=2 * count, max_size=2 * count))
        columns = np.array(tokens, np.uint32), np.array(logprobs, np.uint32)
        group.append(Rollout(*columns, np.frombuffer(sketch, np.int8).reshape(count, 2)))
    found = read_group(b"".join(map(encode_rollout, group)), len(group))
    for ours, theirs in zip(group, found, strict=True):
        for name in ("tokens", "logprobs", "sketch"):
            assert getattr(ours, name).tolist() == getattr(theirs, name).tolist()


def test_columns_of_different_lengths_are_never_written() -> None:
    one, two = np.zeros(1, np.uint32), np.zeros(2, np.uint32)
    for columns in (
        (one, two, np.zeros((1, 2), np.int8)),
        (one, one, np.zeros((2, 2), np.int8)),
        (one, one, np.zeros((1, 3), np.int8)),
    ):
        with pytest.raises(ValueError, match="differ in length"):
            encode_rollout(Rollout(*columns))


def test_commitment_vectors() -> None:
    for entry in load("commitments")["valid"]:
        payload = bytes.fromhex(entry.pop("payload"))
        fields = entry | {
            "tag": Tag(entry["tag"].encode()),
            "digest": bytes.fromhex(entry["digest"]),
        }
        assert encode_commitment(Commitment(**fields)) == payload
        assert parse_commitment(payload) == Commitment(**fields)
        assert len(payload) <= 128


@pytest.mark.parametrize("bad", load("commitments")["bad"], ids=lambda bad: bad["reason"])
def test_what_is_no_commitment_counts_as_none(bad: Any) -> None:
    assert parse_commitment(bytes.fromhex(bad["payload"])) is None


@pytest.mark.parametrize(
    "change",
    [
        {"number": -1},
        {"number": 2**64},
        {"groups": 2**32},
        {"digest": bytes(31)},
        {"locator": "x" * 81},
        {"locator": "\ud800"},
    ],
    ids=str,
)
def test_a_commitment_out_of_bounds_is_never_written(change: dict[str, Any]) -> None:
    commitment = Commitment(Tag.MINER, 1, 1, bytes(32), "https://store.example")
    with pytest.raises(ValueError, match=r".+"):
        encode_commitment(replace(commitment, **change))


def make_file(entry: Any) -> bytes:
    header = entry["header"].encode()
    return len(header).to_bytes(8, "little") + header + bytes.fromhex(entry["data"])


def test_manifest_vectors() -> None:
    vector = load("manifest")
    manifest = from_json(Manifest, vector["manifest"])
    assert encode(manifest).hex() == vector["encoding"]
    assert manifest.digest.hex() == vector["digest"]
    calibration = from_json(Calibration, vector["calibration"])
    assert calibration.digest.hex() == vector["calibration_digest"] == manifest.calibration.hex()
    tensors = digest_safetensors(make_file(vector["safetensors"]))
    written = [
        {"name": t.name, "dtype": t.dtype, "shape": list(t.shape), "sha256": t.sha256.hex()}
        for t in tensors
    ]
    assert written == vector["safetensors"]["tensors"]
    assert compute_tensor_root(tensors).hex() == vector["safetensors"]["root"]
    assert compute_tensor_root(tensors[::-1]).hex() == vector["safetensors"]["root"]


def test_a_file_of_the_library_is_read_alike() -> None:
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array(7, np.int64)}
    found = {t.name: t for t in digest_safetensors(safetensors.numpy.save(arrays))}
    assert {n: (t.dtype, t.shape) for n, t in found.items()} == {
        "a": ("I64", ()),
        "b": ("F32", (2, 3)),
    }


@pytest.mark.parametrize("bad", load("manifest")["bad_safetensors"], ids=lambda bad: bad["reason"])
def test_a_malformed_tensor_file_is_refused(bad: Any) -> None:
    with pytest.raises(EncodingError):
        digest_safetensors(make_file(bad))


@pytest.mark.parametrize(
    "data",
    [b"", bytes(7), (1).to_bytes(8, "little"), b"\xff" * 16, (2**24 + 1).to_bytes(8, "little")],
    ids=["empty", "no length", "no header", "endless header", "header above 16 MiB"],
)
def test_a_cut_tensor_file_is_refused(data: bytes) -> None:
    with pytest.raises(EncodingError):
        digest_safetensors(data)


def test_a_header_nested_too_deeply_is_refused() -> None:
    with pytest.raises(EncodingError):
        digest_safetensors(make_file({"header": '{"a":' + "[" * 200_000, "data": ""}))


def test_a_checkpoint_beyond_the_bounds_of_the_parameters_is_unusable() -> None:
    vector = load("manifest")
    parameters = Parameters.from_json(load("parameters")["parameters"])
    manifest = from_json(Manifest, vector["manifest"])
    calibration = from_json(Calibration, vector["calibration"])
    tests = parameters.tests

    def find(m: Manifest, c: Calibration) -> str | None:
        return find_fault(replace(m, calibration=c.digest), c, tests, parameters.work.max_tokens)

    assert find(manifest, calibration) is None
    loose = (calibration.rates[0] * 100, *calibration.rates[1:])
    for fault in (
        find_fault(manifest, replace(calibration, tokens=1), tests, 48),
        find(manifest, replace(calibration, rates=loose)),
        find(manifest, replace(calibration, rates=calibration.rates[:-1])),
        find(replace(manifest, scale=tests.scale_min - 1), calibration),
        find(replace(manifest, scale=tests.scale_max + 1), calibration),
        find(replace(manifest, centre=(tests.scale_max * 5, 0, 0)), calibration),
        find(replace(manifest, version=2), calibration),
        find(replace(manifest, max_tokens=0), calibration),
        find(replace(manifest, max_tokens=49), calibration),
        find(replace(manifest, end_tokens=()), calibration),
        find(replace(manifest, levels=()), calibration),
    ):
        assert fault is not None


def test_the_parameters_of_the_vectors_can_be_run() -> None:
    assert find_parameters_fault(Parameters.from_json(load("parameters")["parameters"])) is None


def test_schedule_vectors() -> None:
    vector = load("schedule")
    for entry in vector["blocks"]:
        timing = TIMINGS[entry["timing"]]
        for phase in Phase:
            assert compute_block(timing, entry["window"], phase) == entry[phase.name.lower()]
    for entry in vector["rounds"]:
        timing = TIMINGS[entry["timing"]]
        assert compute_round(timing, QUICKNET, entry["timestamp_ms"]) == entry["round"]
    for entry in vector["settled"]:
        settled = compute_settled_windows(DEMO_TIMING, entry["previous_epoch"], entry["epoch"])
        assert list(settled) == entry["windows"]


@given(st.integers(0, 10**6), st.lists(st.integers(0, 400), min_size=1, max_size=6))
def test_every_window_is_settled_exactly_once(first: int, steps: list[int]) -> None:
    epochs = [first]
    for step in steps:
        epochs.append(epochs[-1] + step)
    settled = [w for a, b in pairwise(epochs) for w in compute_settled_windows(MAIN_TIMING, a, b)]
    assert settled == list(compute_settled_windows(MAIN_TIMING, epochs[0], epochs[-1]))
    ends = [compute_block(MAIN_TIMING, window, Phase.VERDICT_END) for window in settled]
    assert all(epochs[0] < end <= epochs[-1] for end in ends)


@given(st.integers(0, 10**9))
def test_a_block_belongs_to_the_window_that_starts_last_before_it(block: int) -> None:
    window = compute_window(MAIN_TIMING, block)
    start = compute_block(MAIN_TIMING, window, Phase.CHALLENGE)
    assert start <= block < compute_block(MAIN_TIMING, window + 1, Phase.CHALLENGE)


def test_selection_vectors() -> None:
    vector = load("selection")
    seed, hotkey = bytes.fromhex(vector["audit_seed"]), bytes.fromhex(vector["hotkey"])
    for entry in vector["groups"]:
        chosen = select_groups(seed, hotkey, entry["groups"], entry["k"], entry["s"])
        assert [list(chosen.audited), list(chosen.sampled)] == [entry["audited"], entry["sampled"]]
    for entry in vector["positions"]:
        place = entry["index"], entry["rollout"], entry["tokens"]
        assert select_positions(seed, hotkey, *place) == entry["positions"]


@given(st.binary(min_size=32, max_size=32), st.integers(1, 1_024), st.integers(1, 8))
def test_audited_and_sampled_groups_never_meet(seed: bytes, groups: int, audited: int) -> None:
    chosen = select_groups(seed, bytes(32), groups, audited, 8)
    assert len(chosen.audited) == min(groups, audited)
    assert len({*chosen.audited, *chosen.sampled}) == min(groups, audited + 8)
    assert chosen.audited == select_groups(seed, bytes(32), groups, audited, 0).audited
