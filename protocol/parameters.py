"""The parameters of one network: everything on which all miners and validators must agree.

All of them are consensus. Their digest is part of every seed, so two programs that differ in one
value are on different networks and refuse each other's work. Real quantities are integers in the
units that their comments state. Specification, section 0.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Annotated

from assay.protocol.beacon import BeaconChain
from assay.protocol.encoding import (
    I64,
    U8,
    U16,
    U32,
    U64,
    Choice,
    Digest,
    EncodingError,
    FixedBytes,
    Integer,
    Json,
    Last,
    Many,
    Marked,
    Prefixed,
    Record,
    encode,
    from_json,
    read_json,
)
from assay.protocol.encoding import to_json as _to_json
from assay.protocol.hashing import ZERO_DIGEST, Domain, hash_fields

#: Fraction bits of every logit, margin and Gumbel value.
FRACTION_BITS = 20
PROTOCOL_VERSION = 4
#: Fraction bits of a manifest's μ and scale.
CENTRE_BITS = 16
#: Fraction bits of the number of experts that a token needs.
EXPERT_BITS = 10
MILLION = 1_000_000
#: The setting of an environment, or of a mixture's part, that says how many millions of counted
#: units the scoring of one completion may take. An environment that runs code from completions has
#: it.
UNITS = "units"
#: The same of the calls of a tool, beside it.
TOOL_UNITS = "tool_units"
#: The part of a mixture whose answers become problems: a function of one line of steps.
PROPOSE = "propose"
#: The reference machine: millions of units a second, by its 32 cores. It must be able to score what
#: all hotkeys show in a window within 1/`SCORING_SHARE` of the window's time.
SCORING_RATE, SCORING_SHARE = 32 * 2_000, 2
#: Largest bound on a level's weight: with those of a mixture's parts, all shares fit 64 bits.
WEIGHT_MAX = 64_000
#: Of a checkpoint's problems the first of so many is answered by the first checkpoint, too.
GATE_PART = 4
#: Most problems of a checkpoint, and most checkpoints of a course under `better`.
GATE_PROBLEMS_MAX, GATE_CHECKPOINTS_MAX = 1_024, 1_000
#: Hotkeys of a subnet at most.
SEATS_MAX = 256
#: Most trainers of a network with rounds.
TRAINERS_MAX = 16

#: Most bytes of all records of prompts together, as they are encoded.
PROMPTS_MAX = 64 << 10

Name = Annotated[str, Prefixed(128, text=True)]
Text = Annotated[str, Prefixed(PROMPTS_MAX, text=True)]


@dataclass(frozen=True, slots=True)
class Setting:
    """One named integer of an environment's settings."""

    name: Name
    value: I64


@dataclass(frozen=True, slots=True)
class PromptText:
    """One named text of an owner: a name of `PROMPT_TEXTS`."""

    name: Name
    text: Text


@dataclass(frozen=True, slots=True)
class Shot:
    """A problem with its answer, which the model sees before each problem."""

    question: Text
    answer: Text


@dataclass(frozen=True, slots=True)
class Prompts:
    """How the problems of one part of the environment are put (section 3)."""

    part: Name  # of a mixture, or the environment itself: its name
    texts: Annotated[tuple[PromptText, ...], Many(Record(PromptText), 16)] = ()  # sorted by name
    shots: Annotated[tuple[Shot, ...], Many(Record(Shot), 64)] = ()  # few-shot examples, in order

    def get(self, name: str) -> str | None:
        """A text by its name; None: the owner has none, which an empty one is not."""
        return next((one.text for one in self.texts if one.name == name), None)


