"""The judge: one checked submission and one forward pass in, one verdict out.

It does no I/O of its own and uses no clock, no globals and no torch. Checks run cheapest first, and
the first failure decides. No reward code runs before the sampling test has passed, and no world
but those that reply in audited rollouts. Nothing that a miner sends raises an exception: an
exception is our own fault. Specification, sections 5, 6, 8 and 9.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import chain, islice
from typing import TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from assay.environments import (
    Environment,
    Problem,
    RewardParts,
    compute_reward,
    make_miner_problem,
    open_environment_of,
    run_all,
)
from assay.protocol.context import Context
from assay.protocol.encoding import EncodingError
from assay.protocol.episode import Reply, find_stop
from assay.protocol.manifest import Calibration, Manifest
from assay.protocol.reason import Reason, Refusal
from assay.protocol.seeds import compute_projection_seed, compute_witness_seed
from assay.protocol.submission import (
    Rollout,
    are_ids_canonical,
    decode_ids,
    decode_proof,
    get_id_bits,
)
from assay.verification.episodes import (
    Episode,
    Place,
    Replays,
    Tokens,
    begin_episode,
    make_episode_rules,
)
from assay.verification.ports import Forward, Projection, Tokenizer
from assay.verification.read_plan import CheckedSubmission, Purpose, ReadGroup, find_width_fault
from assay.verification.seat_ledger import Ledger
from assay.verification.settlement import compute_value
from assay.verification.sketch import join_projections, make_projection
from assay.verification.trial import Trial
from assay.verification.verdict import GroupValue, Verdict


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredGroup:
    """A group as the forward pass has measured it: what a trainer learns from."""

    index: int
    prompt: tuple[int, ...]  # token ids
    tokens: tuple[Tokens, ...]  # of each audited rollout, ascending: its own tokens
    replies: tuple[tuple[Reply, ...], ...]  # of the same
    #: of the same: uint32 [T], −ln p of each token by the checkpoint, 2^-16 nats, at most 24 bits
    logprobs: tuple[NDArray[np.uint32], ...]


@dataclass(frozen=True, slots=True)
class JudgeResult:
    """The verdict on a submission, and what else judging it has brought.

    Attributes:
        ledger: afterwards. Unchanged if the audit refuses the submission.
        measured: the groups of an accepted submission, ascending, if they were asked for.
        left_out: the faults of groups that were left out, ascending. An accepted verdict is on the
            other groups.
    """

    verdict: Verdict
    ledger: Ledger
    measured: tuple[MeasuredGroup, ...] = ()
    left_out: tuple[Refusal, ...] = ()


class MeasureOptions(TypedDict, total=False):
    """Options of `judge`.

    Attributes:
        appeal: another implementation of the reference, which measures again before a rejection is
            final. Without one, the first rejection is final.
        validator: the hotkey that judges, for the verdict's witness; None: no witness.
        samples: what a plan of the same file's samples has read, which are checked last; None: not
            known yet, and the verdict on an audit is provisional.
        hand_out: whether to return the measured groups, too.
    """

    samples: CheckedSubmission | None
    appeal: Forward | None
    validator: bytes | None
    hand_out: bool


def judge(
    submission: CheckedSubmission,
    tokenizer: Tokenizer,
    forward: Forward,
    calibration: Calibration,
    ledger: Ledger,
    *,
    manifest: Manifest,
    pool: bytes = b"",
    **options: Unpack[MeasureOptions],
) -> JudgeResult:
    """Judge one submission to one window.

    Args:
        submission: the result of a finished plan, of an audit or of groups. It names hotkey and
            context, whose audit beacon is known.
        tokenizer, forward, calibration, manifest, pool: of the checkpoint that the context names;
            the pool's bytes, none where its manifest names no pool.
        ledger: evidence so far in this settlement.

    Raises:
        ValueError: our own fault: checkpoint, environment or context do not belong together.
    """
    if calibration.digest != manifest.calibration:
        raise ValueError("the calibration is not the one the manifest names")
    examined = examine(submission, tokenizer, manifest=manifest, pool=pool)
    if isinstance(examined, Verdict):
        return JudgeResult(examined, ledger, left_out=submission.left_out)
    return measure(examined, forward, calibration, ledger, **options)


def examine(
    submission: CheckedSubmission, tokenizer: Tokenizer, *, manifest: Manifest, pool: bytes = b""
) -> "Verdict | Examined":
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
    case = _Case(submission.hotkey, context, tokenizer, manifest, environment, committed)
    id_bits = get_id_bits(len(tokenizer.drawable))
    fault = submission.refusal
    if submission.opening is not None:  # the header is checked before any group
        fault = find_width_fault(submission.opening, id_bits) or fault
    if fault is not None:
        return case.refuse(fault)
    if submission.leave_out:
        kept, left_out = _sift(case, submission, id_bits)
        return Examined(case, kept, audit=False, leave_out=submission.leave_out, left_out=left_out)
    groups = _decode(submission.groups, id_bits)
    if isinstance(groups, Refusal):
        return case.refuse(groups)
    fault = next(_find_structural_faults(case, groups), None)
    audit = submission.purpose is Purpose.AUDIT
    return Examined(case, groups, audit) if fault is None else case.refuse(fault)


def measure(
    examined: "Examined",
    forward: Forward,
    calibration: Calibration,
    ledger: Ledger,
    **options: Unpack[MeasureOptions],
) -> JudgeResult:
    """The rest of `judge` after `examine`: the model's tests, and then the reward code."""
    case, samples = examined.case, options.get("samples")
    hand_out = options.get("hand_out", False)
    if calibration.digest != case.manifest.calibration:
        raise ValueError("the calibration is not the one the manifest names")
    if samples is not None and not examined.is_sampled_by(samples):
        raise ValueError("the samples are not those of the submission")
    if not examined.leave_out:  # else each is made when its group is judged
        case.make_problems([group.index for group in examined.shown])
    replays = case.make_replays()
    trial = Trial(
        case.hotkey,
        case.context,
        calibration,
        case.make_projection(options.get("validator")),
        case.encode_prompt,
        forward,
        options.get("appeal"),
        replays,
        keeps_logprobs=hand_out,
    )
    if examined.leave_out:
        examined, fault, ledger = _measure_each(examined, trial, replays, ledger)
    else:
        fault, ledger = _try(examined, trial, replays, ledger)
    if fault is None and samples is not None:
        fault = samples.refusal
    verdict = examined.accept(replays) if fault is None else case.refuse(fault)
    verdict = replace(
        verdict,
        provisional=fault is None and examined.audit and samples is None,
        statistics=trial.statistics,
        witness=trial.witness,
    )
    measured = examined.collect(trial, replays) if hand_out and fault is None else ()
    return JudgeResult(verdict, ledger, measured, examined.left_out)


