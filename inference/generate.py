"""Draft and verify: whatever drafts, what comes out is the reference's own sample.

`generate_groups` drafts whole completions and prefills whole groups, as a validator would:
the cheapest where nearly every draft is right. `follow_groups` drafts a stretch, has the reference
read just that, and goes on: the cheapest where tokens are wrong now and then, as an engine's in
another precision are. Both submit the same ids. Specification, section 3.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import sqrt

import numpy as np

from assay.inference.draft import Drafter, Request, Rules
from assay.inference.following import NEAR, FollowedRow, Follower, decide_token, find_wrong
from assay.inference.reference import Reference
from assay.protocol.submission import Rollout
from assay.verification import Projection

#: Tokens that a draft goes ahead, at least and at most.
AHEAD_MIN, AHEAD_MAX = 8, 512
#: What a stretch costs besides its tokens, in tokens: a request, a pass. Tuning.
_STRETCH_COST = 8.0
#: Tokens after which half of what was seen is forgotten: a new checkpoint drafts differently.
_MEMORY = 20_000


@dataclass(slots=True)
class DraftCount:
    """What drafting cost."""

    drafted: int = 0  # tokens the drafter drew
    discarded: int = 0  # of these, cut away from the first that was not the reference's on
    submitted: int = 0  # tokens of the finished groups
    read: int = 0  # tokens that went through the reference, prompts among them
    settling: int = 0  # of these, to decide what another pass may decide otherwise


@dataclass(frozen=True, slots=True)
class GroupRequest:
    """One problem: its prompt's token ids and the seed of each rollout."""

    prompt: tuple[int, ...]
    seeds: tuple[bytes, ...]


@dataclass(slots=True)
class Horizon:
    """How far a draft goes ahead of the reference: with f wrong tokens a token, the square root of
    2 · cost / f makes what is drafted in vain and what a stretch costs the same."""

    drafted: float = 64.0  # as if some had been seen: it begins in the middle
    wrong: float = 1.0

    @property
    def ahead(self) -> int:
        """Tokens, a power of two."""
        best = sqrt(2 * _STRETCH_COST * self.drafted / self.wrong)
        return max(AHEAD_MIN, min(AHEAD_MAX, 1 << round(best).bit_length() - 1))

    def note(self, kept: int, wrong: int) -> None:
        """So many tokens were the reference's own, and so many were not."""
        self.drafted, self.wrong = self.drafted + kept + wrong, self.wrong + wrong
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
) -> list[list[Rollout]]:
    """The one valid group of each request, with log-probabilities and sketches.

    Args:
        count: added to, where a caller wants to know what drafting cost.
        near: 2^-20 logits, see `NEAR`.
    """
    count = count if count is not None else DraftCount()
    groups: list[list[Rollout]] = [[] for _ in requests]
    pending = {
        g: [Request(group.prompt, seed) for seed in group.seeds] for g, group in enumerate(requests)
    }
    settled: dict[Request, int] = {}
    while pending:
        unfinished = {
            (g, r): request
            for g, rows in pending.items()
            for r, request in enumerate(rows)
            if not rules.is_finished(request.tokens)
        }
        drafts = drafter.draft(list(unfinished.values()))
        for ((g, r), request), tokens in zip(unfinished.items(), drafts, strict=True):
            count.drafted += len(tokens) - len(request.tokens)
            pending[g][r] = Request(request.prompt, request.seed, tokens)
        for g in list(pending):
            rows = pending[g]
            measured = reference.measure_with_leads(
                [requests[g].prompt] * len(rows),
                [np.array(request.tokens, np.uint32) for request in rows],
                requests[g].seeds,
                projection,
            )
            count.read += len(requests[g].prompt) + sum(len(row.tokens) for row in rows)
            cut = 0
            for r, (request, (found, leads)) in enumerate(zip(rows, measured, strict=True)):
                decide = partial(_decide, request, reference, projection, settled, count)
                claimed = np.array(request.tokens)
                wrong = find_wrong(claimed, found.best, leads, near, decide)
                if wrong is not None:
                    place, token = wrong
                    rows[r] = _cut(request, place, token)
                    cut += len(claimed) - place
            if cut:
                count.discarded += cut
                continue
            groups[g] = [
                Rollout(np.array(request.tokens, np.uint32), found.logprobs, found.sketch)
                for request, (found, _) in zip(pending.pop(g), measured, strict=True)
            ]
    count.submitted += sum(len(rollout.tokens) for group in groups for rollout in group)
    return groups


def _cut(request: Request, place: int, token: int) -> Request:
    return Request(request.prompt, request.seed, (*request.tokens[:place], token))


