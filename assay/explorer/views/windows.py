"""Windows: a list, one of them, and one miner in one of them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from assay.explorer.documents.shared import Role, UnreadStatistics
from assay.explorer.documents.windows import (
    AuditedGroupRow,
    AuditSelection,
    FoundPlace,
    ListedMember,
    MemberDocument,
    RecordedMoment,
    SampledRollout,
    StatisticAgainstBound,
    SubmissionCommitment,
    TimelineMoment,
    ValuedGroupRow,
    WindowDocument,
    WindowInputs,
    WindowsDocument,
    WindowTimeline,
)
from assay.explorer.labels import PHASES, get_mark
from assay.explorer.page_reader import NotFoundError, PageReader, WindowFile
from assay.explorer.ports import STATISTICS_BYTES
from assay.explorer.views.common import (
    Query,
    Rederivation,
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
from assay.explorer.views.roles import find_roles
from assay.explorer.views.validators import count_window
from assay.protocol.context import Context
from assay.protocol.parameters import Tests
from assay.protocol.reason import Reason
from assay.protocol.record import MemberRow, Moment
from assay.protocol.seeds import compute_groups_seed, compute_samples_seed
from assay.protocol.selection import AuditedGroup, select_committed, select_sampled
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import WINDOW_SCHEDULE, Phase, compute_block
from assay.verification.bounds import BOUNDS

_WINDOWS, _MEMBERS = 50, 25


def view_windows(reader: PageReader, query: Query) -> WindowsDocument:
    paging, rows = ask_page(reader, query, "windows", "window DESC", _WINDOWS)
    numbers = [row["window"] for row in rows]
    return WindowsDocument(
        title="Windows",
        windows=[describe_window(row) for row in rows],
        paging=paging,
        **describe_audit(reader, min(numbers, default=None), max(numbers, default=None)),
    )


def view_window(reader: PageReader, query: Query, window: int) -> WindowDocument:
    """One window: its timeline, its inputs, and its members with their verdicts. Raises
    NotFoundError: the record has no such window."""
    row, file = _open(reader, window)
    roles = find_roles(reader)
    members = [] if file is None else _order(file, roles)
    paging = make_paging(query, len(members), _MEMBERS)
    listed = members[paging["offset"] : paging["offset"] + paging["size"]]
    near = reader.ask_one(
        "SELECT (SELECT max(window) FROM windows WHERE window < ?) AS before, "
        "(SELECT min(window) FROM windows WHERE window > ?) AS after",
        window,
        window,
    )
    return WindowDocument(
        title=f"Window {window}",
        window=describe_window(row),
        before=near["before"],
        after=near["after"],
        timeline=_make_timeline(reader, window),
        inputs=None if file is None else _describe_inputs(reader, file, row["beacons"]),
        reasons=count_reasons(
            m.reason and m.reason.value
            for m in members
            if m.committed is not None or encode_ss58(m.hotkey) not in roles
        ),
        members=[] if file is None else [_describe_member(reader, file, m, roles) for m in listed],
        paging=paging,
        unread=describe_unread(file),
        others=count_window(reader, window),
        **describe_audit(reader, window, window),
    )


def describe_unread(file: WindowFile | None) -> UnreadStatistics | None:
    """The size limit of statistics, if a window's were too large to show; otherwise None."""
    if file is None or file.verdicts is not None:
        return None
    return UnreadStatistics(bytes_max=STATISTICS_BYTES)


def _open(reader: PageReader, window: int) -> tuple[Any, WindowFile | None]:
    row = reader.ask_one("SELECT * FROM windows WHERE window = ?", window)
    if row is None:
        raise NotFoundError(f"window {window} is not in the record: {list_known_windows(reader)}")
    return row, reader.read_window(window)


def _order(file: WindowFile, roles: Mapping[str, Sequence[Role]]) -> list[MemberRow]:
    """Members with a commitment come first, by score. The others follow by uid, last those that are
    not there to mine."""
    return sorted(
        file.record.members,
        key=lambda m: (
            m.committed is None,
            m.committed is None and encode_ss58(m.hotkey) in roles,
            -m.score,
            m.reason is None,
            m.uid,
        ),
    )


