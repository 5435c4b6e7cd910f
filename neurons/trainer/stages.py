"""The stages of a trainer's course, in one table.

`trainer.Trainer` does what its stage is for, which gives an event, and the table gives the next
stage. None of it is on disk: a trainer that is started again is at `START`, and finds in its folder
and on chain what there is to do.
"""

from collections.abc import Mapping
from enum import StrEnum


class Stage(StrEnum):
    """What a trainer is at."""

    START = "start"
    PUBLISH = "publish"
    OPEN = "open"
    JUDGE = "judge"
    AWAIT = "await"
    LOOK = "look"
    LEARN = "learn"


#: Stage → what the trainer does there.
STAGE_TASKS: Mapping[Stage, str] = {
    Stage.START: "resumes from its folder, or begins with the checkpoint on chain and the current "
    "window",
    Stage.PUBLISH: "uploads its newest checkpoint and the step that made it, then commits to it on "
    "chain; before that has succeeded it does not learn, and judges nothing but ahead, by workers",
    Stage.OPEN: "does what rounds and amendments require, then waits for the window's commitments "
    "and challenge; behind its last window it rests here",
    Stage.JUDGE: "judges a file of the window, or hands all of them to workers",
    Stage.AWAIT: "waits for the workers",
    Stage.LOOK: "looks for files that were missing, at a few blocks",
    Stage.LEARN: "plans the step, learns, and writes record and checkpoint into its folder",
}


class TrainerEvent(StrEnum):
    """What a trainer has done at its stage, or found."""

    BEGUN = "it has found where to go on, in its folder or on chain"
    UNANNOUNCED = "its newest checkpoint's commitment is not sent, or in no final block in time"
    PUBLISHED = "the checkpoint is uploaded, and the commitment sent"
    RESUMED = "the same, while a window's files were being judged"
    MOVED = "something was done for a round, or an amendment names where to go on"
    OPENED = "the window's commitments and challenge are known"
    JUDGED = "a file was judged"
    HANDED_OVER = "workers have the files"
    BUSY = "workers go on judging"
    HANDED_BACK = "workers have judged the files, or some of them"
    ABANDONED = "no worker is left: files wait again"
    ALL_JUDGED = "no file waits"
    LOOKED = "missing files are fetched once more"
    SETTLED = "no file is missing, or is looked for any longer"
    LEARNED = "a step has made a checkpoint"
    LEARNED_IN_ROUND = "the same in a round, which announces its last one alone"
    SILENT = "no checkpoint: all groups of the window are zero-variance"
    SKIPPED = "the window is left out: nobody can learn from it, or not any longer"
    TAKEN_BACK = "the step could not be made or kept: its folder says what stands"
    PREPARED = "meanwhile its newest checkpoint was evaluated on held-out problems"
    WAITING = "nothing is to be done before the next block"
    FAILED = "something outside failed, such as chain or store: the same again after a pause"


def _make_table() -> dict[Stage, dict[TrainerEvent, Stage]]:
    s, e = Stage, TrainerEvent
    table = {
        s.START: {e.BEGUN: s.OPEN},
        s.PUBLISH: {e.PUBLISHED: s.OPEN, e.RESUMED: s.JUDGE},
        s.OPEN: {e.MOVED: s.OPEN, e.OPENED: s.JUDGE, e.SKIPPED: s.OPEN},
        s.JUDGE: {
            e.JUDGED: s.JUDGE,
            e.HANDED_OVER: s.AWAIT,
            e.ALL_JUDGED: s.LOOK,
            e.SKIPPED: s.OPEN,
        },
        s.AWAIT: {e.BUSY: s.AWAIT, e.HANDED_BACK: s.JUDGE, e.ABANDONED: s.JUDGE},
        s.LOOK: {e.LOOKED: s.JUDGE, e.SETTLED: s.LEARN},
        s.LEARN: {
            e.LEARNED: s.PUBLISH,
            e.LEARNED_IN_ROUND: s.OPEN,
            e.SILENT: s.OPEN,
            e.SKIPPED: s.OPEN,
            e.TAKEN_BACK: s.START,
        },
    }
    for stage, row in table.items():
        row[e.FAILED] = stage
        if stage in (s.OPEN, s.AWAIT, s.LOOK):
            row[e.PREPARED] = stage
        if stage in (s.OPEN, s.LOOK):
            row[e.WAITING] = stage
        if stage not in (s.START, s.PUBLISH):  # whatever it is at, what it has made goes first
            row[e.UNANNOUNCED] = s.PUBLISH
    return table


#: Stage → event → next stage. No other event can happen: a KeyError is a defect of ours.
TRAINER_STAGES: Mapping[Stage, Mapping[TrainerEvent, Stage]] = _make_table()

#: Events that take no time: the next stage is begun at once.
AT_ONCE = frozenset(
    {
        TrainerEvent.UNANNOUNCED,
        TrainerEvent.HANDED_OVER,
        TrainerEvent.ALL_JUDGED,
        TrainerEvent.SETTLED,
    }
)
#: Events after which nothing more is to be done now.
IDLE = frozenset({TrainerEvent.ABANDONED, TrainerEvent.WAITING, TrainerEvent.FAILED})
