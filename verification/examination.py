"""The examination: every check of a submission that needs no model. Specification, section 5."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from assay.environments.registry import open_environment_of
from assay.protocol.context import Context
from assay.protocol.encoding import EncodingError
from assay.protocol.episode import find_stop
from assay.protocol.manifest import Manifest
from assay.protocol.reason import Reason, Refusal
from assay.protocol.submission import (
    Rollout,
    are_ids_canonical,
    decode_ids,
    decode_proof,
    get_id_bits,
)
from assay.verification.case import Case, ShownGroup
from assay.verification.episodes import Place, Replays, Tokens
from assay.verification.leaving_out import LeftOut
from assay.verification.ports import Tokenizer
from assay.verification.read_plan import CheckedSubmission, Purpose, ReadGroup, find_width_fault
from assay.verification.verdict import Accepted, Refused, Verdict


def examine(
    submission: CheckedSubmission, tokenizer: Tokenizer, *, manifest: Manifest, pool: bytes = b""
) -> "Refused | Examined":
    """Check a submission as far as that needs no model.

    Returns:
        The verdict where one of these checks refuses it, else its decoded parts.

    Raises:
        ValueError: as `judge`.
    """
    context = submission.context
    if manifest.digest != context.checkpoint:
        raise ValueError("the manifest is not that of the context's checkpoint")
    if submission.purpose is Purpose.SAMPLES:
        raise ValueError("the samples of a submission are no audit of it")
    environment = open_environment_of(context.parameters.environment, manifest, pool)
    committed = 0 if submission.committed is None else submission.committed.groups
    case = Case(submission.hotkey, context, tokenizer, manifest, environment, committed)
    id_bits = get_id_bits(len(tokenizer.drawable))
    fault = submission.refusal
    if submission.opening is not None:  # the header is checked before any group
        fault = find_width_fault(submission.opening, id_bits) or fault
    if fault is not None:
        return case.refuse(fault)
    if submission.leave_out:
        left_out = LeftOut(submission.leave_out, submission.left_out)
        kept, left_out = left_out.sift(
            submission.groups, lambda group: _check_groups(case, [group], id_bits)
        )
        return Examined(case, [*chain.from_iterable(kept)], audit=False, left_out=left_out)
    groups = _check_groups(case, submission.groups, id_bits)
    if isinstance(groups, Refusal):
        return case.refuse(groups)
    return Examined(case, groups, audit=submission.purpose is Purpose.AUDIT)


@dataclass(frozen=True, slots=True)
class Examined:
    """A submission that has passed every check but the model's."""

    case: Case
    shown: Sequence[ShownGroup]  # ascending
    audit: bool  # the audit's selection; else its reader's
    left_out: LeftOut | None = None  # None: no group may be left out

    @property
    def context(self) -> Context:
        """The window's public facts."""
        return self.case.context

    def get_batches(self) -> list[dict[Place, Rollout]]:
        """The audited rollouts: those of an audit in one batch, else in one for each group."""
        batches = [
            {(group.index, r): rollout for r, rollout in group.audited.items()}
            for group in self.shown
        ]
        return [dict(chain.from_iterable(b.items() for b in batches))] if self.audit else batches

    @property
    def audited(self) -> dict[Place, Tokens]:
        """The rollouts that go through the model, in order."""
        return {
            (group.index, r): one.tokens for group in self.shown for r, one in group.audited.items()
        }

    @property
    def valued(self) -> dict[Place, Tokens]:
        """All rollouts of the valued groups, in order."""
        return {
            (group.index, r): tokens
            for group in self.shown
            if group.valued
            for r, tokens in sorted(group.tokens.items())
        }

    def find_ending_fault(self, replays: Replays | None = None) -> Refusal | None:
        """The fault of the first rollout that does not end where its world says: of an audited one
        first."""
        return (replays or self.case.make_replays()).find_fault({**self.audited, **self.valued})

    def presume(self) -> Verdict:
        """The verdict if the model finds no fault. Runs worlds and the reward code."""
        replays = self.case.make_replays()
        fault = self.find_ending_fault(replays)
        return self.accept(replays) if fault is None else self.case.refuse(fault)

    def accept(self, replays: Replays) -> Accepted:
        """The verdict where neither the model nor a world finds a fault. Runs the reward code."""
        case = self.case
        values = case.value_groups([group for group in self.shown if group.valued], replays)
        audited = self.audited
        turns, replies, broken = replays.count(audited)
        return Accepted(
            window=case.context.window,
            hotkey=case.hotkey,
            detail=(
                f"{len(audited)} rollouts judged, all genuine; {len(values)} of "
                f"{case.committed_groups} groups valued"
            ),
            committed_groups=case.committed_groups,
            groups=values,
            tokens=sum(map(len, audited.values())),
            rollouts=len(audited),
            turns=turns,
            replies=replies,
            broken=broken,
        )


