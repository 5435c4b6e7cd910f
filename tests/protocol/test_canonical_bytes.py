"""Commitments, manifests, schedules and selections against their vectors."""

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

from assay.protocol.beacon import QUICKNET
from assay.protocol.commitment import Commitment, Tag, encode_commitment, parse_commitment
from assay.protocol.encoding import EncodingError, encode, from_json
from assay.protocol.manifest import (
    Calibration,
    Manifest,
    compute_tensor_root,
    digest_safetensors,
    find_fault,
)
from assay.protocol.parameters import (
    DEMO_TIMING,
    MAIN_TIMING,
    MAIN_WORK,
    Gate,
    Parameters,
    find_parameters_fault,
)
from assay.protocol.selection import (
    AuditedGroup,
    select_groups,
    select_positions,
    select_rollouts,
    select_samples,
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
def test_a_malformed_commitment_counts_as_none(bad: Any) -> None:
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
    tests, gate = parameters.tests, from_json(Gate, vector["gate"])

    def find(m: Manifest, c: Calibration) -> str | None:
        whole, most = replace(m, calibration=c.digest), parameters.work.max_tokens
        return find_fault(whole, c, tests, gate, most)

    assert find(manifest, calibration) is None
    loose = (calibration.rates[0] * 100, *calibration.rates[1:])
    for fault in (
        find_fault(manifest, replace(calibration, tokens=1), tests, gate, 48),
        find(manifest, replace(calibration, rates=loose)),
        find(manifest, replace(calibration, rates=calibration.rates[:-1])),
        find(replace(manifest, scale=tests.scale_min - 1), calibration),
        find(replace(manifest, scale=tests.scale_max + 1), calibration),
        find(replace(manifest, centre=(tests.scale_max * 5, 0, 0)), calibration),
        find(replace(manifest, router_ramp=1), calibration),
        find(replace(manifest, experts=1), calibration),
        find(replace(manifest, version=1), calibration),
        find(replace(manifest, max_tokens=0), calibration),
        find(replace(manifest, max_tokens=49), calibration),
        find(replace(manifest, end_tokens=()), calibration),
        find(replace(manifest, levels=()), calibration),
    ):
        assert fault is not None


def test_the_parameters_of_the_vectors_can_be_run() -> None:
    parameters = Parameters.from_json(load("parameters")["parameters"])
    assert find_parameters_fault(parameters) is None
    # contexts of 131,072 tokens, whose late tokens are paid as the steepest model's are
    work = replace(parameters.work, group_size=32, max_tokens=1 << 17, position_share=3_000)
    assert find_parameters_fault(replace(parameters, work=work)) is None


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


def choose(seed: bytes, hotkey: bytes, groups: int, **work: int) -> tuple[AuditedGroup, ...]:
    return select_groups(seed, hotkey, groups, replace(MAIN_WORK, **work))


def test_selection_vectors() -> None:
    vector = load("selection")
    seed, hotkey = bytes.fromhex(vector["audit_seed"]), bytes.fromhex(vector["hotkey"])
    for entry in vector["groups"]:
        audited = entry.pop("audited")
        chosen = choose(seed, hotkey, **entry)
        assert [[g.index, g.rollouts, g.valued] for g in chosen] == audited
    for entry in vector["samples"]:
        sampled, groups = entry.pop("sampled"), entry.pop("groups")
        sample_seed = bytes.fromhex(vector["sample_seed"])
        places = select_samples(sample_seed, hotkey, groups, replace(MAIN_WORK, **entry))
        assert [list(place) for place in places] == sampled
    for entry in vector["rollouts"]:
        group = AuditedGroup(entry["index"], entry["count"], entry["valued"])
        work = replace(MAIN_WORK, position_share=entry["position_share"])
        found = select_rollouts(seed, hotkey, group, entry["lengths"], work)
        assert list(found) == entry["rollouts"]
    for entry in vector["positions"]:
        place = entry["index"], entry["rollout"], entry["tokens"]
        assert select_positions(seed, hotkey, *place) == entry["positions"]


@given(
    st.binary(min_size=32, max_size=32),
    st.integers(1, 300),
    st.integers(1, 16),
    st.integers(1, 40),
    st.data(),
)
def test_all_rollouts_of_the_most_possible_groups_are_audited(
    seed: bytes, groups: int, size: int, wanted: int, data: st.DataObject
) -> None:
    valued = data.draw(st.integers(1, wanted))
    work = {"group_size": size, "audited_rollouts": wanted, "valued_groups": valued}
    chosen = choose(seed, bytes(32), groups, **work)
    counts = [group.rollouts for group in chosen]
    assert sum(counts) == min(wanted, groups * size)
    assert len({group.index for group in chosen}) == min(wanted, groups)
    assert max(counts) - min(counts) <= 1 <= min(counts) <= max(counts) <= size
    assert sum(group.valued for group in chosen) == min(valued, wanted, groups)
    lengths = [1 + 7 * r for r in range(size)]
    for group in chosen:
        rollouts = select_rollouts(seed, bytes(32), group, lengths, MAIN_WORK)
        assert list(rollouts) == sorted(set(rollouts))
        assert len(rollouts) == group.rollouts
        assert set(rollouts) <= set(range(size))


@given(st.binary(min_size=32, max_size=32), st.integers(1, 300), st.integers(1, 16))
def test_the_number_of_sampled_rollouts(seed: bytes, groups: int, size: int) -> None:
    work = replace(MAIN_WORK, group_size=size)
    sampled = select_samples(seed, bytes(32), groups, work)
    assert list(sampled) == sorted(set(sampled))
    assert len(sampled) == min(work.sampled_rollouts, groups * size)
    assert all(group < groups and rollout < size for group, rollout in sampled)


def test_a_long_rollout_of_a_valued_group_is_audited_as_often_as_it_is_paid() -> None:
    lengths = [30, 10, 900, 60]
    steep = sum(1 + 0.01 * t for t in range(900)) / sum(
        1 + 0.01 * t for tokens in lengths for t in range(tokens)
    )
    for valued, position_share, share in ((True, 0, 0.9), (True, 10_000, steep), (False, 0, 0.25)):
        group, work = AuditedGroup(0, 1, valued), replace(MAIN_WORK, position_share=position_share)
        seeds = (number.to_bytes(32) for number in range(1_000))
        met = sum(select_rollouts(seed, bytes(32), group, lengths, work) == (2,) for seed in seeds)
        assert abs(met / 1_000 - share) < 0.05
