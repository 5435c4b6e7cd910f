"""Held-out success of each checkpoint, by level, and the levels that follow from it.

Every checkpoint of the same levels is tried on the same problems, twice on each, at the levels in
force and at their neighbours. The share of problems with two different results shows which level
would teach. The manifest of the next checkpoint has the counts, and its levels follow from them.
Specification, section 11.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from assay.environments.base import Environment, Problem, RewardParts
from assay.environments.levels import PROBLEMS_MIN, Success, compute_candidates, find_undecided
from assay.environments.registry import open_environment
from assay.environments.scoring import run_all
from assay.environments.steering import read_successes
from assay.inference.checkpoint import Checkpoint
from assay.inference.draft import Drafter, OwnDrafter, Request
from assay.inference.expert_stacks import stack_experts
from assay.inference.sampled_episodes import SampledEpisode, sample_episodes
from assay.protocol.amendment import ParameterHistory
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.manifest import HeldOutCounts, LevelSuccess, Manifest
from assay.protocol.parameters import EnvironmentChoice, Parameters, Work
from assay.verification import Tokenizer

#: Completions that are sampled together.
BATCH = 256
#: Numbers that are tried for each problem, where some are not made.
_DRAWN = 2


def evaluate(
    checkpoint: Checkpoint,
    environment: Environment,
    work: Work,
    problems: int,
    levels: Sequence[int] | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Success:
    """Accuracy on the first `problems` held-out problems, which are the same for all checkpoints.
    One that is not made gives its place to the next.

    Args:
        levels: levels of the problems; None: the checkpoint's own levels.
    """
    return add_up(count_successes(checkpoint, environment, work, problems, levels, on_progress))


def add_up(counts: Mapping[int, Success]) -> Success:
    """The sum over all levels."""
    solved, asked = (sum(getattr(s, name) for s in counts.values()) for name in ("solved", "asked"))
    return Success(solved, asked)


def count_successes(
    checkpoint: Checkpoint,
    environment: Environment,
    work: Work,
    problems: int,
    levels: Sequence[int] | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
    twice: bool = False,
    model: PreTrainedModel | None = None,
) -> dict[int, Success]:
    """The same as `evaluate`, by level. With `twice`, each problem is tried once more with other
    draws, to count the problems with different results. The number solved is of the first try.
    `model` answers in place of the checkpoint's own."""
    drafter = checkpoint.get_drafter(work.temperature, model)
    tokenizer, own = checkpoint.tokenizer, checkpoint.manifest.level_numbers
    asked, solved, mixed = Counter[int](), Counter[int](), Counter[int]()
    number = done = 0
    while done < problems:
        batch, seeds = list[Problem](), list[bytes]()
        while len(batch) < min(BATCH, problems - done):
            seed = make_held_out_seed(environment, number)
            problem = environment.make_problem(seed, levels or own)
            number += 1
            if problem.is_made or number > _DRAWN * problems:
                batch.append(problem)
                seeds.append(seed)
        successes = again = try_problems(drafter, tokenizer, environment, batch, seeds, work)
        if twice:
            seeds = [hash_fields(Domain.HELD_OUT, seed) for seed in seeds]
            again = try_problems(drafter, tokenizer, environment, batch, seeds, work)
        for problem, right, right_again in zip(batch, successes, again, strict=True):
            asked[problem.level] += 1
            solved[problem.level] += right
            mixed[problem.level] += right != right_again
        done += len(batch)
        on_progress(done)
    return {level: Success(solved[level], n, mixed[level]) for level, n in asked.items()}


def make_held_out_seed(environment: Environment, number: int) -> bytes:
    """The 32-byte seed of an environment's held-out problem number `number`, u32."""
    return hash_fields(Domain.HELD_OUT, environment.digest, number.to_bytes(4, "big"))


def try_problems(
    drafter: OwnDrafter,
    tokenizer: Tokenizer,
    environment: Environment,
    problems: Sequence[Problem],
    seeds: Sequence[bytes],
    work: Work,
) -> list[bool]:
    """Return for each problem whether the rollout drawn with its 32-byte seed solves it. `work`:
    see `sample_episodes`."""
    scores = rate_problems(drafter, tokenizer, environment, problems, seeds, work)
    return [parts.is_right for parts in scores]


def rate_problems(
    drafter: OwnDrafter,
    tokenizer: Tokenizer,
    environment: Environment,
    problems: Sequence[Problem],
    seeds: Sequence[bytes],
    work: Work,
) -> list[RewardParts]:
    """What the rollout drawn with its 32-byte seed achieves of each problem. `work`: see
    `sample_episodes`."""
    played = play_problems(drafter, tokenizer, environment, problems, seeds, work)
    return run_all(environment, [one.episode.state.score for one in played])


