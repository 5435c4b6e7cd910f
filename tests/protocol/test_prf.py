"""The two pseudorandom functions: unbiased, the same in Python and numpy, the published Philox."""

import json
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.protocol.gumbel import compute_gumbels
from assay.protocol.parameters import FRACTION_BITS
from assay.protocol.prf import Stream, compute_key, compute_philox, compute_word
from assay.protocol.words import compute_words

TESTS = Path(__file__).parents[1]
VECTORS = {
    name: json.loads((TESTS / "vectors" / f"{name}.json").read_bytes())
    for name in ("philox", "stream")
}
seeds = st.binary(min_size=32, max_size=32)


def compute_chi_square(counts: np.ndarray, expected: np.ndarray) -> float:
    return float(((counts - expected) ** 2 / expected).sum())


def find_limit(freedom: int) -> float:
    """A chi-square of this freedom exceeds it once in a million (Wilson and Hilferty)."""
    spread = 2 / (9 * freedom)
    return freedom * (1 - spread + 4.8 * sqrt(spread)) ** 3


def test_philox_is_the_published_one() -> None:
    lines = (TESTS / "data" / "philox4x32-10.txt").read_text().splitlines()
    answers = [[int(w, 16) for w in line.split()[2:]] for line in lines if line[0] != "#"]
    assert len(answers) == len(VECTORS["philox"]["published"]) == 3
    for c0, c1, c2, c3, k0, k1, *output in answers:
        assert list(compute_philox((c0, c1, c2, c3), (k0, k1))) == output


def test_words_of_the_vectors_in_python_and_numpy() -> None:
    for entry in VECTORS["philox"]["words"]:
        key = compute_key(bytes.fromhex(entry["seed"]))
        position, token = entry["position"], entry["token"]
        assert compute_word(key, position, token) == entry["word"]
        if token < 2**18:
            row = compute_words(
                np.array([key], np.uint64), np.array([position], np.uint64), token + 1
            )
            assert int(row[0, token]) == entry["word"]


def test_a_word_is_a_column_of_one_published_block() -> None:
    seed = b"".join(
        int(w, 16).to_bytes(4, "little") for w in ["a4093822", "299f31d0", "13198a2e", "03707344"]
    )
    block = [
        compute_word(compute_key(seed + bytes(16)), 0x85A308D3, 4 * 0x243F6A88 + i)
        for i in range(4)
    ]
    assert [f"{word:08x}" for word in block] == ["d16cfe09", "94fdcceb", "5001e420", "24126ea1"]


@given(
    st.lists(st.tuples(seeds, st.integers(0, 2**32 - 1)), min_size=1, max_size=3),
    st.integers(1, 40_000),
    st.data(),
)
def test_numpy_and_python_agree_at_random_places(
    rows: list[tuple[bytes, int]], vocabulary: int, data: st.DataObject
) -> None:
    keys = [compute_key(seed) for seed, _ in rows]
    positions = [position for _, position in rows]
    words = compute_words(np.array(keys, np.uint64), np.array(positions, np.uint64), vocabulary)
    assert words.shape == (len(rows), vocabulary)
    assert words.dtype == np.uint32
    for token in {0, vocabulary - 1, data.draw(st.integers(0, vocabulary - 1))}:
        for row, key in enumerate(keys):
            assert int(words[row, token]) == compute_word(key, positions[row], token)


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_seed_of_another_length_is_our_own_fault(size: int) -> None:
    with pytest.raises(ValueError, match="32"):
        compute_key(bytes(size))
    with pytest.raises(ValueError, match="32"):
        Stream(bytes(size))


def test_stream_vectors() -> None:
    vector = VECTORS["stream"]
    seed = bytes.fromhex(vector["seed"])
    stream = Stream(seed)
    assert [stream.draw_u64() for _ in vector["u64"]] == vector["u64"]
    for entry in vector["below"]:
        stream = Stream(seed)
        assert [stream.draw_below(entry["bound"]) for _ in entry["drawn"]] == entry["drawn"]
    for entry in vector["sample"]:
        assert Stream(seed).sample(entry["population"], entry["count"]) == entry["drawn"]


def test_draws_are_uniform() -> None:
    stream = Stream(b"uniform draws".ljust(32))
    counts = np.bincount([stream.draw_below(10) for _ in range(20_000)], minlength=10)
    assert compute_chi_square(counts, np.full(10, 2_000.0)) < find_limit(9)


def test_draws_below_a_large_bound_have_no_modulo_bias() -> None:
    bound = 3 * 2**62  # a remainder alone would land in the first third half of the time
    stream = Stream(b"large bound".ljust(32))
    thirds = np.bincount([stream.draw_below(bound) >> 62 for _ in range(6_000)], minlength=3)
    assert compute_chi_square(thirds, np.full(3, 2_000.0)) < find_limit(2)


def test_every_ordered_sample_is_equally_likely() -> None:
    stream = Stream(b"samples".ljust(32))
    drawn = [Stream(stream.draw_u64().to_bytes(32, "big")).sample(5, 3) for _ in range(12_000)]
    counts = np.bincount([25 * a + 5 * b + c for a, b, c in drawn], minlength=125)
    assert (counts > 0).sum() == 60
    assert compute_chi_square(counts[counts > 0], np.full(60, 200.0)) < find_limit(59)


@given(seeds, st.integers(1, 2_000), st.data())
def test_a_longer_sample_starts_with_the_shorter(
    seed: bytes, population: int, data: st.DataObject
) -> None:
    long = data.draw(st.integers(0, min(population, 50)))
    short = data.draw(st.integers(0, long))
    drawn = Stream(seed).sample(population, long)
    assert Stream(seed).sample(population, short) == drawn[:short]
    assert len(set(drawn)) == long
    assert all(0 <= index < population for index in drawn)


@pytest.mark.parametrize(("population", "count"), [(3, 4), (0, 1), (3, -1)])
def test_more_than_there_is_cannot_be_drawn(population: int, count: int) -> None:
    with pytest.raises(ValueError, match="cannot draw"):
        Stream(bytes(32)).sample(population, count)


@pytest.mark.parametrize("bound", [0, -1, 2**64 + 1])
def test_bounds_that_no_word_can_meet(bound: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        Stream(bytes(32)).draw_below(bound)


@pytest.mark.parametrize("temperature", [1_024, 512, 2_048])
def test_the_keyed_argmax_is_an_exact_sample_of_the_softmax(temperature: int) -> None:
    logits = np.array([0.0, 1.5, -1.0, 0.7, 0.2, -2.5, 1.4, -0.3, 0.9])
    rows = 12_000
    keys = np.array(
        [compute_key(f"softmax {i % 40}".encode().ljust(32)) for i in range(rows)], np.uint64
    )
    words = compute_words(keys, np.arange(rows, dtype=np.uint64) // 40, len(logits))
    noise = (compute_gumbels(words) * temperature) >> 10
    scores = np.rint(logits * 2**FRACTION_BITS).astype(np.int64) + noise
    counts = np.bincount(scores.argmax(axis=1), minlength=len(logits))

    def expect(t: int) -> np.ndarray:
        weights = np.exp(logits / (t / 1_024))
        return rows * weights / weights.sum()

    assert compute_chi_square(counts, expect(temperature)) < find_limit(len(logits) - 1)
    assert compute_chi_square(counts, expect(temperature * 7 // 10)) > find_limit(len(logits) - 1)
