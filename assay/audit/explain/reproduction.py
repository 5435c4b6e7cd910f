"""The inputs for judging a window again: the miner's file, a context file, a model folder."""

import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from assay.audit.explain.window_case import WindowCase
from assay.network.files import replace_file, write_json
from assay.network.store.base import ObjectSource, StoreError
from assay.protocol.beacon import QUICKNET
from assay.protocol.context import context_to_json
from assay.protocol.encoding import EncodingError, read_json
from assay.protocol.errors import OperatorError
from assay.protocol.reason import Reason
from assay.protocol.ss58 import encode_ss58

#: Bytes of a file that are copied at a time.
_PIECE = 16 << 20
#: Placeholder for a file that does not exist yet.
_OUT = Path("OUT")
#: Limits of the command, by reason.
_NOTES = {
    Reason.NOT_REVEALED: "A file may be readable from one machine and not from another: read it "
    "from another machine, under the locator above.",
    Reason.LEDGER_MISMATCH: "A ledger adds up all windows of a settlement: this command judges one "
    "file with a fresh one, and may accept it.",
    Reason.INTERNAL: "The validator's judge broke on it: this machine may still judge it.",
}


class ExplainError(OperatorError):
    """The window cannot be explained. The message says why, and what to ask or name instead."""


@dataclass(frozen=True, slots=True)
class Material:
    """The inputs for judging a window: paths on this machine, None for a missing one."""

    source: ObjectSource | None  # the miner's file, wherever it is
    file: Path | None
    context: Path | None
    model: Path | None


@dataclass(frozen=True, slots=True)
class Reproduction:
    """The commands that reproduce a verdict."""

    command: str | None  # for a shell; None: no command shows it
    works: bool  # whether everything that it names exists
    note: str | None  # its limits, or its missing inputs


def write_material(out: Path, facts: WindowCase, material: Material) -> Material:
    """Write context and file into a folder, so that the printed command works. The folder may have
    those of other windows and miners of the same network.

    Raises:
        ExplainError: it has the same window of another network.
        OSError, StoreError: they cannot be written, or the file cannot be read.
    """
    context = out / _name_context(facts)
    stated = context_to_json(facts.context)
    if context.exists() and not _holds(context, stated):
        raise ExplainError(
            f"{context} is the window of another network: name another folder with --out"
        )
    write_json(context, stated)
    size = material.source.size() if material.source is not None else None
    if material.source is None or size is None:
        return replace(material, context=context)
    file = out / _name_file(facts)
    with replace_file(file) as temporary, temporary.open("wb") as written:
        for start in range(0, size, _PIECE):
            piece = material.source.read(start, min(start + _PIECE, size))
            if piece is None:
                raise StoreError("the miner's file went away while it was copied")
            written.write(piece)
    return replace(material, context=context, file=file)


def _holds(file: Path, value: object) -> bool:
    try:
        return read_json(file.read_bytes()) == json.loads(json.dumps(value))
    except EncodingError:
        return False


def _name_context(facts: WindowCase) -> str:
    return f"context-window-{facts.context.window}.json"


def _name_file(facts: WindowCase) -> str:
    return f"{encode_ss58(facts.hotkey)}-window-{facts.context.window}.rollouts"


def make_reproduction(facts: WindowCase, material: Material, reason: Reason | None) -> Reproduction:
    """The `assay verify` command that gives the same verdict again."""
    context = facts.context
    file = material.file or (_OUT / _name_file(facts))
    context_file = material.context or (_OUT / _name_context(facts))
    model = material.model or Path("models", context.checkpoint.hex())
    words = ["assay", "verify", str(file), "--context", str(context_file), "--model", str(model)]
    words += ["--hotkey", encode_ss58(facts.hotkey)]
    if context.parameters.beacon != QUICKNET:
        words.append("--allow-local-beacon")
    lacks = []
    if material.source is None:
        lacks.append("The miner's file is not here, and this command needs it.")
    elif material.file is None or material.context is None:
        lacks.append(
            "First run `assay explain` again with --out DIR: it writes both files into DIR, which "
            f"replaces {_OUT} here."
        )
    if material.model is None:
        lacks.append(
            f"--model must name a folder with the checkpoint {context.checkpoint.hex()[:16]}…, "
            "which was in force."
        )
    note = _NOTES.get(reason) if reason is not None else None
    if reason is Reason.NOT_REVEALED and material.source is None:
        return Reproduction(None, False, note)
    if lacks:
        note = " ".join(filter(None, (note, *lacks)))
    return Reproduction(shlex.join(words), not lacks, note)
