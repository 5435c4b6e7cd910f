"""Strategies that start from honest tokens, or from no model's, and change the submitted
content."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from math import comb
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from assay.environments.arithmetic import write_solution
from assay.environments.dealing import make_miner_problem
from assay.inference.draft import Request
from assay.inference.generate import GroupRequest
from assay.lab.gauntlet.strategy import Strategy, Tokens
from assay.neurons.miner.miner import Group, Miner, WindowWork
from assay.protocol.prf import Stream
from assay.protocol.seeds import compute_problem_seed, compute_projection_seed
from assay.protocol.submission import Rollout
from assay.protocol.window import compute_round
from assay.verification import make_projection

SketchBytes = NDArray[np.int8]


def get_tokens(group: Group) -> list[Tokens]:
    """Completions as tuples."""
    return [tuple(rollout.tokens.tolist()) for rollout in group]


class Rewriting(Strategy, ABC):
    """Changes one thing in honest tokens, then computes genuine columns for the result."""

    def write(
        self, work: WindowWork, indices: range, requests: Sequence[GroupRequest]
    ) -> list[list[Tokens]]:
        genuine = self.bill_genuine(work, indices)
        return [self.rewrite(work, get_tokens(group)) for group in genuine]

    @abstractmethod
    def rewrite(self, work: WindowWork, rows: list[Tokens]) -> list[Tokens]:
        """Change the completions."""


class Splice(Strategy):
    """A genuine prefix, `width` tokens of another rollout, and the honest rest after them. The
    inserted tokens were drafted for the other rollout, so they cost nothing."""

    width: ClassVar[int]

    def list_rows(self, work: WindowWork, index: int, request: GroupRequest) -> list[Request]:
        (group,) = self.find_genuine(work, range(index, index + 1))
        rows, spliced = get_tokens(group), []
        stream = Stream(compute_problem_seed(work.challenge.seed, self.hotkey, index))
        for r, (row, seed) in enumerate(zip(rows, request.seeds, strict=True)):
            other = rows[(r + 1) % len(rows)]
            reach = min(len(row), len(other)) - 1
            start = stream.draw_below(max(1, reach - self.width))
            tokens = row[:start] + other[start : min(start + self.width, reach)]
            spliced.append(Request(request.prompt, seed, tokens))
            self.bill.add("bf16", start)
        return spliced


class Splice1(Splice):
    title, width = "splice of 1", 1


class Splice8(Splice):
    title, width = "splice of 8", 8


class Splice16(Splice):
    title, width = "splice of 16", 16


class Splice32(Splice):
    title, width = "splice of 32", 32


class AlteredPrompt(Strategy):
    """Drafts under a prompt with its first digit changed, prefilled under the right one: an easier
    problem, or another one."""

    title = "altered prompt"

    def list_rows(self, work: WindowWork, index: int, request: GroupRequest) -> list[Request]:
        tokenizer = work.checkpoint.tokenizer
        text = tokenizer.decode(request.prompt)
        at = next(i for i, character in enumerate(text) if character.isdigit())
        digit = str(int(text[at]) % 9 + 1)
        prompt = tuple(tokenizer.encode_text(text[:at] + digit + text[at + 1 :]))
        return [Request(prompt, seed) for seed in request.seeds]


class Truncated(Rewriting):
    """Half of each completion, without an end."""

    title = "truncated"

    def rewrite(self, work: WindowWork, rows: list[Tokens]) -> list[Tokens]:
        return [row[: max(1, len(row) // 2)] for row in rows]


class ForcedEnd(Rewriting):
    """Half of each completion and an end token that was not drawn."""

    title = "ended early"

    def rewrite(self, work: WindowWork, rows: list[Tokens]) -> list[Tokens]:
        end = work.checkpoint.manifest.end_tokens[0]
        return [(*row[: len(row) // 2], end) for row in rows]


class StragglersDropped(Strategy):
    """One end token in place of each completion that would be more than a tenth longer than its
    group's mean. Which these are is known beforehand. Where the audit draws one, nothing is
    shown, once."""

    title, hides = "long completions dropped", "NOT_REVEALED"
    needs_end = True

    def write(
        self, work: WindowWork, indices: range, requests: Sequence[GroupRequest]
    ) -> list[list[Tokens]]:
        end, drafts = work.checkpoint.manifest.end_tokens[0], []
        for group in self.find_genuine(work, indices):
            rows = get_tokens(group)
            limit = 1.1 * sum(map(len, rows)) / len(rows)
            kept = [row if len(row) <= limit else (end,) for row in rows]
            self.bill.add("bf16", sum(map(len, kept)))
            drafts.append(kept)
        return drafts


class Padded(Rewriting):
    """Two tokens behind the end."""

    title = "padded"

    def rewrite(self, work: WindowWork, rows: list[Tokens]) -> list[Tokens]:
        return [(*row, 5, 5) for row in rows]


class SkippedEnd(Strategy):
    """Replaces the drawn end token with its first token and continues to the length limit: longer
    work."""

    title = "skipped end token"
    needs_end = True

    def list_rows(self, work: WindowWork, index: int, request: GroupRequest) -> list[Request]:
        end = work.checkpoint.manifest.end_tokens[0]
        (group,) = self.bill_genuine(work, range(index, index + 1))
        rows = []
        for tokens, seed in zip(get_tokens(group), request.seeds, strict=True):
            changed = (*tokens[:-1], tokens[0]) if tokens[-1] == end else tokens
            rows.append(Request(request.prompt, seed, changed))
        return rows


class PrefillOnly(Strategy):
    """Uses no model to write: a program solves the problem, its terms in another order each time,
    and the true model prefills the solution."""

    title = "prefill only"

    def write(
        self, work: WindowWork, indices: range, requests: Sequence[GroupRequest]
    ) -> list[list[Tokens]]:
        tokenizer, manifest = work.checkpoint.tokenizer, work.checkpoint.manifest
        environment = work.checkpoint.open_environment(work.challenge.parameters.environment)
        drafts = []
        for index, request in zip(indices, requests, strict=True):
            seed = compute_problem_seed(work.challenge.seed, self.hotkey, index)
            problem = make_miner_problem(
                environment, work.challenge.seed, self.hotkey, index, manifest.levels
            )
            told = problem.question
            terms = told.count("+") + told.count("-") + 1
            if not told.endswith("=?\n"):  # a problem in words: commas separate the terms
                terms = told.count(",") + 1
            stream = Stream(seed)
            drafts.append(
                [
                    (
                        *tokenizer.encode_text(
                            write_solution(problem, stream.sample(terms, terms))
                        ),
                        manifest.end_tokens[0],
                    )
                    for _ in request.seeds
                ]
            )
        return drafts


class CopiedFromAnother(Strategy):
    """Another hotkey's tokens, prefilled under one's own prompts."""

    title = "copied from another hotkey"
    plays = True

    def write(
        self, work: WindowWork, indices: range, requests: Sequence[GroupRequest]
    ) -> list[list[Tokens]]:
        return [get_tokens(self.inputs.victim(index)) for index in indices]


class ReplayedFromAnotherWindow(Strategy):
    """One's own tokens of an earlier window, prefilled under this window's prompts."""

    title = "replayed from another window"
    plays = True

    def write(
        self, work: WindowWork, indices: range, requests: Sequence[GroupRequest]
    ) -> list[list[Tokens]]:
        return [get_tokens(self.inputs.previous(index)) for index in indices]


class Grinding(Strategy):
    """Works on the challenge of another beacon round that suits it better."""

    title = "grinding the beacon"
    plays = True

    def generate(self, work: WindowWork, indices: range) -> list[Group]:
        """Do honest work for another challenge: the round after the one that the block names."""
        beacons, parameters = self.dependencies.beacons, work.challenge.parameters
        number = compute_round(
            parameters.timing, parameters.beacon, work.challenge.block.timestamp_ms
        )
        beacon = beacons.get(number + 1)
        if beacon is None:
            raise ValueError("the next round is not out yet")
        challenge = replace(work.challenge, beacon=beacon)
        seed = compute_projection_seed(challenge.seed)
        projection = make_projection(seed, work.checkpoint.manifest)
        ground = replace(work, challenge=challenge, projection=projection)
        return self.bill_tokens(Miner.generate(self, ground, indices), "bf16", "prefill")


class Forging(Strategy):
    """Honest tokens with columns that no forward pass has computed, which saves the prefill."""

    def generate(self, work: WindowWork, indices: range) -> list[Group]:
        genuine = self.bill_genuine(work, indices)
        return [self.forge(index, g) for index, g in zip(indices, genuine, strict=True)]


class FabricatedLogprobs(Forging):
    """The right values at the wrong tokens: their distribution is perfect."""

    title = "fabricated logprobs"

    def forge(self, index: int, group: Group) -> Group:
        return [replace(r, logprobs=np.roll(r.logprobs, 1)) for r in group]


class ForgedSketch(Forging, ABC):
    """Honest tokens and log-probabilities, sketches from elsewhere."""

    def forge(self, index: int, group: Group) -> Group:
        return [
            replace(rollout, sketch=self.make_sketch(rollout, group[r - 1]).astype(np.int8))
            for r, rollout in enumerate(group)
        ]

    @abstractmethod
    def make_sketch(self, rollout: Rollout, other: Rollout) -> SketchBytes:
        """The forged sketch of one rollout."""


class ConstantSketch(ForgedSketch):
    """The mean of the genuine one: the best constant."""

    title = "constant sketch"

    def make_sketch(self, rollout: Rollout, other: Rollout) -> SketchBytes:
        return np.broadcast_to(rollout.sketch.mean(axis=0).round(), rollout.sketch.shape)


class ZeroSketch(ForgedSketch):
    title = "zero sketch"

    def make_sketch(self, rollout: Rollout, other: Rollout) -> SketchBytes:
        return np.zeros_like(rollout.sketch)


class RandomSketch(ForgedSketch):
    """Noise of the genuine spread."""

    title = "random sketch"

    def make_sketch(self, rollout: Rollout, other: Rollout) -> SketchBytes:
        noise = np.random.default_rng(int(rollout.tokens.sum())).standard_normal(
            rollout.sketch.shape
        )
        return np.clip(np.round(noise * rollout.sketch.std()), -127, 127)


class ShuffledSketch(ForgedSketch):
    title = "shuffled sketch"

    def make_sketch(self, rollout: Rollout, other: Rollout) -> SketchBytes:
        return np.random.default_rng(int(rollout.tokens.sum())).permutation(rollout.sketch)


class CopiedSketch(ForgedSketch):
    title = "copied sketch"

    def make_sketch(self, rollout: Rollout, other: Rollout) -> SketchBytes:
        return np.resize(other.sketch, rollout.sketch.shape)


class FakingMiner(Strategy):
    """Makes the first part of its groups and submits copies of these for the rest.

    The audit is drawn after it has committed, so it can only hope.
    """

    title = "honest for a quarter"
    plays = True
    share: ClassVar[float] = 0.25

    def generate(self, work: WindowWork, indices: range) -> list[Group]:
        honest = self.count_honest()
        genuine = self.find_genuine(work, range(indices.start, min(indices.stop, honest)))
        done = self.bill_tokens(genuine, "bf16", "prefill")
        known = work.groups + done
        return done + [
            self.fake(known, index, honest)
            for index in range(max(indices.start, honest), indices.stop)
        ]

    def count_honest(self) -> int:
        """The number of groups in a window that it makes itself."""
        return max(1, int(self.config.groups * self.share))

    def compute_miss_chance(self, audited: int) -> float:
        """The probability that none of this many drawn groups is a copy: hypergeometric."""
        return comb(self.count_honest(), audited) / comb(self.config.groups, audited)

    def fake(self, known: Sequence[Group], index: int, honest: int) -> Group:
        """The group that replaces one that was not made."""
        return known[index % honest]


class FakingHalf(FakingMiner):
    title, share = "honest for half", 0.5


class JunkAppended(FakingMiner):
    """Honest groups, followed by an eighth as many groups of random tokens, to be paid for more."""

    title, share = "junk groups appended", 0.875

    def fake(self, known: Sequence[Group], index: int, honest: int) -> Group:
        return [replace(r, tokens=np.roll(r.tokens, 1)) for r in known[index % honest]]
