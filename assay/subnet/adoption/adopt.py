"""Adopts a model: a source folder becomes one that the gate passes, or an error says why not.

The new folder appears whole, under its name, or not at all.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from assay.artifacts.store_objects import telling_bytes
from assay.inference.families import EMBEDDING, HEAD, find_config_fault
from assay.inference.folder import (
    CONFIG_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    CheckpointError,
    digest_tensors,
    digest_weights,
    hold_alone,
    verify_manifest,
    verify_small_files,
    verify_tensors,
)
from assay.inference.measurable import measure_plain_speed
from assay.inference.placing.devices import CPU, get_free_memory
from assay.inference.plain.drafting import has_cache
from assay.inference.plain.opening import OpenedClass
from assay.inference.plain_config import find_plain_fault, is_plain
from assay.network.files import hold_folder, move_folder, naming
from assay.network.hub.origin import find_origin
from assay.protocol.encoding import Json, read_json
from assay.subnet.adoption.adapter import is_own_adapter, merge_adapter, merge_own_adapter
from assay.subnet.adoption.config import (
    complete,
    drop_meaningless,
    find_drafting_layers,
    name_family,
    require_family,
    settle_head,
    take_text_part,
)
from assay.subnet.adoption.end_tokens import ADOPTION_FILE
from assay.subnet.adoption.gguf_file import find_gguf, open_gguf
from assay.subnet.adoption.notes import Notes
from assay.subnet.adoption.plain import complete_plain, open_plain, plan_plain_tensors
from assay.subnet.adoption.quantised import dequantise
from assay.subnet.adoption.source import dump, open_tensors, read_source_json, require_config
from assay.subnet.adoption.stacks import take_stacks_apart
from assay.subnet.adoption.texts import (
    CORE,
    GENERATION_FILE,
    SETTINGS,
    Texts,
    TextSource,
    adopt_texts,
)
from assay.subnet.adoption.weights import (
    PlannedTensor,
    count_bytes,
    is_same,
    plan_tensors,
    require_numbers,
    write_tensors,
)
from assay.subnet.measurements import Measurements
from assay.subnet.model_measurements import ModelMeasurements
from assay.subnet.waiting import Report, ignore_report, telling

#: What an adoption writes beside the tensors.
ADOPTED_FILES = frozenset((ADOPTION_FILE, CONFIG_FILE, GENERATION_FILE, CORE, SETTINGS))
#: Bytes of a disk for headers and what was done; memory of a model that is tried, as a multiple of
#: its weights in bf16.
_ROOM, _FP32 = 1 << 20, 3


@dataclass(frozen=True)
class Adoption:
    """A model to be adopted, or one that was.

    Attributes:
        config: of the new folder.
        tensors: in the order of their names.
        origins: "source" and "base" → the commit on the Hub that it is from, where it is known.
        made: root over the tensors, where the source names it.
    """

    config: Mapping[str, Json]
    texts: Texts
    tensors: Sequence[PlannedTensor]
    notes: Notes
    origins: Mapping[str, Json]
    made: bytes | None = None

    @property
    def weights(self) -> int:
        """The number of weights."""
        return sum(tensor.numbers for tensor in self.tensors)

    @property
    def end_tokens(self) -> tuple[int, ...]:
        """The ids that end a completion, the one that closes a turn first."""
        return tuple(number for number, _ in self.texts.ends)


@contextmanager
def plan_adoption(
    source: Path,
    end_tokens: Sequence[str] = (),
    base: Path | None = None,
    template: Path | None = None,
) -> Iterator[Adoption]:
    """Everything that can be known of an adoption before tensors are read. Their files are open in
    the block.

    Args:
        source: a folder in Hugging Face's format, a GGUF file, or an adapter of Assay's.
        end_tokens: texts or ids of tokens that end a completion; none: found, or what an earlier
            adoption has found.
        base: the model for which `source` is an adapter.
        template: a file with the chat template to use; None: the source's own.

    Raises:
        CheckpointError: the model cannot be adopted: says in one line what is wrong, and where.
    """
    notes = Notes()
    if base is None and is_own_adapter(source):
        raise CheckpointError(f"{source} holds no model: name an adapter's base with --base")
    model, made = source if base is None else base, None
    with ExitStack() as opened:
        found = opened.enter_context(_open(model, notes))
        config = name_family(found.config, notes)
        opened_class: OpenedClass | None = None
        if is_plain(config):
            opened_class = open_plain(config, notes)
            stored = found.tensors
            if found.sees:  # of the text part alone, under its own names
                stored = plan_tensors(stored, found.sees, range(0), notes)
            planned = plan_plain_tensors(opened_class, stored, notes)
        else:
            config = drop_meaningless(config, notes)
            require_family(config)
            planned = plan_tensors(found.tensors, found.sees, find_drafting_layers(config), notes)
            planned = dequantise(config, planned, notes)
            planned = take_stacks_apart(str(config["model_type"]), planned, notes)
        require_numbers(planned)
        if base is not None and is_own_adapter(source):
            planned, made = merge_own_adapter(source, planned, notes)
        elif base is not None:
            planned = merge_adapter(source, planned, notes, opened)
            require_numbers(planned)
        if opened_class is None:
            if settle_head(
                config, planned, lambda: is_same(planned[HEAD], planned[EMBEDDING]), notes
            ):
                planned.pop(HEAD, None)
            shapes = {name: tensor.shape for name, tensor in planned.items()}
            complete_config = complete(config, shapes, notes)
        else:
            complete_config = complete_plain(opened_class, planned, notes)
        own = base is None or (source / CORE).is_file()  # trainers save a tokenizer beside it
        where = found.texts if base is None or not own else TextSource(source)
        texts = adopt_texts(where, complete_config, end_tokens, template, notes)
        ends: Any = texts.generation["eos_token_id"]
        complete_config["eos_token_id"] = ends[0] if len(ends) == 1 else ends
        fault = (
            find_plain_fault(complete_config)
            if opened_class is not None
            else find_config_fault(complete_config)
        )
        if fault is not None:
            raise CheckpointError(fault)
        if programs := sorted(path.name for path in model.glob("*.py")):
            notes.dropped.append(f"{', '.join(programs)[:200]}: programs, which nobody runs")
        tensors = [planned[name] for name in sorted(planned)]
        origins = _find_origins(source, base)
        yield Adoption(complete_config, texts, tensors, notes, origins, made)


def _find_origins(source: Path, base: Path | None) -> dict[str, Json]:
    """Where a model is from: as its download says, or an earlier adoption of it."""
    origins: dict[str, Json] = {}
    if source.is_dir() and isinstance(earlier := read_source_json(source, ADOPTION_FILE), dict):
        known = earlier.get("origins")
        origins |= known if isinstance(known, dict) else {}
    for part, place in (("source", source), ("base", base)):
        if place is not None and (origin := find_origin(place)) is not None:
            origins[part] = origin.to_json()
    return origins


@dataclass(frozen=True)
class _Found:
    """A source, opened.

    Attributes:
        sees: whether the model has other parts than that for text.
        texts: where the tokenizer's files are.
    """

    config: Mapping[str, Json]
    tensors: Mapping[str, PlannedTensor]
    sees: bool
    texts: TextSource


@contextmanager
def _open(source: Path, notes: Notes) -> Iterator[_Found]:
    """Open a folder or a GGUF file."""
    gguf = find_gguf(source)
    if gguf is not None:
        with open_gguf(gguf, notes) as model, hold_alone(model.files) as texts:
            where = TextSource(texts, model.puts_bos)
            try:
                yield _Found(model.config, model.tensors, False, where)
            except CheckpointError as error:  # its files of text are only held here
                raise CheckpointError(str(error).replace(str(texts), str(gguf))) from None
        return
    whole = require_config(source)
    config = take_text_part(whole, notes)
    sees = config.get("model_type") != whole.get("model_type") or "text_config" in whole
    with ExitStack() as opened:
        stored = open_tensors(source, notes, opened)
        tensors = {
            name: PlannedTensor(name, one.shape, one.dtype, one.read)
            for name, one in stored.items()
        }
        yield _Found(config, tensors, sees, TextSource(source))


def adopt_model(
    source: Path,
    out: Path,
    end_tokens: Sequence[str] = (),
    base: Path | None = None,
    template: Path | None = None,
    *,
    report: Report = ignore_report,
    probes: bool = True,
    kept: Measurements | None = None,
) -> Adoption:
    """Adopt a model into a new folder, atomically.

    Args:
        source, end_tokens, base, template: see `plan_adoption`.
        report: called with what takes long, and how far it is.
        probes: whether to try the model itself, too.
        kept: what was measured before; None: nothing is kept.

    Raises:
        CheckpointError: it cannot be adopted, `out` exists, or the disk has no room.
        OSError: the disk.
    """
    require_new(out)
    with ExitStack() as opened:
        with telling(report, f"reading {source}"):
            adoption = opened.enter_context(plan_adoption(source, end_tokens, base, template))
        temporary = opened.enter_context(make_folder(out))
        write_adoption(adoption, temporary, report)
        if adoption.made not in (None, digest_weights(temporary, digest_tensors(temporary))):
            raise CheckpointError(
                f"{source} makes other tensors of {base} than it names: name its own base"
            )
        if probes:
            _try(temporary, source, adoption, report, kept or Measurements())
    return adoption


def _try(
    folder: Path, source: Path, adoption: Adoption, report: Report, kept: Measurements
) -> None:
    """Load the model and try what packed measuring rests on. Raises a CheckpointError that names
    the source."""
    free = get_free_memory(CPU)
    needed = _FP32 * count_bytes(adoption.tensors)
    if free is not None and needed > free:
        adoption.notes.guessed.append(
            f"that it can be measured: to try it takes {needed >> 30} GiB of memory in fp32; "
            "publish tries it"
        )
        return
    try:
        measuring = ModelMeasurements(folder, kept, report=report)
        probes = measuring.require_measurable()
        speed = measure_plain_speed(measuring.model) if measuring.is_plain else None
        if speed is not None:
            drafts = (
                "drafts go on from its own cache"
                if has_cache(measuring.model)
                else "its cache gives other states, so a draft reads all again for each token"
            )
            report(
                f"its class reads {speed:,.0f} tokens a second here, one row at a time; a group of "
                f"16 rollouts reads its prompt 16 times, where a family reads it once; {drafts}"
            )
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(str(folder), str(source))) from None
    worst = max(probes, key=lambda probe: probe.difference / max(probe.allowed, 1e-30))
    adoption.notes.kept.append(
        f"{len(probes)} probes hold: logits differ by at most {worst.difference:.1g} of "
        f"{worst.allowed:.1g} ({worst.name})"
    )
    _write_notes(adoption, folder)


def export_checkpoint(checkpoint: Path, out: Path, report: Report = ignore_report) -> Adoption:
    """Write a checkpoint's model as a folder that other programs open, atomically. Its config has
    every field, and names the end tokens of the manifest.

    Raises:
        CheckpointError: the folder holds no checkpoint, or a damaged one, `out` exists, or the disk
            has no room.
        OSError: the disk.
    """
    require_new(out)
    manifest = verify_manifest(checkpoint)
    verify_small_files(checkpoint, manifest)
    with telling(report, f"comparing {checkpoint} with its manifest"):
        verify_tensors(checkpoint, manifest)
    ends = [str(end) for end in manifest.end_tokens]
    return adopt_model(checkpoint, out, ends, report=report, probes=False)


def require_new(out: Path) -> None:
    """Raise a CheckpointError where something of this name is there."""
    if out.exists() or out.is_symlink():
        raise CheckpointError(f"{out} already exists: name another folder with --out")


@contextmanager
def make_folder(out: Path) -> Iterator[Path]:
    """A folder that has the name `out` once the block has ended well, and is gone otherwise. What a
    killed program left of it is removed.

    Raises:
        CheckpointError: another program is writing it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name[:100]}.adopting")
    temporary.mkdir(exist_ok=True)
    with hold_folder(temporary) as ours:
        if not ours:
            raise CheckpointError(f"another program is writing {out}: wait for it")
        try:
            for path in temporary.iterdir():
                path.unlink()
            with naming(out):
                yield temporary
                move_folder(temporary, out)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)  # renamed away if all went well


