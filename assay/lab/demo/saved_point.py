"""A demo on a virtual clock, kept so that it can go on.

Its participants keep all that matters on the chain and in files, as programs do that may be killed.
Before a window begins there is a block at which nobody has anything to do and nothing waits for the
chain. There the files are kept: hard links of those that are replaced as a whole, and copies of the
databases. A run that goes on from there makes the same files as one that was never stopped.

    save_point(out, block, state)          # out/saved-<block>/, in place of the one before
    point = find_point(out, plan)          # None: nothing of this plan
    restore_point(out, point)              # out/ is again as it was then
"""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from assay.artifacts.database import VALIDATOR_FILE
from assay.environments.levels import Success
from assay.network.files import link_or_copy, write_json
from assay.neurons.trainer.lessons import Lesson
from assay.neurons.validator.judged_window import JudgedWindow
from assay.protocol.beacon import Beacon
from assay.protocol.encoding import from_json, to_json
from assay.protocol.manifest import Manifest
from assay.protocol.parameters import Parameters
from assay.protocol.window import Block
from assay.session.window_reader import Challenge
from assay.settings.sections import ComputeSettings, DemoSettings
from assay.subnet.recipe import Recipe
from assay.training.lesson import LearnStats
from assay.verification import VerdictRecord

#: Folders whose files are written once or replaced as a whole.
_LINKED = ("store", "record", "steps", "course", "contexts", "verdicts", "models")
#: Folders and names of databases, which are written in place.
_COPIED = (("chain", "devnet.sqlite*"), (".", f"{VALIDATOR_FILE}*"))
#: Files of a model that decide what it says.
_MODEL = ("*.safetensors", "config.json", "generation_config.json", "tokenizer*", "manifest.json")
_PREFIX, _STATE = "saved-", "state.json"
#: Fields of a lesson that JSON has as they are.
_PLAIN = tuple(f.name for f in fields(Lesson) if f.name not in ("stats", "published"))
#: Largest state of a run: some kilobytes a window.
_STATE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Founded:
    """A network on a virtual clock."""

    netuid: int
    parameters: bytes  # digest, 32 bytes
    first_window: int
    now_ms: int  # Unix time at its head, milliseconds