#: The names of texts: `system` message; words `before` and `after` the problem, in place of the
#: environment's own; `arguments` of the chat template, as JSON; the frame of a world's replies
#: (section 3.1).
PROMPT_TEXTS = (
    "after",
    "arguments",
    "before",
    "reply_after",
    "reply_before",
    "reply_form",
    "system",
)
ARGUMENTS = "arguments"
#: The texts that stand around each reply of a world, and the most bytes of each.
REPLY_BEFORE, REPLY_AFTER = "reply_before", "reply_after"
FRAME_MAX = 1_024
#: How the content of a reply is written, other than as it is: as a JSON string.
REPLY_FORM, REPLY_JSON = "reply_form", "json"
#: Most bytes of a reply's content that parameters may allow, and most tokens of a group with its
#: prompts and replies.
REPLY_BYTES_MAX = 1 << 16
GROUP_CONTEXT_MAX = 1 << 24
#: Arguments that are not a template's own: what it always sees, and what it may call.
_TAKEN = frozenset(
    {"messages", "add_generation_prompt", "tools", "documents", "namespace", "raise_exception"}
    | {"range", "strftime_now", "self", "super", "loop", "caller", "true", "false", "none"}
)
_ARGUMENT = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class EnvironmentChoice:
    """The problems that are asked."""

    name: Name
    settings: Annotated[tuple[Setting, ...], Many(Record(Setting), 256)]  # sorted by name
    #: of the environment's name, version, settings and prompts, as its code computes it
    digest: Digest
    #: sorted by part
    prompts: Annotated[tuple[Prompts, ...], Many(Record(Prompts), 16)] = ()


@dataclass(frozen=True, slots=True)
class Rewards:
    """The worth of an answer (section 9): the shares of its parts, and the cost of its length."""

    correctness_weight: U32 = 800_000  # millionths of the reward, for an answer that is right
    quality_weight: U32 = 200_000  # millionths of the reward, for the steps before it
    satisfaction_weight: U32 = 0  # millionths of the reward, for the share of parts that it meets
    format_weight: U32 = 0  # millionths of the reward, for an answer that can be read
    satisfaction_floor: U32 = 0  # millionths: a share of parts up to it earns nothing
    #: millionths of its reward that a completion of max_tokens tokens loses; fewer tokens lose in
    #: proportion
    length_penalty: U32 = 0
    overlong_tokens: U32 = 0  # the last tokens before max_tokens: there the overlong penalty grows
    #: millionths of its reward that a completion of max_tokens tokens loses beside
    overlong_penalty: U32 = 0


@dataclass(frozen=True, slots=True)
class Steering:
    """How the weights of levels follow held-out success (section 11), in thousandths."""

    success_low: U32  # a level with less success counts as one that teaches nothing
    success_high: U32  # the same for more success
    weight_min: U32  # least weight of a level; 1000 is that of the start
    weight_max: U32  # largest weight of a level
    weight_step: U32  # most that a checkpoint may change a weight by, of itself; 0: weights stay


#: What a network has unless its owner wants otherwise.
STEERING = Steering(
    success_low=50, success_high=950, weight_min=250, weight_max=4_000, weight_step=200
)


