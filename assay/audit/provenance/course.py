"""A course's windows, for `assay.training.watch`.

They are a trainer's own figures, or else follow from what its steps consumed, which is public.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from assay.artifacts.discovery import fetch_parameters
from assay.artifacts.steps.file import open_step_parser
from assay.artifacts.steps.folder import Step, StepError, read_step, read_step_groups
from assay.artifacts.store_objects import UnavailableError, make_step_name
from assay.inference.folder import MANIFEST_FILE
from assay.network.store.base import StoreError
from assay.network.store.folder import open_folder
from assay.protocol.encoding import EncodingError, read_json
from assay.settings.loading import ConfigError
from assay.training.figures import compute_group_figures
from assay.training.watch import BEGINNING, COMPARED, WINDOWS_FILE, WatchedWindow, read_windows

_T = TypeVar("_T")
#: Told how many items were read, and of how many.
Tell = Callable[[int, int], None]


def _tell_nobody(done: int, of: int) -> None:
    """What is told to nobody."""


def read_course(folder: Path, tell: Tell = _tell_nobody) -> list[WatchedWindow]:
    """The windows of a course, in order: a trainer's own figures, or else those that follow from
    its steps' groups, of the first and the newest steps.

    Args:
        tell: called before each step with how many were read, and of how many.

    Raises:
        ConfigError, StepError: there are none, or they cannot be read.
        WorkerError: no child can be started to read steps.
    """
    own = folder / WINDOWS_FILE
    if own.exists():
        try:
            return read_windows(own)
        except (EncodingError, TypeError, LookupError) as error:
            raise ConfigError(f"{own} cannot be read ({error}): move it away") from None
    steps = sorted((folder / "steps").glob("step-*.json"))
    if not steps:
        raise ConfigError(
            f"{folder} has neither {WINDOWS_FILE} nor steps: name a trainer's or a demo's folder "
            "with --dir"
        )
    read = map(read_step, _count(_pick_ends(steps), tell))
    return list(_read_steps((step, _find_max_tokens(folder, step)) for step in read))


def read_published_course(
    stores: Sequence[Path], digests: Sequence[bytes], tell: Tell = _tell_nobody
) -> list[WatchedWindow]:
    """The windows of a course, in order, that follow from the groups of the first and the newest of
    published steps. Steps that no store has are left out.

    Args:
        stores: folders of stores, asked in order.
        digests: of the steps' records, in order.
        tell: see `read_course`.

    Raises:
        StepError: a step cannot be read.
        WorkerError: no child can be started to read steps.
    """
    return list(_read_steps(_find_published(stores, _count(_pick_ends(digests), tell))))


def _pick_ends(items: Sequence[_T]) -> Sequence[_T]:
    """Those of the beginning, with which the watch compares, and the newest."""
    if len(items) <= BEGINNING + COMPARED:
        return items
    return [*items[:BEGINNING], *items[-COMPARED:]]


def _count(items: Sequence[_T], tell: Tell) -> Iterator[_T]:
    for number, item in enumerate(items):
        tell(number, len(items))
        yield item


def _find_published(stores: Sequence[Path], digests: Iterable[bytes]) -> Iterator[tuple[Step, int]]:
    for digest in digests:
        step = find_published_step(stores, digest)
        if step is not None:
            yield step, _read_limit(step.path.parents[2], step)


def find_published_step(stores: Sequence[Path], digest: bytes) -> Step | None:
    """A published step, from the first store that has it, or None.

    Args:
        stores: their folders. digest: of the step's record.

    Raises:
        StepError: it cannot be read, or is another one.
    """
    name = make_step_name(digest, "step.json")
    path = next((store / name for store in stores if (store / name).is_file()), None)
    if path is None:
        return None
    step = read_step(path)
    if step.record.digest != digest:
        raise StepError(f"{path} is another step's record")
    return step


def _read_steps(steps: Iterable[tuple[Step, int]]) -> Iterator[WatchedWindow]:
    with open_step_parser() as parser:
        for step, max_tokens in steps:
            window = step.record.window
            consumed = [one for one in read_step_groups(step, parser) if one.window == window]
            groups = [one.group for one in consumed if one.delay is None]
            figures = compute_group_figures(groups, max_tokens) if groups else None
            waiting = len(consumed) - len(groups)
            yield WatchedWindow(window, step.record.number, 0, figures, waiting=waiting)


def _find_max_tokens(folder: Path, step: Step) -> int:
    """The most tokens of a completion: of the checkpoint's manifest, which has it exactly, or else
    of the parameters, which bound it."""
    manifest = folder / "models" / step.child.hex() / MANIFEST_FILE
    try:
        return int(read_json(manifest.read_bytes())["max_tokens"])
    except (OSError, EncodingError, TypeError, LookupError, ValueError):
        return _read_limit(folder / "steps" / "rules", step)


def _read_limit(place: Path, step: Step) -> int:
    """The most tokens of a completion, by the step's parameters, which are in a folder."""
    try:
        return fetch_parameters(open_folder(place), step.record.parameters).work.max_tokens
    except (StoreError, UnavailableError, EncodingError) as error:
        raise StepError(f"the parameters of {step.path} cannot be read: {error}") from None