@dataclass(frozen=True, slots=True)
class Played:
    """What a demo remembers besides its files."""

    plan: str
    founded: Founded
    before: Success  # held-out problems before the first window
    windows: list[dict[str, Any]]  # those that are judged, see `describe_window`
    lessons: list[Lesson]
    notes: list[str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Point:
    """Where a demo goes on."""

    folder: Path
    block: int
    played: Played


def describe_plan(
    settings: DemoSettings, compute: ComputeSettings, recipe: Recipe, software: str
) -> str:
    """What must be the same for a run to go on: SHA-256 of all that decides what is played. Where
    folders and files are does not. Raises OSError: the model cannot be read."""
    chosen = settings.model_dump(mode="json", exclude={"out", "recipe", "model"})
    model = settings.model
    if model is not None:
        files = [model] if model.is_file() else [f for name in _MODEL for f in model.glob(name)]
        chosen["model"] = {path.name: _hash(path) for path in files}
    placed = compute.model_dump(mode="json")
    document = [software, recipe.model_dump(mode="json"), chosen, placed]
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_point(out: Path, block: int, played: Played) -> None:
    """Keep a run's files as they are before the next block. Nobody may write meanwhile. Raises
    OSError."""
    folder = out / f"{_PREFIX}{block}"
    _remove(folder)
    for name in _LINKED:
        _link_tree(out / name, folder / name)
    for name, glob in _COPIED:
        for file in (out / name).glob(glob):
            _copy(file, folder / name / file.name)
    write_json(folder / _STATE, _describe(played))  # the last: without it, it is not one
    for other in out.glob(f"{_PREFIX}*"):
        if other != folder:
            _remove(other)


def find_point(out: Path, plan: str) -> Point | None:
    """The newest point of a run of this plan; None: there is none."""
    found = []
    for file in out.glob(f"{_PREFIX}*/{_STATE}"):
        number = file.parent.name.removeprefix(_PREFIX)
        if number.isascii() and number.isdigit():
            found.append((int(number), file))
    for block, file in sorted(found, reverse=True):
        try:
            with file.open("rb") as opened:
                played = _read(json.loads(opened.read(_STATE_BYTES)))
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            continue
        if played.plan == plan:
            return Point(file.parent, block, played)
    return None


def restore_point(out: Path, point: Point, marker: str) -> None:
    """Give `out` the files of a point, and take away what came later. Raises OSError."""
    for path in out.iterdir():
        if path.name != marker and not path.name.startswith(_PREFIX):
            _remove(path)
    for name in _LINKED:
        _link_tree(point.folder / name, out / name)
    for name, glob in _COPIED:
        for file in (point.folder / name).glob(glob):
            _copy(file, out / name / file.name)


def forget_points(out: Path) -> None:
    """Delete what was kept: the run is over. Raises OSError."""
    for folder in out.glob(f"{_PREFIX}*"):
        _remove(folder)


def describe_window(judged: JudgedWindow) -> dict[str, Any]:
    """A window that the validator's journal forgets once it is settled, as JSON."""
    challenge = judged.challenge
    return {
        "window": challenge.window,
        "block": to_json(challenge.block),
        "beacon": to_json(challenge.beacon),
        "checkpoint": challenge.checkpoint.hex(),
        "missing": judged.missing,
        "verdicts": [
            [to_json(verdict.to_record()), judged.asked_at[hotkey], judged.seconds[hotkey]]
            for hotkey, verdict in judged.verdicts.items()
        ],
    }


def read_window(document: dict[str, Any], parameters: Parameters) -> JudgedWindow:
    """The opposite, of a closed window."""
    block, beacon = from_json(Block, document["block"]), from_json(Beacon, document["beacon"])
    checkpoint = bytes.fromhex(document["checkpoint"])
    judged = JudgedWindow(Challenge(document["window"], block, beacon, checkpoint, parameters))
    for record, asked_at, seconds in document["verdicts"]:
        verdict = from_json(VerdictRecord, record).to_verdict()
        judged.verdicts[verdict.hotkey] = verdict
        judged.asked_at[verdict.hotkey], judged.seconds[verdict.hotkey] = asked_at, seconds
    judged.missing, judged.closed = document["missing"], True
    return judged


def _describe(played: Played) -> dict[str, Any]:
    """As JSON, floats with all their digits."""
    lessons = [
        {
            **{name: getattr(lesson, name) for name in _PLAIN},
            "stats": asdict(lesson.stats),
            "published": to_json(lesson.published),
        }
        for lesson in played.lessons
    ]
    founded = asdict(played.founded) | {"parameters": played.founded.parameters.hex()}
    return asdict(replace(played, lessons=[])) | {"founded": founded, "lessons": lessons}


def _read(document: dict[str, Any]) -> Played:
    """The opposite. Raises ValueError, TypeError, LookupError or AttributeError: it is damaged."""
    founded = document["founded"]
    parameters = bytes.fromhex(founded["parameters"])
    lessons = [
        Lesson(
            **{name: one[name] for name in _PLAIN}
            | {name: _freeze(one[name]) for name in ("rewards", "levels")},
            stats=LearnStats(**one["stats"]),
            published=from_json(Manifest, one["published"]),
        )
        for one in document["lessons"]
    ]
    read = {
        "founded": Founded(**founded | {"parameters": parameters}),
        "before": Success(**document["before"]),
        "lessons": lessons,
    }
    return Played(**document | read)


def _freeze(value: list[int] | None) -> tuple[int, ...] | None:
    return None if value is None else tuple(value)


def _link_tree(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file():
            new = target / path.relative_to(source)
            new.parent.mkdir(parents=True, exist_ok=True)
            new.touch()
            link_or_copy(path, new)


def _copy(file: Path, target: Path) -> None:
    if not file.name.endswith("-shm"):  # made anew
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
