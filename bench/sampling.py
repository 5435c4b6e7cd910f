"""Keyed sampling at V = 151,936 on one thread: in numpy and compiled, compared with itself without
the fast path and with plain multinomial sampling. All paths give the same bits."""

import numpy as np
import torch
from figures import Figure, measure_together, report

from assay.inference.draws.sampler import KeyedSampler, load_kernels, make_keys
from assay.protocol.draw import draw_token, score_tokens
from assay.protocol.gumbel import compute_gumbel
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.prf import compute_key, compute_word
from assay.protocol.words import compute_words

VOCABULARY, TEMPERATURE, ROWS, SAMPLED_IDS = 151_936, 1_024, 8, 200
SMALL_VOCABULARY, SMALL_ROWS = 98, 256


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    logits = torch.randn(ROWS, VOCABULARY) * 3
    seeds = [hash_fields(Domain.ROLLOUT, bytes([row])) for row in range(ROWS)]
    keys, positions = make_keys(seeds), torch.arange(ROWS)
    drawable = np.ones(VOCABULARY, bool)
    sampler = KeyedSampler(drawable, TEMPERATURE)
    assert load_kernels() is not None
    _check_bits(logits.numpy(), seeds, *sampler.draw(logits, keys, positions))

    one = slice(0, 1)
    array, key = logits[0].numpy(), compute_key(seeds[0])
    in_numpy, slow = measure_together(
        [
            lambda: draw_token(array, drawable, key, 0, TEMPERATURE),
            lambda: draw_slowly(array, seeds[0]),
        ]
    )
    compiled, plain, batch, plain_batch, tensors = measure_together(
        [
            lambda: sampler.draw(logits[one], keys[one], positions[one]),
            lambda: torch.multinomial(logits[one].softmax(1), 1),
            lambda: sampler.draw(logits, keys, positions),
            lambda: torch.multinomial(logits.softmax(1), 1),
            lambda: sampler.draw_on_tensors(logits[one], keys[one], positions[one]),
        ]
    )
    small, small_plain = _measure_small()
    report(
        f"keyed sampling at V = {VOCABULARY:,} (all paths agree bit for bit)",
        [
            Figure(
                "numpy, one row",
                in_numpy * 1e3,
                "ms/token",
                "numpy without the fast path",
                slow * 1e3,
                bound=1.1,
            ),
            Figure(
                "compiled, one row",
                compiled * 1e3,
                "ms/token",
                "multinomial",
                plain * 1e3,
                bound=0.6,
            ),
            Figure(
                f"compiled, {ROWS} rows",
                batch / ROWS * 1e3,
                "ms/token",
                "multinomial",
                plain_batch / ROWS * 1e3,
                bound=0.6,
            ),
            Figure(
                "tensors (a GPU's path, here on the CPU), one row",
                tensors * 1e3,
                "ms/token",
                "multinomial",
                plain * 1e3,
            ),
            Figure(
                f"compiled, V = {SMALL_VOCABULARY}, {SMALL_ROWS} rows",
                small / SMALL_ROWS * 1e6,
                "µs/token",
                "multinomial",
                small_plain / SMALL_ROWS * 1e6,
            ),
        ],
        1,
    )


def draw_slowly(logits: np.ndarray, seed: bytes) -> tuple[int, int]:
    """The draw with every id scored in integers."""
    words = compute_words(
        np.array([compute_key(seed)], np.uint64), np.zeros(1, np.uint64), VOCABULARY
    )[0]
    scores = score_tokens(logits, words, TEMPERATURE)
    return int(scores.argmax()), int(scores.max())


def _measure_small() -> list[float]:
    logits = torch.randn(SMALL_ROWS, SMALL_VOCABULARY)
    keys, positions = make_keys([bytes(32)] * SMALL_ROWS), torch.arange(SMALL_ROWS)
    sampler = KeyedSampler(np.ones(SMALL_VOCABULARY, bool), TEMPERATURE)
    return measure_together(
        [
            lambda: sampler.draw(logits, keys, positions),
            lambda: torch.multinomial(logits.softmax(1), 1),
        ]
    )


def _check_bits(
    logits: np.ndarray, seeds: list[bytes], ids: torch.Tensor, best: torch.Tensor
) -> None:
    """Compare with the whole score in numpy for every row, and with pure Python at many ids, the
    winner among them."""
    keys = np.array([compute_key(seed) for seed in seeds], np.uint64)
    words = compute_words(keys, np.arange(len(seeds), dtype=np.uint64), VOCABULARY)
    scores = score_tokens(logits, words, TEMPERATURE)
    assert scores.argmax(axis=1).tolist() == ids.tolist()
    assert scores.max(axis=1).tolist() == best.tolist()
    some = np.random.default_rng(0).integers(0, VOCABULARY, SAMPLED_IDS)
    for row, seed in enumerate(seeds):
        drawn = draw_token(
            logits[row], np.ones(VOCABULARY, bool), compute_key(seed), row, TEMPERATURE
        )
        assert drawn == (int(ids[row]), int(best[row]))
        for v in (*some.tolist(), int(ids[row])):
            noise = compute_gumbel(compute_word(compute_key(seed), row, v)) * TEMPERATURE >> 10
            assert scores[row, v] == round(float(logits[row, v]) * 2**20) + noise


if __name__ == "__main__":
    main()