def _try(
    examined: "Examined", trial: Trial, replays: Replays, ledger: Ledger
) -> tuple[Refusal | None, Ledger]:
    """The first fault that the model or a world finds, or the ledger with every audited rollout
    entered."""
    fault, after = trial.process(examined.get_batches(), ledger)
    if fault is None:
        fault = examined.find_ending_fault(replays)
    return fault, after if fault is None else ledger


def _measure_each(
    examined: "Examined", trial: Trial, replays: Replays, ledger: Ledger
) -> tuple["Examined", Refusal | None, Ledger]:
    """Judge each group by itself, and leave out those with a fault.

    Returns:
        The submission with the groups that are left; the fault that refuses all of it: one too
        many, or the last one where no group is left; the ledger with the groups that are left.
    """
    kept, left_out = [], list(examined.left_out)
    for group in examined.shown:
        if len(left_out) > examined.leave_out:
            break
        fault, ledger = _try(replace(examined, shown=[group]), trial, replays, ledger)
        if fault is None:
            kept.append(group)
        else:
            left_out.append(fault)
    refused = len(left_out) > examined.leave_out or not kept
    fault = left_out[-1] if refused else None
    left_out.sort(key=lambda left: -1 if left.group is None else left.group)
    return replace(examined, shown=kept, left_out=tuple(left_out)), fault, ledger


