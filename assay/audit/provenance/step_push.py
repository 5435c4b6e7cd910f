"""Sends accepted groups to a server that another trainer reads: `assay.network.atropos`.

The groups are as `step_export` would write them, and all are checked before the first one is sent.
The trainer's own groups are left out, because no commitment proves them. The server takes a
repeated POST for a second group, so a journal on disk notes each group before and after it is sent.
If a program is killed between the two, or gets no clear answer, the server may or may not have the
group. That is reported, and the group is not sent again unless a person asks for it.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice, repeat
from pathlib import Path
from typing import Any

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.database import Database
from assay.artifacts.steps.file import ConsumedGroup, open_step_parser
from assay.artifacts.steps.folder import Step, read_step_groups
from assay.audit.provenance.column_layouts import weave_row
from assay.audit.provenance.step_export import ExportError, make_rows, read_steps
from assay.network.atropos import (
    MASKED,
    MASKED_LOGPROB,
    GroupRefusedError,
    GroupServer,
    GroupServerError,
    ScoredGroup,
    ServerAwayError,
    UnknownDeliveryError,
)
from assay.network.files import hold_folder

#: Groups that may wait in the server's memory.
QUEUE_MAX = 1_024
#: Seconds between two looks at a server that is not ready.
LOOK_S = 1.0
_SENDING, _UNKNOWN, _DONE = "sending", "unknown", "done"
_TABLE = """CREATE TABLE IF NOT EXISTS pushed (
    root BLOB NOT NULL, place INTEGER NOT NULL, state TEXT NOT NULL,
    PRIMARY KEY (root, place)) WITHOUT ROWID"""

#: Root of a submission as committed on chain, and the group's index in it. The same group in two
#: steps counts once.
GroupKey = tuple[bytes, int]


@dataclass(slots=True)
class PushSummary:
    """The fate of the miners' groups of some steps."""

    steps: int = 0
    groups: int = 0  # all of the miners' groups
    sent: int = 0  # groups sent by this run
    rollouts: int = 0  # rollouts of these groups
    already: int = 0  # groups sent by earlier runs
    left_over: int = 0  # left by a kill and found by this run; unknown since
    #: groups that the server may have, and that are not sent again: `root/place`
    unknown: list[str] = field(default_factory=list)
    too_long: int = 0  # longer than the server's trainer takes; not sent
    own: int = 0  # the trainer's own: neither counted as groups nor sent


