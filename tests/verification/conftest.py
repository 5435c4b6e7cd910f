"""A small world for the judge: one network, one miner, one model, files in memory.

The model is made of two matrices, but it is a real one: its state and logits are a deterministic
function of the prefix, in float64 numpy, and `TinyForward` implements the judge's port exactly,
without cache or shortcut. Miner and judge share its arithmetic, so honest margins are zero.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.artifacts.submissions.reading import SubmissionCopy, read_submission
from assay.environments.base import Conversation, Frame, Problem
from assay.environments.dealing import make_miner_problem
from assay.environments.registry import make_environment
from assay.judge.provable import BY_MODEL
from assay.lab.gauntlet.forged_episodes import Played
from assay.protocol.context import Committed, Context, context_from_json
from assay.protocol.encoding import decode, encode
from assay.protocol.episode import End, Reply, weave
from assay.protocol.gumbel import compute_gumbels
from assay.protocol.manifest import Calibration, Manifest, start_levels
from assay.protocol.parameters import (
    FRACTION_BITS,
    PROTOCOL_VERSION,
    EnvironmentChoice,
    Parameters,
    Setting,
)
from assay.protocol.prf import compute_key
from assay.protocol.reason import Reason, Refusal
from assay.protocol.seeds import compute_projection_seed, compute_rollout_seed
from assay.protocol.selection import AuditedGroup, select_committed, select_rollouts, select_sampled
from assay.protocol.submission import (
    HEADER_BYTES,
    LOGPROB_BITS,
    LOGPROB_MAX,
    Header,
    Opening,
    Range,
    Rollout,
    assemble_submission,
    compute_submission_root,
    decode_opening,
    encode_group,
    get_id_bits,
    get_opening_bytes,
)
from assay.protocol.words import compute_words
from assay.verification import (
    CheckedSubmission,
    JudgeResult,
    Ledger,
    Measurement,
    Projection,
    Verdict,
    compute_score,
    examination,
    judge,
    make_projection,
    plan_audit,
    plan_groups,
    plan_samples,
)
from tests.verification import echo

VECTORS = Path(__file__).parents[1] / "vectors"
VOCABULARY, END, HIDDEN, REACH = 100, 96, 16, 4
GROUPS = 8

Tokens = np.ndarray
Group = list[Rollout]


class TinyTokenizer:
    """One id a printable character, one for the newline, one end token, three that mean nothing."""

    drawable = np.arange(VOCABULARY) <= END

    def __init__(self) -> None:
        self.decoded: list[str] = []  # texts that reward code has been given

    def encode(self, asked: Conversation) -> list[int]:
        return [95 if c == "\n" else ord(c) - 32 for c in asked.text]

    def encode_reply(self, content: str, frame: Frame, most_bytes: int) -> list[int] | None:
        """None of what this tokenizer has no id for."""
        text = f"{frame.before}{content[:most_bytes]}{frame.after}"
        return [95 if c == "\n" else ord(c) - 32 for c in text] if text.isascii() else None

    def decode(self, tokens: Sequence[int]) -> str:
        text = "".join("\n" if t == 95 else chr(t + 32) for t in tokens if t != END)
        self.decoded.append(text)
        return text


class TinyModel:
    """h = tanh(Σ_k E_k[the token k before]), logits = h @ W + b."""

    def __init__(self, seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        self.embedding = rng.normal(size=(REACH, VOCABULARY, HIDDEN))
        self.head = rng.normal(size=(HIDDEN, VOCABULARY)) * 0.8
        self.head[:, END] = 0.0
        self.bias = np.zeros(VOCABULARY)
        self.bias[END] = 3.0  # about half of the completions reach the limit

    def compute_states(self, prompt: Sequence[int], completion: Tokens) -> np.ndarray:
        """The state that draws each token of `completion`, and one after it: [T + 1, H]."""
        sequence = np.concatenate([np.zeros(REACH, np.int64), prompt, completion.astype(np.int64)])
        ends = np.arange(len(completion) + 1) + REACH + len(prompt)
        return np.tanh(sum(self.embedding[k][sequence[ends - 1 - k]] for k in range(REACH)))

    def compute_logits(self, states: np.ndarray) -> np.ndarray:
        return states @ self.head + self.bias


class TinyForward:
    """The judge's forward pass over a TinyModel; counts the requested measurements."""

    def __init__(self, model: TinyModel, temperature: int) -> None:
        self.model = model
        self.temperature = temperature
        self.measured = 0

    def score(self, logits: np.ndarray, seed: bytes, first: int) -> np.ndarray:
        """Keyed scores of positions `first`, `first` + 1, …: int64 [T, V]."""
        count = len(logits)
        keys = np.array([compute_key(seed)] * count, np.uint64)
        positions = np.arange(first, first + count, dtype=np.uint64)
        noise = (
            compute_gumbels(compute_words(keys, positions, VOCABULARY)) * self.temperature
        ) >> 10
        scores = np.rint(logits * 2**FRACTION_BITS).astype(np.int64) + noise
        scores[:, ~TinyTokenizer.drawable] = np.iinfo(np.int64).min
        return scores

    def measure(
        self,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[Tokens],
        seeds: Sequence[bytes],
        projection: Projection,
        replies: Sequence[Sequence[Reply]] | None = None,
    ) -> list[Measurement]:
        self.measured += len(completions)
        said = [()] * len(completions) if replies is None else replies
        return [
            self._measure(*given, projection)
            for given in zip(prompts, completions, said, seeds, strict=True)
        ]

    def _measure(
        self,
        prompt: Sequence[int],
        tokens: Tokens,
        replies: Sequence[Reply],
        seed: bytes,
        projection: Projection,
    ) -> Measurement:
        sequence, places = weave(tokens.tolist(), replies)
        states = self.model.compute_states(prompt, np.array(sequence))[places]
        logits = self.model.compute_logits(states)
        scores = self.score(logits, seed, 0)
        rows = np.arange(len(tokens))
        allowed = np.where(TinyTokenizer.drawable, logits, -np.inf)
        shifted = allowed - allowed.max(axis=1, keepdims=True)
        logp = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        projected = (states - projection.centre) @ projection.matrix * (32 / projection.scale)
        surprise = -logp[rows, tokens] * 2**LOGPROB_BITS
        return Measurement(
            margins=scores.max(axis=1) - scores[rows, tokens],
            best=scores.argmax(axis=1),
            gini=1.0 - np.exp(2 * logp).sum(axis=1),
            logprobs=np.rint(surprise).clip(0, LOGPROB_MAX).astype(np.uint32),
            sketch=np.rint(projected).clip(-127, 127).astype(np.int8),
        )

    def complete(
        self, prompt: Sequence[int], seed: bytes, longest: int, prefix: Sequence[int] = ()
    ) -> Tokens:
        """The protocol's rollout after `prefix`: the keyed argmax, token by token."""
        tokens = list(prefix)
        while len(tokens) < longest and END not in tokens:
            states = self.model.compute_states(prompt, np.array(tokens, np.uint32))[-1:]
            tokens.append(self.draw(self.model.compute_logits(states), seed, len(tokens)))
        return np.array(tokens, np.uint32)

    def draw(self, logits: np.ndarray, seed: bytes, position: int) -> int:
        return int(self.score(logits, seed, position)[0].argmax())


