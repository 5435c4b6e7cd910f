"""Sketch and log-probabilities: bounds, blocks, and the projection by a second way."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.protocol.encoding import from_json
from assay.protocol.manifest import Manifest
from assay.protocol.parameters import SMALL_MODEL_TESTS
from assay.protocol.prf import compute_key, compute_word
from assay.verification import make_projection
from assay.verification.logprobs import judge_logprobs
from assay.verification.sketch import iterate_blocks, judge_sketch

TESTS = replace(SMALL_MODEL_TESTS, sketch_block_bound=500, sketch_rollout_bound=250)
VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "manifest.json").read_bytes())


def sketch_of(tokens: int, differing: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    measured = np.zeros((tokens, 2), np.int8)
    claimed = measured.copy()
    for token, by in differing.items():
        claimed[token, 1] = by
    return claimed, measured


@pytest.mark.parametrize("hidden", [1, 15, 16, 17, 200])
def test_projection_is_the_bits_of_philox(hidden: int) -> None:
    manifest = replace(
        from_json(Manifest, VECTOR["manifest"]), centre=tuple(range(-3, hidden - 3)), scale=5 << 15
    )
    seed = b"projection".ljust(32)
    projection = make_projection(seed, manifest)
    for i in range(hidden):
        for j in range(2):
            entry = 2 * i + j
            bit = compute_word(compute_key(seed), 0, entry // 32) >> (entry % 32) & 1
            assert projection.matrix[i, j] == (1 if bit else -1)
    assert projection.scale == 2.5
    assert np.allclose(projection.centre * 65_536, manifest.centre)


def test_another_window_projects_otherwise() -> None:
    manifest = replace(from_json(Manifest, VECTOR["manifest"]), centre=(0,) * 400)
    a, b = (make_projection(seed.ljust(32), manifest).matrix for seed in (b"one", b"two"))
    assert 300 < (a != b).sum() < 500
    assert 300 < (a > 0).sum() < 500


@given(st.integers(1, 400))
def test_blocks_cover_a_rollout_and_the_ragged_last_joins(tokens: int) -> None:
    blocks = list(iterate_blocks(tokens))
    assert [t for start, end in blocks for t in range(start, end)] == list(range(tokens))
    assert all(32 <= end - start < 64 for start, end in blocks) or tokens < 32


def test_a_block_beyond_its_bound_fails_where_it_starts() -> None:
    honest = judge_sketch(*sketch_of(128, {70: 16}), TESTS)  # 16 over 32 tokens: at the bound
    assert honest.token is None
    assert judge_sketch(*sketch_of(128, {70: 16, 71: 1}), TESTS).token == 64
    assert judge_sketch(*sketch_of(128, {70: 16, 63: 1}), TESTS).token is None


def test_many_blocks_within_their_bound_fail_together() -> None:
    at_bound = {16 * i: 4 for i in range(8)}  # half of a block's bound, all of the rollout's
    assert judge_sketch(*sketch_of(128, at_bound), TESTS).token is None
    assert judge_sketch(*sketch_of(128, at_bound | {1: 1}), TESTS).token == 0


def test_one_wild_byte_counts_at_most_32() -> None:
    for by in (32, 33, 127, -128):
        assert judge_sketch(*sketch_of(1_000, {5: by}), TESTS).mean == 0.032
    # int8 differences beyond 127 do not wrap round to small ones
    low, high = np.full((64, 2), -128, np.int8), np.full((64, 2), 127, np.int8)
    assert judge_sketch(low, high, TESTS).mean == 64


def logprobs_of(*differences: int) -> tuple[np.ndarray, np.ndarray]:
    measured = np.full(len(differences), 70_000, np.uint32)
    return (measured + np.array(differences)).astype(np.uint32), measured


def test_logprob_bounds_are_inclusive() -> None:
    largest, mean = TESTS.logprob_max_bound, TESTS.logprob_rms_bound
    quiet = [0] * 31
    everywhere = range(32)
    assert judge_logprobs(*logprobs_of(largest, *quiet), everywhere, TESTS).token is None
    assert judge_logprobs(*logprobs_of(*quiet, -largest - 1), everywhere, TESTS).token == 31
    assert judge_logprobs(*logprobs_of(*[mean] * 32), everywhere, TESTS).token is None
    assert judge_logprobs(*logprobs_of(*[mean] * 31, -mean - 1), everywhere, TESTS).token == 31


def test_only_drawn_positions_are_compared() -> None:
    claimed, measured = logprobs_of(0, 9_999, 0, 0)
    assert judge_logprobs(claimed, measured, [0, 2, 3], TESTS).token is None
    assert judge_logprobs(claimed, measured, [1, 3], TESTS).token == 1


def test_unsigned_differences_do_not_wrap() -> None:
    claimed, measured = np.zeros(4, np.uint32), np.full(4, 2**24 - 1, np.uint32)
    for a, b in ((claimed, measured), (measured, claimed)):
        assert judge_logprobs(a, b, range(4), TESTS).rms == 2**24 - 1
