"""The judge: one submission and one forward pass in, one verdict out.

It does no I/O of its own and uses no clock, no globals and no torch. Checks run cheapest first, and
the first failure decides. No reward code runs before the sampling test has passed. Nothing that a
miner sends raises an exception: an exception is our own fault. Specification, sections 5, 6, 8 and
9.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from assay.environments import Environment, Problem, compute_reward, get_weights, open_environment
from assay.protocol.context import Committed, Context
from assay.protocol.encoding import EncodingError
from assay.protocol.manifest import Calibration, Manifest
from assay.protocol.reason import Reason, Refusal
from assay.protocol.seeds import compute_problem_seed, compute_projection_seed, compute_witness_seed
from assay.protocol.submission import (
    Rollout,
    are_ids_canonical,
    decode_ids,
    decode_proof,
    get_id_bits,
)
from assay.verification.ports import Forward, Projection, SubmissionReader, Tokenizer
from assay.verification.seat_ledger import Ledger
from assay.verification.settlement import compute_value
from assay.verification.sketch import join_projections, make_projection
from assay.verification.submission_parts import (
    ReadGroup,
    choose,
    find_sample_fault,
    read_groups,
    read_opening,
)
from assay.verification.trial import Place, Trial
from assay.verification.verdict import GroupValue, Verdict

Tokens = NDArray[np.uint32]


def judge(
    submission: SubmissionReader,
    hotkey: bytes,
    context: Context,
    tokenizer: Tokenizer,
    forward: Forward,
    calibration: Calibration,
    ledger: Ledger,
    *,
    manifest: Manifest,
    appeal: Forward | None = None,
    groups: Sequence[int] | None = None,
    validator: bytes | None = None,
) -> tuple[Verdict, Ledger]:
    """Judge one hotkey's submission to one window.

    Args:
        submission: the file, read in parts. The judge reads only the parts that the audit needs.
        context: the window's public facts, with a known audit beacon.
        tokenizer, forward, calibration, manifest: of the checkpoint that the context names.
        ledger: evidence so far in this settlement.
        appeal: another implementation of the reference, which measures again before a rejection is
            final. Without one, the first rejection is final.
        groups: indices to judge whole instead of the audit's choice. A trainer judges all groups
            that it learns from.
        validator: the hotkey that judges, for the verdict's witness; None: no witness.

    Returns:
        The verdict, and the ledger after it. The ledger is unchanged unless all rollouts passed
        their own tests. The samples are checked last and leave the ledger unchanged.

    Raises:
        ValueError: our own fault: checkpoint, environment or context do not belong together.
    """
    if calibration.digest != manifest.calibration:
        raise ValueError("the calibration is not the one the manifest names")
    examined = examine(submission, hotkey, context, tokenizer, manifest=manifest, groups=groups)
    if isinstance(examined, Verdict):
        return examined, ledger
    case = examined.case
    trial = Trial(
        hotkey,
        context,
        calibration,
        case.make_projection(validator),
        lambda index: tokenizer.encode(case.make_problem(index).prompt),
        forward,
        appeal,
    )
    fault, ledger = trial.process(examined.get_batches(together=groups is None), ledger)
    if fault is None and groups is None and context.sample is not None:
        fault = find_sample_fault(submission, hotkey, context, context.commitments[hotkey])
    verdict = examined.accept() if fault is None else case.refuse(fault)
    verdict = replace(verdict, provisional=fault is None and groups is None and not context.sample)
    return replace(verdict, statistics=trial.statistics, witness=trial.witness), ledger


def examine(
    submission: SubmissionReader,
    hotkey: bytes,
    context: Context,
    tokenizer: Tokenizer,
    *,
    manifest: Manifest,
    groups: Sequence[int] | None = None,
) -> "Verdict | Examined":
    """Check a submission as far as that needs no model.

    Returns:
        The verdict where one of these checks refuses it, else the parts that they have read.

    Raises:
        ValueError: as `judge`.
    """
    if manifest.digest != context.checkpoint:
        raise ValueError("the manifest is not that of the context's checkpoint")
    environment = open_environment(context.parameters.environment)
    case = _Case(hotkey, context, tokenizer, manifest, environment)
    committed = find_commitment(context, hotkey)
    if isinstance(committed, Refusal):
        return case.refuse(committed)
    case = replace(case, committed_groups=committed.groups)
    opening = read_opening(submission, hotkey, context, committed)
    if isinstance(opening, Refusal):
        return case.refuse(opening)
    id_bits = get_id_bits(len(tokenizer.drawable))
    if opening.header.id_bits != id_bits:
        detail = f"the header's ids have {opening.header.id_bits} bits, the checkpoint's {id_bits}"
        return case.refuse(Refusal(Reason.WRONG_HEADER, detail))
    chosen = choose(context, hotkey, committed.groups, groups)
    read = read_groups(submission, hotkey, context, opening, chosen)
    if isinstance(read, Refusal):
        return case.refuse(read)
    shown = _decode(read, id_bits)
    if isinstance(shown, Refusal):
        return case.refuse(shown)
    fault = next(_find_structural_faults(case, shown), None)
    return Examined(case, shown) if fault is None else case.refuse(fault)


@dataclass(frozen=True, slots=True, eq=False)
class ShownGroup:
    """The parts of one group that an audit reads."""

    index: int
    valued: bool  # `tokens` has all rollouts
    tokens: Mapping[int, Tokens]  # rollout → its completion
    audited: Mapping[int, Rollout]  # rollout → the rollout with its proof, ascending


@dataclass(frozen=True, slots=True)
class Examined:
    """A submission that has passed every check but the model's."""

    case: "_Case"
    shown: Sequence[ShownGroup]  # ascending

    def get_batches(self, *, together: bool) -> list[dict[Place, Rollout]]:
        """The audited rollouts, in one batch or in one for each group."""
        batches = [
            {(group.index, r): rollout for r, rollout in group.audited.items()}
            for group in self.shown
        ]
        return [dict(chain.from_iterable(b.items() for b in batches))] if together else batches

    def accept(self) -> Verdict:
        """The verdict where the model finds no fault. Runs the reward code."""
        case = self.case
        values = tuple(case.value_group(group) for group in self.shown if group.valued)
        audited = [rollout for group in self.shown for rollout in group.audited.values()]
        return Verdict(
            window=case.context.window,
            hotkey=case.hotkey,
            reason=Reason.ACCEPTED,
            detail=(
                f"{len(audited)} rollouts judged, all genuine; {len(values)} of "
                f"{case.committed_groups} groups valued"
            ),
            committed_groups=case.committed_groups,
            groups=values,
            tokens=sum(len(rollout.tokens) for rollout in audited),
        )


