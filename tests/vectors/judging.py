"""Vectors of draws and measurements: keyed scores, sketches, log-probabilities, margins."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import chain, islice
from typing import Any

import numpy as np
from subjects import PARAMETERS, digest

from assay.protocol.encoding import to_json
from assay.protocol.gumbel import compute_gumbel
from assay.protocol.manifest import Calibration, Manifest, start_levels
from assay.protocol.parameters import CENTRE_BITS, PROTOCOL_VERSION
from assay.protocol.prf import compute_key, compute_philox, compute_word
from assay.verification import SKETCH_CLIP, SKETCH_GAIN, Ledger, make_projection
from assay.verification.logprobs import judge_logprobs
from assay.verification.sampling import judge_sampling
from assay.verification.sketch import iterate_blocks, judge_sketch

Json = Any
TESTS = PARAMETERS.tests
#: Fraction bits of the states in the sketch's vectors.
STATE_BITS = 8


def make_draws() -> Json:
    seed = digest("rollout 0")
    several = [-3_000_000, 1_500_000, 0, 2_097_152, -1, 1_048_577, 999_999, -700_001, 5, 12_345]
    noise = [_get_noise(seed, 5, v, 1_024) for v in range(10)]
    tied = [9_000_000 - noise[v] if v in (3, 7) else 0 for v in range(10)]
    cases = [
        ("one id", 0, 1_024, [-4], []),
        ("ten ids", 0, 1_024, several, []),
        ("another position", 4_095, 1_024, several, []),
        ("half the temperature", 0, 512, several, []),
        ("one and a half times the temperature", 0, 1_536, several, []),
        ("a temperature of 1/1024: noise is rounded down", 0, 1, several, []),
        ("the lowest id wins a tie", 5, 1_024, tied, []),
        ("the next one, if the lowest may not be drawn", 5, 1_024, tied, [3]),
        ("the best id may not be drawn", 1, 1_024, [1 << 40, *several[1:]], [0]),
    ]
    return {
        "seed": seed.hex(),
        "fixed_point": [
            {"logit_numerator": n, "logit_denominator": 1 << 24, "fixed": round(Fraction(n, 16))}
            for n in (
                0,
                7,
                8,
                9,
                24,
                40,
                -7,
                -8,
                -9,
                -24,
                -40,
                (1 << 24) - 1,
                -(1 << 23) - 9,
                1 << 45,
            )
        ],
        "draws": [_draw(seed, *case) for case in cases],
        "large": _draw_large(digest("rollout 1"), 17, 151_936),
    }


def _get_noise(seed: bytes, position: int, token: int, temperature: int) -> int:
    return (compute_gumbel(compute_word(compute_key(seed), position, token)) * temperature) >> 10


def _draw(
    seed: bytes, about: str, position: int, temperature: int, logits: Sequence[int], barred: Json
) -> Json:
    noise = [_get_noise(seed, position, v, temperature) for v in range(len(logits))]
    scores = [logit + gumbel for logit, gumbel in zip(logits, noise, strict=True)]
    return {
        "about": about,
        "position": position,
        "temperature": temperature,
        "logits": list(logits),
        "barred": barred,
        "noise": noise,
        "scores": scores,
        "token": max((v for v in range(len(logits)) if v not in barred), key=lambda v: scores[v]),
    }


def _draw_large(seed: bytes, position: int, vocabulary: int) -> Json:
    """All logits are 0: the id of the largest word, of the lowest such id."""
    key = compute_key(seed)
    blocks = (compute_philox((b, position, *key[2:]), key[:2]) for b in range(vocabulary // 4 + 1))
    words = list(islice(chain.from_iterable(blocks), vocabulary))
    best = max(compute_gumbel(word) for word in sorted(words)[-8:])
    token = next(v for v in range(vocabulary) if compute_gumbel(words[v]) == best)
    return {
        "seed": seed.hex(),
        "position": position,
        "temperature": 1_024,
        "vocabulary": vocabulary,
        "token": token,
        "score": best,
    }


def make_manifest_for(centre: Sequence[int], scale: int) -> Manifest:
    """A manifest of which only centre and scale matter."""
    none = bytes(32)
    return Manifest(
        *(PROTOCOL_VERSION, *[none] * 4, (2,), 48, start_levels([5]), (), (), tuple(centre)),
        *(scale, 0, 0, none, none, (), none, none, 0),
    )


def make_sketch() -> Json:
    seed = digest("projection")
    projections = []
    for hidden in (1, 5, 16, 17, 40):
        matrix = make_projection(seed, make_manifest_for([0] * hidden, 1 << CENTRE_BITS)).matrix
        signs = ["".join("+" if x > 0 else "-" for x in column) for column in matrix.T]
        projections.append({"hidden": hidden, "columns": signs})
    return {
        "seed": seed.hex(),
        "projections": projections,
        "sketches": [_sketch(seed, *case) for case in _iterate_states()],
        "bounds": {"block": TESTS.sketch_block_bound, "rollout": TESTS.sketch_rollout_bound},
        "blocks": [
            {"tokens": t, "blocks": list(iterate_blocks(t))} for t in (1, 31, 32, 63, 64, 65, 100)
        ],
        "compared": [_compare(*case) for case in _iterate_compared()],
    }


def _iterate_states() -> list[tuple[str, list[int], int, list[list[int]]]]:
    """About, centre and scale in 2^-16, states in 2^-8. Scales are powers of two: exact in fp32."""
    one = 1 << CENTRE_BITS
    return [
        ("a centre of zeros", [0, 0, 0], one, [[0, 0, 0], [16, -8, 4], [100, 100, 100]]),
        ("a centre", [256, -512, 65_536], 2 * one, [[1, -2, 256], [300, 7, -90]]),
        ("clipped at 127", [0], one, [[1016], [1017], [1024], [-1016], [-1017], [-100_000]]),
        ("halves go to the even neighbour", [0], one, [[4], [12], [20], [-4], [-12], [-20]]),
        ("a large scale", [0] * 5, 64 * one, [[5000, -3000, 70, 900, -1], [-9999] * 5]),
    ]


def _sketch(
    seed: bytes, about: str, centre: list[int], scale: int, states: list[list[int]]
) -> Json:
    matrix = make_projection(seed, make_manifest_for(centre, scale)).matrix
    made = []
    for state in states:
        away = [
            Fraction(h, 1 << STATE_BITS) - Fraction(m, 1 << CENTRE_BITS)
            for h, m in zip(state, centre, strict=True)
        ]
        projected = [sum(int(s) * x for s, x in zip(r, away, strict=True)) for r in matrix.T]
        unclipped = [round(SKETCH_GAIN * p / Fraction(scale, 1 << CENTRE_BITS)) for p in projected]
        made.append([max(-SKETCH_CLIP, min(SKETCH_CLIP, q)) for q in unclipped])
    return {
        "about": about,
        "centre": centre,
        "scale": scale,
        "states_in_256ths": states,
        "sketch": made,
    }


def _iterate_compared() -> list[tuple[str, list[tuple[int, int, int, int]]]]:
    """About, and (claimed, claimed, measured, measured) a token. A block's bound is a sum of 8 over
    32 tokens, a rollout's 4."""
    same = (5, -7, 5, -7)
    off = (5, -7, 6, -7)
    both = (5, -7, 4, -6)
    far = (-127, 127, 127, -127)
    return [
        ("equal", [same] * 40),
        ("one token, equal", [same]),
        ("one token, one step", [off]),
        ("a rollout's bound is met", [off] * 4 + [same] * 28),
        ("a rollout's bound is passed", [off] * 5 + [same] * 27),
        ("both columns count", [both] * 2 + [off] + [same] * 29),
        ("a block's bound is met", [off] * 8 + [same] * 56),
        ("a block's bound is passed in the second block", [same] * 32 + [off] * 9 + [same] * 60),
        ("a ragged block joins the one before", [same] * 32 + [off] * 12 + [same] * 18),
        ("a difference counts 32 at most", [same] * 700 + [far] + [same] * 20),
    ]


