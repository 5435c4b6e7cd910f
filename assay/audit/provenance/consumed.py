"""Checks a step's consumed groups as far as that needs no chain.

The record's root binds miner, prompts, tokens, replies, log-probabilities and rewards. The
seed and levels of a prompt, its window and its submission are given beside them and not bound. If
these are inconsistent with the bound values, that proves nobody's fault, but the check cannot
continue. The order of the rows is bound: so windows and submissions follow from the record.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from assay.artifacts.steps.delay import compute_rewards, is_ripe
from assay.artifacts.steps.file import DELAY_MAX, ConsumedGroup, Delay
from assay.artifacts.steps.folder import StepError
from assay.artifacts.steps.groups import make_own_problem, replay_all
from assay.artifacts.steps.replay import find_false_origin
from assay.environments.base import Environment, Problem, RewardParts
from assay.environments.pooling import has_twin, is_proposing
from assay.environments.scoring import run_all
from assay.inference.checkpoint import Outline
from assay.protocol.episode import find_stop
from assay.protocol.manifest import Manifest
from assay.protocol.parameters import Parameters
from assay.protocol.ss58 import encode_ss58
from assay.protocol.step import LEFT_OUT_MAX, StepRecord
from assay.settings.learning import read_config
from assay.verification.episodes import Episode, find_length_fault


def verify_provenance(record: StepRecord, groups: Sequence[ConsumedGroup], trainer: bytes) -> None:
    """Raise StepError if windows or sources differ from those that the record names, or it names
    groups as left out that it cannot have left out. Else no other windows and submissions of the
    same rows fit the record, unless `find_disorder` finds something."""
    fresh = [one for one in groups if one.window == record.window]
    _verify_replays(record, [one for one in groups if one.window != record.window], trainer)
    counts = Counter((one.hotkey, one.proof) for one in fresh if one.hotkey != trainer)
    if counts != {(source.hotkey, source.root): source.groups for source in record.sources}:
        raise StepError("the consumed groups are of other submissions than the record's sources")
    windows = [(one.window != record.window, one.window) for one in groups]
    if windows != sorted(windows):
        raise StepError("the consumed groups are not in the order of their windows")
    left_out = [(left.hotkey, left.index) for left in record.left_out]
    if left_out != sorted(set(left_out)):
        raise StepError("the groups that were left out are not in order, each once")
    if not {(one.hotkey, one.index) for one in fresh}.isdisjoint(left_out):
        raise StepError("the step has learned from a group that it names as left out")
    sources = {source.hotkey for source in record.sources}
    by_hotkey = Counter(hotkey for hotkey, _ in left_out)
    if any(by_hotkey[hotkey] > LEFT_OUT_MAX for hotkey in sources):
        raise StepError("the step has learned from a file with too many groups that it left out")


def _verify_replays(record: StepRecord, replays: Sequence[ConsumedGroup], trainer: bytes) -> None:
    named = record.replayed or ()
    if replays and not named:
        raise StepError(f"a consumed group is not of the record's window {record.window}")
    counts = Counter((one.window, one.hotkey, one.proof) for one in replays)
    if counts != {(one.window, one.hotkey, one.root): one.groups for one in named}:
        raise StepError("the replayed groups are of other submissions than the record names")
    steps = {(one.window, one.step, one.number) for one in named}
    if len({window for window, _, _ in steps}) != len(steps):
        raise StepError("the record names two steps of one window")
    if any(one.window >= record.window or one.number >= record.number for one in named):
        raise StepError("a replayed group is not of a step before")
    if any(one.hotkey == trainer for one in named):
        raise StepError("the step has replayed the trainer's own groups")


def find_disorder(
    record: StepRecord, groups: Sequence[ConsumedGroup], trainer: bytes
) -> str | None:
    """What no honest step has in the order of its groups and of its record's submissions, or None.

    Args:
        groups: groups that `verify_provenance` accepts: what is found here is bound.
    """
    named = [(record.window, source.hotkey) for source in record.sources]
    named += [(replay.window, replay.hotkey) for replay in record.replayed or ()]
    if len(set(named)) != len(named):
        return "the record names two submissions of one miner's window"

    def place(one: ConsumedGroup) -> tuple[bool, int, bool, bytes, int]:
        own = one.hotkey == trainer
        return one.window != record.window, one.window, own, one.hotkey, one.index

    for before, one in pairwise(groups):
        if place(before) == place(one):
            return f"{describe_group(one)}: the step learns from it twice"
        if place(before) > place(one):
            return "the groups are not in the order in which a step takes them"
    return None


def list_bound(one: ConsumedGroup) -> tuple[object, ...]:
    """What roots and records bind of a group, but its rewards and its wait: a mirror's file may
    have another seed and other levels that make the same prompt."""
    group = one.group
    told = group.prompt, group.completions, group.behaviour_logprobs, group.replies
    return (*told, one.window, one.hotkey, one.index, one.checkpoint, one.proof)


def _find_false_wait(
    one: ConsumedGroup,
    delay: Delay,
    record: StepRecord,
    tries: int,
    proposes: bool,
    is_valid: Sequence[bool],
    behind: int,
) -> str | None:
    """What is wrong with the wait that a group of an earlier window had for its reward, as far as
    its step's own rows show it, or None.

    Args:
        tries: that a proposal's problems must have had; 0: no group waits.
        proposes: it is a miner's, and its problem asks for proposals.
        is_valid: whether each of its rollouts proposes something.
        behind: by how many checkpoints the one that drew it is behind the step's parent.
    """
    if not tries or not proposes:
        return "it has waited for a reward, and is no miner's group of proposals"
    named = {(replay.window, replay.step) for replay in record.replayed or ()}
    if (one.window, delay.source) not in named:
        return "its window's step is another than the record names"
    if behind > DELAY_MAX:
        return f"learned from {behind} checkpoints after it was drawn, which is too late"
    for number, (rollout, valid) in enumerate(zip(delay.rollouts, is_valid, strict=True)):
        if not valid and (rollout.tries or rollout.solves):
            return f"rollout {number} proposes nothing, and is said to have been tried"
        if rollout.counts != (not valid or rollout.tries >= tries):
            how = "counts" if rollout.counts else "does not count"
            return f"rollout {number} {how}, with {rollout.tries} tries of {tries}"
    if not is_ripe(delay.rollouts):
        return f"too few of its rollouts count: its problems have had fewer than {tries} tries"
    return None


def make_problem_of(one: ConsumedGroup, parameters: Parameters, checkpoint: Outline) -> Problem:
    """The problem that a group answers. Raises a StepError if its seed and levels do not give its
    prompt.

    Args:
        checkpoint: see `DrawnBy`: all have the genesis' tokenizer and end tokens.
    """
    environment = _open(parameters, checkpoint)
    try:
        problem = environment.make_problem(one.problem_seed, one.levels)
    except ValueError as error:
        raise StepError(f"{describe_group(one)}: {error}") from None
    if checkpoint.tokenizer.encode(problem.conversation) != one.group.prompt:
        raise StepError(f"{describe_group(one)}: its problem's seed makes another prompt")
    return problem


def find_form_fault(one: ConsumedGroup, parameters: Parameters, checkpoint: Outline) -> str | None:
    """What keeps a group from being replayed, or None: it has another size, or other ids, than a
    network's, or its place is in no miner's file, of which there could be any number."""
    rows, work, drawable = one.group.completions, parameters.work, checkpoint.tokenizer.drawable
    if one.index >= work.group_cap and one.hotkey != parameters.identity.trainer:
        return f"a miner's file has at most {work.group_cap:,} groups"
    if len(rows) != work.group_size:
        return f"it has {len(rows)} rollouts, not {work.group_size}"
    if max(map(len, rows)) > work.max_tokens:
        return f"a completion has more than {work.max_tokens} tokens"
    if any(t >= len(drawable) or not drawable[t] for row in rows for t in row):
        return "a completion has a token that can never be drawn"
    return None


def replay_group(
    one: ConsumedGroup, parameters: Parameters, checkpoint: Outline, is_derived: bool = False
) -> tuple[Problem, list[tuple[Episode, RewardParts]]] | str:
    """The problem of a group, and the episode and the score of each of its rollouts, derived from
    its own tokens; or the first thing in the step that is another. A group of another size or with
    other ids than a network's is not replayed.

    Args:
        checkpoint: see `make_problem_of`.
        is_derived: its seed and levels are those that its window's challenge asks, not what a store
            says.

    Raises:
        StepError: its seed and levels do not give its prompt, or not its rewards where a prompt
            does not say them.
    """
    environment, group, work = _open(parameters, checkpoint), one.group, parameters.work
    if (unfit := find_form_fault(one, parameters, checkpoint)) is not None:
        return unfit
    problem, ends = make_problem_of(one, parameters, checkpoint), checkpoint.manifest.end_tokens
    for number, own in enumerate(group.completions):
        is_end = np.isin(own, ends)
        if find_stop(is_end, work.turns, checkpoint.manifest.max_tokens) != len(own):
            return f"rollout {number} ends where no rollout does, or goes on behind its end"
    given = group.prompt, group.completions, work, checkpoint
    episodes = replay_all(environment, problem, *given)
    scores = run_all(environment, [episode.state.score for episode in episodes])
    for number, rollout in enumerate(() if one.delay is None else one.delay.rollouts):
        if rollout.solves > rollout.tries:
            return f"rollout {number} is solved more often than tried"
    rewards = compute_rewards(one, scores, parameters)
    for number, (episode, reward) in enumerate(zip(episodes, rewards, strict=True)):
        tokens = len(group.completions[number])
        fault = find_length_fault(episode, tokens, one.index, number)
        if fault is not None:
            return f"rollout {number}: {fault.detail}"
        if list(episode.replies) != group.replies[number]:
            return f"rollout {number}'s replies are not those of its world"
        if reward != group.rewards[number]:
            if not is_derived and has_twin(environment.open(problem)):
                raise StepError(
                    f"{describe_group(one)}: rollout {number}'s reward is another by its problem's "
                    "seed, and its prompt does not say which is right"
                )
            return f"rollout {number}'s reward is not what the parameters give"
    return problem, list(zip(episodes, scores, strict=True))


def find_false_group(
    record: StepRecord,
    groups: Sequence[ConsumedGroup],
    parameters: Parameters,
    parent: Manifest,
    find_drawn: Callable[[ConsumedGroup], Outline],
    is_derived: bool = False,
) -> str | None:
    """The first group that is not what it should be, with the reason, or None. Whether the step
    should have taken it, `choice` says.

    Replies and rewards of rollouts are derived again.

    Args:
        parent: the checkpoint that the step begins with.
        find_drawn: the checkpoint whose problem a group answers.
        is_derived: see `replay_group`, of all miners' groups.

    Raises:
        StepError: the values beside the groups are inconsistent with them.
        OperatorError: the environment cannot be opened or run here.
    """
    trainer, choice = parameters.identity.trainer, read_config(record).choice
    verify_provenance(record, groups, trainer)
    if (disorder := find_disorder(record, groups, trainer)) is not None:
        return disorder
    strange = find_false_origin(record, groups, trainer, choice.replay_staleness)
    if strange is not None:  # before `find_drawn`: of such checkpoints there may be any number
        return f"{describe_group(strange[0])}: {strange[1]}"
    for one in groups:
        drawn = find_drawn(one)
        is_known = is_derived
        if one.hotkey == trainer:
            seed, problem = make_own_problem(drawn, parameters, one.index, record.window)
            is_known = (one.problem_seed, one.levels) == (seed, (problem.level,))
        played = replay_group(one, parameters, drawn, is_known)
        if isinstance(played, str):
            return f"{describe_group(one)}: {played}"
        if one.delay is None or one.window == record.window:
            continue
        is_valid = [parts.is_right for _, parts in played[1]]
        proposes = one.hotkey != trainer and is_proposing(played[1][0][0].state)
        behind = parent.number - drawn.manifest.number
        given = record, choice.proposal_tries, proposes, is_valid, behind
        fault = _find_false_wait(one, one.delay, *given)
        if fault is not None:
            return f"{describe_group(one)}: {fault}"
    return None


def describe_group(one: ConsumedGroup) -> str:
    """A group's origin, for a person."""
    return f"window {one.window}, {encode_ss58(one.hotkey)}, group {one.index}"


def _open(parameters: Parameters, checkpoint: Outline) -> Environment:
    try:
        return checkpoint.open_environment(parameters.environment)
    except ValueError as error:
        raise StepError(str(error)) from None
