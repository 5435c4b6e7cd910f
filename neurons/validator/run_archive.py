"""The files of a run, for later inspection by anyone."""

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from assay.network.files import write_json
from assay.neurons.validator.judged_window import JudgedWindow, Settlement
from assay.protocol.context import Context, context_to_json
from assay.verification import Seat, compute_score

#: Windows whose files stay: a week of the main network.
KEPT_WINDOWS = 2_048
_NAME = re.compile(r"(window|settlement)-([0-9]{1,18})\.json")


class Archive:
    """Writes contexts, verdicts and settlements under one folder, each file atomically. `kept` is
    the number of windows, and of settlements, whose files stay. The public record is elsewhere."""

    def __init__(self, root: Path, window_count: int = KEPT_WINDOWS) -> None:
        self._root = root
        self._kept = window_count
        self._written = 0

    def write_context(self, context: Context) -> None:
        """Write `contexts/window-<w>.json`, which `assay verify` needs beside file and model."""
        write_json(
            self._root / "contexts" / f"window-{context.window}.json", context_to_json(context)
        )

    def write_window(self, judged: JudgedWindow) -> None:
        """Write `verdicts/window-<w>.json`: every verdict of the window."""
        window = judged.challenge.window
        write_json(self._root / "verdicts" / f"window-{window}.json", describe_judged(judged))
        # at the start, and then often enough that at most a quarter more than `kept` exists
        if self._written % max(1, self._kept // 4) == 0:
            self._prune()
        self._written += 1

    def _prune(self) -> None:
        """Delete the oldest files beyond those that stay."""
        for folder in ("contexts", "verdicts"):
            by_kind: dict[str, list[tuple[int, Path]]] = {}
            for path in (self._root / folder).glob("*.json"):
                if match := _NAME.fullmatch(path.name):
                    by_kind.setdefault(match[1], []).append((int(match[2]), path))
            for files in by_kind.values():
                for _, path in sorted(files)[: -self._kept]:
                    with suppress(OSError):  # retried later
                        path.unlink()

    def write_settlement(self, settlement: Settlement) -> None:
        """Write `verdicts/settlement-<epoch>.json`: scores and weights."""
        record: dict[str, Any] = {
            "epoch_block": settlement.epoch,
            "windows": list(settlement.windows),
            "abstained": list(settlement.abstained),
            "scores": [
                {"uid": seat.uid, "registered_at": seat.registered_at, "score": score}
                for seat, score in settlement.scores.items()
            ],
            "weights": {str(uid): weight for uid, weight in settlement.weights.items()},
        }
        write_json(self._root / "verdicts" / f"settlement-{settlement.epoch}.json", record)

    def read_settlements(self) -> list[Settlement]:
        """Those that were written, in order, without their holders. Raises OSError, ValueError or
        LookupError: a file is damaged."""
        found = []
        for path in (self._root / "verdicts").glob("settlement-*.json"):
            record = json.loads(path.read_bytes())
            scores = {
                Seat(one["uid"], one["registered_at"]): one["score"] for one in record["scores"]
            }
            weights = {int(uid): weight for uid, weight in record["weights"].items()}
            windows, abstained = tuple(record["windows"]), tuple(record["abstained"])
            epoch = record["epoch_block"]
            found.append(Settlement(epoch, windows, abstained, scores, weights))
        return sorted(found, key=lambda settlement: settlement.epoch)


def describe_judged(judged: JudgedWindow) -> dict[str, Any]:
    """A window for people: each verdict with its sentence, its statistics and its seconds."""
    return {
        "window": judged.challenge.window,
        "checkpoint": judged.challenge.checkpoint.hex(),
        "complete": judged.complete,
        "void": judged.void,
        "missing": judged.missing,
        "verdicts": [
            verdict.to_record().to_json(judged.seconds[hotkey])
            | {"committed_groups": verdict.committed_groups, "score": compute_score(verdict)}
            for hotkey, verdict in sorted(judged.verdicts.items())
        ],
    }
