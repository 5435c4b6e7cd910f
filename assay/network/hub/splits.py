"""Splits of a data set, and the files in which each lies, told by the files' names.

train-00000-of-00003.parquet, …, with a hash before the ending or without one
train/0000.parquet, train/0001.parquet, …
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

DATA_ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".parquet")
#: Descriptions of a data set, which are no problems.
_DESCRIPTIONS = (
    *("dataset_info*.json", "dataset_dict.json", "state.json", "*/state.json"),
    "hub-origin.json",
    "*/hub-origin.json",
)
_SHARD = re.compile(
    r"(?P<split>(?:.*/)?[^/]*?)[-_.]?(?P<number>[0-9]{4,6})(?:-of-(?P<count>[0-9]{4,6}))?"
    r"(?:-[0-9a-f]{16,64})?(?P<ending>\.[a-z]+)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Split:
    """A split.

    Attributes:
        name: path of its files up to their numbers; of a split in one file, the file's.
        files: paths, in the order of their numbers.
        missing: number of the first file that is not there; None: all are.
    """

    name: str
    files: tuple[str, ...]
    missing: int | None = None

    @property
    def joined(self) -> str:
        """The path of one file that has the rows of all of them."""
        return f"{self.name or 'all'}.joined.jsonl"


def find_splits(paths: Iterable[str]) -> dict[str, Split]:
    """Name → split of a data set's files. Files that are no problems are left out. Numbers without
    a count, as of years, are those of a split only if they begin with 0 and none is missing."""
    alone, shards = list[str](), dict[tuple[str, str, str], dict[int, str]]()
    for path in sorted(paths):
        if not path.lower().endswith(DATA_ENDINGS) or is_description(path):
            continue
        found = _SHARD.fullmatch(path)
        if found is None:
            alone.append(path)
            continue
        key = found["split"].rstrip("/"), found["count"] or "", found["ending"]
        shards.setdefault(key, {})[int(found["number"])] = path
    splits = {path: Split(path, (path,)) for path in alone}
    for (name, count, _), files in shards.items():
        made = _make_split(name, int(count or len(files)), files)
        if name in splits or (not count and made.missing is not None):
            splits |= {path: Split(path, (path,)) for path in files.values()}
        else:
            splits[name] = made
    return dict(sorted(splits.items()))


def is_description(path: str) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in _DESCRIPTIONS)


def _make_split(name: str, count: int, files: Mapping[int, str]) -> Split:
    missing = next((number for number in range(count) if number not in files), None)
    return Split(name, tuple(path for _, path in sorted(files.items())), missing)


def choose_split(splits: Mapping[str, Split], path: str) -> list[Split]:
    """The split of that name, or else all in a folder."""
    if path in splits:
        return [splits[path]]
    return [split for split in splits.values() if _is_within(split.files[0], path)]


def _is_within(file: str, folder: str) -> bool:
    return not folder or PurePosixPath(file).is_relative_to(folder)
