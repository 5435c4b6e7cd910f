"""The judge: one submission and one forward pass in, one verdict out.

No I/O of its own, no clock, no globals, no torch. Checks run cheapest first and the first that
fails decides; no reward code runs before the sampling test has passed. Nothing a miner sends
raises: what does raise is our own fault. Specification, sections 5, 6, 8 and 9.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from assay.environments import Environment, Problem, compute_reward, get_weights, open_environment
from assay.protocol.context import Committed, Context
from assay.protocol.encoding import EncodingError, decode
from assay.protocol.manifest import Calibration, Manifest
from assay.protocol.parameters import PROTOCOL_VERSION
from assay.protocol.reason import Reason, Refusal
from assay.protocol.seeds import compute_problem_seed, compute_projection_seed, compute_witness_seed
from assay.protocol.selection import Selection, select_committed
from assay.protocol.submission import (
    Footer,
    Header,
    Rollout,
    compute_group_leaf,
    compute_submission_root,
    decode_rollout,
    is_committed,
    is_group_committed,
    split_rows,
)
from assay.verification.ports import Forward, Projection, SubmissionReader, Tokenizer
from assay.verification.seat_ledger import Ledger
from assay.verification.settlement import compute_value
from assay.verification.sketch import join_projections, make_projection
from assay.verification.trial import Trial
from assay.verification.verdict import GroupValue, Verdict

Group = list[Rollout]


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
    """Judges one hotkey's submission to one window.

    Args:
        submission: the file, read in parts; asked for the footer and the chosen groups only.
        context: the window's public facts, its audit beacon known.
        tokenizer, forward, calibration, manifest: of the checkpoint the context names.
        ledger: evidence so far in this settlement.
        appeal: another implementation of the reference, asked before a rejection stands; without
            one it stands.
        groups: indices to judge instead of the audit's choice; a trainer judges all it learns from.
        validator: hotkey of who judges, for the verdict's witness; None: there is none.

    Returns:
        The verdict, and the ledger after it: unchanged unless all rollouts passed their own tests.

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
    fault, ledger = trial.process(examined.shown, ledger)
    verdict = examined.accept() if fault is None else case.refuse(fault)
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
    """All that can be said of a submission without running the model.

    Returns:
        The verdict where one of these checks refuses it, else what they have read.

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
    footer = _read_footer(submission, case, committed)
    if isinstance(footer, Refusal):
        return case.refuse(footer)
    chosen = _choose(context, hotkey, committed.groups, groups)
    shown = _read_groups(submission, case, footer, chosen)
    if isinstance(shown, Refusal):
        return case.refuse(shown)
    fault = next(_find_structural_faults(case, shown), None)
    return Examined(case, shown) if fault is None else case.refuse(fault)


@dataclass(frozen=True, slots=True)
class Examined:
    """A submission that only the model could still refuse."""

    case: "_Case"
    shown: dict[int, Group]  # audited group's index → its rollouts, ascending

    def accept(self) -> Verdict:
        """The verdict where the model finds nothing. Runs the reward code."""
        case = self.case
        values = tuple(case.value_group(index, group) for index, group in self.shown.items())
        return Verdict(
            window=case.context.window,
            hotkey=case.hotkey,
            reason=Reason.ACCEPTED,
            detail=f"{len(values)} of {case.committed_groups} groups judged, all genuine",
            committed_groups=case.committed_groups,
            groups=values,
            tokens=sum(len(row.tokens) for group in self.shown.values() for row in group),
        )


@dataclass(frozen=True, slots=True)
class _Case:
    """Everything that judging one submission refers to."""

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

    def value_group(self, index: int, group: Group) -> GroupValue:
        """Rewards and value of a group that has passed every test."""
        weights = get_weights(self.context.parameters.environment)
        problem = self.make_problem(index)
        rewards = tuple(
            compute_reward(
                self.environment.score(problem, self.tokenizer.decode(rollout.tokens.tolist())),
                weights,
            )
            for rollout in group
        )
        work = sum(len(rollout.tokens) for rollout in group) + len(
            self.tokenizer.encode(problem.prompt)
        )
        mean = sum(rewards) // len(rewards)
        return GroupValue(index, compute_value(self.context.parameters.work, work, mean), rewards)

    def make_problem(self, index: int) -> Problem:
        seed = compute_problem_seed(self.context.challenge_seed, self.hotkey, index)
        return self.environment.make_problem(seed, self.manifest.levels)

    def make_projection(self, validator: bytes | None) -> Projection:
        """The sketch's two columns, and the witness's two where a validator is named."""
        context = self.context
        seed = compute_projection_seed(context.challenge_seed)
        projection = make_projection(seed, self.manifest)
        if validator is None:
            return projection
        seed = compute_witness_seed(context.audit_seed, validator)
        return join_projections(projection, make_projection(seed, self.manifest))


def find_commitment(context: Context, hotkey: bytes) -> Committed | Refusal:
    """What a hotkey committed to, or why nothing of it needs to be fetched."""
    if hotkey not in context.members:
        return Refusal(
            Reason.NOT_REGISTERED,
            "the hotkey did not hold a uid at both the window's first and its commitment block",
        )
    committed = context.commitments.get(hotkey)
    if committed is None:
        return Refusal(
            Reason.NO_COMMITMENT, "no commitment to this window stood in state at its block"
        )
    cap = context.parameters.work.group_cap
    if committed.groups > cap:
        return Refusal(
            Reason.TOO_LARGE, f"{committed.groups} groups committed, {cap} are the most allowed"
        )
    if committed.groups == 0:
        return Refusal(Reason.MALFORMED, "the commitment names no group")
    return committed


def _read_footer(
    submission: SubmissionReader, case: _Case, committed: Committed
) -> Footer | Refusal:
    """The footer, its header and root checked; the checkpoint last."""
    footer = submission.read_footer()
    if isinstance(footer, Refusal):
        return replace(footer, unbound=True)
    fault = _find_footer_fault(footer, case, committed)
    if fault is None:
        return footer
    return replace(fault, unbound=not is_committed(footer, committed.root))


def _find_footer_fault(footer: Footer, case: _Case, committed: Committed) -> Refusal | None:
    try:
        header = decode(Header, footer.header)
    except EncodingError as error:
        return Refusal(Reason.MALFORMED, f"the header {error}")
    if len(footer.leaves) != header.groups:
        return Refusal(
            Reason.MALFORMED,
            f"the footer has {len(footer.leaves)} leaves where its header says {header.groups}",
        )
    context = case.context
    for name, found, wanted in (
        ("version", header.version, PROTOCOL_VERSION),
        ("parameters digest", header.parameters, context.parameters.digest),
        ("window", header.window, context.window),
        ("hotkey", header.hotkey, case.hotkey),
        ("number of groups", header.groups, committed.groups),
    ):
        if found != wanted:
            return Refusal(Reason.WRONG_HEADER, f"the header's {name} is not that of this window")
    if compute_submission_root(header, footer.leaves) != committed.root:
        return Refusal(Reason.ROOT_MISMATCH, "the footer's root is not the one committed")
    if header.checkpoint != context.checkpoint:
        return Refusal(
            Reason.WRONG_CHECKPOINT, "the work is for another checkpoint than the one in force"
        )
    return None


def _choose(context: Context, hotkey: bytes, count: int, groups: Sequence[int] | None) -> Selection:
    if groups is not None:
        if not groups or not 0 <= min(groups) <= max(groups) < count:
            raise ValueError(f"groups to judge are some of 0 to {count - 1}")
        return Selection(tuple(sorted(set(groups))), ())
    return select_committed(context, hotkey, count)


def _read_groups(
    submission: SubmissionReader, case: _Case, footer: Footer, chosen: Selection
) -> dict[int, Group] | Refusal:
    """The audited groups decoded; of the sampled ones only the leaf is compared."""
    size = case.context.parameters.work.group_size
    shown: dict[int, Group] = {}
    for index in sorted(chosen.audited + chosen.sampled):
        data = submission.read_group(index)
        if isinstance(data, Refusal):
            return replace(data, group=index, unbound=True)
        try:
            rows = split_rows(data, size)
            group = [decode_rollout(row) for row in rows]
        except EncodingError as error:
            bound = is_group_committed(footer, index, data, size)
            detail = f"group {index} {error}"
            return Refusal(Reason.MALFORMED, detail, index, unbound=not bound)
        if compute_group_leaf(index, rows) != footer.leaves[index]:
            detail = f"group {index} is not the one committed"
            return Refusal(Reason.ROOT_MISMATCH, detail, index, unbound=True)
        if index in chosen.audited:
            shown[index] = group
    return shown


def _find_structural_faults(case: _Case, shown: dict[int, Group]) -> Iterator[Refusal]:
    """Tokens first, for all groups; then how each completion ends."""
    drawable = case.tokenizer.drawable
    each = [(g, r, rollout) for g, group in shown.items() for r, rollout in enumerate(group)]
    for g, r, rollout in each:
        known = np.minimum(rollout.tokens, len(drawable) - 1)
        bad = (rollout.tokens >= len(drawable)) | ~drawable[known]
        if bad.any():
            t = int(bad.argmax())
            detail = f"token {rollout.tokens[t]} is not one the model may draw"
            yield Refusal(Reason.TOKEN_OUT_OF_RANGE, detail, g, r, t)
    longest = case.manifest.max_tokens
    is_end = np.zeros(len(drawable), bool)
    is_end[[end for end in case.manifest.end_tokens if end < len(drawable)]] = True
    for g, r, rollout in each:
        ends = is_end[rollout.tokens]
        count = len(rollout.tokens)
        stop = min(int(ends.argmax()) + 1, longest) if ends.any() else longest
        if count != stop:
            detail = (
                f"the completion has {count} tokens, but ends at its first end token or at "
                f"{longest} tokens: {stop}"
            )
            yield Refusal(Reason.WRONG_TERMINATION, detail, g, r, min(count, stop) - 1)