def conclude(verdict: Verdict, fault: Refusal | None) -> Verdict:
    """A provisional verdict once its samples are known: accepted for good, or refused for the fault
    in them."""
    if fault is None:
        return replace(verdict, provisional=False)
    return replace(
        verdict,
        reason=fault.reason,
        detail=fault.detail,
        group=fault.group,
        rollout=fault.rollout,
        token=fault.token,
        groups=(),
        tokens=0,
        rollouts=0,
        turns=0,
        replies=0,
        broken=0,
        unbound=fault.unbound,
        provisional=False,
    )


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
    audit: bool  # the audit's selection; else its reader's
    leave_out: int = 0  # see `plan_groups`
    left_out: tuple[Refusal, ...] = ()  # the faults of groups that were left out

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

    def accept(self, replays: Replays) -> Verdict:
        """The verdict where neither the model nor a world finds a fault. Runs the reward code."""
        case = self.case
        values = case.value_groups([group for group in self.shown if group.valued], replays)
        audited = self.audited
        turns, replies, broken = replays.count(audited)
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
            tokens=sum(map(len, audited.values())),
            rollouts=len(audited),
            turns=turns,
            replies=replies,
            broken=broken,
        )

    def is_sampled_by(self, samples: CheckedSubmission) -> bool:
        """Return whether these are the samples of the audited file."""
        of = samples.hotkey, samples.context.window
        return (
            self.audit
            and samples.purpose is Purpose.SAMPLES
            and of == (self.case.hotkey, self.context.window)
        )

    def collect(self, trial: Trial, replays: Replays) -> tuple[MeasuredGroup, ...]:
        """The measured groups. The trial has kept their log-probabilities."""
        return tuple(
            MeasuredGroup(
                group.index,
                tuple(self.case.encode_prompt(group.index)),
                tuple(rollout.tokens for rollout in group.audited.values()),
                _list_replies(group, replays),
                tuple(trial.logprobs[group.index, r] for r in group.audited),
            )
            for group in self.shown
        )


