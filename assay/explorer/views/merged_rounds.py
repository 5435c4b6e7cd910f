"""Rounds of several trainers: each one's child, and why it was merged or left out."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from assay.explorer.documents.training import (
    RepeatedStepRow,
    RoundCalendar,
    RoundChild,
    RoundRow,
    RoundsDocument,
    TrainerCounts,
)
from assay.explorer.labels import FINDINGS
from assay.explorer.page_reader import PageReader
from assay.explorer.ports import CheckpointOrigin, MergedRound, TrainerChild
from assay.explorer.views.common import Query, make_paging, name_hotkey
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import Phase, compute_block
from assay.rounds import ChildFinding, find_round

#: Rounds on a page, and checkpoints whose manifests may name a merge.
_ROUNDS, _CHECKPOINTS = 25, 256
_TAKEN, _ABSENT = ChildFinding.TAKEN.value, ChildFinding.ABSENT.value


def view_rounds(reader: PageReader, query: Query) -> RoundsDocument:
    """The round under way, the trainers, and the fate of each one's child."""
    rounds = list_rounds(reader)
    paging = make_paging(query, len(rounds), _ROUNDS)
    listed = rounds[paging["offset"] : paging["offset"] + paging["size"]]
    newest = rounds[0].checkpoint if rounds else None
    return RoundsDocument(
        title="Rounds",
        under_way=_describe_calendar(reader),
        rounds=[_describe_round(one) for one in listed],
        children=[_describe_child(reader, one, child) for one in listed for child in one.children],
        trainers=_count_trainers(reader, rounds),
        repeated=[
            RepeatedStepRow(
                end=one.end,
                hotkey=step.hotkey,
                name=name_hotkey(reader, step.hotkey),
                window=step.window,
                equal=step.equal,
                detail=step.detail,
            )
            for one in listed
            for step in one.repeated
        ],
        paging=paging,
        command=reader.sources.commands.audit_round(newest),
    )


def list_rounds(reader: PageReader) -> Sequence[MergedRound]:
    """All rounds that are known, newest first."""
    return reader.sources.list_rounds(_list_origins(reader))


def find_children(reader: PageReader, digits: str) -> Iterator[tuple[MergedRound, str]]:
    """Rounds of the children whose digests begin with hex digits, and the address of each."""
    for place, one in enumerate(list_rounds(reader)):
        if any((child.child or "").startswith(digits) for child in one.children):
            page = place // _ROUNDS + 1
            yield one, f"/rounds{f'?page={page}' if page > 1 else ''}#round-{one.end}"


def _list_origins(reader: PageReader) -> dict[str, CheckpointOrigin]:
    """The newest checkpoints that were in force, where rounds may have made them."""
    if all(parameters.rounds is None for parameters in reader.subject.history.all):
        return {}
    rows = reader.ask(
        "SELECT checkpoint, max(window) AS last FROM windows WHERE length(checkpoint) = 32 "
        "AND checkpoint != zeroblob(32) GROUP BY checkpoint ORDER BY last DESC LIMIT ?",
        _CHECKPOINTS,
    )
    origins = ((row["checkpoint"], reader.sources.read_manifest(row["checkpoint"])) for row in rows)
    return {digest.hex(): origin for digest, origin in origins if origin is not None}


def _describe_calendar(reader: PageReader) -> RoundCalendar | None:
    """The round of the newest block. None: its parameters have no rounds, or no block is known."""
    live = reader.sources.read_live()
    if live is None:
        return None
    parameters = reader.subject.history.get_at(live.head)
    if parameters.rounds is None:
        return None
    of = find_round(parameters, reader.subject.get_window(live.head))
    return RoundCalendar(
        number=of.number,
        first=of.windows.start,
        last=of.windows.stop - 1,
        end=of.end,
        head=live.head,
        begins=compute_block(parameters.timing, of.windows.start, Phase.CHALLENGE),
        opening=of.opening,
        deadline=of.deadline,
        turns_end=of.turns_end,
        trainers=[encode_ss58(hotkey) for hotkey in of.rounds.trainers],
    )


def _describe_round(one: MergedRound) -> RoundRow:
    equal = [step.equal for step in one.repeated]
    return RoundRow(
        end=one.end,
        checkpoint=one.checkpoint,
        parent=one.parent,
        measurer=one.measurer,
        children=len(one.children),
        merged=sum(child.said == _TAKEN for child in one.children),
        derived=one.derived,
        fault=one.fault,
        repeated=len(equal),
        equal=equal.count(True),
        lied=sorted(_list_liars(one)),
    )


def _list_liars(one: MergedRound) -> set[str]:
    """Hotkeys of trainers of whom a repeated step came out differently."""
    return {step.hotkey for step in one.repeated if step.equal is False}


def _describe_child(reader: PageReader, one: MergedRound, child: TrainerChild) -> RoundChild:
    """Show the finding of the merge's record, which decides, and any different later finding."""
    finding = child.said if child.said in FINDINGS else child.found
    return RoundChild(
        end=one.end,
        hotkey=child.hotkey,
        name=name_hotkey(reader, child.hotkey),
        child=child.child,
        said=child.said,
        found=child.found,
        merged=child.said == _TAKEN,
        why=FINDINGS.get(finding or "", ""),
        detail="" if child.said == child.found == _TAKEN else child.detail,
    )


def _count_trainers(reader: PageReader, rounds: Iterable[MergedRound]) -> list[TrainerCounts]:
    """Each trainer over all rounds that are known, and each trainer of the newest parameters."""
    now = reader.subject.history.latest.rounds
    trainers = [encode_ss58(hotkey) for hotkey in (now.trainers if now else ())]
    totals: Counter[str] = Counter()
    findings: Counter[tuple[str, str]] = Counter()
    lies: Counter[str] = Counter()
    for one in rounds:
        liars = _list_liars(one)
        totals.update(child.hotkey for child in one.children)
        findings.update((child.hotkey, child.said) for child in one.children)
        lies.update(child.hotkey for child in one.children if child.hotkey in liars)
    return [
        TrainerCounts(
            hotkey=hotkey,
            name=name_hotkey(reader, hotkey),
            trains=hotkey in trainers,
            merged=(merged := findings[hotkey, _TAKEN]),
            left_out=totals[hotkey] - merged - findings[hotkey, _ABSENT],
            absent=findings[hotkey, _ABSENT],
            lied=lies[hotkey],
        )
        for hotkey in sorted({*trainers, *totals})
    ]
