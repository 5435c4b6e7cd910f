"""One rollout, token by token."""

from math import log

from assay.explorer.page_reader import NotFoundError, PageReader
from assay.explorer.ports import GroupReading, RolloutReading, TokenReading, Unavailable
from assay.explorer.views.common import Query, View, name_hotkey
from assay.explorer.views.windows import describe_check, describe_unread, list_audited, sample
from assay.protocol import Parameters, encode_ss58
from assay.protocol.parameters import FRACTION_BITS

#: Tokens on one page.
_TOKENS = 512


def view_rollout(
    reader: PageReader, query: Query, window: int, hotkey: str, group: int, rollout: int
) -> View:
    """A rollout from its miner's file, measured again where a model is at hand. Raises
    NotFoundError: there is no such rollout."""
    file = reader.read_window(window)
    members = () if file is None else file.record.members
    row = next((m for m in members if encode_ss58(m.hotkey) == hotkey), None)
    size = reader.subject.get_parameters(window).work.group_size
    if file is None or row is None or row.committed is None or group >= row.committed.groups:
        raise NotFoundError("the record has no such commitment, or it has no such group")
    if rollout >= size:
        raise NotFoundError(f"a group has {size} rollouts, from 0")
    said = file.get_words(hotkey)
    rewards: list[int] = next(
        (g["rewards"] for g in said.get("groups", []) if g["index"] == group), []
    )
    reading: GroupReading | Unavailable = Unavailable(
        "the record has no block and beacon from which it was judged"
    )
    if file.context is not None and file.context.audit is not None:
        reading = reader.sources.read_group(file.context, row.hotkey, group)
    audited = list_audited(file, row, size)
    drawn = next((one for one in audited if one["index"] == group), None)
    if drawn is not None and isinstance(reading, GroupReading):
        drawn["audited"] = [*reading.audited]
    sampled = {r for g, r in sample(file.context, row) if g == group}
    states = [_find_state(number, drawn, sampled) for number in range(size)]
    found = {
        "title": f"Rollout {rollout} of group {group}",
        "window": window,
        "hotkey": hotkey,
        "name": name_hotkey(reader, hotkey),
        "group": group,
        "rollout": rollout,
        "group_size": size,
        "groups": row.committed.groups,
        "drawn": drawn,
        "states": states,
        "state": states[rollout],
        "audited": audited,
        "recorded_reward": rewards[rollout] if rollout < len(rewards) else None,
        "unread": describe_unread(file),
        "lack": None,
        "reading": None,
    } | describe_check(reader, window, hotkey)
    if isinstance(reading, Unavailable):
        return found | {"lack": {"why": reading.why, "passing": reading.passing}}
    shown = next((r for r in reading.rollouts if r.number == rollout), None)
    if shown is None:
        return found | {"lack": {"why": "the file has no such rollout", "passing": False}}
    return found | {
        "reading": {
            "prompt": reading.prompt,
            "level": reading.level,
            "measured": reading.measured,
            "note": reading.note,
        }
        | _describe(reader.subject.get_parameters(window), query, shown)
    }


def _find_state(rollout: int, drawn: View | None, sampled: set[int]) -> str:
    """The audit's mark of a rollout, one of `ROLLOUT_MARKS`.

    Args:
        drawn: the rollout's group, from `list_audited`.
    """
    if drawn is not None and drawn["audited"] is None:
        return "unknown"
    if drawn is not None and rollout in drawn["audited"]:
        return "audited"
    if drawn is not None and drawn["valued"]:
        return "valued"
    return "sampled" if rollout in sampled else "unread"


def _describe(parameters: Parameters, query: Query, rollout: RolloutReading) -> View:
    tests, environment = parameters.tests, parameters.environment
    cap = tests.margin_cap / (1 << FRACTION_BITS)
    tokens = rollout.tokens
    size = query.get_size(_TOKENS)
    pages = max(1, -(-len(tokens) // size))
    page = min(query.get_page(), pages)
    start = (page - 1) * size
    weights = {
        "correctness": environment.correctness_weight,
        "quality": environment.quality_weight,
        "satisfaction": environment.satisfaction_weight,
    }
    return {
        "completion": rollout.completion,
        "reward": rollout.reward,
        "parts": [
            {"name": name, "value": value, "weight": weights.get(name, 0)}
            for name, value in rollout.parts.items()
        ],
        "tokens": len(tokens),
        "page": page,
        "pages": pages,
        "margin_cap": round(cap, 9),
        "off": sum(1 for token in tokens if token.margin) if tokens[0].margin is not None else None,
        "log_capital": rollout.log_capital,
        "log_capital_bound": round(log(2 * tests.alpha_inverse), 9),
        "sketch_mean": rollout.sketch_mean,
        "sketch_bound": tests.sketch_rollout_bound / 1_000,
        "sketch_block": rollout.sketch_block,
        "sketch_block_bound": tests.sketch_block_bound / 1_000,
        "logprob_rms": rollout.logprob_rms,
        "rows": [
            _describe_token(start + number, token, cap)
            for number, token in enumerate(tokens[start : start + size])
        ],
    }


def _describe_token(number: int, token: TokenReading, cap: float) -> View:
    state = "unmeasured"
    if token.margin is not None:
        state = "drawn" if not token.margin else "near" if token.margin <= cap else "off"
    names = ("margin", "drawn", "logprob", "measured", "distance", "audited")
    said = {name: getattr(token, name) for name in names}
    return {"number": number, "id": token.id, "text": token.text, "state": state} | said