def _check_groups(
    case: Case, read: Sequence[ReadGroup], id_bits: int
) -> list[ShownGroup] | Refusal:
    """The groups, or the first fault in them that shows without a model."""
    groups = decode_groups(read, id_bits)
    if isinstance(groups, Refusal):
        return groups
    return next(_find_structural_faults(case, groups), None) or groups


def decode_groups(read: Sequence[ReadGroup], id_bits: int) -> list[ShownGroup] | Refusal:
    """The records of groups, or the first that is not canonical."""
    groups = []
    for group in read:
        index, rollout = group.chosen.index, None
        try:
            tokens: dict[int, Tokens] = {}
            for rollout, record in group.ids.items():
                tokens[rollout] = decode_ids(record, group.head, rollout)
            audited = {}
            for rollout, record in group.proofs.items():
                proof = decode_proof(record, group.head, rollout)
                audited[rollout] = Rollout(tokens[rollout], proof.logprobs, proof.sketch)
        except EncodingError as error:
            detail = f"rollout {rollout} of group {index} {error}"
            return Refusal(Reason.MALFORMED, detail, index, rollout)
        if group.chosen.valued and not are_ids_canonical(
            list(tokens.values()), group.head, id_bits
        ):
            detail = f"the ids of group {index} are not coded by their own frequencies"
            return Refusal(Reason.MALFORMED, detail, index)
        groups.append(ShownGroup(index, group.chosen.valued, tokens, audited))
    return groups


def _find_structural_faults(case: Case, groups: Sequence[ShownGroup]) -> Iterator[Refusal]:
    """Faults of tokens first, in all completions that were read; then faults of how each one
    ends."""
    drawable, manifest = case.tokenizer.drawable, case.manifest
    each = [((group.index, r), tokens) for group in groups for r, tokens in group.tokens.items()]
    turns = case.context.parameters.work.turns
    faults = chain(
        (find_token_fault(place, tokens, drawable) for place, tokens in each),
        (find_stop_fault(place, tokens, manifest, turns) for place, tokens in each),
    )
    return (fault for fault in faults if fault is not None)


def find_token_fault(place: Place, tokens: Tokens, drawable: NDArray[np.bool_]) -> Refusal | None:
    """The fault of a completion with an id that the model may not draw, or None.

    Args:
        drawable: bool [V].
    """
    known = np.minimum(tokens, len(drawable) - 1)
    bad = (tokens >= len(drawable)) | ~drawable[known]
    if not bad.any():
        return None
    t = int(bad.argmax())
    detail = f"token {tokens[t]} is not one the model may draw"
    return Refusal(Reason.TOKEN_OUT_OF_RANGE, detail, *place, t)


def find_stop_fault(place: Place, tokens: Tokens, manifest: Manifest, turns: int) -> Refusal | None:
    """The fault of a completion that ends where none ends, as far as its ids alone show, or None.

    Args:
        turns: most of them.
    """
    is_end = np.isin(tokens, manifest.end_tokens)
    count, stop = len(tokens), find_stop(is_end, turns, manifest.max_tokens)
    if count == stop:
        return None
    detail = (
        f"the completion has {count} tokens, but ends with an end token, at the latest "
        f"that of its {turns}. turn, or at {manifest.max_tokens} tokens: {stop}"
    )
    return Refusal(Reason.WRONG_TERMINATION, detail, *place, min(count, stop) - 1)
