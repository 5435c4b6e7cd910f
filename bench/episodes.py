"""The cost of episodes: tokens drafted and read for each token submitted, with drafts that are
sometimes wrong, and verifying compared with generating, beside completions of one turn.

The model is a small Qwen2 of random weights, and its world replies to whatever it hears. A turn
ends with one of four tokens, so it has 128 tokens on average; where seconds are measured all turns
are equally long. The drafter is that of `bench/follow.py`. `--fast` draws fewer and shorter ones.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import process_time

import numpy as np
import torch
from figures import FAST, Figure, measure_together, report
from follow import HIDDEN, TEMPERATURE, VOCABULARY, WRONG, Flawed, collect_ids, make_config
from work import make_random_model, make_random_projection

from assay.environments.base import Frame, RewardParts, rate_answer
from assay.inference.draft import OwnDrafter, Request, Rules
from assay.inference.generate import DraftCount, GroupRequest, follow_groups
from assay.inference.implementations import make_model
from assay.inference.playing import Play
from assay.inference.reference import Reference
from assay.inference.time_limit import TimeLimit
from assay.protocol.episode import Reply
from assay.protocol.hashing import Domain, hash_fields
from assay.verification.episodes import Episode, EpisodeRules

#: Turns of a rollout, tokens of a turn, of a reply and of a prompt; groups and rollouts of each.
TURNS, TURN, REPLY, PROMPT = 4, 32 if FAST else 128, 16, 64
GROUPS, ROLLOUTS = 2, 4 if FAST else 16
#: What a turn ends with: one token of so many.
ENDS = tuple(range(VOCABULARY // TURN))
MAX_TOKENS = 16 * TURN
THREADS = 1
REPEATS = 3
LARGE = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4}


class Ids:
    """A tokenizer whose texts are ids."""

    def decode(self, tokens: list[int]) -> str:
        return " ".join(map(str, tokens))

    def encode_reply(self, content: str, frame: Frame, most_bytes: int) -> list[int]:
        return list(hash_fields(Domain.PROBLEM, content.encode())[:REPLY])


@dataclass(frozen=True)
class Echo:
    """A world that replies to all turns, and to each in another way."""

    heard: str = ""

    def step(self, turn: str, is_ended: bool) -> tuple["Echo", str]:
        return Echo(self.heard + turn), self.heard + turn

    def score(self) -> RewardParts:
        return rate_answer(0)


class Echoes:
    """An environment as far as it is asked while rollouts are made."""

    scorers = 1


def make_requests() -> list[GroupRequest]:
    random = np.random.default_rng(0)
    rules = EpisodeRules(TURNS, 1 << 20, 1, MAX_TOKENS, frozenset(ENDS))
    play = Play(Episode(Frame(), Echo(), PROMPT), rules, Ids(), Echoes())
    return [
        GroupRequest(
            tuple(random.integers(0, VOCABULARY, PROMPT).tolist()),
            tuple(hash_fields(Domain.ROLLOUT, bytes([g, r])) for r in range(ROLLOUTS)),
            play,
        )
        for g in range(GROUPS)
    ]


class FlawedTurns(Flawed):
    """It continues a turn. The rollout goes on behind it, so a turn may end too late."""

    def draft(
        self, requests: Sequence[Request], ahead: int | None = None, limit: TimeLimit | None = None
    ) -> list[tuple[int, ...]]:
        whole = [replace(r, tokens=self.right[r.seed][: r.at] + r.tokens, at=0) for r in requests]
        return [row[r.at :] for r, row in zip(requests, super().draft(whole, ahead), strict=True)]


def count_tokens() -> list[Figure]:
    """Figures of drafting and reading."""
    model, drawable = make_random_model(make_config()), np.ones(VOCABULARY, bool)
    reference = Reference(make_model(model, "fp32-sdpa"), drawable, TEMPERATURE)
    rules, requests = Rules(TEMPERATURE, ENDS, MAX_TOKENS), make_requests()
    needed = reference, rules, make_random_projection(HIDDEN)
    true = follow_groups(requests, OwnDrafter(model, drawable, rules), *needed)
    right, count = collect_ids(requests, true), DraftCount()
    made = follow_groups(requests, FlawedTurns(right), *needed, count)
    assert collect_ids(requests, made) == right
    each = count.submitted / (GROUPS * ROLLOUTS)
    named = f"{TURNS} turns, {each:.0f} own tokens:"
    return [
        Figure(
            f"{named} drafted for each token submitted",
            count.drafted / count.submitted,
            "tokens",
            bound=None if FAST else 1.4,  # replies are as long to short turns
        ),
        Figure(
            f"{named} read by the reference for each token submitted",
            count.read / count.submitted,
            "tokens",
            bound=None if FAST else 1.5,
        ),
        Figure(f"{named} read for near ties", count.settling / count.submitted, "tokens"),
    ]


def time_group() -> list[Figure]:
    """Figures of verifying and generating a group."""
    model, drawable = make_random_model(make_config(**LARGE)), np.ones(VOCABULARY, bool)
    reference = Reference(make_model(model, "fp32-sdpa"), drawable, TEMPERATURE)
    projection = make_random_projection(LARGE["hidden_size"])
    drafter = OwnDrafter(model, drawable, Rules(TEMPERATURE, (), TURNS * TURN))
    (request, *_), said = make_requests(), tuple(range(REPLY))
    places = range(TURN, TURNS * TURN, TURN)
    replies = [[Reply(at, said) for at in places] for _ in request.seeds]

    def generate(turns: int) -> list[np.ndarray]:
        rows = [Request(request.prompt, seed) for seed in request.seeds]
        own: list[tuple[int, ...]] = [() for _ in rows]
        length = TURNS * TURN // turns
        for _ in range(turns):
            drafts = drafter.draft(rows, length)
            own = [before + turn for before, turn in zip(own, drafts, strict=True)]
            rows = [
                Request(row.prompt + turn + said, row.seed, at=row.at + length)
                for row, turn in zip(rows, drafts, strict=True)
            ]
        return [np.array(row, np.uint32) for row in own]

    def verify(completions: list[np.ndarray], said: list[list[Reply]] | None) -> None:
        prompts = [request.prompt] * len(completions)
        reference.measure(prompts, completions, request.seeds, projection, said)

    one, several = generate(1), generate(TURNS)
    whole, verified, parts, replayed = measure_together(
        [
            partial(generate, 1),
            partial(verify, one, None),
            partial(generate, TURNS),
            partial(verify, several, replies),
        ],
        REPEATS,
        process_time,  # other work of the machine does not count
    )
    return [
        Figure(
            f"verify over generate, {TURNS} turns of {TURN} tokens",
            replayed / parts,
            "",
            "one turn",
            verified / whole,
            ratio_bound=1.25,
        ),
        Figure(
            f"verify {ROLLOUTS} rollouts of {TURNS} turns",
            1e3 * replayed,
            "ms",
            "one turn",
            1e3 * verified,
        ),
        Figure(
            f"generate {ROLLOUTS} rollouts of {TURNS} turns",
            1e3 * parts,
            "ms",
            "one turn",
            1e3 * whole,
        ),
    ]


def main() -> None:
    torch.set_num_threads(THREADS)
    figures = count_tokens()
    print("  drafts are counted", file=sys.stderr)
    figures += time_group()
    report(f"episodes of {TURNS} turns, {WRONG:.1%} of drafted tokens are wrong", figures, THREADS)


if __name__ == "__main__":
    main()
