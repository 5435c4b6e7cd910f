"""What `assay publish-hub` pushes: a checkpoint, and the rollouts that its trainer learned from.

Each has a card, the step's own record, and `assay.json` for programs. They name the subnet, the
window, the step, the validator's settlement, and the commands that check all of it.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from assay.artifacts.discovery import fetch_parameters
from assay.artifacts.records.reader import RecordFault, RecordReader, follow_links, list_validators
from assay.artifacts.steps.folder import Step
from assay.audit.provenance.step_export import ExportError, export_steps, read_steps
from assay.inference.folder import (
    MANIFEST_FILE,
    list_small_files,
    verify_manifest,
    verify_small_files,
    verify_tensors,
)
from assay.network.files import hold_folder
from assay.network.hub.push import Content
from assay.network.store.base import ObjectStore
from assay.network.store.folder import open_folder
from assay.protocol.encoding import Json
from assay.protocol.manifest import Manifest
from assay.protocol.parameters import Parameters
from assay.protocol.record import SettlementRecord
from assay.protocol.ss58 import encode_ss58

CARD = "README.md"
_GENERATION = "generation_config.json"
_STEPS = "steps"
WORK = ".publishing-hub"


@dataclass(frozen=True, slots=True)
class PublishedStep:
    """A step and the checkpoint that it made, checked against each other.

    Attributes:
        folder: of the checkpoint.
        settlement: the one that covers the step's window, of the named validator.
        records: where its record is, if strangers can open it.
    """

    step: Step
    parameters: Parameters
    manifest: Manifest
    folder: Path
    settlement: SettlementRecord | None = None
    records: str | None = None

    @property
    def owner(self) -> dict[str, Json]:
        """Whose content it is: another network's is not replaced."""
        identity = self.parameters.identity
        return {
            "genesis_hash": identity.genesis_hash.hex(),
            "netuid": identity.netuid,
            "trainer": encode_ss58(identity.trainer),
        }

    @property
    def about(self) -> dict[str, Json]:
        """The same as the card says, for programs."""
        record, settlement = self.step.record, self.settlement
        return {
            "parameters": record.parameters.hex(),
            "environment": self.parameters.environment.name,
            "checkpoint": {"number": record.number, "digest": self.step.child.hex()},
            "step": {
                "record": record.digest.hex(),
                "window": record.window,
                "parent": record.parent.hex(),
                "groups": record.groups,
                "consumed": record.consumed.hex(),
                "sources": [
                    {"hotkey": encode_ss58(s.hotkey), "root": s.root.hex(), "groups": s.groups}
                    for s in record.sources
                ],
            },
            "settlement": None
            if settlement is None
            else {
                "validator": encode_ss58(settlement.validator),
                "epoch": settlement.epoch,
                "record": settlement.digest.hex(),
                "score_root": settlement.score_root.hex(),
                "records": self.records,
            },
        }


def find_published_step(run: Path, checkpoint: str | None) -> PublishedStep:
    """A step of a trainer's folder, and the checkpoint that it made.

    Args:
        checkpoint: hex digits with which its digest begins; None: the newest.

    Raises:
        ExportError: there is no such step, or several. StepError, CheckpointError: its record or
            its checkpoint is missing, damaged or another one's.
    """
    steps = read_steps(run, range(1 << 63))
    found = [s for s in steps if checkpoint is None or s.child.hex().startswith(checkpoint)]
    if checkpoint is not None and len({step.child for step in found}) != 1:
        what = "several checkpoints" if found else "no checkpoint"
        raise ExportError(f"{run / _STEPS} has {what} {checkpoint}…: name more digits, or another")
    step = max(found, key=lambda s: (s.record.number, s.record.window))
    folder = run / "models" / step.child.hex()
    manifest = verify_manifest(folder, step.child)
    verify_small_files(folder, manifest)
    verify_tensors(folder, manifest)
    parameters = fetch_parameters(open_folder(run / _STEPS / "rules"), step.record.parameters)
    return PublishedStep(step, parameters, manifest, folder)


def find_settlement(store: ObjectStore, validator: bytes | None, window: int) -> SettlementRecord:
    """The newest settlement of a validator's record that covers a window. Raises ExportError: there
    is none, or it is not clear whose."""
    known = list_validators(store) if validator is None else [validator]
    if len(known) != 1:
        listed = ", ".join(map(encode_ss58, known)) or "no validator's record"
        raise ExportError(f"the store of records has {listed}: name one with --validator")
    reader = RecordReader(store, known[0])
    latest = reader.read_latest()
    if isinstance(latest, RecordFault):
        raise ExportError(f"{reader.address}: {latest.sentence}")
    for settlement in follow_links(reader.get_settlement, latest.epoch, latest.digest):
        if any(covered.window == window for covered in settlement.windows):
            return settlement
    raise ExportError(
        f"no settlement of {reader.address} covers window {window} yet: publish after it, or leave "
        "out --validator and --records"
    )


@contextmanager
def open_work(run: Path) -> Iterator[Path]:
    """An empty folder for the files of one push, removed at the end."""
    work = run / WORK
    work.mkdir(exist_ok=True)
    with hold_folder(work) as ours:
        if not ours:
            raise ExportError(f"another program is publishing {run}: wait for it")
        try:
            _clear(work)
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path)


