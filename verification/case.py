"""A submission's case: what judging it needs, its problems and its episodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import islice

from assay.environments.base import Environment, Problem, RewardParts
from assay.environments.dealing import make_miner_problem
from assay.environments.rewards import compute_reward
from assay.environments.scoring import run_all
from assay.protocol.context import Context
from assay.protocol.manifest import Manifest
from assay.protocol.reason import Refusal
from assay.protocol.seeds import compute_projection_seed, compute_witness_seed
from assay.protocol.submission import Rollout
from assay.verification.episodes import Episode, Replays, Tokens, begin_episode, make_episode_rules
from assay.verification.ports import Projection, Tokenizer
from assay.verification.settlement import compute_value
from assay.verification.sketch import join_projections, make_projection
from assay.verification.verdict import GroupValue, Refused


@dataclass(frozen=True, slots=True, eq=False)
class ShownGroup:
    """The parts of one group that an audit reads."""

    index: int
    valued: bool  # `tokens` has all rollouts
    tokens: Mapping[int, Tokens]  # rollout → its completion
    audited: Mapping[int, Rollout]  # rollout → the rollout with its proof, ascending


@dataclass(frozen=True, slots=True)
class _Asked:
    """A group's problem, and the ids of its prompt."""

    problem: Problem
    prompt: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """The inputs of judging one submission, and the problems that it has needed so far: each is
    made once, since in a sandbox it takes milliseconds to seconds."""

    hotkey: bytes
    context: Context
    tokenizer: Tokenizer
    manifest: Manifest
    environment: Environment
    committed_groups: int
    asked: dict[int, _Asked] = field(default_factory=dict)

    def refuse(self, fault: Refusal) -> Refused:
        """The verdict on a submission with a fault. Nothing was measured."""
        return Refused(
            window=self.context.window,
            hotkey=self.hotkey,
            committed_groups=self.committed_groups,
            fault=fault,
        )

    def value_groups(
        self, groups: Sequence[ShownGroup], replays: Replays
    ) -> tuple[GroupValue, ...]:
        """Rewards and values of groups that have been read whole. All are scored together, so that
        they share the cores."""
        rollouts = {
            (group.index, r): tokens
            for group in groups
            for r, tokens in sorted(group.tokens.items())
        }
        episodes = replays.play(rollouts)
        scores = run_all(self.environment, [episode.state.score for episode in episodes])
        results = zip(episodes, scores, strict=True)
        return tuple(
            self._value_group(group, list(islice(results, len(group.tokens)))) for group in groups
        )

    def make_replays(self) -> Replays:
        """The submission's episodes, none of which is replayed yet."""
        rules = make_episode_rules(self.context.parameters.work, self.manifest)
        return Replays(self.environment, cache(self._begin), rules, self.tokenizer)

    def _begin(self, index: int) -> Episode:
        asked = self._ask(index)
        return begin_episode(self.environment, asked.problem, len(asked.prompt))

    def _value_group(
        self, group: ShownGroup, results: Sequence[tuple[Episode, RewardParts]]
    ) -> GroupValue:
        parameters = self.context.parameters
        rewards = tuple(
            compute_reward(parts, episode.own, parameters.rewards, parameters.work.max_tokens)
            for episode, parts in results
        )
        correctness = tuple(parts.correctness for _, parts in results)
        value = compute_value(
            parameters.work,
            lengths=[episode.own for episode, _ in results],
            replies=[episode.reply_tokens for episode, _ in results],
            prompt_tokens=len(self.encode_prompt(group.index)),
            mean_reward=sum(rewards) // len(rewards),
            mean_correctness=sum(correctness) // len(correctness),
        )
        return GroupValue(group.index, value, rewards, correctness, tuple(group.audited))

    def make_problems(self, indices: Sequence[int]) -> None:
        """Make the problems of groups together, so that they share the cores."""
        made = run_all(self.environment, [partial(self._make, index) for index in indices])
        self.asked.update(zip(indices, made, strict=True))

    def make_problem(self, index: int) -> Problem:
        return self._ask(index).problem

    def encode_prompt(self, index: int) -> list[int]:
        return self._ask(index).prompt

    def _ask(self, index: int) -> _Asked:
        if index not in self.asked:
            self.asked[index] = self._make(index)
        return self.asked[index]

    def _make(self, index: int) -> _Asked:
        seed, levels = self.context.challenge_seed, self.manifest.levels
        problem = make_miner_problem(self.environment, seed, self.hotkey, index, levels)
        return _Asked(problem, self.tokenizer.encode(problem.conversation))

    def make_projection(self, validator: bytes | None) -> Projection:
        """The sketch's two columns, and the witness's two where there is a validator."""
        context = self.context
        seed = compute_projection_seed(context.challenge_seed)
        projection = make_projection(seed, self.manifest)
        if validator is None:
            return projection
        seed = compute_witness_seed(context.audit_seed, validator)
        return join_projections(projection, make_projection(seed, self.manifest))
