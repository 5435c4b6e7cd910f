"""Times what a miner's file costs without the model: encoding, hashing, reading, every test, and
scoring.

The file is made up, with a recipe's sizes, and goes through the miner's own encoder and the judge.
In place of a forward pass the judge has what the file says, so that every test is made, and passes.
Text and prompts go through the shipped tokenizer, since a recipe has none. Where the recipe's
environment cannot be had here, brings code to run or has several turns, the shipped recipe's stands
in for it: `assay.subnet.window_costs.ScoringCost` is what code may take.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from assay.artifacts.submissions.file import SubmissionFile
from assay.artifacts.submissions.reading import read_submission
from assay.environments.base import Conversation, Frame
from assay.environments.dealing import make_miner_problem
from assay.environments.registry import count_named_units, open_environment
from assay.inference.checkpoint import Outline, load_outline
from assay.network.store.folder import open_file
from assay.protocol.beacon import Beacon
from assay.protocol.context import Committed, Context, Member
from assay.protocol.episode import Reply
from assay.protocol.hashing import DIGEST_BYTES, Domain, hash_fields
from assay.protocol.manifest import Calibration, Manifest, start_levels
from assay.protocol.parameters import Parameters
from assay.protocol.submission import SKETCH_COLUMNS, Rollout, encode_submission, get_id_bits
from assay.protocol.window import Block
from assay.subnet.machine_speed import FileSpeed, Line
from assay.subnet.recipe import Recipe, read_recipe
from assay.training import GENESIS
from assay.verification import Ledger, Measurement, Projection, judge, plan_audit

#: The recipe whose environment stands in for one that is not timed.
_STAND_IN = "genesis-arithmetic"
#: Times that a file is encoded and judged.
_TIMES = 5
Group = list[Rollout]
_MINER = hash_fields(Domain.ROLLOUT, b"made up")
#: The share of a made-up rollout's tokens that is its most frequent one, of those left: some three
#: bits a token, as a model's text has.
_FREQUENT = 0.15
#: Honest rates of the sampling test, 1e-18, and −ln p of a token, 2^-16 nats: of no effect on time.
_RATE, _LOGPROBS = 10**12, 1 << 18


def time_files(recipe: Recipe) -> FileSpeed:
    """Seconds that a miner's file takes, of a processor, at the lengths under `[course]`."""
    rules = _make_rules(recipe)
    work = rules.work
    # of a file with fewer groups than are valued, less is scored
    many = max(work.valued_groups, min(work.group_cap, work.audited_rollouts))
    few = min(many, work.valued_groups)
    timed = {groups: _time_file(recipe, rules, groups) for groups in {few, many}}
    written, judged = timed[many]
    each = written / many
    if few == many:
        return FileSpeed(write=each, file=0.0, group=judged / many)
    line = Line.through((few, timed[few][1]), (many, judged))
    return FileSpeed(write=each, file=line.fixed, group=line.each)


def _make_rules(recipe: Recipe) -> Parameters:
    """The recipe's parameters, with an environment of one turn that brings no code."""
    rules = recipe.make_rules()
    if rules.work.turns == 1 and not count_named_units(recipe.environment):
        return rules
    shipped = read_recipe(_STAND_IN).make_rules()
    work = replace(rules.work, turns=1, context=0, reply_bytes=0, paid_reply=0)
    return replace(rules, environment=shipped.environment, rewards=shipped.rewards, work=work)


def _time_file(recipe: Recipe, rules: Parameters, groups: int) -> tuple[float, float]:
    """Processor seconds of encoding a file with so many groups, and of judging it."""
    outline = _load_shipped()
    end = recipe.model.vocab_size - 1
    environment = open_environment(rules.environment)
    levels = set(recipe.levels) & set(environment.levels) or environment.levels
    manifest = replace(
        outline.manifest,
        end_tokens=(end,),
        max_tokens=rules.work.max_tokens,
        levels=start_levels(sorted(levels)),
        centre=(0,) * recipe.model.hidden_size,
        calibration=_make_calibration(rules).digest,
    )
    context = _make_context(rules, manifest)
    tokenizer = _MadeUpTokenizer(outline, recipe.model.vocab_size)
    forward = _make_claims(recipe, rules)
    made = _make_groups(rules, forward, groups, end)
    id_bits, seed = get_id_bits(recipe.model.vocab_size), context.challenge_seed
    written, judged = [], []
    with TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        for _ in range(_TIMES):
            began = time.process_time()
            for index in range(groups):
                problem = make_miner_problem(environment, seed, _MINER, index, manifest.levels)
                tokenizer.encode(problem.conversation)
            data, root = encode_submission(
                made,
                parameters=rules.digest,
                window=context.window,
                hotkey=_MINER,
                checkpoint=manifest.digest,
                id_bits=id_bits,
            )
            path.write_bytes(data)
            written.append(time.process_time() - began)
            committed = {_MINER: Committed(root, groups, 0, "")}
            began = time.process_time()
            plan = plan_audit(replace(context, commitments=committed), _MINER, id_bits)
            read = read_submission(plan, SubmissionFile(open_file(path)))
            result = judge(
                read, tokenizer, forward, _make_calibration(rules), Ledger(), manifest=manifest
            )
            judged.append(time.process_time() - began)
            assert result.verdict.accepted, result.verdict
    return median(written), median(judged)


