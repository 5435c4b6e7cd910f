"""Inputs of several scripts: the demo's model and its problems, models of random weights, and the
generating and verifying of one group."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from figures import measure, measure_together
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from assay.artifacts.checkpoints.folder import measure_manifest
from assay.environments.base import Environment, Problem
from assay.environments.registry import make_environment
from assay.inference.checkpoint import Checkpoint, load_checkpoint
from assay.inference.draft import OwnDrafter, Request, Rules
from assay.inference.folder import (
    CALIBRATION_FILE,
    MANIFEST_FILE,
    PASSAGES_FILE,
    digest_structure,
    digest_tensors,
    digest_tokenizer,
)
from assay.inference.generate import GroupRequest
from assay.inference.implementations import DEFAULT_IMPLEMENTATION, make_model
from assay.inference.reference import Reference
from assay.network.files import write_json
from assay.protocol.encoding import to_json
from assay.protocol.episode import Reply
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.manifest import Calibration, compute_tensor_root
from assay.protocol.parameters import SMALL_MODEL_TESTS, Tests
from assay.protocol.submission import Rollout
from assay.subnet.presets import DEMO_ENVIRONMENT, DEMO_SETTINGS, DEMO_WORK
from assay.training import GENESIS
from assay.training.genesis_model import make_model as make_small_model
from assay.training.genesis_model import save_model
from assay.verification import Measurement, Projection, make_projection
from assay.verification.episodes import find_length_fault
from assay.verification.logprobs import judge_logprobs
from assay.verification.sampling import SamplingResult, judge_sampling
from assay.verification.sketch import judge_sketch


def load_genesis() -> Checkpoint:
    """The model with which the demo begins."""
    return load_checkpoint(GENESIS)


def write_larger_checkpoint(folder: Path) -> bytes:
    """Write a checkpoint of random weights with the demo's tokenizer, thirty times as large as the
    demo's model: ten million weights. Returns its digest."""
    genesis = load_genesis()
    save_model(make_small_model(384, 6, 6, 1_024, seed=0), folder)
    for name in (CALIBRATION_FILE, PASSAGES_FILE):
        shutil.copyfile(GENESIS / name, folder / name)
    manifest = replace(
        genesis.manifest,
        structure=digest_structure(folder),
        tokenizer=digest_tokenizer(folder),
        tensors=compute_tensor_root(digest_tensors(folder)),
    )
    manifest = measure_manifest(manifest, folder)
    write_json(folder / MANIFEST_FILE, to_json(manifest))
    return manifest.digest


def make_requests(
    checkpoint: Checkpoint,
    groups: int,
    rollouts: int,
    salt: bytes = b"",
    environment: Environment | None = None,
) -> list[GroupRequest]:
    """Requests for the problems of `make_problems`, as a miner answers them."""
    return [
        GroupRequest(
            tuple(checkpoint.tokenizer.encode(problem.conversation)),
            make_seeds(group, rollouts, salt),
        )
        for group, problem in enumerate(make_problems(checkpoint, groups, salt, environment))
    ]


def make_seeds(group: int, rollouts: int, salt: bytes = b"") -> tuple[bytes, ...]:
    """The seeds of a group's rollouts."""
    seed = _make_seed(group, salt)
    return tuple(hash_fields(Domain.ROLLOUT, seed, bytes([r])) for r in range(rollouts))


def make_problems(
    checkpoint: Checkpoint, groups: int, salt: bytes = b"", environment: Environment | None = None
) -> list[Problem]:
    """Problems of an environment, or of the demo's, at the checkpoint's levels. Another salt gives
    another set."""
    environment = environment or make_environment(DEMO_ENVIRONMENT, DEMO_SETTINGS)
    levels = checkpoint.manifest.level_numbers
    return [environment.make_problem(_make_seed(group, salt), levels) for group in range(groups)]


def _make_seed(group: int, salt: bytes) -> bytes:
    return hash_fields(Domain.PROBLEM, b"bench", salt, group.to_bytes(4, "big"))


def make_any_projection(checkpoint: Checkpoint) -> Projection:
    """A projection like a window's."""
    return make_projection(hash_fields(Domain.PROJECTION, b"bench"), checkpoint.manifest)


