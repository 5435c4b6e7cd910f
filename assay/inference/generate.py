"""Draft and verify: the result is the reference's own sample, with any drafter.

`generate_groups` drafts whole completions and prefills whole groups, as a validator would. That is
cheapest where nearly every draft is right. `follow_groups` drafts a stretch, lets the reference
read just that, and continues. That is cheapest where some tokens are wrong, as those of an engine
in another precision are. Both submit the same ids. Episodes of several turns are always followed:
what a world replies depends on right tokens. Specification, section 3.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import takewhile
from math import sqrt
from time import perf_counter
from typing import cast

import numpy as np
from transformers import PreTrainedModel

from assay.environments.base import Environment, Problem
from assay.environments.scoring import run_all
from assay.inference.checkpoint import Outline
from assay.inference.draft import Drafter, Request, Rules
from assay.inference.following import NEAR, FollowedRow, Follower, decide_token, find_wrong
from assay.inference.implementations import make_packing_twin
from assay.inference.placing.model_sizes import measure_shape
from assay.inference.plain.states import get_plain_head
from assay.inference.playing import Play, begin_play
from assay.inference.reference import Reference
from assay.inference.time_limit import TimeLimit
from assay.protocol.parameters import Work
from assay.protocol.submission import Rollout
from assay.verification import Projection

#: Least and most tokens that a draft goes ahead.
AHEAD_MIN, AHEAD_MAX = 8, 512
#: Rollouts in progress at a time.
FLYING = 256
#: Cost of a stretch besides its tokens, in tokens: a request, a pass. Tuning.
_STRETCH_COST = 8.0
#: Tokens after which half of the observations is forgotten: a new checkpoint drafts differently.
_MEMORY = 20_000
#: Share of the time left that is kept for reading what was drafted. A pass over tokens that are
#: there already takes a quarter of the time in which they were drawn, or less. Tuning.
_READING_SHARE = 0.25


@dataclass(slots=True)
class DraftCount:
    """The cost of drafting."""

    drafted: int = 0  # tokens that the drafter drew
    discarded: int = 0  # of these, from the first wrong one of a draft on
    submitted: int = 0  # tokens of the finished groups
    rollouts: int = 0  # of these groups
    turns: int = 0  # of these rollouts
    replies: int = 0  # tokens that worlds replied in them
    broken: int = 0  # of these rollouts, ended by the sandbox in which their world runs
    read: int = 0  # tokens that went through the reference, prompts among them
    settling: int = 0  # of these, tokens read to decide near ties
    #: seconds of the drafter and of the reference; with followed drafts both run at once
    drafting_s: float = 0.0
    reading_s: float = 0.0

    def add(self, other: "DraftCount") -> None:
        """Add the cost of other drafting."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    @contextmanager
    def time_drafting(self) -> Iterator[None]:
        """Add the time of a draft."""
        began = perf_counter()
        yield
        self.drafting_s += perf_counter() - began

    @contextmanager
    def time_reading(self) -> Iterator[None]:
        """Add the time of a reading by the reference."""
        began = perf_counter()
        yield
        self.reading_s += perf_counter() - began


@dataclass(frozen=True, slots=True)
class GroupRequest:
    """One problem.

    Attributes:
        prompt: its token ids.
        seeds: of each rollout.
        play: its episode before the first turn; None: rollouts have one turn.
    """

    prompt: tuple[int, ...]
    seeds: tuple[bytes, ...]
    play: Play | None = None


def make_group_request(
    environment: Environment,
    problem: Problem,
    seeds: tuple[bytes, ...],
    work: Work,
    outline: Outline,
) -> GroupRequest:
    """The request for a problem under a network's parameters and a checkpoint."""
    prompt = tuple(outline.tokenizer.encode(problem.conversation))
    return GroupRequest(prompt, seeds, begin_play(environment, problem, len(prompt), work, outline))