def write_adoption(adoption: Adoption, folder: Path, report: Report = ignore_report) -> None:
    """Write an adopted model's files into an empty folder. Raises as `adopt_model`."""
    small = {
        CONFIG_FILE: dump(dict(adoption.config)),
        GENERATION_FILE: dump(dict(adoption.texts.generation)),
        **adoption.texts.files,
    }
    needed = count_bytes(adoption.tensors) + sum(map(len, small.values())) + _ROOM
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise CheckpointError(
            f"{folder.parent} has {free >> 20:,} MiB free and the model needs {needed >> 20:,}: "
            "make room, or name a folder of another disk with --out"
        )
    for name, data in small.items():
        (folder / name).write_bytes(data)
    progress = telling_bytes(report, "writing tensors")
    write_tensors(folder / MODEL_FILE, adoption.tensors, adoption.notes, progress)
    _write_notes(adoption, folder)


def _write_notes(adoption: Adoption, folder: Path) -> None:
    """What was done, for its owner and for a second adoption."""
    done: dict[str, Json] = {
        "end_tokens": list(adoption.end_tokens),
        "chat_template": adoption.texts.template,
        **adoption.notes.to_json(),
    }
    if adoption.origins:
        done["origins"] = dict(adoption.origins)
    (folder / ADOPTION_FILE).write_bytes(dump(done))


