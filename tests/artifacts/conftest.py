"""Shared by the tests of miners' files: small submissions of a window, and a way to read them."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from assay.artifacts.submissions.file import SubmissionFile
from assay.artifacts.submissions.reading import SubmissionReader, read_submission
from assay.protocol.context import Committed, Context, context_from_json
from assay.protocol.encoding import decode, read_json
from assay.protocol.reason import Reason, Refusal
from assay.protocol.submission import (
    HEADER_BYTES,
    LOGPROB_MAX,
    Header,
    Opening,
    Rollout,
    assemble_submission,
    decode_opening,
    encode_submission,
    get_opening_bytes,
)
from assay.verification import plan_audit, plan_groups, plan_samples
from assay.verification.case import ShownGroup
from assay.verification.examination import decode_groups

VECTOR = Path(__file__).parents[1] / "vectors" / "context.json"
PUBLISHED = context_from_json(read_json(VECTOR.read_bytes())["valid"])
(HOTKEY,) = PUBLISHED.commitments
ID_BITS = 9

Group = list[Rollout]
Parts = tuple[bytes, bytes, bytes]  # head, ids and proofs of a group


class MemorySource:
    """An object in memory that remembers which ranges were read."""

    def __init__(self, data: bytes | None) -> None:
        self.data = data
        self.reads: list[tuple[int, int]] = []

    def size(self) -> int | None:
        return None if self.data is None else len(self.data)

    def read(self, start: int, end: int) -> bytes | None:
        self.reads.append((start, end))
        return None if self.data is None else self.data[start:end]


def make_rollout(random: np.random.Generator, length: int) -> Rollout:
    """A rollout like a model's: few ids are frequent, most log-probabilities are near 0."""
    ids = 2.0**ID_BITS * random.random(length) ** 3
    logprobs = random.exponential(30_000, length) * (random.random(length) < 0.7)
    sketch = np.rint(random.normal(0, 32, (length, 2))).clip(-127, 127)
    return Rollout(
        ids.astype(np.uint32),
        logprobs.clip(0, LOGPROB_MAX).astype(np.uint32),
        sketch.astype(np.int8),
    )


def make_groups(count: int, size: int = 4, longest: int = 64) -> list[Group]:
    random = np.random.default_rng(count)
    lengths = random.integers(1, longest + 1, (count, size))
    return [[make_rollout(random, int(length)) for length in row] for row in lengths]


@dataclass(frozen=True, repr=False)
class Shown:
    """A file and the window that it was committed in."""

    context: Context
    data: bytes

    @property
    def committed(self) -> Committed:
        return self.context.commitments[HOTKEY]

    @cached_property
    def opening(self) -> Opening:
        return decode_opening(self.data[: get_opening_bytes(self.committed.groups)], self.groups)

    @property
    def groups(self) -> int:
        return decode(Header, self.data[:HEADER_BYTES]).groups

    def read(
        self, reader: SubmissionReader | bytes | None = None, groups: list[int] | None = None
    ) -> list[ShownGroup] | Refusal:
        """Everything that an audit, or a reader of these groups, decodes, except for the model's
        part.

        Args:
            reader: reader of the file, or other bytes to serve; None: the file's own.
        """
        if reader is None or isinstance(reader, bytes):
            reader = SubmissionFile(MemorySource(reader or self.data))
        if groups is None:
            plan = plan_audit(self.context, HOTKEY)
        else:
            plan = plan_groups(self.context, HOTKEY, groups)
        submission = read_submission(plan, reader)
        if submission.refusal is not None or submission.opening is None:
            assert submission.refusal is not None
            return submission.refusal
        return decode_groups(submission.groups, submission.opening.header.id_bits)

    def find_sample_fault(self, reader: SubmissionReader) -> Refusal | None:
        return read_submission(plan_samples(self.context, HOTKEY), reader).refusal

    def read_all(self, served: bytes | None = None) -> list[Group] | Refusal:
        """All rollouts, as a trainer reads them."""
        found = self.read(served, list(range(self.committed.groups)))
        if isinstance(found, Refusal):
            return found
        return [list(group.audited.values()) for group in found]

    @property
    def parts(self) -> list[Parts]:
        found = []
        for index, sizes in enumerate(self.opening.sizes):
            ids, proofs = self.opening.find_ids(index), self.opening.find_proofs(index)
            head = self.data[ids.start - sizes.head : ids.start]
            found.append(
                (head, self.data[ids.start : ids.end], self.data[proofs.start : proofs.end])
            )
        return found

    def change(self, parts: dict[int, Parts]) -> "Shown":
        """The same with other parts of some groups, committed to as they are."""
        groups = [parts.get(index, same) for index, same in enumerate(self.parts)]
        return commit(self.context, *assemble_submission(self.opening.header, groups))


def commit(context: Context, data: bytes, root: bytes) -> Shown:
    groups = decode(Header, data[:HEADER_BYTES]).groups
    committed = replace(PUBLISHED.commitments[HOTKEY], root=root, groups=groups)
    return Shown(replace(context, commitments={HOTKEY: committed}), data)


def make_context(groups: list[Group], **work: int) -> Context:
    """The vectors' window, with work of these groups' size."""
    longest = max(len(rollout.tokens) for group in groups for rollout in group)
    most = {"group_size": len(groups[0]), "max_tokens": longest, "group_cap": len(groups)}
    asked = {"audited_rollouts": 3, "valued_groups": 2, "sampled_rollouts": 2}
    parameters = replace(
        PUBLISHED.parameters, work=replace(PUBLISHED.parameters.work, **most, **asked | work)
    )
    return replace(PUBLISHED, parameters=parameters)


def show(groups: list[Group], id_bits: int = ID_BITS, **work: int) -> Shown:
    """An honest file of these groups, committed to."""
    context = make_context(groups, **work)
    data, root = encode_submission(
        groups,
        parameters=context.parameters.digest,
        window=context.window,
        hotkey=HOTKEY,
        checkpoint=context.checkpoint,
        id_bits=id_bits,
    )
    return commit(context, data, root)


def are_equal(one: Group, other: Group) -> bool:
    columns = ("tokens", "logprobs", "sketch")
    return len(one) == len(other) and all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for a, b in zip(one, other, strict=True)
        for name in columns
    )


def expect(found: Any, reason: Reason, words: str = "") -> None:
    """A refusal for that reason, in one printable sentence that has those words."""
    assert isinstance(found, Refusal), found
    assert found.reason is reason
    assert words in found.detail
    assert found.detail.isprintable()
    assert len(found.detail) <= 320
