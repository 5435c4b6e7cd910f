"""The files of a source folder: which of them hold the model, and which are refused.

A hub's folder may hold several models: shards and an index, an older save beside a newer one, an
adapter, the original's own format, pickles. The choice is that of transformers.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError, safe_open
from torch import Tensor

from assay.gate.files import JSON_BYTES, SMALL_FILE_BYTES, UnfitFileError, open_regular
from assay.gate.rules import is_text
from assay.inference.folder import CONFIG_FILE, CheckpointError, parse_document
from assay.protocol.encoding import Json
from assay.subnet.adoption.notes import Notes, name_some

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
#: Weights in the format of the model's makers, beside or in place of the usual ones.
_ORIGINAL = "consolidated"
#: Most characters of a file's name in an index.
_NAME_MAX = 200
#: Half of what JSON's escapes write a rare character with.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_POINTER = b"version https://git-lfs"
#: Weights that are programs for an interpreter: to open one is to run it.
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor of a safetensors file, still on disk.

    Attributes:
        dtype: in safetensors' spelling, such as `BF16`.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    _part: Any

    def read(self, start: int, stop: int) -> Tensor:
        """Its rows [start, stop); of a tensor without dimensions all of it."""
        found: Tensor = self._part[start:stop] if self.shape else self._part[...]
        return found


def read_source_file(folder: Path, name: str, limit: int = SMALL_FILE_BYTES) -> bytes | None:
    """A small file, or None where there is none. Links are followed: caches are made of them.

    Raises:
        CheckpointError: it cannot be read, is larger than `limit` or a pointer of Git LFS.
    """
    path = folder / name
    if not path.exists():
        return None
    with open_source(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise CheckpointError(f"{path} is larger than {limit >> 20} MiB")
    _require_no_pointer(path, data)
    return data


@contextmanager
def open_source(path: Path) -> Iterator[BinaryIO]:
    """Open a file of a source, wherever a link leads.

    Raises:
        CheckpointError: it is missing, cannot be read, or is no regular file.
    """
    try:
        with open_regular(path, follow=True) as file:
            yield file
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: fetch it") from None
    except OSError as error:
        raise CheckpointError(f"cannot read {path} ({error.strerror})") from None
    except UnfitFileError as error:
        raise CheckpointError(f"{path} {error}: fetch it again") from None


def read_source_json(folder: Path, name: str, limit: int = JSON_BYTES) -> dict[str, Json] | None:
    """A JSON file with an object, or None where there is none. Raises a CheckpointError as
    `read_source_file`, or where it is something else."""
    data = read_source_file(folder, name, limit)
    if data is None:
        return None
    found = parse_document(folder / name, data)
    if _SURROGATE.search(data) is not None and not _is_unicode(found):
        raise CheckpointError(f"{folder / name} has half a character, which no file can hold")
    if not isinstance(found, dict):
        raise CheckpointError(f"{folder / name} is not an object")
    return found


def _is_unicode(document: Json) -> bool:
    """Whether UTF-8 can write all texts: JSON can spell a half of a pair of surrogates."""
    try:
        dump(document)
    except UnicodeError:
        return False
    return True


def require_config(folder: Path) -> dict[str, Json]:
    """config.json, as it is. Raises a CheckpointError where there is none."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder: name the folder of a model")
    config = read_source_json(folder, CONFIG_FILE)
    if config is None and (folder / ADAPTER_CONFIG).is_file():
        raise CheckpointError(_say_no_tensors(folder, []))
    if config is None:
        raise CheckpointError(
            f"{folder} has no {CONFIG_FILE}: name the folder of a model in Hugging Face's format"
        )
    return config


def open_tensors(folder: Path, notes: Notes, opened: ExitStack) -> dict[str, StoredTensor]:
    """The tensors of a model's folder by name, still on disk.

    Raises:
        CheckpointError: there are none, a file is missing or no safetensors, or a name occurs
            twice. Names the file.
    """
    present = sorted(path.name for path in folder.glob("*.safetensors"))
    chosen = _choose_files(folder, present)
    left = [name for name in present if name not in chosen]
    if left:
        notes.dropped.append(f"{name_some(left)}: not the files of the model that others load")
    tensors: dict[str, StoredTensor] = {}
    for name, wanted in chosen.items():
        found = open_file(folder / name, opened)
        if missing := [tensor for tensor in wanted or () if tensor not in found]:
            raise CheckpointError(
                f"{folder / name} lacks {missing[0]}, which {INDEX} looks for there: fetch it again"
            )
        if wanted is not None and (more := sorted({*found} - {*wanted})):
            raise CheckpointError(
                f"{folder / name} has {more[0]}, which {INDEX} does not look for there: fetch both "
                "again"
            )
        for tensor in found if wanted is None else wanted:
            if tensor in tensors:
                raise CheckpointError(
                    f"{tensor} is in {tensors[tensor].file.name} and in {name}: remove the one "
                    "that is not the model's"
                )
            tensors[tensor] = found[tensor]
    return tensors


