"""Draws the completions of an evaluation, by this program's own sampler.

Each completion has a seed of its own, which names the suite, the row and the sample. So the same
command draws the same completions again, on the same machine, in whatever order and after whatever
stop.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from assay.evaluation.folder import Ask, Completion
from assay.inference.draft import OwnDrafter, Request
from assay.verification import Tokenizer

#: Tokens that a row is continued by at a time: then stops are looked for, and progress is told.
STRETCH = 128


@dataclass(frozen=True, slots=True)
class AskedPrompt:
    """One completion to draw.

    Attributes:
        prompt: its ids. seed: 32 bytes.
        cut: a text up to its first stop; None: it has none.
    """

    ask: Ask
    prompt: tuple[int, ...]
    seed: bytes
    cut: Callable[[str], str | None] = field(repr=False)
    stops: Sequence[str] = ()


class Sampler(Protocol):
    """Draws completions."""

    def complete(self, asked: Iterable[AskedPrompt]) -> Iterator[list[Completion]]:
        """The completions in the order in which they are finished, some at a time; perhaps none,
        which shows that it is at work.

        Raises:
            OperatorError: it cannot draw. The message says why.
        """


@dataclass(slots=True)
class OwnSampler:
    """Draws with a drafter, `rows` at a time. Finished rows make room for the next."""

    drafter: OwnDrafter
    tokenizer: Tokenizer
    rows: int

    def complete(self, asked: Iterable[AskedPrompt]) -> Iterator[list[Completion]]:
        """See `Sampler`."""
        waiting = iter(asked)
        flying: list[tuple[AskedPrompt, tuple[int, ...]]] = []
        while True:
            flying += ((each, ()) for each in islice(waiting, self.rows - len(flying)))
            if not flying:
                return
            requests = [Request(each.prompt, each.seed, tokens) for each, tokens in flying]
            drafts = self.drafter.draft(requests, STRETCH)
            done, still = [], []
            for (each, _), tokens in zip(flying, drafts, strict=True):
                completion = self._finish(each, tokens)
                if completion is None:
                    still.append((each, tokens))
                else:
                    done.append(completion)
            flying = still
            yield done

    def _finish(self, asked: AskedPrompt, tokens: tuple[int, ...]) -> Completion | None:
        """The completion, if it has ended."""
        text = self.tokenizer.decode(tokens)
        cut = asked.cut(text)
        if cut is not None:
            return Completion(asked.ask, cut, len(tokens), True)
        rules = self.drafter.rules
        if not rules.is_finished(tokens):
            return None
        return Completion(asked.ask, text, len(tokens), tokens[-1] in rules.end_tokens)
