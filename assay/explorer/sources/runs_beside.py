"""Curves of other runs: `/api/v1/training` of their explorers, as files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from assay.artifacts.records.run_folder import JsonFile
from assay.explorer.documents.curves import POINTS_MAX, Curve

#: Most curves of another run.
_CURVES_MAX = 16
_CURVES = TypeAdapter(list[Curve])


class RunsBeside:
    """Safe to share between threads. files: by the runs' names."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = {name: JsonFile(path) for name, path in files.items()}
        self._curves: dict[str, tuple[Any, Sequence[Curve]]] = {}

    def read(self) -> Mapping[str, Sequence[Curve]]:
        curves = {}
        for name, file in self._files.items():
            document = file.read()
            cached = self._curves.get(name)
            if cached is None or cached[0] is not document:  # it has changed
                cached = self._curves[name] = document, file.pick(_read_curves, [])
            curves[name] = cached[1]
        return curves


def _read_curves(document: Any) -> list[Curve]:
    curves = _CURVES.validate_python(document["curves"])
    return [
        {**curve, "series": [{**s, "points": s["points"][-POINTS_MAX:]} for s in curve["series"]]}
        for curve in curves[:_CURVES_MAX]
    ]
