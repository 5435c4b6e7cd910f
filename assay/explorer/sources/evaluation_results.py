"""The results of evaluations: of one folder of `assay eval`, and of a trainer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assay.artifacts.records.run_folder import JsonFile

#: Most results of a trainer: the newest.
_KEPT = 64
#: Names of the file, and of the trainer's folder for evaluations.
_FILE, _FOLDER = "results.json", "suites"


class EvaluationResults:
    """Safe to share between threads."""

    def __init__(self, folder: Path, trainer: Path) -> None:
        self._own = JsonFile(folder / _FILE)
        self._folder = trainer / _FOLDER
        self._files: dict[str, JsonFile] = {}

    def read(self) -> Sequence[Mapping[str, Any]]:
        """The documents, the trainer's newest first; an invalid one is empty."""
        numbers = [path.name for path in self._folder.glob("*") if path.name.isdecimal()]
        names = sorted(numbers, key=int, reverse=True)[:_KEPT]
        self._files = {name: self._files.get(name) or self._open(name) for name in names}
        documents = [file.read_object() for file in (self._own, *self._files.values())]
        return [document for document in documents if document is not None]

    def _open(self, name: str) -> JsonFile:
        return JsonFile(self._folder / name / _FILE)
