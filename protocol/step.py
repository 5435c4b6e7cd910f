"""The inputs and results of one training step, so that anyone can repeat it.

Specification, section 11. A checkpoint's manifest names the digest of its step's record. The record
names the checkpoint by the root of its tensors, since neither can hold the digest of the other.

Decoding does not show whether a record is true. Repeating the step shows it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from assay.protocol.encoding import (
    U8,
    U16,
    U32,
    U64,
    Choice,
    Digest,
    Last,
    Many,
    Prefixed,
    Record,
    encode,
)
from assay.protocol.episode import Reply
from assay.protocol.hashing import Domain, compute_root, hash_fields
from assay.protocol.reason import Reason
from assay.protocol.record import MEMBERS_MAX, Software

STEP_VERSION = 4
#: Most groups with a fault of a file from whose other groups a step learns. A file with one more
#: teaches nothing.
LEFT_OUT_MAX = 64
#: Most bytes of a step's settings as JSON.
CONFIG_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class StepSource:
    """One submission that the step learned from."""

    hotkey: Digest
    root: Digest  # as committed on chain
    groups: U32  # number of its groups that were learned from


@dataclass(frozen=True, slots=True)
class StepLeftOut:
    """A group with a fault, which the step left out."""

    hotkey: Digest
    index: U32  # of the problem among the hotkey's
    reason: Annotated[Reason, Choice(Reason, "a reason")]  # as the trainer's judge found it


@dataclass(frozen=True, slots=True)
class StepReplay:
    """Groups of one submission of an earlier window, which the step learned from, too."""

    step: Digest  # of the record of the step that was made of that window
    number: U64  # of the checkpoint that that step made
    window: U64
    hotkey: Digest
    root: Digest  # as committed on chain for that window
    groups: U32  # number of its groups that were learned from


@dataclass(frozen=True)
class StepRecord:
    """One step: its start, its inputs and its results."""

    version: U16  # 4
    software: Software  # name and version of the software that learned
    #: the libraries and machine that computed: others may give other last bits
    engine: Annotated[str, Prefixed(128, text=True)]
    threads: U32  # threads that computed: they decide the order of sums
    code: Digest  # digest of the source files that learn
    parameters: Digest
    window: U64
    number: U64  # of the made checkpoint: one more than its parent's
    parent: Digest  # digest of the checkpoint that the step began with
    sources: Annotated[tuple[StepSource, ...], Many(Record(StepSource), MEMBERS_MAX)]
    #: groups with a fault, by hotkey and index
    left_out: Annotated[tuple[StepLeftOut, ...], Many(Record(StepLeftOut), MEMBERS_MAX)]
    groups: U32  # all groups consumed
    consumed: Digest  # root over all groups, the trainer's own included, in the order learned from
    #: the learner's settings, seed included: JSON, sorted, without spaces
    config: Annotated[str, Prefixed(CONFIG_BYTES, text=True)]
    optimiser_before: Digest  # root over masters, moments and counters before the step
    optimiser_after: Digest  # the same after the step
    tensors: Digest  # root over the made checkpoint's tensors, as in its manifest
    #: groups of earlier windows, delayed ones too, by window and hotkey; None: there are none
    replayed: Annotated[
        tuple[StepReplay, ...] | None, Last(Many(Record(StepReplay), MEMBERS_MAX))
    ] = None

    @cached_property
    def digest(self) -> bytes:
        """hash(step, canonical bytes), 32 bytes: named by the new checkpoint's manifest."""
        return hash_fields(Domain.STEP, encode(self))


@dataclass(frozen=True)
class ReturnRecord:
    """A course that is given up: the milestone is published again, under a new number (section
    7.1)."""

    version: U16  # 4
    software: Software
    parameters: Digest
    window: U64  # the last one whose checkpoint's counts are in the manifest
    number: U64  # of the made checkpoint: one more than its parent's
    parent: Digest  # digest of the checkpoint that is given up
    milestone: Digest  # digest of the checkpoint whose tensors these are
    tensors: Digest  # root over the milestone's tensors, as in its manifest
    #: root over the masters, moments and counters that the next step begins with: those behind the
    #: milestone's step, or new ones where the trainer has lost them
    optimiser: Digest

    @cached_property
    def digest(self) -> bytes:
        """hash(return, canonical bytes), 32 bytes: named by the manifest as its step."""
        return hash_fields(Domain.RETURN, encode(self))


@dataclass(frozen=True, slots=True, eq=False)
class StepRollout:
    """A rollout that a step consumed.

    Attributes:
        tokens: uint32 [T], its own.
        logprobs: uint32 [T], −ln p in 2^-16 under the checkpoint that generated them, as the
            trainer computed them.
        reward: in millionths.
        replies: what its world said between its turns, ascending.
    """

    tokens: NDArray[np.uint32]
    logprobs: NDArray[np.uint32]
    reward: int
    replies: Sequence[Reply] = ()


def compute_step_leaf(
    hotkey: bytes,
    index: int,
    checkpoint: bytes,
    prompt: NDArray[np.uint32],
    rollouts: Sequence[StepRollout],
) -> bytes:
    """Leaf of one consumed group, 32 bytes.

    Args:
        hotkey: the hotkey that generated it.
        index: of the problem among the hotkey's.
        checkpoint: digest of the checkpoint that generated it.
        prompt: uint32 [tokens].
    """
    rows = map(_encode_rollout, rollouts)
    return hash_fields(
        Domain.STEP_LEAF, hotkey, index.to_bytes(4, "big"), checkpoint, _pack(prompt), *rows
    )


@dataclass(frozen=True, slots=True)
class DelayedRollout:
    """How often what a rollout proposed was solved, where its group is learned from later."""

    tries: U32  # rollouts that were asked its problems; 0: it proposed nothing valid, or none were
    solves: U32  # right ones among them
    counts: U8  # 1 if the step learns from it, else 0


def compute_delayed_leaf(leaf: bytes, source: bytes, rollouts: Sequence[DelayedRollout]) -> bytes:
    """Leaf of a consumed group that waits, or has waited for its reward, 32 bytes.

    Args:
        leaf: see `compute_step_leaf`.
        source: digest of the record of the step that consumed it first; zeros: this one does, and
            the group waits.
        rollouts: all of the group; none of one that waits.
    """
    return hash_fields(Domain.STEP_DELAY, leaf, source, b"".join(map(encode, rollouts)))


def _encode_rollout(rollout: StepRollout) -> bytes:
    said = [len(rollout.replies)]
    for reply in rollout.replies:
        said += [reply.at, len(reply.ids), *reply.ids]
    reward = rollout.reward.to_bytes(4, "big")
    numbers = np.array(said, np.uint32), rollout.tokens, rollout.logprobs
    return b"".join(map(_pack, numbers)) + reward


def compute_consumed_root(leaves: Sequence[bytes], window: int, parent: bytes) -> bytes:
    """The root over everything that a step consumed, 32 bytes. Raises a ValueError where it
    consumed nothing."""
    return compute_root(leaves, window.to_bytes(8, "big"), parent)


def _pack(values: NDArray[np.uint32]) -> bytes:
    return values.astype(">u4").tobytes()
