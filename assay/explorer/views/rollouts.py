"""One rollout: what was said, and its tokens."""

from assay.explorer.documents.windows import (
    AuditedGroupRow,
    ReadingLack,
    RewardPart,
    RolloutDocument,
    RolloutMeasured,
    RolloutWorth,
)
from assay.explorer.page_reader import NotFoundError, PageReader
from assay.explorer.ports import GroupReading
from assay.explorer.views.common import Query, name_hotkey
from assay.explorer.views.rollout_list import find_worth
from assay.explorer.views.windows import describe_check, describe_unread, list_audited, sample
from assay.protocol.parameters import Parameters
from assay.protocol.reward_terms import compute_loss_of_length
from assay.protocol.ss58 import encode_ss58
from assay.verification.bounds import LOG_CAPITAL, MARGIN_MAX, SKETCH_BLOCK, SKETCH_MEAN

#: Tokens on one page.
_TOKENS = 512


def view_rollout(
    reader: PageReader, query: Query, window: int, hotkey: str, group: int, rollout: int
) -> RolloutDocument:
    """A rollout from its miner's file, measured again if a model is at hand. Raises NotFoundError:
    there is no such rollout."""
    file = reader.read_window(window)
    members = () if file is None else file.record.members
    row = next((m for m in members if encode_ss58(m.hotkey) == hotkey), None)
    parameters = reader.subject.get_parameters(window)
    size = parameters.work.group_size
    if file is None or row is None or row.committed is None or group >= row.committed.groups:
        raise NotFoundError("the record has no such commitment, or it has no such group")
    if rollout >= size:
        raise NotFoundError(f"a group has {size} rollouts, from 0")
    reported = file.get_words(hotkey).get("groups", [])
    rewards: list[int] = next((g["rewards"] for g in reported if g["index"] == group), [])
    reading: GroupReading | ReadingLack = ReadingLack(
        why="the record has no block and beacon from which it was judged", passing=False
    )
    if file.context is not None and file.context.audit is not None:
        reading = reader.sources.read_group(file.context, row.hotkey, group, query.wait_s)
    audited = list_audited(file, row, size)
    drawn = next((one for one in audited if one["index"] == group), None)
    if drawn is not None and isinstance(reading, GroupReading):
        drawn["audited"] = [*reading.audited]
    sampled = {r for g, r in sample(file.context, row) if g == group}
    states = [_find_state(number, drawn, sampled) for number in range(size)]
    measured, missing = None, None
    if not isinstance(reading, GroupReading):
        missing = reading
    elif (measured := _measure(parameters, query, reading, rollout)) is None:
        missing = ReadingLack(why="the file has no such rollout", passing=False)
    worth = find_worth(reader, window, hotkey, group, rollout)
    indexed = worth is not None
    if worth is None and measured is not None and isinstance(reading, GroupReading):
        worth = _compare([one.reward for one in reading.rollouts], measured["reward"])
    return RolloutDocument(
        title=f"Rollout {rollout} of group {group}",
        window=window,
        hotkey=hotkey,
        name=name_hotkey(reader, hotkey),
        group=group,
        rollout=rollout,
        group_size=size,
        groups=row.committed.groups,
        drawn=drawn,
        states=states,
        state=states[rollout],
        audited=audited,
        recorded_reward=rewards[rollout] if rollout < len(rewards) else None,
        worth=worth,
        indexed=indexed,
        unread=describe_unread(file),
        lack=missing,
        reading=measured,
        **describe_check(reader, window, hotkey),
    )


def _compare(rewards: list[int], reward: int) -> RolloutWorth:
    """A reward against those of its group, as a step learns from it that does not scale. The
    rewards are in millionths."""
    count, total = len(rewards), sum(rewards)
    is_flat = min(rewards) == max(rewards)
    return RolloutWorth(
        reward=reward,
        advantage=None if is_flat else (reward * count - total) / (count * 1_000_000),
        mean=total / (count * 1_000_000),
        step=None,
    )


def _find_state(rollout: int, drawn: AuditedGroupRow | None, sampled: set[int]) -> str:
    """The audit's mark of a rollout, one of `ROLLOUT_MARKS`.

    Args:
        drawn: the rollout's group, from `list_audited`.
    """
    if drawn is not None and drawn["audited"] is None:
        return "unknown"
    if drawn is not None and rollout in (drawn["audited"] or ()):
        return "audited"
    if drawn is not None and drawn["valued"]:
        return "valued"
    return "sampled" if rollout in sampled else "unread"


def _measure(
    parameters: Parameters, query: Query, group: GroupReading, number: int
) -> RolloutMeasured | None:
    """A page of a rollout's tokens, with the rollout's statistics. None: the file has no such
    rollout."""
    rollout = next((r for r in group.rollouts if r.number == number), None)
    if rollout is None:
        return None
    tests, rewards, tokens = parameters.tests, parameters.rewards, rollout.tokens
    replies = sum(turn["reply_tokens"] for turn in rollout.turns)
    size = query.get_size(_TOKENS)
    pages = max(1, -(-len(tokens) // size))
    page = min(query.get_page(), pages)
    start = (page - 1) * size
    weights = {
        "correctness": rewards.correctness_weight,
        "quality": rewards.quality_weight,
        "satisfaction": rewards.satisfaction_weight,
        "format": rewards.format_weight,
    }
    return RolloutMeasured(
        **group.facts,
        completion=rollout.completion,
        turns=list(rollout.turns),
        end=rollout.end,
        ended_at=rollout.ended_at,
        paid_replies=parameters.work.count_paid_replies(len(tokens), replies),
        reward=rollout.reward,
        parts=[
            RewardPart(name=name, value=value, weight=weights.get(name, 0))
            for name, value in rollout.parts.items()
        ],
        lost_by_length=compute_loss_of_length(len(tokens), rewards, parameters.work.max_tokens),
        tokens=len(tokens),
        page=page,
        pages=pages,
        margin_cap=round(MARGIN_MAX.compute(tests), 9),
        off=None if tokens[0]["margin"] is None else sum(1 for token in tokens if token["margin"]),
        log_capital=rollout.log_capital,
        log_capital_bound=round(LOG_CAPITAL.compute(tests), 9),
        sketch_mean=rollout.sketch_mean,
        sketch_bound=SKETCH_MEAN.compute(tests),
        sketch_block=rollout.sketch_block,
        sketch_block_bound=SKETCH_BLOCK.compute(tests),
        logprob_rms=rollout.logprob_rms,
        rows=list(tokens[start : start + size]),
    )
