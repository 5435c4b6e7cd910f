"""Windows: a list, one of them, and one miner in one of them."""

from math import log
from typing import Any

from assay.explorer.labels import PHASES, get_mark
from assay.explorer.page_reader import NotFoundError, PageReader, WindowFile
from assay.explorer.ports import STATISTICS_BYTES
from assay.explorer.views.common import (
    Query,
    View,
    ask_page,
    count_reasons,
    describe_audit,
    describe_reason,
    divide,
    list_known_windows,
    make_paging,
    name_hotkey,
)
from assay.explorer.views.overview import describe_window
from assay.explorer.views.validators import count_window
from assay.protocol import Context, MemberRow, Phase, encode_ss58
from assay.protocol.parameters import FRACTION_BITS, Tests
from assay.protocol.record import Moment
from assay.protocol.seeds import compute_groups_seed, compute_samples_seed
from assay.protocol.selection import AuditedGroup, select_committed, select_sampled
from assay.protocol.submission import LOGPROB_BITS
from assay.protocol.window import WINDOW_SCHEDULE, compute_block

_WINDOWS, _MEMBERS = 50, 25


def view_windows(reader: PageReader, query: Query) -> View:
    paging, rows = ask_page(reader, query, "windows", "window DESC", _WINDOWS)
    numbers = [row["window"] for row in rows]
    return {
        "title": "Windows",
        "windows": [describe_window(row) for row in rows],
        "paging": paging,
    } | describe_audit(reader, min(numbers, default=None), max(numbers, default=None))


def view_window(reader: PageReader, query: Query, window: int) -> View:
    """One window: when what happened, from which inputs, who was judged and what came out. Raises
    NotFoundError: the record has no such window."""
    row, file = _open(reader, window)
    members = [] if file is None else _order(file)
    paging = make_paging(query, len(members), _MEMBERS)
    shown = members[paging["offset"] : paging["offset"] + paging["size"]]
    near = reader.ask_one(
        "SELECT (SELECT max(window) FROM windows WHERE window < ?) AS before, "
        "(SELECT min(window) FROM windows WHERE window > ?) AS after",
        window,
        window,
    )
    return {
        "title": f"Window {window}",
        "window": describe_window(row),
        "before": near["before"],
        "after": near["after"],
        "timeline": make_timeline(reader, window),
        "inputs": None if file is None else _describe_inputs(file, row["beacons"]),
        "reasons": count_reasons([m.reason and m.reason.value for m in members]),
        "members": [] if file is None else [_describe_member(reader, file, m) for m in shown],
        "paging": paging,
        "unread": describe_unread(file),
        "others": count_window(reader, window),
    } | describe_audit(reader, window, window)


def describe_unread(file: WindowFile | None) -> View | None:
    """The size limit of statistics, if a window's were too large to show; otherwise None."""
    return {"bytes_max": STATISTICS_BYTES} if file is not None and file.verdicts is None else None


def _open(reader: PageReader, window: int) -> tuple[Any, WindowFile | None]:
    row = reader.ask_one("SELECT * FROM windows WHERE window = ?", window)
    if row is None:
        raise NotFoundError(f"window {window} is not in the record: {list_known_windows(reader)}")
    return row, reader.read_window(window)


def _order(file: WindowFile) -> list[MemberRow]:
    """Members with a commitment come first, by score. The others follow by uid."""
    return sorted(
        file.record.members, key=lambda m: (m.committed is None, -m.score, m.reason is None, m.uid)
    )


def make_timeline(reader: PageReader, window: int) -> View:
    timing = reader.subject.get_parameters(window).timing
    live = reader.sources.read_live()
    moments = [
        {
            "name": PHASES[phase],
            "block": compute_block(timing, window, phase),
            "decides": WINDOW_SCHEDULE[phase],
        }
        for phase in Phase
    ]
    first, last = moments[0]["block"], moments[-1]["block"]
    start = compute_block(timing, window, Phase.CHALLENGE)
    return {
        "first": first,
        "last": last,
        "starts": start,
        "ends": start + timing.window_blocks,
        "head": None if live is None else live.head,
        "moments": moments,
    }


def _describe_inputs(file: WindowFile, state: str) -> View:
    record, context = file.record, file.context
    return {
        "software": record.software,
        "digest": record.digest.hex(),
        "previous": record.previous.hex(),
        "checkpoint": record.checkpoint.hex(),
        "beacons": state,
        "challenge": _describe_moment(record.challenge),
        "audit": _describe_moment(record.audit),
        "challenge_seed": None if context is None else context.challenge_seed.hex(),
        "audit_seed": None
        if context is None or context.audit is None
        else context.audit_seed.hex(),
    }


def _describe_moment(moment: Moment | None) -> View | None:
    if moment is None:
        return None
    return {
        "block_hash": moment.block_hash.hex(),
        "time_ms": moment.timestamp_ms,
        "round": moment.beacon.round,
        "signature": moment.beacon.signature.hex(),
    }


def _describe_member(reader: PageReader, file: WindowFile, row: MemberRow) -> View:
    address = encode_ss58(row.hotkey)
    words = file.get_words(address)
    parameters = reader.subject.get_parameters(file.record.window)
    return {
        "hotkey": address,
        "name": name_hotkey(reader, address),
        "uid": row.uid,
        "groups": 0 if row.committed is None else row.committed.groups,
        "reason": row.reason and row.reason.value,
        "word": get_mark(row.reason and row.reason.value).word,
        "detail": words.get("detail", ""),
        "score": row.score,
        "audited": list_audited(file, row, parameters.work.group_size),
        "measures": list_measures(words, row, parameters.tests),
    }


