"""An evaluation's folder: its plan, its completions so far, and its result.

    eval.json         the plan: another evaluation needs another folder
    completions.jsonl one line for each completion, in the order in which they came
    results.json      the result, once all completions are there

Lines are only appended. A program that was killed, or whose disk was full, leaves at most one line
unfinished, which the next one removes. Nothing that was drawn is drawn again.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.evaluation.suite import EvaluationError
from assay.network.files import hold_folder, write_json
from assay.protocol.encoding import EncodingError, read_json

PLAN, COMPLETIONS, RESULTS = "eval.json", "completions.jsonl", "results.json"
#: Most bytes of a line, and of a plan.
_LINE_MAX, PLAN_MAX = 64 << 20, 16 << 20


@dataclass(frozen=True, slots=True)
class Ask:
    """One completion that is asked for: the suite's place, the row's number, which of its
    samples."""

    suite: int
    row: int
    sample: int

    def __str__(self) -> str:
        return f"suite {self.suite}, row {self.row}, sample {self.sample}"


@dataclass(frozen=True, slots=True)
class Completion:
    """One completion.

    Attributes:
        text: without its end token and without its stop. tokens: drawn, with its end token.
        ended: by itself; False: at its length.
    """

    ask: Ask
    text: str
    tokens: int
    ended: bool


class EvaluationFolder:
    """The files of one evaluation, held by one program at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def hold(self, plan: Mapping[str, Any]) -> Iterator[None]:
        """Hold the folder for the duration of the block.

        Raises:
            EvaluationError: another program holds it, it is of another evaluation, or cannot be
                written.
        """
        with _telling_of(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with hold_folder(self.path) as ours:
            if not ours:
                raise EvaluationError(f"{self.path} is in use: another evaluation runs there")
            self._require_same(plan)
            yield

    def _require_same(self, plan: Mapping[str, Any]) -> None:
        path = self.path / PLAN
        try:
            with path.open("rb") as file:
                known = read_json(file.read(PLAN_MAX))
        except FileNotFoundError:
            if (self.path / COMPLETIONS).exists():
                raise EvaluationError(f"{self.path} has no {PLAN}: name another folder") from None
            with _telling_of(self.path):
                write_json(path, plan)
            return
        except EncodingError:
            raise EvaluationError(f"{path} is damaged: name another folder with --out") from None
        asked = known if isinstance(known, dict) else {}
        other = list(_list_others(asked, plan))
        if other:
            raise EvaluationError(
                f"{self.path} is of an evaluation with other {', '.join(other)}: name another "
                "folder with --out"
            )

    def read(self, is_asked: Callable[[Ask], bool]) -> Iterator[Completion]:
        """The completions so far. Removes an unfinished line at the end.

        Raises:
            EvaluationError: a line is damaged, too long, or of nothing that is asked for.
        """
        path = self.path / COMPLETIONS
        if not path.exists():
            return
        whole = 0
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(_LINE_MAX), b""), 1):
                if not line.endswith(b"\n") and len(line) < _LINE_MAX:
                    break  # it was being written
                whole += len(line)
                completion = _read_line(line)
                if isinstance(completion, str):
                    fault = completion
                elif not is_asked(completion.ask):
                    fault = f"another evaluation's, of {completion.ask}"
                else:
                    yield completion
                    continue
                raise EvaluationError(
                    f"{path}, line {number}: {fault}: delete this line; what it lacks is drawn "
                    "again"
                )
        if whole < path.stat().st_size:
            with _telling_of(path):
                os.truncate(path, whole)

    def append(self, completions: Sequence[Completion]) -> None:
        """Write completions to the disk. Raises an EvaluationError: it cannot be written, or one is
        longer than a line may be."""
        lines = b"".join(map(_write_line, completions))
        path = self.path / COMPLETIONS
        with _telling_of(path), path.open("ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    def write_results(self, results: Mapping[str, Any]) -> None:
        """Write the result, atomically. Raises an EvaluationError: it cannot be written."""
        with _telling_of(self.path / RESULTS):
            write_json(self.path / RESULTS, results)


def _list_others(known: Mapping[str, Any], plan: Mapping[str, Any]) -> Iterator[str]:
    """What a plan has otherwise than a known one, in the plan's own words."""
    for name, value in plan.items():
        if known.get(name) == value:
            continue
        parts = value if isinstance(value, list) else []
        before = known.get(name)
        if not isinstance(before, list) or len(before) != len(parts):
            yield name
            continue
        for number, (old, new) in enumerate(zip(before, parts, strict=True), 1):
            if isinstance(old, dict) and isinstance(new, dict):
                yield from (f"{name} ({number}: {inner})" for inner in _list_others(old, new))
            elif old != new:
                yield f"{name} ({number})"


@contextmanager
def _telling_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EvaluationError(
            f"cannot write {path} ({error.strerror or error}): make room, or name another folder "
            "with --out; the same command continues with what is there"
        ) from None


def _write_line(completion: Completion) -> bytes:
    ask = completion.ask
    fields = {
        "suite": ask.suite,
        "row": ask.row,
        "sample": ask.sample,
        "tokens": completion.tokens,
        "ended": completion.ended,
        "text": completion.text,
    }
    line = json.dumps(fields).encode() + b"\n"
    if len(line) > _LINE_MAX:
        raise EvaluationError(
            f"the completion of {ask} has more than {_LINE_MAX >> 20} MiB: use fewer --max-tokens"
        )
    return line


def _read_line(line: bytes) -> Completion | str:
    """A completion, or what is wrong with its line."""
    if not line.endswith(b"\n"):
        return f"longer than {_LINE_MAX >> 20} MiB"
    try:
        fields: Any = read_json(line)
        numbers = [fields[name] for name in ("suite", "row", "sample", "tokens")]
        text, ended = fields["text"], fields["ended"]
    except (EncodingError, LookupError, TypeError):
        return "damaged"
    are_numbers = all(type(number) is int and number >= 0 for number in numbers)
    if not (are_numbers and isinstance(text, str) and isinstance(ended, bool)):
        return "damaged"
    *ask, tokens = numbers
    return Completion(Ask(*ask), text, tokens, ended)
