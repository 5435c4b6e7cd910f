"""The first page: three answers, the subnet's present state, and the newest settlement."""

from typing import Any

from assay.explorer.documents.overview import (
    AnnouncedChange,
    CheckpointInForce,
    LiveState,
    NetworkFacts,
    NewestBeacons,
    OpenWindow,
    OpenWindowProgress,
    OverviewDocument,
    ParameterChange,
)
from assay.explorer.documents.shared import WindowSummary
from assay.explorer.labels import DOING, PHASES
from assay.explorer.page_reader import PageReader
from assay.explorer.ports import CheckpointOrigin, Live, ShownRecord, WindowStatus
from assay.explorer.views.common import Query, describe_audit, describe_trouble, divide
from assay.explorer.views.first_screen import view_first_screen
from assay.explorer.views.settlements import show_weights
from assay.protocol.errors import Trouble, TroubleKind
from assay.protocol.parameters import MILLION, Parameters
from assay.protocol.reward_terms import describe_rewards
from assay.protocol.window import Phase, compute_block, compute_window

#: Windows and weights on the first page.
_WINDOWS, _WEIGHTS = 12, 10


def view_overview(reader: PageReader, query: Query) -> OverviewDocument:
    """Window, phase, countdown, beacon, checkpoint, weights, the last windows."""
    live = reader.sources.read_live()
    newest = reader.ask_one("SELECT * FROM windows ORDER BY window DESC LIMIT 1")
    rows = reader.ask("SELECT * FROM windows ORDER BY window DESC LIMIT ?", _WINDOWS)
    settled = reader.ask_one("SELECT epoch FROM settlements ORDER BY epoch DESC LIMIT 1")
    epoch = None if settled is None else settled["epoch"]
    weights = None if epoch is None else show_weights(reader, epoch, _WEIGHTS)
    span = reader.ask_one(
        "SELECT min(window) AS first FROM windows WHERE epoch = ? OR window >= ?",
        epoch,
        rows[-1]["window"] if rows else 0,
    )
    return OverviewDocument(
        title="Overview",
        screen=view_first_screen(reader, live, weights),
        network=_describe_network(reader, _find_parameters(reader, live)),
        announced=_describe_announced(reader, live),
        live=None if live is None else _describe_live(reader.subject, live),
        checkpoint=_describe_checkpoint(reader),
        beacons=None
        if newest is None
        else NewestBeacons(
            window=newest["window"],
            challenge_round=newest["challenge_round"],
            audit_round=newest["audit_round"],
            state=newest["beacons"],
        ),
        weights=weights,
        windows=[describe_window(row) for row in rows],
        settlements=reader.ask_one("SELECT count(*) AS n FROM settlements")["n"],
        settled_windows=reader.ask_one("SELECT count(*) AS n FROM windows")["n"],
        **describe_audit(reader, span["first"], rows[0]["window"] if rows else None),
    )


def _find_parameters(reader: PageReader, live: Live | None) -> Parameters:
    """The parameters in force; without a chain the newest window's, or the newest known ones."""
    subject = reader.subject
    if live is not None:
        return subject.history.get_at(live.head)
    newest = reader.ask_one("SELECT max(window) AS window FROM windows")["window"]
    return subject.history.latest if newest is None else subject.get_parameters(newest)


def _describe_announced(reader: PageReader, live: Live | None) -> list[AnnouncedChange]:
    """Parameters that do not hold yet: when they will, and their changes."""
    announced = reader.sources.list_announced(None if live is None else live.head)
    return [
        AnnouncedChange(
            digest=one.parameters.digest.hex(),
            window=one.window,
            block=one.block,
            decided=one.is_decided,
            decided_at=one.decided_at,
            changes=[
                ParameterChange(field=name, before=before, after=after)
                for name, (before, after) in one.write_changes().items()
            ],
        )
        for one in announced
    ]


def _describe_network(reader: PageReader, parameters: Parameters) -> NetworkFacts:
    identity, work = parameters.identity, parameters.work
    return NetworkFacts(
        validator=reader.address,
        netuid=identity.netuid,
        genesis_hash=identity.genesis_hash.hex(),
        parameters=parameters.digest.hex(),
        environment=parameters.environment.name,
        rewards=describe_rewards(parameters.rewards, work.max_tokens),
        place=reader.subject.place,
        window_blocks=parameters.timing.window_blocks,
        group_size=work.group_size,
        audited_rollouts=work.audited_rollouts,
        valued_groups=work.valued_groups,
        sampled_rollouts=work.sampled_rollouts,
        prompt_share=work.prompt_share / MILLION,
        position_share=work.position_share / MILLION,
        burn_share=identity.burn_share / MILLION,
    )