class MemoryReader(SubmissionCopy):
    """A miner's file, in memory; remembers which parts were asked for."""

    def __init__(self, data: bytes | Refusal) -> None:
        self.data = data
        self.asked: list[Range] = []

    def read(self, part: Range) -> bytes | Refusal:
        self.asked.append(part)
        if isinstance(self.data, Refusal):
            return self.data
        return self.data[part.start : part.end]


Parts = tuple[bytes, bytes, bytes]  # head, ids and proofs of a group


@dataclass
class Draft:
    """A submission in the making: everything an attacker could change, unchanged."""

    groups: list[Group]
    header: dict[str, Any] = field(default_factory=dict)  # fields that differ from the honest ones
    is_member: bool = True
    is_committed: bool = True
    committed_groups: int | None = None
    change_root: Callable[[bytes], bytes] = bytes
    #: group → a change of its parts before they are hashed
    change_parts: dict[int, Callable[[Parts], Parts]] = field(default_factory=dict)
    #: the served bytes, from the file and its opening
    change_file: Callable[[bytes, Opening], bytes | Refusal] = lambda data, opening: data


class World:
    """One window of one network, and the judge over it.

    Args:
        draw: with another one the checkpoint is another, and with it all draws are.
    """

    def __init__(self, draw: int = 0) -> None:
        written = json.loads((VECTORS / "context.json").read_bytes())["valid"]
        published = context_from_json(written)
        self.neighbour, self.hotkey = sorted(published.members)
        self.tokenizer = TinyTokenizer()
        self.calibration = Calibration(
            rates=tuple(10**12 >> k for k in range(8)), tokens=10**6 + draw
        )
        self.manifest = make_manifest(self.calibration)
        self.context = replace(
            published,
            parameters=make_parameters(published.parameters),
            checkpoint=self.manifest.digest,
            commitments={},
        )
        self.forward = TinyForward(TinyModel(), self.parameters.work.temperature)
        self.environment = make_environment("arithmetic", {})

    @property
    def parameters(self) -> Parameters:
        return self.context.parameters

    @cached_property
    def projection(self) -> Projection:
        return make_projection(compute_projection_seed(self.context.challenge_seed), self.manifest)

    @cached_property
    def chosen(self) -> tuple[AuditedGroup, ...]:
        """Groups that the audit looks at."""
        return select_committed(self.context, self.hotkey, GROUPS)

    @cached_property
    def sampled(self) -> tuple[tuple[int, int], ...]:
        """Group and rollout of each sample, which is only compared with the root once the audit is
        done."""
        return select_sampled(self.context, self.hotkey, GROUPS)

    @cached_property
    def valued(self) -> list[int]:
        """Groups that the audit reads whole, ascending."""
        return [group.index for group in self.chosen if group.valued]

    @cached_property
    def audited(self) -> int:
        """A valued group with a rollout that ended and one that reached the limit."""
        longest = self.manifest.max_tokens
        return next(
            index
            for index in self.valued
            if {tokens[-1] == END for tokens in self._honest[index]} == {False, True}
            and max(len(tokens) for tokens in self._honest[index]) == longest
        )

    @cached_property
    def unseen(self) -> int:
        """A group of which nothing is even fetched."""
        return min(self.find_unseen())

    def find_unseen(self) -> set[int]:
        looked = {group.index for group in self.chosen}
        return set(range(GROUPS)) - looked - {group for group, _ in self.sampled}

    def find_sampled_alone(self) -> list[tuple[int, int]]:
        """Sampled rollouts of which the audit reads nothing, their group's head included."""
        audited = {group.index for group in self.chosen}
        return [place for place in self.sampled if place[0] not in audited]

    def find_audited(self, draft: Draft, index: int) -> tuple[int, ...]:
        """Rollouts of a group that the audit puts through the model."""
        (group,) = [group for group in self.chosen if group.index == index]
        lengths = [len(rollout.tokens) for rollout in draft.groups[index]]
        return select_rollouts(
            self.context.audit_seed, self.hotkey, group, lengths, self.parameters.work
        )

    def get_prompt(self, index: int, hotkey: bytes | None = None) -> list[int]:
        return self.tokenizer.encode(self.get_problem(index, hotkey).conversation)

    def get_problem(self, index: int, hotkey: bytes | None = None) -> Problem:
        seed, levels = self.context.challenge_seed, self.manifest.levels
        return make_miner_problem(self.environment, seed, hotkey or self.hotkey, index, levels)

    def get_seed(self, index: int, rollout: int, hotkey: bytes | None = None) -> bytes:
        seed = self.context.challenge_seed
        return compute_rollout_seed(seed, hotkey or self.hotkey, index, rollout)

    def complete(self, index: int, seed: bytes, prefix: Sequence[int] = ()) -> Tokens:
        longest = self.manifest.max_tokens
        return self.forward.complete(self.get_prompt(index), seed, longest, prefix)

    def prove(self, index: int, completions: Sequence[Tokens]) -> Group:
        """Genuine sketch and log-probabilities of whatever tokens: what one prefill gives."""
        seeds = [self.get_seed(index, r) for r in range(len(completions))]
        prompts = [self.get_prompt(index)] * len(completions)
        measured = self.forward.measure(prompts, completions, seeds, self.projection)
        pairs = zip(completions, measured, strict=True)
        return [Rollout(tokens, m.logprobs, m.sketch) for tokens, m in pairs]

    def mine(self) -> Draft:
        """An honest submission."""
        return Draft([list(group) for group in self._proven])

    @cached_property
    def _proven(self) -> list[Group]:
        return [self.prove(index, list(group)) for index, group in enumerate(self._honest)]

    @cached_property
    def _honest(self) -> list[tuple[Tokens, ...]]:
        size = self.parameters.work.group_size
        return [
            tuple(self.complete(index, self.get_seed(index, r)) for r in range(size))
            for index in range(GROUPS)
        ]

    def rewrite(self, draft: Draft, index: int, rollout: int, tokens: Sequence[int]) -> None:
        """Other tokens in a rollout, with the sketch and log-probabilities they deserve."""
        completions = [r.tokens for r in draft.groups[index]]
        completions[rollout] = np.array(tokens, np.uint32)
        draft.groups[index][rollout] = self.prove(index, completions)[rollout]

    def rewrite_group(
        self, draft: Draft, complete: Callable[[list[int], bytes, int], Tokens]
    ) -> None:
        """Another way of completing an audited group, with genuine proofs."""
        index, limit = self.audited, self.manifest.max_tokens
        prompt = self.get_prompt(index)
        seeds = [self.get_seed(index, r) for r in range(len(draft.groups[index]))]
        draft.groups[index] = self.prove(index, [complete(prompt, seed, limit) for seed in seeds])

    def complete_by(self, draft: Draft, draw: Callable[[np.ndarray, bytes, int], int]) -> None:
        """The same with the true model's logits and another rule of drawing."""
        other = TinyForward(self.forward.model, self.forward.temperature)
        other.draw = draw  # type: ignore[method-assign]
        self.rewrite_group(draft, other.complete)

    def seal(self, draft: Draft) -> tuple[MemoryReader, Context]:
        """The file as it is served, and the window in which its root is on chain."""
        honest = Header(
            version=PROTOCOL_VERSION,
            parameters=self.parameters.digest,
            window=self.context.window,
            hotkey=self.hotkey,
            checkpoint=self.context.checkpoint,
            groups=len(draft.groups),
            group_size=self.parameters.work.group_size,
            id_bits=get_id_bits(VOCABULARY),
            index=bytes(32),
            tree=bytes(32),
        )
        parts = [encode_group(group, honest.id_bits) for group in draft.groups]
        for index, change in draft.change_parts.items():
            parts[index] = change(parts[index])
        data, _ = assemble_submission(honest, parts)
        opening = decode_opening(data[: get_opening_bytes(len(parts))], len(parts))
        header = replace(decode(Header, data[:HEADER_BYTES]), **draft.header)
        root = draft.change_root(compute_submission_root(header))
        served = draft.change_file(encode(header) + data[HEADER_BYTES:], opening)
        count = len(parts) if draft.committed_groups is None else draft.committed_groups
        committed = Committed(root, count, 12_013, "https://store.example/m")
        members = self.context.members
        context = replace(
            self.context,
            members=members if draft.is_member else {self.neighbour: members[self.neighbour]},
            commitments={self.hotkey: committed} if draft.is_committed else {},
        )
        return MemoryReader(served), context

    def judge(self, draft: Draft, **options: Any) -> Verdict:
        reader, context = self.seal(draft)
        return self.judge_file(reader, context, **options)

    def judge_file(self, reader: MemoryReader, context: Context, **options: Any) -> Verdict:
        self.tokenizer.decoded.clear()
        self.forward.measured = 0
        if options.get("groups") is None and context.sample is not None:
            options["samples"] = self.read_samples(reader, context)
        return self.judge_by(self.forward, reader, context, **options).verdict

    def judge_by(
        self,
        forward: Any,
        reader: MemoryReader,
        context: Context,
        groups: Sequence[int] | None = None,
        leave_out: int = 0,
        **options: Any,
    ) -> JudgeResult:
        """Judge a file, its samples excepted."""
        submission = self.check(reader, context, groups, leave_out)
        options = {"ledger": Ledger(), "manifest": self.manifest} | options
        calibration = options.pop("calibration", self.calibration)
        return judge(
            submission, self.tokenizer, forward, calibration, options.pop("ledger"), **options
        )

    def check(
        self,
        reader: MemoryReader,
        context: Context,
        groups: Sequence[int] | None = None,
        leave_out: int = 0,
    ) -> CheckedSubmission:
        if groups is None:
            return read_submission(plan_audit(context, self.hotkey), reader)
        plan = plan_groups(context, self.hotkey, groups, leave_out=leave_out)
        return read_submission(plan, reader)

    def read_samples(self, reader: MemoryReader, context: Context) -> CheckedSubmission:
        return read_submission(plan_samples(context, self.hotkey), reader)

    def check_refusal(self, verdict: Verdict, reason: Reason) -> None:
        """Refused for that reason, unpaid, and nothing dearer was done than had to be."""
        assert verdict.reason is reason, verdict.detail
        assert verdict.detail
        assert self.tokenizer.decoded == []  # no reward code has seen the text
        record = verdict.to_record()
        assert (record.groups, record.tokens, compute_score(verdict)) == ((), 0, 0)
        assert (self.forward.measured > 0) == (reason in BY_MODEL)  # none runs before it must