@dataclass(frozen=True, slots=True)
class Identity:
    """The network's identity, and who may speak for it."""

    version: U16  # 4
    genesis_hash: Digest  # of the chain
    netuid: U16
    owner_uid: U16  # takes the burn share
    burn_share: U32  # millionths of every settlement
    trainer: Digest  # hotkey that publishes checkpoints
    genesis_checkpoint: Digest  # in force until the trainer has published one
    #: hotkey whose slot names amendments; zeros: the one that the chain calls the subnet's owner
    amender: Digest = ZERO_DIGEST


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of a window, in blocks after its first block unless said otherwise."""

    window_blocks: U32  # L: a window starts at every multiple of it
    commit_offset: U32  # the commitment is read from state at exactly this block
    audit_offset: U32  # this block's beacon round chooses the audited rollouts
    sample_offset: U32  # this block's beacon round chooses the sampled rollouts
    fetch_end: U32  # last block at which a file may be fetched from its miner
    mirror_end: U32  # last block at which it may be fetched from a mirror
    verdict_end: U32  # the block from which on verdicts are final
    checkpoint_lead: U32  # blocks *before* the window at which its checkpoint is read
    slot_ms: U32  # the chain's time slot, milliseconds
    tempo: U32  # blocks between two epochs of the subnet
    #: milliseconds from a time slot's end to the earliest beacon round that a block may name
    beacon_delay_ms: U32
    notice_windows: U32  # windows from an amendment's decision to its first window


@dataclass(frozen=True, slots=True)
class Work:
    """The amount of work that is asked, and its worth (section 9)."""

    group_size: U16  # G: rollouts of one problem
    #: R: forward passes for a miner and window, each in a different group if there are enough
    audited_rollouts: U16
    #: K: the number of audited groups that are valued: all their ids are read, and they are scored
    valued_groups: U16
    sampled_rollouts: U16  # S: further rollouts, only fetched and checked against the root
    group_cap: U32  # most groups that a miner may submit in a window
    max_tokens: U32  # longest completion a manifest may ask for
    temperature: U32  # Tq = 1024 · T
    prompt_share: U32  # pay of a prompt's token, in millionths of a completion's first token
    #: what each own token before it adds to the pay of a completion's token, in millionths of the
    #: first token's pay: later tokens cost more
    position_share: U64
    value_base: U64  # 1e-18 a token: for verified work
    value_mean: U64  # 1e-18 a token: for each millionth m of mean reward
    value_teach: U64  # 1e-18 a token: times c · (10^6 − c), c the mean correctness
    turns: U16 = 1  # most turns of a rollout; 1: no world ever replies
    context: U32 = 0  # most tokens of prompt, turns and replies together; 0 with one turn
    reply_bytes: U32 = 0  # most bytes of a reply's content; 0 with one turn
    #: most reply tokens that are paid as a prompt's are, in thousandths of a rollout's own tokens
    paid_reply: U32 = 0
    #: most settlements in a row in which nobody earned and no weights are set; then owner_uid has
    #: everything
    idle_settlements: U32 = 12

    def weigh_completion(self, tokens: int) -> int:
        """w(T): a completion's work, in millionths of the first token's."""
        return tokens * MILLION + self.position_share * (tokens * (tokens - 1) // 2)

    def count_paid_replies(self, tokens: int, replies: int) -> int:
        """How many reply tokens are paid, of a rollout with this many own and reply tokens."""
        return min(replies, tokens * self.paid_reply // 1_000)


@dataclass(frozen=True, slots=True)
class Tests:
    """Thresholds of the judge (sections 5 and 6) and bounds on what a trainer may calibrate."""

    margin_cap: U64  # 2^-20 logits: no margin may exceed it
    margin_levels: Annotated[tuple[int, ...], Many(Integer(8), 16)]  # τ_k, 2^-20 logits
    alpha_inverse: U32  # an honest rollout is refused with probability ≤ 1 / alpha_inverse
    mean_stakes: Annotated[tuple[int, ...], Many(Integer(4), 8)]  # millionths: bets on all levels
    level_stakes: Annotated[tuple[int, ...], Many(Integer(4), 8)]  # millionths: bets on one level
    rate_inflation: U8  # honest flip rates vary over contexts by at most this factor
    rate_floor: U64  # added to every honest rate, 1e-18
    rate_limits: Annotated[tuple[int, ...], Many(Integer(8), 16)]  # largest κ_k allowed, 1e-18
    sketch_block_bound: U32  # mean difference over a block of 32 tokens, thousandths
    sketch_rollout_bound: U32  # the same over a rollout, thousandths
    scale_min: U64  # bounds on the manifest's sketch scale, 2^-16
    scale_max: U64
    centre_ratio_max: U32  # ‖μ‖ over scale, thousandths: a centre far out would hide every state
    logprob_rms_bound: U32  # 2^-16 nats
    logprob_max_bound: U32  # 2^-16 nats
    #: ε, 2^-20 of a router's scores: the choice of experts is a ramp of width 2ε (section 3)
    router_ramp: U32
    experts_max: U32  # most experts that a token may need on average, 2^-10; 0: no mixtures


class GateRule(StrEnum):
    """What becomes of checkpoints that show nothing, or worse."""

    NONE = "none"  # nothing is measured
    NOT_WORSE = "not-worse"  # a course that is worse than its milestone is given up
    #: so is one that has not shown to be better in so many checkpoints
    BETTER = "better"


@dataclass(frozen=True, slots=True)
class Gate:
    """How checkpoints are measured against a milestone, on problems drawn when they are in force
    (section 7.1)."""

    rule: Annotated[GateRule, Choice(GateRule, "a rule")] = GateRule.NONE
    problems: U32 = 0  # of each checkpoint, a multiple of 4
    error_worse: U32 = 0  # α, millionths: that a course which is not worse is given up as worse
    error_better: U32 = 0  # α, millionths: that all courses from a milestone show a better one
    checkpoints: U32 = 0  # N: of `better`, checkpoints that a course has; else 0
    #: what the problems are of, if of other files than the network's; none: the network's
    environment: Annotated[tuple[EnvironmentChoice, ...], Many(Record(EnvironmentChoice), 1)] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """The first window of parameters, and their predecessor (section 0.1). A network's first
    parameters apply from window 0 on and have no predecessor."""

    predecessor: Digest = ZERO_DIGEST
    window: U64 = 0  # the first window that they apply to
    #: digest of the checkpoint in force until the trainer has published one with a higher number:
    #: that of the predecessor's start, unless these parameters need another calibration (section
    #: 0.1). Zeros: the genesis checkpoint
    checkpoint: Digest = ZERO_DIGEST
    number: U64 = 0  # that checkpoint's number


@dataclass(frozen=True, slots=True)
class ModelClass:
    """The class that reads a model of a type that no family describes (section 7)."""

    structure: Digest  # of config.json's bytes: every checkpoint's
    shapes: Digest  # of the tensors' names and shapes: every checkpoint's
    library: Name  # the exact version of transformers, such as 5.19.0
    first: Name  # the implementations that its calibration compares
    second: Name


@dataclass(frozen=True, slots=True)
class Rounds:
    """Outer steps by several trainers (section 11.1): windows r·W … (r + 1)·W − 1 are round r."""

    trainers: Annotated[tuple[bytes, ...], Many(FixedBytes(32), TRAINERS_MAX)]  # hotkeys, ascending
    windows: U16  # W: windows of a round
    staleness: U16  # how many rounds older than the round's parent a group's checkpoint may be
    child_offset: U32  # blocks from the end of a round's windows to its children's deadline
    child_blocks: U32  # blocks just before the deadline, in which children are put on chain
    reveal_blocks: U32  # blocks from the deadline on, in which trainers show their children
    turn_blocks: U32  # blocks that each trainer in line has to publish the merged checkpoint
    rate: U32  # rate of the outer step, millionths
    momentum: U32  # Nesterov's, millionths
    norm_bound: U64  # bound on the Euclidean norm of a child's difference, 2^-20
    kept: U32  # the number of values of each chunk that are sent; 0: all of them
    chunk: U32  # the number of values of a chunk; 0 if all are kept
    bits: U8  # bits of a kept value, 2 to 8; if all are kept, 0 (exact) or 16 (rounded)
    feedback: U32  # millionths of the residual that are added to the next child


@dataclass(frozen=True)
class Parameters:
    """All of the above, as the owner publishes it."""

    identity: Identity
    beacon: BeaconChain
    environment: EnvironmentChoice
    rewards: Rewards
    steering: Steering
    timing: Timing
    work: Work
    tests: Tests
    gate: Gate = Gate()
    start: Start = Start()
    #: None: a family describes the model
    model_class: Annotated[ModelClass | None, Marked(Record(ModelClass))] = None
    rounds: Annotated[Rounds | None, Last(Record(Rounds))] = None  # None: one trainer, no rounds

    @cached_property
    def digest(self) -> bytes:
        """hash(parameters, canonical bytes), 32 bytes: part of every seed."""
        return hash_fields(Domain.PARAMETERS, encode(self))

    @property
    def first_checkpoint(self) -> bytes:
        """Digest of the checkpoint that is in force until a trainer has published one."""
        named = self.start.checkpoint
        return self.identity.genesis_checkpoint if named == ZERO_DIGEST else named

    def to_json(self) -> dict[str, Json]:
        """JSON form for people."""
        return _to_json(self)

    @staticmethod
    def from_json(value: Json) -> "Parameters":
        """Parameters from their JSON form.

        Raises:
            EncodingError: names the field that is wrong.
        """
        return from_json(Parameters, value)


def find_parameters_fault(parameters: Parameters) -> str | None:
    """The reason why nobody could run a network by these parameters, or None. Checks across
    fields."""
    timing, work, tests = parameters.timing, parameters.work, parameters.tests
    choice, start, rounds = parameters.environment, parameters.start, parameters.rounds
    is_first = start.predecessor == ZERO_DIGEST
    names = [setting.name for setting in choice.settings]
    order = (
        0,
        timing.commit_offset,
        timing.audit_offset,
        timing.sample_offset,
        timing.fetch_end,
        timing.mirror_end,
        timing.verdict_end,
    )
    late_ms = (timing.fetch_end - timing.sample_offset) * timing.slot_ms
    group_tokens = work.group_size * work.max_tokens
    group_work = work.group_size * work.weigh_completion(work.max_tokens)
    next_audit = timing.window_blocks + timing.audit_offset
    stakes = (tests.mean_stakes, tests.level_stakes)
    sizes = (work.group_size, work.valued_groups, work.group_cap, work.max_tokens)
    return next(
        (
            fault
            for fault, holds in (
                ("version is not this program's", parameters.identity.version == PROTOCOL_VERSION),
                ("burn_share exceeds 1,000,000", parameters.identity.burn_share <= MILLION),
                ("beacon: period_ms is 0", parameters.beacon.period_ms > 0),
                ("settings are not in order, each once", names == sorted(set(names))),
                ("steering: bounds are out of order", _is_steering(parameters.steering)),
                ("window_blocks is 0", timing.window_blocks > 0),
                ("slot_ms is 0", timing.slot_ms > 0),
                ("moments of a window are not ascending", order == tuple(sorted(set(order)))),
                # the ledger enters a seat's windows in order
                ("mirror_end is after the next audit", timing.mirror_end <= next_audit),
                ("samples are not known by fetch_end", timing.beacon_delay_ms < late_ms),
                ("a size under [work] is 0", min(sizes) > 0),
                (
                    "valued_groups exceeds audited_rollouts",
                    work.valued_groups <= work.audited_rollouts,
                ),
                ("prompt_share exceeds 1,000,000", work.prompt_share <= MILLION),
                ("temperature is 0", work.temperature > 0),
                ("group_size · max_tokens exceeds 2^22", group_tokens <= 1 << 22),
                # a stream draws a number below it
                ("position_share: a group's work is 2^64 or more", group_work < 1 << 64),
                ("group_cap exceeds 16,384", work.group_cap <= 1 << 14),
                ("turns is 0", work.turns > 0),
                (
                    "context, reply_bytes or paid_reply is not 0, with one turn",
                    work.turns > 1 or not any((work.context, work.reply_bytes, work.paid_reply)),
                ),
                (
                    "context is below max_tokens, with several turns",
                    work.turns == 1 or work.context >= work.max_tokens,
                ),
                (
                    f"reply_bytes is not 1 to {REPLY_BYTES_MAX:,}, with several turns",
                    work.turns == 1 or 1 <= work.reply_bytes <= REPLY_BYTES_MAX,
                ),
                (
                    "group_size · context exceeds 2^24",
                    work.group_size * work.context <= GROUP_CONTEXT_MAX,
                ),
                ("alpha_inverse is 0", tests.alpha_inverse > 0),
                ("rate_floor is 0", tests.rate_floor > 0),
                ("scale_min is 0", tests.scale_min > 0),
                ("margin_levels is empty", len(tests.margin_levels) > 0),
                (
                    "one of router_ramp and experts_max is 0, and the other is not",
                    (tests.router_ramp > 0) == (tests.experts_max > 0),
                ),
                (
                    "margin_levels and rate_limits differ in length",
                    len(tests.margin_levels) == len(tests.rate_limits),
                ),
                (
                    "stakes are missing, or one is 1,000,000 or more",
                    all(s and max(s) < MILLION for s in stakes),
                ),
                ("notice_windows is 0", timing.notice_windows > 0),
                ("start has no predecessor", not is_first or start == Start()),
                ("start.window is 0", is_first or start.window > 0),
            )
            if not holds
        ),
        find_prompts_fault(choice.prompts)
        or _find_rewards_fault(parameters.rewards, work.max_tokens)
        or find_scoring_fault(
            compute_scoring_units(choice), timing, work, {one.name for one in choice.settings}
        )
        or _find_gate_fault(parameters.gate, rounds)
        or (None if rounds is None else _find_rounds_fault(rounds, parameters)),
    )


def find_prompts_fault(prompts: Sequence[Prompts]) -> str | None:
    """The reason why records of prompts cannot be parameters, or None."""
    parts = [one.part for one in prompts]
    if parts != sorted(set(parts)):
        return "prompts are not in order of their parts, each once"
    if sum(len(encode(one)) for one in prompts) > PROMPTS_MAX:
        return f"prompts have more than {PROMPTS_MAX} bytes in all"
    for one in prompts:
        names = [text.name for text in one.texts]
        if names != sorted(set(names)):
            return f"prompts of {one.part}: texts are not in order, each once"
        if unknown := set(names) - set(PROMPT_TEXTS):
            return f"prompts of {one.part}: there is no text {min(unknown)!r}"
        if not names and not one.shots:
            return f"prompts of {one.part} say nothing"
        for name in (REPLY_BEFORE, REPLY_AFTER):
            if len((one.get(name) or "").encode()) > FRAME_MAX:
                return f"prompts of {one.part}: {name} has more than {FRAME_MAX} bytes"
        if one.get(REPLY_FORM) not in (None, REPLY_JSON):
            return f"prompts of {one.part}: {REPLY_FORM} is {REPLY_JSON}, or is left out"
        try:
            read_arguments(one.get(ARGUMENTS))
        except ValueError as error:
            return f"prompts of {one.part}: arguments: {error}"
    return None


def write_arguments(arguments: Mapping[str, str | int | bool]) -> str:
    """A template's named arguments as canonical JSON: names ascending, no blanks, every character
    that JSON need not escape as it is."""
    return json.dumps(arguments, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def read_arguments(text: str | None) -> dict[str, str | int | bool]:
    """The named arguments for a chat template; none: no text.

    Raises:
        ValueError: they are not canonical JSON of texts, integers of 64 bits, true and false; or a
            name is none, or stands for something else in every template.
    """
    if text is None:
        return {}
    try:
        arguments = read_json(text.encode())
    except (EncodingError, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from None
    if not isinstance(arguments, dict) or not arguments:
        raise ValueError("they are no object with names")
    for name, value in arguments.items():
        if not _ARGUMENT.fullmatch(name) or name in _TAKEN:
            raise ValueError(f"a template's argument cannot be named {name[:80]!r}")
        if type(value) is int and not -(1 << 63) <= value < 1 << 63:
            raise ValueError(f"{name} is an integer beyond 64 bits")
        if type(value) not in (str, int, bool):
            raise ValueError(f"{name} is neither text, an integer, true nor false")
    if write_arguments(arguments) != text:
        raise ValueError(f"they are not canonical JSON: write {write_arguments(arguments)[:200]}")
    return arguments


def _find_rewards_fault(rewards: Rewards, max_tokens: int) -> str | None:
    weights = (
        rewards.correctness_weight,
        rewards.quality_weight,
        rewards.satisfaction_weight,
        rewards.format_weight,
    )
    lost = rewards.length_penalty + rewards.overlong_penalty
    return next(
        (
            f"rewards: {fault}"
            for fault, holds in (
                ("the weights add up to more than 1,000,000", sum(weights) <= MILLION),
                ("satisfaction_floor is 1,000,000 or more", rewards.satisfaction_floor < MILLION),
                ("length_penalty and overlong_penalty exceed 1,000,000", lost <= MILLION),
                (
                    "one of overlong_tokens and overlong_penalty is 0, and the other is not",
                    (rewards.overlong_tokens > 0) == (rewards.overlong_penalty > 0),
                ),
                ("overlong_tokens exceed max_tokens", rewards.overlong_tokens <= max_tokens),
            )
            if not holds
        ),
        _find_worth_fault(rewards),
    )


def _find_worth_fault(rewards: Rewards) -> str | None:
    """The reason why a right answer is not always worth more than any wrong one, with the numbers
    that would fit, or None. A wrong answer misses a part, and so something of satisfaction."""
    always = rewards.satisfaction_weight + rewards.format_weight
    lost = rewards.length_penalty + rewards.overlong_penalty
    due = rewards.quality_weight + always + (rewards.satisfaction_weight == 0)
    kept = rewards.correctness_weight + always
    if kept * (MILLION - lost) // MILLION >= due:
        return None
    fits = []
    if lost < MILLION:
        correctness = -(-due * MILLION // (MILLION - lost)) - always
        if correctness + rewards.quality_weight + always <= MILLION:
            fits.append(f"correctness_weight = {correctness:,} or more")
    if kept >= due:
        most = (kept - due) * MILLION // kept
        fits.append(f"length_penalty + overlong_penalty = {most:,} or less")
    would = ", or ".join(fits) or "more correctness_weight and less of the other weights"
    return f"rewards: a wrong answer could earn as much as a right one: {would} would fit"


def _find_gate_fault(gate: Gate, rounds: Rounds | None) -> str | None:
    if gate.rule is GateRule.NONE:
        return None if gate == Gate() else "gate: there is none, and it has settings"
    errors = gate.error_worse, gate.error_better
    is_better = gate.rule is GateRule.BETTER
    return next(
        (
            f"gate: {fault}"
            for fault, holds in (
                ("several trainers merge checkpoints that none of them answers for", not rounds),
                (
                    f"problems are not {GATE_PART} to {GATE_PROBLEMS_MAX:,}, a multiple of "
                    f"{GATE_PART}",
                    GATE_PART <= gate.problems <= GATE_PROBLEMS_MAX
                    and gate.problems % GATE_PART == 0,
                ),
                ("an error is not 1 to 999,999", all(0 < one < MILLION for one in errors)),
                (
                    f"checkpoints are not 1 to {GATE_CHECKPOINTS_MAX:,} under better, and 0 else",
                    (1 if is_better else 0)
                    <= gate.checkpoints
                    <= (GATE_CHECKPOINTS_MAX if is_better else 0),
                ),
            )
            if not holds
        ),
        None,
    )


def _is_steering(steering: Steering) -> bool:
    """Return whether success and weights have bounds, with the weight of the start within them."""
    low, high, step = steering.success_low, steering.success_high, steering.weight_step
    least, most = steering.weight_min, steering.weight_max
    return low <= high <= 1_000 and 1 <= least <= 1_000 <= most <= WEIGHT_MAX and step <= 1_000


def compute_scoring_units(choice: EnvironmentChoice) -> int:
    """Millions of units that the scoring of one completion may take: the dearest part's of a
    mixture, and 0 where nothing runs that would count them."""
    parts = Counter[str]()
    for setting in choice.settings:
        part, _, name = setting.name.rpartition(".")
        parts[part] += setting.value if name in (UNITS, TOOL_UNITS) else 0
    return max((0, *parts.values()))


def compute_scoring_load(units: int, timing: Timing, work: Work) -> tuple[int, int]:
    """Millions of units that the scoring of a window may take, and that the reference machine has
    time for. `units`: millions that one completion may take."""
    rollouts = SEATS_MAX * work.valued_groups * work.group_size
    window_ms = timing.window_blocks * timing.slot_ms
    return rollouts * units, SCORING_RATE * window_ms // (1_000 * SCORING_SHARE)


def find_scoring_fault(
    units: int, timing: Timing, work: Work, settings: Iterable[str] = (UNITS,)
) -> str | None:
    """The load of scoring that is too much, and the numbers that would fit, in one line; or None.
    `units`: millions that one completion may take, by some of the `settings`."""
    load, room = compute_scoring_load(units, timing, work)
    if load <= room:
        return None
    ends = {name.rpartition(".")[2] for name in settings}
    named = " + ".join(name for name in (UNITS, TOOL_UNITS) if name in ends)
    sizes = {named: units, "valued_groups": work.valued_groups, "group_size": work.group_size}
    fits = {name: room * size // load for name, size in sizes.items()}
    said = " or ".join(f"{name} = {size}" for name, size in fits.items() if size)
    return (
        f"scoring takes up to {load:,} million units a window, {SEATS_MAX} hotkeys · "
        + " · ".join(f"{name} = {size:,}" for name, size in sizes.items())
        + f", and there is time for {room:,}: {said or 'a longer window'} would fit"
    )


def _find_rounds_fault(rounds: Rounds, parameters: Parameters) -> str | None:
    length = rounds.windows * parameters.timing.window_blocks
    turns = len(rounds.trainers) * rounds.turn_blocks
    blocks = (rounds.child_blocks, rounds.reveal_blocks, rounds.turn_blocks)
    within = parameters.start.window % max(1, rounds.windows)
    return next(
        (
            f"rounds: {fault}"
            for fault, holds in (
                ("there is no trainer", len(rounds.trainers) > 0),
                (
                    "trainers are not in order, each once",
                    list(rounds.trainers) == sorted(set(rounds.trainers)),
                ),
                ("a round has no window", rounds.windows > 0),
                ("rate or norm_bound is 0", min(rounds.rate, rounds.norm_bound) > 0),
                ("child_blocks, reveal_blocks or turn_blocks is 0", min(blocks) > 0),
                ("momentum is 1,000,000 or more", rounds.momentum < MILLION),
                ("feedback exceeds 1,000,000", rounds.feedback <= MILLION),
                ("norm_bound exceeds 2^30", rounds.norm_bound <= 1 << 30),
                # between a deadline and the next children, the slots' content names the checkpoint
                (
                    "child_blocks, reveal_blocks and turns exceed the round",
                    rounds.child_blocks + rounds.reveal_blocks + turns < length,
                ),
                ("kept, chunk, bits and feedback do not fit together", _is_form(rounds)),
                ("start.window is within a round", not within),
                # the pool follows from one line of steps
                (
                    f"{PROPOSE} is for one trainer's steps",
                    not has_proposals(parameters.environment),
                ),
            )
            if not holds
        ),
        None,
    )


def has_proposals(choice: EnvironmentChoice) -> bool:
    """Whether a network writes its own problems: its environment has the part `propose`."""
    return any(setting.name == PROPOSE for setting in choice.settings)


def _is_form(rounds: Rounds) -> bool:
    """Return whether updates have a valid form: all exact, all rounded to bf16, or some of each
    chunk."""
    if not rounds.kept:
        return not rounds.chunk and (rounds.bits, rounds.feedback > 0) in (
            (0, False),
            (16, False),
            (16, True),
        )
    return rounds.kept <= rounds.chunk <= 1 << 20 and 2 <= rounds.bits <= 8


MAIN_TIMING = Timing(
    window_blocks=30,
    commit_offset=33,
    audit_offset=43,
    sample_offset=60,
    fetch_end=66,
    mirror_end=73,
    verdict_end=90,
    checkpoint_lead=60,
    slot_ms=12_000,
    tempo=360,
    beacon_delay_ms=24_000,
    notice_windows=240,
)
DEMO_TIMING = Timing(
    window_blocks=12,
    commit_offset=13,
    audit_offset=17,
    sample_offset=19,
    fetch_end=25,
    mirror_end=29,
    verdict_end=36,
    checkpoint_lead=0,
    slot_ms=1_000,
    tempo=24,
    beacon_delay_ms=3_000,
    notice_windows=6,
)
MAIN_WORK = Work(
    group_size=16,
    audited_rollouts=16,
    valued_groups=12,
    sampled_rollouts=4,
    group_cap=1_024,
    max_tokens=4_096,
    temperature=1_024,
    prompt_share=150_000,
    position_share=3_000,
    value_base=7 * 10**17,
    value_mean=10**11,
    value_teach=8 * 10**5,
)


def make_tests(cap: int) -> Tests:
    """Tests for a margin cap in 2^-20 logits: levels 0 and (cap/100)·2^j below it."""
    levels = (0, *(round(cap * 2**j / 100) for j in range(7)))
    return Tests(
        margin_cap=cap,
        margin_levels=levels,
        alpha_inverse=MILLION,
        mean_stakes=(300_000, 30_000, 3_000, 300),
        level_stakes=(100_000, 30_000, 10_000, 3_000, 1_000),
        rate_inflation=4,
        rate_floor=10**12,
        rate_limits=tuple(10**13 >> k for k in range(len(levels))),
        sketch_block_bound=250,
        sketch_rollout_bound=125,
        scale_min=1 << CENTRE_BITS,
        scale_max=64 << CENTRE_BITS,
        centre_ratio_max=4_000,
        logprob_rms_bound=16,
        logprob_max_bound=64,
        router_ramp=0,
        experts_max=0,
    )


#: A cap of 2e-4 logits: fits models of about a million parameters (section 5).
SMALL_MODEL_TESTS = make_tests(round(2e-4 * 2**FRACTION_BITS))