def _compare(about: str, tokens: list[tuple[int, int, int, int]]) -> Json:
    table = np.array(tokens, np.int64)
    claimed, measured = table[:, :2].astype(np.int8), table[:, 2:].astype(np.int8)
    result = judge_sketch(claimed, measured, TESTS)
    runs: list[list[Json]] = []
    for row in tokens:
        if runs and runs[-1][1] == list(row):
            runs[-1][0] += 1
        else:
            runs.append([1, list(row)])
    total = round(result.mean * len(tokens))
    return {"about": about, "runs": runs, "sum": total, "token": result.token}


def make_logprobs() -> Json:
    base = [100_000 + 7 * i for i in range(40)]
    cases = [
        ("equal", [0] * 40, range(32)),
        ("the largest difference is met", [0] * 3 + [64] + [0] * 36, range(32)),
        ("the largest difference is passed", [0] * 3 + [-65] + [0] * 36, range(32)),
        ("the same at a position that is not drawn", [0] * 3 + [-65] + [0] * 36, range(4, 36)),
        ("the mean square is met", [16, -16] * 20, range(32)),
        ("the mean square is passed", [16, -16] * 15 + [17] * 10, range(32)),
        ("one position", [17], [0]),
        ("the first of two that are equally far", [0, 40, 0, -40], range(4)),
    ]
    made = []
    for about, differences, positions in cases:
        measured = np.array(base[: len(differences)], np.uint32)
        claimed = (measured + np.array(differences)).astype(np.uint32)
        result = judge_logprobs(claimed, measured, list(positions), TESTS)
        made.append(
            {
                "about": about,
                "claimed": claimed.tolist(),
                "measured": measured.tolist(),
                "positions": list(positions),
                "token": result.token,
            }
        )
    return {
        "bounds": {"rms": TESTS.logprob_rms_bound, "max": TESTS.logprob_max_bound},
        "compared": made,
    }


