"""A demo on a virtual clock, kept so that it can go on.

Its participants keep all that matters on the chain and in files, as programs do that may be killed.
Before a window begins there is a block at which nobody has anything to do and nothing waits for the
chain. There the files are kept: hard links of those that are replaced as a whole, and copies of the
databases. A run that goes on from there makes the same files as one that was never stopped.

    save_point(out, block, played, databases)  # out/saved-<block>/, in place of the one before
    point = find_point(out, plan)              # None: there is none
    restore_point(out, point, marker)          # out/ is again as it was then
"""

import hashlib
import inspect
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from assay.artifacts.database import VALIDATOR_FILE
from assay.environments.levels import Success
from assay.inference.placing.devices import CPU
from assay.network.files import link, sync, write_json
from assay.neurons.trainer.lessons import Lesson
from assay.neurons.validator.judged_window import JudgedWindow
from assay.protocol.beacon import Beacon
from assay.protocol.encoding import from_json, to_json
from assay.protocol.manifest import Manifest
from assay.protocol.parameters import Parameters
from assay.protocol.window import Block
from assay.session.window_reader import Challenge
from assay.settings.loading import ConfigError
from assay.settings.sections import ComputeSettings, DemoSettings
from assay.subnet.recipe import Recipe
from assay.training.last_bits import describe_engine, describe_processor
from assay.training.lesson import LearnStats
from assay.verification import VerdictRecord

#: Folders whose files are written once or replaced as a whole.
_LINKED = ("store", "record", "steps", "course", "contexts", "verdicts", "models")
#: Databases, which are written in place.
_DATABASES = CHAIN_DATABASE, VERDICT_DATABASE = "chain/devnet.sqlite", VALIDATOR_FILE
#: Files of a model that decide what it says, by their ends; what tells of its making decides
#: nothing.
_MODEL, _TOLD = (".safetensors", ".json", ".jinja", ".txt", ".model"), ("adoption", "warm_start")
_PREFIX, _STATE, _UNFINISHED = "saved-", "state.json", ".new"
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
    settings: DemoSettings, compute: ComputeSettings, recipe: Recipe, program: Sequence[str]
) -> str:
    """What must be the same for a run to go on: SHA-256 of all that decides what is played. Where
    folders and files are does not.

    Args:
        program: see `describe_program`.

    Raises:
        OSError: the model cannot be read.
    """
    chosen = settings.model_dump(mode="json", exclude={"out", "recipe", "model"})
    model = settings.model
    if model is not None:
        files = (
            [model]
            if model.is_file()
            else [
                path for path in model.iterdir() if path.suffix in _MODEL and path.stem not in _TOLD
            ]
        )
        chosen["model"] = {path.name: _hash(path) for path in files}
    placed = compute.model_dump(mode="json")
    document = [*program, recipe.model_dump(mode="json"), chosen, placed]
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_program() -> list[str]:
    """The program's own files, its libraries and its processor: with others, last bits may differ,
    and with them everything that follows."""
    root = Path(inspect.getfile(Played)).parents[2]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)} {_hash(path)}\n".encode())
    return [digest.hexdigest(), describe_engine(torch.device(CPU)), describe_processor()]


def save_point(
    out: Path, block: int, played: Played, databases: Mapping[str, Callable[[Path], None]]
) -> None:
    """Keep a run's files as they are before the next block. Nobody may write meanwhile.

    Args:
        databases: name below `out` → writes a copy of it.

    Raises:
        OSError, OperatorError: a file cannot be written. The point before stays.
    """
    folder, new = out / f"{_PREFIX}{block}", out / f".{_PREFIX}{block}{_UNFINISHED}"
    if folder.exists():
        return  # a run that goes on from it
    _remove(new)
    for name in _LINKED:
        _link_tree(out / name, new / name)
    for name, write in databases.items():
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        write(new / name)
        sync(new / name)
    write_json(new / _STATE, _describe(played))
    for path in (new, *(path for path in new.rglob("*") if path.is_dir())):
        sync(path)
    new.rename(folder)
    sync(out)
    for other in (*out.glob(f"{_PREFIX}*"), *out.glob(f".{_PREFIX}*{_UNFINISHED}")):
        if other != folder:
            _remove(other)


def find_point(out: Path, plan: str) -> Point | None:
    """The newest point of a run of this plan; None: there is none.

    Raises:
        ConfigError: there is one of another plan.
    """
    found = {}
    for folder in out.glob(f"{_PREFIX}*"):
        number = folder.name.removeprefix(_PREFIX)
        if number.isascii() and number.isdigit():
            found[int(number)] = folder
    for block, folder in sorted(found.items(), reverse=True):
        try:
            with (folder / _STATE).open("rb") as opened:
                played = _read(json.loads(opened.read(_STATE_BYTES)))
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            continue
        if played.plan == plan:
            return Point(folder, block, played)
        raise ConfigError(
            f"--out {out} has a run that was stopped at block {block:,} after "
            f"{played.seconds / 60:,.0f} minutes, of other settings, another model, program or "
            f"processor: go on as it was begun, name another folder, or delete {folder}"
        )
    return None


def restore_point(out: Path, point: Point, marker: str) -> None:
    """Give `out` the files of a point, and take away what came later. Raises OSError."""
    for path in out.iterdir():
        if path.name != marker and not path.name.startswith(_PREFIX):
            _remove(path)
    for name in _LINKED:
        _link_tree(point.folder / name, out / name)
    for name in _DATABASES:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(point.folder / name, out / name)


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
    kinds = {"plan": str, "windows": list, "notes": list}
    if any(type(document[name]) is not kind for name, kind in kinds.items()):
        raise TypeError("a field is of another type")
    document["seconds"] = float(document["seconds"])
    if any(type(founded[name]) is not int for name in ("netuid", "first_window", "now_ms")):
        raise TypeError("a number is none")
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
            if not link(path, new):
                shutil.copy2(path, new)  # with its time, by which old files are told


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
