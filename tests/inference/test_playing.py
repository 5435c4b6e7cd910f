"""Episodes of several turns: their ids are those of drawing token by token, with any drafter."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain

import numpy as np
import pytest
import torch
from transformers import DynamicCache

from assay.environments.foreign.package_world import PackageEpisode
from assay.inference.draft import OwnDrafter, Rules
from assay.inference.draws.sampler import KeyedSampler, make_keys
from assay.inference.generate import (
    DraftCount,
    GroupRequest,
    Horizon,
    follow_groups,
    generate_groups,
)
from assay.inference.implementations import make_model
from assay.inference.reference import Reference
from assay.protocol.episode import End
from assay.verification import Projection
from assay.verification.episodes import Episode, EpisodeRules, Replays, find_length_fault, replay
from tests.inference.conftest import list_ids
from tests.inference.hybrid_models import VOCABULARY, build_hybrid
from tests.small_world import TURNS, SmallWorld, make_play_requests

TEMPERATURE = 1_024
#: Some episodes are cut, and some leave no room for a reply.
RULES = EpisodeRules(TURNS, 84, 64, 52, frozenset({1}))
NEAR = 1 << 20  # every second token that is no certainty is near


@dataclass(frozen=True)
class Made:
    """A model, its requests, and their episodes drawn token by token."""

    reference: Reference
    drafter: OwnDrafter
    rough: OwnDrafter
    rules: Rules
    projection: Projection
    requests: list[GroupRequest]
    ids: list[list[list[int]]]
    episodes: list[list[Episode]]

    @cached_property
    def prefilled(self):
        """What the judge measures of each episode."""
        found = []
        for request, group, episodes in zip(self.requests, self.ids, self.episodes, strict=True):
            found += self.reference.measure(
                [request.prompt] * len(group),
                [np.array(own, np.uint32) for own in group],
                request.seeds,
                self.projection,
                [episode.replies for episode in episodes],
            )
        return found

    def make(self, how, drafter, **given):
        """Groups, and their cost."""
        count = DraftCount()
        needed = self.requests, drafter, self.reference, self.rules, self.projection, count
        return how(*needed, **given), count


def draw(model, sampler, prompt, seed, play):
    """Draw an episode token by token, with one cache: no batch, no draft, no reference."""
    cache, keys = DynamicCache(config=model.config), make_keys([seed])
    own, turn, feed = [], [], list(prompt)
    while True:
        with torch.inference_mode():
            out = model(torch.tensor([feed]), past_key_values=cache, use_cache=True)
            drawn, _ = sampler.draw(out.logits[:, -1], keys, torch.tensor([len(own)]))
        feed = drawn.tolist()
        own += feed
        turn += feed
        if feed[0] in play.rules.end_tokens or len(own) == play.rules.max_tokens:
            play = play.take_turn(turn)
            if play.episode.end is not None:
                return own, play.episode
            feed, turn = feed + list(play.episode.replies[-1].ids), []


def blur(checkpoint):
    """The model with so much noise that it draws other ids now and then."""
    model = checkpoint.load_trainable().requires_grad_(False)
    torch.manual_seed(0)
    with torch.no_grad():
        weight = model.lm_head.weight
        weight.add_(0.5 * torch.randn_like(weight) * weight.std())
    return model


@pytest.fixture(scope="module")
def made(checkpoint, projection):
    drawable, rules = checkpoint.tokenizer.drawable, Rules(TEMPERATURE, (1,), RULES.max_tokens)
    requests = make_play_requests(checkpoint, 3, 3, RULES)
    sampler = KeyedSampler(drawable, TEMPERATURE, torch.device("cpu"))
    drawn = [
        [draw(checkpoint.model, sampler, one.prompt, seed, one.play) for seed in one.seeds]
        for one in requests
    ]
    return Made(
        checkpoint.get_reference(TEMPERATURE),
        OwnDrafter(checkpoint.model, drawable, rules),
        OwnDrafter(blur(checkpoint), drawable, rules),
        rules,
        projection,
        requests,
        [[own for own, _ in group] for group in drawn],
        [[episode for _, episode in group] for group in drawn],
    )


def test_episodes_end_in_different_ways_and_their_tokens_are_the_judges(made):
    ends = [(episode.turns, episode.end) for episode in chain(*made.episodes)]
    assert {End.DONE, End.CUT, End.CONTEXT} <= {end for _, end in ends}
    assert {2, 3} == {turns for turns, _ in ends}
    assert not any(one.margins.any() for one in made.prefilled)


@pytest.mark.parametrize(
    ("flying", "near", "exact"),
    [
        (256, 210, False),
        (256, NEAR, True),
        pytest.param(3, 210, False, marks=pytest.mark.nightly),
        pytest.param(3, NEAR, False, marks=pytest.mark.nightly),
    ],
)
def test_groups_are_those_of_drawing_token_by_token(made, flying, near, exact):
    """However many rollouts are kept at a time, and whoever decides near ties."""
    groups, count = made.make(follow_groups, made.rough, flying=flying, near=near, exact=exact)
    assert list_ids(groups) == made.ids
    assert count.discarded
    assert bool(count.settling) == (near == NEAR)
    room = 0 if exact else 1  # a unit, where a turn was read in other shapes
    for rollout, alone in zip(chain(*groups), made.prefilled, strict=True):
        assert np.abs(rollout.logprobs.astype(int) - alone.logprobs.astype(int)).max() <= room
        assert np.abs(rollout.sketch.astype(int) - alone.sketch.astype(int)).max() <= room


def test_each_token_is_read_once_where_all_are_right(made):
    """Also the replies: what is kept of a turn serves the next one."""
    groups, count = made.make(generate_groups, made.drafter)
    assert list_ids(groups) == made.ids
    assert count.drafted == count.submitted == sum(len(r.tokens) for g in groups for r in g)
    prompts = sum(len(request.prompt) - 1 for request in made.requests)
    replies = sum(episode.reply_tokens for episode in chain(*made.episodes))
    assert count.read - count.settling == prompts + count.submitted + replies
    turns = [episode.turns for episode in chain(*made.episodes)]
    assert (count.rollouts, count.turns) == (len(turns), sum(turns))
    assert count.replies == replies


def test_episodes_that_a_sandbox_ends_are_counted(made):
    """The package of one of the problems answers no turn any more."""
    dead = PackageEpisode(None, 1, 0, 8, 0, error="it takes too many instructions")
    first, second, *_ = made.requests
    play = replace(first.play, episode=replace(first.play.episode, state=dead))
    requests = [replace(first, play=play), second]
    one = replace(made, requests=requests)
    groups, count = one.make(generate_groups, made.drafter)
    assert list_ids(groups)[1] == made.ids[1]
    assert (count.broken, count.rollouts) == (3, 6)
    places = {(0, r): rollout.tokens for r, rollout in enumerate(groups[0])}
    places |= {(1, r): rollout.tokens for r, rollout in enumerate(groups[1])}
    replays = Replays(
        play.environment, lambda g: requests[g].play.episode, play.rules, play.tokenizer
    )
    assert replays.count(places) == (count.turns, count.replies, count.broken)


def test_the_judge_replays_the_same_episodes(made):
    for request, rollouts, episodes in zip(made.requests, made.ids, made.episodes, strict=True):
        play = request.play
        for own, episode in zip(rollouts, episodes, strict=True):
            again = replay(play.episode, own, play.rules, play.tokenizer)
            assert again == episode
            assert find_length_fault(again, len(own), 0, 0) is None


@dataclass
class Listener:
    """The world of a state, which notes all that it hears."""

    inner: object
    heard: list = field(default_factory=list)
    past: tuple = ()

    def step(self, turn, is_ended):
        state, reply = self.inner.step(turn, is_ended)
        past = (*self.past, turn)
        self.heard.append(past)
        return Listener(state, self.heard, past), reply


def test_a_world_hears_right_turns_only_and_each_once(made):
    heard = []
    episode = made.requests[0].play.episode
    listening = replace(episode, state=Listener(episode.state, heard))
    request = made.requests[0]
    request = replace(request, play=replace(request.play, episode=listening))
    one = replace(made, requests=[request])
    one.make(follow_groups, made.rough, horizon=Horizon(20_000, 1))  # whole turns at once
    expected = []
    for own, episode in zip(made.ids[0], made.episodes[0], strict=True):
        turns, begin = [], 0
        for end in (*(reply.at for reply in episode.replies), len(own)):
            turns.append(request.play.tokenizer.decode(own[begin:end]))
            expected.append(tuple(turns))
            begin = end
    assert sorted(heard) == sorted(expected)


def test_worlds_are_stepped_on_as_many_threads_as_they_take(made, monkeypatch):
    monkeypatch.setattr(SmallWorld, "scorers", 3)
    groups, _ = made.make(generate_groups, made.drafter)
    assert list_ids(groups) == made.ids


def test_a_model_that_does_not_pack_follows_under_another_attention(made, checkpoint):
    reference = checkpoint.get_reference(TEMPERATURE, "fp32-eager")
    groups, _ = replace(made, reference=reference).make(generate_groups, made.drafter)
    assert list_ids(groups) == made.ids
    assert reference.model is checkpoint.get_model("fp32-eager")


def test_states_of_recurrent_layers_live_through_all_turns(checkpoint, projection):
    """They cannot be cut: a correction goes back to where the last one was."""
    model, tokenizer = build_hybrid("qwen3_next"), checkpoint.tokenizer
    ends = tuple(range(1, 12))  # a model that has learned nothing would hardly end a turn
    rules = EpisodeRules(TURNS, 300, 64, 60, frozenset(ends))
    drawable = np.zeros(VOCABULARY, bool)
    drawable[: len(tokenizer.drawable)] = tokenizer.drawable
    requests = make_play_requests(checkpoint, 1, 3, rules)
    sampler = KeyedSampler(drawable, TEMPERATURE, torch.device("cpu"))
    (request,) = requests
    drawn = [draw(model, sampler, request.prompt, seed, request.play) for seed in request.seeds]
    rough = build_hybrid("qwen3_next")
    with torch.no_grad():
        rough.lm_head.weight.add_(torch.randn(rough.lm_head.weight.shape) * 0.02)
    limits, width = Rules(TEMPERATURE, ends, rules.max_tokens), model.config.hidden_size
    made = Made(
        Reference(make_model(model, "fp32-sdpa"), drawable, TEMPERATURE),
        OwnDrafter(rough, drawable, limits),
        OwnDrafter(rough, drawable, limits),
        limits,
        Projection(np.ones((width, 2), np.float32), np.zeros(width, np.float32), 1.0),
        requests,
        [[own for own, _ in drawn]],
        [[episode for _, episode in drawn]],
    )
    assert max(episode.turns for _, episode in drawn) == TURNS
    groups, count = made.make(follow_groups, made.drafter)
    assert list_ids(groups) == made.ids
    assert count.discarded
    assert not count.settling