def _decide(
    request: Request,
    reference: Reference,
    projection: Projection,
    settled: dict[Request, int],
    count: DraftCount,
    place: int,
) -> int:
    before = Request(request.prompt, request.seed, request.tokens[:place])
    if before not in settled:
        settled[before] = decide_token(
            reference, before.prompt, before.tokens, before.seed, projection
        )
        count.read += len(before.prompt) + place
        count.settling += len(before.prompt) + place
    return settled[before]


def follow_groups(
    requests: Sequence[GroupRequest],
    drafter: Drafter,
    reference: Reference,
    rules: Rules,
    projection: Projection,
    count: DraftCount | None = None,
    horizon: Horizon | None = None,
    near: int = NEAR,
    flying: int = 256,
    *,
    exact: bool = False,
) -> list[list[Rollout]]:
    """The same groups, drafted in stretches: while one half of the rollouts is drafted, the
    reference reads the other.

    Log-probabilities and sketches may differ from `generate_groups`' by a unit, which a judge
    allows for; with `exact` they are the same, for another prefill of every group.

    Args:
        reference: whose model packs.
        horizon: what is known of the drafter; it learns.
        flying: rollouts that are on their way at a time.
    """
    count = count if count is not None else DraftCount()
    horizon = horizon or Horizon()
    groups = [[FollowedRow(q.prompt, seed) for seed in q.seeds] for q in requests]
    follower = Follower(reference, projection, rules.max_tokens, near, kept_max=flying)
    _fly(groups, drafter, follower, rules, count, horizon, max(1, flying // 2))
    found = follower.count
    count.read += found.read + found.settling
    count.settling += found.settling
    made = [[_take(row) for row in group] for group in groups]
    if exact:
        made = [
            _prefill(request, group, reference, projection, count)
            for request, group in zip(requests, made, strict=True)
        ]
    count.submitted += sum(len(rollout.tokens) for group in made for rollout in group)
    return made


def _fly(
    groups: Sequence[Sequence[FollowedRow]],
    drafter: Drafter,
    follower: Follower,
    rules: Rules,
    count: DraftCount,
    horizon: Horizon,
    half: int,
) -> None:
    """Drafts and follows until every row is done."""
    waiting = deque(row for group in groups for row in group)
    drafted: list[FollowedRow] = []  # and not read yet
    with ThreadPoolExecutor(1, "draft") as engine:
        while waiting or drafted:
            # those begun first go on first, so that groups are finished in their order
            taken = min(half, len(waiting), -(-(len(waiting) + len(drafted)) // 2))
            rows = [waiting.popleft() for _ in range(taken)]
            unfinished = [row for row in rows if not rules.is_finished(row.tokens)]
            asked = [Request(row.prompt, row.seed, tuple(row.tokens)) for row in unfinished]
            drafting = engine.submit(drafter.draft, asked, horizon.ahead)
            waiting.extendleft(reversed(_follow(drafted, follower, rules, count, horizon)))
            for row, tokens in zip(unfinished, drafting.result(), strict=True):
                count.drafted += len(tokens) - len(row.tokens)
                row.tokens = list(tokens)
            drafted = rows


def _follow(
    rows: Sequence[FollowedRow],
    follower: Follower,
    rules: Rules,
    count: DraftCount,
    horizon: Horizon,
) -> list[FollowedRow]:
    """Has the reference read what was drafted; the rows that are not done."""
    before, wrong = sum(row.measured for row in rows), follower.count.wrong
    count.discarded += follower.follow(rows)
    kept = sum(row.measured for row in rows) - before
    horizon.note(kept, follower.count.wrong - wrong)
    unfinished = []
    for row in rows:
        if row.measured == len(row.tokens) and rules.is_finished(row.tokens):
            follower.forget(row)
        else:
            unfinished.append(row)
    return unfinished


def _take(row: FollowedRow) -> Rollout:
    logprobs = np.concatenate(row.logprobs).astype(np.uint32)
    return Rollout(np.array(row.tokens, np.uint32), logprobs, np.concatenate(row.sketch))


def _prefill(
    request: GroupRequest,
    group: Sequence[Rollout],
    reference: Reference,
    projection: Projection,
    count: DraftCount,
) -> list[Rollout]:
    """The same ids with what a prefill of the whole group says of them."""
    tokens = [rollout.tokens for rollout in group]
    measured = reference.measure([request.prompt] * len(tokens), tokens, request.seeds, projection)
    count.read += len(request.prompt) + sum(map(len, tokens))
    return [
        Rollout(rollout.tokens, found.logprobs, found.sketch)
        for rollout, found in zip(group, measured, strict=True)
    ]