def _make_timeline(reader: PageReader, window: int) -> WindowTimeline:
    timing = reader.subject.get_parameters(window).timing
    live = reader.sources.read_live()
    moments = [
        TimelineMoment(
            name=PHASES[phase],
            block=compute_block(timing, window, phase),
            decides=WINDOW_SCHEDULE[phase],
        )
        for phase in Phase
    ]
    start = compute_block(timing, window, Phase.CHALLENGE)
    return WindowTimeline(
        first=moments[0]["block"],
        last=moments[-1]["block"],
        starts=start,
        ends=start + timing.window_blocks,
        head=None if live is None else live.head,
        moments=moments,
    )


def _describe_inputs(reader: PageReader, file: WindowFile, beacons: str) -> WindowInputs:
    record, context = file.record, file.context
    origin = reader.sources.read_manifest(record.checkpoint)
    return WindowInputs(
        software=record.software,
        digest=record.digest.hex(),
        previous=record.previous.hex(),
        checkpoint=record.checkpoint.hex(),
        number=None if origin is None else origin.number,
        beacons=beacons,
        challenge=_describe_moment(record.challenge),
        audit=_describe_moment(record.audit),
        challenge_seed=None if context is None else context.challenge_seed.hex(),
        audit_seed=None if context is None or context.audit is None else context.audit_seed.hex(),
    )


def _describe_moment(moment: Moment | None) -> RecordedMoment | None:
    if moment is None:
        return None
    return RecordedMoment(
        block_hash=moment.block_hash.hex(),
        time_ms=moment.timestamp_ms,
        round=moment.beacon.round,
        signature=moment.beacon.signature.hex(),
    )


def _describe_member(
    reader: PageReader, file: WindowFile, row: MemberRow, roles: Mapping[str, Sequence[Role]]
) -> ListedMember:
    address = encode_ss58(row.hotkey)
    words = file.get_words(address)
    parameters = reader.subject.get_parameters(file.record.window)
    return ListedMember(
        hotkey=address,
        name=name_hotkey(reader, address),
        roles=[*roles.get(address, ())],
        uid=row.uid,
        groups=0 if row.committed is None else row.committed.groups,
        reason=row.reason and row.reason.value,
        word=get_mark(row.reason and row.reason.value).word,
        detail=words.get("detail", ""),
        score=row.score,
        audited=list_audited(file, row, parameters.work.group_size),
        measures=list_measures(words, row, parameters.tests),
    )


def _select(context: Context | None, row: MemberRow) -> tuple[AuditedGroup, ...]:
    """The groups that the audit draws from a commitment. Empty if there is nothing to draw from."""
    if context is None or context.audit is None or row.committed is None:
        return ()
    return select_committed(context, row.hotkey, row.committed.groups)


def sample(context: Context | None, row: MemberRow) -> tuple[tuple[int, int], ...]:
    """Group and rollout of each sampled rollout of a commitment."""
    if context is None or row.committed is None:
        return ()
    return select_sampled(context, row.hotkey, row.committed.groups)


def list_audited(file: WindowFile, row: MemberRow, size: int) -> list[AuditedGroupRow]:
    """Groups of `size` rollouts from which the audit draws. The drawn rollouts of a group are by
    the validator's report."""
    words = file.get_words(encode_ss58(row.hotkey))
    reported = {group["index"]: group["audited"] for group in words.get("groups", [])}
    return [
        AuditedGroupRow(
            index=group.index,
            rollouts=group.rollouts,
            audited=[*range(size)] if group.rollouts == size else reported.get(group.index),
            valued=group.valued,
        )
        for group in _select(file.context, row)
    ]


def list_measures(
    words: dict[str, Any], row: MemberRow, tests: Tests
) -> list[StatisticAgainstBound]:
    """A verdict's statistics against the bounds of the judge's tests, as far as they were measured.

    Args:
        words: the validator's report of a verdict.
        row: the recorded verdict. Nothing commits to the report: it may be of another one.
    """
    if words.get("reason") != (row.reason and row.reason.value):
        return []
    accepted, statistics = row.reason is Reason.ACCEPTED, words.get("statistics", {})
    measures = []
    for bound in BOUNDS:
        value, limit = statistics.get(bound.name), bound.compute(tests)
        if value is None or (not accepted and not value):  # 0: it was refused before this test
            continue
        measures.append(
            StatisticAgainstBound(
                name=bound.name,
                label=bound.label.replace("'", "’"),
                unit=bound.unit,
                value=value,
                bound=round(limit, 9),
                exceeded=bound.is_exceeded(value, limit),
                ratio=round(min(max(value, 0.0) / limit, 1e9), 6),
            )
        )
    return measures