def make_manifest(calibration: Calibration) -> Manifest:
    return Manifest(
        version=1,
        structure=bytes(32),
        tokenizer=bytes(32),
        chat_template=bytes(32),
        tensors=bytes(32),
        end_tokens=(END,),
        max_tokens=24,
        levels=start_levels((1, 2)),
        levels_before=(),
        held_out=(),
        centre=tuple(range(-HIDDEN // 2, HIDDEN // 2)),
        scale=3 << 16,
        router_ramp=0,
        experts=0,
        calibration=calibration.digest,
        calibration_set=bytes(32),
        files=(),
        parent=bytes(32),
        step=bytes(32),
        number=0,
    )


def make_parameters(published: Parameters) -> Parameters:
    """Those of the vectors, with small work and the environment as it is here."""
    environment = make_environment("arithmetic", {})
    choice = EnvironmentChoice(
        name="arithmetic",
        settings=tuple(Setting(name, value) for name, value in environment.params.items()),
        digest=environment.digest,
    )
    audit = {"audited_rollouts": 4, "valued_groups": 2, "sampled_rollouts": 6}
    work = replace(published.work, group_size=8, group_cap=16, max_tokens=4_096, **audit)
    return replace(published, environment=choice, work=work)


@cache
def build_world() -> World:
    """The first in which the draws leave a group unseen, and sample one that is not audited."""
    worlds = map(World, range(256))
    return next(world for world in worlds if world.find_unseen() and world.find_sampled_alone())


class EchoWorld(World):
    """The same with replies: `echo.Echo` is its environment."""

    def __init__(self, draw: int = 0) -> None:
        super().__init__(draw)
        self.environment = echo.Echo()
        self.manifest = replace(self.manifest, max_tokens=echo.MAX_TOKENS)
        work = replace(
            self.parameters.work,
            group_size=echo.SIZE,
            max_tokens=echo.MAX_TOKENS,
            turns=echo.TURNS,
            context=echo.CONTEXT,
            reply_bytes=echo.REPLY_BYTES,
            paid_reply=4_000,
        )
        self.context = replace(
            self.context,
            parameters=replace(self.parameters, work=work),
            checkpoint=self.manifest.digest,
        )
        self.forward.model = echo.LongModel(TinyModel(), draw)
        self.forgers = [
            [echo.EchoForger(self, index, r) for r in range(echo.SIZE)] for index in range(GROUPS)
        ]
        self._drafted = [[forger.play() for forger in group] for group in self.forgers]

    @property
    def played(self) -> list[list[Played]]:
        """The honest episodes."""
        return self._drafted

    def mine(self) -> Draft:
        return Draft([list(group) for group in self._proven_episodes])

    @cached_property
    def _proven_episodes(self) -> list[Group]:
        return [
            [
                forger.prove(one.tokens, one.heard)
                for forger, one in zip(forgers, group, strict=True)
            ]
            for forgers, group in zip(self.forgers, self.played, strict=True)
        ]

    @property
    def target(self) -> tuple[int, int]:
        """A rollout for attacks: its world ends it after three turns, of which the first is longer
        than a reply may be, and there could have been more."""
        return self.find_targets()[0]

    def find_targets(self) -> list[tuple[int, int]]:
        return [
            (index, r)
            for index, group in enumerate(self.played)
            for r, one in enumerate(group)
            if one.episode.end is End.DONE
            and len(one.heard) == 2
            and one.heard[0].at > echo.REPLY_BYTES
            and one.heard[1].at > one.heard[0].at + 1
            and len(one.tokens) < echo.MAX_TOKENS / 2
        ]


@cache
def build_echo_world() -> EchoWorld:
    """One with a target in which episodes end in every way that a text can make."""
    for world in map(EchoWorld, range(20, 256)):  # that the first one has it saves time
        ends = {one.episode.end for group in world.played for one in group}
        if world.find_targets() and ends >= {End.DONE, End.CUT, End.TURNS, End.CONTEXT}:
            return world
    raise AssertionError("no world has all of it")


@pytest.fixture
def echoing(monkeypatch: pytest.MonkeyPatch) -> EchoWorld:
    """One world with replies for all tests."""
    world = build_echo_world()
    monkeypatch.setattr(examination, "open_environment_of", lambda *_: world.environment)
    return world


@pytest.fixture
def world() -> World:
    """One world for all tests: it keeps no state of its verdicts."""
    return build_world()
