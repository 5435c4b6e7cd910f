"""The trainer: judges every group it learns from, learns, publishes the next checkpoint.

An audit looks at a few groups a miner; one junk group in hundreds is rarely among them. So the
trainer judges them all, takes rewards and log-probabilities from its own pass, and trusts nothing
that a file says. Specification, section 11.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from assay.network import WorkerError
from assay.neurons.submissions import (
    Sources,
    judge_hotkey,
    open_checkpoint,
)
from assay.neurons.windows import Challenge, get_challenge, get_context
from assay.protocol import (
    Commitment,
    Context,
    Domain,
    Parameters,
    Tag,
    encode_commitment,
    hash_fields,
)
from assay.protocol.manifest import Manifest
from assay.protocol.submission import LOGPROB_BITS
from assay.training import Group, LearnConfig, Learner, LearnStats
from assay.verification import Forward, Ledger, Measurement, Projection


@dataclass(frozen=True, slots=True)
class Lesson:
    """One window's learning: what was consumed and what came of it.

    Attributes:
        rewards: mean reward of each group, millionths.
    """

    window: int
    rewards: tuple[int, ...]
    stats: LearnStats
    published: Manifest


@dataclass(slots=True)
class _Reading:
    """A window whose submissions are being judged."""

    context: Context
    waiting: list[bytes]
    groups: list[Group] = field(default_factory=list)
    roots: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class _RememberingForward:
    """A forward pass that keeps what it saw: the judge's own pass is the trainer's data."""

    forward: Forward
    seen: list[tuple[list[int], list[list[int]], list[list[float]]]] = field(default_factory=list)

    def measure(
        self,
        prompt: Sequence[int],
        completions: Sequence[NDArray[np.uint32]],
        seeds: Sequence[bytes],
        projection: Projection,
    ) -> list[Measurement]:
        """See `assay.verification.Forward`."""
        measured = self.forward.measure(prompt, completions, seeds, projection)
        unit = -(1 << LOGPROB_BITS)
        self.seen.append(
            (
                list(prompt),
                [completion.tolist() for completion in completions],
                [(m.logprobs / unit).tolist() for m in measured],
            )
        )
        return measured


class Trainer:
    """Learns from each window in order and publishes after each.

    Args:
        stop_after: last window to learn from.
        on_lesson: called after each publication.
    """

    def __init__(
        self,
        hotkey: bytes,
        parameters: Parameters,
        sources: Sources,
        config: LearnConfig,
        locator: str,
        stop_after: int,
        on_lesson: Callable[[Lesson], None],
    ) -> None:
        self.name = "trainer"
        self.trouble: str | None = None
        self._hotkey = hotkey
        self._parameters = parameters
        self._sources = sources
        self._locator = locator
        self._stop_after = stop_after
        self._on_lesson = on_lesson
        self._window = 0
        self._challenge: Challenge | None = None
        self._reading: _Reading | None = None
        self._parent = sources.checkpoints.get(parameters.identity.genesis_checkpoint)
        never_drawn = np.flatnonzero(~self._parent.tokenizer.drawable).tolist()
        config = replace(config, excluded=tuple(never_drawn))  # as the reference leaves them out
        self._learner = Learner(self._parent.load_trainable(), config)

    def step(self) -> bool:
        """Opens the next window, judges one submission, or learns and publishes."""
        if self._window > self._stop_after:
            return False
        if self._reading is None:
            self._reading = self._open()
            return self._reading is not None
        if self._reading.waiting:
            self._read(self._reading, self._reading.waiting.pop(0))
            return True
        self._learn(self._reading)
        self._reading = self._challenge = None
        self._window += 1
        return True

    def _open(self) -> _Reading | None:
        sources = self._sources
        if self._challenge is None:
            self._challenge = get_challenge(
                sources.chain, sources.beacons, self._parameters, self._window
            )
        if self._challenge is None:
            return None
        context = get_context(sources.chain, sources.beacons, self._parameters, self._challenge)
        if context is None:
            return None
        return _Reading(context, sorted(h for h in context.commitments if h in context.members))

    def _read(self, reading: _Reading, hotkey: bytes) -> None:
        """Judges all groups of one file; one bad group, and none of it is learned from."""
        context = reading.context
        checkpoint = open_checkpoint(
            self._sources.checkpoints, context.checkpoint, self._parameters
        )
        forward = _RememberingForward(checkpoint.get_reference(context.parameters.work.temperature))
        committed = context.commitments[hotkey]
        groups = range(min(committed.groups, context.parameters.work.group_cap))
        try:
            verdict, _ = judge_hotkey(
                context,
                hotkey,
                checkpoint,
                self._sources,
                Ledger(),  # of this file alone: nothing is learned from small steerings either
                groups=groups,
                forward=forward,
            )
        except WorkerError as error:  # we lack something: this file teaches nothing
            self.trouble = str(error)
            return
        if not verdict.accepted:
            return
        reading.roots.append(committed.root)
        whole = forward.seen[-len(groups) :]  # the heads may have been measured before them
        for value, (prompt, completions, logprobs) in zip(verdict.groups, whole, strict=True):
            reading.groups.append(Group(prompt, completions, list(value.rewards), logprobs))

    def _learn(self, reading: _Reading) -> None:
        if not reading.groups:
            return
        stats = self._learner.learn(reading.groups)
        step = hash_fields(Domain.STEP, self._parent.digest, *reading.roots)
        checkpoints = self._sources.checkpoints
        manifest = checkpoints.publish(self._parent, self._learner.bf16_state(), step)
        # raises rather than publish what everyone would refuse
        self._parent = open_checkpoint(checkpoints, manifest.digest, self._parameters)
        commitment = Commitment(Tag.CHECKPOINT, manifest.number, 0, manifest.digest, self._locator)
        self._sources.chain.set_commitment(self._hotkey, encode_commitment(commitment))
        rewards = tuple(sum(group.rewards) // len(group.rewards) for group in reading.groups)
        self._on_lesson(Lesson(reading.context.window, rewards, stats, manifest))