class PushJournal:
    """The groups that one server was sent. Raises JournalError (every method): it is unusable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.execute(_TABLE)

    def note_kill(self) -> list[GroupKey]:
        """Return the groups that were being sent when the last program ended, and mark them as
        unknown."""
        with self._database.transaction():
            rows = self._database.execute(
                "SELECT root, place FROM pushed WHERE state = ?", (_SENDING,)
            )
            self._database.execute(
                "UPDATE pushed SET state = ? WHERE state = ?", (_UNKNOWN, _SENDING)
            )
        return [(root, place) for root, place in rows]

    def get(self, key: GroupKey) -> str | None:
        """The known state of a group; None: it was never sent."""
        rows = self._database.execute("SELECT state FROM pushed WHERE root = ? AND place = ?", key)
        return rows[0][0] if rows else None

    def put(self, key: GroupKey, state: str) -> None:
        """Note the state of a group. It is on the disk when this returns."""
        with self._database.transaction():
            self._database.execute("INSERT OR REPLACE INTO pushed VALUES (?, ?, ?)", (*key, state))

    def put_back(self, key: GroupKey, state: str | None) -> None:
        """Restore the earlier state of a group that this attempt certainly did not deliver."""
        if state is not None:
            return self.put(key, state)
        with self._database.transaction():
            self._database.execute("DELETE FROM pushed WHERE root = ? AND place = ?", key)


@dataclass(slots=True)
class _Push:
    """One run.

    Args:
        wait_s: longest wait each time for the server, for its trainer, and for room in its queue.
        resend: send groups of unknown state again.
    """

    server: GroupServer
    journal: PushJournal
    wait_s: float
    resend: bool
    say: Callable[[str], None]
    summary: PushSummary = field(default_factory=PushSummary)
    envs: dict[int, int] = field(default_factory=dict)  # size of a group → number

    def hand_over(self, key: GroupKey, group: ScoredGroup) -> None:
        """Send one group, unless it was sent. Raises OperatorError: it was not sent, or this is
        unknown."""
        deadline, before = time.monotonic() + self.wait_s, self.journal.get(key)
        while True:
            tokens_max, env = self._wait_for_room(group, deadline)
            if 0 < tokens_max <= group.longest:  # the same rule as in atroposlib/envs/base.py
                self.summary.too_long += 1
                return
            self.journal.put(key, _SENDING)
            try:
                taken = self.server.post(group, env)
            except UnknownDeliveryError as error:
                self.journal.put(key, _UNKNOWN)
                raise UnknownDeliveryError(
                    f"{error}: nobody knows whether {_describe(key)} arrived; it is not sent "
                    f"again without --resend"
                ) from None
            except (GroupRefusedError, ServerAwayError) as error:
                self.journal.put_back(key, before)
                if isinstance(error, GroupRefusedError) or time.monotonic() >= deadline:
                    raise
                continue  # wait again
            self.journal.put(key, _DONE)
            self.summary.sent += 1
            self.summary.rollouts += len(group.tokens)
            if not taken:  # another server than the one that gave these numbers
                self.envs.clear()
            return

    def is_due(self, key: GroupKey) -> bool:
        """Return whether a group is to be sent. Counts those that are not."""
        state = self.journal.get(key)
        if state is None or (state == _UNKNOWN and self.resend):
            return True
        if state == _UNKNOWN:
            self.summary.unknown.append(f"{key[0].hex()}/{key[1]}")
        else:
            self.summary.already += 1
        return False

    def leave(self) -> None:
        """Tell the server to expect no more groups of ours, if it answers."""
        with suppress(GroupServerError):
            for env in self.envs.values():
                self.server.leave(env)

    def _wait_for_room(self, group: ScoredGroup, deadline: float) -> tuple[int, int]:
        """Wait for room. Return the most tokens of a sequence, and the number for groups of this
        size."""
        last_reason = ""
        while True:
            try:
                load = self.server.get_load()
                if load is None:
                    self.envs.clear()  # the server was restarted
                    reason = "no trainer has registered there"
                elif load.queued >= QUEUE_MAX:
                    reason = f"{load.queued} groups wait for its trainer"
                elif (env := self._register(len(group.tokens), load.tokens_max)) is not None:
                    return load.tokens_max, env
                else:
                    reason = "its trainer has not asked for a batch yet"
            except ServerAwayError as error:
                reason = str(error)
            if time.monotonic() >= deadline:
                raise ServerAwayError(
                    f"{self.server.url} took no groups for {self.wait_s:g} s: {reason}; run the "
                    f"command again later, and no group is sent twice"
                )
            if reason != last_reason:
                self.say(f"waiting for {self.server.url}: {reason}")
                last_reason = reason
            time.sleep(min(LOOK_S, self.wait_s))

    def _register(self, size: int, tokens_max: int) -> int | None:
        if size not in self.envs:
            env = self.server.register(f"assay-{size}", size, tokens_max)
            if env is None:
                return None
            self.envs[size] = env
        return self.envs[size]


def push_steps(
    folder: Path,
    url: str,
    windows: range,
    wait_s: float,
    resend: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> PushSummary:
    """Send the groups that steps learned from to a server, each at most once over all runs.

    Args:
        folder: a trainer's, with `steps` and `models`; gets `push`, a journal for each server.
        windows: windows whose steps are sent.
        wait_s: see `_Push`.
        resend: send groups of unknown state again; the server may then have them twice.

    Raises:
        ExportError: there are no such steps, or another program pushes to this server.
        StepError: a step's files are incomplete; nothing of it was sent.
        GroupServerError: the server is away for too long, is not one, or refuses a group.
        UnknownDeliveryError: a group was sent, and it is unknown whether the server has it.
        OperatorError: tokenizer, parameters or the journal cannot be used.
    """
    steps = read_steps(folder, windows)
    with (
        closing(GroupServer(url)) as server,
        _open_journal(folder, server.url) as journal,
        open_step_parser() as parser,
    ):
        push = _Push(server, journal, wait_s, resend, say)
        for key in journal.note_kill():
            push.summary.left_over += 1
            say(f"{_describe(key)} was on its way when the last run ended: it may be there or not")
        checkpoints = CheckpointFolder(folder / "models")
        try:
            for step in steps:
                _push_step(push, step, read_step_groups(step, parser), checkpoints)
        finally:
            push.leave()
        return push.summary


def _push_step(
    push: _Push, step: Step, groups: Sequence[ConsumedGroup], checkpoints: CheckpointFolder
) -> None:
    record = step.record
    sources = {(one.hotkey, one.root) for one in record.sources}
    sources |= {(one.hotkey, one.root) for one in record.replayed or ()}
    miners = [(one.hotkey, one.proof) in sources for one in groups]
    keys = [  # a group that waits for its reward is sent when it has that
        (one.proof, one.index) if is_miner and one.lesson is not None else None
        for one, is_miner in zip(groups, miners, strict=True)
    ]
    summary, before = push.summary, push.summary.sent
    summary.steps += 1
    summary.groups += len(groups) - keys.count(None)
    summary.own += miners.count(False)
    due = {key for key in keys if key is not None and push.is_due(key)}
    if due:  # otherwise nothing is scored again
        rows = iter(list(make_rows(step, groups, checkpoints)))  # all of the step, or nothing
        for key, one in zip(keys, groups, strict=True):
            group = list(islice(rows, len(one.counting)))
            if key in due:
                push.hand_over(key, make_scored_group(group))
                due.remove(key)  # a step may name one twice
    push.say(f"step {step.record.number}: {summary.sent - before} groups handed over")


def make_scored_group(rows: Sequence[Mapping[str, Any]]) -> ScoredGroup:
    """A group's rows, with the columns of `ROLLOUT`, in the protocol's form. A group whose rewards
    are all equal has advantages of zero."""
    first = rows[0]
    read = [(row, len(row["prompt_tokens"]), weave_row(row)) for row in rows]
    return ScoredGroup(
        tokens=[[*row["prompt_tokens"], *woven.ids] for row, _, woven in read],
        masks=[
            [MASKED] * asked + woven.spread(map(int, row["tokens"]), MASKED)
            for row, asked, woven in read
        ],
        scores=[row["reward"] for row in rows],
        advantages=[
            [0.0] * asked + woven.spread(repeat(row["advantage"] or 0.0), 0.0)
            for row, asked, woven in read
        ],
        inference_logprobs=[
            [MASKED_LOGPROB] * asked + woven.spread(map(float, row["logprobs"]), MASKED_LOGPROB)
            for row, asked, woven in read
        ],
        generation_params={"temperature": first["temperature"]},
        group_overrides={
            "assay": {
                "root": first["proof"],
                "group": first["group"],
                "levels": list(first["levels"]),
                **{name: first[name] for name in _REFERENCE},
            }
        },
    )


_REFERENCE = (
    "hotkey",
    "window",
    "checkpoint",
    "environment",
    "problem_seed",
    "step",
    "step_record",
)


@contextmanager
def _open_journal(folder: Path, url: str) -> Iterator[PushJournal]:
    """The journal of one server, which is identified by its address alone."""
    place = folder / "push" / sha256(url.encode()).hexdigest()[:16]
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{place} cannot be written: {error}") from None
    with hold_folder(place) as ours:
        if not ours:
            raise ExportError(f"another program pushes to {url} from {folder}: wait for its end")
        with closing(Database(place / "journal.sqlite")) as database:
            yield PushJournal(database)


def _describe(key: GroupKey) -> str:
    return f"group {key[1]} of submission {key[0].hex()[:16]}…"