@dataclass(slots=True)
class Horizon:
    """The number of tokens that a draft goes ahead of the reference. With f wrong tokens per token,
    the square root of 2 · cost / f balances wasted draft tokens against the cost of a stretch."""

    drafted: float = 64.0  # a prior: it begins in the middle
    wrong: float = 1.0

    @property
    def ahead(self) -> int:
        """The number of tokens, a power of two."""
        best = sqrt(2 * _STRETCH_COST * self.drafted / self.wrong)
        return max(AHEAD_MIN, min(AHEAD_MAX, 1 << round(best).bit_length() - 1))

    def note(self, confirmed: int, wrong: int) -> None:
        """Note how many tokens were the reference's own, and how many were wrong."""
        self.drafted, self.wrong = self.drafted + confirmed + wrong, self.wrong + wrong
        if self.drafted > 2 * _MEMORY:
            self.drafted, self.wrong = self.drafted / 2, max(self.wrong / 2, 0.5)


def generate_groups(
    requests: Sequence[GroupRequest],
    drafter: Drafter,
    reference: Reference,
    rules: Rules,
    projection: Projection,
    count: DraftCount | None = None,
    near: int = NEAR,
    *,
    limit: TimeLimit | None = None,
) -> list[list[Rollout]]:
    """The one valid group of each request, with log-probabilities and sketches.

    Args:
        count: if given, the cost of drafting is added to it.
        near: 2^-20 logits, see `NEAR`.
        limit: from then on nothing more is drafted or read, and the result has the groups before
            the first unfinished one alone, which are the same as without it; None: there is none.
    """
    count = count if count is not None else DraftCount()
    if any(request.play is not None for request in requests):
        given = requests, drafter, reference, rules, projection, count
        # nearly every draft is right here
        return follow_groups(*given, Horizon(_MEMORY), near, limit=limit)
    groups: list[list[Rollout]] = [[] for _ in requests]
    pending = {
        g: [Request(group.prompt, seed) for seed in group.seeds] for g, group in enumerate(requests)
    }
    reader = _GroupReader(reference, projection, near, count)
    while pending:
        unfinished = {
            (g, r): request
            for g, rows in pending.items()
            for r, request in enumerate(rows)
            if not rules.is_finished(request.tokens)
        }
        with count.time_drafting():
            drafts = drafter.draft(list(unfinished.values()), limit=_keep_back(limit))
        for ((g, r), request), tokens in zip(unfinished.items(), drafts, strict=True):
            cut = rules.cut(tokens)
            count.drafted += len(cut) - len(request.tokens)
            pending[g][r] = Request(request.prompt, request.seed, cut)
        with count.time_reading():
            for g in list(pending):
                if limit is not None and (limit.is_over or _is_cut(pending[g], rules)):
                    # a file has groups in order, so none behind this one
                    groups, pending = groups[:g], {p: pending[p] for p in pending if p < g}
                    break
                made = reader.read(requests[g], pending[g])
                if made is not None:
                    groups[g] = made
                    del pending[g]
    count.submitted += sum(len(rollout.tokens) for group in groups for rollout in group)
    finished = sum(map(len, groups))
    count.rollouts, count.turns = count.rollouts + finished, count.turns + finished
    return groups


def _keep_back(limit: TimeLimit | None) -> TimeLimit | None:
    return None if limit is None else limit.keep_back(_READING_SHARE)


def _is_cut(rows: Sequence[Request], rules: Rules) -> bool:
    """Return whether drafting has stopped before the end of one of them."""
    return not all(rules.is_finished(row.tokens) for row in rows)


