"""The judge: one submission and one forward pass in, one verdict out.

No I/O of its own, no clock, no globals, no torch. Checks run cheapest first and the first that
fails decides; no reward code runs before the sampling test has passed. Nothing a miner sends
raises: what does raise is our own fault. Specification, sections 5, 6, 8 and 9.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from assay.environments import Environment, compute_reward, get_weights, open_environment
from assay.protocol.context import Committed, Context
from assay.protocol.encoding import EncodingError, decode
from assay.protocol.gumbel import FRACTION_BITS
from assay.protocol.manifest import Calibration, Manifest
from assay.protocol.parameters import PROTOCOL_VERSION
from assay.protocol.reason import Reason, Refusal
from assay.protocol.seeds import (
    compute_problem_seed,
    compute_projection_seed,
    compute_rollout_seed,
)
from assay.protocol.selection import Selection, select_groups, select_positions
from assay.protocol.submission import (
    Footer,
    Header,
    Rollout,
    compute_group_leaf,
    compute_submission_root,
    decode_rollout,
    split_rows,
)
from assay.verification.ledger import Ledger
from assay.verification.logprobs import judge_logprobs
from assay.verification.ports import Forward, Measurement, Projection, SubmissionReader, Tokenizer
from assay.verification.sampling import judge_sampling
from assay.verification.settlement import compute_value
from assay.verification.sketch import judge_sketch, make_projection
from assay.verification.verdict import GroupValue, Statistics, Verdict

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
    groups: Sequence[int] | None = None,
) -> tuple[Verdict, Ledger]:
    """Judges one hotkey's submission to one window.

    Args:
        submission: the file, read in parts; asked for the footer and the chosen groups only.
        context: the window's public facts, its audit beacon known.
        tokenizer, forward, calibration, manifest: of the checkpoint the context names.
        ledger: evidence so far in this settlement.
        groups: indices to judge instead of the audit's choice; a trainer judges all it learns from.

    Returns:
        The verdict, and the ledger after it.

    Raises:
        ValueError: our own fault: checkpoint, environment or context do not belong together.
    """
    if manifest.digest != context.checkpoint:
        raise ValueError("the manifest is not that of the context's checkpoint")
    if calibration.digest != manifest.calibration:
        raise ValueError("the calibration is not the one the manifest names")
    case = _Case(
        hotkey,
        context,
        tokenizer,
        forward,
        calibration,
        manifest,
        open_environment(context.parameters.environment),
    )
    committed = _find_commitment(context, hotkey)
    if isinstance(committed, Refusal):
        return case.refuse(committed), ledger
    case = replace(case, committed_groups=committed.groups)
    footer = _read_footer(submission, case, committed)
    if isinstance(footer, Refusal):
        return case.refuse(footer), ledger
    chosen = _choose(context, hotkey, committed.groups, groups)
    shown = _read_groups(submission, case, footer, chosen)
    if isinstance(shown, Refusal):
        return case.refuse(shown), ledger
    fault = next(_find_structural_faults(case, shown), None)
    if fault is not None:
        return case.refuse(fault), ledger
    statistics, fault = _verify(case, shown)
    ledger = ledger.add(sum(len(group) for group in shown.values()))
    if fault is not None:
        return replace(case.refuse(fault), statistics=statistics), ledger
    return case.accept(shown, statistics), ledger


@dataclass(frozen=True, slots=True)
class _Case:
    """Everything that judging one submission refers to."""

    hotkey: bytes
    context: Context
    tokenizer: Tokenizer
    forward: Forward
    calibration: Calibration
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
        )

    def accept(self, shown: dict[int, Group], statistics: Statistics) -> Verdict:
        values = tuple(self.value_group(index, group) for index, group in shown.items())
        tokens = sum(len(rollout.tokens) for group in shown.values() for rollout in group)
        return Verdict(
            window=self.context.window,
            hotkey=self.hotkey,
            reason=Reason.ACCEPTED,
            detail=f"{len(values)} of {self.committed_groups} groups judged, all genuine",
            committed_groups=self.committed_groups,
            statistics=statistics,
            groups=values,
            tokens=tokens,
        )

    def value_group(self, index: int, group: Group) -> GroupValue:
        """Rewards and value of a group that has passed every test."""
        weights = get_weights(self.context.parameters.environment)
        problem = self.environment.make_problem(self.problem_seed(index), self.manifest.levels)
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

    def problem_seed(self, index: int) -> bytes:
        return compute_problem_seed(self.context.challenge_seed, self.hotkey, index)

    def measure(self, index: int, group: Group, projection: Projection) -> list[Measurement]:
        """The forward pass over one group."""
        problem = self.environment.make_problem(self.problem_seed(index), self.manifest.levels)
        seed = self.context.challenge_seed
        return self.forward.measure(
            self.tokenizer.encode(problem.prompt),
            [rollout.tokens for rollout in group],
            [compute_rollout_seed(seed, self.hotkey, index, r) for r in range(len(group))],
            projection,
        )


def _find_commitment(context: Context, hotkey: bytes) -> Committed | Refusal:
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
        return footer
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
    return footer


def _choose(context: Context, hotkey: bytes, count: int, groups: Sequence[int] | None) -> Selection:
    if groups is not None:
        if not groups or not 0 <= min(groups) <= max(groups) < count:
            raise ValueError(f"groups to judge are some of 0 to {count - 1}")
        return Selection(tuple(sorted(set(groups))), ())
    work = context.parameters.work
    return select_groups(
        context.audit_seed, hotkey, count, work.audited_groups, work.sampled_groups
    )


def _read_groups(
    submission: SubmissionReader, case: _Case, footer: Footer, chosen: Selection
) -> dict[int, Group] | Refusal:
    """The audited groups decoded; of the sampled ones only the leaf is compared."""
    size = case.context.parameters.work.group_size
    shown: dict[int, Group] = {}
    for index in sorted(chosen.audited + chosen.sampled):
        data = submission.read_group(index)
        if isinstance(data, Refusal):
            return replace(data, group=index)
        try:
            rows = split_rows(data, size)
            group = [decode_rollout(row) for row in rows]
        except EncodingError as error:
            return Refusal(Reason.MALFORMED, f"group {index} {error}", index)
        if compute_group_leaf(index, rows) != footer.leaves[index]:
            return Refusal(Reason.ROOT_MISMATCH, f"group {index} is not the one committed", index)
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
    for g, r, rollout in each:
        ends = np.isin(rollout.tokens, case.manifest.end_tokens)
        count = len(rollout.tokens)
        stop = min(int(ends.argmax()) + 1, longest) if ends.any() else longest
        if count != stop:
            detail = (
                f"the completion has {count} tokens, but ends at its first end token or at "
                f"{longest} tokens: {stop}"
            )
            yield Refusal(Reason.WRONG_TERMINATION, detail, g, r, min(count, stop) - 1)


def _verify(case: _Case, shown: dict[int, Group]) -> tuple[Statistics, Refusal | None]:
    """Forward pass group by group: sketch, log-probabilities, then sampling, of all its rollouts.

    The appeal (a rejection confirmed by a second prefill) has its place here, after the first
    refusal: specification, section 5.
    """
    projection = make_projection(
        compute_projection_seed(case.context.challenge_seed), case.manifest
    )
    statistics = Statistics()
    for index, group in shown.items():
        measured = case.measure(index, group, projection)
        for found, fault in (
            _check_sketches(case, index, group, measured),
            _check_logprobs(case, index, group, measured),
            _check_sampling(case, index, measured),
        ):
            statistics = statistics.merge(found)
            if fault is not None:
                return statistics, fault
    return statistics, None


def _check_sketches(
    case: _Case, index: int, group: Group, measured: list[Measurement]
) -> tuple[Statistics, Refusal | None]:
    statistics = Statistics()
    for r, (rollout, measurement) in enumerate(zip(group, measured, strict=True)):
        result = judge_sketch(rollout.sketch, measurement.sketch, case.context.parameters.tests)
        statistics = statistics.merge(Statistics(sketch_mean=result.mean))
        if result.token is not None:
            detail = (
                f"the sketch differs by {result.mean:.2f} a token from the checkpoint's own "
                "hidden states"
            )
            return statistics, Refusal(Reason.SKETCH_MISMATCH, detail, index, r, result.token)
    return statistics, None


def _check_logprobs(
    case: _Case, index: int, group: Group, measured: list[Measurement]
) -> tuple[Statistics, Refusal | None]:
    statistics = Statistics()
    seed = case.context.audit_seed
    for r, (rollout, measurement) in enumerate(zip(group, measured, strict=True)):
        positions = select_positions(seed, case.hotkey, index, r, len(rollout.tokens))
        result = judge_logprobs(
            rollout.logprobs, measurement.logprobs, positions, case.context.parameters.tests
        )
        statistics = statistics.merge(Statistics(logprob_rms=result.rms))
        if result.token is not None:
            detail = "a log-probability is not the checkpoint's own"
            return statistics, Refusal(Reason.LOGPROB_MISMATCH, detail, index, r, result.token)
    return statistics, None


def _check_sampling(
    case: _Case, index: int, measured: list[Measurement]
) -> tuple[Statistics, Refusal | None]:
    statistics = Statistics()
    parameters = case.context.parameters
    for r, measurement in enumerate(measured):
        result = judge_sampling(
            measurement.margins,
            measurement.gini,
            case.calibration,
            parameters.tests,
            parameters.work.temperature,
        )
        statistics = statistics.merge(
            Statistics(margin_max=result.margin_max, log_capital=result.log_capital)
        )
        if result.token is not None:
            margin = measurement.margins[result.token] / (1 << FRACTION_BITS)
            detail = (
                f"token {result.token} is not the model's keyed draw: another id scores "
                f"{margin:.4f} logits higher"
            )
            return statistics, Refusal(Reason.SAMPLING_MISMATCH, detail, index, r, result.token)
    return statistics, None