def _describe_live(subject: ShownRecord, live: Live) -> LiveState:
    """The head, and every open window: its phase, the next one, and the blocks until then."""
    timing = subject.history.get_at(live.head).timing
    now = compute_window(timing, live.head)
    notes = {int(w["window"]): w for w in live.windows if type(w.get("window")) is int}
    first = now
    while first > 0 and _get_end(subject, first - 1) > live.head:
        first -= 1
    windows = [
        _describe_open(subject.get_parameters(window), window, live.head, notes.get(window))
        for window in range(now, first - 1, -1)
    ]
    left = (now + 1) * timing.window_blocks - live.head
    return LiveState(
        head=live.head,
        moving=live.moving,
        program=live.program,
        trouble=describe_trouble(live.trouble),
        since_ms=live.since_ms,
        window=now,
        block_of_window=live.head - now * timing.window_blocks,
        next_window_in=left,
        next_window_seconds=left * timing.slot_ms / 1_000,
        windows=windows,
    )


def _get_end(subject: ShownRecord, window: int) -> int:
    return compute_block(subject.get_parameters(window).timing, window, Phase.VERDICT_END)


def _describe_open(
    parameters: Parameters, window: int, head: int, note: WindowStatus | None
) -> OpenWindow:
    """A window on its way. note: the validator's own, where one runs beside this page."""
    moments = [(compute_block(parameters.timing, window, phase), phase) for phase in Phase]
    past = [phase for block, phase in moments if block <= head]
    phase = past[-1] if past else Phase.CHECKPOINT
    following = next(((block, after) for block, after in moments if block > head), None)
    left = None if following is None else following[0] - head
    start, end = moments[1][0], moments[-1][0]
    return OpenWindow(
        window=window,
        doing=DOING[phase],
        progress=divide(head - start, end - start),
        next=None if following is None else PHASES[following[1]],
        next_block=None if following is None else following[0],
        blocks_left=left,
        seconds_left=None if left is None else left * parameters.timing.slot_ms / 1_000,
        said=None if note is None else _describe_progress(note),
    )


def _describe_progress(note: WindowStatus) -> OpenWindowProgress:
    """A validator's progress. Its results are for its operator alone until the weights are open on
    chain, even as a count: before samples are known, only refusals are verdicts."""
    return OpenWindowProgress(
        state=str(note.get("state", "")),
        trouble=describe_trouble(_find_trouble(note)),
        judged=judged if type(judged := note.get("judged")) is int else 0,
    )


def _find_trouble(note: WindowStatus) -> Trouble | None:
    if void := note.get("void"):
        return Trouble(TroubleKind.CHECKPOINT, str(void))
    if missing := note.get("missing"):
        return Trouble(TroubleKind.WINDOW, str(missing))
    return None


def _describe_checkpoint(reader: PageReader) -> CheckpointInForce | None:
    row = reader.ask_one(
        "SELECT checkpoint, window FROM windows WHERE length(checkpoint) = 32 "
        "AND checkpoint != zeroblob(32) ORDER BY window DESC LIMIT 1"
    )
    if row is None:
        return None
    origin = reader.sources.read_manifest(row["checkpoint"]) or CheckpointOrigin()
    return CheckpointInForce(
        digest=row["checkpoint"].hex(),
        window=row["window"],
        number=origin.number,
        parent=origin.parent,
    )


def describe_window(row: Any) -> WindowSummary:
    """A window's row of the index, for a list."""
    return WindowSummary(
        window=row["window"],
        epoch=row["epoch"],
        outcome=row["outcome"],
        link=row["link"],
        beacons=row["beacons"],
        time_ms=row["challenge_ms"],
        members=row["members"],
        committed=row["committed"],
        accepted=row["accepted"],
        refused=row["refused"],
        score=int(row["score"]),
        reward=divide(row["reward_sum"], row["rewards"] * 1_000_000, 4),
        checkpoint=row["checkpoint"].hex(),
    )
