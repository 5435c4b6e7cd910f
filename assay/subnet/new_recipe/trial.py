"""The trial of a model on problems before there is a network: lengths, replies, and what is
solved."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from assay.environments.base import Environment
from assay.environments.scoring import run_all
from assay.inference.context_length import count_positions
from assay.inference.draft import Rules
from assay.inference.folder import CheckpointError, read_config
from assay.inference.passage_sampling import Asked
from assay.protocol.parameters import MILLION, Work
from assay.settings.loading import ConfigError
from assay.subnet.genesis_checkpoint import make_encoder, open_adopted_tokenizer, read_end_tokens
from assay.subnet.model_measurements import ModelMeasurements
from assay.verification.episodes import EpisodeRules, begin_episode, replay

#: Kinds of faults of prompts that are named.
_NAMED = 3
_NUMBER = re.compile(r"[0-9][0-9,.]*")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One problem's completion. Numbers are of tokens; `reply_bytes` is the longest reply's, with
    its frame."""

    level: int
    prompt: int
    own: int
    replies: int
    reply_bytes: int
    is_cut: bool
    is_right: bool
    is_read: bool


@dataclass(frozen=True, slots=True)
class Trial:
    """What a model did with problems, each once.

    Attributes:
        ceiling: most own tokens that a completion could have.
        seconds: on the wall, for drawing all.
    """

    outcomes: Sequence[Outcome]
    ceiling: int
    seconds: float

    @property
    def levels(self) -> dict[int, tuple[int, int]]:
        """Level → problems, and how many of them were solved; ascending."""
        asked = Counter(one.level for one in self.outcomes)
        solved = Counter(one.level for one in self.outcomes if one.is_right)
        return {level: (asked[level], solved[level]) for level in sorted(asked)}

    @property
    def solved(self) -> int:
        return sum(one.is_right for one in self.outcomes)

    @property
    def read(self) -> int:
        """Completions whose answer could be read."""
        return sum(one.is_read for one in self.outcomes)

    @property
    def cut(self) -> int:
        """Completions that were cut off at the ceiling."""
        return sum(one.is_cut for one in self.outcomes)

    @property
    def ended(self) -> list[int]:
        """Own tokens of the completions that ended by themselves."""
        return [one.own for one in self.outcomes if not one.is_cut]

    @property
    def prompt(self) -> int:
        """Tokens of the longest prompt."""
        return max(one.prompt for one in self.outcomes)

    @property
    def reply_bytes(self) -> int:
        """Bytes of the longest reply."""
        return max(one.reply_bytes for one in self.outcomes)

    @property
    def mean_prompt(self) -> float:
        return sum(one.prompt for one in self.outcomes) / len(self.outcomes)

    @property
    def mean_replies(self) -> float:
        return sum(one.replies for one in self.outcomes) / len(self.outcomes)

    def compute_own(self, max_tokens: int) -> float:
        """Own tokens on average, if no completion has more than so many."""
        return sum(min(one.own, max_tokens) for one in self.outcomes) / len(self.outcomes)


def ask_model(
    folder: Path,
    environment: Environment,
    levels: Sequence[int],
    problems: int,
    seed: int,
    ceiling: int,
    context: int,
) -> tuple[list[Asked], int]:
    """The problems of a seed with the ids of their prompts, and the tokens that a completion of
    them may have in the model's context, at most `ceiling`.

    Args:
        folder: of an adopted model.
        context: see `find_context_fault`.

    Raises:
        ConfigError: prompts cannot be encoded, or do not fit: says how many, and why.
    """
    tokenizer = open_adopted_tokenizer(folder)
    positions, asked = count_positions(read_config(folder)), []
    lacks: dict[str, list[tuple[int, str]]] = {}  # by words without numbers: lengths, and the words
    encode = make_encoder(folder, tokenizer, 1, context)
    for number in range(problems):
        drawn = sha256(f"recipe {seed} {number}".encode()).digest()
        problem = environment.make_problem(drawn, levels)
        try:
            asked.append((problem, tuple(encode(problem.conversation)), drawn))
        except CheckpointError as error:
            why = str(error).removeprefix(f"{folder}: ")
            lacks.setdefault(_NUMBER.sub("", why), []).append((len(problem.question), why))
    if lacks:
        kinds = sorted(lacks.values(), key=len, reverse=True)[:_NAMED]
        raise ConfigError(
            "\n".join(
                f"{len(each)} of {problems} prompts cannot be put to the model"
                f"{', the longest' * (len(each) > 1)}: {max(each)[1]}"
                for each in kinds
            )
        )
    longest = max(len(ids) for _, ids, _ in asked)
    return asked, ceiling if positions is None else min(ceiling, positions - longest)


def try_model(
    measuring: ModelMeasurements,
    folder: Path,
    environment: Environment,
    asked: Sequence[Asked],
    work: Work,
) -> Trial:
    """Have a model answer problems once each, up to the max_tokens of `work`, and score that.

    Raises:
        CheckpointError: see `ModelMeasurements`. WorkerError: a scorer cannot run here.
    """
    tokenizer, ends = open_adopted_tokenizer(folder), read_end_tokens(folder)
    drawing = Rules(work.temperature, ends, work.max_tokens)
    sampled = measuring.sample(tokenizer, environment, asked, work, drawing)
    rules = EpisodeRules(
        work.turns, work.context, work.reply_bytes, work.max_tokens, frozenset(ends)
    )
    steps = [
        partial(
            replay,
            begin_episode(environment, problem, len(ids)),
            passage.completion,
            rules,
            tokenizer,
        )
        for (problem, ids, _), passage in zip(asked, sampled.passages, strict=True)
    ]
    episodes = run_all(environment, steps)
    parts = run_all(environment, [one.state.score for one in episodes])
    outcomes = [
        Outcome(
            level=problem.level,
            prompt=len(ids),
            own=len(passage.completion),
            replies=sum(len(reply.ids) for reply in passage.replies),
            reply_bytes=max(
                (len(tokenizer.decode(reply.ids).encode()) for reply in passage.replies), default=0
            ),
            is_cut=passage.completion[-1] not in ends,
            is_right=rated.is_right,
            is_read=rated.format == MILLION,
        )
        for (problem, ids, _), passage, rated in zip(asked, sampled.passages, parts, strict=True)
    ]
    return Trial(outcomes, work.max_tokens, sampled.seconds)
