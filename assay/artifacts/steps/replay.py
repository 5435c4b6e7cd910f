"""Groups of earlier windows that a step learns from again: the replay of off-policy learning.

What may be taken are groups of miners with a signal, of the windows of the last steps: those
that these steps learned from, and accepted ones that they left over (`external_groups`). Their
log-probabilities stay those of the checkpoint that drew them, so the loss bounds their ratios like
any others'. Which are taken follows from the window's audit seed. Specification, section 11.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from math import floor

from assay.artifacts.steps.file import DELAY_MAX, ConsumedGroup, open_step_parser
from assay.artifacts.steps.folder import (
    Step,
    StepError,
    StepFolder,
    read_spare,
    read_step,
    read_step_groups,
)
from assay.artifacts.steps.parquet_worker import ParquetWorker
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.manifest import Manifest
from assay.protocol.step import StepRecord, StepReplay

#: Most steps that replayed groups may be behind: as many as the settings allow.
STALENESS_MAX = 64


@dataclass(frozen=True, slots=True)
class EarlierStep:
    """A step behind the one that is being made.

    Attributes:
        record: digest of its record. number: of the checkpoint that it made.
        groups: that may be replayed, all of its own window.
    """

    record: bytes
    number: int
    groups: Sequence[ConsumedGroup]


def read_earlier(
    steps: StepFolder, parent: Manifest, parameters: bytes, count: int, trainer: bytes
) -> list[EarlierStep]:
    """The last steps of a course in a trainer's folder, newest first, at most `count`. It ends
    before a step under other parameters, and before one whose files are not here.

    Args:
        parent: the last checkpoint that was made.
        parameters: their digest.

    Raises:
        WorkerError: no child can be started to read files.
    """
    found: list[EarlierStep] = []
    with open_step_parser() as parser:
        for step in islice(iterate_line(steps, parent), count):
            if step.record.parameters != parameters:
                break
            try:
                groups = list(_list_groups(step, parser, trainer))
            except StepError:
                break
            found.append(EarlierStep(step.record.digest, step.record.number, groups))
    return found


def iterate_line(steps: StepFolder, made: Manifest) -> Iterator[Step]:
    """The steps of a course in a folder, newest first: that which made this checkpoint, and those
    before it, up to one that is not here."""
    number, child = made.number, made.digest
    while (step := find_made_here(steps, number, child)) is not None:
        yield step
        number, child = number - 1, step.record.parent


def find_made_here(steps: StepFolder, number: int, child: bytes) -> Step | None:
    """The step that made a checkpoint, if a folder has it."""
    for path in sorted(steps.folder.glob(f"step-{number:08d}-*.json")):
        try:
            step = read_step(path)
        except StepError:
            continue
        if step.child == child:
            return step
    return None


def _list_groups(step: Step, parser: ParquetWorker, trainer: bytes) -> Iterator[ConsumedGroup]:
    for one in (*read_step_groups(step, parser), *read_spare(step, parser)):
        if one.window == step.record.window and one.hotkey != trainer and one.teaches:
            yield one


def count_replays(fresh: int, share: float) -> int:
    """The most groups to replay beside `fresh` groups of the miners' with a signal, so that they
    are at most `share`, 0 to below 1, of both together."""
    exact = Fraction(str(share))
    return floor(fresh * exact / (1 - exact))


def find_false_origin(
    record: StepRecord, groups: Sequence[ConsumedGroup], trainer: bytes, staleness: int
) -> tuple[ConsumedGroup, str] | None:
    """The first of a step's groups that no honest step has beside the others, with the reason, or
    None.

    The trainer's own are of the step's parent, the miners' of a window are of one checkpoint, and
    no two windows are of one step. So all of them are of at most two checkpoints more than the most
    steps that one may be behind, which whoever repeats the step may need.

    Args:
        staleness: by how many steps replayed groups may be behind.
    """
    numbers = {one.window: one.number for one in record.replayed or ()}
    drawn, windows = dict[int, bytes](), dict[int, int]()
    for one in groups:
        if one.hotkey == trainer:
            if one.checkpoint != record.parent:
                return one, "the trainer's own, of another checkpoint than the step's parent"
            continue
        if one.checkpoint != drawn.setdefault(one.window, one.checkpoint):
            return one, "of another checkpoint than those before it of its window"
        if one.window == record.window:
            continue
        if one.window not in numbers:
            return one, "replayed from a window that the record does not name"
        number = numbers[one.window]
        behind = record.number - number
        if not 0 < behind <= (staleness if one.delay is None else DELAY_MAX):
            what = "replayed" if one.delay is None else "learned from"
            return one, f"{what} {behind} steps behind, which is too late"
        if one.window != windows.setdefault(number, one.window):
            return one, f"replayed from a second window of step {number}"
    return None


def choose_replays(
    earlier: Sequence[EarlierStep], count: int, audit_seed: bytes | None
) -> list[ConsumedGroup]:
    """The `count` groups of the lowest ranks, by window, hotkey and index. Without a seed the first
    ones in the order in which a step learns from them."""
    groups = [one for step in earlier for one in step.groups]
    if audit_seed is None:
        return sort_earlier(groups)[:count]

    def rank(one: ConsumedGroup) -> bytes:
        place = one.window.to_bytes(8, "big"), one.hotkey, one.index.to_bytes(4, "big")
        return hash_fields(Domain.TRAINER, b"replay", audit_seed, *place)

    return sort_earlier(sorted(groups, key=rank)[:count])


def sort_earlier(groups: Iterable[ConsumedGroup]) -> list[ConsumedGroup]:
    """Groups of earlier windows in the order in which a step learns from them."""
    return sorted(groups, key=lambda one: (one.window, one.hotkey, one.index))


def name_replays(
    replays: Sequence[ConsumedGroup], earlier: Sequence[EarlierStep]
) -> tuple[StepReplay, ...] | None:
    """Where a step's groups of earlier windows are from, as its record says it."""
    steps = {one.window: step for step in earlier for one in step.groups}
    counts: dict[tuple[int, bytes, bytes], int] = {}
    for one in replays:
        place = one.window, one.hotkey, one.proof
        counts[place] = counts.get(place, 0) + 1
    named = tuple(
        StepReplay(steps[window].record, steps[window].number, window, hotkey, root, count)
        for (window, hotkey, root), count in counts.items()
    )
    return named or None