@dataclass(slots=True)
class _GroupReader:
    """Lets the reference read whole groups, and corrects them."""

    reference: Reference
    projection: Projection
    near: int
    count: DraftCount
    settled: dict[Request, int] = field(default_factory=dict)

    def read(self, group: GroupRequest, rows: list[Request]) -> list[Rollout] | None:
        """The group, if all its tokens are the reference's own. Otherwise its rows are
        corrected."""
        measured = self.reference.measure_with_leads(
            [group.prompt] * len(rows),
            [np.array(row.tokens, np.uint32) for row in rows],
            group.seeds,
            self.projection,
        )
        self.count.read += len(group.prompt) + sum(len(row.tokens) for row in rows)
        is_right = True
        for r, (row, (measurement, leads)) in enumerate(zip(rows, measured, strict=True)):
            decide = partial(self._decide, row)
            wrong = find_wrong(np.array(row.tokens), measurement.best, leads, self.near, decide)
            if wrong is not None:
                rows[r] = _cut(row, *wrong)
                self.count.discarded += len(row.tokens) - wrong[0]
                is_right = False
        if not is_right:
            return None
        return [
            Rollout(np.array(row.tokens, np.uint32), measurement.logprobs, measurement.sketch)
            for row, (measurement, _) in zip(rows, measured, strict=True)
        ]

    def _decide(self, row: Request, place: int) -> int:
        before = Request(row.prompt, row.seed, row.tokens[:place])
        if before not in self.settled:
            self.settled[before] = decide_token(
                self.reference, before.prompt, before.tokens, before.seed, self.projection
            )
            self.count.read += len(before.prompt) + place
            self.count.settling += len(before.prompt) + place
        return self.settled[before]


def _cut(row: Request, place: int, token: int) -> Request:
    return Request(row.prompt, row.seed, (*row.tokens[:place], token))