def make_data(
    published: PublishedStep,
    run: Path,
    windows: range,
    work: Path,
    name: str,
    say: Callable[[str], None],
) -> Content:
    """The data set of all rollouts that steps of these windows learned from, with their records.
    Raises as `export_steps`."""
    out = work / "data"
    export_steps(run, out, windows, say)
    files: dict[str, Path | bytes] = {
        path.relative_to(out).as_posix(): path for path in sorted(out.rglob("*.parquet"))
    }
    for step in read_steps(run, windows):
        files[f"{_STEPS}/{step.path.name}"] = step.path
    card = (out / CARD).read_text() + _say_where(published) + _say_how(published, name, True)
    return Content({**files, CARD: card.encode()}, published.owner, published.about)


def make_model(published: PublishedStep, name: str, data: str | None) -> Content:
    """The checkpoint's own files, bit for bit, with its step's record.

    Args:
        name: the repository's.
        data: the data set's, with its commit.
    """
    folder, manifest = published.folder, published.manifest
    names = [MANIFEST_FILE, *list_small_files(manifest)]
    names += [path.name for path in sorted(folder.glob("*.safetensors"))]
    files: dict[str, Path | bytes] = {path: folder / path for path in names}
    ends = list(manifest.end_tokens)
    generation = json.dumps({"eos_token_id": ends if len(ends) > 1 else ends[0]}, indent=1)
    files[_GENERATION] = f"{generation}\n".encode()
    files[f"{_STEPS}/{published.step.path.name}"] = published.step.path
    files[CARD] = _make_model_card(published, name, data).encode()
    return Content(files, published.owner, {**published.about, "data": data})


def _make_model_card(published: PublishedStep, name: str, data: str | None) -> str:
    record, identity = published.step.record, published.parameters.identity
    front = ["library_name: transformers", "tags:", "- assay", "- reinforcement-learning", "- grpo"]
    if data is not None:
        front.append(f"datasets:\n- {data.partition('@')[0]}")
    rollouts = "" if data is None else f" The rollouts are in the data set `{data}`."
    return (
        "---\n"
        + "\n".join(front)
        + f"\n---\n\n# Checkpoint {record.number} of subnet {identity.netuid}\n\n"
        f"Trained by GRPO. Its last step learned from {record.groups:,} groups of rollouts that "
        f"the trainer accepted.{rollouts}\n"
        + _say_where(published)
        + _say_how(published, name, False)
    )


def _say_where(published: PublishedStep) -> str:
    """The table of everything that binds the content to the chain."""
    record, identity = published.step.record, published.parameters.identity
    rows = {
        "subnet": f"{identity.netuid}, on the chain whose block 0 has the hash "
        f"`{identity.genesis_hash.hex()}`",
        "parameters": f"`{record.parameters.hex()}`",
        "environment": f"`{published.parameters.environment.name}`",
        "trainer": f"`{encode_ss58(identity.trainer)}`",
        "checkpoint": f"number {record.number}, `{published.step.child.hex()}`",
        "parent": f"`{record.parent.hex()}`",
        "window": f"{record.window}",
        "step's record": f"`{record.digest.hex()}`",
        "root of its groups": f"`{record.consumed.hex()}`",
    }
    settlement = published.settlement
    if settlement is not None:
        at = "" if published.records is None else f", at {published.records}"
        rows["validator"] = f"`{encode_ss58(settlement.validator)}`{at}"
        rows["root of its record"] = (
            f"`{settlement.digest.hex()}`, the settlement at block {settlement.epoch}: in the "
            "validator's slot on chain, or linked from what is there"
        )
    table = "\n".join(f"| {what} | {value} |" for what, value in rows.items())
    sources = "\n".join(
        f"| `{encode_ss58(s.hotkey)}` | `{s.root.hex()}` | {s.groups} |" for s in record.sources
    )
    return (
        f"\n## Where it is from\n\n| what | value |\n|---|---|\n{table}\n\n"
        "The submissions that the step learned from, by the root that each miner committed to on "
        f"chain:\n\n| miner | root | groups |\n|---|---|---|\n{sources}\n"
    )


def _say_how(published: PublishedStep, name: str, is_data: bool) -> str:
    """The commands of an audit."""
    record, netuid = published.step.record, published.parameters.identity.netuid
    file = f"{_STEPS}/{published.step.path.name}"
    settlement = published.settlement
    validator = "" if settlement is None else f" --validator {encode_ss58(settlement.validator)}"
    files = (
        "`proof` of a row is the root in the table above, or in another step's record."
        if is_data
        else f"Every file is bound by `manifest.json`: `assay doctor --model {name}`. Its digest "
        "is what the trainer's slot on chain named."
    )
    return (
        "\n## How to audit it\n\n"
        f"1. {files}\n"
        f"2. Repeat the step: `assay train verify-step {file}`.\n"
        "3. Recompute the verdicts and scores of the window: "
        f"`assay audit --netuid {netuid} --windows {record.window}..{record.window}{validator}`.\n"
        "\nA card proves nothing by itself: these commands compare it with the chain.\n"
    )
