"""Whether speculation would speed up the built-in drafter on a CPU. Tokens are guessed, a step
reads the guesses together with the newest token, and those are kept that the keyed draw gives: no
bit of a file changes. Guesses are copied from the rollout's own text behind its last n tokens
(prompt lookup), or drawn under the rollout's own noise from counts of tokens: what followed one
token, or four, in completions of earlier problems. In the last way the whole completions of its
group's others are counted, too, which a miner does not have in time: a bound.

Real completions, which the drafter drew with the recipe's model, say which guesses are right. Steps
of the drafter's own batch, of so many rows and so many tokens of each, are timed in processor
seconds. By both, drafts are counted step by step, with the rows that leave. What is left out is in
speculation's favour: the guessing itself, and the gaps that rows of unequal progress leave in a
cache. The number of guesses, and of rows up to which tokens are guessed, is the best of each way.
Name a folder that has the model as a warm start left it:

    python bench/speculation.py --out DIR  # with smollm2-135m-gsm/

A model as small as the demo's takes its time in other things, so there are no figures without.
"""

import sys
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np
import torch
from audit import MINER, mine, open_window
from figures import FAST, OUT, Figure, measure_together, report, time_cpu
from quotes import write_checkpoint
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicLayer

from assay.environments.dealing import make_miner_problem
from assay.environments.registry import open_environment
from assay.inference.checkpoint import Checkpoint
from assay.inference.draft import OwnDrafter, Request, _Batch
from assay.inference.draws.sampler import KeyedSampler, make_keys
from assay.inference.generate import DraftCount
from assay.inference.head import compute_logits
from assay.protocol.context import Context
from assay.protocol.seeds import compute_rollout_seed
from assay.subnet.recipe import read_recipe

RECIPE, THREADS = "smollm2-135m-gsm", 1
#: Groups of which completions are counted, and those before them of which tokens are.
GROUPS, EARLIER = (2, 2) if FAST else (16, 64)
#: Rows and tokens of each that a step is timed with, at most so many in all, and how often.
ROWS, WIDTHS, MOST, TIMES = (1, 2, 4, 8, 16, 32, 64), (1, 2, 3, 5, 9), 640, 5
#: Own tokens of each row before a timed step.
BEHIND = 12
#: Groups of the recipe that are drafted together. It is planned for 4; a miner's default is 8.
TOGETHER = (1, 4, 8)
#: Rows of a step up to which tokens are guessed: the best is kept.
FEW = (1, 4, 16, 64)
SPANS = range(2, 9)
#: Least gain for which speculation would be offered.
REACH = 1.3
#: Weights of counts behind no token, one, and so on.
MIXED = (1e-3, 0.02, 0.1, 0.3, 0.6)

#: Of a completion and a place in it: at most so many guesses.
Guess = Callable[["Row", int, int], Sequence[int]]


@dataclass(frozen=True, eq=False)
class Row:
    """A completion.

    Attributes:
        right: per name of counts, whether a draw from them gives its token, for each place.
    """

    request: Request
    tokens: tuple[int, ...]
    group: int
    right: dict[str, list[bool]]


def main() -> None:
    torch.set_num_threads(THREADS)
    assert OUT is not None, "name a folder with a warm model"
    recipe = read_recipe(RECIPE)
    rules = recipe.make_rules()
    with TemporaryDirectory() as temporary:
        checkpoint = write_checkpoint(OUT / RECIPE, Path(temporary), recipe)
        context = open_window(
            checkpoint, lambda demo: replace(demo, environment=rules.environment, work=rules.work)
        )
        rows = draft_rows(checkpoint, context, EARLIER + GROUPS)
        earlier = [row for row in rows if row.group < EARLIER]
        rows = [row for row in rows if row.group >= EARLIER]
        count_right(rows, earlier, checkpoint, rules.work.temperature)
        seconds = time_steps(checkpoint, rows)
        mine(checkpoint, context, 1)  # compiles, too
        mined = [time_mining(checkpoint, context, groups) for groups in TOGETHER]
    report(
        "Speculation by the built-in drafter, SmolLM2-135M after a warm start, on a CPU",
        [*show_steps(seconds), *show_kept(rows), *show_gains(rows, seconds, mined)],
        THREADS,
    )


