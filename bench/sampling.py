"""Keyed sampling against plain multinomial sampling at V = 151,936, one thread; identical bits."""

import numpy as np
import torch
from figures import Figure, measure, report

from assay.inference import KeyedSampler, make_keys
from assay.protocol.gumbel import compute_gumbel, compute_gumbels
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.prf import compute_key, compute_word, compute_words

VOCABULARY, TEMPERATURE, ROWS, SAMPLED_IDS = 151_936, 1_024, 8, 200


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    logits = torch.randn(ROWS, VOCABULARY) * 3
    seeds = [hash_fields(Domain.ROLLOUT, bytes([row])) for row in range(ROWS)]
    keys, positions = make_keys(seeds), torch.arange(ROWS)
    sampler = KeyedSampler(np.ones(VOCABULARY, bool), TEMPERATURE)
    ids, best = sampler.draw(logits, keys, positions)
    _check_bits(logits.double().numpy(), seeds, ids.numpy(), best.numpy())

    one = slice(0, 1)
    single = measure(lambda: sampler.draw(logits[one], keys[one], positions[one]), repeats=21)
    batch = measure(lambda: sampler.draw(logits, keys, positions), repeats=11) / ROWS
    plain = measure(lambda: torch.multinomial(logits[one].softmax(1), 1), repeats=21)
    plain_batch = measure(lambda: torch.multinomial(logits.softmax(1), 1), repeats=11) / ROWS
    report(
        f"keyed sampling at V = {VOCABULARY:,} (torch, numpy and Python agree bit for bit)",
        [
            Figure("keyed, one row", single * 1e3, "ms/token", "multinomial", plain * 1e3, bound=3),
            Figure(f"keyed, {ROWS} rows", batch * 1e3, "ms/token", "multinomial",
                   plain_batch * 1e3, bound=3),
        ],
        1,
    )  # fmt: skip


def _check_bits(logits: np.ndarray, seeds: list[bytes], ids: np.ndarray, best: np.ndarray) -> None:
    """The whole score in numpy for every row; pure Python at many ids, the winner among them."""
    keys = np.array([compute_key(seed) for seed in seeds], np.uint64)
    words = compute_words(keys, np.arange(len(seeds), dtype=np.uint64), VOCABULARY)
    fixed = np.rint(logits * 2**20).astype(np.int64)
    scores = fixed + ((compute_gumbels(words) * TEMPERATURE) >> 10)
    assert (scores.argmax(axis=1) == ids).all()
    assert (scores.max(axis=1) == best).all()
    some = np.random.default_rng(0).integers(0, VOCABULARY, SAMPLED_IDS)
    for row, seed in enumerate(seeds):
        for v in (*some.tolist(), int(ids[row])):
            noise = compute_gumbel(compute_word(compute_key(seed), row, v)) * TEMPERATURE >> 10
            assert scores[row, v] == round(logits[row, v] * 2**20) + noise


if __name__ == "__main__":
    main()
