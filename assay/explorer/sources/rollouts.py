"""Rollouts for the index: of a trainer's steps, of an export, of miners' files that were audited.

Helpers read them, see `HelperProcess`: one knows checkpoints and plays audited rollouts again, the
other reads a stranger's Parquet file within limits. Only the thread that fills the index waits.
"""

import json
import logging
from collections.abc import Sequence
from concurrent.futures import TimeoutError
from pathlib import Path
from typing import Any

from assay.explorer.ports import IndexedGroup, IndexedRollout, RolloutFile, RolloutPart
from assay.explorer.sources.courses import list_published
from assay.explorer.sources.groups import BusyError, HelperProcess
from assay.protocol.context import Context, context_to_json
from assay.settings.sections import StoreSettings

logger = logging.getLogger(__name__)


def _make_boot(module: str, reader: str, memory: int | None) -> str:
    return (
        "from assay.sandbox.child import serve;"
        f"from assay.explorer.sources.{module} import {reader};"
        f"serve({reader}().answer, {memory})"
    )


#: Seconds without a request after which a child ends; for an answer, at most.
_IDLE_S, _ANSWER_S = 10.0, 300.0
#: Bytes that the reader of exports may add.
_EXPORT_MEMORY = 2 << 30
_BUSY = "other rollouts are being read"


class Rollouts:
    """See `assay.explorer.ports.RolloutSource`. For one thread, beside `close`.

    Args:
        trainer: a trainer's folder. It may not exist.
        export: a folder of `assay export`; None: none is named.
        models: a checkpoint's folder, or a folder of such, where there is one.
        stores: folders of miners' files, and of published steps. settings: which locators may be
            opened.
        scratch: for checkpoints without tensors.
    """

    def __init__(
        self,
        trainer: Path,
        export: Path | None,
        models: Path | None,
        stores: Sequence[Path],
        settings: StoreSettings,
        scratch: Path,
    ) -> None:
        self._trainer, self._export, self._stores = trainer, export, stores
        self._fixed = {
            "models": None if models is None else str(models),
            "stores": [str(folder) for folder in stores],
            "settings": settings.model_dump(
                mode="json", include={"locator", "ca_file", "readable"}
            ),
            "scratch": str(scratch),
            "trainer": str(trainer),
        }
        self._texts = HelperProcess(
            "rollouts", _make_boot("rollout_child", "RolloutReader", None), _IDLE_S
        )
        self._exports = HelperProcess(
            "export", _make_boot("export_child", "ExportReader", _EXPORT_MEMORY), _IDLE_S
        )
        self._listed: tuple[object, list[RolloutFile]] = None, []

    @property
    def pids(self) -> list[int]:
        """Of the helpers that run."""
        return [pid for pid in (self._texts.pid, self._exports.pid) if pid is not None]

    def close(self) -> None:
        """End the helpers."""
        for helper in (self._texts, self._exports):
            helper.close()

    def list_files(self, steps: Sequence[str]) -> Sequence[RolloutFile]:
        """See the port. A trainer that was killed may have put a step aside: it is left out."""
        return [*self._list_exports(), *self._list_steps(steps)]

    def _list_exports(self) -> list[RolloutFile]:
        files = [] if self._export is None else sorted(self._export.glob("data/*.parquet"))
        found = []
        for path in reversed(files):
            try:
                stat = path.stat()
            except OSError:  # it was deleted just now
                continue
            name = f"{path.name} {stat.st_size} {stat.st_mtime_ns}"
            found.append(RolloutFile(name, "export", str(path.absolute())))
        return found

    def _list_steps(self, steps: Sequence[str]) -> list[RolloutFile]:
        own = sorted(path.name for path in (self._trainer / "steps").glob("step-*.json"))
        published = [] if own else list_published(self._stores, steps)
        mark = tuple(own), tuple(published)
        if mark == self._listed[0]:
            return self._listed[1]
        if not own and not published:
            return []
        answer = self._ask(self._texts, {"kind": "list", "names": own, "published": published})
        if isinstance(answer, str):
            return self._listed[1]
        files = [RolloutFile(name, "step", path) for name, path in answer["files"]]
        self._listed = mark, files
        return files

    def read_part(self, file: RolloutFile, first: int) -> RolloutPart | str:
        """See the port."""
        helper = self._exports if file.kind == "export" else self._texts
        return _decode(self._ask(helper, {"kind": file.kind, "path": file.path, "first": first}))

    def read_audited(
        self, context: Context, hotkey: bytes, groups: Sequence[int]
    ) -> RolloutPart | str:
        """See the port."""
        order = {
            "kind": "audited",
            "context": context_to_json(context),
            "hotkey": hotkey.hex(),
            "groups": list(groups),
        }
        return _decode(self._ask(self._texts, order))

    def _ask(self, helper: HelperProcess, order: dict[str, Any]) -> dict[str, Any] | str:
        """The answer, or why there is none, for pages: the log has more, for the operator."""
        try:
            answer = helper.ask(self._fixed | order).result(_ANSWER_S)
        except (BusyError, TimeoutError):
            return _BUSY
        message = answer if isinstance(answer, str) else answer["message"]
        if message is not None:
            logger.warning("rollouts: %s", message, extra={"event": "explorer_trouble"})
        if isinstance(answer, str):
            return "it cannot be read just now"
        return answer["why"] if answer["why"] is not None else answer


def _decode(answer: dict[str, Any] | str) -> RolloutPart | str:
    if isinstance(answer, str):
        return answer
    groups = [
        IndexedGroup(**one | {"rollouts": [IndexedRollout(**r) for r in one["rollouts"]]})
        for one in answer["groups"]
    ]
    return RolloutPart(groups, answer["next"])


def encode_answer(why: str | None, message: str | None = None, **more: Any) -> bytes:
    """What a helper answers. why: it cannot be read, for pages; message: the same for the
    operator, with names of folders and endpoints."""
    return json.dumps({"why": why, "message": message, **more}, ensure_ascii=False).encode(
        errors="replace"
    )