def follow_groups(
    requests: Sequence[GroupRequest],
    drafter: Drafter,
    reference: Reference,
    rules: Rules,
    projection: Projection,
    count: DraftCount | None = None,
    horizon: Horizon | None = None,
    near: int = NEAR,
    flying: int = FLYING,
    *,
    exact: bool = False,
    limit: TimeLimit | None = None,
) -> list[list[Rollout]]:
    """The same groups, drafted in stretches. While one half of the rollouts is drafted, the
    reference reads the other.

    Log-probabilities and sketches may differ from those of `generate_groups` by a unit, which a
    judge allows for. With `exact` they are the same, at the cost of another prefill of every group.
    Recurrent layers lose more to rounding where stretches begin: of models with them, results are
    always exact.

    The world of an episode is asked at the end of each turn that the reference has confirmed.
    Rollouts are at different turns at a time.

    Args:
        reference: if its model does not pack, the same weights follow under an attention that
            does, which may be used as well.
        horizon: observations of the drafter, which this function updates.
        flying: rollouts in progress at a time.
        limit: see `generate_groups`.
    """
    count = count if count is not None else DraftCount()
    horizon = horizon or Horizon()
    groups = [[FollowedRow(q.prompt, seed, play=q.play) for seed in q.seeds] for q in requests]
    context = max((q.play.rules.context for q in requests if q.play is not None), default=0)
    reference = _make_packing(reference)
    follower = Follower(reference, projection, rules.max_tokens, near, flying, context)
    half = max(1, follower.kept_max // 2)
    _fly(groups, drafter, follower, rules, count, horizon, half, limit)
    following = follower.count
    count.read += following.read + following.settling
    count.settling += following.settling
    groups = list(takewhile(lambda group: all(_is_done(row, rules) for row in group), groups))
    is_plain = get_plain_head(reference.model) is not None  # what was read is a prefill's already
    if not is_plain and (exact or measure_shape(reference.model.config, 0).state):
        with count.time_reading():
            in_time = takewhile(lambda group: limit is None or not limit.is_over, groups)
            made = [_prefill(group, reference, projection, count) for group in in_time]
    else:
        made = [[_take(row) for row in group] for group in groups]
    for row in (row for group in groups[: len(made)] for row in group):
        count.submitted += len(row.tokens)
        count.rollouts += 1
        count.turns += 1 if row.play is None else row.play.episode.turns
        count.replies += sum(len(reply.ids) for reply in row.replies)
        count.broken += row.play is not None and row.play.episode.is_broken
    return made


def _fly(
    groups: Sequence[Sequence[FollowedRow]],
    drafter: Drafter,
    follower: Follower,
    rules: Rules,
    count: DraftCount,
    horizon: Horizon,
    half: int,
    limit: TimeLimit | None,
) -> None:
    """Draft and follow until every row is done, or time is up."""
    waiting = deque(row for group in groups for row in group)
    drafted: list[FollowedRow] = []  # and not read yet
    with ThreadPoolExecutor(1, "draft") as engine:
        while (waiting or drafted) and not (limit is not None and limit.is_over):
            # the oldest rows continue first, so that groups are finished in order
            taken = min(half, len(waiting), -(-(len(waiting) + len(drafted)) // 2))
            rows = [waiting.popleft() for _ in range(taken)]
            unfinished = [row for row in rows if not rules.is_finished(row.turn, row.at)]
            asked = [_make_request(row) for row in unfinished]
            drafting = engine.submit(_draft, drafter, asked, horizon.ahead, count, limit)
            with count.time_reading():
                unread = _follow(drafted, follower, rules, count, horizon)
            waiting.extendleft(reversed(unread))
            for row, tokens in zip(unfinished, drafting.result(), strict=True):
                cut = rules.cut(tokens, row.at)
                count.drafted += len(cut) - len(row.turn)
                row.tokens[row.at :] = cut
            drafted = rows


def _make_packing(reference: Reference) -> Reference:
    """A reference over the same weights whose model packs."""
    if getattr(reference.model, "packs", False) or get_plain_head(reference.model) is not None:
        return reference
    packing = copy(reference)
    packing.model = make_packing_twin(cast(PreTrainedModel, reference.model))
    return packing


def _make_request(row: FollowedRow) -> Request:
    """The turn in progress."""
    before = tuple(row.sequence[: row.locate(row.at)])
    return Request(before, row.seed, tuple(row.turn), row.at)


def _draft(
    drafter: Drafter,
    asked: Sequence[Request],
    ahead: int,
    count: DraftCount,
    limit: TimeLimit | None,
) -> list[tuple[int, ...]]:
    with count.time_drafting():
        return drafter.draft(asked, ahead, _keep_back(limit))


def _follow(
    rows: Sequence[FollowedRow],
    follower: Follower,
    rules: Rules,
    count: DraftCount,
    horizon: Horizon,
) -> list[FollowedRow]:
    """Let the reference read the drafts, and worlds reply to the turns that are whole. Return the
    rows that are not done."""
    before, wrong = sum(row.measured for row in rows), follower.count.wrong
    count.discarded += follower.follow(rows)
    confirmed = sum(row.measured for row in rows) - before
    horizon.note(confirmed, follower.count.wrong - wrong)
    whole = [row for row in rows if _is_whole(row, rules)]
    _take_turns([(row, row.play) for row in whole if row.play is not None])
    done = {row for row in whole if _is_done(row, rules)}
    for row in done:
        follower.forget(row)
    return [row for row in rows if row not in done]


def _is_whole(row: FollowedRow, rules: Rules) -> bool:
    """Return whether the turn in progress is whole and the reference's own."""
    return row.measured == len(row.tokens) and rules.is_finished(row.turn, row.at)


def _is_done(row: FollowedRow, rules: Rules) -> bool:
    """Return whether the rollout is finished."""
    if row.play is None:
        return _is_whole(row, rules)
    return row.play.episode.end is not None


def _take_turns(played: Sequence[tuple[FollowedRow, Play]]) -> None:
    """Let the world of each row reply to its turn."""
    if not played:
        return
    steps = [partial(play.take_turn, row.turn) for row, play in played]
    environment = played[0][1].environment  # all problems of a network are of one
    for (row, _), play in zip(played, run_all(environment, steps), strict=True):
        row.play = play


def _take(row: FollowedRow) -> Rollout:
    logprobs = np.concatenate(row.logprobs).astype(np.uint32)
    return Rollout(np.array(row.tokens, np.uint32), logprobs, np.concatenate(row.sketch))


def _prefill(
    group: Sequence[FollowedRow], reference: Reference, projection: Projection, count: DraftCount
) -> list[Rollout]:
    """The same ids with the results of a prefill of the whole group."""
    tokens = [np.array(row.tokens, np.uint32) for row in group]
    measured = reference.measure(
        [row.prompt for row in group],
        tokens,
        [row.seed for row in group],
        projection,
        [row.replies for row in group],
    )
    prompt = len(group[0].prompt)
    count.read += prompt + sum(row.locate(len(row.tokens)) - prompt for row in group)
    return [
        Rollout(own, measurement.logprobs, measurement.sketch)
        for own, measurement in zip(tokens, measured, strict=True)
    ]