@dataclass(frozen=True, slots=True)
class _Asked:
    """A group's problem, and the ids of its prompt."""

    problem: Problem
    prompt: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """The inputs of judging one submission, and the problems that it has needed so far: each is
    made once, since in a sandbox it takes milliseconds to seconds."""

    hotkey: bytes
    context: Context
    tokenizer: Tokenizer
    manifest: Manifest
    environment: Environment
    committed_groups: int
    asked: dict[int, _Asked] = field(default_factory=dict)

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

    def value_groups(
        self, groups: Sequence[ShownGroup], replays: Replays
    ) -> tuple[GroupValue, ...]:
        """Rewards and values of groups that have been read whole. All are scored together, so that
        they share the cores."""
        rollouts = {
            (group.index, r): tokens
            for group in groups
            for r, tokens in sorted(group.tokens.items())
        }
        episodes = replays.play(rollouts)
        scores = run_all(self.environment, [episode.state.score for episode in episodes])
        results = zip(episodes, scores, strict=True)
        return tuple(
            self._value_group(group, list(islice(results, len(group.tokens)))) for group in groups
        )

    def make_replays(self) -> Replays:
        """The submission's episodes, none of which is replayed yet."""
        rules = make_episode_rules(self.context.parameters.work, self.manifest)
        return Replays(self.environment, cache(self._begin), rules, self.tokenizer)

    def _begin(self, index: int) -> Episode:
        asked = self._ask(index)
        return begin_episode(self.environment, asked.problem, len(asked.prompt))

    def _value_group(
        self, group: ShownGroup, results: Sequence[tuple[Episode, RewardParts]]
    ) -> GroupValue:
        parameters = self.context.parameters
        rewards = tuple(
            compute_reward(parts, episode.own, parameters.rewards, parameters.work.max_tokens)
            for episode, parts in results
        )
        correctness = tuple(parts.correctness for _, parts in results)
        value = compute_value(
            parameters.work,
            lengths=[episode.own for episode, _ in results],
            replies=[episode.reply_tokens for episode, _ in results],
            prompt_tokens=len(self.encode_prompt(group.index)),
            mean_reward=sum(rewards) // len(rewards),
            mean_correctness=sum(correctness) // len(correctness),
        )
        return GroupValue(group.index, value, rewards, correctness, tuple(group.audited))

    def make_problems(self, indices: Sequence[int]) -> None:
        """Make the problems of groups together, so that they share the cores."""
        made = run_all(self.environment, [partial(self._make, index) for index in indices])
        self.asked.update(zip(indices, made, strict=True))

    def make_problem(self, index: int) -> Problem:
        return self._ask(index).problem

    def encode_prompt(self, index: int) -> list[int]:
        return self._ask(index).prompt

    def _ask(self, index: int) -> _Asked:
        if index not in self.asked:
            self.asked[index] = self._make(index)
        return self.asked[index]

    def _make(self, index: int) -> _Asked:
        seed, levels = self.context.challenge_seed, self.manifest.levels
        problem = make_miner_problem(self.environment, seed, self.hotkey, index, levels)
        return _Asked(problem, self.tokenizer.encode(problem.conversation))

    def make_projection(self, validator: bytes | None) -> Projection:
        """The sketch's two columns, and the witness's two where there is a validator."""
        context = self.context
        seed = compute_projection_seed(context.challenge_seed)
        projection = make_projection(seed, self.manifest)
        if validator is None:
            return projection
        seed = compute_witness_seed(context.audit_seed, validator)
        return join_projections(projection, make_projection(seed, self.manifest))


def _list_replies(group: ShownGroup, replays: Replays) -> tuple[tuple[Reply, ...], ...]:
    """Those of the audited rollouts of a group that has been tried."""
    listed = replays.list_replies([(group.index, r) for r in group.audited])
    return ((),) * len(group.audited) if listed is None else tuple(listed)


def _decode(read: Sequence[ReadGroup], id_bits: int) -> list[ShownGroup] | Refusal:
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


def _sift(
    case: _Case, submission: CheckedSubmission, id_bits: int
) -> tuple[list[ShownGroup], tuple[Refusal, ...]]:
    """The groups without a fault, each decoded by itself, and the faults of the others: with those
    of the reading, one more than may be left out at most."""
    groups: list[ShownGroup] = []
    faults = list(submission.left_out)
    for one in submission.groups:
        if len(faults) > submission.leave_out:
            break
        shown = _decode([one], id_bits)
        if isinstance(shown, Refusal):
            faults.append(shown)
            continue
        fault = next(_find_structural_faults(case, shown), None)
        if fault is None:
            groups += shown
        else:
            faults.append(fault)
    return groups, tuple(faults)


def _find_structural_faults(case: _Case, groups: Sequence[ShownGroup]) -> Iterator[Refusal]:
    """Faults of tokens first, in all completions that were read; then faults of how each one
    ends."""
    drawable = case.tokenizer.drawable
    each = [(group.index, r, tokens) for group in groups for r, tokens in group.tokens.items()]
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
    turns = case.context.parameters.work.turns
    for g, r, tokens in each:
        count, stop = len(tokens), find_stop(is_end[tokens], turns, longest)
        if count != stop:
            detail = (
                f"the completion has {count} tokens, but ends with an end token, at the latest "
                f"that of its {turns}. turn, or at {longest} tokens: {stop}"
            )
            yield Refusal(Reason.WRONG_TERMINATION, detail, g, r, min(count, stop) - 1)