def play_problems(
    drafter: OwnDrafter,
    tokenizer: Tokenizer,
    environment: Environment,
    problems: Sequence[Problem],
    seeds: Sequence[bytes],
    work: Work,
) -> list[SampledEpisode]:
    """The rollout of each problem that is drawn with its 32-byte seed. `work`: see
    `sample_episodes`."""
    asked = [
        (problem, tuple(tokenizer.encode(problem.conversation)), seed)
        for problem, seed in zip(problems, seeds, strict=True)
    ]
    return sample_episodes(drafter, tokenizer, environment, asked, work)


def answer_problems(
    drafter: Drafter, tokenizer: Tokenizer, problems: Sequence[Problem], seeds: Sequence[bytes]
) -> list[str]:
    """The completion of each problem's prompt, drawn with its 32-byte seed."""
    prompts = (tuple(tokenizer.encode(problem.conversation)) for problem in problems)
    drafts = drafter.draft([Request(*pair) for pair in zip(prompts, seeds, strict=True)])
    return [tokenizer.decode(tokens) for tokens in drafts]


#: Checkpoints whose counts are kept. The monitor may lag behind the trainer by this many.
_KEPT = 16


class HeldOut:
    """Tries checkpoints on held-out problems, each once.

    Args:
        problems: number for each checkpoint; 0: none are asked, and levels stay.
    """

    def __init__(self, parameters: ParameterHistory, problems: int) -> None:
        self._parameters = parameters
        self._problems = problems
        self._counted: OrderedDict[bytes, HeldOutCounts] = OrderedDict()

    @property
    def asks(self) -> bool:
        """Return whether checkpoints are tried at all."""
        return self._problems > 0

    def get_parameters(self, window: int) -> Parameters:
        """Those of a window."""
        return self._parameters.get(window)

    def knows(self, digest: bytes) -> bool:
        """Return whether `count` can answer at once."""
        return digest in self._counted or not self.asks

    def count(
        self, checkpoint: Checkpoint, window: int, weights: Mapping[str, Tensor] | None = None
    ) -> HeldOutCounts:
        """The counts of each level that was asked, ascending: levels in force and their neighbours.
        Empty where no problems are asked. The window's parameters apply. `weights` take the place
        of the checkpoint's."""
        if not self.asks:
            return ()
        if weights is not None:
            parameters = self.get_parameters(window)
            return count_held_out(checkpoint, parameters, self._problems, weights)
        if checkpoint.digest not in self._counted:
            self._counted[checkpoint.digest] = count_held_out(
                checkpoint, self.get_parameters(window), self._problems
            )
            while len(self._counted) > _KEPT:
                self._counted.popitem(last=False)
        return self._counted[checkpoint.digest]


def count_held_out(
    checkpoint: Checkpoint,
    parameters: Parameters,
    problems: int,
    weights: Mapping[str, Tensor] | None = None,
) -> HeldOutCounts:
    """The counts of the first `problems` held-out problems, as a manifest has them. `weights`
    take the place of the checkpoint's."""
    environment = checkpoint.open_environment(parameters.environment)
    levels = compute_candidates(checkpoint.manifest.level_numbers, environment.levels)
    model = None if weights is None else _load_with(checkpoint, weights)
    counted = count_successes(
        checkpoint, environment, parameters.work, problems, levels, twice=True, model=model
    )
    return tuple(
        LevelSuccess(level, success.solved, success.asked, success.mixed)
        for level, success in sorted(counted.items())
    )


def _load_with(checkpoint: Checkpoint, weights: Mapping[str, Tensor]) -> PreTrainedModel:
    """A model of the checkpoint's kind with other weights."""
    model: Any = checkpoint.load_trainable().requires_grad_(False)  # its `to` has an unfitting type
    stacked = stack_experts(model.config.model_type, weights)
    model.load_state_dict(stacked, strict=False)  # a tied weight has one of its names here
    placed: PreTrainedModel = model.to(checkpoint.models.placement.device)
    return placed


def describe_next_levels(choice: EnvironmentChoice, made: Manifest) -> list[str]:
    """Lines for a person: which levels a checkpoint has added to the curriculum and removed from
    it, and which cannot change for lack of problems. Weights change nearly every time: the
    manifest has them."""
    if not made.held_out:
        return []
    lines = []
    counts = {one.level: f"{one.mixed} of {one.asked} problems mixed" for one in made.held_out}
    before = [pair.level for pair in made.levels_before]
    for word, levels, others in (
        ("adds", made.level_numbers, before),
        ("removes", before, made.level_numbers),
    ):
        named = (f"{one} ({counts.get(one, 'untried')})" for one in levels if one not in others)
        if text := ", ".join(named):
            lines.append(f"curriculum {word} level {text}")
    legal = open_environment(choice).levels
    if stuck := find_undecided(before, legal, read_successes(made.held_out)):
        lines.append(
            f"levels {', '.join(map(str, stuck))} stay: each has fewer than {PROBLEMS_MIN} "
            "held-out problems (raise `problems` under [trainer])"
        )
    return lines