@dataclass(frozen=True, slots=True)
class _Case:
    """The inputs of judging one submission."""

    hotkey: bytes
    context: Context
    tokenizer: Tokenizer
    manifest: Manifest
    environment: Environment
    committed_groups: int = 0

    def refuse(self, refusal: Refusal) -> Verdict:
        return Verdict(
            window=self.context.window,
            hotkey=self.hotkey,
            reason=refusal.reason,
            detail=refusal.detail,
            committed_groups=self.committed_groups,
            group=refusal.group,
            rollout=refusal.rollout,
            token=refusal.token,
            unbound=refusal.unbound,
        )

    def value_group(self, group: ShownGroup) -> GroupValue:
        """Rewards and value of a group that has been read whole."""
        parameters = self.context.parameters
        weights = get_weights(parameters.environment)
        problem = self.make_problem(group.index)
        rewards = tuple(
            compute_reward(
                self.environment.score(problem, self.tokenizer.decode(tokens.tolist())), weights
            )
            for _, tokens in sorted(group.tokens.items())
        )
        value = compute_value(
            parameters.work,
            completion_tokens=sum(map(len, group.tokens.values())),
            prompt_tokens=len(self.tokenizer.encode(problem.prompt)),
            mean_reward=sum(rewards) // len(rewards),
        )
        return GroupValue(group.index, value, rewards, tuple(group.audited))

    def make_problem(self, index: int) -> Problem:
        seed = compute_problem_seed(self.context.challenge_seed, self.hotkey, index)
        return self.environment.make_problem(seed, self.manifest.levels)

    def make_projection(self, validator: bytes | None) -> Projection:
        """The sketch's two columns, and the witness's two where there is a validator."""
        context = self.context
        seed = compute_projection_seed(context.challenge_seed)
        projection = make_projection(seed, self.manifest)
        if validator is None:
            return projection
        seed = compute_witness_seed(context.audit_seed, validator)
        return join_projections(projection, make_projection(seed, self.manifest))


def find_commitment(context: Context, hotkey: bytes) -> Committed | Refusal:
    """A hotkey's commitment, or the reason why its file need not be fetched."""
    if hotkey not in context.members:
        return Refusal(
            Reason.NOT_REGISTERED,
            "the hotkey did not hold a uid at both the window's first and its commitment block",
        )
    committed = context.commitments.get(hotkey)
    if committed is None:
        return Refusal(
            Reason.NO_COMMITMENT,
            "the chain's state at the commitment block has no commitment to this window",
        )
    cap = context.parameters.work.group_cap
    if committed.groups > cap:
        return Refusal(
            Reason.TOO_LARGE, f"{committed.groups} groups committed, {cap} are the most allowed"
        )
    if committed.groups == 0:
        return Refusal(Reason.MALFORMED, "the commitment names no group")
    return committed


def _decode(read: Sequence[ReadGroup], id_bits: int) -> list[ShownGroup] | Refusal:
    shown = []
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
        shown.append(ShownGroup(index, group.chosen.valued, tokens, audited))
    return shown


def _find_structural_faults(case: _Case, shown: Sequence[ShownGroup]) -> Iterator[Refusal]:
    """Faults of tokens first, in all completions that were read; then faults of how each one
    ends."""
    drawable = case.tokenizer.drawable
    each = [(group.index, r, tokens) for group in shown for r, tokens in group.tokens.items()]
    for g, r, tokens in each:
        known = np.minimum(tokens, len(drawable) - 1)
        bad = (tokens >= len(drawable)) | ~drawable[known]
        if bad.any():
            t = int(bad.argmax())
            detail = f"token {tokens[t]} is not one the model may draw"
            yield Refusal(Reason.TOKEN_OUT_OF_RANGE, detail, g, r, t)
    longest = case.manifest.max_tokens
    is_end = np.zeros(len(drawable), bool)
    is_end[[end for end in case.manifest.end_tokens if end < len(drawable)]] = True
    for g, r, tokens in each:
        ends = is_end[tokens]
        count = len(tokens)
        stop = min(int(ends.argmax()) + 1, longest) if ends.any() else longest
        if count != stop:
            detail = (
                f"the completion has {count} tokens, but ends at its first end token or at "
                f"{longest} tokens: {stop}"
            )
            yield Refusal(Reason.WRONG_TERMINATION, detail, g, r, min(count, stop) - 1)