def view_member(reader: PageReader, query: Query, window: int, hotkey: str) -> MemberDocument:
    """One miner's window: its verdict, the audit's draws, and the groups' values. Raises
    NotFoundError: there is no such window, or the hotkey is not a member of it."""
    _, file = _open(reader, window)
    members = () if file is None else file.record.members
    row = next((m for m in members if encode_ss58(m.hotkey) == hotkey), None)
    if row is None or file is None:
        raise NotFoundError(
            f"that hotkey is not a member of window {window}, or its record is away"
        )
    member = _describe_member(reader, file, row, find_roles(reader))
    words = file.get_words(hotkey)
    return {
        **member,
        "audited": _describe_groups(row, words, member["audited"]),
        "title": f"{name_hotkey(reader, hotkey) or hotkey[:8] + '…'} in window {window}",
        "window": window,
        "registered_at": row.registered_at,
        **describe_reason(row.reason and row.reason.value),
        "place": _find_place(words),
        "commitment": None
        if row.committed is None
        else SubmissionCommitment(
            root=row.committed.root.hex(),
            groups=row.committed.groups,
            locator=row.committed.locator,
        ),
        "selection": _describe_selection(file.context, row),
        "group_size": reader.subject.get_parameters(window).work.group_size,
        "has_model": reader.sources.has_model,
        "unread": describe_unread(file),
        **describe_check(reader, window, hotkey),
    }


def _find_place(words: dict[str, Any]) -> FoundPlace:
    names: tuple[Literal["group", "rollout", "token"], ...] = ("group", "rollout", "token")
    place = FoundPlace()
    for name in names:
        if words.get(name) is not None:
            place[name] = words[name]
    return place


def describe_check(reader: PageReader, window: int, hotkey: str) -> Rederivation:
    """The command that judges one submission again, or its window's command if there is none."""
    command = reader.sources.commands.verify(window, hotkey)
    if command is None:
        return describe_audit(reader, window, window)
    return Rederivation(command=command, covers=None)


def _describe_selection(context: Context | None, row: MemberRow) -> AuditSelection | None:
    """The seeds of the audit's draws, and the draws. None without a draw."""
    groups = _select(context, row)
    if context is None or row.committed is None or not groups:
        return None
    return AuditSelection(
        groups=row.committed.groups,
        groups_seed=compute_groups_seed(context.audit_seed, row.hotkey).hex(),
        sample_seed=None
        if context.sample is None
        else compute_samples_seed(context.sample_seed, row.hotkey).hex(),
        audited=sum(group.rollouts for group in groups),
        audited_groups=len(groups),
        valued_groups=sum(group.valued for group in groups),
        sampled=[
            SampledRollout(group=group, rollout=rollout) for group, rollout in sample(context, row)
        ],
    )


def _describe_groups(
    row: MemberRow, words: dict[str, Any], audited: list[AuditedGroupRow]
) -> list[ValuedGroupRow]:
    """Audited groups with the values of the record, and the rewards of the validator's report."""
    reported = {group["index"]: group for group in words.get("groups", [])}
    valued = [group["index"] for group in audited if group["valued"]]
    values = dict(zip(valued, row.values, strict=True)) if len(row.values) == len(valued) else {}
    rows = []
    for group in audited:
        words_of = reported.get(group["index"], {})
        rewards, correctness = words_of.get("rewards", []), words_of.get("correctness", [])
        rows.append(
            ValuedGroupRow(
                **group,
                value=values.get(group["index"]),
                rewards=rewards,
                mean=divide(sum(rewards), len(rewards) * 1_000_000),
                correctness=correctness,
                mean_correctness=divide(sum(correctness), len(correctness) * 1_000_000),
            )
        )
    return rows