def find_unadopted(folder: Path) -> str | None:
    """What an adoption of this folder would change, or None: it is as an adoption writes it.

    Raises:
        CheckpointError: it cannot be adopted.
    """
    with plan_adoption(folder) as adoption:
        found = require_config(folder)
        if changed := (*adoption.notes.dropped, *adoption.notes.converted):
            return f"drops or converts {changed[0]}"
        other = [tensor.name for tensor in adoption.tensors if tensor.dtype != "BF16"]
        if other:
            return f"converts {other[0]} to bf16"
        for name, value in adoption.config.items():
            if name not in found or found[name] != value:
                return f"sets {name} of {CONFIG_FILE} to {str(value)[:200]}"
        settings = read_source_json(folder, SETTINGS) or {}
        made = read_json(adoption.texts.files[SETTINGS])
        if made.get("chat_template") != settings.get("chat_template"):
            return f"sets the chat_template of {SETTINGS}"
    return None


def adopt_once(source: Path, out: Path, report: Report) -> Path:
    """The folder of a model: the source, if it is a checkpoint or as an adoption writes it, or what
    an adoption makes of it below `out`, once for each state of the source. Raises as `adopt_model`.
    """
    is_ours = (source / MANIFEST_FILE).exists() or (source.is_dir() and not find_unadopted(source))
    if is_ours:
        return source
    adopted = out / f"model-{_identify(source)}"
    if not adopted.exists():
        adoption = adopt_model(source, adopted, report=report, probes=False)
        for kind, text in adoption.notes.iterate():
            report(f"{kind}: {text}")
    return adopted


def _identify(source: Path) -> str:
    """A name for the present state of a model's files."""
    files = sorted(source.iterdir()) if source.is_dir() else [source]
    states = [(path.name, s.st_size, s.st_mtime_ns) for path in files for s in (path.stat(),)]
    return sha256(repr((str(source.resolve()), states)).encode()).hexdigest()[:16]