def select(context: Context | None, row: MemberRow) -> tuple[AuditedGroup, ...]:
    """The groups that the audit draws from a commitment. Empty if there is nothing to draw from."""
    if context is None or context.audit is None or row.committed is None:
        return ()
    return select_committed(context, row.hotkey, row.committed.groups)


def sample(context: Context | None, row: MemberRow) -> tuple[tuple[int, int], ...]:
    """Which rollouts are sampled of it, group and rollout each."""
    if context is None or row.committed is None:
        return ()
    return select_sampled(context, row.hotkey, row.committed.groups)


def list_audited(file: WindowFile, row: MemberRow, size: int) -> list[View]:
    """Groups from which the audit draws rollouts, `size` each. rollouts: how many; audited: which,
    as the validator says, or None: only the miner's file says it. valued: whether the group is read
    whole and scored."""
    words = file.get_words(encode_ss58(row.hotkey))
    said = {group["index"]: group["audited"] for group in words.get("groups", [])}
    return [
        {
            "index": group.index,
            "rollouts": group.rollouts,
            "audited": [*range(size)] if group.rollouts == size else said.get(group.index),
            "valued": group.valued,
        }
        for group in select(file.context, row)
    ]


def list_measures(words: View, row: MemberRow, tests: Tests) -> list[View]:
    statistics = words.get("statistics", {})
    accepted = row.reason is not None and row.reason.value == "ACCEPTED"
    if words.get("reason") != (row.reason and row.reason.value):
        return []  # nothing commits to them, and these are of another verdict
    nats = 1 << LOGPROB_BITS
    bounds = (
        ("margin_max", "largest margin", "logits", tests.margin_cap / (1 << FRACTION_BITS)),
        ("log_capital", "sampling martingale", "ln", log(2 * tests.alpha_inverse)),
        ("logprob_rms", "log-probability error", "nats", tests.logprob_rms_bound / nats),
        ("sketch_mean", "sketch distance", "steps", tests.sketch_rollout_bound / 1_000),
        ("ledger_capital", "settlement’s ledger", "ln", log(tests.alpha_inverse)),
    )
    return [
        {
            "name": name,
            "label": label,
            "unit": unit,
            "value": statistics[name],
            "bound": round(bound, 9),
            "exceeded": statistics[name] > bound,
            "ratio": round(min(max(statistics[name], 0.0) / bound, 1e9), 6),
        }
        for name, label, unit, bound in bounds
        if name in statistics and (accepted or statistics[name])  # 0: it was refused before
    ]


def view_member(reader: PageReader, query: Query, window: int, hotkey: str) -> View:
    """One miner's window: its verdict, why these groups, what each was worth. Raises NotFoundError:
    no such window, or nobody of that hotkey in it."""
    _, file = _open(reader, window)
    members = () if file is None else file.record.members
    row = next((m for m in members if encode_ss58(m.hotkey) == hotkey), None)
    if row is None or file is None:
        raise NotFoundError(
            f"that hotkey is not a member of window {window}, or its record is away"
        )
    member = _describe_member(reader, file, row)
    words = file.get_words(hotkey)
    return (
        member
        | {
            "title": f"{name_hotkey(reader, hotkey) or hotkey[:8] + '…'} in window {window}",
            "window": window,
            "registered_at": row.registered_at,
            **describe_reason(row.reason and row.reason.value),
            "place": {
                name: words[name]
                for name in ("group", "rollout", "token")
                if words.get(name) is not None
            },
            "commitment": None
            if row.committed is None
            else {
                "root": row.committed.root.hex(),
                "groups": row.committed.groups,
                "locator": row.committed.locator,
            },
            "selection": _describe_selection(file.context, row),
            "audited": _describe_groups(row, words, member["audited"]),
            "group_size": reader.subject.get_parameters(window).work.group_size,
            "has_model": reader.sources.has_model,
            "unread": describe_unread(file),
        }
        | describe_check(reader, window, hotkey)
    )


def describe_check(reader: PageReader, window: int, hotkey: str) -> View:
    """The command that judges one submission again, or its window's command if there is none."""
    command = reader.sources.commands.verify(window, hotkey)
    if command is None:
        return describe_audit(reader, window, window)
    return {"command": command, "covers": None}


def _describe_selection(context: Context | None, row: MemberRow) -> View | None:
    """Why these: what the draws begin with, and what they come to."""
    chosen = select(context, row)
    if context is None or row.committed is None or not chosen:
        return None
    return {
        "groups": row.committed.groups,
        "groups_seed": compute_groups_seed(context.audit_seed, row.hotkey).hex(),
        "sample_seed": None
        if context.sample is None
        else compute_samples_seed(context.sample_seed, row.hotkey).hex(),
        "audited": sum(group.rollouts for group in chosen),
        "audited_groups": len(chosen),
        "valued_groups": sum(group.valued for group in chosen),
        "sampled": [
            {"group": group, "rollout": rollout} for group, rollout in sample(context, row)
        ],
    }


def _describe_groups(row: MemberRow, words: View, audited: list[View]) -> list[View]:
    """Audited groups, where they are valued with what the record says; rewards as the validator
    says."""
    said = {group["index"]: group["rewards"] for group in words.get("groups", [])}
    valued = [group["index"] for group in audited if group["valued"]]
    values = dict(zip(valued, row.values, strict=True)) if len(row.values) == len(valued) else {}
    return [
        group
        | {
            "value": values.get(group["index"]),
            "rewards": (rewards := said.get(group["index"], [])),
            "mean": divide(sum(rewards), len(rewards) * 1_000_000),
        }
        for group in audited
    ]