@cache
def _load_shipped() -> Outline:
    return load_outline(GENESIS)


def _make_calibration(rules: Parameters) -> Calibration:
    return Calibration((_RATE,) * len(rules.tests.margin_levels), 1)


def _make_context(rules: Parameters, manifest: Manifest) -> Context:
    block = Block(0, bytes(DIGEST_BYTES), 0)
    return Context(
        window=0,
        challenge_block=block,
        audit_block=block,
        sample_block=block,
        challenge=Beacon(1, b"challenge"),
        audit=Beacon(2, b"audit"),
        sample=None,
        members={_MINER: Member(0, 0)},
        commitments={},
        checkpoint=manifest.digest,
        parameters=rules,
    )


def _make_claims(recipe: Recipe, rules: Parameters) -> "_Claims":
    """What every made-up rollout says of its tokens, which are as many as the recipe's mean."""
    random = np.random.default_rng(0)
    length = max(1, min(round(recipe.course.lengths.completion), rules.work.max_tokens))
    logprobs = random.integers(1, _LOGPROBS, length).astype(np.uint32)
    sketch = random.normal(0, 32, (length, SKETCH_COLUMNS)).clip(-127, 127).astype(np.int8)
    return _Claims(logprobs, sketch)


def _make_groups(rules: Parameters, claims: "_Claims", groups: int, end: int) -> list[Group]:
    """Groups of rollouts that end with the end token."""
    random = np.random.default_rng(1)

    def make() -> Rollout:
        drawn = random.geometric(_FREQUENT, len(claims.logprobs))
        tokens = np.minimum(drawn, end - 1).astype(np.uint32)
        tokens[-1] = end
        return Rollout(tokens, claims.logprobs, claims.sketch)

    return [[make() for _ in range(rules.work.group_size)] for _ in range(groups)]


@dataclass(frozen=True, slots=True, eq=False)
class _Claims:
    """A forward pass that takes no time: it finds what every rollout says.

    Attributes:
        logprobs, sketch: of all tokens. Heads have the first of them.
    """

    logprobs: NDArray[np.uint32]
    sketch: NDArray[np.int8]

    def measure(
        self,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[NDArray[np.uint32]],
        seeds: Sequence[bytes],
        projection: Projection,
        replies: Sequence[Sequence[Reply]] | None = None,
    ) -> list[Measurement]:
        """See `assay.verification.Forward`."""
        return [self._find(tokens) for tokens in completions]

    def _find(self, tokens: NDArray[np.uint32]) -> Measurement:
        count = len(tokens)
        return Measurement(
            margins=np.zeros(count, np.int64),
            best=tokens.astype(np.int64),
            gini=np.full(count, 0.5),
            logprobs=self.logprobs[:count],
            sketch=self.sketch[:count],
        )


class _MadeUpTokenizer:
    """The shipped tokenizer with ids of another model.

    Args:
        vocabulary: V of that model.
    """

    def __init__(self, shipped: Outline, vocabulary: int) -> None:
        self._shipped = shipped.tokenizer
        drawable = shipped.tokenizer.drawable
        self._drawable = np.ones(vocabulary, bool)
        self._texts = np.flatnonzero(drawable)

    @property
    def drawable(self) -> NDArray[np.bool_]:
        """See `assay.verification.Tokenizer`."""
        return self._drawable

    def encode(self, asked: Conversation) -> list[int]:
        """See `assay.verification.Tokenizer`."""
        return self._shipped.encode(asked)

    def encode_reply(self, content: str, frame: Frame, most_bytes: int) -> list[int] | None:
        """See `assay.verification.Tokenizer`."""
        return self._shipped.encode_reply(content, frame, most_bytes)

    def decode(self, tokens: Sequence[int]) -> str:
        """See `assay.verification.Tokenizer`."""
        return self._shipped.decode(self._texts[np.asarray(tokens) % len(self._texts)].tolist())
