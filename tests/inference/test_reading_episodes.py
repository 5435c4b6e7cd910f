"""Replies are read between the turns of an episode, and own tokens alone are measured."""

import numpy as np
import pytest

from assay.inference.passages import Passage
from assay.inference.reading import make_even_packs, make_packs
from assay.inference.workers.messages import ModelRequest, Prefill, decode_request, encode_measure
from assay.protocol.episode import Reply, weave
from assay.protocol.gumbel import compute_gumbels
from assay.protocol.parameters import FRACTION_BITS, SMALL_MODEL_TESTS
from assay.protocol.prf import compute_key
from assay.protocol.words import compute_words

OWN = np.random.default_rng(5).integers(5, 60, 70).astype(np.uint32)
#: Two turns, four, one, and three of which one follows a reply that is empty.
REPLIES = [
    (Reply(30, tuple(range(7, 27))),),
    (Reply(1, (9,)), Reply(2, (8, 7, 6)), Reply(69, tuple(range(40)))),
    (),
    (Reply(10, ()), Reply(20, (5,) * 9)),
]
SEEDS = [bytes([number]) * 32 for number in range(len(REPLIES))]


@pytest.fixture
def prompts(requests):
    """Three share one."""
    return [requests[number].prompt for number in (0, 0, 1, 0)]


def score(logits, drawable, seed):
    """Keyed scores of tokens 0, 1, … at temperature 1: int64 [T, V]."""
    keys = np.array([compute_key(seed)] * len(logits), np.uint64)
    words = compute_words(keys, np.arange(len(logits), dtype=np.uint64), logits.shape[1])
    scores = np.rint(logits.astype(np.float64) * 2**FRACTION_BITS).astype(np.int64)
    return np.where(drawable, scores + compute_gumbels(words), np.iinfo(np.int64).min)


@pytest.mark.parametrize("name", ["fp32-sdpa", "fp32-eager", "split3"])
def test_states_are_those_of_the_whole_sequence_at_own_places(checkpoint, prompts, name):
    reference = checkpoint.get_reference(1_024, name)
    for prompt, replies in zip(prompts, REPLIES, strict=True):
        whole, places = weave(OWN.tolist(), replies)
        (plain,) = reference.compute_states([Passage(prompt, tuple(whole))])
        (own,) = reference.compute_states([Passage(prompt, tuple(OWN.tolist()), replies)])
        assert (own == plain[places]).all()


@pytest.mark.parametrize("name", ["fp32-sdpa", "fp32-eager", "split3", "appeal"])
def test_token_t_has_the_noise_of_t_whatever_stands_before_it(
    checkpoint, projection, prompts, name
):
    """Each measurement has a row for each own token, and none for replies."""
    appeal = name == "appeal"
    reference = checkpoint.get_reference(1_024)
    forward = checkpoint.get_appeal(1_024) if appeal else checkpoint.get_reference(1_024, name)
    completions = [OWN] * len(REPLIES)
    measured = forward.measure(prompts, completions, SEEDS, projection, REPLIES)
    for prompt, replies, seed, found in zip(prompts, REPLIES, SEEDS, measured, strict=True):
        (states,) = reference.compute_states([Passage(prompt, tuple(OWN.tolist()), replies)])
        logits = reference.compute_logits(states).numpy()
        scores = score(logits, checkpoint.tokenizer.drawable, seed)
        margins = scores.max(axis=1) - np.take_along_axis(scores, OWN[:, None].astype(int), 1)[:, 0]
        assert found.best.tolist() == scores.argmax(axis=1).tolist()
        assert np.abs(found.margins - margins).max() < SMALL_MODEL_TESTS.margin_cap
        assert len(found.sketch) == len(found.logprobs) == len(OWN)


def test_no_reply_is_to_the_bit_what_none_is(checkpoint, projection, prompts):
    reference = checkpoint.get_reference(1_024)
    given = prompts, [OWN[: 9 + i] for i in range(len(SEEDS))], SEEDS, projection
    for a, b in zip(
        reference.measure(*given), reference.measure(*given, [()] * len(SEEDS)), strict=True
    ):
        assert all((getattr(a, name) == getattr(b, name)).all() for name in a.__slots__)


def test_a_reply_counts_in_a_pack_and_in_its_bound(prompts):
    rows = [OWN.tolist()] * len(REPLIES)
    (pack,) = make_packs(prompts, rows, replies=REPLIES)
    shared = len(prompts[0]) - 1
    said = sum(len(reply.ids) for replies in REPLIES for reply in replies)
    assert len(pack.tokens) == shared + len(prompts[2]) - 1 + 4 * len(OWN) + said
    for index, turns in zip(pack.indices, pack.rows, strict=True):
        drawn = [token for turn in turns for token in pack.tokens[turn.start + 1 : turn.stop + 1]]
        kept = len(OWN) - 1  # the last is not read
        assert drawn[:kept] == rows[index][:kept]
    one = len(prompts[0]) + len(OWN) + 43
    packs = make_even_packs(prompts, rows, one, 1, REPLIES)
    assert len(packs) > 1
    assert max(len(pack.tokens) for pack in packs) <= one


@pytest.mark.parametrize("replies", [None, REPLIES, [()] * len(REPLIES)])
def test_a_worker_is_sent_the_replies(checkpoint, projection, prompts, replies, tmp_path):
    completions = [OWN] * len(REPLIES)
    prefill = Prefill(prompts, completions, SEEDS, projection, replies)
    sent = decode_request(encode_measure(ModelRequest(tmp_path, bytes(32)), prefill)).prefill
    again = None if sent.replies is None else [tuple(said) for said in sent.replies]
    assert again == (None if replies is None else list(map(tuple, replies)))
    assert sent.tokens == prefill.tokens