def make_random_projection(hidden: int) -> Projection:
    """A projection for a model of random weights."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (hidden, 2))
    return Projection(signs.astype(np.float32), np.zeros(hidden, np.float32), hidden**0.5)


def make_random_model(config: Qwen2Config, device: str = "cpu") -> PreTrainedModel:
    """A Qwen2 with random weights as a checkpoint stores them, in fp32."""
    torch.manual_seed(0)
    with torch.device(device):
        model = Qwen2ForCausalLM(config).to(torch.bfloat16).float()
    return model.eval().requires_grad_(False)


class GroupTimes(NamedTuple):
    """Seconds to verify, to verify if no two rollouts share a prompt, to generate in one batch, and
    to generate one by one."""

    verified: float
    apart: float
    batched: float
    one_by_one: float


@dataclass(frozen=True)
class GroupWork:
    """One group of full-length completions, to generate and to verify.

    Attributes:
        alone: completions that are generated one by one; their time is scaled to all.
        reference: a model with the same weights; the drafter may have another precision.
    """

    drafter: PreTrainedModel
    reference: Reference
    group: GroupRequest
    drawable: np.ndarray
    projection: Projection
    calibration: Calibration
    temperature: int
    tokens: int
    alone: int

    def measure(self, repeats: int) -> GroupTimes:
        rules = Rules(self.temperature, (), self.tokens)  # nothing ends a completion early
        drafter = OwnDrafter(self.drafter, self.drawable, rules)
        requests = [Request(self.group.prompt, seed) for seed in self.group.seeds]
        completions = [np.array(row, np.uint32) for row in drafter.draft(requests)]

        def generate() -> None:
            drafter.draft(requests)
            _wait(self.drafter)

        def verify(prompts: Sequence[Sequence[int]]) -> None:
            self._verify(prompts, completions)
            _wait(self.drafter)

        shared = [self.group.prompt] * len(completions)
        # of one length, each with its own first token
        apart = [(i, *self.group.prompt[1:]) for i in range(len(completions))]
        verified, alone, batched = measure_together(
            [lambda: verify(shared), lambda: verify(apart), generate], repeats
        )
        few = requests[: self.alone]
        one_by_one = measure(lambda: [drafter.draft([r]) for r in few], repeats=1, warmups=0)
        return GroupTimes(verified, alone, batched, one_by_one * len(requests) / len(few))

    def _verify(self, prompts: Sequence[Sequence[int]], completions: Sequence[np.ndarray]) -> None:
        """Do all that the judge does with one group after the check of its structure."""
        measured = self.reference.measure(prompts, completions, self.group.seeds, self.projection)
        for m in measured:
            judge_sketch(m.sketch, m.sketch, SMALL_MODEL_TESTS)
            judge_sampling(m.margins, m.gini, self.calibration, SMALL_MODEL_TESTS, self.temperature)


def _wait(model: PreTrainedModel) -> None:
    """Wait until a GPU has finished its work."""
    if model.device.type == "cuda":
        torch.cuda.synchronize()


def make_random_work(
    config: Qwen2Config,
    calibration: Calibration,
    rollouts: int,
    tokens: int,
    alone: int,
    device: str = "cpu",
    drafter_dtype: torch.dtype = torch.float32,
) -> GroupWork:
    """A group of a model with random weights, with a prompt of 64 tokens."""
    model = make_random_model(config, device)
    drawable = np.ones(config.vocab_size, bool)
    generator = np.random.default_rng(0)
    narrow = model if drafter_dtype == model.dtype else _copy_as(model, drafter_dtype)
    return GroupWork(
        drafter=narrow,
        reference=Reference(make_model(model, DEFAULT_IMPLEMENTATION), drawable, 1_024),
        group=GroupRequest(
            tuple(generator.integers(0, config.vocab_size, 64).tolist()),
            tuple(hash_fields(Domain.ROLLOUT, bytes([r])) for r in range(rollouts)),
        ),
        drawable=drawable,
        projection=make_random_projection(config.hidden_size),
        calibration=calibration,
        temperature=1_024,
        tokens=tokens,
        alone=alone,
    )


def _copy_as(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    copied: PreTrainedModel = type(model)(model.config).to(dtype)
    copied.load_state_dict(model.state_dict())
    return copied.to(model.device).eval().requires_grad_(False)


@dataclass(frozen=True, slots=True)
class JudgedRollout:
    """The measurements of another reference on an honest rollout."""

    request: GroupRequest
    rollout: Rollout
    replies: tuple[Reply, ...]  # of its world
    measured: Measurement
    sampling: SamplingResult
    is_refused: bool


def judge_groups(
    judge: Reference,
    checkpoint: Checkpoint,
    requests: Sequence[GroupRequest],
    groups: Sequence[Sequence[Rollout]],
    tests: Tests = SMALL_MODEL_TESTS,
) -> Iterator[JudgedRollout]:
    """Every rollout of some groups, judged by all tests, with every position opened."""
    projection = make_any_projection(checkpoint)
    for request, group in zip(requests, groups, strict=True):
        completions = [rollout.tokens for rollout in group]
        play = request.play
        episodes = [None if play is None else play.replay(own.tolist()) for own in completions]
        replies = [() if episode is None else episode.replies for episode in episodes]
        measured = judge.measure(
            [request.prompt] * len(completions), completions, request.seeds, projection, replies
        )
        for rollout, m, episode, said in zip(group, measured, episodes, replies, strict=True):
            every = range(len(rollout.tokens))
            sampling = judge_sampling(
                m.margins, m.gini, checkpoint.calibration, tests, DEMO_WORK.temperature
            )
            results = (
                judge_sketch(rollout.sketch, m.sketch, tests),
                judge_logprobs(rollout.logprobs, m.logprobs, every, tests),
                sampling,
            )
            refused = any(result.token is not None for result in results)
            if episode is not None:
                refused |= find_length_fault(episode, len(rollout.tokens), 0, 0) is not None
            yield JudgedRollout(request, rollout, said, m, sampling, refused)
