"""An evaluation from its plan to its figures, from the start or from where it was stopped."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from time import monotonic
from typing import Any

from assay.evaluation.folder import Ask, Completion, EvaluationFolder
from assay.evaluation.model import EvaluatedModel
from assay.evaluation.request import LEAST_TOKENS, MAX_TOKENS, EvaluationRules
from assay.evaluation.sampling import AskedPrompt, Sampler
from assay.evaluation.statistics import Outcome, compute_pass, estimate_mean, has_majority, list_ks
from assay.evaluation.suite import EvaluationError, Suite, require_apart
from assay.inference.tokenizing.seen_prompts import BOS_IDLE, BOS_LACKS
from assay.protocol.hashing import Domain, hash_fields
from assay.sandbox import count_cores

#: Version of the documents.
VERSION = 1
#: Seconds between two lines of progress; completions that are read and scored at a time.
_EVERY_S, _AT_ONCE = 5.0, 64


@dataclass(slots=True)
class Evaluation:
    """Suites that a model is asked, and what has come so far.

    Args:
        name: of the model, for people.
        drawn_by: `assay`, or the engine that draws.

    Raises:
        EvaluationError: a suite's prompts do not fit the model, or an example is also asked.
    """

    model: EvaluatedModel
    suites: Sequence[Suite]
    rules: EvaluationRules
    name: str
    drawn_by: str = "assay"
    tokens: int = 0
    _prompts: list[list[tuple[int, ...]]] = field(default_factory=list)
    _places: list[dict[int, int]] = field(default_factory=list)
    #: (suite, row) → sample → each scorer's outcome
    _outcomes: dict[tuple[int, int], dict[int, list[Outcome]]] = field(default_factory=dict)
    _lengths: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def __post_init__(self) -> None:
        for suite in self.suites:
            rules = self.rules
            require_apart(suite, rules.shots)
            asked = [
                suite.put(row, rules.shots, bos=rules.bos, plain=rules.plain) for row in suite.rows
            ]
            self._prompts.append(self.model.encode_suite(suite, asked, rules.max_tokens or 1))
            self._places.append({row.number: place for place, row in enumerate(suite.rows)})
        if not self.rules.max_tokens:
            room = self.model.count_room(max(len(ids) for each in self._prompts for ids in each))
            if room is not None and room < LEAST_TOKENS:
                raise EvaluationError(
                    f"the longest prompt leaves {room} of the context's tokens to completions: "
                    "name --max-tokens, leave that problem out, or take fewer --shots"
                )
            most = MAX_TOKENS if room is None else min(MAX_TOKENS, room)
            self.rules = replace(self.rules, max_tokens=most)

    @property
    def asked(self) -> int:
        """The number of completions in all."""
        return self.rules.samples * sum(len(suite.rows) for suite in self.suites)

    @property
    def done(self) -> int:
        """The number of completions so far."""
        return sum(map(len, self._outcomes.values()))

    def make_plan(self) -> dict[str, Any]:
        """What makes another evaluation of it."""
        return {
            "version": VERSION,
            "model": self.model.digests,
            "prompt": "plain" if self.rules.plain or not self.model.has_template else "chat",
            "bos": self.rules.bos,
            "suites": [suite.identify() for suite in self.suites],
            "samples": self.rules.samples,
            "temperature": self.rules.temperature / 1_024,
            "max_tokens": self.rules.max_tokens,
            "seed": self.rules.seed,
            "shots": [[shot.number, shot.problem, shot.solution] for shot in self.rules.shots],
            "drawn_by": self.drawn_by,
        }

    @property
    def warnings(self) -> list[str]:
        """What is probably wrong with the prompts."""
        first = self._prompts[0][0][:1]
        tokenizer = self.model.tokenizer
        if tokenizer.adds_bos and first != (tokenizer.bos,):
            return [f"{BOS_LACKS}: --bos does so"]
        return [BOS_IDLE] if self.rules.bos and tokenizer.bos is None else []

    def is_asked(self, ask: Ask) -> bool:
        """Whether there is such a completion in this evaluation."""
        known = ask.suite < len(self.suites) and ask.sample < self.rules.samples
        return known and ask.row in self._places[ask.suite]

    def take(self, completions: Sequence[Completion]) -> None:
        """Score completions that are asked for. Those that are known already change nothing."""
        new = {each.ask: each for each in completions if not self._has(each.ask)}
        for completion, outcomes in zip(new.values(), self._judge(list(new.values())), strict=True):
            ask = completion.ask
            self._outcomes.setdefault((ask.suite, ask.row), {})[ask.sample] = outcomes
            self._lengths[ask.suite].update(tokens=completion.tokens, cut=not completion.ended)
            self.tokens += completion.tokens

    def _has(self, ask: Ask) -> bool:
        return ask.sample in self._outcomes.get((ask.suite, ask.row), ())

    def _judge(self, completions: Sequence[Completion]) -> list[list[Outcome]]:
        """Each scorer's outcome of each completion; programs run on all cores at once."""
        suites = {each.ask.suite for each in completions}
        if not any(self.suites[place].convention.is_slow for place in suites):
            return [self._judge_one(each) for each in completions]
        with ThreadPoolExecutor(count_cores(), thread_name_prefix="score") as executor:
            return list(executor.map(self._judge_one, completions))

    def _judge_one(self, completion: Completion) -> list[Outcome]:
        ask = completion.ask
        suite = self.suites[ask.suite]
        row = suite.rows[self._places[ask.suite][ask.row]]
        return [scorer.judge(completion.text, row) for scorer in suite.convention.scorers]

    def list_open(self) -> Iterator[AskedPrompt]:
        """The completions that are not there yet: the first sample of each problem first."""
        for number in range(self.rules.samples):
            for place, suite in enumerate(self.suites):
                for row, prompt in zip(suite.rows, self._prompts[place], strict=True):
                    if number in self._outcomes.get((place, row.number), ()):
                        continue
                    ask = Ask(place, row.number, number)
                    convention = suite.convention
                    seed = self._make_seed(suite, ask)
                    yield AskedPrompt(ask, prompt, seed, convention.cut, convention.stops)

    def _make_seed(self, suite: Suite, ask: Ask) -> bytes:
        numbers = (self.rules.seed.to_bytes(8, "big"), ask.row.to_bytes(4, "big"))
        sample = ask.sample.to_bytes(4, "big")
        return hash_fields(Domain.HELD_OUT, b"suite", suite.digest, *numbers, sample)

    def run(self, folder: EvaluationFolder, sampler: Callable[[], Sampler]) -> Iterator[int]:
        """Continue until all completions are there; yields the number of new ones each time, and 0
        while those of an earlier run are scored. The caller holds the folder. At the end the result
        is written.

        Args:
            sampler: makes one, if there is anything to draw.
        """
        for known in batched(folder.read(self.is_asked), _AT_ONCE):
            self.take(known)
            yield 0
        if self.done < self.asked:
            for completions in sampler().complete(self.list_open()):
                if completions:
                    folder.append(completions)
                self.take(completions)
                yield len(completions)
        folder.write_results(self.make_results())

    def make_results(self) -> dict[str, Any]:
        """The document of results.json. It has no times, and no paths but of training files."""
        document = self.make_plan()
        document["suites"] = [self._describe(place) for place in range(len(self.suites))]
        return {"name": self.name, **document, "warnings": self.warnings, "tokens": self.tokens}

    def describe(self) -> Iterator[str]:
        """A line for people about each suite, by its first scorer."""
        for place, suite in enumerate(self.suites):
            passed = self._count(place, 0)["pass"]["1"]
            value, low, high = (100 * passed[name] for name in ("value", "low", "high"))
            words = "" if suite.prompts is None else " with your own words"
            yield (
                f"{suite.name}: {value:.1f} % of {len(suite.rows)} problems (95 %: {low:.1f} to "
                f"{high:.1f}), asked as {suite.convention.name}{words}"
            )

    def _describe(self, place: int) -> dict[str, Any]:
        suite, lengths = self.suites[place], self._lengths[place]
        count = self.rules.samples * len(suite.rows)
        described = suite.describe()
        described["tokens"] = lengths["tokens"]
        described["mean_tokens"] = round(lengths["tokens"] / count, 1)
        described["cut"] = lengths["cut"]
        described["scorers"] = [
            {"name": scorer.name, "about": scorer.about, **self._count(place, which)}
            for which, scorer in enumerate(suite.convention.scorers)
        ]
        return described

    def _count(self, place: int, which: int) -> dict[str, Any]:
        """The figures of one suite by one scorer."""
        samples = self.rules.samples
        rows = [
            [self._outcomes[place, row.number][i][which] for i in range(samples)]
            for row in self.suites[place].rows
        ]
        right = [sum(outcome.is_right for outcome in row) for row in rows]
        passes = {
            k: estimate_mean([compute_pass(samples, count, k) for count in right])
            for k in list_ks(samples)
        }
        majorities = {
            k: estimate_mean([has_majority(row[:k]) for row in rows])
            for k in list_ks(samples)
            if k > 1
        }
        histogram = Counter(right)
        return {
            "pass": {str(k): _round(figure) for k, figure in passes.items()},
            "maj": {str(k): _round(figure) for k, figure in majorities.items()},
            "histogram": [histogram[count] for count in range(samples + 1)],
            "unanswered": sum(outcome.answer is None for row in rows for outcome in row),
            "right": [
                [row.number, count]
                for row, count in zip(self.suites[place].rows, right, strict=True)
            ],
        }


def batched(items: Iterable[Completion], size: int) -> Iterator[list[Completion]]:
    """Items in lists of at most `size`."""
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some


def _round(figure: Any) -> dict[str, Any]:
    return {
        name: round(value, 6) if isinstance(value, float) else value
        for name, value in asdict(figure).items()
    }


@dataclass(slots=True)
class Progress:
    """Says how far an evaluation is, and when it may end."""

    evaluation: Evaluation
    say: Callable[[str], None]
    _began: float = field(default_factory=monotonic)
    _first: int | None = None
    _due: float = 0.0

    def tell(self) -> None:
        """Say it, unless the last time was just now."""
        now, done = monotonic(), self.evaluation.done
        if self._first is None:
            self._first, self._began = done, now
        if now < self._due:
            return
        self._due = now + _EVERY_S
        asked, seconds = self.evaluation.asked, now - self._began
        line = f"{done:,} of {asked:,} completions"
        if done > self._first and seconds > 0:
            left = (asked - done) * seconds / (done - self._first)
            line += f", about {_write_seconds(left)} left"
        self.say(line)


def _write_seconds(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