def open_file(path: Path, opened: ExitStack) -> dict[str, StoredTensor]:
    """The tensors of one safetensors file. Raises a CheckpointError where it is none."""
    with open_source(path) as file:
        _require_no_pointer(path, file.read(len(_POINTER)))
    try:
        # mapped: without a map, each part of a tensor would read all of it
        parts = opened.enter_context(safe_open(path, framework="pt", device="cpu"))
        names = list(parts.keys())
        slices = {name: parts.get_slice(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} is not safetensors, or not all of it ({error}): fetch it again"
        ) from None
    return {
        name: StoredTensor(name, part.get_dtype(), tuple(part.get_shape()), path, part)
        for name, part in slices.items()
    }


def _choose_files(folder: Path, present: list[str]) -> dict[str, list[str] | None]:
    """The files of the model: name → the tensors that the index says are in it, None: all."""
    if WHOLE in present:
        return {WHOLE: None}
    index = read_source_json(folder, INDEX, SMALL_FILE_BYTES)
    if index is not None:
        return _read_index(folder, index)
    usual = [
        name for name in present if not name.startswith((_ORIGINAL, ADAPTER.partition(".")[0]))
    ]
    if usual:
        _require_all_parts(folder, usual)
        return dict.fromkeys(usual)
    raise CheckpointError(_say_no_tensors(folder, present))


def _read_index(folder: Path, index: Mapping[str, Json]) -> dict[str, list[str] | None]:
    places = index.get("weight_map")
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{folder / INDEX} has no weight_map: fetch it again")
    chosen: dict[str, list[str] | None] = {}
    for tensor, name in places.items():
        if not is_text(name, 1, _NAME_MAX) or Path(str(name)).name != name:
            shown = repr(name)[:60]
            raise CheckpointError(f"{folder / INDEX} names {shown}, which is no file's name")
        if not (folder / name).exists():
            raise CheckpointError(f"{folder / name}, which {INDEX} names, is missing: fetch it")
        listed = chosen.setdefault(name, [])
        assert listed is not None
        listed.append(tensor)
    return chosen


def _require_all_parts(folder: Path, names: Iterable[str]) -> None:
    """Raises a CheckpointError unless all parts are there that the names count."""
    for name in names:
        stem, _, count = name.removesuffix(".safetensors").rpartition("-of-")
        stem = stem.rpartition("-")[0]
        if not (stem and count.isdecimal() and len(count) == 5):
            continue
        for number in range(1, min(int(count), 1 << 12) + 1):
            part = folder / f"{stem}-{number:05d}-of-{count}.safetensors"
            if not part.exists():
                raise CheckpointError(f"{part}, one of {int(count)} parts, is missing: fetch it")


def _say_no_tensors(folder: Path, present: list[str]) -> str:
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if ADAPTER in present or (folder / ADAPTER_CONFIG).is_file():
        return f"{folder} holds an adapter and no model: name its base's folder with --base FOLDER"
    if present:
        return (
            f"{folder} holds only {name_some(present)}, the format of the model's makers: fetch "
            "the folder in Hugging Face's format"
        )
    if pickles:
        return (
            f"{folder} holds no *.safetensors, only {name_some(pickles)}: a pickle runs what its "
            'maker wrote and is not opened. Where you trust it, convert it: python -c "from '
            "transformers import AutoModelForCausalLM as A; "
            "A.from_pretrained('FOLDER').save_pretrained('NEW')\""
        )
    return f"{folder} holds no *.safetensors file: name a folder with a model's weights"


def _require_no_pointer(path: Path, data: bytes) -> None:
    if data.startswith(_POINTER):
        raise CheckpointError(
            f"{path} is a pointer of Git LFS: fetch the file itself, such as with git lfs pull"
        )


def dump(document: Json) -> bytes:
    """A JSON file's bytes."""
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