def tell(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def make_requests(
    checkpoint: Checkpoint, context: Context, groups: int
) -> list[tuple[int, Request]]:
    """A miner's first groups: of each rollout its group and request."""
    parameters, seed = context.parameters, context.challenge_seed
    environment, levels = open_environment(parameters.environment), checkpoint.manifest.levels
    requests = []
    for group in range(groups):
        problem = make_miner_problem(environment, seed, MINER, group, levels)
        prompt = tuple(checkpoint.tokenizer.encode(problem.conversation))
        requests += [
            (group, Request(prompt, compute_rollout_seed(seed, MINER, group, rollout)))
            for rollout in range(parameters.work.group_size)
        ]
    return requests


def draft_rows(checkpoint: Checkpoint, context: Context, groups: int) -> list[Row]:
    requests = make_requests(checkpoint, context, groups)
    tell(f"drafting {len(requests)} completions")
    temperature = context.parameters.work.temperature
    rules = checkpoint.get_rules(temperature)
    drafts = checkpoint.get_drafter(temperature).draft([request for _, request in requests])
    return [
        Row(request, rules.cut(tokens), group, {})
        for (group, request), tokens in zip(requests, drafts, strict=True)
    ]


# --- guesses


class Counts:
    """How often tokens follow up to so many others."""

    def __init__(self) -> None:
        self._after: list[dict[tuple[int, ...], Counter[int]]] = [
            defaultdict(Counter) for _ in MIXED
        ]

    def add(self, prompt: Sequence[int], tokens: Sequence[int], times: int = 1) -> None:
        text = [*prompt, *tokens]
        for place in range(len(prompt), len(text)):
            for order, after in enumerate(self._after):
                after[tuple(text[place - order : place])][text[place]] += times

    def estimate(self, text: Sequence[int], vocabulary: int, most: int) -> torch.Tensor:
        """Log-probabilities of the next token, float32 [V]."""
        chance = np.full(vocabulary, 1e-9)
        for order in range(most + 1):
            seen = self._after[order].get(tuple(text[len(text) - order :]))
            if seen:
                ids, counts = np.array([*seen]), np.array([*seen.values()], float)
                chance[ids] += MIXED[order] * counts / counts.sum()
        return torch.tensor(np.log(chance / chance.sum()), dtype=torch.float32)


def count_right(
    rows: Sequence[Row], earlier: Sequence[Row], checkpoint: Checkpoint, temperature: int
) -> None:
    """Draw each place's token from counts, under the rollout's noise at that place."""
    sampler = KeyedSampler(checkpoint.tokenizer.drawable, temperature, torch.device("cpu"))
    vocabulary = len(checkpoint.tokenizer.drawable)
    before = Counts()
    for row in earlier:
        before.add(row.request.prompt, row.tokens)
    tell("drawing from counts")
    for row in rows:
        beside = Counts()
        for other in rows:
            if other.group == row.group and other is not row:
                beside.add(other.request.prompt, other.tokens)
        kinds = {
            "one token": (before, None, 1),
            "four tokens": (before, None, 4),
            "four tokens, with the group's others": (before, beside, 4),
        }
        for name, (counts, more, most) in kinds.items():
            logits = []
            for place in range(len(row.tokens)):
                text = [*row.request.prompt, *row.tokens[:place]]
                logit = counts.estimate(text, vocabulary, most)
                if more is not None:
                    logit = torch.logaddexp(logit, more.estimate(text, vocabulary, most))
                logits.append(logit)
            keys = make_keys([row.request.seed] * len(logits))
            drawn = sampler.draw(torch.stack(logits), keys, torch.arange(len(logits)))[0]
            row.right[name] = [a == b for a, b in zip(drawn.tolist(), row.tokens, strict=True)]


def copy_behind(n: int, row: Row, place: int, most: int) -> Sequence[int]:
    return copy_most(n, row, place)[:most]


@cache
def copy_most(n: int, row: Row, place: int) -> Sequence[int]:
    """Prompt lookup: what followed the last n tokens when they were there before, most recently."""
    text = [*row.request.prompt, *row.tokens[:place]]
    last = text[len(text) - n :]
    for begin in range(len(text) - n - 1, -1, -1):
        if text[begin : begin + n] == last:
            return text[begin + n : begin + n + SPANS.stop - 1]
    return ()


def draw_from(name: str, row: Row, place: int, most: int) -> Sequence[int]:
    """What counts draw. A wrong one is told by an id that no token has; what is behind it is never
    kept."""
    places = range(place, min(place + most, len(row.tokens)))
    return [row.tokens[p] if row.right[name][p] else -1 for p in places]


WAYS: Mapping[str, Guess] = {
    "prompt lookup behind 2 tokens": partial(copy_behind, 2),
    "prompt lookup behind 3 tokens": partial(copy_behind, 3),
    "counts behind one token": partial(draw_from, "one token"),
    "counts behind four tokens": partial(draw_from, "four tokens"),
    "counts with the group's others": partial(draw_from, "four tokens, with the group's others"),
}


def count_kept(row: Row, place: int, guesses: Sequence[int]) -> int:
    kept = 0
    for guess, token in zip(guesses, row.tokens[place:], strict=False):
        if guess != token:
            break
        kept += 1
    return kept


# --- steps


#: Rows of a step → its tokens in all and processor seconds, ascending.
Seconds = Mapping[int, list[tuple[int, float]]]


def time_steps(checkpoint: Checkpoint, rows: Sequence[Row]) -> Seconds:
    """Least seconds of each step: model, logits and draws. Widths are timed in turn."""
    drafter = checkpoint.get_drafter(1_024)
    assert isinstance(drafter, OwnDrafter)
    spent: dict[int, list[tuple[int, float]]] = {}
    with torch.inference_mode():
        for count in ROWS:
            step = Step(drafter, checkpoint.model, rows[:count])
            widths = [width for width in WIDTHS if width == 1 or count * width <= MOST]
            runs = [partial(step.run, width) for width in widths]
            least = measure_together(runs, TIMES, process_time)
            spent[count] = [(count * n, s) for n, s in zip(widths, least, strict=True)]
            tell(f"{count} rows: " + ", ".join(f"{n}: {1000 * s:.0f} ms" for n, s in spent[count]))
    return spent


class Step:
    """A step of the drafter's batch behind some tokens of each row, which can be run again."""

    def __init__(self, drafter: OwnDrafter, model: PreTrainedModel, rows: Sequence[Row]) -> None:
        begun = [replace(row.request, tokens=row.tokens[:BEHIND]) for row in rows]
        self._model, self._sampler = model, drafter.sampler
        self._batch = batch = _Batch(begun, model, max(WIDTHS))
        logits = compute_logits(model, batch.step(model))
        batch.append(self._sampler.draw(logits, batch.keys, batch.counts)[0])
        self._length = batch._cache.get_seq_length()

    def run(self, width: int) -> None:
        """Read so many tokens of each row, and draw behind each."""
        batch, mask = self._batch, self._batch._mask
        ids = batch._ids.repeat(1, width)
        if mask is not None:
            mask = torch.cat([mask[:, : self._length], torch.ones_like(ids)], dim=1)
        out = self._model.model(
            ids,
            attention_mask=mask,
            position_ids=batch._positions + torch.arange(width),
            use_cache=True,
            past_key_values=batch._cache,
        )
        keys = batch.keys.repeat_interleave(width, 0)
        places = (batch.counts[:, None] + torch.arange(width)).flatten()
        states = out.last_hidden_state.flatten(0, 1)
        self._sampler.draw(compute_logits(self._model, states), keys, places)
        for layer in batch._cache.layers:  # as before
            assert isinstance(layer, DynamicLayer)
            layer.keys = layer.keys[:, :, : self._length]
            layer.values = layer.values[:, :, : self._length]


def estimate_step(seconds: Seconds, rows: int, tokens: int) -> float:
    """Seconds of a step, between those that were timed."""

    def along(count: int) -> float:
        wide = tokens * count / rows
        ns, ts = zip(*seconds[count], strict=True)
        if len(ns) > 1 and wide > ns[-1]:
            return float(ts[-1] * wide / ns[-1])
        return float(np.interp(wide, ns, ts))

    known = sorted(seconds)
    if rows >= known[-1]:
        return along(known[-1]) * rows / known[-1]
    high = bisect_left(known, rows)
    if known[high] == rows:
        return along(rows)
    less, more = known[high - 1], known[high]
    share = (rows - less) / (more - less)
    return (1 - share) * along(less) + share * along(more)


def draft_all(
    rows: Sequence[Row], seconds: Seconds, guess: Guess | None, most: int, few: int
) -> float:
    """Seconds of a batch's steps. As the drafter does, finished rows leave whenever they are half
    of the batch.

    Args:
        few: rows up to which tokens are guessed.
    """
    places = dict.fromkeys(rows, 0)
    batch = list(rows)
    spent = 0.0
    while any(places[row] < len(row.tokens) for row in batch):
        tokens = 0
        for row in batch:
            place = places[row]
            if place == len(row.tokens):
                tokens += 1
                continue
            guesses = guess(row, place, most) if guess and len(batch) <= few else ()
            tokens += 1 + len(guesses)
            places[row] = min(len(row.tokens), place + 1 + count_kept(row, place, guesses))
        spent += estimate_step(seconds, len(batch), tokens)
        left = [row for row in batch if places[row] < len(row.tokens)]
        if 2 * len(left) <= len(batch):
            batch = left
    return spent


# --- figures


@dataclass(frozen=True)
class Mined:
    """Groups that were made together: processor seconds of all, and of these the drafter's."""

    groups: int
    whole: float
    drafted: float
    submitted: int


def time_mining(checkpoint: Checkpoint, context: Context, groups: int) -> Mined:
    count = DraftCount()
    _, whole = time_cpu(lambda: mine(checkpoint, context, groups, count))
    temperature = context.parameters.work.temperature
    requests = [request for _, request in make_requests(checkpoint, context, groups)]
    _, drafted = time_cpu(lambda: checkpoint.get_drafter(temperature).draft(requests))
    tell(f"{groups} groups: {whole:.1f} s, drafting {drafted:.1f} s, {count.submitted} tokens")
    return Mined(groups, whole, drafted, count.submitted)


def show_steps(seconds: Seconds) -> list[Figure]:
    return [
        Figure(
            f"a step of {rows} {'row' if rows == 1 else 'rows'}, {tokens // rows} tokens of each",
            1_000 * took,
            "ms",
            "one token of each",
            1_000 * timed[0][1],
        )
        for rows, timed in seconds.items()
        for tokens, took in timed
        if tokens // rows in (3, 5, 9)
    ]


def show_kept(rows: Sequence[Row]) -> Iterator[Figure]:
    """Tokens that a row gets of a step that reads its guesses."""
    yield Figure("tokens of a completion", mean(len(row.tokens) for row in rows), "")
    yield Figure("of these, in as many completions", len(rows), "")
    for name, guess in WAYS.items():
        for most in (4, 8):
            readings, tokens = 0, sum(len(row.tokens) for row in rows)
            for row in rows:
                place = 0
                while place < len(row.tokens):
                    place += 1 + count_kept(row, place, guess(row, place, most))
                    readings += 1
            yield Figure(f"{name}: tokens of a reading with up to {most}", tokens / readings, "")


def show_gains(rows: Sequence[Row], seconds: Seconds, mined: Sequence[Mined]) -> Iterator[Figure]:
    for made in mined:
        where = "1 group" if made.groups == 1 else f"{made.groups} groups"
        yield Figure(
            f"{where} together: a submitted token", 1e3 * made.whole / made.submitted, "ms"
        )
        yield Figure(f"{where} together: drafting's share", made.drafted / made.whole, "share")
        groups = sorted({row.group for row in rows})
        parts = [
            groups[begin : begin + made.groups] for begin in range(0, len(groups), made.groups)
        ]
        batches = [[row for row in rows if row.group in part] for part in parts]
        for name, guess in WAYS.items():
            drafting = find_gain(batches, seconds, guess)
            # prompts go through the drafter as before: counted as if they gained, too
            left = made.whole - made.drafted * (1 - 1 / drafting)
            yield Figure(f"{where} together, {name}: gain", made.whole / left, "×", least=REACH)
    for name, guess in WAYS.items():
        gain = find_gain([[row] for row in rows], seconds, guess)
        yield Figure(f"one rollout alone, {name}: gain of the draft", gain, "×")


def find_gain(batches: Sequence[Sequence[Row]], seconds: Seconds, guess: Guess) -> float:
    """How many times as fast drafting is at the best number of guesses, and of rows."""
    plain = sum(draft_all(batch, seconds, None, 0, 0) for batch in batches)
    return plain / min(
        sum(draft_all(batch, seconds, guess, most, few) for batch in batches)
        for most in (0, 1, *SPANS)
        for few in FEW
        if few < 4 * max(map(len, batches))
    )


if __name__ == "__main__":
    main()