def make_sampling() -> Json:
    """Margins in 2^-20 logits and Gini impurities; capitals are rounded, for libraries differ."""
    usual = Calibration(tuple(10**12 >> k for k in range(8)), 100_000)
    always = Calibration((10**18,) * 8, 1)
    cap = TESTS.margin_cap
    cases = [
        ("no margin", usual, 1_024, [0] * 12, [0.5] * 12),
        ("the cap is met", usual, 1_024, [0, cap, 0], [0.5] * 3),
        ("the cap is passed", usual, 1_024, [0, 0, cap + 1, 0], [0.5] * 4),
        ("a margin that equals a level is not above it", usual, 1_024, [2], [0.25]),
        ("a margin one above a level", usual, 1_024, [3], [0.25]),
        ("small margins add up", usual, 1_024, [0, 1, 0, 1, 1, 0], [0.5] * 6),
        ("the same where the model is undecided", usual, 1_024, [0, 1, 0, 1, 1, 0], [0.9375] * 6),
        ("a model that is certain: the floor", usual, 1_024, [1, 0, 1, 1], [0.0] * 4),
        ("half the temperature", usual, 512, [0, 1, 0, 1, 1, 0], [0.5] * 6),
        ("rates of 1 and more count as 1", always, 1_024, [150] * 5 + [0], [0.5] * 6),
        ("wealth that came too early is lost", usual, 1_024, [150] + [0] * 11, [0.5] * 12),
    ]
    made, bets = [], []
    for about, calibration, temperature, margins, gini in cases:
        result = judge_sampling(
            np.array(margins, np.int64), np.array(gini), calibration, TESTS, temperature
        )
        made.append(
            {
                "about": about,
                "calibration": to_json(calibration),
                "temperature": temperature,
                "margins": margins,
                "gini": gini,
                "largest_log_capital": round(result.log_capital, 6),
                "token": result.token,
            }
        )
        bets.append(result.log_bets)
    return {
        "tests": to_json(TESTS),
        "rollouts": made,
        "ledgers": [_enter(*case, bets) for case in _iterate_ledgers()],
    }


def _iterate_ledgers() -> list[tuple[str, list[int]]]:
    """About, and which of the rollouts enter one after the other."""
    return [
        ("nothing has entered", []),
        ("honest work", [0] * 10),
        ("one flip", [0, 0, 4, 0, 0]),
        ("many small flips", [1] * 4),
        ("a cheat that starts late", [0] * 40 + [1] * 4),
    ]


def _enter(about: str, rollouts: list[int], bets: Sequence[Any]) -> Json:
    ledger = Ledger()
    crossed = None
    for count, rollout in enumerate(rollouts, start=1):
        ledger = ledger.add(bets[rollout])
        if crossed is None and ledger.is_crossed(TESTS):
            crossed = count
    capital = round(ledger.compute_log_capital(TESTS), 6)
    return {"about": about, "rollouts": rollouts, "log_capital": capital, "crossed_after": crossed}


def make_completions() -> Json:
    """Completions that are and are not allowed; reasons and places are written by hand."""
    cases = [
        ("ends with the end token", [5, 6, 9], None, None),
        ("one token, the end token", [9], None, None),
        ("the other end token", [5, 2], None, None),
        ("the longest", [5, 6, 7, 0, 1, 3], None, None),
        ("the longest, and ends", [5, 6, 7, 0, 1, 9], None, None),
        ("cut off", [5, 6, 7], "WRONG_TERMINATION", 2),
        ("goes on after its end", [5, 9, 6], "WRONG_TERMINATION", 1),
        ("ends twice", [5, 9, 9], "WRONG_TERMINATION", 1),
        ("ends beyond the longest", [5, 6, 7, 0, 1, 3, 9], "WRONG_TERMINATION", 5),
        ("an id that may not be drawn", [5, 97, 9], "TOKEN_OUT_OF_RANGE", 1),
        ("an id beyond the vocabulary", [5, 100, 9], "TOKEN_OUT_OF_RANGE", 1),
        ("the largest id that a file can name", [5, 127, 9], "TOKEN_OUT_OF_RANGE", 1),
        ("range before termination", [5, 9, 97], "TOKEN_OUT_OF_RANGE", 2),
    ]
    of_three_turns = [
        ("one turn of three", [5, 9], None, None),
        ("three turns", [5, 9, 2, 6, 9], None, None),
        ("empty turns", [9, 9, 9], None, None),
        ("two turns, the last cut", [5, 9, 6, 6, 6, 6], None, None),
        ("a turn cut off", [5, 9, 6], "WRONG_TERMINATION", 2),
        ("a fourth turn", [5, 9, 9, 9, 9], "WRONG_TERMINATION", 3),
        ("a part of a fourth turn", [9, 9, 9, 5], "WRONG_TERMINATION", 2),
        ("turns beyond the longest", [5, 6, 7, 0, 1, 9, 9], "WRONG_TERMINATION", 5),
    ]
    return {
        "vocabulary": 100,
        "barred": [97, 98, 99],
        "end_tokens": [9, 2],
        "max_tokens": 6,
        "completions": [
            {"about": about, "turns": turns, "tokens": tokens, "reason": reason, "token": token}
            for turns, rows in ((1, cases), (3, of_three_turns))
            for about, tokens, reason, token in rows
        ],
    }
