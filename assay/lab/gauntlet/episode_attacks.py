"""Strategies of networks whose rollouts have several turns: one rollout of each group is forged."""

from abc import ABC
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch

from assay.inference.draws.sampler import KeyedSampler, make_keys
from assay.inference.generate import GroupRequest
from assay.inference.passages import Passage
from assay.inference.playing import Play
from assay.lab.gauntlet.content_attacks import get_tokens
from assay.lab.gauntlet.forged_episodes import FORGERIES, Forger, Forgery, Logits, Played
from assay.lab.gauntlet.strategy import Strategy
from assay.neurons.miner.miner import Group, WindowWork
from assay.protocol.episode import Reply
from assay.protocol.submission import Rollout

#: Turns that a rollout needs to be forged in every way.
_TURNS = 3


class ModelForger(Forger):
    """Of a rollout of a miner's group, with the true model."""

    def __init__(self, work: WindowWork, request: GroupRequest, group: Group, number: int) -> None:
        play = request.play
        if play is None:
            raise ValueError("rollouts of this network have one turn")
        self.episode, self.rules, self.tokenizer = play.episode, play.rules, play.tokenizer
        self.drawable = work.checkpoint.tokenizer.drawable
        temperature = work.challenge.parameters.work.temperature
        self._reference = work.checkpoint.get_reference(temperature)
        self._sampler = KeyedSampler(self.drawable, temperature)
        self._prompt, self._projection = request.prompt, work.projection
        self._seed = request.seeds[number]
        rows = get_tokens(group)
        self._honest = _replay(play, rows[number])
        self._neighbour = _replay(play, rows[number - 1])

    @property
    def honest(self) -> Played:
        return self._honest

    @property
    def neighbour(self) -> Played:
        return self._neighbour

    def compute_logits(self, tokens: Sequence[int], heard: Sequence[Reply]) -> Logits:
        passage = Passage(self._prompt, (*tokens, self.end), tuple(heard))  # any token would do
        (states,) = self._reference.compute_states([passage])
        logits: Logits = self._reference.compute_logits(states[-1:]).cpu().numpy()
        return logits

    def draw(self, logits: Logits, t: int) -> int:
        keys = make_keys([self._seed])
        token, _ = self._sampler.draw(torch.from_numpy(logits), keys, torch.tensor([t]))
        return int(token)

    def prove(self, tokens: Sequence[int], heard: Sequence[Reply]) -> Rollout:
        own = np.array(tokens, np.uint32)
        (m,) = self._reference.measure(
            [self._prompt], [own], [self._seed], self._projection, [heard]
        )
        return Rollout(own, m.logprobs, m.sketch)


def _replay(play: Play, tokens: Sequence[int]) -> Played:
    episode = play.replay(tokens)
    return Played(list(tokens), list(episode.replies), episode)


class ForgedEpisodes(Strategy, ABC):
    """Forges one rollout of each group, that of the most turns, and plays the others honestly. The
    forged one costs nothing: work that only attackers can leave out is expensive."""

    needs_turns = plays = True
    forgery: ClassVar[Forgery]

    def generate(self, work: WindowWork, indices: range) -> list[Group]:
        """Forge a rollout of each group in which one has turns enough."""
        groups = []
        for index, group in zip(indices, self.find_genuine(work, indices), strict=True):
            request = self.make_request(work, index)
            forgers = [ModelForger(work, request, group, r) for r in range(len(group))]
            turns = [len(forger.honest.turns) for forger in forgers]
            made, r = list(group), turns.index(max(turns))
            if turns[r] >= _TURNS:
                made[r] = type(self).forgery(forgers[r])
            paid = [rollout for i, rollout in enumerate(group) if i != r or turns[r] < _TURNS]
            self.bill_tokens([paid], "bf16", "prefill")
            self.bill.add("prefill", len(request.prompt))
            groups.append(made)
        return groups


def _make_strategy(title: str, forgery: Forgery) -> type[ForgedEpisodes]:
    fields = {"title": title, "forgery": staticmethod(forgery), "__doc__": forgery.__doc__}
    return type("Forged", (ForgedEpisodes,), fields)


FORGED_EPISODES = tuple(_make_strategy(title, forge) for title, (_, forge) in FORGERIES.items())
